"""`unrolled neurons`: it finds what a small network had to learn, tells it to people and scripts, and writes a page."""

import json
import random
import re
import sys

import numpy as np
import pytest

from tolerances import PAGE_BITS
from typed import Typist
from unrolled.cli import run as command_line
from unrolled.cli.colouring import STEPS, levels
from unrolled.inspection import unseen
from unrolled.laboratory import open_run
from unrolled.text.corpus import read_corpus
from unrolled.text.options import TextOptions

TRAINED = ["--width", "24", "--lanes", "16", "--unroll", "64", "--precision", "float32"]
TRAINED += ["--split", "0.8,0.1,0.1", "--evaluate-every", "250", "--seed", "1"]


def quotations(size: int, seed: int = 0) -> str:
    """Words of the same letters; what stands between them, and how soon a quote comes, depends on the quotation.

    They are so long that an untrained network has nearly forgotten the last gap when the next one comes.
    """
    rng, pieces, inside, length = random.Random(seed), [], False, 0
    while length < size:
        word = "".join(rng.choice("abcde") for _ in range(rng.randint(5, 8)))
        if rng.random() < (0.5 if inside else 0.15):
            word, inside = word + '"', not inside
        pieces.append(word + ("_" if inside else "\n" if rng.random() < 0.1 else " "))
        length += len(pieces[-1])
    return "".join(pieces)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looked")
    (folder / "book.txt").write_text(quotations(150_000))
    (folder / "short.txt").write_text(quotations(3_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        assert command_line(["train", "book.txt", *TRAINED, "--steps", "500", "--run", "run"]) == 0
        assert command_line(["train", "book.txt", *TRAINED, "--steps", "0", "--run", "untrained"]) == 0
        assert command_line(["train", "book.txt", *TRAINED, "--bytes", "--steps", "0", "--run", "bytes"]) == 0
    return folder


@pytest.fixture
def typist(trained, monkeypatch, capsys):
    monkeypatch.setenv("UNROLLED_CACHE", str(trained / "cache"))
    monkeypatch.chdir(trained)
    return Typist(capsys)


@pytest.fixture(scope="module")
def found(trained):
    """The findings as a script sees them, and the page, made once."""
    import io

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_CACHE", str(trained / "cache"))
        patch.chdir(trained)
        out = io.StringIO()
        patch.setattr(sys, "stdout", out)
        assert command_line(["neurons", "run", "--json", "--over-training", "--page", "page.html"]) == 0
    return json.loads(out.getvalue())


def test_a_quote_unit_is_found_put_to_the_test_and_born(found):
    quote = next(one for one in found if one["feature"] == "inside-double-quotes")
    assert quote["score"] > 0.95 and quote["interval"][0] > 0.9 and quote["p"] <= 0.05
    assert quote["untrained_score"] < quote["interval"][0] and quote["character_score"] < 0.8
    # Whether the proofs are right is tested on networks whose answers are known (test_neurons_proof.py).
    assert quote["ablation"]["places"] >= 20 and quote["ablation"]["random_units"] == 8
    assert quote["clamp"]["samples"] >= 200 and quote["clamp"]["mark"] == '"'
    assert [point["step"] for point in quote["birth"]["scores"]] == [0, 250, 500]
    assert quote["birth"]["scores"][-1]["score"] > 0.9 > quote["birth"]["scores"][0]["score"]
    assert quote["sentence"].startswith(quote["unit"])


def test_the_page_gives_the_run_back(found, typist):
    assert typist.json("import", "page.html", "--run", "again")["run"] == "again"
    assert len(typist.good("sample", "again", "--length", "30", "--seed", "3")) == 31
    bits = [typist.json("score", name, "book.txt")["bits_per_char"] for name in ("run", "again")]
    assert bits[0] == pytest.approx(bits[1], abs=PAGE_BITS)


def test_people_are_told_in_sentences_and_what_to_type_next(typist):
    out = typist.good("neurons", "run", "--no-proof", "--characters", "30k")
    assert re.search(r"layer\d\.\w+\[\d+\] is (on|off) inside double quotes", out)
    assert "5 untrained copies" in out and "--page page.html" in out and "--show" in out
    assert "The current character alone reaches" in out


def test_an_untrained_network_has_nothing_to_tell(typist):
    assert typist.json("neurons", "untrained", "--characters", "20k") == []
    assert "No unit holds up" in typist.good("neurons", "untrained", "--characters", "20k")


def test_a_text_is_shown_coloured_by_a_unit(typist):
    out = typist.good("neurons", "run", "--show", "layer1.cell[3]")
    assert out.count("layer1.cell[3]") == 1 and "marks under the text" in out
    found = typist.json("neurons", "run", "--show", "layer1.cell[3]")
    assert found["unit"] == "layer1.cell[3]" and len(found["text"]) == len(found["values"]) == 3000


def test_features_of_ones_own_are_searched(typist, trained):
    (trained / "mine.py").write_text(
        'import numpy as np\n\n\ndef after_underscore(text: str):\n    """The last gap was an underscore."""\n'
        "    on, labels = False, np.zeros(len(text), dtype=bool)\n    for t, c in enumerate(text):\n"
        '        on = c == "_" or (on and c not in " \\n")\n        labels[t] = on\n    return labels\n'
    )
    found = typist.json("neurons", "run", "--features", "mine.py", "--no-proof", "--characters", "25k")
    assert any(one["feature"] == "after-underscore" for one in found)


def test_bytes_have_a_label_each(trained):
    run = open_run(trained / "bytes")
    mixed = trained / "mixed.txt"
    mixed.write_text('a "é" — b\n' * 2000, encoding="utf-8")
    corpus = read_corpus([mixed], TextOptions(as_bytes=True), vocabulary=run.vocabulary)
    text = unseen(run, corpus)
    from unrolled.neurons.features import FEATURES

    labels = text.labels(FEATURES)
    assert len(text.ids) == len(text.text) == len('a "é" — b\n'.encode()) * 2000
    assert all(len(one) == len(text.ids) for one in labels.values())
    inside = labels["inside-double-quotes"][:8].tolist()
    # a space " é é " space: the two bytes of é are both inside
    assert inside == [False, False, True, True, True, False, False, False]


MISTAKES = {
    "neurons run --show layer9.cell[0]": ["a group of units", "layer9.cell"],
    "neurons run --show layer1.cell[99]": ["an index below 24"],
    "neurons run short.txt": ["at least 10,000 characters", "longer text"],
    "neurons run --page nowhere/page.html": ["a file to write the page to", "does not exist"],
    "neurons run --page .": ["which is a folder"],
    "neurons run --features nothing.py": ["a Python file", "not there"],
    "neurons run --characters 0": ["a count"],
    "neurons run --seed -1": ["at least 0"],
    "neurons nothing": ["a run folder", "does not exist"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_one_line(line, typist):
    message = typist.bad(*line.split())
    assert message.count("\n") <= 1
    for words in MISTAKES[line]:
        assert words in message


def test_levels_run_from_lowest_to_highest_and_are_even_where_nothing_varies():
    found = levels(np.linspace(-3, 5, 101))
    assert found[0] == 0 and found[-1] == STEPS - 1 and found[50] == STEPS // 2 and (np.diff(found) >= 0).all()
    assert set(levels(np.ones(10)).tolist()) == {STEPS // 2}
