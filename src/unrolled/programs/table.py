"""The table of length generalisation: every task by every family, every seed and rate; what is done is never lost.

    DIR/  protocol.json   what all numbers have in common
          trials.jsonl    one finished trial a line, appended durably
          table.json  table.md  heat.svg   what they come to, written anew after every trial

Knows nothing about terminals; how the pages look is heat.py's.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unrolled.errors import ConfigError, RunError, RunLockedError, TrainingError
from unrolled.models.families import FAMILIES
from unrolled.programs.heat import markdown, svg
from unrolled.programs.learning import Event, LearnRequest, begin, learn, outcome, test, to_json
from unrolled.programs.lessons import BATCH, NOT_LEARNED, PATTERNS, STEPS, WIDTH
from unrolled.programs.table_cells import Cell, Trial, cells_of
from unrolled.programs.tasks import TASKS, task_named
from unrolled.training import durable

FORMAT = 2
"""Raised whenever a trial is made otherwise: 2 since rnn, lstm and gru learn plain."""
_PROTOCOL, _TRIALS, _LOCK = "protocol.json", "trials.jsonl", "table.lock"


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """Which tasks, families, seeds (1 to `seeds`) and rates (none: each family's own), and how long each trial learns.

    `points` is how many training lengths are tested, three times as many longer ones (None: as `unrolled task train`).
    """

    tasks: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    seeds: int = 1
    rates: tuple[float, ...] = ()
    steps: int = STEPS
    width: int = WIDTH
    batch: int = BATCH
    points: int | None = None
    sequences: int = 32

    def __post_init__(self) -> None:
        for task in self.tasks:
            task_named(task)
        for family in self.families:
            LearnRequest(family=family, width=self.width, batch=self.batch)
        for rate in self.rates:
            LearnRequest(rate=rate)
        whole = {"seeds": self.seeds, "steps": self.steps, "sequences": self.sequences, "points": self.points or 1}
        for name, value in whole.items():
            if value < 1:
                raise ConfigError(expected=f"--{name} of at least 1", received=str(value), remedy="raise it")
        for name, given in (("tasks", self.tasks), ("families", self.families), ("rates", self.rates)):
            if len(set(given)) < len(given):
                raise ConfigError(
                    expected=f"each of --{name} once", received=",".join(map(str, given)), remedy="leave one out"
                )

    @property
    def protocol(self) -> dict[str, object]:
        """What all numbers of one table have in common."""
        names = ("steps", "width", "batch", "points", "sequences")
        return {"format": FORMAT, **{name: value for name, value in asdict(self).items() if name in names}}


@dataclass(frozen=True)
class TrialBegan:
    """Trial number `number` of `total` begins; it is a trial of this task by this family."""

    number: int
    total: int
    task: str
    family: str
    rate: float
    seed: int


@dataclass(frozen=True)
class TrialEnded:
    """A trial is safely on disk."""

    number: int
    total: int
    trial: Trial


@dataclass(frozen=True)
class Table:
    """A table in its folder, and the trials that are done."""

    path: Path
    request: TableRequest

    def trials(self) -> list[Trial]:
        """Return all trials that are done, oldest first; of those done twice the first. Raises RunError."""
        found: dict[tuple[str, str, float, int], Trial] = {}
        for line in durable.read_json_lines(self.path / _TRIALS):
            trial = _trial_from(line, self.path / _TRIALS)
            found.setdefault(trial.key, trial)
        return list(found.values())

    def cells(self) -> list[Cell]:
        """Return what the trials come to, in the order of tasks and families, those of earlier requests included."""
        return cells_of(self.trials(), all_tasks(), all_families())

    def families(self) -> list[str]:
        """Return the families for which there are trials, in the order of the columns."""
        known = {trial.family for trial in self.trials()}
        return [family for family in all_families() if family in known]

    def wanted(self) -> list[tuple[str, LearnRequest, float]]:
        """Return the trials that the request asks for and that are not done: task, request and rate.

        All tasks and families come with their first seed and rate before any comes with its second, so that an
        interrupted table is a whole one.
        """
        done = {trial.key for trial in self.trials()}
        asked = self.request
        found = []
        for seed in range(1, asked.seeds + 1):
            for rate in asked.rates or (None,):
                for task in asked.tasks or all_tasks():
                    for family in asked.families or all_families():
                        request = LearnRequest(
                            family=family, steps=asked.steps, width=asked.width, batch=asked.batch, rate=rate, seed=seed
                        )
                        known = request.training(1, 1).rate
                        if (task, family, known, seed) not in done:
                            found.append((task, request, known))
        return found

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer. Raises RunLockedError when another process is."""
        lock = FileLock(self.path / _LOCK, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise RunLockedError(
                expected=f"to be the only writer of {self.path}",
                received="a lock held by another process",
                remedy="wait until it ends, or choose another --out",
            ) from None
        try:
            yield
        finally:
            lock.release()


def all_tasks() -> tuple[str, ...]:
    """Return every task's name."""
    return tuple(TASKS)


def all_families() -> tuple[str, ...]:
    """Return every column: the families that there are now, and the patterns that have a name of their own."""
    names = [name for name in FAMILIES if name not in NOT_LEARNED]
    for name in PATTERNS:
        if name not in names:
            base = name.rpartition("-")[0]
            names.insert(names.index(base) + 1 if base in names else len(names), name)
    return tuple(names)


def open_table(path: Path | str, request: TableRequest) -> Table:
    """Open a table's folder, or make it. Raises RunError when it is no table, or one of another protocol."""
    path = Path(path)
    protocol_file = path / _PROTOCOL
    if protocol_file.exists():
        found = durable.read_json(protocol_file)
        if found != request.protocol:
            raise RunError(
                expected=f"a table with {_words(request.protocol)}",
                received=f"{path}, a table with {_words(found)}",
                remedy="ask for the same, or choose another --out",
            )
        return Table(path, request)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(
            expected=f"a table or a new folder at {path}",
            received="a folder with other files" if path.is_dir() else "a file",
            remedy="choose another --out",
        )
    durable.make_folder(path)
    durable.write_json(protocol_file, request.protocol)
    return Table(path, request)


def run_table(
    table: Table, *, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[TrialBegan | TrialEnded | Event]:
    """Do all trials that are missing, and write the pages anew after each; whoever runs it holds `table.lock()`.

    A trial that `should_stop` interrupts leaves nothing behind. One whose loss is not finite counts as failed.
    """
    missing = table.wanted()
    for number, (name, request, rate) in enumerate(missing, 1):
        if should_stop():
            return
        yield TrialBegan(number, len(missing), name, request.family, rate, request.seed)
        problem = ""
        lesson = begin(task_named(name), request)
        try:
            yield from learn(lesson, should_stop=should_stop)
        except TrainingError as error:
            problem = error.received
        if lesson.stopped == "interrupted":
            return
        if not problem:
            asked = table.request
            yield from test(lesson, points=asked.points, sequences=asked.sequences, should_stop=should_stop)
        found = outcome(lesson)
        if (found is None and not problem) or should_stop():
            return
        told = to_json(lesson)
        kept = {key: told[key] for key in ("params", "steps", "seconds", "stopped")}
        trial = Trial(
            task=name,
            family=request.family,
            rate=rate,
            seed=request.seed,
            headline=None if found is None else found.headline.accuracy,
            trained=None if found is None else found.trained.accuracy,
            longer=None if found is None else found.longer.accuracy,
            exact=None if found is None else found.headline.exact,
            measured=None if found is None else found.headline.measured,
            know_nothing=None if found is None else found.headline.know_nothing,
            chance=task_named(name).headline_chance() if found is None else found.headline.chance,
            solved=found is not None and found.solved,
            problem=problem,
            details=kept,
        )
        durable.append_json_line(table.path / _TRIALS, asdict(trial))
        write_pages(table)
        yield TrialEnded(number, len(missing), trial)


def write_pages(table: Table) -> None:
    """Write table.json, table.md and heat.svg from the trials. Raises TrainingError when the disk refuses."""
    cells, families, protocol = table.cells(), table.families(), table.request.protocol
    if not cells:
        return
    value = {"protocol": protocol, "cells": [cell.to_json() for cell in cells]}
    durable.write_json(table.path / "table.json", value)
    durable.write_bytes_durably(table.path / "table.md", markdown(cells, families, protocol).encode())
    durable.write_bytes_durably(table.path / "heat.svg", svg(cells, families).encode())


def _trial_from(line: Mapping[str, Any], where: Path) -> Trial:
    try:
        return Trial(**line)
    except TypeError:
        raise RunError(
            expected=f"trials as this version writes them in {where}",
            received=", ".join(sorted(line))[:80],
            remedy="choose another --out",
        ) from None


def _words(protocol: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in protocol.items() if value is not None)
