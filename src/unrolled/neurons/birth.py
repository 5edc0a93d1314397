"""When a unit came to follow its feature: its score at every step whose weights were kept, and when it rose.

Knows nothing about families or pages: it sees weights, the contract, and a text with its labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unrolled.errors import RunError
from unrolled.models.sequence_model import SequenceModel
from unrolled.neurons.findings import Candidate, strength
from unrolled.neurons.statistics import score_pair
from unrolled.neurons.streaming import record_units
from unrolled.training.experiment import load_weights
from unrolled.training.run_folder import RunFolder

MOST_CHARACTERS = 60_000
"""Of the text, so many are read at every step."""

Pair = tuple[str, str]
"""A unit and a feature."""


@dataclass(frozen=True)
class Birth:
    """A unit's scores for its feature, `points`, as (step, score) in ascending order.

    It appeared `by` the first step from which on its strength stays at least halfway between what untrained copies of
    the model reach and what it has at the end, and `after` the kept step before that one. Both are None where it never
    rose so; `after` alone is None where it was there at the first step.
    """

    unit: str
    feature: str
    points: tuple[tuple[int, float], ...]
    after: int | None = None
    by: int | None = None

    def sentence(self, seconds: Mapping[int, float]) -> str:
        """Return `layer1.cell[137] appeared between step 200 and 400 (12 s to 24 s)`, with the run's time at steps."""
        if not self.points:
            return f"{self.unit}: the run kept no weights of its past"
        if self.by is None:
            return f"{self.unit} never rose above what untrained models reach"
        if self.after is None:
            return f"{self.unit} was there at step {self.by:,}, the first that was kept"
        times = ""
        if self.after in seconds and self.by in seconds:
            times = f" ({_time(seconds[self.after])} to {_time(seconds[self.by])})"
        return f"{self.unit} appeared between step {self.after:,} and {self.by:,}{times}"


@dataclass(frozen=True)
class Births:
    """Births by unit and feature; `notes` say which steps could not be read."""

    births: Mapping[Pair, Birth]
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> dict[Pair, tuple[tuple[int, float], ...]]:
        """The scores alone, as (step, score)."""
        return {pair: birth.points for pair, birth in self.births.items()}


def births(
    folder: RunFolder,
    fresh: Callable[[], SequenceModel],
    candidates: Sequence[Candidate],
    ids: np.ndarray,
    labels: Mapping[str, np.ndarray],
    *,
    precision: str = "float32",
    should_stop: Callable[[], bool] = lambda: False,
) -> Births:
    """Score the candidates' units at every snapshot of a run, on the first `MOST_CHARACTERS` of an unseen text.

    `fresh` makes a model of the run's shape; `labels` are those of `ids` by feature, bool or float32 with NaN. A
    snapshot that is missing, damaged or another model's is left out and noted. Raises KeyboardInterrupt as soon as
    `should_stop` says so.
    """
    ids = ids[:MOST_CHARACTERS]
    points: dict[Pair, list[tuple[int, float]]] = {(one.unit, one.feature): [] for one in candidates}
    notes: list[str] = []
    units = list(dict.fromkeys(one.unit for one in candidates))
    model = fresh() if units else None
    for step in folder.snapshots() if model is not None else ():
        assert model is not None
        try:
            load_weights(model, folder.snapshot(step), f"snapshot {step} of {folder.path}")
        except RunError as problem:
            notes.append(str(problem))
            continue
        recorded_TU = record_units(model, ids, units, precision=precision, should_stop=should_stop)
        for one in candidates:
            values_T, labels_T = recorded_TU[:, units.index(one.unit)], labels[one.feature][: len(ids)]
            score = score_pair(values_T, labels_T, one.kind, one.sign)
            points[one.unit, one.feature].append((step, score))
    found = {(one.unit, one.feature): _birth(one, points[one.unit, one.feature]) for one in candidates}
    return Births(found, tuple(notes))


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _birth(candidate: Candidate, points: Sequence[tuple[int, float]]) -> Birth:
    kind = candidate.kind
    birth = Birth(candidate.unit, candidate.feature, tuple(points))
    if not points:
        return birth
    untrained, final = strength(candidate.untrained_score, kind), strength(points[-1][1], kind)
    if final <= untrained:
        return birth
    below = [index for index, (_, score) in enumerate(points) if strength(score, kind) < (untrained + final) / 2]
    first = below[-1] + 1 if below else 0
    return replace(birth, after=points[first - 1][0] if first else None, by=points[first][0])
