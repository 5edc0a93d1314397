"""One temperature for all predictions: the best one is found, and nothing but the readout's weights changes."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import families
import tolerances
from unrolled.sampling import SamplingOptions, write
from unrolled.training.calibration import (
    LEAST_CHARACTERS,
    LIMIT,
    best_temperature,
    calibrated_score,
    cool,
    fitted_temperature,
)
from unrolled.training.evaluation import Protocol, evaluate


def drawn(count: int, symbols: int, sharpness: float, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits, and targets drawn from them times `sharpness`."""
    torch.manual_seed(seed)
    logits_NV = 2 * torch.randn(count, symbols, dtype=torch.float64)
    return logits_NV, torch.multinomial((logits_NV * sharpness).softmax(-1), 1)[:, 0]


@pytest.mark.parametrize("sharpness", [0.5, 0.9, 1.0, 1.7])
def test_no_temperature_near_the_found_one_predicts_better(sharpness):
    logits_NV, targets_N = drawn(3000, 9, sharpness)
    found = best_temperature(logits_NV, targets_N)
    cost = lambda temperature: F.cross_entropy(logits_NV / temperature, targets_N).item()  # noqa: E731
    assert all(cost(found) < cost(found * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2))
    assert abs(found * sharpness - 1) < tolerances.TEMPERATURE_OF_DRAWN


def test_extremes_end_at_the_limit_and_nonsense_changes_nothing():
    logits_NV = torch.randn(500, 4)
    assert best_temperature(logits_NV, logits_NV.argmax(-1)) == pytest.approx(1 / LIMIT)
    assert best_temperature(logits_NV, logits_NV.argmin(-1)) == pytest.approx(LIMIT)
    assert best_temperature(torch.zeros(500, 4), torch.zeros(500, dtype=torch.long)) == 1
    assert best_temperature(torch.full((500, 4), math.nan), torch.zeros(500, dtype=torch.long)) == 1


@pytest.mark.parametrize("plain", [False, True])
def test_cooling_divides_every_logit_and_touches_nothing_but_the_readout(plain):
    model = families.model("lstm", plain=plain).double()
    tokens_BT = torch.randint(0, model.vocab_size, (2, 7))
    before, weights = model(tokens_BT)[0], {name: value.clone() for name, value in model.state_dict().items()}
    cool(model, 1.25)
    assert (model(tokens_BT)[0] - before / 1.25).abs().max() < tolerances.EXACT64
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])}
    assert changed <= {"readout.weight", "readout.bias"} and "readout.weight" in changed


def test_a_model_is_calibrated_on_what_it_carries_through(monkeypatch):
    model = families.model("gru").double()
    with torch.no_grad():
        model.readout.weight *= 40
    ids = write(model, np.asarray([1]), SamplingOptions(), seeds=[1], length=LEAST_CHARACTERS)[0]
    cool(model, 1 / 2.5)
    before = evaluate(model, ids, Protocol()).nats_per_char
    model.train()
    found = fitted_temperature(model, ids)
    assert model.training and abs(found / 2.5 - 1) < tolerances.TEMPERATURE_OF_DRAWN
    promised, temperature = calibrated_score(model, ids)
    assert temperature == found
    cool(model, found)
    after = evaluate(model, ids, Protocol())
    assert after.nats_per_char < before
    assert after.nats == pytest.approx(promised.nats, rel=tolerances.EXACT64) and after.chars == promised.chars
    assert fitted_temperature(model, ids) == pytest.approx(1, abs=tolerances.TEMPERATURE_AGAIN)
    assert fitted_temperature(model, ids[: LEAST_CHARACTERS - 1]) == 1
    monkeypatch.setattr("unrolled.training.calibration.MOST_LOGITS", len(ids) * model.vocab_size // 4)
    scored, temperature = calibrated_score(model, ids)
    assert temperature == fitted_temperature(model, ids) == pytest.approx(1, abs=tolerances.TEMPERATURE_OF_A_QUARTER)
    assert scored.nats == pytest.approx(after.nats, rel=tolerances.NATS_OF_A_QUARTER)
    few = ids[: LEAST_CHARACTERS - 1]
    assert calibrated_score(model, few) == (evaluate(model, few, Protocol()), 1)
    with pytest.raises(KeyboardInterrupt):
        fitted_temperature(model, ids, should_stop=lambda: True)
