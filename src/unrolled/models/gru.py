"""The gated recurrent unit, in torch.nn's variant (the reset gate acts after the recurrent product).

    r_t = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)            reset gate
    z_t = sigmoid(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)            update gate
    n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_(t-1) + b_hn))       candidate
    h_t = (1 - z_t) * n_t + z_t * h_(t-1)

Units, in this order: `reset_gate` (r), `update_gate` (z), `candidate` (n), `hidden` (h). State: h.
Gates are stacked r, z, n in the weights. Source: Cho et al. 2014, arXiv 1406.1078. Equal to torch.nn.GRU.

Knows nothing about other families. Shapes: B batch, T time, D width, N = D units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import gru, gru_with_gates, steps
from unrolled.models.recurrent import RecurrentLayer, Units, show
from unrolled.models.sequence_model import Layer, LayerConfig, Operation, State, Tap


@dataclass(frozen=True, kw_only=True)
class GRUConfig(LayerConfig):
    """A GRU layer needs no options: it has as many units as the stack is wide."""

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return the one branch of the layer."""
        return (GRU(width),)


class GRU(RecurrentLayer):
    """One GRU layer."""

    gates = 3
    state_names = ("hidden",)

    @property
    def units(self) -> Mapping[str, int]:
        """The gates, the candidate and the hidden units."""
        return dict.fromkeys(("reset_gate", "update_gate", "candidate", "hidden"), self.width)

    def run(self, x: Tensor, state: State, tokens_BT: Tensor | None) -> tuple[Tensor, State]:
        """Return all hidden states and the last state."""
        hidden_BTN, last = gru(x, state["hidden"], self.weights, tokens_BT)
        return hidden_BTN, {"hidden": last}

    def run_watched(self, x: Tensor, state: State, tokens_BT: Tensor | None) -> tuple[Tensor, State, Units]:
        """Return all hidden states, the last state and, where the kernel keeps them, the gates."""
        hidden_BTN, last, kept = gru_with_gates(x, state["hidden"], self.weights, tokens_BT)
        return hidden_BTN, {"hidden": last}, dict(zip(self.units, kept, strict=False))

    def chain(self) -> Sequence[Operation]:
        """Return one step as operations."""
        return (steps.gru(self.weights),)

    def step(self, input_BG: Tensor, state: State, tap: Tap) -> State:
        """Return the state after one step."""
        r_in, z_in, n_in = input_BG.chunk(3, dim=-1)
        r_re, z_re, n_re = F.linear(state["hidden"], self.weight_hh, self.bias_hh).chunk(3, dim=-1)
        r = show(tap, "reset_gate", (r_in + r_re).sigmoid())
        z = show(tap, "update_gate", (z_in + z_re).sigmoid())
        n = show(tap, "candidate", (n_in + r * n_re).tanh())
        return {"hidden": show(tap, "hidden", (1 - z) * n + z * state["hidden"])}

    def reveal(self, inputs_BTG: Tensor, recurrent_BTG: Tensor, state: State) -> Units:  # noqa: ARG002
        """Return the gates over time."""
        r_in, z_in, n_in = inputs_BTG.chunk(3, dim=-1)
        r_re, z_re, n_re = recurrent_BTG.chunk(3, dim=-1)
        r, z = (r_in + r_re).sigmoid(), (z_in + z_re).sigmoid()
        return {"reset_gate": r, "update_gate": z, "candidate": (n_in + r * n_re).tanh()}
