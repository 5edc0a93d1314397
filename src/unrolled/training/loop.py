"""The training loop: a generator of events that prints nothing.

Knows nothing about families, terminals or signals: the caller says when to stop, and where to save.

Randomness is a function of seed and step, and everything else that decides the future is in `Training.tensors` and
`Training.counters`; so a run that is stopped and resumed makes the same bytes as one that was not.

Shapes: B lanes, T unrolled steps, V vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.errors import TrainingError, UnrolledError
from unrolled.models.sequence_model import SequenceModel, State, detached
from unrolled.sampling import SamplingOptions, answer_lines, write
from unrolled.text.lanes import Lanes
from unrolled.text.lines import UNASKED_ID, LineBatches, Lines
from unrolled.text.pairs import told_answer
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.allocator import keep_freed_memory
from unrolled.training.calibration import calibrated_score
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, Score, evaluate, evaluate_lines
from unrolled.training.events import Evaluated, Event, Saved, SaveFailed, Skipped, Stopped, Wrote
from unrolled.training.optimizer import Optimizer
from unrolled.training.reports import REPORT_SECONDS, Clock, Report
from unrolled.training.run_folder import RunFolder
from unrolled.training.structure import Reference, measure_structure

MASK64 = (1 << 64) - 1
MAX_SKIPPED = 10
"""So many steps in a row without a finite loss, and training stops."""
SAMPLES, SAMPLE_CHARACTERS = 4, 500
"""At each look the model writes so much: enough to measure, and little time where it writes quickly."""
SHOWN_CHARACTERS = 320
"""Of the first sample, for people."""
SAMPLE_TEMPERATURE = 0.8
SHOWN_LINES = 6
"""Of pairs and tags, so many lines are answered at each look."""


@dataclass
class Counters:
    """The numbers, beside the tensors, that decide the future of a run."""

    step: int = 0
    position: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    best_bits: float | None = None
    looks: int = 0
    looks_since_best: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0


@dataclass
class Training:
    """A model in the middle of its training: all that `train` changes.

    With `regime` "pairs" or "tags" the ids are lines, each read from a cold start: a batch is `config.lanes` of them,
    nothing is carried on, and `counters.position` counts batches.
    """

    model: SequenceModel
    config: TrainingConfig
    vocabulary: Vocabulary
    train_ids: np.ndarray
    valid_ids: np.ndarray
    counters: Counters = field(default_factory=Counters)
    state: State | None = None
    regime: str = "text"
    optimizer: Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = Optimizer(self.model, self.config)
        if self.state is None:
            self.state = self.blank()

    def blank(self) -> State:
        """Return what is carried on before anything was read: the lanes' memory, or nothing where lines are read."""
        return self.model.initial_state(self.config.lanes) if self.regime == "text" else {}

    def batches(self) -> Lanes | LineBatches:
        """Return where batches come from; the cursor is `counters.position`."""
        if self.regime == "text":
            return Lanes(self.train_ids, self.config.lanes, self.config.unroll)
        return LineBatches(self.lines(self.train_ids), self.config.lanes, self.config.seed)

    def lines(self, ids: np.ndarray) -> Lines:
        """Return the lines of ids such as `train_ids`."""
        return Lines.of(ids, self.vocabulary, self.regime)

    def tensors(self) -> dict[str, Tensor]:
        """Return, by name, every tensor but the weights that decides the future: moments and the lanes' memory."""
        assert self.state is not None
        return {**{f"lanes.{name}": value for name, value in self.state.items()}, **self.optimizer.tensors()}

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, object]) -> None:
        """Put back what `tensors` and `counters` held when a checkpoint was written."""
        self.counters = Counters(**counters)  # type: ignore[arg-type]
        device = next(self.model.parameters()).device
        self.state = {
            name.removeprefix("lanes."): value.to(device)
            for name, value in tensors.items()
            if name.startswith("lanes.")
        }
        self.optimizer.restore(tensors)


def train(
    training: Training, folder: RunFolder | None = None, *, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Train from where `training` stands to its last step, telling what happens.

    `should_stop` is asked after every step; when it says yes, everything is saved and the generator ends with
    `Stopped("interrupted")`. With a `folder`, checkpoints, metrics and samples go there. Raises TrainingError when
    the loss is not finite `MAX_SKIPPED` times in a row; the last checkpoint is then as good as it was.
    """
    config, counters = training.config, training.counters
    keep_freed_memory()
    lanes = training.batches()
    clock = Clock(counters.seconds)
    measured = folder is not None and training.regime == "text"
    reference = Reference.of(training.train_ids, training.vocabulary) if measured else None
    if counters.looks == 0:
        with training.optimizer.averages():
            yield from _look(training, folder, clock, reference)
    report = Report(clock.seconds)
    if _no_longer_improving(training):
        yield Stopped(counters.step, "no longer improving", clock.seconds)
        return
    while counters.step < config.steps:
        before = counters.loss_sum
        problem = update(training, lanes)
        report.add(config.lanes * config.unroll, None if problem else counters.loss_sum - before)
        if problem is not None:
            yield Skipped(counters.step, problem, counters.skipped_in_a_row, counters.skipped)
            _give_up_when_it_repeats(training, problem)
        if clock.seconds - report.since >= REPORT_SECONDS:
            yield report.told(counters.step, config.rate_at(counters.step - 1), clock.seconds)
            report = Report(clock.seconds)
        due = counters.step % config.evaluate_every == 0 or counters.step == config.steps
        if due:
            if report.chars:
                yield report.told(counters.step, config.rate_at(counters.step - 1), clock.seconds)
            with training.optimizer.averages():
                yield from _look(training, folder, clock, reference)
            report = Report(clock.seconds)
            if _no_longer_improving(training):
                yield Stopped(counters.step, "no longer improving", clock.seconds)
                return
        if counters.step < config.steps and should_stop():
            if not due:
                counters.seconds = clock.seconds
                with training.optimizer.averages():
                    yield from _save(training, folder)
            yield Stopped(counters.step, "interrupted", clock.seconds)
            return
    yield Stopped(counters.step, "finished", clock.seconds)


def _no_longer_improving(training: Training) -> bool:
    return 0 < training.config.patience <= training.counters.looks_since_best


def update(training: Training, lanes: Lanes | LineBatches) -> str | None:
    """Make one update of the weights, or say why it was skipped."""
    config, counters = training.config, training.counters
    device = next(training.model.parameters()).device
    _begin_random_numbers(_mixed(config.seed, counters.step), device)
    if not training.model.training:
        training.model.train()
    inputs_BT, targets_BT = (torch.from_numpy(ids).to(device) for ids in lanes.batch(counters.position))
    before = _some_forgotten(training)
    with autocast(training.model, config.precision):
        logits_BTV, state = training.model(inputs_BT, before)
        loss = F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), ignore_index=UNASKED_ID)
    training.optimizer.forget_gradients()
    loss.backward()
    norm = training.optimizer.clip(config.clip)
    value = loss.item()
    counters.step += 1
    counters.position = lanes.next(counters.position)
    problem = None if math.isfinite(value) else f"the loss was {value}"
    if problem is None and not math.isfinite(norm):
        problem = f"the gradient's norm was {norm}"
    if problem is not None:
        training.optimizer.forget_gradients()
        training.state = training.blank()
        counters.skipped += 1
        counters.skipped_in_a_row += 1
        return problem
    training.optimizer.step(config.share_at(counters.step - 1))
    training.state = detached(state) if training.regime == "text" else training.blank()
    counters.skipped_in_a_row = 0
    counters.loss_sum += value
    counters.loss_count += 1
    return None


def _some_forgotten(training: Training) -> State | None:
    """Return the lanes' memory, some lanes at random without theirs; None where lines are read.

    A text is carried on for ever, so a model would meet the state with which every reading begins only once.
    """
    config = training.config
    assert training.state is not None
    if not config.forget_every or training.regime != "text":
        return training.state or None
    forgets_B = torch.rand(config.lanes) < config.unroll / config.forget_every
    if not forgets_B.any():
        return training.state
    blank, which_B = training.model.initial_state(config.lanes), forgets_B.to(next(training.model.parameters()).device)
    return {
        name: torch.where(which_B.view(-1, *[1] * (value.dim() - 1)), blank[name], value)
        for name, value in training.state.items()
    }


def _give_up_when_it_repeats(training: Training, problem: str) -> None:
    counters = training.counters
    if counters.skipped_in_a_row >= MAX_SKIPPED:
        raise TrainingError(
            expected="a finite loss and gradient",
            received=f"{counters.skipped_in_a_row} steps in a row, up to step {counters.step}, where {problem}",
            remedy=f"train again with a lower --rate than {training.config.rate:g}; the last checkpoint is good",
        )


def _look(training: Training, folder: RunFolder | None, clock: Clock, reference: Reference | None) -> Iterator[Event]:
    """Score the validation part, let the model write, measure that, report and save."""
    counters = training.counters
    train_bits = counters.loss_sum / counters.loss_count / math.log(2) if counters.loss_count else None
    counters.loss_sum, counters.loss_count = 0.0, 0
    counters.looks += 1
    score, temperature = None, 1.0
    if len(training.valid_ids) >= 2:
        with autocast(training.model, training.config.precision):
            score, temperature = _scored(training)
        best = math.isfinite(score.bits_per_char) and (
            counters.best_bits is None or score.bits_per_char < counters.best_bits
        )
        counters.best_bits = score.bits_per_char if best else counters.best_bits
        counters.looks_since_best = 0 if best else counters.looks_since_best + 1
        yield Evaluated(counters.step, score, best)
    shown, texts = _write(training)
    drawn_at = SAMPLE_TEMPERATURE if training.regime == "text" else 0.0
    yield Wrote(counters.step, shown, drawn_at)
    structure = None if reference is None or not texts else measure_structure(texts, reference)
    counters.seconds = clock.seconds
    if folder is None:
        return
    first = {"structure_of_text": reference.of_text} if reference is not None and counters.looks == 1 else {}
    try:
        metric = {**_metric(training, train_bits, score), "temperature": round(temperature, 4)}
        folder.append_metric({**metric, "structure": structure, **first})
        folder.append_sample({"step": counters.step, "temperature": drawn_at, "text": shown})
    except TrainingError as problem:
        yield SaveFailed(counters.step, str(problem))
        return
    lost = ""
    try:
        # Before the checkpoint: a run resumed from there does not look again.
        every = training.config.evaluate_every
        folder.keep_snapshot(counters.step, dict(training.model.state_dict()), every=every)
    except TrainingError as problem:
        lost = str(problem)
    yield from _save(training, folder, score, lost=lost)


def _metric(training: Training, train_bits: float | None, score: Score | None) -> dict[str, object]:
    counters = training.counters
    return {
        "step": counters.step,
        "chars": counters.step * training.config.lanes * training.config.unroll,
        "train_bits_per_char": train_bits,
        "valid_bits_per_char": None if score is None else score.bits_per_char,
        **({"valid_accuracy": score.accuracy} if score is not None and score.accuracy is not None else {}),
        "rate": training.config.rate_at(counters.step),
        "skipped": counters.skipped,
        "seconds": round(counters.seconds, 3),
    }


def _scored(training: Training) -> tuple[Score, float]:
    """Score as the weights would be published: calibrated, unless untrained weights or lines are scored."""
    most, model = training.config.evaluate_chars, training.model
    if training.regime != "text":
        return evaluate_lines(model, training.lines(training.valid_ids), at_most=most), 1.0
    if training.config.uncalibrated or not training.counters.step:
        return evaluate(model, training.valid_ids[:most], Protocol()), 1.0
    return calibrated_score(model, training.valid_ids[:most])


def _save(
    training: Training, folder: RunFolder | None, score: Score | None = None, *, lost: str = ""
) -> Iterator[Event]:
    """Write a checkpoint; `lost` is why something less important could not be written before."""
    if folder is None:
        return
    counters = training.counters
    assert training.state is not None
    if not all(bool(value.isfinite().all()) for value in training.state.values()):
        # A finite loss does not prove that everything remembered is finite; such lanes begin anew.
        training.state = training.blank()
        counters.skipped += 1
        yield Skipped(counters.step, "what the lanes remember was not finite", 0, counters.skipped)
    state: dict[str, object] = {"counters": asdict(counters)}
    if score is not None:
        state["valid"] = score.to_json()
    try:
        path = folder.save(
            counters.step, model=dict(training.model.state_dict()), optimizer=training.tensors(), state=state
        )
    except TrainingError as problem:
        yield SaveFailed(counters.step, str(problem))
    else:
        yield Saved(counters.step, path)
        if lost:
            yield SaveFailed(counters.step, lost)


def _write(training: Training) -> tuple[str, list[str]]:
    """Let the model write; return what is shown, and the samples to be measured.

    A text is gone on with from a newline; where lines are read, a few of the validation part (or else the training
    part) are answered. The same seeds and lines at every step show what changed.
    """
    was_training = training.model.training
    training.model.eval()
    try:
        return _passages(training) if training.regime == "text" else (answers_of(training), [])
    except UnrolledError:
        # Weights that are not finite write nothing; the steps that follow tell it, and nothing of them is kept.
        return "", []
    finally:
        training.model.train(was_training)


def _passages(training: Training) -> tuple[str, list[str]]:
    vocabulary, config = training.vocabulary, training.config
    prompt = vocabulary.encode("\n") if not vocabulary.unknown("\n") else np.asarray([min(1, vocabulary.size - 1)])
    options, seeds = SamplingOptions(temperature=SAMPLE_TEMPERATURE), range(config.seed, config.seed + SAMPLES)
    ids_BT = write(training.model, prompt, options, seeds=seeds, length=SAMPLE_CHARACTERS, precision=config.precision)
    return vocabulary.decode(ids_BT[0, :SHOWN_CHARACTERS]), [vocabulary.decode(ids_T) for ids_T in ids_BT]


def answers_of(training: Training) -> str:
    """Return what the model, in evaluation mode, answers a few lines, one `told_answer` a line."""
    held_out, decode = training.lines(training.valid_ids), training.vocabulary.decode
    lines = held_out if len(held_out) else training.lines(training.train_ids)
    rows = range(min(SHOWN_LINES, len(lines)))
    found = answer_lines(training.model, lines, rows, precision=training.config.precision)
    told = [decode(lines.source(row)) for row in rows], [decode(lines.target(row)) for row in rows], map(decode, found)
    return "\n".join(map(told_answer, *told))


def autocast(model: SequenceModel, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a model computes at this precision."""
    device = next(model.parameters()).device.type
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")


def _begin_random_numbers(seed: int, device: torch.device) -> None:
    """Seed the generators that the step draws from.

    `torch.manual_seed` seeds those of every kind of device, and writes down for each who asked: half a millisecond.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _mixed(seed: int, step: int) -> int:
    """Return a seed of its own for each step: distinct for distinct steps, unrelated for neighbouring ones.

    Two rounds of SplitMix64 (Steele, Lea and Flood 2014); numpy's SeedSequence takes a tenth of a millisecond.
    """
    return _scrambled(_scrambled(seed) + step) >> 1


def _scrambled(number: int) -> int:
    number = (number + 0x9E3779B97F4A7C15) & MASK64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    number = (number ^ number >> 27) * 0x94D049BB133111EB & MASK64
    return number ^ number >> 31
