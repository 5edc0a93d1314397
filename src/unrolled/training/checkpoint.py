"""Checkpoints: tensors by name and a JSON state, in a folder that is verified by its manifest before it is believed.

    checkpoints/000400/  model.safetensors  optimizer.safetensors  state.json  MANIFEST.json (written last)

Reading one executes nothing: tensors are safetensors, the rest is strict JSON. The newest is the verified one of the
highest step, whatever its time stamp.
Knows nothing about models or training: it stores tensors by name and JSON.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import RunError, TrainingError
from unrolled.training.durable import (
    encode_json,
    make_folder,
    move_folder,
    parse_json,
    publish_folder,
    read_bytes,
    remove_folder,
)

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 10_000

_MANIFEST = "MANIFEST.json"
_MODEL = "model.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_STATE = "state.json"
_FILES = (_MODEL, _OPTIMIZER, _STATE)
_SEAL = "sha256"
_STEP_FOLDER = re.compile(r"(\d{6,12})(~?)")


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds; `notes` are lines about damaged checkpoints that were passed over to reach it."""

    step: int
    model: dict[str, "Tensor"]
    optimizer: dict[str, "Tensor"]
    state: dict[str, Any]
    path: Path
    notes: tuple[str, ...] = field(default=())


def write_checkpoint(
    folder: Path,
    step: int,
    *,
    model: Mapping[str, "Tensor"],
    optimizer: Mapping[str, "Tensor"],
    state: Mapping[str, object],
    binds: Mapping[str, str],
) -> Path:
    """Write the checkpoint of `step` into `folder` durably and return its path; one of the same step is replaced.

    `binds` maps the names of files that this checkpoint belongs to (config.json) to their sha256. Raises TrainingError
    when a number is not finite or the disk refuses; what was saved before stays good.
    """
    final = folder / f"{step:06d}"
    files = {
        _MODEL: encode_tensors(model, f"the model at step {step}"),
        _OPTIMIZER: encode_tensors(optimizer, f"the optimizer at step {step}"),
        _STATE: encode_json(state, final / _STATE),
    }
    manifest: dict[str, object] = {
        "format": FORMAT_VERSION,
        "step": step,
        "files": {name: {"size": len(data), "sha256": sha256(data)} for name, data in files.items()},
        "binds": dict(binds),
    }
    files[_MANIFEST] = _sealed(manifest, final)
    make_folder(folder)
    # The name of a replaced checkpoint is one that is still found when the process dies before the new one has its own.
    aside = final.with_name(f"{final.name}~")
    if final.exists():
        if _is_verified(final):
            if aside.exists():
                remove_folder(aside)
            move_folder(final, aside)
        else:
            remove_folder(final)
    publish_folder(final, files)
    if aside.exists():
        remove_folder(aside)
    return final


def read_checkpoint(path: Path, *, binds: Mapping[str, str] | None = None) -> Checkpoint:
    """Read a checkpoint whose every byte is what was written.

    With `binds` (names to sha256) also check that those files are the ones it was written for. Raises RunError.
    """
    manifest = _read_manifest(path)
    data = {name: _read_verified(path, name, manifest) for name in _FILES}
    if binds is not None:
        _check_binds(path, manifest, binds)
    return Checkpoint(
        step=manifest["step"],
        model=decode_tensors(data[_MODEL], path / _MODEL),
        optimizer=decode_tensors(data[_OPTIMIZER], path / _OPTIMIZER),
        state=parse_json(data[_STATE], path / _STATE),
        path=path,
    )


def verify(path: Path) -> None:
    """Return when every byte of the checkpoint is what was written. Raises RunError that says what is wrong."""
    manifest = _read_manifest(path)
    for name in _FILES:
        _read_verified(path, name, manifest)


def checkpoint_folders(folder: Path) -> list[Path]:
    """Return the checkpoint folders in `folder`, verified or not, newest step first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _STEP_FOLDER.fullmatch(path.name)
        if match and f"{int(match[1]):06d}" == match[1]:
            found.append((int(match[1]), not match[2], path))
    return [path for *_, path in sorted(found, reverse=True)]


def newest(folder: Path, *, binds: Mapping[str, str] | None = None) -> Checkpoint:
    """Return the verified checkpoint of the highest step, with notes on damaged ones above it. Raises RunError."""
    return _first_verified(folder, checkpoint_folders, binds)


def best(folder: Path, *, binds: Mapping[str, str] | None = None) -> Checkpoint:
    """Return the verified checkpoint with the lowest bits per character on the validation part.

    That is `state["valid"]["bits_per_char"]`; the earlier step wins a tie, and where none has it the newest does.
    Raises RunError.
    """
    return _first_verified(folder, _best_first, binds)


def prune(folder: Path, keep: set[int]) -> None:
    """Remove the checkpoints of other steps than `keep`, but never the newest verified one or the best one.

    Removes nothing when no checkpoint is verified. Raises TrainingError when the disk refuses.
    """
    newest_first = [path for path in checkpoint_folders(folder) if path.name.endswith("~") or _step(path) not in keep]
    protected = {next(filter(_is_verified, order(folder)), None) for order in (checkpoint_folders, _best_first)}
    if None in protected:
        return
    # Oldest first: what a crash leaves is what a run that stopped earlier would have kept.
    for path in reversed(newest_first):
        if path not in protected:
            remove_folder(path)


def newest_verified_steps(folder: Path, count: int) -> set[int]:
    """Return the `count` highest steps whose checkpoints are verified."""
    steps: list[int] = []
    for path in checkpoint_folders(folder):
        if len(steps) < count and _step(path) not in steps and _is_verified(path):
            steps.append(_step(path))
    return set(steps)


def encode_tensors(tensors: Mapping[str, "Tensor"], what: str, *, sealed: bool = False) -> bytes:
    """Return the tensors in safetensors format, dtypes kept. Raises TrainingError when a number is not finite.

    With `sealed` the header tells the sha256 of what follows it.
    """
    from safetensors.torch import save  # noqa: PLC0415 (listing runs must not load torch)

    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise TrainingError(
                expected=f"finite numbers in {what}",
                received=f"NaN or infinity in {name}",
                remedy="lower the learning rate and go on from the last checkpoint",
            )
    # Cloned, because safetensors refuses tensors that share memory (tied weights).
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = save(kept)
    if sealed:
        data = save(kept, {_SEAL: sha256(_payload(data))})
    _check_header(data, Path(what))
    return data


def decode_sealed(data: bytes, where: Path) -> dict[str, "Tensor"]:
    """Do `decode_tensors`, and refuse other tensors than were sealed; earlier versions sealed none. Raises RunError."""
    tensors = decode_tensors(data, where)
    notes = parse_json(data[8 : 8 + _header_size(data)], where).get("__metadata__", {})
    if notes.get(_SEAL, digest := sha256(_payload(data))) != digest:
        raise _damaged(where, "the tensors that were written", "others")
    return tensors


def _header_size(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _payload(data: bytes) -> bytes:
    return data[8 + _header_size(data) :]


def decode_tensors(data: bytes, where: Path) -> dict[str, "Tensor"]:
    """Return the tensors of a file in safetensors format, all finite. Raises RunError."""
    from safetensors.torch import load  # noqa: PLC0415 (listing runs must not load torch)

    _check_header(data, where)
    try:
        tensors = load(data)
    except Exception as error:
        raise _damaged(where, "tensors in safetensors format", f"{type(error).__name__} ({error})") from error
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise _damaged(where, "finite numbers", f"NaN or infinity in {name}")
    return tensors


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_format(version: object, where: Path) -> None:
    """Return when this version can read the format. Raises RunError that says so otherwise."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _damaged(where, f'"format": {FORMAT_VERSION}', f'"format": {version!r}')
    if version > FORMAT_VERSION:
        raise RunError(
            expected=f"format {FORMAT_VERSION} or older in {where}",
            received=f"format {version}",
            remedy="install a newer unrolled",
        )


def _first_verified(folder: Path, order: Callable[[Path], list[Path]], binds: Mapping[str, str] | None) -> Checkpoint:
    notes: list[str] = []
    for path in order(folder):
        try:
            checkpoint = read_checkpoint(path)
        except RunError as error:
            if not path.exists():
                # Another process, the writer, removed it meanwhile.
                return _first_verified(folder, order, binds)
            notes.append(str(error))
            continue
        if binds is not None:
            _check_binds(path, _read_manifest(path), binds)
        return replace(checkpoint, notes=tuple(notes))
    raise RunError(
        expected=f"a checkpoint in {folder}",
        received=f"only damaged ones ({notes[0]})" if notes else "none",
        remedy="start a new run" if notes else "train first",
    )


def _best_first(folder: Path) -> list[Path]:
    newest_first = checkpoint_folders(folder)
    scores = {path: _bits_per_char(path) for path in newest_first}
    return sorted(newest_first, key=lambda path: (scores[path], _step(path) if scores[path] < float("inf") else 0))


def _bits_per_char(path: Path) -> float:
    try:
        state = parse_json(_read_verified(path, _STATE, _read_manifest(path)), path / _STATE)
    except RunError:
        return float("inf")
    valid = state.get("valid")
    value = valid.get("bits_per_char") if isinstance(valid, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("inf")


def _step(path: Path) -> int:
    return int(path.name.rstrip("~"))


def _is_verified(path: Path) -> bool:
    try:
        verify(path)
    except RunError:
        return False
    return True


def _sealed(manifest: Mapping[str, object], where: Path) -> bytes:
    return encode_json({**manifest, "sha256": sha256(encode_json(manifest, where))}, where)


def _read_manifest(path: Path) -> dict[str, Any]:
    where = path / _MANIFEST
    if path.is_dir() and not where.exists():
        raise _damaged(path, f"a finished checkpoint with {_MANIFEST}", "an unfinished write")
    data = read_bytes(where, limit=MAX_HEADER_BYTES)
    manifest = parse_json(data, where)
    check_format(manifest.get("format"), where)
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    if data != _sealed(content, where):
        raise _damaged(where, "the manifest as it was written", "an edited or damaged one")
    _check_structure(manifest, where)
    if manifest["step"] != _step(path):
        raise _damaged(path, f"the checkpoint of step {_step(path)}", f"that of step {manifest['step']}, renamed")
    return manifest


def _check_structure(manifest: Mapping[str, Any], where: Path) -> None:
    files, binds = manifest.get("files"), manifest.get("binds")
    known = isinstance(files, dict) and sorted(files) == sorted(_FILES)
    if not (known and all(isinstance(entry, dict) and entry.keys() == {"size", "sha256"} for entry in files.values())):
        raise _damaged(where, f"the size and sha256 of {', '.join(_FILES)}", "something else")
    if not (isinstance(binds, dict) and isinstance(manifest.get("step"), int)):
        raise _damaged(where, '"step" and "binds"', "something else")


def _read_verified(path: Path, name: str, manifest: Mapping[str, Any]) -> bytes:
    data = read_bytes(path / name)
    size = manifest["files"][name]["size"]
    if len(data) != size:
        raise _damaged(path / name, f"{size:,} bytes", f"{len(data):,} bytes (truncated or overwritten)")
    if sha256(data) != manifest["files"][name]["sha256"]:
        raise _damaged(path / name, "the content that was written", "another sha256 (damaged or edited)")
    return data


def _check_binds(path: Path, manifest: Mapping[str, Any], binds: Mapping[str, str]) -> None:
    for name, digest in manifest["binds"].items():
        if binds.get(name) != digest:
            raise RunError(
                expected=f"{name} as it was when checkpoint {path} was written",
                received="an edited one",
                remedy=f"undo the edit of {name}, or start a new run with the new settings",
            )


def _check_header(data: bytes, where: Path) -> None:
    # safetensors itself allows headers of 100 MB, which take minutes and gigabytes to parse.
    size = _header_size(data)
    if len(data) < 8 or not 2 <= size <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise _damaged(where, f"a header of 2 to {MAX_HEADER_BYTES:,} bytes", f"{len(data):,} bytes without one")
    count = len(parse_json(data[8 : 8 + size], where))
    if count > MAX_TENSORS:
        raise _damaged(where, f"at most {MAX_TENSORS:,} tensors", f"{count:,}")


def _is_finite(tensor: "Tensor") -> bool:
    return not tensor.dtype.is_floating_point or bool(tensor.isfinite().all())


def _damaged(where: Path, expected: str, received: str) -> RunError:
    return RunError(
        expected=f"{expected} in {where}", received=received, remedy="use another checkpoint, or copy the file again"
    )
