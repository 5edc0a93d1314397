"""Next-character distributions, and streams of characters drawn from them.

Knows nothing about families, training or files: it sees a sequence model through the contract alone.

One uniform number is drawn per character and looked up in the cumulative distribution, so that two models (or one
model with and without an edited unit) can be sampled from the same random numbers, and a sample depends on model,
prompt, options and seed alone.

Shapes: T time, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import ConfigError
from unrolled.models.sequence_model import SequenceModel, State, Tap, untouched

UNKNOWN_ID = 0
"""The id of the unknown symbol: read, but never written."""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to draw: `temperature` divides the logits (0 takes the likeliest), then `top_k` keeps the k likeliest,
    then `top_p` keeps the smallest set whose probability reaches p (Holtzman et al. 2020, arXiv 1904.09751).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise ConfigError(
                expected="a temperature from 0 to 100", received=str(self.temperature), remedy="0.5 to 1.2 is usual"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(expected="--top-k of at least 1", received=str(self.top_k), remedy="raise it")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ConfigError(expected="--top-p in (0, 1]", received=str(self.top_p), remedy="0.9 is usual")


def distribution(logits_V: np.ndarray, options: SamplingOptions) -> np.ndarray:
    """Return the probabilities (V,) in float64 from which the next symbol is drawn; the unknown symbol has none."""
    logits = logits_V.astype(np.float64)
    logits[UNKNOWN_ID] = -np.inf
    if options.temperature == 0.0:
        return np.eye(1, len(logits), int(logits.argmax()))[0]
    weights = np.exp((logits - logits.max()) / options.temperature)
    if options.top_k is not None and options.top_k < len(weights):
        weights[np.argsort(-weights, kind="stable")[options.top_k :]] = 0.0
    probabilities = weights / weights.sum()
    if options.top_p is not None:
        order = np.argsort(-probabilities, kind="stable")
        before = np.cumsum(probabilities[order]) - probabilities[order]
        probabilities[order[before >= options.top_p]] = 0.0
        probabilities /= probabilities.sum()
    return probabilities


def draw(probabilities_V: np.ndarray, uniform: float) -> int:
    """Return the symbol at which the cumulative distribution passes `uniform`, a number in [0, 1)."""
    cumulative = np.cumsum(probabilities_V)
    index = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return min(index, int(np.flatnonzero(probabilities_V)[-1]))


@dataclass(frozen=True, eq=False)
class Place:
    """A place in a text: what a model remembers there and what it expects next. A value: keep it to come back."""

    state: State
    logits_V: np.ndarray


def read(
    model: SequenceModel, ids: Sequence[int] | np.ndarray, state: State | None = None, *, tap: Tap = untouched
) -> Place:
    """Read symbols (at least one) from `state` on and return the place after them."""
    if len(ids) == 0:
        raise ConfigError(expected="at least one character to read", received="none", remedy="give a prompt")
    device = next(model.parameters()).device
    tokens_1T = torch.as_tensor(np.asarray(ids, dtype=np.int64), device=device)[None]
    with torch.inference_mode():
        logits_1TV, after = model(tokens_1T, state, tap=tap)
    last: Tensor = logits_1TV[0, -1]
    return Place(after, last.float().cpu().numpy())


def stream(
    model: SequenceModel,
    prompt: Sequence[int] | np.ndarray,
    options: SamplingOptions,
    *,
    seed: int,
    tap: Tap = untouched,
) -> Iterator[int]:
    """Read the prompt (at least one symbol), then yield one symbol after another, for ever.

    The model must be in evaluation mode.
    """
    place = read(model, prompt, tap=tap)
    uniforms = np.random.Generator(np.random.PCG64(seed))
    while True:
        symbol = draw(distribution(place.logits_V, options), uniforms.random())
        yield symbol
        place = read(model, [symbol], place.state, tap=tap)
