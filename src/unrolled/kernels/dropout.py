"""Dropout: every number is zero with probability p, and the others grow by 1 / (1 - p).

Knows nothing about layers. Source: Srivastava et al. 2014. torch draws its random numbers one after another on a CPU,
which can take as long as the layer itself; in bfloat16 on a CPU a compiled kernel hashes each position with a seed that
torch draws, on all threads, and hashes again on the way back instead of keeping a mask.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import native

BLOCK = 16


def dropout(x: Tensor, probability: float, *, training: bool) -> Tensor:
    """Return `x` with dropout applied while training; otherwise, or with probability 0, `x` itself."""
    if not training or probability == 0.0:
        return x
    fits = x.dtype == torch.bfloat16 and x.numel() % BLOCK == 0 and x.numel() < 2**31
    if native.in_bfloat16(x) and fits and native.library() is not None:
        if x.dim() == 3 and x.stride(0) < x.stride(1):
            return _Dropout.apply(x.transpose(0, 1), probability).transpose(0, 1)
        return _Dropout.apply(x, probability)
    return F.dropout(x, probability)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        ctx.seed = int(torch.randint(-(2**31), 2**31, ()).item())
        ctx.threshold = _signed(round(probability * 2**32))
        return _dropped(x, ctx.seed, ctx.threshold)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        return _dropped(above[0].to(torch.bfloat16), ctx.seed, ctx.threshold), None


def _dropped(x: Tensor, seed: int, threshold: int) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    native.call("dropout", x.numel() // BLOCK, seed, threshold, x, out)
    return out


def _signed(number: int) -> int:
    """Return the C int whose bits are those of an unsigned number below 2^32."""
    return number - 2**32 if number >= 2**31 else number
