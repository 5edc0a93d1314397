"""Watching in bfloat16: what is shown is what the kernel used, and it changes nothing and costs no second pass."""

import pytest
import torch

import families
from tolerances import KEPT_BFLOAT16, KEPT_FLOAT32, UNITS_BFLOAT16
from unrolled import kernels
from unrolled.kernels import native
from unrolled.models import Edit, ModelConfig, StackConfig, Tap, parse_layers, stack
from unrolled.models.gru import GRU
from unrolled.models.lstm import LSTM

LAYERS = {"rnn": "rnn*2", "gru": "gru*2", "lstm": "lstm*2", "hybrid": "lstm gru mingru rnn"}
GATES = {"gru": 3, "lstm": 4}
SHAPES = [(1, 1, 16, 16), (3, 2, 48, 48), (33, 5, 32, 32), (17, 3, 16, 64), (2, 70, 64, 80)]
"""B, T, D, N: one step, one lane, odd batches, one block of units and several."""
compiled_only = pytest.mark.skipif(
    native.library() is None, reason=f"no compiled kernels here: {native.problem()}"
)  # fmt: skip
each_model = pytest.mark.parametrize("name", LAYERS)
either_way = pytest.mark.parametrize("pay", [0, 10**9], ids=["table", "no-table"])


class Keep(Tap):
    """Keeps what it is shown, and no copy of it."""

    def __init__(self, wanted=lambda _: True):
        self.wanted, self.seen = wanted, {}

    def watches(self, name):
        return self.wanted(name)

    def edits(self, name):
        return False

    def __call__(self, name, value_BTN):
        assert name not in self.seen
        self.seen[name] = value_BTN
        return value_BTN


def model_of(name, dtype=torch.float32):
    torch.manual_seed(5)
    model = ModelConfig(stack=StackConfig(width=32), layers=parse_layers(LAYERS[name])).build(families.VOCAB)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)  # so that gates are used over more of their range
    return model.to(dtype).eval()


def tokens(time, batch=5):
    return torch.randint(families.VOCAB, (batch, time), generator=torch.Generator().manual_seed(time))


def in_bfloat16(model, tap=None, time=90):
    """Logits, state and what was there before, after a state that has read something."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        _, before = model(tokens(20))
        logits, after = model(tokens(time), before, **({"tap": tap} if tap else {}))
    return logits, after, before


@either_way
@each_model
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_what_is_shown_is_what_float64_computes_step_by_step(name, pay, compiled, monkeypatch):
    if not compiled:  # as on a machine without a compiler
        monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(stack, "ROWS_PAY", pay)
    watched = Keep()
    in_bfloat16(model_of(name), watched)
    exact, blocks = model_of(name, torch.float64), {}
    with torch.no_grad():
        _, state = exact(tokens(20))
        exact(tokens(90), state, tap=Edit(lambda group, value: blocks.setdefault(group, []).append(value) or value))
    assert list(watched.seen) == list(exact.units) == list(blocks)
    for group, size in exact.units.items():
        right = torch.cat(blocks[group], dim=1)
        assert watched.seen[group].shape == right.shape == (5, 90, size)
        error = (watched.seen[group].double() - right).abs().max() / right.abs().max()
        assert error < UNITS_BFLOAT16, group


@either_way
@each_model
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_watching_changes_no_bit(name, pay, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(stack, "ROWS_PAY", pay)
    model = model_of(name)
    logits, after, _ = in_bfloat16(model)
    for wanted in (lambda _: True, lambda group: group.endswith("hidden"), lambda group: not group.endswith("hidden")):
        watched = Keep(wanted)
        same, same_after, _ = in_bfloat16(model, watched)
        assert torch.equal(same, logits)
        assert all(torch.equal(same_after[key], after[key]) for key in after)
        assert list(watched.seen) == [group for group in model.units if wanted(group)]


@compiled_only
def test_the_layers_units_fit_together():
    watched = Keep()
    _, after, before = in_bfloat16(model_of("hybrid"), watched)
    lstm = {key.removeprefix("layer0."): value for key, value in watched.seen.items() if key.startswith("layer0.")}
    assert lstm["cell"].dtype == torch.float32
    assert torch.equal(after["layer0.cell"], lstm["cell"][:, -1])
    assert torch.equal(after["layer0.hidden"], lstm["hidden"][:, -1].float())
    check_lstm(*lstm.values(), before["layer0.cell"])
    gru = {key.removeprefix("layer1."): value for key, value in watched.seen.items() if key.startswith("layer1.")}
    check_gru(*gru.values(), before["layer1.hidden"], after["layer1.hidden"])


def check_lstm(i, f, g, o, cell, hidden, before):
    """The cells follow from the gates, each from the one before it, and the hidden units from both."""
    i, f, g, o, cell = (value.double() for value in (i, f, g, o, cell))
    earlier = torch.cat([before[:, None].double(), cell[:, :-1]], dim=1)
    torch.testing.assert_close(cell, f * earlier + i * g, rtol=KEPT_FLOAT32, atol=KEPT_FLOAT32)
    torch.testing.assert_close(hidden.double(), o * cell.tanh(), rtol=KEPT_BFLOAT16, atol=KEPT_FLOAT32)


def check_gru(r, z, n, hidden, before, last):
    """The states follow from the gates; they are summed in float32, whatever is shown of them."""
    state = before.double()
    for t in range(hidden.shape[1]):
        state = (1 - z[:, t].double()) * n[:, t].double() + z[:, t].double() * state
        torch.testing.assert_close(hidden[:, t].double(), state, rtol=KEPT_BFLOAT16, atol=KEPT_FLOAT32)
    torch.testing.assert_close(last.double(), state, rtol=KEPT_FLOAT32, atol=KEPT_FLOAT32)
    assert 0 <= r.min() <= r.max() <= 1


@compiled_only
@pytest.mark.parametrize("rows", [True, False], ids=["table", "no-table"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", GATES)
def test_gates_of_every_shape(name, shape, rows):
    batch, time, inputs, units = shape
    g = torch.Generator().manual_seed(1)

    def normal(*size, scale=1.0):
        return torch.randn(*size, generator=g) * scale

    count, scale = GATES[name] * units, units**-0.5
    weights = tuple(normal(count, *more, scale=2 * scale) for more in ((inputs,), (units,), (), ()))
    state = [normal(batch, units, scale=0.5) for _ in range(2 if name == "lstm" else 1)]
    picked = torch.randint(7, (batch, time), generator=g) if rows else None
    x = normal(7, inputs) if rows else normal(batch, time, inputs)
    plain, with_gates = getattr(kernels, name), getattr(kernels, f"{name}_with_gates")
    with torch.autocast("cpu", torch.bfloat16):
        assert with_gates(x, *state, weights, picked)[-1] == ()  # gradients are on: nothing is promised
        with torch.inference_mode():
            expected = plain(x, *state, weights, picked)
            *found, kept = with_gates(x, *state, weights, picked)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert {value.shape for value in kept} == {(batch, time, units)}
    if name == "lstm":
        check_lstm(*kept, found[0], state[1])
    else:
        check_gru(*kept, found[0], state[0], found[1])


@compiled_only
@either_way
@pytest.mark.parametrize(("name", "layer"), [("gru", GRU), ("lstm", LSTM)], ids=["gru", "lstm"])
def test_watching_makes_no_second_pass(name, layer, pay, monkeypatch):
    """Neither of the recurrent products nor, where the first layer reads a table, of the input's."""
    monkeypatch.setattr(stack, "ROWS_PAY", pay)
    monkeypatch.setattr(layer, "reveal", lambda *_: pytest.fail("computed again"))
    called, real = [], native.call
    monkeypatch.setattr("unrolled.kernels.compiled.call", lambda *given: called.append(given[0]) or real(*given))
    model = model_of(name)
    in_bfloat16(model)
    plain = called.copy()
    called.clear()
    in_bfloat16(model, Keep())
    assert called == plain
    assert called.count(f"{name}_forward") == 4  # two layers, and a state that had read something


@each_model
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_shown_has_gradients_where_gradients_are_on(name, precision):
    model, watched = model_of(name), Keep()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        model(tokens(12), tap=watched)
    for group, value_BTN in watched.seen.items():
        (gradient,) = torch.autograd.grad(value_BTN.float().sum(), model.embedding.weight, retain_graph=True)
        assert gradient.isfinite().all(), group
        assert gradient.any(), group
