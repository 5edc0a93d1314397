"""Measure two ways to do the same work in turns, and compare their medians.

Knows nothing about models, texts or terminals.

Machines are shared and noisy, so both sides take turns. Where there are several ways to do one side's
work (float32 or bfloat16, this layer or that), the quickest one on this machine stands for the side: the reference is
the strongest one that was found, and not the most convenient.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from unrolled.benchmarks.apart import RemoteWay, ways_apart

WARM_UP_TURNS = 1
TRIAL_TURNS = 2
SECONDS_PER_ROW = 4.0
SHORTEST_TURN = 0.15
SETTLE_SECONDS = 0.02
"""Between turns: threads of the side whose turn is over go on spinning for a few milliseconds."""
MOST_TURNS = 100


def _nothing() -> None:
    """Prepare nothing; or leave nothing to close."""


@dataclass(frozen=True)
class Way:
    """One way to do a side's work: `turn` is handed what `prepare` made, is timed, and returns how much it did.

    `close` is called when a comparison is over.
    """

    name: str
    turn: Callable[[Any], float]
    prepare: Callable[[], Any] = _nothing
    close: Callable[[], object] = _nothing

    def rate(self) -> float:
        """Take a turn and return how much was done in a second; short work is repeated to fill `SHORTEST_TURN`."""
        prepared = self.prepare()
        start = time.perf_counter()
        amount = self.turn(prepared)
        while self.prepare is _nothing and time.perf_counter() - start < SHORTEST_TURN:
            amount += self.turn(prepared)
        return amount / (time.perf_counter() - start)


@dataclass(frozen=True)
class Row:
    """One comparison, under a name of its own; `ours` and `theirs` build the ways to do each side's work.

    `reference` is what stands on the other side, in a few words; `unit` is what both values are counted in. `apart`
    puts the reference into a process of its own, which calls it with the row's name for the ways: a module's function.
    """

    subject: str
    name: str
    unit: str
    reference: str
    ours: Callable[[], list[Way]]
    theirs: Callable[[], list[Way]]
    apart: Callable[[str], list[Way]] | None = None


class Result(TypedDict):
    """One measured comparison, under its public names; ratio = value / reference_value."""

    name: str
    unit: str
    value: float
    reference: str
    reference_value: float
    ratio: float


def measure_row(row: Row, rounds: int = 5, seconds: float = SECONDS_PER_ROW) -> Result:
    """Measure one comparison: medians of at least `rounds` turns of each side, and of more while `seconds` last."""
    start = time.perf_counter()
    mine: list[Way] = row.ours()
    others: Sequence[Way | RemoteWay] = ways_apart(row.name, row.apart) if row.apart else row.theirs()
    try:
        ours, theirs = _quickest(mine), _quickest(others)
        rates: list[tuple[float, float]] = []
        while len(rates) < rounds or (time.perf_counter() - start < seconds and len(rates) < MOST_TURNS):
            rates.append((_settled_rate(ours), _settled_rate(theirs)))
    finally:
        for way in (*mine, *others):
            way.close()
    value, reference_value = (statistics.median(side) for side in zip(*rates, strict=True))
    return {
        "name": row.name,
        "unit": row.unit,
        "value": _rounded(value),
        "reference": f"{row.reference} ({theirs.name})" if theirs.name else row.reference,
        "reference_value": _rounded(reference_value),
        "ratio": round(value / reference_value, 3),
    }


def _settled_rate(way: Way | RemoteWay) -> float:
    time.sleep(SETTLE_SECONDS)
    return way.rate()


def _quickest(ways: Sequence[Way | RemoteWay]) -> Way | RemoteWay:
    """Warm every way up; return the one that does the most in a second."""
    rates = []
    for way in ways:
        for _ in range(WARM_UP_TURNS):
            way.rate()
        rates.append(max(_settled_rate(way) for _ in range(TRIAL_TURNS)))
    return ways[rates.index(max(rates))]


def _rounded(value: float) -> float:
    return round(value, 1 if value >= 100 else 3)
