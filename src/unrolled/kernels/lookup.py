"""Rows of a table by their numbers: an embedding.

Knows nothing about layers. In bfloat16 on a CPU (under autocast) a compiled kernel sums the table's gradient on all
threads; torch's own takes as long as a small matrix product.

Shapes: V rows, D width.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import native

BLOCK = 16


def lookup(table_VD: Float[Tensor, "V D"], tokens: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch D"]:
    """Return the row of every token."""
    fits = table_VD.dtype == torch.float32 and table_VD.shape[1] % BLOCK == 0
    if fits and native.in_bfloat16(table_VD) and native.library() is not None:
        return _Lookup.apply(table_VD, tokens.contiguous())
    return F.embedding(tokens, table_VD)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_VD: Tensor, tokens: Tensor) -> Tensor:
        ctx.rows = len(table_VD)
        ctx.save_for_backward(tokens)
        return F.embedding(tokens, table_VD)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        (tokens,) = ctx.saved_tensors
        width = above[0].shape[-1]
        grad_VD = torch.zeros(ctx.rows, width)
        ready = above[0].float().contiguous()
        native.call("scatter_float_rows", tokens.numel(), width, tokens, ready, grad_VD)
        return grad_VD, None
