"""The stack RNN: a recurrent controller that pushes to and pops from differentiable stacks.

    r_t = the topmost cell of every stack                                       top
    h_t = the controller's, from x_t, h_(t-1) and r_t                           hidden (models/controller.py)
    a_t = softmax(A h_t + a), for each stack: push, pop, keep                   action
    v_t = tanh(V h_t + v), for each stack: the cell that is pushed              pushed
    stack_t[0] = a_push v_t                + a_pop stack_(t-1)[1]     + a_keep stack_(t-1)[0]
    stack_t[d] = a_push stack_(t-1)[d - 1] + a_pop stack_(t-1)[d + 1] + a_keep stack_(t-1)[d]

Units, in this order: `top` (r), the controller's (`hidden`; gated also `input_gate`, `forget_gate`, `candidate`,
`output_gate`, `cell`), `action` (push, pop, keep of each stack) and `pushed` (v). State: h (gated: and c) and the
stack, (B, stacks, depth, cell). An empty stack is all zeros. A stack of depth P holds P cells: the lowest one falls out
when one more is pushed, and popping an empty one gives zeros. No weight depends on the depth, so that a model may be
used with deeper stacks than it was trained with: give its config another `depth`, or its state a longer third axis. An
edit of actions is held to shares of at most 1 in all, so that no edit makes a stack grow.

Source: Joulin and Mikolov 2015, arXiv 1503.01007 (one hidden layer, actions by softmax); cells of several numbers
beside the hidden units: Deletang et al. 2023, arXiv 2207.02098, appendix A. What is pushed goes through tanh, where the
first have a sigmoid: so an empty stack, zeros, lies amid everything that may be pushed.

Knows nothing about other families. Shapes: B batch, D width, N = D units, S stacks, P depth, C numbers in a cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from unrolled.errors import ConfigError
from unrolled.kernels.shifting import shift_stack
from unrolled.models.controller import Memory, MemoryLayer, Showing
from unrolled.models.sequence_model import Layer, LayerConfig, State, no_memory


@dataclass(frozen=True, kw_only=True)
class StackRNNConfig(LayerConfig):
    """`stacks` stacks of `depth` cells of `cell` numbers; a `gated` controller is an LSTM, any other an Elman network.

    `depth` shapes no weight: a trained model may be built again with another one.
    """

    depth: int = 64
    cell: int = 8
    stacks: int = 1
    gated: bool = False

    def __post_init__(self) -> None:
        for name, most in (("depth", 65536), ("cell", 1024), ("stacks", 64)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(
                    expected=f"a {name} of 1 to {most}", received=str(getattr(self, name)), remedy="change it"
                )

    def build(self, width: int, index: int) -> tuple[Layer, ...]:  # noqa: ARG002
        """Return the one branch of the layer."""
        return (StackRNN(width, self),)


class StackRNN(MemoryLayer):
    """One stack RNN layer."""

    reading = "top"

    def __init__(self, width: int, config: StackRNNConfig) -> None:
        reads = config.stacks * config.cell
        super().__init__(width, gated=config.gated, reads=reads, emits=3 * config.stacks + reads)
        self.depth, self.cell, self.stacks = config.depth, config.cell, config.stacks

    @property
    def memory_units(self) -> Mapping[str, int]:
        """What is done to each stack, and what is pushed."""
        return {"action": 3 * self.stacks, "pushed": self.stacks * self.cell}

    def initial_memory(self, batch: int) -> State:
        """Return empty stacks."""
        return {"stack": no_memory(batch, self.stacks, self.depth, self.cell, like=self.weight_hh)}

    def opened(self, state: State) -> Memory:
        """Return the stacks."""
        return (state["stack"],)

    def closed(self, memory: Memory) -> State:
        """Return the stacks under their name."""
        return {"stack": memory[0]}

    def recall(self, memory: Memory) -> Tensor:
        """Return the topmost cells."""
        return memory[0][:, :, 0].flatten(1)

    def act(self, emitted_BE: Tensor, memory: Memory, show: Showing) -> Memory:
        """Push, pop and keep in proportion."""
        action_BA, pushed_BV = emitted_BE.split((3 * self.stacks, self.stacks * self.cell), dim=1)
        action_BS3 = show.shares("action", action_BA.unflatten(1, (self.stacks, 3)).softmax(-1))
        pushed_BSC = show("pushed", pushed_BV.tanh()).unflatten(1, (self.stacks, self.cell))
        return (shift_stack(memory[0], pushed_BSC, action_BS3),)
