"""Units held at values: what is typed, what is touched, and that rows of one batch are runs of their own."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import families
from tolerances import EXACT64
from unrolled.errors import ConfigError
from unrolled.models import Watch
from unrolled.neurons.clamps import LARGEST, Clamps, RowClamps, parse_clamp
from unrolled.sampling import SamplingOptions, gathered, read, streams, streams_on

UNITS = {"layer0.hidden": 8, "layer1.cell": 200, "layer1.forget_gate": 200}
PROMPT = [1, 4, 2, 9, 3, 3, 7, 1, 5, 6, 8, 10, 2]
EVERY_FAMILY = pytest.mark.parametrize("name", families.PATTERNS)


def test_a_clamp_is_read():
    assert parse_clamp("layer1.cell[137]=1.0", UNITS) == ("layer1.cell", 137, 1.0)
    assert parse_clamp(" layer0.hidden[0] = -2.5e-3 ", UNITS) == ("layer0.hidden", 0, -0.0025)
    assert parse_clamp("layer1.cell[199]=+3", UNITS) == ("layer1.cell", 199, 3.0)


MISTAKES = {
    # what is typed: what the error must say
    "": ["a unit and a value"],
    "layer1.cell[137]": ["a unit and a value", "add =VALUE"],
    "layer1.cell=1": ["a unit such as"],
    "layer1.cell[]=1": ["a unit such as"],
    "layer1.cell[-1]=1": ["a unit such as"],
    "layer1.cel[137]=1": ["a group of units", "'layer1.cel'", "did you mean 'layer1.cell'?"],
    "layer1.cell[200]=1": ["an index below 200", "layer1.cell[200]"],
    "layer1.cell[1]=": ["a finite number to hold layer1.cell[1] at", "''"],
    "layer1.cell[1]=one": ["a finite number", "'one'"],
    "layer1.cell[1]=nan": ["a finite number", "'nan'"],
    "layer1.cell[1]=inf": ["a finite number", "'inf'"],
    "layer1.cell[1]=-1e39": ["a finite number", "'-1e39'"],
    "layer1.cell[1]=1=2": ["a unit such as"],
    "layer1.cell[1]=\x1b[2J": ["a finite number", "\\x1b"],
}


@pytest.mark.parametrize("typed", MISTAKES, ids=repr)
def test_a_mistake_is_one_line(typed):
    with pytest.raises(ConfigError) as caught:
        parse_clamp(typed, UNITS)
    line = str(caught.value)
    assert "\n" not in line and "\x1b" not in line
    for words in MISTAKES[typed]:
        assert words in line


@settings(max_examples=100, deadline=None, derandomize=True)
@given(value=st.floats(-LARGEST, LARGEST), index=st.integers(0, 199))
def test_every_finite_value_is_read_as_it_was_written(value, index):
    assert parse_clamp(f"layer1.cell[{index}]={value!r}", UNITS) == ("layer1.cell", index, value)


def test_one_unit_has_one_value():
    with pytest.raises(ConfigError, match=r"layer1.cell\[3\] twice"):
        Clamps.parse(["layer1.cell[3]=1", "layer0.hidden[3]=1", "layer1.cell[3]=1"], UNITS)
    with pytest.raises(ConfigError, match="twice"):
        RowClamps([[], [("layer1.cell", 3, 1.0), ("layer1.cell", 3, 2.0)]])
    RowClamps([[("layer1.cell", 3, 1.0)], [("layer1.cell", 3, 2.0)]])


def test_only_the_held_units_are_touched():
    held = Clamps.parse(["layer1.cell[3]=1.5", "layer1.cell[0]=-2"], UNITS)
    assert {name for name in UNITS if held.edits(name)} == {"layer1.cell"} == {n for n in UNITS if held.watches(n)}
    value_BTN = torch.randn(2, 5, 200)
    kept = value_BTN.clone()
    changed = held("layer1.cell", value_BTN)
    assert torch.equal(value_BTN, kept)
    expected = kept.clone()
    expected[..., 3], expected[..., 0] = 1.5, -2.0
    assert torch.equal(changed, expected)


def test_each_row_has_its_own():
    by_row = [[("layer1.cell", 3, 1.5)], [], [("layer1.cell", 3, -1.0), ("layer1.cell", 7, 2.0)]]
    held = RowClamps(by_row)
    assert {name for name in UNITS if held.edits(name)} == {"layer1.cell"} == {n for n in UNITS if held.watches(n)}
    value_BTN = torch.randn(3, 4, 200)
    kept = value_BTN.clone()
    expected = kept.clone()
    expected[0, :, 3], expected[2, :, 3], expected[2, :, 7] = 1.5, -1.0, 2.0
    assert torch.equal(held("layer1.cell", value_BTN), expected)
    assert torch.equal(value_BTN, kept)
    with pytest.raises(ConfigError, match="a batch of 3 rows"):
        held("layer1.cell", value_BTN[:2])


def some_clamps(model) -> list[list[tuple[str, int, float]]]:
    """Nothing, then one unit of each group, then a unit of each of two groups together."""
    groups = list(model.units)
    single = [[(group, number % model.units[group], 0.7 - number / 3)] for number, group in enumerate(groups)]
    return [[], *single, [*single[0], *single[-1]]]


@EVERY_FAMILY
def test_rows_are_what_runs_of_their_own_are(name):
    model = families.model(name)
    by_row = some_clamps(model)
    tokens_BT = torch.tensor([PROMPT]).repeat(len(by_row), 1)
    with torch.inference_mode():
        together, after = model(tokens_BT, tap=RowClamps(by_row))
        plain, _ = model(tokens_BT[:1])
        torch.testing.assert_close(together[:1], plain, rtol=0, atol=EXACT64)
        for row, held in enumerate(by_row):
            alone, state = model(tokens_BT[:1], tap=Clamps(held))
            torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=EXACT64)
            for key, value in state.items():
                torch.testing.assert_close(after[key][row : row + 1], value, rtol=0, atol=EXACT64)
            assert bool(held) == (not torch.equal(alone, plain))


class Both(Clamps):
    """Clamps that also look at what the model goes on with."""

    def __init__(self, held):
        super().__init__(held)
        self.seen = []

    def __call__(self, name, value_BTN):
        changed = super().__call__(name, value_BTN)
        self.seen.append(changed[..., 2])
        return changed


def test_a_held_cell_is_held_in_the_memory_too():
    model, hidden = families.model("lstm"), []
    tap = Both([("layer1.cell", 2, 0.25)])
    with torch.inference_mode():
        _, state = model(torch.tensor([PROMPT]), tap=tap)
        model(torch.tensor([PROMPT]), tap=Watch(lambda _, value: hidden.append(value[0, -1, 2]), r"layer1\.hidden"))
    assert torch.equal(torch.cat(tap.seen, 1), torch.full((1, len(PROMPT)), 0.25, dtype=torch.float64))
    assert state["layer1.cell"][0, 2] == 0.25
    assert not math.isclose(float(state["layer1.hidden"][0, 2]), float(hidden[-1]))


@EVERY_FAMILY
def test_clamped_streams_of_a_batch_are_single_streams(name):
    model = families.model(name)
    options, by_row = SamplingOptions(temperature=0.9), some_clamps(model)
    seeds = [5] * len(by_row)
    place = read(model, PROMPT)
    state = {key: value.repeat_interleave(len(by_row), dim=0) for key, value in place.state.items()}
    logits_BV = np.repeat(place.logits_V[None], len(by_row), axis=0)
    blocks = streams_on(model, state, logits_BV, options, seeds=seeds, tap=RowClamps(by_row))
    together = gathered(blocks, count=len(seeds), length=30)
    for row, held in enumerate(by_row):
        blocks = streams_on(model, place.state, logits_BV[:1], options, seeds=[5], tap=Clamps(held))
        assert gathered(blocks, count=1, length=30).tolist() == together[row : row + 1].tolist()
    plain = gathered(streams(model, PROMPT, options, seeds=[5], precision="float32"), count=1, length=30)
    assert plain[0].tolist() == together[0].tolist(), "a row that nothing holds is the untouched stream"
