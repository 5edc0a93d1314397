"""Streaming shows every place of a text once, in constant memory, with the values that reading it in order has."""

import gc

import numpy as np
import pytest
import torch

import families
from tolerances import STREAMED
from unrolled.errors import ConfigError, TextError
from unrolled.models import Watch
from unrolled.neurons.streaming import BLOCK_VALUES, record_units, stream_units

IDS = np.random.default_rng(0).integers(1, families.VOCAB, 5000).astype(np.uint8)


def in_order(model, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Every unit by the plainest means: one lane, one call."""
    seen = {}
    tap = Watch(lambda name, value: seen.setdefault(name, []).append(value))
    with torch.inference_mode():
        model(torch.from_numpy(ids.astype(np.int64))[None], tap=tap)
    return {name: torch.cat(values, 1)[0].numpy() for name, values in seen.items()}


@pytest.mark.parametrize("name", families.PATTERNS)
def test_every_place_comes_once_with_the_values_of_plain_reading(name):
    model = families.model(name)
    wanted = in_order(model, IDS)
    times = np.zeros(len(IDS), dtype=int)
    for block in stream_units(model, IDS):
        there = block.places_BT >= 0
        np.add.at(times, block.places_BT[there], 1)
        assert set(block.values) == set(model.units)
        for group, value_BTN in block.values.items():
            found = value_BTN.numpy()[there]
            assert np.abs(found - wanted[group][block.places_BT[there]]).max() < STREAMED
    assert (times == 1).all()


@pytest.mark.parametrize("size", [1, 2, 1023, 1024, 1025, 4097])
def test_texts_of_any_length_are_read(size):
    model = families.model("gru")
    wanted = in_order(model, IDS[:size])["layer1.hidden"][:, 3]
    found = record_units(model, IDS[:size], ["layer1.hidden[3]"])
    assert found.shape == (size, 1)
    assert np.abs(found[:, 0] - wanted).max() < STREAMED


def test_chosen_units_come_in_the_order_they_were_asked_for():
    model = families.model("lstm")
    wanted = in_order(model, IDS)
    found = record_units(model, IDS, ["layer1.cell[2]", "layer0.forget_gate[7]"])
    assert np.abs(found[:, 0] - wanted["layer1.cell"][:, 2]).max() < STREAMED
    assert np.abs(found[:, 1] - wanted["layer0.forget_gate"][:, 7]).max() < STREAMED


def test_only_wanted_groups_are_shown():
    model = families.model("lstm")
    assert all(set(block.values) == {"layer0.cell"} for block in stream_units(model, IDS, {"layer0.cell"}.__contains__))


def test_what_is_held_at_once_does_not_grow_with_the_text(monkeypatch):
    monkeypatch.setattr("unrolled.neurons.streaming.BLOCK_VALUES", 4096)
    model, held = families.model("lstm"), []
    for block in stream_units(model, IDS):
        held.append(sum(value.numel() for value in block.values.values()))
    assert max(held) <= 4096 + sum(model.units.values()) * 64
    assert BLOCK_VALUES * 4 <= 100e6


def test_a_waiting_stream_leaves_its_caller_outside_of_inference_and_autocast():
    model = families.model("lstm", dtype=torch.float32)
    stream = stream_units(model, IDS, precision="bfloat16")
    next(stream)
    assert not torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")
    stream.close()
    gc.collect()


def test_the_model_is_left_in_the_mode_it_was_in():
    model = families.model("lstm").train()
    list(stream_units(model, IDS[:100]))
    assert model.training


def test_being_told_to_stop_stops():
    with pytest.raises(KeyboardInterrupt):
        list(stream_units(families.model("lstm"), IDS, should_stop=lambda: True))


def test_nothing_to_read_and_units_that_do_not_exist_are_refused():
    with pytest.raises(TextError, match="a text to read"):
        list(stream_units(families.model("lstm"), IDS[:0]))
    with pytest.raises(ConfigError, match=r"layer1\.cell"):
        record_units(families.model("lstm"), IDS, ["layer1.cel[0]"])
