"""One step of a layer as a chain of operations, each reading the vector that the one before it gave.

Knows nothing about layers or models: a family says its step in these words, and writing.py makes a compiled writer of
the steps of a whole model. Every operation says how its weights are packed and how its part of a state lies in memory;
writing.cpp runs them.

Vectors are padded with zeros to multiples of 16, which every operation maps to zeros again.

Shapes: B streams, V symbols, D inputs, N units, G gates, J kernel positions, H heads, K head width, W window,
P steps of the past.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels.recurrence import Weights

BLOCK = 16
BF16 = torch.bfloat16
KINDS = ("embed", "norm", "linear", "relu", "gelu", "gated", "scan", "elman", "gru", "lstm", "past", "attend")
"""In the order of `Kind` in writing.cpp."""
TABLE_NUMBERS = 2**22
"""A first product is looked up and not multiplied where its table has at most so many numbers (16 MiB)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One operation as writing.cpp reads it: sizes, addresses and offsets, in the order of its `Operation`."""

    kind: str
    gates: int = 1
    units: int = 0
    inputs: int = 0
    remembered: int = 0
    weight: int = 0
    recurrent: int = 0
    bias: int = 0
    recurrent_bias: int = 0
    table: int = 0
    source: int = 0
    target: int = 0
    memory: int = 0
    a: int = 0
    b: int = 0
    c: int = 0

    def numbers(self) -> list[int]:
        """Return the fields as integers."""
        kind, *rest = dataclasses.astuple(self)
        return [KINDS.index(kind), *rest]


class Room:
    """Where the operations of a model find room: slots between them, memory, and tensors that stay alive."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.slots = self.memory = self.inputs = self.scratch = 0
        self._kept: list[Tensor] = []

    def slot(self, size: int) -> int:
        """Return where a vector of `size` numbers may be left for the next operation."""
        self.slots += size
        return self.slots - size

    def remember(self, size: int) -> int:
        """Return where `size` numbers are kept from step to step."""
        self.memory += size
        return self.memory - size

    def address(self, tensor: Tensor) -> int:
        """Return the address of a tensor's numbers, which stay there as long as this room."""
        self._kept.append(tensor.contiguous())
        return self._kept[-1].data_ptr()


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation(ABC):
    """One operation of a step; `states` are the names of what it remembers."""

    states: tuple[str, ...] = ()

    @abstractmethod
    def row(self, room: Room, source: int, table_VD: Tensor | None) -> Row:
        """Find room and return the operation for writing.cpp, which reads slot `source`; or, where `table_VD` holds
        what it reads for every symbol, may look its result up.
        """

    def looks_up(self, symbols: int) -> bool:  # noqa: ARG002
        """Say whether the operation, as the first of a model with so many symbols, is looked up in a table."""
        return False

    def load(self, row: Row, memory_BM: Tensor, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Put this operation's part of a state (short names) into memory that is all zeros."""

    def save(self, row: Row, memory_BM: Tensor, steps: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Return this operation's part of the state after so many steps since `load`."""
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class Product(Operation):
    """f(W x + b), or f(W x + b + U h) where there is a recurrent weight: sums first, then what `kind` makes of them.

    `weight` is (G*N, D) or (G*N, J, D), gates stacked. `states` are vectors of N numbers, the first of them h.
    """

    kind: str
    weight: Tensor
    bias: Tensor
    gates: int = 1
    recurrent: Tensor | None = None
    recurrent_bias: Tensor | None = None
    states: tuple[str, ...] = ()
    negative: bool = False

    def row(self, room: Room, source: int, table_VD: Tensor | None) -> Row:
        """Pack the weights, or make the table."""
        weight_GNK = padded(self.weight.detach().float()).flatten(1)
        weight_GNK = _padded_units(weight_GNK, self.gates)
        bias_GN = _padded_units(self.bias.detach().float(), self.gates)
        units = weight_GNK.shape[1]
        sizes = {"gates": self.gates, "units": units, "source": source, "target": room.slot(units)}
        if table_VD is None:
            sizes |= {"inputs": weight_GNK.shape[2], "weight": room.address(_packed(weight_GNK, room.dtype))}
            sizes["bias"] = room.address(_blocked(bias_GN[None]))
        else:
            rounded = (value.to(room.dtype).float() for value in (padded(table_VD), weight_GNK.flatten(0, 1)))
            table_VR = torch.addmm(bias_GN.flatten(), next(rounded), next(rounded).t())
            sizes["table"] = room.address(_blocked(table_VR.unflatten(1, (self.gates, units))))
        if self.recurrent is not None:
            recurrent_GNK = _padded_units(padded(self.recurrent.detach().float()), self.gates)
            sizes |= {"remembered": units, "recurrent": room.address(_packed(recurrent_GNK, room.dtype))}
        if self.recurrent_bias is not None:
            sizes["recurrent_bias"] = room.address(padded(self.recurrent_bias.detach().float()))
        room.inputs = max(room.inputs, sizes.get("inputs", 0) + sizes.get("remembered", 0))
        return Row(kind=self.kind, memory=room.remember(len(self.states) * units), a=int(self.negative), **sizes)

    def looks_up(self, symbols: int) -> bool:
        """Say whether the table is small enough."""
        return symbols * len(self.bias) <= TABLE_NUMBERS

    def load(self, row: Row, memory_BM: Tensor, state: Mapping[str, Tensor]) -> None:
        """Put the state's vectors side by side."""
        for number, name in enumerate(self.states):
            at = row.memory + number * row.units
            memory_BM[:, at : at + state[name].shape[1]] = state[name]

    def save(self, row: Row, memory_BM: Tensor, steps: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Take the vectors out again."""
        units = len(self.bias) // self.gates
        starts = [row.memory + number * row.units for number in range(len(self.states))]
        return {name: memory_BM[:, at : at + units].clone() for name, at in zip(self.states, starts, strict=True)}


def linear(weight: Tensor, bias: Tensor, then: str = "linear") -> Product:
    """y = f(W x + b) with f the identity, `relu` or `gelu`."""
    return Product(kind=then, weight=weight, bias=bias)


def gated(weight: Tensor, bias: Tensor) -> Product:
    """y = tanh(W_1 x + b_1) * sigmoid(W_2 x + b_2), both stacked."""
    return Product(kind="gated", weight=weight, bias=bias, gates=2)


def scan(weight: Tensor, bias: Tensor, *, negative: bool) -> Product:
    """h = (1 - z) * h + z * n, or (1 - 2 z) * h + z * n; z = sigmoid(W_z x + b_z) and n = W_n x + b_n stacked."""
    return Product(kind="scan", weight=weight, bias=bias, gates=2, states=("hidden",), negative=negative)


def elman(weights: Weights) -> Product:
    """One step of `kernels.elman`."""
    w, u, b, c = weights
    return Product(kind="elman", weight=w, bias=b + c, recurrent=u, states=("hidden",))


def gru(weights: Weights) -> Product:
    """One step of `kernels.gru`."""
    w, u, b, c = weights
    outer, inner = c.split((2 * len(c) // 3, len(c) // 3))
    bias = b + F.pad(outer, (0, len(inner)))
    return Product(kind="gru", weight=w, bias=bias, gates=3, recurrent=u, recurrent_bias=inner, states=("hidden",))


def lstm(weights: Weights) -> Product:
    """One step of `kernels.lstm`."""
    w, u, b, c = weights
    return Product(kind="lstm", weight=w, bias=b + c, gates=4, recurrent=u, states=("hidden", "cell"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Past(Operation):
    """What a dilated causal convolution sees: this vector and the ones before it, (J, D), oldest first."""

    width: int
    kernel: int
    dilation: int
    states: tuple[str, ...] = ("past",)

    @property
    def _past(self) -> int:
        return (self.kernel - 1) * self.dilation

    def row(self, room: Room, source: int, table_VD: Tensor | None) -> Row:  # noqa: ARG002
        """Find room for a ring of the past and this step."""
        units = _up(self.width)
        return Row(
            kind="past", units=units, source=source, target=room.slot(self.kernel * units), a=self.kernel,
            b=self.dilation, memory=room.remember((self._past + 1) * units),
        )  # fmt: skip

    def load(self, row: Row, memory_BM: Tensor, state: Mapping[str, Tensor]) -> None:
        """The next step is written at the ring's start."""
        self._ring(row, memory_BM)[:, 1:] = state[self.states[0]]

    def save(self, row: Row, memory_BM: Tensor, steps: int) -> Mapping[str, Tensor]:
        """Return the past, oldest first."""
        return {self.states[0]: self._ring(row, memory_BM)[:, ago(self._past, steps)].clone()}

    def _ring(self, row: Row, memory_BM: Tensor) -> Tensor:
        size = (self._past + 1) * row.units
        ring = memory_BM[:, row.memory : row.memory + size].unflatten(1, (self._past + 1, row.units))
        return ring[..., : self.width]


@dataclass(frozen=True, eq=False, kw_only=True)
class Attend(Operation):
    """Attention of one query to the window that ends with it; reads queries, keys and values (3, H, K) in a row.

    `angles_WK` are how far each pair (k, k + K/2) of a query is turned against a key 0 .. W-1 steps ago, (W, K/2).
    """

    heads: int
    width: int
    window: int
    angles_WK: Tensor
    states: tuple[str, ...] = ("keys", "values", "filled")

    def row(self, room: Room, source: int, table_VD: Tensor | None) -> Row:  # noqa: ARG002
        """Find room for rings of keys (in two halves) and values."""
        half = _up(self.width // 2)
        turns_W2K = torch.stack([self.angles_WK.cos(), self.angles_WK.sin()], dim=1)
        size = BLOCK + self.heads * self.window * (2 * half + _up(self.width))
        room.scratch = max(room.scratch, 2 * half + _up(self.window))
        return Row(
            kind="attend", source=source, target=room.slot(_up(self.heads * self.width)), memory=room.remember(size),
            table=room.address(padded(turns_W2K.float())), a=self.heads, b=self.width, c=self.window,
        )  # fmt: skip

    def load(self, row: Row, memory_BM: Tensor, state: Mapping[str, Tensor]) -> None:
        """The next step is written at the rings' start."""
        keys_BHWX, values_BHWX = self._rings(row, memory_BM)
        memory_BM[:, row.memory] = state["filled"].to(memory_BM.dtype)
        half = self.width // 2
        keys_BHWX[:, :, 1:, 0, :half], keys_BHWX[:, :, 1:, 1, :half] = state["keys"].chunk(2, dim=-1)
        values_BHWX[:, :, 1:, : self.width] = state["values"]

    def save(self, row: Row, memory_BM: Tensor, steps: int) -> Mapping[str, Tensor]:
        """Return keys and values, oldest first, and how much of the window is filled."""
        keys_BHWX, values_BHWX = self._rings(row, memory_BM)
        order = ago(self.window - 1, steps)
        filled = (memory_BM[:, row.memory].long() + steps).clamp(max=self.window - 1)
        keys = keys_BHWX[:, :, order, :, : self.width // 2].flatten(-2)
        return {"keys": keys, "values": values_BHWX[:, :, order, : self.width].clone(), "filled": filled}

    def _rings(self, row: Row, memory_BM: Tensor) -> tuple[Tensor, Tensor]:
        half, width, places = _up(self.width // 2), _up(self.width), self.heads * self.window
        start = row.memory + BLOCK
        middle = start + places * 2 * half
        keys = memory_BM[:, start:middle].unflatten(1, (self.heads, self.window, 2, half))
        values = memory_BM[:, middle : middle + places * width].unflatten(1, (self.heads, self.window, width))
        return keys, values


def ago(past: int, steps: int) -> Tensor:
    """Return where a ring of `past` + 1 places holds the last `past` steps, oldest first."""
    return (torch.arange(past) + steps - past) % (past + 1)


def _up(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def padded(tensor: Tensor) -> Tensor:
    """Return the tensor with its last axis padded with zeros to a multiple of 16."""
    return F.pad(tensor, (0, _up(tensor.shape[-1]) - tensor.shape[-1]))


def _padded_units(stacked: Tensor, gates: int) -> Tensor:
    """(G*N, ...) to (G, N, ...) with N padded."""
    split = stacked.unflatten(0, (gates, -1))
    return F.pad(split, (0, 0) * (split.dim() - 2) + (0, _up(split.shape[1]) - split.shape[1]))


def _blocked(value_XGN: Tensor) -> Tensor:
    """(X, G, N) to [X][N/16][G][16]."""
    return value_XGN.unflatten(2, (-1, BLOCK)).transpose(1, 2).contiguous()


def _packed(weight_GNK: Tensor, dtype: torch.dtype) -> Tensor:
    """(G, N, K) to [N/16][G][K/2][16][2] in bfloat16, to [N/16][G][K][16] in float32."""
    tiles = weight_GNK.to(dtype).unflatten(1, (-1, BLOCK))
    if dtype == BF16:
        return tiles.unflatten(3, (-1, 2)).permute(1, 0, 3, 2, 4).contiguous()
    return tiles.permute(1, 0, 3, 2).contiguous()
