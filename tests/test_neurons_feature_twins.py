"""Each vectorised feature against a twin that reads the text one character after another, on random texts.

The features of Python are held against Python's own tokenizer, on the standard library.
"""

import argparse
import ast
import bisect
import dataclasses
import difflib
import inspect
import io
import itertools
import math
import random
import string
import textwrap
import tokenize
import unicodedata
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from test_neurons_features import BY_NAME, TEXTS
from tolerances import WRONG_SHARE

NAN = math.nan


def kind(character: str) -> str:
    return unicodedata.category(character)


def is_word(character: str) -> bool:
    return kind(character)[0] in "LM" or kind(character) == "Nd" or character == "_"


def is_letter(character: str) -> bool:
    return kind(character)[0] == "L"


def base(character: str) -> str:
    return unicodedata.normalize("NFD", character)[0].lower() if is_letter(character) else ""


def each(test):
    return lambda text: [test(character) for character in text]


def following(test):
    return lambda text: [test(text[t + 1]) if t + 1 < len(text) else False for t in range(len(text))]


def counted(characters: str, reset: str = "\n"):
    def twin(text):
        count, labels = 0, []
        for character in text:
            count = 0 if character == reset else count + (character in characters)
            labels.append(count)
        return labels

    return twin


def double_quotes(text):
    labels, inside, low, run = [], False, False, 0
    for t, c in enumerate(text):
        run = run + 1 if c == '"' else 0
        if c == '"':
            digit_before = t >= run and kind(text[t - run]) == "Nd"
            inside = False if digit_before else inside if run > 2 else not inside
        elif c == "“":
            inside, low = not low, False
        elif c in "«「『„":
            inside, low = True, low if c != "„" else True
        elif c in "”»」』" or blank_ended(text, t):
            inside, low = False, False
        labels.append(inside)
    return labels


def blank_ended(text, t):
    if text[t] != "\n":
        return False
    return not text[text.rfind("\n", 0, t) + 1 : t].strip() if t else True


def blank_lines(text):
    return [blank_ended(text, t) for t in range(len(text))]


def since_quote(text):
    last, labels = NAN, []
    for t, c in enumerate(text):
        last = t if c in '"“”„«»「」『』' else last
        labels.append(t - last)
    return labels


def position(text):
    return [t - text.rfind("\n", 0, t + 1) for t in range(len(text))]


def until_newline(text):
    ends = [text.find("\n", t + 1) for t in range(len(text))]
    return [end - t if end >= 0 else NAN for t, end in enumerate(ends)]


def line_progress(text):
    labels = []
    for t, so_far in enumerate(position(text)):
        end = text.find("\n", t + 1)
        length = end - t + so_far - 1
        labels.append(NAN if end < 0 else np.float32(so_far) / np.float32(max(length, 1)))
    return labels


def nearly_full(text):
    lengths = sorted(len(line) for line in text.split("\n") if line.strip())
    if not lengths:
        return [False] * len(text)
    width = lengths[3 * len(lengths) // 4]
    return [so_far >= max(0.85 * width, 1) for so_far in position(text)]


def indentation(text):
    labels = []
    for t in range(len(text)):
        line = text[text.rfind("\n", 0, t + 1) + 1 : t + 1]
        margin = line[: len(line) - len(line.lstrip())]
        labels.append(sum(8 if c == "\t" else c == " " for c in margin))
    return labels


def line_blank_so_far(text):
    return [not text[text.rfind("\n", 0, t + 1) + 1 : t + 1].strip() for t in range(len(text))]


def previous_length(text):
    lines = [len(line) for line in text.split("\n")]
    numbers = itertools.accumulate(c == "\n" for c in text)
    return [lines[n - 1] if n else NAN for n in numbers]


def paragraphs(text):
    """Yield (first character, position, lines finished) after each character."""
    inside, position_now, lines = False, 0, 0
    for t, c in enumerate(text):
        first = False
        if blank_ended(text, t):
            inside, position_now, lines = False, 0, 0
        else:
            if not inside and not c.isspace():
                inside = first = True
            if inside:
                position_now += 1
                lines += c == "\n"
        yield first, position_now, lines


def sentences(text):
    """Yield (between sentences, position) after each character."""
    between, place, ended = False, 0, False
    for t, c in enumerate(text):
        if c.isspace():
            between = between or (ended and place > 0)
            ended = False
            if between or blank_ended(text, t):
                place = 0
            elif place:
                place += 1
            # white space after a sentence's end stays between sentences until something visible comes
        else:
            between, place = False, place + 1
            if c in "!?…" or (c == "." and not titled(text[:t])):
                ended = True
            elif not (ended and c in "\"'”’»)]"):
                ended = False
        yield between, place


TITLES = "Mr Mrs Ms Dr St Prof Capt Gen Col Lt Sgt Rev Hon Jr Sr Mt vs cf e.g i.e".split()  # noqa: SIM905


def titled(before: str) -> bool:
    """Whether what stands before a full stop is a title or an initial."""
    for title in [*TITLES, *(letter for letter in string.ascii_uppercase if letter != "I")]:
        rest = before.removesuffix(title)
        if rest != before and not (rest and (rest[-1].isalnum() or rest[-1] == "_")):
            return True
    return False


def words(text):
    """Yield (in a word, letters so far, begins with a capital, all capitals) after each character."""
    read = ""
    for t, c in enumerate(text):
        if is_word(c):
            read += c
        elif not (c in "'’" and t and is_letter(text[t - 1])):
            read = ""
        letters = [x for x in read if is_letter(x)]
        shouted = len(letters) > 1 and all(kind(x) in ("Lu", "Lt") for x in letters)
        yield bool(read), len(read), bool(read) and kind(read[0]) in ("Lu", "Lt"), shouted


def word_progress(text):
    found = list(words(text))
    labels = []
    for t, (inside, so_far, _, _) in enumerate(found):
        whole = so_far
        for u in range(t + 1, len(text)):
            if not found[u][0] or found[u][1] < whole:
                break
            whole = found[u][1]
        labels.append(np.float32(so_far) / np.float32(whole) if inside else NAN)
    return labels


def last_letter(text):
    labels = []
    for t, c in enumerate(text):
        rest = text[t + 1 : t + 3]
        joined = is_letter(c) and rest[:1] in ("'", "’") and is_word(rest[1:] or " ")
        labels.append(is_word(c) and not is_word(rest[:1] or " ") and not joined)
    return labels


def inside_number(text):
    labels, inside, running = [], False, False
    for t, c in enumerate(text):
        neighbours = text[t - 1 : t] + text[t + 1 : t + 2]
        point = c in ".," and 0 < t < len(text) - 1 and all(kind(x) == "Nd" for x in neighbours)
        if is_word(c) or point:
            inside = inside if running else kind(c) == "Nd"
            running = True
        else:
            inside = running = False
        labels.append(inside)
    return labels


def depth(opening, closing):
    def twin(text):
        starts = [first for first, _, _ in paragraphs(text)]
        indents, opened, labels = indentation(text), [], []
        for t, c in enumerate(text):
            if starts[t] and c != closing:
                while opened and opened[-1] >= indents[t]:
                    opened.pop()
            if c == opening:
                opened.append(indents[t])
            elif c == closing and opened:
                opened.pop()
            labels.append(len(opened))
        return labels

    return twin


def links(text):
    labels, level, t = [], 0, 0
    while t < len(text):
        if text[t : t + 2] in ("[[", "]]"):
            labels.append(level > 0)
            level = max(level + (1 if text[t] == "[" else -1), 0)
            t += 1
        elif blank_ended(text, t):
            level = 0
        labels.append(level > 0)
        t += 1
    return labels


def tags(text):
    labels = [False] * len(text)
    for t, c in enumerate(text):
        end = min((found for mark in "<>" if (found := text.find(mark, t + 1)) >= 0), default=-1)
        opens = c == "<" and (text[t + 1 : t + 2] in tuple(string.ascii_letters + "/!?"))
        if opens and end >= 0 and text[end] == ">":
            labels[t + 1 : end] = [True] * (end - t - 1)
    return labels


def whitespace_run(text):
    return [t + 1 - len(text[: t + 1].rstrip()) for t in range(len(text))]


PARENTHESES, SQUARES, BRACES = depth("(", ")"), depth("[", "]"), depth("{", "}")
TWINS = {
    "inside-double-quotes": double_quotes,
    "characters-since-quote": since_quote,
    "position-in-line": position,
    "characters-until-newline": until_newline,
    "line-progress": line_progress,
    "line-nearly-full": nearly_full,
    "indentation": indentation,
    "line-blank-so-far": line_blank_so_far,
    "blank-line": blank_lines,
    "odd-line": lambda text: [text[: t + 1].count("\n") % 2 == 0 for t in range(len(text))],
    "previous-line-length": previous_length,
    "tabs-in-line": counted("\t"),
    "commas-in-line": counted(","),
    "paragraph-start": lambda text: [first for first, _, _ in paragraphs(text)],
    "position-in-paragraph": lambda text: [place for _, place, _ in paragraphs(text)],
    "line-number-in-paragraph": lambda text: [lines for _, _, lines in paragraphs(text)],
    "after-full-stop": lambda text: [between for between, _ in sentences(text)],
    "position-in-sentence": lambda text: [place for _, place in sentences(text)],
    "position-in-word": lambda text: [count for _, count, _, _ in words(text)],
    "word-progress": word_progress,
    "first-letter-of-word": lambda text: [
        count == 1 and is_word(c) for c, (_, count, _, _) in zip(text, words(text), strict=True)
    ],
    "last-letter-of-word": last_letter,
    "capitalised-word": lambda text: [capital for _, _, capital, _ in words(text)],
    "all-caps-word": lambda text: [shouted for _, _, _, shouted in words(text)],
    "inside-number": inside_number,
    "inside-parentheses": lambda text: [level > 0 for level in PARENTHESES(text)],
    "inside-square-brackets": lambda text: [level > 0 for level in SQUARES(text)],
    "inside-curly-braces": lambda text: [level > 0 for level in BRACES(text)],
    "parenthesis-depth": PARENTHESES,
    "square-bracket-depth": SQUARES,
    "curly-brace-depth": BRACES,
    "bracket-depth": lambda text: [sum(x) for x in zip(PARENTHESES(text), SQUARES(text), BRACES(text), strict=True)],
    "inside-double-square-brackets": links,
    "inside-markup-tag": tags,
    "vowel": each(lambda c: base(c) in tuple("aeiou")),
    "consonant": each(lambda c: base(c) in tuple("bcdfghjklmnpqrstvwxyz")),
    "digit": each(lambda c: kind(c) == "Nd"),
    "punctuation": each(lambda c: kind(c)[0] in "PS"),
    "capital-letter": each(lambda c: kind(c) in ("Lu", "Lt")),
    "repeated-character": lambda text: [t > 0 and text[t - 1] == c for t, c in enumerate(text)],
    "whitespace-run": whitespace_run,
    "next-is-newline": following(lambda c: c == "\n"),
    "next-is-space": following(lambda c: c == " "),
    "next-is-quote": following(lambda c: c in '"“”„«»「」『』'),
    "next-is-capital": following(lambda c: kind(c) in ("Lu", "Lt")),
}


@pytest.mark.parametrize("name", TWINS)
@settings(max_examples=50, deadline=None)
@given(text=TEXTS)
def test_feature_equals_its_naive_twin(name, text):
    np.testing.assert_array_equal(BY_NAME[name].labels(text), np.array(TWINS[name](text), dtype=np.float32))


PYTHON = ["inside-string-literal", "inside-hash-comment", "inside-if-line", "inside-def-line", "inside-class-line"]

F_BEGIN, F_END = getattr(tokenize, "FSTRING_START", None), getattr(tokenize, "FSTRING_END", None)
"""From Python 3.12 on an f-string is several tokens."""
PROSE = '''# Of titles

"Come here," he said, "or don't; it's all one (to me)." If you had this:
a word, then another. def is a word; class is one. 'Why?' he asked.

if (a) { print "x"; } // # no
All:
What "he" said # 2

anna
'mary'

"Alone."

"""Alone again,""" she said.

'''


@lru_cache
def tokenized(text):
    """Return what `tokenize` says of a whole file, as labels by name."""
    starts = list(itertools.accumulate((len(line) + 1 for line in text.split("\n")), initial=0))
    labels = {name: np.zeros(len(text), dtype=bool) for name in PYTHON}
    fresh, header, opened = True, None, []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        begin, end = (starts[line - 1] + column for line, column in (token.start, token.end))
        if token.type == F_BEGIN:
            opened.append((begin, token.string))
        elif token.type == F_END:
            begin, prefix = opened.pop()
            labels["inside-string-literal"][begin + len(prefix) - 1 : end - 1] = True
        elif token.type == tokenize.STRING:
            quotes = token.string.lstrip("rRbBuUfF")
            begin += len(token.string) - len(quotes) + (3 if quotes.startswith(('"""', "'''")) else 1) - 1
            labels["inside-string-literal"][begin : end - 1] = True
        elif token.type == tokenize.COMMENT:
            labels["inside-hash-comment"][begin:end] = True
        if token.type == tokenize.NEWLINE:
            if header:
                labels[f"inside-{header[0]}-line"][header[1] : begin] = True
            fresh, header = True, None
        elif token.type == tokenize.NAME and fresh and token.string != "async":
            word = token.string.replace("elif", "if")
            header = (word, end) if word in ("if", "def", "class") else None
            fresh = False
        elif token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT):
            fresh = fresh and token.string == "async"
    return labels


MODULES = (argparse, ast, bisect, dataclasses, difflib, inspect, random, textwrap, tokenize)
SOURCES = [Path(module.__file__).read_text(encoding="utf-8") for module in MODULES]
FILES = pytest.mark.parametrize("text", SOURCES, ids=[module.__name__ for module in MODULES])


@FILES
@pytest.mark.parametrize("name", PYTHON)
def test_python_is_read_as_its_own_tokenizer_reads_it(name, text):
    np.testing.assert_array_equal(BY_NAME[name].labels(text), tokenized(text)[name])


@FILES
def test_docstrings_are_where_the_parser_finds_them(text):
    """Every one is found; beyond them only strings that stand alone on their line, as docstrings do."""
    labels = BY_NAME["inside-docstring"].labels(text)
    lines = text.encode().split(b"\n")
    starts = list(itertools.accumulate((len(line.decode()) + 1 for line in lines), initial=0))
    wanted = np.zeros(len(text), dtype=bool)
    for node in ast.walk(ast.parse(text)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node):
            string = node.body[0]
            begin = starts[string.lineno - 1] + len(lines[string.lineno - 1][: string.col_offset].decode())
            last = lines[string.end_lineno - 1][: string.end_col_offset]
            end = starts[string.end_lineno - 1] + len(last.decode())
            quotes = text[begin:end].lstrip("rR")
            begin += end - begin - len(quotes)
            wanted[begin + (2 if quotes.startswith(('"""', "'''")) else 0) : end - 1] = True
    assert wanted.any()
    np.testing.assert_array_equal(labels, wanted)


@pytest.mark.parametrize("name", PYTHON)
def test_pieces_of_python_files_are_nearly_read_as_the_whole_files_are(name):
    """Files cut anywhere and joined: strings open and close at random, and reading finds its way again."""
    choose = random.Random(1)
    wrong = total = 0
    pieces, wanted = [], []
    for text in SOURCES:
        begin, end = sorted(choose.sample(range(len(text)), 2))
        pieces.append(text[begin:end])
        wanted.append(tokenized(text)[name][begin:end])
    labels = BY_NAME[name].labels("".join(pieces))
    wanted = np.concatenate(wanted)
    wrong, total = np.count_nonzero(labels != wanted), np.count_nonzero(wanted)
    assert wrong < WRONG_SHARE * total, f"{wrong} of {total}"


@pytest.mark.parametrize("name", [*PYTHON, "inside-docstring"])
def test_what_is_not_python_has_no_python_in_it(name):
    assert not BY_NAME[name].labels(PROSE).any()


def test_python_is_found_between_prose():
    code = "def f(a):\n    return a + 'b'  # c\n"
    for name in PYTHON[:2]:
        labels = BY_NAME[name].labels(PROSE + code + "\n" + PROSE.removeprefix("# Of titles\n\n"))
        assert np.count_nonzero(labels) == (2 if name == "inside-string-literal" else 3)
