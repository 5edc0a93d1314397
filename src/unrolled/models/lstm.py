"""The long short-term memory.

    i_t = sigmoid(W_ii x_t + b_ii + W_hi h_(t-1) + b_hi)            input gate
    f_t = sigmoid(W_if x_t + b_if + W_hf h_(t-1) + b_hf)            forget gate
    g_t = tanh   (W_ig x_t + b_ig + W_hg h_(t-1) + b_hg)            candidate
    o_t = sigmoid(W_io x_t + b_io + W_ho h_(t-1) + b_ho)            output gate
    c_t = f_t * c_(t-1) + i_t * g_t                                 cell
    h_t = o_t * tanh(c_t)                                           hidden

Units, in this order: `input_gate` (i), `forget_gate` (f), `candidate` (g), `output_gate` (o), `cell` (c),
`hidden` (h). State: h and c. Gates are stacked i, f, g, o in the weights.
Source: Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber and Cummins 2000. Equal to torch.nn.LSTM.

Knows nothing about other families. Shapes: B batch, T time, D width, N = D units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.errors import ConfigError
from unrolled.kernels import linear_scan, lstm, lstm_with_gates, steps
from unrolled.models.recurrent import RecurrentLayer, Units, show
from unrolled.models.sequence_model import Layer, LayerConfig, Operation, State, Tap


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(LayerConfig):
    """`forget_bias` is where the forget gates start (Jozefowicz et al. 2015: 1 lets memory last at first)."""

    forget_bias: float = 1.0

    def __post_init__(self) -> None:
        if not -100.0 <= self.forget_bias <= 100.0:
            raise ConfigError(
                expected="a forget_bias from -100 to 100", received=str(self.forget_bias), remedy="1 is usual"
            )

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return the one branch of the layer."""
        return (LSTM(width, self.forget_bias),)


class LSTM(RecurrentLayer):
    """One LSTM layer."""

    gates = 4
    state_names = ("hidden", "cell")

    def __init__(self, width: int, forget_bias: float = 1.0) -> None:
        super().__init__(width)
        with torch.no_grad():
            self.bias_ih[width : 2 * width] = forget_bias
            self.bias_hh[width : 2 * width] = 0.0

    @property
    def units(self) -> Mapping[str, int]:
        """The gates, the candidate, the cells and the hidden units."""
        names = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")
        return dict.fromkeys(names, self.width)

    def run(self, x: Tensor, state: State, tokens_BT: Tensor | None) -> tuple[Tensor, State]:
        """Return all hidden states and the last state."""
        hidden_BTN, hidden, cell = lstm(x, state["hidden"], state["cell"], self.weights, tokens_BT)
        return hidden_BTN, {"hidden": hidden, "cell": cell}

    def run_watched(self, x: Tensor, state: State, tokens_BT: Tensor | None) -> tuple[Tensor, State, Units]:
        """Return all hidden states, the last state and, where the kernel keeps them, gates and cells."""
        hidden_BTN, hidden, cell, kept = lstm_with_gates(x, state["hidden"], state["cell"], self.weights, tokens_BT)
        return hidden_BTN, {"hidden": hidden, "cell": cell}, dict(zip(self.units, kept, strict=False))

    def chain(self) -> Sequence[Operation]:
        """Return one step as operations."""
        return (steps.lstm(self.weights),)

    def step(self, input_BG: Tensor, state: State, tap: Tap) -> State:
        """Return the state after one step."""
        pre_BG = input_BG + F.linear(state["hidden"], self.weight_hh, self.bias_hh)
        i, f, g, o = pre_BG.chunk(4, dim=-1)
        i = show(tap, "input_gate", i.sigmoid())
        f = show(tap, "forget_gate", f.sigmoid())
        g = show(tap, "candidate", g.tanh())
        o = show(tap, "output_gate", o.sigmoid())
        cell = show(tap, "cell", f * state["cell"] + i * g)
        return {"hidden": show(tap, "hidden", o * cell.tanh()), "cell": cell}

    def reveal(self, inputs_BTG: Tensor, recurrent_BTG: Tensor, state: State) -> Units:
        """Return gates and cells over time; the cells follow from the gates by a linear scan."""
        i, f, g, o = (inputs_BTG + recurrent_BTG).chunk(4, dim=-1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        cell = linear_scan(f, i * g, state["cell"])
        return {"input_gate": i, "forget_gate": f, "candidate": g, "output_gate": o, "cell": cell}
