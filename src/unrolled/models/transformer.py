"""The Transformer with a bounded sliding window and rotary positions; two residual branches per layer.

    attention:  y_t = W_o concat_h sum_(t-W < j <= t) softmax_j(<R_t q_t, R_j k_j> / sqrt(K)) v_j     per head h
    MLP:        y_t = W_2 gelu(W_1 x_t + b_1) + b_2

Rotary positions R turn queries and keys by angles that grow with time, so that products depend on t - j alone; keys
are kept unturned and positions are counted from the window's start, which makes a text of any length exact.
Units, in this order: `attention` (the heads' outputs, head after head), `mlp` (after the gelu). State: the last W - 1
keys and values, and how many of them are real. Sources: Vaswani et al. 2017; rotary: Su et al. 2021, arXiv
2104.09864; RMSNorm (the stack's): Zhang and Sennrich 2019; carried window: Dai et al. 2019, arXiv 1901.02860.

Knows nothing about other families. Shapes: B batch, T time, D width, H heads, K head width, W window, S = W - 1 + T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ConfigError
from unrolled.kernels import ROTARY_BASE, gelu_mlp, rotary_attention, steps
from unrolled.models.sequence_model import Layer, LayerConfig, Operation, State, Tap, no_memory, untouched


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(LayerConfig):
    """`heads` is H; `window` is W, the current character included; `expansion` is MLP units per width."""

    heads: int = 4
    window: int = 128
    expansion: float = 4.0

    def __post_init__(self) -> None:
        if not (1 <= self.heads <= 256 and 1 <= self.window <= 65536 and 0 < self.expansion <= 64):
            raise ConfigError(
                expected="heads of 1 to 256, a window of 1 to 65536, an expansion in (0, 64]",
                received=f"heads {self.heads}, window {self.window}, expansion {self.expansion}",
                remedy="change them",
            )

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return attention and MLP, each a residual branch of its own."""
        return Attention(width, self.heads, self.window), MLP(width, max(1, round(self.expansion * width)))


class Attention(Layer):
    """Causal attention over the last W characters; the head width is even and near D / H."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.head_width = max(2, 2 * round(width / heads / 2))
        inner = heads * self.head_width
        self.query_key_value = nn.Linear(width, 3 * inner)
        self.output = nn.Linear(inner, width)

    @property
    def units(self) -> Mapping[str, int]:
        """The heads' outputs."""
        return {"attention": self.heads * self.head_width}

    def initial_state(self, batch: int) -> State:
        """Return an empty window."""
        weight = self.query_key_value.weight
        shape = (self.heads, self.window - 1, self.head_width)
        return {
            "keys": no_memory(batch, *shape, like=weight),
            "values": no_memory(batch, *shape, like=weight),
            "filled": torch.zeros(batch, dtype=torch.int64, device=weight.device),
        }

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Attend from each step to the window that ends there, all steps in parallel."""
        batch, time, _ = x_BTD.shape
        heads_BT3HK = self.query_key_value(x_BTD).view(batch, time, 3, self.heads, self.head_width)
        mixed_BTN = rotary_attention(heads_BT3HK, state["keys"], state["values"], state["filled"])
        if tap.watches("attention"):
            mixed_BTN = tap("attention", mixed_BTN)
        after = {
            "keys": _remembered(state["keys"], heads_BT3HK[:, :, 1].transpose(1, 2)),
            "values": _remembered(state["values"], heads_BT3HK[:, :, 2].transpose(1, 2)),
            "filled": (state["filled"] + time).clamp(max=self.window - 1),
        }
        return self.output(mixed_BTN), after

    def chain(self) -> Sequence[Operation]:
        """Return one step as operations."""
        distances = torch.arange(self.window, dtype=torch.float64)
        frequencies = ROTARY_BASE ** -(torch.arange(0, self.head_width, 2, dtype=torch.float64) / self.head_width)
        angles_WK = torch.outer(distances, frequencies)
        return (
            steps.linear(self.query_key_value.weight, self.query_key_value.bias),
            steps.Attend(heads=self.heads, width=self.head_width, window=self.window, angles_WK=angles_WK),
            steps.linear(self.output.weight, self.output.bias),
        )


def _remembered(past_BHPK: Tensor, new_BHTK: Tensor) -> Tensor:
    """Return the last P steps of the past and the new ones."""
    past, time = past_BHPK.shape[2], new_BHTK.shape[2]
    if time < past:
        return torch.cat([past_BHPK[:, :, time:], new_BHTK.to(past_BHPK.dtype)], dim=2)
    # A copy in any case: a view would keep the queries and everything else of these steps.
    return new_BHTK[:, :, time - past :].to(past_BHPK.dtype, memory_format=torch.contiguous_format, copy=True)


class MLP(Layer):
    """The two-layer network that follows attention; it has no memory."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    @property
    def units(self) -> Mapping[str, int]:
        """The hidden units, after the gelu."""
        return {"mlp": self.hidden}

    def initial_state(self, batch: int) -> State:  # noqa: ARG002
        """Return nothing: there is no memory."""
        return {}

    def forward(
        self,
        x_BTD: Float[Tensor, "B T D"],
        state: State,  # noqa: ARG002
        tap: Tap = untouched,
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Transform each step by itself."""
        if tap.edits("mlp"):
            return self.down(tap("mlp", F.gelu(self.up(x_BTD)))), {}
        up, down, watched = self.up, self.down, tap.watches("mlp")
        y_BTD, hidden_BTN = gelu_mlp(x_BTD, up.weight, up.bias, down.weight, down.bias, shown=watched)
        if hidden_BTN is not None:
            tap("mlp", hidden_BTN)
        return y_BTD, {}

    def chain(self) -> Sequence[Operation]:
        """Return one step as operations."""
        return (
            steps.linear(self.up.weight, self.up.bias, "gelu"),
            steps.linear(self.down.weight, self.down.bias),
        )
