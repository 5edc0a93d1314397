"""Lines of pairs and tags: what is refused, how they are shuffled and cut, and what a batch of them asks for."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigError, TextError
from unrolled.text.corpus import TextOptions, check_enough, corpus_from_text, read_corpus
from unrolled.text.lines import UNASKED_ID, LineBatches, Lines
from unrolled.text.pairs import LISTED, LONGEST_LINE, MOST_RANGES, arrange, fault_of, told_answer

PAIRS = TextOptions(regime="pairs", min_count=1)
TAGS = TextOptions(regime="tags", min_count=1)
ALL = {"split": (1, 0, 0), "min_count": 1}
LETTERS = "abcde "

pair = st.tuples(st.text(LETTERS, max_size=9), st.text(LETTERS, min_size=1, max_size=9))
tagged = st.lists(st.sampled_from([(c, t) for c in LETTERS for t in "xy·"]), min_size=1, max_size=9).filter(
    lambda pairs: any(tag != "·" for _, tag in pairs)
)


def lines_of(text, regime, **options):
    return corpus_from_text(text, TextOptions(regime=regime, **(ALL | options))).lines("train")


def numbers(count):
    return "".join(f"{k}\t{k * k}\n" for k in range(count))


@pytest.mark.parametrize(
    ("regime", "line", "fault"),
    [
        ("pairs", "abc", "no TAB"),
        ("pairs", "a\tb\tc", "2 TABs"),
        ("pairs", "abc\t", "nothing after"),
        ("pairs", "\t", "nothing after"),
        ("pairs", "\tabc", ""),
        ("pairs", " \tabc", ""),
        ("pairs", "a" * LONGEST_LINE + "\tb", f"{LONGEST_LINE + 2:,} characters"),
        ("pairs", "a" * (LONGEST_LINE - 2) + "\tb", ""),
        ("tags", "abc\txy", "3 characters before the TAB and 2 after"),
        ("tags", "abc\txyz", ""),
        ("tags", "abc\t···", "nothing is asked"),
        ("tags", "abc\t··x", ""),
        ("tags", "\tx", "0 characters before"),
    ],
)
def test_what_a_line_must_be(regime, line, fault):
    found = fault_of(line, regime)
    assert fault in found and bool(fault) == bool(found)


def test_all_faulty_lines_are_listed_in_one_error():
    good, bad = "a\tb\n", "no tab here\n"
    with pytest.raises(TextError) as caught:
        corpus_from_text(good + bad + "\n" + good + "x\t\n" + bad * 20, PAIRS)
    message = str(caught.value)
    assert "line 2 (no tab here) has no TAB; line 5 (x␉) has nothing after the TAB; line 6 " in message
    assert f"line {5 + LISTED - 2} " in message and f"line {5 + LISTED - 1} (" not in message
    assert f"; and the same for line {5 + LISTED - 1} to line 25; correct them" in message and "\n" not in message


def test_of_very_many_faulty_lines_the_last_are_counted():
    with pytest.raises(TextError) as caught:
        corpus_from_text("bad\n" * (LISTED + 1) + "a\tb\nbad\n" * (MOST_RANGES + 6), PAIRS)
    message = str(caught.value)
    assert f"; and the same for line {LISTED + 1}, line {LISTED + 3}, line {LISTED + 5}, " in message
    assert " to line " not in message and " and 7 more lines; correct them" in message


def test_hostile_characters_are_shown_not_obeyed():
    with pytest.raises(TextError) as caught:
        corpus_from_text("\x1b[31mred\u202e\n", PAIRS)
    assert "␛[31mred⟨U+202E⟩" in str(caught.value)


def test_a_line_of_several_files_is_named_by_its_file(tmp_path):
    (tmp_path / "one.tsv").write_text("a\tb\r\nc\td")
    (tmp_path / "two.tsv").write_text("e\tf\nwrong\n")
    names = [tmp_path / "one.tsv", tmp_path / "two.tsv"]
    with pytest.raises(TextError, match=r"line 2 of .*two\.tsv \(wrong\)"):
        read_corpus(names, PAIRS)
    (tmp_path / "two.tsv").write_text("e\tf\n")
    corpus = read_corpus(names, PAIRS)
    assert sorted(corpus.vocabulary.decode(corpus.ids).split()) == list("abcdef")
    assert any("CRLF" in note for note in corpus.notes)


def test_standard_input_may_hold_pairs(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(numbers(9).encode()), isatty=lambda: False))
    assert len(read_corpus("-", PAIRS).lines("all")) == 9


def test_nothing_is_no_text_and_one_line_is_not_enough():
    with pytest.raises(TextError, match="no lines"):
        corpus_from_text("\n \n", PAIRS)
    with pytest.raises(TextError, match="at least 2 lines"):
        check_enough(corpus_from_text("a\tb\n", TextOptions(regime="pairs", **ALL)), 1)


def test_what_has_no_lines_says_so():
    with pytest.raises(ConfigError, match="read as 'text'"):
        corpus_from_text("a\tb\n").lines("all")
    with pytest.raises(ConfigError, match="a regime: text, pairs, tags"):
        TextOptions(regime="triples")
    with pytest.raises(ConfigError, match="--bytes"):
        TextOptions(regime="pairs", as_bytes=True)
    with pytest.raises(TextError, match="built-in text manual"):
        read_corpus("manual", PAIRS)
    with pytest.raises(TextError, match="read the text with the run's own options"):
        Lines.of(np.array([1, 1]), corpus_from_text("a\tb\n", PAIRS).vocabulary, "pairs")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(pair, min_size=1, max_size=60),
    st.sampled_from([(1, 0, 0), (0.9, 0.05, 0.05), (0.5, 0.5, 0), (0.4, 0.3, 0.3)]),
)
def test_lines_are_shuffled_kept_and_split_between_lines(pairs, split):
    text = "".join(f"{source}\t{target}\n" for source, target in pairs)
    arranged = arrange(text, TextOptions(regime="pairs", split=split))
    parts = [part.split("\n")[:-1] for part in arranged.parts]
    assert all(part == "" or part.endswith("\n") for part in arranged.parts)
    assert sorted(line for part in parts for line in part) == sorted(text.split("\n")[:-1])
    assert arranged == arrange(text, TextOptions(regime="pairs", split=split))
    assert [len(part) for part in arranged.parts] == np.diff(arranged.bounds).tolist()
    assert abs(len(parts[0]) - split[0] * len(pairs)) <= 1
    again = set(parts[0])
    repeated = [sum(line in again for line in part) for part in parts[1:]]
    assert [int(note.split()[0]) for note in arranged.notes] == [count for count in repeated if count]


def test_a_text_of_lines_in_order_is_not_cut_in_that_order():
    corpus = corpus_from_text(numbers(400), PAIRS)
    test = [int(line.split("\t")[0]) for line in corpus.vocabulary.decode(corpus.part("test")).split("\n")[:-1]]
    assert len(test) == 20 and min(test) < 100 and max(test) > 300


def test_tab_newline_and_the_unasked_tag_are_known_however_rare():
    symbols = corpus_from_text(
        "aaaa\tbbb·\n", TextOptions(regime="tags", split=(1, 0, 0), min_count=3)
    ).vocabulary.symbols
    assert set(symbols[1:]) == set("\t\n·ab")
    assert "·" not in corpus_from_text(numbers(9), PAIRS).vocabulary.symbols


def test_the_cache_keeps_regimes_apart(tmp_path):
    path = tmp_path / "both.tsv"
    path.write_text("ab\txy\ncd\tzw\nef\tuv\n" * 9)
    plain = read_corpus(path, TextOptions())
    first, tags, again = read_corpus(path, PAIRS), read_corpus(path, TAGS), read_corpus(path, PAIRS)
    assert np.array_equal(first.ids, again.ids) and first.notes == again.notes and first.options.regime == "pairs"
    assert "·" in tags.vocabulary.symbols and "·" not in first.vocabulary.symbols
    assert plain.vocabulary.decode(plain.ids) == path.read_text() != first.vocabulary.decode(first.ids)
    assert first.fingerprint == plain.fingerprint


def by_hand(source, target, regime):
    """What is read, and what is asked after each character of it."""
    if regime == "tags":
        return source, [None if tag == "·" else tag for tag in target]
    return f"{source}\t{target}", [None] * len(source) + [*target, "\n"]


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from(["pairs", "tags"]))
def test_a_batch_is_what_a_loop_over_characters_makes(data, regime):
    if regime == "pairs":
        found = data.draw(st.lists(pair, min_size=1, max_size=12))
    else:
        found = [
            tuple(map("".join, zip(*one, strict=True))) for one in data.draw(st.lists(tagged, min_size=1, max_size=9))
        ]
    text = "".join(f"{source}\t{target}\n" for source, target in found)
    corpus = corpus_from_text(text, TextOptions(regime=regime, **ALL))
    lines, decode = corpus.lines("all"), corpus.vocabulary.decode
    rows = np.array(data.draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=6)))
    inputs_BT, targets_BT = lines.batch(rows)
    assert len(lines) == len(found) and inputs_BT.shape == targets_BT.shape
    longest = 0
    for row, inputs_T, targets_T in zip(rows.tolist(), inputs_BT, targets_BT, strict=True):
        source, target = decode(lines.source(row)), decode(lines.target(row))
        assert (source, target) in found
        read, asked = by_hand(source, target, regime)
        assert decode(inputs_T[: len(read)]) == read and len(read) == lines.lengths[row]
        said = [None if symbol == UNASKED_ID else decode([symbol]) for symbol in targets_T.tolist()]
        assert said == asked + [None] * (len(said) - len(read))
        longest = max(longest, len(read))
    assert inputs_BT.shape[1] == longest


@settings(max_examples=60, deadline=None)
@given(st.lists(pair, min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 3))
def test_every_pass_reads_every_line_once(pairs, count, seed):
    lines = lines_of("".join(f"{source}\t{target}\n" for source, target in pairs), "pairs")
    batches = LineBatches(lines, count, seed)
    per_pass = -(-len(lines) // count)
    shown = {(number, k): batches.batch(number * per_pass + k) for number in range(2) for k in range(per_pass)}
    whole = lines.batch(np.arange(len(lines)))[0]
    wanted = sorted(tuple(row[: lines.lengths[k]]) for k, row in enumerate(whole.tolist()))
    for number in range(2):
        read = []
        for k in range(per_pass):
            inputs_BT, targets_BT = shown[number, k]
            for inputs_T, targets_T in zip(inputs_BT.tolist(), targets_BT.tolist(), strict=True):
                last = max(t for t, target in enumerate(targets_T) if target != UNASKED_ID)
                read.append(tuple(inputs_T[: last + 1]))
        assert sorted(read) == wanted
        sizes = sorted(len(shown[number, k][0]) for k in range(per_pass))
        assert sizes[0] == len(lines) - count * (per_pass - 1) and set(sizes[1:]) <= {count}
    fresh = LineBatches(lines, count, seed)
    for (number, k), (inputs_BT, targets_BT) in reversed(shown.items()):
        again = fresh.batch(number * per_pass + k)
        assert np.array_equal(again[0], inputs_BT) and np.array_equal(again[1], targets_BT)


def test_passes_differ_and_padding_is_small():
    random = np.random.Generator(np.random.PCG64(0))
    lines = lines_of("".join("a" * int(random.integers(1, 60)) + "\tb\n" for _ in range(2000)), "pairs")
    batches = LineBatches(lines, 32, 1)
    assert batches.padded_length() < 1.1 * lines.lengths.mean()
    first, second = batches.batch(0)[0], batches.batch(63)[0]
    assert first.shape != second.shape or not np.array_equal(first, second)
    assert LineBatches(lines, 32, 2).batch(0)[0].tolist() != batches.batch(0)[0].tolist()
    shapes = [batches.batch(k)[0].shape[1] for k in range(63)]
    assert shapes != sorted(shapes), "short lines must not come first in every pass"


@settings(max_examples=60, deadline=None)
@given(st.lists(pair, min_size=1, max_size=40), st.integers(1, 80))
def test_groups_hold_every_line_once_within_their_room(pairs, room):
    lines = lines_of("".join(f"{source}\t{target}\n" for source, target in pairs), "pairs")
    groups = list(lines.groups(np.arange(len(lines)), room))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lines)))
    assert all(len(rows) == 1 or len(rows) * lines.lengths[rows].max() <= room for rows in groups)
    head = lines.head(room)
    assert len(head) == 1 or lines.lengths[head].sum() <= room
    assert len(head) == len(lines) or lines.lengths[: len(head) + 1].sum() > room
    assert len(lines.head(None)) == len(lines)


def test_an_empty_part_has_no_lines():
    empty = corpus_from_text(numbers(5), TextOptions(regime="pairs", **ALL)).lines("valid")
    assert len(empty) == 0 and len(empty.head(None)) == 0
    with pytest.raises(TextError, match="lines to learn from"):
        LineBatches(empty, 2, 1)


@pytest.mark.parametrize(
    ("source", "target", "answer", "told"),
    [
        ("abc", "cba", "cba", "abc → cba"),
        ("abc", "cba", "cbb", "abc → cbb (cba)"),
        ("ab", "x·", "x·", "ab → x·"),
        ("ab", "x·", "xy", "ab → xy (x·)"),
        ("", "a\x1b", "a", " → a (a␛)"),
        ("a" * 70, "b", "b", f"{'a' * 60}… → b"),
    ],
)
def test_answers_are_told_in_a_line(source, target, answer, told):
    assert told_answer(source, target, answer) == told
