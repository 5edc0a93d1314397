"""Dilated causal convolution over time as one matrix product.

Knows nothing about layers: the caller hands over what came before the first step.

y_t = bias + sum_j W_j x_(t - (K-1-j) * dilation), for kernel positions j = 0 .. K-1 (the last one is "now").
Source: Bai, Kolter and Koltun 2018, arXiv 1803.01271, equation 2.

Shapes: B batch, T time, D inputs, N outputs, K kernel size, P = (K-1) * dilation steps of the past.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def dilated_causal_convolution(
    x_BTD: Float[Tensor, "B T D"],
    past_BPD: Float[Tensor, "B P D"],
    weight_NKD: Float[Tensor, "N K D"],
    bias_N: Float[Tensor, "N"],
    dilation: int,
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B P D"]]:
    """Convolve the new steps after the past ones; return the outputs and the past of the next call."""
    time, kernel = x_BTD.shape[1], weight_NKD.shape[1]
    seen = torch.cat([past_BPD, x_BTD], dim=1)
    taken = torch.cat([seen[:, j * dilation : j * dilation + time] for j in range(kernel)], dim=2)
    return F.linear(taken, weight_NKD.flatten(1), bias_N), seen[:, seen.shape[1] - past_BPD.shape[1] :]
