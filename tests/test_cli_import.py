"""`unrolled import`: the run comes back out of its page, and a damaged page is one line, never a traceback."""

import base64
import json
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pages_data import HOSTILE, made_found, made_run
from tolerances import IMPORTED_LOGITS
from typed import Typist, book
from unrolled.errors import RunError, UnrolledError
from unrolled.laboratory import open_run
from unrolled.pages.builder import build_page, sealed, write_page
from unrolled.pages.contents import page_data
from unrolled.pages.reading import read_page, write_run
from unrolled.pages.weights import float16_weights
from unrolled.training.run_folder import RunFolder

PATTERNS = ["lstm", "gru rnn", "mingru(negative=true)", "transformer(heads=2,window=7)", "wavenet tcn"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, its page, and the text."""
    folder = tmp_path_factory.mktemp("made")
    run, corpus = made_run(folder / "quotes-lstm", book())
    weights = float16_weights(run.model.state_dict())
    write_page(folder / "page.html", page_data(run, made_found()), weights)
    return run, folder / "page.html", corpus


@pytest.fixture
def typist(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(made[1], tmp_path / "page.html")
    return Typist(capsys)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_run_comes_back_and_a_second_round_is_exact(pattern, tmp_path):
    run, corpus = made_run(tmp_path / "first", book(30), layers=pattern)
    weights = float16_weights(run.model.state_dict())
    data = page_data(run, made_found())
    write_page(tmp_path / "one.html", data, weights)
    back = open_run(write_run(read_page(tmp_path / "one.html"), tmp_path / "second" / "first"))
    assert back.vocabulary == run.vocabulary and back.config.model == run.config.model
    assert back.config.training == run.config.training and back.config.is_text(corpus)
    text = corpus.vocabulary.decode(corpus.part("train")[:300])
    before, after = run.read(text)[0], back.read(text)[0]
    assert (before - after).abs().max() < IMPORTED_LOGITS
    run.model.load_state_dict({name: value.half().float() for name, value in run.model.state_dict().items()})
    assert torch.equal(run.read(text)[0], after)
    for name, value in back.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name])
    assert float16_weights(back.model.state_dict()) == weights
    again = page_data(back, made_found())
    assert again == data
    assert build_page(again, weights).encode() == (tmp_path / "one.html").read_bytes()


def test_logs_come_back(made, tmp_path):
    run, page, _ = made
    before, after = RunFolder.open(run.path), RunFolder.open(write_run(read_page(page), tmp_path / "run"))
    assert after.metrics() == before.metrics() and after.samples() == before.samples()
    assert after.is_finished and not after.checkpoints()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json", "vocabulary.json", "model.safetensors", "metrics.jsonl", "samples.jsonl",
    }  # fmt: skip


def test_numbers_too_large_for_float16_come_back(tmp_path):
    run, _ = made_run(tmp_path / "run", book(30))
    with torch.no_grad():
        run.model.readout.weight[0, 0] = 1e6
        run.model.readout.weight[0, 1] = 1 / 3
    weights = float16_weights(run.model.state_dict())
    write_page(tmp_path / "page.html", page_data(run, made_found()), weights)
    back = open_run(write_run(read_page(tmp_path / "page.html"), tmp_path / "back"))
    assert torch.equal(back.model.readout.weight, run.model.readout.weight)
    assert float16_weights(back.model.state_dict()) == weights


def test_what_is_typed_afterwards_works(typist, made, tmp_path):
    out = typist.good("import", "page.html")
    assert "runs/quotes-lstm" in out and "unrolled sample runs/quotes-lstm" in out
    assert (tmp_path / "runs" / "quotes-lstm" / "model.safetensors").exists()
    assert len(typist.good("sample", "runs/quotes-lstm", "--length", "20", "--seed", "1")) == 21
    (tmp_path / "book.txt").write_text(book())
    assert typist.json("score", "runs/quotes-lstm", "book.txt")["chars"] > 100
    assert typist.json("show", "runs/quotes-lstm")["metrics"]
    typist.good("show", "runs/quotes-lstm")
    assert [one["finished"] for one in typist.json("runs")] == [True]


def test_every_import_gets_a_folder_of_its_own(typist, tmp_path):
    assert typist.json("import", "page.html")["run"] == "runs/quotes-lstm"
    assert typist.json("import", "page.html")["run"] == "runs/quotes-lstm-2"
    found = typist.json("import", "page.html", "--run", "mine")
    assert found["run"] == "mine" and found["parameters"] > 100
    assert "a new or empty folder at mine" in typist.bad("import", "page.html", "--run", "mine")
    assert "got a file" in typist.bad("import", "page.html", "--run", "page.html")
    (tmp_path / "empty").mkdir()
    typist.good("import", "page.html", "--run", "empty")


@pytest.mark.parametrize("title", ["../../etc/passwd", HOSTILE, "/", "..", "", "a" * 5000, "-rf", "nul\x00"], ids=repr)
def test_a_page_may_call_itself_anything(title, made, typist, tmp_path):
    run = made[0]
    data = {**page_data(run, made_found()), "title": title}
    write_page(tmp_path / "odd.html", data, float16_weights(run.model.state_dict()))
    found = typist.json("import", "odd.html")["run"]
    inside = (tmp_path / found).resolve()
    assert inside.parent == (tmp_path / "runs").resolve() and len(inside.name) <= 60
    assert all(one.isalnum() or one in "-_" for one in inside.name)


OTHERS = {
    "empty": b"",
    "text": b"hello",
    "another page": b"<!doctype html><html><body><script id=data>1</script></body></html>",
    "zeros": bytes(5000),
    "binary": bytes(range(256)) * 50,
    "no weights": b'<script type="application/json" id="data">{}</script>',
    "no run": b'<script type="application/json" id="data">{"format":1}</script>'
    b'<script type="application/octet-stream;base64" id="weights">AAAA</script>',
    "many openings": b"<script " * 20_000 + b'<script type="application/json" id="data">' * 20_000,
    "deep": b'<script type="application/json" id="data">' + b"[" * 100_000 + b"</script>"
    b'<script type="application/octet-stream;base64" id="weights">AAAA</script>',
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
def test_other_files_are_refused_in_one_line(content, typist, tmp_path):
    (tmp_path / "other.html").write_bytes(content)
    assert "other.html" in typist.bad("import", "other.html")
    assert not (tmp_path / "runs").exists()


def test_names_that_are_no_page(typist, tmp_path):
    assert "does not exist" in typist.bad("import", "none.html")
    assert "a regular file" in typist.bad("import", tmp_path)
    assert "PAGE" in typist.bad("import")


def refused(page, html: bytes, *words: str) -> None:
    page.write_bytes(html)
    with pytest.raises(RunError) as error:
        read_page(page)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_a_page_twice_or_in_part(made, tmp_path):
    html = made[1].read_bytes()
    refused(tmp_path / "p.html", html + html, "2 such blocks")
    end = html.index(b"</script>", html.index(b'id="weights"'))
    for size in (100, end // 2, end, end + 8):
        refused(tmp_path / "p.html", html[:size], "whole page")
    # Of what follows nothing is needed: the script runs in browsers only.
    (tmp_path / "p.html").write_bytes(html[: end + 9])
    assert read_page(tmp_path / "p.html").data == read_page(made[1]).data


def broken(change, data: dict) -> dict:
    changed = json.loads(json.dumps(data))
    change(changed)
    return changed


FORGED = {
    "newer": (lambda data: data.update(format=2), ["install a newer"]),
    "format": (lambda data: data.update(format=True), ["format 1"]),
    "no run": (lambda data: data.pop("run"), ["a run and its vocabulary"]),
    "width": (
        lambda data: [one["stack"].update(width=9) for one in (data["model"], data["run"]["model"])], ["weights"],
    ),
    "enormous": (
        lambda data: [one.update(layers=[{"family": "lstm", "forget_bias": 1.0}] * 256) or one["stack"].update(
            width=65536) for one in (data["model"], data["run"]["model"])], ["weights"],
    ),
    "overflow": (
        lambda data: [one.update(layers=[{"family": "mingru", "expansion": 1e300, "negative": False}])
                      for one in (data["model"], data["run"]["model"])], [""],
    ),
    "two models": (lambda data: data["model"]["stack"].update(width=9), ["two different"]),
    "family": (lambda data: data["run"]["model"]["layers"][0].update(family="elstm"), ["elstm"]),
    "vocabulary": (lambda data: data["vocabulary"]["symbols"].pop(), ["weights"]),
    "symbols": (lambda data: data["vocabulary"].update(symbols=["a"]), ["vocabulary"]),
    "training": (lambda data: data["run"]["training"].update(steps="many"), ["steps"]),
    "text": (lambda data: data["run"].update(text=3), ["'text'"]),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), FORGED.values(), ids=FORGED)
def test_a_page_whose_parts_do_not_fit(change, words, made, tmp_path):
    run = made[0]
    weights = float16_weights(run.model.state_dict())
    refused(tmp_path / "p.html", build_page(broken(change, page_data(run, made_found())), weights).encode(), *words)


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        (b"", "header"),
        (b"\xff" * 100, "header"),
        ((2).to_bytes(8, "little") + b"{}", "weights"),
        (float16_weights({"readout.bias": torch.full((3,), float("nan"))}), "finite"),
    ],
    ids=["empty", "noise", "none", "nan"],
)
def test_weights_that_are_none(weights, word, made, tmp_path):
    refused(tmp_path / "p.html", build_page(page_data(made[0], made_found()), weights).encode(), word)


def test_weights_of_whole_numbers_are_refused(made, tmp_path):
    from safetensors.torch import save

    state = {name: value.to(torch.int32) for name, value in made[0].model.state_dict().items()}
    refused(tmp_path / "p.html", build_page(page_data(made[0], made_found()), save(state)).encode(), "float16")


def test_an_edited_page_is_refused(made, tmp_path):
    html = made[1].read_bytes()
    refused(tmp_path / "p.html", html.replace(b"inside double quotes", b"inside single quotes"), "edited or damaged")
    weights = base64.b64encode(float16_weights(made[0].model.state_dict()))
    middle = len(weights) // 2
    other = weights[:middle] + (b"B" if weights[middle : middle + 1] == b"A" else b"A") + weights[middle + 1 :]
    refused(tmp_path / "p.html", html.replace(weights, other), "as they were written")
    refused(tmp_path / "p.html", html.replace(weights, b"*" + weights[1:]), "base64")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_one_error_or_changes_nothing(data, made, tmp_path):
    html = made[1].read_bytes()
    start = html.index(b'id="data"')
    # Half of the damage hits the data and what stands around them: that is where it could be believed.
    places = st.integers(0, len(html) - 1) | st.integers(start - 60, min(start + 3000, len(html) - 1))
    damaged = bytearray(html)
    for _ in range(data.draw(st.integers(1, 3))):
        at, kind = min(data.draw(places), len(damaged) - 1), data.draw(st.sampled_from(["flip", "cut", "put", "end"]))
        if kind == "flip":
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del damaged[at : at + data.draw(st.integers(1, 40))]
        elif kind == "put":
            damaged[at:at] = data.draw(st.sampled_from([b"<", b'"', b"</script>", b"\\u0000", b"{", b"1e999", b"\xff"]))
        else:
            del damaged[max(at, 1) :]
    (tmp_path / "damaged.html").write_bytes(damaged)
    try:
        found = read_page(tmp_path / "damaged.html")
    except UnrolledError as error:
        assert str(error).isprintable()
        return
    whole = read_page(made[1])
    assert found.data == whole.data and found.config == whole.config
    assert all(torch.equal(found.weights[name], value) for name, value in whole.weights.items())


def test_a_seal_that_fits_makes_nothing_run(made, tmp_path):
    """Whoever forges a page can seal it; what comes out is still data that is checked, and nothing else."""
    odd = [{"step": "x"}, 3, None, {"step": 1, "sample": 5}, {"step": 2, "sample": HOSTILE, "__class__": "x"}]
    data = sealed({**page_data(made[0], made_found()), "training": odd}, b"")
    (tmp_path / "p.html").write_text(build_page(data, float16_weights(made[0].model.state_dict())), "utf-8")
    folder = RunFolder.open(write_run(read_page(tmp_path / "p.html"), tmp_path / "run"))
    assert [one["step"] for one in folder.metrics()] == [1, 2] and folder.samples()[0]["text"] == HOSTILE
