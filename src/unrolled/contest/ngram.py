"""A character n-gram with interpolated modified Kneser-Ney smoothing: counted, never trained.

Knows nothing about files, vocabularies, neural models or how numbers are shown: ids in, log-probabilities out.

Letters: T positions of a text, V vocabulary, k context length, G_k distinct grams of k context symbols and one more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unrolled.errors import ConfigError, TextError

DEFAULT_LIMIT = 5_000_000
"""Characters that are counted at most (the last ones), so that any text takes seconds and about a gigabyte."""

_CHUNK = 1 << 18
_UNKNOWN = -1
_NO_HISTORY = np.zeros(0, np.int64)


class _Level(NamedTuple):
    """Contexts of one length k; a context of level k + 1 is named by the row of its gram in level k.

    keys: (G_k,) int64, sorted, `context * V + symbol`. share: (G_k,) float64, the discounted relative count of a gram.
    backoff: (G_{k-1},) float64, the weight of level k - 1 after each context.
    """

    keys: np.ndarray
    share: np.ndarray
    backoff: np.ndarray


@dataclass(frozen=True, eq=False)
class NGram:
    """A frozen character n-gram; make one with `NGram.fit`.

    Interpolated modified Kneser-Ney (Chen & Goodman 1998, "An Empirical Study of Smoothing Techniques for Language
    Modeling", equations 26 to 28), for contexts h of k = `order`, ..., 1, 0 symbols, h' = h without its first symbol:

        p_k(w | h) = max(c(hw) - D(c(hw)), 0) / Σ_v c(hv)  +  γ(h) p_{k-1}(w | h'),        p_{-1}(w) = 1 / V
        γ(h) = (D₁ N₁(h) + D₂ N₂(h) + D₃₊ N₃₊(h)) / Σ_v c(hv),  and 1 where h was never followed by anything

    c counts occurrences at the longest length and distinct left neighbours below it (a gram seen only at the very start
    has none). nᵢ grams of a length have c = i; Dᵢ = i - (i + 1) Y nᵢ₊₁ / nᵢ with Y = n₁ / (n₁ + 2 n₂) at that length.
    Where these are undefined or not positive, Y serves for all three (plain Kneser-Ney), and ½ where no gram was
    seen once. Every probability is positive and the V of them sum to one.
    """

    vocab_size: int
    order: int
    characters: int
    """How many characters were counted."""
    _levels: tuple[_Level, ...]

    @classmethod
    def fit(cls, ids: np.ndarray, vocab_size: int, order: int = 5, limit: int = DEFAULT_LIMIT) -> "NGram":
        """Count the last `limit` symbols of a text.

        ids: (T,) integers in [0, vocab_size) of any width, a memory map too. order: symbols of context, so an
        (order + 1)-gram in the usual words. A text with no symbols gives the uniform distribution.
        Raises ConfigError for a size that makes no sense, TextError for ids that the vocabulary does not have.
        """
        for name, value, least in (("vocab_size", vocab_size, 1), ("order", order, 0), ("limit", limit, 1)):
            if value < least:
                raise ConfigError(
                    expected=f"{name} of at least {least}", received=str(value), remedy=f"give a larger {name}"
                )
        text_T = _checked(ids[max(0, len(ids) - limit) :], vocab_size)
        levels, contexts = [], 1
        for keys, counts in _grams(text_T, vocab_size, order):
            levels.append(_discounted(keys, counts, keys // vocab_size, contexts))
            contexts = len(keys)
        return cls(vocab_size, order, len(text_T), tuple(levels))

    def log2_probabilities(self, ids: np.ndarray, history: np.ndarray = _NO_HISTORY) -> np.ndarray:
        """Return log2 p(symbol | up to `order` symbols before it) for each symbol: (T,) float64, in bits.

        ids: (T,) integers in [0, vocab_size). history: what stands before them; without it the first symbols are
        predicted from shorter contexts. Raises TextError for ids that the vocabulary does not have.
        """
        past = _checked(history[max(0, len(history) - self.order) :], self.vocab_size)
        log2_T = np.empty(len(ids))
        for start in range(0, len(ids), _CHUNK):
            window = np.concatenate([past, _checked(ids[start : start + _CHUNK], self.vocab_size)])
            log2_T[start : start + _CHUNK] = np.log2(self._probabilities(window)[len(past) :])
            past = window[max(0, len(window) - self.order) :]
        return log2_T

    def bits_per_char(self, ids: np.ndarray, history: np.ndarray = _NO_HISTORY) -> float:
        """Return the cross-entropy of a text in bits per character; arguments as in `log2_probabilities`.

        Raises TextError for an empty text, or for ids that the vocabulary does not have.
        """
        if not len(ids):
            raise TextError(expected="at least 1 character to score", received="none", remedy="give a longer text")
        return max(0.0, -float(self.log2_probabilities(ids, history).mean()))

    def _probabilities(self, text_T: np.ndarray) -> np.ndarray:
        p_T = np.full(len(text_T), 1 / self.vocab_size)
        context_T = np.zeros(len(text_T), np.int64)
        for level in self._levels:
            key_T = context_T * self.vocab_size + text_T
            row_T = np.minimum(np.searchsorted(level.keys, key_T), len(level.keys) - 1)
            # A key made of an unknown context is negative, so it is never among the keys.
            seen_T = level.keys[row_T] == key_T
            p_T *= np.where(context_T == _UNKNOWN, 1.0, level.backoff[context_T])
            p_T += np.where(seen_T, level.share[row_T], 0.0)
            context_T[1:] = np.where(seen_T, row_T, _UNKNOWN)[:-1]
            context_T[:1] = _UNKNOWN
        return p_T


def _checked(ids: np.ndarray, vocab_size: int) -> np.ndarray:
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= vocab_size):
        raise TextError(
            expected=f"ids from 0 to {vocab_size - 1}",
            received=f"ids from {ids.min()} to {ids.max()}",
            remedy="encode the text with the vocabulary whose size you give",
        )
    return ids.astype(np.int64)


def _grams(text_T: np.ndarray, vocab_size: int, order: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (keys, Kneser-Ney counts) of k = 0, 1, ..., `order`, as far as the text is long enough.

    Ranking each level among its own grams keeps keys below T * V, so they are exact for any vocabulary and order.
    """
    keys = counts = row_T = _NO_HISTORY
    context_T = np.zeros(len(text_T), np.int64)
    for k in range(min(order + 1, len(text_T))):
        shorter, shorter_row_T = keys, row_T
        keys, row_T, counts = _ranked(context_T * vocab_size + text_T[k:])
        if k:
            suffix = np.empty(len(keys), np.int64)
            suffix[row_T] = shorter_row_T[1:]
            yield shorter, np.bincount(suffix, minlength=len(shorter))
        context_T = row_T[:-1]
    if len(text_T):
        yield keys, counts


def _ranked(keys_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what np.unique does of non-negative keys: the distinct ones, each one's row among them, their counts.

    A key and its position in one integer are sorted three times as fast as positions by their keys.
    """
    bits = len(keys_T).bit_length()
    if int(keys_T.max()).bit_length() + bits > 63:
        return np.unique(keys_T, return_inverse=True, return_counts=True)
    packed_T = (keys_T << bits) | np.arange(len(keys_T))
    packed_T.sort()
    position_T = packed_T & ((1 << bits) - 1)
    packed_T >>= bits
    new_T = np.empty(len(keys_T), bool)
    new_T[0] = True
    np.not_equal(packed_T[1:], packed_T[:-1], out=new_T[1:])
    starts = np.flatnonzero(new_T)
    row_T = np.empty(len(keys_T), np.int64)
    row_T[position_T] = np.cumsum(new_T) - 1
    return packed_T[starts], row_T, np.diff(starts, append=len(keys_T))


def _discounted(keys: np.ndarray, counts: np.ndarray, context: np.ndarray, contexts: int) -> _Level:
    discount = _discounts(counts)[np.minimum(counts, 3)]
    total = np.bincount(context, counts, contexts)
    followed = np.maximum(total, 1.0)
    backoff = np.where(total > 0, np.bincount(context, discount, contexts) / followed, 1.0)
    return _Level(keys, (counts - discount) / followed[context], backoff)


def _discounts(counts: np.ndarray) -> np.ndarray:
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == i)) for i in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2) if n1 else 0.5
    if min(n1, n2, n3, n4) > 0:
        modified = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if min(modified) > 0:
            return np.array((0.0, *modified))
    return np.array((0.0, y, y, y))
