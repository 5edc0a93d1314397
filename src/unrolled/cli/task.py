"""`unrolled task`: what a family can learn to compute, and how far beyond the lengths of training it can do it.

Knows nothing about how models learn: it parses, calls and prints.
"""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import BUDGET, MODEL, RUN, TRAINING, Folder, Json, Number, Whole
from unrolled.errors import ConfigError
from unrolled.text.display import visible_line

if TYPE_CHECKING:
    pass

NAME_COLUMN = 20


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True)
class LearnArguments:
    """Which model learns a task, and for how long."""

    steps: Annotated[Whole | None, Parameter(group=BUDGET)] = None
    "Updates of the weights (default: 3000, fewer where no mistakes are left)."
    minutes: Annotated[Number | None, Parameter(group=BUDGET)] = None
    "Minutes of training, at most."
    family: Annotated[str, Parameter(group=MODEL, metavar="NAME")] = "lstm"
    "A family (see unrolled train), or mingru-negative: mingru with gates in (-1, 1)."
    layers: Annotated[str | None, Parameter(group=MODEL, metavar="PATTERN")] = None
    "A pattern instead of a family: 'lstm*2', 'mingru(negative=true)*2'."
    width: Annotated[Whole, Parameter(group=MODEL)] = 64
    "The width of the layers."
    plain: Annotated[bool | None, Parameter(group=MODEL, negative="--residual")] = None
    "The stack of 2015, or residual connections and norms (default: plain for rnn, lstm and gru)."
    batch: Whole = 128
    "Examples in each update, all of one length."
    rate: Number | None = None
    "Peak learning rate (default: by family)."
    optimizer: Annotated[str, Parameter(metavar="NAME")] = "muon"
    "Of the layers' matrices: adamw or muon; everything else is AdamW's."
    clip: Number = 1.0
    "Largest norm of the gradient."
    seed: Whole = 1
    "Decides the weights and the examples."


def task_list(*, json: Json = False) -> int:
    """List the tasks: what is asked, an example, and what one reaches who knows nothing.

    Parameters
    ----------
    json
        Print one JSON list.
    """
    import random

    from unrolled.programs.tasks import TASKS

    voice = Voice(as_json=json)
    told: list[object] = []
    level = ""
    for task in TASKS.values():
        chance = task.headline_chance()
        few = next((length for length in task.training_lengths if length >= 6), task.training_lengths[-1])
        source, target = task.draw(random.Random(1), few)
        if task.level != level:
            level = task.level
            voice.say(level, style="bold")
        voice.say(f"  {task.name.ljust(NAME_COLUMN)}{task.description}")
        voice.say(f"  {''.ljust(NAME_COLUMN)}{source} → {target}   know-nothing {chance:.1%}", style="dim")
        told.append(
            {
                "name": task.name, "description": task.description, "level": task.level, "regime": task.regime,
                "alphabet": task.alphabet, "answers": task.answers, "example": [source, target], "chance": chance,
                "length_is": task.length_is, "trained": task.trained, "longest": task.longest,
                "measure": None if task.measure is None else task.measure.name,
            }
        )  # fmt: skip
    if json:
        voice.result(told)
    return 0


def task_train(
    name: Annotated[str, Parameter(metavar="NAME")],
    /,
    *,
    arguments: LearnArguments = LearnArguments(),
    run: Annotated[Folder | None, Parameter(group=RUN)] = None,
    json: Annotated[Json, Parameter(group=RUN)] = False,
) -> int:
    """Let a model learn a task on short inputs, and test it on longer ones.

    Parameters
    ----------
    name
        The task: `unrolled task list` tells them.
    run
        The run folder (default: a new one under runs/).
    json
        End with one JSON line on standard output; everything else goes to standard error.
    """
    from unrolled.cli.interrupts import listening
    from unrolled.cli.task_display import Progress, results
    from unrolled.laboratory import new_run_path
    from unrolled.programs.learning import LearnRequest, begin, keep, learn, outcome, test, to_json
    from unrolled.programs.tasks import task_named
    from unrolled.training.recipe import Request
    from unrolled.training.run_config import describe

    voice = Voice(as_json=json)
    task, request = task_named(name), LearnRequest(**asdict(arguments))
    path = run if run is not None else new_run_path((task.name,), Request(family=request.family, layers=request.layers))
    with listening() as interrupts:
        lesson = begin(task, request, path)
        training = lesson.training
        voice.say(f"task     {task.name}: {task.description}")
        voice.say(f"model    {describe(lesson.config, lesson.parameters)}")
        voice.say(
            f"training at most {training.steps:,} steps of {training.lanes} examples, lengths 1 to {task.trained} "
            f"({task.length_is}); rate {training.rate:g} ({training.optimizer}), seed {training.seed}"
        )
        voice.say(f"run      {visible_line(str(path))}")
        voice.say()
        assert lesson.folder is not None
        with lesson.folder.lock():
            progress = Progress(voice, lesson)
            with progress:
                try:
                    for event in learn(lesson, should_stop=interrupts):
                        progress.hear(event)
                finally:
                    keep(lesson)
                if not interrupts():
                    for event in test(lesson, should_stop=interrupts):
                        progress.hear(event)
            keep(lesson)
    found = outcome(lesson)
    if found is None or interrupts():
        voice.say(f"stopped at step {lesson.step:,}; the model as it is then is kept in {visible_line(str(path))}")
    else:
        results(voice, lesson, found)
        _next(voice, path)
    if json:
        voice.result(to_json(lesson))
    return interrupts.exit_status


def _next(voice: Voice, path: Path) -> None:
    where = shlex.quote(str(path))
    voice.say()
    voice.say("next", style="bold")
    voice.commands(
        [
            (f'unrolled sample {where} --prompt "…"', "ask it yourself"),
            (f"unrolled score {where}", "held-out examples of the training lengths"),
            (f"unrolled neurons {where}", "which of its units mean something"),
        ]
    )


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True)
class TableArguments:
    """Which trials a table has; lists are separated by commas."""

    tasks: Annotated[str, Parameter(metavar="A,B")] = ""
    "Tasks (default: all)."
    families: Annotated[str, Parameter(metavar="X,Y")] = ""
    "Families (default: all, and mingru-negative)."
    seeds: Whole = 1
    "Seeds of each task and family: 1 to N."
    rates: Annotated[str, Parameter(metavar="R,S")] = ""
    "Learning rates, each of them tried (default: one, by family)."
    steps: Whole = 3000
    "Updates of the weights in each trial, at most."
    width: Whole = 64
    "The width of the layers."
    batch: Whole = 128
    "Examples in each update."
    points: Whole | None = None
    "Training lengths that are tested, and three times as many longer ones (default: 8, or 6 for long answers)."
    sequences: Whole = 32
    "Examples of each length that are tested."


def task_table(*, out: Folder, arguments: TableArguments = TableArguments(), json: Json = False) -> int:
    """Make the table of length generalisation, task by family; an interrupted one goes on where it was.

    Parameters
    ----------
    out
        The table's folder: trials.jsonl, table.md, table.json and heat.svg.
    json
        Print one JSON line.
    """
    from unrolled.cli.interrupts import listening
    from unrolled.cli.task_display import TableProgress, heat
    from unrolled.programs.table import TableRequest, open_table, run_table, write_pages

    voice = Voice(as_json=json)
    request = TableRequest(
        tasks=_names(arguments.tasks, "tasks"),
        families=_names(arguments.families, "families"),
        seeds=arguments.seeds,
        rates=_rates(arguments.rates),
        steps=arguments.steps,
        width=arguments.width,
        batch=arguments.batch,
        points=arguments.points,
        sequences=arguments.sequences,
    )
    table = open_table(out, request)
    with listening() as interrupts, table.lock():
        done, missing = len(table.trials()), len(table.wanted())
        voice.say(f"table    {visible_line(str(out))}: {missing:,} trials to do, {done:,} done before")
        with TableProgress(voice) as progress:
            for event in run_table(table, should_stop=interrupts):
                progress.hear(event)
        write_pages(table)
    cells = table.cells()
    if cells:
        voice.say()
        for line in heat(cells, table.families(), voice.width):
            voice.say(line)
    if interrupts():
        voice.note(f"interrupted: {len(table.wanted()):,} trials are missing; the same command goes on")
    if json:
        voice.result({"out": str(out), "missing": len(table.wanted()), "cells": [cell.to_json() for cell in cells]})
    return interrupts.exit_status


def _names(text: str, option: str) -> tuple[str, ...]:
    """Read a list such as parity,reverse; an empty one means all."""
    if not text.strip():
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(
            expected=f"names with commas between them after --{option}", received=repr(text), remedy="correct it"
        )
    return names


def _rates(text: str) -> tuple[float, ...]:
    found = []
    for name in _names(text, "rates"):
        try:
            found.append(float(name))
        except ValueError:
            raise ConfigError(
                expected="numbers with commas between them after --rates", received=repr(name), remedy="correct it"
            ) from None
    return tuple(found)
