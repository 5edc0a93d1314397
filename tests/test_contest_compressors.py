"""The compressor yardstick on texts whose cost is known, and the table that puts both yardsticks side by side."""

import numpy as np
import pytest

from unrolled.contest.compressors import xz_bits_per_char
from unrolled.contest.yardsticks import yardsticks
from unrolled.errors import ConfigError, TextError

NOISE = np.random.default_rng(0).integers(0, 256, 40_000, dtype=np.uint8).tobytes()
LINE = b"The quick brown fox jumps over the lazy dog.\n"


def table(train: str, test: str):
    names = {c: i for i, c in enumerate(sorted(set(train + test)))}
    train_ids, test_ids = (np.array([names[c] for c in part], np.uint16) for part in (train, test))
    return yardsticks(train_ids, test_ids, len(names), train.encode(), test.encode())


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
    assert f"all {50 * len(line):,} training characters; frozen" in six_gram.detail
    assert f"all {50 * len(line.encode()):,} training bytes; keeps adapting" in xz.detail


def test_the_table_says_what_was_left_unread(monkeypatch):
    monkeypatch.setattr("unrolled.contest.compressors.DEFAULT_LIMIT", 100)
    assert "the last 100 of 4,500 training bytes" in table(LINE.decode() * 100, LINE.decode())[1].detail


def test_a_difference_that_means_nothing_carries_a_note():
    _, xz = table(LINE.decode() * 2, "\n")
    assert (xz.bits_per_char <= 0) == ("too short to measure" in xz.detail)
    _, xz = table("a" * 4000, "a")
    assert xz.bits_per_char <= 0
    assert "too short to measure" in xz.detail


def test_a_table_without_a_test_part_is_refused_in_one_line():
    with pytest.raises(TextError) as caught:
        table(LINE.decode(), "")
    assert "\n" not in str(caught.value)
