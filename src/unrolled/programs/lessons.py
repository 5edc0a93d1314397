"""What learning a task is made of: what a person asks for, a lesson in the middle of it, and what came out.

Knows nothing about terminals, about folders' files or about any one task.
"""

import dataclasses
import random
from dataclasses import dataclass, field, replace

from unrolled.errors import ConfigError
from unrolled.models import ModelConfig, SequenceModel, StackConfig, parameter_count, parse_layers
from unrolled.models.config import family_named, family_of
from unrolled.programs.judging import LengthScore, Mean, mean_of
from unrolled.programs.tasks import Task
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.config import TrainingConfig
from unrolled.training.events import Progressed, Skipped, Stopped
from unrolled.training.run_folder import RunFolder

STEPS, WIDTH, BATCH = 3000, 64, 128
RATE = 0.02
PATTERNS = {
    "mingru": "mingru*2",
    "mingru-negative": "mingru(negative=true)*2",
    "tcn": "tcn*5",
    "wavenet": "wavenet*6",
    "transformer": "transformer(heads=4)*2",
}
"""Columns of the table that are not one layer of the family of that name."""
NOT_LEARNED = ("circuit",)
"""Families that are no columns of the table: they are compiled."""
RATES = {"mingru": 0.01, "mingru-negative": 0.01, "tcn": 0.01, "wavenet": 0.01, "transformer": 0.01, "window": 0.01}
"""Where `RATE` is not the default. Not swept: those of tcn, wavenet and window are guesses (docs/task.md)."""
PLAIN = ("rnn", "lstm", "gru")
"""Families that learn in the stack of 2015: with residual connections and norms around their one layer none of them
finds the cycle of five with every seed (docs/task.md)."""
ROOM = {"transformer": "window", "stackrnn": "depth", "tapernn": "cells"}
"""What bounds how far a family can look or store without being a weight: it grows with the longest example."""
LOOKS = 40
"""So many times a lesson is interrupted by held-out examples, or more often: at least every hundred steps."""


@dataclass(frozen=True, kw_only=True)
class LearnRequest:
    """What a person asks for; None leaves the choice to this module.

    `layers` is a pattern and overrides `family`, which is a family or a key of `PATTERNS`. At most one of `steps` and
    `minutes` is the budget. `rate` is the peak of Muon and of AdamW alike.
    """

    family: str = "lstm"
    layers: str | None = None
    width: int = WIDTH
    steps: int | None = None
    minutes: float | None = None
    batch: int = BATCH
    rate: float | None = None
    optimizer: str = "muon"
    clip: float = 1.0
    plain: bool | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise ConfigError(expected="one budget", received="--steps and --minutes", remedy="leave one out")
        if self.minutes is not None and not 0 < self.minutes <= 100_000:
            raise ConfigError(
                expected="minutes above 0 and up to 100000", received=str(self.minutes), remedy="change --minutes"
            )
        self.model()
        self.training(1, 1)

    def model(self) -> ModelConfig:
        """Return the model. Raises ConfigError."""
        pattern = self.layers
        if pattern is None:
            if self.family not in PATTERNS:
                family_named(self.family)
            pattern = PATTERNS.get(self.family, self.family)
        plain = self.plain
        if plain is None:
            plain = self.layers is None and self.family in PLAIN
        return ModelConfig(stack=StackConfig(width=self.width, plain=plain), layers=parse_layers(pattern))

    def training(self, steps: int, longest: int) -> TrainingConfig:
        """Return how it is trained, for so many steps of examples of at most so many symbols. Raises ConfigError."""
        rate = self.rate
        if rate is None:
            rate = RATE if self.layers is not None else RATES.get(self.family, RATE)
        return TrainingConfig(
            steps=steps, lanes=self.batch, unroll=longest, optimizer=self.optimizer, rate=rate, matrix_rate=rate,
            warm_up=min(100, max(1, steps // 20)), hold=0.5, weight_decay=0.0, clip=self.clip, seed=self.seed,
            evaluate_every=max(1, min(100, -(-steps // LOOKS))),
        )  # fmt: skip


@dataclass(frozen=True)
class Looked:
    """Held-out examples of training lengths were answered: `accuracy`, `exact` as in `LengthScore`."""

    step: int
    accuracy: float
    exact: float
    nats: float
    seconds: float


@dataclass(frozen=True)
class Judged:
    """One more length was tested, number `done` of `total`."""

    step: int
    score: LengthScore
    done: int
    total: int


Event = Progressed | Skipped | Looked | Judged | Stopped


@dataclass
class Lesson:
    """A model in the middle of learning a task: all that `learn` changes. `folder` is None where nothing is kept."""

    task: Task
    request: LearnRequest
    config: ModelConfig
    training: TrainingConfig
    vocabulary: Vocabulary
    model: SequenceModel
    folder: RunFolder | None = None
    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    stopped: str = ""
    looks: list[Looked] = field(default_factory=list)
    scores: list[LengthScore] = field(default_factory=list)

    cooling: tuple[int, int] | None = None

    @property
    def last(self) -> int:
        """The last step: the planned one, or the one by which the rate has fallen to nothing."""
        return self.training.steps if self.cooling is None else self.cooling[1]

    def cool(self, steps: int) -> None:
        """Let the rate fall to nothing within so many steps from here on; only the first time counts."""
        if self.cooling is None and self.step + steps < self.training.steps:
            self.cooling = self.step, self.step + steps

    def share(self) -> float:
        """Return the part of the peak rates at which the next update is made."""
        share = self.training.share_at(self.step)
        if self.cooling is None:
            return share
        start, end = self.cooling
        return share * (end - self.step) / (end - start)

    @property
    def parameters(self) -> int:
        """The number of trainable numbers."""
        return parameter_count(self.model)


@dataclass(frozen=True)
class Outcome:
    """What a model reached: means over the training lengths, the longer ones, and all single scores."""

    scores: tuple[LengthScore, ...]
    trained: Mean
    longer: Mean
    headline: Mean

    @property
    def solved(self) -> bool:
        """Whether the task counts as solved, on the lengths by which it is told."""
        return self.headline.solved


def longest_line(task: Task, length: int) -> int:
    """Return how many symbols a model reads of the longest examples of a length, or so."""
    source, target = task.draw(random.Random(0), max(n for n in range(1, length + 1) if task.has_length(n)))
    return len(source) if task.regime == "tags" else len(source) + len(target) + 2


def roomy(config: ModelConfig, longest: int) -> ModelConfig:
    """Return the model with room for examples of so many symbols; the weights are the same whatever the room."""
    layers = []
    for layer in config.layers:
        name = ROOM.get(family_of(layer), "")
        known = {one.name for one in dataclasses.fields(layer)}  # type: ignore[arg-type]
        layers.append(replace(layer, **{name: longest}) if name in known else layer)  # type: ignore[type-var]
    return replace(config, layers=tuple(layers))


def outcome(lesson: Lesson) -> Outcome | None:
    """Return what `test` found; None when it did not come to the longer lengths."""
    trained = [score for score in lesson.scores if score.length <= lesson.task.trained]
    longer = [score for score in lesson.scores if score.length > lesson.task.trained]
    if not trained or not longer:
        return None
    means = {"trained": mean_of(trained), "longer": mean_of(longer)}
    return Outcome(tuple(lesson.scores), means["trained"], means["longer"], means[lesson.task.headline])
