"""Features of brackets, [[links]] and <tags>.

A label is on from the last character of the opening mark, which is where it can be known, and off at the last one of
the closing mark. A closing bracket without an opening one counts for nothing. An opening bracket that nothing closes is
forgotten where a new paragraph is indented no deeper than the line it was opened in: neither a smiley in prose nor a
broken piece of code darkens the rest of a text. Knows nothing about the grammar of any language.
"""

import re

import numpy as np

from unrolled.neurons.features_arrays import (
    Index,
    Number,
    YesNo,
    blank_line_ends,
    number,
    one_of,
    spans,
)
from unrolled.neurons.features_lines import indentation
from unrolled.neurons.features_sentences import paragraph_start

_LINK_MARK = re.compile(r"\[\[|\]\]")
_TAG = re.compile(r"<([/!?A-Za-z][^<>]*+)>")


def _depth(text: str, opening: str, closing: str) -> Index:
    """Return how many brackets of one kind are open after each character."""
    closing_T, starts_T = one_of(text, closing), paragraph_start(text)
    events = np.flatnonzero(one_of(text, opening) | closing_T | starts_T)
    indents = indentation(text)[events].tolist()
    starts = (starts_T & ~closing_T)[events].tolist()
    change = np.zeros(len(text), dtype=np.int32)
    opened: list[float] = []  # the indentation of the line that each open bracket stands in
    for place, indent, starts_paragraph in zip(events.tolist(), indents, starts, strict=True):
        depth = len(opened)
        while starts_paragraph and opened and indent <= opened[-1]:
            opened.pop()
        if text[place] == opening:
            opened.append(indent)
        elif text[place] == closing and opened:
            opened.pop()
        change[place] = len(opened) - depth
    return np.cumsum(change, dtype=np.int32)


def inside_parentheses(text: str) -> YesNo:
    """Inside parentheses ( )."""
    return _depth(text, "(", ")") > 0


def inside_square_brackets(text: str) -> YesNo:
    """Inside square brackets [ ]."""
    return _depth(text, "[", "]") > 0


def inside_curly_braces(text: str) -> YesNo:
    """Inside curly braces { }."""
    return _depth(text, "{", "}") > 0


def parenthesis_depth(text: str) -> Number:
    """How many parentheses ( are open."""
    return number(_depth(text, "(", ")"))


def square_bracket_depth(text: str) -> Number:
    """How many square brackets [ are open."""
    return number(_depth(text, "[", "]"))


def curly_brace_depth(text: str) -> Number:
    """How many curly braces { are open."""
    return number(_depth(text, "{", "}"))


def bracket_depth(text: str) -> Number:
    """How many brackets of the three kinds are open, ( and [ and {."""
    return number(_depth(text, "(", ")") + _depth(text, "[", "]") + _depth(text, "{", "}"))


def inside_double_square_brackets(text: str) -> YesNo:
    """Inside double square brackets [[ ]], as links in a wiki; closed by the end of the paragraph."""
    change = np.zeros(len(text), dtype=np.int32)
    for match in _LINK_MARK.finditer(text):
        change[match.end() - 1] = 1 if match[0] == "[[" else -1
    depth = 0
    for place in np.flatnonzero((change != 0) | blank_line_ends(text)).tolist():
        now = max(depth + int(change[place]), 0) if change[place] else 0
        change[place], depth = now - depth, now
    return np.cumsum(change) > 0


def inside_markup_tag(text: str) -> YesNo:
    """Inside a markup tag < >: HTML and XML tags, declarations and comments without < or > in them."""
    return spans(len(text), (match.span(1) for match in _TAG.finditer(text)))
