"""The comparisons of training steps (recurrent layers, products, nanoGPT's CPU recipe), of scoring and of watching.

Knows nothing about how they are measured.

Shapes: B lanes, T steps, V vocabulary, D width, L layers.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unrolled.benchmarks.arithmetic import operations_per_step
from unrolled.benchmarks.comparing import Row, Way
from unrolled.benchmarks.models import VOCAB, Size, random_ids, reading_ways, scoring_ways, training_ways
from unrolled.benchmarks.twins import NanoGPT, PlainRecurrent, nano_gpt_step, recurrent_step
from unrolled.text.lanes import Lanes
from unrolled.training.measure import default_device
from unrolled.training.recipe import RECIPES

Apart = Callable[[str], list[Way]] | None
Recurrent = type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]
RECURRENT: tuple[tuple[str, Recurrent], ...] = (("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM))
SHAPES = ((2, 256, 32, 64), (2, 512, 64, 100))
"""(layers, width, lanes, steps) of the recurrent rows."""
NANO = Size("transformer(heads=4,window=64)*4", 128, 12, 64)
"""nanoGPT's CPU recipe: 4 layers of 4 heads, width 128, 12 windows of 64."""
SCORED = 200_000
"""Characters that a scoring turn reads."""
PRODUCT_SIZES = (1024, 2048, 4096)
PRODUCT_TURNS = 5
CHARACTERS = "characters/s"
STEP = "training, lanes x steps"
NANO_STEP = "training, beside nanoGPT"
SCORING = "scoring"
WATCHING = "watching every unit"
WATCHED = ("rnn", "gru", "lstm", "mingru", "tcn", "wavenet", "transformer", "stackrnn", "tapernn", "window", "circuit")


def training_rows() -> list[Row]:
    """Return the comparisons of training steps."""
    rows = [_recurrent_row(name, kind, *shape) for name, kind in RECURRENT for shape in SHAPES]
    rows.append(product_row(Size("lstm*2", 512, 64, 100), "lstm 2 x 512"))
    for family in ("transformer", "tcn", "wavenet", "mingru"):
        rows.extend(_nano_rows(family))
    return rows


def references(name: str) -> list[Way]:
    """Return the reference's ways of the training row of that name: what its own process starts from."""
    return next(row for row in training_rows() if row.name == name).theirs()


def scoring_rows() -> list[Row]:
    """Return the comparisons of scoring with training the same model."""
    return [
        scoring_row(Size("lstm*2", 256, 32, 64), "lstm 2 x 256", SCORED),
        scoring_row(NANO, "transformer 4 x 128", SCORED),
    ]


def watching_rows() -> list[Row]:
    """Return the comparisons of reading with every unit watched and with none."""
    return [watching_row(Size(f"{name}*2", 512, 64, 100), f"{name} 2 x 512, 64 x 100") for name in WATCHED]


def _recurrent_row(name: str, kind: Recurrent, depth: int, width: int, lanes: int, unroll: int) -> Row:
    size = Size(f"{name}*{depth}", width, lanes, unroll)
    return recurrent_row(kind, size, f"{name} {depth} x {width}, {lanes} x {unroll}", depth, references)


def recurrent_row(kind: Recurrent, size: Size, name: str, depth: int, apart: Apart = None) -> Row:
    """Compare a training step with the quicker one of torch's own layer: in float32, or under bfloat16 autocast.

    A model whose weights are bfloat16 is at times quicker still, but small updates vanish in them: nobody trains so.
    """

    def theirs() -> list[Way]:
        batch = batches(size)
        ways = []
        for way, cast in (("float32", False), ("autocast", True)):
            torch.manual_seed(0)
            model = PlainRecurrent(kind, VOCAB, size.width, depth).to(default_device())
            step = recurrent_step(model, batch, autocast=cast)
            ways.append(_way(way, size.characters, step))
        return ways

    return Row(STEP, f"training {name}", CHARACTERS, f"nn.{kind.__name__}", lambda: training_ways(size), theirs, apart)


def product_row(size: Size, name: str, sizes: tuple[int, ...] = PRODUCT_SIZES) -> Row:
    """Compare the useful products of a training step with the rate of one large product in bfloat16."""
    work = operations_per_step(size.config, VOCAB, size.lanes, size.unroll) / 1e9

    return Row(
        STEP,
        f"training {name}, useful products",
        "GFLOP/s",
        "torch.mm",
        lambda: training_ways(size, work),
        lambda: [_product(edge) for edge in sizes],
    )


def product_rate() -> float:
    """Return the GFLOP/s of a large product in bfloat16 on this machine: the quickest of a few."""
    ways = [_product(edge) for edge in PRODUCT_SIZES]
    return max(way.rate() for way in ways for _ in range(PRODUCT_TURNS))


def _product(edge: int) -> Way:
    left, right = (torch.randn(edge, edge, device=default_device(), dtype=torch.bfloat16) for _ in range(2))

    def multiply() -> float:
        # Reading one number waits for the product on a GPU, too.
        return torch.mm(left, right)[0, 0].item()

    return _way(f"bfloat16, {edge} x {edge}", 2 * edge**3 / 1e9, multiply)


def _nano_rows(family: str) -> list[Row]:
    """Compare a family of nanoGPT's depth and width at its lanes, and at the recipe's lanes with its optimizer."""
    recipe, depth = RECIPES[family][0], len(NANO.config.layers)
    layers = NANO.layers if NANO.layers.startswith(family) else f"{family}*{depth}"
    same = Size(layers, NANO.width, NANO.lanes, NANO.unroll)
    own = Size(layers, NANO.width, recipe.lanes, recipe.unroll, "muon")
    name = f"{family} {depth} x {NANO.width}"
    return [
        nano_row(same, f"{name}, {same.lanes} x {same.unroll}", NANO, references),
        nano_row(own, f"{name}, {own.lanes} x {own.unroll}, Muon", NANO, references),
    ]


def nano_row(size: Size, name: str, nano: Size, apart: Apart = None) -> Row:
    """Compare a training step with nanoGPT's CPU recipe, in float32 and at its own lanes."""

    def theirs() -> list[Way]:
        torch.manual_seed(0)
        depth = len(nano.config.layers)
        model = NanoGPT(VOCAB, nano.width, depth, block=nano.unroll).to(default_device())
        ids = torch.from_numpy(random_ids(100_000)).to(default_device())
        return [_way("", nano.characters, nano_gpt_step(model, ids, nano.lanes))]

    name, reference = f"training {name}", f"nanoGPT {nano.lanes} x {nano.unroll}"
    return Row(NANO_STEP, name, CHARACTERS, reference, lambda: training_ways(size), theirs, apart)


def scoring_row(size: Size, name: str, characters: int) -> Row:
    """Compare scoring (carried) with training the same model."""
    name = f"scoring {name}"
    return Row(
        SCORING,
        name,
        CHARACTERS,
        f"its training, {size.lanes} x {size.unroll}",
        lambda: scoring_ways(size, characters),
        lambda: training_ways(size),
    )


def watching_row(size: Size, name: str) -> Row:
    """Compare a forward pass that shows every unit of every layer with one that shows none."""
    return Row(
        WATCHING,
        f"watching every unit, {name}",
        CHARACTERS,
        "the same, unwatched",
        lambda: reading_ways(size, watched=True),
        lambda: reading_ways(size, watched=False),
    )


def batches(size: Size) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return a function that gives the next inputs and targets (B, T) of lanes over random characters."""
    lanes, position = Lanes(random_ids(4 * size.characters + 1), size.lanes, size.unroll), 0

    def batch() -> tuple[Tensor, Tensor]:
        nonlocal position
        inputs, targets = (torch.from_numpy(ids).to(default_device()) for ids in lanes.batch(position))
        position = lanes.next(position)
        return inputs, targets

    return batch


def _way(name: str, amount: float, step: Callable[[], object]) -> Way:
    """Return a way that does `amount` of work in each step."""

    def turn(_: None) -> float:
        step()
        return amount

    return Way(name, turn)
