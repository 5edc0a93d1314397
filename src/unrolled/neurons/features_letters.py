"""Features of single characters: what kind was read last, and what kind comes next.

Knows nothing about words or lines.
"""

import numpy as np

from unrolled.neurons.features_arrays import (
    CONSONANT,
    DIGIT,
    PUNCTUATION,
    SPACE,
    UPPER,
    VOWEL,
    Number,
    YesNo,
    after,
    codes,
    newlines,
    number,
    of_class,
    one_of,
    run_so_far,
)

DOUBLE_QUOTES = '"“”„«»「」『』'


def vowel(text: str) -> YesNo:
    """A vowel: a, e, i, o, u, with any accent."""
    return of_class(text, VOWEL)


def consonant(text: str) -> YesNo:
    """A consonant of the Latin alphabet, y among them, with any accent."""
    return of_class(text, CONSONANT)


def digit(text: str) -> YesNo:
    """A digit."""
    return of_class(text, DIGIT)


def punctuation(text: str) -> YesNo:
    """A punctuation mark or a symbol."""
    return of_class(text, PUNCTUATION)


def capital_letter(text: str) -> YesNo:
    """A capital letter."""
    return of_class(text, UPPER)


def repeated_character(text: str) -> YesNo:
    """The same character as the one before it."""
    codes_T = codes(text)
    same_T = np.zeros(len(codes_T), dtype=bool)
    same_T[1:] = codes_T[1:] == codes_T[:-1]
    return same_T


def whitespace_run(text: str) -> Number:
    """How many white space characters in a row, 0 at a visible one."""
    return number(run_so_far(of_class(text, SPACE)))


def next_is_newline(text: str) -> YesNo:
    """The next character is a newline."""
    return after(newlines(text))


def next_is_space(text: str) -> YesNo:
    """The next character is a space."""
    return after(one_of(text, " "))


def next_is_quote(text: str) -> YesNo:
    """The next character is a double quote, straight or typographic."""
    return after(one_of(text, DOUBLE_QUOTES))


def next_is_capital(text: str) -> YesNo:
    """The next character is a capital letter."""
    return after(of_class(text, UPPER))
