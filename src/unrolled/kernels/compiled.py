"""The compiled recurrences as differentiable functions: a time loop each way, and what surrounds it.

Knows nothing about when to use them. Products run in bfloat16; what is summed over time (the LSTM's cell, the GRU's
state) stays in float32. The loops multiply inputs a few steps ahead and gradients of inputs a few steps behind, while
they are in cache; gradients of weights are one product after the loop. Where the inputs are rows of a small table (a
first layer's are: one row per character), there is one product per row of the table instead of one per step. Time is
the outer axis in memory; inputs that lie so already are not copied.

Weights come and their gradients go as torch.nn has them, gate after gate in float32; the kernels read "blocked" rows,
[N/16][G][16], in bfloat16, packed (elementwise.cpp). The gates of every step are kept for the backward pass, blocked;
where no gradients are wanted they can be had instead, each gate by itself.

Shapes: T time, B batch, D inputs and N units (multiples of 16), G gates, R = G * N blocked rows, V rows of a table,
S = T * B steps of all lanes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.kernels.native import call

BLOCK = 16
BF16 = torch.bfloat16
Weights = tuple[Tensor, Tensor, Tensor, Tensor]
NOTHING, NO_TOKENS = torch.empty(0, dtype=BF16), torch.empty(0, dtype=torch.int64)
"""Handed to a kernel as null pointers."""


def elman(x: Tensor, tokens_BT: Tensor | None, h_BN: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16 and the last one (B, N)."""
    all_TBN, last_BN = _Elman.apply(_outer_time(x, tokens_BT), _tokens(tokens_BT), h_BN, *weights)
    return all_TBN.transpose(0, 1), last_BN


def gru(x: Tensor, tokens_BT: Tensor | None, h_BN: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16 and the last one (B, N) in float32."""
    all_TBN, last_BN = _GRU.apply(_outer_time(x, tokens_BT), _tokens(tokens_BT), h_BN, *weights)
    return all_TBN.transpose(0, 1), last_BN


def lstm(
    x: Tensor, tokens_BT: Tensor | None, h_BN: Tensor, c_BN: Tensor, weights: Weights
) -> tuple[Tensor, Tensor, Tensor]:
    """Return every hidden state (B, T, N) in bfloat16, the last one, and the last cell (B, N) in float32."""
    all_TBN, last_BN, cell_BN = _LSTM.apply(_outer_time(x, tokens_BT), _tokens(tokens_BT), h_BN, c_BN, *weights)
    return all_TBN.transpose(0, 1), last_BN, cell_BN


def gru_with_gates(
    x: Tensor, tokens_BT: Tensor | None, h_BN: Tensor, weights: Weights
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Return what `gru` does and (r, z, n) as they were used, (B, T, N) each, in bfloat16; without gradients."""
    hidden, states, _, gates_GTBN = _run_gru(_outer_time(x, tokens_BT), _tokens(tokens_BT), h_BN, weights, apart=True)
    return hidden[1:].transpose(0, 1), states[-1].clone(), gates_GTBN.transpose(1, 2).unbind()


def lstm_with_gates(
    x: Tensor, tokens_BT: Tensor | None, h_BN: Tensor, c_BN: Tensor, weights: Weights
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
    """Return what `lstm` does and (i, f, g, o, c) as they were used, (B, T, N) each; without gradients.

    The gates are bfloat16, the cells float32.
    """
    hidden, cells, gates_GTBN = _run_lstm(
        _outer_time(x, tokens_BT), _tokens(tokens_BT), h_BN, c_BN, weights, apart=True
    )
    kept = (*gates_GTBN.transpose(1, 2).unbind(), cells[1:].transpose(0, 1))
    return hidden[1:].transpose(0, 1), hidden[-1].to(h_BN.dtype), cells[-1].clone(), kept


def _outer_time(x: Tensor, tokens_BT: Tensor | None) -> Tensor:
    return x.to(BF16).contiguous() if tokens_BT is not None else x.to(BF16).transpose(0, 1).contiguous()


def _tokens(tokens_BT: Tensor | None) -> Tensor:
    return NO_TOKENS if tokens_BT is None else tokens_BT.t().contiguous()


@dataclass(frozen=True)
class _Inputs:
    """What goes from x into a loop, and what flows back into x, W and b after it.

    `x` is (T, B, D), or a table (V, D) whose rows `tokens_TB` name.
    """

    x: Tensor
    tokens_TB: Tensor
    weight_GD: Tensor
    gates: int

    @property
    def width(self) -> int:
        """D."""
        return self.x.shape[-1]

    def ahead(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return x and the packed weight for the loop, and room for W x; or nothing twice, and the table's W x."""
        packed = _packed(self.weight_GD, self.gates)
        if self.tokens_TB.numel():
            return NOTHING, NOTHING, _row_products(self.x, packed, len(self.weight_GD))
        return self.x, packed, torch.empty(*self.x.shape[:-1], len(self.weight_GD), dtype=BF16)

    def behind(self, wanted: bool) -> tuple[Tensor, Tensor]:
        """Return the packed weight for the loop back, and room for the gradient of x; or nothing twice."""
        if self.tokens_TB.numel() or not wanted:
            return NOTHING, NOTHING
        return _packed_transposed(self.weight_GD, self.gates), torch.empty_like(self.x)

    def gradients(
        self, above_TBR: Tensor, grad_x: Tensor, hidden_TBN: Tensor | None
    ) -> tuple[Tensor | None, Tensor, Tensor | None, Tensor]:
        """Return the gradients of x, W, U and b; `above_TBR` are those of the products of every step.

        The loop made that of x unless x is a table. U is multiplied with `hidden_TBN` and has the same gradients above
        it; with None its own is None.
        """
        flat_SR = above_TBR.flatten(0, 1)
        if not self.tokens_TB.numel():
            of_w, of_u, bias = weight_gradients(flat_SR, self.gates, self.x, hidden_TBN)
            return grad_x if grad_x.numel() else None, of_w, of_u, bias
        table_VR = torch.zeros(len(self.x), flat_SR.shape[1])
        call("scatter_rows", len(flat_SR), flat_SR.shape[1], self.tokens_TB, flat_SR, table_VR)
        rows_VR = table_VR.to(BF16)
        grad_x = _row_products(rows_VR, _packed_transposed(self.weight_GD, self.gates), self.width)
        of_w, of_u, bias = weight_gradients(rows_VR, self.gates, self.x)
        if hidden_TBN is not None:
            of_u, _, bias = weight_gradients(flat_SR, self.gates, hidden_TBN)
        return grad_x, of_w, of_u, bias


class _Elman(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens_TB: Tensor, h_BN: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        w_ih, w_hh, b_ih, b_hh = weights
        inputs = _Inputs(x, tokens_TB, w_ih, 1)
        hidden = _states(_steps(x, tokens_TB), h_BN, BF16)
        time, batch, units = hidden[1:].shape
        call(
            "elman_forward", time, batch, units, inputs.width, *inputs.ahead(), tokens_TB, b_ih + b_hh,
            _packed(w_hh, 1), hidden,
        )  # fmt: skip
        ctx.save_for_backward(hidden, w_hh, x, tokens_TB, w_ih)
        return hidden[1:], hidden[-1].to(h_BN.dtype)

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, w_hh, x, tokens_TB, w_ih = ctx.saved_tensors
        time, batch, units = hidden[1:].shape
        grads, grad_h = torch.empty_like(hidden[1:]), torch.zeros(batch, units)
        inputs, ready = _Inputs(x, tokens_TB, w_ih, 1), _ready(above[0], above[1], hidden)
        back = inputs.behind(ctx.needs_input_grad[0])
        call(
            "elman_backward", time, batch, units, inputs.width, *back, ready, _packed_transposed(w_hh, 1), hidden,
            grads, grad_h,
        )  # fmt: skip
        grad_x, grad_ih, grad_hh, bias = inputs.gradients(grads, back[1], hidden[:-1])
        return grad_x, None, grad_h, grad_ih, grad_hh, bias, bias


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens_TB: Tensor, h_BN: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        hidden, states, recurrent, gates = _run_gru(x, tokens_TB, h_BN, weights)
        ctx.save_for_backward(hidden, states, recurrent, weights[1], x, tokens_TB, weights[0], gates)
        return hidden[1:], states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, states, recurrent, w_hh, x, tokens_TB, w_ih, gates = ctx.saved_tensors
        time, batch, units = hidden[1:].shape
        grads, grads_re = (torch.empty(time, batch, 3 * units, dtype=BF16) for _ in range(2))
        carried = torch.zeros(batch, units) if above[1] is None else above[1].float().clone()
        inputs, ready = _Inputs(x, tokens_TB, w_ih, 3), _ready(above[0], None, hidden)
        back = inputs.behind(ctx.needs_input_grad[0])
        call(
            "gru_backward", time, batch, units, inputs.width, *back, ready, _packed_transposed(w_hh, 3), gates,
            recurrent, states, grads, grads_re, carried,
        )  # fmt: skip
        grad_x, grad_ih, _, bias_ih = inputs.gradients(grads, back[1], None)
        grad_hh, _, bias_hh = weight_gradients(grads_re.flatten(0, 1), 3, hidden[:-1])
        return grad_x, None, carried, grad_ih, grad_hh, bias_ih, bias_hh


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, tokens_TB: Tensor, h_BN: Tensor, c_BN: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        hidden, cells, gates = _run_lstm(x, tokens_TB, h_BN, c_BN, weights)
        ctx.save_for_backward(hidden, cells, weights[1], x, tokens_TB, weights[0], gates)
        return hidden[1:], hidden[-1].to(h_BN.dtype), cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, cells, w_hh, x, tokens_TB, w_ih, gates = ctx.saved_tensors
        time, batch, units = hidden[1:].shape
        grads = torch.empty(time, batch, 4 * units, dtype=BF16)
        grad_h = torch.zeros(batch, units)
        grad_c = torch.zeros(batch, units) if above[2] is None else above[2].float().clone()
        ready, packed = _ready(above[0], above[1], hidden), _packed_transposed(w_hh, 4)
        inputs = _Inputs(x, tokens_TB, w_ih, 4)
        back = inputs.behind(ctx.needs_input_grad[0])
        call(
            "lstm_backward", time, batch, units, inputs.width, *back, ready, packed, gates, cells, grads, grad_h, grad_c
        )
        grad_x, grad_ih, grad_hh, bias = inputs.gradients(grads, back[1], hidden[:-1])
        return grad_x, None, grad_h, grad_c, grad_ih, grad_hh, bias, bias


def _run_gru(
    x: Tensor, tokens_TB: Tensor, h_BN: Tensor, weights: tuple[Tensor, ...], *, apart: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the hidden states in bfloat16 and in float32 (T + 1, B, N), W_hn h + b_hn, and the gates."""
    w_ih, w_hh, b_ih, b_hh = weights
    inputs, steps = _Inputs(x, tokens_TB, w_ih, 3), _steps(x, tokens_TB)
    hidden, states = _states(steps, h_BN, BF16), _states(steps, h_BN, torch.float32)
    time, batch, units = hidden[1:].shape
    recurrent = torch.empty_like(hidden[1:])
    x, packed, products = inputs.ahead()
    both = (b_ih + b_hh)[: 2 * units]
    bias = _blocked_bias(torch.cat([both, b_hh[2 * units :], b_ih[2 * units :]]), 4)
    gates = _room_for_gates(products, tokens_TB, (3, *hidden[1:].shape) if apart else None)
    call(
        "gru_forward", time, batch, units, inputs.width, x, packed, products, tokens_TB, gates, _packed(w_hh, 3), bias,
        hidden, states, recurrent, int(apart),
    )  # fmt: skip
    return hidden, states, recurrent, gates


def _run_lstm(
    x: Tensor, tokens_TB: Tensor, h_BN: Tensor, c_BN: Tensor, weights: tuple[Tensor, ...], *, apart: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the hidden states and the cells (T + 1, B, N), and the gates."""
    w_ih, w_hh, b_ih, b_hh = weights
    inputs, steps = _Inputs(x, tokens_TB, w_ih, 4), _steps(x, tokens_TB)
    hidden, cells = _states(steps, h_BN, BF16), _states(steps, c_BN, torch.float32)
    time, batch, units = hidden[1:].shape
    (x, packed, products), bias = inputs.ahead(), _blocked_bias(b_ih + b_hh, 4)
    gates = _room_for_gates(products, tokens_TB, (4, *hidden[1:].shape) if apart else None)
    call(
        "lstm_forward", time, batch, units, inputs.width, x, packed, products, tokens_TB, bias, gates,
        _packed(w_hh, 4), hidden, cells, int(apart),
    )  # fmt: skip
    return hidden, cells, gates


def _steps(x: Tensor, tokens_TB: Tensor) -> int:
    return len(tokens_TB) if tokens_TB.numel() else len(x)


def _room_for_gates(products: Tensor, tokens_TB: Tensor, apart: tuple[int, ...] | None) -> Tensor:
    """Blocked gates take the place of the products, unless those are a table's: nobody else reads them."""
    if apart is not None:
        return torch.empty(apart, dtype=BF16)
    return torch.empty(tokens_TB.numel(), products.shape[1], dtype=BF16) if tokens_TB.numel() else products


def _ready(above_TBN: Tensor | None, last_BN: Tensor | None, hidden: Tensor) -> Tensor:
    """Return the gradients of every step, those of the returned last state added to the last step's.

    None is what no loss depends on; `hidden` says the shape.
    """
    ready = torch.zeros_like(hidden[1:]) if above_TBN is None else above_TBN.to(BF16).contiguous()
    if last_BN is None:
        return ready
    ready = ready.clone() if ready is above_TBN else ready
    ready[-1] += last_BN
    return ready


def _states(time: int, first_BN: Tensor, dtype: torch.dtype) -> Tensor:
    """Return room for the states (T + 1, B, N), the first one filled in."""
    states = torch.empty(time + 1, *first_BN.shape, dtype=dtype)
    states[0] = first_BN
    return states


def _blocked_bias(bias_G: Tensor, gates: int) -> Tensor:
    return bias_G.view(gates, -1, BLOCK).transpose(0, 1).flatten()


def weight_gradients(
    above_SR: Tensor, gates: int, inputs: Tensor, other: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the gradients of the weights (G * N, K) of one or two inputs (..., K), and of a bias, to the same gates.

    They are float32 and in torch's order; `above_SR` are the gates' gradients.
    """
    rows, pairs, width = above_SR.shape[1], _pairs(inputs), inputs.shape[-1]
    other_pairs, other_width = (NOTHING, 0) if other is None else (_pairs(other), other.shape[-1])
    out, other_out, sums = (torch.empty(rows, size) for size in (width, other_width, 1))
    call(
        "weight_gradients", gates, rows // gates, len(above_SR), width, other_width, above_SR, pairs, other_pairs, out,
        other_out, sums,
    )  # fmt: skip
    return out, None if other is None else other_out, sums.flatten()


def _pairs(matrix: Tensor) -> Tensor:
    """Return every two rows of (..., K) interleaved, (K / 16, S / 2, 16, 2); an odd last row is paired with zeros."""
    columns = matrix.shape[-1]
    rows = matrix.numel() // columns
    pairs = torch.empty(columns // BLOCK, (rows + 1) // 2, BLOCK, 2, dtype=BF16)
    call("pack_pairs", rows, columns, matrix, pairs)
    return pairs


def _row_products(x_SK: Tensor, packed: Tensor, columns: int) -> Tensor:
    """Return every row times a packed weight."""
    out = torch.empty(len(x_SK), columns, dtype=BF16)
    call("row_products", *x_SK.shape, columns, x_SK, packed, out)
    return out


def _packed(weight_GK: Tensor, gates: int) -> Tensor:
    packed = torch.empty(weight_GK.shape, dtype=BF16)
    call("pack", gates, len(weight_GK) // gates, weight_GK.shape[1], weight_GK.contiguous(), packed)
    return packed


def _packed_transposed(weight_GK: Tensor, gates: int) -> Tensor:
    packed = torch.empty(weight_GK.shape, dtype=BF16)
    call("pack_transposed", gates, len(weight_GK) // gates, weight_GK.shape[1], weight_GK.contiguous(), packed)
    return packed
