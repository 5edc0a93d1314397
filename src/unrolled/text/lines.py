"""Find the lines of a stream of ids and cut them into batches of similar length, cold at each line.

Knows nothing about files or models. L lines, B lines of a batch, T steps.

In "pairs" a model reads `source TAB target` and is asked for every character of the target and for the newline; in
"tags" it reads the source and is asked for one tag after each character. What is not asked is `UNASKED_ID` in the
targets, and so is what lies behind a line's end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from unrolled.errors import ConfigError, TextError
from unrolled.text.pairs import NEWLINE, TAB, UNASKED
from unrolled.text.vocabulary import Vocabulary

UNASKED_ID = -1
POOL = 32
"""Lines are sorted by length within so many batches: padding is small, and every pass makes other batches."""

_Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Lines:
    """Where the lines of `ids` lie: `starts_L`, `tabs_L` and `ends_L` are the places of first symbol, TAB, newline."""

    ids: np.ndarray
    regime: str
    starts_L: np.ndarray
    tabs_L: np.ndarray
    ends_L: np.ndarray
    unasked: int

    @classmethod
    def of(cls, ids: np.ndarray, vocabulary: Vocabulary, regime: str) -> "Lines":
        """Find the lines of a stream `source TAB target NEWLINE ...`, possibly empty.

        Raises:
            ConfigError: the regime has no lines.
            TextError: the stream does not consist of such lines, or the vocabulary lacks TAB or newline.
        """
        if regime not in ("pairs", "tags"):
            raise ConfigError(
                expected="a text read in the regime pairs or tags",
                received=f"one read as {regime!r}",
                remedy="read it with TextOptions(regime=...)",
            )
        tab, newline, unasked = (int(vocabulary.encode(symbol)[0]) for symbol in (TAB, NEWLINE, UNASKED))
        stream = np.asarray(ids)
        ends_L, tabs_L = np.flatnonzero(stream == newline), np.flatnonzero(stream == tab)
        starts_L = np.concatenate([[0], ends_L[:-1] + 1]).astype(np.int64)[: len(ends_L)]
        whole = tab and newline and len(ends_L) == len(tabs_L) and (len(ends_L) == 0) == (len(stream) == 0)
        if not whole or not ((starts_L <= tabs_L) & (tabs_L < ends_L)).all() or len(stream) > ends_L[-1:].sum() + 1:
            raise TextError(
                expected=f"lines with one TAB in the vocabulary of {regime}",
                received="a text or a vocabulary without them",
                remedy="read the text with the run's own options and vocabulary",
            )
        return cls(ids, regime, starts_L, tabs_L, ends_L, unasked if regime == "tags" and unasked else UNASKED_ID)

    def __len__(self) -> int:
        return len(self.starts_L)

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many symbols a model reads of each line, (L,)."""
        return (self.ends_L if self.regime == "pairs" else self.tabs_L) - self.starts_L

    def batch(self, rows_B: np.ndarray) -> _Batch:
        """Return `(inputs_BT, targets_BT)`, int64, of these lines; T is the longest of them."""
        starts_B, offset_B = self.starts_L[rows_B], self.tabs_L[rows_B] - self.starts_L[rows_B]
        lengths_B1 = self.lengths[rows_B][:, None]
        steps_T = np.arange(int(lengths_B1.max(initial=1)))
        inside_BT = steps_T < lengths_B1
        where_BT = np.minimum(starts_B[:, None] + steps_T, len(self.ids) - 1)
        stream = np.asarray(self.ids)
        inputs_BT = np.where(inside_BT, stream[where_BT], 0).astype(np.int64)
        ahead_B = np.ones_like(offset_B) if self.regime == "pairs" else offset_B + 1
        targets_BT = stream[np.minimum(where_BT + ahead_B[:, None], len(stream) - 1)].astype(np.int64)
        if self.regime == "pairs":
            asked_BT = inside_BT & (steps_T >= offset_B[:, None])
        else:
            asked_BT = inside_BT & (targets_BT != self.unasked)
        return inputs_BT, np.where(asked_BT, targets_BT, UNASKED_ID)

    def source(self, row: int) -> np.ndarray:
        """Return the ids of a line's source."""
        return self.ids[self.starts_L[row] : self.tabs_L[row]]

    def target(self, row: int) -> np.ndarray:
        """Return the ids of a line's target, without the newline."""
        return self.ids[self.tabs_L[row] + 1 : self.ends_L[row]]

    def head(self, at_most: int | None) -> np.ndarray:
        """Return the first lines that have at most so many symbols together, and at least one if there is any."""
        if at_most is None:
            return np.arange(len(self))
        count = int(np.searchsorted(np.cumsum(self.lengths), at_most, side="right"))
        return np.arange(min(len(self), max(1, count)))

    def groups(self, rows_L: np.ndarray, symbols: int) -> Iterator[np.ndarray]:
        """Yield these lines sorted by length, in groups that, padded, have at most so many symbols (or one line)."""
        lengths_L = self.lengths[rows_L]
        order = np.argsort(lengths_L, kind="stable")
        start = 0
        while start < len(order):
            # The longest line of a group decides what each of its lines costs.
            costs = np.maximum(lengths_L[order[start:]], 1) * np.arange(1, len(order) - start + 1)
            stop = start + max(1, int(np.searchsorted(costs, symbols, side="right")))
            yield rows_L[order[start:stop]]
            start = stop


@dataclass(eq=False)
class LineBatches:
    """Batches of `count` lines for training; the cursor is the number of batches so far.

    What a position gives depends on it and on `seed` alone. Every pass reads every line once, in other company; the
    last batch of a pass may be smaller.
    """

    lines: Lines
    count: int
    seed: int
    _pass: int = field(init=False, default=-1)
    _batches: list[np.ndarray] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if not len(self.lines):
            raise TextError(expected="lines to learn from", received="none", remedy="give a longer text")
        if self.count < 1:
            raise ConfigError(expected="at least one line at a time", received=str(self.count), remedy="use 1 or more")

    def batch(self, position: int) -> _Batch:
        """Return `(inputs_BT, targets_BT)`, int64, as `Lines.batch` does."""
        number, index = divmod(position, -(-len(self.lines) // self.count))
        if number != self._pass:
            self._pass, self._batches = number, self._dealt(number)
        return self.lines.batch(self._batches[index])

    def next(self, position: int) -> int:
        """Return the position after the batch at `position`."""
        return position + 1

    def padded_length(self) -> float:
        """Return the mean length of a batch, padding included, in the first pass."""
        lengths_L = self.lines.lengths
        return float(np.mean([max(1, lengths_L[rows].max()) for rows in self._dealt(0)]))

    def _dealt(self, number: int) -> list[np.ndarray]:
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, number])))
        order = random.permutation(len(self.lines))
        pool = np.arange(len(order)) // (POOL * self.count)
        order = order[np.lexsort((self.lines.lengths[order], pool))]
        batches = np.split(order, range(self.count, len(order), self.count))
        return [batches[index] for index in random.permutation(len(batches)).tolist()]
