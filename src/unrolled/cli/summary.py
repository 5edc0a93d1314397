"""The end of a training: how good it is beside yardsticks that need no training, a sample, and what to type next.

Knows nothing about how the numbers were made.
"""

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from unrolled.cli.charts import bar, curve, duration, surprise, surprise_legend
from unrolled.cli.console import Voice
from unrolled.cli.live import TRAIN_STYLE, VALID_STYLE, Story
from unrolled.text.display import visible

if TYPE_CHECKING:
    from unrolled.contest.yardsticks import Yardstick
    from unrolled.text.corpus import Corpus
    from unrolled.training.evaluation import Score
    from unrolled.training.experiment import Experiment

YARDSTICK_CHARACTERS = 1_000_000
"""Yardsticks read at most so much of the validation part, so that they take seconds."""
SAMPLE_CHARACTERS = 400
SURPRISE_CHARACTERS = 480


def sum_up(voice: Voice, experiment: "Experiment", story: Story, valid: "Score | None") -> None:
    """Print the summary, or its JSON line."""
    corpus, training, folder = experiment.corpus, experiment.training, experiment.folder
    per_step = training.config.lanes * training.config.unroll
    done = training.counters.step - story.started_at
    speed = done * per_step / story.seconds if story.seconds else 0.0
    rulers = yardsticks_of(corpus) if valid is not None else []
    if voice.as_json:
        voice.result(
            {
                "run": str(folder.path),
                "params": folder.config["parameters"],
                "steps": training.counters.step,
                "seconds": round(training.counters.seconds, 3),
                "chars_per_second": round(speed, 1),
                "skipped": training.counters.skipped,
                "valid": None if valid is None else valid.to_json(),
                "yardsticks": {ruler.name: ruler.bits_per_char for ruler in rulers},
            }
        )
        return
    voice.say()
    stopped = "" if story.step >= story.steps else f", stopped early at step {story.step:,}: it no longer improved"
    voice.say(f"{folder.path.name}: {duration(story.seconds)} of training, {speed:,.0f} characters/s{stopped}")
    width = min(100, voice.console.width)
    if story.train and voice.live:
        drawn = curve([(story.train, TRAIN_STYLE), (story.valid, VALID_STYLE)], width - 4, 8, max(1, story.steps))
        voice.say(Panel(drawn, title="bits per character while learning", title_align="left", width=width))
    if valid is not None:
        voice.say(_table(experiment, valid, rulers, width))
    voice.say(written(experiment, width))
    voice.say()
    voice.say("next", style="bold")
    name = folder.path
    for command, what in (
        (f'unrolled sample {name} --prompt "…"', "let it go on from your words"),
        (f"unrolled score {name} FILE", "how well it predicts another text"),
        (f"unrolled show {name}", "how it learned, and what it wrote on the way"),
    ):
        voice.say(Text.assemble("  ", (visible(command), "cyan"), "   ", (what, "dim")))


def yardsticks_of(corpus: "Corpus") -> "list[Yardstick]":
    """Measure what needs no training on the validation part of a text."""
    from unrolled.contest.yardsticks import yardsticks

    train, valid = corpus.part("train"), corpus.part("valid")[:YARDSTICK_CHARACTERS]
    decode = corpus.vocabulary.decode
    tail = train[-4_000_000:]
    return yardsticks(
        train,
        valid,
        corpus.vocabulary.size,
        decode(tail).encode("utf-8", "surrogateescape"),
        decode(valid).encode("utf-8", "surrogateescape"),
    )


def _table(experiment: "Experiment", valid: "Score", rulers: "list[Yardstick]", width: int) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left", title_style="bold", width=min(width, 100))
    table.title = f"bits per character on the validation part ({valid.chars:,} characters, {valid.protocol})"
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("", style="dim", overflow="fold")
    worst = max([valid.bits_per_char, *(ruler.bits_per_char for ruler in rulers)], default=1.0)
    detail = f"{valid.nats_per_char:.3f} nats per character, {valid.bits_per_byte:.3f} bits per byte"
    rows = [(experiment.folder.config["family"], valid.bits_per_char, detail, "bold green")]
    rows += [(ruler.name, ruler.bits_per_char, ruler.detail, "") for ruler in rulers]
    for name, bits, what, style in rows:
        # A share of the worst, drawn: lower is better.
        table.add_row(Text(name, style=style), Text(f"{bits:.3f}", style=style), bar(bits / worst, 12), what)
    return table


def written(experiment: "Experiment", width: int) -> Panel:
    """Let the trained model write."""
    from unrolled.laboratory import Run

    training, folder = experiment.training, experiment.folder
    run = Run(folder.path, training.model.eval(), training.vocabulary, folder.config)
    prompt = "\n" if not training.vocabulary.unknown("\n") else training.vocabulary.symbols[-1]
    text = run.sample(prompt, SAMPLE_CHARACTERS, temperature=0.7)
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
    run = Run(folder.path, training.model.eval(), training.vocabulary, folder.config)
    text = training.vocabulary.decode(ids)
    log_probabilities, _ = run.read(text)
    costs = -log_probabilities[:-1].double().cpu().numpy()[np.arange(len(ids) - 1), ids[1:].astype(np.int64)]
    shown, bits = text[201:], (costs / math.log(2))[200:]
    title = "text it never saw, coloured by how surprised it was"
    panel = Panel(surprise(shown, bits.tolist()), title=title, title_align="left", width=width)
    return Group(panel, surprise_legend())
