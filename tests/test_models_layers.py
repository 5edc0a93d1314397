"""The layers are what their docstrings say: torch.nn's for the classic ones, naive loops for the others; float64."""

import pytest
import torch

import families
import reference
from tolerances import EXACT64, GRADIENT64, MODEL_BFLOAT16, MODEL_FLOAT32
from unrolled.models import Layer, Watch, parse_layers, untouched

CLASSIC = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
BOUNDED = {"attention": "transformer(heads=3,window=6)", "narrow": "transformer(heads=1,window=2)"}


def layer_of(pattern: str, width: int) -> Layer:
    torch.manual_seed(3)
    return parse_layers(pattern)[0].build(width, 0)[0].double()


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs_and_gradients(call, leaves, parameters):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    outputs = call(*leaves)
    loss = sum((output * normal(50 + i, *output.shape)).sum() for i, output in enumerate(outputs))
    return [*outputs, *torch.autograd.grad(loss, [*leaves, *parameters])]


def ours(layer):
    def call(x, *state):
        y, after = layer(x, dict(zip(("hidden", "cell"), state, strict=False)), untouched)
        return y, *(after[name] for name in ("hidden", "cell")[: len(state)])

    return call


def theirs(twin, family):
    def call(x, *state):
        y, after = twin(x, tuple(value[None] for value in state) if family == "lstm" else state[0][None])
        return y, *(value[0] for value in (after if family == "lstm" else (after,)))

    return call


@pytest.mark.parametrize("family", CLASSIC)
@pytest.mark.parametrize(("batch", "time", "width"), [(1, 1, 3), (3, 33, 7), (5, 2, 16)])
def test_classic_layers_are_torch_nn_with_the_weights_copied(family, batch, time, width):
    layer, twin = layer_of(family, width), CLASSIC[family](width, width, batch_first=True).double()
    with torch.no_grad():
        for seed, name in enumerate(PARAMETERS):  # none left at a special starting value
            getattr(layer, name).copy_(normal(seed, *getattr(layer, name).shape) * width**-0.5)
            getattr(twin, f"{name}_l0").copy_(getattr(layer, name))
    leaves = [normal(10, batch, time, width), normal(11, batch, width), normal(12, batch, width)]
    leaves = leaves[: 3 if family == "lstm" else 2]
    found = outputs_and_gradients(ours(layer), leaves, [getattr(layer, name) for name in PARAMETERS])
    expected = outputs_and_gradients(theirs(twin, family), leaves, [getattr(twin, f"{name}_l0") for name in PARAMETERS])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=GRADIENT64)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=EXACT64)


def test_gates_stand_in_the_documented_order():
    layer = layer_of("lstm", 2)
    with torch.no_grad():
        for name in PARAMETERS:
            getattr(layer, name).zero_()
        layer.bias_ih.copy_(torch.tensor([9.0, 9.0, 1.0, -1.0, 0.5, -0.5, -9.0, 9.0]))
    seen = {}
    show = Watch(lambda name, value: seen.update({name: value[0, 0].tolist()}))
    layer(torch.zeros(1, 1, 2, dtype=torch.float64), layer.initial_state(1), show)
    many, some, tanh = *torch.tensor([9.0, 1.0]).double().sigmoid().tolist(), torch.tensor(0.5).double().tanh().item()
    assert seen["input_gate"] == pytest.approx([many, many])
    assert seen["forget_gate"] == pytest.approx([some, 1 - some])
    assert seen["candidate"] == pytest.approx([tanh, -tanh])
    assert seen["output_gate"] == pytest.approx([1 - many, many])
    assert seen["cell"] == pytest.approx([many * tanh, -many * tanh])


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("time", [1, 2, 5, 6, 7, 23])
def test_attention_is_the_naive_loop(name, time):
    layer = layer_of(BOUNDED[name], 10)
    x = normal(time, 2, time, 10)

    def naive(x):
        return (torch.stack([reference.attention(row, layer) for row in x]),)

    parameters = [p for p in layer.parameters() if time > 1 or p.dim() > 1]
    found = outputs_and_gradients(lambda x: layer(x, layer.initial_state(2))[:1], [x], parameters)
    for a, b in zip(found, outputs_and_gradients(naive, [x], parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=EXACT64)


@pytest.mark.parametrize("negative", ["true", "false"])
@pytest.mark.parametrize("time", [1, 2, 33])
def test_mingru_is_the_naive_loop(negative, time):
    layer = layer_of(f"mingru(negative={negative},expansion=1.3)", 7)
    assert layer.hidden == 9
    leaves = [normal(1, 3, time, 7), normal(2, 3, 9)]

    def fast(x, hidden):
        y, after = layer(x, {"hidden": hidden})
        return y, after["hidden"]

    parameters = list(layer.parameters())
    found = outputs_and_gradients(fast, leaves, parameters)
    expected = outputs_and_gradients(lambda x, hidden: reference.mingru(x, hidden, layer), leaves, parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=EXACT64)


@pytest.mark.parametrize("family", ["tcn", "wavenet"])
def test_dilations_double_and_start_again_after_a_cycle(family):
    layers = parse_layers(f"{family}(cycle=3)*7")
    assert [layer.build(4, index)[0].dilation for index, layer in enumerate(layers)] == [1, 2, 4, 1, 2, 4, 1]


@pytest.mark.parametrize("name", sorted(families.PATTERNS))
def test_float32_and_bfloat16_logits_and_gradients_are_near_float64(name):
    results = {}
    for kind in ("float64", "float32", "bfloat16"):
        model = families.model(name, width=24, dtype=torch.float64 if kind == "float64" else torch.float32)
        tokens = torch.randint(families.VOCAB, (3, 33), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            model.readout.weight.mul_(10)  # logits of size about 1
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
            logits, state = model(tokens, model(tokens)[1])
        assert {key: value.dtype for key, value in state.items()} == {
            key: value.dtype for key, value in model.initial_state(3).items()
        }
        precise = {torch.float64} if kind == "float64" else {torch.float32, torch.float64}
        assert {value.dtype for value in state.values() if value.is_floating_point()} <= precise
        loss = torch.nn.functional.cross_entropy(logits.double().flatten(0, 1), tokens.roll(-1, 1).flatten())
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        results[kind] = logits.detach().double(), torch.cat([g.double().flatten() for g in gradients])
    for kind, bound in (("float32", MODEL_FLOAT32), ("bfloat16", MODEL_BFLOAT16)):
        for found, exact in zip(results[kind], results["float64"], strict=True):
            assert ((found - exact).norm() / exact.norm()).item() < bound
