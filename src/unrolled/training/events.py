"""What training tells while it runs; whoever listens decides what to show.

Knows nothing about terminals or files. Every `step` counts finished updates.
"""

from dataclasses import dataclass
from pathlib import Path

from unrolled.training.evaluation import Score


@dataclass(frozen=True)
class Progressed:
    """Some updates were made.

    `train_bits` is the mean loss since the last report (bits per character), `chars_per_second` the speed since then,
    `rate` the learning rate, `seconds` the time so far.
    """

    step: int
    train_bits: float
    chars_per_second: float
    rate: float
    seconds: float


@dataclass(frozen=True)
class Skipped:
    """An update was not made because the loss or the gradient was not finite; `in_a_row` such steps so far."""

    step: int
    what: str
    in_a_row: int
    total: int


@dataclass(frozen=True)
class Evaluated:
    """The validation part was scored; `best` says whether no earlier score was as good."""

    step: int
    score: Score
    best: bool


@dataclass(frozen=True)
class Wrote:
    """The model wrote a passage, at this temperature, after this prompt."""

    step: int
    text: str
    temperature: float


@dataclass(frozen=True)
class Saved:
    """A checkpoint is safely on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class SaveFailed:
    """A checkpoint, a snapshot or a log could not be written; earlier ones are as they were, and training goes on."""

    step: int
    problem: str


@dataclass(frozen=True)
class Stopped:
    """Training is over: `reason` is "finished", "interrupted" or "no longer improving"."""

    step: int
    reason: str
    seconds: float


Event = Progressed | Skipped | Evaluated | Wrote | Saved | SaveFailed | Stopped
