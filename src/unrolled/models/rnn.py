"""The Elman network.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)

Units: `hidden` (h). State: h. Source: Elman 1990, "Finding structure in time". Equal to torch.nn.RNN.

Knows nothing about other families. Shapes: B batch, T time, D width, N = D units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import elman, steps
from unrolled.models.recurrent import RecurrentLayer, Units, show
from unrolled.models.sequence_model import Layer, LayerConfig, Operation, State, Tap


@dataclass(frozen=True, kw_only=True)
class RNNConfig(LayerConfig):
    """An Elman layer needs no options: it has as many units as the stack is wide."""

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return the one branch of the layer."""
        return (RNN(width),)


class RNN(RecurrentLayer):
    """One Elman layer."""

    gates = 1
    state_names = ("hidden",)

    @property
    def units(self) -> Mapping[str, int]:
        """The hidden units."""
        return {"hidden": self.width}

    def run(self, x: Tensor, state: State, tokens_BT: Tensor | None) -> tuple[Tensor, State]:
        """Return all hidden states and the last state."""
        hidden_BTN, last = elman(x, state["hidden"], self.weights, tokens_BT)
        return hidden_BTN, {"hidden": last}

    def chain(self) -> Sequence[Operation]:
        """Return one step as operations."""
        return (steps.elman(self.weights),)

    def step(self, input_BG: Tensor, state: State, tap: Tap) -> State:
        """Return the state after one step."""
        pre_BN = input_BG + F.linear(state["hidden"], self.weight_hh, self.bias_hh)
        return {"hidden": show(tap, "hidden", pre_BN.tanh())}

    def reveal(self, inputs_BTG: Tensor, recurrent_BTG: Tensor, state: State) -> Units:  # noqa: ARG002
        """Return nothing: there are no units but the hidden ones."""
        return {}
