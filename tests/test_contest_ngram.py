"""The n-gram against a twin written with dictionaries, and against the axioms of probability."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.contest.ngram import NGram, _ranked
from unrolled.errors import ConfigError, TextError, UnrolledError


class NaiveNGram:
    """Interpolated modified Kneser-Ney straight from the equations, with dictionaries of tuples."""

    def __init__(self, text: list[int], vocab_size: int, order: int) -> None:
        self.vocab_size, self.order = vocab_size, order
        longest = max(0, min(order + 1, len(text)))
        occurrences = [Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)) for n in range(1, longest + 1)]
        self.counts = [Counter(gram[1:] for gram in longer) for longer in occurrences[1:]] + occurrences[-1:]
        self.discounts = [self.find_discounts(counts) for counts in self.counts]

    @staticmethod
    def find_discounts(counts: Counter) -> tuple[float, ...]:
        n = Counter(counts.values())
        y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
        if all(n[i] for i in (1, 2, 3, 4)):
            found = [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)]
            if all(d > 0 for d in found):
                return (0.0, *found)
        return (0.0, y, y, y)

    def probability(self, symbol: int, context: tuple[int, ...]) -> float:
        shorter = self.probability(symbol, context[1:]) if context else 1 / self.vocab_size
        if len(context) >= len(self.counts):
            return shorter
        counts, discounts = self.counts[len(context)], self.discounts[len(context)]
        followers = [counts[(*context, v)] for v in range(self.vocab_size)]
        if not sum(followers):
            return shorter
        backoff = sum(discounts[min(c, 3)] for c in followers) / sum(followers)
        count = counts[(*context, symbol)]
        return (count - discounts[min(count, 3)]) / sum(followers) + backoff * shorter

    def log2_probabilities(self, ids: list[int], history: list[int]) -> list[float]:
        past = history + ids
        return [
            math.log2(self.probability(symbol, tuple(past[max(0, t - self.order) : t])))
            for t, symbol in enumerate(ids, start=len(history))
        ]


def next_symbol_distribution(model: NGram, history: np.ndarray) -> np.ndarray:
    return np.exp2([model.log2_probabilities(np.array([v]), history)[0] for v in range(model.vocab_size)])


@st.composite
def problems(draw: st.DrawFn) -> tuple[int, int, list[int], list[int], list[int]]:
    vocab_size = draw(st.integers(1, 6))
    symbols = st.integers(0, vocab_size - 1)
    order = draw(st.integers(0, 5))
    train = draw(st.lists(symbols, max_size=120))
    return vocab_size, order, train, draw(st.lists(symbols, max_size=30)), draw(st.lists(symbols, max_size=8))


@given(problems())
def test_agrees_with_dictionaries(problem):
    vocab_size, order, train, test, history = problem
    fast = NGram.fit(np.array(train, np.uint8), vocab_size, order)
    slow = NaiveNGram(train, vocab_size, order)
    found = fast.log2_probabilities(np.array(test, np.uint16), np.array(history, np.int64))
    np.testing.assert_allclose(found, slow.log2_probabilities(test, history), rtol=0, atol=1e-12)


def test_agrees_with_dictionaries_where_discounts_are_estimated():
    rng = np.random.default_rng(5)
    text = rng.integers(0, 40, 3000) * rng.integers(0, 2, 3000)
    fast, slow = NGram.fit(text, 40, 3), NaiveNGram(text.tolist(), 40, 3)
    assert any(discounts[1] != discounts[2] for discounts in slow.discounts)
    found = fast.log2_probabilities(text[:200], text[-9:])
    expected = slow.log2_probabilities(text[:200].tolist(), text[-9:].tolist())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@given(problems())
def test_distributions_are_positive_and_sum_to_one(problem):
    vocab_size, order, train, _, history = problem
    model = NGram.fit(np.array(train, np.uint8), vocab_size, order)
    p_V = next_symbol_distribution(model, np.array(history, np.int64))
    assert (p_V > 0).all()
    assert abs(p_V.sum() - 1) < 1e-12


@given(problems(), st.integers(0, 30))
def test_a_text_can_be_cut_anywhere(problem, cut):
    vocab_size, order, train, test, _ = problem
    model = NGram.fit(np.array(train, np.uint8), vocab_size, order)
    ids = np.array(test, np.int64)
    parts = [model.log2_probabilities(ids[:cut]), model.log2_probabilities(ids[cut:], ids[:cut])]
    np.testing.assert_array_equal(np.concatenate(parts), model.log2_probabilities(ids))


def test_chunks_leave_no_seam(monkeypatch):
    rng = np.random.default_rng(0)
    model, ids = NGram.fit(rng.integers(0, 3, 500), 3, 4), rng.integers(0, 3, 97)
    whole = model.log2_probabilities(ids, ids[:3])
    monkeypatch.setattr("unrolled.contest.ngram._CHUNK", 2)
    np.testing.assert_array_equal(model.log2_probabilities(ids, ids[:3]), whole)


def test_a_million_symbol_vocabulary_is_exact():
    rng = np.random.default_rng(1)
    names = np.sort(rng.choice(1_100_000, 50, replace=False))
    text = rng.integers(0, 50, 400)
    near, far = NGram.fit(text, 1_100_000), NGram.fit(names[text].astype(np.uint32), 1_100_000)
    again = rng.integers(0, 50, 400)
    np.testing.assert_array_equal(far.log2_probabilities(names[again]), near.log2_probabilities(again))


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=40), st.integers(0, 62))
def test_ranking_is_what_numpy_says(keys, bits):
    keys_T = np.array(keys, np.int64) % (1 << bits)
    for found, wanted in zip(_ranked(keys_T), np.unique(keys_T, return_inverse=True, return_counts=True), strict=True):
        assert np.array_equal(found, wanted)


def test_learns_a_deterministic_text_and_not_noise():
    cycle = np.tile(np.arange(7), 300)
    assert NGram.fit(cycle, 7).bits_per_char(cycle[:700], history=cycle[:7]) < 0.01
    noise = np.random.default_rng(2).integers(0, 16, 60_000)
    assert NGram.fit(noise[:50_000], 16).bits_per_char(noise[50_000:]) == pytest.approx(4, abs=0.2)


def test_only_the_last_characters_are_counted():
    text = np.random.default_rng(3).integers(0, 5, 1000)
    capped, tail = NGram.fit(text, 5, limit=300), NGram.fit(text[-300:], 5)
    assert capped.characters == tail.characters == 300
    assert capped.bits_per_char(text) == tail.bits_per_char(text)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_memory_maps_of_any_width(tmp_path: Path, dtype):
    text = np.random.default_rng(4).integers(0, 5, 1000)
    text.astype(dtype).tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", dtype=dtype, mode="r")
    assert NGram.fit(mapped, 5).bits_per_char(mapped) == NGram.fit(text, 5).bits_per_char(text)


def test_edges():
    nothing = np.zeros(0, np.uint8)
    assert NGram.fit(nothing, 8).bits_per_char(np.array([1, 7])) == 3
    assert NGram.fit(np.zeros(9, np.uint8), 1).bits_per_char(np.zeros(4, np.uint8)) == pytest.approx(0, abs=1e-12)
    assert NGram.fit(np.array([2]), 4, order=9).log2_probabilities(np.array([2, 2, 3])).shape == (3,)
    assert len(NGram.fit(nothing, 8).log2_probabilities(nothing)) == 0
    unseen = NGram.fit(np.zeros(1000, np.uint8), 256).log2_probabilities(np.array([255, 0]))
    assert np.isfinite(unseen).all()
    assert (unseen <= 0).all()


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda: NGram.fit(np.array([3]), 3), TextError),
        (lambda: NGram.fit(np.array([-1]), 3), TextError),
        (lambda: NGram.fit(np.array([0]), 3).bits_per_char(np.array([3])), TextError),
        (lambda: NGram.fit(np.array([0]), 3).bits_per_char(np.array([0]), np.array([-1])), TextError),
        (lambda: NGram.fit(np.array([0]), 3).bits_per_char(np.array([], np.uint8)), TextError),
        (lambda: NGram.fit(np.array([0]), 0), ConfigError),
        (lambda: NGram.fit(np.array([0]), 3, order=-1), ConfigError),
        (lambda: NGram.fit(np.array([0]), 3, limit=0), ConfigError),
    ],
)
def test_refusals_are_one_line(act, error):
    with pytest.raises(UnrolledError) as caught:
        act()
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
