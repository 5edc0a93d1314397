"""Vocabularies: encoding and decoding are inverse, and a damaged file is an error."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import ConfigError
from unrolled.text.vocabulary import UNKNOWN, Vocabulary

anything = st.text(st.characters(exclude_categories=[]), max_size=80)


def vocabulary_of(text: str) -> Vocabulary:
    return Vocabulary("characters", (UNKNOWN, *sorted(set(text) - {UNKNOWN})))


def bytes_of(raw: bytes) -> Vocabulary:
    return Vocabulary("bytes", (UNKNOWN, *map(chr, sorted(set(raw)))))


@given(anything)
def test_characters_round_trip(text):
    vocabulary = vocabulary_of(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(anything, anything)
def test_encoding_is_what_a_dictionary_does(seen, text):
    vocabulary = vocabulary_of(seen)
    naive = {symbol: i for i, symbol in enumerate(vocabulary.symbols)}
    assert vocabulary.encode(text).tolist() == [naive.get(c, 0) for c in text]
    assert vocabulary.unknown(text) == tuple(dict.fromkeys(c for c in text if not naive.get(c)))
    assert vocabulary.encode(text).dtype == vocabulary.dtype


@given(st.binary(max_size=60))
def test_bytes_are_lossless(raw):
    vocabulary = bytes_of(raw)
    text = raw.decode("utf-8", "surrogateescape")
    ids = vocabulary.encode(text)
    assert len(ids) == len(raw)
    assert vocabulary.decode(ids).encode("utf-8", "surrogateescape") == raw


def test_streamed_bytes_never_split_a_code_point():
    text = "a€😀"
    vocabulary = bytes_of(text.encode())
    decoder = vocabulary.decoder()
    assert [decoder.feed(i) for i in vocabulary.encode(text).tolist()] == ["a", "", "", "€", "", "", "", "😀"]
    assert decoder.flush() == ""
    assert decoder.feed(int(vocabulary.encode("€")[0])) + decoder.flush() == "\udce2"


def test_unknown_is_shown_and_never_an_error():
    vocabulary = vocabulary_of("abc")
    assert vocabulary.decode(vocabulary.encode("a😀\ud800c")) == "a\ufffd\ufffdc"
    assert vocabulary.unknown("x a😀x") == ("x", " ", "😀")
    assert bytes_of(b"ab").unknown("aé\ud800") == ("é", "\ud800")
    assert bytes_of(b"ab").decode([1, 0, 2]) == "a\ufffdb"


def test_sizes():
    assert vocabulary_of("aé€😀").bytes_per_symbol.tolist() == [3, 1, 2, 3, 4]
    assert bytes_of(b"ab").bytes_per_symbol.tolist() == [1, 1, 1]
    assert Vocabulary("characters", (UNKNOWN,)).encode("abc").tolist() == [0, 0, 0]
    assert Vocabulary("characters", (UNKNOWN, *map(chr, range(256)))).dtype == np.uint16


@given(anything)
def test_json_round_trip(text):
    vocabulary = vocabulary_of(text)
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": True},
        {"kind": "words"},
        {"kind": []},
        {"symbols": "ab"},
        {"symbols": []},
        {"symbols": ["a", "b"]},
        {"symbols": [UNKNOWN, "b", "a"]},
        {"symbols": [UNKNOWN, "a", "a"]},
        {"symbols": [UNKNOWN, "ab"]},
        {"symbols": [UNKNOWN, 3]},
        {"symbols": [UNKNOWN, "a", UNKNOWN]},
        {"kind": "bytes", "symbols": [UNKNOWN, "€"]},
        {"more": 1},
    ],
)
def test_damaged_json_is_one_clear_line(change):
    good = vocabulary_of("ab").to_json()
    with pytest.raises(ConfigError) as caught:
        Vocabulary.from_json(good | change)
    assert str(caught.value).startswith("expected a vocabulary with")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], {}, {"version": 1}])
def test_what_is_no_vocabulary_is_refused(data):
    with pytest.raises(ConfigError):
        Vocabulary.from_json(data)
