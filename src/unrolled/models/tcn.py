"""The temporal convolutional network: two dilated causal convolutions per layer.

    a_t = relu(b_1 + sum_j W_1j x_(t - (K-1-j) d))                  inner
    y_t = relu(b_2 + sum_j W_2j a_(t - (K-1-j) d))                  channel

with dilation d = 2^(layer index mod cycle). Units: `inner` (a), `channel` (y). State: the last (K-1) d inputs of
both convolutions. Source: Bai, Kolter and Koltun 2018, arXiv 1803.01271, figure 1; the stack's pre-norm stands where
they had weight normalisation, and its residual connection is theirs.

Knows nothing about other families. Shapes: B batch, T time, D width, K kernel, P = (K-1) d steps of the past.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolled.kernels import dilated_causal_convolution, steps
from unrolled.models.convolution import convolution_weight, dilation_of, refuse_bad_reach
from unrolled.models.sequence_model import Layer, LayerConfig, Operation, State, Tap, no_memory, untouched


@dataclass(frozen=True, kw_only=True)
class TCNConfig(LayerConfig):
    """`kernel` is K; the dilation starts again at 1 after `cycle` layers."""

    kernel: int = 3
    cycle: int = 8

    def __post_init__(self) -> None:
        refuse_bad_reach(self.kernel, self.cycle)

    def build(self, width: int, index: int) -> tuple[Layer, ...]:
        """Return the one branch of the layer, its dilation by its index."""
        return (TCN(width, self.kernel, dilation_of(index, self.cycle)),)


class TCN(Layer):
    """One TCN layer."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.width, self.kernel, self.dilation = width, kernel, dilation
        self.inner_weight = convolution_weight(width, kernel, width)
        self.inner_bias = nn.Parameter(torch.zeros(width))
        self.channel_weight = convolution_weight(width, kernel, width)
        self.channel_bias = nn.Parameter(torch.zeros(width))

    @property
    def units(self) -> Mapping[str, int]:
        """The channels of both convolutions."""
        return {"inner": self.width, "channel": self.width}

    def initial_state(self, batch: int) -> State:
        """Return a past of zeros: what a causal convolution's left padding is."""
        past = (self.kernel - 1) * self.dilation
        return {
            "past": no_memory(batch, past, self.width, like=self.inner_weight),
            "inner_past": no_memory(batch, past, self.width, like=self.inner_weight),
        }

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Convolve twice, all steps in parallel."""
        a_BTD, past = dilated_causal_convolution(
            x_BTD, state["past"], self.inner_weight, self.inner_bias, self.dilation
        )
        a_BTD = a_BTD.relu()
        if tap.watches("inner"):
            a_BTD = tap("inner", a_BTD)
        y_BTD, inner_past = dilated_causal_convolution(
            a_BTD, state["inner_past"], self.channel_weight, self.channel_bias, self.dilation
        )
        y_BTD = y_BTD.relu()
        if tap.watches("channel"):
            y_BTD = tap("channel", y_BTD)
        return y_BTD, {"past": past, "inner_past": inner_past}

    def chain(self) -> Sequence[Operation]:
        """Return one step as operations."""
        reach = {"width": self.width, "kernel": self.kernel, "dilation": self.dilation}
        return (
            steps.Past(**reach),
            steps.linear(self.inner_weight, self.inner_bias, "relu"),
            steps.Past(**reach, states=("inner_past",)),
            steps.linear(self.channel_weight, self.channel_bias, "relu"),
        )
