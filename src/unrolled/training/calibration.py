"""How sure of itself a model should be: one temperature for all it predicts, fitted on a text that it did not learn.

A model that has read its text many times knows it better than any other, and is as sure elsewhere as it is there. One
number mends most of that: the logits are divided by a temperature (Guo et al. 2017, "On calibration of modern neural
networks", arXiv 1706.04599), which the readout's weights take in, so that nothing else knows of it.

Knows nothing about families, folders or how a model was trained. Shapes: N characters, V vocabulary.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from unrolled.models.sequence_model import SequenceModel
from unrolled.models.stack import Stack
from unrolled.training.evaluation import Protocol, Score, evaluate, predictions, total_nats

LEAST_CHARACTERS = 2000
"""With fewer, the temperature would tell more about them than about the model."""
LIMIT = 4.0
"""No temperature above this, and none below its inverse."""
MOST_LOGITS = 1 << 24
"""At most so many numbers are looked at: every k-th character, when there are more."""
NEWTON_STEPS = 20


def fitted_temperature(
    model: SequenceModel, ids: np.ndarray, *, should_stop: Callable[[], bool] = lambda: False
) -> float:
    """Return the temperature at which the model, used as it is, predicts `ids` best when it carries its state.

    1 for fewer than `LEAST_CHARACTERS`. Raises KeyboardInterrupt as soon as `should_stop` says so.
    """
    return 1.0 if len(ids) < LEAST_CHARACTERS else best_temperature(*_kept(model, ids, should_stop))


def calibrated_score(model: SequenceModel, ids: np.ndarray) -> tuple[Score, float]:
    """Return what `ids`, carried, would cost at the temperature that fits them best, and that temperature."""
    if len(ids) < LEAST_CHARACTERS:
        return evaluate(model, ids, Protocol()), 1.0
    kept = _kept(model, ids)
    temperature = best_temperature(*kept)
    pieces = [kept] if len(kept[1]) == len(ids) - 1 else predictions(model, ids, Protocol())
    nats = total_nats((logits_NV / temperature, targets_N) for logits_NV, targets_N in pieces)
    return Score(nats, len(ids) - 1, len(ids) - 1, Protocol()), temperature


def _kept(
    model: SequenceModel, ids: np.ndarray, should_stop: Callable[[], bool] = lambda: False
) -> tuple[Tensor, Tensor]:
    every = max(1, math.ceil(len(ids) * model.vocab_size / MOST_LOGITS))
    logits, targets = [], []
    for logits_NV, targets_N in predictions(model, ids, Protocol(), should_stop=should_stop):
        logits.append(logits_NV[::every].cpu())
        targets.append(targets_N[::every].cpu())
    return torch.cat(logits), torch.cat(targets)


def best_temperature(logits_NV: Tensor, targets_N: Tensor) -> float:
    """Return the temperature that makes the cross-entropy least.

    The cross-entropy is convex in the inverse temperature b: its derivative is the mean of (expected - observed logit),
    its second derivative the mean variance of the logits under the model. So Newton's method finds b.
    """
    observed = logits_NV.gather(1, targets_N[:, None]).mean(dtype=torch.float64).item()
    b = 1.0
    for _ in range(NEWTON_STEPS):
        shares_NV = (logits_NV * b).softmax(-1)
        expected_N = (shares_NV * logits_NV).sum(-1)
        variance = ((shares_NV * logits_NV.square()).sum(-1) - expected_N.square()).mean(dtype=torch.float64).item()
        slope = expected_N.mean(dtype=torch.float64).item() - observed
        if not (math.isfinite(slope) and variance > 0):
            return 1.0
        # At most a factor of two at a time: far from the optimum, a parabola is a poor picture of the loss.
        b, before = min(max(b - slope / variance, b / 2, 1 / LIMIT), b * 2, LIMIT), b
        if abs(b - before) < 1e-5 * b:
            break
    return 1 / b


@torch.no_grad()
def cool(model: Stack, temperature: float) -> None:
    """Divide everything that the model will predict by a temperature, in its readout's weights."""
    model.readout.weight.div_(temperature)
    model.readout.bias.div_(temperature)
