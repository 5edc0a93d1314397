"""Option types that verbs share: numbers, counts such as 1M, switches, and how a text is read.

Knows nothing about torch or numpy: `unrolled --help` must start at once.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter, Token

from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from unrolled.text.corpus import TextOptions

_FACTORS = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "b": 1_000_000_000}

BUDGET = Group("How long (one of these)", sort_key=1)
MODEL = Group("Which model", sort_key=2)
TEXT = Group("How the text is read", sort_key=3)
TRAINING = Group("How it is trained (chosen by a recipe)", sort_key=4)
RUN = Group("The run", sort_key=5)


def place(token: Token) -> str:
    """Say where a value was given: `after --steps`, or `for steps in setup.toml`."""
    name = token.keyword or ""
    return f"for {name.lstrip('-')} in {token.source}" if token.source not in ("", "cli") else f"after {name}"


def parse_count(text: str, where: str = "") -> int:
    """Read a count such as 1M, 300k, 1.5m or 1_000_000; anything else raises ConfigError."""
    cleaned = text.strip().lower().replace("_", "").replace(",", "")
    factor = _FACTORS.get(cleaned[-1:], 1)
    try:
        value = float(cleaned[:-1] if factor > 1 else cleaned) * factor
        if not 1 <= value < 1e15:
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(
            expected=" ".join(["a count such as 500, 300k or 1M", where]).strip(),
            received=repr(text),
            remedy="correct it",
        ) from None
    return round(value)


def _count(_: type, tokens: Sequence[Token]) -> int:
    return parse_count(tokens[0].value, place(tokens[0]))


def _whole(_: type, tokens: Sequence[Token]) -> int:
    try:
        return int(tokens[0].value.replace(",", ""))
    except ValueError:
        raise ConfigError(
            expected=f"a whole number {place(tokens[0])}", received=repr(tokens[0].value), remedy="correct it"
        ) from None


def _number(_: type, tokens: Sequence[Token]) -> float:
    try:
        value = float(tokens[0].value)
        if math.isnan(value):
            raise ValueError
    except ValueError:
        raise ConfigError(
            expected=f"a number {place(tokens[0])}", received=repr(tokens[0].value), remedy="correct it"
        ) from None
    return value


Count = Annotated[int, Parameter(converter=_count, metavar="N")]
Whole = Annotated[int, Parameter(converter=_whole, metavar="N")]
Number = Annotated[float, Parameter(converter=_number, metavar="X")]
Folder = Annotated[Path, Parameter(metavar="DIR")]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
# a lone - is a text, too; what else begins with - and is no file is refused in settings.py
Text = Annotated[str, Parameter(allow_leading_hyphen=True)]


@Parameter(name="*", group=TEXT)
@dataclass(frozen=True)
class TextArguments:
    """How a text is read."""

    split: Annotated[str, Parameter(metavar="A,B,C")] = "0.9,0.05,0.05"
    "Fractions of the text for training, validation and test."
    encoding: Annotated[str, Parameter(metavar="NAME")] = "utf-8"
    "How the files are encoded: utf-8, latin-1, cp1252, …"
    bytes: Switch = False
    "Read bytes instead of characters: any file, nothing lost."
    min_count: Whole = 2
    "Characters seen fewer times in the training part become one unknown symbol."
    pairs: Switch = False
    "Each line is a source, a TAB and a target: learn to write the target after the source."
    tags: Switch = False
    "Each line is a source, a TAB and as many tags: learn to say a tag after each character (· asks nothing)."

    def options(self) -> "TextOptions":
        """Return the same as the text package wants it."""
        from unrolled.text.corpus import TextOptions, parse_split

        if self.pairs and self.tags:
            raise ConfigError(expected="--pairs or --tags", received="both", remedy="leave one out")
        return TextOptions(
            split=parse_split(self.split),
            encoding=self.encoding,
            as_bytes=self.bytes,
            min_count=self.min_count,
            regime="pairs" if self.pairs else "tags" if self.tags else "text",
        )


def given(arguments: Any, defaults: Any) -> list[str]:
    """Return the names of the options whose value is not the default."""
    return [
        field.name
        for field in dataclasses.fields(arguments)
        if getattr(arguments, field.name) != getattr(defaults, field.name)
    ]
