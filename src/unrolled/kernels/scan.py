"""Linear recurrence over time, h_t = a_t * h_(t-1) + b_t, forwards and backwards, by a chunked parallel scan.

Knows nothing about where the coefficients come from.

In float32 on a CPU a compiled loop runs, where there is one: it reads every number once. Elsewhere time is cut into C
chunks that are scanned side by side from zero; the value carried into each chunk is then added, times the product of
the coefficients since the chunk's start. With C = 1 this is the plain loop.
Source: Blelloch 1990, "Prefix sums and their applications"; Martin and Cundy 2018, arXiv 1709.04057.

Shapes: B batch, T time, N units, C chunks, S steps of a chunk.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unrolled.kernels import native

PARALLEL_ELEMENTS = 16384
"""Below so many numbers per step, one step is all overhead, and scanning chunks side by side is faster."""


def linear_scan(
    a_BTN: Float[Tensor, "B T N"], b_BTN: Float[Tensor, "B T N"], h_BN: Float[Tensor, "B N"]
) -> Float[Tensor, "B T N"]:
    """Return every h_t of h_t = a_t * h_(t-1) + b_t, from h_(-1) = `h_BN`."""
    return _LinearScan.apply(a_BTN, b_BTN, h_BN)


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a_BTN: Tensor, b_BTN: Tensor, h_BN: Tensor) -> Tensor:
        all_BTN = _compiled(a_BTN, b_BTN, h_BN, backwards=False) if _fits(a_BTN) else _scan(a_BTN, b_BTN, h_BN)
        ctx.save_for_backward(a_BTN, all_BTN, h_BN)
        return all_BTN

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad_BTN,) = above
        a_BTN, all_BTN, h_BN = ctx.saved_tensors
        # d/dh_t = grad_t + a_(t+1) * d/dh_(t+1): the same recurrence, backwards in time.
        if _fits(a_BTN):
            total_BTN = _compiled(a_BTN, grad_BTN, torch.zeros_like(h_BN), backwards=True)
        else:
            later_BTN = torch.cat([a_BTN[:, 1:], torch.zeros_like(a_BTN[:, :1])], dim=1)
            total_BTN = _scan(later_BTN.flip(1), grad_BTN.flip(1), torch.zeros_like(h_BN)).flip(1)
        before_BTN = torch.cat([h_BN[:, None], all_BTN[:, :-1]], dim=1)
        return total_BTN * before_BTN, total_BTN, total_BTN[:, 0] * a_BTN[:, 0]


def _fits(a_BTN: Tensor) -> bool:
    return a_BTN.device.type == "cpu" and a_BTN.dtype == torch.float32 and native.library() is not None


def _compiled(a_BTN: Tensor, b_BTN: Tensor, h_BN: Tensor, *, backwards: bool) -> Tensor:
    out_BTN = torch.empty(a_BTN.shape)
    contiguous = (value.float().contiguous() for value in (a_BTN, b_BTN, h_BN))
    native.call("scan", *a_BTN.shape, *contiguous, out_BTN, int(backwards))
    return out_BTN


def _scan(a_BTN: Tensor, b_BTN: Tensor, h_BN: Tensor) -> Tensor:
    batch, time, units = a_BTN.shape
    chunks = max(1, min(math.isqrt(time), PARALLEL_ELEMENTS // max(1, batch * units)))
    steps = -(-time // chunks)
    padding = chunks * steps - time
    if padding:
        a_BTN = torch.cat([a_BTN, a_BTN.new_ones(batch, padding, units)], dim=1)
        b_BTN = torch.cat([b_BTN, b_BTN.new_zeros(batch, padding, units)], dim=1)
    a_SBCN = a_BTN.reshape(batch, chunks, steps, units).permute(2, 0, 1, 3).contiguous()
    # A copy in any case: it is added to in place.
    all_SBCN = (
        b_BTN.reshape(batch, chunks, steps, units).permute(2, 0, 1, 3).clone(memory_format=torch.contiguous_format)
    )
    if chunks == 1:
        all_SBCN[0].addcmul_(a_SBCN[0], h_BN[:, None])
    for step in range(1, steps):
        all_SBCN[step].addcmul_(a_SBCN[step], all_SBCN[step - 1])
    if chunks > 1:
        product_SBCN = a_SBCN.cumprod(0)
        carried = [h_BN]
        for chunk in range(chunks - 1):
            carried.append(torch.addcmul(all_SBCN[-1, :, chunk], product_SBCN[-1, :, chunk], carried[-1]))
        all_SBCN.addcmul_(product_SBCN, torch.stack(carried, dim=1))
    return all_SBCN.permute(1, 2, 0, 3).reshape(batch, chunks * steps, units)[:, :time]
