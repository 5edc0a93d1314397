"""Files that are whole or absent after a crash, a full disk or a failed write, and strict JSON to fill them.

Every write goes to a temporary sibling, is fsynced, renamed over its name, and the folder that holds it is fsynced.
Knows nothing about runs, checkpoints or models: it writes bytes, folders of bytes and JSON.
"""

import errno
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from unrolled.errors import RunError, TrainingError

MAX_FILE_BYTES = 1 << 36
MAX_JSON_BYTES = 1 << 26
MAX_LOG_BYTES = 1 << 30
MAX_JSON_DEPTH = 64

_TEMPORARY = re.compile(r"\..+\.\d+-\d+\.tmp")
_TAIL_BYTES = 1 << 16
_serial = itertools.count()
_REMEDIES = {
    errno.ENOSPC: "free some space on that disk; what was saved before is untouched",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f); what was saved before is untouched",
    errno.EIO: "check that disk; what was saved before is untouched",
}
_REMEDIES |= dict.fromkeys(
    (errno.EROFS, errno.EACCES, errno.EPERM),
    "choose a folder that you may write to; what was saved before is untouched",
)


class System:
    """The calls that change a file system, in one place so that a test can record them or make one fail."""

    def open(self, path: Path, flags: int) -> int:
        """Open `path` and return its descriptor; a new file gets the mode that the umask leaves."""
        return os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of `data`, return how many bytes."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.truncate(descriptor, size)

    def fsync(self, descriptor: int) -> None:
        """Wait until the file or folder is on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close the descriptor."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give `source` the name `target`, replacing a file of that name."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """Make one folder with the mode that the umask leaves."""
        path.mkdir()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()


system = System()


class _FsyncFailedError(OSError):
    """The pages of this descriptor count as clean now: syncing it again proves nothing, only a new file does."""


def write_bytes_durably(path: Path, data: bytes) -> None:
    """Replace the content of `path`: afterwards, and after a crash at any moment, it is the old or the new one.

    Raises TrainingError when the disk refuses; the old content is then still there.
    """
    with _writing(path):
        temporary = _temporary_sibling(path)
        try:
            _write_new_file(temporary, data)
            system.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                system.unlink(temporary)
            raise
        _sync_folder(path.parent)


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Replace `path` by a JSON object, as `write_bytes_durably` does."""
    write_bytes_durably(path, encode_json(value, path))


def publish_folder(final: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder `final`, new or empty until now, appear with all of `files`, written in this order, or not.

    Raises TrainingError when the disk refuses; nothing of the new folder remains then.
    """
    with _writing(final):
        temporary = _temporary_sibling(final)
        try:
            system.make_folder(temporary)
            for name, data in files.items():
                _write_new_file(temporary / name, data)
            _sync_folder(temporary)
            system.rename(temporary, final)
        except BaseException:
            with suppress(OSError):
                _delete(temporary)
            raise
        _sync_folder(final.parent)


def make_folder(path: Path) -> None:
    """Make a folder and the folders above it, durably; one that exists is fine. Raises TrainingError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    with _writing(path):
        for folder in reversed(missing):
            with suppress(FileExistsError):
                system.make_folder(folder)
            _sync_folder(folder.parent)


def move_folder(source: Path, target: Path) -> None:
    """Give a folder another name in the same parent, durably. Raises TrainingError."""
    with _writing(source):
        system.rename(source, target)
        _sync_folder(source.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder or file: a crash leaves all or a leftover that nobody takes for it. Raises TrainingError."""
    with _writing(path):
        doomed = _temporary_sibling(path)
        system.rename(path, doomed)
        # Or a power loss could keep the removals of the files and forget the renaming.
        _sync_folder(path.parent)
        _delete(doomed)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left in `folder`; only for whoever holds the lock. Raises TrainingError."""
    with _writing(folder):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if is_temporary(path.name):
                _delete(path)


def is_temporary(name: str) -> bool:
    """Say whether a file or folder of this name is a write that has not finished."""
    return _TEMPORARY.fullmatch(name) is not None


def append_json_line(path: Path, value: Mapping[str, object]) -> None:
    """Append one line to a log and wait until it is on the disk; a torn last line (a crash) is cut off first.

    Raises TrainingError when the disk refuses; the whole lines that were there are still there.
    """
    line = encode_json(value, path, indent=None)
    new = not path.exists()
    size = 0 if new else _end_of_log(path)[0]
    with _writing(path):
        try:
            _fill(system.open(path, os.O_WRONLY | os.O_CREAT), line, size)
        except _FsyncFailedError:
            write_bytes_durably(path, read_bytes(path)[:size] + line)
        if new:
            _sync_folder(path.parent)


def keep_json_lines(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Remove the lines that are not wanted; the others keep their bytes. Raises RunError or TrainingError."""
    if path.exists():
        data = read_bytes(path, limit=MAX_LOG_BYTES)
        kept = b"".join(line for line in _whole_lines(data) if wanted(parse_json(line, path)))
        if kept != data:
            write_bytes_durably(path, kept)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a log, without a torn last line; a missing file is empty. Raises RunError."""
    data = read_bytes(path, limit=MAX_LOG_BYTES) if path.exists() else b""
    return [parse_json(line, path) for line in _whole_lines(data)]


def read_last_json_line(path: Path) -> dict[str, Any] | None:
    """Return the newest object of a log without reading all of it, None when there is none. Raises RunError."""
    line = _end_of_log(path)[1] if path.exists() else b""
    return parse_json(line, path) if line else None


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, strictly (see `parse_json`). Raises RunError."""
    return parse_json(read_bytes(path, limit=MAX_JSON_BYTES), path)


def read_bytes(path: Path, *, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; never waits for a FIFO. Raises RunError."""
    with _reading(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise _unreadable(path, f"a file of at most {limit:,} bytes", f"{size:,} bytes")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(size)


@contextmanager
def looking_at(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses while `path` is read into a RunError of one line."""
    try:
        yield
    except OSError as error:
        raise RunError(
            expected=f"to read {path}",
            received=error.strerror or str(error),
            remedy="restore it from a copy, or choose another folder",
        ) from error


def encode_json(value: Mapping[str, object], where: Path, *, indent: int | None = 2) -> bytes:
    """Return an object as JSON that `parse_json` accepts, in printable ASCII. Raises TrainingError on NaN."""
    try:
        text = json.dumps(value, allow_nan=False, indent=indent)
    except ValueError as error:
        raise TrainingError(
            expected=f"finite numbers for {where}",
            received=str(error),
            remedy="leave out numbers that are not finite; nothing was written",
        ) from error
    data = text.encode("ascii") + b"\n"
    parse_json(data, where)
    return data


def parse_json(data: bytes, where: Path) -> dict[str, Any]:
    """Return one JSON object, strictly: no key twice, no NaN or infinity, bounded depth. Raises RunError."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise _unreadable(where, "JSON that can be read", f"{type(error).__name__} ({error})") from error
    if not isinstance(value, dict):
        raise _unreadable(where, "a JSON object", f"a JSON {type(value).__name__}")
    level: list[Any] = [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        if not level:
            return value
        inside = (child for parent in level for child in (parent.values() if isinstance(parent, dict) else parent))
        level = [child for child in inside if isinstance(child, dict | list)]
    raise _unreadable(where, f"JSON of at most {MAX_JSON_DEPTH} levels", "deeper nesting")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits[:20]} is not a finite number")
    return number


def _unreadable(path: Path, expected: str, received: str) -> RunError:
    return RunError(
        expected=f"{expected} in {path}", received=received, remedy="restore the file from a copy, or start a new run"
    )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        raise TrainingError(
            expected=f"to write {path}",
            received=f"{error.strerror or error} ({errno.errorcode.get(code, code)})",
            remedy=_REMEDIES.get(code, "look after that folder; what was saved before is untouched"),
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[int]:
    with looking_at(path):
        # Opening a FIFO would wait for its writer before anyone could look at what it is.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _unreadable(path, "a regular file", "a folder, a pipe or a device")
            yield descriptor
        finally:
            os.close(descriptor)


def _temporary_sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{next(_serial)}.tmp")


def _write_new_file(path: Path, data: bytes) -> None:
    try:
        _fill(system.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), data)
    except _FsyncFailedError:
        system.unlink(path)
        _fill(system.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), data)


def _fill(descriptor: int, data: bytes, start: int = 0) -> None:
    """Make `data` the content from byte `start` on, fsync and close; cut what came of it when that fails."""
    try:
        if os.fstat(descriptor).st_size > start:
            system.truncate(descriptor, start)
        os.lseek(descriptor, start, os.SEEK_SET)
        rest = memoryview(data)
        while rest:
            rest = rest[system.write(descriptor, rest) :]
        try:
            system.fsync(descriptor)
        except OSError as error:
            raise _FsyncFailedError(error.errno, error.strerror) from error
    except BaseException:
        with suppress(OSError):
            system.truncate(descriptor, start)
        raise
    finally:
        system.close(descriptor)


def _sync_folder(path: Path) -> None:
    if os.name == "nt":
        return
    descriptor = system.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        system.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such call for folders, and nothing better instead.
        if error.errno != errno.EINVAL:
            raise
    finally:
        system.close(descriptor)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            _delete(child)
        system.remove_folder(path)
    else:
        system.unlink(path)


def _whole_lines(data: bytes) -> list[bytes]:
    """Split a log; a power loss may leave a part of the last line, or zeros where it should be."""
    lines = data.splitlines(keepends=True)
    torn = bool(lines) and (not lines[-1].endswith(b"\n") or b"\0" in lines[-1])
    return lines[:-1] if torn else lines


def _end_of_log(path: Path) -> tuple[int, bytes]:
    """Return where the whole lines end and the last of them, reading no more of the file than that takes."""
    with _reading(path) as descriptor:
        start, tail = os.fstat(descriptor).st_size, b""
        while start:
            reach = min(start, max(_TAIL_BYTES, len(tail)))
            start -= reach
            os.lseek(descriptor, start, os.SEEK_SET)
            tail = os.read(descriptor, reach) + tail
            lines = _whole_lines(tail)
            # The first piece may be the end of a longer line.
            if len(lines) > 1 or (lines and not start):
                return start + sum(map(len, lines)), lines[-1]
        return 0, b""
