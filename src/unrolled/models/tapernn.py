"""The tape RNN: a recurrent controller that reads, writes and moves along differentiable tapes.

    r_t = sum_p head_(t-1)[p] tape_(t-1)[p], for each tape                      read
    h_t = the controller's, from x_t, h_(t-1) and r_t                           hidden (models/controller.py)
    a_t = softmax(A h_t + a), for each tape: stay, right, left, home, back      action
    w_t = sigmoid(G h_t + g), for each number of a cell: how much is written    write
    v_t = tanh(V h_t + v), for each tape: what is written                       written
    tape_t[p] = tape_(t-1)[p] + w_t head_(t-1)[p] (v_t - tape_(t-1)[p])         first it writes, then it moves
    head_t[p] = a_stay head_(t-1)[p] + a_right head_(t-1)[p - 1] + a_left head_(t-1)[p + 1]
              + a_home start[p]      + a_back mark_(t-1)[p]                     head
    mark_t = mark_(t-1) + a_home (head_(t-1) - mark_(t-1))

The head is a share for each cell, not an index. Tapes are rings of `cells` cells: beyond the last one comes the first,
and what stood there is written over. At the start of a stream the head stands at cell 0 (`start`), as does the mark.

The two jumps stand for those of the source, which go left and right by the length of the input. A stream has no known
length, but what they are for has a causal counterpart: `home` jumps to the start and leaves a mark where it left from,
`back` jumps to the mark. After an input was written from the start on, that is as far as its length. The gate `write`
is ours, too: without it a tape cannot be read and left as it is. It starts nearly open.

Units, in this order: `read` (r), the controller's (`hidden`; gated also `input_gate`, `forget_gate`, `candidate`,
`output_gate`, `cell`), `action` (stay, right, left, home, back of each tape), `write` (w), `written` (v) and `head`.
State: h (gated: and c), the tape (B, tapes, cells, cell), and `position` and `mark`, (B, tapes, cells) each: the head
and the mark less `start`, so that zeros mean that nothing was read. No weight depends on the number of cells, so that a
model may be used with longer tapes than it was trained with: give its config more `cells`. An edit of actions, of
writing or of the head is held to shares of at most 1 in all, so that no edit makes a tape grow.

Source: Deletang et al. 2023, arXiv 2207.02098, appendix A.3, after the baby NTM of Suzgun et al. 2019,
arXiv 1911.03329; the head as a distribution: Graves et al. 2014, arXiv 1410.5401.

Knows nothing about other families. Shapes: B batch, D width, N = D units, S tapes, P cells of a tape, C numbers in one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import ConfigError
from unrolled.models.controller import Memory, MemoryLayer, Showing
from unrolled.models.sequence_model import Layer, LayerConfig, State, no_memory

ACTIONS = ("stay", "right", "left", "home", "back")
JUMP_BIAS, WRITE_BIAS = -2.0, 3.0
"""A new layer seldom jumps, which would blur the head over the tape, and overwrites nearly all, as the source does."""


@dataclass(frozen=True, kw_only=True)
class TapeRNNConfig(LayerConfig):
    """`tapes` tapes of `cells` cells of `cell` numbers; a `gated` controller is an LSTM, any other an Elman network.

    `cells` shapes no weight: a trained model may be built again with longer tapes.
    """

    cells: int = 64
    cell: int = 8
    tapes: int = 1
    gated: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (("cells", 2, 65536), ("cell", 1, 1024), ("tapes", 1, 64)):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(
                    expected=f"{name} from {least} to {most}", received=str(getattr(self, name)), remedy="change it"
                )

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return the one branch of the layer."""
        return (TapeRNN(width, self),)


class TapeRNN(MemoryLayer):
    """One tape RNN layer."""

    def __init__(self, width: int, config: TapeRNNConfig) -> None:
        reads = config.tapes * config.cell
        super().__init__(width, gated=config.gated, reads=reads, emits=len(ACTIONS) * config.tapes + 2 * reads)
        self.cells, self.cell, self.tapes = config.cells, config.cell, config.tapes
        with torch.no_grad():
            actions = len(ACTIONS) * self.tapes
            self.emit.bias[:actions].view(self.tapes, -1)[:, ACTIONS.index("home") :] = JUMP_BIAS
            self.emit.bias[actions : actions + reads] = WRITE_BIAS

    @property
    def memory_units(self) -> Mapping[str, int]:
        """What is done with each tape, what is written, and where the head then stands."""
        return {
            "action": len(ACTIONS) * self.tapes,
            "write": self.tapes * self.cell,
            "written": self.tapes * self.cell,
            "head": self.tapes * self.cells,
        }

    def initial_memory(self, batch: int) -> State:
        """Return blank tapes, heads and marks at the start."""
        return {
            "tape": no_memory(batch, self.tapes, self.cells, self.cell, like=self.weight_hh),
            "position": no_memory(batch, self.tapes, self.cells, like=self.weight_hh),
            "mark": no_memory(batch, self.tapes, self.cells, like=self.weight_hh),
        }

    def opened(self, state: State) -> Memory:
        """Return the tapes, the heads, the marks and the start."""
        start_BSP = torch.zeros_like(state["mark"])
        start_BSP[:, :, 0] = 1.0
        return state["tape"], state["position"] + start_BSP, state["mark"] + start_BSP, start_BSP

    def closed(self, memory: Memory) -> State:
        """Return the tapes, and how far heads and marks are from the start."""
        tape_BSPC, head_BSP, mark_BSP, start_BSP = memory
        return {"tape": tape_BSPC, "position": head_BSP - start_BSP, "mark": mark_BSP - start_BSP}

    def recall(self, memory: Memory) -> Tensor:
        """Return what stands where the heads are."""
        tape_BSPC, head_BSP, _, _ = memory
        return (head_BSP[:, :, None] @ tape_BSPC).flatten(1)

    def act(self, emitted_BE: Tensor, memory: Memory, show: Showing) -> Memory:
        """Write where the heads are, then move them."""
        tape_BSPC, head_BSP, mark_BSP, start_BSP = memory
        actions, values = len(ACTIONS) * self.tapes, self.tapes * self.cell
        action_BA, write_BV, written_BV = emitted_BE.split((actions, values, values), dim=1)
        action_BSA = show.shares("action", action_BA.unflatten(1, (self.tapes, -1)).softmax(-1))
        write_BV = show.shares("write", write_BV.sigmoid()[..., None])
        written_BV = show("written", written_BV.tanh())
        written_BS1C = written_BV.unflatten(1, (self.tapes, 1, self.cell))
        share_BSPC = head_BSP[..., None] * write_BV.unflatten(1, (self.tapes, 1, self.cell)).squeeze(-1)
        tape_BSPC = torch.lerp(tape_BSPC, written_BS1C, share_BSPC)
        targets = (head_BSP, head_BSP.roll(1, dims=2), head_BSP.roll(-1, dims=2), start_BSP, mark_BSP)
        moved_BSP = (action_BSA[:, :, None] @ torch.stack(targets, dim=2)).squeeze(2)
        mark_BSP = torch.lerp(mark_BSP, head_BSP, action_BSA[..., ACTIONS.index("home"), None])
        return tape_BSPC, show.shares("head", moved_BSP), mark_BSP, start_BSP
