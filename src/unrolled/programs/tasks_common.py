"""What a task is: a generator of questions with their answers, its lengths, and what one who knows nothing would reach.

Knows nothing about models or about any one task.
"""

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

LEVELS = ("regular", "counting", "context-free", "context-sensitive", "memory")
"""From what finite automata can do, through counters, a stack and more than a stack, to what asks for storage alone."""
TRAINED, LONGEST = 40, 500
"""Models are trained on lengths up to the one and tested on longer ones up to the other (Deletang et al. 2023)."""
UNASKED = "·"
"""The tag of a symbol after which nothing is asked."""

_HELD_OUT_FROM = 8
_HELD_OUT_ONE_IN = 8
_TRIES = 1000
_POINTS = 8

Draw = Callable[[random.Random, int], tuple[str, str]]
"""Draws a question of so many symbols and its answer."""
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Measure:
    """A second way to measure a task, the smaller the better: its name, and what one who knows nothing reaches."""

    name: str
    know_nothing: Callable[[int], float]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task on strings.

    regime      "pairs" (read the source, then write the target) or "tags" (one answer for each symbol of the source,
                `UNASKED` where nothing is asked)
    level       one of LEVELS
    alphabet    the symbols of sources, one character each; `answers` those of targets
    draw        makes a source of a length, and its target, from a random generator
    chance      for a length, the share of asked symbols that the best answer knows that never looks at the source
    has_length  whether there are sources of a length
    length_is   what length counts
    trained     the longest length in training; `longest` the longest one in tests
    headline    "longer" or "trained": on which lengths the one number stands by which the task is told
    held_out    whether some sources of the training lengths are kept for tests; not where there are too few to share
    values      the numbers that answers stand for: then an answer is the mean of what is predicted, and it is right
                when it is less than `within` away
    measure     a second measure, if there is one that is published
    """

    name: str
    description: str
    regime: str = "pairs"
    level: str
    alphabet: str
    answers: str
    draw: Draw
    chance: Callable[[int], float]
    has_length: Callable[[int], bool] = lambda length: length >= 1
    length_is: str = "symbols of the source"
    trained: int = TRAINED
    longest: int = LONGEST
    headline: str = "longer"
    held_out: bool = True
    values: Numbers = field(default_factory=lambda: MappingProxyType({}))
    within: float = 0.0
    measure: Measure | None = None

    @property
    def training_lengths(self) -> tuple[int, ...]:
        """The lengths that training draws from, each as often as any other."""
        return tuple(length for length in range(1, self.trained + 1) if self.has_length(length))

    @property
    def longer_lengths(self) -> tuple[int, ...]:
        """All lengths that no training has seen."""
        return tuple(length for length in range(self.trained + 1, self.longest + 1) if self.has_length(length))

    @property
    def headline_lengths(self) -> tuple[int, ...]:
        """The lengths by which the task is told."""
        return self.longer_lengths if self.headline == "longer" else self.training_lengths

    def headline_chance(self) -> float:
        """Return the mean chance over some of the headline's lengths, evenly spread."""
        lengths = self.headline_lengths[:: max(1, len(self.headline_lengths) // _POINTS)]
        return sum(map(self.chance, lengths)) / len(lengths)

    def is_held_out(self, source: str) -> bool:
        """Say whether a source is kept from training: one in eight of at least eight symbols, by its checksum.

        Shorter ones are so few that all of them are trained on; what is longer than `trained` is never trained on.
        """
        return self.held_out and len(source) >= _HELD_OUT_FROM and zlib.crc32(source.encode()) % _HELD_OUT_ONE_IN == 0

    def examples(self, draws: random.Random, length: int, count: int, *, unseen: bool = False) -> list[tuple[str, str]]:
        """Draw sources of a length with their targets: such as training meets, or, `unseen`, such as it does not.

        Where no source of this length is held out, `unseen` ones are like any other.
        """
        keeps = self.held_out and length <= self.trained
        found: list[tuple[str, str]] = []
        for _ in range(count):
            source, target = self.draw(draws, length)
            for _ in range(_TRIES if keeps and (not unseen or len(source) >= _HELD_OUT_FROM) else 0):
                if self.is_held_out(source) == unseen:
                    break
                source, target = self.draw(draws, length)
            found.append((source, target))
        return found


def constant(share: float) -> Callable[[int], float]:
    """Return a chance that is the same at every length."""
    return lambda length: share  # noqa: ARG005
