"""Cut one circular stream of ids into parallel lanes; the cursor is one integer.

Knows nothing about texts, epochs or models. B lanes, T steps.
"""

from dataclasses import dataclass

import numpy as np

from unrolled.errors import ConfigError, TextError


@dataclass(frozen=True, eq=False)
class Lanes:
    """`lanes` parallel lanes of the circular stream `ids`, `steps` characters at a time.

    Lane b starts at `b * (len(ids) // lanes)`. A position counts the characters consumed per lane; any position is
    valid, because the stream is circular.

    Raises:
        TextError: `ids` is empty.
        ConfigError: fewer than one lane or step.
    """

    ids: np.ndarray
    lanes: int
    steps: int

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise TextError(expected="a text to read in lanes", received="no characters", remedy="give a longer text")
        if min(self.lanes, self.steps) < 1:
            raise ConfigError(
                expected="at least one lane and one step",
                received=f"{self.lanes} lanes of {self.steps} steps",
                remedy="use 1 or more",
            )

    def batch(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `(inputs_BT, targets_BT)`, int64: the characters at `position`, and those that follow them.

        The ids may be of any integer dtype, in memory or memory-mapped: a corpus has uint8, uint16 or uint32. Only
        uint64 from 2⁶³ on does not fit.
        """
        length = len(self.ids)
        starts_B = np.arange(self.lanes) * (length // self.lanes) + position % length
        where_BT1 = starts_B[:, None] + np.arange(self.steps + 1)
        if int(starts_B[-1]) + self.steps >= length:
            where_BT1 %= length
        # memmap's own indexing costs as much again as the gather
        tokens_BT1 = np.asarray(self.ids)[where_BT1].astype(np.int64)
        return np.ascontiguousarray(tokens_BT1[:, :-1]), np.ascontiguousarray(tokens_BT1[:, 1:])

    def next(self, position: int) -> int:
        """Return the position after the batch at `position`."""
        return position + self.steps
