"""The bits per character that a plan may be expected to reach, before it is trained.

Knows nothing about how plans are made. A character n-gram takes a fraction of a second and says how hard a text is; how
much further a network gets depends on how much it reads, and on how often it has read the same. The coefficients are a
least-squares fit to measured runs: docs/results/recipes.md, made by scripts/recipes.py.
"""

import math

from unrolled.contest.ngram import NGram
from unrolled.text.corpus import Corpus

TRAIN_CHARACTERS = 1_000_000
VALID_CHARACTERS = 100_000
CONTEXT = 8
"""Symbols of context: enough to notice a text that repeats itself, as manuals and programs do."""
PASSES = 40.0
"""After so many times through a text, reading it again counts half."""
FIT = {"constant": 0.5832, "read": -0.044}
"""log(bits / n-gram's bits) = constant + read * log(characters that count)."""
FAMILY = {
    "lstm": 0.0,
    "gru": -0.0338,
    "mingru": 0.0794,
    "rnn": 0.0722,
    "tcn": 0.1048,
    "transformer": 0.0333,
    "wavenet": 0.0799,
}
"""What a family adds to the logarithm (on the manual, in half a minute), the LSTM being 0; others get the LSTM's."""


def ngram_bits(corpus: Corpus) -> float:
    """Return the bits per character of a 9-gram on the head of the validation part."""
    train, valid = corpus.part("train")[-TRAIN_CHARACTERS:], corpus.part("valid")[:VALID_CHARACTERS]
    return NGram.fit(train, corpus.vocabulary.size, CONTEXT).bits_per_char(valid)


def expected_bits(corpus: Corpus, characters_read: int, family: str) -> float | None:
    """Return the expected bits per character on the validation part (carried), or None where there is none."""
    if len(corpus.part("valid")) < 2 or characters_read == 0:
        return None
    hardness = ngram_bits(corpus)
    if hardness <= 0:
        return 0.0
    counting = useful_characters(characters_read, len(corpus.part("train")), PASSES)
    return hardness * math.exp(FIT["constant"] + FIT["read"] * math.log(counting) + FAMILY.get(family, 0.0))


def useful_characters(read: int, text: int, passes: float) -> float:
    """Return how many of the characters read count: less and less the oftener a text of that size was read."""
    return read / (1 + read / text / passes)
