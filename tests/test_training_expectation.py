"""What a plan may be expected to reach: sane, and none where there is nothing to expect."""

import pytest

from unrolled.models import FAMILIES
from unrolled.text.corpus import TextOptions, corpus_from_text
from unrolled.training.expectation import FAMILY, expected_bits, ngram_bits

TEXT = " ".join(f"{n * n % 997}{'abcde'[n % 5]}\n" for n in range(3000))


def test_reading_more_is_expected_to_help_and_harder_texts_to_cost_more():
    easy, hard = corpus_from_text("to be or not to be\n" * 800), corpus_from_text(TEXT)
    assert ngram_bits(easy) < ngram_bits(hard)
    assert expected_bits(easy, 10**6, "lstm") < expected_bits(hard, 10**6, "lstm")
    assert expected_bits(hard, 10**8, "lstm") < expected_bits(hard, 10**5, "lstm")


def test_nothing_to_read_or_to_be_scored_on_gives_no_expectation():
    assert expected_bits(corpus_from_text(TEXT), 0, "lstm") is None
    assert expected_bits(corpus_from_text(TEXT, TextOptions(split=(1.0, 0.0, 0.0))), 10**6, "lstm") is None


@pytest.mark.parametrize("family", ["lstm lstm wavenet", "toy"])
def test_what_was_not_measured_gets_the_lstm_s(family):
    corpus = corpus_from_text(TEXT)
    assert expected_bits(corpus, 10**6, family) == expected_bits(corpus, 10**6, "lstm")


def test_the_table_names_families():
    assert FAMILY.keys() <= FAMILIES.keys()
    assert FAMILY["lstm"] == 0.0
