"""What is seen while a task is learned and when it is over: a rising curve, bars by length, a heat map.

Knows nothing about how models learn: it listens to events.
"""

import math
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from unrolled.cli.charts import VALID_STYLE, bar, curve, duration
from unrolled.cli.console import Voice
from unrolled.programs.heat import colour, grid, percent
from unrolled.programs.judging import LengthScore, bands, mean_of
from unrolled.programs.learning import Event, Judged, Lesson, Looked, Outcome
from unrolled.programs.table import TrialBegan, TrialEnded
from unrolled.programs.table_cells import Cell
from unrolled.training.events import Progressed, Skipped, Stopped

PLAIN_EVERY_SECONDS = 5.0
CHART_ROWS = 8
SHADES = " ░▒▓█"
DARK_INK_FROM = 0.45


class Progress:
    """Shows a lesson: drawn on a terminal, a line now and then elsewhere."""

    def __init__(self, voice: Voice, lesson: Lesson) -> None:
        self.voice, self.lesson = voice, lesson
        self._told = -PLAIN_EVERY_SECONDS
        self._live = Live(console=voice.console, refresh_per_second=4, transient=True) if voice.live else None

    def __enter__(self) -> "Progress":
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()

    def hear(self, event: Event) -> None:
        """Show one event."""
        if self._live is not None:
            self._live.update(self._picture(event))
        elif line := self._line(event):
            self.voice.say(line)

    def _line(self, event: Event) -> str:
        lesson = self.lesson
        if isinstance(event, Looked):
            due = event.seconds - self._told >= PLAIN_EVERY_SECONDS or event.step == lesson.last
            if not due:
                return ""
            self._told = event.seconds
            right = f"right {share(event.accuracy)}%, wholly {share(event.exact)}%"
            return f"step {event.step}/{lesson.training.steps}  {right}"
        if isinstance(event, Skipped):
            return f"step {event.step} skipped: {event.what}"
        if isinstance(event, Stopped):
            return f"{event.reason} at step {event.step:,} after {duration(event.seconds)}; testing longer inputs …"
        return ""

    def _picture(self, event: Event) -> Group:
        lesson, width = self.lesson, max(20, self.voice.console.width - 2)
        done = lesson.step / max(1, lesson.last)
        told = f" step {lesson.step:,}/{lesson.last:,}  "
        if isinstance(event, Judged):
            done, told = event.done / event.total, f" testing length {event.score.length}  "
        right = f"right {share(lesson.looks[-1].accuracy)}%" if lesson.looks else "right …"
        head = bar(done, max(4, min(40, width - len(told) - len(right)))) + Text(told) + Text(right, VALID_STYLE)
        head.no_wrap, head.overflow = True, "ellipsis"
        points = [(look.step, 100 * look.accuracy) for look in lesson.looks]
        drawn = curve([(points, VALID_STYLE)], width - 4, CHART_ROWS, max(1, lesson.last))
        return Group(head, Panel(drawn, title="percent right, held-out examples of the training lengths", width=width))


def results(voice: Voice, lesson: Lesson, found: Outcome) -> None:
    """Print bars by length, the know-nothing baseline beside them, and a sentence that judges."""
    task = lesson.task
    voice.say()
    voice.say("accuracy by length (│ marks what one reaches who never looks at the input)", style="bold")
    for low, high in bands(task):
        scores = [score for score in found.scores if low <= score.length <= high]
        if scores:
            voice.say(_band(scores, "trained" if high <= task.trained else "", low, high, voice.width))
    if task.measure is not None:
        for name, mean in (("trained", found.trained), ("longer", found.longer)):
            if mean.measured is not None and mean.know_nothing is not None:
                voice.say(
                    f"{task.measure.name}, {name} lengths: {mean.measured:.4g} (know-nothing {mean.know_nothing:.4g})"
                )
    voice.say()
    voice.say(verdict(lesson, found), style="bold")


def _band(scores: Sequence[LengthScore], mark: str, low: int, high: int, width: int) -> Text:
    mean = mean_of(scores)
    label = f"{low}-{high}".rjust(8) + f" {mark:8}"
    numbers = f" {share(mean.accuracy):>5} %  know-nothing {share(mean.chance)} %"
    room = max(8, min(40, width - len(label) - len(numbers)))
    full, chance = round(mean.accuracy * room), min(room - 1, round(mean.chance * room))
    drawn = ["━" if place < full else " " for place in range(room)]
    drawn[chance] = "│"
    line = Text(label) + Text("".join(drawn), style="cyan") + Text(numbers)
    line.no_wrap = True
    return line


def verdict(lesson: Lesson, found: Outcome) -> str:
    """Say in a sentence what was learned."""
    task, trained, longer = lesson.task, found.trained, found.longer
    there = f"lengths {task.trained + 1} to {task.longest}"
    reached = f"{share(longer.accuracy)}% right on {there}, where knowing nothing gives {share(longer.chance)}%"
    if longer.solved:
        return f"Solved: {reached}; training saw lengths up to {task.trained} only."
    if trained.solved:
        return f"Learned for the lengths of training ({share(trained.accuracy)}%), but not beyond: {reached}."
    if trained.accuracy - trained.chance > (1 - trained.chance) / 10:
        return f"Learned in part: {share(trained.accuracy)}% right on the lengths of training; {reached}."
    right, chance = share(trained.accuracy), share(trained.chance)
    return f"Not learned: {right}% right on the lengths of training, knowing nothing {chance}%."


def share(part: float) -> str:
    """Write a share as percent, rounded down, so that nothing looks like all, or like solved, that is not."""
    return f"{math.floor(1000 * part + 1e-6) / 10:.1f}"


class TableProgress:
    """Tells which trial is running; on a terminal its steps, too."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self._began = time.perf_counter()
        self._status = voice.console.status("beginning …") if voice.live else None
        self._now = ""

    def __enter__(self) -> "TableProgress":
        """Begin to draw."""
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._status is not None:
            self._status.stop()

    def hear(self, event: TrialBegan | TrialEnded | Event) -> None:
        """Show one event."""
        if isinstance(event, TrialBegan):
            self._now = f"{event.number} of {event.total}: {event.task} by {event.family}"
        elif isinstance(event, TrialEnded):
            self._ended(event)
        told = f", right {event.accuracy:.0%}" if isinstance(event, Looked) else ""
        if self._status is not None and not isinstance(event, Progressed):
            self._status.update(f"{self._now}, step {event.step}{told}" if isinstance(event, Looked) else self._now)

    def _ended(self, event: TrialEnded) -> None:
        trial = event.trial
        per_trial = (time.perf_counter() - self._began) / event.number
        left = duration(per_trial * (event.total - event.number))
        reached = trial.problem if trial.headline is None else f"{percent(trial.headline)} %"
        solved = "  solved" if trial.solved else ""
        self.voice.say(
            f"{event.number}/{event.total}  {trial.task}  {trial.family}  rate {trial.rate:g} seed {trial.seed}: "
            f"{reached} (know-nothing {percent(trial.chance)} %){solved}  · {left} left"
        )


def heat(cells: Sequence[Cell], families: Sequence[str], width: int) -> list[Text]:
    """Return the heat map as lines: a shade and a number in each cell, an asterisk where most seeds solve the task.

    Where a terminal is too narrow for all families, the map comes in several parts.
    """
    tasks, by_both = grid(cells)
    names = max(len(task) for task in tasks) + 1
    lines: list[Text] = []
    rest = list(families)
    while rest:
        part = [rest.pop(0)]
        while rest and names + sum(_column(name) for name in (*part, rest[0])) <= width:
            part.append(rest.pop(0))
        lines.append(Text(" " * names + "".join(name.rjust(_column(name)) for name in part), style="bold"))
        for task in tasks:
            line = Text(task.ljust(names))
            for family in part:
                line += _shaded(by_both.get((task, family)), _column(family))
            lines.append(line)
        lines.append(Text())
    lines.append(Text("percent right on longer inputs (mqar: the trained lengths); * most seeds solve it", style="dim"))
    for line in lines:
        line.no_wrap = True
    return lines


def _column(name: str) -> int:
    return max(len(name), 6) + 1


def _shaded(cell: Cell | None, columns: int) -> Text:
    if cell is None:
        return Text("-".rjust(columns))
    number = percent(cell.best) + ("*" if 2 * cell.solved > cell.seeds else " ")
    ink = "black" if cell.shade >= DARK_INK_FROM else "white"
    shade = SHADES[min(len(SHADES) - 1, int(cell.shade * len(SHADES)))]
    return Text(" ") + Text(f"{shade}{number.rjust(columns - 2)}", style=f"{ink} on {colour(cell.shade)}")
