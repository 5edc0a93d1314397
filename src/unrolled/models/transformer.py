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

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ConfigError
from unrolled.kernels import windowed_attention
from unrolled.models.sequence_model import Layer, LayerConfig, State, Tap, no_memory, untouched

ROTARY_BASE = 10_000.0


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
        past = self.window - 1
        heads_3BHTK = self.query_key_value(x_BTD).view(batch, time, 3, self.heads, self.head_width)
        query, new_keys, new_values = heads_3BHTK.permute(2, 0, 3, 1, 4)
        keys = torch.cat([state["keys"].to(new_keys.dtype), new_keys], dim=2)
        values = torch.cat([state["values"].to(new_values.dtype), new_values], dim=2)
        mixed_BHTK = windowed_attention(
            self._turn(query, past), self._turn(keys, 0), values, state["filled"], self.window
        )
        mixed_BTN = mixed_BHTK.transpose(1, 2).reshape(batch, time, -1)
        if tap.watches("attention"):
            mixed_BTN = tap("attention", mixed_BTN)
        after = {
            "keys": keys[:, :, time:].to(state["keys"].dtype),
            "values": values[:, :, time:].to(state["values"].dtype),
            "filled": (state["filled"] + time).clamp(max=past),
        }
        return self.output(mixed_BTN), after

    def _turn(self, heads_BHTK: Tensor, start: int) -> Tensor:
        """Rotate each pair of numbers (k, k + K/2) by the angle of its position, counted from `start`."""
        # Positions stay below W + T, so float32 angles are exact enough for every model that is not float64 itself.
        kind = {"device": heads_BHTK.device, "dtype": torch.promote_types(heads_BHTK.dtype, torch.float32)}
        positions = torch.arange(start, start + heads_BHTK.shape[2], **kind)
        frequencies = ROTARY_BASE ** -(torch.arange(0, self.head_width, 2, **kind) / self.head_width)
        angles = torch.outer(positions, frequencies)
        cosine, sine = angles.cos().to(heads_BHTK.dtype), angles.sin().to(heads_BHTK.dtype)
        first, second = heads_BHTK.chunk(2, dim=-1)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


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
        hidden_BTN = F.gelu(self.up(x_BTD))
        if tap.watches("mlp"):
            hidden_BTN = tap("mlp", hidden_BTN)
        return self.down(hidden_BTN), {}
