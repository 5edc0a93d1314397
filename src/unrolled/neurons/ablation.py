"""What a unit is worth: the loss with the unit held at its mean, where its feature is decided and elsewhere.

Knows nothing about families or features: it sees a sequence model through the contract, and places of a text.

Stretches of the text run side by side in lanes that were warmed up untouched, once for the untouched model and once
for each unit that is held, in the same batch: losses are compared character by character. Random units of the same
group and of similar variance are held in the same way. What recurrent layers must do step by step for an edit is so
done for many units at once. The model runs in the precision that it was trained at.

Shapes: B rows, T time, V vocabulary, K blocks, R draws of blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from unrolled.models.sequence_model import SequenceModel, State, rows
from unrolled.neurons.clamps import Held, RowClamps
from unrolled.neurons.findings import Ablation
from unrolled.neurons.places import FEWEST, Decided
from unrolled.neurons.proving import AS_USUAL, Proving, drawn_anew, middle, rows_that_fit
from unrolled.training.evaluation import stretch, warmed
from unrolled.training.loop import autocast

LANE = 2000
"""Characters of a lane; longer than what evaluation warms up on, so that all lanes but the text's first are warm."""
BLOCK = 1000
"""Neighbouring characters are alike: intervals draw whole blocks of so many."""
PLENTY = 400
"""So many places are enough for a feature: lanes are then chosen for the others."""
FEWEST_TOGETHER = 8
"""At least so many units share a run: each run has the untouched model beside them."""
MOST_NATS = 50.0
"""A compiled machine may hold a character impossible; so much is surprise enough."""
CHARACTERS_AT_ONCE = 1 << 14
LOGITS_AT_ONCE = 1 << 24


@dataclass(frozen=True, eq=False)
class ToAblate:
    """A unit and its mean, where its feature is decided, and the random units and means to compare with."""

    unit: Held
    controls: tuple[Held, ...]
    decided: Decided


@dataclass(frozen=True, eq=False)
class _Losses:
    """Nats per place of the lanes, (lanes, LANE), for each unit held, less those untouched; places -1 are none."""

    places_BT: np.ndarray
    change: dict[Held, np.ndarray]


def ablations(
    model: SequenceModel, ids: np.ndarray, tasks: Sequence[ToAblate], how: Proving = AS_USUAL
) -> tuple[Ablation, ...]:
    """Return what holding each unit costs, in nats per character. Raises KeyboardInterrupt as soon as `how` says so."""
    if not tasks:
        return ()
    starts = _starts([one.decided.mask_T for one in tasks], len(ids), how.characters)
    losses = _losses(model, ids, starts, tasks, how)
    return tuple(_answer(one, losses, how.seed) for one in tasks)


def _starts(masks: Sequence[np.ndarray], length: int, characters: int) -> list[int]:
    """Choose lanes of the text, so many that they hold `characters`, in which every feature has places enough.

    Every lane taken is the one that adds most, a feature's places counted up to `PLENTY`; more are taken while one
    has fewer than `FEWEST`.
    """
    count = -(-(length - 1) // LANE)
    wanted, edges = min(count, max(1, characters // LANE)), np.arange(count) * LANE
    places_FK = np.stack([np.add.reduceat(mask_T.astype(np.int64), edges) for mask_T in masks])
    total_F = places_FK.sum(axis=1)
    taken, have_F, free = [], np.zeros(len(masks), dtype=np.int64), np.ones(count, dtype=bool)
    while (missing_F := np.minimum(total_F, PLENTY if len(taken) < wanted else FEWEST) - have_F).max() > 0:
        worth_F = np.maximum(np.minimum(total_F, PLENTY), 1)
        gain_K = (np.minimum(places_FK, np.maximum(missing_F, 0)[:, None]) / worth_F[:, None]).sum(axis=0)
        best = int(np.where(free, gain_K, -1.0).argmax())
        taken.append(best)
        free[best] = False
        have_F = have_F + places_FK[:, best]
    missing = wanted - len(taken)
    if missing > 0:
        others = np.flatnonzero(free)
        taken.extend(others[np.linspace(0, len(others) - 1, missing).round().astype(int)].tolist())
    return sorted(lane * LANE for lane in taken)


def _losses(
    model: SequenceModel, ids: np.ndarray, starts: Sequence[int], tasks: Sequence[ToAblate], how: Proving
) -> _Losses:
    # In the order of groups: a run edits few of them, and the other layers keep their fast path.
    order = {group: number for number, group in enumerate(model.units)}
    units = sorted(
        {held for one in tasks for held in (one.unit, *one.controls)}, key=lambda held: (order[held[0]], held[1])
    )
    lanes = len(starts)
    at_once = max(FEWEST_TOGETHER, rows_that_fit(model) // lanes - 1)
    change: dict[Held, np.ndarray] = {}
    with torch.inference_mode(), autocast(model, how.precision):
        state = _warm(model, ids, starts)
        for first in range(0, len(units), at_once):
            chosen = units[first : first + at_once]
            tap = RowClamps([[]] * lanes + [[held] for held in chosen for _ in range(lanes)])
            nats_UBT = _run(model, ids, starts, state, tap, how)
            change.update(zip(chosen, nats_UBT[1:] - nats_UBT[:1], strict=True))
            how.progress((first + len(chosen)) / len(units))
    places_BT = np.asarray(starts)[:, None] + np.arange(LANE)
    return _Losses(np.where(places_BT < len(ids) - 1, places_BT, -1), change)


def _warm(model: SequenceModel, ids: np.ndarray, starts: Sequence[int]) -> State:
    """Return the state at the beginning of each lane: nothing was read before the text's first."""
    state = warmed(model, ids, [*dict.fromkeys([0, *starts])])
    if state is None:
        return model.initial_state(1)
    return state if starts[0] == 0 else rows(state, torch.arange(1, len(starts) + 1, device=_device(model)))


def _run(
    model: SequenceModel, ids: np.ndarray, starts: Sequence[int], state: State, tap: RowClamps, how: Proving
) -> np.ndarray:
    """Return the nats of what follows each place, (variants, lanes, LANE): rows are variants times lanes."""
    lanes, device = len(starts), _device(model)
    variants = tap.rows // lanes
    state = rows(state, torch.arange(lanes, device=device).repeat(variants))
    taken_BT = torch.from_numpy(np.stack([stretch(ids, start, LANE + 1) for start in starts])).to(device).clamp(min=0)
    tokens_BT = taken_BT.repeat(variants, 1)
    steps = max(1, min(CHARACTERS_AT_ONCE, LOGITS_AT_ONCE // model.vocab_size) // tap.rows)
    pieces: list[np.ndarray] = []
    for offset in range(0, LANE, steps):
        how.look_up()
        logits_BTV, state = model(tokens_BT[:, offset : min(offset + steps, LANE)], state, tap=tap)
        logits_BTV = logits_BTV.float() if logits_BTV.dtype == torch.bfloat16 else logits_BTV
        following_BT = tokens_BT[:, offset + 1 : offset + 1 + logits_BTV.shape[1]]
        nats_BT = F.cross_entropy(logits_BTV.flatten(0, 1), following_BT.flatten(), reduction="none")
        nats_BT = nats_BT.nan_to_num(nan=MOST_NATS).clamp(max=MOST_NATS)
        pieces.append(nats_BT.view(variants, lanes, -1).double().cpu().numpy())
    return np.concatenate(pieces, axis=-1)


def _answer(one: ToAblate, losses: _Losses, seed: int) -> Ablation:
    there_BT = losses.places_BT >= 0
    matters_BT = there_BT & one.decided.mask_T[losses.places_BT]
    elsewhere_BT = there_BT & ~matters_BT
    drawn_RK = drawn_anew(there_BT.size // BLOCK, seed)
    mine, others = losses.change[one.unit], [losses.change[held] for held in one.controls]
    matters, matters_R = _mean(mine, matters_BT, drawn_RK)
    elsewhere, elsewhere_R = _mean(mine, elsewhere_BT, drawn_RK)
    random = [_mean(other, matters_BT, drawn_RK) for other in others]
    random_elsewhere = [_mean(other, elsewhere_BT, drawn_RK) for other in others]
    # What must be passed in every draw: nothing, the rest of the text, and every random unit.
    bar_R = np.maximum.reduce([np.zeros_like(matters_R), elsewhere_R, *(values_R for _, values_R in random)])
    highest = max([0.0, elsewhere, *(value for value, _ in random)])
    worst, worst_R = max(random, key=lambda one: one[0], default=(0.0, np.zeros_like(matters_R)))
    beside_R = np.maximum.reduce([np.zeros_like(elsewhere_R), *(values_R for _, values_R in random_elsewhere)])
    beside = max([0.0, *(value for value, _ in random_elsewhere)])
    return Ablation(
        where=one.decided.where,
        places=int(matters_BT.sum()),
        matters=matters,
        matters_interval=middle(matters_R),
        elsewhere=elsewhere,
        elsewhere_interval=middle(elsewhere_R),
        random_units=len(others),
        random_matters=worst,
        random_matters_interval=middle(worst_R),
        random_elsewhere=beside,
        proved=matters > highest and middle(matters_R - bar_R)[0] > 0,
        used=elsewhere > beside and middle(elsewhere_R - beside_R)[0] > 0,
    )


def _mean(values_BT: np.ndarray, mask_BT: np.ndarray, drawn_RK: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean at the places of a mask, and what it is in each draw of blocks (NaN where none has a place)."""
    sums_K = np.where(mask_BT, values_BT, 0.0).reshape(-1, BLOCK).sum(axis=1)
    counts_K = mask_BT.reshape(-1, BLOCK).sum(axis=1)
    counts_R = drawn_RK @ counts_K
    means_R = np.where(counts_R > 0, drawn_RK @ sums_K / np.maximum(counts_R, 1), np.nan)
    return float(sums_K.sum() / max(1, counts_K.sum())), means_R


def _device(model: SequenceModel) -> torch.device:
    return next(model.parameters()).device
