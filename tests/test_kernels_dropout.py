"""Dropout: how much is dropped, that the mask is the same on the way back, and that torch's seed decides it."""

import pytest
import torch

from tolerances import DROPPED_SHARE
from unrolled.kernels import dropout, native

compiled_only = pytest.mark.skipif(native.library() is None, reason=f"no compiled kernels here: {native.problem()}")


def dropped(x, probability, seed=0):
    torch.manual_seed(seed)
    with torch.autocast("cpu", torch.bfloat16):
        return dropout(x, probability, training=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_growth_of_the_rest(dtype, probability):
    x = torch.ones(64, 50, 32, dtype=dtype)
    out = dropped(x, probability)
    assert abs((out == 0).double().mean().item() - probability) < DROPPED_SHARE
    kept = out[out != 0]
    assert torch.equal(kept, torch.full_like(kept, 1 / (1 - probability)))
    # No row, column or neighbour is dropped together.
    zeros = (out == 0).double()
    for axis in range(3):
        assert (zeros.mean(axis) - probability).abs().max() < 0.5
    both = (zeros[:, :, 1:] * zeros[:, :, :-1]).mean().item()
    assert abs(both - probability**2) < DROPPED_SHARE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_mask_backwards_also_for_strided_inputs(dtype):
    x = torch.randn(6, 5, 16).to(dtype).transpose(0, 1).requires_grad_()
    out = dropped(x, 0.4)
    (gradient,) = torch.autograd.grad(out, x, torch.ones_like(out))
    assert torch.equal(gradient == 0, out == 0)
    assert out.shape == x.shape


def test_torch_s_seed_decides():
    x = torch.ones(8, 8, 16, dtype=torch.bfloat16)
    assert torch.equal(dropped(x, 0.5, seed=1), dropped(x, 0.5, seed=1))
    assert not torch.equal(dropped(x, 0.5, seed=1), dropped(x, 0.5, seed=2))


def test_nothing_happens_without_training_or_probability():
    x = torch.ones(2, 2, 16, dtype=torch.bfloat16)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x


@compiled_only
def test_the_compiled_kernel_is_what_runs(monkeypatch):
    called = []
    real = native.call
    monkeypatch.setattr(native, "call", lambda name, *rest: (called.append(name), real(name, *rest)))
    dropped(torch.ones(2, 2, 16, dtype=torch.bfloat16), 0.5)
    assert called == ["dropout"]
