"""Check a text whose lines are examples, shuffle the lines and deal them to the parts.

A line is a source, a TAB and a target. In "pairs" the target is what shall be written after the source, a text of any
length; in "tags" it has one character for each of the source, `UNASKED` where nothing is asked. Knows nothing about
files, ids or models.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from unrolled.errors import TextError
from unrolled.text.display import visible_line
from unrolled.text.options import TextOptions, part_bounds

TAB, NEWLINE = "\t", "\n"
UNASKED = "·"
"""The tag of a character after which nothing is asked."""
LONGEST_LINE = 4096
"""Characters of a line, the TAB included: gradients flow through all of it."""
SHOWN = 60
"""Characters of a source, a target and an answer that are shown together."""
LISTED, MOST_RANGES = 10, 100
"""Of lines that are no examples, so many are quoted with their fault, and so many ranges of others named."""

_EXCERPT = 24
_SEED = 20_150_521
"""One for every text, so that a text is always cut into the same parts."""


@dataclass(frozen=True)
class Arranged:
    """The lines of each part (train, valid, test), each with its newline, and what must be said aloud."""

    parts: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def bounds(self) -> tuple[int, ...]:
        """Where the parts start and end in characters."""
        return tuple(np.cumsum([0, *map(len, self.parts)]).tolist())


def kept_characters(regime: str) -> str:
    """Return the characters that a vocabulary must have, however rare they are."""
    return {"text": "", "pairs": TAB + NEWLINE, "tags": TAB + NEWLINE + UNASKED}[regime]


def arrange(text: str, options: TextOptions, where: Callable[[int], str] = "line {}".format) -> Arranged:
    """Check every line, shuffle them (always in the same way) and split between lines; blank lines are left out.

    `where` names a line by its number, counted from 1. Raises TextError that lists what is wrong with which lines.
    """
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip(" ")]
    check_lines(numbered, options.regime, where)
    lines = [line for _, line in numbered]
    order = np.random.Generator(np.random.PCG64(_SEED)).permutation(len(lines)).tolist()
    shuffled = [lines[index] + "\n" for index in order]
    dealt = [shuffled[start:stop] for start, stop in pairwise(part_bounds(len(lines), options.split))]
    return Arranged(tuple("".join(part) for part in dealt), tuple(_repeats(dealt)))


def check_lines(
    numbered: Sequence[tuple[int, str]], regime: str, where: Callable[[int], str] = "line {}".format
) -> None:
    """Raise TextError when there are no lines, or naming those that are no examples of the regime."""
    wanted = {
        "pairs": "a source, one TAB and a target in every line",
        "tags": "a source, one TAB and as many tags in every line",
    }[regime]
    if not numbered:
        raise TextError(expected=wanted, received="no lines", remedy="write one example in each line")
    found = ((number, line, fault) for number, line in numbered if (fault := fault_of(line, regime)))
    first = list(islice(found, LISTED))
    if not first:
        return
    more = _ranges([number for number, _, _ in found], where)
    listed = "; ".join(f"{where(number)} ({_excerpt(line)}) {fault}" for number, line, fault in first)
    raise TextError(
        expected=wanted,
        received=f"{listed}{f'; and the same for {more}' if more else ''}",
        remedy=f"correct {'it' if len(first) == 1 else 'them'}, or leave --{regime} out to read a plain text",
    )


def _ranges(numbers: Sequence[int], where: Callable[[int], str]) -> str:
    """Name many lines, neighbours as one range; of very many ranges the first, and how many lines they leave out."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    named = [where(a) if a == b else f"{where(a)} to {where(b)}" for a, b in found[:MOST_RANGES]]
    left = sum(b - a + 1 for a, b in found[MOST_RANGES:])
    return ", ".join(named) + (f" and {left:,} more lines" if left else "")


def fault_of(line: str, regime: str) -> str:
    """Say what keeps a line from being an example, "" when nothing does."""
    tabs = line.count(TAB)
    if tabs != 1:
        return f"has {tabs or 'no'} TAB{'s' * (tabs > 1)}"
    source, _, target = line.partition(TAB)
    if not target:
        return "has nothing after the TAB"
    if len(line) > LONGEST_LINE:
        return f"has {len(line):,} characters, more than {LONGEST_LINE:,}"
    if regime == "tags" and len(source) != len(target):
        return f"has {len(source):,} characters before the TAB and {len(target):,} after it"
    if regime == "tags" and not target.strip(UNASKED):
        return f"has no tag but {UNASKED}, so that nothing is asked"
    return ""


def told_answer(source: str, target: str, answer: str) -> str:
    """Return a line for people: `abc → cba`, or `abc → cbb (cba)` where the answer is wrong; long texts are cut."""
    told = f"{_shown(source)} → {_shown(answer)}"
    return told if answer == target else f"{told} ({_shown(target)})"


def _shown(text: str) -> str:
    shown = visible_line(text[:SHOWN])
    return f"{shown}…" if len(text) > SHOWN else shown


def _repeats(dealt: Sequence[Sequence[str]]) -> Iterator[str]:
    """Say how many held-out lines the training part has, too: they measure what was learned by heart."""
    known = set(dealt[0])
    for name, part in zip(("validation", "test"), dealt[1:], strict=True):
        again = sum(count for line, count in Counter(part).items() if line in known)
        if again:
            yield f"{again:,} of {len(part):,} lines of the {name} part also stand in the training part"


def _excerpt(line: str) -> str:
    shown = visible_line(line[:_EXCERPT])
    return f"{shown}…" if len(line) > _EXCERPT else shown
