"""Weights of the past: one small file for each of a few steps of a run, at half precision.

    snapshots/000400.safetensors   names as in the model's state; float16, and float32 where float16 cannot hold it

Nothing decides a run's future by them: one that is missing or damaged costs one point of a curve.
Knows nothing about models or training: it stores tensors by name.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import RunError
from unrolled.training import durable
from unrolled.training.checkpoint import decode_tensors, encode_tensors, sha256

if TYPE_CHECKING:
    from torch import Tensor

MOST = 16
"""So many snapshots are kept."""
FINEST, COARSEST = 6, -6
"""From 2 ** FINEST looks for each doubling of the step, more than `MOST` allows, to one look in 2 ** 6 doublings."""

_SEAL = "sha256"
_NAME = re.compile(r"(\d{6,12})\.safetensors")


def kept_steps(newest: int, every: int) -> list[int]:
    """Return which of the steps 0, every, 2 every, ... stay when `newest` (a multiple or not) is written.

    At most `MOST`: 0, `newest`, and between them multiples that are evenly spaced on a logarithmic scale. What stays
    for a later step also stays for every earlier one, so that nothing is missed that was removed before.
    """
    reached = newest // every
    steps = {0, newest}
    for fineness in range(FINEST, COARSEST - 1, -1):
        steps = {0, newest, *(look * every for look in _grid(reached, 2.0**-fineness))}
        if len(steps) <= MOST:
            break
    return sorted(steps)


def _grid(reached: int, octaves: float) -> set[int]:
    """Return the whole numbers nearest to 1, r, r², ... with r = 2 ** octaves, up to `reached`; a coarser grid, of
    twice the octaves, is a part of it.
    """
    found, power = set(), 0
    while len(found) <= MOST and (look := round(2.0 ** (power * octaves))) <= reached:
        found.add(look)
        power += 1
    return found


def keep(folder: Path, step: int, tensors: Mapping[str, "Tensor"], *, every: int) -> None:
    """Write the snapshot of `step` durably, then remove what `kept_steps` does not keep.

    Raises TrainingError when a number is not finite or the disk refuses; what was saved before stays good.
    """
    halved = {name: _halved(tensor) for name, tensor in tensors.items()}
    data = _encoded(halved, step)
    durable.make_folder(folder)
    durable.write_bytes_durably(folder / f"{step:06d}.safetensors", data)
    wanted = kept_steps(step, every)
    _remove(folder, [one for one in steps_in(folder) if one < step and one not in wanted])


def read(folder: Path, step: int) -> dict[str, "Tensor"]:
    """Return the weights of a step in float32. Raises RunError: it is missing, damaged, or another step's."""
    where = folder / f"{step:06d}.safetensors"
    data = durable.read_bytes(where)
    tensors = decode_tensors(data, where)
    if data != _encoded(tensors, step):
        raise RunError(
            expected=f"the snapshot of step {step} as it was written in {where}",
            received="another content",
            remedy="remove the file, or restore it from a copy",
        )
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def steps_in(folder: Path) -> list[int]:
    """Return the steps that have a snapshot, good or damaged, in ascending order."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = [match for name in names if (match := _NAME.fullmatch(name))]
    return sorted(int(match[1]) for match in found if f"{int(match[1]):06d}" == match[1])


def remove_after(folder: Path, step: int) -> None:
    """Remove the snapshots of later steps, which a resumed run writes again. Raises TrainingError."""
    _remove(folder, [one for one in steps_in(folder) if one > step])


def _remove(folder: Path, steps: list[int]) -> None:
    for step in steps:
        durable.remove_folder(folder / f"{step:06d}.safetensors")


def _halved(tensor: "Tensor") -> "Tensor":
    if not tensor.is_floating_point():
        return tensor
    half = tensor.detach().half()
    return half if bool(half.isfinite().all()) else tensor.detach().float()


def _encoded(tensors: Mapping[str, "Tensor"], step: int) -> bytes:
    """Return the tensors in safetensors format with the sha256 of step and content in the header."""
    from safetensors.torch import save  # noqa: PLC0415 (listing runs must not load torch)

    plain = encode_tensors(tensors, f"the snapshot of step {step}")
    # One entry alone: their order in the file is not the same every time.
    seal = {_SEAL: sha256(f"step {step}\n".encode() + plain)}
    return save({name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}, seal)
