"""Corpora: the same ids by every way, exact counts, and a cache that may be damaged, read-only or absent."""

import hashlib
import os
import resource
import tracemalloc
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import ConfigError, TextError
from unrolled.text import cache, feeds
from unrolled.text.builtin import documents
from unrolled.text.corpus import IN_MEMORY, TextOptions, check_enough, corpus_from_text, parse_split, read_corpus
from unrolled.text.options import part_bounds
from unrolled.text.reading import Fingerprint
from unrolled.text.vocabulary import UNKNOWN, Vocabulary

EVERY = TextOptions(min_count=1, split=(1.0, 0.0, 0.0))
PARTS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_in_use", set())
    return tmp_path / "cache"


def put(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def same(one, other):
    assert one.vocabulary == other.vocabulary
    assert one.ids.tolist() == other.ids.tolist()
    assert {name: ids.tolist() for name, ids in one.parts.items()} == {
        n: ids.tolist() for n, ids in other.parts.items()
    }
    assert (one.utf8_bytes, one.unknown) == (other.utf8_bytes, other.unknown)


@given(st.text(max_size=200).filter(bool), st.integers(1, 3), st.sampled_from([(0.9, 0.05, 0.05), (0.5, 0.0, 0.5)]))
def test_a_corpus_is_what_a_naive_reading_gives(text, min_count, split):
    corpus = corpus_from_text(text, TextOptions(split=split, min_count=min_count))
    bounds = part_bounds(len(text), split)
    parts = [text[start:stop] for start, stop in pairwise(bounds)]
    counts = Counter(parts[0])
    kept = sorted(c for c in counts if counts[c] >= min_count and c != UNKNOWN)
    assert corpus.vocabulary.symbols == (UNKNOWN, *kept)
    ids = {symbol: i for i, symbol in enumerate((UNKNOWN, *kept))}
    for name, part in zip(PARTS, parts, strict=True):
        assert corpus.part(name).tolist() == [ids.get(c, 0) for c in part]
        assert corpus.utf8_bytes[name] == len(part.encode())
        assert corpus.unknown[name] == sum(not ids.get(c, 0) for c in part)
    assert corpus.part("all").tolist() == [i for name in PARTS for i in corpus.part(name).tolist()]


@given(st.binary(min_size=1, max_size=200))
def test_bytes_are_lossless(raw):
    text = raw.decode("latin-1")
    corpus = corpus_from_text(text, TextOptions(as_bytes=True, split=(1.0, 0.0, 0.0)))
    assert corpus.vocabulary.decode(corpus.ids) == text
    assert corpus.utf8_bytes["train"] == corpus.characters == len(text.encode())


def test_files_and_strings_agree(tmp_path):
    text = "Hello, wörld — “quoted” 😀\n" * 300
    path = put(tmp_path / "t.txt", text)
    fresh = read_corpus(path)
    assert isinstance(fresh.ids, np.memmap) and not fresh.ids.flags.writeable
    same(fresh, corpus_from_text(text))
    same(read_corpus([str(path)]), fresh)
    same(read_corpus(path, verify=False), fresh)
    same(read_corpus(path, vocabulary=fresh.vocabulary), fresh)
    assert len(list(cache.cache_folder().iterdir())) == 1
    assert np.shares_memory(fresh.part("all"), fresh.part("test"))


def test_many_characters_in_growing_numbers(tmp_path):
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and c not in (0xFFFD, 13)]
    text = "ascii first\n" * 3 + "".join(map(chr, codes)) + "and ascii again é\n"
    corpus = read_corpus(put(tmp_path / "all", text), EVERY)
    assert corpus.ids.dtype == np.uint32
    assert corpus.vocabulary.size == len(codes) + 1
    assert corpus.vocabulary.decode(corpus.ids) == text
    assert corpus.utf8_bytes["train"] == len(text.encode())


def test_rare_characters_are_said(tmp_path):
    corpus = corpus_from_text("abab" * 20 + "é\x1b", TextOptions(split=(1.0, 0.0, 0.0)))
    assert corpus.notes == ("2 rare characters (fewer than 2 in the training part) became the unknown symbol: é ␛",)
    assert corpus.unknown["train"] == 2 and corpus.utf8_bytes["train"] == 83


def test_a_given_vocabulary_decides(tmp_path):
    path = put(tmp_path / "t", "abcé" * 10)
    corpus = read_corpus(path, vocabulary=Vocabulary("characters", (UNKNOWN, "a", "z")))
    assert corpus.ids[:4].tolist() == [1, 0, 0, 0]
    assert corpus.notes == ("30 of 40 characters are unknown to the model",)
    as_bytes = read_corpus(path, vocabulary=Vocabulary("bytes", (UNKNOWN, "a", "\xc3")))
    assert as_bytes.ids[:5].tolist() == [1, 0, 0, 2, 0]


def test_builtin_parts(tmp_path):
    corpus = read_corpus("builtin:manual")
    assert corpus.sources == ("builtin:manual",)
    assert sum(len(corpus.part(name)) for name in PARTS) == corpus.characters
    same(read_corpus("builtin:manual"), corpus)
    assert read_corpus("builtin:manual", TextOptions(split=(0.5, 0.25, 0.25))).fingerprint == corpus.fingerprint
    as_bytes = read_corpus("builtin:manual", TextOptions(as_bytes=True))
    assert as_bytes.utf8_bytes == corpus.utf8_bytes


@pytest.mark.parametrize("first", ["file", "builtin"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_file_with_the_bytes_of_a_builtin_text_is_another_text(tmp_path, first, as_bytes):
    joined = "".join(text for _, text in documents("manual"))
    options = TextOptions(as_bytes=as_bytes)
    given = {"file": put(tmp_path / "manual.txt", joined), "builtin": "builtin:manual"}
    fresh = {kind: read_corpus(given[kind], options, cache=tmp_path / kind) for kind in given}
    same(fresh["file"], corpus_from_text(joined, options))
    assert fresh["file"].part("test").tolist() != fresh["builtin"].part("test").tolist()
    assert fresh["file"].fingerprint.size == fresh["builtin"].fingerprint.size
    assert fresh["file"].fingerprint != fresh["builtin"].fingerprint
    read_corpus(given[first], options)
    for kind, text in given.items():
        same(read_corpus(text, options), fresh[kind])


def test_even_an_equal_fingerprint_does_not_mix_kinds(tmp_path, monkeypatch):
    """The kind of text is in the key of the cache by itself."""
    joined = "".join(text for _, text in documents("manual"))
    digest = Fingerprint(len(joined.encode()), hashlib.sha256(joined.encode()).hexdigest())
    monkeypatch.setattr(feeds.BuiltinFeed, "fingerprint", lambda _self, _progress: digest)
    builtin = read_corpus("builtin:manual")
    file = read_corpus(put(tmp_path / "t", joined))
    assert builtin.fingerprint == file.fingerprint
    same(file, corpus_from_text(joined))


def test_a_corpus_knows_how_it_was_read(tmp_path):
    options = TextOptions(split=(0.5, 0.25, 0.25), min_count=1)
    path = put(tmp_path / "t", "aé€😀" * 12)
    for corpus in [read_corpus(path, options), read_corpus(path, options), corpus_from_text(path.read_text(), options)]:
        assert corpus.options == options
        assert [corpus.bytes_of(part) for part in (*PARTS, "all")] == [60, 30, 30, 120]
        with pytest.raises(ConfigError, match="'valid'"):
            corpus.bytes_of("vaild")
    assert corpus.sources == (IN_MEMORY,)
    assert read_corpus("builtin:manual").options == TextOptions()
    as_bytes = Vocabulary("bytes", (UNKNOWN, "a"))
    for corpus in [read_corpus(path, options, vocabulary=as_bytes), corpus_from_text("ab", vocabulary=as_bytes)]:
        assert corpus.options.as_bytes


def test_a_changed_text_is_never_taken_for_the_old_one(tmp_path):
    path = put(tmp_path / "t", "abcd" * 100)
    old = read_corpus(path)
    status = path.stat()
    put(path, "abdc" * 100)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    new = read_corpus(path)
    assert new.fingerprint != old.fingerprint and new.ids.tolist() != old.ids.tolist()
    os.utime(path)
    same(read_corpus(path, verify=False), new)


@pytest.mark.parametrize("victim", ["ids", "meta.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "garbage", "folder"])
def test_a_damaged_cache_is_rebuilt(tmp_path, folder, victim, damage):
    path = put(tmp_path / "t", "some text\n" * 50)
    expected = corpus_from_text(path.read_text())
    read_corpus(path)
    (entry,) = folder.iterdir()
    file = entry / victim
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.unlink()
    damaged = {"truncate": raw[:7], "flip": raw, "garbage": b"\xff" * len(raw)}
    if damage in damaged:
        file.write_bytes(damaged[damage])
    elif damage == "folder":
        file.mkdir()
    same(read_corpus(path), expected)
    same(read_corpus(path), expected)


@pytest.mark.parametrize("kind", ["file", "missing parent is a file", "full"])
def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch, kind):
    path = put(tmp_path / "t", "some text\n" * 50)
    block = put(tmp_path / "block", "")
    where = {"file": block, "missing parent is a file": block / "deeper", "full": tmp_path / "full"}[kind]
    commit = cache.commit

    def full(place, entry, meta):
        if entry.parent == where:
            raise OSError(28, "No space left on device")
        commit(place, entry, meta)

    monkeypatch.setattr(cache, "commit", full)
    corpus = read_corpus(path, cache=where)
    same(corpus, corpus_from_text(path.read_text()))
    assert len(corpus.notes) == 1 and "temporary folder" in corpus.notes[0]
    monkeypatch.setattr(cache, "temporary_folder", lambda: block)
    with pytest.raises(TextError, match="UNROLLED_CACHE"):
        read_corpus(path, cache=where)


def test_old_entries_are_trimmed_but_none_in_use(tmp_path, folder, monkeypatch):
    kept = read_corpus(put(tmp_path / "kept", "in use\n" * 100))
    (used,) = folder.iterdir()
    for age, name in enumerate(["old", "older", "oldest"]):
        read_corpus(put(tmp_path / name, f"{name}\n" * 100))
        (entry,) = cache._in_use - {used}
        cache._in_use.remove(entry)
        os.utime(entry, (1000 - age, 1000 - age))
        entry.rename(folder / name)
    os.utime(used, (1, 1))
    (folder / ".partial-crashed").mkdir()
    os.utime(folder / ".partial-crashed", (1, 1))
    cache.trim(folder, 700 + 600)
    assert {path.name for path in folder.iterdir()} == {used.name, "old"}
    cache.trim(folder, 0)
    assert [path.name for path in folder.iterdir()] == [used.name]
    assert kept.vocabulary.decode(kept.ids[:7]) == "in use\n"


def test_memory_stays_flat(tmp_path):
    line = "Hello, wörld — “quoted” and more\n".encode()
    path = put(tmp_path / "big", line * 1_000_000)
    read_corpus(put(tmp_path / "small", line * 10))
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    corpus = read_corpus(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert corpus.characters == 1_000_000 * len(line.decode())
    assert peak < 60e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_progress_reaches_the_end(tmp_path):
    seen = []
    path = put(tmp_path / "t", "some text\n" * 50)
    for _ in range(2):
        read_corpus(path, progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (500, 500)
        seen.clear()


@pytest.mark.parametrize(
    ("text", "needed", "word"),
    [("a" * 1000, 10, "different characters"), ("ab" * 10, 50, "at least 50"), ("abcdefghij", 2, "too rare")],
)
def test_too_little_to_learn_from(text, needed, word):
    with pytest.raises(TextError, match=word):
        check_enough(corpus_from_text(text), needed)


def test_just_enough():
    corpus = corpus_from_text("ab" * 10, TextOptions(split=(0.5, 0.5, 0.0)))
    check_enough(corpus, 10)
    check_enough(corpus, 10, "valid")
    with pytest.raises(TextError, match="part test"):
        check_enough(corpus, 1, "test")
    with pytest.raises(ConfigError, match="'valid'"):
        corpus.part("vaild")
    with pytest.raises(TextError):
        corpus_from_text("")


def test_splits():
    assert parse_split("0.9, 0.1,0") == (0.9, 0.1, 0.0)
    assert TextOptions(split=[0.8, 0.1, 0.1]).split == (0.8, 0.1, 0.1)
    for wrong in ["", "1", "0.5,0.5", "0,0.5,0.5", "0.9,0.2,-0.1", "a,b,c", "nan,0,1", "0.9,0.05,0.04", "inf,0,0"]:
        with pytest.raises(ConfigError, match="three fractions"):
            parse_split(wrong)
    with pytest.raises(ConfigError):
        TextOptions(min_count=0)
    with pytest.raises(TextError):
        TextOptions(encoding="nonsense")


@given(st.integers(0, 5000), st.tuples(*[st.integers(0, 20)] * 3).filter(lambda s: s[0]))
def test_bounds_follow_the_fractions(length, shares):
    split = tuple(share / sum(shares) for share in shares)
    bounds = part_bounds(length, split)
    assert bounds[0] == 0 and bounds[3] == length and list(bounds) == sorted(bounds)
    for (start, stop), fraction in zip(pairwise(bounds), split, strict=True):
        assert abs(stop - start - length * fraction) <= 1
        assert fraction or start == stop


def test_the_text_package_needs_no_torch():
    for path in Path(cache.__file__).parent.glob("*.py"):
        assert "torch\n" not in path.read_text().replace("neither torch", "") and "import torch" not in path.read_text()
