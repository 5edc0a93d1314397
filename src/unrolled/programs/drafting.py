"""A program in the making: states as they are mentioned, steps merged, names and signs that do not collide.

Knows nothing about the machines that programs are made from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from unrolled.programs.faults import Tops, cells, overlap
from unrolled.programs.program import RESET, Expectation, Program, Step
from unrolled.programs.turing import Action, Memory

Value = TypeVar("Value")
Pattern = TypeVar("Pattern")

ENDS = "=;→⇒"
TICKS = ".·…•"
YES, NO = "1", "0"
GROWING, ENDING = 0.25, 0.15
"""The weight of input that makes a memory grow, where other input has 1; and that of the end of the input, as a share
of all that may come instead. So inputs are neither endless nor mostly empty when a network draws them."""
SLIP = 0.03
"""The weight of all that can only be rejected, together: less than that of anything else that may come."""


class Draft:
    """Collects the states, steps and expectations of a program; `finish` makes the value.

    `taken` are the names of states that are spoken for, `read` the symbols of the input, and `others` those of the
    output and the tape, which no sign may be confused with. Tops and actions are given by the names of the memories;
    what is not named is not looked at or not changed.
    """

    def __init__(self, memories: Sequence[Memory], taken: Iterable[str], read: Iterable[str], others: Iterable[str]):
        self.memories = tuple(memories)
        self.taken = set(taken)
        self.read = frozenset(read)
        used = self.read | set(others)
        self.end = free(ENDS, used)
        self.tick = free(TICKS, used | {self.end})
        self.steps: dict[tuple[str, Tops, str, tuple[Action, ...], bool], set[str]] = {}
        self.expectations: list[Expectation] = []

    def name(self, wanted: str) -> str:
        """Return a state name that no state has yet, and keep it."""
        while wanted in self.taken:
            wanted += "-"
        self.taken.add(wanted)
        return wanted

    def tops(self, given: Mapping[str, str | None]) -> Tops:
        """Return the tops of all memories."""
        return tuple(given.get(memory.name) for memory in self.memories)

    def step(
        self,
        state: str,
        tokens: Iterable[str] | None,
        to: str,
        tops: Mapping[str, str | None] | None = None,
        actions: Mapping[str, Action] | None = None,
    ) -> None:
        """Add a step; steps that differ in their tokens only become one."""
        changes = tuple((actions or {}).get(memory.name, Action()) for memory in self.memories)
        key = (state, self.tops(tops or {}), to, changes, tokens is None)
        self.steps.setdefault(key, set()).update(tokens or ())

    def expect(self, state: str, weights: Mapping[str, float], tops: Mapping[str, str | None] | None = None) -> None:
        """Add an expectation."""
        self.expectations.append(Expectation(state, self.tops(tops or {}), weights))

    def finish(self, name: str, start: str, machine_states: Mapping[str, str], *, acceptor: bool) -> Program:
        """Return the program, without the states that nothing leads to."""
        steps = [
            Step(state, None if rest else frozenset(tokens), tops, to, actions)
            for (state, tops, to, actions, rest), tokens in self.steps.items()
        ]
        states = [start]
        for state in states:  # grows while it is walked
            states.extend(dict.fromkeys(s.to for s in steps if s.state == state and s.to not in states))
        kept = tuple(step for step in steps if step.state in states)
        expected = tuple(expectation for expectation in self.expectations if expectation.state in states)
        named = self.read | {token for step in kept for token in step.tokens or ()}
        return Program(
            name=name,
            tokens=tuple(sorted(named | {token for e in expected for token in e.weights} | {RESET})),
            states=tuple(states),
            memories=self.memories,
            steps=kept,
            expectations=expected,
            end=self.end,
            tick=self.tick,
            answers=(NO, YES) if acceptor else None,
            machine_states={state: origin for state, origin in machine_states.items() if state in states},
        )


def with_end(weights: Mapping[str, float], end: str) -> dict[str, float]:
    """Return the weights of input symbols with that of the end of the input beside them."""
    return {**weights, end: ENDING * sum(weights.values()) or 1.0}


def lost(symbols: Sequence[str], end: str) -> dict[str, float]:
    """Return the weights where nothing is to be gained any more: the end of the input as often as all its symbols."""
    return dict.fromkeys(symbols, 1 / max(1, len(symbols))) | {end: 1.0}


def free(wanted: str, taken: Iterable[str]) -> str:
    """Return the first character that is not taken: one of those wanted, else an arrow or a later sign."""
    used = set(taken)
    return next(sign for sign in (*wanted, *map(chr, range(0x2190, 0x3000))) if sign not in used)


def free_memory(wanted: str, memories: Sequence[Memory]) -> str:
    """Return a name that no memory has."""
    while any(memory.name == wanted for memory in memories):
        wanted += "-"
    return wanted


def table(
    patterns: Sequence[Tops], alphabets: Sequence[tuple[str, ...]], value: Callable[[Tops], Value]
) -> list[tuple[Tops, Value]]:
    """Return a value for all tops as few disjoint patterns, where the value depends on the given patterns only."""
    rows = [(tops, value(tops)) for tops in cells(patterns, alphabets)]
    return _merged(rows, len(alphabets))


def _merged(rows: list[tuple[Tops, Value]], width: int) -> list[tuple[Tops, Value]]:
    if not width:
        return rows
    groups: dict[str | None, list[tuple[Tops, Value]]] = {}
    for tops, found in rows:
        groups.setdefault(tops[0], []).append((tops[1:], found))
    merged = {top: _merged(group, width - 1) for top, group in groups.items()}
    first, *others = merged.values()
    if all(other == first for other in others):
        return [((None, *tops), found) for tops, found in first]
    return [((top, *tops), found) for top, group in merged.items() for tops, found in group]


def covering(rules: Iterable[Pattern], tops_of: Callable[[Pattern], Tops], tops: Tops) -> Pattern | None:
    """Return the one rule whose tops hold everywhere in a cell, if there is one."""
    return next((rule for rule in rules if overlap(tops_of(rule), tops)), None)
