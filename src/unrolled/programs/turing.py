"""Automata, counter machines, pushdown machines and Turing machines as values, each run step by step.

Knows nothing about how a machine is written down, about circuits or about networks.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from unrolled.errors import MachineError
from unrolled.programs import faults
from unrolled.programs.source import Source

END = "\x03"
"""What a machine reads when the input is over; no symbol of an alphabet is this character."""

MARK = "|"
"""The one symbol of a counter: the counter holds as many of them as it counts."""

STEPS = 100_000
"""How many steps a machine may run unless the caller says otherwise."""

SHOWN = 40
"""How many symbols of an example are said."""


@dataclass(frozen=True)
class Action:
    """What a rule does to one memory: first pop, then push from left to right (the last symbol is the new top)."""

    pop: bool = False
    push: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """In `state`, reading `read` over these tops: go to `to`, act on every memory, append `write` to the output.

    `read` is a symbol, `END` when the input is over, or None when nothing is read. `tops` holds for every memory a
    symbol, "" (empty, or zero) or None (whatever it is). `line` says where the rule stands in its file.
    """

    state: str
    read: str | None
    tops: tuple[str | None, ...]
    to: str
    actions: tuple[Action, ...]
    write: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Memory:
    """A stack over an alphabet, or a counter (a stack of marks)."""

    name: str
    alphabet: tuple[str, ...]
    counter: bool = False
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Example:
    """An input with what the machine must make of it; `output` is None where only the verdict counts."""

    text: str
    accepted: bool
    output: str | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Result:
    """How a run ended: the verdict, what was written, and how many steps it took."""

    accepted: bool
    output: str
    steps: int


@dataclass(frozen=True)
class Configuration:
    """A machine between two steps. `read` counts the symbols read; the last symbol of a content is its top."""

    state: str
    read: int
    contents: tuple[str, ...]
    output: str
    step: int


@dataclass(frozen=True)
class Machine:
    """An automaton, a counter machine or a machine with any number of stacks ("pushdown"), deterministic.

    It takes steps as long as a rule fits: a rule that reads nothing, else one that reads the next symbol, else, when
    the input is over, one that reads END (as often as there are rules for it). It is stuck where no rule fits and
    there is still input; else it is at rest. A machine whose rules write nothing is an acceptor, which accepts when
    it is at rest in an accepting state. A machine whose rules write is a transducer: it accepts at rest in an
    accepting state, or in any state if no state is marked as accepting, and what it wrote is then its output; when it
    rejects it has none, whatever it wrote.

    `otherwise="reject"` says that being stuck is meant; else every state must have a rule for every symbol of the
    alphabet. `source` is the file that it was read from. Raises MachineError with all faults at once.
    """

    name: str
    description: str
    kind: str
    alphabet: tuple[str, ...]
    states: tuple[str, ...]
    start: str
    accepting: frozenset[str]
    memories: tuple[Memory, ...]
    rules: tuple[Rule, ...]
    examples: tuple[Example, ...] = ()
    otherwise: str = ""
    source: Source = field(default_factory=Source, compare=False, repr=False)

    def __post_init__(self) -> None:
        found = map(self.source.placed, faults.of_machine(self, END, MARK))
        faults.refuse(self.source.where or f"a machine {self.name}", found)

    @property
    def acceptor(self) -> bool:
        """Whether the answer is yes or no: no rule writes."""
        return not any(rule.write for rule in self.rules)

    @cached_property
    def rules_of(self) -> Mapping[str, tuple[Rule, ...]]:
        """The rules of every state."""
        return {state: tuple(rule for rule in self.rules if rule.state == state) for state in self.states}

    def fitting(self, state: str, read: str, contents: tuple[str, ...]) -> Rule | None:
        """Return the rule that fits, where `read` is the next symbol or END; None when there is none."""
        for rule in self.rules_of[state]:
            if rule.read in (None, read) and fits(rule.tops, contents):
                return rule
        return None

    def trace(self, text: str, limit: int = STEPS) -> Iterator[Configuration]:
        """Yield the configuration before the first step and after every step.

        Raises MachineError for a symbol outside the alphabet, and when the machine still runs after `limit` steps.
        """
        faults.refuse_input(self.name, text, self.alphabet)
        now = Configuration(self.start, 0, tuple("" for _ in self.memories), "", 0)
        yield now
        while rule := self.fitting(now.state, text[now.read : now.read + 1] or END, now.contents):
            if now.step >= limit:
                raise faults.too_long(self.name, limit)
            contents = tuple(acted(action, content) for action, content in zip(rule.actions, now.contents, strict=True))
            read = now.read + (rule.read not in (None, END))
            now = Configuration(rule.to, read, contents, now.output + rule.write, now.step + 1)
            yield now

    def run(self, text: str, limit: int = STEPS) -> Result:
        """Run on a text to the end; errors as in `trace`."""
        (last,) = deque(self.trace(text, limit), maxlen=1)
        at_rest = last.read == len(text)
        marked = self.accepting or (frozenset() if self.acceptor else frozenset(self.states))
        accepted = at_rest and last.state in marked
        return Result(accepted, last.output if accepted else "", last.step)


@dataclass(frozen=True)
class TapeConfiguration:
    """A Turing machine between two steps: the cells it has visited, and which of them the head is on."""

    state: str
    tape: str
    head: int
    step: int


@dataclass(frozen=True)
class TuringMachine:
    """A deterministic Turing machine with one tape, infinite both ways, the head on the first symbol of the input.

    `rules` maps (state, symbol) to (state, symbol to write, "L", "R" or "S"); `tape` is the whole tape alphabet. It
    halts when it enters an accepting, rejecting or halting state, and where no rule fits if `otherwise` is "halt" or
    "reject"; else a missing rule is a fault. An acceptor accepts when it halts in an accepting state. Another
    machine's output is the tape without the blanks at both ends, and it accepts unless it rejects (then the
    output is empty). Raises MachineError with all faults at once; `lines` says where the rules stand in their file.
    """

    name: str
    description: str
    alphabet: tuple[str, ...]
    tape: tuple[str, ...]
    blank: str
    states: tuple[str, ...]
    start: str
    accepting: frozenset[str]
    rejecting: frozenset[str]
    halting: frozenset[str]
    rules: Mapping[tuple[str, str], tuple[str, str, str]]
    acceptor: bool
    examples: tuple[Example, ...] = ()
    otherwise: str = ""
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict, compare=False)
    source: Source = field(default_factory=Source, compare=False, repr=False)

    def __post_init__(self) -> None:
        found = map(self.source.placed, faults.of_turing_machine(self, END))
        faults.refuse(self.source.where or f"a machine {self.name}", found)

    @property
    def final(self) -> frozenset[str]:
        """The states in which it halts at once."""
        return self.accepting | self.rejecting | self.halting

    def trace(self, text: str, limit: int = STEPS) -> Iterator[TapeConfiguration]:
        """Yield the configuration before the first step and after every step; errors as in `Machine.trace`."""
        for state, cells, head, step in self._steps(text, limit):
            yield TapeConfiguration(state, self._read(cells), head - min(cells), step)

    def run(self, text: str, limit: int = STEPS) -> Result:
        """Run on a text to the end; errors as in `Machine.trace`."""
        ((state, cells, _, step),) = deque(self._steps(text, limit), maxlen=1)
        if self.acceptor:
            return Result(state in self.accepting, "", step)
        stopped = state not in self.final and self.otherwise == "reject"
        accepted = state not in self.rejecting and not stopped
        return Result(accepted, self._read(cells).strip(self.blank) if accepted else "", step)

    def _steps(self, text: str, limit: int) -> Iterator[tuple[str, dict[int, str], int, int]]:
        """Yield the state, the visited cells (the same dictionary each time), the head and the step."""
        faults.refuse_input(self.name, text, self.alphabet)
        cells = dict(enumerate(text or self.blank))
        state, head, step = self.start, 0, 0
        yield state, cells, head, step
        while state not in self.final and (rule := self.rules.get((state, cells[head]))):
            if step >= limit:
                raise faults.too_long(self.name, limit)
            state, cells[head], move = rule
            head, step = head + {"L": -1, "R": 1, "S": 0}[move], step + 1
            cells.setdefault(head, self.blank)
            yield state, cells, head, step

    def _read(self, cells: Mapping[int, str]) -> str:
        return "".join(cells[place] for place in range(min(cells), max(cells) + 1))


def fits(tops: tuple[str | None, ...], contents: tuple[str, ...]) -> bool:
    """Tell whether what lies on top of every memory is what a rule asks for."""
    return all(top is None or top == content[-1:] for top, content in zip(tops, contents, strict=True))


def acted(action: Action, content: str) -> str:
    """Return what a memory holds after an action."""
    return (content[:-1] if action.pop else content) + "".join(action.push)


def unmet_examples(
    machine: Machine | TuringMachine, limit: int = STEPS, *, budget: int | None = None
) -> list[faults.Fault]:
    """Return the examples of a machine that do not hold, with their lines and what came instead.

    An example must come to rest within `limit` steps. With a `budget`, the steps that all may take together, those that
    do not are left undecided instead.
    """
    found: list[faults.Fault] = []
    left = limit if budget is None else budget
    for example in machine.examples:
        allowed = limit if budget is None else min(limit, left)
        try:
            result = machine.run(example.text, allowed)
        except MachineError as error:
            left -= allowed
            if budget is None:
                found.append((example.line, f"the example {_brief(example.text)}: {error.received}"))
            continue
        left -= result.steps
        if result.accepted != example.accepted:
            verdict = "accepts" if result.accepted else "rejects"
            found.append((example.line, f"the machine {verdict} the example {_brief(example.text)}"))
        elif example.output is not None and example.output != result.output:
            gives = f"gives {_brief(result.output)}, not {_brief(example.output)}"
            found.append((example.line, f"the example {_brief(example.text)} {gives}"))
    return found


def _brief(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…")
