"""A compiled writer: a whole model, made ready to write many symbols in one call without torch.

Knows nothing about layers or families: it is handed their steps as chains of operations (steps.py).

Shapes: B streams, T symbols, V vocabulary, D width, S numbers of slots, M numbers of memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unrolled.errors import UnrolledError
from unrolled.kernels import native
from unrolled.kernels.norm import rms_norm
from unrolled.kernels.steps import BF16, BLOCK, Operation, Room, Row, linear, padded

APART = BLOCK
"""Unused numbers between streams: rows a power of two apart would fall on the same cache lines."""


@dataclass(frozen=True, eq=False)
class Branch:
    """One residual branch: its states' prefix (`layer0.`), the gain of the norm before it, its step's operations."""

    prefix: str
    gain_D: Tensor | None
    chain: Sequence[Operation]


@dataclass(frozen=True, eq=False)
class Frame:
    """What stands around the branches; a `gain_D` of None means a plain stack: no norms, no residual stream."""

    embedding_VD: Tensor
    gain_D: Tensor | None
    readout_VD: Tensor
    bias_V: Tensor

    @property
    def fits(self) -> bool:
        """Whether there are compiled kernels for a model with these weights: float32 on a CPU."""
        weight = self.embedding_VD
        small = weight.device.type == "cpu" and weight.dtype == torch.float32 and len(weight) > 1
        return small and native.library() is not None


class CompiledWriter:
    """A model with B streams under way. Not a value: writing moves the streams on, and `place` takes a copy."""

    def __init__(
        self,
        frame: Frame,
        branches: Sequence[Branch],
        state: Mapping[str, Tensor],
        logits_BV: Float[Tensor, "B V"],
        *,
        bfloat16: bool,
    ) -> None:
        """Pack the weights, in bfloat16 or as they are, and start from `state` and the logits that came with it."""
        self._kernel = "write_bfloat16" if bfloat16 else "write_float32"
        self._room = Room(BF16 if bfloat16 else torch.float32)
        self._parts: list[tuple[str, Operation, Row]] = []
        with torch.no_grad():
            script = list(self._script(frame, branches))
            self._operations = torch.tensor([row.numbers() for row in script])
            self._logits, self._vocab, self._steps = script[-1].target, logits_BV.shape[1], 0
            self._slots_BS = torch.zeros(len(logits_BV), self._room.slots + APART)
            self._memory_BM = torch.zeros(len(logits_BV), self._room.memory + APART)
            self._slots_BS[:, self._logits : self._logits + self._vocab] = logits_BV
            for prefix, operation, row in self._parts:
                operation.load(row, self._memory_BM, {name: state[prefix + name] for name in operation.states})

    def write(
        self,
        uniforms_BT: Float[Tensor, "B T"],
        *,
        temperature: float,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Int[Tensor, "B T"]:
        """Draw T symbols for each stream, one uniform number each, and read them.

        Symbol 0 is never written. Raises UnrolledError where a logit is not finite.
        """
        streams, steps = uniforms_BT.shape
        written, failed = torch.empty(streams, steps, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        sizes = torch.tensor([
            len(self._operations), streams, steps, self._steps, self._vocab, self._logits,
            self._vocab if top_k is None else min(top_k, self._vocab), self._slots_BS.shape[1],
            self._memory_BM.shape[1], self._room.inputs, self._room.scratch,
        ])  # fmt: skip
        options = torch.tensor([temperature, 1.0 if top_p is None else top_p], dtype=torch.float64)
        uniforms_BT = uniforms_BT.to(torch.float64).contiguous()
        native.call(
            self._kernel, sizes, self._operations, self._slots_BS, self._memory_BM, options, uniforms_BT, written,
            failed,
        )  # fmt: skip
        if failed.any():
            raise UnrolledError(
                expected="finite logits", received="infinity or what is not a number", remedy="use another checkpoint"
            )
        self._steps += steps
        return written

    def place(self) -> tuple[dict[str, Tensor], Float[Tensor, "B V"]]:
        """Return a copy of the state, as the model itself would have it, and the logits of what comes next."""
        state = {
            prefix + name: value
            for prefix, operation, row in self._parts
            for name, value in operation.save(row, self._memory_BM, self._steps).items()
        }
        return state, self._slots_BS[:, self._logits : self._logits + self._vocab].clone()

    def _script(self, frame: Frame, branches: Sequence[Branch]) -> Iterator[Row]:
        """Yield every operation of one step; the residual stream lies in slot x, what a branch gave in slot y."""
        embedding_VD = padded(frame.embedding_VD.detach())
        width = embedding_VD.shape[1]
        x, normed, y = self._room.slot(width), self._room.slot(width), -1
        yield Row(kind="embed", units=width, target=x, table=self._room.address(embedding_VD))
        for number, branch in enumerate(branches):
            table_VD = None
            if number == 0 and branch.chain[0].looks_up(len(embedding_VD)):
                table_VD = _normed(frame.embedding_VD, branch.gain_D)
            else:
                yield self._norm(frame, branch.gain_D, x, y, normed)
            y = normed
            for operation in branch.chain:
                row = operation.row(self._room, y, table_VD)
                self._parts.append((branch.prefix, operation, row))
                y, table_VD = row.target, None
                yield row
        yield self._norm(frame, frame.gain_D, x, y, normed)
        yield linear(frame.readout_VD, frame.bias_V).row(self._room, normed, None)

    def _norm(self, frame: Frame, gain_D: Tensor | None, x: int, y: int, target: int) -> Row:
        return Row(
            kind="norm", units=padded(frame.embedding_VD[:1]).shape[1], source=y, target=target, memory=x,
            table=0 if gain_D is None else self._room.address(padded(gain_D.detach())),
            a=frame.embedding_VD.shape[1], b=int(frame.gain_D is not None),
        )  # fmt: skip


def _normed(embedding_VD: Tensor, gain_D: Tensor | None) -> Tensor:
    return embedding_VD if gain_D is None else rms_norm(embedding_VD, gain_D)
