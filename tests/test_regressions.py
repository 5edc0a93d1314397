"""Every test here was a bug once."""

import math

import numpy as np
import pytest
import torch

import families
import unrolled
from test_training_durable import Unsynced
from test_training_evaluation import Pairs
from test_training_loop import create, fresh, outcome, restored, text
from unrolled import kernels
from unrolled.errors import ConfigError, UnrolledError
from unrolled.models import parse_layers
from unrolled.text.vocabulary import UNKNOWN, Vocabulary
from unrolled.training import durable, evaluation, loop, recipe
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, evaluate
from unrolled.training.events import Progressed, Stopped
from unrolled.training.loop import train
from unrolled.training.recipe import Request, make_plan
from unrolled.training.run_config import RunConfig


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(durable, "system", Unsynced())
    monkeypatch.setattr(loop, "SAMPLE_CHARACTERS", 4)
    monkeypatch.setattr(recipe, "seconds_per_step", lambda *_given, **_named: 0.01)
    monkeypatch.setattr(recipe, "faster_precision", lambda *_given, **_named: ("float32", 0.01, 1.0))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3, 4), (2, 1, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_scan_of_one_row_leaves_its_arguments_alone(shape, dtype):
    a, b, h = (
        torch.full(shape, 0.5, dtype=dtype),
        torch.ones(shape, dtype=dtype),
        torch.ones(shape[0], shape[2], dtype=dtype),
    )
    found = kernels.linear_scan(a, b, h)
    assert (b == 1).all() and (a == 0.5).all() and (h == 1).all()
    assert (found[:, 0] == 1.5).all()


def test_unknown_characters_of_a_long_text_are_counted_once():
    ids = np.zeros((1 << 20) * 2 + 100, dtype=np.uint8)
    ids[: 1 << 20] = 1
    assert evaluate(Pairs(), ids, Protocol()).unknown == (1 << 20) + 100


@pytest.mark.parametrize("window", [evaluation.BLOCK_CHARACTERS + 1, 20_000])
def test_a_long_reset_does_not_exceed_a_block(window):
    """reset:1000000 is allowed; in one pass, attention over T steps needs T * (T + W) memory."""
    model, ids = Pairs(), text(45_000, 3)
    score = evaluate(model, ids, Protocol(window))
    assert score.nats == pytest.approx(model.cost(ids))
    assert model.largest <= evaluation.BLOCK_CHARACTERS


def test_a_run_that_stopped_early_stays_stopped(monkeypatch, tmp_path):
    """Killed between the last save and the end, it must not train on when resumed: an unbroken run would not have."""
    scores = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    monkeypatch.setattr(loop, "_scored", lambda _: (evaluation.Score(next(scores), 1, 1, Protocol()), 1.0))
    training, folder = fresh(evaluate_every=2, patience=2), create(tmp_path / "run")
    assert list(train(training, folder))[-1].reason == "no longer improving"
    before = outcome(training)
    training, folder = restored(tmp_path / "run", evaluate_every=2, patience=2)
    events = list(train(training, folder))
    assert isinstance(events[-1], Stopped) and events[-1].reason == "no longer improving"
    assert outcome(training)["weights"] == before["weights"]


def test_the_first_score_may_be_no_number(tmp_path):
    """A NaN must not become the best score: nothing is smaller than it, and JSON cannot hold it."""
    training, folder = fresh("rnn"), create(tmp_path / "run")
    with torch.no_grad():
        training.model.readout.bias[1] = math.nan
    events = train(training, folder)
    assert not next(events).best
    assert training.counters.best_bits is None


def test_progress_is_the_mean_since_the_last_report(monkeypatch):
    """events.py says so; loop.py reports the mean since the last look."""
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    losses, real = [], loop.update

    def noted(training, lanes):
        before = training.counters.loss_sum
        problem = real(training, lanes)
        losses.append((training.counters.loss_sum - before) / math.log(2))
        return problem

    monkeypatch.setattr(loop, "update", noted)
    told = [event.train_bits for event in train(fresh(evaluate_every=12)) if isinstance(event, Progressed)]
    assert told[:12] == pytest.approx(losses)


@pytest.mark.parametrize("beta2", [-0.1, 1.0, 1.5, math.nan])
def test_beta2_has_limits_too(beta2):
    with pytest.raises(ConfigError, match="beta2"):
        TrainingConfig(steps=1, beta2=beta2)


@pytest.mark.parametrize("asked", [{"lanes": 0}, {"unroll": 0}, {"layers": ""}])
def test_a_zero_is_not_nothing(asked):
    with pytest.raises(ConfigError):
        make_plan(Request(steps=3, **asked), Vocabulary("characters", (UNKNOWN, "a", "b")), 10**5, 10**4)


@pytest.mark.parametrize("pattern", ["lstm(forget_bias=nan)", "lstm(forget_bias=inf)", "lstm(forget_bias=-1e300)"])
def test_a_forget_bias_is_a_number(pattern):
    with pytest.raises(ConfigError):
        parse_layers(pattern)


def test_an_option_is_given_once():
    with pytest.raises(ConfigError):
        parse_layers("transformer(window=4,window=8)")


def test_a_very_long_count_is_a_configuration_error():
    with pytest.raises(ConfigError):
        parse_layers("lstm*" + "9" * 5000)


@pytest.fixture
def run(tmp_path):
    corpus = unrolled.corpus_from_text("ab cd\n" * 100)
    return unrolled.train(corpus, run=tmp_path / "run", steps=2, width=8, lanes=2, unroll=4)


@pytest.mark.parametrize("letters", ["xy zw\n", "abc\n", "abcdefghijk\n"])
def test_a_text_of_another_vocabulary_is_not_scored(run, letters):
    with pytest.raises(UnrolledError, match="vocabulary"):
        run.score(unrolled.corpus_from_text(letters * 100))


def test_bytes_are_sampled_to_the_length_that_was_asked_for(tmp_path):
    corpus = unrolled.corpus_from_text("aé€😀\n" * 60, unrolled.TextOptions(as_bytes=True))
    run = unrolled.train(corpus, run=tmp_path / "run", steps=1, width=8, lanes=2, unroll=4)
    lengths = {seed: len(run.sample(length=40, seed=seed)) for seed in range(8)}
    assert set(lengths.values()) == {40}


EDITS = {
    "text options": lambda c: c["text"]["options"].update(nonsense=1),
    "text options' split": lambda c: c["text"]["options"].update(split=[1, 2, 3, 4]),
    "text options' type": lambda c: c["text"]["options"].update(min_count="x"),
    "text options as a list": lambda c: c["text"].update(options=[1]),
    "training as a list": lambda c: c.update(training=[1]),
    "training as a number": lambda c: c.update(training=1),
    "model as a number": lambda c: c.update(model=5),
    "model as a list": lambda c: c.update(model=["stack", "layers"]),
    "text as a string": lambda c: c.update(text="x"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_configuration_is_one_clear_error(edit, run):
    import json

    config = json.loads((run.path / "config.json").read_text())
    EDITS[edit](config)
    with pytest.raises(UnrolledError):
        RunConfig.from_json(config)


def test_two_branches_of_a_layer_with_units_of_one_name_are_refused_or_kept_apart():
    """Else a family from outside with two branches silently shares one state between them."""

    class Double(families.LeakyConfig):
        def build(self, width, index):
            return families.Leaky(width, 0.1), families.Leaky(width, 0.2)

    stack = families.StackConfig(width=4)
    try:
        model = unrolled.ModelConfig(stack=stack, layers=(Double(),)).build(5)
    except ConfigError:
        return
    assert len(model.units) == 4 and len(model.initial_state(1)) == 2
