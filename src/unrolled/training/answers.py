"""What stands beside a score of answers: a know-nothing baseline, a confusion of classes, and mistakes to look at.

Knows nothing about families, files or terminals.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from unrolled.models.sequence_model import SequenceModel
from unrolled.sampling import answer_lines
from unrolled.text.lines import UNASKED_ID, Lines
from unrolled.text.pairs import UNASKED
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.evaluation import BLOCK_CHARACTERS

MOST_CLASSES = 20
"""With more different targets there is no confusion to tell."""
MOST_ANSWERED = 10_000
"""The confusion of pairs and the mistakes are those of at most so many lines, the first ones."""
MOST_MISTAKES = 10
OTHER = "(other)"
"""An answer that is no line's target."""

Confusion = dict[str, dict[str, int]]
"""How often each target (or tag) got each answer."""


@dataclass(frozen=True)
class Answer:
    """A source, its target, and what the model said."""

    source: str
    target: str
    answer: str

    def to_json(self) -> dict[str, str]:
        """Return the texts by name."""
        return {"source": self.source, "target": self.target, "answer": self.answer}


@dataclass(frozen=True)
class Baseline:
    """The commonest target (or tag): who always answers it is right in this share."""

    answer: str
    share: float

    def to_json(self) -> dict[str, object]:
        """Return the numbers under their public names."""
        return {"answer": self.answer, "share": self.share}


def baseline(lines: Lines, vocabulary: Vocabulary) -> Baseline:
    """Return the commonest of the targets themselves: no constant answer can be right more often.

    There must be at least one line.
    """
    if lines.regime == "tags":
        counts_V = np.zeros(vocabulary.size, dtype=np.int64)
        for rows_B in lines.groups(np.arange(len(lines)), BLOCK_CHARACTERS):
            _, targets_BT = lines.batch(rows_B)
            counts_V += np.bincount(targets_BT[targets_BT != UNASKED_ID], minlength=vocabulary.size)
        return Baseline(vocabulary.symbols[int(counts_V.argmax())], float(counts_V.max() / counts_V.sum()))
    counts = Counter(lines.target(row).tobytes() for row in range(len(lines)))
    commonest, count = counts.most_common(1)[0]
    return Baseline(vocabulary.decode(np.frombuffer(commonest, dtype=lines.ids.dtype)), count / len(lines))


def answered(model: SequenceModel, lines: Lines, vocabulary: Vocabulary, *, precision: str = "float32") -> list[Answer]:
    """Return what the model, in evaluation mode, answers the first `MOST_ANSWERED` lines (see `answer_lines`)."""
    rows, decode = range(min(len(lines), MOST_ANSWERED)), vocabulary.decode
    found = zip(rows, answer_lines(model, lines, rows, precision=precision), strict=True)
    return [Answer(decode(lines.source(row)), decode(lines.target(row)), decode(ids)) for row, ids in found]


def confusion(found: list[Answer], regime: str) -> Confusion | None:
    """Count which targets got which answers; None for more than `MOST_CLASSES`, or as many as half of the answers."""
    if regime == "tags":
        counts = Counter(
            pair for one in found for pair in zip(one.target, one.answer, strict=True) if pair[0] != UNASKED
        )
    else:
        counts = Counter((one.target, one.answer) for one in found)
    classes = sorted({target for target, _ in counts})
    if len(classes) > MOST_CLASSES or 2 * len(classes) > counts.total():
        return None
    told: Confusion = {target: {} for target in classes}
    for (target, answer), count in sorted(counts.items()):
        name = answer if answer in told else OTHER
        told[target][name] = told[target].get(name, 0) + count
    return told


def mistakes(found: list[Answer]) -> list[Answer]:
    """Return the first `MOST_MISTAKES` answers that are not the target."""
    return [one for one in found if one.answer != one.target][:MOST_MISTAKES]
