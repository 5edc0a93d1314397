"""Snapshots of the past: a few, evenly spread, verified when read, and the same after any interruption."""

import shutil
from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from test_training_durable import Recorder, Unsynced, assert_one_line, each_fault, materialise
from test_training_loop import after, create, fresh, restored, spoil_weight
from unrolled.errors import RunError, TrainingError, UnrolledError
from unrolled.training import durable, loop, snapshots
from unrolled.training.events import Saved, SaveFailed, Skipped
from unrolled.training.loop import train
from unrolled.training.run_folder import RunFolder
from unrolled.training.snapshots import MOST, keep, kept_steps, read, steps_in


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(durable, "system", Unsynced())
    monkeypatch.setattr(loop, "SAMPLE_CHARACTERS", 6)


def tensors(seed=0):
    torch.manual_seed(seed)
    return {"a.weight": torch.randn(3, 5), "b": torch.randn(2).double(), "count": torch.tensor([7])}


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 1000))
@example(0, 1)
@example(10**9, 1)
def test_at_most_sixteen_with_the_first_and_the_last(newest, every):
    steps = kept_steps(newest, every)
    assert len(steps) <= MOST and steps[0] == 0 and steps[-1] == newest
    assert steps == sorted(set(steps))
    assert all(step % every == 0 for step in steps[:-1])


@pytest.mark.parametrize("count", [*range(1, 60), 100, 1000, 12345])
def test_they_are_evenly_spread_over_the_doublings(count):
    steps = kept_steps(count, 1)
    if count < MOST:
        assert len(steps) >= min(count + 1, 8)
    if count >= 7:
        assert len(steps) >= 7
    inner = steps[1:-1]
    ratios = [later / earlier for earlier, later in pairwise(inner)]
    # Whole numbers cannot be closer than one.
    assert all(ratio <= max(2 * min(ratios), 2.0) + 1e-9 for ratio in ratios)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 50))
def test_what_is_kept_later_was_kept_before(one, other, every):
    earlier, later = sorted((one * every, other * every))
    assert {step for step in kept_steps(later, every) if step <= earlier} <= set(kept_steps(earlier, every))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(1, 9), st.integers(0, 8))
def test_a_folder_holds_what_the_rule_keeps(looks, every, rest):
    with pytest.MonkeyPatch.context() as patch:
        files: dict[int, bool] = {}
        patch.setattr(durable, "write_bytes_durably", lambda path, _: files.update({int(path.stem): True}))
        patch.setattr(durable, "remove_folder", lambda path: files.pop(int(path.stem)))
        patch.setattr(durable, "make_folder", lambda _: None)
        patch.setattr(snapshots, "steps_in", lambda _: sorted(files))
        steps = [look * every for look in range(looks + 1)] + [looks * every + rest % every] * bool(rest % every)
        for step in steps:
            keep(Path("never-written"), step, {}, every=every)
        assert sorted(files) == kept_steps(steps[-1], every)


def test_weights_come_back_rounded_to_half_precision(tmp_path):
    wanted = tensors() | {"large": torch.tensor([1e6, 1e-3])}
    keep(tmp_path, 400, wanted, every=100)
    assert [path.name for path in tmp_path.iterdir()] == ["000400.safetensors"]
    found = read(tmp_path, 400)
    assert found.keys() == wanted.keys()
    assert torch.equal(found["a.weight"], wanted["a.weight"].half().float())
    assert torch.equal(found["large"], wanted["large"]) and found["count"].item() == 7
    assert {name: value.dtype for name, value in found.items()} == {
        **dict.fromkeys(("a.weight", "b", "large"), torch.float32),
        "count": torch.int64,
    }
    assert load_file(tmp_path / "000400.safetensors")["a.weight"].dtype == torch.float16


def test_the_same_weights_are_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        keep(tmp_path / name, 3, tensors(), every=1)
    assert (tmp_path / "one" / "000003.safetensors").read_bytes() == (
        tmp_path / "two" / "000003.safetensors"
    ).read_bytes()


def test_every_damage_is_noticed(tmp_path):
    keep(tmp_path, 1, tensors(), every=1)
    path = tmp_path / "000001.safetensors"
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(RunError) as caught:
            read(tmp_path, 1)
        assert_one_line(caught.value)
    for data in (b"", good[:-1], good + b"\0"):
        path.write_bytes(data)
        with pytest.raises(RunError):
            read(tmp_path, 1)
    path.write_bytes(good)
    shutil.copy(path, tmp_path / "000002.safetensors")
    with pytest.raises(RunError, match="step 2"):
        read(tmp_path, 2)
    with pytest.raises(RunError):
        read(tmp_path, 3)


def test_only_snapshots_are_steps(tmp_path):
    for name in (
        "000010.safetensors",
        "1.safetensors",
        "0000010.safetensors",
        "notes.txt",
        ".000020.safetensors.1.tmp",
    ):
        (tmp_path / name).write_text("")
    assert steps_in(tmp_path) == [10] and steps_in(tmp_path / "nowhere") == []


def test_any_failing_call_leaves_good_snapshots(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "MOST", 3)
    for step in range(3):
        keep(tmp_path / "before", step, tensors(step), every=1)
    for system in each_fault():
        folder = shutil.copytree(tmp_path / "before", tmp_path / f"{system.k}-{system.code}-{system.forever}")
        monkeypatch.setattr(durable, "system", system)
        try:
            keep(folder, 3, tensors(3), every=1)
        except TrainingError as error:
            assert_one_line(error)
        assert {0, 1} <= set(steps_in(folder))
        for step in steps_in(folder):
            assert torch.equal(read(folder, step)["a.weight"], tensors(step)["a.weight"].half().float())


def test_no_power_loss_leaves_half_a_snapshot(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    for step in range(16):
        keep(tmp_path / "run", step, tensors(step), every=1)
    recorder = Recorder(tmp_path / "run", promised=lambda: None)
    monkeypatch.setattr(durable, "system", recorder)
    keep(tmp_path / "run", 16, tensors(16), every=1)
    for number, state in enumerate(recorder.states):
        crashed = materialise(state, tmp_path / str(number))
        assert {0, 15} <= set(steps_in(crashed)) | {16}
        for step in steps_in(crashed):
            read(crashed, step)


def contents(folder: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder.path / "snapshots").iterdir()}


def structures(folder: RunFolder) -> list[object]:
    return [(look["structure"], look.get("structure_of_text")) for look in folder.metrics()]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "system", Unsynced())
        patch.setattr(loop, "SAMPLE_CHARACTERS", 6)
        folder = create(tmp_path_factory.mktemp("unbroken") / "run")
        list(train(fresh(evaluate_every=1, steps=20), folder))
        return contents(folder), structures(folder)


def test_a_run_keeps_its_past(unbroken, tmp_path):
    training, folder = fresh(evaluate_every=1, steps=20), create(tmp_path / "run")
    past = {0: {name: value.clone() for name, value in training.model.state_dict().items()}}
    for event in train(training, folder):
        if isinstance(event, Saved):
            past[event.step] = {name: value.clone() for name, value in training.model.state_dict().items()}
    assert folder.snapshots() == kept_steps(20, 1) and len(folder.snapshots()) == 15
    for step in folder.snapshots():
        for name, value in folder.snapshot(step).items():
            assert torch.equal(value, past[step][name].half().float())
    measured, of_text = structures(folder)[0]
    assert measured.keys() == {*of_text, "copied"} and structures(folder)[1][1] is None


@pytest.mark.parametrize("stop", [0, 1, 7, 15, 16, 19])
def test_a_resumed_run_has_the_same_past(stop, unbroken, tmp_path):
    options = {"evaluate_every": 1, "steps": 20}
    training, folder = fresh(**options), create(tmp_path / "run")
    list(train(training, folder, should_stop=after(stop, training)))
    training, folder = restored(tmp_path / "run", **options)
    list(train(training, folder))
    assert (contents(folder), structures(folder)) == unbroken


@pytest.mark.parametrize("moment", range(2, 80, 11))
def test_a_killed_run_resumed_from_an_older_checkpoint_has_the_same_past(moment, unbroken, tmp_path):
    options = {"evaluate_every": 1, "steps": 20}
    training, folder = fresh(**options), create(tmp_path / "run")
    list(islice(train(training, folder), moment))
    if len(folder.checkpoints()) > 1:
        shutil.rmtree(folder.path / "checkpoints" / f"{folder.checkpoints()[-1]:06d}")
    if not folder.checkpoints():
        return  # the run begins anew
    training, folder = restored(tmp_path / "run", **options)
    assert not folder.snapshots() or folder.snapshots()[-1] <= training.counters.step
    list(train(training, folder))
    assert (contents(folder), structures(folder)) == unbroken


def test_a_snapshot_that_cannot_be_written_is_told_and_the_checkpoint_is_there(tmp_path):
    training, folder = fresh(), create(tmp_path / "run")
    (folder.path / "snapshots").write_text("in the way")
    events = list(train(training, folder))
    assert [event.step for event in events if isinstance(event, SaveFailed)] == [0, 4, 8, 12]
    assert [event.step for event in events if isinstance(event, Saved)] == [0, 4, 8, 12]
    assert folder.snapshots() == [] and folder.latest().step == 12


def test_weights_that_are_not_finite_are_told_once_and_not_kept(tmp_path):
    training, folder = fresh("rnn", dropout=0.0, steps=8), create(tmp_path / "run")
    events = []
    for event in train(training, folder):
        events.append(event)
        if isinstance(event, Saved) and event.step == 4:
            spoil_weight(training, float("nan"))
    assert [event.step for event in events if isinstance(event, SaveFailed)] == [8]
    assert len([event for event in events if isinstance(event, Skipped)]) >= 4
    assert folder.snapshots() == [0, 4]


def test_a_model_that_writes_nothing_has_no_milestones(monkeypatch, tmp_path):
    def refusing(*_given, **_named):
        raise UnrolledError(expected="finite logits", received="infinity", remedy="use another checkpoint")

    monkeypatch.setattr(loop, "write", refusing)
    folder = create(tmp_path / "run")
    list(train(fresh(steps=4), folder))
    assert [look["structure"] for look in folder.metrics()] == [None, None]
    assert [sample["text"] for sample in folder.samples()] == ["", ""]


def test_an_old_run_has_no_past(tmp_path):
    folder = create(tmp_path / "run")
    assert folder.snapshots() == []
    folder.truncate_logs_after(3)
    with pytest.raises(RunError):
        folder.snapshot(3)
    with folder.lock():
        pass


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    folder = create(tmp_path / "run")
    folder.keep_snapshot(0, tensors(), every=1)
    (folder.path / "snapshots" / ".000001.safetensors.1-1.tmp").write_text("half")
    with folder.lock():
        assert [path.name for path in (folder.path / "snapshots").iterdir()] == ["000000.safetensors"]
