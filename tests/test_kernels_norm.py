"""The sum and norm of one pass are what float64 says: outputs and gradients, whatever is used of them."""

import pytest
import torch

from tolerances import EXACT64, KERNEL_NORM_BFLOAT16
from unrolled.kernels import add_rms_norm, native

SHAPES = [(1, 1, 16), (3, 7, 48), (5, 2, 256), (2, 33, 80)]
USED = {"both": (0, 1), "the sum": (0,), "the norm": (1,)}


def twin(x, y, gain):
    """By the formula."""
    total = x + y
    return total, total / (total.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain


def run(function, shape, dtypes, used, *, turned=False):
    """Return outputs and gradients; `turned` puts time outside in memory."""
    generator = torch.Generator().manual_seed(5)
    x, y, above_sum, above_norm = (torch.randn(shape, generator=generator).bfloat16().double() for _ in range(4))
    gain = torch.randn(shape[-1], generator=generator).double() + 1.0
    given = [value.to(dtype) for value, dtype in zip((x, y, gain), (*dtypes, dtypes[0]), strict=True)]
    if turned:
        given[:2] = [value.transpose(0, 1).contiguous().transpose(0, 1) for value in given[:2]]
    leaves = [value.requires_grad_() for value in given]
    outputs = function(*leaves)
    losses = [(out.double() * above).sum() for out, above in zip(outputs, (above_sum, above_norm), strict=True)]
    gradients = torch.autograd.grad(sum(losses[i] for i in used), leaves, allow_unused=True, materialize_grads=True)
    return [*outputs, *gradients]


@pytest.mark.parametrize("used", USED.values(), ids=USED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_float64(shape, used):
    double = (torch.float64, torch.float64)
    for found, right in zip(run(add_rms_norm, shape, double, used), run(twin, shape, double, used), strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=EXACT64)


@pytest.mark.parametrize("turned", [False, True], ids=["lanes outside", "time outside"])
@pytest.mark.parametrize("used", USED.values(), ids=USED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_in_bfloat16(shape, used, turned, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
    with torch.autocast("cpu", torch.bfloat16):
        results = run(add_rms_norm, shape, (torch.float32, torch.bfloat16), used, turned=turned)
    assert [value.dtype for value in results[2:]] == [torch.float32, torch.bfloat16, torch.float32]
    assert results[0].dtype == torch.float32
    for found, right in zip(results, run(twin, shape, (torch.float64, torch.float64), used), strict=True):
        assert (found - right).abs().max() <= KERNEL_NORM_BFLOAT16 * right.abs().max()
