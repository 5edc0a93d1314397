"""From a budget to a model and a training configuration: nobody needs to know hyperparameters.

Knows nothing about files or terminals. What the LSTM's rows reach is measured (docs/results/quality.md), and so are the
choice of Muon for every family, its weight decay and rate, averages of the weights, and forgetting (docs/LOG.md,
docs/results/recipes.md). The other families' rows follow the LSTM's; those of the stack RNN, the tape RNN and the
window are unmeasured.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch

from unrolled.errors import ConfigError
from unrolled.models import ModelConfig, StackConfig, parameter_count, parse_layers, width_for
from unrolled.models.config import family_named
from unrolled.text.lines import LineBatches, Lines
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.allocator import keep_freed_memory
from unrolled.training.config import TrainingConfig
from unrolled.training.measure import faster_precision, seconds_per_step

V = TypeVar("V")
DEFAULT_MINUTES = 3.0
PARAMETERS_PER_CHARACTER = 4
"""A model with more parameters than so many per character of training text learns it by heart before it is done."""
FORGET_EVERY = 1000
"""Costs nothing with a carried memory, and gains 0.015 nats per character from cold starts (docs/LOG.md)."""
LEAST_LINES, MOST_LINES, UPDATES_PER_PASS = 4, 128, 8
"""Of pairs and tags, a step takes at most so many lines, and with few lines so few that a pass is several updates."""
MOST_DROPOUT_OF_LINES = 0.2
"""What lines ask is often a rule: writing 6,000 words backwards, 0.4 costs 6 % of the answers in 400 steps, 0.2 3 %."""
LOOKS = 20
LOOK_SHARE = 0.08
"""At most this share of the time goes into scoring, samples and checkpoints while training."""
LOOK_SPEED, LOOK_SECONDS, LOOK_SECONDS_PER_PARAMETER = 2, 0.05, 8e-8
"""What a look takes: its few lanes are scored at so many times the speed of training, samples and files are the rest.

Measured: 0.26, 0.56 and 0.93 seconds for LSTMs of width 256, 384 and 512.
"""
MARGIN, MARGIN_BEGINS = 0.04, 180.0
"""Of the seconds behind the first ones, this share is not planned with: over twenty minutes, machines that are shared
were 3 % slower than in the seconds of measuring (docs/results/quality.md)."""
PATIENCE = 10
"""Of about twenty looks: with strong decay a validation score stands still for long, and gains most at the end."""
LARGEST_COUNTED = 1024
"""The parameters of models up to this width are counted on one that is built for it."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for; None leaves the choice to the recipe.

    At most one of `minutes`, `steps` and `chars` is the budget (default: 3 minutes); at most one of `params` and
    `width` is the size; `layers` is a pattern and overrides `family`.
    """

    family: str = "lstm"
    layers: str | None = None
    minutes: float | None = None
    steps: int | None = None
    chars: int | None = None
    params: int | None = None
    width: int | None = None
    plain: bool = False
    dropout: float | None = None
    lanes: int | None = None
    unroll: int | None = None
    forget_every: int | None = None
    optimizer: str | None = None
    rate: float | None = None
    matrix_rate: float | None = None
    warm_up: int | None = None
    hold: float | None = None
    weight_decay: float | None = None
    average: int | None = None
    beta2: float | None = None
    clip: float | None = None
    evaluate_every: int | None = None
    uncalibrated: bool = False
    patience: int | None = None
    precision: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        for one, names in (("budget", ("minutes", "steps", "chars")), ("size", ("params", "width"))):
            given = [name for name in names if getattr(self, name) is not None]
            if len(given) > 1:
                raise ConfigError(
                    expected=f"one {one}",
                    received=" and ".join(f"--{name}" for name in given),
                    remedy="leave all but one out",
                )
        if self.minutes is not None and not 0 < self.minutes <= 100_000:
            raise ConfigError(
                expected="minutes above 0 and up to 100000", received=str(self.minutes), remedy="change --minutes"
            )
        if self.chars is not None and self.chars < 1:
            raise ConfigError(expected="--chars of at least 1", received=str(self.chars), remedy="raise it")
        if self.width is not None and self.width < 1:
            raise ConfigError(expected="--width of at least 1", received=str(self.width), remedy="raise it")


@dataclass(frozen=True)
class Row:
    """A good choice for about so many minutes; `matrix_rate` is Muon's, for a text that is read a few times."""

    minutes: float
    layers: str
    width: int
    lanes: int
    unroll: int
    rate: float
    matrix_rate: float = 0.03


RECIPES: dict[str, tuple[Row, ...]] = {
    "rnn": (Row(1, "rnn*2", 256, 64, 48, 4e-3, 0.02), Row(10, "rnn*3", 384, 64, 48, 3e-3, 0.02)),
    "lstm": (
        Row(1, "lstm*2", 256, 64, 48, 6e-3),
        Row(3, "lstm*2", 320, 64, 48, 6e-3),
        Row(10, "lstm*2", 384, 64, 48, 6e-3),
        Row(20, "lstm*2", 512, 64, 96, 3e-3),
    ),
    "gru": (
        Row(1, "gru*2", 256, 64, 48, 6e-3),
        Row(3, "gru*2", 320, 64, 48, 6e-3),
        Row(10, "gru*2", 416, 64, 64, 5e-3),
    ),
    "mingru": (Row(1, "mingru*3", 256, 64, 64, 4e-3, 0.02), Row(10, "mingru*4", 384, 64, 96, 3e-3, 0.02)),
    "tcn": (Row(1, "tcn*5", 192, 64, 64, 3e-3, 0.016), Row(10, "tcn*6", 256, 64, 96, 2e-3, 0.016)),
    "wavenet": (Row(1, "wavenet*7", 192, 64, 64, 4e-3, 0.016), Row(10, "wavenet*8", 288, 64, 96, 3e-3, 0.016)),
    "transformer": (
        Row(1, "transformer(heads=4,window=64)*4", 128, 64, 64, 3e-3, 0.016),
        Row(10, "transformer(heads=4,window=128)*5", 256, 32, 128, 2e-3, 0.016),
    ),
    "stackrnn": (Row(1, "stackrnn", 256, 64, 64, 4e-3, 0.02), Row(10, "stackrnn*2", 320, 64, 96, 3e-3, 0.02)),
    "tapernn": (Row(1, "tapernn", 192, 64, 64, 4e-3, 0.02), Row(10, "tapernn*2", 256, 64, 96, 3e-3, 0.02)),
    "window": (Row(1, "window", 192, 64, 64, 3e-3, 0.02), Row(10, "window(window=24)*2", 256, 64, 64, 2e-3, 0.02)),
}
OTHER = (Row(1, "", 192, 64, 64, 3e-3, 0.02), Row(10, "", 320, 64, 96, 2e-3, 0.02))
"""For layer patterns and for families that the table does not know."""
WEIGHT_DECAY = 0.1
AVERAGED_SHARE, AVERAGED_ROOTS = 0.1, 3.0
"""Weights are averaged over this share of a text's steps, and at most over so many times the root of their number.

Worth 0.001 to 0.03 nats; best were 100 of 1,000 steps, 200 of 3,400 and 300 of 9,000 (docs/LOG.md).
"""
LOADS = (2.5, 3.3, 6.5, 19.0, 50.0)
QUICKENED = (1.3, 1.37, 1.94, 3.18, 3.7)
"""Under Muon: how hard a text is worked on, and what to multiply the matrices' rate by; straight lines between.

The load is parameters per character of the training part, times the passes through it. Muon's updates all have the same
size, so decay alone bounds the weights. A text that is read often wants large steps against a strong decay
(`decay_for`), no dropout at all, and a temperature afterwards (calibration.py; docs/LOG.md).
"""
FORGETTING, FEWEST_PASSES, MOST_DECAY = 1.45, 3.0, 0.6
FORGETTING_OF = {"lstm": 0.8, "gru": 0.7}
FORGETTING_OF_OTHERS = 0.27
"""How readily each family is best made to forget its past (`decay_for`; docs/LOG.md)."""
DROPOUTS = ((6.0, 0.0), (9.0, 0.1), (16.0, 0.2), (24.0, 0.3), (math.inf, 0.4))
"""Under AdamW, and where lines are read: (times through the training part, dropout), the first that is not exceeded."""


@dataclass(frozen=True)
class Plan:
    """What will be trained: everything is decided, the number of steps too."""

    model: ModelConfig
    training: TrainingConfig
    parameters: int
    seconds: float | None
    faster: float

    @property
    def characters(self) -> int:
        """How many characters training reads."""
        return self.training.steps * self.training.lanes * self.training.unroll


def make_plan(
    request: Request, vocabulary: Vocabulary, train_chars: int, valid_chars: int, lines: Lines | None = None
) -> Plan:
    """Turn a request into a plan, measuring this machine for a few seconds.

    `train_chars` and `valid_chars` are the sizes of the text's parts. With the training part's `lines` (pairs, tags) a
    step is `lanes` of them, and `unroll` is their mean length, padding included. Raises ConfigError.
    """
    family_named(request.family)
    keep_freed_memory()
    minutes = request.minutes if request.minutes is not None else DEFAULT_MINUTES
    row, model = _sized(request, minutes, vocabulary, train_chars)
    if lines is None:
        forget_every, (lanes, unroll) = FORGET_EVERY, _lanes_that_fit(request, row, train_chars)
    else:
        forget_every, (lanes, unroll) = 0, _lines_that_fit(request, row, lines)
    config = TrainingConfig(
        steps=1, lanes=lanes, unroll=unroll, forget_every=forget_every, rate=row.rate, matrix_rate=row.matrix_rate,
        weight_decay=WEIGHT_DECAY, optimizer="muon", average=int(lines is None), patience=PATIENCE, seed=request.seed,
    )  # fmt: skip
    chosen = {
        field.name: value
        for field in fields(TrainingConfig)
        if field.name not in ("steps", "lanes", "unroll", "seed")
        and (value := getattr(request, field.name, None)) is not None
    }
    plan = _with_steps(request, minutes, model, replace(config, **chosen), vocabulary, valid_chars)
    return _regularised(plan, request, train_chars, lines is not None)


def _regularised(plan: Plan, request: Request, train_chars: int, lines: bool) -> Plan:
    """Choose what keeps a text from being learned by heart; what was asked for is kept."""
    passes = plan.characters / max(1, train_chars)
    if request.average is None and not lines:
        steps = plan.training.steps
        average = round(min(AVERAGED_SHARE * steps, AVERAGED_ROOTS * math.sqrt(steps)))
        plan = replace(plan, training=replace(plan.training, average=average))
    if plan.training.optimizer == "muon" and not lines:
        training, dropout = plan.training, 0.0
        if request.matrix_rate is None:
            load = passes * plan.parameters / max(1, train_chars)
            quicker = float(np.interp(load, LOADS, QUICKENED))
            training = replace(training, matrix_rate=round(training.matrix_rate * quicker, 4))
        if request.weight_decay is None:
            decay = decay_for(passes, training, plan.model.pattern())
            training = replace(training, weight_decay=round(decay, 3))
        plan = replace(plan, training=training)
    else:
        dropout = next(share for most, share in DROPOUTS if passes <= most)
        dropout = min(dropout, MOST_DROPOUT_OF_LINES) if lines else dropout
    dropout = _first(request.dropout, dropout)
    return replace(plan, model=replace(plan.model, stack=replace(plan.model.stack, dropout=dropout)))


def decay_for(passes: float, training: TrainingConfig, pattern: str) -> float:
    """Return Muon's weight decay for so many passes through a text by layers of a pattern.

    Decay makes weights forget: at a rate r a step counts for about 1 / (r * decay) further steps. While the rate falls
    to zero over n steps that grows, and the oldest that still counts at the end is the root of n / (r * decay) steps
    old. Measured in passes, this age is what a text fixes (Wang and Aitchison 2024, "How to set AdamW's weight decay as
    you scale model and dataset size", arXiv 2405.13698). For LSTMs, best were about 1.1 passes ** 0.28, for 3 to 43
    passes through 0.2 to 2.6 million characters; solved for decay, that is 0.8 passes ** (2 - 2 * 0.28) / (r * n).
    Fewer passes count as three, for which it is half the training.
    """
    if not training.matrix_rate or not training.steps:
        return WEIGHT_DECAY
    families = pattern.split()
    share = sum(FORGETTING_OF.get(family, FORGETTING_OF_OTHERS) for family in families) / len(families)
    forgotten = share * max(FEWEST_PASSES, passes) ** FORGETTING
    return min(MOST_DECAY, forgotten / (training.matrix_rate * training.steps))


def _first(asked: V | None, otherwise: V) -> V:
    return otherwise if asked is None else asked


def _sized(request: Request, minutes: float, vocabulary: Vocabulary, train_chars: int) -> tuple[Row, ModelConfig]:
    """Choose the row for the minutes, or a smaller one when its model has too many parameters for the text."""
    rows = OTHER if request.layers is not None else RECIPES.get(request.family, OTHER)
    nearest = min(rows, key=lambda row: max(row.minutes / minutes, minutes / row.minutes))
    smaller = sorted((row for row in rows if row.minutes <= nearest.minutes), key=lambda row: -row.minutes)
    for row in smaller:
        layers = parse_layers(_first(request.layers, row.layers or f"{request.family}*2"))
        stack = StackConfig(width=1, plain=request.plain, dropout=_first(request.dropout, 0.0))
        if request.params is not None:
            width = width_for(layers, stack, vocabulary.size, request.params)
        else:
            width = _first(request.width, row.width)
        model = ModelConfig(stack=replace(stack, width=width), layers=layers)
        asked = request.params is not None or request.width is not None
        if asked or row is smaller[-1] or _count(model, vocabulary) <= PARAMETERS_PER_CHARACTER * train_chars:
            return row, model
    raise AssertionError("a family has at least one row")


def _lanes_that_fit(request: Request, row: Row, train_chars: int) -> tuple[int, int]:
    """Shrink lanes, then steps, until a batch is at most a quarter of a small text; what was asked for is kept."""
    lanes, unroll = _first(request.lanes, row.lanes), _first(request.unroll, row.unroll)
    while request.lanes is None and lanes > 1 and lanes * unroll * 4 > train_chars:
        lanes //= 2
    while request.unroll is None and unroll > 8 and lanes * unroll * 4 > train_chars:
        unroll = max(8, unroll // 2)
    return lanes, unroll


def _lines_that_fit(request: Request, row: Row, lines: Lines) -> tuple[int, int]:
    """Return how many lines make a step, and their mean length: about as many characters as of a text.

    Of few lines fewer are taken, so that a pass through them is several updates.
    """
    for name in ("unroll", "forget_every"):
        if getattr(request, name) is not None:
            raise ConfigError(
                expected=f"no --{name.replace('_', '-')} where lines are read: each is read whole, from a cold start",
                received=str(getattr(request, name)),
                remedy="leave it out",
            )
    length = max(1.0, float(lines.lengths.mean())) if len(lines) else 1.0
    lanes = 2 ** round(math.log2(max(1.0, row.lanes * row.unroll / length)))
    lanes = min(lanes, MOST_LINES, max(LEAST_LINES, len(lines) // UPDATES_PER_PASS))
    lanes = _first(request.lanes, lanes)
    if lanes < 1 or not len(lines):
        return lanes, 1
    return lanes, math.ceil(LineBatches(lines, lanes, request.seed).padded_length())


def _with_steps(
    request: Request,
    minutes: float,
    model: ModelConfig,
    config: TrainingConfig,
    vocabulary: Vocabulary,
    valid_chars: int,
) -> Plan:
    faster = 1.0
    if request.steps == 0:
        seconds = None
    elif request.precision is None:
        precision, seconds, faster = faster_precision(model, vocabulary, config)
        config = replace(config, precision=precision)
    else:
        seconds = seconds_per_step(model, vocabulary, config)
    per_step = config.lanes * config.unroll
    available = minutes * 60 - MARGIN * max(0.0, minutes * 60 - MARGIN_BEGINS)
    if request.steps is not None:
        steps = request.steps
    elif request.chars is not None:
        steps = -(-request.chars // per_step)
    else:
        assert seconds is not None
        steps = max(1, int(available / seconds))
    looks = LOOKS
    total = None
    parameters = _count(model, vocabulary)
    if seconds is not None:
        scored = min(valid_chars, config.evaluate_chars) * seconds / (LOOK_SPEED * per_step)
        look = scored + LOOK_SECONDS + LOOK_SECONDS_PER_PARAMETER * parameters
        looks = max(2, min(LOOKS, int(LOOK_SHARE * steps * seconds / look)))
        if request.steps is None and request.chars is None:
            steps = max(1, int((available - look * (looks + 1)) / seconds))
        total = steps * seconds + look * (looks + 1)
    every = request.evaluate_every or max(1, -(-steps // looks))
    warm_up = request.warm_up if request.warm_up is not None else min(100, max(1, steps // 20))
    config = replace(config, steps=steps, evaluate_every=every, warm_up=warm_up)
    return Plan(model, config, parameters, total, faster)


def _count(model: ModelConfig, vocabulary: Vocabulary) -> int:
    # Initialising on the meta device imports torch's compiler, a second for somebody who waits: only where it must be.
    device = "cpu" if model.stack.width <= LARGEST_COUNTED else "meta"
    with torch.random.fork_rng(devices=[]), torch.device(device):
        return parameter_count(model.build(vocabulary.size))
