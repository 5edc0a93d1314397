"""The gated dilated convolution of WaveNet.

    f_t = tanh   (b_f + sum_j W_fj x_(t - (K-1-j) d))               filter
    g_t = sigmoid(b_g + sum_j W_gj x_(t - (K-1-j) d))               gate
    y_t = W_o (f_t * g_t) + b_o                                     channel is f_t * g_t

with dilation d = 2^(layer index mod cycle). Units, in this order: `filter` (f), `gate` (g), `channel` (f * g).
State: the last (K-1) d inputs. Source: van den Oord et al. 2016, arXiv 1609.03499, equation 2. Its skip connections
from every layer to the output are what the stack's residual stream is.

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
class WaveNetConfig(LayerConfig):
    """`kernel` is K; the dilation starts again at 1 after `cycle` layers."""

    kernel: int = 2
    cycle: int = 10

    def __post_init__(self) -> None:
        refuse_bad_reach(self.kernel, self.cycle)

    def build(self, width: int, index: int) -> tuple[Layer, ...]:
        """Return the one branch of the layer, its dilation by its index."""
        return (WaveNet(width, self.kernel, dilation_of(index, self.cycle)),)


class WaveNet(Layer):
    """One WaveNet layer."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.width, self.kernel, self.dilation = width, kernel, dilation
        self.weight = convolution_weight(2 * width, kernel, width)
        self.bias = nn.Parameter(torch.zeros(2 * width))
        self.output = nn.Linear(width, width)

    @property
    def units(self) -> Mapping[str, int]:
        """The filters, the gates and their product."""
        return dict.fromkeys(("filter", "gate", "channel"), self.width)

    def initial_state(self, batch: int) -> State:
        """Return a past of zeros: what a causal convolution's left padding is."""
        return {"past": no_memory(batch, (self.kernel - 1) * self.dilation, self.width, like=self.weight)}

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Convolve and gate, all steps in parallel."""
        both_BTG, past = dilated_causal_convolution(x_BTD, state["past"], self.weight, self.bias, self.dilation)
        filter_BTD, gate_BTD = both_BTG.chunk(2, dim=-1)
        filter_BTD, gate_BTD = filter_BTD.tanh(), gate_BTD.sigmoid()
        if tap.watches("filter"):
            filter_BTD = tap("filter", filter_BTD)
        if tap.watches("gate"):
            gate_BTD = tap("gate", gate_BTD)
        channel_BTD = filter_BTD * gate_BTD
        if tap.watches("channel"):
            channel_BTD = tap("channel", channel_BTD)
        return self.output(channel_BTD), {"past": past}

    def chain(self) -> Sequence[Operation]:
        """Return one step as operations."""
        return (
            steps.Past(width=self.width, kernel=self.kernel, dilation=self.dilation),
            steps.gated(self.weight, self.bias),
            steps.linear(self.output.weight, self.output.bias),
        )
