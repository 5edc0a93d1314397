"""Naive twins: every fast computation once more as plain loops, to be read by eye and compared with.

Written from the equations in the family docstrings, not from the code. Nothing here is fast or clever.
Shapes: B batch, T time, D inputs, N units, H heads, K head width or kernel size, W window.
"""

import itertools
import math

import numpy as np
import torch


def elman(x_BTD, h_BN, weights):
    w, u, b, c = weights
    out = []
    for t in range(x_BTD.shape[1]):
        h_BN = torch.tanh(x_BTD[:, t] @ w.T + b + h_BN @ u.T + c)
        out.append(h_BN)
    return torch.stack(out, dim=1), h_BN


def gru(x_BTD, h_BN, weights):
    (w_r, w_z, w_n), (u_r, u_z, u_n), (b_r, b_z, b_n), (c_r, c_z, c_n) = (part.chunk(3) for part in weights)
    out = []
    for t in range(x_BTD.shape[1]):
        x = x_BTD[:, t]
        r = torch.sigmoid(x @ w_r.T + b_r + h_BN @ u_r.T + c_r)
        z = torch.sigmoid(x @ w_z.T + b_z + h_BN @ u_z.T + c_z)
        n = torch.tanh(x @ w_n.T + b_n + r * (h_BN @ u_n.T + c_n))
        h_BN = (1 - z) * n + z * h_BN
        out.append(h_BN)
    return torch.stack(out, dim=1), h_BN


def lstm(x_BTD, h_BN, c_BN, weights):
    (w_i, w_f, w_g, w_o), (u_i, u_f, u_g, u_o), (b_i, b_f, b_g, b_o), (d_i, d_f, d_g, d_o) = (
        part.chunk(4) for part in weights
    )
    out = []
    for t in range(x_BTD.shape[1]):
        x = x_BTD[:, t]
        i = torch.sigmoid(x @ w_i.T + b_i + h_BN @ u_i.T + d_i)
        f = torch.sigmoid(x @ w_f.T + b_f + h_BN @ u_f.T + d_f)
        g = torch.tanh(x @ w_g.T + b_g + h_BN @ u_g.T + d_g)
        o = torch.sigmoid(x @ w_o.T + b_o + h_BN @ u_o.T + d_o)
        c_BN = f * c_BN + i * g
        h_BN = o * torch.tanh(c_BN)
        out.append(h_BN)
    return torch.stack(out, dim=1), h_BN, c_BN


def linear_scan(a_BTN, b_BTN, h_BN):
    out = []
    for t in range(a_BTN.shape[1]):
        h_BN = a_BTN[:, t] * h_BN + b_BTN[:, t]
        out.append(h_BN)
    return torch.stack(out, dim=1)


def dilated_causal_convolution(x_BTD, past_BPD, weight_NKD, bias_N, dilation):
    past, kernel = past_BPD.shape[1], weight_NKD.shape[1]
    seen = [past_BPD[:, p] for p in range(past)] + [x_BTD[:, t] for t in range(x_BTD.shape[1])]
    out = []
    for t in range(x_BTD.shape[1]):
        y = bias_N.expand(x_BTD.shape[0], -1)
        for j in range(kernel):
            y = y + seen[past + t - (kernel - 1 - j) * dilation] @ weight_NKD[:, j].T
        out.append(y)
    return torch.stack(out, dim=1), torch.stack(seen[len(seen) - past :], dim=1)


def rotated(vector_K, position):
    """Turn each pair (k, k + K/2) of a vector by position * 10000^(-2k/K)."""
    half = len(vector_K) // 2
    out = [None] * len(vector_K)
    for k in range(half):
        angle = position * 10_000.0 ** (-2 * k / len(vector_K))
        a, b = vector_K[k], vector_K[k + half]
        out[k] = a * math.cos(angle) - b * math.sin(angle)
        out[k + half] = b * math.cos(angle) + a * math.sin(angle)
    return torch.stack(out)


def attention(x_TD, layer):
    """One row, from nothing, with absolute positions: y_t attends to t-W < j <= t."""
    heads, width = layer.heads, layer.head_width
    qkv_TN = x_TD @ layer.query_key_value.weight.T + layer.query_key_value.bias
    out = []
    for t in range(len(x_TD)):
        mixed = []
        for h in range(heads):
            q, k, v = (qkv_TN[:, (part * heads + h) * width :][:, :width] for part in range(3))
            window = range(max(0, t - layer.window + 1), t + 1)
            scores = [rotated(q[t], t) @ rotated(k[j], j) / math.sqrt(width) for j in window]
            shares = torch.softmax(torch.stack(scores), dim=0)
            mixed.append(sum(share * v[j] for share, j in zip(shares, window, strict=True)))
        out.append(torch.cat(mixed) @ layer.output.weight.T + layer.output.bias)
    return torch.stack(out)


def mingru(x_BTD, h_BN, layer):
    out = []
    for t in range(x_BTD.shape[1]):
        z = torch.sigmoid(x_BTD[:, t] @ layer.gate.weight.T + layer.gate.bias)
        n = x_BTD[:, t] @ layer.candidate.weight.T + layer.candidate.bias
        keep = 1 - 2 * z if layer.negative else 1 - z
        h_BN = keep * h_BN + z * n
        out.append(h_BN @ layer.output.weight.T + layer.output.bias)
    return torch.stack(out, dim=1), h_BN


def distribution(logits, *, temperature=1.0, top_k=None, top_p=None):
    """Next-symbol probabilities as a plain list; symbol 0 (unknown) has none. Ties go to the lower id."""
    logits = [-math.inf, *map(float, logits[1:])]
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if temperature == 0:
        return [float(i == order[0]) for i in range(len(logits))]
    weights = [math.exp((value - max(logits)) / temperature) for value in logits]
    if top_k is not None:
        weights = [weight if i in order[:top_k] else 0.0 for i, weight in enumerate(weights)]
    probabilities = [weight / sum(weights) for weight in weights]
    if top_p is not None:
        kept, reached = [], 0.0
        for i in order:
            if reached >= top_p:
                break
            kept.append(i)
            reached += probabilities[i]
        probabilities = [p / reached if i in kept else 0.0 for i, p in enumerate(probabilities)]
    return probabilities


def carried_nats(model, ids):
    """The cost of each character but the first, state carried, one character at a time."""
    ids, state, costs = np.asarray(ids).astype(np.int64), None, []
    for now, following in itertools.pairwise(ids):
        with torch.no_grad():
            logits, state = model(torch.tensor([[now]]), state)
        costs.append(-logits[0, 0].log_softmax(-1)[following].item())
    return costs


def reset_nats(model, ids, window):
    """The cost of each character but the first, from a cold start every `window` characters."""
    return [cost for start in range(0, len(ids) - 1, window) for cost in carried_nats(model, ids[start:][: window + 1])]
