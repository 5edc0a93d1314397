"""Milestones: each measured on texts whose answer is known by eye, copies against a naive twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.text import verbatim
from unrolled.text.corpus import corpus_from_text, read_corpus
from unrolled.text.options import TextOptions
from unrolled.text.verbatim import longest_copy
from unrolled.training import structure
from unrolled.training.structure import Reference, is_python, measure_structure

PROSE = 'He said "yes" (twice).\nThen he left the house.\n\n"No," she said.\n\n'


def reference(text: str, **options) -> Reference:
    corpus = corpus_from_text(text, TextOptions(split=(1, 0, 0), **options))
    return Reference.of(corpus.part("train"), corpus.vocabulary)


def measured(sample: str, text: str = PROSE * 20, **options):
    return measure_structure([sample], reference(text, **options))


@pytest.mark.parametrize(
    ("sample", "share"),
    [
        ("He said then.", 1 / 2),  # two letters are no word
        ("he Said then.", 0.0),
        ("a b c xx .", None),
        ("left house lef", 1.0),  # the last word is not finished
        ("", None),
        ("said, sait; said2said.", 3 / 4),
    ],
)
def test_words_that_exist(sample, share):
    text = "He said: left the house. said " * 20
    assert measured(sample, text)["words"] == (share if share is None else pytest.approx(share, abs=1e-4))


@pytest.mark.parametrize(
    ("sample", "share"),
    [
        ('"a"\n\n"b\n\n"c', 0.5),
        ('no\n\n"c', None),
        ('"a"\nb"\n\n', 0.0),
        ("“a”\n\n“b\n\n”c“\n\n“d” and “e”\n\n", 0.5),
        ('"""One line.\n\n"""\n\n"a"\n\n', 1.0),
        ('"a" “b”\n  \n"a” b\n\n', 0.5),
    ],
)
def test_quotes_are_judged_by_finished_paragraphs(sample, share):
    assert measured(sample)["quotes"] == share


def test_without_blank_lines_every_line_is_a_paragraph():
    text = 'He said "yes".\nShe said "no".\n' * 50
    assert measured('"a"\n"b\n"c"\nd\n"', text)["quotes"] == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("sample", "share"),
    [("(a) [b] {c}", 1.0), ("((a)", 2 / 3), (")(", 0.0), ("[(]", 2 / 3), ("(]{}", 0.5), ("none", None), ("{[()]}", 1)],
)
def test_brackets_have_partners(sample, share):
    assert measured(sample)["brackets"] == (share if share is None else pytest.approx(share, abs=1e-4))


def test_line_lengths_are_the_distance_between_distributions():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.Generator(np.random.PCG64(3))
    own, other = rng.integers(0, 90, 300).tolist(), rng.integers(20, 120, 40).tolist()
    text, sample = ("".join("x" * size + "\n" for size in sizes) for sizes in (own, other))
    found = measured(sample, text)["line_lengths"]
    assert found == pytest.approx(scipy_stats.wasserstein_distance(own, other), abs=1e-4)
    assert measured(text, text)["line_lengths"] == 0.0


def test_an_unfinished_line_counts_only_when_it_is_too_long_already():
    text = "xxxxx\n" * 100
    assert measured("xxxxx", text)["line_lengths"] is None
    assert measured("xxxxx\nxxx", text)["line_lengths"] == 0.0
    assert measured("x" * 300, text)["line_lengths"] == structure.LONGEST_LINE - 5


@pytest.mark.parametrize(
    ("block", "answer"),
    [
        ("x = 1", True),
        ("    def f(self):\n        return self.x\n", True),
        ("    return x", True),
        ("print('a')", True),
        ("import os\nfrom a import b", True),
        ("yes", False),
        ("either, or", False),
        ("# only a comment", False),
        ("def f(:", False),
        ("    x = 1\n  y = 2", False),
        ('s = "\\d"', True),  # a SyntaxWarning, silenced
        ("x = 1\0", False),
        ("(" * 400, False),
        ("-" * 499 + "1", False),
        ("x = " + "9" * 5000, False),
    ],
    ids=range(15),
)
def test_what_is_python(block, answer):
    assert is_python(block) == answer


def test_nothing_is_executed(tmp_path):
    assert is_python(f"open({str(tmp_path / 'made')!r}, 'w').write('x')")
    assert list(tmp_path.iterdir()) == []


def test_the_training_text_decides_whether_there_is_python():
    code = "".join(f"def f{n}(x):\n    return x + {n}\n\n\n" for n in range(60))
    assert reference(code).python and not reference(PROSE * 20).python
    assert reference(code).of_text["python"] > 0.9 and reference(PROSE * 20).of_text["python"] is None
    assert measured("x = 1\n\ndef f(:\n\ny = 2", code)["python"] == 0.5
    assert measured("x = 1\n\ndef f(:\n\ny = 2")["python"] is None


@pytest.mark.parametrize(("name", "python"), [("manual", False), ("python", True)])
def test_the_built_in_texts_are_told_apart(name, python):
    corpus = read_corpus(f"builtin:{name}")
    found = Reference.of(corpus.part("train")[:400_000], corpus.vocabulary)
    assert found.python == python
    assert found.of_text["words"] == 1.0 and found.of_text["quotes"] > 0.8 and found.of_text["brackets"] > 0.9


def test_a_long_text_is_read_in_pieces(monkeypatch):
    monkeypatch.setattr(structure, "REFERENCE_CHARACTERS", 6400)
    text = "".join(f"word{'abcdefghij'[n % 10]} other\n" for n in range(5000))
    found = reference(text)
    assert found.words == {f"word{letter}" for letter in "abcdefghij"} | {"other"}
    whole = measured("other worda\nxyz other\n", text)
    assert whole["words"] == 0.75 and whole["line_lengths"] == pytest.approx(1.0, abs=0.3)


def test_copies_are_looked_for_in_what_a_long_text_begins_its_lanes_with(monkeypatch):
    text = "".join(f"{n:05}" for n in range(6400))
    first, later = text[500 * 7 : 500 * 7 + 60], text[500 * 7 + 300 : 500 * 7 + 360]
    assert measured(first, text)["copied"] == measured(later, text)["copied"] == 60
    monkeypatch.setattr(structure, "COPY_CHARACTERS", 6400)
    assert measured(first, text)["copied"] == 60
    assert measured(later, text)["copied"] < 60


@pytest.mark.parametrize("text", ["a", "\n", "ab" * 3, "no newline at all " * 9], ids=len)
def test_any_text_will_do(text):
    found = reference(text)
    for sample in ("", "\n", text, 'é"\n\n(\n\n'):
        assert set(measure_structure([sample, text], found)) == {
            *("words", "quotes", "brackets", "line_lengths", "python", "copied")
        }


@pytest.mark.parametrize("as_bytes", [False, True])
def test_bytes_are_measured_as_the_characters_they_make(as_bytes):
    text = "Das Öl, die Blüte (schön) “und” mehr\n" * 30
    found = measured("Blüte (schön) und\n", text, as_bytes=as_bytes)
    assert found["words"] == 1.0 and found["brackets"] == 1.0 and found["copied"] == len("Blüte (schön) ")


def naive_copy(samples: list[str], text: str) -> int:
    found = (len(s[a:b]) for s in samples for a in range(len(s)) for b in range(a, len(s) + 1) if s[a:b] in text)
    return max(found, default=0)


@settings(max_examples=150, deadline=None)
@given(
    st.text("abc", max_size=90),
    st.lists(st.text("abc", max_size=25), max_size=3),
    st.sampled_from([np.uint8, np.uint16, np.uint32, np.int64]),
    st.sampled_from([1, 7, 30, 1 << 18]),
    st.integers(0, 90),
)
def test_the_longest_copy_is_the_naive_one(text, samples, kind, chunk, cut):
    samples = [*samples, text[cut : cut + 21] + "c", "b" + text[cut : cut + 9]]
    ids = np.array([ord(c) for c in text], dtype=kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verbatim, "CHUNK", chunk)
        copy = longest_copy([np.array([ord(c) for c in sample], dtype=np.int64) for sample in samples], ids)
    found = "".join(map(chr, copy.tolist()))
    assert len(found) == naive_copy(samples, text) and found in text
    assert not found or any(found in sample for sample in samples)


def test_a_copy_is_found_in_a_large_text_and_across_pieces():
    rng = np.random.Generator(np.random.PCG64(1))
    ids = rng.integers(1, 30, size=3 * verbatim.CHUNK + 17).astype(np.uint8)
    for place in (0, verbatim.CHUNK - 100, 2 * verbatim.CHUNK - 1, len(ids) - 321):
        sample = rng.integers(30, 60, size=500).astype(np.uint8)
        sample[90:411] = ids[place : place + 321]
        assert np.array_equal(longest_copy([sample[:200], sample], ids), ids[place : place + 321])


@pytest.mark.parametrize("period", [1, 2, 40])
def test_a_text_that_repeats_itself_is_no_trap(period):
    ids = np.tile(np.arange(period), 600_000 // period).astype(np.uint8)
    sample = np.concatenate([np.tile(np.arange(period), 400 // period), [99]]).astype(np.uint8)
    assert len(longest_copy([sample], ids)) == 400


def test_a_read_only_view_is_enough(tmp_path):
    np.save(tmp_path / "ids.npy", np.arange(5000, dtype=np.uint16))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    assert longest_copy([np.arange(77, 99)], mapped[10:]).tolist() == list(range(77, 99))
