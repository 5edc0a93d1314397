"""What `unrolled bench` measures: a training step of every family beside its plain PyTorch twin.

Knows nothing about terminals. A twin is what a user would write: `nn.Embedding`, torch's own layer in float32,
`nn.Linear`, cross-entropy, `AdamW`. Both sides take turns in one process, and medians are compared, because machines
are shared and noisy.

Shapes: B batch, T time, V vocabulary.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.models import ModelConfig, StackConfig, parse_layers
from unrolled.text.lanes import Lanes
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.config import TrainingConfig
from unrolled.training.loop import Training, update
from unrolled.training.measure import default_device, faster_precision

VOCAB = 65
WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Row:
    """One comparison: sizes, and how the plain twin is built from them."""

    name: str
    layers: str
    width: int
    lanes: int
    unroll: int
    reference: str
    twin: Callable[[int, int], nn.Module]


class PlainRecurrent(nn.Module):
    """`nn.RNN`, `nn.GRU` or `nn.LSTM` as a character model."""

    def __init__(self, kind: type[nn.Module], width: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, width)
        self.layers = kind(width, width, depth, batch_first=True)
        self.readout = nn.Linear(width, VOCAB)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits (B, T, V)."""
        return self.readout(self.layers(self.embedding(tokens_BT))[0])


class PlainTransformer(nn.Module):
    """`nn.TransformerEncoder` with a causal mask and learned positions as a character model."""

    def __init__(self, width: int, depth: int, heads: int = 4, longest: int = 512) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, width)
        self.positions = nn.Embedding(longest, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.readout = nn.Linear(width, VOCAB)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits (B, T, V)."""
        time_steps = tokens_BT.shape[1]
        x_BTD = self.embedding(tokens_BT) + self.positions(torch.arange(time_steps, device=tokens_BT.device))
        mask = nn.Transformer.generate_square_subsequent_mask(time_steps, device=tokens_BT.device)
        return self.readout(self.layers(x_BTD, mask=mask, is_causal=True))


class PlainConvolutions(nn.Module):
    """Residual blocks of dilated `nn.Conv1d` as a character model: Bai's two convolutions, or WaveNet's gated one."""

    def __init__(self, width: int, depth: int, kernel: int, gated: bool) -> None:
        super().__init__()
        self.gated, self.kernel = gated, kernel
        self.embedding = nn.Embedding(VOCAB, width)
        outputs = 2 * width if gated else width
        self.first = nn.ModuleList(nn.Conv1d(width, outputs, kernel, dilation=2**k) for k in range(depth))
        second = (1, 1) if gated else (kernel, 2)
        self.second = nn.ModuleList(nn.Conv1d(width, width, second[0], dilation=second[1] ** k) for k in range(depth))
        self.readout = nn.Linear(width, VOCAB)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits (B, T, V)."""
        x_BDT = self.embedding(tokens_BT).transpose(1, 2)
        for k, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            past = (self.kernel - 1) * 2**k
            y = first(F.pad(x_BDT, (past, 0)))
            if self.gated:
                f, g = y.chunk(2, dim=1)
                y = second(f.tanh() * g.sigmoid())
            else:
                y = second(F.pad(y.relu(), (past, 0))).relu()
            x_BDT = x_BDT + y
        return self.readout(x_BDT.transpose(1, 2))


class PlainMinGRU(nn.Module):
    """The minimal GRU with the log-space scan of its paper (`logcumsumexp`) as a character model."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        hidden = round(1.5 * width)
        self.embedding = nn.Embedding(VOCAB, width)
        self.inputs = nn.ModuleList(nn.Linear(width, 2 * hidden) for _ in range(depth))
        self.outputs = nn.ModuleList(nn.Linear(hidden, width) for _ in range(depth))
        self.readout = nn.Linear(width, VOCAB)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits (B, T, V)."""
        x_BTD = self.embedding(tokens_BT)
        for inputs, outputs in zip(self.inputs, self.outputs, strict=True):
            candidate, gate = inputs(x_BTD).chunk(2, dim=-1)
            log_keep, log_take = -F.softplus(gate), -F.softplus(-gate)
            log_value = torch.where(candidate >= 0, (F.relu(candidate) + 0.5).log(), -F.softplus(-candidate))
            kept = log_keep.cumsum(dim=1)
            x_BTD = x_BTD + outputs((kept + (log_take + log_value - kept).logcumsumexp(dim=1)).exp())
        return self.readout(x_BTD)


def rows() -> list[Row]:
    """Return every comparison."""
    found = [
        Row(f"{name} {depth} x {width} ({lanes} lanes, {unroll} steps)", f"{name}*{depth}", width, lanes, unroll,
            f"nn.{kind.__name__} in float32", lambda w, d, kind=kind: PlainRecurrent(kind, w, d))
        for name, kind in (("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM))
        for depth, width, lanes, unroll in ((2, 256, 32, 64), (2, 512, 64, 100))
    ]  # fmt: skip
    sizes = (4, 128, 32, 64)
    depth, width, lanes, unroll = sizes
    shape = f"{depth} x {width} ({lanes} lanes, {unroll} steps)"
    found += [
        Row(f"mingru {shape}", f"mingru*{depth}", width, lanes, unroll, "log-space scan of the paper in float32",
            PlainMinGRU),
        Row(f"tcn {shape}", f"tcn*{depth}", width, lanes, unroll, "nn.Conv1d in float32",
            lambda w, d: PlainConvolutions(w, d, 3, False)),
        Row(f"wavenet {shape}", f"wavenet*{depth}", width, lanes, unroll, "nn.Conv1d in float32",
            lambda w, d: PlainConvolutions(w, d, 2, True)),
        Row(f"transformer {shape}", f"transformer(heads=4,window=64)*{depth}", width, lanes, unroll,
            "nn.TransformerEncoder in float32", PlainTransformer),
    ]  # fmt: skip
    return found


class Result(TypedDict):
    """One measured comparison, under its public names."""

    name: str
    unit: str
    value: float
    reference: str
    reference_value: float
    ratio: float


def measure_rows(row: Row, rounds: int) -> Result:
    """Measure one comparison; speeds are training characters per second, medians of `rounds` turns."""
    ours, theirs = _our_step(row), _their_step(row)
    for step in (ours, theirs):
        for _ in range(WARM_UP_STEPS):
            step()
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for name, step in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    characters = row.lanes * row.unroll
    value, reference_value = (characters / statistics.median(seconds[name]) for name in ("ours", "theirs"))
    return {
        "name": row.name,
        "unit": "training characters per second",
        "value": round(value, 1),
        "reference": row.reference,
        "reference_value": round(reference_value, 1),
        "ratio": round(value / reference_value, 3),
    }


def _text(row: Row) -> np.ndarray:
    length = 4 * row.lanes * row.unroll + 1
    return np.random.Generator(np.random.PCG64(0)).integers(1, VOCAB, size=length, dtype=np.int64)


def _our_step(row: Row) -> Callable[[], object]:
    """Return a step of the real training loop, at the precision that is measured to be faster here."""
    vocabulary = Vocabulary("characters", ("\ufffd", *(chr(33 + k) for k in range(VOCAB - 1))))
    layers = parse_layers(row.layers)
    model = ModelConfig(stack=StackConfig(width=row.width), layers=layers)
    config = TrainingConfig(steps=10**6, lanes=row.lanes, unroll=row.unroll)
    precision, _, _ = faster_precision(model, vocabulary, config)
    torch.manual_seed(0)
    training = Training(
        model.build(VOCAB).to(default_device()),
        replace(config, precision=precision),
        vocabulary,
        _text(row),
        _text(row),
    )
    lanes = Lanes(training.train_ids, row.lanes, row.unroll)
    return lambda: update(training, lanes)


def _their_step(row: Row) -> Callable[[], object]:
    torch.manual_seed(0)
    device = default_device()
    model = row.twin(row.width, len(parse_layers(row.layers))).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    lanes = Lanes(_text(row), row.lanes, row.unroll)
    position = 0

    def step() -> None:
        nonlocal position
        inputs, targets = (torch.from_numpy(ids).to(device) for ids in lanes.batch(position))
        position = lanes.next(position)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
