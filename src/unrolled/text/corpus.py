"""Make one id stream with parts, a vocabulary and a fingerprint out of any text, of any length.

Knows nothing about models, lanes or runs.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import ConfigError, TextError, UnrolledError, nearest
from unrolled.text import cache as entries
from unrolled.text.display import visible_line
from unrolled.text.feeds import IN_MEMORY, BuiltinFeed, Feed, FileFeed, StringFeed
from unrolled.text.lines import Lines
from unrolled.text.options import PART_NAMES, TextOptions, parse_split
from unrolled.text.pairs import kept_characters
from unrolled.text.reading import Fingerprint, Progress, Remarks
from unrolled.text.sources import resolve
from unrolled.text.tokens import ByteFile, ProvisionalIds
from unrolled.text.vocabulary import Vocabulary

__all__ = [
    "IN_MEMORY",
    "Corpus",
    "Fingerprint",
    "Progress",
    "TextOptions",
    "check_enough",
    "corpus_from_text",
    "parse_split",
    "read_corpus",
]

_FORMAT = 2
_EXAMPLES = 8


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as ids: the stream `ids` is the parts train, valid and test in order, without a gap.

    `utf8_bytes` counts each part's characters in UTF-8 before any became unknown, `unknown` those that did.
    `sources` are the names of what was read: files, one `builtin:NAME`, or `IN_MEMORY`; `options` are those it was read
    with. `notes` is what must be said aloud: what reading changed, skipped or did not know.
    """

    vocabulary: Vocabulary
    ids: np.ndarray
    parts: Mapping[str, np.ndarray]
    utf8_bytes: Mapping[str, int]
    unknown: Mapping[str, int]
    fingerprint: Fingerprint
    sources: tuple[str, ...]
    options: TextOptions
    notes: tuple[str, ...]

    @property
    def characters(self) -> int:
        """The number of characters (for bytes: bytes) in all parts."""
        return len(self.ids)

    def part(self, name: str) -> np.ndarray:
        """Return the ids of a part, or of "all" of them, shape `(characters,)`, never a copy.

        Raises:
            ConfigError: no such part (names the nearest).
        """
        return self.ids if name == "all" else self.parts[_checked_part(name)]

    def lines(self, part: str) -> Lines:
        """Return the lines of a part, or of "all" of them, of a text that was read as pairs or tags.

        Raises:
            ConfigError: no such part (names the nearest), or a text that knows no lines.
        """
        return Lines.of(self.part(part), self.vocabulary, self.options.regime)

    def bytes_of(self, part: str) -> int:
        """Return how many bytes a part, or "all" of them, takes in UTF-8 (read as bytes: how many it has).

        Raises:
            ConfigError: no such part (names the nearest).
        """
        return sum(self.utf8_bytes.values()) if part == "all" else self.utf8_bytes[_checked_part(part)]


def read_corpus(
    sources: str | Path | Sequence[str | Path],
    options: TextOptions | None = None,
    *,
    vocabulary: Vocabulary | None = None,
    cache: Path | None = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> Corpus:
    """Read files, folders, globs, `-` (stdin) or a built-in text; the ids are memory-mapped from a cache.

    The vocabulary is made from the training part, unless `vocabulary` is given (scoring, resuming), which then also
    decides whether bytes or characters are read. `cache` is the folder for ids (see `unrolled.text.cache`).
    `verify=False` trusts path, size, time and inode of a file that was read before instead of hashing it.

    Raises:
        TextError: a text that cannot be found or read, or no room for its ids.
    """
    options = options or TextOptions()
    if vocabulary:
        options = dataclasses.replace(options, as_bytes=vocabulary.kind == "bytes")
    given = [sources] if isinstance(sources, str | Path) else sources
    found = resolve(given, encoding=options.encoding, as_bytes=options.as_bytes)
    builtin = found.builtin
    feed: Feed = BuiltinFeed(builtin, options) if builtin else FileFeed(found.files, found.names, options)
    reading = _Reading(feed, options, vocabulary, cache or entries.cache_folder(), progress)
    corpus, notes = reading.from_cache(verify=verify), []
    if corpus is None:
        corpus, notes = reading.fresh()
        entries.trim(reading.folder)
    return dataclasses.replace(corpus, notes=(*found.notes, *corpus.notes, *notes))


def corpus_from_text(text: str, options: TextOptions | None = None, *, vocabulary: Vocabulary | None = None) -> Corpus:
    """Return the corpus of a string, in memory. Raises TextError when it is empty."""
    options = options or TextOptions()
    if vocabulary:
        options = dataclasses.replace(options, as_bytes=vocabulary.kind == "bytes")
    reading = _Reading(StringFeed(text, options), options, vocabulary, Path(), None)
    stream = io.BytesIO()
    meta = reading.tokenise(io.BytesIO(), stream)
    return reading.corpus(meta, np.frombuffer(stream.getvalue(), dtype=meta["dtype"]))


def check_enough(corpus: Corpus, needed: int, part: str = "train") -> None:
    """Check that a part has `needed` characters, and the training part something to tell apart.

    Raises:
        TextError: it has not.
    """
    have = len(corpus.part(part))
    if part == "train" and corpus.options.regime != "text":
        needed, lines = 0, len(corpus.lines(part))
        if lines < 2:
            raise TextError(
                expected="at least 2 lines in the part train",
                received=str(lines),
                remedy="give more examples or another split",
            )
    if have < needed:
        raise TextError(
            expected=f"at least {needed:,} characters in the part {part}",
            received=f"{have:,}",
            remedy="give a longer text, another split or a shorter context",
        )
    if part == "train" and corpus.vocabulary.size - 1 + bool(corpus.unknown["train"]) < 2:
        raise TextError(
            expected="at least two different characters to learn from",
            received=f"one in all of {have:,}" if corpus.vocabulary.size > 1 else "only characters that are too rare",
            remedy="give another text",
        )


@dataclass(frozen=True)
class _Reading:
    """One text on its way into ids."""

    feed: Feed
    options: TextOptions
    vocabulary: Vocabulary | None
    folder: Path
    progress: Progress | None

    def from_cache(self, *, verify: bool) -> Corpus | None:
        """Return what an earlier reading left, None when there is nothing or it is damaged."""
        known = entries.candidates(self.folder, self._prefix(self.feed.size()))
        if not known:
            return None
        status = None if verify else self.feed.status()
        for entry in known if status else ():
            corpus = self._opened(entry, status=status)
            if corpus:
                return corpus
        fingerprint = self.feed.fingerprint(self.progress)
        for entry in known:
            corpus = self._opened(entry, fingerprint=fingerprint)
            if corpus:
                return corpus
        return None

    def fresh(self) -> tuple[Corpus, list[str]]:
        """Read the text, keep its ids, and return the corpus and what must be said about the cache."""
        try:
            return self._stored(self.folder), []
        except OSError as error:
            reason = error.strerror or str(error)
            notes = [
                visible_line(f"kept the ids in the temporary folder, as the cache {self.folder} failed ({reason})")
            ]
        try:
            return self._stored(entries.temporary_folder()), notes
        except OSError as error:
            raise TextError(
                expected="room for the ids of the text",
                received=f"{error.strerror or error} in {self.folder} and in the temporary folder",
                remedy="free space or set UNROLLED_CACHE to a folder with room",
            ) from None

    def tokenise(self, scratch: ByteFile, target: ByteFile) -> dict[str, Any]:
        """Write the final ids to `target` and return all else that makes a corpus, ready for JSON."""
        kind = "bytes" if self.options.as_bytes else "characters"
        status = self.feed.status()
        provisional = ProvisionalIds(scratch)
        poured = self.feed.pour(provisional, self.progress)
        census = provisional.census(poured.bounds)
        # bytes are lossless, so a rare byte stays
        least, always = self.options.min_count, kept_characters(self.options.regime)
        vocabulary = self.vocabulary or census.vocabulary(kind, 1 if self.options.as_bytes else least, always)
        rare = census.rare(vocabulary)
        return {
            "format": _FORMAT,
            "length": provisional.length,
            "dtype": vocabulary.dtype.name,
            "crc32": provisional.write(target, vocabulary),
            "min_count": None if self.vocabulary else self.options.min_count,
            "vocabulary": vocabulary.to_json(),
            "bounds": poured.bounds,
            "utf8_bytes": census.utf8_bytes(kind),
            "unknown": census.unknown(vocabulary),
            "rare": [len(rare), "".join(rare[:_EXAMPLES])],
            "fingerprint": dataclasses.asdict(poured.fingerprint),
            "remarks": dataclasses.asdict(poured.remarks),
            "status": status,
        }

    def corpus(self, meta: Mapping[str, Any], ids: np.ndarray) -> Corpus:
        """Return the corpus that `tokenise` described."""
        slices = [ids[start:stop] for start, stop in pairwise(meta["bounds"])]
        remarks = Remarks(**meta["remarks"])
        return Corpus(
            vocabulary=Vocabulary.from_json(meta["vocabulary"]),
            ids=ids,
            parts=dict(zip(PART_NAMES, slices, strict=True)),
            utf8_bytes=dict(zip(PART_NAMES, meta["utf8_bytes"], strict=True)),
            unknown=dict(zip(PART_NAMES, meta["unknown"], strict=True)),
            fingerprint=Fingerprint(**meta["fingerprint"]),
            sources=self.feed.names,
            options=self.options,
            notes=(*remarks.lines(self.feed.names), *self._unknown_notes(meta)),
        )

    def _unknown_notes(self, meta: Mapping[str, Any]) -> list[str]:
        if self.vocabulary:
            count = sum(meta["unknown"])
            return [f"{count:,} of {meta['length']:,} characters are unknown to the model"] if count else []
        kinds, examples = meta["rare"]
        if not kinds:
            return []
        listed = " ".join(visible_line(example) for example in examples) + (" …" if kinds > len(examples) else "")
        few = f"fewer than {self.options.min_count} in the training part"
        return [f"{kinds:,} rare character{'s' * (kinds > 1)} ({few}) became the unknown symbol: {listed}"]

    def _stored(self, folder: Path) -> Corpus:
        with entries.workplace(folder) as place:
            with (place / "scratch").open("w+b") as scratch, (place / "ids").open("wb") as target:
                meta = self.tokenise(scratch, target)
            fingerprint = Fingerprint(**meta["fingerprint"])
            known = _digest(meta["vocabulary"], meta["min_count"])
            entry = folder / f"{self._prefix(fingerprint.size)}{fingerprint.sha256[:16]}-{known}"
            entries.commit(place, entry, meta)
        loaded = entries.load(entry, check=False)
        if loaded is None:
            raise OSError(f"{entry.name} vanished")
        return self.corpus(*loaded)

    def _prefix(self, size: int) -> str:
        options = self.options
        encoding = None if options.as_bytes else options.encoding
        return _digest(_FORMAT, self.feed.kind, size, options.split, encoding, options.as_bytes) + "-"

    def _opened(
        self, entry: Path, *, status: str | None = None, fingerprint: Fingerprint | None = None
    ) -> Corpus | None:
        """Return the corpus of an entry if it is whole and of this very text and vocabulary."""
        if fingerprint and f"-{fingerprint.sha256[:16]}-" not in entry.name:
            return None
        loaded = entries.load(entry, check=fingerprint is not None)
        if loaded is None:
            return None
        meta, ids = loaded
        try:
            if self.vocabulary:
                same = meta["vocabulary"] == self.vocabulary.to_json()
            else:
                same = meta["min_count"] == self.options.min_count
            if fingerprint:
                same = same and Fingerprint(**meta["fingerprint"]) == fingerprint
            if status:
                same = same and meta["status"] == status
            return self.corpus(meta, ids) if same else None
        except (KeyError, TypeError, ValueError, UnrolledError):  # written by another version
            return None


def _checked_part(name: str) -> str:
    if name not in PART_NAMES:
        raise ConfigError(
            expected="a part of the text", received=repr(name), remedy=nearest(name, (*PART_NAMES, "all"))
        )
    return name


def _digest(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
