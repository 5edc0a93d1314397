"""Write programs into the weights of the ordinary Elman network and LSTM, by hand and exactly.

Knows nothing about how machines are written, about circuits or about training: a real-time program in, weights out.

Two constructions, each in a plain `Stack` (no norms, no residuals), each read and written as any trained run is:

- `elman`: finite programs. One unit per pair (state, token), +1 where that token was just read in that state and -1
  elsewhere (Minsky 1967, section 3.5; as sigmoidal networks: Kilian and Siegelmann 1996). tanh is driven so far that it
  is 1 and not nearly 1.
- `lstm_counter`: programs with counters that each token moves in one way. A cell counts: its forget gate is 1, its
  candidate +1, -1 or 0 (Weiss, Goldberg and Yahav 2018, arXiv 1805.04908; a network of this kind with its weights
  set by hand is in Lan, Chemla and Katzir 2024, arXiv 2402.10013).

Both say the logarithm of the program's relative weights for what may come next, and `IMPOSSIBLE` for the rest. The
unknown symbol is read as a token that no step of the program names; where each has its step, nothing is expected from
there on until the newline.
Shapes: V vocabulary, D width, N = D units, G = 4 N gates.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import MachineError
from unrolled.models.config import ModelConfig
from unrolled.models.lstm import LSTMConfig
from unrolled.models.rnn import RNNConfig
from unrolled.models.stack import StackConfig
from unrolled.programs.assemble import IMPOSSIBLE, Weights
from unrolled.programs.counting import CounterPlan, followed, known_tokens, plan_of
from unrolled.programs.program import RESET, Configuration, Program
from unrolled.text.vocabulary import UNKNOWN, Vocabulary

DRIVE = 32.0
"""How far tanh is driven: it rounds to 1 in float32 from 10 on and in float64 from 20 on; powers of two stay exact."""
GATE_DRIVE = 2048.0
"""How far gates are driven: sigmoid(-x) is 0 in float64 from 746 on, and the smallest margin of a gate is 0.52. The
largest weight, 43,000, still fits into float16, in which pages keep weights."""
COUNTS = 2**24
"""A float32 cell counts exactly up to here; a float64 cell up to 2^53."""

_TAU = math.tanh(1.0)
_STATE, _TOKEN, _FULL, _EMPTY = 16.0, 4.0, 2.0, -4.0


def elman(program: Program) -> Weights:
    """Return a finite program as one Elman layer whose hidden units are exactly +1 or -1 after every token.

    Unit 0 says that anything was read at all (the state before is zero, which is neither +1 nor -1), unit 1 that the
    token was a newline, and unit 2 + k stands for `elman_units(program)[k]`. Unused units stay 0.

    Raises:
        MachineError: the program has memories: they need more than finitely many states.
    """
    units = elman_units(program)
    vocabulary = _vocabulary(program)
    numbers = {token: number for number, token in enumerate(vocabulary.symbols)}
    leading: dict[str, list[int]] = {program.states[0]: [1]}
    for number, (state, token) in enumerate(units, 2):
        after = followed(program, Configuration(state, (), 0), token)
        leading.setdefault(after.state, []).append(number)  # type: ignore[union-attr]
    width = max(vocabulary.size, len(units) + 2)
    config = ModelConfig(stack=StackConfig(width=width, plain=True), layers=(RNNConfig(),))
    weights = _blank(config, vocabulary.size)
    inputs_ND, recurrent_NN = weights["branches.0.weight_ih"], weights["branches.0.weight_hh"]
    bias_N = weights["branches.0.bias_ih"]
    bias_N[0] = 1.0
    inputs_ND[1, numbers[RESET]], bias_N[1] = 2.0, -1.0
    for number, (state, token) in enumerate(units, 2):
        # In units of DRIVE: 2 in this state, else 0; 2 for this token, else 0; less 3.
        begins = 2.0 if state == program.states[0] else 0.0
        before = leading.get(state, [])
        recurrent_NN[number, before] = 1.0
        recurrent_NN[number, 0] = len(before) - begins
        inputs_ND[number, numbers[token]] = 2.0
        bias_N[number] = begins - 3.0
    for value in (inputs_ND, recurrent_NN, bias_N):
        value.mul_(DRIVE)
    for state, expected in _expectations(program).items():
        raised_V = _raised(expected, numbers)
        for number in leading.get(state, []):
            weights["readout.weight"][:, number] = raised_V / 2
            weights["readout.weight"][:, 0] += raised_V / 2
    return config, vocabulary, weights


def elman_units(program: Program) -> tuple[tuple[str, str], ...]:
    """Return what the units of `elman` from number 2 on stand for: (state before, token read), in their order.

    Only pairs that can occur have a unit; a newline has one for all states, since it resets them all.

    Raises:
        MachineError: the program has memories.
    """
    if program.memories:
        raise MachineError(
            expected="a program without memories for an Elman network",
            received=f"{program.name}, which has {', '.join(memory.name for memory in program.memories)}",
            remedy="compile it into a circuit, or counters into an LSTM",
        )
    reached, units = [program.states[0]], []
    for state in reached:
        for token in (*known_tokens(program), UNKNOWN):
            after = followed(program, Configuration(state, (), 0), token)
            if after is None:
                continue
            units.append((state, token))
            if after.state not in reached:
                reached.append(after.state)
    return tuple(units)


def lstm_counter(program: Program) -> Weights:
    """Return a program with counters (a^n b^n, Dyck-1) as two LSTM layers whose cells count exactly.

    Layer 0 holds the control and the counters, layer 1 joins both to what may come next. Every gate is exactly 0 or 1
    and every candidate exactly -1, 0 or +1, so that a cell is right as long as its type can count: `COUNTS` in float32.
    After each token a layer-0 unit says which rule was followed (`lstm_units` tells which), and the last units are the
    counters. In states from where a counter is never looked at again it may hold anything.

    Raises:
        MachineError: a memory is no counter, there are more than `MOST_COUNTERS`, or a token moves a counter up in
            one place and down, by two or not at all in another, where it still matters.
    """
    plan = plan_of(program)
    vocabulary = _vocabulary(program)
    config = ModelConfig(
        stack=StackConfig(width=max(vocabulary.size, plan.size, len(plan.classes)), plain=True),
        layers=(LSTMConfig(), LSTMConfig()),
    )
    weights = _blank(config, vocabulary.size)
    numbers = {token: number for number, token in enumerate(vocabulary.symbols)}
    _write_control(program, plan, numbers, _Gates.of(weights, 0))
    _write_classes(plan, _Gates.of(weights, 1))
    weights["readout.bias"][:] = IMPOSSIBLE
    for number, (_, _, expected) in enumerate(plan.classes):
        weights["readout.weight"][:, number] = _raised(expected, numbers) / _TAU
    return config, vocabulary, weights


def lstm_units(program: Program) -> tuple[str, ...]:
    """Return what the units of layer 0 of `lstm_counter` stand for, in their order.

    Raises:
        MachineError: as `lstm_counter`.
    """
    plan = plan_of(program)
    rules = (f"rule {rule.state} to {rule.to} on {''.join(rule.tokens)!r}" for rule in plan.rules)
    return ("begun", "newline", *rules, *(memory.name for memory in program.memories))


@dataclass(frozen=True)
class _Gates:
    """The weights of one LSTM layer, gate by gate; all are written in units of GATE_DRIVE."""

    inputs_4ND: Tensor
    recurrent_4NN: Tensor
    bias_4N: Tensor

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], layer: int) -> "_Gates":
        parts = (weights[f"branches.{layer}.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih"))
        return cls(*(part.view(4, len(part) // 4, *part.shape[1:]) for part in parts))

    def hold(self, unit: int, *, opened: float, kept: float, candidate: float) -> None:
        """Set the constant parts of the input gate, the forget gate and the candidate; the output gate is 1."""
        self.bias_4N[:, unit] = torch.tensor([opened, kept, candidate, 1.0])

    def drive(self) -> None:
        """Drive all gates to their ends."""
        for value in (self.inputs_4ND, self.recurrent_4NN, self.bias_4N):
            value.mul_(GATE_DRIVE)


def _write_control(program: Program, plan: CounterPlan, numbers: Mapping[str, int], gates: _Gates) -> None:
    """Write the units of layer 0: begun, newline, one per rule, the counters."""
    newline = numbers[RESET]
    gates.hold(0, opened=1.0, kept=-1.0, candidate=1.0)
    gates.hold(1, opened=-1.0, kept=-1.0, candidate=1.0)
    gates.inputs_4ND[0, 1, newline] = 2.0
    for unit, rule in enumerate(plan.rules, 2):
        gates.hold(unit, opened=-_STATE - _threshold(rule.full, _TOKEN), kept=-1.0, candidate=1.0)
        gates.inputs_4ND[0, unit, [numbers[token] for token in rule.tokens]] = _TOKEN
        gates.recurrent_4NN[0, unit, list(plan.leading.get(rule.state, ()))] = _STATE / _TAU
        if rule.state == plan.start:
            gates.bias_4N[0, unit] += _STATE
            gates.recurrent_4NN[0, unit, 0] = -_STATE / _TAU
        for counter, full in rule.full.items():
            gates.recurrent_4NN[0, unit, _counter(plan, counter)] = _FULL if full else _EMPTY
    for counter in range(len(program.memories)):
        unit = _counter(plan, counter)
        gates.hold(unit, opened=1.0, kept=1.0, candidate=0.0)
        gates.inputs_4ND[1, unit, newline] = -2.0
        for token, number in numbers.items():
            gates.inputs_4ND[2, unit, number] = plan.moves.get((token, counter), 0)
    gates.drive()


def _write_classes(plan: CounterPlan, gates: _Gates) -> None:
    """Write the units of layer 1: one per state and what its expectations ask of the counters."""
    for unit, (state, full, _) in enumerate(plan.classes):
        gates.hold(unit, opened=-_STATE - _threshold(full, 0.0), kept=-1.0, candidate=1.0)
        gates.inputs_4ND[0, unit, list(plan.leading.get(state, ()))] = _STATE / _TAU
        for counter, wanted in full.items():
            gates.inputs_4ND[0, unit, _counter(plan, counter)] = _FULL if wanted else _EMPTY
    gates.drive()


def _counter(plan: CounterPlan, counter: int) -> int:
    return 2 + len(plan.rules) + counter


def _threshold(full: Mapping[int, bool], token: float) -> float:
    """Return what lies halfway between the least sum with all conditions met and the largest with one missed.

    A counter that is not empty shows as tanh(1) = 0.76 up to 1; one that nobody looks at may be as low as -1.
    """
    wanted = sum(full.values())
    met = token + _FULL * _TAU * wanted
    most = token + _FULL * wanted
    missed = [most - _STATE - _EMPTY * (len(full) - wanted)]
    missed += [most - token] if token else []
    missed += [most - _FULL] if wanted else []
    missed += [most + _EMPTY * _TAU] if wanted < len(full) else []
    return (met + max(missed)) / 2


def _expectations(program: Program) -> dict[str, Mapping[str, float]]:
    return {state: program.expects(Configuration(state, (), 0)) for state in program.states}


def _raised(expected: Mapping[str, float], numbers: Mapping[str, int]) -> Tensor:
    """Return how far each symbol's logit (V,) lies above IMPOSSIBLE."""
    total = sum(expected.values())
    raised_V = torch.zeros(len(numbers), dtype=torch.float64)
    for token, weight in expected.items():
        if weight > 0:
            raised_V[numbers[token]] = math.log(weight / total) - IMPOSSIBLE
    return raised_V


def _vocabulary(program: Program) -> Vocabulary:
    return Vocabulary("characters", (UNKNOWN, *sorted(set(program.tokens) - {UNKNOWN})))


def _blank(config: ModelConfig, vocab_size: int) -> dict[str, Tensor]:
    """Return all parameters as zeros in float64, with a one-hot embedding and IMPOSSIBLE in the readout's bias."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in config.build(vocab_size).state_dict().items()}
    weights = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    weights["embedding.weight"].fill_diagonal_(1.0)
    weights["readout.bias"][:] = IMPOSSIBLE
    return weights
