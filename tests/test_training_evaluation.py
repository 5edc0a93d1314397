"""A score is what a stream read character by character costs, whatever lanes and blocks it was computed in."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import families
import reference
from tolerances import CARRIED_LANES_BITS, EXACT64
from unrolled.errors import ConfigError, TextError
from unrolled.models import SequenceModel, untouched
from unrolled.text.corpus import TextOptions, corpus_from_text
from unrolled.training import evaluation
from unrolled.training.evaluation import Protocol, Score, evaluate, evaluate_part

BOUNDED = ["tcn", "wavenet", "transformer", "transformer-window-2"]
CARRIED = Protocol()
quick = settings(max_examples=60, deadline=None, derandomize=True)


def text(length: int, seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(0, families.VOCAB, size=length).astype(dtype)


@pytest.fixture
def small(monkeypatch):
    """The same code with every boundary within a short text."""
    monkeypatch.setattr(evaluation, "WARM_UP", 64)
    monkeypatch.setattr(evaluation, "BLOCK_CHARACTERS", 100)


class Pairs(SequenceModel):
    """Knows the cost of every pair of neighbours and remembers nothing; counts what it is asked."""

    vocab_size = families.VOCAB

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        size = (families.VOCAB, families.VOCAB)
        self.logits = torch.nn.Parameter(torch.randn(size, generator=g, dtype=torch.float64))
        self.largest = 0

    @property
    def units(self):
        return {}

    def initial_state(self, batch):
        return {}

    def forward(self, tokens_BT, state=None, *, tap=untouched):
        self.largest = max(self.largest, tokens_BT.numel())
        return self.logits[tokens_BT], {}

    def cost(self, ids):
        costs = -self.logits.detach().log_softmax(-1).numpy()
        return math.fsum(costs[a, b] for a, b in itertools.pairwise(ids))


@pytest.mark.parametrize("name", sorted(families.PATTERNS))
def test_one_lane_is_a_stream_by_hand(name, small):
    model, ids = families.model(name), text(233)
    expected = reference.carried_nats(model, ids)
    found = evaluate(model, ids, CARRIED, lanes=1)
    assert found.chars == len(expected) == 232
    assert found.nats == pytest.approx(math.fsum(expected), abs=232 * EXACT64)


@pytest.mark.parametrize("name", sorted(families.PATTERNS))
@pytest.mark.parametrize("window", [1, 7, 100, 130, 231, 232, 233, 1000])
def test_reset_is_cold_windows_by_hand(name, window, small):
    if name not in ("lstm", "hybrid") and window not in (7, 231):
        window = 50  # every window for two, one more for the others
    model, ids = families.model(name), text(233)
    expected = reference.reset_nats(model, ids, window)
    found = evaluate(model, ids, Protocol(window))
    assert found.chars == len(expected) == 232
    assert found.nats == pytest.approx(math.fsum(expected), abs=232 * EXACT64)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("lanes", [None, 2, 5, 64])
def test_lanes_are_exact_for_a_bounded_view(name, lanes, small):
    model, ids = families.model(name), text(1234)
    one = evaluate(model, ids, CARRIED, lanes=1)
    many = evaluate(model, ids, CARRIED, lanes=lanes)
    assert many.nats == pytest.approx(one.nats, abs=1233 * EXACT64)


@pytest.mark.parametrize("pattern", ["rnn*2", "lstm(forget_bias=5)*2", "gru*2", "mingru*2"])
def test_default_lanes_agree_with_one_lane_for_a_long_memory(pattern):
    config = families.ModelConfig(stack=families.StackConfig(width=8), layers=families.parse_layers(pattern))
    torch.manual_seed(0)
    model, ids = config.build(families.VOCAB).eval(), text(6 * evaluation.WARM_UP + 10)
    with torch.no_grad():
        model.readout.weight.mul_(40)
    one, two = evaluate(model, ids, CARRIED, lanes=1), evaluate(model, ids, CARRIED)
    assert one.bits_per_char > 3.5  # logits that say something
    assert abs(one.bits_per_char - two.bits_per_char) < CARRIED_LANES_BITS


@quick
@given(length=st.integers(2, 1500), lanes=st.none() | st.integers(1, 70), reset=st.integers(0, 400))
def test_every_character_but_the_first_is_scored_once(length, lanes, reset):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("WARM_UP", 16), ("BLOCK_CHARACTERS", 64)):
            patch.setattr(evaluation, name, value)
        model, ids = Pairs(), text(length)
        found = evaluate(model, ids, Protocol(reset), lanes=lanes)
        assert found.chars == length - 1
        assert found.nats == pytest.approx(model.cost(ids), abs=1e-9)
        assert found.protocol == Protocol(reset)


def test_a_pass_is_never_larger_than_a_block():
    for protocol, lanes in ((CARRIED, None), (CARRIED, 1), (Protocol(256), None), (Protocol(3), None)):
        model = Pairs()
        evaluate(model, text(30_000), protocol, lanes=lanes)
        assert model.largest <= evaluation.BLOCK_CHARACTERS


@pytest.mark.parametrize(("length", "lanes", "most"), [(4000, 1, 1.0), (5000, 2, 1.25), (9300, 3, 1.25),
    (111_540, 10, 1.09), (1_000_000, 24, 1.04), (9_000_000, 60, 1.01)])  # fmt: skip
def test_warming_up_costs_little(length, lanes, most, monkeypatch):
    found = []
    monkeypatch.setattr(evaluation, "warmed", lambda _, ids, starts: found.append(starts))
    next(evaluation._carried(Pairs(), np.zeros(length, dtype=np.uint8), None))
    (starts,) = found
    assert len(starts) == lanes
    assert length + (lanes - 1) * evaluation.WARM_UP <= most * length


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_ids_come_from_a_memory_map_of_any_width(dtype, tmp_path, small):
    model, ids = families.model("hybrid"), text(700)
    ids.astype(dtype).tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", dtype=dtype, mode="r")
    for protocol in (CARRIED, Protocol(9)):
        assert evaluate(model, mapped, protocol) == evaluate(model, ids.astype(np.int64), protocol)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("protocol", [CARRIED, Protocol(20)], ids=str)
def test_scoring_leaves_no_trace(training, protocol, small):
    model, ids = families.model("hybrid", dropout=0.5).train(training), text(500)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    score = evaluate(model, ids, protocol)
    assert score == evaluate(model, ids, protocol) == evaluate(families.model("hybrid"), ids, protocol)
    assert model.training == training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_the_mode_comes_back_after_an_error():
    model = families.model("lstm").train()
    with pytest.raises(IndexError):
        evaluate(model, np.array([1, families.VOCAB, 2]), CARRIED)
    assert model.training


@pytest.mark.parametrize("length", [0, 1])
def test_nothing_to_predict(length):
    with pytest.raises(TextError, match="at least 2 characters"):
        evaluate(families.model("rnn"), text(length), CARRIED)


def test_a_score_in_every_unit():
    score = Score(nats=100.0, chars=50, utf8_bytes=80, protocol=Protocol(256), unknown=3)
    assert score.nats_per_char == 2.0
    assert score.bits_per_char == pytest.approx(2 / math.log(2))
    assert score.bits_per_byte == pytest.approx(100 / math.log(2) / 80)
    assert json.loads(json.dumps(score.to_json())) == {
        "bits_per_char": score.bits_per_char,
        "nats_per_char": 2.0,
        "bits_per_byte": score.bits_per_byte,
        "chars": 50,
        "protocol": "reset:256",
        "unknown_chars": 3,
    }


def test_bytes_and_unknown_characters_are_counted():
    ids = np.array([0, 3, 0, 1, 0], dtype=np.uint8)
    assert evaluate(Pairs(), ids, CARRIED).unknown == 3
    assert evaluate(Pairs(), ids, CARRIED).utf8_bytes == 4
    assert evaluate(Pairs(), ids, CARRIED, utf8_bytes=9).utf8_bytes == 9


@pytest.mark.parametrize("written", ["carried", "reset:1", "reset:256", "reset:1000000"])
def test_protocols(written):
    assert str(Protocol.parse(written)) == written


@pytest.mark.parametrize(
    "written",
    [
        "",
        "carry",
        "carried:3",
        "reset",
        "reset:",
        "reset:0",
        "reset:-1",
        "reset:1000001",
        "reset:1.5",
        "Reset:2",
        "reset:2 ",
        "reset:²",
    ],
)
def test_protocols_that_are_refused(written):
    with pytest.raises(ConfigError, match="reset:N"):
        Protocol.parse(written)


@pytest.mark.parametrize("end", ["?!", "?!a", "?ab", "éé", "aé", "?é"])
def test_an_unknown_first_character_leaves_bytes_for_the_others(end):
    corpus = corpus_from_text("ab" * 20 + end, TextOptions(split=(40 / (40 + len(end)), len(end) / (40 + len(end)), 0)))
    assert len(corpus.part("valid")) == len(end)
    score = evaluate_part(Pairs(), corpus, "valid", CARRIED)
    assert len(end) - 1 <= score.utf8_bytes <= len(end[1:].encode()) + 1
    assert math.isfinite(score.bits_per_byte) and score.bits_per_byte > 0
