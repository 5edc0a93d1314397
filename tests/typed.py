"""What the tests of the command line share: typing a command in this process, small texts, one small run.

Everything a test types is a list of words, as a shell would pass them.
"""

import json
import random
import signal
from pathlib import Path

from unrolled.cli import live, run

TINY = ["--steps", "6", "--width", "8", "--lanes", "2", "--unroll", "8", "--precision", "float32"]
WORDS = ("the cat", "sat on a mat", "and looked", "at its own shadow", "while rain", "fell over old roofs")


def book(lines=120):
    """A text that is the same every time: about 6,000 characters, 25 distinct ones."""
    choose = random.Random(1).choice
    return "".join(" ".join(choose(WORDS) for _ in range(4)).capitalize() + ".\n" for _ in range(lines))


class Typist:
    """Types commands into this process, and keeps what came out."""

    def __init__(self, capsys):
        self.capsys = capsys
        self.out = self.err = ""

    def __call__(self, *words) -> int:
        self.capsys.readouterr()
        status = run([str(word) for word in words])
        self.out, self.err = self.capsys.readouterr()
        return status

    def good(self, *words) -> str:
        """Type what must go well; return its output."""
        assert self(*words) == 0, self.err
        return self.out

    def json(self, *words):
        """Type what must print exactly one JSON value; return it."""
        self.good(*words, "--json")
        assert self.out.count("\n") == 1
        return json.loads(self.out)

    def bad(self, *words) -> str:
        """Type what must be refused: status 2, and one line on stderr that says what was expected; return it."""
        assert self(*words) == 2, (words, self.out, self.err)
        lines = self.err.strip().split("\n")
        assert len(lines) == 1 and lines[0].startswith("error: expected "), self.err
        assert ", got " in lines[0] and "; " in lines[0], lines[0]
        assert "Traceback" not in self.out + self.err
        return lines[0]


def hurried(monkeypatch):
    """Let training plan without timing this machine, and write short samples."""
    monkeypatch.setattr("unrolled.training.loop.SAMPLE_CHARACTERS", 12)
    monkeypatch.setattr("unrolled.cli.summary.SAMPLE_CHARACTERS", 12)
    monkeypatch.setattr("unrolled.training.recipe.seconds_per_step", lambda *_: 0.01)
    monkeypatch.setattr("unrolled.training.recipe.faster_precision", lambda *_: ("float32", 0.01, 1.0))


def signalled_at(monkeypatch, step, number, times=1):
    """Let the signal come once training has told of this step."""
    hear, left = live.Listener.__call__, [times]

    def listener(self, event):
        hear(self, event)
        if event.step >= step and left[0]:
            left[0] -= 1
            signal.raise_signal(number)

    monkeypatch.setattr(live.Listener, "__call__", listener)


def outcome(run: Path) -> dict[str, bytes]:
    """What a training of 12 steps decides, byte by byte: the weights to share and all of the last checkpoint."""
    names = ["model.safetensors", "checkpoints/000012/model.safetensors", "checkpoints/000012/optimizer.safetensors"]
    return {name: (run / name).read_bytes() for name in names}
