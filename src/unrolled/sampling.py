"""Next-character distributions, and streams of characters drawn from them.

Knows nothing about families, training or files: it sees a sequence model through the contract alone.

One uniform number is drawn per character and looked up in the cumulative distribution, so that two models (or one
model with and without an edited unit) can be sampled from the same random numbers, and a sample depends on model,
prompt, options and seed alone. A model that has a fast writer of its own writes through it; otherwise, or where a tap
looks on, it is called once per character.

Shapes: B streams, T time, V vocabulary.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import ConfigError, UnrolledError
from unrolled.models.sequence_model import SequenceModel, State, Tap, Writer, rows, untouched
from unrolled.text.lines import Lines
from unrolled.text.vocabulary import Vocabulary

UNKNOWN_ID = 0
"""The id of the unknown symbol: read, but never written."""
BLOCK_SECONDS = 0.05
"""About so long a fast writer writes before it looks up: what it wrote is handed out, and Ctrl-C is heard."""
MOST_STEPS = 4096
MOST_ANSWERS = 256
"""So many prompts of one length are answered side by side."""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to draw: `temperature` divides the logits (0 takes the likeliest), then `top_k` keeps the k likeliest,
    then `top_p` keeps the smallest set whose probability reaches p (Holtzman et al. 2020, arXiv 1904.09751).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise ConfigError(
                expected="a temperature from 0 to 100", received=str(self.temperature), remedy="0.5 to 1.2 is usual"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(expected="--top-k of at least 1", received=str(self.top_k), remedy="raise it")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ConfigError(expected="--top-p in (0, 1]", received=str(self.top_p), remedy="0.9 is usual")


def distribution(logits_V: np.ndarray, options: SamplingOptions) -> np.ndarray:
    """Return the probabilities (V,) in float64 from which the next symbol is drawn; the unknown symbol has none."""
    logits = logits_V.astype(np.float64)
    logits[UNKNOWN_ID] = -np.inf
    if options.temperature == 0.0:
        return np.eye(1, len(logits), int(logits.argmax()))[0]
    weights = np.exp((logits - logits.max()) / options.temperature)
    if options.top_k is not None and options.top_k < len(weights):
        weights[np.argsort(-weights, kind="stable")[options.top_k :]] = 0.0
    probabilities = weights / weights.sum()
    if options.top_p is not None:
        order = np.argsort(-probabilities, kind="stable")
        before = np.cumsum(probabilities[order]) - probabilities[order]
        probabilities[order[before >= options.top_p]] = 0.0
        probabilities /= probabilities.sum()
    return probabilities


def draw(probabilities_V: np.ndarray, uniform: float) -> int:
    """Return the symbol at which the cumulative distribution passes `uniform`, a number in [0, 1)."""
    cumulative = np.cumsum(probabilities_V)
    index = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return min(index, int(np.flatnonzero(probabilities_V)[-1]))


def draws(logits_BV: np.ndarray, options: SamplingOptions, uniforms_B: np.ndarray) -> np.ndarray:
    """Return the symbols (B,) that `draw` and `distribution` give row by row, all at once where nothing is cut off."""
    if options.temperature == 0.0 or options.top_k is not None or options.top_p is not None:
        pairs = zip(logits_BV, uniforms_B.tolist(), strict=True)
        return np.array([draw(distribution(logits_V, options), uniform) for logits_V, uniform in pairs], dtype=np.int64)
    logits_BV = logits_BV.astype(np.float64, order="C")  # sums over rows round as those of one row do
    logits_BV[:, UNKNOWN_ID] = -np.inf
    weights_BV = np.exp((logits_BV - logits_BV.max(axis=1, keepdims=True)) / options.temperature)
    probabilities_BV = weights_BV / weights_BV.sum(axis=1, keepdims=True)
    cumulative_BV = np.cumsum(probabilities_BV, axis=1)
    found_B = (cumulative_BV <= uniforms_B[:, None] * cumulative_BV[:, -1:]).sum(axis=1)
    last_B = probabilities_BV.shape[1] - 1 - (probabilities_BV[:, ::-1] > 0).argmax(axis=1)
    return np.minimum(found_B, last_B)


@dataclass(frozen=True, eq=False)
class Place:
    """A place in a text: what a model remembers there and what it expects next. A value: keep it to come back."""

    state: State
    logits_V: np.ndarray


def read(
    model: SequenceModel, ids: Sequence[int] | np.ndarray, state: State | None = None, *, tap: Tap = untouched
) -> Place:
    """Read symbols (at least one) from `state` on and return the place after them."""
    if len(ids) == 0:
        raise ConfigError(expected="at least one character to read", received="none", remedy="give a prompt")
    device = next(model.parameters()).device
    tokens_1T = torch.as_tensor(np.asarray(ids, dtype=np.int64), device=device)[None]
    with torch.inference_mode():
        logits_1TV, after = model(tokens_1T, state, tap=tap)
    last: Tensor = logits_1TV[0, -1]
    return Place(after, last.float().cpu().numpy())


def stream(
    model: SequenceModel,
    prompt: Sequence[int] | np.ndarray,
    options: SamplingOptions,
    *,
    seed: int,
    tap: Tap = untouched,
    precision: str = "float32",
) -> Iterator[int]:
    """Read the prompt (at least one symbol), then yield one symbol after another, for ever.

    The model must be in evaluation mode. With the precision `bfloat16` a fast writer may round its weights to it, as
    training does. Raises UnrolledError when the model's logits are not finite.
    """
    for block_1T in streams(model, prompt, options, seeds=[seed], tap=tap, precision=precision):
        yield from block_1T[0].tolist()


def write(
    model: SequenceModel,
    prompt: Sequence[int] | np.ndarray,
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    length: int,
    precision: str = "float32",
) -> np.ndarray:
    """Return what streams with these seeds write after one prompt, (B, length): many together cost little more."""
    return gathered(streams(model, prompt, options, seeds=seeds, precision=precision), count=len(seeds), length=length)


def answers(
    model: SequenceModel,
    prompts: Sequence[np.ndarray],
    options: SamplingOptions,
    *,
    end: int,
    most: int,
    seed: int = 1,
    precision: str = "float32",
) -> list[np.ndarray]:
    """Return what the model writes after each prompt until `end`, which is left out, at most `most` symbols.

    Each prompt is read from a cold start, those of one length side by side. The model must be in evaluation mode.
    """
    found: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(prompts)
    lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
    device = next(model.parameters()).device
    for length in np.unique(lengths).tolist():
        same = np.flatnonzero(lengths == length)
        for first in range(0, len(same), MOST_ANSWERS):
            rows_B = same[first : first + MOST_ANSWERS].tolist()
            tokens_BT = torch.from_numpy(np.stack([prompts[row] for row in rows_B]).astype(np.int64)).to(device)
            with torch.inference_mode():
                logits_BTV, state = model(tokens_BT)
            seeds = [seed + row for row in rows_B]
            logits_BV = logits_BTV[:, -1].float().cpu().numpy()
            blocks = streams_on(model, state, logits_BV, options, seeds=seeds, precision=precision)
            written_BT = _until_all_ended(blocks, end, most, np.zeros((len(rows_B), 0), dtype=np.int64))
            for row, written_T in zip(rows_B, written_BT, strict=True):
                ends = np.flatnonzero(written_T == end)
                found[row] = written_T[: ends[0]] if len(ends) else written_T
    return found


def _until_all_ended(blocks: Iterator[np.ndarray], end: int, most: int, written_BT: np.ndarray) -> np.ndarray:
    while written_BT.shape[1] < most and not (written_BT == end).any(axis=1).all():
        written_BT = np.concatenate([written_BT, next(blocks)], axis=1)
    return written_BT[:, :most]


def answer_lines(
    model: SequenceModel, lines: Lines, rows_L: Sequence[int] | np.ndarray, *, precision: str = "float32"
) -> list[np.ndarray]:
    """Return how the model answers the sources of these lines when it always takes the likeliest symbol.

    In "pairs" an answer ends at the newline, or at twice the longest of the targets; in "tags" it has a tag for each
    symbol of the source, and where nothing is asked the symbol that says so.
    """
    if lines.regime == "tags":
        targets = [np.asarray(lines.target(row), dtype=np.int64) for row in rows_L]
        found = [likeliest(model, lines.source(row)) for row in rows_L]
        return [np.where(tags == lines.unasked, tags, said) for said, tags in zip(found, targets, strict=True)]
    prompts = [lines.ids[lines.starts_L[row] : lines.tabs_L[row] + 1] for row in rows_L]
    most = 2 * max((len(lines.target(row)) for row in rows_L), default=0) + 1
    newline = int(lines.ids[lines.ends_L[0]]) if len(lines) else UNKNOWN_ID
    return answers(model, prompts, SamplingOptions(temperature=0.0), end=newline, most=most, precision=precision)


def likeliest(model: SequenceModel, ids: np.ndarray, *, tap: Tap = untouched) -> np.ndarray:
    """Return the symbol (T,) that the model finds likeliest after each of `ids`, never the unknown one."""
    if len(ids) == 0:
        raise ConfigError(expected="at least one character to read", received="none", remedy="give a prompt")
    device = next(model.parameters()).device
    tokens_1T = torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(device)[None]
    with torch.inference_mode():
        logits_1TV, _ = model(tokens_1T, tap=tap)
    logits_TV = logits_1TV[0].float().cpu().numpy().copy()
    logits_TV[:, UNKNOWN_ID] = -np.inf
    return logits_TV.argmax(axis=-1)


def gathered(blocks: Iterator[np.ndarray], *, count: int, length: int) -> np.ndarray:
    """Return the first `length` symbols of each of `count` streams, (count, length), from blocks such as `streams`."""
    found, missing = [np.zeros((count, 0), dtype=np.int64)], length
    while missing:
        found.append(next(blocks)[:, :missing])
        missing -= found[-1].shape[1]
    return np.concatenate(found, axis=1)


def decoded(blocks: Iterator[np.ndarray], vocabulary: Vocabulary, *, count: int, length: int) -> list[str]:
    """Return the first `length` characters of each of `count` streams, from blocks of symbols (B, T) such as `streams`.

    Where symbols are bytes, a character may take several.
    """
    decoders, found = [vocabulary.decoder() for _ in range(count)], [""] * count
    while min(map(len, found)) < length:
        for row, (decoder, symbols_T) in enumerate(zip(decoders, next(blocks).tolist(), strict=True)):
            found[row] += "".join([decoder.feed(symbol) for symbol in symbols_T])
    return [text[:length] for text in found]


def streams(
    model: SequenceModel,
    prompt: Sequence[int] | np.ndarray,
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    tap: Tap = untouched,
    precision: str = "float32",
) -> Iterator[np.ndarray]:
    """Read the prompt once, then yield what streams with these seeds write, (B, T) at a time, for ever.

    How T is chosen changes nothing. A stream of a fast writer does not depend on the streams beside it; where the
    model itself is called for each character, matrix products of another size may round differently.
    """
    if len(seeds) == 0:
        raise ConfigError(expected="at least one seed", received="none", remedy="give one for each stream")
    place = read(model, prompt, tap=tap)
    device = next(model.parameters()).device
    state = rows(place.state, torch.zeros(len(seeds), dtype=torch.int64, device=device))
    logits_BV = np.repeat(place.logits_V[None], len(seeds), axis=0)
    yield from streams_on(model, state, logits_BV, options, seeds=seeds, tap=tap, precision=precision)


def streams_on(
    model: SequenceModel,
    state: State,
    logits_BV: np.ndarray,
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    tap: Tap = untouched,
    precision: str = "float32",
) -> Iterator[np.ndarray]:
    """Yield what streams with these seeds write on, (B, T) at a time, for ever, each from a place of its own.

    `state` has one row for each seed, and `logits_BV` what each expects next. The same seed twice draws the same
    uniform numbers twice: so two places, or one place under two edits of `tap`, are compared.
    """
    uniforms = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
    writer = None
    if tap is untouched:
        # A writer chooses its own precision: tables that autocast rounds have not the size that it reads.
        with torch.autocast(next(model.parameters()).device.type, enabled=False):
            writer = model.writer(state, torch.from_numpy(logits_BV), bfloat16=precision == "bfloat16")
    if writer is None:
        yield from _step_by_step(model, state, logits_BV, options, uniforms, tap)
    else:
        yield from _in_blocks(writer, options, uniforms)


def _in_blocks(
    writer: Writer, options: SamplingOptions, uniforms: Sequence[np.random.Generator]
) -> Iterator[np.ndarray]:
    steps = 8
    while True:
        start = time.perf_counter()
        uniforms_BT = torch.from_numpy(np.stack([uniform.random(steps) for uniform in uniforms]))
        written_BT = writer.write(
            uniforms_BT, temperature=options.temperature, top_k=options.top_k, top_p=options.top_p
        )
        pace = steps / (time.perf_counter() - start)
        yield written_BT.numpy()
        steps = max(1, min(2 * steps, round(BLOCK_SECONDS * pace), MOST_STEPS))


def _step_by_step(
    model: SequenceModel,
    state: State,
    logits_BV: np.ndarray,
    options: SamplingOptions,
    uniforms: Sequence[np.random.Generator],
    tap: Tap,
) -> Iterator[np.ndarray]:
    device = next(model.parameters()).device
    while True:
        if not np.isfinite(logits_BV).all():
            raise UnrolledError(
                expected="finite logits", received="infinity or what is not a number", remedy="use another checkpoint"
            )
        written_B1 = draws(logits_BV, options, np.array([uniform.random() for uniform in uniforms]))[:, None]
        yield written_B1
        with torch.inference_mode():
            logits_B1V, state = model(torch.from_numpy(written_B1).to(device), state, tap=tap)
        logits_BV = logits_B1V[:, 0].float().cpu().numpy()
