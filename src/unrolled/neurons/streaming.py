"""Every unit of a model over a text of any length, in constant memory: blocks of values, or a few units in order.

Knows nothing about features, families or files: it sees a sequence model through the contract alone.

The text is cut into lanes that run side by side with carried state, as evaluation does; every lane but the first is
warmed up on the characters before it. Values at place t are those after symbol t was read.

Shapes: B lanes, T time, N units of a group, U chosen units, V vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import TextError
from unrolled.models.sequence_model import SequenceModel, State, Tap, parse_unit, rows
from unrolled.training.evaluation import MAX_LANES, WARM_UP, stretch, warmed
from unrolled.training.loop import autocast

BLOCK_VALUES = 1 << 24
"""So many numbers are held at once, all watched units together."""
BLOCK_CHARACTERS = 8192
WARM_UP_SHARE = 4
"""A lane is at least so many times as long as its warm-up."""


@dataclass(frozen=True, eq=False)
class Block:
    """All watched groups over T steps of B lanes.

    `places_BT` are indices into the text, -1 behind its end; `values` has (B, T, N) for every group. The tensors are
    good until the next block.
    """

    places_BT: np.ndarray
    values: Mapping[str, Tensor]
    logits_BTV: Tensor


class _Keep(Tap):
    """Keeps what it is shown, as it is."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.wanted = wanted
        self.seen: dict[str, list[Tensor]] = {}

    def watches(self, name: str) -> bool:
        return self.wanted(name)

    def edits(self, name: str) -> bool:  # noqa: ARG002
        return False

    def __call__(self, name: str, value_BTN: Tensor) -> Tensor:
        self.seen.setdefault(name, []).append(value_BTN)
        return value_BTN

    def taken(self) -> dict[str, Tensor]:
        """Return the values since the last call; a family may have shown one step at a time."""
        found = {name: values[0] if len(values) == 1 else torch.cat(values, 1) for name, values in self.seen.items()}
        self.seen = {}
        return found


def stream_units(
    model: SequenceModel,
    ids: np.ndarray,
    wanted: Callable[[str], bool] = lambda _: True,
    *,
    begin: int = 0,
    lanes: int | None = None,
    precision: str = "float32",
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Block]:
    """Yield every place of a text from `begin` on once, with the groups of units that are wanted.

    What stands before `begin` only warms the model up; places count from `begin`. One lane reads strictly in order.
    The first blocks hold places from all over the text. Raises TextError for an empty text, KeyboardInterrupt as soon
    as `should_stop` says so.
    """
    size = len(ids) - begin
    if size <= 0:
        raise TextError(expected="a text to read", received="no characters", remedy="give a longer text")
    most = min(MAX_LANES, size // (WARM_UP_SHARE * WARM_UP)) if lanes is None else min(lanes, size // WARM_UP)
    count = max(1, most)
    length = -(-size // count)
    starts = [begin + lane * length for lane in range(count) if lane * length < size]
    units = sum(number for name, number in model.units.items() if wanted(name))
    block = max(1, min(BLOCK_CHARACTERS, BLOCK_VALUES // max(1, units)) // len(starts))
    device, tap = next(model.parameters()).device, _Keep(wanted)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(model, precision):
            state = _warmed(model, ids, starts)
        for offset in range(0, length, block):
            if should_stop():
                raise KeyboardInterrupt
            taken_BT = np.stack([stretch(ids, start + offset, min(block, length - offset)) for start in starts])
            tokens_BT = torch.from_numpy(taken_BT).to(device)
            # Entered for each block, because a generator that waits would leave its caller inside.
            with torch.inference_mode(), autocast(model, precision):
                logits_BTV, state = model(tokens_BT.clamp(min=0), state, tap=tap)
            yield Block(_places([start - begin for start in starts], offset, taken_BT, length), tap.taken(), logits_BTV)
    finally:
        model.train(was_training)


def _warmed(model: SequenceModel, ids: np.ndarray, starts: Sequence[int]) -> State | None:
    """Return the state of all lanes; the first one is warmed up too, where text stands before it."""
    if starts[0] < WARM_UP:
        return warmed(model, ids, starts)
    state = warmed(model, ids, [0, *starts])
    assert state is not None
    return rows(state, torch.arange(1, len(starts) + 1, device=next(model.parameters()).device))


def _places(starts: Sequence[int], offset: int, taken_BT: np.ndarray, length: int) -> np.ndarray:
    steps_T = offset + np.arange(taken_BT.shape[1])
    places_BT = np.asarray(starts)[:, None] + steps_T
    # A lane ends where the next one begins, the last one where the text does.
    return np.where((taken_BT >= 0) & (steps_T < length), places_BT, -1)


def record_units(
    model: SequenceModel,
    ids: np.ndarray,
    units: Sequence[str],
    *,
    begin: int = 0,
    precision: str = "float32",
    should_stop: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """Return the values of chosen units (`layer1.cell[137]`) at every place from `begin` on, float32 (T, U).

    Raises ConfigError for a unit that the model does not have, and as `stream_units` does.
    """
    chosen = [parse_unit(unit, model.units) for unit in units]
    groups = {group for group, _ in chosen}
    recorded_TU = np.zeros((max(0, len(ids) - begin), len(units)), dtype=np.float32)
    blocks = stream_units(model, ids, groups.__contains__, begin=begin, precision=precision, should_stop=should_stop)
    for block in blocks:
        store(recorded_TU, block, chosen)
    return recorded_TU


def store(recorded_TU: np.ndarray, block: Block, chosen: Sequence[tuple[str, int]]) -> None:
    """Write the chosen units, (group, index), of a block into their places."""
    if not chosen:
        return
    there_BT = block.places_BT >= 0
    columns = [block.values[group][..., index].float().cpu().numpy()[there_BT] for group, index in chosen]
    recorded_TU[block.places_BT[there_BT]] = np.stack(columns, axis=-1)
