"""A run folder is created once, opened strictly, locked by one writer, listed without torch and stays readable."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import unrolled
from test_training_checkpoint import CONFIG, VOCABULARY, assert_as_written, content
from test_training_durable import Recorder, Unsynced, assert_one_line, each_fault, materialise, names
from unrolled.errors import RunError, RunLockedError, TrainingError
from unrolled.training import durable
from unrolled.training.run_folder import RunFolder, list_runs

GOLDEN = Path(__file__).parent / "golden" / "run_format_1"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(durable, "system", Unsynced())


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", CONFIG, VOCABULARY)


def write_golden(path: Path) -> None:
    """Write the run that later versions must be able to read; for a new format, write a new folder beside it."""
    run = RunFolder.create(path, CONFIG | {"description": "golden"}, VOCABULARY)
    for step in (1, 2, 3):
        run.append_metric({"step": step, "bits_per_char": 3.0 - step / 10})
        run.append_sample({"step": step, "temperature": 0.8, "text": "ab\x1b"})
        run.save(step, **content(step))
    run.publish_weights(run.best().model)


def python(script: str, *arguments: object, wait: bool = True) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(unrolled.__file__).parents[1])}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if wait:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output == "", output
    return process


def test_a_run_comes_back_as_it_was_created(run):
    found = RunFolder.open(str(run.path))
    assert (found.path, found.config, found.vocabulary, found) == (run.path, CONFIG, VOCABULARY, run)
    assert names(run.path) == ["config.json", "vocabulary.json"]
    assert (found.checkpoints(), found.metrics(), found.samples()) == ([], [], [])
    with pytest.raises(RunError, match="none"):
        found.latest()


def test_create_takes_new_and_empty_folders_only(run, tmp_path):
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", CONFIG, VOCABULARY)
    RunFolder.create(tmp_path / "deep" / "er" / "run", CONFIG, VOCABULARY)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path, words in ((run.path, "--resume"), (tmp_path / "other", "--run"), (tmp_path / "file", "--run")):
        with pytest.raises(RunError, match=words) as caught:
            RunFolder.create(path, {**CONFIG, "other": 1}, VOCABULARY)
        assert_one_line(caught.value)
    assert names(tmp_path / "other") == ["thesis.txt"]
    assert RunFolder.open(run.path).config == CONFIG


def test_any_failing_call_while_creating_leaves_a_run_or_nothing(tmp_path, monkeypatch):
    for system in each_fault():
        path = tmp_path / f"{system.k}-{system.code}-{system.forever}" / "run"
        monkeypatch.setattr(durable, "system", system)
        try:
            RunFolder.create(path, CONFIG, VOCABULARY)
        except (TrainingError, RunError) as error:
            assert_one_line(error)
        if path.exists():
            assert RunFolder.open(path).vocabulary == VOCABULARY


def test_no_power_loss_leaves_half_a_run(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    recorder = Recorder(tmp_path / "runs", promised=lambda: None)
    monkeypatch.setattr(durable, "system", recorder)
    RunFolder.create(tmp_path / "runs" / "run", CONFIG, VOCABULARY)
    for number, state in enumerate(recorder.states):
        crashed = materialise(state, tmp_path / str(number))
        assert [summary.error for summary in list_runs(crashed)] in ([], [None])


def test_open_says_what_is_wrong(run, tmp_path):
    def damaged(name: str, file: str, data: str) -> Path:
        path = shutil.copytree(run.path, tmp_path / name)
        (path / file).write_text(data)
        return path

    (tmp_path / "plain").mkdir()
    cases = {
        tmp_path / "rum": "did you mean 'run'",
        tmp_path / "plain": "config.json",
        damaged("broken", "config.json", '{"format": 1'): "JSON",
        damaged("twice", "config.json", '{"format": 1, "format": 1}'): "twice",
        damaged("newer", "config.json", '{"format": 2}'): "install a newer unrolled",
        damaged("older", "config.json", "{}"): "format",
        damaged("letters", "vocabulary.json", "[]"): "vocabulary.json",
        tmp_path / ("x" * 300): "too long",
        run.path / "config.json": "config.json",
    }
    for path, words in cases.items():
        with pytest.raises(RunError, match=words) as caught:
            RunFolder.open(path)
        assert_one_line(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="unrolled train"):
        RunFolder.open(tmp_path / "empty" / "run")


def test_saving_keeps_the_newest_two_and_the_best(run):
    for step in range(1, 6):
        run.save(step, **content(step))
    assert run.checkpoints() == [2, 4, 5]
    assert (run.latest().step, run.best().step) == (5, 2)
    assert_as_written(run.latest())
    assert torch.equal(run.weights()["w"], content(2)["model"]["w"])


def test_a_damaged_newest_checkpoint_is_noted_and_passed_over(run):
    for step in (1, 2, 3):
        run.save(step, **content(step))
    (run.path / "checkpoints" / "000003" / "model.safetensors").write_bytes(b"")
    found = run.latest()
    assert (found.step, len(found.notes)) == (2, 1)
    run.save(3, **content(3, 1))
    assert run.latest().notes == ()
    assert_as_written(run.latest())


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
def test_an_edited_file_is_named(run, name):
    run.save(1, **content(1))
    (run.path / name).write_text('{"format": 1, "family": "gru"}')
    edited = RunFolder.open(run.path)
    for read in (edited.latest, edited.best, edited.weights):
        with pytest.raises(RunError, match=rf"{name}.*edited") as caught:
            read()
        assert_one_line(caught.value)
    run.save(2, **content(2))
    with pytest.raises(RunError, match="edited"):
        RunFolder.open(run.path).latest()
    run.latest()


def test_a_shared_folder_has_weights_and_no_checkpoints(run):
    with pytest.raises(RunError):
        run.weights()
    run.publish_weights(content(3)["model"])
    assert torch.equal(run.weights()["w"], content(3)["model"]["w"])
    (run.path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(RunError) as caught:
        run.weights()
    assert_one_line(caught.value)
    (run.path / "model.safetensors").unlink()
    os.mkfifo(run.path / "model.safetensors")
    with pytest.raises(RunError, match="regular file"):
        run.weights()


def changed_number(path: Path) -> None:
    """Change a bit of the last tensor, so that the file still reads well."""
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    path.write_bytes(data)


def test_published_weights_come_first_and_are_verified(run):
    run.save(1, **content(1))
    run.save(2, **content(2))
    run.publish_weights(content(7)["model"])
    assert torch.equal(run.weights()["w"], content(7)["model"]["w"])
    changed_number(run.path / "model.safetensors")
    assert torch.equal(run.weights()["w"], content(2)["model"]["w"])
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(RunError, match="the tensors that were written") as caught:
        run.weights()
    assert_one_line(caught.value)


def test_weights_without_a_seal_are_those_of_earlier_versions(run):
    path = run.path / "model.safetensors"
    path.write_bytes(save(content(3)["model"], {"sha256": "another"}))
    with pytest.raises(RunError, match="the tensors that were written"):
        run.weights()
    path.write_bytes(save(content(3)["model"]))
    assert torch.equal(run.weights()["w"], content(3)["model"]["w"])


def test_logs_of_a_resumed_run_are_those_of_an_unbroken_one(tmp_path):
    def work(run: RunFolder, first: int, last: int) -> None:
        for step in range(first, last + 1):
            run.append_metric({"step": step, "bits_per_char": 1 / step})
            run.append_sample({"step": step, "text": "x" * step})
            if step % 2 == 0:
                run.save(step, **content(step))

    unbroken = RunFolder.create(tmp_path / "unbroken", CONFIG, VOCABULARY)
    work(unbroken, 1, 8)
    broken = RunFolder.create(tmp_path / "broken", CONFIG, VOCABULARY)
    work(broken, 1, 5)
    with (broken.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 6, "bi')
    step = broken.latest().step
    broken.truncate_logs_after(step)
    work(broken, step + 1, 8)
    for path in unbroken.path.rglob("*.*"):
        assert path.read_bytes() == (broken.path / path.relative_to(unbroken.path)).read_bytes()


HOLD = """
import sys, time
from unrolled.training.run_folder import RunFolder
with RunFolder.open(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_writes_and_the_lock_dies_with_it(run):
    holder = python(HOLD, run.path, wait=False)
    try:
        assert holder.stdout.readline() == "held\n", holder.stderr.read()
        with pytest.raises(RunLockedError, match=rf"process {holder.pid} on ") as caught, run.lock():
            pass
        assert_one_line(caught.value)
    finally:
        holder.kill()
        holder.communicate()
    (run.path / ".model.safetensors.1-1.tmp").write_bytes(b"left by a killed process")
    with run.lock():
        assert not (run.path / ".model.safetensors.1-1.tmp").exists()
        with pytest.raises(RunLockedError, match=f"process {os.getpid()}"), run.lock():
            pass
    with run.lock():
        pass


def test_runs_are_listed_with_their_newest_metric(run, tmp_path):
    run.append_metric({"step": 1})
    run.append_metric({"step": 2, "bits_per_char": 2.5})
    done = RunFolder.create(tmp_path / "done", CONFIG | {"description": "small"}, VOCABULARY)
    done.publish_weights({})
    bad = RunFolder.create(tmp_path / "bad", CONFIG, VOCABULARY)
    (bad.path / "config.json").write_text("{")
    lost = RunFolder.create(tmp_path / "lost", CONFIG, VOCABULARY)
    lost.save(1, **content(1))
    (lost.path / "config.json").unlink()
    (tmp_path / "plain").mkdir()
    (tmp_path / ".run.1-2.tmp").mkdir()
    (tmp_path / ".run.1-2.tmp" / "config.json").write_text("{}")
    first, second, third, fourth = list_runs(tmp_path)
    assert [one.path.name for one in (first, second, third, fourth)] == ["bad", "done", "lost", "run"]
    assert (second.family, second.description, second.newest, second.finished) == ("lstm", "small", None, True)
    assert (fourth.newest, fourth.finished, fourth.error) == ({"step": 2, "bits_per_char": 2.5}, False, None)
    assert "JSON" in first.error
    assert "config.json" in third.error
    with pytest.raises(RunError):
        list_runs(tmp_path / "nowhere")


def test_listing_and_locking_need_no_torch(run):
    script = """
import sys
from unrolled.training.run_folder import RunFolder, list_runs
assert list_runs(sys.argv[1])[0].error is None
with RunFolder.open(sys.argv[2]).lock():
    pass
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
    start = time.monotonic()
    python(script, run.path.parent, run.path)
    assert time.monotonic() - start < 30


def test_the_golden_run_of_format_1_stays_loadable(tmp_path):
    path = shutil.copytree(GOLDEN, tmp_path / "golden")
    run = RunFolder.open(path)
    assert (run.config["description"], run.vocabulary, run.checkpoints()) == ("golden", VOCABULARY, [2, 3])
    assert (run.latest().step, run.best().step) == (3, 2)
    for found in (run.latest(), run.best()):
        assert_as_written(found)
        assert found.notes == ()
    assert [line["step"] for line in run.metrics()] == [1, 2, 3]
    assert run.samples()[0]["text"] == "ab\x1b"
    shutil.rmtree(path / "checkpoints")
    assert torch.equal(run.weights()["w"], content(2)["model"]["w"])
    with run.lock():
        run.save(4, **content(4))
    assert run.latest().step == 4


def test_the_golden_run_is_what_write_golden_writes(tmp_path):
    write_golden(tmp_path / "golden")
    written = {path.relative_to(tmp_path / "golden") for path in (tmp_path / "golden").rglob("*")}
    assert written == {path.relative_to(GOLDEN) for path in GOLDEN.rglob("*")}
    for name in ("config.json", "vocabulary.json", "metrics.jsonl", "samples.jsonl", "checkpoints/000002/state.json"):
        assert (tmp_path / "golden" / name).read_bytes() == (GOLDEN / name).read_bytes()
