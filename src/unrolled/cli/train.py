"""`unrolled train`: a text and a budget become a run.

Knows nothing about how training works: it parses, calls and prints.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import Count, Switch, TextArguments, given
from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from unrolled.text.corpus import Corpus
    from unrolled.training.experiment import Experiment
    from unrolled.training.recipe import Plan, Request


@Parameter(name="*")
@dataclass(frozen=True)
class TrainArguments:
    """What to train and for how long; what is left out is chosen by a measured recipe."""

    family: str = "lstm"
    "rnn, lstm, gru, mingru, tcn, wavenet or transformer."
    layers: str | None = None
    "A pattern instead of a family: 'wavenet wavenet transformer(window=64)', 'lstm*3'."
    minutes: float | None = None
    "The budget in minutes of training (default: 3)."
    steps: int | None = None
    "The budget in updates; 0 writes an untrained run."
    chars: Count | None = None
    "The budget in characters read: 500k, 10M."
    params: Count | None = None
    "The size in parameters: 300k, 1M."
    width: int | None = None
    "The size as the width of the layers."
    plain: Switch = False
    "The stack of 2015: no residual connections, no norms."
    dropout: float | None = None
    "Probability of dropping an element of a layer's output while training."
    lanes: int | None = None
    "How many places of the text are read side by side."
    unroll: int | None = None
    "Characters that gradients flow through (truncated backpropagation)."
    rate: float | None = None
    "Peak learning rate of AdamW."
    warm_up: int | None = None
    "Steps until the rate has risen."
    weight_decay: float | None = None
    "AdamW's weight decay, on matrices only."
    beta2: float | None = None
    "AdamW's second moment."
    clip: float | None = None
    "Largest norm of the gradient."
    evaluate_every: int | None = None
    "Steps between two looks at the validation part."
    patience: int | None = None
    "Looks without a better validation score before training stops; 0 never stops early."
    precision: str | None = None
    "float32 or bfloat16 (default: the one that was measured to be faster here)."
    seed: int = 1
    "Decides the weights, the dropout and the samples."


def train(
    *texts: str,
    arguments: TrainArguments = TrainArguments(),
    text: TextArguments = TextArguments(),  # noqa: B008
    run: Annotated[Path | None, Parameter(name="--run")] = None,
    config: Annotated[Path | None, Parameter(name="--config")] = None,  # noqa: ARG001 (read before parsing, in cli.main)
    resume: Switch = False,
    json: Switch = False,
) -> int:
    """Train a model on a text, watch it learn, and keep it in a run folder.

    Parameters
    ----------
    texts
        Files, folders, globs, a built-in text (see `unrolled corpora`), or - for standard input.
    run
        The run folder; by default a new one under runs/.
    config
        A TOML file with any of these options; what is typed here wins.
    resume
        Go on with an interrupted run (--run says which); its options stay as they were.
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
    from unrolled.cli.reading import read
    from unrolled.laboratory import new_run_path
    from unrolled.training.experiment import begin
    from unrolled.training.recipe import Request, make_plan

    request = Request(**asdict(arguments))
    options = text.options()
    corpus = read(voice, texts, options)
    if not voice.live:
        voice.say("measuring this machine …")
    with voice.console.status("measuring this machine …"):
        plan = make_plan(request, corpus.vocabulary, len(corpus.part("train")), len(corpus.part("valid")))
    path = run if run is not None else new_run_path(corpus.sources, request)
    experiment = begin(corpus, options, plan, str(path))
    announce(voice, corpus, plan, request, path)
    return run_to_the_end(voice, experiment)


def _resume(voice: Voice, texts: tuple[str, ...], run: Path | None, changed: list[str]) -> int:
    from unrolled.training.experiment import resume

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
    experiment = resume(str(run), texts)
    for note in experiment.notes:
        voice.note(note)
    step, steps = experiment.training.counters.step, experiment.training.config.steps
    voice.say(f"resuming {run} at step {step:,} of {steps:,}")
    return run_to_the_end(voice, experiment)


def announce(voice: Voice, corpus: "Corpus", plan: "Plan", request: "Request", path: Path) -> None:
    """Say what was chosen, so that nothing is hidden."""
    from unrolled.cli.charts import duration
    from unrolled.training.experiment import describe

    training = plan.training
    epochs = plan.characters / max(1, len(corpus.part("train")))
    faster = f" ({plan.faster:.1f}× the other precision here)" if plan.faster > 1.05 else ""
    about = f", about {duration(plan.seconds)}" if plan.seconds is not None else ""
    voice.say(f"model    {describe(plan.model, plan.parameters)}")
    voice.say(
        f"training {training.steps:,} steps of {training.lanes} lanes × {training.unroll} characters{about}: "
        f"{epochs:.1f} times through the text"
    )
    voice.say(f"         rate {training.rate:g}, {training.precision}{faster}, seed {request.seed}")
    if plan.expected_bits is not None:
        voice.say(f"expects  about {plan.expected_bits:.2f} bits per character on the validation part")
    voice.say(f"run      {path}")
    voice.say()


def run_to_the_end(voice: Voice, experiment: "Experiment") -> int:
    """Train an experiment while showing it, then sum up; return the exit status."""
    from unrolled.cli.interrupts import listening
    from unrolled.cli.live import Story, telling
    from unrolled.cli.summary import sum_up
    from unrolled.training.experiment import finish
    from unrolled.training.loop import train as training_events

    folder, training = experiment.folder, experiment.training
    step = training.counters.step
    story = Story(f"{folder.path.name} · {folder.config['description']}", training.config.steps, step, step)
    with folder.lock(), listening() as interrupts:
        folder.truncate_logs_after(step)
        with telling(voice, story) as listener:
            for event in training_events(training, folder, should_stop=interrupts):
                listener(event)
        if interrupts() and training.counters.step < training.config.steps:
            voice.say(f"stopped at step {story.step:,} of {story.steps:,}; everything is saved. To go on:")
            voice.say(f"  unrolled train --resume --run {folder.path}", style="bold")
            return interrupts.exit_status
        valid = finish(experiment)
    sum_up(voice, experiment, story, valid)
    return 0
