"""Features of lines: where in the line, how full, how indented, what came before.

A newline belongs to neither line: the place after it is the start of the next one. Knows nothing about paragraphs.
"""

import re

import numpy as np

from unrolled.neurons.features_arrays import (
    SPACE,
    Number,
    YesNo,
    blank_line_ends,
    count_since,
    last_index,
    line_start,
    newlines,
    next_index,
    number,
    of_class,
    one_of,
    spans,
)

NEARLY_FULL = 0.85
"""The share of the typical width from which a line is nearly full: 60 of 70 characters, less than two words to go."""

TAB_COLUMNS = 8
_NAME = r"[A-Z][\w.'’-]{0,24}+"
_SPEAKER = re.compile(
    rf"^(?:{_NAME}(?: (?:{_NAME}|of|the|and|to|in)){{0,5}}(?=:[ \t\r]*$)|[A-Z][A-Z0-9 .'’-]{{1,40}}(?=:))", re.MULTILINE
)


def _until_newline(text: str) -> Number:
    """The characters from the place after t up to the newline, it included; NaN after the last newline."""
    length = len(text)
    where_T = np.arange(length, dtype=np.int32)
    end_T = np.append(next_index(newlines(text)), length)[1:]
    return np.where(end_T < length, end_T - where_T, np.nan).astype(np.float32)


def position_in_line(text: str) -> Number:
    """How many characters have been read since the newline: the position in the line, 0 at its start."""
    return number(np.arange(len(text), dtype=np.int32) - line_start(text))


def characters_until_newline(text: str) -> Number:
    """How many characters will have been read at the newline; undefined (NaN) where no more newline comes."""
    return _until_newline(text)


def line_progress(text: str) -> Number:
    """The share of the line that has been read, from 0 to 1; undefined (NaN) where no more newline comes."""
    position_T, until_T = position_in_line(text), _until_newline(text)
    return position_T / np.maximum(position_T + until_T - 1, 1)


def line_nearly_full(text: str) -> YesNo:
    """The line is nearly full: 85 % of this text's typical width, the upper quartile of lines that are not blank."""
    newlines_T = newlines(text)
    lengths = np.diff(np.flatnonzero(np.concatenate(([True], newlines_T, [True])))) - 1
    blank = blank_line_ends(text)[newlines_T]
    last = text[text.rfind("\n") + 1 :]
    width = np.sort(lengths[~np.append(blank, not last.strip())])
    if not len(width):
        return np.zeros(len(text), dtype=bool)
    return position_in_line(text) >= max(NEARLY_FULL * width[3 * len(width) // 4], 1)


def indentation(text: str) -> Number:
    """How far the line is indented, so far as it has been read: spaces, a tab as eight."""
    blank_T = _blank_so_far(text)
    columns_T = np.where(one_of(text, "\t"), TAB_COLUMNS, 1) * (blank_T & one_of(text, " \t"))
    total_T = np.cumsum(columns_T)
    return number(total_T - np.append(total_T, 0)[line_start(text)])


def _blank_so_far(text: str) -> YesNo:
    return last_index(~of_class(text, SPACE)) <= line_start(text)


def line_blank_so_far(text: str) -> YesNo:
    """At the start of a line or in its indentation: nothing visible has been read in it."""
    return _blank_so_far(text)


def blank_line(text: str) -> YesNo:
    """A blank line has just ended."""
    return blank_line_ends(text)


def odd_line(text: str) -> YesNo:
    """In a line with an odd number, the first line of the text being number one."""
    return np.cumsum(newlines(text)) % 2 == 0


def previous_line_length(text: str) -> Number:
    """The length of the line before; undefined (NaN) in the first line."""
    newlines_T = newlines(text)
    ends = np.flatnonzero(newlines_T)
    lengths = np.append(np.diff(ends, prepend=-1) - 1.0, np.nan)
    return number(lengths[np.cumsum(newlines_T) - 1])


def tabs_in_line(text: str) -> Number:
    """How many tabs have been read in the line: the column of a table whose columns are parted by tabs."""
    return number(count_since(one_of(text, "\t"), line_start(text)))


def commas_in_line(text: str) -> Number:
    """How many commas have been read in the line: the column of a table whose columns are parted by commas."""
    return number(count_since(one_of(text, ","), line_start(text)))


def speaker_line(text: str) -> YesNo:
    """In the name of a speaker, as in a play: "First Citizen:" alone on its line, or "HAMLET:" at its start."""
    return spans(len(text), (match.span() for match in _SPEAKER.finditer(text)))
