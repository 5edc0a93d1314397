"""How gradients become updates: AdamW for vectors and tables, and AdamW or Muon for the matrices of the layers.

Knows nothing about losses, schedules or files: it is given a rate at each step, and its state is tensors by name.

AdamW: Loshchilov and Hutter 2019, arXiv 1711.05101. Muon: Jordan et al. 2024, "Muon: an optimizer for hidden layers";
the momentum of a matrix is replaced by (nearly) the closest orthogonal matrix, by a Newton-Schulz iteration, so that
every direction learns at the same speed. Stacked matrices (the gates of a recurrent layer, the two halves of a gated
convolution) are taken apart into square blocks first: each is a matrix of its own.

Averages: Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging"; here exponential ones.

Shapes: M blocks, R rows, C columns.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from unrolled.training.config import TrainingConfig

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter, under torch's names."""
EPSILON = 1e-8
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3
"""Of the Newton-Schulz iteration: five cost 60 % more time and gain 0.001 nats at equal steps (docs/LOG.md)."""


class Optimizer:
    """Updates a model's weights from their gradients.

    Matrices are the parameters of two or more axes that are neither the embedding nor the readout. `rate` is AdamW's;
    Muon's is `config.matrix_rate`, and both follow the same schedule.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [(name, p) for name, p in named if p.dim() > 1 and not name.startswith(("embedding.", "readout."))]
        with_muon = matrices if config.optimizer == "muon" else []
        taken = {name for name, _ in with_muon}
        with_adamw = [(name, p) for name, p in named if name not in taken]
        decayed = {name: p for name, p in with_adamw if p.dim() > 1 and not name.startswith("embedding.")}
        others = {name: p for name, p in with_adamw if name not in decayed}
        self._config = config
        self._parameters = [p for _, p in named]
        self._groups = ((decayed, config.weight_decay), (others, 0.0))
        self._moments: dict[str, dict[str, Tensor]] = {}
        self._matrices = with_muon
        self._momentum = {name: torch.zeros_like(p) for name, p in with_muon}
        self._weights: dict[str, Tensor] = dict(named) if config.average else {}
        self._aside = {name: p.detach().clone() for name, p in self._weights.items()}
        self._averaged = torch.zeros(())

    def forget_gradients(self) -> None:
        """Begin a new update: no weight has a gradient."""
        for parameter in self._parameters:
            parameter.grad = None

    def clip(self, limit: float) -> float:
        """Do `clip_gradients` with all weights."""
        return clip_gradients(self._parameters, limit)

    def step(self, share: float) -> None:
        """Update every weight; `share` is the part of the peak rates that the schedule allows now."""
        for parameters, decay in self._groups:
            self._adamw_step(parameters, self._config.rate * share, decay)
        if self._matrices:
            self._muon_step(self._config.matrix_rate * share)
        if self._weights:
            self._averaged += 1
            share_of_new = max(1 / self._config.average, 1 / self._averaged.item())
            with torch.no_grad():
                torch._foreach_lerp_(list(self._aside.values()), list(self._weights.values()), share_of_new)

    @contextmanager
    def averages(self) -> Iterator[None]:
        """Put the averaged weights into the model for as long as this lasts; without averages change nothing."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._weights.items():
            aside = self._aside[name]
            kept = weight.clone()
            weight.copy_(aside)
            aside.copy_(kept)

    def tensors(self) -> dict[str, Tensor]:
        """Return, by name, everything that decides later updates; with averages, within `averages()` only.

        The model's weights are then the averages, and the weights themselves are among these tensors.
        """
        found = {f"momentum.{name}": value for name, value in self._momentum.items()}
        if self._weights:
            found |= {f"aside.{name}": value for name, value in self._aside.items()} | {"averaged": self._averaged}
        return found | {f"{kind}.{name}": value for name, kept in self._moments.items() for kind, value in kept.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` returned; the model's weights are those that were saved beside them."""
        self._momentum = {name: tensors[f"momentum.{name}"].to(value.device) for name, value in self._momentum.items()}
        for parameters, _ in self._groups:
            for name, parameter in parameters.items():
                if f"step.{name}" in tensors:
                    self._moments[name] = {kind: tensors[f"{kind}.{name}"].to(parameter.device) for kind in MOMENTS}
        if self._weights:
            self._averaged.copy_(tensors["averaged"])
            for name, value in self._aside.items():
                value.copy_(tensors[f"aside.{name}"])
            self._exchange()

    @torch.no_grad()
    def _adamw_step(self, parameters: Mapping[str, Tensor], rate: float, decay: float) -> None:
        """Update what has a gradient by the kernel of torch.optim.AdamW, whose bookkeeping costs as much again."""
        updated = {name: p for name, p in parameters.items() if p.grad is not None}
        for name, parameter in updated.items():
            if name not in self._moments:
                zeros = (torch.zeros((), device=parameter.device), *(torch.zeros_like(parameter) for _ in range(2)))
                self._moments[name] = dict(zip(MOMENTS, zeros, strict=True))
        if not updated:
            return
        steps, first, second = ([self._moments[name][kind] for name in updated] for kind in MOMENTS)
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            list(updated.values()), [cast(Tensor, p.grad) for p in updated.values()], first, second, [], steps,
            lr=rate, beta1=0.9, beta2=self._config.beta2, weight_decay=decay, eps=EPSILON, amsgrad=False,
            maximize=False, grad_scale=None, found_inf=None,
        )  # fmt: skip

    @torch.no_grad()
    def _muon_step(self, rate: float) -> None:
        groups: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for name, parameter in self._matrices:
            assert parameter.grad is not None
            momentum = self._momentum[name].lerp_(parameter.grad, 1 - MOMENTUM)
            ahead = parameter.grad.lerp(momentum, MOMENTUM)
            for weight, update in zip(square_blocks(parameter.data), square_blocks(ahead), strict=True):
                groups.setdefault((update.shape[0], update.shape[1]), []).append((weight, update))
        dtype = torch.bfloat16 if self._config.precision == "bfloat16" else torch.float32
        for (rows, columns), pairs in groups.items():
            turned = orthogonalised(torch.stack([update for _, update in pairs]).to(dtype))
            step = rate * max(1.0, rows / columns) ** 0.5
            for (weight, _), update in zip(pairs, turned, strict=True):
                weight.mul_(1 - rate * self._config.weight_decay).add_(update, alpha=-step)


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], limit: float) -> float:
    """Return the norm of all gradients together, and shorten them to `limit` where it is larger.

    The arithmetic is `torch.nn.utils.clip_grad_norm_`'s, but gradients that are short enough are not multiplied by 1.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).item()
    share = limit / (norm + 1e-6)
    if share < 1:
        torch._foreach_mul_(gradients, share)
    return norm


def square_blocks(matrix: Tensor) -> tuple[Tensor, ...]:
    """Return views of the square blocks that a stacked matrix consists of, or the one matrix if it is no stack.

    Axes behind the second (a convolution's) are folded into the columns.
    """
    flat = matrix.flatten(1)
    rows, columns = flat.shape
    if rows % columns == 0:
        return flat.chunk(rows // columns, dim=0)
    return flat.chunk(columns // rows, dim=1) if columns % rows == 0 else (flat,)


def orthogonalised(blocks_MRC: Tensor) -> Tensor:
    """Return each block, directions kept, with singular values brought near 1 (0.7 to 1.2; tiny ones grow 40-fold)."""
    a, b, c = NEWTON_SCHULZ
    tall = blocks_MRC.shape[1] > blocks_MRC.shape[2]
    x = blocks_MRC.transpose(1, 2) if tall else blocks_MRC
    x = x / x.float().flatten(1).norm(dim=1).clamp(min=1e-7).to(x.dtype)[:, None, None]
    for _ in range(ITERATIONS):
        square = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
