"""How well a model predicts a whole part of a text, in nats and bits per character, under a named protocol.

Knows nothing about families: it sees a sequence model through the contract alone.

`carried`: the state is carried through the whole part. So that this takes minutes and not hours, the part is cut
into lanes that run side by side; every lane but the first warms its state up on the `WARM_UP` characters before it.
For models whose view is shorter than that this is exact; what it changes for the others is measured in
docs/results/protocols.md. `lanes=1` is exact always.
`reset:N`: cold start every N characters; every character but the part's first is predicted once.
`pairs` and `tags`: cold start at each line of a text that was read so; what the target asks is predicted, nothing else.

Shapes: B lanes or lines, T time, V vocabulary.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.errors import ConfigError, TextError
from unrolled.models.sequence_model import SequenceModel, State
from unrolled.sampling import UNKNOWN_ID
from unrolled.text.corpus import Corpus
from unrolled.text.lines import UNASKED_ID, Lines

WARM_UP = 1024
MAX_LANES = 64
LANES_AT_ONCE = 12
"""Two cores take six lanes each at a time (kernels/recurrence.cpp): thirteen cost as much as eighteen."""
BLOCK_CHARACTERS = 8192
"""Characters per forward pass, all lanes together."""


@dataclass(frozen=True)
class Protocol:
    """`carried` (`reset` is 0) or `reset:N`; where `lines` names a regime, each of its lines by itself."""

    reset: int = 0
    lines: str = ""

    @classmethod
    def parse(cls, text: str) -> "Protocol":
        """Read `carried` or `reset:N`; anything else raises ConfigError."""
        name, colon, number = text.partition(":")
        if name == "carried" and not colon:
            return cls()
        if name == "reset" and number.isdecimal() and 1 <= int(number) <= 1_000_000:
            return cls(int(number))
        raise ConfigError(
            expected="a protocol: carried, or reset:N with N from 1 to 1000000",
            received=repr(text),
            remedy="for example reset:256",
        )

    def __str__(self) -> str:
        return self.lines or (f"reset:{self.reset}" if self.reset else "carried")


def unit_of(regime: str) -> str:
    """Return what is predicted in a regime: a character, a target character or a tag."""
    return {"pairs": "target character", "tags": "tag"}.get(regime, "character")


@dataclass(frozen=True)
class Answers:
    """How many of `lines` were answered wholly right (`exact`), and how many of the `asked` symbols (`right`).

    An answer is what the model would write when it always takes the likeliest symbol, to the end of the line. The
    symbols of a pair are judged after the right ones before them.
    """

    lines: int
    exact: int
    asked: int
    right: int


@dataclass(frozen=True)
class Score:
    """What a part cost: `nats` in total over `chars` predicted characters, which are `utf8_bytes` bytes."""

    nats: float
    chars: int
    utf8_bytes: int
    protocol: Protocol
    unknown: int = 0
    answers: Answers | None = None

    @property
    def unit(self) -> str:
        """What `chars` counts, in words."""
        return unit_of(self.protocol.lines)

    @property
    def accuracy(self) -> float | None:
        """The share of pairs whose answer is exactly the target, or of single tags that are right; else None."""
        if self.answers is None:
            return None
        whole = self.protocol.lines == "pairs"
        return self.answers.exact / self.answers.lines if whole else self.answers.right / self.answers.asked

    @property
    def nats_per_char(self) -> float:
        """Cross-entropy in nats per character."""
        return self.nats / self.chars

    @property
    def bits_per_char(self) -> float:
        """Cross-entropy in bits per character."""
        return self.nats_per_char / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Cross-entropy in bits per byte of the text in UTF-8."""
        return self.nats / math.log(2) / self.utf8_bytes

    def to_json(self) -> dict[str, object]:
        """Return the numbers under their public names."""
        told: dict[str, object] = {
            "bits_per_char": self.bits_per_char,
            "nats_per_char": self.nats_per_char,
            "bits_per_byte": self.bits_per_byte,
            "chars": self.chars,
            "protocol": str(self.protocol),
            "unknown_chars": self.unknown,
        }
        if self.answers is not None:
            exact = self.answers.exact / self.answers.lines
            told |= {"accuracy": self.accuracy, "exact": exact, "lines": self.answers.lines}
        return told


def evaluate_part(
    model: SequenceModel,
    corpus: Corpus,
    part: str,
    protocol: Protocol,
    *,
    lanes: int | None = None,
    at_most: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Score a part of a text, or its first `at_most` characters; bytes are those of the scored characters.

    A text of pairs or tags is scored line by line, whatever the protocol. Raises as `evaluate` does; ConfigError for
    an unknown part.
    """
    if corpus.options.regime != "text":
        sizes_V = corpus.vocabulary.bytes_per_symbol
        return evaluate_lines(model, corpus.lines(part), sizes_V=sizes_V, at_most=at_most, should_stop=should_stop)
    whole, sizes = corpus.part(part), corpus.vocabulary.bytes_per_symbol
    ids = whole[:at_most]
    size = corpus.bytes_of(part) if len(ids) == len(whole) else int(sizes[ids].sum())
    first = int(sizes[ids[:1]].sum())
    # How long an unknown first character was is forgotten, but every other one has a byte at least.
    size = max(size - first, len(ids) - 1)
    return evaluate(model, ids, protocol, utf8_bytes=size, lanes=lanes, should_stop=should_stop)


def evaluate(
    model: SequenceModel,
    ids: np.ndarray,
    protocol: Protocol,
    *,
    utf8_bytes: int | None = None,
    lanes: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Score every character of `ids` but the first; the model is used as it is (dtype, autocast) in eval mode.

    `utf8_bytes` is the size of the scored characters (default: one byte each); `lanes` overrides how many lanes
    `carried` runs side by side. Raises TextError when there is nothing to predict, and KeyboardInterrupt as soon as
    `should_stop` says so.
    """
    if len(ids) < 2:
        raise TextError(
            expected="at least 2 characters to score", received=f"{len(ids)}", remedy="give a longer text or part"
        )
    return Score(
        nats=total_nats(predictions(model, ids, protocol, lanes=lanes, should_stop=should_stop)),
        chars=len(ids) - 1,
        utf8_bytes=len(ids) - 1 if utf8_bytes is None else utf8_bytes,
        protocol=protocol,
        unknown=int(
            sum(int((ids[start : start + (1 << 20)] == UNKNOWN_ID).sum()) for start in range(0, len(ids), 1 << 20))
        ),
    )


def evaluate_lines(
    model: SequenceModel,
    lines: Lines,
    *,
    sizes_V: np.ndarray | None = None,
    at_most: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Score what lines ask, each from a cold start: all of them, or the first with `at_most` symbols together.

    `sizes_V` is the size of each symbol in bytes (default: one). Raises TextError when there are no lines, and
    KeyboardInterrupt as soon as `should_stop` says so.
    """
    rows_L = lines.head(at_most)
    if not len(rows_L):
        raise TextError(
            expected="at least 1 line to score", received="none", remedy="give another part or a longer text"
        )
    nats, exact, right, asked, size, unknown = [], 0, 0, 0, 0, 0
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for rows_B in lines.groups(rows_L, BLOCK_CHARACTERS):
                if should_stop():
                    raise KeyboardInterrupt
                inputs_BT, targets_BT = lines.batch(rows_B)
                cost, right_BT = _answered(model, inputs_BT, targets_BT)
                wanted = targets_BT[asked_BT := targets_BT != UNASKED_ID]
                nats.append(cost)
                exact += int((right_BT | ~asked_BT).all(axis=1).sum())
                right, asked = right + int(right_BT.sum()), asked + len(wanted)
                size += len(wanted) if sizes_V is None else int(sizes_V[wanted].sum())
                unknown += int((wanted == UNKNOWN_ID).sum())
    finally:
        model.train(was_training)
    found = Answers(len(rows_L), exact, asked, right)
    return Score(math.fsum(nats), asked, size, Protocol(lines=lines.regime), unknown, found)


def _answered(model: SequenceModel, inputs_BT: np.ndarray, targets_BT: np.ndarray) -> tuple[float, np.ndarray]:
    """Return what the targets cost in nats, and where (B, T) the likeliest symbol that can be written is the target."""
    targets = _tensor(model, targets_BT)
    logits_BTV, _ = model(_tensor(model, inputs_BT))
    logits_BTV = logits_BTV if logits_BTV.dtype == torch.float64 else logits_BTV.float()
    losses = F.cross_entropy(logits_BTV.flatten(0, 1), targets.flatten(), ignore_index=UNASKED_ID, reduction="none")
    logits_BTV[..., UNKNOWN_ID] = -torch.inf
    right_BT = logits_BTV.argmax(-1) == targets
    return losses.sum(dtype=torch.float64).item(), right_BT.cpu().numpy()


def total_nats(predicted: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return what the targets of all pairs `(logits_NV, targets_N)` cost together."""
    return math.fsum(
        F.cross_entropy(logits_NV, targets_N, reduction="none").sum(dtype=torch.float64).item()
        for logits_NV, targets_N in predicted
    )


@torch.inference_mode()
def predictions(
    model: SequenceModel,
    ids: np.ndarray,
    protocol: Protocol,
    *,
    lanes: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `(logits_NV, targets_N)` until every character of `ids` but the first was predicted once.

    Logits are float64 where the model is, else float32. The model is in evaluation mode meanwhile, and nothing has a
    gradient. Raises KeyboardInterrupt as soon as `should_stop` says so.
    """
    was_training = model.training
    model.eval()
    try:
        for pair in _reset(model, ids, protocol.reset) if protocol.reset else _carried(model, ids, lanes):
            if should_stop():
                raise KeyboardInterrupt
            yield pair
    finally:
        model.train(was_training)


def _carried(model: SequenceModel, ids: np.ndarray, lanes: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    predicted = len(ids) - 1
    # More lanes are fewer steps one after another, but each is warmed up: the square root balances the two.
    wanted = min(MAX_LANES, math.isqrt(predicted // WARM_UP)) if lanes is None else min(lanes, predicted // WARM_UP)
    count = max(1, wanted - wanted % LANES_AT_ONCE if lanes is None and wanted > LANES_AT_ONCE else wanted)
    length = -(-predicted // count)
    starts = [lane * length for lane in range(count) if lane * length < predicted]
    state = warmed(model, ids, starts)
    block = max(1, BLOCK_CHARACTERS // len(starts))
    for offset in range(0, length, block):
        time = min(block, length - offset)
        taken = np.stack([stretch(ids, start + offset, time + 1) for start in starts])
        # The last lane may end early: what lies behind the text's end is -1.
        logits_NV, targets_N, state = _predicted(model, taken, state)
        yield logits_NV, targets_N


def warmed(model: SequenceModel, ids: np.ndarray, starts: Sequence[int]) -> State | None:
    """Return the state of lanes that begin at `starts`: each has read the `WARM_UP` symbols before it, the first none.

    None for a single lane.
    """
    if len(starts) == 1:
        return None
    first = model.initial_state(1)
    before = np.stack([stretch(ids, start - WARM_UP, WARM_UP) for start in starts[1:]])
    state: State | None = None
    block = max(1, BLOCK_CHARACTERS // len(before))
    for offset in range(0, WARM_UP, block):
        _, state = model(_tensor(model, before[:, offset : offset + block]), state)
    assert state is not None
    return {name: torch.cat([first[name].to(value.dtype), value]) for name, value in state.items()}


def _reset(model: SequenceModel, ids: np.ndarray, window: int) -> Iterator[tuple[Tensor, Tensor]]:
    predicted = len(ids) - 1
    rows = max(1, BLOCK_CHARACTERS // window)
    for first in range(0, predicted, rows * window):
        starts = range(first, min(first + rows * window, predicted), window)
        length, block = min(window, predicted - first), max(1, BLOCK_CHARACTERS // len(starts))
        state: State | None = None
        for offset in range(0, length, block):
            taken = np.stack([stretch(ids, start + offset, min(block, length - offset) + 1) for start in starts])
            logits_NV, targets_N, state = _predicted(model, taken, state)
            yield logits_NV, targets_N


def stretch(ids: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return `length` ids from `start` on, -1 behind the end."""
    found = ids[start : start + length].astype(np.int64)
    return np.pad(found, (0, length - len(found)), constant_values=-1)


def _predicted(model: SequenceModel, taken: np.ndarray, state: State | None) -> tuple[Tensor, Tensor, State]:
    tokens = _tensor(model, taken)
    logits_BTV, state = model(tokens[:, :-1].clamp(min=0), state)
    logits_NV, targets_N = logits_BTV.flatten(0, 1), tokens[:, 1:].flatten()
    logits_NV = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
    if taken[-1, -1] < 0:
        logits_NV, targets_N = logits_NV[targets_N >= 0], targets_N[targets_N >= 0]
    return logits_NV, targets_N, state


def _tensor(model: SequenceModel, ids: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(ids)).to(next(model.parameters()).device)
