"""A first layer that reads rows of a table does what it does on the rows looked up: outputs and gradients."""

import pytest
import torch

from tolerances import EXACT64, KERNEL_FLOAT32_GRADIENT, ROWS_BF16
from unrolled.kernels import elman, gru, lookup, lstm, native
from unrolled.models import FAMILIES

KERNELS = {"rnn": elman, "gru": gru, "lstm": lstm}


def both(name, dtype, precision, batch=5, time=9, width=32, symbols=7):
    """Return outputs and gradients of a layer on vectors and on rows of the table they come from."""
    generator = torch.Generator().manual_seed(3)
    (layer,) = FAMILIES[name]().build(width, 0)
    layer = layer.to(dtype)
    table = torch.randn(symbols, width, generator=generator, dtype=dtype).requires_grad_()
    tokens = torch.randint(symbols, (batch, time), generator=generator)
    state = {key: torch.randn(value.shape, generator=generator, dtype=dtype) for key, value in
             layer.initial_state(batch).items()}  # fmt: skip
    above = torch.randn(batch, time, width, generator=generator, dtype=dtype)
    results = []
    for read in (lambda: layer(table[tokens], state), lambda: layer.read_rows(table, tokens, state)):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            out, after = read()
        loss = (out.to(dtype) * above).sum() + sum((value * 0.5).sum() for value in after.values())
        gradients = torch.autograd.grad(loss, [table, *layer.parameters()])
        results.append([out.to(dtype), *after.values(), *gradients])
    return results


@pytest.mark.parametrize("name", KERNELS)
def test_rows_in_float64(name):
    for looked_up, rows in zip(*both(name, torch.float64, "float32"), strict=True):
        torch.testing.assert_close(rows, looked_up, rtol=0, atol=EXACT64)


@pytest.mark.parametrize("name", KERNELS)
def test_rows_in_bfloat16(name):
    for looked_up, rows in zip(*both(name, torch.float32, "bfloat16"), strict=True):
        assert (rows - looked_up).norm() <= ROWS_BF16 * looked_up.norm()


@pytest.mark.skipif(native.library() is None, reason=f"no compiled kernels here: {native.problem()}")
@pytest.mark.parametrize("name", KERNELS)
def test_the_compiled_kernel_is_what_runs(name, monkeypatch):
    called = []
    real = native.call
    monkeypatch.setattr(
        "unrolled.kernels.compiled.call", lambda kernel, *rest: (called.append(kernel), real(kernel, *rest))
    )
    both(name, torch.float32, "bfloat16")
    family = {"rnn": "elman"}.get(name, name)
    assert {f"{family}_forward", f"{family}_backward", "scatter_rows"} <= set(called)


@pytest.mark.parametrize("turned", [False, True], ids=["lanes outside", "time outside"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("batch", "time", "width"), [(1, 1, 16), (5, 9, 48), (3, 7, 20)], ids=str)
def test_a_lookup_is_an_embedding(batch, time, width, precision, turned):
    generator = torch.Generator().manual_seed(4)
    table = torch.randn(7, width, generator=generator).requires_grad_()
    tokens = torch.randint(7, (batch, time), generator=generator)
    tokens = tokens.t().contiguous().t() if turned else tokens
    above = torch.randn(batch, time, width, generator=generator)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        found = lookup(table, tokens)
    right = torch.nn.functional.embedding(tokens, table)
    assert torch.equal(found, right)
    gradients = [torch.autograd.grad((value * above).sum(), table)[0] for value in (found, right)]
    torch.testing.assert_close(*gradients, rtol=0, atol=KERNEL_FLOAT32_GRADIENT)
