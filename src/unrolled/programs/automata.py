"""Finite automata that answer: a Moore machine as a value, its smallest form, and whether two are the same.

Knows nothing about networks, about how a machine is written, or about what found an automaton.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from unrolled.errors import MachineError
from unrolled.programs.program import RESET, Configuration, Program
from unrolled.programs.tasks_common import Task

Word = tuple[str, ...]
"""A source in letters."""

UNASKED = ""
"""What an automaton answers where it is never asked."""
NOWHERE = -1
"""Where a letter leads that cannot follow."""

_SAMPLES = 2000
_ANSWER_LIMIT = 1000


@dataclass(frozen=True)
class Sources:
    """Which sources are asked: one letter of `first`, then any number of letters of `rest`.

    A letter is a text of one symbol or more (`+3` in modular arithmetic, where a digit alone would be no source).
    `empty` says whether the empty source is asked, too. No two words of letters may spell the same source.
    """

    first: tuple[str, ...]
    rest: tuple[str, ...]
    empty: bool = False

    def __post_init__(self) -> None:
        for letters in (self.first, self.rest):
            if not letters or "" in letters or len(set(letters)) < len(letters):
                raise MachineError(
                    expected="letters that are different and not empty",
                    received=repr(list(letters)),
                    remedy="name each letter of the sources once",
                )
            if any(a != b and a.startswith(b) for a in letters for b in letters):
                raise MachineError(
                    expected="letters of which none begins another",
                    received=repr(list(letters)),
                    remedy="choose letters that can be told apart",
                )

    @classmethod
    def over(cls, alphabet: Sequence[str], *, empty: bool = False) -> "Sources":
        """Return all sources over an alphabet."""
        return cls(tuple(alphabet), tuple(alphabet), empty)

    @classmethod
    def of(cls, task: Task) -> "Sources":
        """Return the sources of a task: over its alphabet, or, where not all lengths exist, in steps of that size.

        The letters are then what the task itself draws (digits first, then an operator and a digit).
        """
        shortest, second = task.training_lengths[:2]
        draws = random.Random(0)
        drawn = [task.draw(draws, second)[0] for _ in range(_SAMPLES)]
        first = {source[:shortest] for source in drawn}
        rest = {source[shortest:] for source in drawn}
        return cls(tuple(sorted(first)), tuple(sorted(rest)))

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """Every letter, sorted."""
        return tuple(sorted({*self.first, *self.rest}))

    @property
    def alike(self) -> bool:
        """Whether the same letters may begin a source and go on with it."""
        return set(self.first) == set(self.rest)

    def following(self, word: Word) -> tuple[str, ...]:
        """Return the letters that may come next."""
        return self.rest if word else self.first

    def asked(self, word: Word) -> bool:
        """Say whether a word is asked."""
        return bool(word) or self.empty

    def count(self, length: int) -> int:
        """Return how many sources of up to so many letters are asked."""
        return self.empty + sum(len(self.first) * len(self.rest) ** (size - 1) for size in range(1, length + 1))

    def words(self, length: int) -> Iterator[Word]:
        """Yield every asked source of up to so many letters, the shortest first."""
        if self.empty:
            yield ()
        for size in range(1, length + 1):
            yield from product(self.first, *[self.rest] * (size - 1))

    def draw(self, draws: random.Random, length: int) -> Word:
        """Draw a source of so many letters (at least one)."""
        return (draws.choice(self.first), *draws.choices(self.rest, k=length - 1))


@dataclass(frozen=True)
class Automaton:
    """A Moore machine over `sources`: state 0 is the start, `outputs` what is answered in each state.

    `next[state][letter]` is the state after `sources.letters[letter]`, NOWHERE where that letter cannot follow.
    """

    sources: Sources
    outputs: tuple[str, ...]
    next: tuple[tuple[int, ...], ...]

    @cached_property
    def _number(self) -> dict[str, int]:
        return {letter: number for number, letter in enumerate(self.sources.letters)}

    def __len__(self) -> int:
        return len(self.outputs)

    def after(self, state: int, letter: str) -> int:
        """Return the state after a letter."""
        return self.next[state][self._number[letter]]

    def state(self, word: Sequence[str]) -> int:
        """Return the state after a source, given in letters.

        Raises:
            MachineError: a letter that cannot stand there.
        """
        state = 0
        for place, letter in enumerate(word):
            if letter not in self._number or (state := self.after(state, letter)) == NOWHERE:
                known = " ".join(map(repr, self.sources.following(tuple(word[:place]))))
                raise MachineError(
                    expected=f"one of the letters {known}",
                    received=f"{letter!r} as letter {place + 1}",
                    remedy="give a source that the automaton can read",
                )
        return state

    def answer(self, word: Sequence[str]) -> str:
        """Return the answer to a source, given in letters; errors as in `state`."""
        return self.outputs[self.state(word)]

    def edges(self) -> Iterator[tuple[int, str, int]]:
        """Yield every transition: state, letter, next state."""
        for state, row in enumerate(self.next):
            for letter, to in zip(self.sources.letters, row, strict=True):
                if to != NOWHERE:
                    yield state, letter, to

    @cached_property
    def access(self) -> tuple[Word, ...]:
        """A shortest word to every state, the first in the order of the letters; the start has the empty one."""
        found: dict[int, Word] = {0: ()}
        for state in (order := [0]):
            for letter, to in zip(self.sources.letters, self.next[state], strict=True):
                if to not in found and to != NOWHERE:
                    found[to] = (*found[state], letter)
                    order.append(to)
        return tuple(found[state] for state in range(len(self)))


@dataclass(frozen=True)
class Difference:
    """A shortest source to which two automata give other answers."""

    word: Word
    left: str
    right: str

    def __str__(self) -> str:
        return f"{''.join(self.word)!r} is answered {self.left!r} by one and {self.right!r} by the other"


def minimal(automaton: Automaton) -> Automaton:
    """Return the smallest automaton that gives the same answers, its states numbered as a search in breadth meets them.

    A start that is never asked is joined to the first state from which all letters lead where they lead from it. Two
    automata with the same answers therefore have equal smallest forms (Moore 1956; Myhill-Nerode).
    """
    reached = _reachable(automaton)
    signatures: dict[int, tuple] = {state: (automaton.outputs[state],) for state in reached}
    blocks: dict[int, int] = {}
    while len(set(signatures.values())) > len(set(blocks.values())):
        numbers: dict[tuple, int] = {}
        blocks = {state: numbers.setdefault(signatures[state], len(numbers)) for state in reached}
        signatures = {
            state: (blocks[state], *(blocks.get(to, NOWHERE) for to in automaton.next[state])) for state in reached
        }
    leaders = {block: state for state, block in reversed(blocks.items())}
    merged = Automaton(
        automaton.sources,
        tuple(automaton.outputs[leaders[block]] for block in range(len(leaders))),
        tuple(tuple(blocks.get(to, NOWHERE) for to in automaton.next[leaders[block]]) for block in range(len(leaders))),
    )
    return _numbered(merged, _stand_in(merged))


def isomorphic(left: Automaton, right: Automaton) -> dict[int, int] | Difference:
    """Return which state of `right` each state of `left` is, or a shortest source that tells the two apart.

    Both are compared in their smallest form: the mapping is between the states of `minimal(left)` and
    `minimal(right)`. Answers count only where both are asked.

    Raises:
        MachineError: they read different sources.
    """
    if left.sources != right.sources:
        raise MachineError(
            expected="two automata over the same sources",
            received=f"the letters {left.sources.letters} and {right.sources.letters}",
            remedy="compare automata of the same task",
        )
    left, right = minimal(left), minimal(right)
    if left.sources.empty and left.outputs[0] != right.outputs[0]:
        return Difference((), left.outputs[0], right.outputs[0])
    paths: dict[tuple[int, int], Word] = {(0, 0): ()}
    for pair in (order := [(0, 0)]):
        for letter in left.sources.following(paths[pair]):
            word = (*paths[pair], letter)
            after = left.after(pair[0], letter), right.after(pair[1], letter)
            # At every arrival: a start that is not asked may come up again behind a word that is.
            if left.outputs[after[0]] != right.outputs[after[1]]:
                return Difference(word, left.outputs[after[0]], right.outputs[after[1]])
            if after not in paths:
                paths[after] = word
                order.append(after)
    return dict(sorted(paths))


def automaton_of(program: Program, sources: Sources) -> Automaton:
    """Return what a finite program answers to sources, as its smallest automaton.

    The answer is what the program writes between its end sign and the newline, ticks left out.

    Raises:
        MachineError: the program has memories, does not know a symbol, or answers without end.
    """
    if program.memories:
        raise MachineError(
            expected="a program without memories",
            received=f"{program.name}, which has {program.memories[0].name}",
            remedy="compare with the program of an automaton",
        )
    begun = program.start()
    found: dict[tuple[str, bool], int] = {(begun.state, True): 0}
    order: list[tuple[Configuration, bool]] = [(begun, True)]
    outputs, rows = [], []
    for now, first in order:
        outputs.append(UNASKED if first and not sources.empty else _answer(program, now))
        row = dict.fromkeys(sources.letters, NOWHERE)
        for letter in sources.first if first else sources.rest:
            after = now
            for symbol in letter:
                after = program.step(after, symbol)
            key = after.state, False
            if key not in found:
                found[key] = len(order)
                order.append((after, False))
            row[letter] = found[key]
        rows.append(tuple(row.values()))
    return minimal(Automaton(sources, tuple(outputs), tuple(rows)))


def _answer(program: Program, now: Configuration) -> str:
    now, said = program.step(now, program.end), ""
    for _ in range(_ANSWER_LIMIT):
        expected = program.expects(now)
        token = max(sorted(expected), key=lambda name: expected[name])
        if token == RESET:
            return said
        said += token if token != program.tick else ""
        now = program.step(now, token)
    raise MachineError(
        expected=f"an answer of at most {_ANSWER_LIMIT} tokens",
        received=f"{program.name}, which goes on",
        remedy="compare with a program that answers at once",
    )


def _reachable(automaton: Automaton) -> list[int]:
    order = [0]
    for state in order:
        order += [to for to in dict.fromkeys(automaton.next[state]) if to != NOWHERE and to not in order]
    return order


def _stand_in(automaton: Automaton) -> int:
    """Return the state that can be the start: the start, or another one if the start itself is never asked."""
    if automaton.sources.empty or not automaton.sources.alike:
        return 0
    if any(to == 0 for _, _, to in automaton.edges()):
        return 0
    order = _reachable(automaton)
    return next((state for state in order[1:] if automaton.next[state] == automaton.next[0]), 0)


def _numbered(automaton: Automaton, start: int) -> Automaton:
    """Return the automaton from another start, numbered as a search in breadth meets its states."""
    order = [start]
    for state in order:
        order += [to for to in dict.fromkeys(automaton.next[state]) if to != NOWHERE and to not in order]
    number = {state: place for place, state in enumerate(order)} | {NOWHERE: NOWHERE}
    return Automaton(
        automaton.sources,
        tuple(automaton.outputs[state] for state in order),
        tuple(tuple(number[to] for to in automaton.next[state]) for state in order),
    )
