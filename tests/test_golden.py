"""Thirty seeded steps of every family give the loss curve that is written in golden/curves.

`python tests/test_golden.py` writes them anew: in a commit of its own that says why they changed.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from tolerances import GOLDEN_LOSS
from unrolled.models import ModelConfig, StackConfig, parse_layers
from unrolled.text.lanes import Lanes
from unrolled.text.vocabulary import UNKNOWN, Vocabulary
from unrolled.training.config import TrainingConfig
from unrolled.training.loop import Training, update

CURVES = Path(__file__).parent / "golden" / "curves"
STEPS = 30
PATTERNS = {
    "rnn": "rnn*2",
    "lstm": "lstm*2",
    "gru": "gru*2",
    "mingru": "mingru*2",
    "mingru-negative": "mingru(negative=true)*2",
    "tcn": "tcn*3",
    "wavenet": "wavenet*3",
    "transformer": "transformer(heads=2,window=12)*2",
    "stackrnn": "stackrnn(depth=12,cell=4)*2",
    "tapernn": "tapernn(cells=12,cell=4,gated=true)",
    "window": "window(window=6)*2",
    "hybrid": "wavenet*2 transformer(heads=2,window=8) lstm",
    "lstm-plain": "lstm*2",
}


def formula_text(length: int = 3000) -> np.ndarray:
    """Ids from integer arithmetic alone: squares modulo a prime, in base 7, with a separator."""
    digits: list[int] = []
    number = 1
    while len(digits) < length:
        rest = number * number % 10_007
        while rest:
            digits.append(2 + rest % 7)
            rest //= 7
        digits.append(1)
        number += 1
    return np.array(digits[:length], dtype=np.uint8)


def curve(name: str) -> list[float]:
    """The loss of each step: float32, one thread, carried state, dropout, warm-up, decay and clipping."""
    vocabulary = Vocabulary("characters", (UNKNOWN, "\n", *"0123456"))
    config = TrainingConfig(steps=STEPS, lanes=4, unroll=16, rate=0.01, warm_up=5, clip=0.5, seed=3)
    stack = StackConfig(width=24, plain=name.endswith("-plain"), dropout=0.1)
    torch.manual_seed(config.seed)
    model = ModelConfig(stack=stack, layers=parse_layers(PATTERNS[name])).build(vocabulary.size)
    training = Training(model, config, vocabulary, formula_text(), formula_text(10))
    lanes, losses, before = Lanes(training.train_ids, config.lanes, config.unroll), [], 0.0
    for _ in range(STEPS):
        assert update(training, lanes) is None
        losses.append(training.counters.loss_sum - before)
        before = training.counters.loss_sum
    return losses


@pytest.mark.parametrize("name", PATTERNS)
def test_loss_curve(name):
    losses = curve(name)
    written = [float(line) for line in (CURVES / f"{name}.txt").read_text().splitlines()]
    assert len(written) == STEPS
    assert losses == pytest.approx(written, rel=GOLDEN_LOSS)
    assert losses[-1] < 0.95 * losses[0]


def test_there_is_no_curve_without_a_test():
    assert sorted(path.stem for path in CURVES.iterdir()) == sorted(PATTERNS)


def main() -> None:
    torch.set_num_threads(1)
    CURVES.mkdir(parents=True, exist_ok=True)
    for name in PATTERNS:
        (CURVES / f"{name}.txt").write_text("".join(f"{loss:.6g}\n" for loss in curve(name)))


if __name__ == "__main__":
    main()
