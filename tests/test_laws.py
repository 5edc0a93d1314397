"""The eight laws, over every family, hybrids, the plain stack and families from outside. No skips."""

import dataclasses
import itertools
import json
import math
import re
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import families
from tolerances import EXACT64, FIRST_LOSS_NATS, SPLIT32
from unrolled.models import Edit, ModelConfig, Watch, mingru, rows, stack
from unrolled.models.recurrent import RecurrentLayer

NAMES = sorted(families.PATTERNS)
MODELS = [(name, plain) for name in NAMES for plain in (False, True)]
every_model = pytest.mark.parametrize(("name", "plain"), MODELS, ids=[f"{n}-plain" if p else n for n, p in MODELS])
quick = settings(max_examples=12, deadline=None, derandomize=True)
WAYS = (0, 1, 10**9)
"""Values of ROWS_PAY: the first layer always reads a table, reads one for long pieces only, never reads one."""
way = st.sampled_from(WAYS)
either_way = pytest.mark.parametrize("pay", WAYS[::2], ids=("table", "no-table"))


@contextmanager
def reading(pay: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "ROWS_PAY", pay)
        yield


def whole(group: str) -> str:
    return re.escape(group)


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
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 14), max_size=4), started=st.booleans(), pay=way)
def test_split(name, plain, seed, cuts, started, pay):
    model = families.model(name, plain=plain)
    xs = tokens(seed, 2, 14)
    state = warm(model) if started else model.initial_state(2)
    with torch.no_grad(), reading(pay):
        uncut, after = model(xs, state)
        pieces, edges = [], [0, *sorted(cuts), 14]
        for start, stop in itertools.pairwise(edges):
            logits, state = model(xs[:, start:stop], state)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), uncut, rtol=0, atol=EXACT64)
    assert_same(dict(state), dict(after))


@every_model
def test_split_one_character_at_a_time_far_past_every_window(name, plain):
    model = families.model(name, plain=plain)
    xs = tokens(3, 2, 70)
    with torch.no_grad():
        uncut, after = model(xs)
        state, pieces = None, []
        for t in range(70):
            logits, state = model(xs[:, t : t + 1], state)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), uncut, rtol=0, atol=EXACT64)
    assert_same(dict(state), dict(after))


@every_model
def test_split_in_float32(name, plain):
    model = families.model(name, plain=plain, dtype=torch.float32)
    xs = tokens(5, 3, 40)
    with torch.no_grad():
        uncut, _ = model(xs)
        first, state = model(xs[:, :17])
        second, _ = model(xs[:, 17:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), uncut, rtol=0, atol=SPLIT32)


@either_way
@every_model
def test_identity(name, plain, pay):
    model = families.model(name, plain=plain)
    state = warm(model)
    with reading(pay):
        logits, after = model(tokens(0, 2, 0), state)
        _, fresh = model(tokens(0, 2, 0))
    assert logits.shape == (2, 0, families.VOCAB)
    assert after.keys() == state.keys()
    assert all(torch.equal(after[key], state[key]) for key in state)
    assert fresh.keys() == state.keys()
    assert all(not value.any() for value in fresh.values())


@every_model
@quick
@given(seed=st.integers(0, 999), changed=st.integers(0, 12), pay=way)
def test_causality(name, plain, seed, changed, pay):
    model = families.model(name, plain=plain)
    xs = tokens(seed, 2, 13)
    other = xs.clone()
    other[:, changed] = (other[:, changed] + 1) % families.VOCAB
    with torch.no_grad(), reading(pay):
        before, after = model(xs)[0], model(other)[0]
    torch.testing.assert_close(before[:, :changed], after[:, :changed], rtol=0, atol=EXACT64)
    assert (before[:, changed] - after[:, changed]).abs().max() > 1e-9


@every_model
@quick
@given(seed=st.integers(0, 999), picked=st.lists(st.integers(0, 3), min_size=1, max_size=5), pay=way)
def test_rows_are_independent(name, plain, seed, picked, pay):
    model = families.model(name, plain=plain)
    xs, index = tokens(seed, 4, 9), torch.tensor(picked)
    # Rows of different age: two of them have read something before.
    fresh, old = model.initial_state(4), warm(model, batch=4)
    age = torch.tensor([True, False, True, False])
    state = {key: torch.where(age.view(-1, *[1] * (old[key].dim() - 1)), old[key], fresh[key]) for key in old}
    with torch.no_grad(), reading(pay):
        logits, after = model(xs, state)
        some, some_after = model(xs[index], rows(state, index))
    torch.testing.assert_close(some, logits[index], rtol=0, atol=EXACT64)
    assert_same(dict(some_after), dict(rows(after, index)))


@either_way
@every_model
def test_purity(name, plain, pay):
    model = families.model(name, plain=plain, dropout=0.5)
    state, xs = warm(model), tokens(1, 2, 6)
    kept_state = {key: value.clone() for key, value in state.items()}
    kept_model = {key: value.clone() for key, value in model.state_dict().items()}
    with reading(pay):
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


@either_way
@every_model
def test_taps_watching_and_editing_show_the_same_and_change_nothing(name, plain, pay):
    model = families.model(name, plain=plain)
    state, xs = warm(model), tokens(2, 2, 11)
    with torch.no_grad(), reading(pay):
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
            model(tokens(2, 2, 5), tap=Watch(recorder, pattern=whole(group)))
        assert list(recorder.seen) == [group]


@either_way
@every_model
def test_a_watcher_that_writes_into_what_it_is_shown_changes_nothing(name, plain, pay):
    model = families.model(name, plain=plain)
    state, xs, shown = warm(model), tokens(2, 2, 11), set()

    def vandal(group, value):
        assert not value.requires_grad
        shown.add(group)
        value.fill_(99.0)

    with reading(pay):
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                logits, after = model(xs, state)
                same, same_after = model(xs, state, tap=Watch(vandal))
            torch.testing.assert_close(same, logits, rtol=0, atol=EXACT64)
            assert_same(dict(same_after), dict(after))
    assert shown == set(model.units)


def step_by_step(model) -> bool:
    """Whether some layer must leave its fast path for an editing tap."""
    return any(isinstance(branch, RecurrentLayer | mingru.MinGRU) for branch in model.branches)


@either_way
@every_model
def test_a_tap_that_only_watches_keeps_the_fast_path(name, plain, pay, monkeypatch):
    calls = []

    def counted(function):
        return lambda *given: calls.append(1) or function(*given)

    for kind in RecurrentLayer.__subclasses__():
        monkeypatch.setattr(kind, "step", counted(kind.step))
    monkeypatch.setattr(mingru, "_edited_scan", counted(mingru._edited_scan))
    monkeypatch.setattr(stack, "ROWS_PAY", pay)
    model, xs = families.model(name, plain=plain), tokens(2, 2, 11)
    with torch.no_grad():
        model(xs)
        model(xs, tap=Watch(lambda *_: None))
        for group in model.units:
            model(xs, tap=Watch(lambda *_: None, pattern=whole(group)))
            model(xs, tap=Edit(lambda _, value: value, pattern=f"not {whole(group)}"))
        assert not calls
        model(xs, tap=Edit(lambda _, value: value))
    assert bool(calls) == step_by_step(model)


def test_the_families_that_go_step_by_step_are_counted():
    found = {name for name in NAMES if step_by_step(families.model(name))}
    assert found == {"rnn", "gru", "lstm", "mingru", "mingru-negative", "hybrid"}


@every_model
@quick
@given(seed=st.integers(0, 99), cut=st.integers(0, 10), pay=way)
def test_edits_obey_the_split_law_and_reach_the_outgoing_state(name, plain, seed, cut, pay):
    model = families.model(name, plain=plain)
    xs = tokens(seed, 2, 10)
    for group in model.units:
        edit = Edit(lambda _, value: value * 0.5 + 0.25, pattern=whole(group))
        with torch.no_grad(), reading(pay):
            uncut, after = model(xs, tap=edit)
            first, state = model(xs[:, :cut], tap=edit)
            second, state = model(xs[:, cut:], state, tap=edit)
            untouched_logits, _ = model(xs)
        torch.testing.assert_close(torch.cat([first, second], dim=1), uncut, rtol=0, atol=EXACT64)
        assert_same(dict(state), dict(after))
        assert (uncut - untouched_logits).abs().max() > 1e-9, group


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
            edited, _ = model(xs, tap=Edit(change, pattern=whole(group)))
            same, _ = model(xs)
        torch.testing.assert_close(edited[:, :6], same[:, :6], rtol=0, atol=EXACT64)
        assert (edited[:, 6:] - same[:, 6:]).abs().max() > 1e-9, group


def held_in_state(model) -> set[str]:
    """The groups of units that are themselves remembered: a state of the same name holds their last step."""
    return set(model.units) & set(model.initial_state(1))


@either_way
@every_model
def test_an_edit_of_what_is_remembered_stands_in_the_outgoing_state(name, plain, pay):
    model = families.model(name, plain=plain)
    for group in held_in_state(model):
        edit = Edit(lambda _, value: torch.full_like(value, 0.125), pattern=whole(group))
        with torch.no_grad(), reading(pay):
            _, after = model(tokens(4, 1, 4), tap=edit)
        assert (after[group] == 0.125).all(), group


def test_families_with_units_in_their_state_are_found():
    found = {name: {group.split(".")[1] for group in held_in_state(families.model(name))} for name in NAMES}
    assert {name: held for name, held in found.items() if held} == {
        "rnn": {"hidden"},
        "gru": {"hidden"},
        "lstm": {"hidden", "cell"},
        "mingru": {"hidden"},
        "mingru-negative": {"hidden"},
        "stackrnn": {"hidden", "cell"},
        "tapernn": {"hidden", "cell"},
        "circuit": {"hidden"},
        "hybrid": {"hidden", "cell"},
        "toy": {"average"},
    }


def other_value(value):
    """A value of the same type that is not the default of any option, nor refused by one."""
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value / 2 + 0.125


def other_options(layer):
    """Every option of a layer with another value."""
    given = families.OTHER_OPTIONS.get(type(layer), {})
    return given or {f.name: other_value(getattr(layer, f.name)) for f in dataclasses.fields(layer)}


@pytest.mark.parametrize("changed", [False, True], ids=["as-written", "every-option-changed"])
@every_model
def test_round_trip(name, plain, changed, tmp_path):
    made = families.config(name, plain=plain, dropout=0.25)
    if changed:
        layers = tuple(dataclasses.replace(layer, **other_options(layer)) for layer in made.layers)
        assert all(a != b or not dataclasses.fields(a) for a, b in zip(layers, made.layers, strict=True))
        made = dataclasses.replace(made, layers=layers)
    (tmp_path / "config.json").write_text(json.dumps(made.to_json()), encoding="utf-8")
    again = ModelConfig.from_json(json.loads((tmp_path / "config.json").read_text(encoding="utf-8")))
    assert again == made
    assert again.stack == families.StackConfig(width=8, plain=plain, dropout=0.25)
    model, other = made.build(families.VOCAB), again.build(families.VOCAB)
    save_file(dict(model.state_dict()), tmp_path / "model.safetensors")
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    xs = tokens(6, 2, 8)
    assert torch.equal(model.eval()(xs)[0], other.eval()(xs)[0])
    torch.manual_seed(1)
    dropped = model.train()(xs)[0]
    torch.manual_seed(1)
    assert torch.equal(dropped, other.train()(xs)[0])
    assert not torch.equal(dropped, model.eval()(xs)[0])


def learned_by_heart(model, loss) -> bool:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        optimizer.step()
        if value.item() < 0.3:
            return True
    return False


@every_model
def test_everything_learns(name, plain):
    text = tokens(8, 4, 17)

    def loss(model):
        return torch.nn.functional.cross_entropy(model(text[:, :-1])[0].flatten(0, 1), text[:, 1:].flatten())

    def fresh(seed):
        return families.model(name, plain=plain, dtype=torch.float32, width=24, seed=seed).train()

    model = fresh(0)
    first = loss(model)
    assert abs(first.item() - math.log(families.VOCAB)) < FIRST_LOSS_NATS
    first.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key
    assert learned_by_heart(fresh(0), loss), "one batch of 64 characters was not learned"
