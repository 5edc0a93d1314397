"""Option types that verbs share: counts such as 1M, switches, and how a text is read.

Knows nothing about torch or numpy: `unrolled --help` must start at once.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from unrolled.text.corpus import TextOptions

_FACTORS = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "b": 1_000_000_000}


def parse_count(text: str) -> int:
    """Read a count such as 1M, 300k, 1.5m or 1_000_000; anything else raises ConfigError."""
    cleaned = text.strip().lower().replace("_", "").replace(",", "")
    factor = _FACTORS.get(cleaned[-1:], 1)
    try:
        value = float(cleaned[:-1] if factor > 1 else cleaned) * factor
        if not 1 <= value < 1e15:
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(expected="a count such as 300k or 1M", received=repr(text), remedy="correct it") from None
    return round(value)


def _convert(_: type, tokens: Sequence[Token]) -> int:
    return parse_count(tokens[0].value)


Count = Annotated[int, Parameter(converter=_convert)]
Switch = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class TextArguments:
    """How a text is read."""

    split: str = "0.9,0.05,0.05"
    "Fractions for training, validation and test, in this order."
    encoding: str = "utf-8"
    "How the files are encoded."
    bytes: Switch = False
    "Read bytes instead of characters: any file, nothing lost."
    min_count: int = 2
    "Characters seen fewer times in the training part become one unknown symbol."

    def options(self) -> "TextOptions":
        """Return the same as the text package wants it."""
        from unrolled.text.corpus import TextOptions, parse_split

        return TextOptions(
            split=parse_split(self.split), encoding=self.encoding, as_bytes=self.bytes, min_count=self.min_count
        )


def given(arguments: Any, defaults: Any) -> list[str]:
    """Return the names of the options whose value is not the default."""
    return [
        field.name
        for field in dataclasses.fields(arguments)
        if getattr(arguments, field.name) != getattr(defaults, field.name)
    ]
