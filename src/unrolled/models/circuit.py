"""Saturated-linear recurrent units: a generic layer that learns, or the named units of a compiled circuit.

    u_t = f(W x_t + U r_(t-1) + V u_t + b)      f: clip to [0, 1], step (above 0), relu or linear, each unit its own
    y_t = u_t                                   generic: N = D units, all clip, all remembered, and no V
    y_t = the units named in `outputs`, then zeros                                                 compiled

Where units have names they stand in levels: V is used only from lower to higher levels of the same step, r are the
units listed as registers, and every unit is a group of size 1 of its own name (`layer0.state.carry`). Gradients go
straight through what clip and step cut off, weakened outside [0, 1] (LEAK).

Compiled circuits hold stacks as numbers and counters as integers, and are exact or an error, never wrong:

- `cells` 0: a stack deeper, or a counter larger, than floating point holds exactly raises MachineError.
- `cells` above 0: units hold a few symbols each, and the rest of a stack lies in memory cells (Chung and Siegelmann
  2021, "Turing completeness of bounded-precision recurrent neural networks"). Between steps a unit with more than
  2 m symbols moves its lowest m into the next cell, and one with fewer than 2 takes the last cell back.

Units that a tap has changed are no longer the program's, and are not checked until the circuit is back at its start.
State: the registers, the number of steps, the cells; generic: the hidden units. It is kept, and all is computed, in
float64 (`precision` 64) or float32 (`precision` 32), whatever the parameters are stored in.
Source of the network: Siegelmann and Sontag 1995, "On the computational power of neural nets".

Knows nothing about programs. Shapes: B batch, T time, D width, N units, R registers, C cells.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolled.errors import ConfigError, MachineError
from unrolled.models.sequence_model import Layer, LayerConfig, State, Tap, untouched

ACTIVATIONS = ("clip", "step", "relu", "linear")
LEAK = 0.05
"""The gradient of clip and step outside [0, 1]; inside it is 1. From 0.01 to 0.1, 64 characters are learned by heart
in about 60 steps; at 0.2 some seeds fail, from 0.5 on all do (two plain layers of 24 units)."""
MOST_CELLS = 2**20


@dataclass(frozen=True, kw_only=True)
class CircuitConfig(LayerConfig):
    """Nothing for a generic layer; for a compiled circuit everything but its weights.

    `units`: (name, level, activation) in the order of levels. `registers` and `outputs`: names of units. `stacks`:
    (unit, bits per symbol, most symbols, symbols per cell). `counters`: (unit, largest). `cells`: memory cells per
    stack, 0 for none. `precision`: 64 or 32 bits.
    """

    units: tuple = ()
    registers: tuple = ()
    outputs: tuple = ()
    stacks: tuple = ()
    counters: tuple = ()
    cells: int = 0
    precision: int = 64

    def __post_init__(self) -> None:
        _refuse_bad_rows("units", self.units, (str, int, str))
        names = {unit[0] for unit in self.units}
        levels = [level for _, level, _ in self.units]
        if (
            len(names) < len(self.units)
            or levels != sorted(levels)
            or any(unit[2] not in ACTIVATIONS for unit in self.units)
        ):
            raise _bad(
                "units with different names in the order of their levels, each clip, step, relu or linear", "others"
            )
        if any(set(name) & set("[] \n") or not name for name in names) or (levels and levels[0] < 0):
            raise _bad("names of units without brackets and spaces, and levels from 0 on", "others")
        for field, found in (("registers", self.registers), ("outputs", self.outputs)):
            _refuse_unknown(field, found, names)
        _refuse_bad_rows("stacks", self.stacks, (str, int, int, int))
        _refuse_bad_rows("counters", self.counters, (str, int))
        _refuse_unknown(
            "stacks and counters", tuple(row[0] for row in (*self.stacks, *self.counters)), set(self.registers)
        )
        if any(not (1 <= bits <= 16 and 1 <= deepest <= 53) for _, bits, deepest, _ in self.stacks):
            raise _bad("stacks of 1 to 16 bits per symbol and at most 53 symbols", repr(self.stacks))
        if self.cells and any(
            not (1 <= moved <= min(deepest // 2, deepest - 2)) for _, _, deepest, moved in self.stacks
        ):
            raise _bad(
                "memory cells that take between 1 symbol and half of what a stack's unit may hold", repr(self.stacks)
            )
        if not 0 <= self.cells <= MOST_CELLS:
            raise _bad(f"0 to {MOST_CELLS} memory cells", str(self.cells))
        if self.precision not in (32, 64):
            raise _bad("a precision of 32 or 64", str(self.precision))

    def untrained(self) -> "CircuitConfig":
        """Return the config without limits and memory cells.

        A network whose weights have changed no longer holds numbers that are exact or not; with the limits, its first
        step on a stack would be an error.
        """
        return dataclasses.replace(self, stacks=(), counters=(), cells=0)

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return the one branch of the layer; ConfigError where the outputs do not fit into the width."""
        if len(self.outputs) > width:
            raise _bad(f"at most {width} outputs, as many as the width", str(len(self.outputs)))
        return (Circuit(width, self),)


class Circuit(Layer):
    """One layer of saturated-linear units."""

    def __init__(self, width: int, config: CircuitConfig) -> None:
        super().__init__()
        self.width, self.config = width, config
        self.names = tuple(name for name, _, _ in config.units)
        at = {name: number for number, name in enumerate(self.names)}
        self.registers = [at[name] for name in config.registers] if self.names else list(range(width))
        self.outputs = [at[name] for name in config.outputs]
        self.blocks = _blocks(config.units) if self.names else [(0, width, 0, "clip")]
        place = {name: number for number, name in enumerate(config.registers)}
        self.stacks = [_Stack(name, place[name], *rest) for name, *rest in config.stacks]
        self.counters = [(name, place[name], largest) for name, largest in config.counters]
        size, bound = len(self.names) or width, width**-0.5
        self.input = nn.Parameter(torch.empty(size, width).uniform_(-bound, bound))
        self.recurrent = nn.Parameter(torch.empty(size, len(self.registers)).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(size).uniform_(0.0, 1.0))
        if len(self.blocks) > 1:
            self.within = nn.Parameter(torch.zeros(size, size))

    @property
    def units(self) -> Mapping[str, int]:
        """One group per named unit, what is remembered first, and before all what is 0 or 1; generic: the hidden units.

        Where a rule's unit does what a state's does, or a stack's number tells no more than its top, whoever goes
        through all units meets the state and the top first.
        """
        if not self.names:
            return {"hidden": self.width}
        kinds = {name: kind for name, _, kind in self.config.units}
        first = [name for name in self.config.registers if kinds[name] in ("clip", "step")]
        return dict.fromkeys((*first, *self.config.registers, *self.names), 1)

    def initial_state(self, batch: int) -> State:
        """Return zeros."""

        def zeros(size: int, dtype: torch.dtype = self._dtype) -> Tensor:
            return torch.zeros(batch, size, device=self.bias.device, dtype=dtype)

        if not self.names:
            return {"hidden": zeros(self.width)}
        cells = {stack.cells: zeros(self.config.cells) for stack in self.stacks if self.config.cells}
        used = {stack.used: zeros(1) for stack in self.stacks if self.config.cells}
        counts = {name: zeros(1, torch.float64) for name in ("steps", "edited")}
        return {"registers": zeros(len(self.registers)), **counts, **cells, **used}

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Take T steps; MachineError names the step at which a memory no longer fits."""
        with torch.autocast(x_BTD.device.type, enabled=False):
            walk = _Walk(self, x_BTD, state, tap)
            for t in range(x_BTD.shape[1]):
                walk.step(t)
            u_BTN = torch.stack(walk.taken, dim=1)
        if not walk.edits:
            for start, stop, name in self._groups():
                if tap.watches(name):
                    tap(name, u_BTN[..., start:stop])
        return self._written(u_BTN).to(x_BTD.dtype), walk.state()

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float32 if self.config.precision == 32 else torch.float64

    def _groups(self) -> list[tuple[int, int, str]]:
        """Return first unit, end and name of every group, in the order of `units`."""
        if not self.names:
            return [(0, self.width, "hidden")]
        at = {name: number for number, name in enumerate(self.names)}
        return [(at[name], at[name] + 1, name) for name in self.units]

    def _written(self, u_BTN: Tensor) -> Tensor:
        if not self.names:
            return u_BTN
        batch, time, _ = u_BTN.shape
        rest = u_BTN.new_zeros(batch, time, self.width - len(self.outputs))
        return torch.cat([u_BTN[..., self.outputs], rest], dim=-1)


class _Walk:
    """The steps of one call: weights in the precision of the computation, and the state as it goes on."""

    def __init__(self, layer: Circuit, x_BTD: Tensor, state: State, tap: Tap) -> None:
        dtype = layer._dtype
        self.layer, self.tap = layer, tap
        self.inputs_BTN = nn.functional.linear(x_BTD.to(dtype), layer.input.to(dtype), layer.bias.to(dtype))
        self.recurrent_RN = layer.recurrent.to(dtype).t()
        within_NN = layer.within.to(dtype) if len(layer.blocks) > 1 else None
        active = _LEARNING if torch.is_grad_enabled() else _PLAIN
        self.blocks = [
            (
                start,
                stop,
                within_NN[start:stop, :below].t() if within_NN is not None and below else None,
                below,
                active[kind],
            )
            for start, stop, below, kind in layer.blocks
        ]
        self.edits = any(tap.edits(name) for name in layer.units)
        self.shown = sorted(group for group in layer._groups() if self.edits and tap.watches(group[2]))
        self.memory = dict(state)
        self.kept = "registers" if layer.names else "hidden"
        self.taken: list[Tensor] = []

    def state(self) -> State:
        """Return the state after the last step."""
        return self.memory

    def step(self, t: int) -> None:
        """Take step t of this call."""
        layer, memory = self.layer, self.memory
        before_BR = memory[self.kept]
        sums_BN = torch.addmm(self.inputs_BTN[:, t], before_BR, self.recurrent_RN)
        u_BN, changed_B = sums_BN[:, :0], None
        for start, stop, within, below, active in self.blocks:
            piece_BN = sums_BN[:, start:stop]
            if within is not None:
                piece_BN = torch.addmm(piece_BN, u_BN[:, :below], within)
            piece_BN = active(piece_BN)
            if self.shown:
                piece_BN, differs_B = self._show(piece_BN, start, stop)
                changed_B = differs_B if changed_B is None else changed_B | differs_B
            u_BN = piece_BN if start == 0 else torch.cat([u_BN, piece_BN], dim=1)
        self.taken.append(u_BN)
        if not layer.names:
            memory["hidden"] = u_BN
            return
        registers_BR = u_BN[:, layer.registers]
        edited_B1 = memory["edited"]
        if changed_B is not None:
            edited_B1 = torch.maximum(edited_B1, changed_B[:, None].to(edited_B1.dtype))
        edited_B1 = edited_B1 * registers_BR.detach().any(dim=1, keepdim=True)
        memory |= {"steps": memory["steps"] + 1, "edited": edited_B1}
        memory["registers"] = self._held(registers_BR, edited_B1[:, 0] == 0)

    def _show(self, piece_BN: Tensor, first: int, end: int) -> tuple[Tensor, Tensor]:
        """Show the groups in a block to an editing tap; return what it made of them, and which rows it changed."""
        columns, at, made_of = [], first, piece_BN
        for start, stop, name in self.shown:
            if first <= start < end:
                shown_BN = piece_BN[:, start - first : stop - first]
                columns += [piece_BN[:, at - first : start - first], self.tap(name, shown_BN[:, None])[:, 0]]
                at = stop
        if columns:
            made_of = torch.cat([*columns, piece_BN[:, at - first :]], dim=1).to(piece_BN.dtype)
        return made_of, (made_of != piece_BN).any(dim=1)

    def _held(self, registers_BR: Tensor, checked_B: Tensor) -> Tensor:
        """Return the registers with every stack within its bounds; MachineError where that cannot be."""
        layer = self.layer
        for name, at, largest in layer.counters:
            self._refuse(registers_BR[:, at] > largest, checked_B, name, f"to count to at most {largest}")
        for stack in layer.stacks:
            value_B = registers_BR[:, stack.at]
            if not layer.config.cells:
                allowed = f"to hold at most {stack.deepest} symbols, as many as are exact with its precision"
                self._refuse(_deeper(value_B, stack.bits * stack.deepest), checked_B, stack.unit, allowed)
                continue
            cells_BC, used_B1 = self.memory[stack.cells], self.memory[stack.used]
            value_B, cells_BC, used_B, full_B = _settled(stack, value_B, cells_BC, used_B1[:, 0])
            self._refuse(full_B, checked_B, stack.unit, f"to fit into its {layer.config.cells} memory cells")
            self.memory |= {stack.cells: cells_BC, stack.used: used_B[:, None]}
            registers_BR = registers_BR.clone()
            registers_BR[:, stack.at] = value_B
        return registers_BR

    def _refuse(self, wrong_B: Tensor, checked_B: Tensor, unit: str, allowed: str) -> None:
        wrong_B = wrong_B & checked_B
        if wrong_B.any():
            step = int(self.memory["steps"][wrong_B].min())
            remedy = "give a shorter input, or compile the machine with more memory cells"
            name = unit.removesuffix(".value")
            raise MachineError(expected=f"{name} {allowed}", received=f"more at step {step}", remedy=remedy)


@dataclass(frozen=True)
class _Stack:
    """A stack as the layer sees it: `at` is its place among the registers."""

    unit: str
    at: int
    bits: int
    deepest: int
    moved: int

    @property
    def cells(self) -> str:
        return f"{self.unit}.cells"

    @property
    def used(self) -> str:
        return f"{self.unit}.used"


def _deeper(value_B: Tensor, bits: int) -> Tensor:
    """Whether a number has more bits behind the point (digits are odd, so depth can be read off)."""
    scaled_B = value_B.detach() * 2.0**bits
    return scaled_B != scaled_B.floor()


def _settled(stack: _Stack, value_B: Tensor, cells_BC: Tensor, used_B: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Move symbols between a stack's unit and its last cell, between two steps.

    A value of 0 with cells in use was reset by a newline: a step takes one symbol at most, and there were two or more.
    Returns the value, the cells, how many are in use, and which rows had no cell left.
    """
    bits, moved = stack.bits, stack.moved
    if not (_deeper(value_B, bits * 2 * moved) | ((used_B > 0) & ~_deeper(value_B, bits))).any():
        return value_B, cells_BC, used_B, torch.zeros_like(used_B, dtype=torch.bool)
    index_C = torch.arange(cells_BC.shape[1], device=value_B.device)
    used_B = used_B * (value_B != 0)
    over_B = _deeper(value_B, bits * 2 * moved)
    full_B = over_B & (used_B >= cells_BC.shape[1])
    one_more_B = _deeper(value_B, bits * (2 * moved + 1))
    # Constants and not exp2, whose vectorised versions need not give powers of two exactly.
    kept_B = torch.where(one_more_B, 2.0 ** (bits * (moved + 2)), 2.0 ** (bits * (moved + 1))).to(value_B.dtype)
    high_B = (value_B * kept_B).floor() / kept_B
    spilled_B = (value_B - high_B) * kept_B
    next_BC = (index_C == used_B[:, None]) & over_B[:, None]

    under_B = ~_deeper(value_B, bits) & (used_B > 0)
    last_BC = (index_C == used_B[:, None] - 1) & under_B[:, None]
    taken_B = (cells_BC * last_BC).sum(dim=1) / 2.0**bits

    value_B = torch.where(over_B, high_B, value_B + taken_B)
    cells_BC = torch.where(next_BC, spilled_B[:, None], cells_BC * ~last_BC * (index_C < used_B[:, None]))
    used_B = (used_B + over_B.to(used_B.dtype) - under_B.to(used_B.dtype)).clamp(max=cells_BC.shape[1])
    return value_B, cells_BC, used_B, full_B


class _Saturated(torch.autograd.Function):
    """A function of the sum whose gradient goes straight through, weakened outside [0, 1]."""

    @staticmethod
    def forward(ctx: Any, sums_BN: Tensor, heaviside: bool) -> Tensor:
        ctx.save_for_backward(sums_BN)
        return _PLAIN["step" if heaviside else "clip"](sums_BN)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (sums_BN,) = ctx.saved_tensors
        inside_BN = (sums_BN >= 0) & (sums_BN <= 1)
        return grads[0] * torch.where(inside_BN, 1.0, LEAK).to(sums_BN.dtype), None


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "clip": lambda sums_BN: sums_BN.clamp(0.0, 1.0),
    "step": lambda sums_BN: (sums_BN > 0).to(sums_BN.dtype),
    "relu": torch.relu,
    "linear": lambda sums_BN: sums_BN,
}
_LEARNING: dict[str, Callable[[Tensor], Tensor]] = _PLAIN | {
    "clip": lambda sums_BN: _Saturated.apply(sums_BN, False),
    "step": lambda sums_BN: _Saturated.apply(sums_BN, True),
}


def _blocks(units: tuple) -> list[tuple[int, int, int, str]]:
    """Return neighbours that can be computed at once: first, end, the number of units on lower levels, activation."""
    blocks, start, below, level = [], 0, 0, 0
    for (of_level, kind), members in groupby(units, key=lambda unit: unit[1:]):
        if of_level != level:
            below, level = start, of_level
        stop = start + len(list(members))
        blocks.append((start, stop, below, kind))
        start = stop
    return blocks


def _bad(expected: str, received: str) -> ConfigError:
    return ConfigError(
        expected=f"a circuit with {expected}", received=received[:80], remedy="compile the machine again"
    )


def _refuse_bad_rows(field: str, rows: tuple, kinds: tuple[type, ...]) -> None:
    for row in rows:
        if type(row) is not tuple or tuple(map(type, row)) != kinds:
            shape = ", ".join(kind.__name__ for kind in kinds)
            raise _bad(f"{field} written as rows of ({shape})", repr(row))


def _refuse_unknown(field: str, found: tuple, known: set[str]) -> None:
    for name in found:
        if name not in known or found.count(name) > 1:
            raise _bad(f"{field} that name its units, each once", repr(name))
