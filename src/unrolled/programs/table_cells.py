"""What the trials of a table come to: for each task and family, the best of all, and how often it is solved.

Knows nothing about files, pages or how a trial is run.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One model that learned one task; shares from 0 to 1, None where learning failed (`problem` says why).

    `headline` is the accuracy by which the task is told: on longer inputs, or where the task says so on the trained
    lengths; `exact`, `measured`, `chance` and `know_nothing` are of the same lengths.
    """

    task: str
    family: str
    rate: float
    seed: int
    headline: float | None
    trained: float | None
    longer: float | None
    exact: float | None
    chance: float
    solved: bool
    measured: float | None = None
    know_nothing: float | None = None
    problem: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What tells a trial from all others of its table."""
        return self.task, self.family, self.rate, self.seed


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A task and a family: the best accuracy of all trials, and how many seeds solved it at the best rate.

    The best rate is the one that most seeds solve it with, and then the one of the highest mean accuracy.
    """

    task: str
    family: str
    best: float
    exact: float
    trained: float
    chance: float
    rate: float
    solved: int
    seeds: int
    trials: int
    measured: float | None = None
    know_nothing: float | None = None

    @property
    def shade(self) -> float:
        """How much of the way from chance to all right was made, 0 to 1."""
        return max(0.0, min(1.0, (self.best - self.chance) / max(1e-9, 1 - self.chance)))

    def to_json(self) -> dict[str, object]:
        """Return the numbers by name."""
        return asdict(self)


def cells_of(trials: Sequence[Trial], tasks: Sequence[str], families: Sequence[str]) -> list[Cell]:
    """Return the cells for which there are trials, task by task; tasks and families in the given orders."""
    found = []
    for task in tasks:
        for family in families:
            mine = [trial for trial in trials if (trial.task, trial.family) == (task, family)]
            if mine:
                found.append(_cell(task, family, mine))
    return found


def _cell(task: str, family: str, trials: list[Trial]) -> Cell:
    by_rate: dict[float, list[Trial]] = {}
    for trial in trials:
        by_rate.setdefault(trial.rate, []).append(trial)

    def success(rate: float) -> tuple[float, float]:
        mine = by_rate[rate]
        return sum(one.solved for one in mine) / len(mine), sum(one.headline or 0.0 for one in mine) / len(mine)

    rate = max(by_rate, key=success)
    best = max(trials, key=lambda trial: trial.headline or 0.0)
    return Cell(
        task=task,
        family=family,
        best=best.headline or 0.0,
        exact=best.exact or 0.0,
        trained=best.trained or 0.0,
        chance=best.chance,
        rate=rate,
        solved=sum(trial.solved for trial in by_rate[rate]),
        seeds=len(by_rate[rate]),
        trials=len(trials),
        measured=best.measured,
        know_nothing=best.know_nothing,
    )
