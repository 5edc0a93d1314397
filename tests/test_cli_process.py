"""What only a process of its own can show: pipes, a second Ctrl-C, a killed training, a full disk, a plain terminal."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from typed import TINY, book

ENDLESS = ["--steps", "100000", *TINY[2:], "--evaluate-every", "5"]


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Start commands in a folder with a text."""
    (tmp_path / "book.txt").write_text(book())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started = []

    def start(*words, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "unrolled", *map(str, words)],
            cwd=tmp_path,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            text=True,
            encoding="utf-8",
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def until(process, words):
    """Read lines until one has these words."""
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(process.stderr.read())


def test_a_killed_training_goes_on(shell, tmp_path):
    process = shell("train", "book.txt", *ENDLESS, "--run", "run", env={**os.environ, "PYTHONUNBUFFERED": "1"})
    until(process, "step 10/")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process = shell("train", "--resume", "--run", "run")
    until(process, "resuming run at step ")
    until(process, "valid")
    process.send_signal(signal.SIGTERM)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "everything is saved" in rest and not err
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)), "what was logged before it was killed is not logged twice"


def test_a_second_ctrl_c_stops_at_once(shell, tmp_path):
    slow = (
        "import signal, sys, time; from unrolled.cli.interrupts import listening\n"
        "with listening() as interrupts:\n"
        "    signal.raise_signal(signal.SIGINT); assert interrupts() and interrupts.exit_status == 130\n"
        "    signal.raise_signal(signal.SIGINT); time.sleep(60)\n"
    )
    assert subprocess.run([sys.executable, "-c", slow], timeout=30, check=False).returncode == 130


def test_before_training_begins_ctrl_c_leaves_nothing(shell, tmp_path):
    process = shell("train", "-", stdin=subprocess.PIPE)
    process.stdin.write("some text")
    process.stdin.flush()
    threading.Event().wait(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.startswith("error: interrupted") and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [["--help"], ["corpora"]], ids=" ".join)
def test_a_reader_that_leaves(words, shell):
    reading, writing = os.pipe()
    os.close(reading)
    process = shell(*words, stdout=writing)
    os.close(writing)
    _, err = process.communicate()
    assert process.returncode == 141 and not err


def test_a_disk_that_is_full(shell):
    with Path("/dev/full").open("w") as full:
        process = shell("corpora", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 2 and err.startswith("error: expected") and err.count("\n") == 1


def test_a_reader_that_leaves_while_training(shell, tmp_path):
    process = shell("train", "book.txt", *ENDLESS, "--run", "run", env={**os.environ, "PYTHONUNBUFFERED": "1"})
    until(process, "step 5/")
    process.stdout.close()
    assert process.wait(60) == 141
    newest = max(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert newest >= 5 and "Traceback" not in process.stderr.read()


def test_a_plain_terminal(shell):
    plain = {"PYTHONIOENCODING": "ascii", "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "40"}
    process = shell("train", "book.txt", *TINY, "--run", "ü", env={**os.environ, **plain})
    out, err = process.communicate()
    assert process.returncode == 0 and not err and "next" in out and "\x1b" not in out and out.isascii()
