"""Where the command line prints, and how it ends: results on stdout, talk on stderr where a script reads stdout.

Knows nothing about what is printed.
"""

import json
import os
import sys
from collections.abc import Mapping

from rich.console import Console, RenderableType
from rich.text import Text

from unrolled.text.display import visible


class Voice:
    """What a verb speaks with: `say` for people, `result` for scripts.

    With `as_json` people's lines go to stderr, so that stdout carries the result alone.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False, soft_wrap=not _is_terminal(as_json))

    @property
    def live(self) -> bool:
        """Whether a person is looking at a terminal that can be drawn on."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def say(self, line: str | RenderableType = "", style: str = "") -> None:
        """Print for people; hostile characters in a string are shown, not obeyed."""
        self.console.print(Text(visible(line), style=style) if isinstance(line, str) else line)

    def note(self, line: str) -> None:
        """Print something worth knowing that is no result."""
        self.console.print(Text(f"· {visible(line)}", style="yellow"))

    def result(self, value: Mapping[str, object] | list[object]) -> None:
        """Print a result as one JSON line on stdout."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()


def complain(message: str) -> None:
    """Print one error line on stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    one_line = visible(" ".join(message.split()))
    console.print(Text("error: ", style="bold red") + Text(one_line))


def silence_stdout() -> None:
    """After a broken pipe: let Python close stdout without complaining again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_terminal(stderr: bool) -> bool:
    return (sys.stderr if stderr else sys.stdout).isatty()
