"""What reading the file of a machine has found: faults with their lines, and rules that could not be read.

Knows nothing about what makes a fault.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Fault = tuple[int, str]


@dataclass(frozen=True)
class Unread:
    """A rule that is there but could not be read: its state, what it may read (None: anything) and where it leads.

    Of one without a line (0) nothing more is said: it only tells what the file may have meant.
    """

    line: int
    state: str
    reads: tuple[str | None, ...] | None = None
    to: str = ""


@dataclass
class Notes:
    """What reading a file has found so far; `unsure` names the lines that could not be read, by keyword."""

    faults: list[Fault] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Source:
    """The file of a machine: its faults so far, the lines of keywords and states, and what is not known of it.

    What follows from a fault that is already listed is no fault of its own.
    """

    where: str = ""
    notes: Notes = field(default_factory=Notes)
    keywords: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)

    def placed(self, fault: Fault) -> Fault:
        """Give a fault of the machine as a whole the line of the keyword that it begins with."""
        line, what = fault
        return (line or self.keywords.get(what.split(":")[0], 0), what)


def excused(states: Sequence[str], unread: Iterable[Unread]) -> dict[str, set[str | None]]:
    """Return for every state the symbols for which it has a rule that could not be read; None stands for all."""
    found: dict[str, set[str | None]] = {state: set() for state in states}
    for rule in unread:
        found.get(meant(rule.state, found), set()).update((None,) if rule.reads is None else rule.reads)
    return found


def meant(name: str, states: Mapping[str, object]) -> str:
    """Return the state, a key of `states`, that a name is most likely to stand for."""
    close = [name] if name in states else difflib.get_close_matches(name, states, n=1)
    return close[0] if close else name
