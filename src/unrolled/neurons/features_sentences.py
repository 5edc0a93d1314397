"""Features of sentences and paragraphs.

A paragraph ends at a blank line. A sentence ends with its paragraph, and at white space after a full stop, question
mark or exclamation mark (quotes and brackets may close in between), unless the stop belongs to a title ("Mr.") or an
initial ("J."). Knows nothing about lines' widths or layout.
"""

import re

import numpy as np

from unrolled.neurons.features_arrays import (
    SPACE,
    Index,
    Number,
    YesNo,
    at,
    blank_line_ends,
    count_since,
    index_before,
    last_index,
    marked,
    newlines,
    next_index,
    number,
    of_class,
)

_TITLES = ("Mr", "Mrs", "Ms", "Dr", "St", "Prof", "Capt", "Gen", "Col", "Lt", "Sgt", "Rev", "Hon", "Jr", "Sr", "Mt")
_TITLED = "".join(rf"(?<!\b{word}\.)" for word in (*_TITLES, "[A-HJ-Z]", "vs", "cf", r"e\.g", r"i\.e"))
_MARK = rf"[.!?…]{_TITLED}[\"'”’»)\]]*+"
_END = re.compile(rf"{_MARK}(?=\s)")
_END_IN_HINDSIGHT = re.compile(rf"{_MARK}(?=\s|\Z)")


def _paragraph_starts(text: str) -> YesNo:
    visible_T = ~of_class(text, SPACE)
    seen_T = index_before(visible_T)
    return visible_T & ((seen_T == -1) | (last_index(blank_line_ends(text)) > seen_T))


def _since(start_T: Index, end_T: Index) -> Index:
    """Count from 1 at the start, 0 where an end came after it or nothing started yet."""
    where_T = np.arange(len(start_T), dtype=np.int32)
    return np.where((start_T < 0) | (end_T > start_T), 0, where_T - start_T + 1)


def paragraph_start(text: str) -> YesNo:
    """The first visible character of a paragraph."""
    return _paragraph_starts(text)


def position_in_paragraph(text: str) -> Number:
    """How many characters of the paragraph have been read, 0 between paragraphs."""
    return number(_since(last_index(_paragraph_starts(text)), last_index(blank_line_ends(text))))


def line_number_in_paragraph(text: str) -> Number:
    """How many lines of the paragraph have been finished, 0 between paragraphs."""
    start_T = last_index(_paragraph_starts(text))
    inside_T = _since(start_T, last_index(blank_line_ends(text))) > 0
    return number(np.where(inside_T, count_since(newlines(text), start_T), 0))


def after_full_stop(text: str) -> YesNo:
    """Between sentences: white space after a full stop, a question mark or an exclamation mark."""
    space_T = of_class(text, SPACE)
    ends_T = marked(len(text), (match.end() - 1 for match in _END.finditer(text)))
    return space_T & at(ends_T, last_index(~space_T))


def _sentences(text: str) -> tuple[Index, Index]:
    """Return where the sentence of each place began, and the last place at or before it that parts sentences."""
    visible_T = ~of_class(text, SPACE)
    seen_T = index_before(visible_T)
    between_T = last_index(after_full_stop(text) | blank_line_ends(text))
    return last_index(visible_T & ((seen_T == -1) | (between_T > seen_T))), between_T


def position_in_sentence(text: str) -> Number:
    """How many characters of the sentence have been read, 0 between sentences."""
    return number(_since(*_sentences(text)))


def inside_question(text: str) -> YesNo:
    """In a sentence that will end with a question mark."""
    start_T, between_T = _sentences(text)
    marks = [match.start() for match in _END_IN_HINDSIGHT.finditer(text)]
    asking_T = marked(len(text), (mark for mark in marks if "?" in text[max(mark - 1, 0) : mark + 1]))
    mark_T = next_index(marked(len(text), marks))
    same_T = np.append(start_T, -1)[mark_T] == start_T  # a closing quote after the mark still sees its own sentence
    return (_since(start_T, between_T) > 0) & at(asking_T, mark_T) & same_T & ~marked(len(text), marks)
