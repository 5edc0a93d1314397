"""The compiled recurrences as differentiable functions: what surrounds the time loop is a few large matrix products.

Knows nothing about when to use them. Products run in bfloat16; what is summed over time (the LSTM's cell, the GRU's
state) stays in float32. Input products of all steps are one product before the loop, weight gradients one after it.

Shapes: T time, B batch, D inputs, N units (a multiple of 16), G gates; "blocked" rows of gates are [N/16][G][16].
"""

from typing import Any

import torch
from torch import Tensor

from unrolled.kernels.native import call

BLOCK = 16
BF16 = torch.bfloat16
Weights = tuple[Tensor, Tensor, Tensor, Tensor]


def elman(x_BTD: Tensor, h_BN: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16 and the last one (B, N)."""
    all_TBN = _Elman.apply(_time_first(x_BTD), h_BN, *weights)
    return all_TBN.transpose(0, 1), all_TBN[-1].to(h_BN.dtype)


def gru(x_BTD: Tensor, h_BN: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16 and the last one (B, N) in float32."""
    all_TBN, last_BN = _GRU.apply(_time_first(x_BTD), h_BN, *weights)
    return all_TBN.transpose(0, 1), last_BN


def lstm(x_BTD: Tensor, h_BN: Tensor, c_BN: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16, the last one, and the last cell (B, N) in float32."""
    all_TBN, cell_BN = _LSTM.apply(_time_first(x_BTD), h_BN, c_BN, *weights)
    return all_TBN.transpose(0, 1), all_TBN[-1].to(h_BN.dtype), cell_BN


class _Elman(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_TBD: Tensor, h_BN: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> Tensor:
        time, batch, units = x_TBD.shape[0], x_TBD.shape[1], h_BN.shape[1]
        inputs = _products(x_TBD, w_ih.to(BF16), (b_ih + b_hh).to(BF16))
        hidden = _states(time, h_BN, BF16)
        call("elman_forward", time, batch, units, inputs, _packed(w_hh.to(BF16)), hidden)
        ctx.save_for_backward(x_TBD, hidden, w_ih, w_hh)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        (above_TBN,) = above
        x_TBD, hidden, w_ih, w_hh = ctx.saved_tensors
        time, batch, units = above_TBN.shape
        grads, grad_h = torch.empty_like(hidden[1:]), torch.zeros(batch, units)
        call("elman_backward", time, batch, units, _ready(above_TBN), _packed(w_hh.to(BF16).t()), hidden, grads, grad_h)
        flat = grads.flatten(0, 1)
        grad_b = _column_sums(flat)
        return (
            (flat @ w_ih.to(BF16)).view_as(x_TBD) if ctx.needs_input_grad[0] else None,
            grad_h,
            (flat.t() @ x_TBD.flatten(0, 1)).float(),
            (flat.t() @ hidden[:-1].flatten(0, 1)).float(),
            grad_b,
            grad_b,
        )


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_TBD: Tensor, h_BN: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, Tensor]:
        time, batch, units = x_TBD.shape[0], x_TBD.shape[1], h_BN.shape[1]
        inputs = _products(x_TBD, _blocked(w_ih.to(BF16), 3), _blocked(b_ih, 3).to(BF16))
        packed = _packed(_blocked(w_hh.to(BF16), 3))
        hidden, states = _states(time, h_BN, BF16), _states(time, h_BN, torch.float32)
        products = torch.empty_like(hidden[1:])
        call("gru_forward", time, batch, units, inputs, packed, _blocked(b_hh, 3), hidden, states, products)
        ctx.save_for_backward(x_TBD, hidden, states, inputs, products, w_ih, w_hh)
        return hidden[1:], states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        above_TBN, last_BN = above
        x_TBD, hidden, states, gates, products, w_ih, w_hh = ctx.saved_tensors
        time, batch, units = above_TBN.shape
        grads, recurrent, carried = torch.empty_like(gates), torch.empty_like(gates), last_BN.float().clone()
        packed = _packed(_blocked(w_hh.to(BF16), 3).t())
        call(
            "gru_backward", time, batch, units, _ready(above_TBN), packed, gates, products, states, grads, recurrent,
            carried,
        )  # fmt: skip
        flat, flat_recurrent = grads.flatten(0, 1), recurrent.flatten(0, 1)
        return (
            (flat @ _blocked(w_ih.to(BF16), 3)).view_as(x_TBD) if ctx.needs_input_grad[0] else None,
            carried,
            _unblocked(flat.t() @ x_TBD.flatten(0, 1), 3).float(),
            _unblocked(flat_recurrent.t() @ hidden[:-1].flatten(0, 1), 3).float(),
            _unblocked(_column_sums(flat), 3),
            _unblocked(_column_sums(flat_recurrent), 3),
        )


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TBD: Tensor, h_BN: Tensor, c_BN: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        w_ih, w_hh, b_ih, b_hh = weights
        time, batch, units = x_TBD.shape[0], x_TBD.shape[1], h_BN.shape[1]
        inputs = _products(x_TBD, _blocked(w_ih.to(BF16), 4), _blocked(b_ih + b_hh, 4).to(BF16))
        packed = _packed(_blocked(w_hh.to(BF16), 4))
        hidden, cells = _states(time, h_BN, BF16), _states(time, c_BN, torch.float32)
        call("lstm_forward", time, batch, units, inputs, packed, hidden, cells)
        ctx.save_for_backward(x_TBD, hidden, cells, inputs, w_ih, w_hh)
        return hidden[1:], cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        above_TBN, last_BN = above
        x_TBD, hidden, cells, gates, w_ih, w_hh = ctx.saved_tensors
        time, batch, units = above_TBN.shape
        grads, grad_h, grad_c = torch.empty_like(gates), torch.zeros(batch, units), last_BN.float().clone()
        packed = _packed(_blocked(w_hh.to(BF16), 4).t())
        call("lstm_backward", time, batch, units, _ready(above_TBN), packed, gates, cells, grads, grad_h, grad_c)
        flat = grads.flatten(0, 1)
        grad_b = _unblocked(_column_sums(flat), 4)
        return (
            (flat @ _blocked(w_ih.to(BF16), 4)).view_as(x_TBD) if ctx.needs_input_grad[0] else None,
            grad_h,
            grad_c,
            _unblocked(flat.t() @ x_TBD.flatten(0, 1), 4).float(),
            _unblocked(flat.t() @ hidden[:-1].flatten(0, 1), 4).float(),
            grad_b,
            grad_b,
        )


def _time_first(x_BTD: Tensor) -> Tensor:
    """Return (T, B, D) in bfloat16."""
    return x_BTD.transpose(0, 1).to(BF16).contiguous()


def _ready(above_TBN: Tensor) -> Tensor:
    return above_TBN.to(BF16).contiguous()


def _products(x_TBD: Tensor, weight_GD: Tensor, bias_G: Tensor) -> Tensor:
    flat = torch.addmm(bias_G, x_TBD.flatten(0, 1), weight_GD.t())
    return flat.view(x_TBD.shape[0], x_TBD.shape[1], -1)


def _states(time: int, first_BN: Tensor, dtype: torch.dtype) -> Tensor:
    """Return room for the states (T + 1, B, N), the first one filled in."""
    states = torch.empty(time + 1, *first_BN.shape, dtype=dtype)
    states[0] = first_BN
    return states


def _blocked(rows: Tensor, gates: int) -> Tensor:
    """Reorder rows (G*N, ...) from gate after gate to [N/16][G][16]."""
    shape = rows.shape[1:]
    return rows.view(gates, -1, BLOCK, *shape).transpose(0, 1).reshape(-1, *shape).contiguous()


def _unblocked(rows: Tensor, gates: int) -> Tensor:
    """Undo `_blocked`."""
    shape = rows.shape[1:]
    return rows.view(-1, gates, BLOCK, *shape).transpose(0, 1).reshape(-1, *shape)


def _column_sums(matrix_RC: Tensor) -> Tensor:
    """Return the sum of every column in float32."""
    sums = torch.empty(matrix_RC.shape[1])
    call("column_sums", *matrix_RC.shape, matrix_RC, sums)
    return sums


def _packed(matrix_CK: Tensor) -> Tensor:
    """Return a matrix (columns, K) as [columns/16][K/2][16][2]."""
    matrix_CK = matrix_CK.contiguous()
    packed = torch.empty_like(matrix_CK)
    call("pack", *matrix_CK.shape, matrix_CK, packed)
    return packed
