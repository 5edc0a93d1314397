"""Every kernel is its naive twin: outputs and all gradients, in float64, float32 and under bfloat16 autocast.

Only the public functions of unrolled.kernels are called, so that what is behind them may change.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from tolerances import EXACT64, KERNEL_BFLOAT16, KERNEL_BFLOAT16_GRADIENT, KERNEL_FLOAT32, KERNEL_FLOAT32_GRADIENT
from unrolled import kernels
from unrolled.kernels import native

GATES = {"elman": 1, "gru": 3, "lstm": 4}
NAMES = [*GATES, "linear_scan", "dilated_causal_convolution"]
KERNEL, DILATION = 3, 2
SHAPES = [
    *[(1, 1, 5, 5), (3, 2, 7, 7), (5, 7, 13, 9), (1, 33, 17, 17), (7, 33, 40, 40), (3, 64, 96, 96), (2, 50, 31, 31)],
    *[(1, 1, 16, 16), (1, 33, 16, 16), (3, 2, 48, 48), (33, 5, 32, 32), (17, 3, 7, 64), (2, 40, 64, 80)],
    (41, 33, 80, 144),
]
"""B, T, D, N: one step, two, odd, just over a power of two; odd batches; widths that no vector register divides, and
some that all do; more characters than are summed at once."""
quick = settings(max_examples=25, deadline=None, derandomize=True)
each_kernel = pytest.mark.parametrize("name", NAMES)


def normal(generator, *shape, scale=1.0):
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale


def arguments(name, shape, seed=0):
    """Inputs, initial state and weights of sizes as they are in training, float64."""
    batch, time, inputs, units = shape
    g = torch.Generator().manual_seed(seed)
    if name == "linear_scan":
        keep = torch.rand(batch, time, units, generator=g, dtype=torch.float64) * 2 - 1
        return [keep, normal(g, batch, time, units), normal(g, batch, units)]
    x = normal(g, batch, time, inputs)
    if name == "dilated_causal_convolution":
        past = normal(g, batch, (KERNEL - 1) * DILATION, inputs)
        scale = (inputs * KERNEL) ** -0.5
        return [x, past, normal(g, units, KERNEL, inputs, scale=scale), normal(g, units)]
    rows, scale = GATES[name] * units, units**-0.5
    state = [normal(g, batch, units, scale=0.5) for _ in range(2 if name == "lstm" else 1)]
    weights = [normal(g, rows, columns, scale=scale) for columns in (inputs, units)]
    return [x, *state, *weights, normal(g, rows, scale=scale), normal(g, rows, scale=scale)]


def call(where, name, args):
    """All outputs of a kernel (or its twin), as a tuple."""
    if name == "linear_scan":
        return (where.linear_scan(*args),)
    if name == "dilated_causal_convolution":
        return where.dilated_causal_convolution(*args, DILATION)
    return getattr(where, name)(*args[:-4], tuple(args[-4:]))


def outputs_and_gradients(where, name, args, *, used=None, wanted=None):
    """Outputs, and the gradients of a random weighted sum of them (of `used` ones) by the `wanted` arguments."""
    args = [value.clone().requires_grad_(wanted is None or i in wanted) for i, value in enumerate(args)]
    outputs = call(where, name, args)
    g = torch.Generator().manual_seed(99)
    loss = sum(
        (output.double() * normal(g, *output.shape)).sum()
        for i, output in enumerate(outputs)
        if used is None or i in used
    )
    leaves = [value for value in args if value.requires_grad]
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    else:
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
    return [output.detach() for output in outputs], list(gradients)


def furthest(found, twins):
    """The largest difference over all tensors, each as a share of its twin's largest number."""
    assert [a.shape for a in found] == [b.shape for b in twins]
    return max(
        ((a.double() - b).abs().max() / b.abs().max().clamp(min=1e-3)).item() for a, b in zip(found, twins, strict=True)
    )


@each_kernel
@quick
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 999),
)
def test_float64(name, shape, seed):
    args = arguments(name, shape, seed)
    found, gradients = outputs_and_gradients(kernels, name, args)
    twins, twin_gradients = outputs_and_gradients(reference, name, args)
    for a, b in zip([*found, *gradients], [*twins, *twin_gradients], strict=True):
        torch.testing.assert_close(a, b, rtol=EXACT64, atol=EXACT64)


@each_kernel
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_float32_and_bfloat16_autocast(name, shape, compiled, monkeypatch):
    if not compiled:  # as on a machine without a compiler
        monkeypatch.setattr(native, "library", lambda: None)
    args = arguments(name, shape)
    single = [value.float() for value in args]
    twins, twin_gradients = outputs_and_gradients(reference, name, args)
    found, gradients = outputs_and_gradients(kernels, name, single)
    assert furthest(found, twins) < KERNEL_FLOAT32
    assert furthest(gradients, twin_gradients) < KERNEL_FLOAT32_GRADIENT
    with torch.autocast("cpu", torch.bfloat16):
        found, gradients = outputs_and_gradients(kernels, name, single)
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    assert furthest(found, twins) < KERNEL_BFLOAT16
    assert furthest(gradients, twin_gradients) < KERNEL_BFLOAT16_GRADIENT


@each_kernel
def test_a_gradient_of_some_outputs_by_some_arguments(name):
    args = arguments(name, (3, 6, 5, 5))
    for output in range(len(call(reference, name, args))):
        for wanted in ({0}, {1}, {len(args) - 1}, set(range(1, len(args)))):
            _, gradients = outputs_and_gradients(kernels, name, args, used={output}, wanted=wanted)
            _, twins = outputs_and_gradients(reference, name, args, used={output}, wanted=wanted)
            for a, b in zip(gradients, twins, strict=True):
                torch.testing.assert_close(a, b, rtol=EXACT64, atol=EXACT64)


@each_kernel
def test_strided_arguments_and_expanded_gradients(name):
    args = arguments(name, (3, 9, 6, 6))
    strided = [value.transpose(0, -1).contiguous().transpose(0, -1) for value in args]
    assert not strided[0].is_contiguous()
    losses = []
    for where, chosen in ((kernels, strided), (reference, args)):
        leaves = [value.clone(memory_format=torch.preserve_format).requires_grad_() for value in chosen]
        output = call(where, name, leaves)[0]
        losses.append(torch.autograd.grad(output.sum(), leaves))
    for a, b in zip(*losses, strict=True):
        torch.testing.assert_close(a, b, rtol=EXACT64, atol=EXACT64)


@each_kernel
def test_the_same_bits_again_with_and_without_gradients(name):
    args = [value.float() for value in arguments(name, (4, 21, 19, 19))]
    first = outputs_and_gradients(kernels, name, args)
    second = outputs_and_gradients(kernels, name, args)
    assert all(torch.equal(a, b) for kind in (0, 1) for a, b in zip(first[kind], second[kind], strict=True))
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            again = call(kernels, name, args)
        assert furthest([value.clone() for value in again], [value.double() for value in first[0]]) < KERNEL_FLOAT32


@each_kernel
def test_arguments_stay_as_they_were(name):
    args = arguments(name, (3, 9, 6, 6))
    kept = [value.clone() for value in args]
    outputs_and_gradients(kernels, name, args)
    with torch.no_grad():
        call(kernels, name, args)
    assert all(torch.equal(a, b) for a, b in zip(args, kept, strict=True))


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_gates_stay_finite(name, dtype):
    args = [value.to(dtype) for value in arguments(name, (3, 20, 8, 8))]
    args[0] *= 1e4
    found, gradients = outputs_and_gradients(kernels, name, args)
    twins, twin_gradients = outputs_and_gradients(reference, name, args)
    for a, b in zip([*found, *gradients], [*twins, *twin_gradients], strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert found[0].abs().max() <= 1


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 127, 1000])
def test_a_scan_of_any_length_and_a_memory_that_never_fades(length):
    steps = torch.ones(2, length, 3, dtype=torch.float64)
    found = kernels.linear_scan(steps, steps, torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(found[0, :, 0], torch.arange(1, length + 1, dtype=torch.float64), rtol=0, atol=0)
    flipped = kernels.linear_scan(-steps, 0 * steps, steps[:, 0])
    assert torch.equal(flipped[1, :, 2], (-1.0) ** torch.arange(1, length + 1, dtype=torch.float64))


@pytest.mark.parametrize("kernel", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, 3, 8])
@pytest.mark.parametrize("time", [1, 2, 17])
def test_convolutions_of_every_kernel_and_dilation(kernel, dilation, time):
    g = torch.Generator().manual_seed(0)
    x, past = normal(g, 2, time, 3), normal(g, 2, (kernel - 1) * dilation, 3)
    weight, bias = normal(g, 4, kernel, 3), normal(g, 4)
    if kernel == 1:
        past = past[:, :0]
    found = kernels.dilated_causal_convolution(x, past, weight, bias, dilation)
    expected = torch.nn.functional.conv1d(
        torch.cat([past, x], dim=1).transpose(1, 2), weight.transpose(1, 2), bias, dilation=dilation
    ).transpose(1, 2)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=EXACT64)
    assert torch.equal(found[1], torch.cat([past, x], dim=1)[:, time:])
