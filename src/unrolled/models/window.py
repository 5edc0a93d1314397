"""The fixed-window network: a multilayer perceptron over the last W inputs, and nothing else.

    h_t = tanh(b + sum_j W_j x_(t - (W-1-j))),  j = 0 .. W-1                    hidden
    y_t = V h_t + c

It takes a fixed number of steps for every output and has no memory but its inputs: what stood more than W - 1 steps ago
cannot matter (with L such layers, L (W - 1) steps). What the other families can do beyond that is what their state is
worth. Units: `hidden` (h). State: the last W - 1 inputs. Source: Bengio et al. 2003, "A neural probabilistic language
model"; their direct connections from the inputs to the output are what the stack's residual stream is, for the last
input.

Knows nothing about other families. Shapes: B batch, T time, D width, N = expansion * D units.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolled.errors import ConfigError
from unrolled.kernels import dilated_causal_convolution
from unrolled.models.convolution import convolution_weight
from unrolled.models.sequence_model import Layer, LayerConfig, State, Tap, no_memory, untouched


@dataclass(frozen=True, kw_only=True)
class WindowConfig(LayerConfig):
    """`window` is how many inputs are seen, the present one included; `expansion` is hidden units per width."""

    window: int = 16
    expansion: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 1024:
            raise ConfigError(expected="a window of 1 to 1024", received=str(self.window), remedy="change it")
        if not 0 < self.expansion <= 16:
            raise ConfigError(expected="an expansion in (0, 16]", received=str(self.expansion), remedy="change it")

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return the one branch of the layer."""
        return (Window(width, self.window, max(1, round(self.expansion * width))),)


class Window(Layer):
    """One fixed-window layer."""

    def __init__(self, width: int, window: int, hidden: int) -> None:
        super().__init__()
        self.width, self.window, self.hidden = width, window, hidden
        self.weight = convolution_weight(hidden, window, width)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.output = nn.Linear(hidden, width)

    @property
    def units(self) -> Mapping[str, int]:
        """The hidden units."""
        return {"hidden": self.hidden}

    def initial_state(self, batch: int) -> State:
        """Return a past of zeros."""
        return {"past": no_memory(batch, self.window - 1, self.width, like=self.weight)}

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """See all windows in parallel."""
        hidden_BTN, past = dilated_causal_convolution(x_BTD, state["past"], self.weight, self.bias, 1)
        hidden_BTN = hidden_BTN.tanh()
        if tap.watches("hidden"):
            hidden_BTN = tap("hidden", hidden_BTN)
        return self.output(hidden_BTN), {"past": past}
