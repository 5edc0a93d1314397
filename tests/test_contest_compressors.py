"""The compressor yardstick on texts whose cost is known, and the table that puts both yardsticks side by side."""

import numpy as np
import pytest

from unrolled.contest.compressors import xz_bits_per_char
from unrolled.contest.ngram import NGram
from unrolled.contest.yardsticks import yardsticks
from unrolled.errors import ConfigError, TextError

NOISE = np.random.default_rng(0).integers(0, 256, 40_000, dtype=np.uint8).tobytes()
LINE = b"The quick brown fox jumps over the lazy dog.\n"


def ids_of(train: str, test: str):
    names = {c: i for i, c in enumerate(sorted(set(train + test)))}
    train_ids, test_ids = (np.array([names[c] for c in part], np.uint16) for part in (train, test))
    return train_ids, test_ids, len(names)


def table(train: str, test: str, **described):
    return yardsticks(*ids_of(train, test), train.encode(), test.encode(), **described)


def test_incompressible_bytes_cost_eight_bits():
    assert xz_bits_per_char(NOISE[:20_000], NOISE[20_000:], 20_000) == pytest.approx(8, abs=0.1)


def test_repeated_text_costs_nearly_nothing():
    assert 0 <= xz_bits_per_char(LINE * 100, LINE * 100, 100 * len(LINE)) < 0.05
    assert 0 <= xz_bits_per_char(NOISE, NOISE, len(NOISE)) < 0.2


def test_only_the_last_training_bytes_are_read():
    train, test = NOISE[:20_000], NOISE[:10_000]
    assert xz_bits_per_char(train, test, 10_000) < 0.5
    assert xz_bits_per_char(train, test, 10_000, limit=10_000) == pytest.approx(8, abs=0.1)
    assert xz_bits_per_char(train, test, 10_000, limit=0) == xz_bits_per_char(b"", test, 10_000)


def test_bits_are_per_character_and_not_per_byte():
    assert xz_bits_per_char(b"", NOISE, 20_000) == 2 * xz_bits_per_char(b"", NOISE, 40_000)


@pytest.mark.parametrize(("test", "characters"), [(b"", 0), (b"", 1), (b"a", 0)])
def test_an_empty_test_part_is_refused_in_one_line(test, characters):
    with pytest.raises(TextError) as caught:
        xz_bits_per_char(LINE, test, characters)
    assert "\n" not in str(caught.value)


def test_a_negative_limit_is_refused():
    with pytest.raises(ConfigError):
        xz_bits_per_char(LINE, LINE, len(LINE), limit=-1)


def test_the_table_says_how_each_row_was_measured():
    line = "Größe, größer, am größten.\n"
    six_gram, xz = table(line * 50, line * 10)
    assert (six_gram.name, xz.name) == ("6-gram", "xz")
    assert 0 < six_gram.bits_per_char < 0.5
    assert 0 < xz.bits_per_char < 0.5
    where = f"the test part, all {10 * len(line):,} characters"
    assert six_gram.detail.endswith(f"all {50 * len(line):,} training characters; frozen on {where}")
    assert xz.detail.endswith(f"all {50 * len(line.encode()):,} training bytes; keeps adapting inside {where}")


def test_the_table_names_the_part_and_how_much_of_it_was_read():
    line = LINE.decode()
    for row in table(line * 50, line * 10, part="valid", available=5_123_456):
        assert row.detail.endswith("the validation part, its first 450 of 5,123,456 characters")
    for row in table(line * 50, line * 10, part="train", available=450):
        assert row.detail.endswith("the training part, all 450 characters")


@pytest.mark.parametrize("first", ["T", "€"])
def test_the_first_character_is_given_and_not_scored(first):
    train, test = LINE.decode() * 50, first + "he lazy fox, the quick dog, größer.\n" * 9
    ids, test_ids, size = ids_of(train, test)
    six_gram, xz = table(train, test)
    log2_T = NGram.fit(ids, size).log2_probabilities(test_ids)
    assert six_gram.bits_per_char == pytest.approx(-log2_T[1:].mean(), abs=1e-12)
    before, after = first.encode(), test[1:].encode()
    assert xz.bits_per_char == xz_bits_per_char(train.encode() + before, after, len(test) - 1)


def test_the_first_character_of_bytes_is_a_byte():
    train, test = "Größe\n".encode() * 50, "Ößer\n".encode() * 9
    ids, test_ids = (np.frombuffer(raw, np.uint8) for raw in (train, test))
    _, xz = yardsticks(ids, test_ids, 256, train, test)
    assert xz.bits_per_char == xz_bits_per_char(train + test[:1], test[1:], len(test) - 1)


def test_a_part_of_the_training_bytes_is_not_called_all():
    line = LINE.decode()
    ids, test_ids, size = ids_of(line * 100, line)
    _, xz = yardsticks(ids, test_ids, size, LINE * 10, LINE)
    assert "the last 450 training bytes" in xz.detail


def test_the_table_says_what_was_left_unread(monkeypatch):
    monkeypatch.setattr("unrolled.contest.compressors.DEFAULT_LIMIT", 100)
    _, xz = table(LINE.decode() * 100, LINE.decode())
    assert "the last 100 training bytes" in xz.detail
    assert xz.bits_per_char == xz_bits_per_char((LINE * 100)[-100:] + LINE[:1], LINE[1:], len(LINE) - 1)


def test_a_difference_that_means_nothing_carries_a_note():
    _, xz = table(LINE.decode() * 2, ".\n")
    assert (xz.bits_per_char <= 0) == ("too short to measure" in xz.detail)
    _, xz = table("a" * 4000, "aa")
    assert xz.bits_per_char <= 0
    assert "too short to measure" in xz.detail


@pytest.mark.parametrize("test", ["", "T"])
def test_a_table_without_anything_to_predict_is_refused_in_one_line(test):
    with pytest.raises(TextError, match="at least 2 characters in the validation part") as caught:
        table(LINE.decode(), test, part="valid")
    assert "\n" not in str(caught.value)
