"""`unrolled train`: a text and a budget become a run.

Knows nothing about how training works: it parses, calls and prints.
"""

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unrolled.cli.console import Voice, silence
from unrolled.cli.options import (
    BUDGET,
    MODEL,
    RUN,
    TRAINING,
    Count,
    Folder,
    Json,
    Number,
    Switch,
    Text,
    TextArguments,
    Whole,
    given,
)
from unrolled.errors import ConfigError, RunError, TrainingError
from unrolled.text.display import visible_line

if TYPE_CHECKING:
    from unrolled.cli.interrupts import Interrupts
    from unrolled.cli.live import Story
    from unrolled.text.corpus import Corpus
    from unrolled.training.experiment import Experiment, Finished
    from unrolled.training.recipe import Plan, Request
    from unrolled.training.run_folder import RunFolder


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True)
class TrainArguments:
    """What to train and for how long; what is left out is chosen by a recipe."""

    minutes: Annotated[Number | None, Parameter(group=BUDGET)] = None
    "Minutes of training (default: 3)."
    steps: Annotated[Whole | None, Parameter(group=BUDGET)] = None
    "Updates of the weights; 0 writes an untrained run."
    chars: Annotated[Count | None, Parameter(group=BUDGET)] = None
    "Characters to read: 500k, 10M."
    family: Annotated[str, Parameter(group=MODEL, metavar="NAME")] = "lstm"
    "rnn, lstm, gru, mingru, tcn, wavenet, transformer, stackrnn, tapernn or window."
    layers: Annotated[str | None, Parameter(group=MODEL, metavar="PATTERN")] = None
    "A pattern instead of a family: 'wavenet wavenet transformer(window=64)', 'lstm*3'."
    params: Annotated[Count | None, Parameter(group=MODEL)] = None
    "The size in parameters: 300k, 1M."
    width: Annotated[Whole | None, Parameter(group=MODEL)] = None
    "The size as the width of the layers, instead of --params."
    plain: Annotated[Switch, Parameter(group=MODEL)] = False
    "The stack of 2015: no residual connections, no norms."
    dropout: Annotated[Number | None, Parameter(group=MODEL)] = None
    "Probability of dropping an element of a layer's output while training."
    lanes: Whole | None = None
    "How many places of the text are read side by side."
    unroll: Whole | None = None
    "Characters that gradients flow through (truncated backpropagation)."
    forget_every: Whole | None = None
    "Characters after which, on average, a lane forgets all it read and begins anew; 0 never forgets."
    optimizer: Annotated[str | None, Parameter(metavar="NAME")] = None
    "Of the layers' matrices: adamw or muon; everything else is AdamW's."
    rate: Number | None = None
    "Peak learning rate of AdamW."
    matrix_rate: Number | None = None
    "Peak learning rate of Muon."
    warm_up: Whole | None = None
    "Steps until the rate has risen."
    hold: Number | None = None
    "Share of the steps during which the rate stays before it falls to zero."
    weight_decay: Number | None = None
    "Of matrices only; by default the more, the easier the text is learned by heart."
    average: Whole | None = None
    "Steps over which the weights are averaged; 0 keeps the last ones."
    beta2: Number | None = None
    "AdamW's second moment."
    clip: Number | None = None
    "Largest norm of the gradient."
    evaluate_every: Whole | None = None
    "Steps between two looks at the validation part."
    patience: Whole | None = None
    "Looks without a better validation score before training stops; 0 never stops early."
    uncalibrated: Switch = False
    "Look at the weights and publish them as learned: no temperature is fitted on the validation part."
    precision: Annotated[str | None, Parameter(metavar="NAME")] = None
    "float32 or bfloat16 (default: the one that was measured to be faster here)."
    seed: Whole = 1
    "Decides the weights, the dropout and the samples."


def train(
    *texts: Text,
    arguments: TrainArguments = TrainArguments(),
    text: TextArguments = TextArguments(),  # noqa: B008
    run: Annotated[Folder | None, Parameter(group=RUN)] = None,
    config: Annotated[Path | None, Parameter(group=RUN, metavar="FILE")] = None,  # noqa: ARG001 (settings.py reads it)
    resume: Annotated[Switch, Parameter(group=RUN)] = False,
    json: Annotated[Json, Parameter(group=RUN)] = False,
) -> int:
    """Train a model on a text, watch it learn, and keep it in a run folder.

    Parameters
    ----------
    texts
        Files, folders, globs, a built-in text (see `unrolled corpora`), or - for standard input.
    run
        The run folder (default: a new one under runs/).
    config
        A TOML file with any of these options, one a line: steps = 500. What is typed wins.
    resume
        Go on with the interrupted run that --run names; its options stay as they were.
    json
        End with one JSON line on standard output; everything else goes to standard error.
    """
    voice = Voice(as_json=json)
    if resume:
        return _resume(voice, texts, run, given(arguments, TrainArguments()) + given(text, TextArguments()))
    if not texts:
        raise ConfigError(
            expected="a text to train on", received="none", remedy="try: unrolled train book.txt, or: unrolled demo"
        )
    return train_new(voice, texts, text, arguments, run)[0]


def train_new(
    voice: Voice, texts: Sequence[str], text: TextArguments, arguments: TrainArguments, run: Path | None
) -> "tuple[int, Experiment]":
    """Read, plan, announce, train and sum up; return the exit status and what was trained."""
    from unrolled.cli.interrupts import listening
    from unrolled.cli.reading import read
    from unrolled.laboratory import new_run_path
    from unrolled.text.corpus import check_enough
    from unrolled.training.experiment import begin
    from unrolled.training.recipe import Request, make_plan

    request, options = Request(**asdict(arguments)), text.options()
    _check_early(request, run)
    corpus = read(voice, texts, options)
    check_enough(corpus, 2)
    if not voice.live:
        voice.say("measuring this machine …")
    with voice.console.status("measuring this machine …"):
        lines = corpus.lines("train") if options.regime != "text" else None
        plan = make_plan(request, corpus.vocabulary, len(corpus.part("train")), len(corpus.part("valid")), lines)
    path = run if run is not None else new_run_path(corpus.sources, request)
    with listening() as interrupts:
        experiment = begin(corpus, plan, path)
        announce(voice, corpus, plan, request, path)
        with discarded_unless_saved(experiment.folder), experiment.folder.lock():
            story, finished = tell(voice, experiment, interrupts)
    return conclude(voice, experiment, interrupts, story, finished), experiment


def _check_early(request: "Request", run: Path | None) -> None:
    """Find what is wrong with the options before a long text is read."""
    from unrolled.models import StackConfig, parse_layers
    from unrolled.models.config import family_named, from_fields
    from unrolled.training.config import TrainingConfig

    family_named(request.family)
    if request.layers is not None:
        parse_layers(request.layers)
    StackConfig(width=request.width or 1, dropout=request.dropout or 0.0)
    names = {field.name for field in fields(TrainingConfig)}
    chosen = {name: value for name, value in asdict(request).items() if name in names and value is not None}
    from_fields(TrainingConfig, {"steps": 1} | chosen)
    if run is not None and (run.is_file() or (run.is_dir() and any(run.iterdir()))):
        is_run = (run / "config.json").exists()
        raise RunError(
            expected=f"a new or empty folder at {run}",
            received="a run" if is_run else "a file" if run.is_file() else "a folder with other files",
            remedy="continue it with --resume, or choose another --run" if is_run else "choose another --run",
        )


def _resume(voice: Voice, texts: tuple[str, ...], run: Path | None, changed: list[str]) -> int:
    from unrolled.cli.interrupts import listening
    from unrolled.cli.reading import read
    from unrolled.training.experiment import resume
    from unrolled.training.run_folder import RunFolder

    if run is None:
        raise ConfigError(
            expected="--run DIR with --resume", received="no run", remedy="name the run: `unrolled runs` lists them"
        )
    if changed:
        raise ConfigError(
            expected="no other option with --resume: a resumed run keeps its own",
            received=", ".join(f"--{name.replace('_', '-')}" for name in changed),
            remedy="leave them out, or train a new run",
        )
    with RunFolder.open(run).lock(), listening() as interrupts:
        experiment = resume(run, lambda kept, known: read(voice, texts or kept.find_sources(), kept.options, known))
        for note in experiment.notes:
            voice.note(note)
        step, steps = experiment.training.counters.step, experiment.training.config.steps
        voice.say(f"resuming {visible_line(str(run))} at step {step:,} of {steps:,}")
        story, finished = tell(voice, experiment, interrupts)
    return conclude(voice, experiment, interrupts, story, finished)


def announce(voice: Voice, corpus: "Corpus", plan: "Plan", request: "Request", path: Path) -> None:
    """Say what was chosen, so that nothing is hidden."""
    from unrolled.cli.charts import duration
    from unrolled.training.expectation import expected_bits
    from unrolled.training.run_config import describe

    training = plan.training
    plain, size = corpus.options.regime == "text", len(corpus.part("train"))
    lines = 0 if plain else len(corpus.lines("train"))
    epochs = plan.characters / max(1, size) if plain else training.steps * training.lanes / max(1, lines)
    lanes = "1 lane" if training.lanes == 1 else f"{training.lanes} lanes"
    each, what = f"{lanes} × {training.unroll} characters", "text"
    if not plain:
        each, what = f"{min(training.lanes, lines)} lines of about {training.unroll} characters", "lines"
    faster = f" ({plan.faster:.1f}× the other precision here)" if plan.faster > 1.05 else ""
    about = f", about {duration(plan.seconds)}" if plan.seconds is not None else ""
    voice.say(f"model    {describe(plan.model, plan.parameters)}")
    voice.say(f"training {training.steps:,} steps of {each}{about}: {epochs:.1f} times through the {what}")
    rate = f"{training.rate:g}"
    if training.optimizer == "muon":
        rate = f"{training.matrix_rate:g} (muon) and {rate} (adamw)"
    average = f", weights averaged over {training.average} steps" if training.average > 1 else ""
    voice.say(f"         rate {rate}, weight decay {training.weight_decay:g}{average}")
    voice.say(f"         {training.precision}{faster}, seed {request.seed}")
    expected = None
    if plain:
        expected = expected_bits(corpus, plan.characters, request.family if request.layers is None else "")
    if expected is not None:
        voice.say(f"expects  about {expected:.2f} bits per character on the validation part")
    voice.say(f"run      {visible_line(str(path))}")
    voice.say()


def tell(voice: Voice, experiment: "Experiment", interrupts: "Interrupts") -> "tuple[Story, Finished | None]":
    """Train an experiment whose folder is locked while showing it; None when it was interrupted."""
    from unrolled.cli.live import Story, telling
    from unrolled.training.evaluation import unit_of
    from unrolled.training.experiment import finish
    from unrolled.training.loop import train as training_events

    folder, training = experiment.folder, experiment.training
    step, seconds = training.counters.step, training.counters.seconds
    title = f"{folder.path.name} · {experiment.config.description}"
    story = Story(title, training.config.steps, step, seconds, step=step, seconds=seconds)
    story.unit = unit_of(training.regime)
    story.skipped = training.counters.skipped
    folder.truncate_logs_after(step)
    with telling(voice, story) as listener:
        for event in training_events(training, folder, should_stop=interrupts):
            try:
                listener(event)
            except OSError:  # nobody reads any more: save and stop
                silence(voice.console.file)
                interrupts.received = interrupts.received or signal.SIGPIPE
            if story.unsaved and not folder.checkpoints():
                raise TrainingError(
                    expected=f"to save a first checkpoint in {folder.path}",
                    received=story.unsaved,
                    remedy="free some space or choose another --run",
                )
    if story.unsaved and story.stopped != "interrupted":  # not finished, so that it can go on once there is room
        raise TrainingError(
            expected="to save the last checkpoint",
            received=story.unsaved,
            remedy=f"free some space, then go on with --resume --run {folder.path}",
        )
    return story, None if story.stopped == "interrupted" else finish(experiment, interrupts)


@contextmanager
def discarded_unless_saved(folder: "RunFolder") -> Iterator[None]:
    """Remove a new run folder when an error comes before its first checkpoint: it would be good for nothing."""
    try:
        yield
    except BaseException:
        if not folder.checkpoints():
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def conclude(
    voice: Voice, experiment: "Experiment", interrupts: "Interrupts", story: "Story", finished: "Finished | None"
) -> int:
    """Say how to go on after an interruption, else sum up; return the exit status."""
    from unrolled.cli.summary import command, figures, sum_up

    if finished is not None:
        sum_up(voice, experiment, story, finished)
        if interrupts():
            voice.note("interrupted while the result was scored: the run is finished, `unrolled score` tells the rest")
            return interrupts.exit_status
        return 0
    where = f"stopped at step {story.step:,} of {story.steps:,}"
    if story.unsaved:
        voice.say(f"{where}, but {story.unsaved}. What was saved before is good. To go on from there:")
    else:
        voice.say(f"{where}; everything is saved. To go on:")
    voice.commands([(command("unrolled train --resume --run", experiment.folder.path), "")])
    if voice.as_json:
        voice.result(figures(experiment, story, None))
    return interrupts.exit_status
