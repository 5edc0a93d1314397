"""The longest passage that samples share with a text, exactly, while the text is read once in constant memory.

Knows nothing about what the symbols mean, or about models.

As many symbols as fit into 64 bits are one number, a gram. Places of the text whose gram occurs in a sample are few,
and a shared passage is a run of such places. What a run really shares is decided by hashes of whole windows, which can
say yes by mistake but never no; every yes is compared symbol by symbol.
"""

from collections.abc import Callable, Sequence

import numpy as np

CHUNK = 1 << 18
"""Symbols of the text that are looked at together."""
_TABLE_BITS = 20
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_BASE = 0xD1342543DE82EF95
_INVERSE = pow(_BASE, -1, 1 << 64)


def longest_copy(samples: Sequence[np.ndarray], ids: np.ndarray) -> np.ndarray:
    """Return a longest run of symbols that stands in one of the samples and in the text; empty when there is none.

    `ids` (any integer type, any length, memory-mapped or not) and `samples` are one-dimensional. Takes time in
    proportion to the text, 0.1 s for ten million symbols of a byte, and memory for `CHUNK` symbols.
    """
    kind = ids.dtype.newbyteorder("<")
    streams = [np.ascontiguousarray(sample, dtype=kind) for sample in samples if len(sample)]
    if not streams or len(ids) == 0:
        return np.zeros(0, dtype=ids.dtype)
    size = 8 // kind.itemsize
    limit = max(len(stream) for stream in streams)
    search, occurs = _Search(streams, limit), _membership(streams, size)
    for start in range(0, len(ids) - size + 1, CHUNK):
        if len(search.best) == limit:
            break
        taken = np.ascontiguousarray(ids[start : start + CHUNK + limit - 1], dtype=kind)
        search.look(taken, occurs(_grams(taken, size)), size)
    return (search.best if len(search.best) else _short_copy(streams, ids, size - 1)).astype(ids.dtype)


def _short_copy(streams: Sequence[np.ndarray], ids: np.ndarray, longest: int) -> np.ndarray:
    """Return a longest run of at most `longest` symbols, fewer than make a gram."""
    kind = streams[0].dtype
    for length in range(longest, 0, -1):
        occurs = _membership(streams, length)
        for start in range(0, len(ids), CHUNK):
            taken = np.ascontiguousarray(ids[start : start + CHUNK + length - 1], dtype=kind)
            places = np.flatnonzero(occurs(_grams(taken, length)))
            if len(places):
                return taken[places[0] : places[0] + length]
    return np.zeros(0, dtype=kind)


def _grams(symbols: np.ndarray, size: int) -> np.ndarray:
    """Return every `size` neighbouring symbols as one number of 64 bits, without moving anything where they fill it."""
    count, width = max(0, len(symbols) - size + 1), symbols.dtype.itemsize
    if width * size == 8:
        return np.ndarray((count,), dtype="<u8", buffer=symbols, strides=(width,)) if count else np.zeros(0, "<u8")
    padded = np.concatenate([symbols, np.zeros(8 // width, dtype=symbols.dtype)])
    whole = np.ndarray((count,), dtype="<u8", buffer=padded, strides=(width,))
    return whole & np.uint64((1 << 8 * width * size) - 1)


def _membership(streams: Sequence[np.ndarray], size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that tells, exactly, which grams occur in the streams."""
    known = np.unique(np.concatenate([_grams(stream, size) for stream in streams]))
    shift = np.uint64(64 - _TABLE_BITS)
    table = np.zeros(1 << _TABLE_BITS, dtype=bool)
    table[(known * _MIXER) >> shift] = True

    def occurs(grams: np.ndarray) -> np.ndarray:
        found = table[(grams * _MIXER) >> shift]
        maybe = np.flatnonzero(found)
        if len(maybe):
            asked = grams[maybe]
            at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
            found[maybe] = known[at] == asked
        return found

    return occurs


class _Search:
    """The longest run found so far, `best`, while pieces of the text go by."""

    def __init__(self, streams: Sequence[np.ndarray], limit: int) -> None:
        self.streams, self.limit = streams, limit
        self.best = streams[0][:0]
        self.powers, self.inverses = (
            np.cumprod(np.full(CHUNK + 2 * limit, factor, dtype=np.uint64)) for factor in (_BASE, _INVERSE)
        )

    def look(self, taken: np.ndarray, inside: np.ndarray, size: int) -> None:
        """Take in a piece of the text; `inside` tells where its grams of `size` symbols occur in the streams."""
        edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
        begins, ends = edges[::2], edges[1::2]
        most = min(self.limit, int((ends - begins).max(initial=0)) + size - 1)
        if most < size or most <= len(self.best):
            return
        sums = self._sums(taken)
        # What is shared at some length is shared at every smaller one. The next length comes first, because nearly
        # every piece ends there; then the range is halved.
        asked = max(len(self.best) + 1, size)
        while asked <= most:
            windows = asked - size + 1
            fits = ends - begins >= windows
            found = self._shared(taken, sums, _ranges(begins[fits], ends[fits] - windows + 1), asked)
            if found is None:
                most = asked - 1
            else:
                self.best = found
            asked = max((len(self.best) + most + 1) // 2, len(self.best) + 1, size)

    def _sums(self, symbols: np.ndarray) -> np.ndarray:
        """Return running sums from which the hash of any window follows in two operations, one more than symbols."""
        terms = (symbols.astype(np.uint64) + np.uint64(1)) * self.powers[: len(symbols)]
        return np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(terms, dtype=np.uint64)])

    def _hashes(self, sums: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
        return (sums[places + length] - sums[places]) * self.inverses[places]

    def _shared(self, taken: np.ndarray, sums: np.ndarray, places: np.ndarray, length: int) -> np.ndarray | None:
        """Return a window of this length, beginning at one of `places`, that stands in a stream."""
        asked = self._hashes(sums, places, length)
        for stream in self.streams:
            own = self._hashes(self._sums(stream), np.arange(max(0, len(stream) - length + 1)), length)
            for place in places[np.isin(asked, own)].tolist():
                window = taken[place : place + length]
                same = np.flatnonzero(own == self._hashes(sums, np.array([place]), length)[0]).tolist()
                if any(np.array_equal(window, stream[at : at + length]) for at in same):
                    return window
        return None


def _ranges(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the numbers of all ranges, one after another."""
    sizes = ends - begins
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(begins - before, sizes)
