"""What the features share: a text as arrays of code points and character classes, and counting along them.

T is time, one place per character. Knows nothing about what a feature means.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt16, UInt32

YesNo = Bool[np.ndarray, " T"]
Number = Float32[np.ndarray, " T"]
Codes = UInt32[np.ndarray, " T"]
Index = Int32[np.ndarray, " T"]

LETTER, UPPER, DIGIT, WORD, SPACE, PUNCTUATION, VOWEL, CONSONANT = (1 << bit for bit in range(8))
_VOWELS = frozenset("aeiou")
_CONSONANTS = frozenset("bcdfghjklmnpqrstvwxyz")


@lru_cache(maxsize=1)
def codes(text: str) -> Codes:
    """Return the code points of a text, read-only; lone surrogates are code points like any other."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


@lru_cache(maxsize=1)
def _classes(text: str) -> UInt16[np.ndarray, " T"]:
    codes_T = codes(text)
    present = np.zeros(int(codes_T.max(initial=0)) + 1, dtype=bool)
    present[codes_T] = True
    table = np.zeros(len(present), dtype=np.uint16)
    for code in np.flatnonzero(present).tolist():
        table[code] = _class(chr(code))
    return table[codes_T]


def _class(character: str) -> int:
    category = unicodedata.category(character)
    bits = SPACE * character.isspace() | DIGIT * (category == "Nd") | PUNCTUATION * (category[0] in "PS")
    bits |= WORD * (category[0] in "LM" or category == "Nd" or character == "_")
    if category[0] == "L":
        base = unicodedata.normalize("NFD", character)[0].lower()
        bits |= LETTER | UPPER * (category in ("Lu", "Lt"))
        bits |= VOWEL * (base in _VOWELS) | CONSONANT * (base in _CONSONANTS)
    return bits


def of_class(text: str, bits: int) -> YesNo:
    """Tell where a character is of one of the classes in `bits` (`LETTER | DIGIT`)."""
    return (_classes(text) & bits) != 0


def one_of(text: str, characters: str) -> YesNo:
    """Tell where a character is one of `characters`."""
    codes_T = codes(text)
    found_T = np.zeros(len(codes_T), dtype=bool)
    for character in characters:
        found_T |= codes_T == ord(character)
    return found_T


def before(mask_T: YesNo, first: bool = False) -> YesNo:
    """Shift by one: the value at t is that of t - 1, and `first` at the beginning."""
    return np.concatenate(([first], mask_T))[:-1]


def after(mask_T: YesNo, last: bool = False) -> YesNo:
    """Shift by one: the value at t is that of t + 1, and `last` at the end."""
    return np.concatenate((mask_T, [last]))[1:]


def last_index(mask_T: YesNo) -> Index:
    """Return the index of the last True at or before t, -1 where there is none."""
    where_T = np.arange(len(mask_T), dtype=np.int32)
    return np.maximum.accumulate(np.where(mask_T, where_T, np.int32(-1)))


def index_before(mask_T: YesNo) -> Index:
    """Return the index of the last True before t, -1 where there is none."""
    return np.concatenate((np.full(1, -1, np.int32), last_index(mask_T)))[:-1]


def next_index(mask_T: YesNo) -> Index:
    """Return the index of the first True at or after t, T where there is none."""
    where_T = np.arange(len(mask_T), dtype=np.int32)
    return np.minimum.accumulate(np.where(mask_T, where_T, np.int32(len(mask_T)))[::-1])[::-1]


def count_since(mask_T: YesNo, start_T: Index) -> Index:
    """Return how many True stand at start < index <= t; a start of -1 is the beginning of the text."""
    total_T = np.cumsum(mask_T, dtype=np.int32)
    return total_T - np.concatenate((total_T, np.zeros(1, np.int32)))[start_T]


def run_so_far(mask_T: YesNo) -> Index:
    """Return the length, up to t, of the run of True that t is in; 0 where it is False."""
    return np.arange(len(mask_T), dtype=np.int32) - last_index(~mask_T)


def at(values_T: YesNo, index_T: Index) -> YesNo:
    """Return `values_T[index_T]`, False where the index is -1 or T (nothing there)."""
    padded = np.concatenate((values_T, [False]))
    return padded[np.where(index_T < 0, len(values_T), index_T)]


def spans(length: int, found: Iterable[tuple[int, int]]) -> YesNo:
    """Tell which of `length` places lie in one of the spans (start, end without it), which may overlap."""
    edges = np.array([*found], dtype=np.int64).reshape(-1, 2)
    change = np.bincount(edges[:, 0], minlength=length + 1) - np.bincount(edges[:, 1], minlength=length + 1)
    return np.cumsum(change)[:length] > 0


def marked(length: int, places: Iterable[int]) -> YesNo:
    """Tell which of `length` places are among `places`."""
    mask_T = np.zeros(length, dtype=bool)
    mask_T[np.fromiter(places, dtype=np.int64)] = True
    return mask_T


def number(values_T: np.ndarray) -> Number:
    """Return the values as float32, exact up to 16,777,216."""
    return values_T.astype(np.float32)


def newlines(text: str) -> YesNo:
    r"""Tell where a line ends: at \n alone (a carriage return is white space)."""
    return codes(text) == ord("\n")


def line_start(text: str) -> Index:
    """Return the index of the newline before the line that the place after t is in; at a newline, t itself."""
    return last_index(newlines(text))


def blank_line_ends(text: str) -> YesNo:
    """Tell where a newline ends a line of white space alone; such a line is what parts paragraphs."""
    newlines_T, visible_T = newlines(text), ~of_class(text, SPACE)
    return newlines_T & (last_index(visible_T) <= index_before(newlines_T))
