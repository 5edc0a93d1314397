"""The untrained yardsticks beside which a model's bits per character are read.

Knows nothing about neural models, files or how numbers are shown.
"""

from dataclasses import dataclass

import numpy as np

from unrolled.contest import compressors, ngram
from unrolled.errors import TextError


@dataclass(frozen=True)
class Yardstick:
    """One row of a comparison: a name, its bits per character on the test part, and how they were measured."""

    name: str
    bits_per_char: float
    detail: str


def yardsticks(
    train_ids: np.ndarray,
    test_ids: np.ndarray,
    vocab_size: int,
    train_bytes: bytes,
    test_bytes: bytes,
    order: int = 5,
) -> list[Yardstick]:
    """Measure an n-gram and a compressor on the same held-out part, in bits per character.

    train_ids, test_ids: (T,) integers in [0, vocab_size); train_bytes, test_bytes: the same characters in UTF-8;
    order: the n-gram's characters of context. Like a model that carries its state, the n-gram starts the test part
    cold and scores every character of it. Raises TextError for an empty test part, ConfigError for a bad size.
    """
    if not len(test_ids):
        raise TextError(expected="a test part of at least 1 character", received="none", remedy="give a longer text")
    model = ngram.NGram.fit(train_ids, vocab_size, order)
    xz = compressors.xz_bits_per_char(train_bytes, test_bytes, len(test_ids))
    return [
        Yardstick(
            name=f"{order + 1}-gram",
            bits_per_char=model.bits_per_char(test_ids),
            detail=f"interpolated modified Kneser-Ney, 0 to {order} characters of context, "
            f"{_counted('character', model.characters, len(train_ids))}; frozen on the test part",
        ),
        Yardstick(
            name="xz",
            bits_per_char=xz,
            detail="xz -9e, (size(train + test) - size(train)) * 8 / characters, "
            f"{_counted('byte', min(len(train_bytes), compressors.DEFAULT_LIMIT), len(train_bytes))}; "
            "keeps adapting inside the test part" + ("; test part too short to measure" if xz <= 0 else ""),
        ),
    ]


def _counted(unit: str, used: int, available: int) -> str:
    if used == available:
        return f"all {available:,} training {unit}s"
    return f"the last {used:,} of {available:,} training {unit}s"
