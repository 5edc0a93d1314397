"""Map characters (or bytes) to ids and back.

Knows nothing about files, parts or models.
"""

import codecs
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from unrolled.errors import ConfigError

UNKNOWN = "\ufffd"
"""The symbol of id 0. A text that contains U+FFFD itself already says "unknown", so the two are one."""

_VERSION = 1
_KEYS = {"version", "kind", "symbols"}
_NOT_ESCAPED_BYTES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


@runtime_checkable
class Decoder(Protocol):
    """Turns ids into text one at a time, never splitting a code point."""

    def feed(self, token: int) -> str:
        """Return the text that is complete once `token` has come (perhaps none)."""
        ...

    def flush(self) -> str:
        """Return what is left of an incomplete code point at the end of the stream."""
        ...


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a model: id 0 is the unknown symbol, the rest are sorted by code point.

    For `kind="bytes"` a symbol stands for one byte of UTF-8 and is written as the character with that code.

    Raises:
        ConfigError: the symbols are not as described.
    """

    kind: Literal["characters", "bytes"]
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.symbols or self.symbols[0] != UNKNOWN:
            raise _invalid("U+FFFD as the first symbol", repr(self.symbols[0]) if self.symbols else "no symbols")
        known = self.symbols[1:]
        wrong = next((s for s in known if len(s) != 1), None)
        if wrong is not None:
            raise _invalid("single characters as symbols", repr(wrong))
        for previous, symbol in pairwise(known):
            if previous >= symbol:
                raise _invalid("symbols sorted by code point, each once", f"{symbol!r} after {previous!r}")
        if UNKNOWN in known or (self.kind == "bytes" and known and known[-1] > "\xff"):
            raise _invalid(f"symbols that are {self.kind} other than the unknown symbol", repr(known[-1]))

    @property
    def size(self) -> int:
        """The number of symbols, the unknown one included."""
        return len(self.symbols)

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(self.size - 1)

    @cached_property
    def bytes_per_symbol(self) -> np.ndarray:
        """UTF-8 length of each symbol, shape `(size,)`; 1 everywhere for bytes."""
        if self.kind == "bytes":
            return np.ones(self.size, dtype=np.int64)
        return utf8_lengths(np.array([ord(s) for s in self.symbols]))

    def ids_of(self, codes: np.ndarray) -> np.ndarray:
        """Map code points (for bytes: byte values) to ids of this vocabulary's dtype; 0 for unknown ones."""
        return self._table[np.minimum(codes, np.uint32(len(self._table) - 1))]

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of `text` in the smallest dtype, 0 for what was never seen. For bytes: of its UTF-8."""
        if self.kind == "bytes":
            return self.ids_of(np.frombuffer(_to_bytes(text), dtype=np.uint8))
        return self.ids_of(code_points(text))

    def unknown(self, text: str) -> tuple[str, ...]:
        """Return the distinct characters of `text` that this vocabulary has never seen, in order."""
        return tuple(c for c in dict.fromkeys(text) if not self.encode(c).all())

    def decode(self, ids: np.ndarray | Iterable[int]) -> str:
        """Return the text of `ids`, U+FFFD for the unknown symbol.

        For bytes, what is not UTF-8 comes as surrogate escapes, so that encoding again gives the same bytes.
        """
        tokens = np.asarray(ids).tolist()
        if self.kind == "characters":
            return "".join([self.symbols[token] for token in tokens])
        decoder = self.decoder()
        return "".join([decoder.feed(token) for token in tokens]) + decoder.flush()

    def decoder(self) -> Decoder:
        """Return a fresh incremental decoder, for streaming."""
        return _Bytes(self.symbols) if self.kind == "bytes" else _Characters(self.symbols)

    def to_json(self) -> dict:
        """Return what `from_json` takes."""
        return {"version": _VERSION, "kind": self.kind, "symbols": list(self.symbols)}

    @classmethod
    def from_json(cls, data: object) -> "Vocabulary":
        """Return the vocabulary that `to_json` described.

        Raises:
            ConfigError: a missing or unknown key, another version, symbols that are no vocabulary.
        """
        if not isinstance(data, Mapping) or set(data) != _KEYS:
            received = ", ".join(map(repr, data)) if isinstance(data, Mapping) else type(data).__name__
            raise _invalid("the keys " + ", ".join(sorted(_KEYS)), received or "nothing")
        if type(data["version"]) is not int or data["version"] != _VERSION:
            raise _invalid(f"version {_VERSION}", repr(data["version"]))
        if data["kind"] not in ("characters", "bytes"):
            raise _invalid("the kind characters or bytes", repr(data["kind"]))
        if not isinstance(data["symbols"], list) or not all(isinstance(s, str) for s in data["symbols"]):
            raise _invalid("a list of characters as symbols", type(data["symbols"]).__name__)
        return cls(data["kind"], tuple(data["symbols"]))

    @cached_property
    def _table(self) -> np.ndarray:
        codes = [ord(s) for s in self.symbols[1:]]
        table = np.zeros(max(codes, default=0) + 2, dtype=self.dtype)
        table[codes] = np.arange(1, self.size)
        return table


def code_points(text: str) -> np.ndarray:
    """Return the code points of `text`, shape `(len(text),)`, uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def utf8_lengths(codes: np.ndarray) -> np.ndarray:
    """Return how many bytes each code point takes in UTF-8, int64."""
    return 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)


class _Characters:
    def __init__(self, symbols: tuple[str, ...]) -> None:
        self._symbols = symbols

    def feed(self, token: int) -> str:
        return self._symbols[token]

    def flush(self) -> str:
        return ""


class _Bytes:
    def __init__(self, symbols: tuple[str, ...]) -> None:
        self._bytes = [UNKNOWN.encode(), *(s.encode("latin-1") for s in symbols[1:])]
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, token: int) -> str:
        return self._decoder.decode(self._bytes[token])

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return _NOT_ESCAPED_BYTES.sub(UNKNOWN, text).encode("utf-8", "surrogateescape")


def _invalid(expected: str, received: str) -> ConfigError:
    return ConfigError(
        expected=f"a vocabulary with {expected}", received=received, remedy="use the file that training wrote"
    )
