"""Evidence: histograms against counts by hand, passages that show what they claim, gates, and findings in sentences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigError
from unrolled.models import ModelConfig, StackConfig, Watch, parse_layers
from unrolled.neurons.evidence import BINS, LENGTH, PASSAGES, TENTHS, gather, histogram, scaled
from unrolled.neurons.features import FEATURES
from unrolled.neurons.findings import Ablation, Candidate, Clamp, Search
from unrolled.neurons.saturation import saturation
from unrolled.neurons.sentences import claim, none_found, sentence, summary

BY_NAME = {feature.name: feature for feature in FEATURES}


def candidate(name="inside-double-quotes", sign=1, **changes) -> Candidate:
    feature = BY_NAME[name]
    facts = {
        "unit": "layer1.cell[137]", "feature": name, "description": feature.description, "kind": feature.kind,
        "sign": sign, "score": 0.9984, "interval": (0.997, 0.9996), "discovery_score": 0.99, "character_score": 0.61,
        "beyond_character": 0.99, "untrained_score": 0.57, "probe_score": 0.99, "probe_layer": "layer1", "p": 0.01,
        "gain": 0.9,
    }  # fmt: skip
    return Candidate(**{**facts, **changes})


def quoted(lines=120, seed=0) -> str:
    """Lines with a quotation in most of them."""
    random = np.random.default_rng(seed)
    words = ["one", "two", "three", "go", "on", "there", "and", "said"]
    made = []
    for _ in range(lines):
        line = [words[random.integers(8)] for _ in range(10)]
        if random.random() < 0.8:
            begin, end = sorted(random.choice(9, 2, replace=False))
            line[begin], line[end + 1] = f'"{line[begin]}', f'{line[end + 1]}"'
        made.append(" ".join(line))
    return "\n".join(made) + "\n"


TEXT = quoted()
INSIDE = BY_NAME["inside-double-quotes"].labels(TEXT)
NOISE = np.random.default_rng(1).standard_normal(len(TEXT))


@pytest.mark.parametrize("sign", [1, -1], ids=["on", "off"])
def test_the_strongest_passages_show_both_sides_and_the_unit_right_on_each(sign):
    values = sign * (INSIDE * 2.0 - 0.5) + 0.1 * NOISE
    found = gather(candidate(sign=sign), TEXT, values, INSIDE, start=5000)
    assert len(found.strongest) == PASSAGES
    for one in found.strongest:
        at = one.at - 5000
        inside = INSIDE[at : at + len(one.text)]
        assert one.text == TEXT[at : at + LENGTH] and len(one.values) == len(one.text)
        assert 20 <= inside.sum() <= LENGTH - 20
        assert ((np.array(one.values) * sign > 0) == inside).all()
        assert at == 0 or TEXT[at - 1].isspace()
    places = sorted(one.at for one in found.strongest)
    assert min(np.diff(places)) >= LENGTH
    assert places[0] - 5000 < len(TEXT) / 3 and places[-1] - 5000 > len(TEXT) * 2 / 3
    assert not found.counter  # it is right everywhere: there is nothing honest to show


def test_counter_examples_are_the_places_where_the_unit_is_wrong():
    values = INSIDE * 2.0 - 1 + 0.1 * NOISE
    values[3000:3060] *= -1
    values[5000:5010] *= -1
    found = gather(candidate(), TEXT, values, INSIDE)
    assert found.counter[0].at <= 3000 and found.counter[0].at + LENGTH >= 3055
    covered = {place for one in found.counter for place in range(one.at, one.at + LENGTH)}
    assert set(range(5000, 5010)) <= covered
    for one in found.counter:
        inside = INSIDE[one.at : one.at + LENGTH]
        assert ((np.array(one.values) > 0) != inside).any()


def test_a_rare_label_that_is_missed_is_a_counter_example():
    labels = BY_NAME["next-is-newline"].labels(TEXT)
    values = labels.astype(float)
    missed = np.flatnonzero(labels)[40]
    values[missed] = 0
    found = gather(candidate("next-is-newline"), TEXT, values, labels)
    assert len(found.counter) == 1
    assert found.counter[0].at <= missed < found.counter[0].at + LENGTH


def test_numbers_have_passages_too():
    labels = BY_NAME["position-in-line"].labels(TEXT)
    values = -(labels.astype(float) ** 2)
    values[4000:4100] = -values[4000:4100]
    found = gather(candidate("position-in-line", sign=-1), TEXT, values, labels)
    assert len(found.strongest) == PASSAGES
    for one in found.strongest:
        inside = labels[one.at : one.at + LENGTH]
        assert np.ptp(inside) > 0.5 * np.ptp(labels)
        assert not set(range(4000, 4100)) & set(range(one.at, one.at + LENGTH))
    worst = found.counter[0]
    assert len(set(range(4000, 4100)) & set(range(worst.at, worst.at + LENGTH))) >= 60


def test_a_histogram_counts_every_place_once():
    values = np.array([0.0] * 10 + [1.0] * 30 + [0.25] * 5)
    labels = np.arange(45) % 3 == 0
    found = histogram(values, labels)
    assert (found["low"], found["high"]) == (0.0, 1.0)
    assert len(found["on"]) == len(found["off"]) == BINS
    for name, chosen in (("on", labels), ("off", ~labels)):
        expected = np.zeros(BINS, dtype=int)
        for value, bin_ in ((0.0, 0), (0.25, BINS // 4), (1.0, BINS - 1)):
            expected[bin_] = ((values == value) & chosen).sum()
        assert found[name] == expected.tolist()


def test_a_few_wild_values_do_not_squeeze_a_histogram():
    values = np.concatenate([np.linspace(-1, 1, 10_000), [1e6, -1e6]])
    found = histogram(values, np.arange(len(values)) % 2 == 0)
    assert -1 <= found["low"] < -0.9 and 0.9 < found["high"] <= 1
    assert sum(found["on"]) + sum(found["off"]) == len(values)


def test_tenths_of_a_number():
    labels = np.arange(1000.0)
    labels[:100] = np.nan
    found = histogram(2 * labels, labels)
    assert found["labels"] == [[100.0 + 90 * k, 189.0 + 90 * k] for k in range(TENTHS)]
    assert found["bins"] == pytest.approx([289.0 + 180 * k for k in range(TENTHS)])
    assert found["quartiles"][0] == pytest.approx([200 + 44.5, 200 + 133.5])
    few = histogram(np.arange(90.0), np.repeat([0.0, 1.0, 7.0], 30))
    assert few["labels"] == [[0.0, 0.0], [1.0, 1.0], [7.0, 7.0]] and few["bins"] == [14.5, 44.5, 74.5]


def test_the_scale_of_passages():
    values = np.concatenate([np.full(50, -3.0), np.full(50, 1.0)])
    found = scaled(values, values > 0)
    assert set(found) == {-1.0, 1.0}
    # A label rarer than the scale's edges: halfway is beyond all but a few values, and nothing divides by zero.
    rare = np.zeros(2000)
    rare[7] = 50.0
    found = scaled(rare, rare > 0)
    assert found[7] > 0 and (np.delete(found, 7) < 0).all() and np.abs(found).max() <= 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_that_a_unit_or_a_label_does_is_an_error(data):
    size = data.draw(st.integers(1, 400))
    text = data.draw(st.text("ab \n\u202e\ud800", min_size=size, max_size=size))
    few = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 3e8, 0.5])
    values = np.array(data.draw(st.lists(few, min_size=size, max_size=size)), dtype=np.float32)
    if data.draw(st.booleans()):
        name, labels = "vowel", np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    else:
        numbers = st.sampled_from([np.nan, 0.0, 1.0, 2.5])
        name = "position-in-line"
        labels = np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)), dtype=np.float32)
    found = gather(candidate(name, sign=data.draw(st.sampled_from([1, -1]))), text, values, labels)
    for one in (*found.strongest, *found.counter):
        assert text[one.at : one.at + len(one.text)] == one.text and len(one.values) == len(one.text) <= LENGTH
        assert all(-1 <= value <= 1 for value in one.values)
    if found.histogram and labels.dtype == bool:
        assert sum(found.histogram["on"]) == labels.sum() and sum(found.histogram["off"]) == (~labels).sum()


def test_values_and_labels_of_another_text_are_refused():
    with pytest.raises(ConfigError, match="one value and one label for each of 3"):
        gather(candidate(), "abc", np.zeros(2), np.zeros(3, dtype=bool))


@pytest.mark.parametrize("pattern", ["lstm gru", "transformer", "rnn wavenet tcn"])
def test_gates_are_found_by_their_values(pattern):
    torch.manual_seed(3)
    model = ModelConfig(stack=StackConfig(width=6), layers=parse_layers(pattern)).build(11).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    ids = np.random.default_rng(0).integers(0, 11, 3000)
    seen = {group: [] for group in model.units}
    with torch.inference_mode():
        model(torch.from_numpy(ids)[None], tap=Watch(lambda group, value: seen[group].append(value[0])))
    values = {group: torch.cat(parts).numpy() for group, parts in seen.items()}
    found = saturation(model, ids)
    gates = {group for group in model.units if "gate" in group and values[group].min() >= 0}
    assert gates <= set(found) <= {group for group, one in values.items() if one.min() >= 0 and one.max() <= 1}
    assert bool(gates) or "lstm" not in pattern
    for group, shares in found.items():
        # Lanes are warmed up, not exact: a share may differ by a place that lies on the edge.
        assert np.abs(shares.left - (values[group] < 0.1).mean(0)).max() <= 3 / len(ids)
        assert np.abs(shares.right - (values[group] > 0.9).mean(0)).max() <= 3 / len(ids)
        assert set(shares.to_json()) == {"left", "right"}


def test_sentences_say_what_was_found():
    assert claim(candidate()) == "layer1.cell[137] is on inside double quotes"
    assert claim(candidate(sign=-1)) == "layer1.cell[137] is off inside double quotes"
    assert claim(candidate("line-nearly-full")) == "layer1.cell[137] is on where the line is nearly full"
    assert claim(candidate("vowel")) == "layer1.cell[137] is on at a vowel"
    number = candidate("position-in-line", sign=-1, score=0.987)
    assert claim(number) == "layer1.cell[137] falls with how many characters have been read since the newline"
    assert summary(candidate()).endswith("double quotes: AUC 0.998 (0.997 to 0.9996) on text it was not chosen on.")
    assert "rank correlation 0.987" in summary(number)


def test_sentences_say_what_proves_it():
    ablation = Ablation(
        where='the next character ends it: "\x1b', places=80, matters=1.904, matters_interval=(1.5, 2.1),
        elsewhere=0.0104, elsewhere_interval=(0.0, 0.02), random_units=8, random_matters=-0.0001,
        random_matters_interval=(-0.001, 0.001), random_elsewhere=0.001, proved=True, used=False,
    )  # fmt: skip
    clamp = Clamp(
        mark="\n", samples=200, length=200, on_value=0.97, off_value=-0.8, untouched=15.0, on=40.25, off=1.0,
        on_interval=(38, 42), off_interval=(0, 2), changed=True,
    )  # fmt: skip
    told = sentence(candidate(ablation=ablation, clamp=clamp))
    for words in ("alone reaches 0.610", "an untrained copy 0.570", "costs 1.90 nats", "and 0.010 elsewhere",
                  "costs 0.000 there", '"␛', "newline 40.2 times in a thousand", "left alone 15.0"):  # fmt: skip
        assert words in told, (words, told)
    assert "\x1b" not in told and "\n" not in told
    doubtful = candidate(ablation=Ablation(**{**vars(ablation), "proved": False}))
    assert "does not prove" in sentence(doubtful)


def test_every_feature_makes_a_sentence():
    for name in BY_NAME:
        told = claim(candidate(name))
        assert told.count('"') % 2 == 0 and not told.endswith((".", ",", ":", ";"))


def test_nothing_found_is_an_answer():
    doubtful = candidate(against=("the interval reaches what untrained copies reach",), gain=0.1)
    facts = {
        "characters": 50_000, "discovery": 24_500, "gap": 1000, "confirmation": 24_500, "units": 1234, "shifts": 500,
        "untrained_copies": 3, "skipped": {},
    }  # fmt: skip
    told = none_found(Search(**facts, candidates=(doubtful,)))
    assert "1,234 units" in told and "24,500 characters" in told and "untrained copies reach" in told
    assert none_found(Search(**facts, candidates=()))
    assert none_found(Search(**facts, candidates=(candidate(),))) == ""
