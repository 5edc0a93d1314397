"""What ablation and clamping share: how much is measured, how many rows run at once, what is drawn anew for intervals.

Knows nothing about units, texts or families.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unrolled.models.sequence_model import SequenceModel
from unrolled.neurons.findings import Interval
from unrolled.neurons.statistics import RESAMPLES

MOST_ROWS = 512
MOST_STATE_BYTES = 1 << 25
"""So much state is carried along at once, which a processor's cache still holds: windows of keys and values are large,
and copied at every step."""


@dataclass(frozen=True, kw_only=True)
class Proving:
    """How units are proved.

    Losses are measured on at least `characters` characters (all of a shorter text), rates on `samples` passages of
    `length` characters written at `temperature`, each after `context` characters of the text. `precision` is that
    of training, in which everything runs. `should_stop` is asked again and again, and then KeyboardInterrupt is raised;
    `progress` is told the share that is done, 0 to 1.
    """

    characters: int = 20_000
    samples: int = 200
    length: int = 200
    context: int = 256
    temperature: float = 1.0
    controls: int = 8
    seed: int = 0
    precision: str = "float32"
    should_stop: Callable[[], bool] = lambda: False
    progress: Callable[[float], object] = lambda _: None

    def look_up(self) -> None:
        """Raise KeyboardInterrupt when it is time to stop."""
        if self.should_stop():
            raise KeyboardInterrupt


AS_USUAL = Proving()


def rows_that_fit(model: SequenceModel) -> int:
    """Return how many streams of this model run side by side in bounded memory."""
    each = sum(value.numel() * value.element_size() for value in model.initial_state(1).values())
    return max(1, min(MOST_ROWS, MOST_STATE_BYTES // max(1, each)))


def drawn_anew(count: int, seed: int) -> np.ndarray:
    """Return how often each of `count` blocks is drawn, (R, count), in R draws of as many blocks with replacement."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)


def middle(values_R: np.ndarray) -> Interval:
    """Return the 95 % interval of drawn values; NaN, where a draw had nothing to measure, is left out."""
    values_R = values_R[~np.isnan(values_R)]
    low, high = np.quantile(values_R, [0.025, 0.975]) if len(values_R) else (0.0, 0.0)
    return float(low), float(high)
