"""Where a feature is decided: labels by hand, every built-in feature, and what the sentence says."""

import numpy as np
import pytest

from unrolled.neurons.features import FEATURES
from unrolled.neurons.places import FEWEST, decided, named

SAID = 'He said "yes" and (he) went.\n' * 40


def labels(name, text):
    return next(feature for feature in FEATURES if feature.name == name).labels(text)


def spots(text, mask_T):
    """The next characters of the places, as a set of (character before, character that decides)."""
    assert mask_T.dtype == bool and len(mask_T) == len(text) and not mask_T[-1]
    return {text[place : place + 2] for place in np.flatnonzero(mask_T).tolist()}


@pytest.mark.parametrize(
    ("name", "text", "expected", "where", "mark"),
    [
        ("inside-double-quotes", SAID, {'s"'}, 'the next character ends it: "', '"'),
        ("inside-parentheses", SAID, {"e)"}, "the next character ends it: )", ")"),
        ("parenthesis-depth", SAID, {"e)"}, "the next character lowers it: )", ")"),
        ("bracket-depth", "((aaa)[bbb]){ccc}\n" * 40, None, "the next character lowers it, usually )", ")"),
        ("position-in-line", SAID, {".\n"}, "the next character is a newline", "\n"),
        ("characters-until-newline", SAID, {".\n"}, "the next character is a newline", "\n"),
        ("line-nearly-full", SAID, {".\n"}, "the next character ends it: a newline", "\n"),
        ("line-progress", SAID, {".\n"}, "the next character is a newline", "\n"),
        ("next-is-newline", SAID, {".\n"}, "the next character is a newline", "\n"),
        ("next-is-quote", SAID, {' "', 's"'}, 'the next character is "', '"'),
        ("next-is-space", SAID, {"e ", "d ", '" ', ") "}, "the next character is a space", " "),
        ("digit", "a1b a1c bcb\n" * 40, {"a1"}, "the next character begins it: 1", "1"),
        ("capital-letter", "aBc aBd cDc cd\n" * 40, {"aB", "cD"}, "the next character begins it, usually B", "B"),
    ],
)
def test_places_by_hand(name, text, expected, where, mark):
    found = decided(text, labels(name, text))
    seen = spots(text, found.mask_T)
    assert expected is None or seen == expected
    assert (found.where, found.mark) == (where, mark)


def test_a_count_that_stops_being_defined_is_decided_there():
    text = "ab cd. " * 30
    values = np.array([np.nan if c in " ." else 1.0 + "ab cd".index(c) % 3 for c in text], dtype=np.float32)
    found = decided(text, values)
    assert spots(text, found.mask_T) == {"b ", "d."}


def test_numbers_that_are_no_integers():
    text = "abcdefghij" * 30
    values = np.tile(np.linspace(0, 1, 10, dtype=np.float32), 30)
    found = decided(text, values)
    assert spots(text, found.mask_T) == {"ja"} and found.where == "the next character is a"


def test_too_few_places_are_none():
    text = "a" * 50
    assert decided(text, np.zeros(50, dtype=bool)) is None
    assert decided(text, np.ones(50, dtype=bool)) is None
    assert decided(text, np.full(50, np.nan, dtype=np.float32)) is None
    assert decided("a", np.ones(1, dtype=bool)) is None
    assert decided("", np.ones(0, dtype=bool)) is None
    short = 'say "a".\n' * (FEWEST - 1)
    assert decided(short, labels("position-in-line", short)) is None


def test_few_endings_are_joined_by_beginnings():
    text = 'say "ab c" x.\n' * (FEWEST // 2 + 2)
    found = decided(text, labels("inside-double-quotes", text))
    assert spots(text, found.mask_T) == {' "', 'c"'} and found.where == 'the next character changes it: "'


@pytest.mark.parametrize("feature", FEATURES, ids=[feature.name for feature in FEATURES])
def test_every_feature_has_places_or_says_that_it_has_none(feature):
    text = (SAID + 'def f(x):\n    """Add 1 to [x]."""\n    if x: return {"a": x + 1}  # (why)\n\n') * 30
    found = decided(text, feature.labels(text))
    if found is None:
        return
    places = np.flatnonzero(found.mask_T)
    following = [text[place + 1] for place in places.tolist()]
    assert len(places) >= FEWEST
    assert found.share == pytest.approx(following.count(found.mark) / len(places))
    assert following.count(found.mark) == max(map(following.count, set(following)))
    assert named(found.mark) in found.where and "\n" not in found.where


def test_white_space_and_what_nobody_sees_have_names():
    assert [named(c) for c in "\n \t\r"] == ["a newline", "a space", "a tab", "a carriage return"]
    assert [named(c) for c in "”a\x1b\u202e"] == ["”", "a", "␛", "⟨U+202E⟩"]
