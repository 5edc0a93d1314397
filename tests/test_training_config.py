"""Training numbers: limits that are said aloud, and a rate that rises, then falls to nothing."""

import dataclasses
import json

import pytest

from unrolled.errors import ConfigError
from unrolled.models.config import from_fields
from unrolled.training.config import TrainingConfig


@pytest.mark.parametrize("warm_up", [0, 1, 7, 100])
@pytest.mark.parametrize("steps", [1, 2, 40, 1000])
def test_rate_rises_over_warm_up_and_falls_linearly_to_zero(warm_up, steps):
    config = TrainingConfig(steps=steps, rate=0.5, warm_up=warm_up)
    rates = [config.rate_at(step) for step in range(steps + 1)]
    for step, rate in enumerate(rates):
        rising = min(1.0, (step + 1) / warm_up) if warm_up else 1.0
        assert rate == pytest.approx(0.5 * rising * (steps - step) / steps)
    assert all(rate > 0 for rate in rates[:-1])
    assert rates[-1] == 0 == config.rate_at(steps + 5)
    after = rates[max(warm_up - 1, 0) :]
    assert after == sorted(after, reverse=True)
    assert max(rates) <= 0.5


def test_no_steps_have_a_rate_too():
    assert TrainingConfig(steps=0).rate_at(0) >= 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("steps", 10**9 + 1),
        ("lanes", 0),
        ("unroll", 0),
        ("unroll", 65537),
        ("forget_every", -1),
        ("rate", -0.1),
        ("rate", float("nan")),
        ("rate", float("inf")),
        ("warm_up", -1),
        ("hold", -0.1),
        ("hold", 1.1),
        ("weight_decay", -1.0),
        ("weight_decay", float("nan")),
        ("clip", 0.0),
        ("evaluate_every", 0),
        ("evaluate_chars", 1),
        ("patience", -1),
        ("seed", -1),
        ("seed", 2**63),
        ("precision", "float16"),
        ("precision", ""),
    ],
)
def test_numbers_out_of_range_name_their_option(name, value):
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(**({"steps": 1} | {name: value}))
    message = str(caught.value)
    assert message.isprintable() and name.replace("_", "-") in message.replace("_", "-")


def test_the_largest_seed_works():
    import torch

    from unrolled.training.loop import _mixed

    seeds = {_mixed(seed, step) for seed in (0, 1, 2**63 - 1) for step in range(100)}
    assert len(seeds) == 300 and all(0 <= seed < 2**63 for seed in seeds)
    torch.manual_seed(2**63 - 1)


def test_json_round_trip_is_strict():
    config = TrainingConfig(steps=7, rate=0.25, precision="bfloat16", seed=2**62)
    again = json.loads(json.dumps(dataclasses.asdict(config)))
    assert from_fields(TrainingConfig, again) == config
    for change, words in (
        ({"stepz": 3}, "did you mean 'steps'"),
        ({"steps": "7"}, "steps to be of type int"),
        ({"precision": 16}, "precision to be of type str"),
    ):
        with pytest.raises(ConfigError, match=words):
            from_fields(TrainingConfig, again | change)
    again.pop("steps")
    with pytest.raises(ConfigError, match="a value for steps"):
        from_fields(TrainingConfig, again)
