"""Make any text safe to show on a terminal or a page.

Knows nothing about terminals, pages or HTML: a page must still escape `<` and `&`.
"""

import unicodedata
from functools import lru_cache

MARKS = 4
"""Combining marks that one base character may carry; living scripts need three."""

_SHOWN = {"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"}
_SHOWN |= {"Sm", "Sc", "Sk", "So", "Zs"}
_MARKS = {"Mn", "Mc", "Me"}
# default-ignorable code points whose category alone would let them pass, unseen
_INVISIBLE = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xE0100, 0xE01F0)}


def visible(text: str, *, after: str = "") -> str:
    """Return `text` with everything shown that a reader could not see or a terminal would obey.

    Letters, numbers, punctuation, symbols, spaces, newline and tab stay. C0 controls become control pictures (␛),
    everything else a visible escape (⟨U+202E⟩). A combining mark without a base gets a dotted circle, and beyond
    `MARKS` on one base it becomes an escape. When streaming, give the end of the text that came before as `after`.
    """
    marks = _trailing_marks(after)
    shown = []
    for character in text:
        form, role = _form(character)
        if role != "mark":
            marks = 0 if role == "base" else None
        elif marks is None:
            form, marks = "\u25cc" + form, 1
        elif marks < MARKS:
            marks += 1
        else:
            form = _escape(character)
        shown.append(form)
    return "".join(shown)


def _trailing_marks(after: str) -> int | None:
    """Return how many marks the last base of `after` carries already, None when it ends in no base."""
    marks = 0
    for character in reversed(after[-MARKS - 1 :]):
        role = _form(character)[1]
        if role != "mark":
            return marks if role == "base" or marks else None
        marks += 1
    return min(marks, MARKS) if after else None


@lru_cache(maxsize=1 << 16)
def _form(character: str) -> tuple[str, str]:
    """Return how a character is shown, and whether it is a base, a mark or neither."""
    if character in "\n\t":
        return character, "other"
    category, code = unicodedata.category(character), ord(character)
    if code not in _INVISIBLE:
        if category in _SHOWN:
            return character, "base"
        if category in _MARKS:
            return character, "mark"
    if code < 0x20:
        return chr(0x2400 + code), "other"
    return ("\u2421" if code == 0x7F else _escape(character)), "other"


def _escape(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"
