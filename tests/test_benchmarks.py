"""Every comparison runs, names are its own, and both sides do the work they are said to do."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import unrolled.benchmarks
from tolerances import SPLIT32
from unrolled.benchmarks import Row, Way, apart, arithmetic, comparing, models, sampling, training, twins
from unrolled.benchmarks.models import VOCAB, Size
from unrolled.models import FAMILIES

KEYS = ["name", "unit", "value", "reference", "reference_value", "ratio"]
TINY = Size("lstm*2", 16, 2, 8)
TINY_NANO = Size("transformer(heads=4,window=8)*2", 16, 2, 8)
TINY_ROWS = {
    **{name: training.recurrent_row(kind, Size(f"{name}*2", 16, 2, 8), name, 2)
       for name, kind in training.RECURRENT},
    "products": training.product_row(TINY, "lstm", sizes=(16, 32)),
    **{f"nano {name}": training.nano_row(Size(f"{name}*2", 16, 2, 8, "muon"), name, TINY_NANO)
       for name in ("transformer", "tcn", "wavenet", "mingru")},
    "scoring": training.scoring_row(TINY, "lstm", 50),
    "watching": training.watching_row(TINY, "lstm"),
    "stream": sampling.streams_row(Size("lstm*2", 16, 1, 1), 1, "lstm", (3, 2)),
    "streams": sampling.streams_row(Size("lstm*2", 16, 1, 1), 3, "lstm", (3, 2)),
    "context": sampling.context_row(Size("transformer(heads=2,window=8)*2", 16, 1, 8), 3, 2),
    "position": sampling.position_row(Size("transformer(heads=2,window=8)*2", 16, 1, 1), (20, 4), 3),
    "text": sampling.text_row(5000, 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", TINY_ROWS)
def test_every_kind_of_row_runs(name):
    row = TINY_ROWS[name]
    result = comparing.measure_row(row, rounds=1, seconds=0)
    assert list(result) == KEYS
    assert (result["name"], result["unit"]) == (row.name, row.unit)
    assert result["reference"].startswith(row.reference)
    assert min(result["value"], result["reference_value"]) >= 0
    assert 0 < result["ratio"] < math.inf


def test_a_reference_in_a_process_of_its_own():
    name = "training rnn 2 x 256, 32 x 64"
    ways = apart.ways_apart(name, training.references)
    try:
        assert [way.name for way in ways] == ["float32", "autocast"]
        rates = [way.rate() for way in ways]
        assert all(100 < rate < 1e8 for rate in rates)
    finally:
        for way in ways:
            way.close()
    assert next(row for row in unrolled.benchmarks.rows() if row.name == name).apart is training.references


def test_the_rows_are_the_claims():
    rows = unrolled.benchmarks.rows()
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for family in FAMILIES.keys() - {"toy", "guest"}:
        if family not in ("stackrnn", "tapernn", "window", "circuit"):  # nothing is claimed of how fast these train
            assert any(f"training {family} " in name for name in names), family
        assert any(f"watching every unit, {family} " in name for name in names), family
    subjects = [row.subject for row in rows]
    assert len(list(itertools.groupby(subjects))) == len(set(subjects))  # a subject's rows stand together
    for word in (
        "scoring lstm",
        "scoring transformer",
        "one stream",
        "64 streams",
        "after 256",
        "at 2000",
        "tokenising",
    ):
        assert any(word in name for name in names), word


class Clock:
    """A time that only turns make pass."""

    def __init__(self):
        self.now = 0.0

    def way(self, name, amount, durations):
        left, taken = iter(durations), []

        def turn(prepared):
            assert prepared == "made"
            self.now += next(left)
            taken.append(name)
            return amount

        def prepare():
            self.now += 1000
            return "made"

        return Way(name, turn, prepare), taken


def test_medians_of_the_quickest_ways_in_turns(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(comparing.time, "perf_counter", lambda: clock.now)
    ours, our_turns = clock.way("only", 10, [9, 1, 1, 2, 1, 2, 50, 2])
    slow, slow_turns = clock.way("slow", 6, [9, 3, 3])
    quick, quick_turns = clock.way("quick", 8, [20, 2, 9, 4, 4, 1, 4, 7])
    row = Row("subject", "name", "units/s", "other", lambda: [ours], lambda: [slow, quick])
    assert comparing.measure_row(row, rounds=5, seconds=0) == {
        "name": "name",
        "unit": "units/s",
        "value": 5.0,  # 10 in 2 seconds, where preparing takes no time
        "reference": "other (quick)",
        "reference_value": 2.0,
        "ratio": 2.5,
    }
    assert (len(our_turns), len(slow_turns), len(quick_turns)) == (8, 3, 8)


def test_more_turns_while_there_is_time(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(comparing.time, "perf_counter", lambda: clock.now)
    mine, turns = clock.way("", 1, itertools.repeat(1.0))
    other, _ = clock.way("", 1, itertools.repeat(1.0))
    row = Row("subject", "name", "units/s", "other", lambda: [mine], lambda: [other])
    comparing.measure_row(row, rounds=2, seconds=6 * 1001 + 7 * 2002)
    assert len(turns) == 3 + 7
    comparing.measure_row(row, rounds=2, seconds=1e9)
    assert len(turns) == 3 + 7 + 3 + comparing.MOST_TURNS


def test_short_work_is_repeated_to_fill_a_turn(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(comparing.time, "perf_counter", lambda: now[0])

    def turn(_):
        now[0] += 0.04
        return 3

    assert Way("", turn).rate() == pytest.approx(3 / 0.04)
    assert now[0] == pytest.approx(0.16)
    Way("", turn, prepare=lambda: "fresh").rate()
    assert now[0] == pytest.approx(0.2)  # what was prepared is used once


def test_ways_are_closed_whatever_happens():
    closed = []

    def way(name, result):
        return Way(name, lambda _: result, close=lambda: closed.append(name))

    row = Row("subject", "name", "units/s", "other", lambda: [way("a", 1.0), way("b", 2.0)], lambda: [way("c", "no")])
    with pytest.raises(TypeError):
        comparing.measure_row(row, rounds=1, seconds=0)
    assert closed == ["a", "b", "c"]


def test_a_real_turn_reports_what_it_did():
    assert [way.turn(way.prepare()) for way in models.training_ways(TINY)] == [16, 16]
    assert [way.turn(way.prepare()) for way in models.scoring_ways(TINY, 50)] == [49, 49]
    assert [way.turn(way.prepare()) for way in TINY_ROWS["watching"].ours()] == [16, 16]
    for way in TINY_ROWS["streams"].ours():
        written = way.turn(way.prepare())
        assert written >= 9 and written % 3 == 0
    (reading,) = TINY_ROWS["text"].ours()
    assert reading.turn(reading.prepare()) == pytest.approx(len(sampling._text(5000).encode()) / 1e6)
    cache = reading.prepare()
    assert not list(cache.iterdir())  # every turn finds a cache that knows nothing
    reading.close()
    assert not cache.exists()


@pytest.mark.parametrize("watched", [True, False])
def test_every_unit_is_watched_or_none(watched, monkeypatch):
    shown, look = [], models._Everything.__call__
    monkeypatch.setattr(models._Everything, "__call__", lambda tap, *given: shown.append(given[0]) or look(tap, *given))
    for way in models.reading_ways(TINY, watched=watched):
        way.turn(way.prepare())
    assert shown == list(TINY.build().units) * (2 if watched else 0)


def pairs(steps=8, lanes=4):
    """A text that can be learned: each character decides the next."""
    ids = np.arange(1000) % 7
    starts = itertools.count(step=steps)

    def batch():
        where = (next(starts) + np.arange(lanes)[:, None] * 13 + np.arange(steps + 1)) % len(ids)
        return torch.from_numpy(ids[where][:, :-1]), torch.from_numpy(ids[where][:, 1:])

    return batch


@pytest.mark.parametrize(
    ("dtype", "autocast"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)]
)
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_recurrent_twin_learns(kind, dtype, autocast):
    model = twins.PlainRecurrent(kind, 7, 16, 2).to(dtype)
    step = twins.recurrent_step(model, pairs(), autocast=autocast, rate=1e-2)
    losses = [step() for _ in range(20)]
    assert abs(losses[0] - math.log(7)) < 0.5
    assert losses[-1] < losses[0] - 0.4


def test_the_recurrent_twin_is_a_causal_language_model_with_a_carried_state():
    model = twins.PlainRecurrent(nn.LSTM, 7, 16, 2).double()
    tokens = torch.randint(7, (9, 2))
    whole, _ = model(tokens)
    first, carried = model(tokens[:4])
    second, _ = model(tokens[4:], carried)
    assert torch.allclose(whole, torch.cat([first, second]), atol=1e-12)
    inputs, targets = pairs()()
    expected = F.cross_entropy(model(inputs.t())[0].flatten(0, 1), targets.t().flatten()).item()
    step = twins.recurrent_step(model, pairs(), autocast=False)
    assert step() == pytest.approx(expected, rel=1e-6)  # the loss is taken in float32


def test_the_nano_twin_learns():
    model = twins.NanoGPT(7, width=16, depth=2, heads=4, block=8)
    step = twins.nano_gpt_step(model, torch.arange(1000) % 7, lanes=12, rate=1e-2)
    losses = [step() for _ in range(20)]
    assert abs(losses[0] - math.log(7)) < 0.1
    assert losses[-1] < losses[0] - 0.4


def test_the_nano_twin_is_causal_and_as_large_as_nano_gpt():
    model = twins.NanoGPT(VOCAB)
    tokens = torch.randint(VOCAB, (1, 64))
    other = tokens.clone()
    other[0, 40:] = (other[0, 40:] + 1) % VOCAB
    difference = (model(tokens) - model(other)).abs().amax(-1)[0]
    assert difference[:40].max() < 1e-6 < difference[40:].min()
    # nanoGPT prints "number of parameters: 0.80M" for this recipe, positions not counted
    count = sum(p.numel() for p in model.parameters()) - model.positions.weight.numel()
    assert count == VOCAB * 128 + 4 * (12 * 128 * 128 + 2 * 128) + 128


@pytest.fixture
def drawn_from(monkeypatch):
    """The distributions that characters were drawn from."""
    found, draw = [], torch.multinomial
    monkeypatch.setattr(torch, "multinomial", lambda chances, count: found.append(chances) or draw(chances, count))
    return found


def test_the_recurrent_twin_writes_what_it_reads(drawn_from):
    model = twins.PlainRecurrent(nn.LSTM, 7, 16, 2)
    first = torch.tensor([1, 2, 3])
    written = twins.sample_recurrent(model, first, 5)
    read = torch.cat([first[:, None], written[:, :-1]], dim=1)
    logits_TBV, _ = model(read.t())
    assert written.shape == (3, 5)
    assert torch.allclose(torch.stack(drawn_from), logits_TBV.softmax(-1), atol=SPLIT32)


def test_the_nano_twin_reads_its_window_again_for_each_character(drawn_from):
    model = twins.NanoGPT(7, width=16, depth=1, heads=2, block=4)
    context = torch.randint(7, (1, 9))
    written = twins.sample_nano_gpt(model, context, 6)
    text = torch.cat([context, written], dim=1)
    windows = torch.cat([text[:, position - 4 : position] for position in range(9, 15)])
    assert written.shape == (1, 6)
    assert torch.allclose(torch.cat(drawn_from), model(windows)[:, -1].softmax(-1), atol=SPLIT32)


def test_plain_tokenising():
    assert twins.tokenise("abcab") == [0, 1, 2, 0, 1]


def test_the_formula_counts_what_a_hand_counts():
    # lstm*2, D = N = 3, V = 5, B = 2, T = 10: 20 characters are 4 per symbol, so the table is read.
    table, recurrent, second, readout = 5 * 12 * 3, 20 * 12 * 3, 20 * 12 * 3 + 20 * 12 * 3, 20 * 5 * 3
    config = Size("lstm*2", 3, 2, 10).config
    assert arithmetic.multiply_adds(config, 5, 2, 10) == table + recurrent + second + readout
    assert arithmetic.operations_per_step(config, 5, 2, 10) == 6 * (table + recurrent + second + readout)
    # With one character fewer per lane there are too few for the table.
    assert arithmetic.multiply_adds(config, 5, 2, 9) == 18 * (4 * 12 * 3 + 5 * 3)


def test_the_formula_counts_convolutions_and_attention():
    # tcn: two kernels of 3; wavenet: a kernel of 2 with twice the outputs, and 1 x 1; mingru: three matrices of 1.5.
    assert arithmetic.multiply_adds(Size("tcn", 4, 1, 1).config, 5, 2, 10) == 20 * (2 * 4 * 3 * 4 + 5 * 4)
    assert arithmetic.multiply_adds(Size("wavenet", 4, 1, 1).config, 5, 2, 10) == 20 * (8 * 2 * 4 + 4 * 4 + 5 * 4)
    assert arithmetic.multiply_adds(Size("mingru", 4, 1, 1).config, 5, 2, 10) == 20 * (3 * 4 * 6 + 5 * 4)
    found = arithmetic.multiply_adds(Size("transformer(heads=2,window=7)", 8, 1, 1).config, 5, 2, 10)
    assert found == 20 * (3 * 8 * 8 + 8 * 8 + 2 * 7 * 8 + 2 * 8 * 32 + 5 * 8)


def test_the_formula_agrees_with_torchs_counter():
    from torch.utils.flop_counter import FlopCounterMode

    size = Size("tcn*2 wavenet*2 mingru", 8, 3, 12)
    model = size.config.build(VOCAB)
    with FlopCounterMode(display=False) as counter:
        logits, _ = model(torch.randint(VOCAB, (3, 12)))
        forward = counter.get_total_flops()
        logits.sum().backward()
    assert forward == 2 * arithmetic.multiply_adds(size.config, VOCAB, 3, 12)
    # The gradient of the very first input is taken, too: it is the embedding's.
    assert counter.get_total_flops() == arithmetic.operations_per_step(size.config, VOCAB, 3, 12)
