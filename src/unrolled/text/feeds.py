"""The kinds of text that a corpus is made of: files, a built-in text, a string.

Each says what identifies it and pours itself, part by part, into provisional ids. Knows nothing about vocabularies or
caches.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

from unrolled.errors import TextError
from unrolled.text.builtin import assign, documents
from unrolled.text.display import visible_line
from unrolled.text.options import TextOptions, part_bounds
from unrolled.text.pairs import Arranged, arrange
from unrolled.text.reading import Fingerprint, Progress, Remarks, TextReader, take_fingerprint
from unrolled.text.sources import Source
from unrolled.text.tokens import ProvisionalIds

IN_MEMORY = "a string"
"""The one name of a text that is a string in memory."""

Bounds = tuple[int, ...]


@dataclass(frozen=True)
class Poured:
    """What is known once a text has been read: its fingerprint, where its parts lie, what reading changed."""

    fingerprint: Fingerprint
    bounds: Bounds
    remarks: Remarks = field(default_factory=Remarks)


@runtime_checkable
class Feed(Protocol):
    """A text that can be read, twice if need be.

    `kind` keeps texts of the same bytes apart that are cut into parts in another way.
    """

    kind: str
    names: tuple[str, ...]

    def size(self) -> int:
        """Return the raw size in bytes."""
        ...

    def status(self) -> str | None:
        """Return what changes whenever a file is written to, None where there is no such thing."""
        ...

    def fingerprint(self, progress: Progress | None) -> Fingerprint:
        """Read the raw bytes and return their fingerprint."""
        ...

    def pour(self, ids: ProvisionalIds, progress: Progress | None) -> Poured:
        """Append the whole text to `ids`, the parts in order."""
        ...


class FileFeed:
    """Files read one after the other; the parts are contiguous, or made of shuffled lines in another regime."""

    def __init__(self, files: Sequence[Source], names: tuple[str, ...], options: TextOptions) -> None:
        self.kind = _kind("files", options)
        self.names = names
        self._files = files
        self._options = options

    def size(self) -> int:
        """Return the raw size of all files in bytes."""
        return sum(file.stat().st_size for file in self._files)

    def status(self) -> str | None:
        """Return a digest of path, size, time and inode of each file; None for stdin, which is always new."""
        if any(file.path is None for file in self._files):
            return None
        found = [(str(Path(file.name).absolute()), file.stat()) for file in self._files]
        facts = [(path, status.st_size, status.st_mtime_ns, status.st_ino) for path, status in found]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def fingerprint(self, progress: Progress | None) -> Fingerprint:
        """Hash the raw bytes."""
        return take_fingerprint(self._files, progress)

    def pour(self, ids: ProvisionalIds, progress: Progress | None) -> Poured:
        """Decode the files into `ids`."""
        options = self._options
        reader = TextReader(self._files, options.encoding, as_bytes=options.as_bytes, progress=progress)
        if options.regime != "text":
            arranged = arrange("".join(reader), options, self._where)
            reader.remarks.lines_said = list(arranged.notes)
            return Poured(reader.fingerprint, _add_lines(ids, arranged), reader.remarks)
        for chunk in reader:
            ids.add(chunk)
        return Poured(reader.fingerprint, part_bounds(ids.length, options.split), reader.remarks)

    def _where(self, line: int) -> str:
        """Name a line of the whole text: where there are several files, by its number in its own."""
        if len(self._files) == 1:
            return f"line {line}"
        for file, count in zip(self._files, self._line_counts, strict=True):
            if line <= count:
                return f"line {line} of {visible_line(file.name)}"
            line -= count
        return f"line {line}"

    @cached_property
    def _line_counts(self) -> list[int]:
        texts = ("".join(TextReader([file], self._options.encoding)) for file in self._files)
        return [text.count("\n") + (not text.endswith("\n")) for text in texts]


class BuiltinFeed:
    """A built-in text; the parts are made of whole documents."""

    kind = "builtin"

    def __init__(self, name: str, options: TextOptions) -> None:
        if options.regime != "text":
            raise TextError(
                expected=f"a file of {options.regime}: a source, a TAB and a target in every line",
                received=f"the built-in text {name}",
                remedy="name a file, or read it as a plain text",
            )
        self.names: tuple[str, ...] = (f"builtin:{name}",)
        self._documents = documents(name)
        self._options = options

    def size(self) -> int:
        """Return the size of all documents in bytes of UTF-8."""
        return sum(len(text.encode()) for _, text in self._documents)

    def status(self) -> str | None:
        """Return None: it is quicker to look than to ask."""
        return None

    def fingerprint(self, progress: Progress | None) -> Fingerprint:
        """Hash the names and digests of the documents, whatever the split: never what a file of the same bytes has."""
        size = self.size()
        if progress:
            progress(size, size)
        digests = [(name, hashlib.sha256(text.encode()).hexdigest()) for name, text in self._documents]
        return Fingerprint(size, hashlib.sha256(json.dumps(digests).encode()).hexdigest())

    def pour(self, ids: ProvisionalIds, progress: Progress | None) -> Poured:
        """Append the documents to `ids`, those of each part together."""
        bounds = [0]
        for part in assign(self._documents, self._options.split):
            text = "".join(text for _, text in part)
            ids.add(text if not self._options.as_bytes else text.encode().decode("latin-1"))
            bounds.append(ids.length)
        return Poured(self.fingerprint(progress), tuple(bounds))


class StringFeed:
    """A string in memory, taken as it is; the parts are contiguous, or made of shuffled lines in another regime."""

    def __init__(self, text: str, options: TextOptions) -> None:
        if not text:
            raise TextError(expected="a text", received="an empty string", remedy="give at least a few sentences")
        self.kind = _kind("string", options)
        self.names: tuple[str, ...] = (IN_MEMORY,)
        self._raw = text.encode("utf-8", "surrogatepass")
        self._text = self._raw.decode("latin-1") if options.as_bytes else text
        self._options = options

    def size(self) -> int:
        """Return the size in bytes of UTF-8."""
        return len(self._raw)

    def status(self) -> str | None:
        """Return None: a string has no file."""
        return None

    def fingerprint(self, progress: Progress | None) -> Fingerprint:
        """Hash the UTF-8."""
        if progress:
            progress(len(self._raw), len(self._raw))
        return Fingerprint(len(self._raw), hashlib.sha256(self._raw).hexdigest())

    def pour(self, ids: ProvisionalIds, progress: Progress | None) -> Poured:
        """Append the string to `ids`."""
        if self._options.regime != "text":
            arranged = arrange(self._text, self._options)
            return Poured(
                self.fingerprint(progress), _add_lines(ids, arranged), Remarks(lines_said=list(arranged.notes))
            )
        ids.add(self._text)
        return Poured(self.fingerprint(progress), part_bounds(ids.length, self._options.split))


def _kind(kind: str, options: TextOptions) -> str:
    return kind if options.regime == "text" else f"{kind} of {options.regime}"


def _add_lines(ids: ProvisionalIds, arranged: Arranged) -> Bounds:
    for part in arranged.parts:
        ids.add(part)
    return arranged.bounds
