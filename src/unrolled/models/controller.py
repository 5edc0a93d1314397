"""What layers with an external memory share: a recurrent controller, and the loop in which it reads and acts.

Knows nothing about any one memory: each family says what is read from it and what an emission does to it.

At every step the controller reads r_t from the memory as the step before left it, then

    h_t = tanh(W x_t + b + U h_(t-1) + V r_t)                       an Elman network
    i, f, g, o = (W x_t + b + U h_(t-1) + V r_t), c_t, h_t          or, gated, an LSTM

and what it emits, E h_t + e, acts on the memory. The layer's output is h_t.

The loop is plain torch, one step at a time, for every tap: what is computed outside of it is W x + b. It runs in the
precision of the state under autocast, too: its products are small, and a memory is a sum of many steps.

Shapes: B batch, T time, D width, N = D units, G stacked gates times N, R numbers that are read, E emitted.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.models.sequence_model import Layer, State, Tap, no_memory, untouched

GATES = ("input_gate", "forget_gate", "candidate", "output_gate", "cell")
FORGET_BIAS = 1.0
"""Where the forget gates of a gated controller start, as an LSTM's."""
Memory = tuple[Tensor, ...]


class Showing:
    """A tap within a loop over time: edited groups are shown step by step, watched ones in one block at the end."""

    def __init__(self, tap: Tap, names: Sequence[str]) -> None:
        self._tap = tap
        self._edited = frozenset(name for name in names if tap.edits(name))
        self._watched: dict[str, list[Tensor]] = {
            name: [] for name in names if name not in self._edited and tap.watches(name)
        }

    def __call__(self, name: str, value_BN: Tensor) -> Tensor:
        """Return the values of a group at this step that the layer shall use."""
        if name in self._edited:
            return self._tap(name, value_BN[:, None])[:, 0]
        if name in self._watched:
            self._watched[name].append(value_BN)
        return value_BN

    def shares(self, name: str, share_BSK: Tensor) -> Tensor:
        """Do the same for S times K shares of a whole; edited ones are cut so that no edit makes a memory grow.

        They are held to [0, 1] and divided by their sum where that is above 1: what a tap returns is used as it is
        unless it takes more than there is.
        """
        edited_BSK = self(name, share_BSK.flatten(1)).unflatten(1, share_BSK.shape[1:])
        if name not in self._edited:
            return edited_BSK
        edited_BSK = edited_BSK.clamp(0.0, 1.0)
        return edited_BSK / edited_BSK.sum(-1, keepdim=True).clamp(min=1.0)

    def finish(self) -> None:
        """Show every group that was only watched, all steps at once."""
        for name, values in self._watched.items():
            self._tap(name, torch.stack(values, dim=1))


class MemoryLayer(Layer):
    """A recurrent controller of N = D units with a memory beside it.

    `weight_ih`, `weight_hh` and `bias` stack the gates as torch.nn does (i, f, g, o); `weight_rh` is V; `emit` is what
    the controller says to its memory.
    """

    time_major = True
    reads_rows = True
    reading = "read"
    """The name of the group of units that is read from the memory."""

    def __init__(self, width: int, *, gated: bool, reads: int, emits: int) -> None:
        super().__init__()
        self.width, self.gated, self.reads = width, gated, reads
        stacked, bound = (4 if gated else 1) * width, width**-0.5
        self.weight_ih = nn.Parameter(torch.empty(stacked, width).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(stacked, width).uniform_(-bound, bound))
        self.weight_rh = nn.Parameter(torch.empty(stacked, reads).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(stacked).uniform_(-bound, bound))
        self.emit = nn.Linear(width, emits)
        if gated:
            with torch.no_grad():
                self.bias[width : 2 * width] = FORGET_BIAS

    @property
    @abstractmethod
    def memory_units(self) -> Mapping[str, int]:
        """The groups of units that act on the memory, in the order of computation."""

    @abstractmethod
    def initial_memory(self, batch: int) -> State:
        """Return the memory's part of the state, nothing read yet: zeros."""

    @abstractmethod
    def opened(self, state: State) -> Memory:
        """Return the memory of a state as the loop carries it."""

    @abstractmethod
    def closed(self, memory: Memory) -> State:
        """Return the memory as its part of the state: the inverse of `opened`."""

    @abstractmethod
    def recall(self, memory: Memory) -> Tensor:
        """Return (B, R): what the controller reads."""

    @abstractmethod
    def act(self, emitted_BE: Tensor, memory: Memory, show: Showing) -> Memory:
        """Return the memory after what was emitted acted on it. Every group of `memory_units` goes through `show`."""

    @property
    def units(self) -> Mapping[str, int]:
        """What is read, the controller's units, and what acts on the memory."""
        controller = (*GATES, "hidden") if self.gated else ("hidden",)
        return {self.reading: self.reads, **dict.fromkeys(controller, self.width), **self.memory_units}

    def initial_state(self, batch: int) -> State:
        """Return zeros for the controller and the memory."""
        names = ("hidden", "cell") if self.gated else ("hidden",)
        controller = {name: no_memory(batch, self.width, like=self.weight_hh) for name in names}
        return {**controller, **self.initial_memory(batch)}

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T N"], State]:
        """Run one step after the other."""
        return self._loop(F.linear(x_BTD, self.weight_ih, self.bias), state, tap)

    def read_rows(
        self, table_VD: Float[Tensor, "V D"], tokens_BT: Int[Tensor, "B T"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Multiply each row of the table once instead of once per step."""
        table_VG = F.linear(table_VD, self.weight_ih, self.bias)
        return self._loop(F.embedding(tokens_BT.t(), table_VG).transpose(0, 1), state, tap)

    def _loop(self, inputs_BTG: Tensor, state: State, tap: Tap) -> tuple[Tensor, State]:
        show = Showing(tap, tuple(self.units))
        hidden_BN, cell_BN = state["hidden"], state.get("cell", state["hidden"])
        hidden: list[Tensor] = []
        with torch.autocast(inputs_BTG.device.type, enabled=False):
            recurrent = torch.cat([self.weight_hh, self.weight_rh], dim=1).t()
            memory = self.opened(state)
            # unbind, and not [:, t]: the gradient of that is a tensor of all steps for each step.
            for input_BG in inputs_BTG.to(hidden_BN.dtype).unbind(1):
                read_BR = show(self.reading, self.recall(memory))
                pre_BG = torch.addmm(input_BG, torch.cat([hidden_BN, read_BR], dim=1), recurrent)
                if self.gated:
                    hidden_BN, cell_BN = _gated(pre_BG, cell_BN, show)
                else:
                    hidden_BN = show("hidden", pre_BG.tanh())
                memory = self.act(self.emit(hidden_BN), memory, show)
                hidden.append(hidden_BN)
        show.finish()
        after = {"hidden": hidden_BN, "cell": cell_BN} if self.gated else {"hidden": hidden_BN}
        return torch.stack(hidden, dim=0).transpose(0, 1), {**after, **self.closed(memory)}


def _gated(pre_BG: Tensor, cell_BN: Tensor, show: Showing) -> tuple[Tensor, Tensor]:
    """Return an LSTM's hidden units and cells."""
    i, f, g, o = pre_BG.chunk(4, dim=-1)
    i = show("input_gate", i.sigmoid())
    f = show("forget_gate", f.sigmoid())
    g = show("candidate", g.tanh())
    o = show("output_gate", o.sigmoid())
    cell_BN = show("cell", torch.addcmul(f * cell_BN, i, g))
    return show("hidden", o * cell_BN.tanh()), cell_BN
