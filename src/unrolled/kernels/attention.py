"""Causal attention over a sliding window with rotary positions, block by block over time.

Knows nothing about layers. A block of queries meets only the keys that some query of it can see, so that memory and
work grow with T * W and not with T * T. In bfloat16 on a CPU (under autocast) a compiled kernel does everything between
the projection of the heads and their output, one head of one stream at a time in the processor's cache; its memory
grows with T + W. Elsewhere on a CPU plain matrix products and a softmax are two to three times faster than torch's
fused kernel in bfloat16 (docs/LOG.md); on a GPU the fused kernel runs.

Shapes: B batch, H heads, T time, K head width, N = H * K, W window, P = W - 1 steps of the past, S = P + T.
"""

import functools
import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import native

ROTARY_BASE = 10_000.0
SMALLEST_BLOCK = 128
BLOCK = 16


def rotary_attention(
    heads_BT3HK: Float[Tensor, "B T 3 H K"],
    past_keys_BHPK: Float[Tensor, "B H P K"],
    past_values_BHPK: Float[Tensor, "B H P K"],
    filled_B: Int[Tensor, "B"],
) -> Float[Tensor, "B T N"]:
    """Return, for each step and head, the values of the last W = P + 1 steps mixed by softmax(<R q, R k> / sqrt(K)).

    `heads_BT3HK` holds queries, keys and values of the new steps. Keys come unturned; R turns each pair of numbers
    (k, k + K/2), K being even, by an angle that grows with the position, counted from the window's start. Of the past
    only the last `filled_B` steps of each row are real. Source: Su et al. 2021, arXiv 2104.09864.
    """
    learns_past = torch.is_grad_enabled() and (past_keys_BHPK.requires_grad or past_values_BHPK.requires_grad)
    if (
        native.in_bfloat16(heads_BT3HK)
        and heads_BT3HK.dtype == torch.bfloat16
        and not learns_past
        and native.library() is not None
    ):
        past = (past.detach().float().contiguous() for past in (past_keys_BHPK, past_values_BHPK))
        mixed_BTHK = _RotaryAttention.apply(heads_BT3HK.contiguous(), *past, filled_B.long().contiguous())
        return mixed_BTHK.flatten(2)
    query, new_keys, new_values = heads_BT3HK.permute(2, 0, 3, 1, 4)
    keys = torch.cat([past_keys_BHPK.to(new_keys.dtype), new_keys], dim=2)
    values = torch.cat([past_values_BHPK.to(new_values.dtype), new_values], dim=2)
    past = past_keys_BHPK.shape[2]
    mixed_BHTK = windowed_attention(_turned(query, past), _turned(keys, 0), values, filled_B, past + 1)
    return mixed_BHTK.transpose(1, 2).flatten(2)


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


def _frequencies(width: int, kind: dict[str, Any]) -> Tensor:
    return ROTARY_BASE ** -(torch.arange(0, width, 2, **kind) / width)


def _turned(heads_BHTK: Tensor, start: int) -> Tensor:
    """Return the heads with each pair of numbers turned by the angle of its position, counted from `start`."""
    # Positions stay below W + T, so float32 angles are exact enough for every model that is not float64 itself.
    kind = {"device": heads_BHTK.device, "dtype": torch.promote_types(heads_BHTK.dtype, torch.float32)}
    positions = torch.arange(start, start + heads_BHTK.shape[2], **kind)
    angles = torch.outer(positions, _frequencies(heads_BHTK.shape[3], kind))
    cosine, sine = angles.cos().to(heads_BHTK.dtype), angles.sin().to(heads_BHTK.dtype)
    first, second = heads_BHTK.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


@functools.lru_cache(maxsize=8)
def _angles(steps: int, width: int) -> Tensor:
    """Return cosines and sines (S, 2, K/2) in float32, padded with zeros to whole blocks, as the kernel reads them."""
    kind = {"dtype": torch.float64}
    angles = torch.outer(torch.arange(steps, **kind), _frequencies(width, kind))
    return F.pad(torch.stack([angles.cos(), angles.sin()], dim=1), (0, -angles.shape[1] % BLOCK)).float().contiguous()


class _RotaryAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads: Tensor, past_keys: Tensor, past_values: Tensor, filled: Tensor) -> Tensor:
        batch, time, _, count, width = heads.shape
        past = past_keys.shape[2]
        mixed = torch.empty(batch, time, count, width, dtype=torch.bfloat16)
        kept = torch.empty(batch, count, time, 2)
        angles = _angles(past + time, width)
        native.call(
            "attention_forward", batch, time, count, width, past, heads, past_keys, past_values, filled, angles, mixed,
            kept,
        )  # fmt: skip
        ctx.save_for_backward(heads, past_keys, past_values, filled, kept)
        return mixed

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        heads, past_keys, past_values, filled, kept = ctx.saved_tensors
        batch, time, _, count, width = heads.shape
        past = past_keys.shape[2]
        grad, ready = torch.empty_like(heads), above[0].to(torch.bfloat16).contiguous()
        native.call(
            "attention_backward", batch, time, count, width, past, heads, past_keys, past_values, filled,
            _angles(past + time, width), kept, ready, grad,
        )  # fmt: skip
        return grad, None, None, None
