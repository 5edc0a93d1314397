"""Causal attention over a sliding window, block by block over time.

Knows nothing about layers or positions: queries and keys come as they shall be compared.

A block of queries meets only the keys that some query of it can see, so that memory and work grow with T * W and not
with T * T. On a CPU plain matrix products and a softmax are two to three times faster than torch's fused kernel in
bfloat16 (docs/LOG.md); on a GPU the fused kernel runs.

Shapes: B batch, H heads, T time, K head width, W window, P = W - 1 steps of the past, S = P + T.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

SMALLEST_BLOCK = 128


def windowed_attention(
    query_BHTK: Float[Tensor, "B H T K"],
    keys_BHSK: Float[Tensor, "B H S K"],
    values_BHSK: Float[Tensor, "B H S K"],
    filled_B: Int[Tensor, "B"],
    window: int,
) -> Float[Tensor, "B H T K"]:
    """Return, for each step, the values of the last W steps mixed by softmax(q k / sqrt(K)).

    The first P keys and values are the past, of which only the last `filled_B` of each row are real.
    """
    time, past = query_BHTK.shape[2], window - 1
    query_BHTK = query_BHTK / math.sqrt(query_BHTK.shape[3])
    short = past > 0 and not bool((filled_B >= past).all())
    mixed = []
    block = max(SMALLEST_BLOCK, window)
    for start in range(0, time, block):
        stop = min(start + block, time)
        seen = slice(start, stop + past)
        bias = _bias(stop - start, window, query_BHTK, filled_B if short and start < past else None, start)
        mixed.append(_attend(query_BHTK[:, :, start:stop], keys_BHSK[:, :, seen], values_BHSK[:, :, seen], bias))
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)


def _attend(query_BHTK: Tensor, keys_BHSK: Tensor, values_BHSK: Tensor, bias_R1TS: Tensor) -> Tensor:
    if query_BHTK.device.type != "cpu":
        return F.scaled_dot_product_attention(query_BHTK, keys_BHSK, values_BHSK, attn_mask=bias_R1TS, scale=1.0)
    batch, heads, time, width = query_BHTK.shape
    bias = bias_R1TS.expand(batch, heads, -1, -1).flatten(0, 1)
    scores = torch.baddbmm(bias, query_BHTK.flatten(0, 1), keys_BHSK.flatten(0, 1).transpose(1, 2))
    return torch.bmm(scores.softmax(-1), values_BHSK.flatten(0, 1)).view(batch, heads, time, width)


def _bias(time: int, window: int, like: Tensor, filled_B: Tensor | None, start: int) -> Tensor:
    """Return (R, 1, T, S): zero where a step may look, minus infinity elsewhere; R is 1 when all rows agree."""
    past, device = window - 1, like.device
    step = torch.arange(time, device=device)[:, None]
    key = torch.arange(past + time, device=device)[None, :]
    allowed = ((key >= step) & (key <= step + past))[None, None]
    if filled_B is not None:
        allowed = allowed & (key + start >= (past - filled_B)[:, None, None, None])
    return torch.zeros(allowed.shape, dtype=like.dtype, device=device).masked_fill_(~allowed, -math.inf)
