"""The models that the laws and other tests run over: every family, hybrids, the plain stack, and two from outside.

They stand for families that somebody else writes: a layer and a config, nothing more. `toy` is one branch; `guest` is
two, of which the second has no memory and hands back whatever state it was given.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.models import FAMILIES, Layer, LayerConfig, ModelConfig, StackConfig, State, Tap, parse_layers, untouched
from unrolled.models.circuit import CircuitConfig
from unrolled.models.transformer import Attention


@dataclass(frozen=True, kw_only=True)
class LeakyConfig(LayerConfig):
    speed: float = 0.3

    def build(self, width: int, index: int) -> tuple[Layer, ...]:
        return (Leaky(width, self.speed / (index + 1)),)


class Leaky(Layer):
    """h_t = (1 - s) h_(t-1) + s tanh(W x_t): a leaky average with a learned input."""

    def __init__(self, width: int, speed: float) -> None:
        super().__init__()
        self.width, self.speed = width, speed
        self.input = nn.Linear(width, width)

    @property
    def units(self) -> Mapping[str, int]:
        return {"drive": self.width, "average": self.width}

    def initial_state(self, batch: int) -> State:
        return {"average": self.input.weight.new_zeros(batch, self.width)}

    def forward(self, x_BTD: Tensor, state: State, tap: Tap = untouched) -> tuple[Tensor, State]:
        drive = tap("drive", self.input(x_BTD).tanh()) if tap.watches("drive") else self.input(x_BTD).tanh()
        average, out = state["average"], []
        for t in range(x_BTD.shape[1]):
            average = (1 - self.speed) * average + self.speed * drive[:, t]
            if tap.watches("average"):
                average = tap("average", average[:, None])[:, 0]
            out.append(average)
        return torch.stack(out, dim=1), {"average": average}


@dataclass(frozen=True, kw_only=True)
class GuestConfig(LayerConfig):
    window: int = 3

    def build(self, width: int, index: int) -> tuple[Layer, ...]:
        return Attention(width, 1 + index, self.window), Memoryless(width)


class Memoryless(Layer):
    """y_t = tanh(W x_t); it passes the state on, as a layer without one may."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.input = nn.Linear(width, width)

    @property
    def units(self) -> Mapping[str, int]:
        return {"bump": self.width}

    def initial_state(self, batch: int) -> State:
        return {}

    def forward(self, x_BTD: Tensor, state: State, tap: Tap = untouched) -> tuple[Tensor, State]:
        bump = self.input(x_BTD).tanh()
        return (tap("bump", bump) if tap.watches("bump") else bump), state


FAMILIES["toy"] = LeakyConfig
FAMILIES["guest"] = GuestConfig

PATTERNS = {
    "rnn": "rnn*2",
    "lstm": "lstm*2",
    "gru": "gru*2",
    "mingru": "mingru*2",
    "mingru-negative": "mingru(negative=true)*2",
    "tcn": "tcn*3",
    "wavenet": "wavenet*3",
    "transformer": "transformer(heads=2,window=5)*2",
    "transformer-window-2": "transformer(heads=2,window=2)*2",
    "stackrnn": "stackrnn(depth=6,cell=3,stacks=2) stackrnn(depth=5,cell=4,gated=true)",
    "tapernn": "tapernn(cells=6,cell=3,tapes=2) tapernn(cells=5,cell=4,gated=true)",
    "window": "window(window=4) window(window=1,expansion=1.3)",
    "circuit": "circuit*2",
    "hybrid": "wavenet wavenet transformer(heads=1,window=4) lstm",
    "toy": "toy*2",
    "guest": "guest*2",
}
VOCAB = 11
OTHER_OPTIONS = {
    CircuitConfig: {
        "units": (("rule.0", 0, "clip"), ("S.value", 1, "step"), ("C.value", 1, "relu"), ("out", 2, "linear")),
        "registers": ("S.value", "C.value"),
        "outputs": ("out", "rule.0"),
        "stacks": (("S.value", 2, 8, 4),),
        "counters": (("C.value", 2**45),),
        "cells": 3,
        "precision": 32,
    }
}
"""Other values of all options, for families whose options depend on each other."""


def config(name: str, *, width: int = 8, plain: bool = False, dropout: float = 0.0) -> ModelConfig:
    stack = StackConfig(width=width, plain=plain, dropout=dropout)
    return ModelConfig(stack=stack, layers=parse_layers(PATTERNS[name]))


def model(name: str, *, dtype: torch.dtype = torch.float64, seed: int = 0, **options):
    torch.manual_seed(seed)
    return config(name, **options).build(VOCAB).to(dtype).eval()
