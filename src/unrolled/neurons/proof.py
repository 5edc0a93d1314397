"""Do the units that were found matter? Ablation and clamping of each, on text that they were not chosen on.

Knows nothing about families, files or how units are found: candidates, and the labels of their features.

Shapes: B rows, T time, N units of a group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from unrolled.errors import ConfigError, TextError
from unrolled.models.sequence_model import SequenceModel, parse_unit
from unrolled.neurons.ablation import ToAblate, ablations
from unrolled.neurons.clamping import ToClamp, clampings
from unrolled.neurons.findings import Candidate
from unrolled.neurons.places import Decided, decided
from unrolled.neurons.proving import AS_USUAL, Proving
from unrolled.neurons.streaming import stream_units
from unrolled.sampling import UNKNOWN_ID

SHORTEST = 1000
"""With fewer characters nothing can be proved."""
SIMILAR = 2.0
"""A random unit is compared with one of at most so many times its variance, and at least the same part of it, as long
as there are such units; then come the nearest."""
FOLLOWS = 0.5
"""A unit whose means where a feature is on and off lie at least this part as far apart as those of the unit in
question, each in its own standard deviations, follows the feature, too: it is no random one."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """A candidate that can be proved: its unit, and where its feature is decided."""

    number: int
    group: str
    index: int
    feature: str
    decided: Decided


@dataclass(frozen=True, eq=False)
class _Moments:
    """Mean and variance of every unit of the groups in question, and their means where a feature is on and off, (2, N).

    The latter by (group, feature); not-a-number where a feature is never on or never off.
    """

    mean: Mapping[str, np.ndarray]
    variance: Mapping[str, np.ndarray]
    ends: Mapping[tuple[str, str], np.ndarray]

    def apart(self, group: str, feature: str) -> np.ndarray:
        """Return how far apart the means of each unit are where a feature is on and off, in standard deviations."""
        on_N, off_N = self.ends[group, feature]
        return np.abs(on_N - off_N) / np.sqrt(np.maximum(self.variance[group], np.finfo(np.float64).tiny))


def prove(
    model: SequenceModel,
    ids: np.ndarray,
    text: str,
    candidates: Sequence[Candidate],
    labels: Mapping[str, np.ndarray],
    how: Proving = AS_USUAL,
) -> tuple[Candidate, ...]:
    """Return the candidates with what ablation and clamping say, in their order.

    `ids`, `text` and the labels of each feature have one entry per character, of text on which nothing was chosen. A
    candidate stays as it is where its feature is decided at too few places, and without a clamp where the character
    to count is one that is never written. Units are ablated to their mean over this text, and held at their mean
    over the places with the label and without (of the top and bottom tenth of a number).

    Raises ConfigError where lengths differ or a unit or a label is missing, TextError for a text too short, and
    KeyboardInterrupt as soon as `how` says so.
    """
    if not candidates:
        return ()
    _refuse(ids, text, candidates, labels)
    places = {feature: decided(text, labels[feature]) for feature in {one.feature for one in candidates}}
    asked: list[_Asked] = []
    for number, one in enumerate(candidates):
        group, index = parse_unit(one.unit, model.units)
        found = places[one.feature]
        if found is not None:
            asked.append(_Asked(number, group, index, one.feature, found))
    if not asked:
        return tuple(candidates)
    was_training = model.training
    model.eval()
    try:
        moments = _measured(model, ids, asked, labels, how)
        how.progress(0.1)
        tasks = [_to_ablate(one, asked, moments, how) for one in asked]
        lost = ablations(model, ids, tasks, replace(how, progress=lambda done: how.progress(0.1 + 0.5 * done)))
        held = [(one.number, _to_clamp(one, ids, text, *ends)) for one, ends in _apart(asked, moments)]
        marked = [(number, task) for number, task in held if task.symbol != UNKNOWN_ID]
        written = clampings(
            model, ids, [task for _, task in marked], replace(how, progress=lambda done: how.progress(0.6 + 0.4 * done))
        )
    finally:
        model.train(was_training)
    proved = list(candidates)
    for one, ablation in zip(asked, lost, strict=True):
        proved[one.number] = replace(proved[one.number], ablation=ablation)
    for (number, _), clamp in zip(marked, written, strict=True):
        proved[number] = replace(proved[number], clamp=clamp)
    return tuple(proved)


def _refuse(ids: np.ndarray, text: str, candidates: Sequence[Candidate], labels: Mapping[str, np.ndarray]) -> None:
    if len(text) < SHORTEST:
        raise TextError(
            expected=f"at least {SHORTEST:,} characters to prove on",
            received=f"{len(text):,}",
            remedy="give a longer text",
        )
    for one in candidates:
        if one.feature not in labels:
            raise ConfigError(
                expected=f"labels of {one.feature}", received="none", remedy="compute those of every candidate"
            )
    for name, found in (("the ids", ids), *labels.items()):
        if len(found) != len(text):
            raise ConfigError(
                expected=f"{len(text):,} entries, one for each character, for {name}",
                received=f"{len(found):,}",
                remedy="give those of the same text",
            )


def _measured(
    model: SequenceModel, ids: np.ndarray, asked: Sequence[_Asked], labels: Mapping[str, np.ndarray], how: Proving
) -> _Moments:
    """Read the text once, untouched."""
    groups = sorted({one.group for one in asked})
    sums = {group: np.zeros((2, model.units[group])) for group in groups}
    ends = {feature: _ends(labels[feature]) for feature in {one.feature for one in asked}}
    totals = {(one.group, one.feature): np.zeros((2, model.units[one.group])) for one in asked}
    stream = stream_units(model, ids, groups.__contains__, precision=how.precision, should_stop=how.should_stop)
    for block in stream:
        there_BT = block.places_BT >= 0
        chosen = torch.from_numpy(there_BT)
        for group in groups:
            value_PN = block.values[group][chosen.to(block.values[group].device)].double()
            sums[group] += torch.stack([value_PN.sum(0), value_PN.square().sum(0)]).cpu().numpy()
            for of, feature in totals:
                if of == group:
                    masks_EP = torch.from_numpy(ends[feature][:, block.places_BT[there_BT]]).to(value_PN)
                    totals[of, feature] += (masks_EP @ value_PN).cpu().numpy()
    mean = {group: sums[group][0] / len(ids) for group in groups}
    variance = {group: np.maximum(sums[group][1] / len(ids) - mean[group] ** 2, 0.0) for group in groups}
    for (_, feature), totals_EN in totals.items():
        counts_E1 = ends[feature].sum(axis=1)[:, None]
        totals_EN[:] = np.where(counts_E1 > 0, totals_EN / np.maximum(counts_E1, 1), np.nan)
    return _Moments(mean, variance, totals)


def _ends(labels_T: np.ndarray) -> np.ndarray:
    """Return the places where a label is on and off, (2, T): of a number, its top and bottom tenth."""
    if labels_T.dtype == bool:
        return np.stack([labels_T, ~labels_T])
    there_T = ~np.isnan(labels_T)
    if not there_T.any():
        return np.stack([there_T, there_T])
    low, high = np.quantile(labels_T[there_T], [0.1, 0.9])
    # A depth is 0 nearly everywhere: what lies above is its top.
    top_T = labels_T >= high if high > low else labels_T > high
    return np.stack([there_T & top_T, there_T & (labels_T <= low)])


def _to_ablate(one: _Asked, asked: Sequence[_Asked], moments: _Moments, how: Proving) -> ToAblate:
    mean_N, variance_N = moments.mean[one.group], moments.variance[one.group]
    apart_N = np.nan_to_num(moments.apart(one.group, one.feature))
    # Other units that were found for this feature are no random ones.
    related = {other.index for other in asked if (other.group, other.feature) == (one.group, one.feature)}
    # One order for all units of a group: many are compared with the same ones, which then run once.
    order = np.random.default_rng(how.seed).permutation(len(mean_N))
    order = order[~np.isin(order, list(related))]
    tiny = np.finfo(np.float64).tiny
    apart = np.abs(np.log(np.maximum(variance_N[order], tiny)) - np.log(max(variance_N[one.index], tiny)))
    # Those similar enough in the order of chance, then the others by how similar they are; last of all those that
    # follow the feature themselves.
    follows = apart_N[order] >= FOLLOWS * apart_N[one.index]
    ranked = order[np.lexsort((np.where(apart <= np.log(SIMILAR), 0.0, apart), follows))][: how.controls]
    return ToAblate(
        unit=(one.group, one.index, float(mean_N[one.index])),
        controls=tuple((one.group, int(index), float(mean_N[index])) for index in ranked),
        decided=one.decided,
    )


def _apart(asked: Sequence[_Asked], moments: _Moments) -> list[tuple[_Asked, tuple[float, float]]]:
    """Return those that have both a mean where they are on and one where they are off."""
    ends = [(one, moments.ends[one.group, one.feature][:, one.index].tolist()) for one in asked]
    return [(one, (on, off)) for one, (on, off) in ends if not np.isnan(on + off)]


def _to_clamp(one: _Asked, ids: np.ndarray, text: str, on: float, off: float) -> ToClamp:
    """Count the commonest character that decides: its symbol is the one that stands at such a place."""
    places = np.flatnonzero(one.decided.mask_T)
    place = next(place for place in places.tolist() if text[place + 1] == one.decided.mark)
    return ToClamp(one.group, one.index, on, off, int(ids[place + 1]), one.decided.mark)
