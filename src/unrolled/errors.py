"""One error family: what was expected, what came, what to do, always in one line.

    UnrolledError
    ├── ConfigError        an option, a configuration file or a layer pattern that cannot be used
    ├── TextError          a text that cannot be read, or that is too small to learn from
    ├── RunError           a run folder that is missing, damaged, edited or from a newer version
    │   └── RunLockedError     another process is writing to it
    ├── TrainingError      training that cannot go on (the loss is not finite, the disk is full)
    └── MachineError       an automaton or a Turing machine with faults, or a run of one that cannot go on

Knows nothing about what went wrong: whoever raises says it.
"""

import difflib
from collections.abc import Iterable


class UnrolledError(Exception):
    """Base of every error that a person may see; `str()` is one printable line.

    Raise it with the three things that a person needs: `expected` and `received` are noun phrases,
    `remedy` is an imperative ("give a longer text"). Characters that could drive a terminal are escaped.
    """

    def __init__(self, *, expected: str, received: str, remedy: str) -> None:
        self.expected = expected
        self.received = received
        self.remedy = remedy
        super().__init__(_one_line(f"expected {expected}, got {received}; {remedy}"))


class ConfigError(UnrolledError):
    """An option, a configuration file or a layer pattern that cannot be used."""


class TextError(UnrolledError):
    """A text that cannot be read, or that is too small to learn from."""


class RunError(UnrolledError):
    """A run folder that is missing, damaged, edited or from a newer version."""


class RunLockedError(RunError):
    """A run folder that another process is writing to."""


class TrainingError(UnrolledError):
    """Training that cannot go on; what was saved before stays good."""


class MachineError(UnrolledError):
    """An automaton or a Turing machine with faults, or a run of one that cannot go on.

    `faults` holds every fault of a machine as (line, what is wrong); line 0 is the machine as a whole.
    """

    def __init__(self, *, expected: str, received: str, remedy: str, faults: Iterable[tuple[int, str]] = ()) -> None:
        super().__init__(expected=expected, received=received, remedy=remedy)
        self.faults = tuple(faults)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known word, or all of them when none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "choose one of " + ", ".join(names)


def _one_line(message: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in message)
