"""What the convolutional layers share: their weights, their dilations and the limits of both.

Knows nothing about what a family makes of a convolution's output.
"""

import torch
from torch import nn

from unrolled.errors import ConfigError


def refuse_bad_reach(kernel: int, cycle: int) -> None:
    """A kernel of 1 sees no past; a cycle of 14 ends at a dilation of 8192."""
    if not (2 <= kernel <= 64 and 1 <= cycle <= 14):
        raise ConfigError(
            expected="a kernel of 2 to 64 and a cycle of 1 to 14",
            received=f"kernel {kernel}, cycle {cycle}",
            remedy="change them",
        )


def dilation_of(index: int, cycle: int) -> int:
    """Return the dilation of layer number `index` of its family: it doubles, and starts again after a cycle."""
    return 2 ** (index % cycle)


def convolution_weight(outputs: int, kernel: int, inputs: int) -> nn.Parameter:
    """Return a fresh weight (outputs, kernel, inputs), uniform as torch.nn.Conv1d's."""
    bound = (inputs * kernel) ** -0.5
    return nn.Parameter(torch.empty(outputs, kernel, inputs).uniform_(-bound, bound))
