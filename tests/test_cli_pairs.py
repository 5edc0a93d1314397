"""`train --pairs` and `--tags` from a file of lines to answers: what is learned, told, scored, resumed and refused."""

import importlib
import io
import itertools
import json
import random
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from typed import Typist, hurried, outcome, signalled_at
from unrolled.text.pairs import check_lines

SCRIPTS = Path(__file__).parents[1] / "scripts"
SMALL = ["--width", "24", "--layers", "lstm", "--precision", "float32"]
TINY = ["--steps", "4", "--width", "8", "--layers", "rnn", "--precision", "float32"]


@pytest.fixture
def typist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hurried(monkeypatch)
    draw = random.Random(1)
    words = ["".join(draw.choice("abcd") for _ in range(draw.randint(1, 5))) for _ in range(300)]
    (tmp_path / "last.tsv").write_text("".join(f"{word}\t{word[-1]}\n" for word in words))
    (tmp_path / "case.tsv").write_text(
        "".join(f"{word}1\t{word.replace('a', 'v').replace('b', 'v')}·\n" for word in words)
    )
    return Typist(capsys)


@pytest.fixture
def asked(typist):
    typist.good("train", "last.tsv", "--pairs", *TINY, "--run", "run")
    return typist


@pytest.fixture
def tagged(typist):
    typist.good("train", "case.tsv", "--tags", *TINY, "--run", "run")
    return typist


def test_a_rule_is_learned_told_and_asked(typist):
    out = typist.good("train", "last.tsv", "--pairs", "--steps", "80", *SMALL, "--run", "run")
    order = [
        "pairs    300 lines (270 train, 15 valid, 15 test), 6 distinct characters",
        "80 steps of 33 lines of about ",
    ]
    order += ["times through the lines", "step 0/80  valid ", "bits per target character, exact ", "step 80/80"]
    order += [
        "target characters, each line from a cold start)",
        "exact: 100.0 % of 15 answers",
        "knowing nothing, always ",
    ]
    order += ["it answers", " → ", "ask it about a source of yours"]
    assert [out.index(words) for words in order] == sorted(out.index(words) for words in order)
    for word in ("abcd", "dcba", "b"):
        assert typist.good("sample", "run", "--prompt", word) == f"{word}\t{word[-1]}\n"
    answer = typist.json("sample", "run", "--prompt", "ac\t")
    assert (answer["text"], answer["temperature"]) == ("c", 0.0)
    assert typist.json("sample", "run", "--prompt", "ac", "--temperature", "0.5")["temperature"] == 0.5
    assert typist.json("sample", "run")["temperature"] == 0.8
    (found := typist.json("score", "run")).pop("mistakes")
    assert found["protocol"] == "pairs" and found["lines"] == 15 and found["accuracy"] == found["exact"] == 1.0
    assert set(found["confusion"]) <= set("abcd") and found["chars"] == 30 and found["part"] == "test"
    assert all(set(answers) == {target} for target, answers in found["confusion"].items())
    assert found["baseline"]["answer"] in "abcd" and 0.2 < found["baseline"]["share"] < 0.6
    metrics = typist.json("show", "run")["metrics"]
    assert metrics[-1]["valid_accuracy"] == 1.0 and all(look["structure"] is None for look in metrics)
    shown = typist.good("show", "run")
    assert "exact 100.0 %" in shown and "bits per target character" in shown and "lines of about" in shown


def test_the_other_lines_of_a_file_are_scored_with_their_mistakes(asked, tmp_path):
    (tmp_path / "more.tsv").write_text("abca\tq\nb\tzz\n")
    out = asked.good("score", "run", "more.tsv")
    assert "exact: 0.0 % of 2 answers" in out and "knowing nothing, always " in out and "(" in out.split("cold")[0]
    found = asked.json("score", "run", "more.tsv")
    assert found["unknown_chars"] == 3 and found["lines"] == 2 and found["part"] == "all" and found["chars"] == 5
    assert found["mistakes"][0].keys() == {"source", "target", "answer"} and len(found["mistakes"]) == 2
    assert "line 1 (no tab) has no TAB" in bad_file(asked, tmp_path, "no tab\n", "score", "run", "bad.tsv")


def bad_file(typist, tmp_path, text, *words):
    (tmp_path / "bad.tsv").write_text(text)
    return typist.bad(*words)


def test_tags_are_printed_under_their_source(tagged):
    tagged.good("train", "case.tsv", "--tags", "--steps", "40", *SMALL, "--run", "good")
    assert tagged.good("sample", "good", "--prompt", "abcd") == "abcd\nvvcd\n"
    found = tagged.json("sample", "good", "--prompt", "dcba")
    assert found["tags"] == "dcvv" and found["prompt"] == "dcba"
    found = tagged.json("score", "good")
    assert found["protocol"] == "tags" and found["accuracy"] == 1.0 and found["baseline"]["answer"] == "v"
    assert "% of" in tagged.good("score", "good") and "tags; 100.0 % of 15 lines wholly" in tagged.out


def test_what_cannot_be_asked(asked):
    assert "one line with at most one TAB" in asked.bad("sample", "run", "--prompt", "a\nb")
    assert "one line with at most one TAB" in asked.bad("sample", "run", "--prompt", "a\tb\t")
    assert "neither --protocol nor --lanes" in asked.bad("score", "run", "--protocol", "reset:9")
    assert "neither --protocol nor --lanes" in asked.bad("score", "run", "--lanes", "1")
    assert "10,000 characters" in asked.bad("neurons", "run")
    for words in (["--unroll", "9"], ["--forget-every", "99"]):
        assert "from a cold start" in asked.bad("train", "last.tsv", "--pairs", *TINY, *words)
    assert "--pairs or --tags, got both" in asked.bad("train", "last.tsv", "--pairs", "--tags", *TINY)
    assert "characters in pairs, got --bytes" in asked.bad("train", "last.tsv", "--pairs", "--bytes", *TINY)
    assert "the built-in text manual" in asked.bad("train", "manual", "--pairs", *TINY)


def test_tags_need_a_source(tagged):
    assert "got none" in tagged.bad("sample", "run")
    assert "without a TAB" in tagged.bad("sample", "run", "--prompt", "a\tb")
    assert "--count 1" in tagged.bad("sample", "run", "--prompt", "ab", "--count", "2")


def test_a_sample_ends_where_the_answer_does(asked):
    assert asked.json("sample", "run", "--seed", "1")["prompt"] == "\t"
    texts = [
        one["text"] for one in asked.json("sample", "run", "--count", "20", "--seed", "1", "--length", "9")["texts"]
    ]
    alone = [asked.json("sample", "run", "--seed", str(seed), "--length", "9")["text"] for seed in range(1, 21)]
    assert texts == alone and not any("\n" in text for text in texts) and len({len(text) for text in texts}) > 2


def test_faulty_files_are_refused_in_one_line(typist, tmp_path):
    message = bad_file(typist, tmp_path, "a\tb\nc\n\nd\te\tf\n\x1b[2J\n", "train", "bad.tsv", "--pairs", *TINY)
    assert "line 2 (c) has no TAB; line 4 (d␉e␉f) has 2 TABs; line 5 (␛[2J) has no TAB; correct them" in message
    message = bad_file(typist, tmp_path, "ab\txy\nab\tx\n", "train", "bad.tsv", "--tags", *TINY)
    assert "line 2 (ab␉x) has 2 characters before the TAB and 1 after it" in message
    assert "at least 2 lines in the part train" in bad_file(
        typist, tmp_path, "ab\txy\n", "train", "bad.tsv", "--pairs", *TINY
    )
    assert not (tmp_path / "runs").exists()


def test_pairs_come_from_standard_input_and_several_files(typist, monkeypatch, tmp_path):
    raw = (tmp_path / "last.tsv").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw), isatty=lambda: False))
    assert typist.json("train", "-", "--pairs", *TINY)["valid"]["lines"] == 15
    (tmp_path / "more.tsv").write_text("dd\td\n" * 20)
    assert typist.json("train", "last.tsv", "more.tsv", "--pairs", *TINY)["valid"]["lines"] == 16


def test_a_configuration_may_say_pairs(typist, tmp_path):
    (tmp_path / "setup.toml").write_text('pairs = true\nsteps = 2\nwidth = 8\nlayers = "rnn"\n')
    assert typist.json("train", "last.tsv", "--config", "setup.toml")["valid"]["protocol"] == "pairs"


@pytest.mark.parametrize("regime", ["pairs", "tags"])
def test_a_resumed_run_makes_the_same_bytes(typist, tmp_path, monkeypatch, regime):
    words = ["train", "last.tsv" if regime == "pairs" else "case.tsv", f"--{regime}", "--steps", "12", "--width", "8"]
    words += ["--evaluate-every", "4", "--dropout", "0.1", "--precision", "float32", "--lanes", "50"]
    typist.good(*words, "--run", "whole")
    with monkeypatch.context() as patch:
        signalled_at(patch, 4, signal.SIGINT)
        assert typist(*words, "--run", "parts") == 130
    assert "to go on" in typist.out.lower()
    assert "resuming parts at step" in typist.good("train", "--resume", "--run", "parts")
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")
    metrics = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("parts", "whole")]
    looks = [[json.loads(line)["valid_accuracy"] for line in lines] for lines in metrics]
    assert looks[0] == looks[1] and len(looks[0]) == 4


def test_the_example_data_are_what_they_say(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    regime_data = importlib.import_module("regime_data")
    paths = regime_data.write_all(tmp_path / "data")
    found = {
        path.stem: [tuple(line.split("\t")) for line in path.read_text("utf-8").split("\n")[:-1]] for path in paths
    }
    assert list(found) == list(regime_data.REGIMES) and all(len(lines) > 500 for lines in found.values())
    for name, lines in found.items():
        numbered = [(k, "\t".join(line)) for k, line in enumerate(lines)]
        check_lines(numbered, "tags" if name == "tags" else "pairs")
    assert {source for source, _ in found["one-to-many"]} == {""}
    assert {target for _, target in found["many-to-one"]} == {"prose", "code"}
    assert all(target == source[::-1] for source, target in found["many-to-many"])
    assert all(ord(target) - ord(source) in (1, -25) for source, target in found["one-to-one"])
    for source, target in found["tags"]:
        assert source == source.lower() and {t for c, t in zip(source, target, strict=True) if not c.isalpha()} <= {"·"}
    again = regime_data.write_all(tmp_path / "again")
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(paths, again, strict=True))
    assert len(set(itertools.chain(*(target for _, target in found["tags"])))) == 3
