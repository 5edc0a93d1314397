"""Where the command line prints, and how it ends: results on stdout, talk on stderr where a script reads stdout.

Knows nothing about what is printed.
"""

import codecs
import io
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import IO

from rich.console import Console, RenderableType
from rich.text import Text

from unrolled.text.display import visible, visible_line

_PLAINER = {"━": "=", "─": "-", "│": "|", "·": "*", "…": "~", "×": "x", "→": ">", "␛": "^", "⟨": "<", "⟩": ">"}
_CURSOR_ON = b"\x1b[?25h\n"


def open_streams() -> None:
    """Let nothing that is printed fail where stdout or stderr is not UTF-8: it is written plainly."""
    codecs.register_error("unrolled", _plainer)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: >&-
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), "utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="unrolled")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: drawings by ASCII look-alikes of the same width, all else by its escape."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(map(_plain, lost)), error.end


def _plain(character: str) -> str:
    if "\u2800" <= character <= "\u28ff":
        return "*" if character > "\u2800" else " "
    return _PLAINER.get(character) or character.encode("ascii", "backslashreplace").decode()


class Printer(Console):
    """A console that leaves it to `unrolled.cli.run` what happens when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Pass the error on."""
        raise BrokenPipeError


class Voice:
    """What a verb speaks with: `say` for people, `result` for scripts.

    With `as_json` people's lines go to stderr, so that stdout carries the result alone.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Printer(stderr=as_json, highlight=False, soft_wrap=not _is_terminal(as_json))

    @property
    def live(self) -> bool:
        """Whether a person is looking at a terminal that can be drawn on."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    @property
    def width(self) -> int:
        """The columns that tables and panels take: all of a narrow terminal, but not all of a wide one."""
        return max(20, min(100, self.console.width))

    def say(self, line: str | RenderableType = "", style: str = "") -> None:
        """Print for people; hostile characters in a string are shown, not obeyed."""
        self.console.print(Text(visible(line), style=style) if isinstance(line, str) else line)

    def commands(self, lines: Sequence[tuple[str, str]]) -> None:
        """Print commands to type next, each with what it does; the terminal may wrap them, so they can be copied."""
        longest = max(len(line) for line, _ in lines)
        beside = longest + max(len(what) for _, what in lines) + 5 <= self.console.width
        for line, what in lines:
            told = Text.assemble("  ", (visible_line(line), "cyan"))
            gap = " " * (longest - len(line) + 3) if beside else "\n    "
            self.console.print(told + Text(gap + what if what else "", style="dim"), soft_wrap=True)

    def note(self, line: str) -> None:
        """Print something worth knowing that is no result."""
        self.console.print(Text(f"· {visible_line(line)}", style="yellow"))

    def result(self, value: Mapping[str, object] | list[object]) -> None:
        """Print a result as one JSON line on stdout: hostile characters escaped, numbers that JSON lacks null."""
        plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        line = json.dumps(_finite(value), ensure_ascii=plain, allow_nan=False)
        line = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def complain(message: str) -> None:
    """Print one error line on stderr."""
    console = Printer(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(visible_line(" ".join(message.split()))))


def silence(stream: IO[str] | None = None) -> None:
    """After a broken pipe: let Python close the stream (stdout) without complaining again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def leave_at_once(status: int) -> None:
    """End the process without tidying up, but give the terminal its cursor back."""
    for descriptor in (1, 2):
        if os.isatty(descriptor):
            os.write(descriptor, _CURSOR_ON)
            break
    os._exit(status)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_terminal(on_stderr: bool) -> bool:
    return (sys.stderr if on_stderr else sys.stdout).isatty()
