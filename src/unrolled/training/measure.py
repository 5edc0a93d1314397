"""How long one training step takes on this machine, measured, and which precision is the faster one.

Knows nothing about budgets: it times what it is given.
"""

import math
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from unrolled.models import ModelConfig
from unrolled.training.config import TrainingConfig
from unrolled.training.loop import Training, update
from unrolled.text.lanes import Lanes
from unrolled.text.vocabulary import Vocabulary

WARM_UP_STEPS = 2
MEASURED_STEPS = 5


def seconds_per_step(
    model: ModelConfig, vocabulary: Vocabulary, config: TrainingConfig, *, at_most: float = 1.0
) -> float:
    """Return the median seconds of a few real training steps on random characters.

    Takes about `at_most` seconds, but always times at least one step after one to warm up. The weights are thrown
    away and torch's random generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        ids = np.random.Generator(np.random.PCG64(0)).integers(
            0, vocabulary.size, size=config.lanes * config.unroll + 1, dtype=np.int64
        )
        many = replace(config, steps=10**6, warm_up=0, rate=1e-4)
        built = model.build(vocabulary.size).to(default_device())
        training = Training(built, many, vocabulary, ids, ids)
        lanes = Lanes(ids, config.lanes, config.unroll)
        seconds: list[float] = []
        start = time.perf_counter()
        while len(seconds) < WARM_UP_STEPS + MEASURED_STEPS:
            before = time.perf_counter()
            update(training, lanes)
            seconds.append(time.perf_counter() - before)
            if len(seconds) >= 2 and time.perf_counter() - start > at_most:
                break
    warm = min(WARM_UP_STEPS, len(seconds) - 1)
    return statistics.median(seconds[warm:])


def faster_precision(
    model: ModelConfig, vocabulary: Vocabulary, config: TrainingConfig, *, at_most: float = 2.0
) -> tuple[str, float, float]:
    """Measure both precisions; return the faster one, its seconds per step, and how many times faster it is."""
    measured = {
        precision: seconds_per_step(model, vocabulary, replace(config, precision=precision), at_most=at_most / 2)
        for precision in ("bfloat16", "float32")
    }
    best = min(measured, key=lambda precision: measured[precision])
    worst = max(measured.values())
    ratio = worst / measured[best] if measured[best] > 0 else math.inf
    return best, measured[best], ratio


def default_device() -> torch.device:
    """Return the device to train on: a CUDA GPU, Apple's, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
