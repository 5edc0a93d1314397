"""The texts that every Python brings along: its manual and the source of its standard library.

Knows nothing about vocabularies or caches.
"""

import hashlib
import importlib
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import TextError
from unrolled.text.sources import BUILTIN_NAMES

LONG_BLOCK = 80
"""Characters from which a repeated block of source counts as a copy rather than as idiom."""

_BLOCK_END = re.compile(r"(\n(?:[ \t]*\n)+)")
_DESCRIPTIONS = {
    "manual": "English: the reference manual of this Python, split by topic",
    "python": "Python: the source of this Python's standard library without tests, split by file",
}
# pydoc_data is the manual; a bundled pip or an installed package is not the standard library
_SKIPPED_FOLDERS = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "ensurepip", "pydoc_data"}

Document = tuple[str, str]


@dataclass(frozen=True)
class BuiltinText:
    """A built-in text as `unrolled corpora` lists it; `characters` is None where this Python lacks it."""

    name: str
    description: str
    characters: int | None


def describe() -> tuple[BuiltinText, ...]:
    """Return what there is. The characters are those after de-duplication."""
    return tuple(BuiltinText(name, _DESCRIPTIONS[name], _characters(name)) for name in BUILTIN_NAMES)


def documents(name: str) -> tuple[Document, ...]:
    """Return the documents (name, text) of a built-in text, de-duplicated, in the order of their names' SHA-256.

    A block is what stands between blank lines, compared with white space normalised. In `manual` every repeated
    block is dropped, in `python` those of `LONG_BLOCK` characters or more, and files that repeat another.

    Raises:
        TextError: this Python does not carry the text (an embedded one, or run from a zip file).
    """
    load, shortest = {"manual": (_manual, 0), "python": (_python, LONG_BLOCK)}[name]
    found = sorted(load(), key=lambda document: _order(document[0]))
    if not found:
        raise TextError(
            expected=f"the built-in text {name}",
            received="a Python that comes without it",
            remedy="name a file, or use a Python with its complete standard library",
        )
    return tuple(_without_repeats(found, shortest))


def assign(texts: Iterable[Document], split: Sequence[float]) -> tuple[list[Document], ...]:
    """Deal whole documents to (train, valid, test) so that the characters come close to the fractions in `split`.

    In the order given, a document goes to the first of valid and test that still has room for it, else to train.
    """
    texts = tuple(texts)
    total = sum(len(text) for _, text in texts)
    room = [split[1] * total, split[2] * total]
    train, held_out = [], ([], [])
    for document in texts:
        part = next((i for i in range(2) if len(document[1]) <= room[i]), None)
        if part is None:
            train.append(document)
        else:
            held_out[part].append(document)
            room[part] -= len(document[1])
    return train, *held_out


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _characters(name: str) -> int | None:
    try:
        return sum(len(text) for _, text in documents(name))
    except TextError:
        return None


def _manual() -> Iterator[Document]:
    try:
        yield from importlib.import_module("pydoc_data.topics").topics.items()
    except (ImportError, AttributeError):
        return


def _python() -> Iterator[Document]:
    root = Path(sysconfig.get_path("stdlib"))
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
        for name in names:
            # _sysconfigdata describes the machine that built this Python
            if not name.endswith(".py") or name.startswith("_sysconfigdata"):
                continue
            path = Path(parent, name)
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeError):
                continue
            if not (path.parent.name == "encodings" and "decoding_table" in text):
                yield path.relative_to(root).as_posix(), text


def _without_repeats(texts: Iterable[Document], shortest: int) -> Iterator[Document]:
    seen: set[str] = set()
    whole: set[str] = set()
    for name, text in texts:
        if text in whole:
            continue
        whole.add(text)
        pieces = [*_BLOCK_END.split(text.strip("\n")), ""]
        kept = ""
        for block, gap in zip(pieces[::2], pieces[1::2], strict=True):
            key = " ".join(block.split())
            if key not in seen or len(block) < shortest:
                kept += block + gap
            seen.add(key)
        if kept.strip():
            # a blank line keeps the last block of one document apart from the first of the next
            yield name, kept.strip("\n") + "\n\n"
