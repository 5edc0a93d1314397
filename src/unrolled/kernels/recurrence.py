"""The recurrences over time of Elman, GRU and LSTM layers, forwards and backwards.

Knows nothing about layers, taps or states.

These are torch's own operators: under bfloat16 autocast on a CPU the LSTM runs oneDNN's fused layer, on a GPU all
three run cuDNN's. `Weights` are weight_ih (G*N, D), weight_hh (G*N, N), bias_ih (G*N) and bias_hh (G*N) of one
layer, with its G gates stacked in the order of torch.nn.

Shapes: B batch, T time, D inputs, N units.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Weights = tuple[Tensor, Tensor, Tensor, Tensor]


def elman(
    x_BTD: Float[Tensor, "B T D"], h_BN: Float[Tensor, "B N"], weights: Weights
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B N"]]:
    """Return every h_t = tanh(W x_t + b + U h_(t-1) + c), and the last one."""
    all_BTN, last = torch.rnn_tanh(x_BTD, h_BN[None], list(weights), **_one_layer())
    return all_BTN, last[0]


def gru(
    x_BTD: Float[Tensor, "B T D"], h_BN: Float[Tensor, "B N"], weights: Weights
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B N"]]:
    """Return every hidden state of a GRU, and the last one; gates stand in the order r, z, n.

    r = sigmoid(W_r x + b_r + U_r h + c_r)      z = sigmoid(W_z x + b_z + U_z h + c_z)
    n = tanh(W_n x + b_n + r * (U_n h + c_n))   h' = (1 - z) * n + z * h
    """
    all_BTN, last = torch.gru(x_BTD, h_BN[None], list(weights), **_one_layer())
    return all_BTN, last[0]


def lstm(
    x_BTD: Float[Tensor, "B T D"], h_BN: Float[Tensor, "B N"], c_BN: Float[Tensor, "B N"], weights: Weights
) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Return every hidden state of an LSTM, the last one, and the last cell; gates stand in the order i, f, g, o.

    i, f, o = sigmoid(W x + b + U h + c)   g = tanh(W x + b + U h + c)   cell' = f * cell + i * g
    h' = o * tanh(cell')
    """
    all_BTN, hidden, cell = torch.lstm(x_BTD, (h_BN[None], c_BN[None]), list(weights), **_one_layer())
    return all_BTN, hidden[0], cell[0]


def _one_layer() -> dict[str, bool | int | float]:
    return {
        "has_biases": True,
        "num_layers": 1,
        "dropout": 0.0,
        "train": torch.is_grad_enabled(),
        "bidirectional": False,
        "batch_first": True,
    }
