"""The comparisons of writing and reading: sampling one stream and many, at any position; and turning text into ids.

Knows nothing about how they are measured.

Shapes: B streams, V vocabulary.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unrolled.benchmarks.comparing import Row, Way
from unrolled.benchmarks.models import VOCAB, Size, random_ids
from unrolled.benchmarks.twins import NanoGPT, PlainRecurrent, sample_nano_gpt, sample_recurrent, tokenise
from unrolled.models.sequence_model import SequenceModel
from unrolled.sampling import SamplingOptions, streams
from unrolled.text.corpus import read_corpus
from unrolled.training.config import PRECISIONS
from unrolled.training.measure import default_device

CHARACTERS = "characters/s"
LONG_CONTEXT = 256
"""What nanoGPT reads again for every character."""
MANY = 64
TEXT_CHARACTERS = 20_000_000
SLICE_CHARACTERS = 1_000_000
"""What plain Python turns into ids in a turn: it needs no more to show its speed."""
ALPHABET = "".join(chr(code) for code in range(32, 127)) + "\néü—“”"


def sampling_rows() -> list[Row]:
    """Return the comparisons of sampling."""
    return [
        streams_row(Size("lstm*2", 512, 1, 1), 1, "lstm 2 x 512, one stream", (1000, 300)),
        streams_row(Size("lstm*2", 512, MANY, 1), MANY, f"lstm 2 x 512, {MANY} streams", (200, 50)),
        streams_row(Size("lstm*2", 256, 1, 1), 1, "lstm 2 x 256, one stream", (2000, 500)),
        context_row(Size(f"transformer(heads=4,window={LONG_CONTEXT})*4", 128, 1, LONG_CONTEXT), 200, 16),
        position_row(Size("transformer(heads=4,window=64)*4", 128, 1, 1), (2000, 100), 200),
    ]


def tokenising_rows() -> list[Row]:
    """Return the comparison of turning a text into ids."""
    return [text_row(TEXT_CHARACTERS, SLICE_CHARACTERS)]


def streams_row(size: Size, count: int, name: str, steps: tuple[int, int]) -> Row:
    """Compare `count` streams with a loop over torch's LSTM, one step at a time, in float32.

    `steps` are what a turn of each side writes at least, in each stream.
    """

    def theirs() -> list[Way]:
        torch.manual_seed(0)
        twin = PlainRecurrent(nn.LSTM, VOCAB, size.width, len(size.config.layers)).to(default_device()).eval()
        first_B = torch.ones(count, dtype=torch.int64, device=default_device())
        return [Way("", lambda _: sample_recurrent(twin, first_B, steps[1]).numel())]

    name = f"sampling {name}"
    return Row("sampling", name, CHARACTERS, "nn.LSTM, step by step", lambda: _ways(size, [1], steps[0], count), theirs)


def context_row(size: Size, steps: int, recomputed: int) -> Row:
    """Compare one stream after a full window with nanoGPT, which reads its window again for every character."""
    window = size.unroll

    def theirs() -> list[Way]:
        torch.manual_seed(0)
        twin = NanoGPT(VOCAB, size.width, len(size.config.layers), block=window).to(default_device()).eval()
        context = torch.from_numpy(random_ids(window)).to(default_device())[None]
        return [Way("", lambda _: sample_nano_gpt(twin, context, recomputed).numel())]

    name = f"sampling transformer {len(size.config.layers)} x {size.width}, after {window}"
    reference = "nanoGPT, window read again"
    return Row("sampling", name, CHARACTERS, reference, lambda: _ways(size, random_ids(window), steps), theirs)


def position_row(size: Size, positions: tuple[int, int], steps: int) -> Row:
    """Compare the speed at a late position of one stream with that at an early one: a flat cost has a ratio of 1."""
    late, early = positions
    name = f"sampling transformer {len(size.config.layers)} x {size.width}, at {late}"
    return Row(
        "sampling",
        name,
        CHARACTERS,
        f"the same at character {early}",
        lambda: _ways(size, random_ids(late), steps),
        lambda: _ways(size, random_ids(early), steps),
    )


def _ways(size: Size, prompt: list[int] | np.ndarray, steps: int, count: int = 1) -> list[Way]:
    """Return writing at least `steps` characters in each stream at every precision; reading the prompt is not timed."""
    model = size.build()
    return [_writing(model, prompt, steps, count, precision) for precision in PRECISIONS]


def _writing(model: SequenceModel, prompt: list[int] | np.ndarray, steps: int, count: int, precision: str) -> Way:
    def begun() -> Iterator[np.ndarray]:
        blocks = streams(model, prompt, SamplingOptions(), seeds=range(count), precision=precision)
        next(blocks)
        return blocks

    def write(blocks: Iterator[np.ndarray]) -> float:
        written = 0
        while written < steps * count:
            written += next(blocks).size
        return written

    return Way(precision, write, begun)


def text_row(characters: int, part: int) -> Row:
    """Compare reading a text file that no cache knows with a list comprehension over `part` such characters."""

    def ours() -> list[Way]:
        scratch = tempfile.TemporaryDirectory(prefix="unrolled-bench-")
        path = Path(scratch.name) / "text.txt"
        path.write_text(_text(characters), encoding="utf-8", newline="")

        def cold_cache() -> Path:
            return Path(tempfile.mkdtemp(dir=scratch.name))

        def read(cache: Path) -> float:
            read_corpus(path, cache=cache)
            return path.stat().st_size / 1e6

        return [Way("", read, cold_cache, scratch.cleanup)]

    def theirs() -> list[Way]:
        text = _text(part)
        megabytes = len(text.encode()) / 1e6

        def read(_: None) -> float:
            np.array(tokenise(text), dtype=np.uint16)
            return megabytes

        return [Way("", read)]

    return Row("tokenising", "tokenising a text file", "MB/s", "ids[c] for c in text", ours, theirs)


def _text(characters: int) -> str:
    symbols = np.frombuffer(ALPHABET.encode("utf-32-le"), dtype=np.uint32)
    chosen = np.random.Generator(np.random.PCG64(0)).integers(0, len(symbols), size=characters)
    return symbols[chosen].tobytes().decode("utf-32-le")
