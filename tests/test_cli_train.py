"""`unrolled train` from the first word typed to the summary: what it says, what it keeps, how it stops and goes on."""

import dataclasses
import io
import json
import shutil
import signal
import sys

import pytest

from typed import TINY, Typist, book, hurried, outcome, signalled_at
from unrolled.cli import run
from unrolled.cli.train import TrainArguments
from unrolled.errors import TrainingError
from unrolled.training import loop
from unrolled.training.recipe import Request
from unrolled.training.run_folder import RunFolder

LONGER = ["--steps", "12", *TINY[2:], "--evaluate-every", "4", "--dropout", "0.1"]


@pytest.fixture
def typist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hurried(monkeypatch)
    (tmp_path / "book.txt").write_text(book())
    return Typist(capsys)


def test_every_choice_can_be_overridden():
    """What a person may ask for, and what can be typed, are the same."""
    typed = {field.name: field.default for field in dataclasses.fields(TrainArguments)}
    assert typed == {field.name: field.default for field in dataclasses.fields(Request)}


def test_json_ends_with_one_line_for_scripts(typist):
    found = typist.json("train", "book.txt", *TINY)
    assert {"run", "params", "steps", "seconds", "chars_per_second", "valid"} <= found.keys()
    assert found["run"] == "runs/book-lstm" and found["steps"] == 6 and found["params"] > 100
    assert found["seconds"] > 0 and found["chars_per_second"] > 0 and found["skipped"] == 0
    assert {"bits_per_char", "nats_per_char", "bits_per_byte", "chars", "protocol"} <= found["valid"].keys()
    assert set(found["yardsticks"]) and "step 6/6" in typist.err and "run      runs/book-lstm" in typist.err


def test_people_get_the_plan_the_progress_and_the_summary(typist):
    out = typist.good("train", "book.txt", *TINY, "--seed", "7")
    order = ["text     ", "model    lstm", "training 6 steps of 2 lanes × 8", "seed 7", "run      runs/book-lstm"]
    order += ["step 0/6", "step 6/6", ", carried)", "xz", "it writes", "next"]
    assert [out.index(words) for words in order] == sorted(out.index(words) for words in order)
    assert "unrolled sample runs/book-lstm --prompt" in out and not typist.err and "\x1b" not in out
    typist.good("train", "book.txt", *TINY)
    assert "run      runs/book-lstm-2" in typist.out


def test_commands_to_type_next_can_be_typed(typist):
    assert "unrolled show 'runs/my book'" in typist.good("train", "book.txt", *TINY, "--run", "runs/my book")


def test_an_untrained_run_is_a_run(typist):
    found = typist.json("train", "book.txt", "--steps", "0", "--width", "8", "--run", "zero")
    assert found["steps"] == 0 and found["valid"]["bits_per_char"] > 3
    assert len(typist.good("sample", "zero", "--length", "30")) >= 30
    assert typist.json("score", "zero")["chars"] > 100
    assert "step 0" in typist.good("show", "zero")


TEXTS = {
    "russian": "Съешь же ещё этих мягких французских булок, да выпей чаю.\n",
    "chinese": "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏\n",
    "emoji": "😀🎉👨‍👩‍👧 e\u0301 fine ",
    "code": "def f(x):\n\treturn {'a': [x, \"b\"]}  # ok\n\n",
    "brackets": "[bold]no markup[/bold] [/] [red]\n",
    "hostile": "a\x1b[31mred\x07\u202eabc\u2066x\x9b31m\x00\u200b\u2028\n",
    "two": "ab",
}


@pytest.mark.parametrize("name", TEXTS)
def test_any_text(name, typist, tmp_path):
    (tmp_path / "any.txt").write_text(TEXTS[name] * 60, encoding="utf-8")
    shown = typist.good("train", "any.txt", *TINY, "--run", "run") + typist.err
    assert typist.json("score", "run")["bits_per_char"] > 0
    found = typist.json("sample", "run", "--length", "50", "--seed", "1")
    shown += typist.out + typist.good("sample", "run", "--length", "50", "--seed", "1") + typist.err
    shown += typist.good("show", "run") + json.dumps(typist.json("show", "run")) + typist.out
    assert len(found["text"]) == 50 and set(found["text"]) <= set(TEXTS[name])
    assert not {"\x1b", "\x07", "\x9b", "\x00", "\u202e", "\u2066", "\u200b", "\u2028"} & set(shown)
    raw = typist.good("sample", "run", "--length", "50", "--seed", "1", "--raw")
    assert raw.removesuffix("\n") == found["text"]


def test_bytes_are_lossless(tmp_path, monkeypatch, capsysbinary):
    hurried(monkeypatch)
    source, folder = tmp_path / "all.bin", tmp_path / "run"
    source.write_bytes(bytes(range(256)) * 20)
    assert run(["train", str(source), "--bytes", *TINY, "--run", str(folder)]) == 0
    assert run(["score", str(folder), "--json"]) == 0
    capsysbinary.readouterr()
    assert run(["sample", str(folder), "--raw", "--length", "200", "--seed", "1"]) == 0
    raw = capsysbinary.readouterr().out
    assert run(["sample", str(folder), "--json", "--length", "200", "--seed", "1"]) == 0
    text = json.loads(capsysbinary.readouterr().out)["text"]
    assert raw == text.encode("utf-8", "surrogateescape") + b"\n" and any(byte >= 0x80 for byte in raw)


def test_folders_globs_and_standard_input(typist, tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    for name in ("a.txt", "b.md"):
        (tmp_path / "notes" / name).write_text(book(40))
    typist.good("train", "notes", "notes/*.md", "book.txt", *TINY, "--run", "folder")
    assert typist.json("show", "folder")["config"]["text"]["sources"] == ["notes/a.txt", "notes/b.md", "book.txt"]
    for words in (["-", *TINY, "--run", "stdin"], [*TINY, "--run", "stdin2", "-"]):
        monkeypatch.setattr(sys, "stdin", _stdin(book()))
        typist.good("train", *words)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("stdin", "stdin2")]
    assert weights[0] == weights[1]
    assert "standard input" in typist.bad("score", "stdin")
    monkeypatch.setattr(sys, "stdin", _stdin(book()))
    assert typist.json("score", "stdin", "-")["part"] == "test"


def _stdin(text):
    # a text wrapper around bytes, because texts are read as bytes
    return io.TextIOWrapper(io.BytesIO(text.encode()))


def test_marks_and_line_ends_are_said_aloud(typist, tmp_path):
    (tmp_path / "dos.txt").write_bytes(b"\xef\xbb\xbf" + book(40).replace("\n", "\r\n").encode())
    out = typist.good("train", "dos.txt", *TINY)
    assert "byte order mark" in out and "CRLF" in out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_saves_and_says_how_to_go_on(number, status, typist, tmp_path, monkeypatch):
    typist.good("train", "book.txt", *LONGER, "--run", "whole")
    signalled_at(monkeypatch, 0, number)
    assert typist("train", "book.txt", *LONGER, "--run", "my run") == status
    assert "everything is saved" in typist.out and "unrolled train --resume --run 'my run'" in typist.out
    assert "unfinished" in typist.good("runs", ".")
    found = typist.json("train", "--resume", "--run", "my run")
    assert found["steps"] == 12 and "resuming my run at step 1 of 12" in typist.err
    assert outcome(tmp_path / "my run") == outcome(tmp_path / "whole")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupted_run_is_json_too(typist, monkeypatch):
    signalled_at(monkeypatch, 4, signal.SIGINT)
    assert typist("train", "book.txt", *LONGER, "--json") == 130
    found = json.loads(typist.out)
    assert found["stopped"] == "interrupted" and found["steps"] == 4 and found["valid"] is None


@pytest.fixture
def stopped(typist, monkeypatch):
    """A run that was interrupted after step 4, called `run`."""
    with monkeypatch.context() as patch:
        signalled_at(patch, 4, signal.SIGINT)
        assert typist("train", "book.txt", *LONGER, "--run", "run") == 130
    return typist


def test_a_changed_text_is_not_resumed(stopped, tmp_path):
    (tmp_path / "book.txt").write_text(book() + "More.")
    assert "the text has changed" in stopped.bad("train", "--resume", "--run", "run")


def test_a_text_that_moved_is_named(stopped, tmp_path):
    shutil.move(tmp_path / "book.txt", tmp_path / "moved.txt")
    assert "book.txt" in stopped.bad("train", "--resume", "--run", "run")
    stopped.good("train", "moved.txt", "--resume", "--run", "run")


def test_other_options_are_refused_when_resuming(stopped):
    assert "--width, --split" in stopped.bad("train", "--resume", "--run", "run", "--width=9", "--split=0.8,0.1,0.1")


def test_threads_that_differ_are_said_when_resuming(stopped, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 77)
    assert "threads 1 → 77" in stopped.good("train", "--resume", "--run", "run")


def test_a_finished_run_is_not_resumed(typist):
    typist.good("train", "book.txt", *TINY, "--run", "run")
    assert "finished at step 6 of 6" in typist.bad("train", "--resume", "--run", "run")
    assert "continue it with --resume" in typist.bad("train", "book.txt", *TINY, "--run", "run")


def test_a_run_has_one_writer(stopped):
    with RunFolder.open("run").lock():
        assert "a lock held by process" in stopped.bad("train", "--resume", "--run", "run")
        assert stopped.good("sample", "run", "--length", "3")


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_is_taken(stopped, tmp_path):
    (tmp_path / "run" / "checkpoints" / "000004" / "state.json").write_text("{}")
    out = stopped.good("train", "--resume", "--run", "run")
    assert "resuming run at step 0 of 12" in out and "· " in out and "000004" in out


def failing(monkeypatch, since):
    """Let saving fail from this step on, as on a full disk."""
    save = RunFolder.save

    def full(self, step, **parts):
        if step >= since:
            raise TrainingError(expected=f"to write {self.path}", received="No space left", remedy="free some space")
        return save(self, step, **parts)

    monkeypatch.setattr(RunFolder, "save", full)


def test_a_disk_that_is_full_from_the_start_leaves_no_run(typist, tmp_path, monkeypatch):
    failing(monkeypatch, 0)
    assert typist("train", "book.txt", *TINY, "--run", "run") == 2
    assert "error: expected to save a first checkpoint in run, got" in typist.err and "No space left" in typist.err
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_keeps_the_old_checkpoint(typist, monkeypatch):
    with monkeypatch.context() as patch:
        failing(patch, 8)
        assert typist("train", "book.txt", *LONGER, "--run", "run") == 2
    assert "step 8 could not be saved: No space left" in typist.out
    assert typist.err.startswith("error: expected to save the last checkpoint, got step 12 could not be saved")
    assert typist.good("sample", "run", "--length", "3")
    typist.good("train", "--resume", "--run", "run")
    assert "at step 4 of 12" in typist.out


def test_an_interrupt_on_a_full_disk_does_not_say_that_all_is_saved(typist, monkeypatch):
    failing(monkeypatch, 1)
    signalled_at(monkeypatch, 0, signal.SIGINT)
    assert typist("train", "book.txt", *LONGER, "--run", "run") == 130
    assert "everything is saved" not in typist.out and "step 1 could not be saved" in typist.out


def test_training_that_cannot_begin_leaves_no_run(typist, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(loop, "_scored", fail)
    assert "memory" in typist.bad("train", "book.txt", *TINY, "--run", "run")
    assert not (tmp_path / "run").exists()


def test_skipped_steps_are_shown_everywhere(typist, monkeypatch):
    clip, calls = loop.Optimizer.clip, []

    def sometimes(*arguments, **options):
        calls.append(1)
        norm = clip(*arguments, **options)
        return norm * float("nan") if len(calls) == 2 else norm

    monkeypatch.setattr(loop.Optimizer, "clip", sometimes)
    out = typist.good("train", "book.txt", *TINY, "--run", "run")
    assert "step 2 skipped: the gradient's norm was nan" in out and "1 step skipped" in out
    assert "1 step skipped because" in typist.good("show", "run")


def test_a_loss_that_stays_not_finite_is_one_line(typist, monkeypatch):
    clip = loop.Optimizer.clip
    monkeypatch.setattr(loop.Optimizer, "clip", lambda *a, **o: clip(*a, **o) * float("nan"))
    line = typist.bad("train", "book.txt", *LONGER, "--run", "run")
    assert "a finite loss and gradient" in line and "a lower --rate" in line
    assert typist.good("sample", "run", "--length", "3")


def test_demo_is_a_training_with_a_story(typist, monkeypatch):
    monkeypatch.setattr("unrolled.training.recipe.faster_precision", lambda *_: ("float32", 30.0, 1.0))
    monkeypatch.setattr(sys.modules["unrolled.cli.demo"], "TEXT", "book.txt")
    out = typist.good("demo", "--minutes", "0.5", "--run", "run")
    assert out.startswith("unrolled: a network learns to write") and "coloured by how surprised it was" in out
    assert typist.json("demo", "--minutes", "0.5")["steps"] == 1
