"""What is drawn: the live display at every size of terminal, curves, and terminals that are not UTF-8."""

import io
import json
import math
import sys

import pytest
from rich.console import Console

from unrolled.cli import charts, console
from unrolled.cli.live import Story, picture
from unrolled.training.evaluation import Protocol, Score
from unrolled.training.events import Evaluated, Progressed, Saved, SaveFailed, Skipped, Stopped, Wrote

PASSAGE = "He said: \x1b[31mred\u202e and then\tthe rain fell, 天地玄黃, and nobody knew why.\n" * 6


def told(looks=3, skipped=0, unsaved=False, title="book-lstm · lstm lstm, width 320, 1,664,992 parameters"):
    story = Story(title, 12_000)
    for look in range(looks):
        step = look * 4000
        if step:
            story.hear(Progressed(step, 5.0 / (1 + look), 123_456.0, 0.004, 70.0 * look))
        story.hear(Evaluated(step, Score(100.0, 100, 100, Protocol()), look == 0))
        story.hear(Wrote(step, PASSAGE, 0.8))
    if skipped:
        story.hear(Skipped(story.step, "the loss was nan", 1, skipped))
    if unsaved:
        problem = "expected to write runs/x, got No space left on device; free some space"
        story.hear(SaveFailed(story.step, problem))
    return story


def drawn(story, width, height):
    sink = io.StringIO()
    terminal = Console(file=sink, width=width, height=height, force_terminal=True, color_system=None)
    terminal.print(story)
    return terminal.render_lines(story, pad=False), sink.getvalue()


@pytest.mark.parametrize(("width", "height"), [(20, 5), (40, 20), (80, 24), (110, 40), (200, 50), (300, 10), (30, 80)])
@pytest.mark.parametrize("story", [told(0), told(1), told(2), told(3, 1234, True)], ids=["0", "1", "2", "all"])
def test_the_live_display_fits_the_terminal(story, width, height):
    lines, text = drawn(story, width, height)
    assert len(lines) < height
    assert all(sum(segment.cell_length for segment in line) < width for line in lines)
    assert not {"\x1b", "\u202e"} & set(text)
    assert sum(line.startswith("╭") for line in text.splitlines()) == sum(
        line.startswith("╰") for line in text.splitlines()
    ), "a panel is cut"


def test_the_live_display_says_what_matters():
    _, text = drawn(told(3, 7), 110, 40)
    assert "book-lstm" in text and "step 8,000/12,000" in text and "123,456 characters/s" in text
    assert "7 skipped" in text and "step 8000 skipped: the loss was nan" in text and "left" in text
    assert "wrote at step 4,000" in text and "writes now (step 8,000)" in text and "Ctrl-C saves and stops" in text
    assert "He said: ␛[31mred" in text


def test_small_terminals_keep_the_numbers_and_the_passage():
    _, text = drawn(told(3), 40, 14)
    assert "step 8,000/12,000" in text and "writes now" in text and "bits per character" not in text
    _, text = drawn(told(3), 40, 24)
    assert "bits per character" in text and "writes now" in text


def test_a_failed_save_is_shown_until_one_succeeds(tmp_path):
    story = told(2, unsaved=True)
    assert "step 4000 could not be saved: No space left on device" in drawn(story, 110, 40)[1]
    story.hear(Saved(4000, tmp_path))
    assert not story.problem


def test_the_pace_is_that_of_this_session():
    story = Story("resumed", 200, started_at=100, started_seconds=1000.0, step=100, seconds=1000.0)
    story.hear(Progressed(150, 2.0, 10.0, 0.1, 1010.0))
    assert story.seconds_left() == pytest.approx(10.0)
    story.hear(Stopped(200, "finished", 1020.0))
    assert story.stopped == "finished" and story.seconds_left() == 0


def test_a_picture_needs_no_terminal():
    assert picture(told(2), 80, 24)


@pytest.mark.parametrize("points", [[], [(0, math.nan)], [(0, 1.0)], [(0, 5.0), (1, 5.0)], [(0, 9.0), (50, 1.0)]])
def test_curves(points):
    shown = charts.curve([(points, "cyan")], 30, 4, 50).plain
    if any(math.isfinite(y) for _, y in points):
        assert len(shown.split("\n")) == 4 and all(len(line) == 30 for line in shown.split("\n"))
    else:
        assert shown == "no report yet"


def test_the_first_descent_does_not_flatten_the_curve():
    points = [(0, 100.0), *((x, 2.0 - x / 100) for x in range(5, 101))]
    assert charts.curve([(points, "")], 40, 5, 100).plain.startswith("1.95")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-1, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3600, "1 h 00 min"), (9000, "2 h 30 min")]
)
def test_durations(seconds, shown):
    assert charts.duration(seconds) == shown


def test_surprise_is_safe_and_has_a_legend():
    shown = charts.surprise("a\x1bb", [0.1, 5.0, 20.0])
    assert shown.plain == "a␛b" and ">10" in charts.surprise_legend().plain


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r"])
def test_streams_that_are_not_utf8_get_plainer_characters(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, write_through=True))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding))
    console.open_streams()
    voice = console.Voice()
    voice.say("天 × ━━ … → ⠀⡇ 😀 \udc80")
    voice.note("щ")
    voice.result({"text": "天 щ 😀 \udc80\x9b\u202e━", "nan": math.nan, "deep": [math.inf, {"x": -math.inf}]})
    *_, line = raw.getvalue().decode(encoding).strip().split("\n")
    assert json.loads(line) == {
        "text": "天 щ 😀 \udc80\x9b\u202e━",
        "nan": None,
        "deep": [None, {"x": None}],
    }
    if encoding == "ascii":
        assert raw.getvalue().startswith(b"\\u5929 x == ~ >  * \\U0001f600")


def test_json_is_safe_for_a_terminal(capsys):
    console.Voice(as_json=True).result({"text": "Щ\x1b\x7f\x9b\u202e\u2028 ok"})
    out = capsys.readouterr().out
    assert "Щ" in out and " ok" in out and out.strip().isprintable()


def test_closed_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    console.open_streams()
    console.Voice().say("nobody hears this")
    sys.stdout.close()
