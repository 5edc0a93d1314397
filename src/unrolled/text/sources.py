"""Find the texts that arguments name: files, folders, globs, `-` for stdin, or a built-in text.

Knows nothing about encodings beyond telling text from other files, nor about vocabularies and parts.
"""

import difflib
import errno
import glob
import os
import shutil
import stat
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import TextError
from unrolled.text.display import visible_line
from unrolled.text.encoding import checked_encoding, looks_like_text

BUILTIN_NAMES = ("manual", "python")
"""The texts that every Python brings along; `builtin:NAME` means one even when a path has its name."""

_PREFIX = "builtin:"
_HEAD_BYTES = 1 << 16
_MARKS_OF_A_RUN = {"config.json", "vocabulary.json"}


@dataclass(frozen=True, eq=False)
class Source:
    """One file to read, or what came from stdin (spooled, because it may be read twice)."""

    name: str
    path: Path | None = None
    spool: BinaryIO | None = None

    def open(self) -> BinaryIO:
        """Open at the start, unbuffered, never blocking.

        Raises:
            TextError: no such file, no permission, or not a regular file.
        """
        if self.path is None:
            assert self.spool is not None
            self.spool.seek(0)
            return os.fdopen(os.dup(self.spool.fileno()), "rb", buffering=0)
        with explained(self.name, self.path):
            _require_regular(self.name, self.path.stat())
            # without O_NONBLOCK a FIFO put there since would block forever
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            file = os.fdopen(descriptor, "rb", buffering=0)
            try:
                _require_regular(self.name, os.fstat(descriptor))
            except TextError:
                file.close()
                raise
            return file

    def stat(self) -> os.stat_result:
        """Return the status of the file. Raises TextError when it is gone."""
        if self.path is None:
            assert self.spool is not None
            return os.fstat(self.spool.fileno())
        with explained(self.name, self.path):
            return self.path.stat()


@dataclass(frozen=True, eq=False)
class Sources:
    """What the arguments named: either files in reading order, or one built-in text; and what must be said."""

    files: tuple[Source, ...] = ()
    builtin: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names to show and to keep in a run."""
        return (_PREFIX + self.builtin,) if self.builtin else tuple(source.name for source in self.files)


def resolve(arguments: Iterable[str | Path], *, encoding: str = "utf-8", as_bytes: bool = False) -> Sources:
    """Find the files that `arguments` name, in the order given, those of a folder or glob sorted.

    Folders are read recursively; hidden files are skipped, and files that are not text and run folders (those that
    hold a config.json and a vocabulary.json) are skipped and counted in the notes.

    Raises:
        TextError: nothing named, no such file, no text in it, something that is not a regular file, an unknown
            encoding.
    """
    given = [os.fspath(argument) for argument in arguments]
    if not given:
        raise TextError(expected="a text", received="no argument", remedy="name a file, a folder or a built-in text")
    notes: list[str] = []
    builtins = [name for name in given if _is_builtin(name, notes)]
    if builtins:
        return _only_builtin(given, builtins[0])
    encoding = checked_encoding(encoding)

    def accept(head: bytes) -> bool:
        return bool(head) if as_bytes else looks_like_text(head, encoding, whole=len(head) < _HEAD_BYTES)

    files = [source for argument in given for source in _expand(argument, accept, notes)]
    return Sources(tuple(_distinct(files, notes)), notes=tuple(notes))


@contextmanager
def explained(name: str, path: Path | None = None) -> Iterator[None]:
    """Turn an OSError into a TextError that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _unreadable(name, path, error) from None


def _unreadable(name: str, path: Path | None, error: OSError | ValueError) -> TextError:
    number = getattr(error, "errno", None)
    if path is not None and number == errno.ENOENT and path.is_symlink():
        target = os.fspath(path.readlink())
        return TextError(
            expected="a text to read",
            received=f"{name}, a link to {target}, which does not exist",
            remedy="repair the link or name the file itself",
        )
    if path is not None and (number in (errno.ENOENT, errno.ENOTDIR) or number is None):
        return TextError(expected="a text to read", received=f"{name!r}, which does not exist", remedy=_hint(path))
    if isinstance(error, PermissionError):
        return TextError(
            expected="a readable text", received=f"no permission to read {name}", remedy="check its rights"
        )
    reason = getattr(error, "strerror", None) or str(error)
    return TextError(expected="a readable text", received=f"{name} ({reason})", remedy="check the file and its disk")


def _hint(path: Path) -> str:
    try:
        beside = [other.name for other in path.parent.iterdir()]
    except (OSError, ValueError):
        beside = []
    close = difflib.get_close_matches(path.name, [*beside, *BUILTIN_NAMES], n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0] if close[0] not in beside else os.fspath(path.parent / close[0])!r}?"
    return "name a file, a folder, - for stdin, or a built-in text (" + ", ".join(BUILTIN_NAMES) + ")"


def _require_regular(name: str, status: os.stat_result) -> None:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    if not stat.S_ISREG(status.st_mode):
        kind = kinds.get(stat.S_IFMT(status.st_mode), "something else")
        remedy = "pipe it in and name - instead" if kind in ("a FIFO", "a device", "a socket") else "name a file in it"
        raise TextError(expected="a regular file", received=f"{name}, which is {kind}", remedy=remedy)


def _is_builtin(name: str, notes: list[str]) -> bool:
    if name.startswith(_PREFIX):
        if name.removeprefix(_PREFIX) in BUILTIN_NAMES:
            return True
        raise TextError(
            expected="a built-in text",
            received=repr(name),
            remedy="choose one of " + ", ".join(_PREFIX + known for known in BUILTIN_NAMES),
        )
    if name not in BUILTIN_NAMES:
        return False
    if os.path.lexists(name):
        notes.append(f"read the path ./{name}; the built-in text is {_PREFIX}{name}")
        return False
    return True


def _only_builtin(given: Sequence[str], builtin: str) -> Sources:
    if len(given) > 1:
        raise TextError(
            expected="a built-in text by itself (it is split by document, not by position)",
            received=" ".join(given),
            remedy=f"name only {builtin}, or only files",
        )
    return Sources(builtin=builtin.removeprefix(_PREFIX))


def _expand(argument: str, accept: Callable[[bytes], bool], notes: list[str]) -> list[Source]:
    if argument == "-":
        return [_spooled_stdin()]
    path = Path(argument)
    if argument and _is_folder(path):
        found, runs = _walk(path)
        if runs and not found:
            raise TextError(
                expected="at least one text",
                received=f"the folder {argument}, where all files belong to runs (first: {runs[0]})",
                remedy="name a text",
            )
        if runs:
            folders = "run folder" if len(runs) == 1 else "run folders"
            notes.append(visible_line(f"skipped {len(runs)} {folders} in the folder {argument} (first: {runs[0]})"))
        return _texts_of(f"folder {argument}", found, accept, notes)
    if argument and not os.path.lexists(argument) and glob.has_magic(argument):
        names = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (pathlib's takes no absolute pattern)
        found = [path for path in map(Path, names) if not _is_folder(path)]
        return _texts_of(f"pattern {argument}", found, accept, notes)
    if not argument:
        raise TextError(expected="a text to read", received="an empty name", remedy="name a file or a folder")
    return [Source(argument, path)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no permission to look; opening it says so
        return False


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files to look at, and the run folders left out: what training wrote is not what it reads."""
    found, runs = [], []
    for parent, folders, names in os.walk(folder):
        if _MARKS_OF_A_RUN.issubset(names):
            runs.append(Path(parent))
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: path.parts), sorted(runs, key=lambda path: path.parts)


def _texts_of(place: str, found: list[Path], accept: Callable[[bytes], bool], notes: list[str]) -> list[Source]:
    texts, skipped = [], []
    for path in found:
        source = Source(os.fspath(path), path)
        try:
            with source.open() as file, explained(source.name, path):
                good = accept(file.read(_HEAD_BYTES))
        except TextError:
            good = False
        (texts if good else skipped).append(source)
    if not texts:
        received = (
            f"the {place}, where none of {len(found)} files is text" if found else f"the {place}, which has no files"
        )
        remedy = "name a text, or read them with --bytes" if found else "name a text"
        raise TextError(expected="at least one text", received=received, remedy=remedy)
    if skipped:
        files = "file that is" if len(skipped) == 1 else "files that are"
        notes.append(visible_line(f"skipped {len(skipped)} {files} not text in the {place} (first: {skipped[0].name})"))
    return texts


def _distinct(files: list[Source], notes: list[str]) -> list[Source]:
    """Drop files that were named twice: their copies would leak from the training part into the others."""
    kept: dict[tuple[int, int], Source] = {}
    for file in files:
        status = file.stat()
        kept.setdefault((status.st_dev, status.st_ino), file)
    if len(kept) < len(files):
        notes.append(f"left out {len(files) - len(kept)} of the files, named twice")
    return list(kept.values())


def _spooled_stdin() -> Source:
    spool = tempfile.TemporaryFile(prefix="unrolled-")  # noqa: SIM115 (lives as long as the source)
    try:
        shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
        spool.flush()
    except OSError as error:
        spool.close()
        raise TextError(
            expected="room for stdin in the temporary folder",
            received=error.strerror or str(error),
            remedy="free space there or set TMPDIR",
        ) from None
    source = Source("-", spool=spool)
    weakref.finalize(source, spool.close)
    return source
