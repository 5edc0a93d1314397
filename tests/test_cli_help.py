"""The help of every verb, and how soon it comes."""

import os
import subprocess
import sys

import pytest
from rich.cells import cell_len

from unrolled import __version__
from unrolled.cli import TOPICS, VERBS, run

NAMES = [f"{verb.of} {verb.name}".strip() for verb in VERBS]
HELPED = [*NAMES, *TOPICS]
START_SECONDS = 0.3


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("words", [[], ["--help"], *([*name.split(), "--help"] for name in HELPED)], ids=" ".join)
def test_help_fits_the_terminal(words, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: unrolled ") and not err
    boxes = [line for line in out.splitlines() if line[:1] in "╭│╰"]
    assert boxes and all(cell_len(line) <= columns for line in boxes)


@pytest.mark.parametrize("name", HELPED)
def test_help_is_for_people(name, capsys):
    run([*name.split(), "--help"])
    out = capsys.readouterr().out
    assert "Examples:\n  unrolled" in out or name == "train"
    assert "False" not in out and "[ARGS" not in out and "None" not in out


def test_every_verb_is_listed(capsys):
    run(["--help"])
    out = capsys.readouterr().out
    assert all(f"│ {name.split()[0]}" in out for name in NAMES)
    for topic in TOPICS:
        run([topic, "--help"])
        out = capsys.readouterr().out
        assert all(f"│ {verb.name}" in out for verb in VERBS if verb.of == topic)


def test_options_of_training_come_in_groups(capsys):
    run(["train", "--help"])
    out = capsys.readouterr().out
    order = ["How long", "Which model", "How the text is read", "How it is trained", "The run"]
    assert [out.index(title) for title in order] == sorted(out.index(title) for title in order)


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_help_comes_at_once():
    """The processor time of the whole process, because this machine may be busy; the best of a few."""
    best = float("inf")
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-m", "unrolled", "--help"], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        best = min(best, used.ru_utime + used.ru_stime)
        if best < START_SECONDS:
            return
    raise AssertionError(f"{best:.2f} s of processor time")


def test_what_starts_without_torch(tmp_path):
    program = """
import sys
from unrolled.cli import run
assert run(["--help"]) == 0 and run(["train", "--help"]) == 0
assert not {"torch", "numpy"} & set(sys.modules), "help"
assert run(["corpora"]) == 0 and run(["runs"]) == 0 and run(["show", "nothing"]) == 2 and run(["tarin"]) == 2
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
