"""Write where the time of a training step goes, for every family: `python scripts/step_profile.py`.

Every family runs at the shortest row of its recipe, at the precision that is faster here, with the recipe's optimizer;
the page docs/results/profile.md is written anew. `--print` prints it instead; `--families`, `--steps` do less.
"""

import argparse
import os
import platform
import statistics
import time
from collections import Counter
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from unrolled.benchmarks.arithmetic import operations_per_step
from unrolled.benchmarks.models import VOCAB, Size, begin
from unrolled.benchmarks.training import product_rate
from unrolled.training.loop import update
from unrolled.training.measure import processor
from unrolled.training.recipe import RECIPES

PAGE = Path(__file__).parent.parent / "docs" / "results" / "profile.md"
OPTIMIZER, CLIPPING = "optimizer", "clipping"
WORDS = {
    "time loop, forward": "steps over time that wait for each other; a compiled loop multiplies its inputs, too",
    "time loop, backward": "the same on the way back; compiled, with the gradients of inputs and weights",
    "matrix products": "products for outputs and for gradients of inputs, readout and convolutions included",
    "weight gradients": "products that sum over all characters of the batch",
    "attention": "scores, softmax and the mixing of values",
    "norm": "RMSNorm, both ways",
    "table rows": "looking up and summing rows of the embedding and of the first layer's table",
    "pointwise": "activations, gates, residual additions, sums of biases",
    "copies and casts": "other layouts, bfloat16 and back, concatenations",
    "cross-entropy": "the loss, both ways",
    "clipping": "the gradient's norm",
    "optimizer": "AdamW, and Muon's Newton-Schulz products",
    "allocation and other": "memory, batches, what has no name above",
}
PRODUCTS = ("mm", "addmm", "linear", "convolution_overrideable", "mkldnn_convolution")
OPERATORS = (
    ("attention", ("bmm", "baddbmm", "_softmax", "_scaled_dot_product", "scaled_dot_product", "_flash_attention")),
    ("time loop, backward", ("lstm_backward", "gru_backward", "mkldnn_rnn_layer_backward")),
    ("time loop, forward", ("lstm", "gru", "rnn_tanh", "mkldnn_rnn_layer")),
    ("cross-entropy", ("_log_softmax", "nll_loss", "cross_entropy")),
    (CLIPPING, ("_foreach", "linalg_vector_norm", "norm", "stack")),
    ("norm", ("rms_norm", "_fused_rms_norm")),
    ("table rows", ("embedding", "index")),
    ("copies and casts", ("copy_", "_to_copy", "to", "contiguous", "clone", "cat", "split", "slice_backward")),
    ("pointwise", ("add", "mul", "sub", "rsub", "div", "neg", "sigmoid", "tanh", "gelu", "relu", "clamp", "threshold")),
    ("pointwise", ("sum", "masked_fill", "cos", "sin", "pow", "rsqrt", "mean", "native_dropout", "exp", "log")),
)
"""Words by how the names of torch's operators begin; the first that fits."""
LIMITS = {
    "attention": "attention: small products and a softmax that move more memory than they compute",
    "copies and casts": "memory traffic of copies between layouts and precisions",
    "pointwise": "memory traffic of pointwise work, which reads and writes much and computes little",
    OPTIMIZER: "the optimizer, whose work does not shrink with the batch",
    "norm": "the norms, which are memory traffic",
    "table rows": "looking up and summing rows, which is memory traffic",
    "clipping": "the gradient's norm, which reads every gradient once",
    "cross-entropy": "the loss, which is memory traffic",
    "allocation and other": "overhead of many small operators",
}
"""What each word means where it is the largest of those around the products and the time loop."""


class Named:
    """An optimizer whose steps the profiler sees under one name."""

    def __init__(self, inner) -> None:
        self._inner = inner

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    def step(self, share: float) -> None:
        with record_function(OPTIMIZER):
            self._inner.step(share)


def word_for(event, characters: int) -> str:
    """Return the word under which an event's own time is counted."""
    ancestors, above = [event.name], event.cpu_parent
    while above is not None:
        ancestors.append(above.name)
        above = above.cpu_parent
    if OPTIMIZER in ancestors:
        return OPTIMIZER
    if event.name.startswith("_"):
        return _own_kernel(event.name.lower())
    operator = event.name.removeprefix("aten::")
    if operator in PRODUCTS:
        return "weight gradients" if _sums_over(event.input_shapes, operator, characters) else "matrix products"
    word = next((word for word, starts in OPERATORS if operator.startswith(starts)), "allocation and other")
    of_the_loss = any("NllLoss" in name or "LogSoftmax" in name for name in ancestors)
    return "cross-entropy" if word == "pointwise" and of_the_loss else word


def _own_kernel(name: str) -> str:
    """Return the word for one of unrolled's own differentiable kernels, by what its name says."""
    for word, parts in (
        ("norm", ("norm",)),
        ("table rows", ("rows", "gather", "scatter", "lookup")),
        ("attention", ("attention",)),
        ("cross-entropy", ("entropy", "loss")),
        ("matrix products", ("product", "linear_", "convolution")),
        ("pointwise", ("dropout", "gelu", "gate", "pointwise", "rotary", "turn")),
    ):
        if any(part in name for part in parts):
            return word
    return "time loop, backward" if "backward" in name else "time loop, forward"


def _sums_over(shapes: list[list[int]], operator: str, characters: int) -> bool:
    """Say whether a product's inner axis runs over the characters of the batch: then it is a weight's gradient."""
    left = shapes[1] if operator == "addmm" else shapes[0]
    return len(left) == 2 and left[1] >= characters and left[0] < characters


def shares(size: Size, precision: str, steps: int) -> tuple[Counter, Counter]:
    """Return milliseconds per step by word, and by operator for what the last word holds."""
    training, lanes = begin(size, precision)
    training.optimizer = Named(training.optimizer)
    for _ in range(3):
        update(training, lanes)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        for _ in range(steps):
            update(training, lanes)
    words, rest = Counter(), Counter()
    for event in found.events():
        word = word_for(event, size.characters)
        words[word] += event.self_cpu_time_total / 1e3 / steps
        if word == "allocation and other":
            rest[event.name] += event.self_cpu_time_total / 1e3 / steps
    return words, rest


def unprofiled(size: Size, precision: str, steps: int) -> tuple[float, float]:
    """Return the median seconds of a step, and processor seconds over wall seconds times threads."""
    training, lanes = begin(size, precision)
    for _ in range(3):
        update(training, lanes)
    seconds, start, busy = [], time.perf_counter(), time.process_time()
    for _ in range(steps):
        before = time.perf_counter()
        update(training, lanes)
        seconds.append(time.perf_counter() - before)
    wall, busy = time.perf_counter() - start, time.process_time() - busy
    return statistics.median(seconds), busy / (wall * torch.get_num_threads())


def limit(words: Counter, busy: float, reached: float) -> str:
    """Return one sentence: what limits a step."""
    total = sum(words.values())
    loop = (words["time loop, forward"] + words["time loop, backward"]) / total
    products = (words["matrix products"] + words["weight gradients"]) / total
    around = [(word, spent / total) for word, spent in words.most_common() if word in LIMITS]
    listed = ", ".join(f"{word} {share:.0%}" for word, share in around[:3])
    if loop >= products and loop >= 1 / 3:
        what = "whose steps wait for each other, and which multiplies its inputs, too"
        cause = f"the time loop ({loop:.0%} of the step), {what}; then {listed}"
    elif products >= 1 / 2:
        cause = f"the matrix products themselves ({products:.0%} of the step); around them {listed}"
    else:
        cause = f"what surrounds the products ({products:.0%}): {listed}. First comes {LIMITS[around[0][0]]}"
    idle = "" if busy > 0.9 else f"; {1 - busy:.0%} of the cores' time is idle"
    return f"Limited by {cause}; {reached:.0%} of the bfloat16 product rate is reached{idle}."


def section(family: str, steps: int, rate: float) -> str:
    """Return a family's part of the page."""
    recipe = RECIPES[family][0]
    size = Size(recipe.layers, recipe.width, recipe.lanes, recipe.unroll, "muon")
    timed = {precision: unprofiled(size, precision, steps) for precision in ("float32", "bfloat16")}
    precision = min(timed, key=lambda name: timed[name][0])
    seconds, busy = timed[precision]
    words, rest = shares(size, precision, steps)
    work = operations_per_step(size.config, VOCAB, size.lanes, size.unroll) / 1e9
    total = sum(words.values())
    lines = [
        f"## {family}",
        "",
        f"`{recipe.layers}`, width {size.width}, {size.lanes} lanes of {size.unroll}, {precision}, Muon: "
        f"{seconds * 1e3:.1f} ms a step ({size.characters / seconds:,.0f} characters/s), cores {busy:.0%} busy, "
        f"{work:.2f} GFLOP of products a step, {work / seconds:,.0f} GFLOP/s.",
        "",
        limit(words, busy, work / seconds / rate),
        "",
        "| | ms | share |",
        "|---|---|---|",
    ]
    lines += [f"| {word} | {words[word]:.2f} | {words[word] / total:.0%} |" for word in WORDS if words[word] > 0]
    largest = ", ".join(f"{name} {spent:.2f}" for name, spent in rest.most_common(3))
    lines += [f"| all, under the profiler | {total:.2f} | |", "", f"Largest without a name: {largest} ms.", ""]
    return "\n".join(lines)


def page(families: list[str], steps: int) -> str:
    """Return the whole page."""
    rate = product_rate()
    head = [
        "# Where the time of a training step goes",
        "",
        "```sh",
        "python scripts/step_profile.py",
        "```",
        "",
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads of {processor()}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}. One large bfloat16 product reaches "
        f"{rate:,.0f} GFLOP/s here. Every family runs the shortest row of its recipe; "
        "the table under each splits a step's time on the main "
        "thread as torch's profiler sees it, so that the sum is a little above the undisturbed step in the line above "
        "it. Cores count as busy while a thread waits in a spin loop, too.",
        "",
        "Products are counted as they are executed (src/unrolled/benchmarks/arithmetic.py), without Muon's.",
        "",
        "| | what is counted under it |",
        "|---|---|",
        *(f"| {word} | {meaning} |" for word, meaning in WORDS.items()),
        "",
    ]
    return "\n".join([*head, *(section(family, steps, rate) for family in families)]).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=sorted(RECIPES), default=list(RECIPES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--print", action="store_true")
    given = parser.parse_args()
    written = page(given.families, given.steps)
    if given.print:
        print(written)
    else:
        PAGE.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
