"""Ablation and clamping, against a machine whose every number is known, naive loops, and every family."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import families
from tolerances import ABLATION64, CLAMP_RATE
from unrolled.errors import ConfigError, TextError
from unrolled.models import SequenceModel, untouched
from unrolled.neurons import ablation, proof, proving
from unrolled.neurons.ablation import ToAblate, ablations
from unrolled.neurons.clamping import ToClamp, clampings
from unrolled.neurons.clamps import Clamps
from unrolled.neurons.features import FEATURES
from unrolled.neurons.findings import Candidate
from unrolled.neurons.places import Decided
from unrolled.neurons.proof import prove
from unrolled.neurons.proving import Proving
from unrolled.neurons.sentences import ablation_sentence
from unrolled.neurons.streaming import record_units
from unrolled.sampling import SamplingOptions, gathered, streams_on
from unrolled.training import evaluation

STRAY, CLOSES = 0.02, 0.1
SYMBOLS = "\x00 ”abc“"
OPEN, CLOSE = SYMBOLS.index("“"), SYMBOLS.index("”")
CARRIER, COPY, NOISE = 0, 1, 2
UNITS = 24
QUICK = Proving(characters=6000, samples=60, length=50, context=64)


class QuoteMachine(SequenceModel):
    """Knows whether a quotation is open, in one unit; a copy of it and pseudo-random units lead nowhere.

    With the carrier at q, a closing quote comes next with odds whose logarithm goes in a straight line from those
    outside quotes (q = 0: a stray one) to those inside (q = 1); the other characters are equally likely.
    """

    vocab_size = len(SYMBOLS)

    def __init__(self):
        super().__init__()
        self.odds = torch.nn.Parameter(torch.tensor([odds(STRAY), odds(CLOSES)], dtype=torch.float64))

    @property
    def units(self):
        return {"layer0.noise": 2, "layer1.cell": UNITS}

    def initial_state(self, batch):
        return {"layer1.cell": torch.zeros(batch, UNITS, dtype=torch.float64)}

    def forward(self, tokens_BT, state=None, *, tap=untouched):
        cell = (self.initial_state(len(tokens_BT)) if state is None else state)["layer1.cell"]
        logits = []
        for t in range(tokens_BT.shape[1]):
            token_B = tokens_BT[:, t]
            noise_BN = ((token_B[:, None] * torch.arange(3, UNITS + 1)) % 7 / 3.0).double()
            quote_B = torch.where(token_B == OPEN, 1.0, torch.where(token_B == CLOSE, 0.0, cell[:, CARRIER]))
            cell = torch.cat([quote_B[:, None], quote_B[:, None], noise_BN], dim=1)
            if tap.watches("layer0.noise"):
                tap("layer0.noise", noise_BN[:, None, :2])
            if tap.watches("layer1.cell"):
                cell = tap("layer1.cell", cell[:, None])[:, 0]
            logit_B = self.odds[0] + cell[:, CARRIER] * (self.odds[1] - self.odds[0])
            logits.append(quote_logits(logit_B))
        shape = (len(tokens_BT), tokens_BT.shape[1], self.vocab_size)
        return (torch.stack(logits, 1) if logits else torch.zeros(shape)), {"layer1.cell": cell}


def odds(probability):
    """The logit of a closing quote against five other characters of logit 0."""
    return math.log(5 * probability / (1 - probability))


def quote_logits(logit_B):
    others = torch.zeros(len(logit_B), len(SYMBOLS), dtype=torch.float64)
    others[:, 0] = -1e9
    others[:, CLOSE] = logit_B
    return others


def quoted(length, seed=1):
    """A text of which the machine is the exact model."""
    choose, text, inside = np.random.default_rng(seed), [], False
    for _ in range(length):
        closes = choose.random() < (CLOSES if inside else STRAY)
        text.append("”" if closes else " abc“"[choose.integers(5)])
        inside = text[-1] == "“" or (inside and not closes)
    return "".join(text)


TEXT = quoted(12_000)
IDS = np.array([SYMBOLS.index(c) for c in TEXT], dtype=np.uint8)
LAST = [np.maximum.accumulate(np.where(is_T, np.arange(len(IDS)), -1)) for is_T in (IDS == OPEN, IDS == CLOSE)]
INSIDE = LAST[0] > LAST[1]
CLOSING = np.append(INSIDE[:-1] & ~INSIDE[1:], False)


def candidate(unit, feature="inside", kind="yes-no"):
    return Candidate(
        unit=unit,
        feature=feature,
        description="",
        kind=kind,
        sign=1,
        score=0.99,
        interval=(0.98, 1.0),
        discovery_score=0.99,
        character_score=0.5,
        beyond_character=0.99,
        untrained_score=0.5,
        probe_score=0.99,
        probe_layer="layer1",
        p=0.01,
        gain=0.9,
    )


@pytest.fixture(scope="module")
def proved():
    units = [f"layer1.cell[{index}]" for index in (CARRIER, COPY, NOISE)]
    how = Proving(characters=12_000)
    return prove(QuoteMachine(), IDS, TEXT, [candidate(unit) for unit in units], {"inside": INSIDE}, how)


def test_the_carrier_costs_what_it_costs_by_hand(proved):
    found = proved[CARRIER].ablation
    mean = INSIDE.mean()
    chance = 1 / (1 + 5 * math.exp(-(odds(STRAY) + mean * (odds(CLOSES) - odds(STRAY)))))

    def change(inside, closes):
        known = CLOSES if inside else STRAY
        return math.log(known / chance) if closes else math.log((1 - known) / (1 - chance))

    by_hand = np.array([change(*pair) for pair in zip(INSIDE[:-1], IDS[1:] == CLOSE, strict=True)])
    assert found.places == CLOSING.sum()
    assert found.where == "the next character ends it: ”"
    assert found.matters == pytest.approx(change(True, True), abs=ABLATION64)
    assert found.elsewhere == pytest.approx(by_hand[~CLOSING[:-1]].mean(), abs=ABLATION64)
    assert found.elsewhere < 0 < found.matters
    assert found.matters_interval == pytest.approx((found.matters, found.matters), abs=ABLATION64)
    assert found.elsewhere_interval[0] < found.elsewhere < found.elsewhere_interval[1]
    assert found.proved and found.random_units == 8 and found.random_matters == 0.0


def test_what_only_follows_the_feature_proves_nothing(proved):
    for one in (proved[COPY], proved[NOISE]):
        assert one.ablation.matters == one.ablation.elsewhere == 0.0
        assert not one.ablation.proved
        assert one.clamp.on == one.clamp.off and not one.clamp.changed


def test_the_carrier_changes_what_is_written_as_by_hand(proved):
    found = proved[CARRIER].clamp
    assert (found.samples, found.length, found.mark) == (200, 200, "”")
    assert (found.on_value, found.off_value) == (1.0, 0.0)
    assert found.on == pytest.approx(1000 * CLOSES, abs=CLAMP_RATE)
    assert found.off == pytest.approx(1000 * STRAY, abs=CLAMP_RATE)
    inside = ((1 - STRAY) / 5) / ((1 - STRAY) / 5 + CLOSES)
    assert found.untouched == pytest.approx(1000 * (inside * CLOSES + (1 - inside) * STRAY), abs=CLAMP_RATE)
    assert found.on_interval[0] < found.on < found.on_interval[1]
    assert found.changed


def test_other_candidates_of_the_feature_are_no_random_units():
    everything = [candidate(f"layer1.cell[{index}]") for index in range(UNITS - 3)]
    found = prove(QuoteMachine(), IDS, TEXT, everything, {"inside": INSIDE}, QUICK)
    assert {one.ablation.random_units for one in found} == {3}
    (alone,) = prove(QuoteMachine(), IDS, TEXT, [candidate("layer0.noise[1]")], {"inside": INSIDE}, QUICK)
    assert alone.ablation.random_units == 1 and not alone.ablation.proved


def test_units_that_follow_the_feature_are_no_random_ones_though_nobody_found_them(monkeypatch):
    asked = []

    def keep(model, ids, tasks, how):
        asked.extend(tasks)
        return ablations(model, ids, tasks, how)

    monkeypatch.setattr(proof, "ablations", keep)
    prove(QuoteMachine(), IDS, TEXT, [candidate(f"layer1.cell[{CARRIER}]")], {"inside": INSIDE}, QUICK)
    (task,) = asked
    assert len(task.controls) == 8
    assert COPY not in {index for _, index, _ in task.controls}
    everybody = replace(QUICK, controls=UNITS)
    prove(QuoteMachine(), IDS, TEXT, [candidate(f"layer1.cell[{CARRIER}]")], {"inside": INSIDE}, everybody)
    assert [index for _, index, _ in asked[1].controls][-1] == COPY


def test_what_matters_elsewhere_is_used_though_not_for_this():
    letter = np.array([character == "a" for character in TEXT])
    asked = replace(candidate(f"layer1.cell[{CARRIER}]"), feature="letter")
    (found,) = prove(QuoteMachine(), IDS, TEXT, [asked], {"letter": letter}, QUICK)
    assert not found.ablation.proved
    assert found.ablation.used and found.ablation.elsewhere > found.ablation.random_elsewhere == 0.0
    assert "So the network uses it, but not above all for this." in ablation_sentence(found.ablation)


def test_candidates_come_back_in_order_and_else_unchanged(proved):
    for before, after in zip([candidate(f"layer1.cell[{index}]") for index in range(3)], proved, strict=True):
        assert replace(after, ablation=None, clamp=None) == before
    assert prove(QuoteMachine(), IDS, TEXT, [], {}) == ()
    json.dumps([one.to_json() for one in proved])


def test_nothing_to_measure_is_no_proof():
    labels = {"never": np.zeros(len(IDS), dtype=bool), "nothing": np.full(len(IDS), np.nan, dtype=np.float32)}
    asked = [candidate("layer1.cell[0]", "never"), candidate("layer1.cell[1]", "nothing", "number")]
    assert prove(QuoteMachine(), IDS, TEXT, asked, labels, QUICK) == tuple(asked)


def test_a_mark_that_is_never_written_is_not_counted():
    ids = np.where(IDS == CLOSE, 0, IDS)
    (found,) = prove(QuoteMachine(), ids, TEXT, [candidate("layer1.cell[3]")], {"inside": INSIDE}, QUICK)
    assert found.ablation is not None and found.clamp is None


def test_mistakes():
    machine, one = QuoteMachine(), candidate("layer1.cell[0]")
    with pytest.raises(ConfigError, match="labels of inside"):
        prove(machine, IDS, TEXT, [one], {})
    with pytest.raises(ConfigError, match="for inside"):
        prove(machine, IDS, TEXT, [one], {"inside": INSIDE[1:]})
    with pytest.raises(ConfigError, match="for the ids"):
        prove(machine, IDS[1:], TEXT, [one], {"inside": INSIDE})
    with pytest.raises(TextError, match="characters to prove on"):
        prove(machine, IDS[:99], TEXT[:99], [one], {"inside": INSIDE[:99]})
    with pytest.raises(ConfigError, match="did you mean"):
        prove(machine, IDS, TEXT, [replace(one, unit="layer1.cel[0]")], {"inside": INSIDE})


@pytest.mark.parametrize("asked", [0, 3, 30])
def test_it_stops_when_asked_to_and_leaves_the_model_as_it_was(asked):
    calls = iter(range(1000))
    machine = QuoteMachine().train()
    how = replace(QUICK, should_stop=lambda: next(calls) >= asked)
    with pytest.raises(KeyboardInterrupt):
        prove(machine, IDS, TEXT, [candidate("layer1.cell[0]")], {"inside": INSIDE}, how)
    assert machine.training


def test_progress_goes_up_to_one():
    heard = []
    how = replace(QUICK, progress=heard.append)
    prove(QuoteMachine(), IDS, TEXT, [candidate("layer1.cell[0]")], {"inside": INSIDE}, how)
    assert heard == sorted(heard) and 0 < heard[0] < heard[-1] == pytest.approx(1.0)


BOOK = 'He said: "The cat (a big one) sat." And then it went\naway, "so far" as (I) know.\n\n' * 20
BOOK_IDS = np.array([1 + ord(c) % (families.VOCAB - 1) for c in BOOK])


@pytest.mark.parametrize("name", families.PATTERNS)
def test_every_family_can_be_asked(name):
    model = families.model(name, dtype=torch.float32)
    features = [feature for feature in FEATURES if feature.name in ("inside-double-quotes", "position-in-line")]
    asked = []
    for number, (group, size) in enumerate(model.units.items()):
        # The liveliest unit of the group: one that is always the same can be held without a change.
        values_TN = record_units(model, BOOK_IDS[:500], [f"{group}[{unit}]" for unit in range(size)])
        unit = int(values_TN.std(axis=0).argmax())
        asked.append(candidate(f"{group}[{unit}]", features[number % 2].name, features[number % 2].kind))
    labels = {feature.name: feature.labels(BOOK) for feature in features}
    how = replace(QUICK, samples=12, length=10, context=16)
    found = prove(model, BOOK_IDS, BOOK, asked, labels, how)
    assert all(one.ablation.places >= 20 and one.ablation.random_units > 0 for one in found)
    assert {one.ablation.matters == 0.0 for one in found} == {False}
    assert {one.clamp.samples for one in found} == {12}
    numbers = json.dumps([one.to_json() for one in found])
    assert "NaN" not in numbers and "Infinity" not in numbers


def naive_change(model, ids, held, mask_T):
    """The mean change of the loss at a mask's places: every lane on its own, warmed up untouched."""
    lanes = range(0, len(ids) - 1, ablation.LANE)
    changes = []
    for start in lanes:
        state = None
        if start:
            _, state = model(torch.from_numpy(ids[None, start - evaluation.WARM_UP : start]))
        tokens = torch.from_numpy(ids[None, start : start + ablation.LANE + 1])
        nats = [
            F.cross_entropy(model(tokens[:, :-1], state, tap=tap)[0][0], tokens[0, 1:], reduction="none")
            for tap in (untouched, Clamps([held]))
        ]
        changes.append((nats[1] - nats[0]).numpy())
    return float(np.concatenate(changes)[mask_T[:-1]].mean())


@pytest.mark.parametrize(
    ("name", "rows"),
    [("lstm", 1), ("lstm", 7), ("lstm", 512), ("transformer", 7), ("tcn", 7), ("hybrid", 7), ("toy", 7)],
)
def test_losses_are_those_of_a_naive_loop(name, rows, monkeypatch):
    monkeypatch.setattr(proving, "MOST_ROWS", rows)
    monkeypatch.setattr(ablation, "FEWEST_TOGETHER", 1)
    monkeypatch.setattr(ablation, "LANE", 100)
    monkeypatch.setattr(ablation, "BLOCK", 50)
    monkeypatch.setattr(ablation, "CHARACTERS_AT_ONCE", 30)
    monkeypatch.setattr(evaluation, "WARM_UP", 60)
    model = families.model(name)
    ids = np.random.default_rng(3).integers(1, families.VOCAB, 330)
    mask_T = np.append(ids[1:] == 4, False)
    units = [(group, 1, 0.3) for group in (*model.units,)[::3]]
    asked = [ToAblate(unit, tuple(units[:1]), Decided(mask_T, "", "", 1.0)) for unit in units]
    with torch.inference_mode():
        found = ablations(model, ids, asked, Proving(characters=500))
        for unit, one in zip(units, found, strict=True):
            assert one.places == mask_T.sum()
            assert one.matters == pytest.approx(naive_change(model, ids, unit, mask_T), abs=ABLATION64)
            rest = ~mask_T
            rest[-1] = False
            assert one.elsewhere == pytest.approx(naive_change(model, ids, unit, rest), abs=ABLATION64)


@pytest.mark.parametrize("rows", [1, 5, 512])
def test_rates_are_those_of_a_naive_loop(rows, monkeypatch):
    monkeypatch.setattr(proving, "MOST_ROWS", rows)
    model = families.model("gru")
    ids = np.random.default_rng(3).integers(1, families.VOCAB, 500)
    how = Proving(samples=4, length=12, context=30, seed=9)
    tasks = [ToClamp(group, 2, 0.9, -0.9, 3 + number, "x") for number, group in enumerate((*model.units,)[::3])]
    found = clampings(model, ids, tasks, how)
    places = np.random.default_rng(9).choice(500 - 30 + 1, 4, replace=False)
    for task, one in zip(tasks, found, strict=True):
        rates = []
        for tap in (untouched, *(Clamps([(task.group, 2, value)]) for value in (0.9, -0.9))):
            written = []
            for sample, place in enumerate(places):
                with torch.inference_mode():
                    logits_1TV, state = model(torch.from_numpy(ids[None, place : place + 30]))
                logits_1V = logits_1TV[:, -1].float().numpy()
                blocks = streams_on(model, state, logits_1V, SamplingOptions(), seeds=[9 + sample], tap=tap)
                written.append(gathered(blocks, count=1, length=12))
            rates.append(1000 * float((np.concatenate(written) == task.symbol).mean()))
        assert [one.untouched, one.on, one.off] == pytest.approx(rates)


def test_a_text_shorter_than_its_samples_begins_again():
    model = families.model("rnn")
    ids = np.random.default_rng(3).integers(1, families.VOCAB, 40)
    task = ToClamp("layer0.hidden", 2, 0.9, -0.9, 3, "x")
    (found,) = clampings(model, ids, [task], Proving(samples=50, length=5))
    assert found.samples == 50
    with pytest.raises(TextError, match="at least 2 characters"):
        clampings(model, ids[:1], [task])


@pytest.mark.parametrize("seed", range(5))
def test_lanes_hold_enough_of_every_feature(seed):
    choose = np.random.default_rng(seed)
    length = int(choose.integers(2, 400_000))
    masks = []
    for share in (0.3, 0.01, 20 / length, 0.0001):
        mask_T = choose.random(length) < share
        mask_T[-1] = False
        masks.append(mask_T)
    late = np.zeros(length, dtype=bool)
    late[length - length // 50 : -1] = True
    masks.append(late)
    starts = ablation._starts(masks, length, 40_000)
    lanes = -(-(length - 1) // ablation.LANE)
    assert len(starts) >= min(20, lanes) and starts == sorted(set(starts))
    assert all(start % ablation.LANE == 0 and start < length - 1 for start in starts)
    for mask_T in masks:
        here = sum(int(mask_T[start : start + ablation.LANE].sum()) for start in starts)
        assert here >= min(20, int(mask_T.sum()))


def test_lanes_are_longer_than_what_warms_them_up():
    assert ablation.LANE > evaluation.WARM_UP and ablation.LANE % ablation.BLOCK == 0


def test_few_rows_fit_where_much_is_remembered(monkeypatch):
    model = families.model("transformer", dtype=torch.float32)
    assert proving.rows_that_fit(model) == proving.MOST_ROWS
    monkeypatch.setattr(proving, "MOST_STATE_BYTES", 10_000)
    each = sum(value.nbytes for value in model.initial_state(1).values())
    assert proving.rows_that_fit(model) == 10_000 // each
