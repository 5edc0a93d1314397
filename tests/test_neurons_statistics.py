"""AUC, rank correlation, intervals and the null of a shift: equal to scipy's and to naive twins, right on average."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tolerances import INFLUENCE, STATISTIC
from unrolled.neurons import statistics
from unrolled.neurons.statistics import CharacterScore, Label

RNG = np.random.default_rng


def naive_auc(values: np.ndarray, labels: np.ndarray) -> float:
    on, off = values[labels], values[~labels]
    return float(np.mean([(a > b) + (a == b) / 2 for a in on for b in off]))


def correlated(size: int, seed: int, memory: float = 0.98) -> np.ndarray:
    """Numbers that change slowly, as units and labels of a text do."""
    found, noise = np.zeros(size), RNG(seed).normal(size=size)
    for t in range(1, size):
        found[t] = memory * found[t - 1] + noise[t]
    return found


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(-3, 3), min_size=2, max_size=40), seed=st.integers(0, 99))
def test_the_score_of_a_yes_no_label_is_the_auc_with_ties_shared(values, seed):
    labels = RNG(seed).random(len(values)) < 0.4
    found = statistics.score_pair(np.array(values, dtype=float), labels, "yes-no", 1)
    wanted = naive_auc(np.array(values), labels) if 0 < labels.sum() < len(labels) else 0.5
    assert found == pytest.approx(wanted, abs=STATISTIC)
    assert statistics.score_pair(np.array(values, dtype=float), labels, "yes-no", -1) == pytest.approx(1 - wanted)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(-4, 4), min_size=3, max_size=40), seed=st.integers(0, 99))
def test_the_score_of_a_number_is_spearmans_correlation_where_it_is_defined(values, seed):
    values = np.array(values, dtype=float)
    labels = RNG(seed).integers(0, 5, len(values)).astype(np.float32)
    labels[RNG(seed + 1).random(len(values)) < 0.2] = np.nan
    there = ~np.isnan(labels)
    varies = there.sum() > 1 and np.ptp(values[there]) > 0 and np.ptp(labels[there]) > 0
    wanted = stats.spearmanr(values[there], labels[there]).statistic if varies else 0.0
    assert statistics.score_pair(values, labels, "number", 1) == pytest.approx(wanted, abs=STATISTIC)


@pytest.mark.parametrize("kind", ["yes-no", "number", "number-undefined"])
def test_shifted_scores_are_the_scores_of_labels_that_were_rolled(kind):
    size, step = 120, 15
    u_T = statistics.midranks(RNG(0).integers(0, 9, size))
    raw = RNG(1).random(size)
    label = Label.of(raw < 0.3 if kind == "yes-no" else np.where((raw < 0.1) & (kind != "number"), np.nan, raw))
    found = statistics.shifted_scores(u_T, label, step)
    assert len(found) == size // step
    for place, score in enumerate(found):
        rolled = label.rolled(place * step)
        wanted = statistics.from_sums(rolled.kind, *(term.sum() for term in statistics.sums_of(u_T, rolled)))
        assert score == pytest.approx(float(wanted), abs=STATISTIC)


def test_shifting_cuts_to_a_multiple_of_the_step():
    label = Label.of(RNG(1).random(103) < 0.5)
    assert len(statistics.shifted_scores(statistics.midranks(RNG(0).random(103)), label, 10)) == 10


def test_family_wise_errors_hold_for_numbers_that_are_correlated_in_time_and_unrelated():
    wrong, rounds, pairs = 0, 120, 6
    for number in range(rounds):
        scores = []
        for pair in range(pairs):
            unit = statistics.midranks(correlated(6000, 1000 * number + pair))
            label = Label.of(correlated(6000, 1000 * number + 500 + pair) > 1)
            scores.append(statistics.shifted_scores(unit, label, 100) - 0.5)
        wrong += bool((statistics.family_wise(np.stack(scores)) <= 0.05).any())
    # Binomial with 5 %: 13 of 120 or more happen once in two hundred.
    assert wrong <= 12, wrong


def test_a_related_pair_is_found_among_unrelated_ones():
    hidden = correlated(6000, 7)
    units = [hidden + RNG(8).normal(size=6000), correlated(6000, 9)]
    labels = [Label.of(hidden > 1), Label.of(correlated(6000, 10) > 1)]
    scores = [
        statistics.shifted_scores(statistics.midranks(unit), label, 100) - 0.5
        for unit, label in zip(units, labels, strict=True)
    ]
    p = statistics.family_wise(np.stack(scores))
    assert p[0] == pytest.approx(1 / 60)
    assert p[1] > 0.05


def test_intervals_contain_the_truth_about_nineteen_times_in_twenty():
    inside, rounds = 0, 200
    pooled = np.concatenate([correlated(8000, 50_000 + k, memory=0.9) for k in range(60)])
    truth = statistics.score_pair(pooled, pooled + RNG(3).normal(size=len(pooled)) > 0, "yes-no", 1)
    for number in range(rounds):
        hidden = correlated(8000, number, memory=0.9)
        label = Label.of(hidden + RNG(10_000 + number).normal(size=8000) > 0)
        low, high = statistics.interval(hidden, label, 200, 1, seed=number)
        inside += low <= truth <= high
        assert low < high
    assert 0.88 <= inside / rounds <= 0.99, inside / rounds


def test_intervals_of_rank_correlations_contain_the_truth_as_often():
    def pair(number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        hidden = correlated(size, number, memory=0.9)
        return hidden, np.where(
            RNG(number).random(size) < 0.1, np.nan, np.round(hidden + 2 * RNG(number).normal(size=size))
        )

    pooled = np.concatenate([np.stack(pair(70_000 + k, 8000)) for k in range(60)], axis=1)
    truth = statistics.score_pair(pooled[0], pooled[1], "number", 1)
    inside, rounds = 0, 200
    for number in range(rounds):
        values, labels = pair(number, 8000)
        low, high = statistics.interval(values, Label.of(labels), 200, 1, seed=number)
        inside += low <= truth <= high
    assert 0.88 <= inside / rounds <= 0.99, inside / rounds


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), kind=st.sampled_from(["yes-no", "number"]))
def test_influences_say_how_the_score_changes_when_a_place_is_weighted_more(seed, kind):
    values, size = RNG(seed).integers(0, 6, 60).astype(float), 60
    labels = RNG(seed + 1).random(size) < 0.4 if kind == "yes-no" else RNG(seed + 1).integers(0, 6, size).astype(float)
    times = 400
    many, again = np.tile(values, times), np.tile(labels, times)
    before = statistics.score_pair(many, again, kind, 1)
    place = int(RNG(seed + 2).integers(size))
    after = statistics.score_pair(np.r_[many, [values[place]] * 4], np.r_[again, [labels[place]] * 4], kind, 1)
    found = statistics.influence(values, Label.of(labels))[place]
    assert (after - before) * (size * times + 4) / 4 == pytest.approx(found, abs=INFLUENCE)


def test_the_interval_of_a_falling_unit_is_turned():
    hidden = correlated(5000, 1)
    label = Label.of(hidden + RNG(2).normal(size=5000) > 0)
    up = statistics.interval(hidden, label, 100, 1)
    down = statistics.interval(-hidden, label, 100, -1)
    assert up == pytest.approx(down, abs=1e-3)
    assert 0.9 < up[0] < up[1] < 1.0


def test_the_character_alone_is_learned_on_one_part_and_judged_on_another():
    ids = RNG(0).integers(1, 9, 20_000)
    labels = Label.of(ids < 4)
    first, second = slice(0, 10_000), slice(10_000, 20_000)
    known = CharacterScore(ids[first], labels.cut(first), 9).on(ids[second], labels.cut(second))
    assert known == 1.0
    blind = Label.of(RNG(1).random(20_000) < 0.5)
    unknown = CharacterScore(ids[first], blind.cut(first), 9).on(ids[second], blind.cut(second))
    assert unknown == pytest.approx(0.5, abs=0.02)


def test_beyond_the_character_a_unit_that_only_repeats_it_says_nothing():
    ids = RNG(0).integers(1, 5, 8000)
    hidden = correlated(8000, 4) > 0
    labels = Label.of(hidden & (ids < 3))
    echo = (ids < 3).astype(float)
    assert statistics.score_pair(echo, labels.y_T > 0, "yes-no", 1) > 0.7
    assert statistics.beyond_character(echo, ids, labels, 1) == pytest.approx(0.5)
    assert statistics.beyond_character(hidden.astype(float), ids, labels, 1) == pytest.approx(1.0)
    assert statistics.beyond_character(-hidden.astype(float), ids, labels, -1) == pytest.approx(1.0)


def test_beyond_the_character_is_the_auc_over_pairs_of_one_character():
    ids, values = RNG(0).integers(1, 4, 300), RNG(1).normal(size=300)
    labels = RNG(2).random(300) < 0.3
    hits = pairs = 0.0
    for one in np.unique(ids):
        here = ids == one
        weight = labels[here].sum() * (~labels[here]).sum()
        hits += weight * naive_auc(values[here], labels[here])
        pairs += weight
    found = statistics.beyond_character(values, ids, Label.of(labels), 1)
    assert found == pytest.approx(hits / pairs, abs=STATISTIC)


def test_what_never_varies_scores_as_chance():
    assert statistics.score_pair(np.ones(50), RNG(0).random(50) < 0.5, "yes-no", 1) == 0.5
    assert statistics.score_pair(np.ones(50), RNG(0).random(50), "number", 1) == 0.0
    assert statistics.score_pair(RNG(0).random(50), np.full(50, np.nan), "number", 1) == 0.0
    assert statistics.score_pair(RNG(0).random(50), np.ones(50, dtype=bool), "yes-no", 1) == 0.5


def test_no_score_leaves_its_range_whatever_rounding_does():
    y = np.repeat([0.0, 1.0, 2.0], 50)
    terms = [150.0, y.sum(), (y * y).sum() * 0.999, y.sum(), (y * y).sum() * 0.999, (y * y).sum()]
    assert statistics.from_sums("number", *terms) == 1.0
    terms[5] = -terms[5]
    assert statistics.from_sums("number", *terms) == -1.0
