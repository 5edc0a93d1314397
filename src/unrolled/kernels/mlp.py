"""Two linear maps with the exact gelu between them: y = W_2 gelu(W_1 x + b_1) + b_2, gelu(a) = a Phi(a).

Knows nothing about layers. Phi is the normal cumulative function (Hendrycks and Gimpel 2016, arXiv 1606.08415). In
bfloat16 on a CPU (under autocast) a compiled kernel takes a few dozen rows through both maps while they are in the
processor's cache. The same on the way back was no faster than large products (docs/LOG.md).

Shapes: B batch, T time, D width, N hidden units, R rows.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import native

BLOCK = 16
SCRATCH_ROWS = 48


def gelu_mlp(
    x_BTD: Float[Tensor, "*batch D"],
    up_ND: Float[Tensor, "N D"],
    up_bias_N: Float[Tensor, "N"],
    down_DN: Float[Tensor, "D N"],
    down_bias_D: Float[Tensor, "D"],
    *,
    shown: bool = False,
) -> tuple[Float[Tensor, "*batch D"], Float[Tensor, "*batch N"] | None]:
    """Return y and, if it is to be shown, what gelu returned, which may come without a gradient of its own."""
    hidden, width = up_ND.shape
    fits = width % BLOCK == 0 and hidden % BLOCK == 0 and up_ND.dtype == down_DN.dtype == torch.float32
    if fits and native.in_bfloat16(x_BTD) and native.library() is not None:
        return _GeluMLP.apply(x_BTD, up_ND, up_bias_N, down_DN, down_bias_D, shown)
    hidden_BTN = F.gelu(F.linear(x_BTD, up_ND, up_bias_N))
    return F.linear(hidden_BTN, down_DN, down_bias_D), hidden_BTN if shown else None


class _GeluMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor, shown: bool
    ) -> tuple[Tensor, Tensor | None]:
        x_RD = x.to(torch.bfloat16).reshape(-1, x.shape[-1]).contiguous()
        (rows, width), hidden = x_RD.shape, len(up)
        learns = any(ctx.needs_input_grad)
        kept = _bfloat16(rows if learns else 0, hidden)
        given = _bfloat16(rows if learns or shown else 0, hidden)
        y_RD = _bfloat16(rows, width)
        native.call(
            "mlp_forward", rows, width, hidden, x_RD, _packed("pack", up), up_bias.float().contiguous(),
            _packed("pack", down), down_bias.float().contiguous(), kept, given,
            _bfloat16(torch.get_num_threads() * SCRATCH_ROWS, hidden), y_RD,
        )  # fmt: skip
        ctx.save_for_backward(x_RD, up, down, kept, given)
        ctx.kinds = x.dtype, up_bias.dtype, down_bias.dtype
        if not shown:
            return y_RD.view(x.shape), None
        shown_BTN = given.view(*x.shape[:-1], hidden)
        ctx.mark_non_differentiable(shown_BTN)
        return y_RD.view(x.shape), shown_BTN

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        assert above[0] is not None
        x_RD, up, down, kept, given = ctx.saved_tensors
        (rows, width), hidden = x_RD.shape, len(up)
        above_RD = above[0].to(torch.bfloat16).reshape(rows, width).contiguous()
        partial, sums_D = torch.empty(torch.get_num_threads(), hidden), torch.empty(width)
        grad = torch.mm(above_RD, down.to(torch.bfloat16))
        native.call("gelu_backward", rows, hidden, kept, grad, grad, partial)
        grad_x = torch.mm(grad, up.to(torch.bfloat16))
        native.call("column_sums", rows, width, above_RD, sums_D)
        kind_x, kind_up, kind_down = ctx.kinds
        return (
            grad_x.view(above[0].shape).to(kind_x), torch.mm(grad.t(), x_RD).to(up.dtype), partial.sum(0).to(kind_up),
            torch.mm(above_RD.t(), given).to(down.dtype), sums_D.to(kind_down), None,
        )  # fmt: skip


def _bfloat16(*shape: int) -> Tensor:
    """Return room; with no rows its address is a null pointer."""
    return torch.empty(shape, dtype=torch.bfloat16)


def _packed(way: str, matrix: Tensor) -> Tensor:
    packed = torch.empty(matrix.shape, dtype=torch.bfloat16)
    native.call(way, 1, *matrix.shape, matrix.detach().contiguous(), packed)
    return packed
