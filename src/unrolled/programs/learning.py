"""Learning a task: examples drawn anew at every step, as a generator of events that prints nothing.

Every step draws a batch of one length, each length as often as any other, from (seed, step); a model reads each example
from a cold state, and the loss is on what is asked only. Knows nothing about terminals or about any one task.
"""

import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from unrolled.errors import TrainingError
from unrolled.models import ModelConfig
from unrolled.programs.judging import judge, lines_of, mean_of, spread, vocabulary_of
from unrolled.programs.lesson_folder import keep, new_folder, to_json
from unrolled.programs.lessons import (
    LOOKS,
    STEPS,
    Event,
    Judged,
    LearnRequest,
    Lesson,
    Looked,
    Outcome,
    longest_line,
    outcome,
    roomy,
)
from unrolled.programs.tasks import Task
from unrolled.text.lines import UNASKED_ID
from unrolled.training.allocator import keep_freed_memory
from unrolled.training.events import Skipped, Stopped
from unrolled.training.loop import MAX_SKIPPED
from unrolled.training.measure import default_device
from unrolled.training.optimizer import Optimizer
from unrolled.training.reports import REPORT_SECONDS, Clock, Report

__all__ = [
    "Event",
    "Judged",
    "LearnRequest",
    "Lesson",
    "Looked",
    "Outcome",
    "begin",
    "keep",
    "learn",
    "outcome",
    "test",
    "to_json",
    "update",
]

EXACT_IN_A_ROW = 3
COOLING, LEAST_COOLING = 0.25, 50
"""After so many looks without a mistake the rate falls to nothing within a quarter of the steps so far, at least 50."""
VALID_LENGTHS, VALID_SEQUENCES = 12, 16
_DRAWN = 0x74A1
_MEASURED_STEPS = 6


def begin(task: Task, request: LearnRequest, path: Path | str | None = None) -> Lesson:
    """Make a fresh model for a task and, with a `path`, its run folder. Raises ConfigError, RunError, TrainingError."""
    keep_freed_memory()
    vocabulary = vocabulary_of(task)
    longest = longest_line(task, task.trained)
    short = roomy(request.model(), longest)
    steps = request.steps
    if steps is None:
        steps = STEPS if request.minutes is None else _steps_in(task, request, short, request.minutes * 60)
    training = request.training(steps, longest)
    torch.manual_seed(request.seed)
    model = short.build(vocabulary.size).to(default_device())
    config = roomy(request.model(), longest_line(task, task.longest))
    lesson = Lesson(task, request, config, training, vocabulary, model)
    if path is not None:
        lesson.folder = new_folder(lesson, Path(path))
    return lesson


def learn(lesson: Lesson, *, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Train until the last step, until the rate has fallen after three looks without a mistake, or until `should_stop`.

    Raises TrainingError when the loss is not finite `MAX_SKIPPED` times in a row.
    """
    training = lesson.training
    optimizer = Optimizer(lesson.model, training)
    clock = Clock(lesson.seconds)
    report = Report(clock.seconds)
    losses: list[float] = []
    in_a_row = exact_looks = 0
    while lesson.step < lesson.last:
        loss, count = update(lesson, optimizer)
        report.add(count, loss if math.isfinite(loss) else None)
        if math.isfinite(loss):
            losses.append(loss)
            in_a_row = 0
        else:
            in_a_row, lesson.skipped = in_a_row + 1, lesson.skipped + 1
            yield Skipped(lesson.step, "the loss or its gradient was not finite", in_a_row, lesson.skipped)
            _give_up_when_it_repeats(lesson, in_a_row)
        lesson.seconds = clock.seconds
        due = lesson.step % training.evaluate_every == 0 or lesson.step == lesson.last
        if due or clock.seconds - report.since >= REPORT_SECONDS:
            yield report.told(lesson.step, training.rate * lesson.share(), clock.seconds)
            report = Report(clock.seconds)
        if due:
            look = _look(lesson, math.fsum(losses) / len(losses) / math.log(2) if losses else math.nan)
            losses = []
            yield look
            exact_looks = exact_looks + 1 if look.exact == 1 else 0
            if exact_looks == EXACT_IN_A_ROW:
                lesson.cool(max(LEAST_COOLING, round(COOLING * lesson.step)))
        if lesson.step < lesson.last and should_stop():
            lesson.stopped = "interrupted"
            break
    if not lesson.stopped:
        lesson.stopped = "finished" if lesson.last == training.steps else "no mistakes any more"
    lesson.seconds = clock.seconds
    yield Stopped(lesson.step, lesson.stopped, lesson.seconds)


def update(lesson: Lesson, optimizer: Optimizer) -> tuple[float, int]:
    """Make one update; return the loss in nats per asked symbol and the symbols that were read.

    A loss or gradient that is not finite changes nothing, and not-a-number is returned.
    """
    task, training, model = lesson.task, lesson.training, lesson.model
    draws = random.Random(f"{_DRAWN} {training.seed} {lesson.step}")
    length = draws.choice(task.training_lengths)
    lines = lines_of(task, lesson.vocabulary, task.examples(draws, length, training.lanes))
    device = next(model.parameters()).device
    inputs_BT, targets_BT = (torch.from_numpy(array).to(device) for array in lines.batch(np.arange(len(lines))))
    torch.manual_seed(draws.getrandbits(62))
    model.train()
    logits_BTV, _ = model(inputs_BT)
    loss = F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), ignore_index=UNASKED_ID)
    model.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
    value = loss.item() if math.isfinite(norm.item()) else math.nan
    if math.isfinite(value):
        optimizer.step(lesson.share())
    model.zero_grad(set_to_none=True)
    lesson.step += 1
    return value, inputs_BT.numel()


def test(
    lesson: Lesson, *, points: int | None = None, sequences: int = 32, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Judged]:
    """Test the model on `points` training lengths and three times as many longer ones; fill `lesson.scores`.

    The default is eight and 24, or six and twelve where answers have several symbols. Stops early when `should_stop`
    says so.
    """
    task = lesson.task
    short, long = (8, 24) if len(task.draw(random.Random(0), task.training_lengths[-1])[1]) == 1 else (6, 12)
    if points is not None:
        short, long = points, 3 * points
    lengths = [*spread(task.training_lengths, short), *spread(task.longer_lengths, long)]
    model = lesson.config.build(lesson.vocabulary.size).to(default_device())
    model.load_state_dict(lesson.model.state_dict())
    lesson.scores = []
    for score in judge(model, task, lesson.vocabulary, lengths, sequences=sequences, seed=lesson.training.seed):
        lesson.scores.append(score)
        yield Judged(lesson.step, score, len(lesson.scores), len(lengths))
        if should_stop():
            return


def _look(lesson: Lesson, bits: float) -> Looked:
    """Answer held-out examples of the training lengths, and report it to the folder."""
    task, training = lesson.task, lesson.training
    lengths = spread(task.training_lengths, VALID_LENGTHS)
    seed = training.seed + 1
    scores = list(judge(lesson.model, task, lesson.vocabulary, lengths, sequences=VALID_SEQUENCES, seed=seed))
    means = mean_of(scores)
    nats = math.fsum(score.nats for score in scores) / len(scores)
    look = Looked(lesson.step, means.accuracy, means.exact, nats, lesson.seconds)
    lesson.looks.append(look)
    if lesson.folder is not None:
        lesson.folder.append_metric(
            {
                "step": lesson.step,
                "chars": lesson.step * training.lanes * training.unroll,
                "train_bits_per_char": bits if math.isfinite(bits) else None,
                "valid_bits_per_char": nats / math.log(2) if math.isfinite(nats) else None,
                "valid_accuracy": means.exact if task.regime == "pairs" else means.accuracy,
                "rate": training.rate * lesson.share(),
                "skipped": lesson.skipped,
                "seconds": round(lesson.seconds, 3),
                "structure": None,
            }
        )
        lesson.folder.keep_snapshot(lesson.step, dict(lesson.model.state_dict()), every=training.evaluate_every)
    return look


def _steps_in(task: Task, request: LearnRequest, config: ModelConfig, seconds: float) -> int:
    """Return how many steps fit into so many seconds, looks included, by trying a few lengths."""
    vocabulary = vocabulary_of(task)
    training = request.training(1000, longest_line(task, task.trained))
    with torch.random.fork_rng(devices=[]):
        lesson = Lesson(task, request, config, training, vocabulary, config.build(vocabulary.size).to(default_device()))
        optimizer = Optimizer(lesson.model, training)
        update(lesson, optimizer)
        start = time.perf_counter()
        for _ in range(_MEASURED_STEPS):
            update(lesson, optimizer)
        each = (time.perf_counter() - start) / _MEASURED_STEPS
        start = time.perf_counter()
        _look(lesson, math.nan)
        look = (time.perf_counter() - start) * LOOKS
    return max(1, int((seconds - min(look, seconds / 2)) / each))


def _give_up_when_it_repeats(lesson: Lesson, in_a_row: int) -> None:
    if in_a_row >= MAX_SKIPPED:
        raise TrainingError(
            expected="a finite loss and gradient",
            received=f"{in_a_row} steps in a row without, up to step {lesson.step}",
            remedy=f"train again with a lower --rate than {lesson.training.rate:g}",
        )
