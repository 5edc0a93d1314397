"""The compiled recurrences as differentiable functions: what surrounds the time loop is a few large matrix products.

Knows nothing about when to use them. Products run in bfloat16; what is summed over time (the LSTM's cell, the GRU's
state) stays in float32. Input products of all steps are one product before the loop, weight gradients one after it;
where the inputs are rows of a small table (a first layer's are: one row per character), there is one product per row
of the table instead of one per step.

Shapes: T time, B batch, D inputs, N units (a multiple of 16), G gates times units, V rows of the table; "blocked"
rows of gates are [N/16][gates][16].
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.kernels.native import call

BLOCK = 16
BF16 = torch.bfloat16
Weights = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Inputs:
    """What a layer reads: vectors `x_BTD`, or the rows `tokens_BT` of a table that stands in `x_BTD`'s place."""

    x: Tensor
    tokens_BT: Tensor | None = None

    def products(self, weight_GD: Tensor, bias_G: Tensor) -> Tensor:
        """Return W x + b for every step, (T, B, G) in bfloat16."""
        if self.tokens_BT is None:
            return _Products.apply(self.x.transpose(0, 1).to(BF16).contiguous(), weight_GD.to(BF16), bias_G)
        table_VG = _Products.apply(self.x.to(BF16)[None], weight_GD.to(BF16), bias_G)[0]
        return _Rows.apply(self.tokens_BT.t().contiguous(), table_VG)


def elman(inputs: Inputs, h_BN: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16 and the last one (B, N)."""
    w_ih, w_hh, b_ih, b_hh = weights
    all_TBN = _Elman.apply(inputs.products(w_ih, b_ih + b_hh), h_BN, w_hh)
    return all_TBN.transpose(0, 1), all_TBN[-1].to(h_BN.dtype)


def gru(inputs: Inputs, h_BN: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16 and the last one (B, N) in float32."""
    w_ih, w_hh, b_ih, b_hh = (_blocked(weight, 3) for weight in weights)
    all_TBN, last_BN = _GRU.apply(inputs.products(w_ih, b_ih), h_BN, w_hh, b_hh)
    return all_TBN.transpose(0, 1), last_BN


def lstm(inputs: Inputs, h_BN: Tensor, c_BN: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16, the last one, and the last cell (B, N) in float32."""
    w_ih, w_hh, b_ih, b_hh = (_blocked(weight, 4) for weight in weights)
    all_TBN, cell_BN = _LSTM.apply(inputs.products(w_ih, b_ih + b_hh), h_BN, c_BN, w_hh)
    return all_TBN.transpose(0, 1), all_TBN[-1].to(h_BN.dtype), cell_BN


class _Products(torch.autograd.Function):
    """W x + b of all steps: torch's own sum over steps for the bias takes as long as a matrix product."""

    @staticmethod
    def forward(ctx: Any, x_TBD: Tensor, weight_GD: Tensor, bias_G: Tensor) -> Tensor:
        ctx.save_for_backward(x_TBD, weight_GD)
        flat = torch.addmm(bias_G.to(BF16), x_TBD.flatten(0, 1), weight_GD.t())
        return flat.view(x_TBD.shape[0], x_TBD.shape[1], -1)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x_TBD, weight_GD = ctx.saved_tensors
        flat = above[0].contiguous().flatten(0, 1)
        grad_x = (flat @ weight_GD).view_as(x_TBD) if ctx.needs_input_grad[0] else None
        return grad_x, flat.t() @ x_TBD.flatten(0, 1), _column_sums(flat)


class _Rows(torch.autograd.Function):
    """Rows of a table, summed in float32 on the way back: many steps read the same row."""

    @staticmethod
    def forward(ctx: Any, tokens_TB: Tensor, table_VG: Tensor) -> Tensor:
        rows = torch.empty(*tokens_TB.shape, table_VG.shape[1], dtype=BF16)
        call("gather_rows", tokens_TB.numel(), table_VG.shape[1], tokens_TB, table_VG.contiguous(), rows)
        ctx.save_for_backward(tokens_TB)
        ctx.shape = table_VG.shape
        return rows

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[None, Tensor]:
        (tokens_TB,) = ctx.saved_tensors
        table = torch.zeros(ctx.shape)
        call("scatter_rows", tokens_TB.numel(), ctx.shape[1], tokens_TB, above[0].contiguous(), table)
        return None, table.to(BF16)


class _Elman(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, products_TBN: Tensor, h_BN: Tensor, w_hh: Tensor) -> Tensor:
        time, batch, units = products_TBN.shape
        hidden = _states(time, h_BN, BF16)
        call("elman_forward", time, batch, units, products_TBN, _packed(w_hh.to(BF16)), hidden)
        ctx.save_for_backward(hidden, w_hh)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, ...]:
        hidden, w_hh = ctx.saved_tensors
        time, batch, units = above[0].shape
        grads, grad_h = torch.empty_like(hidden[1:]), torch.zeros(batch, units)
        packed = _packed(w_hh.to(BF16).t())
        call("elman_backward", time, batch, units, _ready(above[0]), packed, hidden, grads, grad_h)
        return grads, grad_h, (grads.flatten(0, 1).t() @ hidden[:-1].flatten(0, 1)).float()


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, products_TBG: Tensor, h_BN: Tensor, w_hh: Tensor, b_hh: Tensor) -> tuple[Tensor, Tensor]:
        (time, batch, _), units = products_TBG.shape, h_BN.shape[1]
        hidden, states = _states(time, h_BN, BF16), _states(time, h_BN, torch.float32)
        recurrent = torch.empty_like(hidden[1:])
        # The kernel writes the gates over the products: whoever made those has no further use for them.
        packed = _packed(w_hh.to(BF16))
        call("gru_forward", time, batch, units, products_TBG, packed, b_hh.contiguous(), hidden, states, recurrent)
        ctx.save_for_backward(hidden, states, recurrent, w_hh)
        ctx.gates_TBG = products_TBG
        return hidden[1:], states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, ...]:
        hidden, states, recurrent, w_hh = ctx.saved_tensors
        time, batch, units = above[0].shape
        grads, grads_re = torch.empty_like(ctx.gates_TBG), torch.empty_like(ctx.gates_TBG)
        packed, carried = _packed(w_hh.to(BF16).t()), above[1].float().clone()
        call(
            "gru_backward", time, batch, units, _ready(above[0]), packed, ctx.gates_TBG, recurrent, states, grads,
            grads_re, carried,
        )  # fmt: skip
        flat = grads_re.flatten(0, 1)
        return grads, carried, (flat.t() @ hidden[:-1].flatten(0, 1)).float(), _column_sums(flat)


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, products_TBG: Tensor, h_BN: Tensor, c_BN: Tensor, w_hh: Tensor) -> tuple[Tensor, Tensor]:
        (time, batch, _), units = products_TBG.shape, h_BN.shape[1]
        hidden, cells = _states(time, h_BN, BF16), _states(time, c_BN, torch.float32)
        # The kernel writes the gates over the products: whoever made those has no further use for them.
        call("lstm_forward", time, batch, units, products_TBG, _packed(w_hh.to(BF16)), hidden, cells)
        ctx.save_for_backward(hidden, cells, w_hh)
        ctx.gates_TBG = products_TBG
        return hidden[1:], cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, ...]:
        hidden, cells, w_hh = ctx.saved_tensors
        time, batch, units = above[0].shape
        grads, grad_h, grad_c = torch.empty_like(ctx.gates_TBG), torch.zeros(batch, units), above[1].float().clone()
        packed = _packed(w_hh.to(BF16).t())
        call("lstm_backward", time, batch, units, _ready(above[0]), packed, ctx.gates_TBG, cells, grads, grad_h, grad_c)
        return grads, grad_h, grad_c, (grads.flatten(0, 1).t() @ hidden[:-1].flatten(0, 1)).float()


def _ready(above_TBN: Tensor) -> Tensor:
    return above_TBN.to(BF16).contiguous()


def _states(time: int, first_BN: Tensor, dtype: torch.dtype) -> Tensor:
    """Return room for the states (T + 1, B, N), the first one filled in."""
    states = torch.empty(time + 1, *first_BN.shape, dtype=dtype)
    states[0] = first_BN
    return states


def _blocked(rows: Tensor, gates: int) -> Tensor:
    """Reorder rows (G, ...) from gate after gate to [N/16][gates][16]."""
    shape = rows.shape[1:]
    return rows.view(gates, -1, BLOCK, *shape).transpose(0, 1).reshape(-1, *shape)


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
