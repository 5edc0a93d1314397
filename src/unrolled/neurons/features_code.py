"""Features of program text in any language: comments that begin with // or stand between /* and */.

A label is on from the last character of the opening mark and off at the last one of the closing mark. Knows nothing
about Python's grammar, except which lines are Python, where // divides.
"""

import re
from collections.abc import Iterator

from unrolled.neurons.features_arrays import YesNo, spans
from unrolled.neurons.features_python import python_lines

# a colon before it is an address, another / a path or a rule drawn with slashes
_SLASHES = re.compile(r"(?<![:/\w])/(/[^\n]*+)")
# a word or a star before it is a pattern of file names (src/*, */*)
_BLOCK_MARK = re.compile(r"(?<![\w.*/])/\*|\*/")


def inside_slash_comment(text: str) -> YesNo:
    """Inside a // comment, up to the end of the line; in lines of Python // divides."""
    return spans(len(text), (match.span(1) for match in _SLASHES.finditer(text))) & ~python_lines(text)


def inside_block_comment(text: str) -> YesNo:
    """Inside a /* comment */; one that is never closed, or opened again before it is, is none."""
    return spans(len(text), _blocks(text))


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    start = -1
    for match in _BLOCK_MARK.finditer(text):
        if match[0] == "/*":
            start = match.end() - 1
        elif start >= 0:
            yield start, match.end() - 1
            start = -1
