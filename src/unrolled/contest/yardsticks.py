"""The untrained yardsticks beside which a model's bits per character are read.

Knows nothing about neural models, files or how numbers are shown.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from unrolled.contest import compressors, ngram
from unrolled.errors import TextError

ORDER = 5
"""Characters of context that the n-gram sees."""

_TITLES = {"train": "training part", "valid": "validation part", "all": "whole text"}


@dataclass(frozen=True)
class Yardstick:
    """One row of a comparison: a name, its bits per character on a held-out part, and how they were measured."""

    name: str
    bits_per_char: float
    detail: str


def yardsticks(
    train_ids: np.ndarray,
    test_ids: np.ndarray,
    vocab_size: int,
    train_bytes: bytes,
    test_bytes: bytes,
    *,
    part: str = "test",
    available: int | None = None,
) -> list[Yardstick]:
    """Measure an n-gram and a compressor on the same held-out part, in bits per character.

    train_ids, test_ids: (T,) integers in [0, vocab_size); train_bytes, test_bytes: the same characters in UTF-8, of the
    training part at least the end that `compressors.DEFAULT_LIMIT` allows; part: which part `test_ids` is; available:
    how many characters the whole part has, where only its head is given.

    Like a model that carries its state, both are told the first character of the part and predict all the others: bits
    and characters are those of T - 1. The n-gram starts with that character as its only context; of the compressor's
    sizes, the one that is subtracted includes it.
    Raises TextError for a part of fewer than 2 characters, ConfigError for a bad size.
    """
    if len(test_ids) < 2:
        raise TextError(
            expected=f"at least 2 characters in the {_title(part)}",
            received=str(len(test_ids)),
            remedy="give a longer text",
        )
    first = _first_character(test_bytes, len(test_ids))
    limit = compressors.DEFAULT_LIMIT
    # Both mostly sort and compress outside of Python, so a thread for one of them halves the wait.
    with ThreadPoolExecutor(1) as pool:
        compressed = pool.submit(
            compressors.xz_bits_per_char,
            train_bytes + first,
            test_bytes[len(first) :],
            len(test_ids) - 1,
            limit=limit + len(first),
        )
        model = ngram.NGram.fit(train_ids, vocab_size, ORDER)
        bits = model.bits_per_char(test_ids[1:], history=test_ids[:1])
        xz = compressed.result()
    counted = f"the last {model.characters:,} of {len(train_ids):,}"
    whole = len(train_ids) <= len(train_bytes) <= limit  # fewer bytes than characters: the caller gave only the end
    where = f"the {_title(part)}, {_extent(len(test_ids), available)}"
    return [
        Yardstick(
            name=f"{ORDER + 1}-gram",
            bits_per_char=bits,
            detail=f"interpolated modified Kneser-Ney, 0 to {ORDER} characters of context, "
            f"{f'all {len(train_ids):,}' if model.characters == len(train_ids) else counted} training characters; "
            f"frozen on {where}",
        ),
        Yardstick(
            name="xz",
            bits_per_char=xz,
            detail="xz -9e, what the part adds to the compressed size of "
            f"{'all' if whole else 'the last'} {min(len(train_bytes), limit):,} training bytes; "
            f"keeps adapting inside {where}" + ("; too short to measure" if xz <= 0 else ""),
        ),
    ]


def _title(part: str) -> str:
    return _TITLES.get(part, f"{part} part")


def _extent(read: int, available: int | None) -> str:
    if available is None or available == read:
        return f"all {read:,} characters"
    return f"its first {read:,} of {available:,} characters"


def _first_character(raw: bytes, characters: int) -> bytes:
    """Return the bytes of the first of `characters`: one byte where every byte was read as a character."""
    text = raw.decode("utf-8", "surrogateescape")
    return text[:1].encode("utf-8", "surrogateescape") if len(text) == characters else raw[:1]
