"""An experiment is a text, a plan and a run folder: begun, resumed, finished.

Knows nothing about terminals or about how a budget became a plan.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

import unrolled
from unrolled.errors import RunError
from unrolled.models import Stack
from unrolled.text.corpus import Corpus, check_enough
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.calibration import cool, fitted_temperature
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, Score, evaluate_part
from unrolled.training.loop import Training, autocast
from unrolled.training.measure import default_device, environment
from unrolled.training.recipe import Plan
from unrolled.training.run_config import RunConfig
from unrolled.training.run_folder import RunFolder

SUMMARY_CHARACTERS = 400_000
"""The summary scores at most so much of the validation part, so that a large text does not outlast its budget."""


@dataclass
class Experiment:
    """A run that can be trained: its folder, its configuration, its text, and the model in the middle of training."""

    folder: RunFolder
    config: RunConfig
    corpus: Corpus
    training: Training
    notes: tuple[str, ...] = ()


def begin(corpus: Corpus, plan: Plan, path: str | Path) -> Experiment:
    """Make the run folder and a fresh model. Raises RunError, TextError or TrainingError; then nothing was made."""
    check_enough(corpus, plan.training.unroll + 1)
    config = RunConfig(
        model=plan.model,
        training=plan.training,
        parameters=plan.parameters,
        options=corpus.options,
        sources=corpus.sources,
        folder=str(Path.cwd()),
        fingerprint=corpus.fingerprint,
        characters={name: len(ids) for name, ids in corpus.parts.items()},
        environment=environment(),
    )
    torch.manual_seed(plan.training.seed)
    model = plan.model.build(corpus.vocabulary.size).to(default_device())
    folder = RunFolder.create(path, config.to_json(unrolled.__version__), corpus.vocabulary.to_json())
    return Experiment(folder, config, corpus, _training(model, plan.training, corpus))


def resume(path: str | Path, read: Callable[[RunConfig, Vocabulary], Corpus]) -> Experiment:
    """Put a run back to where its newest good checkpoint stands.

    `read` reads the run's text again, as its configuration says and with its vocabulary. A text that changed, a run
    that is finished or was edited raises RunError. `notes` tell what differs from when the run began, so that the
    bytes may differ, too. A run whose last step is done but that was never finished only has to be finished.
    """
    folder = RunFolder.open(path)
    config = RunConfig.from_json(folder.config)
    vocabulary = Vocabulary.from_json(folder.vocabulary)
    checkpoint = folder.latest()
    counters = checkpoint.state["counters"]
    if folder.is_finished:
        raise RunError(
            expected="a run that is not finished",
            received=f"{path}, which was finished at step {counters['step']} of {config.training.steps}",
            remedy="train a new run with a larger budget",
        )
    corpus = read(config, vocabulary)
    if not config.is_text(corpus):
        raise RunError(
            expected=f"the run's own text: {_facts(config.fingerprint.size, config.fingerprint.sha256)}",
            received=f"{_facts(corpus.fingerprint.size, corpus.fingerprint.sha256)}: the text has changed",
            remedy="restore it, or train a new run",
        )
    model = config.model.build(vocabulary.size).to(default_device())
    load_weights(model, checkpoint.model, str(folder.path))
    training = _training(model, config.training, corpus)
    training.restore(checkpoint.optimizer, counters)
    notes = [*checkpoint.notes, *_differences(config.environment, environment())]
    return Experiment(folder, config, corpus, training, tuple(notes))


@dataclass(frozen=True)
class Finished:
    """What a training came to.

    `score` is that of the validation part's head: carried and at the precision of training, as `unrolled score` would
    say, over at most `SUMMARY_CHARACTERS`. None without a validation part, or when it was interrupted. `temperature` is
    what the logits of the published weights are divided by, fitted there; 1 leaves them as they were learned.
    """

    score: Score | None
    temperature: float = 1.0


def finish(experiment: Experiment, should_stop: Callable[[], bool] = lambda: False) -> Finished:
    """Calibrate the best weights, publish them, leave them in the model, and score them.

    Lines (pairs, tags), untrained weights and what has next to no validation part are published as they are. So is
    everything when `should_stop` says so at once.
    """
    best = experiment.folder.best()
    model, corpus, config = experiment.training.model, experiment.corpus, experiment.training.config
    load_weights(model, best.model, str(experiment.folder.path))
    model.eval()
    valid, temperature, score = corpus.part("valid")[:SUMMARY_CHARACTERS], 1.0, None
    with autocast(model, config.precision):
        if best.step and corpus.options.regime == "text" and not config.uncalibrated:
            with suppress(KeyboardInterrupt):
                temperature = fitted_temperature(model, valid, should_stop=should_stop)
        cool(cast(Stack, model), temperature)
        experiment.folder.publish_weights(dict(model.state_dict()))
        if len(valid) >= 2:
            with suppress(KeyboardInterrupt):
                score = evaluate_part(
                    model, corpus, "valid", Protocol(), at_most=SUMMARY_CHARACTERS, should_stop=should_stop
                )
    return Finished(score, temperature)


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


def _facts(size: int, sha256: str) -> str:
    return f"{size:,} bytes, sha256 {sha256[:12]}…"


def _differences(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    changed = [f"{name} {then.get(name)} → {value}" for name, value in now.items() if then.get(name) != value]
    if not changed:
        return []
    return [f"changed since this run began: {', '.join(changed)}; the resumed run may differ in its last digits"]


def _training(model: Stack, config: TrainingConfig, corpus: Corpus) -> Training:
    train, valid = corpus.part("train"), corpus.part("valid")
    return Training(model, config, corpus.vocabulary, train, valid, regime=corpus.options.regime)
