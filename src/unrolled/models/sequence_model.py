"""THE CONTRACT: what a sequence model, a layer, a state and a tap are, and the laws that define them.

Knows nothing about any family, about training, or about text: tokens are integers.

> A sequence model is a causal function of a token stream with an explicit memory.
> `forward(tokens_BT, state=None, *, tap=untouched) -> (logits_BTV, state)`

The laws (executable in tests/test_laws.py, over every family and over families written from outside):

1. **Split.** Cut the stream anywhere: `xs + ys` from `s` gives the same logits and the same final state as
   `xs` from `s`, then `ys` from the state that came out.
2. **Identity.** No tokens: the state comes back unchanged, logits have shape `(B, 0, V)`.
3. **Causality.** Changing token t changes no logit before t.
4. **Rows are independent** of each other, state included.
5. **Purity.** Same arguments, same answer; neither the model nor the incoming state is modified.
6. **Taps are honest.** `untouched` changes nothing. Any other tap is shown every unit that it asks for, at every
   time step exactly once, in time order; what an editing tap returns is what the model uses from there on, in the
   outgoing state too. A tap that only watches keeps the fast path.
7. **Round trip.** Config -> model -> file -> model gives equal logits; config -> JSON -> config is identity.
8. **Everything learns.** Every parameter gets a finite gradient; the first loss is near log V; one batch can be
   overfitted.

The laws hold in exact arithmetic. In floating point a learned model is held to them at 1e-10 in float64, where
summation order is all that can differ. They speak of a model as it is used (`model.eval()`): dropout is random
on purpose and acts only while training.

Shapes: B batch, T time, V vocabulary, D width, N units.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unrolled.errors import ConfigError, nearest

State = Mapping[str, Tensor]
"""What a model remembers: a value, never stored on a module. Each tensor has the batch as its first axis; names
are dotted (`layer0.cell`). All-zero tensors mean "nothing read yet"."""


class Tap(ABC):
    """Something that looks at units, and may change them, while a model runs.

    A model asks `watches(name)` and `edits(name)` first, so that nobody pays for what nobody wants: a group of
    units that is only watched is shown in one block over time, and the layer keeps its fast path; a group that is
    edited makes a recurrent layer go step by step.
    """

    @abstractmethod
    def watches(self, name: str) -> bool:
        """Say whether this tap wants to be shown the group of units `name`."""

    @abstractmethod
    def edits(self, name: str) -> bool:
        """Say whether this tap may return other values for the group `name` (edited groups are watched too)."""

    @abstractmethod
    def __call__(self, name: str, value_BTN: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:
        """See the values of a group over T steps (T may be 1) and return the values that the model shall use."""


class _Untouched(Tap):
    def watches(self, name: str) -> bool:  # noqa: ARG002
        return False

    def edits(self, name: str) -> bool:  # noqa: ARG002
        return False

    def __call__(self, name: str, value_BTN: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:  # noqa: ARG002
        return value_BTN

    def __repr__(self) -> str:
        return "untouched"


untouched: Tap = _Untouched()
"""The tap that neither looks nor touches."""


@dataclass(frozen=True)
class Watch(Tap):
    """A tap that only looks: `see(name, value_BTN)` is called, the model runs as if it were not there.

    `see` is handed a copy without gradients, so that nothing it does can reach the model. `pattern` is a regular
    expression that a group's whole name must match, ConfigError if it is none; the default is every group.
    """

    see: Callable[[str, Tensor], None]
    pattern: str = ".*"

    def __post_init__(self) -> None:
        _refuse_bad_pattern(self.pattern)

    def watches(self, name: str) -> bool:
        """Say whether `name` matches the pattern."""
        return re.fullmatch(self.pattern, name) is not None

    def edits(self, name: str) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def __call__(self, name: str, value_BTN: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:
        """Show a copy of the values and hand them back untouched."""
        self.see(name, value_BTN.detach().clone())
        return value_BTN


@dataclass(frozen=True)
class Edit(Tap):
    """A tap that changes units: the model uses what `change(name, value_BTN)` returns, and remembers it.

    `change` must treat time steps independently (it may be shown one step or many at once) and must return a
    tensor of the same shape, ConfigError otherwise; it must not write into its argument. `pattern` is as in Watch.
    """

    change: Callable[[str, Tensor], Tensor]
    pattern: str = ".*"

    def __post_init__(self) -> None:
        _refuse_bad_pattern(self.pattern)

    def watches(self, name: str) -> bool:
        """Say whether `name` matches the pattern."""
        return re.fullmatch(self.pattern, name) is not None

    def edits(self, name: str) -> bool:
        """Say whether `name` matches the pattern."""
        return self.watches(name)

    def __call__(self, name: str, value_BTN: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:
        """Return the changed values; another shape raises ConfigError, it would be broadcast silently."""
        changed = self.change(name, value_BTN)
        if not isinstance(changed, Tensor) or changed.shape != value_BTN.shape:
            got = f"shape {tuple(changed.shape)}" if isinstance(changed, Tensor) else type(changed).__name__
            raise ConfigError(
                expected=f"an edit of {name} that returns shape {tuple(value_BTN.shape)}",
                received=got,
                remedy="return a tensor of the shape that was shown",
            )
        return changed


def _refuse_bad_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as problem:
        raise ConfigError(
            expected="a regular expression such as layer0[.].*",
            received=f"{pattern!r} ({problem})",
            remedy="correct it, or escape what is meant literally with re.escape",
        ) from None


@dataclass(frozen=True)
class _Under(Tap):
    """A tap as a layer sees it: the layer says `cell`, the tap hears `layer1.cell`."""

    tap: Tap
    prefix: str

    def watches(self, name: str) -> bool:
        return self.tap.watches(self.prefix + name)

    def edits(self, name: str) -> bool:
        return self.tap.edits(self.prefix + name)

    def __call__(self, name: str, value_BTN: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:
        return self.tap(self.prefix + name, value_BTN)


def under(tap: Tap, prefix: str) -> Tap:
    """Return `tap` as somebody inside `prefix` must call it; `untouched` stays itself."""
    return tap if tap is untouched else _Under(tap, prefix)


class Layer(nn.Module, ABC):
    """A causal function of a stream of vectors with an explicit memory; the laws hold one level down, too.

    A layer knows its own short unit and state names (`cell`); whoever composes layers adds the prefix.
    """

    @property
    @abstractmethod
    def units(self) -> Mapping[str, int]:
        """Name and size of every group of units that a tap can be shown, in the order of computation."""

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """Return the state of `batch` streams of which nothing was read yet: zeros."""

    @abstractmethod
    def forward(
        self, x_BTD: Float[Tensor, "B T D"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Read T >= 1 vectors from `state` on; return as many outputs and the state after them."""

    time_major = False
    """Whether the kernels want time as the outer axis in memory; shapes and results are the same either way."""

    reads_rows = False
    """Whether `read_rows` is faster than looking the rows up."""

    def read_rows(
        self, table_VD: Float[Tensor, "V D"], tokens_BT: Int[Tensor, "B T"], state: State, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Do what `forward` does on the rows `tokens_BT` of a table: what a first layer reads is just that."""
        return self(table_VD[tokens_BT], state, tap)

    def chain(self) -> "Sequence[Operation] | None":
        """Return one step of `forward` as operations, each reading what the one before it gave (kernels/steps.py).

        Together they remember all that the layer's state holds. None: there are no words for it, and whoever writes
        calls `forward` for every symbol. A layer that changes what `forward` of its base computes must change this.
        """
        return None


@runtime_checkable
class Operation(Protocol):
    """One operation of a layer's step, made by a kernel that can run it."""

    @property
    def states(self) -> tuple[str, ...]:
        """The short names of the layer's state that this operation reads and writes."""
        ...


class LayerConfig(ABC):
    """What a family must be told to be built; a frozen dataclass whose fields are plain JSON values.

    `build` returns the residual branches that make up one layer of the family: one for most, attention and MLP
    for the Transformer. `index` counts the earlier layers of the same family (a dilation grows with it).
    """

    @abstractmethod
    def build(self, width: int, index: int) -> "tuple[Layer, ...]":
        """Return the branches of layer number `index` of this family, for vectors of `width` numbers."""

    def untrained(self) -> "LayerConfig":
        """Return the config for the same units with random weights: without what only chosen weights can keep."""
        return self


class SequenceModel(nn.Module, ABC):
    """A causal function of a token stream with an explicit memory."""

    vocab_size: int

    @property
    @abstractmethod
    def units(self) -> Mapping[str, int]:
        """Name and size of every group of units: `{"layer1.cell": 256, ...}`."""

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """Return the state of `batch` streams of which nothing was read yet."""

    @abstractmethod
    def forward(
        self, tokens_BT: Int[Tensor, "B T"], state: State | None = None, *, tap: Tap = untouched
    ) -> tuple[Float[Tensor, "B T V"], State]:
        """Read T >= 0 tokens from `state` on (None: nothing read yet).

        Returns the logits of the token after each one, and the state after the last.
        """

    def writer(
        self,
        state: State,  # noqa: ARG002
        logits_BV: Float[Tensor, "B V"],  # noqa: ARG002
        *,
        bfloat16: bool = False,  # noqa: ARG002
    ) -> "Writer | None":
        """Return something that writes on from a state and its logits faster than `forward` called for each symbol.

        It computes what `forward` does, up to rounding: in float32, or with weights in bfloat16. None where there is
        nothing faster.
        """
        return None


@runtime_checkable
class Writer(Protocol):
    """A model that is writing B streams. Not a value: it moves on; the model that made it stays as it was."""

    def write(
        self,
        uniforms_BT: Float[Tensor, "B T"],
        *,
        temperature: float,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Int[Tensor, "B T"]:
        """Draw T symbols for each stream, one by one, and read each; sampling.py says how options and numbers act."""
        ...

    def place(self) -> tuple[State, Float[Tensor, "B V"]]:
        """Return the state after the last symbol, and the logits of the next."""
        ...


def detached(state: State) -> State:
    """Return the state without its history: this is all that truncated backpropagation is."""
    return {name: value.detach() for name, value in state.items()}


def rows(state: State, index_R: Int[Tensor, "R"]) -> State:
    """Return the state of the chosen rows, in that order; rows may repeat (that is how a stream is forked)."""
    return {name: value.index_select(0, index_R) for name, value in state.items()}


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


_UNIT = re.compile(r"(?P<group>[^\[\]]+)\[(?P<index>\d+)\]")


def parse_unit(text: str, units: Mapping[str, int]) -> tuple[str, int]:
    """Read a unit's stable name, `layer1.cell[137]`, as (group, index); a group of one unit needs no index.

    Raises ConfigError when the group does not exist in `units` or the index is out of range.
    """
    if units.get(text.strip()) == 1:
        return text.strip(), 0
    found = _UNIT.fullmatch(text.strip())
    if found is None:
        raise ConfigError(expected="a unit such as layer0.hidden[12]", received=repr(text), remedy="name one unit")
    group, index = found["group"], int(found["index"])
    if group not in units:
        raise ConfigError(expected="a group of units of this model", received=repr(group), remedy=nearest(group, units))
    if index >= units[group]:
        raise ConfigError(
            expected=f"an index below {units[group]}", received=f"{group}[{index}]", remedy="choose a smaller index"
        )
    return group, index


def unit_name(group: str, index: int, units: Mapping[str, int]) -> str:
    """Return a unit's stable name, which `parse_unit` reads: `layer1.cell[137]`; the group's where it has one unit."""
    return group if units[group] == 1 else f"{group}[{index}]"


def no_memory(batch: int, *shape: int, like: Tensor) -> Tensor:
    """Return a zero state tensor of `batch` rows on the device and in the dtype of `like`."""
    return torch.zeros(batch, *shape, device=like.device, dtype=like.dtype)
