"""What is seen of a machine: the list, and its work token by token, with what it holds and which units are on.

Knows nothing about how machines work: it is given them, and programs and circuits that have run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile, tee
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from unrolled.cli.console import Voice
from unrolled.text.display import visible_line

if TYPE_CHECKING:
    from unrolled.programs.circuit import Circuit
    from unrolled.programs.program import Configuration, Program

SHOWN_CELLS = 28
"""Of a long tape or stack only so much around the head or the top is drawn."""
ROOM_FOR_UNITS = 24
"""With fewer columns left, or fewer than a name is long, the units that are on stand below their token."""


@dataclass(frozen=True)
class Moment:
    """A program and its circuit after one token; `expected` is what must come next, if only one thing can."""

    token: str
    at: "Configuration"
    expected: str
    on: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the moment under plain names."""
        return {
            "token": self.token,
            "state": self.at.state,
            "memories": list(self.at.contents),
            "next": self.expected or None,
            "on": list(self.on),
        }


def moments(program: "Program", circuit: "Circuit", text: str) -> Iterator[Moment]:
    """Yield what holds after every token of the line for an input; nothing is computed that is not asked for."""
    from unrolled.programs.program import RESET

    tokens, again = tee(takewhile(lambda token: token != RESET, program.written(text)))
    now = program.start()
    for token, values in zip(tokens, circuit.run(again), strict=True):
        now = program.step(now, token)
        likely = [name for name, weight in program.expects(now).items() if weight > 0]
        on = tuple(name for name, value in values.items() if value == 1 and _is_told(name))
        yield Moment(token, now, likely[0] if len(likely) == 1 else "", on)


def _is_told(unit: str) -> bool:
    """Rules and expectations are how a state comes about; what holds, and what was done, is more telling."""
    group, _, what = unit.partition(".")
    inner = what in ("keep", "value", "nonempty") or what.startswith(("after_", "at_least_", "wide"))
    return group not in ("rule", "expects", "reset") and not inner


def show_listed(voice: Voice, about: Mapping[str, object]) -> None:
    """Print one machine of the list: its name and kind, and indented what it does and an example."""
    voice.say(Text.assemble((str(about["name"]), "bold cyan"), (f"  {about['kind']}", "dim")))
    _wrapped(voice, "  ", Text(_in_one(str(about["description"]))))
    if about["example"]:
        _wrapped(voice, "  ", Text(visible_line(str(about["example"])), "green"))


def show_work(voice: Voice, name: str, description: str, program: "Program", seen: Sequence[Moment]) -> None:
    """Print a machine's name and its work token by token, the units beside it or, where there is no room, below."""
    _wrapped(voice, "", Text(f"{visible_line(name)}: {_in_one(description)}", "bold"))
    taped = [memory.name for memory in program.memories] == ["left", "right"]
    held = [[_tape(*moment.at.contents, live=voice.live)] if taped else _held(program, moment) for moment in seen]
    title = visible_line(", ".join(memory.name for memory in program.memories)) if len(program.memories) < 2 else ""
    title = title or ("tape" if taped else "memories" if program.memories else "")
    memories = max((part.cell_len for parts in held for part in (*parts, Text(title))), default=0)
    digits, states = len(str(len(seen))), max((len(moment.at.state) for moment in seen), default=0)
    units = max((len(unit) for moment in seen for unit in moment.on), default=0)
    if voice.width - (digits + len("reads") + states + memories + 8) >= max(ROOM_FOR_UNITS, units):
        _beside(voice, title, seen, held)
        return
    for number, (moment, parts) in enumerate(zip(seen, held, strict=True), 1):
        what = Text("   ").join([Text(visible_line(moment.token)), Text(moment.at.state, "cyan"), *parts])
        _wrapped(voice, f"{number:>{digits}}  ", what)
        _wrapped(voice, " " * (digits + 2), Text(visible_line("  ".join(("on:", *(moment.on or ["none"])))), "dim"))


def _beside(voice: Voice, memories: str, seen: Sequence[Moment], held: Sequence[Sequence[Text]]) -> None:
    table = Table(box=None, pad_edge=False, width=voice.width)
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("reads", no_wrap=True)
    table.add_column("state", no_wrap=True, style="cyan")
    if memories:
        table.add_column(memories)
    table.add_column("on", overflow="fold", style="dim", ratio=1)
    for number, (moment, parts) in enumerate(zip(seen, held, strict=True), 1):
        cells = [Group(*parts)] if memories else []
        on = Text(visible_line("  ".join(moment.on)))
        table.add_row(f"{number}", Text(visible_line(moment.token)), moment.at.state, *cells, on)
    _trimmed(voice, table)


def _in_one(description: str) -> str:
    return visible_line(" ".join(description.split("\n")))


def _wrapped(voice: Voice, before: str, what: Text) -> None:
    """Print a text between the margins, its further lines as far in as the first."""
    indent = min(len(before), voice.width // 2)
    for place, line in enumerate(what.wrap(voice.console, voice.width - indent)):
        line.rstrip()
        voice.say(Text.assemble((before[-indent:] if not place else " " * indent) if indent else "", line))


def _trimmed(voice: Voice, what: RenderableType) -> None:
    """Print without the blanks that would fill the lines."""
    options = voice.console.options.update(width=voice.width)
    for segments in voice.console.render_lines(what, options, pad=False):
        line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        line.rstrip()
        voice.say(line)


def _tape(left: str, right: str, *, live: bool) -> Text:
    """Draw a tape, its head highlighted, or in brackets where that cannot be; `right` has the head's cell on top."""
    ahead = right[::-1]
    before, behind = left[-SHOWN_CELLS // 2 :], ahead[1 : 1 + SHOWN_CELLS // 2]
    head = visible_line(ahead[:1] or "_")
    return Text.assemble(
        ("…" if before != left else "") + visible_line(before),
        (head, "reverse") if live else f"[{head}]",
        visible_line(behind) + ("…" if len(behind) < len(ahead) - 1 else ""),
    )


def _held(program: "Program", moment: Moment) -> list[Text]:
    """Return what a machine's memories hold; of several those that hold anything, each with its name."""
    pairs = list(zip(program.memories, moment.at.contents, strict=True))
    if len(pairs) < 2:
        return [_content(memory.counter, content) for memory, content in pairs]
    told = [
        Text.assemble((f"{visible_line(memory.name)} ", "dim"), _content(memory.counter, content))
        for memory, content in pairs
        if content
    ]
    return told or [Text("empty", "dim")]


def _content(counter: bool, held: str) -> Text:
    if counter:
        return Text(str(len(held)))
    if not held:
        return Text("empty", "dim")
    shown = held[-SHOWN_CELLS:]
    return Text.assemble(
        ("…" if shown != held else "") + visible_line(shown[:-1]), (visible_line(shown[-1]), "reverse")
    )
