"""What happened since the last report, and the seconds of training: what is told between two looks.

Knows nothing about models.
"""

import math
import time
from dataclasses import dataclass

from unrolled.training.events import Progressed

REPORT_SECONDS = 0.4


@dataclass
class Report:
    """What happened since the last report, which was told at `since` seconds of training."""

    since: float
    chars: int = 0
    loss_sum: float = 0.0
    losses: int = 0

    def add(self, chars: int, loss: float | None) -> None:
        """Count an update that read so many characters; `loss` is None when it was skipped."""
        self.chars += chars
        if loss is not None:
            self.loss_sum += loss
            self.losses += 1

    def told(self, step: int, rate: float, seconds: float) -> Progressed:
        """Return the report at `seconds` of training, after update number `step`, made at this rate."""
        bits = self.loss_sum / self.losses / math.log(2) if self.losses else math.nan
        return Progressed(step, bits, self.chars / max(1e-9, seconds - self.since), rate, seconds)


class Clock:
    """Seconds of training, those before a resumption included."""

    def __init__(self, before: float) -> None:
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        """Seconds until now."""
        return time.perf_counter() - self._start
