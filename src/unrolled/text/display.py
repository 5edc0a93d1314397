"""Make any text safe to show on a terminal or a page.

Knows nothing about terminals, pages or HTML: a page must still escape `<` and `&`.
"""

import unicodedata

MARKS = 4
"""Combining marks that one base character may carry; living scripts need three."""

_BASES = ("Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po")
_BASES += ("Sm", "Sc", "Sk", "So", "Zs")
_ROLES = dict.fromkeys(_BASES, "base") | dict.fromkeys(("Mn", "Mc", "Me"), "mark")
# default-ignorable code points whose category alone would let them pass, unseen
_INVISIBLE = frozenset(
    map(chr, [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xE0100, 0xE01F0)])
)
_PICTURES = {chr(code): chr(0x2400 + code) for code in range(0x20)} | {"\x7f": "\u2421"}


def visible(text: str, *, after: str = "") -> str:
    """Return `text` with everything shown that a reader could not see or a terminal would obey.

    Letters, numbers, punctuation, symbols, spaces, newline and tab stay. C0 controls become control pictures (␛),
    everything else a visible escape (⟨U+202E⟩). A combining mark without a base gets a dotted circle, and beyond
    `MARKS` on one base it becomes an escape. When streaming, give the end of the text that came before as `after`.
    """
    marks = _trailing_marks(after)
    shown = []
    for character in text:
        role = _ROLES.get(unicodedata.category(character)) if character not in _INVISIBLE else None
        form = ""
        if role == "base":
            form, marks = character, 0
        elif role != "mark":
            form, marks = character if character in "\n\t" else "", None
        elif marks is None:
            form, marks = "\u25cc" + character, 1
        elif marks < MARKS:
            form, marks = character, marks + 1
        shown.append(form or _PICTURES.get(character) or f"⟨U+{ord(character):04X}⟩")
    return "".join(shown)


def visible_line(text: str) -> str:
    """Return what `visible` does, newline and tab as control pictures, for names inside a sentence."""
    return visible(text).replace("\n", "\u240a").replace("\t", "\u2409")


def _trailing_marks(after: str) -> int | None:
    """Return how many marks the last base of `after` carries already, None when there is no such base."""
    marks = 0
    for character in reversed(after[-MARKS:]):
        role = _ROLES.get(unicodedata.category(character)) if character not in _INVISIBLE else None
        if role != "mark":
            return marks if role == "base" or marks else None
        marks += 1
    return marks or None
