"""A run folder that was truncated, edited, or written by a newer version: every verb says so in one line or copes."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from typed import TINY, Typist, book, hurried, signalled_at
from unrolled.cli import run as command_line

SHARED = ["config.json", "vocabulary.json", "metrics.jsonl", "samples.jsonl"]
NEWEST = [f"checkpoints/000004/{name}" for name in ("MANIFEST.json", "model.safetensors", "state.json")]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """One run that was interrupted at step 4, made once for this file."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "book.txt").write_text(book(60))
    words = ["train", str(folder / "book.txt"), *TINY, "--evaluate-every", "2", "--run", str(folder / "run")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_CACHE", str(folder / "cache"))
        hurried(patch)
        signalled_at(patch, 4, signal.SIGINT)
        assert command_line(words) == 130
    return folder / "run"


@pytest.fixture
def copy(stopped, tmp_path, capsys, monkeypatch):
    hurried(monkeypatch)
    shutil.copytree(stopped, tmp_path / "runs" / "run")
    return tmp_path / "runs" / "run", Typist(capsys)


def every_verb_copes(run: Path, typist: Typist) -> list[int]:
    """Each verb either works or says what is wrong in one line."""
    statuses = []
    for words in (
        ["runs", run.parent],
        ["runs", run.parent, "--json"],
        ["show", run],
        ["show", run, "--json"],
        ["sample", run, "--length", "3"],
        ["score", run, "--json"],
        ["train", "--resume", "--run", run],
    ):
        status = typist(*words)
        statuses.append(status)
        if status == 0 and "--json" in words:
            json.loads(typist.out)
        elif status != 0:
            assert status == 2 and typist.err.count("error: expected ") == 1, (words, typist.err)
            assert "Traceback" not in typist.err
    return statuses


DAMAGE = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "garbage": lambda data: bytes(range(255, 0, -1)),
    "null": lambda data: b"null",
    "list": lambda data: b"[]",
    "deep": lambda data: b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [*SHARED, *NEWEST])
def test_damaged(name, damage, copy):
    run, typist = copy
    path = run / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    statuses = every_verb_copes(run, typist)
    assert statuses[0] == statuses[1] == 0, "one bad run does not hide the others"
    if name in ("config.json", "vocabulary.json"):
        assert statuses[-3:] == [2, 2, 2]
    elif name in NEWEST:
        assert statuses[-3:] == [0, 0, 0], "an older checkpoint is taken"


@pytest.mark.parametrize("name", [*SHARED, *NEWEST])
def test_missing(name, copy):
    run, typist = copy
    (run / name).unlink()
    every_verb_copes(run, typist)


EDITS = [
    ("training", 5),
    ("training", {"steps": "x"}),
    ("model", []),
    ("text", None),
    ("text", {"sources": 3}),
    ("parameters", "x"),
    ("description", {}),
    ("environment", None),
    ("family", 3),
]


@pytest.mark.parametrize(("key", "value"), EDITS, ids=str)
def test_edited_configuration(key, value, copy):
    run, typist = copy
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, key: value}))
    assert every_verb_copes(run, typist)[-1] == 2, "an edited run is not resumed"


def test_a_newer_version_is_said(copy):
    run, typist = copy
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "format": 999}))
    assert "999" in typist.bad("sample", run) and "newer" in typist.err.lower()


def test_edited_logs_are_shown_as_far_as_they_can_be(copy):
    run, typist = copy
    lines = [
        {"step": "x", "valid_bits_per_char": "y", "seconds": None},
        {"step": 1, "valid_bits_per_char": True, "train_bits_per_char": [], "skipped": "z"},
        {"step": 2, "valid_bits_per_char": 4.0, "seconds": "q"},
        {"step": 3},
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "samples.jsonl").write_text('{"step": 1, "text": 5}\n{"text": "\\u001b[2J"}\n')
    assert every_verb_copes(run, typist)[2:4] == [0, 0]
    assert "\x1b" not in typist.good("show", run)
