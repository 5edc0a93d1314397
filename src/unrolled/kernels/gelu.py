"""A linear map and the exact gelu after it: y = x' Phi(x'), x' = W x + b, Phi the normal cumulative function.

Knows nothing about layers. Source: Hendrycks and Gimpel 2016, arXiv 1606.08415. In bfloat16 on a CPU (under autocast) a
compiled kernel adds the bias on the way, and sums the bias's gradient on the way back: torch's own product with a bias
first copies it into every row, and its sums over rows take as long as a product.

Shapes: B batch, T time, D width, N units.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import native

BLOCK = 16


def linear_gelu(
    x_BTD: Float[Tensor, "*batch D"], weight_ND: Float[Tensor, "N D"], bias_N: Float[Tensor, "N"]
) -> Float[Tensor, "*batch N"]:
    """Return gelu(x W^T + b)."""
    if native.in_bfloat16(x_BTD) and len(bias_N) % BLOCK == 0 and native.library() is not None:
        return _Gelu.apply(F.linear(x_BTD, weight_ND), bias_N)
    return F.gelu(F.linear(x_BTD, weight_ND, bias_N))


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias_N: Tensor) -> Tensor:
        x, ctx.dtype = x.contiguous(), bias_N.dtype
        bias_N, y = bias_N.float().contiguous(), torch.empty_like(x)
        native.call("gelu_forward", x.numel() // len(bias_N), len(bias_N), x, bias_N, y)
        ctx.save_for_backward(x, bias_N)
        return y

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor]:
        x, bias_N = ctx.saved_tensors
        grad, partial = torch.empty_like(x), torch.empty(torch.get_num_threads(), len(bias_N))
        ready = above[0].to(torch.bfloat16).contiguous()
        native.call("gelu_backward", x.numel() // len(bias_N), len(bias_N), x, bias_N, ready, grad, partial)
        return grad, partial.sum(0).to(ctx.dtype)
