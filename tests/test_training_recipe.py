"""Whatever is asked for is honoured, the rest is chosen, and minutes become a fixed number of steps."""

import math
from dataclasses import asdict, fields

import pytest
import torch

import families
from unrolled.errors import ConfigError
from unrolled.models import FAMILIES, ModelConfig, StackConfig, parse_layers
from unrolled.text.vocabulary import UNKNOWN, Vocabulary
from unrolled.training import measure, recipe
from unrolled.training.config import TrainingConfig
from unrolled.training.recipe import RECIPES, Request, make_plan

VOCABULARY = Vocabulary("characters", (UNKNOWN, *sorted("\n abcdefghijklmnopqrstuvwxyz.,;")))
SECONDS = 0.05


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine on which every step takes SECONDS, and bfloat16 wins 2 : 1; `asked` counts the measurements."""
    asked = []

    def both(model, vocabulary, config, **_named):
        asked.append(config)
        return "bfloat16", SECONDS, 2.0

    def one(model, vocabulary, config, **_named):
        asked.append(config)
        return SECONDS

    monkeypatch.setattr(recipe, "faster_precision", both)
    monkeypatch.setattr(recipe, "seconds_per_step", one)
    return asked


def plan(train_chars=1_000_000, valid_chars=50_000, **request):
    return make_plan(Request(**request), VOCABULARY, train_chars, valid_chars)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lanes", 7),
        ("unroll", 33),
        ("forget_every", 0),
        ("forget_every", 777),
        ("rate", 0.125),
        ("optimizer", "adamw"),
        ("optimizer", "muon"),
        ("matrix_rate", 0.5),
        ("warm_up", 0),
        ("warm_up", 11),
        ("hold", 0.25),
        ("weight_decay", 0.0),
        ("average", 25),
        ("beta2", 0.9),
        ("clip", 0.5),
        ("evaluate_every", 13),
        ("patience", 0),
        ("patience", 99),
        ("precision", "float32"),
        ("precision", "bfloat16"),
        ("seed", 12345),
        ("uncalibrated", True),
        ("steps", 0),
        ("steps", 17),
    ],
)
def test_every_training_field_is_honoured(name, value):
    assert getattr(plan(**{"steps": 400, name: value}).training, name) == value


def test_every_request_field_is_tested_here():
    """A new field of Request must be added to the tests of this file."""
    tested = {"family", "layers", "minutes", "steps", "chars", "params", "width", "plain", "dropout"}
    tested |= {"precision", "seed", "optimizer", "matrix_rate", "forget_every", "hold", "average", "uncalibrated"}
    tested |= {"lanes", "unroll", "rate", "warm_up", "weight_decay", "beta2", "clip", "evaluate_every", "patience"}
    assert {field.name for field in fields(Request)} == tested
    names = {field.name for field in fields(TrainingConfig)}
    assert names - {field.name for field in fields(Request)} == {"evaluate_chars"}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_has_a_plan(family):
    found = plan(family=family, minutes=1.0)
    assert set(found.model.pattern().split()) == {family}
    assert found.parameters > 10_000
    with torch.device("meta"):
        model = found.model.build(VOCABULARY.size)
    assert found.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("family", sorted(RECIPES))
def test_every_row_of_the_table_can_be_built(family):
    for row in RECIPES[family]:
        assert set(parse_layers(row.layers)) and row.minutes > 0
        found = plan(train_chars=10**9, family=family, minutes=float(row.minutes))
        assert (found.model.layers, found.model.stack.width) == (parse_layers(row.layers), row.width)
        assert (found.training.lanes, found.training.unroll, found.training.rate) == (row.lanes, row.unroll, row.rate)
    assert plan(family=family, minutes=1e-3).model.stack.width == RECIPES[family][0].width
    assert plan(train_chars=10**9, family=family, minutes=1e4).model.stack.width == RECIPES[family][-1].width


@pytest.mark.parametrize("family", sorted(RECIPES))
def test_a_small_text_gets_a_model_that_it_can_teach(family):
    for chars in (300_000, 1_000_000, 100_000_000):
        found = plan(train_chars=chars, family=family, minutes=1000.0)
        smallest = RECIPES[family][0].width
        assert found.parameters <= recipe.PARAMETERS_PER_CHARACTER * chars or found.model.stack.width == smallest
    assert plan(train_chars=1000, family=family, minutes=1000.0, width=512).model.stack.width == 512


def often_read(**request):
    """Plans that go through the same text more and more often."""
    return [
        plan(train_chars=400_000, steps=steps, lanes=32, unroll=64, **request)
        for steps in (90, 900, 2000, 5000, 100_000)
    ]


def test_steps_grow_with_the_times_through_the_text_and_decay_forgets_older_passes():
    found = often_read()
    rates = [one.training.matrix_rate for one in found]
    assert rates == sorted(rates) and (rates[0], rates[-1]) == (0.039, 0.111)
    for one in found[1:-1]:
        training, passes = one.training, one.characters / 400_000
        age_in_steps = math.sqrt(training.steps / (training.matrix_rate * training.weight_decay))
        assert age_in_steps / training.steps * passes == pytest.approx(passes**0.275 / math.sqrt(0.8), rel=0.02)
    assert found[-1].training.weight_decay == recipe.MOST_DECAY
    once = plan(train_chars=10_000_000, steps=500)
    assert once.characters < 10_000_000, "which counts as three passes"
    assert 500 * once.training.matrix_rate * once.training.weight_decay == pytest.approx(0.8 * 3**1.45, rel=0.02)
    assert all(one.model.stack.dropout == 0.0 for one in found)


@pytest.mark.parametrize("request_", [{"steps": 0}, {"steps": 9, "matrix_rate": 0.0}])
def test_where_nothing_is_updated_decay_is_a_plain_number(request_):
    assert plan(**request_).training.weight_decay == recipe.WEIGHT_DECAY


def test_each_family_is_made_to_forget_its_share():
    def decay(layers: str) -> float:
        return plan(layers=layers, width=64, steps=3000, matrix_rate=0.1).training.weight_decay

    lstm, gru, transformer = decay("lstm*2"), decay("gru"), decay("transformer(heads=4)*3")
    assert lstm > gru > transformer > 0
    assert decay("lstm transformer lstm transformer") == pytest.approx((lstm + transformer) / 2, abs=0.001)


def test_what_is_asked_for_is_not_regularised_away():
    for one in often_read(weight_decay=0.01, matrix_rate=0.5, dropout=0.25):
        assert (one.training.weight_decay, one.training.matrix_rate, one.model.stack.dropout) == (0.01, 0.5, 0.25)


def test_under_adamw_dropout_grows_with_the_times_through_the_text():
    found = [(one.model.stack.dropout, one.training.weight_decay) for one in often_read(optimizer="adamw")]
    assert found == sorted(found) and found[0] == (0.0, 0.1) and found[-1] == (0.4, 0.1)
    assert plan(train_chars=100_000, steps=5000, optimizer="adamw", dropout=0.0).model.stack.dropout == 0.0


def test_weights_are_averaged_over_the_last_part_of_the_steps(machine):
    assert [plan(steps=steps).training.average for steps in (0, 1, 50, 1000, 10_000)] == [0, 0, 5, 95, 300]
    assert plan(steps=1000, optimizer="adamw").training.average == 95
    assert plan(steps=1000, average=0).training.average == 0
    assert all(config.average == 1 for config in machine[:-1]), "what it costs is measured"
    assert machine[-1].average == 0


def test_the_model_is_what_was_asked_for():
    assert plan(width=40, steps=5).model.stack == StackConfig(width=40)
    assert plan(width=40, steps=5, plain=True, dropout=0.25).model.stack == StackConfig(
        width=40, plain=True, dropout=0.25
    )
    for target in (30_000, 1_000_000):
        assert plan(params=target, steps=5).parameters == pytest.approx(target, rel=0.02)
    hybrid = plan(layers="wavenet*2 transformer(window=9,heads=2)", steps=5, width=24)
    assert hybrid.model == ModelConfig(
        stack=StackConfig(width=24), layers=parse_layers("wavenet wavenet transformer(window=9,heads=2)")
    )
    assert plan(layers="rnn", family="gru", steps=5).model.pattern() == "rnn"


def test_one_budget():
    assert plan(steps=77).training.steps == 77
    by_chars = plan(chars=100_001)
    per_step = by_chars.training.lanes * by_chars.training.unroll
    assert by_chars.training.steps == -(-100_001 // per_step)
    assert 100_001 <= by_chars.characters < 100_001 + per_step
    for one in (
        {"minutes": 1.0, "steps": 3},
        {"steps": 3, "chars": 3},
        {"minutes": 1.0, "chars": 3},
        {"params": 3, "width": 3},
    ):
        with pytest.raises(ConfigError) as caught:
            Request(**one)
        assert all(f"--{name}" in str(caught.value) for name in one)


@pytest.mark.parametrize("minutes", [0.05, 0.5, 3.0, 45.0])
def test_minutes_fix_the_number_of_steps_within_the_time(minutes):
    found = plan(minutes=minutes)
    assert found == plan(minutes=minutes)
    training_seconds = found.training.steps * SECONDS
    assert training_seconds <= minutes * 60
    if minutes >= 0.5:
        assert training_seconds >= 0.85 * minutes * 60
        assert found.seconds == pytest.approx(minutes * 60, rel=0.05)
    # A machine that slows down by 3 % after it was measured is still in time: 15 seconds are allowed.
    assert 1.03 * training_seconds <= minutes * 60 + 5
    looks = -(-found.training.steps // found.training.evaluate_every)
    assert 1 <= looks <= 20
    assert found.faster == 2.0


def test_three_minutes_are_the_default():
    assert plan() == plan(minutes=3.0)
    assert plan(minutes=1e-9).training.steps == 1


def test_the_precision_is_measured_unless_it_is_given(machine):
    assert plan(steps=50).training.precision == "bfloat16"
    assert plan(steps=50, precision="float32").training.precision == "float32"
    assert [config.precision for config in machine] == ["float32", "float32"]
    assert plan(steps=0).seconds is None
    assert len(machine) == 2, "nothing is measured for no steps"


def test_warm_up_is_a_twentieth_but_at_most_100_steps():
    assert [plan(steps=n).training.warm_up for n in (1, 20, 400, 100_000)] == [1, 1, 20, 100]


@pytest.mark.parametrize("train_chars", [2, 9, 40, 300, 2_000, 5_000, 8_191, 8_192])
def test_a_tiny_text_shrinks_lanes_then_steps(train_chars):
    training = plan(train_chars=train_chars, steps=5).training
    lanes, unroll = training.lanes, training.unroll
    assert lanes * unroll * 4 <= train_chars or (lanes, unroll) == (1, 8)
    if train_chars >= 256:
        assert unroll == 48
    if train_chars >= 8192:
        assert lanes == 32
    kept = plan(train_chars=train_chars, steps=5, lanes=32, unroll=64).training
    assert (kept.lanes, kept.unroll) == (32, 64)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"family": "lsmt"}, "did you mean 'lstm'"),
        ({"layers": "lstm lsmt"}, "did you mean 'lstm'"),
        ({"layers": "transformer(windw=3)"}, "did you mean 'window'"),
        ({"params": 5}, "at least"),
        ({"params": 0}, "at least"),
        ({"lanes": -1}, "lanes"),
        ({"unroll": 10**6}, "unroll"),
        ({"rate": -1.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"evaluate_every": 0}, "evaluate-every"),
        ({"patience": -1}, "patience"),
        ({"precision": "float8"}, "precision"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"width": 0}, "width"),
        ({"width": 100_000}, "width"),
        ({"steps": -1}, "steps"),
        ({"chars": 0}, "chars"),
        ({"minutes": 0.0}, "minutes"),
        ({"minutes": -1.0}, "minutes"),
        ({"minutes": float("nan")}, "minutes"),
        ({"minutes": float("inf")}, "minutes"),
        ({"seed": -1}, "seed"),
    ],
)
def test_requests_that_are_refused(request_, words):
    with pytest.raises(ConfigError, match=words):
        plan(**request_)


def test_a_family_that_the_table_does_not_know():
    found = plan(family="toy", minutes=1.0)
    assert found.model.pattern() == "toy toy"
    assert asdict(found.training)["steps"] > 1


def test_measuring_takes_real_steps_and_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(measure, "MEASURED_STEPS", 1)
    model = families.config("lstm", dropout=0.5)
    config = TrainingConfig(steps=1, lanes=2, unroll=4)
    before = torch.get_rng_state()
    assert 0 < measure.seconds_per_step(model, VOCABULARY, config) < 30
    precision, seconds, ratio = measure.faster_precision(model, VOCABULARY, config, at_most=0.01)
    assert precision in ("float32", "bfloat16") and seconds > 0 and ratio >= 1
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("slow", "asked"), [(1.4, 9), (3.0, 3)])
def test_a_precision_that_has_clearly_lost_is_not_measured_further(monkeypatch, slow, asked):
    now, steps = 0.0, [0, 0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now)

    def stepper(which, seconds):
        def step():
            nonlocal now
            now += seconds * (100 if which == 1 and steps[which] == 1 else 1)  # one disturbed step decides nothing
            steps[which] += 1

        return step

    found = measure._timed([stepper(0, 0.01 * slow), stepper(1, 0.01)], 10.0)
    assert steps == [asked, 9]
    assert [len(mine) for mine in found] == [asked - 2, 7]
    assert min(found[1]) == pytest.approx(0.01)
