"""Training does what it says, byte for byte, wherever it is stopped and whatever is not finite."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import islice

import numpy as np
import pytest
import torch

import families
from test_training_durable import Unsynced
from tolerances import UPDATE64
from unrolled.errors import TrainingError
from unrolled.text.lanes import Lanes
from unrolled.text.vocabulary import UNKNOWN, Vocabulary
from unrolled.training import durable, loop
from unrolled.training.checkpoint import read_checkpoint
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, Score
from unrolled.training.events import Evaluated, Progressed, Saved, SaveFailed, Skipped, Stopped, Wrote
from unrolled.training.loop import MAX_SKIPPED, Counters, Training, train, update
from unrolled.training.optimizer import Optimizer
from unrolled.training.run_folder import FORMAT_VERSION, RunFolder

VOCABULARY = Vocabulary("characters", (UNKNOWN, "\n", *"abcdefghi"))
STEPS = 12
RESUMED = ["lstm", "mingru", "hybrid", "toy"]
PRECISIONS = {"hybrid": "bfloat16"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(durable, "system", Unsynced())
    monkeypatch.setattr(loop, "SAMPLE_CHARACTERS", 6)


def text(length: int, seed: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(1, VOCABULARY.size, size=length).astype(np.uint8)


def fresh(name="lstm", *, dropout=0.3, dtype=torch.float32, seed=0, valid=None, **changed) -> Training:
    settings = {"steps": STEPS, "lanes": 3, "unroll": 5, "rate": 0.02, "warm_up": 3, "evaluate_every": 4}
    settings |= {"forget_every": 17}
    config = TrainingConfig(**(settings | changed))
    model = families.model(name, dropout=dropout, dtype=dtype, seed=seed)
    return Training(model, config, VOCABULARY, text(97, 1), text(31, 2) if valid is None else valid)


def create(path) -> RunFolder:
    return RunFolder.create(path, {"format": FORMAT_VERSION}, VOCABULARY.to_json())


def restored(path, name="lstm", **options) -> tuple[Training, RunFolder]:
    """What --resume does, onto a model with other weights."""
    folder = RunFolder.open(path)
    checkpoint = folder.latest()
    training = fresh(name, seed=99, **options)
    training.model.load_state_dict(checkpoint.model)
    training.restore(checkpoint.optimizer, checkpoint.state["counters"])
    folder.truncate_logs_after(checkpoint.step)
    return training, folder


def outcome(training: Training, folder: RunFolder | None = None) -> dict[str, object]:
    """All that a run leaves behind, as bytes, without its seconds."""

    def raw(tensors):
        return {name: (value.dtype, value.shape, value.numpy().tobytes()) for name, value in tensors.items()}

    found = {
        "weights": raw(training.model.state_dict()),
        "tensors": raw(training.tensors()),
        "counters": {name: value for name, value in asdict(training.counters).items() if name != "seconds"},
    }
    if folder is not None:
        logs = [{key: line[key] for key in line if key != "seconds"} for line in folder.metrics()]
        found |= {"metrics": logs, "samples": folder.samples(), "steps": folder.checkpoints()}
        found["best"] = raw(folder.weights())
    return found


def after(steps: int, training: Training):
    return lambda: training.counters.step >= steps


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The outcome of each family's run that nobody stopped."""
    kept = {}

    def get(name):
        if name not in kept:
            training = fresh(name, precision=PRECISIONS.get(name, "float32"))
            folder = create(tmp_path_factory.mktemp(name) / "run")
            list(train(training, folder))
            kept[name] = outcome(training, folder)
        return kept[name]

    return get


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("stop", range(1, STEPS))
def test_stopped_at_any_step_and_resumed_is_byte_identical(name, stop, unbroken, tmp_path):
    precision = PRECISIONS.get(name, "float32")
    training, folder = fresh(name, precision=precision), create(tmp_path / "run")
    events = list(train(training, folder, should_stop=after(stop, training)))
    assert events[-1] == Stopped(stop, "interrupted", events[-1].seconds)
    assert isinstance(events[-2], Saved) and folder.checkpoints()[-1] == stop
    training, folder = restored(tmp_path / "run", name, precision=precision)
    assert training.counters.step == stop
    assert list(train(training, folder))[-1].reason == "finished"
    expected = unbroken(name)
    found = outcome(training, folder)
    assert {key: found[key] for key in found if key != "steps"} == {
        key: expected[key] for key in found if key != "steps"
    }


@pytest.mark.parametrize("name", RESUMED)
def test_stopped_after_every_step_is_byte_identical(name, unbroken, tmp_path):
    precision = PRECISIONS.get(name, "float32")
    training, folder = fresh(name, precision=precision), create(tmp_path / "run")
    for stop in range(1, STEPS + 1):
        list(train(training, folder, should_stop=after(stop, training)))
        if stop < STEPS:
            training, folder = restored(tmp_path / "run", name, precision=precision)
    found, expected = outcome(training, folder), unbroken(name)
    assert {key: found[key] for key in found if key != "steps"} == {
        key: expected[key] for key in found if key != "steps"
    }


@pytest.mark.parametrize("moment", range(18))
def test_killed_between_any_two_events_and_resumed_is_byte_identical(moment, unbroken, tmp_path):
    training, folder = fresh(evaluate_every=3), create(tmp_path / "run")
    whole, whole_folder = fresh(evaluate_every=3), create(tmp_path / "whole")
    count = len(list(train(whole, whole_folder)))
    if moment >= count - 1:
        moment = count - 2
    list(islice(train(training, folder), moment))
    if not folder.checkpoints():
        return  # killed before anything was saved: the run begins anew
    training, folder = restored(tmp_path / "run", evaluate_every=3)
    list(train(training, folder))
    assert outcome(training, folder) == outcome(whole, whole_folder)


@pytest.mark.parametrize("dropped", ["memory", "position", "moments", "step"])
def test_a_resumed_run_needs_all_that_is_kept(dropped, unbroken, tmp_path):
    """The negative control: the comparison above notices when one thing is not put back."""
    training, folder = fresh(), create(tmp_path / "run")
    list(train(training, folder, should_stop=after(5, training)))
    training, folder = restored(tmp_path / "run")
    if dropped == "memory":
        training.state = training.model.initial_state(3)
    elif dropped == "position":
        training.counters.position = 0
    elif dropped == "moments":
        training.optimizer = Optimizer(training.model, training.config)
    else:
        training.counters.step = 4  # another dropout, another rate
    list(train(training))
    assert outcome(training)["weights"] != unbroken("lstm")["weights"]


def snapshot(value, path="", seen=None, found=None) -> dict[str, object]:
    """Every leaf reachable from an object, by its path."""
    seen, found = (set(), {}) if seen is None else (seen, found)
    if isinstance(value, torch.Tensor):
        found[path] = value.detach().numpy().tobytes()
        found[f"{path}.grad"] = None if value.grad is None else value.grad.numpy().tobytes()
    elif isinstance(value, np.ndarray):
        found[path] = value.tobytes()
    elif isinstance(value, str | int | float | bool | type(None)):
        found[path] = value
    elif id(value) not in seen:
        seen.add(id(value))
        if isinstance(value, Mapping):
            items = {f"[{key if isinstance(key, str | int) else 'parameter'}]": item for key, item in value.items()}
        elif isinstance(value, list | tuple | set):
            items = {f"[{i}]": item for i, item in enumerate(value)}
        else:
            items = {f".{key}": item for key, item in getattr(value, "__dict__", {}).items()}
        for name, item in items.items():
            snapshot(item, path + name, seen, found)
    return found


def test_the_census_of_what_training_changes(tmp_path):
    """Everything that changes is saved, or is on this list of what the saved things decide anew at every step."""
    ephemeral = (".grad", ".training")  # of parameters; model.train() opens every step
    training = fresh("hybrid")
    assert set(vars(training)) == {
        *("model", "config", "vocabulary", "train_ids", "valid_ids", "regime", "counters", "state", "optimizer")
    }
    before = snapshot(training)
    folder = create(tmp_path / "run")
    list(train(training, folder))
    changed = {path for path, value in snapshot(training).items() if before.get(path, "absent") != value}
    changed = {path for path in changed if not path.endswith(ephemeral)}
    saved = (".counters.", ".state[layer", ".optimizer._moments[")
    places = (".model._modules", ".optimizer._parameters", ".optimizer._groups")
    weights = {path for path in changed if "._parameters[" in path or path.startswith(places[2])}
    assert {path.split("[")[0] for path in weights} == set(places)
    assert [path for path in sorted(changed - weights) if not path.startswith(saved)] == []
    checkpoint = folder.latest()
    assert checkpoint.model.keys() == dict(training.model.named_parameters()).keys()
    assert not list(training.model.buffers())
    assert set(checkpoint.state["counters"]) == {field.name for field in fields(Counters)}
    kinds = {"step", "exp_avg", "exp_avg_sq"}
    for name, parameter in training.model.named_parameters():
        assert {f"{kind}.{name}" for kind in kinds} <= training.optimizer.tensors().keys()
        assert parameter.requires_grad
        assert all(f"{kind}.{name}" in checkpoint.optimizer for kind in kinds)
    lanes = {f"lanes.{name}" for name in training.state}
    assert len(checkpoint.optimizer) == len(lanes) + 3 * len(checkpoint.model)
    assert lanes < checkpoint.optimizer.keys()


def test_nobody_else_s_random_numbers_matter(unbroken):
    training = fresh()
    list(train(training, should_stop=lambda: bool(torch.rand(3).sum() + np.random.default_rng().random() < 0)))
    assert outcome(training)["weights"] == unbroken("lstm")["weights"]


def test_the_seed_decides(unbroken):
    training = fresh(seed=0)
    list(train(training))
    assert outcome(training)["weights"] == unbroken("lstm")["weights"]
    other = fresh(seed=0)
    other.config = TrainingConfig(**(asdict(other.config) | {"seed": 2}))
    list(train(other))
    assert outcome(other)["weights"] != unbroken("lstm")["weights"]


@pytest.mark.parametrize("valid", [text(31, 77), text(2, 5), text(1, 0), text(0, 0)], ids=len)
def test_the_validation_part_never_influences_the_weights(valid, unbroken, tmp_path):
    training = fresh(valid=valid)
    list(train(training, create(tmp_path / "run")))
    assert outcome(training)["weights"] == unbroken("lstm")["weights"]
    assert outcome(training)["tensors"] == unbroken("lstm")["tensors"]


@pytest.mark.parametrize("name", ["lstm", "mingru", "transformer", "toy"])
def test_updates_are_the_naive_ones(name):
    """Truncated backpropagation, clipping, AdamW (Loshchilov and Hutter 2019, algorithm 2) and rates by hand."""
    settings = {"clip": 0.05, "weight_decay": 0.3, "beta2": 0.9, "steps": 9, "forget_every": 0}
    training = fresh(name, dropout=0.0, dtype=torch.float64, **settings)
    twin = families.model(name, dtype=torch.float64)
    twin.load_state_dict(training.model.state_dict())
    ids, memory, moments = training.train_ids, twin.initial_state(3), {}
    lanes = Lanes(ids, 3, 5)
    for step in range(6):
        assert update(training, lanes) is None
        rows = [[ids[(lane * (97 // 3) + step * 5 + t) % 97] for t in range(6)] for lane in range(3)]
        tokens = torch.tensor(np.array(rows, dtype=np.int64))
        logits, memory = twin(tokens[:, :5], {key: value.detach().clone() for key, value in memory.items()})
        losses = -logits.float().log_softmax(-1).gather(-1, tokens[:, 1:, None])
        names, parameters = zip(*twin.named_parameters(), strict=True)
        gradients = torch.autograd.grad(losses.mean(), parameters)
        norm = math.sqrt(sum((g**2).sum().item() for g in gradients))
        assert norm > 0.05
        rate = 0.02 * min(1, (step + 1) / 3) * (1 - step / 9)
        clipped = [gradient * 0.05 / (norm + 1e-6) for gradient in gradients]
        for key, parameter, gradient in zip(names, parameters, clipped, strict=True):
            mean, square = moments.get(key, (0.0, 0.0))
            mean, square = 0.9 * mean + 0.1 * gradient, 0.9 * square + 0.1 * gradient**2
            moments[key] = mean, square
            decay = 0.3 if parameter.dim() > 1 and key != "embedding.weight" else 0.0
            unbiased = (square / (1 - 0.9 ** (step + 1))).sqrt() + 1e-8
            with torch.no_grad():
                parameter.mul_(1 - rate * decay).sub_(rate * mean / (1 - 0.9 ** (step + 1)) / unbiased)
    for key, value in training.model.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[key], rtol=0, atol=UPDATE64, msg=key)
    for key, value in training.state.items():
        torch.testing.assert_close(value, memory[key], rtol=0, atol=UPDATE64, msg=key)


def started_from(training, steps):
    """The memories that the model was handed, step by step, and those that the steps before had left."""
    handed, left, lanes = [], [], Lanes(training.train_ids, training.config.lanes, training.config.unroll)
    forward = training.model.forward

    def watched(tokens_BT, state=None, **options):
        handed.append({name: value.clone() for name, value in state.items()})
        return forward(tokens_BT, state, **options)

    training.model.forward = watched
    for _ in range(steps):
        left.append(training.state)
        assert update(training, lanes) is None
    return handed, left


@pytest.mark.parametrize("name", sorted(families.PATTERNS))
def test_a_lane_forgets_as_often_as_asked(name):
    training = fresh(name, lanes=40, unroll=2, forget_every=8, steps=60, rate=1e-3)
    blank = training.model.initial_state(40)
    forgot, steps = 0, 40
    for before, left in zip(*started_from(training, steps), strict=True):
        anew = torch.stack([(before[key] == blank[key]).reshape(40, -1).all(1) for key in blank]).all(0)
        kept = torch.stack([(before[key] == left[key]).reshape(40, -1).all(1) for key in blank]).all(0)
        assert (anew | kept).all()
        forgot += int((anew & ~kept).sum())
    share, chance = forgot / (steps * 40), 2 / 8
    assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / (steps * 40)) + 1 / steps


def test_without_forgetting_the_memory_is_carried_on():
    for before, left in zip(*started_from(fresh("lstm", forget_every=0), 5), strict=True):
        assert all(torch.equal(before[key], left[key]) for key in left)


def test_no_gradient_flows_through_the_carried_state():
    training = fresh("hybrid")
    lanes = Lanes(training.train_ids, 3, 5)
    for _ in range(3):
        assert all(not value.requires_grad and value.grad_fn is None for value in training.state.values())
        update(training, lanes)
    assert any(value.any() for value in training.state.values())


def spoil_weight(training, value):
    with torch.no_grad():
        training.model.branches[0].weight_hh[0, 0] = value


def spoil_readout(training, value):
    with torch.no_grad():
        training.model.readout.bias[3] = value


def spoil_gradient(training, value):
    training.model.embedding.weight.register_hook(lambda gradient: gradient * value)


def spoil_memory(training, value):
    training.state = {name: torch.full_like(tensor, value) for name, tensor in training.state.items()}


def spoil_loss(training, value):
    forward = training.model.forward

    def spoilt(*given, **named):
        logits, state = forward(*given, **named)
        return logits * value, state

    training.model.forward = spoilt


SPOILS = [spoil_weight, spoil_readout, spoil_gradient, spoil_memory, spoil_loss]


def same_bytes(one, two):
    return {key: value for key, value in one.items() if two[key] != value} == {}


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_skipped_and_counted(spoil, value):
    training = fresh("rnn", dropout=0.0)
    lanes = Lanes(training.train_ids, 3, 5)
    assert [update(training, lanes) for _ in range(3)] == [None] * 3
    spoil(training, value)
    before = outcome(training)
    problem = update(training, lanes)
    if problem is None:  # an infinite input to tanh or to a softmax may be harmless
        assert spoil in (spoil_weight, spoil_memory, spoil_readout) and not math.isnan(value)
        assert all(torch.isfinite(v).all() for v in training.state.values())
        return
    assert "nan" in problem or "inf" in problem
    found = outcome(training)
    assert found["weights"] == before["weights"]
    moments = {key: v for key, v in before["tensors"].items() if not key.startswith("lanes.")}
    assert same_bytes(moments, found["tensors"])
    assert not any(v.any() for v in training.state.values()), "the lanes start anew"
    counters = training.counters
    assert (counters.step, counters.position, counters.skipped, counters.skipped_in_a_row) == (4, 20, 1, 1)
    assert math.isfinite(counters.loss_sum) and counters.loss_count == 3
    assert all(parameter.grad is None for parameter in training.model.parameters())
    if spoil is spoil_memory:
        assert update(training, lanes) is None
        assert (counters.skipped, counters.skipped_in_a_row) == (1, 0)


@pytest.mark.parametrize("name", sorted(families.PATTERNS))
def test_a_spoilt_memory_is_forgotten(name):
    training = fresh(name)
    lanes = Lanes(training.train_ids, 3, 5)
    for _ in range(4):  # until every window is full
        assert update(training, lanes) is None
    training.state = {
        key: torch.full_like(value, math.nan) if value.is_floating_point() else value
        for key, value in training.state.items()
    }
    assert update(training, lanes) is not None
    assert update(training, lanes) is None
    assert all(torch.isfinite(value).all() for value in training.state.values())


def assert_all_finite(folder):
    for step in folder.checkpoints():
        path = folder.path / "checkpoints" / f"{step:06d}"
        checkpoint = read_checkpoint(path)
        for tensor in (*checkpoint.model.values(), *checkpoint.optimizer.values()):
            assert tensor.isfinite().all()


@pytest.mark.parametrize("spoil", [spoil_weight, spoil_gradient, spoil_loss])
def test_training_stops_when_it_repeats_and_no_checkpoint_is_spoilt(spoil, tmp_path):
    training, folder = fresh("rnn", steps=40), create(tmp_path / "run")
    events = []
    with pytest.raises(TrainingError, match=r"10 steps in a row, up to step 16.*lower --rate than 0.02") as caught:
        for event in train(
            training, folder, should_stop=lambda: training.counters.step == 6 and spoil(training, math.nan)
        ):
            events.append(event)
    assert str(caught.value).isprintable()
    skipped = [event for event in events if isinstance(event, Skipped)]
    assert [(event.step, event.in_a_row, event.total) for event in skipped] == [
        (step, step - 6, step - 6) for step in range(7, 17)
    ]
    assert folder.latest().step >= 4
    assert_all_finite(folder)


def test_a_few_steps_that_are_not_finite_do_no_harm(tmp_path):
    training, folder = fresh(), create(tmp_path / "run")
    events = []
    for event in train(training, folder):
        events.append(event)
        if isinstance(event, Saved) and event.step in (4, 8):
            training.state = {key: value * math.nan for key, value in training.state.items()}
    assert [event.step for event in events if isinstance(event, Skipped)] == [5, 9]
    assert training.counters.skipped == 2 and training.counters.skipped_in_a_row == 0
    assert events[-1].reason == "finished"
    assert [line["skipped"] for line in folder.metrics()] == [0, 0, 1, 2]
    assert_all_finite(folder)


def test_skips_are_counted_across_a_resumption(tmp_path):
    training, folder = fresh("rnn", steps=40), create(tmp_path / "run")
    spoil_gradient(training, math.nan)
    list(train(training, folder, should_stop=after(7, training)))
    training, folder = restored(tmp_path / "run", "rnn", steps=40)
    assert training.counters.skipped_in_a_row == 7
    spoil_gradient(training, math.nan)
    with pytest.raises(TrainingError, match=f"{MAX_SKIPPED} steps in a row, up to step {MAX_SKIPPED}"):
        list(train(training, folder))


@pytest.fixture
def scores(monkeypatch):
    """Validation scores that the test chooses, in bits."""
    chosen: list[float] = []
    values = iter(chosen)

    monkeypatch.setattr(loop, "_scored", lambda _: (Score(next(values) * math.log(2), 1, 1, Protocol()), 1.0))
    return chosen


def test_early_stopping(scores, tmp_path):
    scores += [4.0, 3.0, 3.5, 3.0, 2.0, 1.0, 0.5]
    training, folder = fresh(evaluate_every=2, patience=2), create(tmp_path / "run")
    events = list(train(training, folder))
    assert [event.best for event in events if isinstance(event, Evaluated)] == [True, True, False, False]
    assert events[-1] == Stopped(6, "no longer improving", events[-1].seconds)
    assert folder.best().step == 2 and folder.latest().step == 6
    assert training.counters.best_bits == pytest.approx(3.0)


def test_patience_counts_across_a_resumption(scores, tmp_path):
    scores += [4.0, 3.0, 3.5, 3.2, 2.0]
    training, folder = fresh(evaluate_every=2, patience=2), create(tmp_path / "run")
    list(train(training, folder, should_stop=after(5, training)))
    training, folder = restored(tmp_path / "run", evaluate_every=2, patience=2)
    last = list(train(training, folder))[-1]
    assert (last.step, last.reason) == (6, "no longer improving")


def test_without_patience_it_never_stops_early(scores):
    scores += [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert list(train(fresh(evaluate_every=2)))[-1].reason == "finished"


@pytest.mark.parametrize("method", ["save", "append_metric", "append_sample"])
def test_a_full_disk_is_told_and_training_goes_on(method, monkeypatch, unbroken, tmp_path):
    training, folder = fresh(), create(tmp_path / "run")
    working = getattr(RunFolder, method)

    def failing(self, *given, **named):
        if training.counters.step in (4, 8):
            raise TrainingError(expected="room", received="a full disk", remedy="free some")
        return working(self, *given, **named)

    monkeypatch.setattr(RunFolder, method, failing)
    events = list(train(training, folder))
    assert [event.step for event in events if isinstance(event, SaveFailed)] == [4, 8]
    assert "a full disk" in next(event.problem for event in events if isinstance(event, SaveFailed))
    assert [event.step for event in events if isinstance(event, Saved)] == [0, 12]
    assert outcome(training)["weights"] == unbroken("lstm")["weights"]
    assert folder.checkpoints() == [0, 12]


def test_a_disk_that_fails_at_the_interruption_is_told(monkeypatch, tmp_path):
    training, folder = fresh(), create(tmp_path / "run")

    def failing(*_given, **_named):
        raise TrainingError(expected="room", received="a full disk", remedy="free some")

    monkeypatch.setattr(RunFolder, "save", failing)
    events = list(train(training, folder, should_stop=after(2, training)))
    assert [type(event) for event in events[-2:]] == [SaveFailed, Stopped]


def test_what_is_told_and_in_which_order(tmp_path):
    training, folder = fresh(), create(tmp_path / "run")
    events = list(train(training, folder))
    looks = [event for event in events if not isinstance(event, Progressed | Stopped)]
    assert [(type(event), event.step) for event in looks] == [
        (kind, step) for step in (0, 4, 8, 12) for kind in (Evaluated, Wrote, Saved)
    ]
    progress = [event for event in events if isinstance(event, Progressed)]
    assert [event.step for event in progress if event.step % 4 == 0] == [4, 8, 12]
    assert all(0 < event.train_bits < 10 and event.chars_per_second > 0 for event in progress)
    assert events[-1].reason == "finished"
    assert [line["chars"] for line in folder.metrics()] == [0, 60, 120, 180]
    assert [line["rate"] for line in folder.metrics()] == [training.config.rate_at(s) for s in (0, 4, 8, 12)]
    assert folder.metrics()[0]["train_bits_per_char"] is None
    assert [len(line["text"]) for line in folder.samples()] == [6] * 4
    bits = [event.score.bits_per_char for event in events if isinstance(event, Evaluated)]
    assert [line["valid_bits_per_char"] for line in folder.metrics()] == bits


def test_no_steps_is_one_look():
    assert [type(event) for event in train(fresh(steps=0))] == [Evaluated, Wrote, Stopped]


def test_it_learns():
    """A text of one repeated line is learned by heart."""
    training = fresh(dropout=0.0, steps=150, rate=0.03, evaluate_every=150, valid=np.arange(40) % 7 + 2)
    training.train_ids = (np.arange(98) % 7 + 2).astype(np.uint8)
    scores = [event.score.bits_per_char for event in train(training) if isinstance(event, Evaluated)]
    assert scores[0] > 3.0 and scores[-1] < 0.3


@pytest.mark.parametrize("symbols", [(UNKNOWN, "\n", "a"), (UNKNOWN, "a", "b"), (UNKNOWN, "a")], ids=len)
def test_a_passage_is_written_whatever_the_vocabulary(symbols):
    training = fresh()
    training.vocabulary = Vocabulary("characters", symbols)
    training.model = families.config("rnn").build(len(symbols))
    shown, samples = loop._write(training)
    assert shown == samples[0] and len(samples) == loop.SAMPLES
    assert all(len(written) == 6 and set(written) <= set(symbols[1:]) for written in samples)
