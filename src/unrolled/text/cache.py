"""Keep token ids in a folder of memory-mapped files, so that a text is read once and may exceed memory.

Knows nothing about texts: an entry is an array, its CRC-32 and a JSON object.
"""

import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.folders import cache_folder, temporary_folder

__all__ = ["LIMIT_BYTES", "cache_folder", "candidates", "commit", "load", "temporary_folder", "trim", "workplace"]

LIMIT_BYTES = 16 << 30
"""Most that entries take together; the ones unused for longest go first, never one that this process uses."""

_ABANDONED_SECONDS = 24 * 3600
_PARTIAL = ".partial-"
_in_use: set[Path] = set()


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Give a private folder beside the entries of `folder`, removed at the end. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def candidates(folder: Path, prefix: str) -> list[Path]:
    """Return the entries whose name starts with `prefix`."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(prefix))
    except OSError:
        return []


def commit(place: Path, entry: Path, meta: dict[str, Any]) -> None:
    """Make the `ids` written in `place` the entry, in one step.

    `meta` must have dtype, length and crc32 (of the ids); the rest is the caller's. Raises OSError.
    """
    text = json.dumps(meta)
    (place / "meta.json").write_text(f"{zlib.crc32(text.encode())}\n{text}", encoding="utf-8")
    complete = place / "complete"
    complete.mkdir()
    for name in ("ids", "meta.json"):
        (place / name).rename(complete / name)
    try:
        complete.rename(entry)
    except OSError:
        shutil.rmtree(entry)  # a damaged one, or another process was first with the same ids
        complete.rename(entry)


def load(entry: Path, *, check: bool) -> tuple[dict[str, Any], np.ndarray] | None:
    """Return an entry's object and its ids, mapped read-only; None when it is missing or damaged.

    `check` reads all ids once and compares their CRC-32 too.
    """
    try:
        checksum, text = (entry / "meta.json").read_text(encoding="utf-8").split("\n", 1)
        if zlib.crc32(text.encode()) != int(checksum):
            return None
        meta = json.loads(text)
        dtype, length = np.dtype(meta["dtype"]), meta["length"]
        if (entry / "ids").stat().st_size != dtype.itemsize * length:
            return None
        if check and _checksum(entry / "ids") != meta["crc32"]:
            return None
        ids = np.memmap(entry / "ids", dtype=dtype, mode="r", shape=(length,))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    _in_use.add(entry)
    with suppress(OSError):
        os.utime(entry)
    return meta, ids


def trim(folder: Path, limit: int = LIMIT_BYTES) -> None:
    """Remove what crashed writers left, then the entries unused for longest until all fit in `limit` bytes."""
    with suppress(OSError):
        entries = []
        for path in folder.iterdir():
            used = path.stat().st_mtime
            if path.name.startswith(_PARTIAL):
                if time.time() - used > _ABANDONED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            elif (path / "meta.json").is_file() and (path / "ids").is_file():
                entries.append((used, (path / "ids").stat().st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total > limit and path not in _in_use:
                shutil.rmtree(path, ignore_errors=True)
                total -= size


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
