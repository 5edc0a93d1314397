"""Attention over a window with rotary positions, and gelu: the naive loop in float64 against every path.

Shapes: B batch, T time, H heads, K head width, W window, P = W - 1 steps of the past.
"""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from tolerances import (
    EXACT64,
    KERNEL_ATTENTION_BFLOAT16,
    KERNEL_ATTENTION_BFLOAT16_GRADIENT,
    KERNEL_FLOAT32,
    KERNEL_FLOAT32_GRADIENT,
    KERNEL_MLP_BFLOAT16,
)
from unrolled.kernels import gelu_mlp, native, rotary_attention

SHAPES = [
    *[(1, 1, 1, 2, 1), (2, 1, 3, 8, 1), (2, 5, 2, 8, 1), (3, 1, 2, 32, 6), (2, 7, 3, 30, 5), (2, 33, 1, 10, 18)],
    *[(4, 17, 2, 32, 64), (2, 5, 2, 34, 40), (3, 64, 4, 32, 64), (2, 65, 1, 66, 17), (1, 100, 2, 128, 33)],
    *[(2, 16, 1, 16, 16), (5, 150, 2, 6, 3)],
]
"""B, T, H, K, W: one step, a window of one, odd lengths, windows longer than the steps, widths no register divides."""
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
compiled_only = pytest.mark.skipif(native.library() is None, reason=f"no compiled kernels here: {native.problem()}")


def naive_attention(heads_BT3HK, keys_BHPK, values_BHPK, filled_B):
    """The definition, every query against every key, with positions as complex numbers' angles."""
    past, time, width = keys_BHPK.shape[2], heads_BT3HK.shape[1], heads_BT3HK.shape[4]
    query, new_keys, new_values = heads_BT3HK.permute(2, 0, 3, 1, 4)
    keys, values = torch.cat([keys_BHPK, new_keys], dim=2), torch.cat([values_BHPK, new_values], dim=2)
    step, place = torch.arange(past, past + time)[:, None], torch.arange(past + time)
    allowed_BTS = (place <= step) & (place >= step - past) & (place >= past - filled_B[:, None, None])
    angles = torch.outer(place.double(), 10_000.0 ** (-torch.arange(0, width, 2).double() / width))
    turned_query, turned_keys = (
        torch.complex(*vectors.chunk(2, dim=-1)) * torch.polar(torch.ones_like(part), part)
        for vectors, part in ((query, angles[past:]), (keys, angles))
    )
    scores_BHTS = (turned_query @ turned_keys.mH).real / math.sqrt(width)
    shares_BHTS = scores_BHTS.masked_fill(~allowed_BTS[:, None], -math.inf).softmax(-1)
    return (shares_BHTS @ values).transpose(1, 2).flatten(2)


def arguments(shape, seed=0):
    """Heads, past keys and values, all of them numbers that bfloat16 holds, and fillings that differ by row."""
    batch, time, heads, width, window = shape
    g = torch.Generator().manual_seed(seed)
    sizes = [(batch, time, 3, heads, width), *[(batch, heads, window - 1, width)] * 2]
    tensors = [torch.randn(size, generator=g).bfloat16().double() for size in sizes]
    return [*tensors, torch.randint(0, window, (batch,), generator=g)]


def output_and_gradient(function, args, past_learns=False):
    """The mixed values, and the gradients of a random weighted sum of them by the heads (and the past)."""
    *tensors, filled_B = (value.clone() for value in args)
    learning = tensors if past_learns else tensors[:1]
    for tensor in learning:
        tensor.requires_grad_()
    mixed = function(*tensors, filled_B)
    above = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(9)).bfloat16().to(mixed.dtype)
    gradients = torch.autograd.grad(mixed, learning, above, allow_unused=True, materialize_grads=True)
    return [mixed.detach(), *gradients]


def furthest(found, twin):
    """The largest difference as a share of the twin's largest number."""
    assert found.shape == twin.shape
    return ((found.double() - twin).abs().max() / twin.abs().max().clamp(min=1e-3)).item() if twin.numel() else 0.0


def in_bfloat16(args, past_learns=False):
    """The kernel as a layer calls it under autocast: heads in bfloat16, the past in float32."""
    heads, keys, values, filled_B = args
    with torch.autocast("cpu", torch.bfloat16):
        given = [heads.bfloat16(), keys.float(), values.float(), filled_B]
        return output_and_gradient(rotary_attention, given, past_learns)


@each_shape
def test_float64_and_float32_are_the_definition(shape):
    args = arguments(shape)
    twins = output_and_gradient(naive_attention, args, past_learns=True)
    for found, twin in zip(output_and_gradient(rotary_attention, args, past_learns=True), twins, strict=True):
        torch.testing.assert_close(found, twin, rtol=EXACT64, atol=EXACT64)
    single = [*(value.float() for value in args[:3]), args[3]]
    mixed, *gradients = output_and_gradient(rotary_attention, single, past_learns=True)
    assert furthest(mixed, twins[0]) < KERNEL_FLOAT32
    for found, twin in zip(gradients, twins[1:], strict=True):
        assert furthest(found, twin) < KERNEL_FLOAT32_GRADIENT


@each_shape
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_bfloat16_is_the_definition_but_for_rounding(shape, compiled, monkeypatch):
    if not compiled:  # as on a machine without a compiler
        monkeypatch.setattr(native, "library", lambda: None)
    args = arguments(shape)
    mixed, gradient = in_bfloat16(args)
    twin, twin_gradient = output_and_gradient(naive_attention, args)
    assert furthest(mixed, twin) < KERNEL_ATTENTION_BFLOAT16
    assert furthest(gradient, twin_gradient) < KERNEL_ATTENTION_BFLOAT16_GRADIENT


@compiled_only
@each_shape
def test_the_compiled_kernel_is_nearer_to_the_definition_than_torch(shape, monkeypatch):
    args = arguments(shape)
    twins = output_and_gradient(naive_attention, args)
    distances = {}
    for name in ("compiled", "torch"):
        if name == "torch":
            monkeypatch.setattr(native, "library", lambda: None)
        distances[name] = [(found.double() - twin).norm() for found, twin in zip(in_bfloat16(args), twins, strict=True)]
    assert all(mine <= theirs for mine, theirs in zip(*distances.values(), strict=True))


@compiled_only
def test_the_compiled_kernel_runs_unless_the_past_learns(monkeypatch):
    called = []
    real = native.call
    monkeypatch.setattr(native, "call", lambda name, *rest: (called.append(name), real(name, *rest)))
    args = arguments((2, 5, 2, 8, 4))
    in_bfloat16(args)
    assert called == ["attention_forward", "attention_backward"]
    assert all(gradient.abs().sum() > 0 for gradient in in_bfloat16(args, past_learns=True)[1:])
    assert len(called) == 2


@compiled_only
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_bits_with_any_number_of_threads_and_whatever_the_forgotten_past_holds(threads):
    args = arguments((3, 40, 2, 24, 20))
    expected = in_bfloat16(args)
    for tensor in args[1:3]:
        for row, filled in enumerate(args[3]):
            tensor[row, :, : 19 - int(filled)] = 1e4
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = in_bfloat16(args)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@compiled_only
def test_large_scores_neither_overflow_nor_vanish():
    args = arguments((2, 20, 1, 8, 8))
    args[0][:, :, :2] *= 1000
    found, twin = in_bfloat16(args), output_and_gradient(naive_attention, args)
    assert all(value.isfinite().all() for value in found)
    # With one key far ahead of all others the values come through as they are, but where two are nearly equal.
    same = (found[0].double() - twin[0]).abs() < KERNEL_ATTENTION_BFLOAT16
    assert same.double().mean() > 0.9


def mlp_arguments(rows, width, hidden):
    g = torch.Generator().manual_seed(3)
    sizes = [(rows, width), (hidden, width), (hidden,), (width, hidden), (width,)]
    return [(torch.randn(size, generator=g) / max(1, size[-1]) ** 0.25).bfloat16().double() for size in sizes]


def naive_mlp(x, up, up_bias, down, down_bias):
    hidden = x @ up.T + up_bias
    hidden = hidden * torch.special.ndtr(hidden)
    return hidden @ down.T + down_bias, hidden


def mlp_and_gradients(function, args):
    leaves = [value.clone().requires_grad_() for value in args]
    y, hidden = function(*leaves)
    above = torch.randn(y.shape, generator=torch.Generator().manual_seed(9)).to(y.dtype)
    return [hidden.detach(), y.detach(), *torch.autograd.grad(y, leaves, above)]


@pytest.mark.parametrize(
    "sizes", [(1, 4, 16), (1, 16, 16), (7, 16, 48), (33, 32, 20), (47, 80, 112), (96, 32, 64), (203, 128, 512)], ids=str
)
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_the_mlp_is_the_exact_one_in_every_precision(sizes, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
    args, shown = mlp_arguments(*sizes), partial(gelu_mlp, shown=True)
    twins = mlp_and_gradients(naive_mlp, args)
    for found, twin in zip(mlp_and_gradients(shown, args), twins, strict=True):
        torch.testing.assert_close(found, twin, rtol=EXACT64, atol=EXACT64)
    with torch.autocast("cpu", torch.bfloat16):
        found = mlp_and_gradients(shown, [value.float() for value in args])
        assert [value.dtype for value in found] == [torch.bfloat16] * 2 + [torch.float32] * 5
        assert all(furthest(a, b) < KERNEL_MLP_BFLOAT16 for a, b in zip(found, twins, strict=True))
        # What is shown or learned from does not change what comes out.
        with torch.inference_mode():
            y, nothing = gelu_mlp(*[value.float() for value in args])
        assert nothing is None and torch.equal(y, found[1])


@compiled_only
def test_gelu_is_right_to_bfloat16_for_every_number_it_holds():
    """Out of 65,536 numbers, the finite ones up to 100 in size, one column each: their gelu and its slope."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    x = bits.view(torch.bfloat16)
    x = x[x.isfinite() & (x.abs() <= 100) & (x.abs() >= 1e-30)]
    x = F.pad(x, (0, -len(x) % 16))
    weight, zero = torch.eye(16, requires_grad=True), torch.zeros(16)
    with torch.autocast("cpu", torch.bfloat16):
        leaf = x.view(-1, 16).clone().requires_grad_()
        y, _ = gelu_mlp(leaf, weight, zero, weight, zero)
        (slope,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
    wide = x.double().requires_grad_()
    twin = wide * torch.erfc(-wide / math.sqrt(2)) / 2
    (twin_slope,) = torch.autograd.grad(twin.sum(), wide)
    rounding, smallest = 2**-8 * 1.1, 1e-30
    assert ((y.flatten().double() - twin).abs() <= rounding * twin.abs() + smallest).all()
    # Where the slope is a difference of two numbers of size 0.2, it is as exact as they are.
    assert ((slope.flatten().double() - twin_slope).abs() <= rounding * twin_slope.abs() + 1e-4).all()
