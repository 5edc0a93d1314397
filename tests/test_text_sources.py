"""Finding and reading texts: whatever is named either reads, or is refused in one clear line, and never blocks."""

import codecs
import gzip
import hashlib
import io
import os
import socket
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import TextError
from unrolled.text.reading import TextReader, take_fingerprint
from unrolled.text.sources import Source, resolve


def read(*arguments, encoding="utf-8", as_bytes=False, chunk_bytes=1 << 22):
    found = resolve(arguments, encoding=encoding, as_bytes=as_bytes)
    reader = TextReader(found.files, encoding, as_bytes=as_bytes, chunk_bytes=chunk_bytes)
    text = "".join(reader)
    assert reader.fingerprint == take_fingerprint(found.files)
    return text, [*found.notes, *reader.remarks.lines(found.names)]


def refused(*arguments, **options):
    start = time.perf_counter()
    with pytest.raises(TextError) as caught:
        read(*arguments, **options)
    assert time.perf_counter() - start < 1
    message = str(caught.value)
    assert message.startswith("expected ") and ", got " in message and "; " in message
    assert message.isprintable()
    return message


def put(path, raw):
    path.write_bytes(raw)
    return path


PIECES = ["a", "é", "€", "😀", "\r", "\n", "\r\n", "\ufeff", "\ud7ff", " "]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=40).map("".join), st.integers(1, 9))
def test_chunk_size_never_changes_the_text(tmp_path_factory, text, chunk_bytes):
    folder = tmp_path_factory.mktemp("chunks")
    raw = text.encode()
    expected = text.replace("\r\n", "\n").removeprefix("\ufeff")
    path = put(folder / "text", raw)
    if len(raw) == 3 and text == "\ufeff":
        assert "empty" in refused(path, chunk_bytes=chunk_bytes)
        return
    got, notes = read(path, chunk_bytes=chunk_bytes)
    assert got == expected
    assert any("CRLF" in note for note in notes) == ("\r\n" in text)
    assert any("byte order mark" in note for note in notes) == text.startswith("\ufeff")


@given(st.binary(min_size=1, max_size=300), st.integers(1, 7))
def test_bytes_are_read_as_they_are(tmp_path_factory, raw, chunk_bytes):
    path = put(tmp_path_factory.mktemp("bytes") / "raw", raw)
    assert read(path, as_bytes=True, chunk_bytes=chunk_bytes) == (raw.decode("latin-1"), [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_byte_order_marks_are_removed_and_said(tmp_path, encoding):
    text = "Hello, wörld\n" * 500
    path = put(tmp_path / "marked", ("\ufeff" + text).encode(encoding))
    got, notes = read(path, chunk_bytes=7)
    assert got == text
    assert notes == [f"read as {encoding.upper()} and removed the byte order mark of {path}"]
    assert read(path, encoding="latin-1")[0] != text


def test_a_mark_inside_the_text_is_a_character(tmp_path):
    assert read(put(tmp_path / "t", "ab\ufeffc".encode()))[0] == "ab\ufeffc"


def test_line_ends_are_counted_and_lone_returns_stay(tmp_path):
    put(tmp_path / "a.txt", b"1\r\n2\r3\r\n")
    put(tmp_path / "b.txt", b"4\r\r\n5\r")
    text, notes = read(tmp_path, chunk_bytes=1)
    assert text == "1\n2\r3\n4\r\n5\r"
    assert notes == [f"turned 3 CRLF line ends into LF in 2 files (first: {tmp_path / 'a.txt'})"]


def test_folders_are_sorted_joined_and_skip_what_is_no_text(tmp_path):
    (tmp_path / "sub" / ".git").mkdir(parents=True)
    put(tmp_path / "b.txt", b"second")
    put(tmp_path / "a.txt", b"first\n")
    put(tmp_path / "sub" / "c.txt", b"third")
    put(tmp_path / "sub" / ".git" / "hidden", b"hidden")
    put(tmp_path / ".hidden", b"hidden")
    put(tmp_path / "image.png", b"\x89PNG\r\n\x1a\n\0\0")
    put(tmp_path / "empty", b"")
    put(tmp_path / "old.txt", b"caf\xe9")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    text, notes = read(tmp_path)
    assert text == "first\nsecond\nthird"
    assert notes == [f"skipped 5 files that are not text in the folder {tmp_path} (first: {tmp_path / 'broken'})"]
    assert read(f"{tmp_path}/*.txt")[0] == read(tmp_path / "a.txt", tmp_path / "b.txt")[0]
    assert read(f"{tmp_path}/**/c.txt")[0] == "third"
    assert read(tmp_path / "b.txt", tmp_path / "a.txt")[0] == "second\nfirst\n"


def test_what_training_wrote_is_not_read_again(tmp_path):
    put(tmp_path / "book.txt", b"book\n")
    put(tmp_path / "config.json", b"{}\n")
    for name in ["a", "b"]:
        run = tmp_path / "runs" / name
        (run / "checkpoints" / "000400").mkdir(parents=True)
        for file in ["config.json", "vocabulary.json", "samples.jsonl", "checkpoints/000400/manifest.json"]:
            put(run / file, b"{}\n")
    put(tmp_path / "runs" / "notes.md", b"notes\n")
    text, notes = read(tmp_path)
    assert text == "book\n{}\nnotes\n"
    assert notes == [f"skipped 2 run folders in the folder {tmp_path} (first: {tmp_path / 'runs' / 'a'})"]
    (tmp_path / "runs" / "notes.md").unlink()
    assert f"all files belong to runs (first: {tmp_path / 'runs' / 'a'})" in refused(tmp_path / "runs")
    assert "all files belong to runs" in refused(tmp_path / "runs" / "a")
    assert read(tmp_path / "runs" / "a" / "samples.jsonl") == ("{}\n", [])
    put(tmp_path / "runs" / "zeros", b"\0\0")
    assert "none of 1 files is text" in refused(tmp_path / "runs")


def test_a_file_named_twice_is_read_once(tmp_path):
    path = put(tmp_path / "a.txt", b"once")
    (tmp_path / "link").symlink_to(path)
    text, notes = read(path, tmp_path, tmp_path / "link")
    assert text == "once"
    assert notes == ["left out 3 of the files, named twice"]


def test_fingerprints_are_those_of_the_raw_bytes(tmp_path):
    path = put(tmp_path / "a", b"\xef\xbb\xbfa\r\n")
    found = take_fingerprint([Source("a", path)])
    assert (found.size, found.sha256) == (6, hashlib.sha256(path.read_bytes()).hexdigest())
    moved = [put(tmp_path / "x", b"\xef\xbb\xbfa"), put(tmp_path / "y", b"\r\n")]
    assert take_fingerprint([Source("x", moved[0]), Source("y", moved[1])]).sha256 != found.sha256


def test_stdin_is_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("wörld\r\n".encode())))
    found = resolve(["-"])
    assert found.names == ("-",)
    assert ["".join(TextReader(found.files)) for _ in range(2)] == ["wörld\n"] * 2


def test_builtin_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve(["python"]).names == ("builtin:python",)
    put(tmp_path / "python", b"mine")
    assert read("python") == ("mine", ["read the path ./python; the built-in text is builtin:python"])
    assert resolve(["builtin:python"]).builtin == "python"
    assert "by itself" in refused("manual", "python")
    assert "builtin:manual" in refused("builtin:manul")


def test_what_does_not_exist(tmp_path):
    path = put(tmp_path / "book.txt", b"text")
    assert repr(str(path)) in refused(tmp_path / "bok.txt")
    assert "name a file" in refused("zzzzzzzz")
    assert "did you mean 'manual'?" in refused("manul")
    for name in ["", "a\0b", "x" * 5000, path / "inside", f"{tmp_path}/*.md"]:
        refused(name)
    refused()
    (tmp_path / "link").symlink_to("nowhere")
    assert "a link to nowhere" in refused(tmp_path / "link")
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop")


def test_names_that_are_hostile(tmp_path):
    for name in [b"new\nline", b"esc\x1b[31m", b"not-utf8-\xff"]:
        path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"a\r\n")
        text, notes = read(os.fsdecode(path))
        assert text == "a\n" and notes[0].isprintable()
        refused(os.fsdecode(path) + "x")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "FIFO" in refused(tmp_path / "pipe")
    assert "device" in refused("/dev/zero")
    (tmp_path / "folder").mkdir()
    assert "no files" in refused(tmp_path / "folder")
    put(tmp_path / "folder" / "binary", b"\0\1\2")
    assert "none of 1 files is text" in refused(tmp_path / "folder")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert "socket" in refused(tmp_path / "s")


def test_no_permission(tmp_path, monkeypatch):
    path = put(tmp_path / "secret", b"text")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        message = refused(path)
    assert "no permission" in message


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"ok\nca\x92n't", "0x92 at offset 5 (line 2)"),
        (b"\xc0\x80", "0xC0 at offset 0 (line 1)"),
        (b"a\xed\xa0\x80", "0xED at offset 1 (line 1)"),
        (b"a\xf4\x90\x80\x80", "0xF4 at offset 1"),
        (b"cut off \xe2\x82", "0xE2 at offset 8"),
        (b"x\n" * 4000 + b"\xff", "0xFF at offset 8000 (line 4001)"),
        ("日本語".encode("shift_jis"), "0x93 at offset 0"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 3, 1 << 22])
def test_invalid_utf8_says_where(tmp_path, raw, where, chunk_bytes):
    message = refused(put(tmp_path / "broken.txt", raw), chunk_bytes=chunk_bytes)
    assert where in message and "broken.txt" in message and "--bytes" in message and "--encoding" in message


def test_other_encodings(tmp_path):
    assert read(put(tmp_path / "l", b"caf\xe9"), encoding="latin-1")[0] == "café"
    assert read(put(tmp_path / "s", "日本語".encode("shift_jis")), encoding="shift_jis", chunk_bytes=1)[0] == "日本語"
    assert "UTF-16-LE" in refused(put(tmp_path / "u", "hello".encode("utf-16-le")))
    assert "utf-16-be" in refused(put(tmp_path / "u", "hello".encode("utf-16-be")))
    assert read(tmp_path / "u", encoding="utf-16-be")[0] == "hello"
    assert "offset 4" in refused(put(tmp_path / "u", codecs.BOM_UTF16_LE + b"a\0\0\xdc"))
    for wrong in ["rot13", "idna", "unicode_escape", "a\0b"]:
        refused(tmp_path / "l", encoding=wrong)
    for wrong, near in [("utf9", "'utf-8'"), ("latin1x", "'latin-1'"), ("", "utf-8")]:
        assert near in refused(tmp_path / "l", encoding=wrong)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [(gzip.compress(b"text", mtime=0), "gzip"), (b"PK\x03\x04rest", "zip"), (b"%PDF-1.7", "PDF"), (b"", "empty")],
)
def test_what_is_no_text_is_named(tmp_path, raw, kind):
    assert kind in refused(put(tmp_path / "file", raw))


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "\n\n\n",
        "a\0b",
        "\x1b]52;c;aGk=\x07\x1b]8;;http://x\x1b\\\x1bP",
        "\x80\x9f",
        "\u202e\u2066x\u2069",
        "Z\u0301\u0302" * 50,
        "👩‍👩‍👧‍👦",
        "é e\u0301",
        "a\u2028b\u2029",
        "</script>",
        "x" * 300_000,
        "\r",
    ],
)
def test_hostile_texts_are_read_as_they_are(tmp_path, text):
    assert read(put(tmp_path / "t", text.encode()), chunk_bytes=5000)[0] == text
