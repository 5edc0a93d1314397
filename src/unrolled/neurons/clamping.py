"""What a model writes with a unit held on or off: how often a character comes, on the same random numbers.

Knows nothing about families or features: it sees a sequence model through the contract, and values to hold.

Passages begin at places of a text, each after some characters that are read untouched. From there the model writes
three times, with the unit held at one value, at the other, and untouched; the same uniform number decides the same
character in all three. The model runs in the precision that it was trained at.

Shapes: S samples, B rows, T time, V vocabulary, R draws of samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unrolled.errors import TextError
from unrolled.models.sequence_model import SequenceModel, State, Tap, rows, untouched
from unrolled.neurons.clamps import Held, RowClamps
from unrolled.neurons.findings import Clamp
from unrolled.neurons.proving import AS_USUAL, Proving, drawn_anew, middle, rows_that_fit
from unrolled.sampling import SamplingOptions, gathered, streams_on
from unrolled.training.loop import autocast

PER = 1000
"""Rates are in characters per so many written."""


@dataclass(frozen=True, eq=False)
class ToClamp:
    """A unit, the two values to hold it at, and the symbol to count; `mark` is its character."""

    group: str
    index: int
    on_value: float
    off_value: float
    symbol: int
    mark: str


@dataclass(frozen=True, eq=False)
class _Beginnings:
    """Places to write on from, a row for each: the state, what is expected next, and the seed of the numbers."""

    state: State
    logits_SV: np.ndarray
    seeds: np.ndarray

    def some(self, index_B: np.ndarray) -> "_Beginnings":
        """Return the chosen rows; they may repeat."""
        device = next(iter(self.state.values())).device if self.state else "cpu"
        state = rows(self.state, torch.from_numpy(index_B).to(device))
        return _Beginnings(state, self.logits_SV[index_B], self.seeds[index_B])


def clampings(
    model: SequenceModel, ids: np.ndarray, tasks: Sequence[ToClamp], how: Proving = AS_USUAL
) -> tuple[Clamp, ...]:
    """Return what holding each unit does. Raises TextError for a text too short to begin in, KeyboardInterrupt as
    soon as `how` says so.
    """
    if not tasks:
        return ()
    at_once = rows_that_fit(model)
    beginnings = _beginnings(model, ids, how, at_once)
    samples = len(beginnings.seeds)
    plain_ST = np.concatenate(
        [
            _written(model, beginnings.some(np.arange(first, min(first + at_once, samples))), untouched, how)
            for first in range(0, samples, at_once)
        ]
    )
    # One row for each task, value and sample, in this order.
    work_W3 = np.stack(np.unravel_index(np.arange(len(tasks) * 2 * samples), (len(tasks), 2, samples)), axis=-1)
    held: list[np.ndarray] = []
    for first in range(0, len(work_W3), at_once):
        part_B3 = work_W3[first : first + at_once]
        tap = RowClamps([[_held(tasks[task], variant)] for task, variant, _ in part_B3.tolist()])
        held.append(_written(model, beginnings.some(part_B3[:, 2]), tap, how))
        how.progress((first + len(part_B3)) / len(work_W3))
    held_NVST = np.concatenate(held).reshape(len(tasks), 2, samples, how.length)
    return tuple(
        _answer(task, plain_ST, on_ST, off_ST, how.seed) for task, (on_ST, off_ST) in zip(tasks, held_NVST, strict=True)
    )


def _held(task: ToClamp, variant: int) -> Held:
    return task.group, task.index, (task.on_value, task.off_value)[variant]


def _beginnings(model: SequenceModel, ids: np.ndarray, how: Proving, at_once: int) -> _Beginnings:
    """Return places of the text, each read after `how.context` characters, fewer where the text is short."""
    context = min(how.context, len(ids) // 2)
    if context < 1:
        raise TextError(
            expected="at least 2 characters to begin in", received=f"{len(ids)}", remedy="give a longer text"
        )
    choose = np.random.default_rng(how.seed)
    # A text shorter than the number of samples is begun at the same place more than once, on other numbers.
    places_S = choose.choice(len(ids) - context + 1, how.samples, replace=len(ids) - context + 1 < how.samples)
    states: list[State] = []
    logits: list[np.ndarray] = []
    device = next(model.parameters()).device
    with torch.inference_mode(), autocast(model, how.precision):
        for first in range(0, how.samples, at_once):
            how.look_up()
            taken_BT = ids[places_S[first : first + at_once, None] + np.arange(context)].astype(np.int64)
            logits_BTV, state = model(torch.from_numpy(taken_BT).to(device))
            states.append(state)
            logits.append(logits_BTV[:, -1].float().cpu().numpy())
    state = {name: torch.cat([one[name] for one in states]) for name in states[0]}
    return _Beginnings(state, np.concatenate(logits), how.seed + np.arange(how.samples))


def _written(model: SequenceModel, beginnings: _Beginnings, tap: Tap, how: Proving) -> np.ndarray:
    """Return what is written from each beginning, (B, T)."""
    options, seeds = SamplingOptions(temperature=how.temperature), beginnings.seeds.tolist()
    blocks = streams_on(
        model, beginnings.state, beginnings.logits_SV, options, seeds=seeds, tap=tap, precision=how.precision
    )
    # A compiled writer rounds its weights itself; autocast is for the model as it is called with an edit.
    with autocast(model, "float32" if tap is untouched else how.precision):
        return gathered(_heeding(blocks, how), count=len(seeds), length=how.length)


def _heeding(blocks: Iterator[np.ndarray], how: Proving) -> Iterator[np.ndarray]:
    for block_BT in blocks:
        how.look_up()
        yield block_BT


def _answer(task: ToClamp, plain_ST: np.ndarray, on_ST: np.ndarray, off_ST: np.ndarray, seed: int) -> Clamp:
    samples, length = plain_ST.shape
    drawn_RS = drawn_anew(samples, seed) / samples
    plain_S, on_S, off_S = ((one_ST == task.symbol).mean(axis=1) * PER for one_ST in (plain_ST, on_ST, off_ST))
    low, high = middle(drawn_RS @ (on_S - off_S))
    return Clamp(
        mark=task.mark,
        samples=samples,
        length=length,
        on_value=task.on_value,
        off_value=task.off_value,
        untouched=float(plain_S.mean()),
        on=float(on_S.mean()),
        off=float(off_S.mean()),
        on_interval=middle(drawn_RS @ on_S),
        off_interval=middle(drawn_RS @ off_S),
        changed=low > 0 or high < 0,
    )
