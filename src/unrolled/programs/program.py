"""A real-time machine over tokens: one step per token, total and deterministic, with what it expects next.

Knows nothing about the machines that programs are made from, about circuits or about networks.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from unrolled.errors import MachineError
from unrolled.programs.turing import STEPS, Action, Memory, acted, fits

RESET = "\n"
"""The token that brings every program from everywhere back to its start, with empty memories."""


@dataclass(frozen=True)
class Step:
    """In `state`, reading one of `tokens` over these tops: go to `to` and act on every memory.

    `tokens` None stands for every token but the newline that no other step of the same state names.
    """

    state: str
    tokens: frozenset[str] | None
    tops: tuple[str | None, ...]
    to: str
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Expectation:
    """In `state` over these tops: the tokens that may come next, with their relative probabilities."""

    state: str
    tops: tuple[str | None, ...]
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Configuration:
    """A program between two tokens; `step` counts the tokens since the last newline."""

    state: str
    contents: tuple[str, ...]
    step: int


@dataclass(frozen=True)
class Program:
    """A real-time machine over tokens, written as `INPUT = ticks OUTPUT newline`.

    `states[0]` is the start. Exactly one step fits each configuration that can come and each token (the newline needs
    none: it always leads to the start with empty memories), and exactly one expectation fits each configuration. No
    step pops an empty memory; at most two symbols are pushed on a memory in one step. `end` closes the input, `tick`
    is a step of computing, `answers` are the tokens for no and yes (None where the answer is an output), and
    `machine_states` names, for the states that stand for one, the state of the machine that it was made from.
    """

    name: str
    tokens: tuple[str, ...]
    states: tuple[str, ...]
    memories: tuple[Memory, ...]
    steps: tuple[Step, ...]
    expectations: tuple[Expectation, ...]
    end: str = "="
    tick: str = "."
    answers: tuple[str, str] | None = None
    machine_states: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def named(self) -> Mapping[str, frozenset[str]]:
        """For every state the tokens that its steps name."""
        named = {state: frozenset[str]() for state in self.states}
        for step in self.steps:
            named[step.state] |= step.tokens or frozenset()
        return named

    @cached_property
    def steps_of(self) -> Mapping[tuple[str, str | None], tuple[Step, ...]]:
        """The steps of every state by the token that they name; None holds those for all other tokens."""
        found: dict[tuple[str, str | None], tuple[Step, ...]] = {}
        for step in self.steps:
            for token in (None,) if step.tokens is None else sorted(step.tokens):
                found[step.state, token] = (*found.get((step.state, token), ()), step)
        return found

    @cached_property
    def expectations_of(self) -> Mapping[str, tuple[Expectation, ...]]:
        """The expectations of every state."""
        return {state: tuple(e for e in self.expectations if e.state == state) for state in self.states}

    def start(self) -> Configuration:
        """Return the configuration before the first token, and after every newline."""
        return Configuration(self.states[0], tuple("" for _ in self.memories), 0)

    def fitting(self, configuration: Configuration, token: str) -> Step:
        """Return the step that a token (not the newline) leads to."""
        key = token if token in self.named[configuration.state] else None
        for step in self.steps_of.get((configuration.state, key), ()):
            if fits(step.tops, configuration.contents):
                return step
        raise AssertionError(f"{self.name}: no step for {configuration} reading {token!r}")

    def step(self, configuration: Configuration, token: str) -> Configuration:
        """Read one token. Raises MachineError for one that is not among the program's."""
        if token not in self.tokens:
            raise MachineError(
                expected=f"one of the tokens of {self.name}",
                received=repr(token),
                remedy=f"its tokens are {' '.join(repr(known)[1:-1] for known in self.tokens)}",
            )
        if token == RESET:
            return self.start()
        step = self.fitting(configuration, token)
        pairs = zip(step.actions, configuration.contents, strict=True)
        return Configuration(step.to, tuple(acted(action, held) for action, held in pairs), configuration.step + 1)

    def expects(self, configuration: Configuration) -> Mapping[str, float]:
        """Return the tokens that may come next, with their relative probabilities."""
        for expectation in self.expectations_of[configuration.state]:
            if fits(expectation.tops, configuration.contents):
                return expectation.weights
        raise AssertionError(f"{self.name}: nothing is expected in {configuration}")

    def read(self, text: Iterable[str]) -> list[Configuration]:
        """Return the configuration after every token of a text."""
        now, found = self.start(), []
        for token in text:
            now = self.step(now, token)
            found.append(now)
        return found

    def written(self, text: str) -> Iterator[str]:
        """Yield the line for an input token by token, without an end if the machine has none.

        Raises MachineError for a symbol that is no token.
        """
        now = self.start()
        for token in (*text, self.end):
            now = self.step(now, token)
            yield token
        while True:
            expected = self.expects(now)
            token = max(sorted(expected), key=lambda name: expected[name])
            yield token
            if token == RESET:
                return
            now = self.step(now, token)

    def line(self, text: str, limit: int = STEPS) -> str:
        """Return the whole line for an input: the input, the ticks, the answer and the newline.

        Raises MachineError for a symbol that is no token, and when it is still computing `limit` tokens later.
        """
        written = "".join(islice(self.written(text), len(text) + 1 + limit))
        if written.endswith(RESET):
            return written
        raise MachineError(
            expected=f"the end of a line after at most {limit} tokens behind the input",
            received=f"the program {self.name}, which is still computing at token {len(written)}",
            remedy="allow more steps, or give a shorter input",
        )
