"""How often gates are shut or wide open: the figure of Karpathy, Johnson and Fei-Fei (2015, arXiv 1506.02078).

Knows nothing about families: a gate is a group of units whose every value lies between 0 and 1.

Shapes: B lanes, T time, N units of a group.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.models.sequence_model import SequenceModel
from unrolled.neurons.streaming import stream_units

SHUT, OPEN = 0.1, 0.9


@dataclass(frozen=True, eq=False)
class Saturation:
    """The share of places at which each unit of a group is below 0.1 (`left`) and above 0.9 (`right`), (N,) each."""

    left: np.ndarray
    right: np.ndarray

    def to_json(self) -> dict[str, object]:
        """Return what pages read."""
        return {
            "left": [round(float(share), 4) for share in self.left],
            "right": [round(float(share), 4) for share in self.right],
        }


class _Counts:
    """Counts of one group, and how far its values reach."""

    def __init__(self) -> None:
        self.left: Tensor | int = 0
        self.right: Tensor | int = 0
        self.low, self.high = float("inf"), -float("inf")

    def add(self, value_PN: Tensor) -> None:
        self.low, self.high = min(self.low, float(value_PN.min())), max(self.high, float(value_PN.max()))
        self.left = self.left + (value_PN < SHUT).sum(0)
        self.right = self.right + (value_PN > OPEN).sum(0)

    def is_gate(self) -> bool:
        # Values that never reach the middle are something else that happens to be small and positive.
        return self.low >= 0 and 0.5 <= self.high <= 1


def saturation(
    model: SequenceModel,
    ids: np.ndarray,
    *,
    precision: str = "float32",
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Saturation]:
    """Return how often the units of every gate are saturated over a text, by group; empty where there are no gates.

    Raises TextError for an empty text, KeyboardInterrupt as soon as `should_stop` says so.
    """
    counts = {group: _Counts() for group in model.units}
    # A group is dropped as soon as it shows a value outside, so that the counting costs little.
    for block in stream_units(model, ids, precision=precision, should_stop=should_stop):
        there_BT = torch.from_numpy(block.places_BT >= 0)
        for group in list(counts):
            value_BTN = block.values[group]
            counts[group].add(value_BTN[there_BT.to(value_BTN.device)])
            if counts[group].low < 0 or counts[group].high > 1:
                del counts[group]
    return {
        group: Saturation(*(np.asarray(Tensor.cpu(torch.as_tensor(side))) / len(ids) for side in (one.left, one.right)))
        for group, one in counts.items()
        if one.is_gate()
    }
