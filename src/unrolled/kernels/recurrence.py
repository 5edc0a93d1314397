"""The recurrences over time of Elman, GRU and LSTM layers, forwards and backwards.

Knows nothing about layers, taps or states.

`Weights` are weight_ih (G*N, D), weight_hh (G*N, N), bias_ih (G*N) and bias_hh (G*N) of one layer, with its G gates
stacked in the order of torch.nn. In bfloat16 on a CPU (that is, under autocast) the compiled kernels run, where there
are any and D and N are multiples of 16; everywhere else torch's own operators do: cuDNN's on a GPU.

The `..._with_gates` functions return the gates of every step, too, where the kernel that runs has them anyway: the
compiled ones, while no gradients are taken.

`x` is (B, T, D); or, with `tokens_BT`, a table (V, D) whose rows `tokens_BT` are the inputs.

Shapes: B batch, T time, D inputs, N units, G gates, V rows of a table.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import compiled, native
from unrolled.kernels.compiled import Weights


def elman(
    x: Tensor, h_BN: Float[Tensor, "B N"], weights: Weights, tokens_BT: Int[Tensor, "B T"] | None = None
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B N"]]:
    """Return every h_t = tanh(W x_t + b + U h_(t-1) + c), and the last one."""
    if _compiled(h_BN, weights):
        return compiled.elman(x, tokens_BT, h_BN, weights)
    x_BTD = x if tokens_BT is None else F.embedding(tokens_BT, x)
    all_BTN, last = torch.rnn_tanh(x_BTD, h_BN[None], list(weights), True, 1, 0.0, torch.is_grad_enabled(), False, True)
    return all_BTN, last[0]


def gru(
    x: Tensor, h_BN: Float[Tensor, "B N"], weights: Weights, tokens_BT: Int[Tensor, "B T"] | None = None
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B N"]]:
    """Return every hidden state of a GRU, and the last one; gates stand in the order r, z, n.

    r = sigmoid(W_r x + b_r + U_r h + c_r)      z = sigmoid(W_z x + b_z + U_z h + c_z)
    n = tanh(W_n x + b_n + r * (U_n h + c_n))   h' = (1 - z) * n + z * h
    """
    if _compiled(h_BN, weights):
        return compiled.gru(x, tokens_BT, h_BN, weights)
    x_BTD = x if tokens_BT is None else F.embedding(tokens_BT, x)
    all_BTN, last = torch.gru(x_BTD, h_BN[None], list(weights), True, 1, 0.0, torch.is_grad_enabled(), False, True)
    return all_BTN, last[0]


def gru_with_gates(
    x: Tensor, h_BN: Float[Tensor, "B N"], weights: Weights, tokens_BT: Int[Tensor, "B T"] | None = None
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B N"], tuple[Tensor, ...]]:
    """Return what `gru` does, and (r, z, n) of every step, (B, T, N) each; nothing there if the kernel keeps none."""
    if _compiled(h_BN, weights) and not torch.is_grad_enabled():
        return compiled.gru_with_gates(x, tokens_BT, h_BN, weights)
    return *gru(x, h_BN, weights, tokens_BT), ()


def lstm(
    x: Tensor,
    h_BN: Float[Tensor, "B N"],
    c_BN: Float[Tensor, "B N"],
    weights: Weights,
    tokens_BT: Int[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Return every hidden state of an LSTM, the last one, and the last cell; gates stand in the order i, f, g, o.

    i, f, o = sigmoid(W x + b + U h + c)   g = tanh(W x + b + U h + c)   cell' = f * cell + i * g
    h' = o * tanh(cell')
    """
    if _compiled(h_BN, weights):
        return compiled.lstm(x, tokens_BT, h_BN, c_BN, weights)
    x_BTD = x if tokens_BT is None else F.embedding(tokens_BT, x)
    all_BTN, hidden, cell = torch.lstm(
        x_BTD, (h_BN[None], c_BN[None]), list(weights), True, 1, 0.0, torch.is_grad_enabled(), False, True
    )
    return all_BTN, hidden[0], cell[0]


def lstm_with_gates(
    x: Tensor,
    h_BN: Float[Tensor, "B N"],
    c_BN: Float[Tensor, "B N"],
    weights: Weights,
    tokens_BT: Int[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B N"], Float[Tensor, "B N"], tuple[Tensor, ...]]:
    """Return what `lstm` does, and (i, f, g, o, c) of every step, (B, T, N) each; nothing if the kernel keeps none."""
    if _compiled(h_BN, weights) and not torch.is_grad_enabled():
        return compiled.lstm_with_gates(x, tokens_BT, h_BN, c_BN, weights)
    return *lstm(x, h_BN, c_BN, weights, tokens_BT), ()


def _compiled(h_BN: Tensor, weights: Weights) -> bool:
    fits = all(size % compiled.BLOCK == 0 for size in (h_BN.shape[1], weights[0].shape[1]))
    fits = fits and all(value.dtype == torch.float32 for value in (h_BN, *weights))
    return native.in_bfloat16(h_BN) and fits and native.library() is not None
