"""Features of Python: strings, docstrings, comments, and the lines that begin with if, def or class.

The text may begin in the middle of a file, join many files, or not be Python at all. So it is cut into logical lines
by `python_lexer`, and Python's own parser says of each whether it is Python. A paragraph of such lines is Python where
three quarters of them parse and one does something (assigns, calls, defines, ...); one of comments, docstrings or bare
names is where a neighbour is. Only lines that parse, in paragraphs that are Python, have labels.
A label is on from the last character of the opening mark (the quotes, the # or the character after the keyword) and
off at the last one of the closing mark. Knows nothing about other languages.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from unrolled.neurons.features_arrays import YesNo, spans
from unrolled.neurons.python_lexer import LogicalLine, Span, logical_lines

_PARSED_SHARE = 0.75
_KEYWORD = re.compile(r"(?:async[ \t]+)?(\w+)")
_HEADERS = {"if": "if", "elif": "if", "def": "def", "class": "class"}


@dataclass(frozen=True)
class _Reading:
    """What the features ask about a text: spans (start, end without it) by subject."""

    strings: list[Span] = field(default_factory=list)
    docstrings: list[Span] = field(default_factory=list)
    comments: list[Span] = field(default_factory=list)
    headers: dict[str, list[Span]] = field(default_factory=lambda: {"if": [], "def": [], "class": []})
    lines: list[Span] = field(default_factory=list)


def inside_string_literal(text: str) -> YesNo:
    """Inside a string literal of Python, docstrings included."""
    return spans(len(text), _read(text).strings)


def inside_docstring(text: str) -> YesNo:
    """Inside a docstring of Python: a string alone on its line, in triple quotes or right below a def or class."""
    return spans(len(text), _read(text).docstrings)


def inside_hash_comment(text: str) -> YesNo:
    """Inside a # comment of Python, up to the end of the line."""
    return spans(len(text), _read(text).comments)


def inside_if_line(text: str) -> YesNo:
    """In a line of Python that begins with if or elif, after the keyword, up to the end of the line."""
    return spans(len(text), _read(text).headers["if"])


def inside_def_line(text: str) -> YesNo:
    """In a line of Python that begins with def, after the keyword, up to the end of the line."""
    return spans(len(text), _read(text).headers["def"])


def inside_class_line(text: str) -> YesNo:
    """In a line of Python that begins with class, after the keyword, up to the end of the line."""
    return spans(len(text), _read(text).headers["class"])


def python_lines(text: str) -> YesNo:
    """Tell which characters stand in logical lines of Python."""
    return spans(len(text), _read(text).lines)


@lru_cache(maxsize=1)
def _read(text: str) -> _Reading:
    paragraphs: list[list[LogicalLine]] = []
    for line in logical_lines(text):
        if line.opens_paragraph or not paragraphs:
            paragraphs.append([])
        paragraphs[-1].append(line)
    reading = _Reading()
    for lines, python in zip(paragraphs, _which_are_python(paragraphs), strict=True):
        if python:
            _tell(text, lines, reading)
    return reading


def _which_are_python(paragraphs: list[list[LogicalLine]]) -> list[bool]:
    """Judge each paragraph by its lines, and a paragraph without evidence by its neighbours that have some."""
    verdicts = [_verdict(lines) for lines in paragraphs]
    near_before, near_after = _nearest(verdicts), _nearest(verdicts[::-1])[::-1]
    around = zip(verdicts, near_before, near_after, strict=True)
    return [(left or right) if own is None else own for own, left, right in around]


def _nearest(verdicts: list[bool | None]) -> list[bool]:
    found, last = [], False
    for verdict in verdicts:
        last = last if verdict is None else verdict
        found.append(last)
    return found


def _verdict(lines: list[LogicalLine]) -> bool | None:
    verdicts = [line.acts for line in lines if line.code]
    if len(verdicts) - verdicts.count(None) < _PARSED_SHARE * len(verdicts):
        return False
    return True if any(verdicts) else None


def _tell(text: str, lines: list[LogicalLine], reading: _Reading) -> None:
    below_header = False
    for line in lines:
        reading.comments.extend(line.comments)
        if line.acts is None:
            continue
        reading.lines.append((line.start, line.end))
        inside = [(start + size - 1, end - 1) for start, end, size in line.strings]
        reading.strings.extend(inside)
        if line.code == '""' and (line.strings[0][2] == 3 or below_header):
            reading.docstrings.extend(inside)
        word = _KEYWORD.match(text, line.start)
        kind = _HEADERS.get(word[1]) if word else None
        if word and kind:
            reading.headers[kind].append((word.end(), line.end))
        below_header = kind in ("def", "class")
