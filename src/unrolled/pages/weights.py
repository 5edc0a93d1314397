"""Write a model's weights as a page carries them: safetensors in float16, which engine.js reads.

Knows nothing about families: it sees tensors by name.
"""

from collections.abc import Mapping

import torch
from safetensors.torch import save
from torch import Tensor


def float16_weights(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the tensors in safetensors format, rounded to float16, at half the size.

    A tensor with a number that float16 cannot hold (above 65,504) stays float32, as the engine reads both.
    """
    return save({name: _rounded(tensor.detach().cpu()) for name, tensor in tensors.items()})


def _rounded(tensor: Tensor) -> Tensor:
    # Cloned, because safetensors refuses tensors that share memory (tied weights).
    half = tensor.to(torch.float16, memory_format=torch.contiguous_format, copy=True)
    return half if bool(half.isfinite().all()) else tensor.to(torch.float32).contiguous().clone()
