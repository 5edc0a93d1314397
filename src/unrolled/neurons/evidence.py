"""What a person can check a finding with: how the unit's values are spread, and passages for and against it.

Knows nothing about models or how units are found: values and labels of a text, in its order.

Passages show a unit on a scale from -1 to 1: 0 halfway between what it does with the label and without, -1 and 1 where
0.5 % of its values lie beyond. Its direction is its own: a unit that is off inside quotes is negative there.

Shapes: T places of the text, W windows that begin at different places.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from unrolled.errors import ConfigError
from unrolled.neurons.findings import Candidate
from unrolled.neurons.statistics import midranks

BINS = 40
TENTHS = 10
EDGE = 0.005
"""The share of values beyond each end of a scale."""
LENGTH = 120
"""Characters of a passage."""
PASSAGES = 6
FEWEST = LENGTH // 4
"""Places with the label, and without, that a passage should have, if a quarter of those that show both do."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A piece of the text from character `at` on, and the unit at each of its characters, from -1 to 1."""

    at: int
    text: str
    values: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        """Return what pages read."""
        return {"text": self.text, "values": list(self.values), "at": self.at}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What stands beside a finding; `histogram` is that of `histogram`, below."""

    histogram: dict[str, object] = field(default_factory=dict)
    strongest: tuple[Passage, ...] = ()
    counter: tuple[Passage, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return what pages read."""
        return {
            "histogram": self.histogram,
            "strongest": [one.to_json() for one in self.strongest],
            "counter": [one.to_json() for one in self.counter],
        }


def gather(
    candidate: Candidate, text: Sequence[str], values_T: np.ndarray, labels_T: np.ndarray, *, start: int = 0
) -> Evidence:
    """Return the evidence for one finding: its histogram, passages where unit and label agree, and where they do not.

    `text` has one string per place, as a str of characters has; `values_T` are the unit's and `labels_T` the feature's
    there (bool, or numbers with NaN where undefined); `start` is the index of its first character in the whole text.
    Raises ConfigError when the three differ in length.
    """
    if not len(text) == len(values_T) == len(labels_T):
        raise ConfigError(
            expected=f"one value and one label for each of {len(text)} characters",
            received=f"{len(values_T)} values and {len(labels_T)} labels",
            remedy="take them from the same text",
        )
    values_T = np.asarray(values_T, dtype=np.float64)
    if len(text) == 0 or not _there(labels_T).any():
        return Evidence()
    scaled_T = scaled(values_T, labels_T)
    agreement_T = _agreement(values_T, scaled_T, labels_T, candidate.sign)
    begins_T = np.array([True, *(one.isspace() for one in text[:-1])])

    def shown(score_W: np.ndarray, good_W: np.ndarray) -> tuple[Passage, ...]:
        between_words_W = good_W & begins_T[: len(good_W)]
        places = _best(score_W, between_words_W if between_words_W.any() else good_W)
        return _cut(text, scaled_T, places, start)

    return Evidence(
        histogram=histogram(values_T, labels_T),
        strongest=shown(*_for(agreement_T, labels_T)),
        counter=shown(*_against(agreement_T, labels_T)),
    )


def histogram(values_T: np.ndarray, labels_T: np.ndarray) -> dict[str, object]:
    """Return how a unit's values are spread, with the label and without.

    Yes/no: `low` and `high` and counts of places in 40 equal bins between them, `on` with the label and `off` without;
    values beyond (0.5 % at each end) are counted in the outermost bins. Numbers: the places are cut into tenths by the
    label (fewer where it has few values); `labels` has each one's smallest and largest label, `bins` the unit's mean
    and `quartiles` its quartiles, `low` and `high` are as above.
    """
    there_T = _there(labels_T)
    values_T, labels_T = np.asarray(values_T, dtype=np.float64)[there_T], labels_T[there_T]
    if len(values_T) == 0:
        return {}
    low, high = (float(edge) for edge in np.quantile(values_T, [EDGE, 1 - EDGE]))
    if labels_T.dtype == bool:
        if high <= low:
            low, high = low - 0.5, high + 0.5
        clipped_T, edges = np.clip(values_T, low, high), np.linspace(low, high, BINS + 1)
        counts = {
            name: np.histogram(clipped_T[chosen_T], bins=edges)[0].tolist()
            for name, chosen_T in (("on", labels_T), ("off", ~labels_T))
        }
        return {"low": low, "high": high, **counts}
    bin_T = np.minimum((midranks(labels_T) * TENTHS).astype(int), TENTHS - 1)
    groups = [(values_T[bin_T == one], labels_T[bin_T == one]) for one in np.unique(bin_T)]
    return {
        "low": low,
        "high": high,
        "labels": [[float(label.min()), float(label.max())] for _, label in groups],
        "bins": [float(value.mean()) for value, _ in groups],
        "quartiles": [[float(edge) for edge in np.quantile(value, [0.25, 0.75])] for value, _ in groups],
    }


def scaled(values_T: np.ndarray, labels_T: np.ndarray) -> np.ndarray:
    """Return a unit's values on the scale of passages, from -1 to 1, float64.

    0 lies halfway between the means with the label and without; for a number between those of its upper and lower
    tenth. Where a label is never or always there, halfway between the ends.
    """
    values_T = np.asarray(values_T, dtype=np.float64)
    low, high = np.quantile(values_T, [EDGE, 1 - EDGE])
    on_T, off_T = _sides(labels_T)
    middle = (values_T[on_T].mean() + values_T[off_T].mean()) / 2 if on_T.any() and off_T.any() else (low + high) / 2
    distance_T = values_T - middle
    # A rare label may lie beyond the quantiles, its midpoint, too.
    above, below = (end if end > 1e-12 else np.ptp(values_T) or 1.0 for end in (high - middle, middle - low))
    return np.clip(np.where(distance_T > 0, distance_T / above, distance_T / below), -1.0, 1.0)


def _there(labels_T: np.ndarray) -> np.ndarray:
    """Return where a label is defined."""
    return np.ones(len(labels_T), dtype=bool) if labels_T.dtype == bool else ~np.isnan(labels_T)


def _sides(labels_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places with the label and without; for a number those of its upper and lower tenth."""
    if labels_T.dtype == bool:
        return labels_T, ~labels_T
    low, high = np.nanquantile(labels_T, [0.1, 0.9])
    if low == high:
        return labels_T > low, labels_T <= low
    return labels_T >= high, labels_T <= low


def _agreement(values_T: np.ndarray, scaled_T: np.ndarray, labels_T: np.ndarray, sign: int) -> np.ndarray:
    """Return how well the unit says the label at each place, from -1 (the opposite) to 1, 0 where it is undefined.

    Numbers: ranks are compared, and what counts as agreement is to lie closer than ranks do by chance.
    """
    if labels_T.dtype == bool:
        return np.where(labels_T, 1, -1) * sign * scaled_T
    there_T, agreement_T = _there(labels_T), np.zeros(len(values_T))
    unit, label = midranks(sign * values_T[there_T]), midranks(labels_T[there_T])
    agreement_T[there_T] = np.clip(1 - 3 * np.abs(unit - label), -1, 1)
    return agreement_T


def _for(agreement_T: np.ndarray, labels_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how clearly unit and label agree in each window, and which windows show more than one side of the label.

    Yes/no: the mean over the places with the label and that over the others count alike.
    """
    there_T = _there(labels_T)
    if labels_T.dtype == bool:
        on_W, off_W = _windows(labels_T), _windows(~labels_T)
        agreement_W = _windows(agreement_T * labels_T) / np.maximum(on_W, 1)
        agreement_W = (agreement_W + _windows(agreement_T * ~labels_T) / np.maximum(off_W, 1)) / 2
        shown_W = np.minimum(on_W, off_W)
        both_W = shown_W > 0
        return agreement_W, both_W & (shown_W >= min(FEWEST, np.quantile(shown_W[both_W], 0.75) if both_W.any() else 1))
    rank_T = np.zeros(len(labels_T))
    rank_T[there_T] = midranks(labels_T[there_T])
    count_W = np.maximum(_windows(there_T), 1)
    variance_W = _windows(rank_T**2) / count_W - (_windows(rank_T) / count_W) ** 2
    enough_W = (_windows(there_T) >= min(LENGTH, len(labels_T)) / 2) & (variance_W > 1e-9)
    usual = np.median(variance_W[enough_W]) if enough_W.any() else 0.0
    return _windows(agreement_T) / count_W, enough_W & (variance_W >= usual)


def _against(agreement_T: np.ndarray, labels_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much the unit says in each window that the label does not, and which windows have any of it.

    A miss of a rare label weighs as much as many of the common side, so that both kinds of errors are shown.
    """
    wrong_T = np.maximum(-agreement_T, 0.0)
    if labels_T.dtype == bool:
        share = np.clip(labels_T.mean(), 1 / (len(labels_T) + 1), 1 - 1 / (len(labels_T) + 1))
        wrong_T = wrong_T / np.where(labels_T, share, 1 - share)
    wrong_W = _windows(wrong_T)
    return wrong_W, wrong_W > 1e-9


def _windows(values_T: np.ndarray) -> np.ndarray:
    """Return the sums over the windows of LENGTH places from each place on, (T - LENGTH + 1,), at least one."""
    sums = np.concatenate([[0.0], np.cumsum(values_T, dtype=np.float64)])
    length = min(LENGTH, len(values_T))
    return sums[length:] - sums[: len(sums) - length]


def _best(score_W: np.ndarray, good_W: np.ndarray) -> list[int]:
    """Return the best windows that are good and do not overlap, best first, spread over the text.

    The best of each of PASSAGES stretches of the text first, then what is best anywhere.
    """
    stretches = np.array_split(np.arange(len(score_W)), PASSAGES)
    free_W, chosen = np.array(good_W, dtype=bool), []
    for part in (*stretches, *[np.arange(len(score_W))] * PASSAGES):
        left = part[free_W[part]] if len(part) else part
        if len(left) and len(chosen) < PASSAGES:
            at = int(left[np.argmax(score_W[left])])
            chosen.append(at)
            free_W[max(0, at - LENGTH + 1) : at + LENGTH] = False
    return sorted(chosen, key=lambda at: (-score_W[at], at))


def _cut(text: Sequence[str], scaled_T: np.ndarray, places: Sequence[int], start: int) -> tuple[Passage, ...]:
    """Return the passages at these places; what stands in the text twice is shown once."""
    found: dict[str, Passage] = {}
    for place in places:
        piece = slice(place, min(place + LENGTH, len(text)))
        values = tuple(round(float(value), 2) for value in scaled_T[piece])
        shown = "".join(text[piece])
        found.setdefault(shown, Passage(at=start + place, text=shown, values=values))
    return tuple(found.values())
