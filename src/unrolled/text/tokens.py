"""Turn a stream of text of any length into ids on disk, in two passes and constant memory.

The first pass numbers characters in the order in which they appear; the second, once the training part is known, maps
these provisional ids to a vocabulary's. Knows nothing about files that are read, caches or fingerprints.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import BinaryIO, Literal

import numpy as np

from unrolled.text.vocabulary import UNKNOWN, Vocabulary, code_points, utf8_lengths

ByteFile = BinaryIO | BytesIO

_BLOCK = 1 << 20
_UNSEEN = -1
_CODES = 0x110000


@dataclass(frozen=True)
class Census:
    """What stands in each part: for each of (train, valid, test), its occurrences of each provisional character."""

    codes: np.ndarray
    counts: np.ndarray

    def vocabulary(self, kind: Literal["characters", "bytes"], min_count: int, always: str = "") -> Vocabulary:
        """Return the characters that occur at least `min_count` times in the training part, and those of `always`."""
        kept = {*self.codes[self.counts[0] >= max(min_count, 1)].tolist(), *map(ord, always)}
        return Vocabulary(kind, (UNKNOWN, *(chr(code) for code in sorted(kept) if code != ord(UNKNOWN))))

    def rare(self, vocabulary: Vocabulary) -> tuple[str, ...]:
        """Return the characters of the training part that the vocabulary does not have, most frequent first."""
        missing = (self.counts[0] > 0) & (vocabulary.ids_of(self.codes) == 0) & (self.codes != ord(UNKNOWN))
        order = np.argsort(-self.counts[0][missing], kind="stable")
        return tuple(chr(code) for code in self.codes[missing][order])

    def unknown(self, vocabulary: Vocabulary) -> list[int]:
        """Return how many characters of each part are unknown to the vocabulary."""
        return self.counts[:, vocabulary.ids_of(self.codes) == 0].sum(axis=1).tolist()

    def utf8_bytes(self, kind: Literal["characters", "bytes"]) -> list[int]:
        """Return the length of each part in UTF-8, as it was before any character became unknown."""
        lengths = np.ones_like(self.codes) if kind == "bytes" else utf8_lengths(self.codes)
        return (self.counts @ lengths).tolist()


class ProvisionalIds:
    """A growing file of ids in order of first appearance, in segments of the narrowest type that held at the time."""

    def __init__(self, file: ByteFile) -> None:
        self.length = 0
        self._file = file
        self._segments: list[tuple[np.dtype, int]] = []
        self._codes: list[int] = []
        self._table = np.full(_CODES, _UNSEEN, dtype=np.int32)
        self._latin_seen = b""
        self._latin_table = bytes(256)

    def add(self, text: str) -> None:
        """Append the ids of `text`."""
        for start in range(0, len(text), _BLOCK):
            block = text[start : start + _BLOCK]
            try:
                self._add_latin(block.encode("latin-1"))
            except UnicodeEncodeError:
                self._add_codes(code_points(block))

    def census(self, bounds: tuple[int, ...]) -> Census:
        """Count each character between neighbouring `bounds`."""
        known = len(self._codes)
        counts = np.zeros((len(bounds) - 1, known), dtype=np.int64)
        for part, (start, stop) in enumerate(pairwise(bounds)):
            for block in self._blocks(start, stop):
                counts[part] += np.bincount(block, minlength=known)
        return Census(np.array(self._codes, dtype=np.int64), counts)

    def write(self, file: ByteFile, vocabulary: Vocabulary) -> int:
        """Write the ids of `vocabulary`, in its dtype, and return their CRC-32."""
        table = vocabulary.ids_of(np.array(self._codes, dtype=np.int64))
        checksum = 0
        for block in self._blocks(0, self.length):
            if block.dtype == table.dtype == np.uint8:
                ids = block.tobytes().translate(table.tobytes().ljust(256, b"\0"))
            else:
                ids = table[block].tobytes()
            checksum = zlib.crc32(ids, checksum)
            file.write(ids)
        return checksum

    def _add_latin(self, raw: bytes) -> None:
        """The fast path: bytes that are code points below 256."""
        new = dict.fromkeys(raw.translate(None, self._latin_seen))
        if new:
            self._learn([code for code in new if self._table[code] == _UNSEEN])
            self._latin_seen += bytes(new)
            self._latin_table = bytes(np.where(self._table[:256] < 256, np.maximum(self._table[:256], 0), 0).tolist())
        if len(self._codes) <= 256:
            self._append(raw.translate(self._latin_table), np.dtype(np.uint8), len(raw))
        else:
            self._append_ids(self._table[np.frombuffer(raw, dtype=np.uint8)])

    def _add_codes(self, codes: np.ndarray) -> None:
        ids = self._table[codes]
        if ids.min() == _UNSEEN:
            new, first = np.unique(codes[ids == _UNSEEN], return_index=True)
            self._learn(new[np.argsort(first)].tolist())
            ids = self._table[codes]
        self._append_ids(ids)

    def _learn(self, codes: list[int]) -> None:
        self._table[codes] = np.arange(len(self._codes), len(self._codes) + len(codes))
        self._codes += codes

    def _append_ids(self, ids: np.ndarray) -> None:
        dtype = np.min_scalar_type(len(self._codes) - 1)
        self._append(ids.astype(dtype).tobytes(), dtype, len(ids))

    def _append(self, raw: bytes, dtype: np.dtype, count: int) -> None:
        self._file.write(raw)
        self.length += count
        if self._segments and self._segments[-1][0] == dtype:
            count += self._segments.pop()[1]
        self._segments.append((dtype, count))

    def _blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the provisional ids from `start` to `stop`."""
        first, offset = 0, 0
        for dtype, count in self._segments:
            low, high = max(start, first), min(stop, first + count)
            self._file.seek(offset + (low - first) * dtype.itemsize if low < high else 0)
            while low < high:
                block = min(high - low, _BLOCK)
                yield np.frombuffer(self._file.read(block * dtype.itemsize), dtype=dtype)
                low += block
            first += count
            offset += count * dtype.itemsize
