"""Tell text from other files by its first bytes, and check the names of encodings.

Knows nothing about where bytes come from.
"""

import codecs

from unrolled.errors import TextError, nearest

_COMMON = (
    "utf-8",
    "utf-16",
    "utf-32",
    "latin-1",
    "cp1252",
    "cp1251",
    "koi8-r",
    "shift_jis",
    "euc-jp",
    "gb18030",
    "big5",
)
# escapes in source code and names on the wire, whose decoders cannot stream or ignore errors
_NOT_FOR_FILES = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "charmap", "undefined"}
_MAGIC = {
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ\x00": "xz data",
    b"\x28\xb5\x2f\xfd": "zstandard data",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"%PDF-": "a PDF document",
    **{b"BZh%d1AY&SY" % level: "bzip2 data" for level in range(1, 10)},
}
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16-LE, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def checked_encoding(name: str) -> str:
    """Return the standard name of a text encoding.

    Raises:
        TextError: Python knows no such text encoding (names the nearest).
    """
    try:
        found = codecs.lookup(name).name
        "".encode(name)  # refuses codecs that are not for text, such as rot13
        codecs.getincrementaldecoder(name)
        if found.replace("_", "-") in _NOT_FOR_FILES:
            raise LookupError
    except (LookupError, ValueError):
        raise TextError(expected="a text encoding", received=repr(name), remedy=nearest(name, _COMMON)) from None
    return found


def byte_order_mark(head: bytes, encoding: str) -> tuple[bytes, str]:
    """Return the byte order mark that `head` starts with and the encoding to read it with.

    The mark wins over `encoding` where that is UTF-8, -16 or -32; in others the same bytes are letters.
    """
    if not encoding.startswith("utf"):
        return b"", encoding
    return next(((mark, name) for mark, name in _BOMS if head.startswith(mark)), (b"", encoding))


def archive_kind(head: bytes) -> str | None:
    """Say what a file is that starts with the marks of something other than text, None for text."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def unmarked_utf16(head: bytes) -> str | None:
    """Return the encoding of what looks like UTF-16 without a byte order mark: zeros at every other byte."""
    even, odd = head[::2], head[1::2]
    if len(odd) < 4:  # too little to tell
        return None
    excess = odd.count(0) / len(odd) - even.count(0) / len(even)
    return None if abs(excess) <= 0.5 else "utf-16-le" if excess > 0 else "utf-16-be"


def looks_like_text(head: bytes, encoding: str, *, whole: bool) -> bool:
    """Whether the first bytes of a file (or the `whole` of it) can be read as text in `encoding`."""
    mark, encoding = byte_order_mark(head, encoding)
    if len(head) == len(mark) or archive_kind(head):
        return False
    if b"\0" in head and not encoding.startswith(("utf-16", "utf-32")):
        return False
    try:
        codecs.getincrementaldecoder(encoding)().decode(head, final=whole)
    except UnicodeError:
        return False
    return True
