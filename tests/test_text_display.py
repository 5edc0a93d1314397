"""Display: over all of Unicode, nothing that drives a terminal or hides from a reader gets through."""

import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from unrolled.text.display import MARKS, visible

FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_no_code_point_gets_through_unseen():
    for first in range(0, sys.maxunicode + 1, 0x1000):
        block = [chr(code) for code in range(first, first + 0x1000)]
        shown = visible("a".join(block))
        seen = set(shown) - {"\n", "\t"}
        assert not [c for c in seen if unicodedata.category(c) in FORBIDDEN]
        assert len(shown) >= 2 * len(block) - 1


def test_text_stays_as_it_is():
    text = "Hello, wörld!\n\t“你好” — 3 × 4 ≈ 12 € 😀 e\u0301 नमस्ते สวัสดี \u00a0 </script>"
    assert visible(text) == text


def test_what_hides_is_shown():
    assert visible("\x1b[31m\x00\x7f") == "␛[31m␀␡"
    assert visible("a\u202eb\u200bc\ue000\ud800\u2028\x85") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+E000⟩⟨U+D800⟩⟨U+2028⟩⟨U+0085⟩"
    assert visible("\u3164\U000e0101") == "⟨U+3164⟩⟨U+E0101⟩"
    assert visible("a\rb") == "a␍b"


def test_marks_need_a_base_and_have_a_limit():
    assert visible("\u0301a") == "\u25cc\u0301a"
    assert visible("\n\u0301") == "\n\u25cc\u0301"
    zalgo = visible("a" + "\u0301" * 1000)
    assert zalgo == "a" + "\u0301" * MARKS + "⟨U+0301⟩" * (1000 - MARKS)


@given(st.text(st.sampled_from("ab\n\u0301\u0302\u202e\x1b"), max_size=30), st.integers(0, 30))
def test_streaming_shows_the_same(text, cut):
    assert visible(text[:cut]) + visible(text[cut:], after=text[:cut]) == visible(text)


@given(st.text(st.characters(exclude_categories=[]), max_size=100))
def test_showing_twice_changes_nothing(text):
    once = visible(text)
    assert visible(once) == once
