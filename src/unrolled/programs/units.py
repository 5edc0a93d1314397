"""Circuits: named units with exact rational rules, one step of the circuit for each token.

A unit is activation(bias + sum of coefficient * source); its sources are the token that is read (1 or 0), units of the
step before (registers; all are 0 at the start of a stream) and units of lower levels of the same step. Activations:
`clip` to [0, 1], `step` (1 where the sum is above 0, else 0), `relu` (max(0, sum)), `linear`.

Knows nothing about programs, weights, arrays or models.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from unrolled.errors import MachineError
from unrolled.programs.turing import MARK

COUNTED = 2**45
"""A counter is exact while it holds no more than this: what sets it to 0 is a relu with this much below 0."""

Activation = Literal["clip", "step", "relu", "linear"]
Terms = Mapping[str, Fraction]
Exact = Fraction | int
"""A rational number; whole ones mostly come as int, which is much faster."""
Values = Mapping[str, Exact]


_ACTIVE: dict[str, Callable[[Exact], Exact]] = {
    "clip": lambda total: 0 if total <= 0 else 1 if total >= 1 else total,
    "step": lambda total: int(total > 0),
    "relu": lambda total: total if total > 0 else 0,
    "linear": lambda total: total,
}


@dataclass(frozen=True)
class Unit:
    """A named unit: activation(bias + tokens + past + units), each a map from a source to its coefficient.

    `tokens` are characters, `past` units of the step before, `units` those of a lower level in the same step.
    """

    name: str
    level: int
    activation: Activation
    bias: Fraction
    tokens: Terms
    past: Terms
    units: Terms


@dataclass(frozen=True)
class StackUnit:
    """How a unit holds a stack: `symbols[i]` is the digit 2 i + 1 in base 2^`bits`.

    `growth` is the largest number of symbols by which one step can lengthen what any unit computes of it; `headroom`
    the bits before the binary point in the largest partial sum that it enters.
    """

    memory: str
    unit: str
    symbols: tuple[str, ...]
    bits: int
    growth: int
    headroom: int

    def deepest(self, precision: int) -> int:
        """Return how many symbols fit so that every partial sum, in any order, is exact with `precision` bits.

        A product with a power of two is exact, and so is a sum whose terms are multiples of 2^-n while partial sums
        stay below 2^(precision - n). With d symbols everything is a multiple of 2^-(bits (d + growth)).
        """
        return (precision - self.headroom) // self.bits - self.growth

    def moved(self, precision: int) -> int:
        """Return how many symbols a memory cell takes: the most for which 2 m and m + 2 are no deeper than allowed."""
        deepest = self.deepest(precision)
        return min(deepest // 2, deepest - 2)

    def contents(self, value: Exact) -> str:
        """Return the symbols that a value stands for, the bottom first; MachineError where it stands for none."""
        found, rest = [], value
        while rest:
            digit = int(rest * 2**self.bits)
            if digit % 2 == 0 or digit // 2 >= len(self.symbols) or rest < 0:
                raise MachineError(
                    expected=f"a number that stands for a content of {self.memory}",
                    received=str(float(value)),
                    remedy="read the value from a run that was not edited",
                )
            found.append(self.symbols[digit // 2])
            rest = rest * 2**self.bits - digit
        return "".join(reversed(found))


@dataclass(frozen=True)
class CounterUnit:
    """The unit that holds a counter as an integer."""

    memory: str
    unit: str


@dataclass(frozen=True)
class Output:
    """A unit that is 1 while the next token is one of `weights`, with these relative probabilities; exactly one is."""

    unit: str
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Circuit:
    """Units in the order of their levels, and what they stand for.

    `tokens` are the characters it knows; any other is read as none of them. `states` maps a state unit to the name of
    the state it stands for, `start` is the state in which none of them is on, and `lost` the unit for an unknown
    symbol. `memories` are in the Program's order.
    """

    name: str
    tokens: tuple[str, ...]
    units: tuple[Unit, ...]
    start: str
    states: Mapping[str, str]
    lost: str
    memories: tuple[StackUnit | CounterUnit, ...]
    outputs: tuple[Output, ...]

    @cached_property
    def registers(self) -> tuple[str, ...]:
        """The units whose values the next step reads, in order."""
        read = {source for unit in self.units for source in unit.past}
        return tuple(unit.name for unit in self.units if unit.name in read)

    @property
    def stacks(self) -> tuple[StackUnit, ...]:
        """The memories that are stacks."""
        return tuple(memory for memory in self.memories if isinstance(memory, StackUnit))

    @property
    def counters(self) -> tuple[CounterUnit, ...]:
        """The memories that are counters."""
        return tuple(memory for memory in self.memories if isinstance(memory, CounterUnit))

    def run(self, tokens: Iterable[str]) -> Iterator[Values]:
        """Read tokens from the start and yield the values of all units after each, in exact rational arithmetic.

        Exact at any length and depth, except that a counter above COUNTED raises MachineError.
        """
        past: Values = {}
        for step, token in enumerate(tokens, start=1):
            past = self._step(past, token)
            for counter in self.counters:
                if past[counter.unit] > COUNTED:
                    raise counted_out(counter.memory, COUNTED, step)
            yield past

    def state(self, values: Values) -> str | None:
        """Return the state of the Program that the values of a step stand for; None: it has met an unknown symbol."""
        if values[self.lost]:
            return None
        return next((name for unit, name in self.states.items() if values[unit]), self.start)

    def contents(self, values: Values) -> tuple[str, ...]:
        """Return what each memory holds, the bottom first; a counter as that many marks."""
        return tuple(
            memory.contents(values[memory.unit]) if isinstance(memory, StackUnit) else MARK * int(values[memory.unit])
            for memory in self.memories
        )

    def expects(self, values: Values) -> Mapping[str, float]:
        """Return the tokens that may come next, with relative probabilities."""
        return next(output.weights for output in self.outputs if values[output.unit])

    @cached_property
    def _fans(self) -> tuple[dict[str, list[tuple[str, Exact]]], ...]:
        """For each token, past unit and unit of the same step: the units that it feeds, with coefficients."""
        fans: tuple[dict[str, list[tuple[str, Exact]]], ...] = ({}, {}, {})
        for unit in self.units:
            for fan, terms in zip(fans, (unit.tokens, unit.past, unit.units), strict=True):
                for source, weight in terms.items():
                    fan.setdefault(source, []).append((unit.name, _whole(weight)))
        return fans

    @cached_property
    def _biases(self) -> dict[str, Exact]:
        return {unit.name: _whole(unit.bias) for unit in self.units}

    def _step(self, past: Values, token: str) -> Values:
        # Few units are not 0 at a time: these push their share, which is much less work than pulling every term.
        of_token, of_past, of_unit = self._fans
        sums = dict(self._biases)
        for target, weight in of_token.get(token, ()):
            sums[target] += weight
        for source, value in past.items():
            if value:
                for target, weight in of_past.get(source, ()):
                    sums[target] += weight * value
        values: dict[str, Exact] = {}
        for unit in self.units:
            value = values[unit.name] = _ACTIVE[unit.activation](sums[unit.name])
            if value:
                for target, weight in of_unit.get(unit.name, ()):
                    sums[target] += weight * value
        return values


def _whole(number: Fraction) -> Exact:
    return number.numerator if number.denominator == 1 else number


def counted_out(memory: str, limit: int, step: int) -> MachineError:
    """Return the error of a counter that is no longer exact."""
    return MachineError(
        expected=f"{memory} to count to at most {limit}, as far as it is exact",
        received=f"more at step {step}",
        remedy="give a shorter input",
    )
