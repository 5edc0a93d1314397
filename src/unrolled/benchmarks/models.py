"""Models of unrolled as both sides of a comparison use them: built, trained and scored through the public loop.

Knows nothing about what they are compared with.

Shapes: B lanes, T steps, V vocabulary.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from unrolled.benchmarks.comparing import Way
from unrolled.models import ModelConfig, StackConfig, parse_layers
from unrolled.models.sequence_model import SequenceModel
from unrolled.text.lanes import Lanes
from unrolled.text.vocabulary import UNKNOWN, Vocabulary
from unrolled.training.allocator import keep_freed_memory
from unrolled.training.config import PRECISIONS, TrainingConfig
from unrolled.training.evaluation import Protocol, evaluate
from unrolled.training.loop import Training, autocast, update
from unrolled.training.measure import default_device

VOCAB = 65
"""As many symbols as Tiny Shakespeare has."""


@dataclass(frozen=True)
class Size:
    """What is trained: a layer pattern of a width, B lanes of T steps."""

    layers: str
    width: int
    lanes: int
    unroll: int
    optimizer: str = "adamw"

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return ModelConfig(stack=StackConfig(width=self.width), layers=parse_layers(self.layers))

    @property
    def characters(self) -> int:
        """The characters of one training step."""
        return self.lanes * self.unroll

    def build(self) -> SequenceModel:
        """Return the model with weights of a fixed seed, in evaluation mode, on the device that would train it."""
        torch.manual_seed(0)
        return self.config.build(VOCAB).to(default_device()).eval()


def random_ids(length: int) -> np.ndarray:
    """Return random characters, none of them unknown."""
    return np.random.Generator(np.random.PCG64(0)).integers(1, VOCAB, size=length, dtype=np.int64)


def begin(size: Size, precision: str) -> tuple[Training, Lanes]:
    """Return what `unrolled.training.loop.update` takes: a training on random characters, and its lanes."""
    vocabulary = Vocabulary("characters", (UNKNOWN, *(chr(33 + k) for k in range(VOCAB - 1))))
    config = TrainingConfig(steps=10**6, lanes=size.lanes, unroll=size.unroll, optimizer=size.optimizer)
    ids = random_ids(4 * size.characters + 1)
    training = Training(size.build(), replace(config, precision=precision), vocabulary, ids, ids)
    return training, Lanes(ids, size.lanes, size.unroll)


def training_ways(size: Size, amount: float | None = None) -> list[Way]:
    """Return a step of the real training loop, clipping and update included, at every precision, memory kept as there.

    Its amount is the step's characters, or what is given.
    """
    keep_freed_memory()
    return [_training_way(size, precision, size.characters if amount is None else amount) for precision in PRECISIONS]


def _training_way(size: Size, precision: str, amount: float) -> Way:
    training, lanes = begin(size, precision)

    def step(_: None) -> float:
        update(training, lanes)
        return amount

    return Way(precision, step)


def scoring_ways(size: Size, characters: int) -> list[Way]:
    """Return scoring so many characters, carried, at every precision."""
    model, ids = size.build(), random_ids(characters)
    return [_scoring_way(model, ids, precision) for precision in PRECISIONS]


def _scoring_way(model: SequenceModel, ids: np.ndarray, precision: str) -> Way:
    def score(_: None) -> float:
        with autocast(model, precision):
            return evaluate(model, ids, Protocol()).chars

    return Way(precision, score)
