"""Patterns, configurations and unit names: what is written is what is built, and every mistake is one clear line."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import families
from unrolled.errors import ConfigError
from unrolled.models import FAMILIES, ModelConfig, StackConfig, parameter_count, parse_layers, parse_unit, width_for
from unrolled.models.config import family_of
from unrolled.models.lstm import LSTMConfig
from unrolled.models.mingru import MinGRUConfig
from unrolled.models.rnn import RNNConfig
from unrolled.models.transformer import TransformerConfig
from unrolled.models.wavenet import WaveNetConfig

BUILT_IN = ("rnn", "lstm", "gru", "mingru", "tcn", "wavenet", "transformer", "stackrnn", "tapernn", "window")


def refused(call, *words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    ("pattern", "layers"),
    [
        ("lstm", (LSTMConfig(),)),
        ("  lstm \n rnn\t", (LSTMConfig(), RNNConfig())),
        ("lstm*3", (LSTMConfig(),) * 3),
        ("lstm()", (LSTMConfig(),)),
        ("lstm(forget_bias=2)", (LSTMConfig(forget_bias=2.0),)),
        ("lstm( forget_bias = -0.5 )*2", (LSTMConfig(forget_bias=-0.5),) * 2),
        ("wavenet*2 transformer(window=64, heads=2)", (*(WaveNetConfig(),) * 2, TransformerConfig(window=64, heads=2))),
        ("mingru(negative=true)", (MinGRUConfig(negative=True),)),
        ("mingru(negative=No,expansion=2)", (MinGRUConfig(expansion=2.0),)),
        ("rnn*256", (RNNConfig(),) * 256),
    ],
)
def test_patterns(pattern, layers):
    assert parse_layers(pattern) == layers
    assert ModelConfig(stack=StackConfig(width=2), layers=layers).pattern().split() == [family_of(x) for x in layers]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", ["1 to 256 layers"]),
        ("   ", ["1 to 256 layers"]),
        ("lstm*0", ["1 to 256 layers"]),
        ("lstm*257", ["1 to 256 layers"]),
        ("rnn*200 lstm*100", ["1 to 256 layers"]),
        ("lstm*99999999999999999999", ["1 to 256 layers"]),
        ("lstn", ["lstn", "did you mean 'lstm'"]),
        ("tranformer", ["did you mean 'transformer'"]),
        ("zzzzz", ["choose one of", "wavenet"]),
        ("LSTM", ["'LSTM'"]),
        ("rnn lstm,lstm", ["correct it at 'lstm,lstm'"]),
        ("lstm*", ["correct it at 'lstm*'"]),
        ("lstm(forget_bias=1", ["layer pattern"]),
        ("lstm lstm)", ["layer pattern"]),
        ("lstm((forget_bias=1))", ["layer pattern"]),
        ("lstm*-1", ["layer pattern"]),
        ("lstm\x1b[2J", ["layer pattern"]),
        ("transformer(windw=3)", ["'windw'", "did you mean 'window'"]),
        ("rnn(width=3)", ["'width'", "there are no options"]),
        ("transformer(window)", ["window=64", "name=value"]),
        ("transformer(window=)", ["window to be of type int"]),
        ("transformer(window=wide)", ["window to be of type int", "'wide'"]),
        ("transformer(window=2.5)", ["window to be of type int"]),
        ("mingru(negative=maybe)", ["negative to be of type bool", "'maybe'"]),
        ("mingru(expansion=big)", ["expansion to be of type float"]),
        ("mingru(expansion=0)", ["expansion"]),
        ("mingru(expansion=nan)", ["expansion"]),
        ("transformer(heads=0)", ["heads"]),
        ("transformer(window=70000)", ["window"]),
        ("tcn(kernel=1)", ["kernel"]),
        ("wavenet(cycle=15)", ["cycle"]),
    ],
)
def test_patterns_that_are_refused(pattern, words):
    refused(lambda: parse_layers(pattern), *words)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(alphabet="lstmrnwave*()=,0123456789. -\x00é", max_size=24))
def test_any_text_is_a_pattern_or_a_configuration_error(text):
    try:
        layers = parse_layers(text)
    except ConfigError as error:
        assert str(error).isprintable()
    else:
        assert 1 <= len(layers) <= 256


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", sorted(families.PATTERNS))
def test_json_round_trip(name, plain):
    config = families.config(name, plain=plain, dropout=0.25)
    assert ModelConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("stack"), ["'stack' and 'layers'"]),
        (lambda c: c.update(extra=1), ["extra"]),
        (lambda c: c.update(layers={}), ["'stack' and 'layers'"]),
        (lambda c: c.update(layers=[]), ["1 to 256 layers"]),
        (lambda c: c.update(layers=c["layers"] * 200), ["1 to 256 layers"]),
        (lambda c: c.update(layers=["lstm"]), ["a layer as an object", "lstm"]),
        (lambda c: c.update(stack=3), ["the stack as an object"]),
        (lambda c: c["stack"].pop("width"), ["a value for width"]),
        (lambda c: c["stack"].update(width="8"), ["width to be of type int", "'8'"]),
        (lambda c: c["stack"].update(width=8.0), ["width to be of type int"]),
        (lambda c: c["stack"].update(width=True), ["width to be of type int"]),
        (lambda c: c["stack"].update(width=0), ["a width of 1 to 65536"]),
        (lambda c: c["stack"].update(width=None), ["width to be of type int"]),
        (lambda c: c["stack"].update(dropout=1.0), ["a dropout"]),
        (lambda c: c["stack"].update(dropout=float("nan")), ["a dropout"]),
        (lambda c: c["stack"].update(plain=1), ["plain to be of type bool"]),
        (lambda c: c["stack"].update(widht=8), ["'widht'", "did you mean 'width'"]),
        (lambda c: c["layers"][0].update(family="lsmt"), ["'lsmt'", "did you mean 'lstm'"]),
        (lambda c: c["layers"][0].pop("family"), ["a family"]),
        (lambda c: c["layers"][0].update(family=None), ["a family"]),
        (lambda c: c["layers"][0].update(forget_bias="1"), ["forget_bias to be of type float"]),
        (lambda c: c["layers"][0].update(forget_bais=1.0), ["did you mean 'forget_bias'"]),
    ],
)
def test_json_that_is_refused(change, words):
    value = json.loads(json.dumps(families.config("lstm").to_json()))
    change(value)
    refused(lambda: ModelConfig.from_json(value), *words)


def test_a_whole_number_is_a_float_and_defaults_may_be_left_out():
    value = {"stack": {"width": 8}, "layers": [{"family": "lstm", "forget_bias": 2}, {"family": "rnn"}]}
    config = ModelConfig.from_json(value)
    assert config == ModelConfig(stack=StackConfig(width=8), layers=(LSTMConfig(forget_bias=2.0), RNNConfig()))


@pytest.mark.parametrize("target", [100_000, 1_000_000])
@pytest.mark.parametrize(
    "pattern", [*(f"{name}*2" for name in BUILT_IN), "wavenet*2 transformer(heads=2) lstm", "toy*2"]
)
def test_width_for_comes_within_2_percent(pattern, target):
    layers, stack = parse_layers(pattern), StackConfig(width=1)

    def count(width):
        with torch.device("meta"):
            return parameter_count(ModelConfig(stack=StackConfig(width=width), layers=layers).build(65))

    width = width_for(layers, stack, 65, target)
    found = count(width)
    assert abs(found - target) <= 0.02 * target
    assert abs(found - target) <= min(abs(count(width - 1) - target), abs(count(width + 1) - target))


def test_width_for_says_how_few_is_too_few():
    refused(lambda: width_for(parse_layers("lstm*2"), StackConfig(width=1), 65, 10), "at least", "--params")
    smallest = parameter_count(families.config("lstm", width=1).build(65))
    assert width_for(parse_layers("lstm*2"), StackConfig(width=1), 65, smallest) == 1


def test_a_dilation_counts_the_layers_of_its_own_family_only():
    config = ModelConfig(
        stack=StackConfig(width=4), layers=parse_layers("wavenet tcn wavenet tcn(cycle=3) lstm wavenet")
    )
    dilations = [branch.dilation for branch in config.build(5).branches if branch.initial_state(1).keys() & {"past"}]
    assert dilations == [1, 1, 2, 2, 4]


def test_the_weights_are_a_function_of_the_seed():
    for name in families.PATTERNS:
        one, two = families.model(name, seed=5), families.model(name, seed=5)
        other = families.model(name, seed=6)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("text", ["layer1.cell[0]", " layer1.cell[7] "])
def test_unit_names(text):
    assert parse_unit(text, families.model("lstm").units) == ("layer1.cell", int(text.strip()[-2]))


@pytest.mark.parametrize("text", ["layer0.state.carry", " layer0.state.carry ", "layer0.state.carry[0]"])
def test_a_group_of_one_unit_needs_no_index(text):
    units = {"layer0.state.carry": 1, "layer0.state.many": 2}
    assert parse_unit(text, units) == ("layer0.state.carry", 0)
    refused(lambda: parse_unit("layer0.state.many", units), "a unit such as")


@pytest.mark.parametrize("name", sorted(families.PATTERNS))
def test_every_unit_has_a_stable_name(name):
    units = families.model(name).units
    for group, size in units.items():
        assert parse_unit(f"{group}[{size - 1}]", units) == (group, size - 1)
        refused(lambda group=group, size=size: parse_unit(f"{group}[{size}]", units), f"an index below {size}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layer1.cell", ["a unit such as"]),
        ("layer1.cell[]", ["a unit such as"]),
        ("layer1.cell[-1]", ["a unit such as"]),
        ("layer1.cell[1][2]", ["a unit such as"]),
        ("", ["a unit such as"]),
        ("layer1.cel[1]", ["did you mean 'layer1.cell'"]),
        ("cell[1]", ["a group of units"]),
        ("layer2.cell[1]", ["a group of units"]),
        ("layer1.cell[8]", ["an index below 8"]),
        ("layer1.cell[99999999999999999999]", ["an index below 8"]),
    ],
)
def test_unit_names_that_are_refused(text, words):
    refused(lambda: parse_unit(text, families.model("lstm").units), *words)


def test_families_are_listed_once_and_know_their_names():
    assert [name for name in FAMILIES if name in BUILT_IN] == list(BUILT_IN)
    for name, config in FAMILIES.items():
        assert family_of(config()) == name
    refused(lambda: family_of(_Homeless()), "FAMILIES")


class _Homeless(families.LayerConfig):
    def build(self, width, index):
        return ()
