"""How well a model does a task, length by length: the share of right symbols, whole answers, and a second measure.

Nothing of the right answer is shown: where a model must write several symbols, it reads back its own ones (always the
likeliest). Knows nothing about training, folders or terminals. Shapes: B lines, T steps, V vocabulary.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.models import SequenceModel
from unrolled.programs.tasks import UNASKED, Task
from unrolled.sampling import UNKNOWN_ID, answer_lines
from unrolled.text.lines import UNASKED_ID, Lines
from unrolled.text.vocabulary import UNKNOWN, Vocabulary

SOLVED = 0.9
"""A task is solved from this accuracy on (Deletang et al. 2023), and never below halfway from chance to all right."""
BLOCK_SYMBOLS = 32_768
_TESTED = 0x7E57
BANDS = ((1, 40), (41, 100), (101, 200), (201, 500))


@dataclass(frozen=True)
class LengthScore:
    """What was measured at one length.

    `accuracy` is the mean over sequences of the share of asked symbols that are right, `exact` the share of sequences
    without a mistake (in pairs the end of the line counts, too), `nats` the cost of an asked symbol when the right
    ones before it were read, `measured` the task's second measure (None without one), `chance` and `know_nothing` what
    one reaches who never looks at the source.
    """

    length: int
    sequences: int
    accuracy: float
    exact: float
    nats: float
    chance: float
    measured: float | None = None
    know_nothing: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return the numbers by name."""
        return asdict(self)


@dataclass(frozen=True)
class Mean:
    """Means over lengths, each counting the same."""

    accuracy: float
    exact: float
    chance: float
    measured: float | None = None
    know_nothing: float | None = None

    @property
    def solved(self) -> bool:
        """Whether this counts as having solved the task."""
        return self.accuracy >= max(SOLVED, (1 + self.chance) / 2)


def mean_of(scores: Sequence[LengthScore]) -> Mean:
    """Return the means over lengths. There must be at least one."""

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    second = [(one.measured, one.know_nothing) for one in scores]
    pairs = [(measured, nothing) for measured, nothing in second if measured is not None and nothing is not None]
    return Mean(
        mean([one.accuracy for one in scores]),
        mean([one.exact for one in scores]),
        mean([one.chance for one in scores]),
        mean([measured for measured, _ in pairs]) if pairs else None,
        mean([nothing for _, nothing in pairs]) if pairs else None,
    )


def bands(task: Task) -> list[tuple[int, int]]:
    """Return the ranges of lengths that are told together: those of training, and three (or fewer) of longer ones."""
    edges = [high for _, high in BANDS if task.trained < high < task.longest]
    ends = [task.trained, *edges, task.longest]
    return list(zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True))


def vocabulary_of(task: Task) -> Vocabulary:
    """Return the vocabulary of a task: all its symbols, and those of its lines."""
    symbols = {*task.alphabet, *task.answers, "\t", "\n", *([UNASKED] if task.regime == "tags" else [])}
    return Vocabulary("characters", (UNKNOWN, *sorted(symbols)))


def lines_of(task: Task, vocabulary: Vocabulary, examples: Sequence[tuple[str, str]]) -> Lines:
    """Return examples as lines of ids."""
    ids = vocabulary.encode("".join(f"{source}\t{target}\n" for source, target in examples))
    return Lines.of(ids, vocabulary, task.regime)


def spread(lengths: Sequence[int], count: int) -> list[int]:
    """Return at most `count` of the lengths, evenly spread, the first and the last among them."""
    if len(lengths) <= count:
        return list(lengths)
    if count < 2:
        return [lengths[-1]]
    return [lengths[round(place * (len(lengths) - 1) / (count - 1))] for place in range(count)]


def judge(
    model: SequenceModel,
    task: Task,
    vocabulary: Vocabulary,
    lengths: Sequence[int],
    *,
    sequences: int = 32,
    seed: int = 1,
) -> Iterator[LengthScore]:
    """Yield what a model reaches at each length, on sequences that training never draws.

    The sequences depend on `seed` and the length alone. The model is in evaluation mode while it is asked.
    """
    for length in lengths:
        draws = random.Random(f"{_TESTED} {seed} {length}")
        examples = task.examples(draws, length, sequences, unseen=True)
        was_training = model.training
        model.eval()
        try:
            yield _judged(model, task, vocabulary, length, examples)
        finally:
            model.train(was_training)


def _judged(
    model: SequenceModel, task: Task, vocabulary: Vocabulary, length: int, examples: list[tuple[str, str]]
) -> LengthScore:
    lines = lines_of(task, vocabulary, examples)
    shares, whole, nats, errors = [], 0, 0.0, []
    asked = 0
    for rows_B in lines.groups(np.arange(len(lines)), BLOCK_SYMBOLS):
        logits_BTV, targets_BT = _read(model, lines, rows_B)
        ends_B = (targets_BT != UNASKED_ID).sum(1) if task.regime == "pairs" else None
        wanted_BT = targets_BT.clone()
        if ends_B is not None:
            wanted_BT[targets_BT == int(lines.ids[lines.ends_L[0]])] = UNASKED_ID
        nats += F.cross_entropy(
            logits_BTV.flatten(0, 1), wanted_BT.flatten(), ignore_index=UNASKED_ID, reduction="sum"
        ).item()
        asked += int((wanted_BT != UNASKED_ID).sum())
        if task.values:
            misses = _misses(logits_BTV, wanted_BT, task, vocabulary)
            errors += misses
            found = [(float(abs(miss) < task.within - 1e-9), abs(miss) < task.within - 1e-9) for miss in misses]
        else:
            found = _graded(model, lines, rows_B, logits_BTV, targets_BT, wanted_BT)
        shares += [share for share, _ in found]
        whole += sum(exact for _, exact in found)
    cost = nats / max(1, asked)
    measured, nothing = None, None
    if task.measure is not None:
        nothing = task.measure.know_nothing(length)
        if task.values:
            measured = math.fsum(miss * miss for miss in errors) / len(errors)
        else:
            # Per step of the whole published sequence: its other steps ask for blanks, which cost nothing.
            measured = cost * nothing / math.log(len(task.answers))
    accuracy = math.fsum(shares) / len(shares)
    return LengthScore(length, len(lines), accuracy, whole / len(lines), cost, task.chance(length), measured, nothing)


def _read(model: SequenceModel, lines: Lines, rows_B: np.ndarray) -> tuple[Tensor, Tensor]:
    """Let the model read whole lines; return the logits, the unknown symbol impossible, and the targets."""
    device = next(model.parameters()).device
    inputs_BT, targets_BT = (torch.from_numpy(array).to(device) for array in lines.batch(rows_B))
    with torch.inference_mode():
        logits_BTV, _ = model(inputs_BT)
    logits_BTV = logits_BTV.float().clone()
    logits_BTV[..., UNKNOWN_ID] = -torch.inf
    return logits_BTV, targets_BT


def _graded(
    model: SequenceModel,
    lines: Lines,
    rows_B: np.ndarray,
    logits_BTV: Tensor,
    targets_BT: Tensor,
    wanted_BT: Tensor,
) -> list[tuple[float, bool]]:
    """Return each line's share of right symbols, and whether all of it is right.

    A line that is right symbol by symbol, the right ones read, is what the model would write; so is a first symbol.
    Only where a model fails at one of several symbols it has to write for itself.
    """
    right_BT = logits_BTV.argmax(-1) == targets_BT
    exact_B = (right_BT | (targets_BT == UNASKED_ID)).all(1).tolist()
    asked_B = (wanted_BT != UNASKED_ID).sum(1).clamp(min=1)
    share_B = ((right_BT & (wanted_BT != UNASKED_ID)).sum(1) / asked_B).tolist()
    if lines.regime == "pairs":
        again = [place for place in range(len(rows_B)) if not exact_B[place] and asked_B[place] > 1]
        written = answer_lines(model, lines, [int(rows_B[place]) for place in again]) if again else []
        for place, answer in zip(again, written, strict=True):
            target = lines.target(int(rows_B[place]))
            shared = min(len(answer), len(target))
            share_B[place] = float((answer[:shared] == target[:shared]).sum()) / len(target)
            exact_B[place] = len(answer) == len(target) and share_B[place] == 1
    return list(zip(share_B, exact_B, strict=True))


def _misses(logits_BTV: Tensor, wanted_BT: Tensor, task: Task, vocabulary: Vocabulary) -> list[float]:
    """Return how far the mean of what is predicted lies from the right number, for each line's one answer."""
    symbols = list(task.values)
    ids_N = torch.from_numpy(vocabulary.encode("".join(symbols)).astype(np.int64))
    values_N = torch.tensor([task.values[symbol] for symbol in symbols], dtype=torch.float64)
    number_V = torch.zeros(vocabulary.size, dtype=torch.float64)
    number_V[ids_N] = values_N
    asked_BT = wanted_BT != UNASKED_ID
    chances_BN = logits_BTV[asked_BT].double().cpu()[:, ids_N].softmax(-1)
    return (chances_BN @ values_N - number_V[wanted_BT[asked_BT].cpu()]).tolist()
