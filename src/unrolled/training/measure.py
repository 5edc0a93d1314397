"""How long one training step takes on this machine, measured, and which precision is the faster one.

Knows nothing about budgets: it times what it is given.
"""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import unrolled
from unrolled.kernels import native
from unrolled.models import ModelConfig
from unrolled.text.lanes import Lanes
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.config import PRECISIONS, TrainingConfig
from unrolled.training.loop import Training, update

WARM_UP_STEPS = 2
MEASURED_STEPS = 7
LOST = 1.5
"""A stepper whose quickest step takes so many times the quickest of all is not asked again: people are waiting."""


def seconds_per_step(
    model: ModelConfig, vocabulary: Vocabulary, config: TrainingConfig, *, at_most: float = 1.0
) -> float:
    """Return the seconds of a training step on random characters: the median of a few, in about `at_most` seconds.

    The weights are thrown away and torch's random generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        return statistics.median(_timed([_stepper(model, vocabulary, config)], at_most)[0])


def faster_precision(
    model: ModelConfig, vocabulary: Vocabulary, config: TrainingConfig, *, at_most: float = 1.5
) -> tuple[str, float, float]:
    """Measure both precisions in turns; return the faster one, its seconds per step, and how many times faster it is.

    One that has clearly lost after three steps is not measured further, the other one is.

    The quickest step of each decides: whatever else runs on a machine only makes steps slower.
    """
    with torch.random.fork_rng(devices=[]):
        steppers = [_stepper(model, vocabulary, replace(config, precision=name)) for name in PRECISIONS]
        seconds = dict(zip(PRECISIONS, _timed(steppers, at_most), strict=True))
    best, other = sorted(PRECISIONS, key=lambda name: min(seconds[name]))
    return best, statistics.median(seconds[best]), min(seconds[other]) / min(seconds[best])


def _stepper(model: ModelConfig, vocabulary: Vocabulary, config: TrainingConfig) -> Callable[[], object]:
    length = config.lanes * config.unroll + 1
    ids = np.random.Generator(np.random.PCG64(0)).integers(0, vocabulary.size, size=length, dtype=np.int64)
    many = replace(config, steps=10**6, warm_up=0, rate=1e-4)
    training = Training(model.build(vocabulary.size).to(default_device()), many, vocabulary, ids, ids)
    lanes = Lanes(ids, config.lanes, config.unroll)
    return lambda: update(training, lanes)


def _timed(steppers: list[Callable[[], object]], at_most: float) -> list[list[float]]:
    """Let the steppers take turns, two rounds to warm up and then until the time is over; at least one round counts."""
    seconds: list[list[float]] = [[] for _ in steppers]
    racing = list(range(len(steppers)))
    start = time.perf_counter()
    for turn in range(WARM_UP_STEPS + MEASURED_STEPS):
        for which in racing:
            before = time.perf_counter()
            steppers[which]()
            if turn >= WARM_UP_STEPS - 1:
                seconds[which].append(time.perf_counter() - before)
        if turn < WARM_UP_STEPS:
            continue
        if time.perf_counter() - start > at_most:
            break
        quickest = min(min(mine) for mine in seconds)
        racing = [which for which in racing if min(seconds[which]) < LOST * quickest]
    return [mine[1:] for mine in seconds]


def environment() -> dict[str, object]:
    """Return what must be the same for a resumed run to make the same bytes."""
    return {
        "unrolled": unrolled.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "device": str(default_device()),
        "processor": processor(),
        "kernels": native.fingerprint() or "torch's own",
    }


def processor() -> str:
    """Return the processor's name as the system gives it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def default_device() -> torch.device:
    """Return the device to train on: a CUDA GPU, Apple's, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
