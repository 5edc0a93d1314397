"""One step of a soft stack: every cell moved down, up or left alone in proportion, with a gradient of its own.

Knows nothing about layers, or about who decides what is pushed and popped.

    stack'[0] = push * value        + pop * stack[1]     + keep * stack[0]
    stack'[d] = push * stack[d - 1] + pop * stack[d + 1] + keep * stack[d]

What would stand below the last cell falls out, and zeros come up from there. Source: Joulin and Mikolov 2015,
arXiv 1503.01007, equations 3 and 4; "keep" is their no-operation.

Shapes: B batch, S stacks, P depth of a stack, C numbers in a cell.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function


def shift_stack(
    stack_BSPC: Float[Tensor, "B S P C"], value_BSC: Float[Tensor, "B S C"], action_BS3: Float[Tensor, "B S 3"]
) -> Float[Tensor, "B S P C"]:
    """Return the stacks after one step; `action_BS3` holds how much is pushed, popped and kept."""
    return _ShiftStack.apply(stack_BSPC, value_BSC, action_BS3)


class _ShiftStack(Function):
    """Autograd's own backward keeps three products per step and adds as many gradients; this one keeps the stack."""

    @staticmethod
    def forward(ctx, stack_BSPC: Tensor, value_BSC: Tensor, action_BS3: Tensor) -> Tensor:
        ctx.save_for_backward(stack_BSPC, value_BSC, action_BS3)
        push, pop, keep = action_BS3[..., None].unbind(2)
        after = stack_BSPC * keep[..., None]
        after[:, :, 0].addcmul_(value_BSC, push)
        after[:, :, 1:].addcmul_(stack_BSPC[:, :, :-1], push[..., None])
        after[:, :, :-1].addcmul_(stack_BSPC[:, :, 1:], pop[..., None])
        return after

    @staticmethod
    def backward(ctx, grad_BSPC: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        stack_BSPC, value_BSC, action_BS3 = ctx.saved_tensors
        push, pop, keep = action_BS3[..., None].unbind(2)
        upper, lower = stack_BSPC[:, :, :-1], stack_BSPC[:, :, 1:]
        top = grad_BSPC[:, :, 0]
        before = grad_BSPC * keep[..., None]
        before[:, :, :-1].addcmul_(grad_BSPC[:, :, 1:], push[..., None])
        before[:, :, 1:].addcmul_(grad_BSPC[:, :, :-1], pop[..., None])
        pushed = _dot(grad_BSPC[:, :, 1:], upper) + (top * value_BSC).sum(-1)
        actions = (pushed, _dot(grad_BSPC[:, :, :-1], lower), _dot(grad_BSPC, stack_BSPC))
        return before, top * push, torch.stack(actions, dim=-1)


def _dot(one_BSPC: Tensor, other_BSPC: Tensor) -> Tensor:
    return torch.linalg.vecdot(one_BSPC.flatten(2), other_BSPC.flatten(2))
