"""The run folder of a lesson: held-out examples as its text, its weights, and what it reached.

Every verb can open such a folder like that of any other run. Knows nothing about how a model learns.
"""

import json
import random
from dataclasses import asdict
from pathlib import Path

from unrolled.errors import ConfigError, RunError
from unrolled.programs.lessons import Lesson, outcome
from unrolled.programs.own_text import folder_with_text
from unrolled.programs.tasks import Task
from unrolled.text.corpus import TextOptions, corpus_from_text
from unrolled.training import durable
from unrolled.training.run_folder import RunFolder

OUTCOME = "task.json"
EXAMPLE_LINES = 3000
EXAMPLE_SPLIT = (0.5, 0.25, 0.25)
_WRITTEN = 0xE7A3


def new_folder(lesson: Lesson, path: Path) -> RunFolder:
    """Make the run folder with held-out examples of training lengths as its text, which every verb can read again."""
    options = TextOptions(regime=lesson.task.regime, split=EXAMPLE_SPLIT)
    text = examples_text(lesson.task, lesson.training.seed)
    corpus = corpus_from_text(text, options, vocabulary=lesson.vocabulary)
    return folder_with_text(path, text, corpus, config=lesson.config, model=lesson.model, training=lesson.training)


def task_of(path: Path) -> str:
    """Return the name of the task that a run folder was trained on.

    Raises RunError when there is no such folder, ConfigError when it is not one of a task.
    """
    try:
        return str(json.loads((path / OUTCOME).read_text(encoding="utf-8"))["task"])
    except (OSError, ValueError, KeyError, TypeError):
        if not path.is_dir():
            raise RunError(
                expected="the folder of a run", received=str(path), remedy="see `unrolled runs`, or train one"
            ) from None
        raise ConfigError(
            expected=f"a run of `unrolled task train`, or --alphabet, for {path}",
            received=f"a folder without a readable {OUTCOME}",
            remedy="say which symbols its sources have, such as --alphabet 01",
        ) from None


def examples_text(task: Task, seed: int) -> str:
    """Return distinct lines of training lengths, of sources that training never draws where some are held out."""
    draws = random.Random(f"{_WRITTEN} {seed}")
    lines: dict[str, None] = {}
    for _ in range(EXAMPLE_LINES):
        source, target = task.examples(draws, draws.choice(task.training_lengths), 1, unseen=True)[0]
        lines[f"{source}\t{target}\n"] = None
    return "".join(lines)


def keep(lesson: Lesson) -> None:
    """Publish the weights and what was found in the lesson's folder, if it has one. Raises TrainingError."""
    if lesson.folder is None:
        return
    lesson.folder.publish_weights(dict(lesson.model.state_dict()))
    durable.write_json(lesson.folder.path / OUTCOME, to_json(lesson))


def to_json(lesson: Lesson) -> dict[str, object]:
    """Return what a script wants to know about a lesson; accuracies are shares, 0 to 1."""
    found = outcome(lesson)
    told: dict[str, object] = {
        "task": lesson.task.name,
        "regime": lesson.task.regime,
        "family": lesson.request.family if lesson.request.layers is None else lesson.request.layers,
        "run": None if lesson.folder is None else str(lesson.folder.path),
        "params": lesson.parameters,
        "steps": lesson.step,
        "seconds": round(lesson.seconds, 3),
        "stopped": lesson.stopped,
        "skipped": lesson.skipped,
        "rate": lesson.training.rate,
        "seed": lesson.training.seed,
        "headline": lesson.task.headline,
    }
    if found is not None:
        told |= {"trained": asdict(found.trained), "longer": asdict(found.longer), "solved": found.solved}
        if lesson.task.measure is not None:
            told["measure"] = lesson.task.measure.name
        told["lengths"] = [score.to_json() for score in found.scores]
    return told
