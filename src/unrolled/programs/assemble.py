"""Circuits as ordinary models: every coefficient is a weight of one layer in a plain stack.

The embedding is one-hot, the layer is of the family "circuit" and keeps the units' names, and the readout holds the
logarithms of the relative probabilities of what may come next, IMPOSSIBLE for everything else. Symbol 0, the unknown
one, is read as no token that the program knows, and is never expected.

Every weight is a small multiple of a power of two, and so exact in float32. In float16 it is exact as long as no stack
has more than 16 symbols.

Knows nothing about how machines are written, about training or about files.
"""

import math
from collections.abc import Mapping
from fractions import Fraction

import torch
from torch import Tensor

from unrolled.errors import MachineError
from unrolled.models.circuit import CircuitConfig
from unrolled.models.config import ModelConfig
from unrolled.models.sequence_model import State
from unrolled.models.stack import Stack, StackConfig
from unrolled.programs.circuit import COUNTED, Circuit, StackUnit, compile_program
from unrolled.programs.program import Program
from unrolled.text.vocabulary import UNKNOWN, Vocabulary

Weights = tuple[ModelConfig, Vocabulary, dict[str, Tensor]]
"""What a run folder needs: the configuration, the vocabulary and every parameter by its name."""

IMPOSSIBLE = -30.0
"""The logit of a token that cannot come: e^-30 is 1e-13."""
BITS = {64: 53, 32: 24}
"""Bits of the significand by the precision of the computation."""
SMALLEST_UNIT = 3
"""Memory cells need a unit that can hold this many symbols: two stay while one moves."""


def assemble(circuit: Circuit, *, cells: int = 0, precision: int = 64) -> Weights:
    """Return the configuration, the vocabulary and the weights of a model that does what the circuit does.

    `cells` 0 keeps every stack in one unit, exact up to `depths(circuit)` symbols; above that it is the number of
    memory cells of each stack, whose units then hold few enough symbols for 24 bits (for 53, where a symbol takes too
    many of them). `precision` is that of the computation, 64 or 32. Raises MachineError where the symbols of a stack
    are too many for it.
    """
    layer = CircuitConfig(
        units=tuple((unit.name, unit.level, unit.activation) for unit in circuit.units),
        registers=circuit.registers,
        outputs=tuple(output.unit for output in circuit.outputs),
        stacks=tuple(_stack_row(stack, cells, precision) for stack in circuit.stacks),
        counters=tuple((counter.unit, _largest(precision)) for counter in circuit.counters),
        cells=cells if circuit.stacks else 0,
        precision=precision,
    )
    vocabulary = Vocabulary("characters", (UNKNOWN, *sorted(set(circuit.tokens))))
    width = max(vocabulary.size, len(circuit.outputs))
    config = ModelConfig(stack=StackConfig(width=width, plain=True), layers=(layer,))
    return config, vocabulary, _weights(circuit, vocabulary, width)


def depths(circuit: Circuit, *, cells: int = 0, precision: int = 64) -> dict[str, int]:
    """Return how much every memory can hold exactly: symbols of a stack, the count of a counter.

    With cells, a unit with more than twice what a cell takes moves that much into the next one: when all are full, it
    holds twice as much itself.
    """
    found: dict[str, int] = {}
    for memory in circuit.memories:
        if isinstance(memory, StackUnit):
            _, _, deepest, moved = _stack_row(memory, cells, precision)
            found[memory.memory] = (cells + 2) * moved if cells else deepest
        else:
            found[memory.memory] = _largest(precision)
    return found


def compiled_model(program: Program, *, cells: int = 0, precision: int = 64) -> tuple[Stack, Vocabulary]:
    """Return a program as a model that is ready to read, and its vocabulary.

    With `cells` its counters are stacks of marks, so that they can grow, too. Errors as in `assemble`.
    """
    config, vocabulary, weights = assemble(compile_program(program, unary=cells > 0), cells=cells, precision=precision)
    model = config.build(vocabulary.size)
    model.load_state_dict(weights)
    return model.eval(), vocabulary


def contents(circuit: Circuit, state: State, row: int = 0) -> tuple[str, ...]:
    """Return what each memory of the circuit holds in a state of its model, the bottom first, the cells included."""
    registers = dict(zip(circuit.registers, state["layer0.registers"][row].tolist(), strict=True))
    found: list[str] = []
    for memory in circuit.memories:
        value = Fraction(registers[memory.unit])
        if not isinstance(memory, StackUnit):
            found.append("|" * int(value))
            continue
        below = ""
        if f"layer0.{memory.unit}.cells" in state:
            used = int(state[f"layer0.{memory.unit}.used"][row])
            cells = state[f"layer0.{memory.unit}.cells"][row, :used].tolist()
            below = "".join(memory.contents(Fraction(cell)) for cell in cells)
        found.append(below + memory.contents(value))
    return tuple(found)


def _largest(precision: int) -> int:
    """Return how far a counter may count: one step further must still be exact, or nobody would notice it."""
    return min(COUNTED, 2 ** (BITS[precision] - 1))


def _stack_row(stack: StackUnit, cells: int, precision: int) -> tuple[str, int, int, int]:
    """Return a stack as CircuitConfig wants it; with cells, its unit is kept within 24 bits where that is possible."""
    bits = BITS[precision]
    if cells and stack.deepest(BITS[32]) >= SMALLEST_UNIT:
        bits = BITS[32]
    deepest = stack.deepest(bits)
    if deepest < (SMALLEST_UNIT if cells else 1):
        raise MachineError(
            expected=f"a stack with symbols few enough for {bits} bits",
            received=f"{len(stack.symbols)} symbols on {stack.memory}",
            remedy="compile it with precision 64, or write the machine with fewer symbols",
        )
    return stack.unit, stack.bits, deepest, stack.moved(bits) if cells else 0


def _weights(circuit: Circuit, vocabulary: Vocabulary, width: int) -> dict[str, Tensor]:
    names = {unit.name: number for number, unit in enumerate(circuit.units)}
    past = {name: number for number, name in enumerate(circuit.registers)}
    tokens = {symbol: number for number, symbol in enumerate(vocabulary.symbols)}
    size, vocab = len(names), vocabulary.size
    input_ND, recurrent_NR = torch.zeros(size, width), torch.zeros(size, len(past))
    within_NN, bias_N = torch.zeros(size, size), torch.zeros(size)
    for row, unit in enumerate(circuit.units):
        bias_N[row] = float(unit.bias)
        _fill(input_ND[row], unit.tokens, tokens)
        _fill(recurrent_NR[row], unit.past, past)
        _fill(within_NN[row], unit.units, names)
    readout_VD = torch.full((vocab, width), IMPOSSIBLE)
    readout_VD[:, len(circuit.outputs) :] = 0.0
    for column, output in enumerate(circuit.outputs):
        for token, weight in output.weights.items():
            if weight > 0:
                readout_VD[tokens[token], column] = math.log(weight)
    layer = {"input": input_ND, "recurrent": recurrent_NR, "bias": bias_N, "within": within_NN}
    return {
        "embedding.weight": torch.eye(vocab, width),
        **{f"branches.0.{name}": value for name, value in layer.items()},
        "readout.weight": readout_VD,
        "readout.bias": torch.zeros(vocab),
    }


def _fill(row: Tensor, terms: Mapping[str, Fraction], places: Mapping[str, int]) -> None:
    for source, weight in terms.items():
        row[places[source]] = float(weight)
