"""The live display of training: numbers, a loss curve, and the passage now beside an earlier one; or plain lines.

Knows nothing about how training works: it listens to events.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from unrolled.cli.charts import bar, curve, duration
from unrolled.cli.console import Voice
from unrolled.text.display import visible
from unrolled.training.events import Evaluated, Event, Progressed, SaveFailed, Skipped, Stopped, Wrote

EARLIER_SECONDS = 60.0
MOST_PASSAGE_ROWS = 12
TRAIN_STYLE, VALID_STYLE = "cyan", "bold yellow"
PLAIN_EVERY_SECONDS = 10.0


@dataclass
class Story:
    """What the events told so far."""

    title: str
    steps: int
    started_at: int = 0
    step: int = 0
    seconds: float = 0.0
    speed: float = 0.0
    rate: float = 0.0
    skipped: int = 0
    train: list[tuple[float, float]] = field(default_factory=list)
    valid: list[tuple[float, float]] = field(default_factory=list)
    passages: list[tuple[int, float, str]] = field(default_factory=list)
    problem: str = ""
    best: float | None = None

    def hear(self, event: Event) -> None:
        """Take in one event."""
        self.step = event.step
        if isinstance(event, Progressed):
            self.seconds, self.speed, self.rate = event.seconds, event.chars_per_second, event.rate
            self.train.append((event.step, event.train_bits))
        elif isinstance(event, Evaluated):
            self.valid.append((event.step, event.score.bits_per_char))
            self.best = event.score.bits_per_char if event.best else self.best
        elif isinstance(event, Wrote):
            self.passages.append((event.step, self.seconds, event.text))
        elif isinstance(event, Skipped):
            self.skipped = event.total
            self.problem = f"step {event.step} skipped: {event.what}"
        elif isinstance(event, SaveFailed):
            self.problem = f"could not save: {event.problem}"

    def seconds_left(self) -> float:
        """Return the time left at the present pace, in seconds."""
        done = self.step - self.started_at
        return self.seconds / done * (self.steps - self.step) if done and self.seconds else 0.0

    def earlier(self) -> tuple[int, float, str] | None:
        """Return the passage written about a minute ago, or the first one."""
        before = [p for p in self.passages[:-1] if p[1] <= self.seconds - EARLIER_SECONDS]
        return (before or self.passages[:1])[-1] if len(self.passages) > 1 else None


@contextmanager
def telling(voice: Voice, story: Story) -> Iterator["Listener"]:
    """Show the story while it happens: drawn on a terminal, plain lines elsewhere."""
    if not voice.live:
        yield Listener(voice, story, None)
        return
    with Live(console=voice.console, refresh_per_second=4, transient=True) as live:
        yield Listener(voice, story, live)


@dataclass
class Listener:
    """Passes events to the story and shows it."""

    voice: Voice
    story: Story
    live: Live | None
    _last_line: float = -PLAIN_EVERY_SECONDS

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self.story.hear(event)
        if self.live is not None:
            self.live.update(picture(self.story, self.voice.console.width, self.voice.console.height))
        elif line := self._line(event):
            self.voice.say(line)

    def _line(self, event: Event) -> str:
        story = self.story
        if isinstance(event, Evaluated):
            mark = " (best)" if event.best else ""
            return f"step {event.step}/{story.steps}  valid {event.score.bits_per_char:.3f} bits per character{mark}"
        if isinstance(event, Progressed) and event.seconds - self._last_line >= PLAIN_EVERY_SECONDS:
            self._last_line = event.seconds
            return (
                f"step {event.step}/{story.steps}  train {event.train_bits:.3f} bits per character  "
                f"{event.chars_per_second:,.0f} characters/s  {duration(story.seconds_left())} left"
            )
        if isinstance(event, Skipped | SaveFailed):
            return story.problem
        if isinstance(event, Stopped) and event.reason != "finished":
            return f"stopped at step {event.step}: {event.reason}"
        return ""


def picture(story: Story, width: int, height: int) -> RenderableType:
    """Draw the story in so many columns and rows."""
    width = max(30, width)
    parts: list[RenderableType] = [_head(story, width), _numbers(story, width)]
    chart_height = max(4, min(12, height - 22))
    drawn = curve(
        [(_thinned(story.train), TRAIN_STYLE), (story.valid, VALID_STYLE)], width - 4, chart_height, max(1, story.steps)
    )
    legend = Text.assemble("bits per character: ", ("━ train ", TRAIN_STYLE), ("━ valid", VALID_STYLE))
    parts.append(Panel(drawn, title=legend, title_align="left", border_style="bright_black"))
    room = max(4, min(MOST_PASSAGE_ROWS + 2, height - chart_height - 8))
    parts.append(_passages(story, width, room))
    if story.problem:
        parts.append(Text(visible(story.problem), style="bold red"))
    return Group(*parts)


def _head(story: Story, width: int) -> RenderableType:
    share = story.step / max(1, story.steps)
    left = f"{duration(story.seconds_left())} left" if story.step > story.started_at else "starting"
    line = Text.assemble((visible(story.title), "bold"), no_wrap=True, overflow="ellipsis")
    progress = Text.assemble(
        bar(share, max(10, min(40, width - 36))),
        f" {share:4.0%}  ",
        (left, "bold"),
        ("   Ctrl-C saves and stops", "dim"),
    )
    progress.no_wrap, progress.overflow = True, "ellipsis"
    return Group(line, progress)


def _numbers(story: Story, width: int) -> RenderableType:
    train = f"{story.train[-1][1]:.3f}" if story.train else "…"
    valid = f"{story.valid[-1][1]:.3f}" if story.valid else "…"
    cells = [
        Text.assemble("train ", (train, TRAIN_STYLE)),
        Text.assemble("valid ", (valid, VALID_STYLE), f" (best {story.best:.3f})" if story.best is not None else ""),
        Text.assemble("step ", (f"{story.step:,}", "bold"), f"/{story.steps:,}"),
        Text.assemble((f"{story.speed:,.0f}", "bold"), " characters/s"),
    ]
    if story.skipped:
        cells.append(Text(f"{story.skipped} skipped", style="red"))
    return Columns(cells, padding=(0, 3), width=None if width < 90 else 26)


def _passages(story: Story, width: int, room: int) -> RenderableType:
    if not story.passages:
        return Text("")
    step, _, text = story.passages[-1]
    earlier = story.earlier()
    side_by_side = width >= 76 and earlier is not None
    rows = max(2, room - 2) if side_by_side or earlier is None else max(2, room // 2 - 2)
    now = _passage(f"writes now (step {step:,})", text, rows, "green")
    if earlier is None:
        return now
    before = _passage(f"wrote at step {earlier[0]:,}", earlier[2], rows, "bright_black")
    if not side_by_side:
        return Group(now, before)
    table = Table.grid(expand=True)
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_row(before, now)
    return table


def _passage(title: str, text: str, rows: int, style: str) -> Panel:
    lines = visible(text).strip("\n").split("\n")
    body = Text("\n".join(lines[:rows]), overflow="fold")
    return Panel(body, title=title, title_align="left", border_style=style, height=rows + 2)


def _thinned(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    return points if len(points) <= most else points[:: len(points) // most + 1] + points[-1:]
