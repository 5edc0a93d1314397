"""The eight laws, over every family, hybrids, the plain stack and a family from outside. No skips."""

import itertools
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

import families
from tolerances import EXACT64, FIRST_LOSS_NATS, SPLIT32
from unrolled.models import Edit, ModelConfig, Watch, rows

NAMES = sorted(families.PATTERNS)
MODELS = [(name, plain) for name in NAMES for plain in (False, True)]
every_model = pytest.mark.parametrize(("name", "plain"), MODELS, ids=[f"{n}-plain" if p else n for n, p in MODELS])
quick = settings(max_examples=12, deadline=None, derandomize=True)


def tokens(seed: int, batch: int, time: int) -> torch.Tensor:
    return torch.randint(families.VOCAB, (batch, time), generator=torch.Generator().manual_seed(seed))


def assert_same(left, right, tolerance=EXACT64):
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def warm(model, seed=7, batch=2, time=9):
    """A state that has read something."""
    return model(tokens(seed, batch, time))[1]


@every_model
@quick
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 14), max_size=4), started=st.booleans())
def test_split(name, plain, seed, cuts, started):
    model = families.model(name, plain=plain)
    xs = tokens(seed, 2, 14)
    state = warm(model) if started else model.initial_state(2)
    with torch.no_grad():
        whole, after = model(xs, state)
        pieces, edges = [], [0, *sorted(cuts), 14]
        for start, stop in itertools.pairwise(edges):
            logits, state = model(xs[:, start:stop], state)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=EXACT64)
    assert_same(dict(state), dict(after))


@every_model
def test_split_one_character_at_a_time_far_past_every_window(name, plain):
    model = families.model(name, plain=plain)
    xs = tokens(3, 2, 70)
    with torch.no_grad():
        whole, after = model(xs)
        state, pieces = None, []
        for t in range(70):
            logits, state = model(xs[:, t : t + 1], state)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=EXACT64)
    assert_same(dict(state), dict(after))


@every_model
def test_split_in_float32(name, plain):
    model = families.model(name, plain=plain, dtype=torch.float32)
    xs = tokens(5, 3, 40)
    with torch.no_grad():
        whole, _ = model(xs)
        first, state = model(xs[:, :17])
        second, _ = model(xs[:, 17:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=0, atol=SPLIT32)


@every_model
def test_identity(name, plain):
    model = families.model(name, plain=plain)
    state = warm(model)
    logits, after = model(tokens(0, 2, 0), state)
    assert logits.shape == (2, 0, families.VOCAB)
    assert after.keys() == state.keys()
    assert all(torch.equal(after[key], state[key]) for key in state)
    logits, fresh = model(tokens(0, 2, 0))
    assert logits.shape == (2, 0, families.VOCAB)
    assert all(not value.any() for value in fresh.values())


@every_model
@quick
@given(seed=st.integers(0, 999), changed=st.integers(0, 12))
def test_causality(name, plain, seed, changed):
    model = families.model(name, plain=plain)
    xs = tokens(seed, 2, 13)
    other = xs.clone()
    other[:, changed] = (other[:, changed] + 1) % families.VOCAB
    with torch.no_grad():
        before, after = model(xs)[0], model(other)[0]
    torch.testing.assert_close(before[:, :changed], after[:, :changed], rtol=0, atol=EXACT64)
    assert (before[:, changed] - after[:, changed]).abs().max() > 1e-9


@every_model
@quick
@given(seed=st.integers(0, 999), picked=st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_rows_are_independent(name, plain, seed, picked):
    model = families.model(name, plain=plain)
    xs, index = tokens(seed, 4, 9), torch.tensor(picked)
    # Rows of different age: two of them have read something before.
    fresh, old = model.initial_state(4), warm(model, batch=4)
    age = torch.tensor([True, False, True, False])
    state = {key: torch.where(age.view(-1, *[1] * (old[key].dim() - 1)), old[key], fresh[key]) for key in old}
    with torch.no_grad():
        logits, after = model(xs, state)
        some, some_after = model(xs[index], rows(state, index))
    torch.testing.assert_close(some, logits[index], rtol=0, atol=EXACT64)
    assert_same(dict(some_after), dict(rows(after, index)))


@every_model
def test_purity(name, plain):
    model = families.model(name, plain=plain, dropout=0.5)
    state, xs = warm(model), tokens(1, 2, 6)
    kept_state = {key: value.clone() for key, value in state.items()}
    kept_model = {key: value.clone() for key, value in model.state_dict().items()}
    first, first_after = model(xs, state)
    second, second_after = model(xs, state)
    assert torch.equal(first, second)
    assert all(torch.equal(first_after[key], second_after[key]) for key in first_after)
    assert all(torch.equal(state[key], kept_state[key]) for key in kept_state)
    assert all(torch.equal(value, kept_model[key]) for key, value in model.state_dict().items())
    assert not any(isinstance(value, torch.Tensor) for module in model.modules() for value in vars(module).values())


class Recorder:
    def __init__(self):
        self.seen = {}

    def __call__(self, name, value):
        self.seen.setdefault(name, []).append(value.detach().clone())
        return value

    def whole(self):
        return {name: torch.cat(blocks, dim=1) for name, blocks in self.seen.items()}


@every_model
def test_taps_watching_and_editing_show_the_same_and_change_nothing(name, plain):
    model = families.model(name, plain=plain)
    state, xs = warm(model), tokens(2, 2, 11)
    with torch.no_grad():
        plain_logits, plain_after = model(xs, state)
        watched, edited = Recorder(), Recorder()
        for tap in (Watch(watched), Edit(edited)):
            logits, after = model(xs, state, tap=tap)
            torch.testing.assert_close(logits, plain_logits, rtol=0, atol=EXACT64)
            assert_same(dict(after), dict(plain_after))
    for recorder in (watched, edited):
        assert {key: value.shape for key, value in recorder.whole().items()} == {
            key: (2, 11, size) for key, size in model.units.items()
        }
    assert_same(watched.whole(), edited.whole())


@every_model
def test_taps_show_only_what_is_asked_for(name, plain):
    model = families.model(name, plain=plain)
    for group in model.units:
        recorder = Recorder()
        with torch.no_grad():
            model(tokens(2, 2, 5), tap=Watch(recorder, pattern=group.replace(".", r"\.")))
        assert list(recorder.seen) == [group]


@every_model
@quick
@given(seed=st.integers(0, 99), cut=st.integers(0, 10))
def test_edits_obey_the_split_law_and_reach_the_outgoing_state(name, plain, seed, cut):
    model = families.model(name, plain=plain)
    xs = tokens(seed, 2, 10)
    for group in model.units:
        edit = Edit(lambda _, value: value * 0.5 + 0.25, pattern=group.replace(".", r"\."))
        with torch.no_grad():
            whole, after = model(xs, tap=edit)
            first, state = model(xs[:, :cut], tap=edit)
            second, state = model(xs[:, cut:], state, tap=edit)
            untouched_logits, _ = model(xs)
        torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=0, atol=EXACT64)
        assert_same(dict(state), dict(after))
        assert (whole - untouched_logits).abs().max() > 1e-9, group


@every_model
def test_an_edit_at_one_step_is_used_from_there_on_and_not_before(name, plain):
    model = families.model(name, plain=plain)
    xs = tokens(4, 1, 12)
    for group in model.units:
        clock = {}

        def change(unit, value, clock=clock):
            start = clock.get(unit, 0)
            clock[unit] = start + value.shape[1]
            value = value.clone()
            if start <= 6 < clock[unit]:
                value[:, 6 - start] += 1.0
            return value

        with torch.no_grad():
            edited, _ = model(xs, tap=Edit(change, pattern=group.replace(".", r"\.")))
            same, _ = model(xs)
        torch.testing.assert_close(edited[:, :6], same[:, :6], rtol=0, atol=EXACT64)
        assert (edited[:, 6:] - same[:, 6:]).abs().max() > 1e-9, group
    held_in_state = [g for g in model.units if g.split(".")[1] in ("cell", "hidden", "average")]
    for group in held_in_state:
        with torch.no_grad():
            _, after = model(xs[:, :4], tap=Edit(lambda _, v: torch.full_like(v, 0.125), pattern=group))
        assert (after[group] == 0.125).all(), group


@every_model
def test_round_trip(name, plain):
    made = families.config(name, plain=plain)
    again = ModelConfig.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    model = families.model(name, plain=plain, dtype=torch.float32)
    other = again.build(families.VOCAB).eval()
    other.load_state_dict(load(save(dict(model.state_dict()))))
    xs = tokens(6, 2, 8)
    assert torch.equal(model(xs)[0], other(xs)[0])


@every_model
def test_everything_learns(name, plain):
    model = families.model(name, plain=plain, dtype=torch.float32, width=24).train()
    text = tokens(8, 4, 17)
    xs, ys = text[:, :-1], text[:, 1:]

    def loss():
        return torch.nn.functional.cross_entropy(model(xs)[0].flatten(0, 1), ys.flatten())

    first = loss()
    assert abs(first.item() - math.log(families.VOCAB)) < FIRST_LOSS_NATS
    first.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        if value.item() < 0.3:
            break
    assert value.item() < 0.3, "one batch of 64 characters could not be learned by heart"
