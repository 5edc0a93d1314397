"""How many multiply-adds a training step's matrix products take, as they are executed.

Knows nothing about time or machines.

Forwards, every character of a batch is multiplied with every weight of every matrix once (a convolution's kernel is a
matrix, too), with two exceptions. Looking up the embedding multiplies nothing. And where the first layer reads rows of
a table (`Layer.reads_rows`), its input matrix is multiplied with the V rows and not with the B * T characters. Every
key and value that attention remembers is multiplied once per character, as is the character's own. Backwards, each
product becomes two of the same size: one for the gradient of its input, one for the gradient of its weight. A
multiply-add is two floating-point operations, so a step of m multiply-adds forwards takes 6 m.

For a recurrent family with G gates, L layers and N = D units:

    m = V G N D + (L - 1) B T G N D + L B T G N N + B T V D

Norms, gates, softmax, clipping and the optimizer are not products and not counted.

Shapes: B lanes, T steps, V vocabulary, D width, N units, G gates, L layers.
"""

import torch

from unrolled.models import ModelConfig
from unrolled.models.stack import ROWS_PAY


def multiply_adds(config: ModelConfig, vocab: int, lanes: int, unroll: int) -> int:
    """Return m: the multiply-adds of one forward pass over `lanes` x `unroll` characters."""
    with torch.device("meta"):
        model = config.build(vocab)
        remembered = model.initial_state(1)
    characters = lanes * unroll
    rows = characters
    if model.branches[0].reads_rows and characters >= ROWS_PAY * vocab:
        rows = vocab
    total = 0
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and name != "embedding.weight":
            total += parameter.numel() * (rows if name == "branches.0.weight_ih" else characters)
    for name, value in remembered.items():
        if name.endswith((".keys", ".values")):
            heads, window, width = value.shape[1], value.shape[2] + 1, value.shape[3]
            total += heads * window * width * characters
    return total


def operations_per_step(config: ModelConfig, vocab: int, lanes: int, unroll: int) -> int:
    """Return the floating-point operations of one training step's products: 6 m."""
    return 6 * multiply_adds(config, vocab, lanes, unroll)
