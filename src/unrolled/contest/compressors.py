"""What a general-purpose compressor needs for a text that it has not seen: a yardstick that anybody can rerun.

Knows nothing about models, vocabularies or how numbers are shown: bytes in, bits per character out.
"""

import lzma
from concurrent.futures import ThreadPoolExecutor

from unrolled.errors import ConfigError, TextError

DEFAULT_LIMIT = 4_000_000
"""Training bytes that are read at most (the last ones): about three seconds, most of it reading them twice."""


def xz_bits_per_char(train: bytes, test: bytes, characters: int, limit: int = DEFAULT_LIMIT) -> float:
    """Return (size(train + test) - size(train)) * 8 / characters in bits per character, sizes as of `xz -9e`.

    train: encoded training part, of which the last `limit` bytes are read; test: encoded held-out part, read whole;
    characters: how many characters `test` holds. The compressor goes on adapting inside the test part, where a trained
    model is frozen, so repetition within the test part favours it. Container sizes are multiples of 4 bytes and parsing
    is heuristic, so for a test part of a few bytes the difference may be zero or slightly negative.
    Raises TextError for an empty test part, ConfigError for a negative limit.
    """
    if not test or characters < 1:
        raise TextError(
            expected="a test part of at least 1 character",
            received=f"{len(test)} bytes for {characters} characters",
            remedy="give a longer text",
        )
    if limit < 0:
        raise ConfigError(expected="limit of at least 0 bytes", received=str(limit), remedy="give a larger limit")
    read = train[max(0, len(train) - limit) :]
    with ThreadPoolExecutor(1) as pool:  # compressing needs no Python meanwhile
        before = pool.submit(_size, read)
        return (_size(read + test) - before.result()) * 8 / characters


def _size(data: bytes) -> int:
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
