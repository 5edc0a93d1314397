"""What unrolled is compared with: models and steps that a user would write in plain PyTorch.

Knows nothing about unrolled's models. A twin is written as well as its framework allows, but in the framework's own
terms: torch's layers, autocast, `AdamW`.

Shapes: B batch, T time, V vocabulary, D width, H heads, K head width.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Carried = Tensor | tuple[Tensor, Tensor]
"""What a recurrent layer of torch remembers: h, or (h, c) for nn.LSTM."""


class PlainRecurrent(nn.Module):
    """`nn.RNN`, `nn.GRU` or `nn.LSTM` as a character model, time first: never slower than batch first in oneDNN."""

    def __init__(self, kind: type[nn.RNN] | type[nn.GRU] | type[nn.LSTM], vocab: int, width: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.layers = kind(width, width, depth)
        self.readout = nn.Linear(width, vocab)

    def forward(self, tokens_TB: Tensor, carried: Carried | None = None) -> tuple[Tensor, Carried]:
        """Return the logits (T, B, V) and what is carried on."""
        hidden_TBD, carried = self.layers(self.embedding(tokens_TB), carried)
        return self.readout(hidden_TBD), carried


def recurrent_step(
    model: PlainRecurrent, batch: Callable[[], tuple[Tensor, Tensor]], *, autocast: bool, rate: float = 1e-3
) -> Callable[[], float]:
    """Return a training step as char-rnn's: state carried from batch to batch, gradients clipped, fused AdamW.

    `batch` returns inputs and targets, (B, T) each; a step returns its loss in nats per character. A model that was
    turned into bfloat16 trains in it.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    carried: Carried | None = None

    def step() -> float:
        nonlocal carried
        inputs_TB, targets_TB = (tokens.t().contiguous() for tokens in batch())
        with torch.autocast(inputs_TB.device.type, torch.bfloat16, enabled=autocast):
            logits_TBV, after = model(inputs_TB, carried)
            loss = F.cross_entropy(logits_TBV.flatten(0, 1).float(), targets_TB.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        carried = tuple(part.detach() for part in after) if isinstance(after, tuple) else after.detach()
        return loss.item()

    return step


@torch.inference_mode()
def sample_recurrent(model: PlainRecurrent, first_B: Tensor, length: int) -> Tensor:
    """Return `length` characters (B, length) of each stream, drawn one after another as char-rnn does."""
    token_1B, carried, written = first_B[None], None, []
    for _ in range(length):
        logits_1BV, carried = model(token_1B, carried)
        token_1B = torch.multinomial(logits_1BV[0].softmax(-1), 1).t()
        written.append(token_1B[0])
    return torch.stack(written, dim=1)


class NanoBlock(nn.Module):
    """Attention and a two-layer network, each behind a LayerNorm without bias and a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_output = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the stream after this block."""
        batch, time, width = x_BTD.shape
        parts = self.query_key_value(self.attention_norm(x_BTD)).split(width, dim=2)
        query, key, value = (part.view(batch, time, self.heads, -1).transpose(1, 2) for part in parts)
        mixed_BHTK = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x_BTD = x_BTD + self.attention_output(mixed_BHTK.transpose(1, 2).contiguous().view(batch, time, width))
        return x_BTD + self.down(F.gelu(self.up(self.mlp_norm(x_BTD))))


class NanoGPT(nn.Module):
    """nanoGPT's model (Karpathy 2022) without dropout: learned positions, and an embedding that is the readout, too."""

    def __init__(self, vocab: int, width: int = 128, depth: int = 4, heads: int = 4, block: int = 64) -> None:
        super().__init__()
        self.block = block
        self.embedding = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(block, width)
        self.blocks = nn.ModuleList(NanoBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.readout = nn.Linear(width, vocab, bias=False)
        self.readout.weight = self.embedding.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                ends_branch = name.endswith(("attention_output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * depth) if ends_branch else 0.02)

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """Return what the readout reads, (B, T, D)."""
        x_BTD = self.embedding(tokens_BT) + self.positions(torch.arange(tokens_BT.shape[1], device=tokens_BT.device))
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits (B, T, V)."""
        return self.readout(self.hidden(tokens_BT))


def nano_gpt_step(model: NanoGPT, ids: Tensor, lanes: int, rate: float = 1e-3) -> Callable[[], float]:
    """Return a training step of nanoGPT's CPU recipe in float32: random windows of `ids`, AdamW (0.9, 0.99), clip 1.

    Weight decay is 0.1 on matrices and on the embedding. A step returns its loss in nats per character.
    """
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))

    def step() -> float:
        starts = torch.randint(len(ids) - model.block, (lanes,)).tolist()
        inputs_BT = torch.stack([ids[start : start + model.block] for start in starts])
        targets_BT = torch.stack([ids[start + 1 : start + 1 + model.block] for start in starts])
        loss = F.cross_entropy(model(inputs_BT).flatten(0, 1), targets_BT.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


@torch.inference_mode()
def sample_nano_gpt(model: NanoGPT, context_1T: Tensor, length: int) -> Tensor:
    """Return `length` characters (1, length) as nanoGPT writes them: the last `block` are read anew for each."""
    tokens_1T = context_1T
    for _ in range(length):
        logits_1V = model.readout(model.hidden(tokens_1T[:, -model.block :])[:, -1])
        tokens_1T = torch.cat([tokens_1T, torch.multinomial(logits_1V.softmax(-1), 1)], dim=1)
    return tokens_1T[:, context_1T.shape[1] :]


def tokenise(text: str) -> list[int]:
    """Return the ids of a text as char-rnn and nanoGPT make them: one look-up per character."""
    ids = {character: number for number, character in enumerate(sorted(set(text)))}
    return [ids[character] for character in text]
