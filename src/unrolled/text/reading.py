"""Read files as one stream of text in constant memory, and take their fingerprint on the way.

Knows nothing about how files are found, vocabularies or parts.
"""

import codecs
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from unrolled.errors import TextError
from unrolled.text.display import visible_line
from unrolled.text.encoding import archive_kind, byte_order_mark, checked_encoding, unmarked_utf16
from unrolled.text.sources import Source, explained

CHUNK_BYTES = 1 << 22
_HEAD_BYTES = 4096
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class Fingerprint:
    """What tells a text from a changed one: its raw size in bytes and SHA-256.

    For one file (or a string in UTF-8) the SHA-256 is its own; for several, that of their digests one after the other;
    for a built-in text, that of the names and digests of its documents.
    """

    size: int
    sha256: str


class Hasher:
    """Takes the fingerprint of files as their bytes go by."""

    def __init__(self) -> None:
        self._size = 0
        self._digests: list[bytes] = []
        self._current = hashlib.sha256()

    def update(self, raw: bytes) -> None:
        """Add bytes of the current file."""
        self._size += len(raw)
        self._current.update(raw)

    def end_file(self) -> None:
        """Close the current file; what follows belongs to the next."""
        self._digests.append(self._current.digest())
        self._current = hashlib.sha256()

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of all closed files."""
        if len(self._digests) == 1:
            return Fingerprint(self._size, self._digests[0].hex())
        return Fingerprint(self._size, hashlib.sha256(b"".join(self._digests)).hexdigest())


@dataclass
class Remarks:
    """What reading changed, to be said aloud; files are indices, so that a renamed copy reads the same."""

    marks: dict[str, list[int]] = field(default_factory=dict)
    line_ends: int = 0
    line_end_files: list[int] = field(default_factory=list)
    lines_said: list[str] = field(default_factory=list)

    def lines(self, names: Sequence[str]) -> Iterator[str]:
        """Yield the remarks as sentences."""
        for encoding, files in self.marks.items():
            yield f"read as {encoding.upper()} and removed the byte order mark of {_listed(files, names)}"
        if self.line_ends:
            yield f"turned {self.line_ends:,} CRLF line ends into LF in {_listed(self.line_end_files, names)}"
        yield from self.lines_said


def take_fingerprint(sources: Sequence[Source], progress: Progress | None = None) -> Fingerprint:
    """Hash the raw bytes of files without decoding them. Raises TextError when one cannot be read."""
    hasher, done, total = Hasher(), 0, sum(source.stat().st_size for source in sources)
    for source in sources:
        with source.open() as file:
            for raw in _raw_chunks(source, file, CHUNK_BYTES):
                hasher.update(raw)
                done += len(raw)
                if progress:
                    progress(done, max(done, total))
        hasher.end_file()
    return hasher.fingerprint()


class TextReader:
    """One pass over files: iterate for the text in chunks, then ask for `remarks` and `fingerprint`.

    A byte order mark wins over `encoding` where that is UTF-8, -16 or -32, and is removed; CRLF becomes LF; a file
    that lacks its final newline gets one when another follows. With `as_bytes` none of this happens, and every byte is
    the character with its number.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        encoding: str = "utf-8",
        *,
        as_bytes: bool = False,
        chunk_bytes: int = CHUNK_BYTES,
        progress: Progress | None = None,
    ) -> None:
        self.remarks = Remarks()
        self._sources = sources
        self._encoding = "latin-1" if as_bytes else checked_encoding(encoding)
        self._as_bytes = as_bytes
        self._chunk_bytes = chunk_bytes
        self._progress = progress
        self._hasher = Hasher()
        self._done = 0
        self._total = sum(source.stat().st_size for source in sources)

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of what was read."""
        return self._hasher.fingerprint()

    def __iter__(self) -> Iterator[str]:
        """Yield the text in chunks of any length.

        Raises:
            TextError: an empty file, bytes that are no text in this encoding (says where), a file that cannot be read.
        """
        last = "\n"
        for index in range(len(self._sources)):
            chunks = self._read(index) if self._as_bytes else self._normalised(index)
            for position, chunk in enumerate(chunks):
                if position == 0 and last != "\n" and not self._as_bytes:
                    yield "\n"
                last = chunk[-1]
                yield chunk
            self._hasher.end_file()

    def _normalised(self, index: int) -> Iterator[str]:
        """Turn CRLF into LF; a CR at the end of a chunk waits for the next."""
        held, count = "", 0
        for chunk in self._read(index):
            text = held + chunk
            held = "\r" if text.endswith("\r") else ""
            text = text[: len(text) - len(held)]
            if "\r" in text:
                pairs = text.count("\r\n")
                count += pairs
                text = text.replace("\r\n", "\n") if pairs else text
            if text:
                yield text
        if held:
            yield held
        if count:
            self.remarks.line_ends += count
            self.remarks.line_end_files.append(index)

    def _read(self, index: int) -> Iterator[str]:
        source = self._sources[index]
        with source.open() as file:
            encoding, mark = self._encoding, b""
            with explained(source.name):
                head = file.read(_HEAD_BYTES)
            if not self._as_bytes:
                _require_text(source, head, encoding)
                mark, encoding = byte_order_mark(head, encoding)
            if len(head) == len(mark):
                raise TextError(expected="a text", received=f"{source.name}, which is empty", remedy="name another")
            if mark:
                self.remarks.marks.setdefault(encoding, []).append(index)
            self._count(mark)
            file.seek(len(mark))
            decoder, start = codecs.getincrementaldecoder(encoding)("strict"), len(mark)
            for raw in _raw_chunks(source, file, self._chunk_bytes):
                self._count(raw)
                text = _decode(decoder, raw, _Place(source, encoding, start))
                if text:
                    yield text
                start += len(raw)
            text = _decode(decoder, b"", _Place(source, encoding, start))
            if text:
                yield text

    def _count(self, raw: bytes) -> None:
        self._hasher.update(raw)
        self._done += len(raw)
        if self._progress:
            self._progress(self._done, max(self._done, self._total))


@dataclass(frozen=True)
class _Place:
    source: Source
    encoding: str
    start: int


def _decode(decoder: codecs.IncrementalDecoder, raw: bytes, place: _Place) -> str:
    try:
        return decoder.decode(raw, final=not raw)
    except UnicodeDecodeError as error:
        # error.object starts with the bytes that the decoder had kept from before `raw`
        offset = place.start + len(raw) - len(error.object) + error.start
        where = f"at offset {offset} (line {_line_at(place, offset)}) of {place.source.name}"
        received = f"byte 0x{error.object[error.start]:02X} {where}"
    except UnicodeError as error:
        received = f"{place.source.name}, whose {error}"
    raise TextError(
        expected=f"{place.encoding.upper()} text",
        received=received,
        remedy="read it with --bytes, or name its encoding, for example --encoding latin-1",
    ) from None


def _line_at(place: _Place, offset: int) -> int:
    decoder, lines, left = codecs.getincrementaldecoder(place.encoding)("ignore"), 1, offset
    with place.source.open() as file:
        for raw in _raw_chunks(place.source, file, CHUNK_BYTES):
            lines += decoder.decode(raw[:left]).count("\n")
            left -= len(raw)
            if left <= 0:
                break
    return lines


def _require_text(source: Source, head: bytes, encoding: str) -> None:
    kind = archive_kind(head)
    if kind:
        received = f"{source.name}, which is {kind}"
        raise TextError(expected="a text", received=received, remedy="unpack it first, or read it with --bytes")
    guess = unmarked_utf16(head) if encoding == "utf-8" and not byte_order_mark(head, encoding)[0] else None
    if guess:
        raise TextError(
            expected="UTF-8 text",
            received=f"{source.name}, which looks like {guess.upper()} without a byte order mark",
            remedy=f"read it with --encoding {guess}, or with --bytes",
        )


def _raw_chunks(source: Source, file: BinaryIO, size: int) -> Iterator[bytes]:
    while True:
        with explained(source.name):
            raw = file.read(size)
        if not raw:
            return
        yield raw


def _listed(files: Sequence[int], names: Sequence[str]) -> str:
    first = visible_line(names[files[0]])
    return first if len(files) == 1 else f"{len(files)} files (first: {first})"
