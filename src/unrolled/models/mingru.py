"""The minimal GRU: its gates depend on the input only, so that all of time is one parallel scan.

    z_t = sigmoid(W_z x_t + b_z)                                    update gate
    n_t = W_n x_t + b_n                                             candidate
    h_t = a_t * h_(t-1) + z_t * n_t       with  a_t = 1 - z_t       gate range (0, 1), the published one
                                          or    a_t = 1 - 2 z_t     gate range (-1, 1)
    y_t = W_o h_t + b_o

Units, in this order: `update_gate` (z), `candidate` (n), `hidden` (h). State: h.
Source: Feng et al. 2024, "Were RNNs all we needed?", arXiv 2410.01201; the range (-1, 1), without which a network
whose gates see no state cannot track parity: Grazzi et al. 2025, arXiv 2411.12537 (the coefficient 2a - 1, the input
term as it was). The state may start anywhere between short and long memory: b_z is drawn from [-4, 0].

Knows nothing about other families. Shapes: B batch, T time, D width, N = expansion * D units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolled.errors import ConfigError
from unrolled.kernels import linear_scan, steps
from unrolled.models.sequence_model import Layer, LayerConfig, Operation, State, Tap, no_memory, untouched


@dataclass(frozen=True, kw_only=True)
class MinGRUConfig(LayerConfig):
    """`negative` lets the coefficient of the state lie in (-1, 1); `expansion` is units per width."""

    negative: bool = False
    expansion: float = 1.5

    def __post_init__(self) -> None:
        if not 0 < self.expansion <= 16:
            raise ConfigError(expected="an expansion in (0, 16]", received=str(self.expansion), remedy="change it")

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return the one branch of the layer."""
        return (MinGRU(width, max(1, round(self.expansion * width)), self.negative),)


class MinGRU(Layer):
    """One minimal GRU layer."""

    def __init__(self, width: int, hidden: int, negative: bool) -> None:
        super().__init__()
        self.hidden, self.negative = hidden, negative
        self.gate = nn.Linear(width, hidden)
        self.candidate = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, width)
        nn.init.uniform_(self.gate.bias, -4.0, 0.0)

    @property
    def units(self) -> Mapping[str, int]:
        """The gates, the candidates and the hidden units."""
        return dict.fromkeys(("update_gate", "candidate", "hidden"), self.hidden)

    def initial_state(self, batch: int) -> State:
        """Return zeros."""
        return {"hidden": no_memory(batch, self.hidden, like=self.gate.weight)}

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Scan all steps in parallel, or, where a tap edits the hidden units, one at a time."""
        z_BTN, n_BTN = self.gate(x_BTD).sigmoid(), self.candidate(x_BTD)
        if tap.watches("update_gate"):
            z_BTN = tap("update_gate", z_BTN)
        if tap.watches("candidate"):
            n_BTN = tap("candidate", n_BTN)
        # The sum over time stays in the state's precision, whatever the matrix products used.
        z_BTN, n_BTN = z_BTN.to(state["hidden"].dtype), n_BTN.to(state["hidden"].dtype)
        keep_BTN = 1 - (2 * z_BTN if self.negative else z_BTN)
        if tap.edits("hidden"):
            hidden_BTN = _edited_scan(keep_BTN, z_BTN * n_BTN, state["hidden"], tap)
        else:
            hidden_BTN = linear_scan(keep_BTN, z_BTN * n_BTN, state["hidden"])
            if tap.watches("hidden"):
                tap("hidden", hidden_BTN)
        return self.output(hidden_BTN), {"hidden": hidden_BTN[:, -1]}

    def chain(self) -> Sequence[Operation]:
        """Return one step as operations."""
        weight = torch.cat([self.gate.weight, self.candidate.weight])
        bias = torch.cat([self.gate.bias, self.candidate.bias])
        return (
            steps.scan(weight, bias, negative=self.negative),
            steps.linear(self.output.weight, self.output.bias),
        )


def _edited_scan(keep_BTN: Tensor, add_BTN: Tensor, hidden_BN: Tensor, tap: Tap) -> Tensor:
    all_hidden: list[Tensor] = []
    for t in range(keep_BTN.shape[1]):
        hidden_BN = tap("hidden", (keep_BTN[:, t] * hidden_BN + add_BTN[:, t])[:, None])[:, 0]
        all_hidden.append(hidden_BN)
    return torch.stack(all_hidden, dim=1)
