"""Features of words, numbers and addresses.

A word is letters, their marks, digits and underscores. An apostrophe after a letter neither counts nor ends the word,
since the word may go on ("don't"); anything else ends it. Knows nothing about lines or sentences.
"""

import re

import numpy as np

from unrolled.neurons.features_arrays import (
    DIGIT,
    LETTER,
    UPPER,
    WORD,
    Index,
    Number,
    YesNo,
    after,
    at,
    before,
    count_since,
    last_index,
    next_index,
    number,
    of_class,
    one_of,
    spans,
)

APOSTROPHES = "'’"
# what may not stand in an address, or closes what it stands in: <http://...>, (http://...), "http://..."
_URL = re.compile(r"\b(?:(?:https?|ftp):/(?=/)|www(?=\.))([^\s<>\"'`|\\^()\[\]{}]++)", re.IGNORECASE)


def _word_ends(text: str) -> YesNo:
    held_T = one_of(text, APOSTROPHES) & before(of_class(text, LETTER))
    return ~(of_class(text, WORD) | held_T)


def _letters_so_far(text: str) -> Index:
    return count_since(of_class(text, WORD), last_index(_word_ends(text)))


def _first(text: str) -> YesNo:
    return of_class(text, WORD) & (_letters_so_far(text) == 1)


def position_in_word(text: str) -> Number:
    """How many letters of the word have been read: its length so far, 0 between words."""
    return number(_letters_so_far(text))


def word_progress(text: str) -> Number:
    """The share of the word that has been read, from 0 to 1; undefined (NaN) between words."""
    ends_T = _word_ends(text)
    word_T = of_class(text, WORD)
    total_T = np.cumsum(word_T, dtype=np.int32)
    so_far_T = count_since(word_T, last_index(ends_T))
    whole_T = so_far_T + total_T[np.minimum(next_index(ends_T), len(ends_T) - 1)] - total_T
    return np.where(so_far_T > 0, number(so_far_T) / np.maximum(whole_T, 1), np.nan).astype(np.float32)


def first_letter_of_word(text: str) -> YesNo:
    """The first letter of a word."""
    return _first(text)


def last_letter_of_word(text: str) -> YesNo:
    """The last letter of a word."""
    word_T, letter_T = of_class(text, WORD), of_class(text, LETTER)
    goes_on_T = after(word_T) | (letter_T & after(one_of(text, APOSTROPHES)) & after(after(word_T)))
    return word_T & ~goes_on_T


def capitalised_word(text: str) -> YesNo:
    """In a word that begins with a capital letter."""
    begins_T = last_index(_first(text))
    return (_letters_so_far(text) > 0) & at(of_class(text, UPPER), begins_T)


def all_caps_word(text: str) -> YesNo:
    """In a word of CAPITALS: two letters or more have been read, and all were capital."""
    ends_T = last_index(_word_ends(text))
    letters_T = count_since(of_class(text, LETTER), ends_T)
    return (letters_T >= 2) & (letters_T == count_since(of_class(text, UPPER), ends_T))


def inside_number(text: str) -> YesNo:
    """Inside a number: a word that begins with a digit (0x1F, 3rd), a point or comma between digits included."""
    digit_T = of_class(text, DIGIT)
    part_T = of_class(text, WORD) | (one_of(text, ".,") & before(digit_T) & after(digit_T))
    return part_T & at(digit_T, last_index(part_T & ~before(part_T)))


def inside_url(text: str) -> YesNo:
    """Inside a web address, from the :// or www. that shows it to be one."""
    return spans(len(text), (match.span(1) for match in _URL.finditer(text)))
