"""What is drawn is what the model says: naive twins, one uniform number per character, states that are values."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import families
import reference
from tolerances import EXACT64
from unrolled.errors import ConfigError
from unrolled.models import Edit, Watch
from unrolled.sampling import SamplingOptions, distribution, draw, read, stream

NAMES = ["lstm", "mingru", "tcn", "transformer", "hybrid", "toy"]
PROMPT = [1, 4, 2, 9, 3, 3, 7, 1, 5, 6, 8, 10, 2]
quick = settings(max_examples=100, deadline=None, derandomize=True)
logits_of = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=20, unique=True)


def take(count, model, prompt=PROMPT, **options):
    seed, tap = options.pop("seed", 1), options.pop("tap", families.untouched)
    return list(islice(stream(model, prompt, SamplingOptions(**options), seed=seed, tap=tap), count))


@quick
@given(
    logits=logits_of,
    temperature=st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.5, 100.0]),
    top_k=st.none() | st.integers(1, 25),
    top_p=st.none() | st.floats(0.01, 1.0),
)
def test_distributions_are_the_naive_ones(logits, temperature, top_k, top_p):
    given = np.array(logits, dtype=np.float32)
    kept = given.copy()
    found = distribution(given, SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p))
    expected = reference.distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    assert found.dtype == np.float64 and found.shape == given.shape
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found[0] == 0
    assert np.array_equal(given, kept)
    edge = top_p is not None and abs(np.cumsum(sorted(expected, reverse=True)) - top_p).min() < 1e-9
    if not edge:  # whether a sum of floats reaches p exactly is nobody's promise
        assert found == pytest.approx(expected, abs=1e-12)


def test_temperature_zero_takes_the_likeliest_and_the_first_of_equals():
    options = SamplingOptions(temperature=0.0)
    assert distribution(np.array([9, 1, 3, 3, 2.0]), options).tolist() == [0, 0, 1, 0, 0]


def test_top_k_and_top_p_keep_the_first_of_equals():
    equal = np.zeros(5)
    assert distribution(equal, SamplingOptions(top_k=2)).tolist() == [0, 0.5, 0.5, 0, 0]
    assert distribution(equal, SamplingOptions(top_p=0.5)).tolist() == [0, 0.5, 0.5, 0, 0]
    assert distribution(equal, SamplingOptions(top_p=1.0)).tolist() == [0, 0.25, 0.25, 0.25, 0.25]
    assert distribution(equal, SamplingOptions(top_p=1e-9)).tolist() == [0, 1, 0, 0, 0]


def test_huge_and_impossible_logits():
    options = SamplingOptions(temperature=0.01)
    assert distribution(np.array([0, 1e30, -1e30, 3], dtype=np.float32), options).tolist() == [0, 1, 0, 0]
    assert distribution(np.array([0, -np.inf, 2, -np.inf], dtype=np.float32), options).tolist() == [0, 0, 1, 0]


@quick
@given(
    weights=st.lists(st.sampled_from([0.0, 1e-12, 0.1, 0.25, 1.0]), min_size=1, max_size=9).filter(any),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_draw_is_the_inverse_of_the_cumulative_distribution(weights, uniform):
    probabilities = np.array(weights) / sum(weights)
    found = draw(probabilities, uniform)
    assert probabilities[found] > 0
    below, upto = probabilities[:found].sum(), probabilities[: found + 1].sum()
    assert below - 1e-12 <= uniform <= upto + 1e-12


def test_draw_at_the_edges():
    probabilities = np.array([0, 0.5, 0, 0.5, 0])
    drawn = [draw(probabilities, u) for u in (0.0, 0.499, 0.5, 0.75, np.nextafter(1, 0))]
    assert drawn == [1, 1, 3, 3, 3]
    tenths = np.full(10, 0.1)  # sums to less than one
    assert draw(tenths, np.nextafter(1, 0)) == 9


def test_frequencies_are_the_probabilities():
    probabilities = distribution(np.array([5, 0, 0.3, -1, 2, 1, -4], dtype=np.float32), SamplingOptions())
    uniforms = np.random.Generator(np.random.PCG64(7)).random(20_000)
    counts = np.bincount([draw(probabilities, u) for u in uniforms], minlength=7)
    assert counts[0] == 0
    expected = 20_000 * probabilities[1:]
    chi_square = ((counts[1:] - expected) ** 2 / expected).sum()
    assert chi_square < 20.5  # 0.1 % point of chi-square with 5 degrees of freedom


@pytest.mark.parametrize("name", NAMES)
def test_a_text_depends_on_its_seed_and_never_holds_the_unknown_symbol(name):
    model = families.model(name, dtype=torch.float32)
    with torch.no_grad():
        model.readout.bias[0] = 20.0  # the model would write nothing else
    text = take(60, model)
    assert text == take(60, model)
    assert take(30, model) == text[:30]
    assert text != take(60, model, seed=2)
    assert 0 not in text
    assert set(text) <= set(range(families.VOCAB))


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_read_at_once_or_bit_by_bit_is_the_same(name):
    model = families.model(name)
    whole, pieces = read(model, PROMPT), None
    for start, stop in ((0, 1), (1, 6), (6, 7), (7, len(PROMPT))):
        pieces = read(model, PROMPT[start:stop], None if pieces is None else pieces.state)
    assert whole.logits_V == pytest.approx(pieces.logits_V, abs=1e-6)
    for key, value in whole.state.items():
        torch.testing.assert_close(pieces.state[key], value, rtol=0, atol=EXACT64)
    text = take(40, model)
    # What was written may as well have been the prompt.
    uniforms = np.random.Generator(np.random.PCG64(1))
    uniforms.random(15)
    place = read(model, [*PROMPT, *text[:15]])
    for symbol in text[15:]:
        assert draw(distribution(place.logits_V, SamplingOptions()), uniforms.random()) == symbol
        place = read(model, [symbol], place.state)


@pytest.mark.parametrize("name", NAMES)
def test_an_old_state_goes_back_and_a_copied_one_forks(name):
    model = families.model(name)
    kept = read(model, PROMPT[:8])
    state, logits = {key: value.clone() for key, value in kept.state.items()}, kept.logits_V.copy()
    there = read(model, PROMPT[8:], kept.state)
    fork = read(model, [5, 5, 5], kept.state)
    assert not np.allclose(fork.logits_V, there.logits_V)
    again = read(model, PROMPT[8:], kept.state)
    assert np.array_equal(again.logits_V, there.logits_V)
    assert np.array_equal(kept.logits_V, logits)
    assert all(torch.equal(kept.state[key], state[key]) for key in state)


@pytest.mark.parametrize("name", NAMES)
def test_a_tap_that_watches_changes_no_text_and_one_that_edits_does(name):
    model = families.model(name, dtype=torch.float32)
    text, seen = take(40, model), []
    assert take(40, model, tap=Watch(lambda unit, value: seen.append((unit, value.shape[1])))) == text
    steps = {unit: sum(count for other, count in seen if other == unit) for unit in model.units}
    assert set(steps.values()) == {len(PROMPT) + 39}
    with torch.no_grad():
        model.readout.weight.mul_(50)
    text = take(40, model)
    assert take(40, model, tap=Edit(lambda _, value: value)) == text
    assert take(40, model, tap=Edit(lambda _, value: value * 0 + 0.7)) != text


def test_the_same_random_numbers_whatever_the_model_says():
    """Two models whose distributions agree at a step, and whose random numbers do, write the same symbol there."""
    model = families.model("lstm", dtype=torch.float32)
    flat = families.model("gru", dtype=torch.float32)
    for one in (model, flat):
        with torch.no_grad():
            one.readout.weight.zero_()
            one.readout.bias.zero_()
    uniforms = np.random.Generator(np.random.PCG64(3)).random(50)
    assert take(50, model, seed=3) == take(50, flat, seed=3) == [1 + int(u * (families.VOCAB - 1)) for u in uniforms]


def test_sampling_leaves_the_model_and_the_random_generator_alone():
    model = families.model("hybrid", dtype=torch.float32)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    take(10, model)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": 101.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_k": -3},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
    ],
)
def test_options_that_are_refused(options):
    with pytest.raises(ConfigError):
        SamplingOptions(**options)


def test_an_empty_prompt_is_refused():
    model = families.model("rnn")
    for start in (lambda: take(1, model, prompt=[]), lambda: read(model, [])):
        with pytest.raises(ConfigError, match="at least one character"):
            start()
