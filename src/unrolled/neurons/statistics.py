"""How well numbers follow labels, and how sure that is: AUC, rank correlation, intervals, and the null of a shift.

Knows nothing about models: numbers and labels of a text, in its order.

Everything is a covariance of ranks. With midranks u in [0, 1], the AUC of a yes/no label y is exactly
1/2 + mean(u | y) - mean(u | not y) = 1/2 + cov(u, y) / var(y) (Mann and Whitney 1947); the rank correlation is
cov(u, y) / (sd(u) sd(y)) with the ranks of the label as y (Spearman 1904). So both follow from six sums, and at all
circular shifts from Fourier transforms. Intervals come from drawing blocks of the text anew (Künsch 1989). Characters
are correlated over long stretches: shuffling them would be no null; shifting the labels of a whole text in a circle
keeps everything but the relation between unit and label.

Shapes: T places, U columns of numbers, S shifts, K blocks, C symbols.
"""

from dataclasses import dataclass

import numpy as np

from unrolled.neurons.findings import Interval

Numbers = np.ndarray | np.floating | float
RESAMPLES = 1000
FEWEST_IN_STRATUM = 20
"""Places with one character and both labels (or so many numbers) below which the character says nothing."""


def midranks(values_T: np.ndarray) -> np.ndarray:
    """Return the ranks of numbers in (0, 1), ties shared, float64; NaN stay NaN and are not counted."""
    values_T = np.asarray(values_T)
    if values_T.dtype.kind == "f" and np.isnan(values_T).any():
        ranks_T = np.full(len(values_T), np.nan)
        there = ~np.isnan(values_T)
        ranks_T[there] = midranks(values_T[there])
        return ranks_T
    if len(values_T) == 0:
        return np.zeros(0)
    order = np.argsort(values_T, kind="stable")
    ordered = values_T[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[begins[1:], len(ordered)]
    ranks_T = np.empty(len(values_T))
    ranks_T[order] = np.repeat((begins + ends) / 2 / len(ordered), ends - begins)
    return ranks_T


@dataclass(frozen=True, eq=False)
class Label:
    """Labels made ready: `y_T` is 0 or 1, or ranks (0 where undefined); `there_T` says where they are defined."""

    kind: str
    y_T: np.ndarray
    there_T: np.ndarray

    @classmethod
    def of(cls, labels_T: np.ndarray) -> "Label":
        """Take bool labels as yes/no, all others as numbers, NaN where undefined."""
        if labels_T.dtype == bool:
            return cls("yes-no", labels_T.astype(np.float64), np.ones(len(labels_T), dtype=bool))
        ranks_T = midranks(labels_T.astype(np.float64))
        there_T = ~np.isnan(ranks_T)
        return cls("number", np.where(there_T, ranks_T, 0.0), there_T)

    def rolled(self, places: int) -> "Label":
        """Return the labels moved in a circle."""
        return Label(self.kind, np.roll(self.y_T, places), np.roll(self.there_T, places))

    def cut(self, part: slice) -> "Label":
        """Return the labels of a part."""
        return Label(self.kind, self.y_T[part], self.there_T[part])


def from_sums(kind: str, n: Numbers, u: Numbers, uu: Numbers, y: Numbers, yy: Numbers, uy: Numbers) -> Numbers:
    """Return scores (AUC, or correlation) from the sums 1, u, u², y, y², u·y; chance where nothing varies."""
    chance = 0.5 if kind == "yes-no" else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = uy / n - u / n * (y / n)
        variance_y, variance_u = yy / n - (y / n) ** 2, uu / n - (u / n) ** 2
        # In exact arithmetic variances of nothing are 0; here they are rounding.
        if kind == "yes-no":
            score = np.where(variance_y > 1e-12, 0.5 + covariance / variance_y, 0.5)
            return np.nan_to_num(np.clip(score, 0.0, 1.0), nan=chance)
        both = variance_u * variance_y
        score = np.where(both > 1e-14, covariance / np.sqrt(both), 0.0)
        return np.nan_to_num(np.clip(score, -1.0, 1.0), nan=chance)


def sums_of(u_T: np.ndarray, label: Label) -> tuple[np.ndarray, ...]:
    """Return the six terms of every place, (T,) each, zero where the label is undefined."""
    m_T = label.there_T.astype(np.float64)
    u_T = u_T * m_T
    return m_T, u_T, u_T * u_T, label.y_T, label.y_T * label.y_T, u_T * label.y_T


def score_pair(values_T: np.ndarray, labels_T: np.ndarray, kind: str, sign: int) -> float:
    """Return the score of numbers for labels, bool or float with NaN: AUC or rank correlation, turned by `sign`.

    Exact, ties included: ranks are taken among the places where the label is defined.
    """
    there_T = np.ones(len(labels_T), dtype=bool) if labels_T.dtype == bool else ~np.isnan(labels_T)
    if not there_T.any():
        return 0.5 if kind == "yes-no" else 0.0
    return score_of(midranks(values_T[there_T]), Label.of(labels_T[there_T]), sign)


def turned(score: float, kind: str, sign: int) -> float:
    """Return a score as that of the numbers' negative where `sign` is -1."""
    if sign >= 0:
        return score
    return 1.0 - score if kind == "yes-no" else -score


def influence(values_T: np.ndarray, label: Label) -> np.ndarray:
    """Return how far each place moves the score, (T,): the score of a resample is the score plus its mean of these.

    AUC: placements (DeLong, DeLong and Clarke-Pearson 1988). Rank correlation: the first-order term, of which the
    parts that come from ranking anew are sums over all places beyond one's own. Zero where the label is undefined.
    """
    moves_T, there_T = np.zeros(len(values_T)), label.there_T
    values, y = values_T[there_T], label.y_T[there_T]
    u, count = midranks(values), len(y)
    if count == 0 or np.ptp(y) == 0 or np.ptp(values) == 0:
        return moves_T
    if label.kind == "yes-no":
        on, moves = y > 0, np.zeros(count)
        share = on.mean()
        below_off = (u[on] - share * midranks(values[on])) / (1 - share)
        above_on = 1 - (u[~on] - (1 - share) * midranks(values[~on])) / share
        moves[on], moves[~on] = (below_off - below_off.mean()) / share, (above_on - above_on.mean()) / (1 - share)
    else:
        a, b = u - 0.5, y - y.mean()
        moves = (a * b + _beyond(u, b) + _beyond(y, a)) / max(1e-12, a.std() * b.std())
        moves -= moves.mean()
    moves_T[there_T] = moves
    return moves_T


def _beyond(ranks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return for each place the mean over all of the weights of those ranked above it, ties half."""
    order = np.argsort(ranks, kind="stable")
    ordered = ranks[order]
    upto = np.r_[0.0, np.cumsum(weights[order])]
    first, last = np.searchsorted(ordered, ranks, "left"), np.searchsorted(ordered, ranks, "right")
    return (upto[-1] - (upto[first] + upto[last]) / 2) / len(ranks)


def interval(values_T: np.ndarray, label: Label, block: int, sign: int, seed: int = 0) -> Interval:
    """Return the 95 % block-bootstrap interval of the score of numbers; blocks of `block` places are drawn anew."""
    score = score_of(ranks_where(values_T, label.there_T), label, sign)
    count = max(1, len(values_T) // block)
    edges = np.linspace(0, len(values_T), count + 1).astype(int)[:-1]
    moves_K = np.add.reduceat(influence(values_T, label) * sign, edges)
    there_K = np.add.reduceat(label.there_T.astype(np.float64), edges)
    drawn_RK = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    scores_R = score + (drawn_RK @ moves_K) / np.maximum(1.0, drawn_RK @ there_K)
    low, high = np.quantile(np.clip(scores_R, 0.0 if label.kind == "yes-no" else -1.0, 1.0), [0.025, 0.975])
    return float(low), float(high)


def score_of(u_T: np.ndarray, label: Label, sign: int) -> float:
    """Return the score of ranks (among the places where the label is defined), turned by `sign`."""
    return turned(float(from_sums(label.kind, *(term_T.sum() for term_T in sums_of(u_T, label)))), label.kind, sign)


def shifted_scores(u_T: np.ndarray, label: Label, step: int) -> np.ndarray:
    """Return the scores (S,) with the labels moved in a circle by 0, step, 2 step, ... places; T is cut to a multiple.

    They form a group: where unit and label are unrelated, each of the shifts is as likely to score best as any other.
    """
    size = len(u_T) // step * step
    u_T, y_T, m_T = u_T[:size], label.y_T[:size], label.there_T[:size].astype(np.float64)

    def moved(a_T: np.ndarray, b_T: np.ndarray) -> np.ndarray:
        """Return the sums over t of a_t b_(t-s) for s = 0, step, 2 step, ..."""
        product = np.fft.rfft(a_T) * np.conj(np.fft.rfft(b_T))
        return np.fft.irfft(product, n=size)[::step]

    y, yy, n = y_T.sum(), (y_T * y_T).sum(), m_T.sum()
    uy_S = moved(u_T, y_T)
    if m_T.all():
        return np.asarray(from_sums(label.kind, n, u_T.sum(), (u_T * u_T).sum(), y, yy, uy_S))
    return np.asarray(from_sums(label.kind, n, moved(u_T, m_T), moved(u_T * u_T, m_T), y, yy, uy_S))


def family_wise(scores_PS: np.ndarray) -> np.ndarray:
    """Return for each of P pairs the probability that the best of all pairs does as well by chance.

    `scores_PS` are turned scores at S shifts, the true one first. Pairs differ in how far they stray by chance, so
    each is measured in its own standard deviations before the maximum is taken over all (Westfall and Young 1993).
    """
    mean_P1 = scores_PS.mean(axis=1, keepdims=True)
    spread_P1 = np.maximum(scores_PS.std(axis=1, keepdims=True), 1e-9)
    standing_PS = (scores_PS - mean_P1) / spread_P1
    best_S = standing_PS.max(axis=0)
    return (best_S[None, :] >= standing_PS[:, :1] - 1e-9).mean(axis=1)


class CharacterScore:
    """What the current character alone says about a label, learned on one part and judged on another."""

    def __init__(self, ids_T: np.ndarray, label: Label, symbols: int) -> None:
        count_C = np.bincount(ids_T, weights=label.there_T, minlength=symbols)
        sum_C = np.bincount(ids_T, weights=label.y_T, minlength=symbols)
        overall = sum_C.sum() / max(1.0, count_C.sum())
        # A character seen rarely says little: it is drawn towards the mean of all.
        self.expected_C = (sum_C + overall) / (count_C + 1.0)

    def on(self, ids_T: np.ndarray, label: Label) -> float:
        """Return the score on another part; the sign is known, the label itself was learned."""
        u_T = ranks_where(self.expected_C[ids_T], label.there_T)
        return max(score_of(u_T, label, 1), 0.5 if label.kind == "yes-no" else 0.0)


def ranks_where(values_T: np.ndarray, there_T: np.ndarray) -> np.ndarray:
    """Return the midranks among the places where a label is defined, 0 elsewhere."""
    if there_T.all():
        return midranks(values_T)
    ranks_T = np.zeros(len(values_T))
    ranks_T[there_T] = midranks(values_T[there_T])
    return ranks_T


def beyond_character(values_T: np.ndarray, ids_T: np.ndarray, label: Label, sign: int) -> float:
    """Return the score among places with the same character: what the character itself cannot explain.

    Yes/no: the AUC over all pairs of places with one character and different labels. Numbers: the rank correlation
    within each character, weighted by its places. Characters with too few places are left out; chance if all are.
    """
    chance, total, weights = (0.5 if label.kind == "yes-no" else 0.0), 0.0, 0.0
    for symbol in np.unique(ids_T):
        here_T = (ids_T == symbol) & label.there_T
        y = label.y_T[here_T]
        inside = Label(label.kind, y if label.kind == "yes-no" else midranks(y), np.ones(len(y), dtype=bool))
        if label.kind == "yes-no":
            on = int(y.sum())
            weight = float(on * (len(y) - on)) if min(on, len(y) - on) >= 1 and len(y) >= FEWEST_IN_STRATUM else 0.0
        else:
            weight = float(len(y)) if len(y) >= FEWEST_IN_STRATUM and np.ptp(y) > 0 else 0.0
        if weight == 0.0:
            continue
        total += weight * score_of(midranks(values_T[here_T]), inside, 1)
        weights += weight
    return turned(total / weights, label.kind, sign) if weights else chance
