"""Units held at values while a model runs: read from `layer1.cell[137]=1.0`, the same in every row or one by one.

Knows nothing about families, features or texts. Shapes: B rows, T time, N units.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unrolled.errors import ConfigError
from unrolled.models.sequence_model import Tap, parse_unit, unit_name

Held = tuple[str, int, float]
"""A group of units, an index in it, and the value that it is held at."""
LARGEST = torch.finfo(torch.float32).max


def parse_clamp(text: str, units: Mapping[str, int]) -> Held:
    """Read a unit and the value that it is held at, `layer1.cell[137]=1.0`, as (group, index, value).

    Raises ConfigError when it is not written so, when the unit is not one of `units`, or when the value is no finite
    number in float32.
    """
    unit, equals, written = text.rpartition("=")
    if not equals:
        raise ConfigError(
            expected="a unit and a value, such as layer0.hidden[12]=1.0", received=repr(text), remedy="add =VALUE"
        )
    group, index = parse_unit(unit, units)
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise ConfigError(
            expected=f"a finite number to hold {unit_name(group, index, units)} at",
            received=repr(written.strip()),
            remedy="correct it",
        )
    return group, index, value


class Clamps(Tap):
    """Holds units at values, in every row and from the first step on; it touches only their groups."""

    def __init__(self, held: Iterable[Held]) -> None:
        """Take what `parse_clamp` returned; a unit that is held twice raises ConfigError."""
        self._held: dict[str, tuple[Tensor, Tensor]] = {}
        held = list(held)
        _refuse_twice(held)
        for group in dict.fromkeys(group for group, _, _ in held):
            mine = [(index, value) for name, index, value in held if name == group]
            self._held[group] = (
                torch.tensor([index for index, _ in mine]),
                torch.tensor([value for _, value in mine], dtype=torch.float64),
            )

    @classmethod
    def parse(cls, texts: Iterable[str], units: Mapping[str, int]) -> "Clamps":
        """Read several clamps. Raises ConfigError as `parse_clamp` does, and when a unit is held twice."""
        return cls(parse_clamp(text, units) for text in texts)

    def watches(self, name: str) -> bool:
        """Say whether a unit of this group is held."""
        return name in self._held

    def edits(self, name: str) -> bool:
        """Say whether a unit of this group is held."""
        return name in self._held

    def __call__(self, name: str, value_BTN: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:
        """Return the values with the held units at theirs."""
        index_H, held_H = self._held[name]
        return value_BTN.index_copy(
            -1,
            index_H.to(value_BTN.device),
            held_H.to(value_BTN.device, value_BTN.dtype).expand(*value_BTN.shape[:-1], -1),
        )


@dataclass(frozen=True, eq=False)
class _Cells:
    """The held units of one group: in row `row_H[i]` the unit `index_H[i]` is held at `value_H[i]`."""

    row_H: Tensor
    index_H: Tensor
    value_H: Tensor


class RowClamps(Tap):
    """Holds other units, at other values, in each row of the batch, so that one run answers many questions."""

    def __init__(self, held_by_row: Sequence[Iterable[Held]]) -> None:
        """Take the clamps of each row, none for a row that is left alone; the same unit twice raises ConfigError."""
        self.rows = len(held_by_row)
        found: dict[str, list[tuple[int, int, float]]] = {}
        for row, held in enumerate(held_by_row):
            here = list(held)
            _refuse_twice(here)
            for group, index, value in here:
                found.setdefault(group, []).append((row, index, value))
        self._cells = {
            group: _Cells(
                torch.tensor([row for row, _, _ in cells]),
                torch.tensor([index for _, index, _ in cells]),
                torch.tensor([value for _, _, value in cells], dtype=torch.float64),
            )
            for group, cells in found.items()
        }

    def watches(self, name: str) -> bool:
        """Say whether a unit of this group is held in any row."""
        return name in self._cells

    def edits(self, name: str) -> bool:
        """Say whether a unit of this group is held in any row."""
        return name in self._cells

    def __call__(self, name: str, value_BTN: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:
        """Return the values with the held units at theirs; another number of rows raises ConfigError."""
        if value_BTN.shape[0] != self.rows:
            raise ConfigError(
                expected=f"a batch of {self.rows} rows, as many as there are lists of clamps",
                received=f"{value_BTN.shape[0]}",
                remedy="give one list for each row",
            )
        cells, device = self._cells[name], value_BTN.device
        changed_BTN = value_BTN.clone()
        value_H1 = cells.value_H.to(device, value_BTN.dtype)[:, None]
        changed_BTN[cells.row_H.to(device), :, cells.index_H.to(device)] = value_H1
        return changed_BTN


def _refuse_twice(held: Sequence[Held]) -> None:
    seen: set[tuple[str, int]] = set()
    for group, index, _ in held:
        if (group, index) in seen:
            raise ConfigError(
                expected="one value for each unit", received=f"{group}[{index}] twice", remedy="leave one of them out"
            )
        seen.add((group, index))
