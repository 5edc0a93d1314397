"""The end of a training: how good it is beside yardsticks that need no training, a sample, and what to type next.

Knows nothing about how the numbers were made.
"""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from unrolled.cli.charts import TRAIN_STYLE, VALID_STYLE, bar, curve, duration, legend, surprise, surprise_legend
from unrolled.cli.console import Voice
from unrolled.cli.live import Story
from unrolled.cli.sample import opening
from unrolled.text.display import visible, visible_line

if TYPE_CHECKING:
    from unrolled.contest.yardsticks import Yardstick
    from unrolled.text.corpus import Corpus
    from unrolled.training.evaluation import Score
    from unrolled.training.experiment import Experiment, Finished

WIDE = 76
"""From so many columns on, what a yardstick is stands beside it, else below."""
SAMPLE_CHARACTERS = 400
SURPRISE_CHARACTERS = 480


def sum_up(voice: Voice, experiment: "Experiment", story: Story, finished: "Finished") -> None:
    """Print the summary, or its JSON line."""
    valid = finished.score
    plain = experiment.corpus.options.regime == "text"
    if not voice.live and valid is not None and plain:
        voice.say("measuring yardsticks …")
    with voice.console.status("measuring yardsticks …"):
        rulers = yardsticks_of(experiment.corpus) if valid is not None and plain else []
    found = figures(experiment, story, finished)
    if voice.as_json:
        voice.result({**found, "yardsticks": {ruler.name: ruler.bits_per_char for ruler in rulers}})
        return
    path = experiment.folder.path
    voice.say()
    early = f", stopped early at step {story.step:,}: it no longer improved" if story.step < story.steps else ""
    skipped = f", {story.skipped:,} step{'s' * (story.skipped > 1)} skipped" if story.skipped else ""
    took = f"{duration(experiment.training.counters.seconds)} of training"
    voice.say(f"{path.name}: {took}, {found['chars_per_second']:,.0f} characters/s{early}{skipped}", style="bold")
    if story.train and voice.live:
        drawn = curve([(story.train, TRAIN_STYLE), (story.valid, VALID_STYLE)], voice.width - 4, 8, max(1, story.steps))
        voice.say(Panel(drawn, title=legend(), title_align="left", width=voice.width))
    if valid is not None:
        voice.say(_table(experiment, valid, rulers, voice.width) if plain else _answers(experiment, valid))
        if finished.temperature != 1:
            voice.say(_calibrated(finished.temperature), style="dim")
    voice.say(written(experiment, voice.width) if plain else answered(experiment, voice.width))
    voice.say()
    voice.say("next", style="bold")
    what = "let it go on from your words" if plain else "ask it about a source of yours"
    voice.commands(
        [
            (command("unrolled sample", path) + ' --prompt "…"', what),
            (command("unrolled score", path) + " FILE", "how well it predicts another text"),
            (command("unrolled neurons", path), "which of its units mean something, and the proof"),
            (command("unrolled show", path), "how it learned, and what it wrote on the way"),
        ]
    )


def figures(experiment: "Experiment", story: Story, finished: "Finished | None") -> dict[str, object]:
    """Return what a script wants to know about a training; the speed is that of this session."""
    training = experiment.training
    done = (training.counters.step - story.started_at) * training.config.lanes * training.config.unroll
    seconds = training.counters.seconds - story.started_seconds
    return {
        "run": str(experiment.folder.path),
        "params": experiment.config.parameters,
        "steps": training.counters.step,
        "seconds": round(training.counters.seconds, 3),
        "chars_per_second": round(done / seconds, 1) if seconds > 0 else 0.0,
        "skipped": training.counters.skipped,
        "stopped": story.stopped,
        "valid": None if finished is None or finished.score is None else finished.score.to_json(),
        "temperature": 1.0 if finished is None else finished.temperature,
    }


def command(words: str, path: Path) -> str:
    """Return a line that can be typed: a path with spaces is quoted."""
    return f"{words} {shlex.quote(str(path))}"


def yardsticks_of(corpus: "Corpus") -> "list[Yardstick]":
    """Measure what needs no training on the validation part of a text."""
    from unrolled.contest.yardsticks import yardsticks
    from unrolled.training.experiment import SUMMARY_CHARACTERS

    train, whole = corpus.part("train"), corpus.part("valid")
    valid = whole[:SUMMARY_CHARACTERS]
    decode = corpus.vocabulary.decode
    tail = train[-4_000_000:]
    return yardsticks(
        train,
        valid,
        corpus.vocabulary.size,
        decode(tail).encode("utf-8", "surrogateescape"),
        decode(valid).encode("utf-8", "surrogateescape"),
        part="validation",
        available=len(whole),
    )


def _table(experiment: "Experiment", valid: "Score", rulers: "list[Yardstick]", width: int) -> RenderableType:
    """Put the model among its yardsticks: a bar is a share of the worst, so shorter is better."""
    title = f"bits per character on the validation part ({valid.chars:,} characters, {valid.protocol})"
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    if beside := width >= WIDE:
        table.add_column(style="dim", overflow="fold")
    worst = max([valid.bits_per_char, *(ruler.bits_per_char for ruler in rulers)])
    detail = f"{valid.nats_per_char:.3f} nats per character, {valid.bits_per_byte:.3f} bits per byte"
    rows = [(experiment.config.model.pattern(), valid.bits_per_char, detail, "bold green")]
    rows += [(ruler.name, ruler.bits_per_char, ruler.detail, "") for ruler in rulers]
    details = []
    for name, bits, what, style in rows:
        label = Text(visible_line(name), style=style, overflow="ellipsis")
        cells = [label, Text(f"{bits:.3f}", style=style), bar(bits / worst if worst > 0 else 0, 12)]
        table.add_row(*cells, *([Text(what)] if beside else []))
        details.append(Text(f"{visible_line(name)}: {what}", style="dim"))
    return Group(Text(title, style="bold"), table, *([] if beside else details))


def _calibrated(temperature: float) -> str:
    """Say what was done to the published weights after training."""
    was = "too sure of itself" if temperature > 1 else "not sure enough"
    return f"there it was {was}: its logits are divided by {temperature:.3f} now, fitted on that part"


def _answers(experiment: "Experiment", valid: "Score") -> RenderableType:
    """Say how well the model answers, beside always giving the commonest answer."""
    from unrolled.cli.score import accuracy_line
    from unrolled.training.answers import baseline

    training, corpus = experiment.training, experiment.corpus
    bits = f"{valid.bits_per_char:.3f} bits per {valid.unit}"
    title = f"{bits} on the validation part ({valid.chars:,} {valid.unit}s, each line from a cold start)"
    nothing = baseline(corpus.lines("valid"), training.vocabulary)
    beside = f"knowing nothing, always {visible_line(nothing.answer)!r}: {100 * nothing.share:.1f} %"
    return Group(Text(title, style="bold"), Text(accuracy_line(valid), style="bold green"), Text(beside, style="dim"))


def answered(experiment: "Experiment", width: int) -> Panel:
    """Let the trained model answer a few lines."""
    from unrolled.training.loop import answers_of

    text = answers_of(experiment.training)
    return Panel(Text(text), title="it answers", title_align="left", border_style="green", width=width)


def written(experiment: "Experiment", width: int) -> Panel:
    """Let the trained model write."""
    from unrolled.laboratory import Run

    training, folder = experiment.training, experiment.folder
    run = Run(folder.path, training.model.eval(), training.vocabulary, experiment.config)
    text = run.sample(opening(training.vocabulary), SAMPLE_CHARACTERS, temperature=0.7)
    title = "it writes (temperature 0.7)"
    return Panel(Text(visible(text).strip("\n")), title=title, title_align="left", border_style="green", width=width)


def surprised(experiment: "Experiment", width: int) -> Group | None:
    """Show a passage of the validation part coloured by how surprised the model was."""
    import numpy as np

    from unrolled.laboratory import Run

    training, folder = experiment.training, experiment.folder
    ids = experiment.corpus.part("valid")[: SURPRISE_CHARACTERS + 200]
    if len(ids) < 300:
        return None
    run = Run(folder.path, training.model.eval(), training.vocabulary, experiment.config)
    text = training.vocabulary.decode(ids)
    log_probabilities, _ = run.read(text)
    costs = -log_probabilities[:-1].double().cpu().numpy()[np.arange(len(ids) - 1), ids[1:].astype(np.int64)]
    shown, bits = text[201:], (costs / math.log(2))[200:]
    title = "text it never saw, coloured by how surprised it was"
    panel = Panel(surprise(shown, bits.tolist()), title=title, title_align="left", width=width)
    return Group(panel, surprise_legend())
