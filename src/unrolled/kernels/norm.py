"""RMSNorm: y = x / sqrt(mean(x^2) + eps) * gain, over the last axis.

Knows nothing about layers. Source: Zhang and Sennrich 2019, arXiv 1910.07467. In bfloat16 on a CPU (under autocast) a
compiled kernel reads float32 once and writes the bfloat16 that the next matrix product wants.

Shapes: B batch, T time, D width.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import native

EPSILON = 1e-6
BLOCK = 16


def rms_norm(x_BTD: Float[Tensor, "*batch D"], gain_D: Float[Tensor, "D"]) -> Float[Tensor, "*batch D"]:
    """Return every vector divided by its root mean square and multiplied by the gain."""
    if (
        native.in_bfloat16(x_BTD)
        and x_BTD.dtype == torch.float32
        and x_BTD.shape[-1] % BLOCK == 0
        and native.library() is not None
    ):
        if x_BTD.dim() == 3 and x_BTD.stride(0) < x_BTD.stride(1):
            # Time is the outer axis in memory: rows are rows, and the result lies the same way.
            return _RMSNorm.apply(x_BTD.transpose(0, 1).contiguous(), gain_D).transpose(0, 1)
        return _RMSNorm.apply(x_BTD.contiguous(), gain_D)
    return F.rms_norm(x_BTD, gain_D.shape, gain_D, EPSILON)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, gain_D: Tensor) -> Tensor:
        width = x_BTD.shape[-1]
        y_BTD = torch.empty_like(x_BTD, dtype=torch.bfloat16)
        scales = torch.empty(x_BTD.numel() // width)
        native.call("rms_norm_forward", len(scales), width, x_BTD, gain_D, y_BTD, scales)
        ctx.save_for_backward(x_BTD, gain_D, scales)
        return y_BTD

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor]:
        x_BTD, gain_D, scales = ctx.saved_tensors
        grad_BTD, partial = torch.empty_like(x_BTD), torch.empty(torch.get_num_threads(), x_BTD.shape[-1])
        ready = above[0].to(torch.bfloat16).contiguous()
        native.call("rms_norm_backward", len(scales), x_BTD.shape[-1], x_BTD, gain_D, scales, ready, grad_BTD, partial)
        return grad_BTD, partial.sum(0)
