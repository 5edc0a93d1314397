"""Models of unrolled as both sides of a comparison use them: built, trained and scored through the public loop.

Knows nothing about what they are compared with.

Shapes: B lanes, T steps, V vocabulary.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unrolled.benchmarks.comparing import Way
from unrolled.models import ModelConfig, StackConfig, parse_layers
from unrolled.models.sequence_model import SequenceModel, State, Tap, untouched
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


class _Everything(Tap):
    """Is shown every unit, and does nothing with it: what is measured is the model's side."""

    def watches(self, name: str) -> bool:  # noqa: ARG002
        return True

    def edits(self, name: str) -> bool:  # noqa: ARG002
        return False

    def __call__(self, name: str, value_BTN: Tensor) -> Tensor:  # noqa: ARG002
        return value_BTN


def reading_ways(size: Size, *, watched: bool) -> list[Way]:
    """Return a forward pass over lanes x steps with carried state, every unit watched or none, at every precision."""
    model = size.build()
    ids = torch.from_numpy(random_ids(size.characters)).to(default_device())
    tap = _Everything() if watched else untouched
    return [_reading_way(model, ids.view(size.lanes, size.unroll), tap, precision) for precision in PRECISIONS]


def _reading_way(model: SequenceModel, tokens_BT: Tensor, tap: Tap, precision: str) -> Way:
    state: State | None = None

    def read(_: None) -> float:
        nonlocal state
        with torch.inference_mode(), autocast(model, precision):
            logits_BTV, state = model(tokens_BT, state, tap=tap)
            # Reading one number waits for a GPU, too.
            logits_BTV[-1, -1, 0].item()
        return tokens_BT.numel()

    return Way(precision, read)


def _scoring_way(model: SequenceModel, ids: np.ndarray, precision: str) -> Way:
    def score(_: None) -> float:
        with autocast(model, precision):
            return evaluate(model, ids, Protocol()).chars

    return Way(precision, score)
