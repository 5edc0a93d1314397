"""Say how a text is read and split into parts.

Knows nothing about files or vocabularies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unrolled.errors import ConfigError
from unrolled.text.encoding import checked_encoding

PART_NAMES = ("train", "valid", "test")
REGIMES = ("text", "pairs", "tags")

Split = tuple[float, float, float]


@dataclass(frozen=True)
class TextOptions:
    """How a text is read: `split` are the fractions of (train, valid, test).

    Characters that occur fewer than `min_count` times in the training part become the unknown symbol. `as_bytes`
    reads every byte as a symbol, losslessly; `encoding` and `min_count` then mean nothing.

    `regime` says what a line is: "text" knows no lines, "pairs" has a source, a TAB and the target that shall be
    written after it, "tags" a source, a TAB and one tag for each character of the source (see `unrolled.text.pairs`).

    Raises:
        ConfigError: a split that is no split, `min_count` below 1, an unknown regime, lines read as bytes.
        TextError: an unknown encoding.
    """

    split: Sequence[float] = (0.9, 0.05, 0.05)
    encoding: str = "utf-8"
    as_bytes: bool = False
    min_count: int = 2
    regime: str = "text"

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", checked_split(self.split))
        object.__setattr__(self, "encoding", checked_encoding(self.encoding))
        if self.min_count < 1:
            raise ConfigError(
                expected="a minimum count of at least 1", received=str(self.min_count), remedy="use 1 to keep all"
            )
        if self.regime not in REGIMES:
            raise ConfigError(
                expected="a regime: " + ", ".join(REGIMES), received=repr(self.regime), remedy="choose one of them"
            )
        if self.regime != "text" and self.as_bytes:
            raise ConfigError(
                expected=f"characters in {self.regime}",
                received="--bytes",
                remedy="leave it out, or name an --encoding",
            )


def parse_split(text: str) -> Split:
    """Return the split written as "0.9,0.05,0.05". Raises ConfigError when it is none."""
    try:
        return checked_split([float(number) for number in text.split(",")])
    except ValueError:
        raise _no_split(repr(text)) from None


def checked_split(split: Sequence[float]) -> Split:
    """Return three fractions that sum to one, the first above zero. Raises ConfigError when they do not."""
    try:
        fractions = tuple(float(fraction) for fraction in split)
    except (TypeError, ValueError):
        raise _no_split(repr(split)) from None
    if (
        len(fractions) != 3
        or not math.isclose(sum(fractions), 1, abs_tol=1e-6)
        or min(fractions) < 0
        or not fractions[0]
    ):
        raise _no_split(",".join(f"{fraction:g}" for fraction in fractions))
    return fractions


def part_bounds(length: int, split: Sequence[float]) -> tuple[int, int, int, int]:
    """Return where the parts of a contiguous stream of `length` characters start and end."""
    train = round(length * split[0])
    valid = round(length * (split[0] + split[1]))
    if not split[2]:
        valid = length
    if not split[1]:
        train = valid = length if not split[2] else train
    return 0, train, valid, length


def _no_split(received: str) -> ConfigError:
    return ConfigError(
        expected="three fractions of the text (train, valid, test) that sum to 1, the first above 0",
        received=received,
        remedy="write for example 0.9,0.05,0.05",
    )
