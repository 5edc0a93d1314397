"""An experiment is a text, a plan and a run folder: begun, resumed, finished.

Knows nothing about terminals or about how a budget became a plan.
"""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unrolled
from unrolled.errors import RunError
from unrolled.models import ModelConfig, Stack
from unrolled.models.config import from_fields
from unrolled.text.corpus import Corpus, Progress, TextOptions, check_enough, read_corpus
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, Score, evaluate
from unrolled.training.loop import Counters, Training
from unrolled.training.measure import default_device
from unrolled.training.recipe import Plan
from unrolled.training.run_folder import FORMAT_VERSION, RunFolder


@dataclass
class Experiment:
    """A run that can be trained: its folder, its text, and the model in the middle of its training."""

    folder: RunFolder
    corpus: Corpus
    training: Training
    notes: tuple[str, ...] = ()


def begin(corpus: Corpus, options: TextOptions, plan: Plan, path: str) -> Experiment:
    """Make the run folder and a fresh model. Raises RunError, TextError or TrainingError; then nothing was made."""
    check_enough(corpus, plan.training.unroll + 1)
    config = {
        "format": FORMAT_VERSION,
        "unrolled": unrolled.__version__,
        "family": plan.model.pattern(),
        "description": describe(plan.model, plan.parameters),
        "parameters": plan.parameters,
        "text": {
            "sources": list(corpus.sources),
            "folder": str(Path.cwd()),
            "options": {**dataclasses.asdict(options), "split": list(options.split)},
            "fingerprint": dataclasses.asdict(corpus.fingerprint),
            "characters": {name: len(ids) for name, ids in corpus.parts.items()},
        },
        "model": plan.model.to_json(),
        "training": dataclasses.asdict(plan.training),
        "environment": environment(),
    }
    torch.manual_seed(plan.training.seed)
    model = plan.model.build(corpus.vocabulary.size).to(default_device())
    folder = RunFolder.create(path, config, corpus.vocabulary.to_json())
    return Experiment(folder, corpus, _training(model, plan.training, corpus))


def resume(path: str, sources: Sequence[str] = (), progress: Progress | None = None) -> Experiment:
    """Put a run back to where its newest good checkpoint stands.

    `sources` are needed only when the text has moved. A text that changed, a run that is finished or was edited
    raises RunError. `notes` tell what differs from when the run began, so that the bytes may differ, too.
    """
    folder = RunFolder.open(path)
    model_config, training_config, options = read_config(folder.config)
    vocabulary = Vocabulary.from_json(folder.vocabulary)
    checkpoint = folder.latest()
    counters = checkpoint.state["counters"]
    if counters["step"] >= training_config.steps:
        raise RunError(
            expected="a run with steps left",
            received=f"{path}, whose {training_config.steps} steps are done",
            remedy="train a new run with a larger budget",
        )
    text = folder.config["text"]
    corpus = read_corpus(sources or known_sources(folder.config), options, vocabulary=vocabulary, progress=progress)
    if dataclasses.asdict(corpus.fingerprint) != text["fingerprint"]:
        raise RunError(
            expected=f"the text of {text['fingerprint']['size']} bytes, sha256 {text['fingerprint']['sha256'][:12]}…",
            received=f"{corpus.fingerprint.size} bytes, sha256 {corpus.fingerprint.sha256[:12]}…: the text has changed",
            remedy="restore it, or train a new run",
        )
    model = model_config.build(vocabulary.size).to(default_device())
    load_weights(model, checkpoint.model, str(folder.path))
    training = _training(model, training_config, corpus)
    training.restore(checkpoint.optimizer, counters)
    notes = [*checkpoint.notes, *_differences(folder.config.get("environment", {}), environment())]
    return Experiment(folder, corpus, training, tuple(notes))


def finish(experiment: Experiment) -> Score | None:
    """Publish the best weights, leave them in the model, and return the score of the whole validation part.

    The score is in float32 and carried: what `unrolled score` says of this run. None without a validation part.
    """
    weights = experiment.folder.weights()
    experiment.folder.publish_weights(weights)
    model, corpus = experiment.training.model, experiment.corpus
    load_weights(model, weights, str(experiment.folder.path))
    model.eval()
    if len(corpus.part("valid")) < 2:
        return None
    return evaluate(model, corpus.part("valid"), Protocol(), utf8_bytes=corpus.utf8_bytes["valid"])


def known_sources(config: Mapping[str, Any]) -> list[str]:
    """Return where a run's text was, seen from here. Raises RunError when it came from standard input."""
    text = config["text"]
    if "-" in text["sources"]:
        raise RunError(
            expected="a text that can be read again",
            received="one that came from standard input",
            remedy="name a file with the same text, or pipe it in again and name it -",
        )
    there = Path(text.get("folder", "."))
    return [
        name if name.startswith("builtin:") or Path(name).exists() or not (there / name).exists() else str(there / name)
        for name in text["sources"]
    ]


def read_config(config: Mapping[str, Any]) -> tuple[ModelConfig, TrainingConfig, TextOptions]:
    """Read what `begin` wrote into config.json; ConfigError or RunError says which part is wrong."""
    text = config.get("text")
    options = text.get("options") if isinstance(text, dict) else None
    parts = {"model": config.get("model"), "training": config.get("training"), "text options": options}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise RunError(
                expected=f"a config.json whose {name} are an object",
                received=repr(part)[:60],
                remedy="restore the file or train a new run",
            )
    try:
        read = TextOptions(**parts["text options"])
    except TypeError as problem:
        raise RunError(
            expected="a config.json with the text options of this version",
            received=str(problem)[:120],
            remedy="restore the file or train a new run",
        ) from None
    return ModelConfig.from_json(parts["model"]), from_fields(TrainingConfig, parts["training"]), read


def load_weights(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], where: str) -> None:
    """Copy weights into a model; a name or shape that does not fit raises RunError and names it."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise RunError(
                expected=f"weights {name} of shape {wanted.get(name, 'none')}",
                received=f"{found.get(name, 'none')} in {where}",
                remedy="config.json does not belong to these weights: restore it",
            )
    model.load_state_dict(dict(weights))


def describe(model: ModelConfig, parameters: int) -> str:
    """Return one line about a model: `lstm lstm, width 256, 1,087,298 parameters`."""
    plain = ", plain" if model.stack.plain else ""
    dropout = f", dropout {model.stack.dropout:g}" if model.stack.dropout else ""
    return f"{model.pattern()}, width {model.stack.width}, {parameters:,} parameters{plain}{dropout}"


def environment() -> dict[str, object]:
    """Return what must be the same for a resumed run to make the same bytes."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "device": str(default_device()),
        "machine": platform.machine(),
    }


def _differences(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    changed = [f"{name} {then.get(name)} → {value}" for name, value in now.items() if then.get(name) != value]
    if not changed:
        return []
    return [f"changed since this run began: {', '.join(changed)}; the resumed run may differ in its last digits"]


def _training(model: Stack, config: TrainingConfig, corpus: Corpus) -> Training:
    return Training(
        model=model,
        config=config,
        vocabulary=corpus.vocabulary,
        train_ids=corpus.part("train"),
        valid_ids=corpus.part("valid"),
        counters=Counters(),
    )
