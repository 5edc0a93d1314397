"""Milestones beside the loss: words, quotes, brackets, lines, Python and copies, measured on what a model wrote.

Knows nothing about models: texts in, numbers out. Nothing of a text is ever executed.
"""

import ast
import re
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unrolled.text.verbatim import longest_copy
from unrolled.text.vocabulary import Vocabulary, code_points

Milestones = dict[str, float | int | None]
"""Numbers by name, None where the texts hold nothing to measure:

    words            share of the words that occur in the training text (a word is a run of at least three letters,
                     case kept: nearly all shorter ones occur)
    quotes           share of the finished paragraphs with double quotes in which all are closed (triple ones aside)
    brackets         share of the brackets ( ) [ ] { } that have their partner
    line_lengths     characters by which line lengths differ from the training text's (Wasserstein distance; lines
                     longer than LONGEST_LINE count as that long)
    python           share of the finished blocks that are Python; None where the training text is not
    copied           characters of the longest passage that also stands in the training text, letter for letter
                     (of a text longer than COPY_CHARACTERS, in the pieces that are read first)
"""

REFERENCE_CHARACTERS = 8_000_000
"""Of a longer training text, words and lines are taken from pieces of so many characters in all."""
COPY_CHARACTERS = 16_000_000
"""In a longer training text copies are looked for in pieces of so many characters in all, or every look would read
gigabytes: 0.14 s a look, and what three minutes of training read."""
PIECES = 64
"""As many as a recipe has lanes: what begins where a lane does is read first."""
LONGEST_LINE = 200
PARAGRAPHS_PER_CHARACTER = 1 / 1000
"""With fewer blank lines, every line of a text is a paragraph of its own."""
PASSAGES, PASSAGE = 32, 500
"""The training text itself is measured on so many passages of so many symbols."""
PYTHON_SHARE = 0.4
"""A text is Python when so much of its blocks is."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_NEWLINE = re.compile("\n")
_TRIPLE = re.compile("\"\"\"|'''")
_PARTNER = {")": "(", "]": "[", "}": "{"}
_BRACKET = re.compile(r"[()\[\]{}]")
_QUOTE = re.compile('["“”]')


@dataclass(frozen=True, eq=False)
class Reference:
    """What samples are compared with: the training text, read once. `of_text` are its own passages, measured alike."""

    ids: np.ndarray
    vocabulary: Vocabulary
    words: frozenset[str]
    lines_L: np.ndarray
    paragraphs: re.Pattern[str]
    python: bool
    of_text: Milestones

    @classmethod
    def of(cls, ids: np.ndarray, vocabulary: Vocabulary) -> "Reference":
        """Read the training part, at most `REFERENCE_CHARACTERS` of it in `PIECES` pieces spread evenly over it.

        Longest copies are looked for at every measurement, in at most `COPY_CHARACTERS`.
        """
        words: set[str] = set()
        lines_L, blanks, symbols = np.zeros(LONGEST_LINE + 1), 0, 0
        for piece in _pieces(ids):
            text = _text(piece, vocabulary)
            found = _WORD.findall(text)
            # The edges of a piece cut words.
            words.update(found if len(piece) == len(ids) else found[1:-1])
            lines_L += _line_lengths([text])
            blanks += len(_BLANK_LINES.findall(text))
            symbols += len(text)
        separated = blanks >= symbols * PARAGRAPHS_PER_CHARACTER
        paragraphs = _BLANK_LINES if separated else _NEWLINE
        found = cls(ids, vocabulary, frozenset(words), lines_L, paragraphs, python=True, of_text={})
        own = found.measured(_passages(ids, vocabulary))
        python = (own["python"] or 0.0) >= PYTHON_SHARE
        return replace(found, python=python, of_text=own if python else {**own, "python": None})

    def measured(self, texts: Sequence[str]) -> Milestones:
        """Measure texts, all but the copies."""
        return {
            "words": _rounded(_share_of_words(texts, self.words)),
            "quotes": _rounded(_share_of_closed_quotes(texts, self.paragraphs)),
            "brackets": _rounded(_share_of_closed_brackets(texts)),
            "line_lengths": _rounded(_distance(_line_lengths(texts), self.lines_L)),
            "python": _rounded(_share_of_python(texts)) if self.python else None,
        }


def measure_structure(texts: Sequence[str], reference: Reference) -> Milestones:
    """Measure what a model wrote, each text from the beginning of a line on and cut off anywhere.

    The last word, line, paragraph and block of a text are not judged, because they are not finished.
    """
    encoded = [reference.vocabulary.encode(text) for text in texts]
    copies = [longest_copy(encoded, piece) for piece in _read_first(reference.ids)]
    return {**reference.measured(texts), "copied": max(len(reference.vocabulary.decode(copy)) for copy in copies)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _pieces(ids: np.ndarray) -> list[np.ndarray]:
    if len(ids) <= REFERENCE_CHARACTERS:
        return [ids]
    starts = np.linspace(0, len(ids) - REFERENCE_CHARACTERS // PIECES, PIECES).astype(int).tolist()
    return [ids[start : start + REFERENCE_CHARACTERS // PIECES] for start in starts]


def _read_first(ids: np.ndarray) -> list[np.ndarray]:
    if len(ids) <= COPY_CHARACTERS:
        return [ids]
    starts = [piece * (len(ids) // PIECES) for piece in range(PIECES)]
    return [ids[start : start + COPY_CHARACTERS // PIECES] for start in starts]


def _text(ids: np.ndarray, vocabulary: Vocabulary) -> str:
    """Return what `vocabulary.decode` does, a hundred times faster where symbols are characters."""
    if vocabulary.kind == "bytes":
        table = np.array([ord(symbol) & 0xFF for symbol in vocabulary.symbols], dtype=np.uint8)
        return table[ids].tobytes().decode("utf-8", "replace")
    return code_points("".join(vocabulary.symbols))[ids].tobytes().decode("utf-32-le", "surrogatepass")


def _passages(ids: np.ndarray, vocabulary: Vocabulary) -> list[str]:
    """Return passages spread evenly over the text, each from the beginning of a line on, as samples are."""
    starts = np.linspace(0, max(0, len(ids) - 2 * PASSAGE), PASSAGES).astype(int).tolist()
    newline = vocabulary.encode("\n")[0]
    found = []
    for start in dict.fromkeys(starts):
        ahead = ids[start : start + PASSAGE]
        lines = np.flatnonzero(ahead == newline) if newline and start else []
        begin = start + int(lines[0]) + 1 if len(lines) else start
        found.append(_text(np.asarray(ids[begin : begin + PASSAGE]), vocabulary))
    return found


def _share_of_words(texts: Sequence[str], known: frozenset[str]) -> float | None:
    words = [match[0] for text in texts for match in _WORD.finditer(text) if match.end() < len(text)]
    return sum(word in known for word in words) / len(words) if words else None


def _share_of_closed_quotes(texts: Sequence[str], between: re.Pattern[str]) -> float | None:
    paragraphs = [paragraph for text in texts for paragraph in between.split(text)[:-1]]
    # Three together are Python's, and span paragraphs.
    marks = ["".join(_QUOTE.findall(_TRIPLE.sub("", paragraph))) for paragraph in paragraphs]
    quoted = [_closes(found) for found in marks if found]
    return sum(quoted) / len(quoted) if quoted else None


def _closes(marks: str) -> bool:
    """Say whether straight quotes come in pairs, and curly ones in turns."""
    curly = marks.replace('"', "")
    return (len(marks) - len(curly)) % 2 == 0 and curly == "“”" * (len(curly) // 2)


def _share_of_closed_brackets(texts: Sequence[str]) -> float | None:
    """A closing bracket belongs to the last open one of its kind; those left open in between have no partner."""
    brackets = paired = 0
    for text in texts:
        opened: list[str] = []
        for mark in _BRACKET.findall(text):
            brackets += 1
            partner = _PARTNER.get(mark)
            if partner is None:
                opened.append(mark)
            elif partner in opened:
                while opened.pop() != partner:
                    pass
                paired += 2
    return paired / brackets if brackets else None


def _line_lengths(texts: Sequence[str]) -> np.ndarray:
    """Count lines by their length, (LONGEST_LINE + 1,); an unfinished one counts only if it is too long already."""
    lengths = []
    for text in texts:
        *finished, last = [min(len(line), LONGEST_LINE) for line in text.split("\n")]
        lengths += finished + [last] * (last == LONGEST_LINE)
    return np.bincount(np.array(lengths, dtype=np.int64), minlength=LONGEST_LINE + 1).astype(np.float64)


def _distance(one_L: np.ndarray, other_L: np.ndarray) -> float | None:
    """Return the Wasserstein distance between two distributions of whole numbers, given as counts."""
    if not (one_L.sum() and other_L.sum()):
        return None
    return float(np.abs(np.cumsum(one_L) / one_L.sum() - np.cumsum(other_L) / other_L.sum()).sum())


def _share_of_python(texts: Sequence[str]) -> float | None:
    blocks = [block for text in texts for block in _BLANK_LINES.split(text)[:-1] if block.strip()]
    return sum(map(is_python, blocks)) / len(blocks) if blocks else None


def is_python(block: str) -> bool:
    """Say whether `ast.parse` accepts lines between two blank ones, moved to the left margin.

    Comments alone, and expressions such as `yes` or `either, or`, which are also prose, do not count.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            body = ast.parse(textwrap.dedent(block.strip("\n"))).body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
    return any(not isinstance(one, ast.Expr) or isinstance(one.value, ast.Call) for one in body)
