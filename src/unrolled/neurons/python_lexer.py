"""Cut any text into what would be logical lines of Python, in linear time, and parse one such line.

`tokenize` stops at the first fragment that no Python file could contain, tells other tokens in other versions of
Python, and takes quadratic time on some texts; this lexer goes on whatever comes. Where a line of several physical
lines does not parse, its first string or bracket was taken for an opening one by mistake, and it is read again from
behind that. Knows nothing about features.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

Span = tuple[int, int]

_EVENT = re.compile(r"\"\"\"|'''|[\"'#\n\\(\[{)\]}]")
_STRING_BODY = {
    '"': re.compile(r'[^"\\\n]*+(?:\\.[^"\\\n]*+)*+', re.DOTALL),
    "'": re.compile(r"[^'\\\n]*+(?:\\.[^'\\\n]*+)*+", re.DOTALL),
    '"""': re.compile(r'[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+', re.DOTALL),
    "'''": re.compile(r"[^'\\]*+(?:(?:\\.|'(?!''))[^'\\]*+)*+", re.DOTALL),
}
_PREFIX = re.compile(r"(?<!\w)[rbuftRBUFT]{1,2}\Z")
_GAP = re.compile(r"((?:[ \t\f\r]*+\n)*+)([ \t\f]*+)")
_WORD = re.compile(r"\w*")
_REREAD = 2
"""How often a text may be read again in all, so that time stays linear whatever the text is."""
_LONGEST, _DEEPEST = 50_000, 50
"""Characters and open brackets beyond which a line is not given to the parser."""

_COMPOUND = {"if", "elif", "else", "for", "while", "with", "try", "except", "finally", "case"}
_COMPOUND |= {"def", "class", "async"}
_COMPLETED = {  # clauses that need another before or behind them
    "elif": "if 0: pass\n{}",
    "else": "if 0: pass\n{}",
    "except": "try: pass\n{}",
    "finally": "try: pass\n{}",
    "try": "{}\nfinally: pass",
    "@": "{}\ndef f(): pass",
    "case": "match 0:\n {}",
}


_NO_PYTHON = "?"


@dataclass
class LogicalLine:
    """One logical line: its place without indentation and newline, and what is in it.

    `code` is the line without comments, each string replaced by `""`; empty when nothing is left. `strings` are
    (start of the quotes, end, how many quotes), `comments` (start, end). `opens_paragraph`: a blank line came before.
    `acts`: see the function of that name.
    """

    start: int
    indent: int
    opens_paragraph: bool
    end: int = 0
    code: str = ""
    acts: bool | None = None
    strings: list[tuple[int, int, int]] = field(default_factory=list)
    comments: list[Span] = field(default_factory=list)


def logical_lines(text: str) -> Iterator[LogicalLine]:
    """Yield the logical lines of a text that are not blank, in order."""
    position, blank, budget, unclosed = 0, True, _REREAD * len(text), {}
    while True:
        gap = _GAP.match(text, position)
        assert gap  # the pattern matches nothing, too
        blank, start = blank or bool(gap[1]), gap.end()
        if start == len(text):
            return
        scan = _Scan(text, LogicalLine(start, len(gap[2]), blank), unclosed)
        scan.run(len(text))
        if scan.retry and scan.line.acts is None and scan.line.end - scan.retry <= budget:
            budget -= scan.line.end - scan.retry
            end = scan.retry
            scan = _Scan(text, LogicalLine(start, len(gap[2]), blank), unclosed)
            scan.run(end)
        yield scan.line
        ended = text.startswith("\n", scan.line.end)
        position, blank = scan.line.end + ended, False


class _Scan:
    """The reading of one logical line; `retry` is where to read on if the line turns out to be no Python."""

    def __init__(self, text: str, line: LogicalLine, unclosed: dict[str, int]) -> None:
        self.text, self.line, self.unclosed = text, line, unclosed
        self.retry = self.depth = 0
        self.broken = False
        self.pieces: list[str] = []
        self.copied = line.start

    def run(self, limit: int) -> None:
        """Read up to the newline that ends the line, or to the limit, and fill in the line."""
        position: int | None = self.line.start
        while position is not None:
            event = _EVENT.search(self.text, position, limit)
            if event is None:
                self.line.end = limit
                break
            mark, place = event[0], event.start()
            if mark == "\n":
                position = self._newline(place, limit)
            elif mark == "#":
                position = self._comment(place, limit)
            elif mark == "\\":
                position = place + (3 if self.text.startswith("\r\n", place + 1) else 2)
            elif mark in "([{)]}":
                self.depth = max(self.depth + (1 if mark in "([{" else -1), 0)
                self.broken |= self.depth > _DEEPEST
                position = place + 1
            else:
                position = self._string(mark, place, limit)
        self.pieces.append(self.text[self.copied : self.line.end])
        code = "".join(self.pieces).strip()
        self.line.code = _NO_PYTHON if self.broken or len(code) > _LONGEST else code
        self.line.acts = acts(self.line.code)

    def _newline(self, place: int, limit: int) -> int | None:
        gap = _GAP.match(self.text, place + 1, limit)
        assert gap
        follows = self.text[gap.end() : gap.end() + 1]
        forgotten = gap[1] and follows not in ("", ")", "]", "}") and len(gap[2]) <= self.line.indent
        if self.depth == 0 or forgotten:
            self.line.end = place
            return None
        self.retry = self.retry or place + 1
        return gap.end(1)

    def _comment(self, place: int, limit: int) -> int:
        end = self.text.find("\n", place, limit)
        end = limit if end < 0 else end
        self.line.comments.append((place, end))
        self.pieces.append(self.text[self.copied : place])
        self.copied = end
        return end

    def _string(self, quotes: str, place: int, limit: int) -> int:
        size = len(quotes)
        if place >= self.unclosed.get(quotes, limit):
            self.broken = True
            return place + size
        body = _STRING_BODY[quotes].match(self.text, place + size, limit)
        end = body.end() if body else limit
        if not self.text.startswith(quotes, end, limit):
            self.broken = True
            if size == 1:
                return end
            if limit == len(self.text):
                self.unclosed[quotes] = place
            return place + size
        end += size
        if size == 3 and not self.retry and "\n" in self.text[place:end]:
            self.retry = place + size
        prefix = _PREFIX.search(self.text, max(place - 3, self.line.start), place)
        self.pieces.append(self.text[self.copied : prefix.start() if prefix else place] + '""')
        self.copied = end
        self.line.strings.append((place, end, size))
        return end


@lru_cache(maxsize=4096)
def acts(code: str) -> bool | None:
    """Parse a logical line as it could stand in some Python file, and tell whether it does something.

    Returns None where it is no Python, and False for a bare expression or `name: name`, which prose and lists can
    look like; a call does something.
    """
    word = _WORD.match(code)
    first = word[0] if word else ""
    if code.endswith(":") and first in _COMPOUND:
        code += " pass"
    elif code.endswith(":") and first == "match":
        code += "\n case _: pass"
    code = _COMPLETED.get("@" if code.startswith("@") else first, "{}").replace("{}", code, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(code).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return any(_acts(statement) for statement in body)


def _acts(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    return not isinstance(statement, ast.AnnAssign) or statement.value is not None
