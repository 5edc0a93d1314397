"""The words of a machine file: how a line is cut, and how symbols are spelled.

Knows nothing about what the words mean.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

SPELLED = {"space": " ", "hash": "#", "quote": '"'}
"""Symbols that cannot stand for themselves in a file, by the word that is written instead."""

ARROW = "->"
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\S)|(#.*)|([^\s"]\S*)|(".*)')


class Word(NamedTuple):
    """A word of a line; `quoted` when it stood in double quotes, which are taken off."""

    text: str
    quoted: bool = False

    def __str__(self) -> str:
        return quoted(self.text) if self.quoted else self.text


class WordError(ValueError):
    """A line that cannot be cut into words; `words` are what they may be."""

    def __init__(self, message: str, words: list[Word]) -> None:
        super().__init__(message)
        self.words = words


def cut(line: str) -> list[Word]:
    """Return the words of a line without its comment, which is everything from a word that begins with #.

    Raises WordError for a double quote that is never closed.
    """
    words = []
    for match in _WORD.finditer(line):
        inside, comment, plain, stray = match.groups()
        if comment is not None:
            break
        if stray is not None:
            words += map(Word, stray.replace('"', " ").split())
            raise WordError('a double quote that is not closed (the symbol " is written quote)', words)
        words.append(Word(plain) if inside is None else Word(re.sub(r"\\(.)", r"\1", inside), quoted=True))
    return words


def symbols_of(word: Word) -> str | None:
    """Return the symbols that a word stands for: one, or those inside quotes; None when it is no symbol."""
    if word.quoted:
        return word.text
    spelled = SPELLED.get(word.text, word.text)
    return spelled if len(spelled) == 1 else None


def symbol_of(word: Word) -> str | None:
    """Return the one symbol that a word stands for, or None."""
    found = symbols_of(word)
    return found if found and len(found) == 1 else None


def spell(symbol: str) -> str:
    """Return the word for a symbol."""
    return next((word for word, stands_for in SPELLED.items() if stands_for == symbol), symbol)


def said(symbols: Iterable[str]) -> str:
    """Return symbols as a person reads them."""
    listed = [repr(symbol) if symbol == " " or not symbol.isprintable() else symbol for symbol in symbols]
    return " ".join(listed) or "no symbol"


def spell_text(text: str, reserved: tuple[str, ...] = ()) -> str:
    """Return the word for a text of symbols, in quotes where it needs them."""
    plain = text and not re.search(r'[\s"]|^#', text) and text not in (ARROW, *reserved)
    return text if plain else quoted(text)


def quoted(text: str) -> str:
    """Return a text in double quotes."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
