"""Which unit follows which feature of the text, how sure that is, and whether it was learned at all.

Knows nothing about families, files or terminals: a model, a text's symbols, and labels.

The text is cut in two with a gap. Every unit is scored for every feature on the discovery part; the best few of each
feature go on to the confirmation part and are judged there alone. A unit is reported if

1. the score is beyond chance: its family-wise p, against all circular shifts of the labels with the maximum over all
   pairs judged, is at most `ALPHA`;
2. it says more than the current character: it closes at least `MARGIN` of what the character alone, and the best
   unit of every untrained copy of the model (searched for in the same way), leave open, and the whole interval lies
   beyond both;
3. it was learned: no untrained copy would do as well, family-wise at `ALPHA` over all features, as far as the spread of
   the copies' best units tells (a prediction bound of Student's t on Fisher's scale, with variances drawn half-way
   towards their median over all features).

"None found" is an answer. Shapes: T places, P pairs, S shifts, L layers, F features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from unrolled.errors import TextError
from unrolled.models.sequence_model import SequenceModel, unit_name
from unrolled.neurons import statistics
from unrolled.neurons.features import Feature
from unrolled.neurons.findings import Candidate, Search, strength
from unrolled.neurons.screening import Screen, layer_of, places_of, rows_of, screen
from unrolled.neurons.statistics import CharacterScore, Label
from unrolled.neurons.streaming import store, stream_units

ALPHA = 0.05
MARGIN = 0.2
"""The share of what is left open that a unit must close,"""
LEAST = 0.02
"""and at least so much strength: near 1 the shares of what is left are noise."""
PER_FEATURE = 3
"""So many units of each feature are judged."""
COPIES = 5
COPY_CHARACTERS = 40_000
"""Untrained copies read at most so much of each part."""
FEWEST_CHARACTERS = 10_000
FEWEST_EPISODES = 20
"""A yes/no feature must begin so often in each part, or nothing can be said."""
GAP = 1000
LONGEST_BLOCK = 2000
BLOCKS = 40
"""At least so many blocks for the interval, if they are of 250 characters or more."""
MOST_SHIFTS = 500
NEARLY_ONE = 1 - 1e-6
HIGHEST = 0.995
STAGES = ("features", "discovery", "confirmation", "untrained copies", "judging")


@dataclass(frozen=True, kw_only=True)
class Text:
    """What is searched: symbols (T,) that the model reads, and for each feature its labels (T,)."""

    ids: np.ndarray
    features: Sequence[Feature]
    labels: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Parts:
    discovery: slice
    confirmation: slice
    block: int
    shift: int


@dataclass(frozen=True, eq=False)
class _Judged:
    """The confirmation part: exact values of the units that go on, and the probes' outputs."""

    units: Mapping[tuple[str, int], np.ndarray]
    probes: Mapping[str, np.ndarray]


def search(
    model: SequenceModel,
    untrained: Callable[[int], SequenceModel],
    text: Text,
    *,
    precision: str = "float32",
    seed: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[str], object] = lambda _: None,
) -> Search:
    """Search all units of a model for all features of a text that it was not trained on.

    `untrained(seed)` returns a fresh copy of the model with other random weights. `progress` hears the name of each
    stage as it begins. Raises TextError for a text too short to say anything, KeyboardInterrupt when told to stop.
    """
    parts = _cut(len(text.ids))
    judged, skipped = _judgeable(text, parts)
    found = {feature.name: Label.of(text.labels[feature.name]) for feature in judged}
    if not judged:
        return _summary(text, parts, model, (), skipped)
    discovery = [found[feature.name].cut(parts.discovery) for feature in judged]
    confirmation = [found[feature.name].cut(parts.confirmation) for feature in judged]
    progress(STAGES[1])
    seen = screen(
        model, text.ids[parts.discovery], discovery, probes=True, precision=precision, should_stop=should_stop
    )
    pairs = [(f, *one) for f, label in enumerate(discovery) for one in seen.best(f, label.kind, PER_FEATURE)]
    progress(STAGES[2])
    ids_T = text.ids[parts.confirmation]
    chosen = {(group, index) for _, group, index, _, _ in pairs}
    heard = _confirm(model, text.ids, parts.confirmation, chosen, seen, precision, should_stop)
    progress(STAGES[3])
    reached_KF = np.stack(
        [
            _best_untrained(untrained(_other_seed(seed, copy)), text.ids, parts, (discovery, confirmation), precision)
            for copy in range(COPIES)
            if not _told(should_stop)
        ]
    )
    progress(STAGES[4])
    # What a label owes to the character alone is learned on the discovery part.
    symbols = model.vocab_size
    characters = [
        CharacterScore(text.ids[parts.discovery], one, symbols).on(ids_T, two)
        for one, two in zip(discovery, confirmation, strict=True)
    ]
    p_P = _by_chance(pairs, heard, confirmation, parts)
    bounds_F = untrained_bounds(reached_KF)
    candidates, known = [], set()
    for (f, group, index, sign, score), p in zip(pairs, p_P, strict=True):
        label, values_T = confirmation[f], heard.units[group, index]
        copies = (float(reached_KF[:, f].max()), float(bounds_F[f]))
        chosen = _Pair(unit_name(group, index, model.units), judged[f], sign, score, float(p), copies, characters[f])
        candidate = _judge(chosen, values_T, label, parts, _probed(heard, f, label))
        # Of those that do not hold only each feature's best is kept: it says how near the feature came.
        if candidate.holds or f not in known:
            beyond = statistics.beyond_character(values_T, ids_T, label, sign)
            candidates.append(replace(candidate, beyond_character=beyond))
        known.add(f)
        _told(should_stop)
    return _summary(text, parts, model, tuple(candidates), skipped)


def untrained_bounds(reached_KF: np.ndarray) -> np.ndarray:
    """Return the strength (F,) that the next untrained copy would exceed for any feature with probability `ALPHA`.

    `reached_KF` are the strengths that K copies reached.
    """
    copies, features = reached_KF.shape
    # Near 1 the scale has no end: copies that reach 0.9999 and 0.99999 differ in nothing that matters here.
    z_KF = np.arctanh(np.clip(reached_KF, -HIGHEST, HIGHEST))
    own_F = z_KF.var(axis=0, ddof=1)
    # A feature of its own large spread keeps it; a small one may be luck, and is drawn towards the others'.
    variance_F = np.maximum(own_F, (own_F + np.median(own_F)) / 2)
    freedom = 2 * (copies - 1)
    # A copy shows its best unit of each feature; of the network itself several are judged.
    times = _student(1 - ALPHA / (features * PER_FEATURE), freedom) * np.sqrt(1 + 1 / copies)
    return np.tanh(z_KF.mean(axis=0) + times * np.sqrt(variance_F))


def _student(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t, by bisection of its distribution (even degrees of freedom)."""
    low, high = 0.0, 1e3
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_below(middle, freedom) < probability else (low, middle)
    return low


def _student_below(t: float, freedom: int) -> float:
    """Return P(T <= t) for even degrees of freedom (Abramowitz and Stegun 26.7.4)."""
    cosine = freedom / (freedom + t * t)
    term, total = 1.0, 1.0
    for k in range(1, freedom // 2):
        term *= (2 * k - 1) / (2 * k) * cosine
        total += term
    return 0.5 + 0.5 * t / np.sqrt(freedom + t * t) * total


def _told(should_stop: Callable[[], bool]) -> bool:
    if should_stop():
        raise KeyboardInterrupt
    return False


@dataclass(frozen=True)
class _Pair:
    unit: str
    feature: Feature
    sign: int
    discovery_score: float
    p: float
    untrained: tuple[float, float]
    character: float


def _judge(pair: _Pair, values_T: np.ndarray, label: Label, parts: _Parts, probe: tuple[float, str]) -> Candidate:
    kind, sign = pair.feature.kind, pair.sign
    u_T = statistics.ranks_where(values_T, label.there_T)
    score = statistics.score_of(u_T, label, sign)
    low, high = statistics.interval(values_T, label, parts.block, sign)
    reached, bound = pair.untrained
    untrained = (1 + reached) / 2 if kind == "yes-no" else reached
    known = max(strength(pair.character, kind), reached, 0.0)
    gain = (strength(score, kind) - known) / (1 - known) if known < NEARLY_ONE else 0.0
    # A single unit is a linear readout of its layer, too: the fitted one, by least squares, may be worse.
    probe = max(probe, (score, layer_of(pair.unit)), key=lambda one: one[0])
    against = []
    if pair.p > ALPHA:
        against.append(f"not beyond chance (p {pair.p:.2f})")
    if gain < MARGIN or strength(score, kind) - known < LEAST or strength(low, kind) <= known:
        by_character = strength(pair.character, kind) >= reached
        who = "the current character alone reaches" if by_character else "untrained copies reach"
        against.append(f"{who} {pair.character if by_character else untrained:.3f}")
    elif strength(score, kind) <= bound:
        against.append(f"untrained copies reach {untrained:.3f} and vary too much")
    return Candidate(
        unit=pair.unit,
        feature=pair.feature.name,
        description=pair.feature.description,
        kind=kind,
        sign=sign,
        score=score,
        interval=(low, high),
        discovery_score=pair.discovery_score,
        character_score=pair.character,
        beyond_character=score,
        untrained_score=untrained,
        probe_score=probe[0],
        probe_layer=probe[1],
        p=pair.p,
        gain=max(gain, -1.0),
        against=tuple(against),
    )


def _cut(size: int) -> _Parts:
    if size < FEWEST_CHARACTERS:
        raise TextError(
            expected=f"at least {FEWEST_CHARACTERS:,} characters that the model was not trained on",
            received=f"{size:,}",
            remedy="give a longer text after the run",
        )
    half = (size - GAP) // 2
    block = min(LONGEST_BLOCK, max(250, half // BLOCKS))
    return _Parts(slice(0, half), slice(half + GAP, size), block, max(block, half // MOST_SHIFTS))


def _judgeable(text: Text, parts: _Parts) -> tuple[list[Feature], dict[str, str]]:
    """Return the features that vary often enough in both parts, and why the others are left out."""
    kept, skipped = [], {}
    for feature in text.features:
        labels_T = text.labels[feature.name]
        fewest = min(_episodes(labels_T[part]) for part in (parts.discovery, parts.confirmation))
        if fewest >= FEWEST_EPISODES:
            kept.append(feature)
        else:
            skipped[feature.name] = "not in this text" if fewest == 0 else f"only {fewest} times in a part"
    return kept, skipped


def _episodes(labels_T: np.ndarray) -> int:
    """Return how often a label begins to be on, or how often a number changes."""
    if labels_T.dtype == bool:
        return int((labels_T[1:] & ~labels_T[:-1]).sum())
    there_T = ~np.isnan(labels_T)
    return int((np.diff(labels_T[there_T]) != 0).sum())


def _confirm(
    model: SequenceModel,
    ids: np.ndarray,
    part: slice,
    wanted: set[tuple[str, int]],
    seen: Screen,
    precision: str,
    should_stop: Callable[[], bool],
) -> _Judged:
    """Read a part once, warmed up on what stands before; keep the units that go on and what the probes say."""
    chosen, size = sorted(wanted), part.stop - part.start
    recorded_TU = np.zeros((size, len(chosen)), dtype=np.float32)
    said = {layer: np.zeros((size, weights.shape[1]), dtype=np.float32) for layer, (_, weights) in seen.probes.items()}
    needed = {group for group, _ in chosen} | {group for groups, _ in seen.probes.values() for group in groups}
    blocks = stream_units(
        model,
        ids[: part.stop],
        needed.__contains__,
        begin=part.start,
        precision=precision,
        should_stop=should_stop,
    )
    for block in blocks:
        store(recorded_TU, block, chosen)
        if said:
            places_R, values = places_of(block), rows_of(block)
            for layer, (groups, weights_XF) in seen.probes.items():
                said[layer][places_R] = (torch.cat([values[group] for group in groups], 1) @ weights_XF).cpu().numpy()
    return _Judged({one: recorded_TU[:, column] for column, one in enumerate(chosen)}, said)


def _probed(heard: _Judged, feature: int, label: Label) -> tuple[float, str]:
    """Return the best layer's probe: its score, and which layer."""
    scores = {
        layer: statistics.score_of(statistics.ranks_where(said_TF[:, feature], label.there_T), label, 1)
        for layer, said_TF in heard.probes.items()
    }
    layer = max(scores, key=lambda name: scores[name])
    return scores[layer], layer


def _by_chance(
    pairs: Sequence[tuple[int, str, int, int, float]], heard: _Judged, labels: Sequence[Label], parts: _Parts
) -> np.ndarray:
    """Return the family-wise p of every pair."""
    scores_PS = []
    for f, group, index, sign, _ in pairs:
        found_S = statistics.shifted_scores(statistics.midranks(heard.units[group, index]), labels[f], parts.shift)
        scores_PS.append(found_S - 0.5 if labels[f].kind == "yes-no" else found_S)
        scores_PS[-1] = scores_PS[-1] * sign
    return statistics.family_wise(np.stack(scores_PS))


def _best_untrained(
    model: SequenceModel,
    ids: np.ndarray,
    parts: _Parts,
    labels: tuple[Sequence[Label], Sequence[Label]],
    precision: str,
) -> np.ndarray:
    """Return for each feature the strength of an untrained model's best unit, chosen and judged like the others."""
    first = slice(0, min(parts.discovery.stop, COPY_CHARACTERS))
    begin, size = parts.confirmation.start, min(parts.confirmation.stop - parts.confirmation.start, COPY_CHARACTERS)
    discovery = [label.cut(first) for label in labels[0]]
    confirmation = [label.cut(slice(0, size)) for label in labels[1]]
    seen = screen(model, ids[first], discovery, probes=False, precision=precision, should_stop=_never)
    best = [seen.best(f, label.kind, 1)[0] for f, label in enumerate(discovery)]
    chosen = {(group, index) for group, index, _, _ in best}
    heard = _confirm(model, ids, slice(begin, begin + size), chosen, seen, precision, _never)
    found = []
    for label, (group, index, sign, _) in zip(confirmation, best, strict=True):
        u_T = statistics.ranks_where(heard.units[group, index], label.there_T)
        found.append(strength(statistics.score_of(u_T, label, sign), label.kind))
    return np.asarray(found)


def _never() -> bool:
    return False


def _other_seed(seed: int, copy: int) -> int:
    """Return a seed that no run of this seed starts from."""
    return int(np.random.SeedSequence([seed, copy, 4]).generate_state(1)[0])


def _summary(
    text: Text, parts: _Parts, model: SequenceModel, candidates: tuple[Candidate, ...], skipped: dict[str, str]
) -> Search:
    size = parts.confirmation.stop - parts.confirmation.start
    return Search(
        characters=len(text.ids),
        discovery=parts.discovery.stop,
        gap=GAP,
        confirmation=size,
        units=sum(model.units.values()),
        shifts=size // parts.shift,
        untrained_copies=COPIES,
        candidates=candidates,
        skipped=skipped,
    )


__all__ = ["ALPHA", "MARGIN", "STAGES", "Text", "layer_of", "search"]
