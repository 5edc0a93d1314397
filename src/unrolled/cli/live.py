"""The live display of training: numbers, a loss curve, and the passage now beside an earlier one; or plain lines.

Knows nothing about how training works: it listens to events.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from unrolled.cli.charts import TRAIN_STYLE, VALID_STYLE, bar, curve, duration, exactness, legend
from unrolled.cli.console import Voice
from unrolled.text.display import visible, visible_line
from unrolled.training.events import Evaluated, Event, Progressed, Saved, SaveFailed, Skipped, Stopped, Wrote

EARLIER_SECONDS = 60.0
PLAIN_EVERY_SECONDS = 10.0

LEAST_CHART, MOST_CHART = 4, 12
LEAST_PASSAGE, MOST_PASSAGE = 3, 12
"""Rows inside the panels."""
SIDE_BY_SIDE = 76
BORDER = 2
MARGIN = 2
"""Columns left free, so that the ^C a terminal echoes does not wrap and move everything down a row."""


@dataclass
class Story:
    """What the events told so far; `started_at` and `started_seconds` are where this session took over."""

    title: str
    steps: int
    started_at: int = 0
    started_seconds: float = 0.0
    step: int = 0
    seconds: float = 0.0
    speed: float = 0.0
    skipped: int = 0
    train: list[tuple[float, float]] = field(default_factory=list)
    valid: list[tuple[float, float]] = field(default_factory=list)
    passages: list[tuple[int, float, str]] = field(default_factory=list)
    skip: str = ""
    unsaved: str = ""
    stopped: str = ""
    best: float | None = None
    unit: str = "character"
    accuracy: float | None = None

    def hear(self, event: Event) -> None:
        """Take in one event."""
        self.step = event.step
        if isinstance(event, Progressed):
            self.seconds, self.speed = event.seconds, event.chars_per_second
            self.train.append((event.step, event.train_bits))
        elif isinstance(event, Evaluated):
            self.valid.append((event.step, event.score.bits_per_char))
            self.best = event.score.bits_per_char if event.best else self.best
            self.accuracy = event.score.accuracy
        elif isinstance(event, Wrote):
            self.passages.append((event.step, self.seconds, event.text))
        elif isinstance(event, Skipped):
            self.skipped = event.total
            self.skip = f"step {event.step} skipped: {event.what}"
        elif isinstance(event, SaveFailed):
            reason = (event.problem.partition(", got ")[2] or event.problem).partition("; ")[0]
            self.unsaved = f"step {event.step} could not be saved: {reason}"
        elif isinstance(event, Saved):
            self.unsaved = ""
        elif isinstance(event, Stopped):
            self.stopped, self.seconds = event.reason, event.seconds

    @property
    def problem(self) -> str:
        """What a person should know now."""
        return self.unsaved or self.skip

    def seconds_left(self) -> float:
        """Return the time left at the pace of this session, in seconds."""
        done = self.step - self.started_at
        return (self.seconds - self.started_seconds) / done * (self.steps - self.step) if done > 0 else 0.0

    def earlier(self) -> tuple[int, float, str] | None:
        """Return the passage written about a minute ago, or the first one."""
        before = [p for p in self.passages[:-1] if p[1] <= self.seconds - EARLIER_SECONDS]
        return (before or self.passages[:1])[-1] if len(self.passages) > 1 else None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Draw the story in the terminal as it is now, however often it is resized."""
        width = max(MARGIN, options.max_width - MARGIN)
        yield from console.render(picture(self, width, console.height), options.update(width=width))


@contextmanager
def telling(voice: Voice, story: Story) -> Iterator["Listener"]:
    """Show the story while it happens: drawn on a terminal, plain lines elsewhere."""
    if not voice.live:
        yield Listener(voice, story, drawn=False)
        return
    with Live(story, console=voice.console, refresh_per_second=4, transient=True, vertical_overflow="crop"):
        yield Listener(voice, story, drawn=True)


@dataclass
class Listener:
    """Passes events to the story and, where the story is not drawn, prints lines."""

    voice: Voice
    story: Story
    drawn: bool
    _last_line: float = -PLAIN_EVERY_SECONDS

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self.story.hear(event)
        if not self.drawn and (line := self._line(event)):
            self.voice.say(line)

    def _line(self, event: Event) -> str:
        story = self.story
        if isinstance(event, Evaluated):
            told = f"{event.score.bits_per_char:.3f} bits per {story.unit}{exactness(event.score.accuracy, story.unit)}"
            return f"step {event.step}/{story.steps}  valid {told}{' (best)' if event.best else ''}"
        if isinstance(event, Progressed) and event.seconds - self._last_line >= PLAIN_EVERY_SECONDS:
            self._last_line = event.seconds
            return (
                f"step {event.step}/{story.steps}  train {event.train_bits:.3f} bits per {story.unit}  "
                f"{event.chars_per_second:,.0f} characters/s  {duration(story.seconds_left())} left"
            )
        return story.problem if isinstance(event, Skipped | SaveFailed) else ""


def picture(story: Story, width: int, height: int) -> RenderableType:
    """Draw the story in so many columns and at most so many rows less one: what does not fit is left out whole."""
    numbers = _numbers(story, width)
    parts: list[RenderableType] = [*_head(story, width), *numbers]
    if story.problem:
        parts.append(Text(visible_line(story.problem), style="bold red", no_wrap=True, overflow="ellipsis"))
    room = height - 1 - len(parts)
    chart = min(MOST_CHART, max(LEAST_CHART, (room - 2 * BORDER) // 2))
    if room >= LEAST_CHART + LEAST_PASSAGE + 2 * BORDER:
        drawn = curve(
            [(_thinned(story.train), TRAIN_STYLE), (story.valid, VALID_STYLE)], width - 4, chart, max(1, story.steps)
        )
        parts.append(
            Panel(drawn, title=legend(), title_align="left", border_style="bright_black", height=chart + BORDER)
        )
        room -= chart + BORDER
    parts.extend(_passages(story, width, room))
    return Group(*parts[: max(1, height - 1)])


def _head(story: Story, width: int) -> list[RenderableType]:
    share = story.step / max(1, story.steps)
    left = f"{duration(story.seconds_left())} left" if story.step > story.started_at else "starting"
    told = Text.assemble(f" {share:4.0%}  ", (left, "bold"))
    for hint in ("   Ctrl-C saves and stops", "   Ctrl-C stops"):
        if width - told.cell_len - len(hint) >= 10:
            told.append(hint, style="dim")
            break
    progress = bar(share, max(4, min(40, width - told.cell_len))) + told
    for line in (title := Text(visible_line(story.title), style="bold"), progress):
        line.no_wrap, line.overflow = True, "ellipsis"
    return [title, progress]


def _numbers(story: Story, width: int) -> list[RenderableType]:
    """Lay the numbers out in as few lines as hold them."""
    train = f"{story.train[-1][1]:.3f}" if story.train else "…"
    valid = f"{story.valid[-1][1]:.3f}" if story.valid else "…"
    cells = [
        Text.assemble("train ", (train, TRAIN_STYLE)),
        Text.assemble("valid ", (valid, VALID_STYLE), f" (best {story.best:.3f})" if story.best is not None else ""),
        Text.assemble("step ", (f"{story.step:,}", "bold"), f"/{story.steps:,}"),
        Text.assemble((f"{story.speed:,.0f}", "bold"), " characters/s"),
    ]
    if story.accuracy is not None:
        cells.insert(2, Text(exactness(story.accuracy, story.unit).removeprefix(", "), style=VALID_STYLE))
        cells.insert(3, Text(f"(bits per {story.unit})", style="dim"))
    if story.skipped:
        cells.append(Text(f"{story.skipped:,} skipped", style="red"))
    lines: list[Text] = []
    for cell in cells:
        if lines and lines[-1].cell_len + 3 + cell.cell_len <= width:
            lines[-1].append("   ").append_text(cell)
        else:
            lines.append(cell)
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return list(lines)


def _passages(story: Story, width: int, room: int) -> list[RenderableType]:
    """Draw the passage written now and an earlier one in `room` rows: side by side, stacked, or the one now alone."""
    rows = min(MOST_PASSAGE, room - BORDER)
    if not story.passages or rows < 1:
        return []
    step, _, text = story.passages[-1]
    now, earlier = (f"writes now (step {step:,})", text, "green"), story.earlier()
    if earlier is None:
        return [_passage(*now, rows)]
    before = (f"wrote at step {earlier[0]:,}", earlier[2], "bright_black")
    if width >= SIDE_BY_SIDE:
        table = Table.grid(expand=True)
        table.add_column(ratio=1)
        table.add_column(ratio=1)
        table.add_row(_passage(*before, rows), _passage(*now, rows))
        return [table]
    half = min(MOST_PASSAGE, room // 2 - BORDER)
    if half < LEAST_PASSAGE:
        return [_passage(*now, rows)]
    return [_passage(*now, half), _passage(*before, half)]


def _passage(title: str, text: str, style: str, rows: int) -> Panel:
    lines = visible(text).strip("\n").split("\n")
    body = Text("\n".join(lines[:rows]), overflow="fold")
    return Panel(body, title=Text(title), title_align="left", border_style=style, height=rows + BORDER)


def _thinned(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    return points if len(points) <= most else points[:: len(points) // most + 1] + points[-1:]
