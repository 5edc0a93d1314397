"""From a Program to its circuit: named units that do at each token exactly what the Program does.

One step of a compiled Program, level by level; "past" means the step before:

    rule.N          0/1   past state and past tops are those of step N of the Program, and so is the token
    state.NAME      0/1   some rule that leads there has fired. No state unit on: the start state. state.lost: no rule
                          has fired, the symbol is unknown to the Program; only a newline leads out of it
    S.ACTION        0/1   some rule that does this to memory S has fired (S.keep, S.pop, S.push_a, S.pop_push_b)
    S.after_ACTION  clip  what the memory would hold, gated: clip(value + S.ACTION - 1)
    S.value               a stack: the sum of the gated values. A counter: relu(past value + changes - reset)
    S.nonempty, S.at_least_X, S.top_is_X      0/1   tests of the new value; the last symbol's two tests are one
    expects.N       0/1   state and tops are now those of expectation N of the Program

What is always 0 or 1 is `clip` or `step` (Heaviside), as one likes: every sum that such a unit can see is at most 0 or
at least 1, where both say the same. So an automaton may be all Heaviside. What a memory holds cannot: it is a number,
which a threshold would throw away.

A stack of p symbols is a number in base b, a power of two and at least 2 p: q = sum of digit_k / b^k, the top first;
symbol i has the digit 2 i + 1. Then clip(b q - 2 i) is exactly 1 where the top is symbol i or a later one and exactly
0 elsewhere; popping (b q - digit) and pushing ((q + digit) / b) are linear. A counter is an integer; what sets it to 0
is a relu with a large negative input (COUNTED), reached through units in between so that no weight is large.

Sources: Siegelmann and Sontag 1992 and 1995 (stacks as numbers in a saturated-linear network), Minsky 1967 (automata
and counters in threshold networks).

Knows nothing about weights, arrays or models.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

from unrolled.programs.program import RESET, Expectation, Program, Step
from unrolled.programs.turing import MARK, Action, Memory
from unrolled.programs.units import COUNTED, Activation, Circuit, CounterUnit, Output, StackUnit, Unit

__all__ = ["COUNTED", "Circuit", "CounterUnit", "Output", "StackUnit", "Unit", "compile_program", "word"]

_WIDENING = 2**15
"""The largest weight; it is exact in float16. COUNTED is its third power."""


def word(text: str) -> str:
    """Return `text` as part of a unit's name: other characters than A-Z, a-z, 0-9, _ and - become their names.

    Two characters never become the same word; longer texts may.
    """
    parts: list[str] = []
    for plain, other in re.findall(r"([A-Za-z0-9_-]+)|(.)", text, flags=re.DOTALL):
        name = unicodedata.name(other, f"u{ord(other):04x}") if other else ""
        parts.append(plain or name.lower().replace(" ", "_"))
    return "_".join(parts) or "empty"


def compile_program(program: Program, *, unary: bool = False, boolean: Activation = "clip") -> Circuit:
    """Return the circuit that does at each token what the Program does.

    Shapes: one unit per step, state, expectation and distinct action. `unary` makes each counter a stack of strokes,
    so that it can move into memory cells; else a counter is an integer. `boolean` is the activation of the units that
    are always 0 or 1: "clip" or "step".
    """
    return _Compiler(program, unary, boolean).circuit()


RULES, EFFECTS, GATED, WIDER, VALUE, TESTS, TOPS, EXPECTS = range(8)
"""Levels, in the order of the module's table; WIDER is for what resets a counter."""


class _Compiler:
    def __init__(self, program: Program, unary: bool, boolean: Activation) -> None:
        self.program, self.boolean = program, boolean
        self.units: dict[str, Unit] = {}
        self.memories: list[_Places] = []
        for memory in program.memories:
            taken = ["state", "rule", "expects", "reset", *(place.name for place in self.memories)]
            self.memories.append(_Places(_free(word(memory.name), taken), memory, unary))
        self.states: dict[str, str] = {}
        for state in program.states[1:]:
            self.states[state] = _free(f"state.{word(state)}", self.states.values())
        self.lost = _free("state.lost", self.states.values())
        self.rules = [f"rule.{number}" for number in range(len(program.steps))]

    def circuit(self) -> Circuit:
        self._rules()
        self._states()
        held = tuple(self._memory(number) for number in range(len(self.memories)))
        outputs = self._expectations()
        units = tuple(sorted(self.units.values(), key=lambda unit: (unit.level, unit.activation)))
        names = {unit: state for state, unit in self.states.items()}
        start = self.program.states[0]
        return Circuit(self.program.name, self.program.tokens, units, start, names, self.lost, held, outputs)

    def _add(
        self,
        name: str,
        level: int,
        activation: Activation | None = None,
        *,
        bias: Fraction | int = 0,
        **terms: Mapping[str, Fraction | int],
    ) -> str:
        """Add a unit, one that is 0 or 1 unless an activation is given; terms are `tokens`, `past` and `units`."""
        assert name not in self.units, name
        sources = {
            kind: {name: Fraction(c) for name, c in terms.get(kind, {}).items() if c}
            for kind in ("tokens", "past", "units")
        }
        self.units[name] = Unit(name, level, activation or self.boolean, Fraction(bias), **sources)
        return name

    def _conditions(self, state: str, tops: Sequence[str | None]) -> tuple[list[str], list[str]]:
        """Return the units that must be on and those that must be off in a state with these tops."""
        on, off = ([], [*self.states.values(), self.lost])
        if state != self.program.states[0]:
            on, off = [self.states[state]], []
        for place, top in zip(self.memories, tops, strict=True):
            if top == "":
                off.append(place.nonempty)
            elif top is not None:
                on.append(place.top_is(top))
        return on, off

    def _rules(self) -> None:
        for name, step in zip(self.rules, self.program.steps, strict=True):
            on, off = self._conditions(step.state, step.tops)
            past = dict.fromkeys(on, 1) | dict.fromkeys(off, -1)
            if step.tokens is not None:
                self._add(name, RULES, bias=-len(on), past=past, tokens=dict.fromkeys(step.tokens, 1))
            else:
                named = dict.fromkeys((RESET, *sorted(self.program.named[step.state])), -1)
                self._add(name, RULES, bias=1 - len(on), past=past, tokens=named)

    def _states(self) -> None:
        for state, unit in self.states.items():
            self._add(unit, EFFECTS, units=dict.fromkeys(self._doing(lambda step, state=state: step.to == state), 1))
        self._add(self.lost, EFFECTS, bias=1, tokens={RESET: -1}, units=dict.fromkeys(self.rules, -1))
        if any(place.counter for place in self.memories):
            self._add("reset", EFFECTS, bias=1, units=dict.fromkeys(self.rules, -1))
            self._add("reset.wide", GATED, "linear", units={"reset": _WIDENING})
            self._add("reset.wider", WIDER, "linear", units={"reset.wide": _WIDENING})

    def _doing(self, wanted: Callable[[Step], bool]) -> list[str]:
        return [name for name, step in zip(self.rules, self.program.steps, strict=True) if wanted(step)]

    def _memory(self, number: int) -> StackUnit | CounterUnit:
        place = self.memories[number]
        actions: dict[tuple[bool, tuple[str, ...]], str] = {}
        for step in self.program.steps:
            action = step.actions[number]
            if (key := (action.pop, action.push)) not in actions:
                actions[key] = _free(f"{place.name}.{place.words_of(action)}", actions.values())
        for key, name in actions.items():

            def does(step: Step, key=key) -> bool:
                return (step.actions[number].pop, step.actions[number].push) == key

            self._add(name, EFFECTS, units=dict.fromkeys(self._doing(does), 1))
        return self._counter(place, actions) if place.counter else self._stack(place, actions)

    def _counter(self, place: "_Places", actions: Mapping[tuple[bool, tuple[str, ...]], str]) -> CounterUnit:
        changes = {name: len(push) - pop for (pop, push), name in actions.items()}
        self._add(place.value, VALUE, "relu", past={place.value: 1}, units=changes | {"reset.wider": -_WIDENING})
        self._add(place.nonempty, TESTS, units={place.value: 1})
        return CounterUnit(place.memory.name, place.value)

    def _stack(self, place: "_Places", actions: Mapping[tuple[bool, tuple[str, ...]], str]) -> StackUnit:
        base, gated, growth = Fraction(2**place.bits), [], 0
        for (pop, push), name in actions.items():
            scale, offset, popped = Fraction(1), Fraction(-1), Fraction(0)
            if pop:
                scale, popped = base, Fraction(-1)
            for symbol in push:
                scale, popped = scale / base, popped / base
                offset = (offset + 1 + 2 * place.alphabet.index(symbol) + 1) / base - 1
            tests = {place.nonempty: popped} | {place.at_least(i): 2 * popped for i in range(1, len(place.alphabet))}
            after = f"{place.name}.after_{name.removeprefix(place.name + '.')}"
            past = {place.value: scale} | tests
            gated.append(self._add(after, GATED, "clip", bias=offset, past=past, units={name: 1}))
            growth = max(growth, len(push) - pop)
        self._add(place.value, VALUE, "linear", units=dict.fromkeys(gated, 1))
        self._add(place.nonempty, TESTS, units={place.value: base})
        last = len(place.alphabet) - 1
        for i in range(1, last + 1):
            self._add(place.at_least(i), TESTS, bias=-2 * i, units={place.value: base})
        for i, symbol in enumerate(place.alphabet[:last]):
            self._add(place.top_is(symbol), TOPS, units={place.at_least(i): 1, place.at_least(i + 1): -1})
        touched = [self.units[name] for name in (*gated, place.value, *map(place.at_least, range(last + 1)))]
        headroom = max((-(-_size(unit) // 1) - 1).bit_length() for unit in touched)
        return StackUnit(place.memory.name, place.value, place.alphabet, place.bits, growth, headroom)

    def _expectations(self) -> tuple[Output, ...]:
        outputs = []
        for number, expectation in enumerate(self.program.expectations):
            outputs.append(self._expectation(f"expects.{number}", expectation))
        name = self._add(f"expects.{len(outputs)}", EXPECTS, units={self.lost: 1})
        return (*outputs, Output(name, {RESET: 1.0}))

    def _expectation(self, name: str, expectation: Expectation) -> Output:
        on, off = self._conditions(expectation.state, expectation.tops)
        self._add(name, EXPECTS, bias=1 - len(on), units=dict.fromkeys(on, 1) | dict.fromkeys(off, -1))
        return Output(name, dict(expectation.weights))


class _Places:
    """The names of a memory's units."""

    def __init__(self, name: str, memory: Memory, unary: bool) -> None:
        self.name, self.memory = name, memory
        self.counter = memory.counter and not unary
        self.alphabet = (MARK,) if memory.counter else tuple(memory.alphabet)
        self.bits = max(1, (2 * len(self.alphabet) - 1).bit_length())
        self.value, self.nonempty = f"{name}.value", f"{name}.nonempty"
        self.words: dict[str, str] = {}
        for symbol in self.alphabet:
            self.words[symbol] = _free(word(symbol), self.words.values())

    def at_least(self, i: int) -> str:
        """The unit that is on where the top is symbol `i` or a later one."""
        if i == 0:
            return self.nonempty
        return f"{self.name}.{'top_is' if i == len(self.alphabet) - 1 else 'at_least'}_{self.words[self.alphabet[i]]}"

    def top_is(self, symbol: str) -> str:
        """The unit that is on where the top is this symbol; with one symbol, where there is any."""
        return self.nonempty if len(self.alphabet) == 1 else f"{self.name}.top_is_{self.words[symbol]}"

    def words_of(self, action: Action) -> str:
        """What an action does, as part of a unit's name."""
        pushed = str(len(action.push)) if self.counter else "_".join(self.words[symbol] for symbol in action.push)
        return "_".join((["pop"] if action.pop else []) + ([f"push_{pushed}"] if action.push else [])) or "keep"


def _free(name: str, taken: Iterable[str]) -> str:
    """Return the name, or with a number where it is taken."""
    known, number, free = set(taken), 2, name
    while free in known:
        free, number = f"{name}_{number}", number + 1
    return free


def _size(unit: Unit) -> Fraction:
    """Return the largest partial sum that a unit whose sources lie in [0, 1] can see, in any order."""
    terms = (*unit.tokens.values(), *unit.past.values(), *unit.units.values())
    return abs(unit.bias) + sum(map(abs, terms), Fraction(0))
