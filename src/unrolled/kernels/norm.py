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
NOTHING = torch.empty(0)
"""Handed to a kernel as a null pointer."""


def rms_norm(x_BTD: Float[Tensor, "*batch D"], gain_D: Float[Tensor, "D"]) -> Float[Tensor, "*batch D"]:
    """Return every vector divided by its root mean square and multiplied by the gain."""
    if _compiled(x_BTD):
        if x_BTD.dim() == 3 and x_BTD.stride(0) < x_BTD.stride(1):
            # Time is the outer axis in memory: rows are rows, and the result lies the same way.
            return _RMSNorm.apply(x_BTD.transpose(0, 1).contiguous(), gain_D).transpose(0, 1)
        return _RMSNorm.apply(x_BTD.contiguous(), gain_D)
    return F.rms_norm(x_BTD, gain_D.shape, gain_D, EPSILON)


def add_rms_norm(
    x_BTD: Float[Tensor, "B T D"], y_BTD: Float[Tensor, "B T D"], gain_D: Float[Tensor, "D"]
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T D"]]:
    """Return x + y and `rms_norm` of it: one pass over memory where a bfloat16 y is added to a float32 stream."""
    if not (_compiled(x_BTD) and y_BTD.dtype == torch.bfloat16):
        sum_BTD = x_BTD + y_BTD
        return sum_BTD, rms_norm(sum_BTD, gain_D)
    if x_BTD.stride(0) < x_BTD.stride(1):
        # Time is the outer axis in memory, and stays so.
        sum_TBD, normed_TBD = _AddRMSNorm.apply(x_BTD.transpose(0, 1), y_BTD.transpose(0, 1), gain_D)
        return sum_TBD.transpose(0, 1), normed_TBD.transpose(0, 1)
    return _AddRMSNorm.apply(x_BTD, y_BTD, gain_D)


def _compiled(x_BTD: Tensor) -> bool:
    fits = x_BTD.dtype == torch.float32 and x_BTD.shape[-1] % BLOCK == 0
    return native.in_bfloat16(x_BTD) and fits and native.library() is not None


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


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, gain_D: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        x, y, width = x.contiguous(), y.contiguous(), x.shape[-1]
        total, normed, scales = torch.empty_like(x), torch.empty_like(y), torch.empty(x.numel() // width)
        native.call("add_rms_norm_forward", len(scales), width, x, y, gain_D, total, normed, scales)
        ctx.save_for_backward(total, gain_D, scales)
        return total, normed

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        total, gain_D, scales = ctx.saved_tensors
        if above[1] is None:
            return above[0], None if above[0] is None else above[0].to(torch.bfloat16), None
        # The last sum of a stack is used by nobody but its norm: its gradient is handed over as a null pointer.
        direct = NOTHING if above[0] is None else above[0].contiguous()
        grad_x, grad_y = torch.empty_like(total), torch.empty_like(total, dtype=torch.bfloat16)
        partial = torch.empty(torch.get_num_threads(), total.shape[-1])
        native.call(
            "add_rms_norm_backward", len(scales), total.shape[-1], total, gain_D, scales, above[1].contiguous(), direct,
            grad_x, grad_y, partial,
        )  # fmt: skip
        return grad_x, grad_y, partial.sum(0)
