"""The built-in features: each against labels written by hand, and all against what every feature must keep to.

In the tables ⏎ stands for a newline and → for a tab, so that texts and labels stand below each other. Numbers are
written as one character each, 0 to 9 and a to z for 10 to 35, - where the number is undefined.
"""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.neurons.features import FEATURES

BY_NAME = {feature.name: feature for feature in FEATURES}
EVERY_FEATURE = pytest.mark.parametrize("feature", FEATURES, ids=[feature.name for feature in FEATURES])
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

YES_NO = [
    ("inside-double-quotes", 'He said "yes" and',
                             "00000000111100000"),
    ("inside-double-quotes", "a “b” „c“ «d» e",
                             "001100110011000"),
    ("inside-double-quotes", '"a⏎b⏎⏎c "d" e',  # forgotten at the blank line
                             "1111100011000"),
    ("inside-double-quotes", '6" "a" """b""" "c',
                             "00011001000100011"),
    ("inside-single-quotes", "don't 'say so', dogs' 'tis",
                             "00000011111110000000000000"),
    ("inside-single-quotes", "a ‘don’t’ b 'the dogs' tails' c",
                             "0011111100001111111111111111000"),
    ("inside-single-quotes", "f('a','') 'b⏎⏎c'",
                             "0011001000000000"),
    ("line-nearly-full", "aaaaaaaaaa⏎bbbbbbbbbb⏎ccc⏎dddddddddd⏎e",
                         "00000000110000000001100000000000001100"),
    ("line-blank-so-far", "a⏎  b c⏎⏎d",
                          "0111000110"),
    ("blank-line", "⏎a⏎ →⏎⏎b⏎",
                   "100001100"),
    ("odd-line", "ab⏎cd⏎e",
                 "1100011"),
    ("speaker-line", "ab:⏎First Lord:⏎Hm: no⏎HAMLET: Ay⏎",
                     "0000111111111100000000011111100000"),
    ("paragraph-start", " ab⏎c⏎⏎ d e⏎",
                        "010000001000"),
    ("after-full-stop", 'Go. "No!"  I, Mr. X, at 3.5, J. B.⏎',
                        "00010000011000000000000000000000000"),
    ("inside-question", 'Who? He. "Eh?" At⏎⏎why⏎⏎so?',
                        "111000000111000000000000110"),
    ("first-letter-of-word", "Don't 'be' a1_b",
                             "100000010001000"),
    ("last-letter-of-word", "Don't 'be' a1_b",
                            "000010001000001"),
    ("capitalised-word", "He'll see Élan a",
                         "1111100000111100"),
    ("all-caps-word", "NASA and UK's I A.B HELlo",
                      "0111000000110000000001100"),
    ("inside-number", "a1 12,345.6, 0x1F 3rd v2.0",
                      "00011111111001111011100000"),
    ("inside-url", "see http://a.b/c, (www.d.e) www",
                   "0000000000111111100000111100000"),
    ("inside-parentheses", "a) (b (c) d) e",
                           "00011111111000"),
    ("inside-parentheses", ":( no⏎⏎f(a,⏎⏎  b)⏎",  # a new paragraph forgets, an indented one does not
                           "011111101111111100"),
    ("inside-square-brackets", "a[b[0]](]",
                               "011111000"),
    ("inside-curly-braces", "{a}{⏎⏎}{",
                            "11011101"),
    ("inside-double-square-brackets", "a[[b [c]]] d]] [[e⏎⏎f",
                                      "001111110000000011100"),
    ("inside-markup-tag", "a <b c='d'>e</b> 1 < 2 > <f",
                          "000111111100011000000000000"),
    ("inside-slash-comment", "a; // b⏎http://c // d",
                             "000011100000000000111"),
    ("inside-slash-comment", "x = 7 // 2⏎",
                             "00000000000"),
    ("inside-block-comment", "a /* b * /* c */ d */ src/* /*",
                             "000000000011111000000000000000"),
    ("inside-hash-comment", "# a⏎x = 1  # b⏎y = '#'⏎",
                            "11100000000111000000000"),
    ("inside-hash-comment", "# Title⏎⏎Some words here.⏎",
                            "00000000000000000000000000"),
    ("inside-string-literal", "x = f(b'a\\'b', \"c\")⏎",
                              "00000001111100011000"),
    ("inside-string-literal", 'He said, "no."⏎',
                              "000000000000000"),
    ("inside-docstring", 'def f(x):⏎ """Do."""⏎ return "a"⏎',
                         "000000000000011111100000000000000"),
    ("inside-docstring", "class A:⏎ 'B'⏎ x = 'c'⏎",
                         "00000000001100000000000"),
    ("inside-if-line", "if a: # b⏎ c = 1⏎elif (d⏎ ):⏎ e()⏎",
                       "0011111110000000000001111111000000"),
    ("inside-if-line", "if you go:⏎if (a) {⏎",
                       "00000000000000000000"),
    ("inside-def-line", "async def f(): pass⏎x = 1⏎",
                        "00000000011111111110000000"),
    ("inside-class-line", "class A(B):⏎    pass⏎",
                          "000001111110000000000"),
    ("vowel", "Äbc y1e⏎",
              "10000010"),
    ("consonant", "Äbc y1ß⏎",
                  "01101000"),
    ("digit", "a1 23٣x",
              "0101110"),
    ("punctuation", "a, b+c_ d!",
                    "0100101001"),
    ("capital-letter", "aBÇ dЖ1",
                       "0110010"),
    ("repeated-character", "aabb  a",
                           "0101010"),
    ("next-is-newline", "a⏎⏎b",
                        "1100"),
    ("next-is-space", "a  b →c",
                      "1101000"),
    ("next-is-quote", "a \"b” '",
                      "0101000"),
    ("next-is-capital", "aB cÉ ",
                        "100100"),
]  # fmt: skip

NUMBERS = [
    ("characters-since-quote", 'ab"cd”e',
                               "--01201"),
    ("position-in-line", "ab⏎⏎cde⏎f",
                         "120012301"),
    ("characters-until-newline", "ab⏎⏎cde⏎f",
                                 "2114321--"),
    ("indentation", "  a b⏎→c⏎ d",
                    "12222088011"),
    ("previous-line-length", "abc⏎d⏎⏎e",
                             "---33100"),
    ("tabs-in-line", "a→b→⏎→c",
                     "0112011"),
    ("commas-in-line", "a,b,⏎,c",
                       "0112011"),
    ("position-in-paragraph", " ab⏎c⏎⏎⏎ d",
                              "0123450001"),
    ("line-number-in-paragraph", " ab⏎c⏎d⏎⏎ e⏎",
                                 "000112230001"),
    ("position-in-sentence", "Go on. I⏎am.⏎⏎No stop⏎⏎A",
                             "123456012345001234567801"),
    ("position-in-word", "Don't 'be' a1_b",
                         "123340012201234"),
    ("parenthesis-depth", "a) (b (c) d) e",
                          "00011122111000"),
    ("square-bracket-depth", "a[b[0]](]",
                             "011221000"),
    ("curly-brace-depth", "{{a}}}{",
                          "1221001"),
    ("bracket-depth", "f({[0]},(1))",
                      "012332112210"),
    ("whitespace-run", "a  ⏎b c",
                       "0123010"),
]  # fmt: skip

FRACTIONS = [
    ("line-progress", "ab⏎cdef⏎⏎g", [1 / 2, 1, 0, 1 / 4, 1 / 2, 3 / 4, 1, 0, np.nan, np.nan]),
    ("word-progress", "ab don't", [1 / 2, 1, np.nan, 1 / 4, 1 / 2, 3 / 4, 3 / 4, 1]),
]


def plain(written: str) -> str:
    return written.replace("⏎", "\n").replace("→", "\t")


@pytest.mark.parametrize(("name", "text", "labels"), YES_NO, ids=[f"{row[0]}:{n}" for n, row in enumerate(YES_NO)])
def test_yes_no_labels_are_those_written_by_hand(name, text, labels):
    found = "".join("1" if label else "0" for label in BY_NAME[name].labels(plain(text)))
    assert found == labels, f"{name}\n{text}\n{found} found\n{labels} expected"


@pytest.mark.parametrize(("name", "text", "labels"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_numbers_are_those_written_by_hand(name, text, labels):
    found = "".join("-" if np.isnan(label) else DIGITS[int(label)] for label in BY_NAME[name].labels(plain(text)))
    assert found == labels, f"{name}\n{text}\n{found} found\n{labels} expected"


@pytest.mark.parametrize(("name", "text", "labels"), FRACTIONS, ids=[row[0] for row in FRACTIONS])
def test_fractions_are_those_written_by_hand(name, text, labels):
    np.testing.assert_array_equal(BY_NAME[name].labels(plain(text)), np.array(labels, dtype=np.float32))


def test_every_feature_has_labels_written_by_hand():
    assert {row[0] for row in (*YES_NO, *NUMBERS, *FRACTIONS)} == set(BY_NAME)


def test_names_and_descriptions():
    assert len(FEATURES) >= 40
    assert len(BY_NAME) == len({feature.description for feature in FEATURES}) == len(FEATURES)
    for feature in FEATURES:
        assert feature.name == feature.name.lower() and " " not in feature.name and "_" not in feature.name
        assert 10 <= len(feature.description) <= 120 or feature.name == "digit", feature.description
        assert not feature.description.endswith("."), feature.description


def test_no_feature_is_another_under_a_second_name():
    text = "".join(plain(row[1]) + "\n\n" for row in (*YES_NO, *NUMBERS, *FRACTIONS))
    labels = {feature.name: np.nan_to_num(feature.labels(text).astype(np.float64), nan=-1) for feature in FEATURES}
    for name, labels_T in labels.items():
        assert labels_T.min() < labels_T.max(), f"{name} is constant"
        for other, others_T in labels.items():
            assert other == name or not np.array_equal(labels_T, others_T), (name, other)


# what quotes, brackets, words, lines, comments and Python are made of, and what breaks programs
PIECES = [
    '"',
    "'",
    "“",
    "”",
    "„",
    "«",
    "»",
    "‘",
    "’",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "/",
    "//",
    "/*",
    "*/",
    "#",
]
PIECES += ["\n", "\n\n", "\r\n", "\t", " ", "  ", "    ", "\\", "\0", "\ud800", "😀", "\x85", "\u2028", "e\u0301", "é"]
PIECES += [
    "a",
    "s",
    "B",
    "CD",
    "don't",
    "dogs'",
    "1",
    "2.5",
    "0x1F",
    ",",
    ".",
    "? ",
    "! ",
    ". ",
    "Mr. ",
    ":",
    "::",
    "_",
]
PIECES += ["def f(x):\n", "class A:\n", "if x:\n", "elif", "x = 1\n", '"""', "'''", "r'a'", "# b\n", "return x", "@d\n"]
PIECES += ["http://", "www.", "[[", "]]", "<b>", "HAMLET:", "Lord:\n", "'tis", "-", "—", "=", "+"]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.text(max_size=60))


@EVERY_FEATURE
@settings(max_examples=40, deadline=None)
@given(text=TEXTS)
def test_any_text_has_one_label_per_character_and_the_same_ones_again(feature, text):
    labels = feature.labels(text)
    assert labels.shape == (len(text),)
    assert labels.dtype == (bool if feature.kind == "yes-no" else np.float32)
    assert labels.dtype == bool or not np.isinf(labels).any()
    feature.labels(text[::-1])  # another text in between
    np.testing.assert_array_equal(feature.labels(text), labels)


@pytest.mark.parametrize("feature", [f for f in FEATURES if f.causal], ids=[f.name for f in FEATURES if f.causal])
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, data=st.data())
def test_labels_of_a_causal_feature_do_not_know_the_future(feature, text, data):
    cut = data.draw(st.integers(0, len(text)))
    np.testing.assert_array_equal(feature.labels(text)[:cut], feature.labels(text[:cut]))


FUTURE = {
    "inside-single-quotes": ("'a b'", 2),
    "characters-until-newline": ("a\n", 1),
    "line-progress": ("ab\n", 2),
    "line-nearly-full": ("ab\ncdefghij\n", 2),
    "speaker-line": ("LORD: a", 3),
    "inside-question": ("Who?", 2),
    "word-progress": ("ab", 1),
    "last-letter-of-word": ("ab", 1),
    "inside-number": ("1.5", 2),
    "inside-markup-tag": ("<a>", 2),
    "inside-slash-comment": ("x = 7 // 2 a", 10),
    "inside-block-comment": ("/* a */", 4),
    "inside-hash-comment": ("# a\nx = 1", 2),
    "inside-string-literal": ("x = 'a'", 6),
    "inside-docstring": ("def f():\n '''a'''", 14),
    "inside-if-line": ("if a: b", 3),
    "inside-def-line": ("def f(): b", 4),
    "inside-class-line": ("class A: b", 6),
    "next-is-newline": ("a\n", 1),
    "next-is-space": ("a ", 1),
    "next-is-quote": ('a"', 1),
    "next-is-capital": ("aB", 1),
}


def test_every_other_feature_knows_the_future_of_some_text():
    assert set(FUTURE) == {feature.name for feature in FEATURES if not feature.causal}
    for name, (text, cut) in FUTURE.items():
        whole, beginning = BY_NAME[name].labels(text)[:cut], BY_NAME[name].labels(text[:cut])
        assert not np.array_equal(whole, beginning, equal_nan=whole.dtype != bool), name


HOSTILE = ['"', "'", "(", "[", "/*", "\\", "a", "\n", "😀", "\ud800", "\0", "\r\n", '\\"', "(\n", "(\n\n", '"""', "<a"]
HOSTILE += ['""" x\n', "('''\n", ". ", '."', "[[", "www.", "'s ", "A:\n", "{[(", "#", "-", "a.", "# \"'''\n", "if x:\n"]
HOSTILE_CHARACTERS, HOSTILE_SECONDS = 60_000, 2.0


@pytest.mark.parametrize(
    "piece", HOSTILE, ids=[piece.encode("unicode_escape", "replace").decode() for piece in HOSTILE]
)
def test_time_is_linear_on_hostile_texts(piece):
    """The slowest takes 0.3 s for these characters; a feature of quadratic time takes minutes."""
    text = (piece * HOSTILE_CHARACTERS)[:HOSTILE_CHARACTERS]
    for feature in FEATURES:
        begun = time.process_time()
        assert len(feature.labels(text)) == len(text)
        assert time.process_time() - begun < HOSTILE_SECONDS, feature.name
