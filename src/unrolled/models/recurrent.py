"""What the three classic recurrent layers share: their weights, and one step-by-step loop for editing taps.

Knows nothing about any one of their equations: each family gives its own.

Shapes: B batch, T time, D inputs, N units, G gates.
"""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unrolled.kernels import Weights
from unrolled.models.sequence_model import Layer, State, Tap, no_memory, untouched

Units = Mapping[str, Tensor]
"""Groups of units over time, (B, T, N) each."""


class RecurrentLayer(Layer):
    """A layer of N = D units whose next state depends on its last one through a full matrix.

    Parameters carry torch.nn's names and layout (`weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, gates stacked),
    so that weights can be copied to and from `nn.RNN`, `nn.GRU` and `nn.LSTM`.
    """

    gates: int
    state_names: tuple[str, ...]
    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    bias_ih: nn.Parameter
    bias_hh: nn.Parameter

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        bound = width**-0.5
        for name, shape in (
            ("weight_ih", (self.gates * width, width)),
            ("weight_hh", (self.gates * width, width)),
            ("bias_ih", (self.gates * width,)),
            ("bias_hh", (self.gates * width,)),
        ):
            self.register_parameter(name, nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))

    @property
    def weights(self) -> Weights:
        """The four parameters in the order of torch.nn."""
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def initial_state(self, batch: int) -> State:
        """Return zeros for every state."""
        return {name: no_memory(batch, self.width, like=self.weight_hh) for name in self.state_names}

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T N"], State]:
        """Run the fast kernel, or, where a tap edits, one step at a time."""
        if any(tap.edits(name) for name in self.units):
            return self._step_by_step(x_BTD, state, tap)
        return self._at_once(x_BTD, state, None, tap)

    time_major = True
    reads_rows = True

    def read_rows(
        self, table_VD: Float[Tensor, "V D"], tokens_BT: Int[Tensor, "B T"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Multiply each row of the table once instead of once per step, where no tap edits."""
        if any(tap.edits(name) for name in self.units):
            return self(table_VD[tokens_BT], state, tap)
        return self._at_once(table_VD, state, tokens_BT, tap)

    @abstractmethod
    def run(self, x: Tensor, state: State, tokens_BT: Tensor | None) -> tuple[Tensor, State]:
        """Return all hidden states and the last state, by the fast kernel; with tokens, `x` is a table of inputs."""

    def run_watched(self, x: Tensor, state: State, tokens_BT: Tensor | None) -> tuple[Tensor, State, Units]:
        """Do what `run` does; return the other groups of units over time, too, or none if the kernel keeps none."""
        return *self.run(x, state, tokens_BT), {}

    @abstractmethod
    def step(self, input_BG: Tensor, state: State, tap: Tap) -> State:
        """Return the state after one step; `input_BG` is W_ih x + b_ih. Every unit goes through `show`."""

    @abstractmethod
    def reveal(self, inputs_BTG: Tensor, recurrent_BTG: Tensor, state: State) -> Units:
        """Return every group of units but the hidden ones over time, from their inputs: W_ih x + b_ih, W_hh h + b_hh.

        This is for kernels that keep none. It doubles what reading costs, at the least.
        """

    def _at_once(self, x: Tensor, state: State, tokens_BT: Tensor | None, tap: Tap) -> tuple[Tensor, State]:
        """Run the fast kernel and show what a tap watches; with tokens, `x` is a table of inputs."""
        watched = [name for name in self.units if tap.watches(name)]
        kept: Units = {}
        if watched in ([], ["hidden"]):
            hidden_BTN, after = self.run(x, state, tokens_BT)
        else:
            hidden_BTN, after, kept = self.run_watched(x, state, tokens_BT)
            kept = kept or self._revealed(x, state, tokens_BT, hidden_BTN)
        for name in watched:
            tap(name, hidden_BTN if name == "hidden" else kept[name])
        return hidden_BTN, {name: value.to(state[name].dtype) for name, value in after.items()}

    def _revealed(self, x: Tensor, state: State, tokens_BT: Tensor | None, hidden_BTN: Tensor) -> Units:
        inputs_BTG = nn.functional.linear(x, self.weight_ih, self.bias_ih)
        if tokens_BT is not None:
            inputs_BTG = inputs_BTG[tokens_BT]
        before_BTN = torch.cat([state["hidden"][:, None].to(hidden_BTN.dtype), hidden_BTN[:, :-1]], dim=1)
        recurrent_BTG = nn.functional.linear(before_BTN, self.weight_hh, self.bias_hh)
        # Cells are sums of many gates, and would drift if those were rounded to bfloat16.
        dtype = state["hidden"].dtype
        return self.reveal(inputs_BTG.to(dtype), recurrent_BTG.to(dtype), state)

    def _step_by_step(self, x_BTD: Tensor, state: State, tap: Tap) -> tuple[Tensor, State]:
        inputs_BTG = nn.functional.linear(x_BTD, self.weight_ih, self.bias_ih)
        hidden: list[Tensor] = []
        for t in range(x_BTD.shape[1]):
            state = self.step(inputs_BTG[:, t], state, tap)
            hidden.append(state["hidden"])
        return torch.stack(hidden, dim=1), state


def show(tap: Tap, name: str, value_BN: Tensor) -> Tensor:
    """Show one step of a group of units to a tap and return the values to use."""
    return tap(name, value_BN[:, None])[:, 0] if tap.watches(name) else value_BN
