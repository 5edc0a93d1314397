"""Features of quotation: inside double quotes, inside single quotes, and how long ago the last quote was.

At the opening quote the label is already on, at the closing one it is off. Nothing stays open beyond a blank line: as
in prose, a speech that goes on opens its next paragraph anew. Knows nothing about programs: see `features_python`.
"""

import re

import numpy as np

from unrolled.neurons.features_arrays import (
    DIGIT,
    Number,
    YesNo,
    at,
    blank_line_ends,
    count_since,
    index_before,
    last_index,
    number,
    of_class,
    one_of,
    run_so_far,
    spans,
)
from unrolled.neurons.features_letters import DOUBLE_QUOTES

# apostrophes that stand where a quote could open: 'tis, 'em, the '90s
_ELISION = re.compile(r"(?:tis|twas|twere|twill|twould|em|til|till|cause|bout|round|n|\d\ds?)\b", re.IGNORECASE)
_OPENS_AFTER = frozenset('([{<"“„«-–—=,:;+*/|&!~')


def inside_double_quotes(text: str) -> YesNo:
    """Inside double quotes, straight or typographic.

    A straight quote opens and closes in turn, except after a digit, where it only closes (6" is a length), and except
    three or more in a row, which change nothing. “ „ « 「 『 open, ” » 」 』 close, and “ closes what „ opened.
    »Quotes« the other way round are not understood.
    """
    straight_T = one_of(text, '"')
    run_T = run_so_far(straight_T)
    measure_T = straight_T & at(of_class(text, DIGIT), np.arange(len(text), dtype=np.int32) - run_T)
    closes_T = measure_T | one_of(text, "”»」』") | blank_line_ends(text)
    low_T, high_T = one_of(text, "„"), one_of(text, "“")
    german_T = high_T & at(low_T, index_before(low_T | high_T | closes_T & ~measure_T))
    opens_T = one_of(text, "«「『") | low_T | high_T & ~german_T
    toggles_T = straight_T & ~measure_T & (run_T <= 2)
    set_T = last_index(opens_T | closes_T | german_T)
    return at(opens_T, set_T) ^ (count_since(toggles_T, set_T) % 2 == 1)


def inside_single_quotes(text: str) -> YesNo:
    """Inside single quotes, straight or typographic; apostrophes (don't, dogs', 'tis) are none."""
    return spans(len(text), _single(text, "'", "'") + _single(text, "‘", "’"))


def characters_since_quote(text: str) -> Number:
    """How many characters ago the last double quote was read; undefined (NaN) before the first."""
    quote_T = last_index(one_of(text, DOUBLE_QUOTES))
    return number(np.where(quote_T < 0, np.nan, np.arange(len(text)) - quote_T))


def _single(text: str, opening: str, closing: str) -> list[tuple[int, int]]:
    """Pair the single quotes of one style by their shape, within a paragraph.

    What opens follows white space, a bracket or a dash and stands before something visible; what closes follows
    something visible and has no letter or digit after it. An opening that finds no closing was an apostrophe.
    """
    places = np.flatnonzero(one_of(text, opening + closing)).tolist()
    paragraphs = np.cumsum(blank_line_ends(text))[places].tolist()
    found, start, start_paragraph = [], -1, -1
    shapes = [_shape(text, place, opening, closing) for place in places]
    for number_of, (place, paragraph, (may_open, may_close)) in enumerate(zip(places, paragraphs, shapes, strict=True)):
        inside = start >= 0 and paragraph == start_paragraph
        if inside and may_close:
            if number_of + 1 < len(places) and paragraphs[number_of + 1] == paragraph and _possessive(text, place):
                next_opens, next_closes = shapes[number_of + 1]
                if next_closes and not next_opens:
                    continue
            found.append((start, place))
            start = -1
        elif may_open:
            start, start_paragraph = place, paragraph
    return found


def _shape(text: str, place: int, opening: str, closing: str) -> tuple[bool, bool]:
    """Tell whether the quote at `place` may open and whether it may close."""
    left, right = text[place - 1 : place] if place else "", text[place + 1 : place + 2]
    free = not left or left.isspace() or left in _OPENS_AFTER
    opens = text[place] == opening and bool(right) and not right.isspace() and free
    opens = opens and not _ELISION.match(text, place + 1)
    return opens, text[place] == closing and bool(left) and not left.isspace() and not right.isalnum()


def _possessive(text: str, place: int) -> bool:
    """Tell whether a quote that could close may be the apostrophe of "the dogs' tails" instead."""
    return text[place - 1] in "sS" and text[place + 1 : place + 2] == " " and text[place + 2 : place + 3].islower()
