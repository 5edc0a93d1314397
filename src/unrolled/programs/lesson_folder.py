"""The run folder of a lesson: held-out examples as its text, its weights, and what it reached.

Every verb can open such a folder like that of any other run. Knows nothing about how a model learns.
"""

import random
import tempfile
from dataclasses import asdict
from pathlib import Path

import unrolled
from unrolled.programs.lessons import Lesson, outcome
from unrolled.programs.tasks import Task
from unrolled.text.corpus import TextOptions, read_corpus
from unrolled.training import durable
from unrolled.training.measure import environment
from unrolled.training.run_config import RunConfig
from unrolled.training.run_folder import RunFolder

EXAMPLES, OUTCOME = "examples.txt", "task.json"
EXAMPLE_LINES = 3000
EXAMPLE_SPLIT = (0.5, 0.25, 0.25)
_WRITTEN = 0xE7A3


def new_folder(lesson: Lesson, path: Path) -> RunFolder:
    """Make the run folder with held-out examples of training lengths as its text, which every verb can read again."""
    task, options = lesson.task, TextOptions(regime=lesson.task.regime, split=EXAMPLE_SPLIT)
    text = examples_text(task, lesson.training.seed)
    with tempfile.TemporaryDirectory(prefix="unrolled-") as place:
        (Path(place) / EXAMPLES).write_text(text, encoding="utf-8", newline="")
        corpus = read_corpus(
            [str(Path(place, EXAMPLES))], options, vocabulary=lesson.vocabulary, cache=Path(place, "cache")
        )
        config = RunConfig(
            model=lesson.config,
            training=lesson.training,
            parameters=lesson.parameters,
            options=corpus.options,
            sources=(EXAMPLES,),
            folder=str(path.absolute()),
            fingerprint=corpus.fingerprint,
            characters={name: len(ids) for name, ids in corpus.parts.items()},
            environment=environment(),
        )
    folder = RunFolder.create(path, config.to_json(unrolled.__version__), lesson.vocabulary.to_json())
    durable.write_bytes_durably(path / EXAMPLES, text.encode())
    return folder


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
