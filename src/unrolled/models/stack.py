"""The one language model: embedding, residual stream with a norm before each branch, readout; composes layers.

Knows nothing about any family: it is handed layers and numbers them.

    x = embed(token)
    for each branch:   x = x + layer(norm(x))        (residual, pre-norm; Xiong et al. 2020, arXiv 2002.04745)
                   or  x = layer(x)                  (plain: the stack of 2015)
    logits = readout(norm(x))

Shapes: B batch, T time, V vocabulary, D width, N units.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unrolled.errors import ConfigError
from unrolled.kernels import add_rms_norm, dropout, lookup, rms_norm
from unrolled.kernels.steps import Operation
from unrolled.kernels.writing import Branch, CompiledWriter, Frame
from unrolled.models.sequence_model import Layer, SequenceModel, State, Tap, Writer, under, untouched

EMBEDDING_STD = 0.1
"""Small, so that what the layers add counts from the start: 0.021 nats better than 0.5 in 30 seconds (docs/LOG.md)."""
PLAIN_EMBEDDING_STD = 0.5
"""Without norms the first layer sees the embedding as it is, so it must not be small."""
READOUT_STD = 0.02
ROWS_PAY = 4
"""From so many characters per symbol on, the first layer works on the table of symbols and not on each character."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The frame around the layers.

    `width` is D, the length of the vectors between layers. `plain` leaves out residual connections and norms, as
    the models of 2015 did. `dropout` is the probability of dropping an element of each branch's output
    while training (Zaremba et al. 2014, arXiv 1409.2329: never between time steps).
    """

    width: int
    plain: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 65536:
            raise ConfigError(expected="a width of 1 to 65536", received=str(self.width), remedy="change --width")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(expected="a dropout from 0 to below 1", received=str(self.dropout), remedy="change it")


class RMSNorm(nn.Module):
    """Root-mean-square norm with a gain per number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x_BTD: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Return each vector over its root mean square, times the gain."""
        return rms_norm(x_BTD, self.gain)


class Stack(SequenceModel):
    """Layers in a residual stream; `layers` holds the branches of each layer, in order."""

    def __init__(self, vocab_size: int, config: StackConfig, layers: Sequence[tuple[Layer, ...]]) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.config = config
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.branches = nn.ModuleList()
        self.norms = nn.ModuleList()
        self._prefixes: list[str] = []
        self._memories: list[tuple[str, ...]] = []
        for number, layer in enumerate(layers):
            for branch in layer:
                self.branches.append(branch)
                self.norms.append(nn.Identity() if config.plain else RMSNorm(config.width))
                self._prefixes.append(f"layer{number}.")
                self._memories.append(tuple(branch.initial_state(1)))
        self._refuse_shared_names()
        wanting = sum(branch.time_major for layer in layers for branch in layer)
        self._time_major = 2 * wanting > len(self.branches)
        self.final_norm = nn.Identity() if config.plain else RMSNorm(config.width)
        self.readout = nn.Linear(config.width, vocab_size)
        nn.init.normal_(self.embedding.weight, std=PLAIN_EMBEDDING_STD if config.plain else EMBEDDING_STD)
        nn.init.normal_(self.readout.weight, std=READOUT_STD)
        nn.init.zeros_(self.readout.bias)

    @property
    def units(self) -> Mapping[str, int]:
        """Name and size of every group of units, `layer0.hidden` first."""
        return {prefix + name: size for prefix, branch, _ in self._parts() for name, size in branch.units.items()}

    def initial_state(self, batch: int) -> State:
        """Return the state of `batch` streams of which nothing was read yet: zeros."""
        return {
            prefix + name: value
            for prefix, branch, _ in self._parts()
            for name, value in branch.initial_state(batch).items()
        }

    def forward(
        self, tokens_BT: Int[Tensor, "B T"], state: State | None = None, *, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T V"], State]:
        """Read T >= 0 tokens from `state` on; return the logits after each one and the state after the last.

        `state` is None (nothing read yet) or what `initial_state(B)` or an earlier call of a model of this
        configuration returned, whole or as `rows` or `detached` made it: the same names, B rows in each tensor. A
        missing or foreign name or another number of rows raises ConfigError, as does a layer that returns less state
        than it declares. Every branch is handed its own part of the state, under short names, and nothing else.
        """
        if state is None:
            state = self.initial_state(tokens_BT.shape[0])
        else:
            self._refuse_foreign(state, tokens_BT.shape[0])
        if tokens_BT.shape[1] == 0:
            return self.readout.weight.new_zeros(tokens_BT.shape[0], 0, self.vocab_size), state
        turned = self._time_major
        # As values this is embedding(tokens_BT); in memory, time is the outer axis where most layers want it so.
        table_VD = self.embedding.weight
        x_BTD = lookup(table_VD, tokens_BT.t()).transpose(0, 1) if turned else lookup(table_VD, tokens_BT)
        after: dict[str, Tensor] = {}
        norms, normed_BTD = [*self.norms, self.final_norm], x_BTD
        for number, (prefix, branch, memory) in enumerate(self._parts()):
            mine: State = {name: state[prefix + name] for name in memory}
            if number == 0 and branch.reads_rows and tokens_BT.numel() >= ROWS_PAY * self.vocab_size:
                y_BTD, mine = branch.read_rows(norms[0](table_VD), tokens_BT, mine, under(tap, prefix))
            else:
                y_BTD, mine = branch(normed_BTD if number else norms[0](x_BTD), mine, under(tap, prefix))
            y_BTD = dropout(y_BTD, self.config.dropout, training=self.training)
            x_BTD, normed_BTD = self._joined(x_BTD, y_BTD, norms[number + 1])
            _refuse_lost(prefix, memory, mine)
            after.update({prefix + name: mine[name] for name in memory})
        if turned:
            return self.readout(normed_BTD.transpose(0, 1)).transpose(0, 1), after
        return self.readout(normed_BTD), after

    def _joined(self, x_BTD: Tensor, y_BTD: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
        """Return the stream after a branch, and what its next reader gets of it."""
        return (y_BTD, y_BTD) if self.config.plain else add_rms_norm(x_BTD, y_BTD, cast(RMSNorm, norm).gain)

    def writer(self, state: State, logits_BV: Float[Tensor, "B V"], *, bfloat16: bool = False) -> Writer | None:
        """Return a compiled writer where every layer has words for its step, and the machine has the kernels."""
        self._refuse_foreign(state, len(logits_BV))
        gains = [cast(RMSNorm, norm).gain if not self.config.plain else None for norm in (*self.norms, self.final_norm)]
        frame = Frame(self.embedding.weight, gains.pop(), self.readout.weight, self.readout.bias)
        branches: list[Branch] = []
        for (prefix, branch, memory), gain_D in zip(self._parts(), gains, strict=True):
            chain = branch.chain()
            if chain is None or {name for operation in chain for name in operation.states} != set(memory):
                return None
            branches.append(Branch(prefix, gain_D, cast(Sequence[Operation], chain)))
        return CompiledWriter(frame, branches, state, logits_BV, bfloat16=bfloat16) if frame.fits else None

    def _refuse_shared_names(self) -> None:
        """Two branches of one layer must not use the same name for a unit or a state: they would share it silently."""
        units = [prefix + name for prefix, branch, _ in self._parts() for name in branch.units]
        for found in (units, self._state_names()):
            for name in found:
                if found.count(name) > 1:
                    raise ConfigError(
                        expected="branches of a layer with names of their own",
                        received=f"{name} twice",
                        remedy="rename the unit or state in the family's layer",
                    )

    def _refuse_foreign(self, state: State, batch: int) -> None:
        """A state of another model, or of another number of streams, must not be broadcast or half used."""
        names = dict.fromkeys(self._state_names())
        for name in (*names, *state):
            if name not in state or name not in names:
                raise ConfigError(
                    expected=f"a state with {name}" if name in names else "a state of this model",
                    received=f"one without {name}" if name in names else f"one with {name}",
                    remedy="start from initial_state(batch) or from what this model returned",
                )
            if state[name].shape[:1] != (batch,):
                raise ConfigError(
                    expected=f"a state of {batch} rows, as many as the tokens have",
                    received=f"{name} of shape {tuple(state[name].shape)}",
                    remedy=f"start from initial_state({batch}) or choose the rows with rows(state, index)",
                )

    def _state_names(self) -> list[str]:
        return [prefix + name for prefix, _, memory in self._parts() for name in memory]

    def _parts(self) -> Iterator[tuple[str, Layer, tuple[str, ...]]]:
        """Yield each branch with its names' prefix before it and the short names of its state after it."""
        for prefix, branch, memory in zip(self._prefixes, self.branches, self._memories, strict=True):
            yield prefix, cast(Layer, branch), memory


def _refuse_lost(prefix: str, memory: tuple[str, ...], returned: State) -> None:
    for name in memory:
        if name not in returned:
            raise ConfigError(
                expected=f"a layer that returns the state {prefix}{name}",
                received=", ".join(returned) or "none",
                remedy="return every name of the layer's initial_state",
            )
