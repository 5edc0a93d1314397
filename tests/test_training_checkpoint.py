"""Checkpoints survive failing calls, power loss, kills, flipped bytes and truncation: never a wrong one is read."""

import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import unrolled
from test_training_durable import Recorder, Unsynced, assert_one_line, each_fault, materialise, names
from unrolled.errors import RunError, TrainingError
from unrolled.training import durable
from unrolled.training.checkpoint import (
    MAX_TENSORS,
    Checkpoint,
    best,
    checkpoint_folders,
    decode_tensors,
    encode_tensors,
    newest,
    prune,
    read_checkpoint,
    verify,
    write_checkpoint,
)
from unrolled.training.run_folder import FORMAT_VERSION, RunFolder

CONFIG = {"format": FORMAT_VERSION, "family": "lstm"}
VOCABULARY = {"characters": "ab"}
BITS = {1: 3.0, 2: 2.0, 3: 2.5, 4: 2.4, 5: 2.3}


def content(step: int, version: int = 0) -> dict:
    state = {"step": step, "version": version, "valid": {"bits_per_char": BITS.get(step, 5.0)}}
    model = {"w": torch.full((3,), float(step)), "n": torch.tensor([step, version])}
    return {"model": model, "optimizer": {"m": torch.full((2,), step + 0.5).bfloat16()}, "state": state}


def assert_as_written(found: Checkpoint) -> None:
    wanted = content(found.step, found.state["version"])
    assert found.state == wanted["state"]
    for group in ("model", "optimizer"):
        tensors = getattr(found, group)
        assert tensors.keys() == wanted[group].keys()
        for name, tensor in wanted[group].items():
            assert tensors[name].dtype == tensor.dtype
            assert torch.equal(tensors[name], tensor)


def write(folder: Path, step: int, **options) -> Path:
    return write_checkpoint(folder, step, **content(step), binds={"config.json": "0" * 64}, **options)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(durable, "system", Unsynced())


@pytest.fixture
def run(tmp_path) -> RunFolder:
    run = RunFolder.create(tmp_path / "run", CONFIG, VOCABULARY)
    for step in (1, 2, 3, 4):
        run.append_metric({"step": step})
        run.save(step, **content(step))
    assert run.checkpoints() == [2, 3, 4]
    return run


def test_what_is_read_is_what_was_written(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    model = {"a": tied, "b": tied, "t": tied.T, "bf": tied.bfloat16(), "i": torch.tensor(3), "empty": torch.zeros(0, 2)}
    path = write_checkpoint(tmp_path / "c", 1_234_567, model=model, optimizer={}, state={"x": [1]}, binds={})
    found = read_checkpoint(path)
    assert (found.step, found.state, found.optimizer, found.path) == (1_234_567, {"x": [1]}, {}, path)
    for name, tensor in model.items():
        assert found.model[name].dtype == tensor.dtype
        assert torch.equal(found.model[name], tensor)
    found.model["a"].add_(1)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("group", ["model", "optimizer", "state"])
def test_a_number_that_is_not_finite_never_reaches_a_checkpoint(tmp_path, number, group):
    bad = content(1)
    bad[group] = {"bad": number if group == "state" else torch.tensor([1.0, number])}
    with pytest.raises(TrainingError) as caught:
        write_checkpoint(tmp_path, 1, **bad, binds={})
    assert_one_line(caught.value)
    assert names(tmp_path) == []


def test_every_flipped_byte_and_every_truncation_is_detected(tmp_path):
    path = write(tmp_path, 1)
    verify(path)
    for file in sorted(path.iterdir()):
        good = file.read_bytes()
        flipped = (
            good[:k] + bytes([good[k] ^ mask]) + good[k + 1 :] for k in range(len(good)) for mask in (1, 0x20, 0xFF)
        )
        shorter = (good[:size] for size in range(len(good)))
        for bad in itertools.chain(flipped, shorter, [good + b"\n", good + b"\0"]):
            file.write_bytes(bad)
            with pytest.raises(RunError) as caught:
                verify(path)
            assert_one_line(caught.value)
        file.write_bytes(good)
    verify(path)


def test_each_kind_of_damage_has_its_own_words(tmp_path):
    path = write(tmp_path, 1)
    cases = {
        "unfinished": lambda copy: (copy / "MANIFEST.json").unlink(),
        "truncated": lambda copy: os.truncate(copy / "model.safetensors", 20),
        "damaged or edited": lambda copy: (copy / "state.json").write_bytes(
            (copy / "state.json").read_bytes().replace(b"3.0", b"1.0")
        ),
        "install a newer unrolled": lambda copy: (copy / "MANIFEST.json").write_text('{"format": 99, "other": 1}'),
        "renamed": lambda copy: copy.rename(copy.with_name("000007")),
        "a pipe": lambda copy: ((copy / "model.safetensors").unlink(), os.mkfifo(copy / "model.safetensors")),
        "No such file": lambda copy: (copy / "optimizer.safetensors").unlink(),
    }
    for words, damage in cases.items():
        copy = tmp_path / words.replace(" ", "-") / "000001"
        shutil.copytree(path, copy)
        damage(copy)
        with pytest.raises(RunError, match=words) as caught:
            verify(copy.with_name("000007") if words == "renamed" else copy)
        assert_one_line(caught.value)


def test_a_sealed_manifest_of_another_shape_is_refused(tmp_path):
    from unrolled.training import checkpoint

    path = write(tmp_path, 1)
    for manifest in ({}, {"files": 1}, {"files": {}}, {"files": dict.fromkeys(checkpoint._FILES, 1)}):
        sealed = checkpoint._sealed({"format": 1, "step": 1, "binds": {}, **manifest}, path)
        (path / "MANIFEST.json").write_bytes(sealed)
        with pytest.raises(RunError):
            verify(path)


def test_an_edited_file_that_the_checkpoint_belongs_to_is_named(tmp_path):
    path = write(tmp_path, 1)
    read_checkpoint(path, binds={"config.json": "0" * 64})
    with pytest.raises(RunError, match=r"config\.json.*edited"):
        read_checkpoint(path, binds={"config.json": "1" * 64})


def test_safetensors_are_parsed_defensively(tmp_path):
    def file(header: bytes, data: bytes = b"") -> bytes:
        return len(header).to_bytes(8, "little") + header + data

    entry = b'{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    bad = [
        b"",
        b"\x02\0\0\0\0\0\0\0",
        (1 << 62).to_bytes(8, "little") + b"{}",
        file(b" " * (1 << 20) + b"{}"),
        file(b'{"a": ' + entry + b', "a": ' + entry + b"}", b"\0" * 4),
        file(b'{"a": ' + entry + b"}"),
        file(b'{"a": ' + entry + b"}", b"\0" * 8),
        file(b'{"a": ' + entry.replace(b"F32", b"X99") + b"}", b"\0" * 4),
        file(b'{"a": ' + entry.replace(b"[1]", b"[99999999999, 99999999999]") + b"}", b"\0" * 4),
        file(b"{" + b",".join(b'"%d":{}' % k for k in range(MAX_TENSORS + 1)) + b"}"),
        save({"a": torch.tensor([float("nan")])}),
    ]
    for data in bad:
        with pytest.raises(RunError) as caught:
            decode_tensors(data, tmp_path / "model.safetensors")
        assert_one_line(caught.value)
    good = encode_tensors({"a": torch.ones(2)}, "x")
    generator = random.Random(0)
    for _ in range(500):
        data = bytearray(good)
        for _ in range(generator.randrange(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            decode_tensors(bytes(data), tmp_path / "x")
        except RunError as error:
            assert_one_line(error)


def test_the_highest_verified_step_is_the_newest_whatever_the_clock_says(tmp_path):
    for step in (3, 20, 1):
        os.utime(write(tmp_path, step), (step, 10_000 - step))
    assert newest(tmp_path).step == 20
    (tmp_path / "000020" / "state.json").write_bytes(b"{}")
    (tmp_path / "000030").mkdir()
    (tmp_path / "000031").write_bytes(b"")
    (tmp_path / "0000040").mkdir()
    found = newest(tmp_path)
    assert found.step == 3
    assert_as_written(found)
    assert len(found.notes) == 3
    for note in found.notes:
        assert note.isprintable()


def test_the_best_has_the_lowest_bits_per_character_else_it_is_the_newest(tmp_path):
    for step in (1, 2, 3):
        write(tmp_path, step)
    assert best(tmp_path).step == 2
    (tmp_path / "000002" / "model.safetensors").write_bytes(b"")
    found = best(tmp_path)
    assert (found.step, len(found.notes)) == (3, 1)
    for step, valid in ((1, None), (2, {"bits_per_char": True}), (3, {"bits_per_char": "1"})):
        write_checkpoint(tmp_path / "other", step, model={}, optimizer={}, state={"valid": valid}, binds={})
    assert best(tmp_path / "other").step == 3
    with pytest.raises(RunError, match="none"):
        best(tmp_path / "empty")


def test_pruning_keeps_the_newest_verified_and_the_best(tmp_path):
    for step in (1, 2, 3, 4, 5):
        write(tmp_path, step)
    (tmp_path / "000005" / "state.json").unlink()
    prune(tmp_path, {1})
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["000004", "000002", "000001"]
    for path in checkpoint_folders(tmp_path):
        (path / "state.json").unlink()
    prune(tmp_path, set())
    assert len(checkpoint_folders(tmp_path)) == 3


def test_any_failing_call_while_saving_leaves_the_old_or_the_new(run, tmp_path, monkeypatch):
    works = {
        "next": lambda copy: copy.save(5, **content(5)),
        "again": lambda copy: copy.save(4, **content(4, 1)),
        "publish": lambda copy: copy.publish_weights(content(9)["model"]),
        "truncate": lambda copy: copy.truncate_logs_after(2),
    }
    count = 0
    for name, work in works.items():
        for system in each_fault():
            count += 1
            copy = RunFolder.open(shutil.copytree(run.path, tmp_path / f"{name}{count}"))
            monkeypatch.setattr(durable, "system", system)
            failed = False
            try:
                work(copy)
            except TrainingError as error:
                assert_one_line(error)
                failed = True
            monkeypatch.setattr(durable, "system", Unsynced())
            found = RunFolder.open(copy.path).latest()
            assert_as_written(found)
            assert found.step in ((4, 5) if name == "next" and failed else (5,) if name == "next" else (4,))
            assert copy.best().step == 2
            assert not found.notes
            assert copy.metrics() in ([{"step": 1}, {"step": 2}], [{"step": step} for step in (1, 2, 3, 4)])
            with copy.lock():
                assert not any(durable.is_temporary(path.name) for path in copy.path.rglob("*"))
                if count % 5 == 0:
                    copy.save(6, **content(6))
                    assert copy.latest().step == 6
            shutil.rmtree(copy.path)
    assert count > 200


def test_no_power_loss_finds_a_wrong_checkpoint(tmp_path, monkeypatch):
    run = RunFolder.create(tmp_path / "run", CONFIG, VOCABULARY)
    done = {"step": 0, "lines": 0}
    recorder = Recorder(run.path, promised=lambda: dict(done))
    monkeypatch.setattr(durable, "system", recorder)
    for step, version in ((1, 0), (2, 0), (3, 0), (3, 1), (4, 0), (5, 0)):
        run.append_metric({"step": step})
        done["lines"] += 1
        run.save(step, **content(step, version))
        done["step"] = step
    monkeypatch.setattr(durable, "system", Unsynced())
    assert {"fsync", "rename", "unlink", "write"} <= set(recorder.trace)
    assert len(recorder.states) > 150
    for number, (state, promised) in enumerate(recorder.states.items()):
        crashed = RunFolder.open(materialise(state, tmp_path / "crashed"))
        for path in checkpoint_folders(crashed.path / "checkpoints"):
            verify(path)
        try:
            found = crashed.latest()
            assert_as_written(found)
            assert found.step >= promised["step"]
            assert_as_written(crashed.best())
        except RunError:
            assert promised["step"] == 0
        assert len(crashed.metrics()) >= promised["lines"]
        if number % 10 == 0:
            with crashed.lock():
                crashed.append_metric({"step": 6})
                crashed.save(6, **content(6))
            assert crashed.latest().step == 6
        shutil.rmtree(crashed.path)


def test_without_fsync_the_enumeration_finds_damage(tmp_path, monkeypatch):
    """The control: a writer that renames without fsync does lose its checkpoint in one of the states."""

    class Careless(Recorder):
        def fsync(self, descriptor: int) -> None:
            if self.descriptors[descriptor][0].__class__.__name__ == "FolderNode":
                super().fsync(descriptor)

    recorder = Careless(tmp_path, promised=lambda: None)
    monkeypatch.setattr(durable, "system", recorder)
    write(tmp_path, 1)
    damaged = 0
    for number, state in enumerate(recorder.states):
        crashed = materialise(state, tmp_path / f"crashed{number}")
        damaged += any(not (path / "MANIFEST.json").read_bytes() for path in checkpoint_folders(crashed))
    assert damaged


def kill_repeatedly(path: Path, kills: int = 20) -> None:
    """Fork a child that saves without end, kill it at a random moment, look at what it left; run by a test below."""
    torch.set_num_threads(1)
    generator = random.Random(7)
    last = 0
    for _ in range(kills):
        run = RunFolder.open(path)
        child = os.fork()
        if not child:
            with run.lock():
                for step in itertools.count(last + 1):
                    run.append_metric({"step": step})
                    run.save(step, **content(step))
        time.sleep(generator.uniform(0.0, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if run.checkpoints():
            found = run.latest()
            assert_as_written(found)
            assert found.step >= last
            last = found.step
            assert found.step <= run.metrics()[-1]["step"]
            run.truncate_logs_after(last)
            assert [line["step"] for line in run.metrics()] == list(range(1, last + 1))
        else:  # killed before the first checkpoint: whoever begins anew clears the logs, too
            run.truncate_logs_after(0)
    assert last > 0
    with run.lock():
        assert not any(durable.is_temporary(path.name) for path in run.path.rglob("*"))


def test_a_killed_writer_leaves_a_good_checkpoint(tmp_path):
    RunFolder.create(tmp_path / "run", CONFIG, VOCABULARY)
    script = "import sys, pathlib, test_training_checkpoint as t; t.kill_repeatedly(pathlib.Path(sys.argv[1]))"
    folders = [Path(__file__).parent, Path(unrolled.__file__).parents[1]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_full_disk_says_so(run, monkeypatch):
    class Full(Unsynced):
        def write(self, descriptor, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable, "system", Full())
    with pytest.raises(TrainingError, match=r"ENOSPC.*free some space"):
        run.save(5, **content(5))
    assert_as_written(run.latest())


ARMED: list[str] = []
SEEN: list[str] = []


def watch(event: str, arguments: tuple) -> None:
    if ARMED and event.startswith(("pickle.", "exec", "compile", "socket.", "subprocess.", "os.system")):
        SEEN.append(event)


def test_loading_runs_no_code(run):
    run.publish_weights(content(1)["model"])
    run.latest()
    sys.addaudithook(watch)
    ARMED.append("armed")
    try:
        opened = RunFolder.open(run.path)
        opened.latest(), opened.best(), opened.weights(), opened.metrics(), opened.samples()
    finally:
        ARMED.clear()
    assert SEEN == []


def test_the_sources_never_unpickle():
    for path in Path(durable.__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "import pickle" not in source
        assert "torch.load" not in source
