"""Measure what the recipes reach, and fit what a plan may be expected to reach.

    python scripts/recipes.py measure manual book.txt --minutes 0.5 1 3 --families lstm gru
    python scripts/recipes.py sweep manual book.txt --minutes 0.5 3 --families lstm --knobs width dropout
    python scripts/recipes.py fit
    python scripts/recipes.py table

`measure` trains by the recipes and `sweep` with one knob turned at a time, both through the public API; each appends
one row per run to docs/results/recipes.json, and goes on where it was interrupted. Only validation parts are looked at.
`table` prints what the sweeps found. `fit` prints the coefficients of training/expectation.py and how far the fit is
from each run.
"""

import argparse
import itertools
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np

import unrolled
from unrolled.training.expectation import ngram_bits

RECORDED = (
    "steps", "lanes", "unroll", "forget_every", "optimizer", "rate", "matrix_rate", "warm_up", "hold", "weight_decay",
    "precision",
)  # fmt: skip
RESULTS = Path(__file__).parent.parent / "docs" / "results" / "recipes.json"


KNOBS: dict[str, tuple[object, ...]] = {
    "width": (0.7, 0.85, 1.2, 1.4),
    "depth": (-1, 1),
    "lanes": (0.5, 2),
    "unroll": (0.67, 1.5, 2),
    "rate": (0.5, 2),
    "matrix_rate": (0.67, 1.5),
    "dropout": (0.0, 0.1, 0.2, 0.3, 0.4),
    "weight_decay": (0.0, 0.1),
    "hold": (0.2, 0.4),
    "forget_every": (0, 300),
    "optimizer": ("adamw",),
}
"""What a sweep tries, one knob at a time: factors of the recipe's value, layers more or fewer, or plain values."""
FACTORS = ("width", "lanes", "unroll", "rate", "matrix_rate")


def measure(texts: list[str], minutes: list[float], families: list[str], seeds: list[int]) -> None:
    """Train every combination by its recipe and append what came out; what was measured already is left out."""
    for text, family, budget, seed in itertools.product(texts, families, minutes, seeds):
        trained(text, {"minutes": budget, "family": family, "seed": seed}, {})


def sweep(texts: list[str], minutes: list[float], families: list[str], seeds: list[int], knobs: list[str]) -> None:
    """Train by each recipe with one knob turned, every knob in its turn, and append what came out."""
    for text, family, budget, seed in itertools.product(texts, families, minutes, seeds):
        base = {"minutes": budget, "family": family, "seed": seed}
        recipe = trained(text, base, {})
        for knob in knobs:
            for turn in KNOBS[knob]:
                if (changed := turned(recipe, knob, turn)) is not None:
                    trained(text, base, changed)


def turned(recipe: dict, knob: str, turn: object) -> dict[str, object] | None:
    """Return the options that turn one knob of a recipe's row; None where that changes nothing."""
    if knob == "depth":
        depth = len(recipe["layers"].split()) + turn
        return {"layers": f"{recipe['layers'].split()[0]}*{depth}"} if depth >= 1 else None
    was = recipe[knob]
    if knob == "width":
        value: object = max(16, 16 * round(was * turn / 16))
    elif knob in FACTORS:
        value = type(was)(was * turn)
    else:
        value = turn
    return None if value == was else {knob: value}


def trained(text: str, base: dict[str, object], changed: dict[str, object]) -> dict:
    """Train once through the public interface, append the row and return it; or return the row measured before."""
    name = Path(text).name
    for row in read():
        if (row["text"], row["changed"]) == (name, changed) and all(row[key] == base[key] for key in base):
            return row
    corpus = unrolled.read_corpus([text])
    request = {key: value for key, value in base.items() if not (key == "family" and "layers" in changed)} | changed
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        run = unrolled.train(corpus, run=Path(scratch) / "run", **request)
        wall = time.perf_counter() - start
        scores = {name: run.score(corpus, "valid", protocol=name) for name in ("carried", "reset:256")}
    config, stack = run.config.training, run.config.model.stack
    row = {
        "text": name,
        **base,
        "changed": changed,
        "layers": run.config.model.pattern(),
        "width": stack.width,
        "dropout": stack.dropout,
        **{key: getattr(config, key) for key in RECORDED},
        "characters_read": config.steps * config.lanes * config.unroll,
        "train_characters": len(corpus.part("train")),
        "ngram_bits": round(ngram_bits(corpus), 4),
        "valid_bits_per_char": round(scores["carried"].bits_per_char, 4),
        "valid_bits_per_char_reset_256": round(scores["reset:256"].bits_per_char, 4),
        "wall_seconds": round(wall, 1),
    }
    print(json.dumps(row), flush=True)
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in [*read(), row]) + "\n]\n")
    return row


def fit() -> None:
    """Fit log(bits) to the n-gram's bits, the characters read and the size of the text, with an offset per family."""
    rows = read()
    rows = [row for row in rows if not row["changed"]]
    families = sorted({row["family"] for row in rows} - {"lstm"})
    names = ["constant", "ngram", "read", "text", *families]
    left = np.array(
        [
            [
                1.0,
                math.log(row["ngram_bits"]),
                math.log(row["characters_read"]),
                math.log(row["train_characters"]),
                *(float(row["family"] == family) for family in families),
            ]
            for row in rows
        ]
    )
    right = np.log([row["valid_bits_per_char"] for row in rows])
    found = np.linalg.lstsq(left, right, rcond=None)[0]
    print(json.dumps(dict(zip(names, found.round(4).tolist(), strict=True))))
    errors = np.exp(left @ found - right) - 1
    print(f"{len(rows)} runs; fit off by {np.abs(errors).mean():.1%} on average, {np.abs(errors).max():.1%} at most\n")
    print("| text | family | minutes | model | read | 6-gram | valid | fit |")
    print("|---|---|---|---|---|---|---|---|")
    for row, error in zip(rows, errors, strict=True):
        print(
            f"| {row['text']} | {row['family']} | {row['minutes']:g} | {row['layers']}, width {row['width']} | "
            f"{row['characters_read'] / 1e6:.1f} M | {row['ngram_bits']:.3f} | {row['valid_bits_per_char']:.3f} | "
            f"{error:+.1%} |"
        )


def table() -> None:
    """Print, for every text, budget and family, the recipe and what each turned knob changed."""
    rows = read()
    print("| text | family | minutes | seed | turned | characters | carried | reset:256 | against the recipe |")
    print("|---|---|---|---|---|---|---|---|---|")
    place = lambda row: (row["text"], row["family"], row["minutes"], row["seed"])  # noqa: E731
    recipes = {place(row): row for row in rows if not row["changed"]}
    for row in sorted(rows, key=lambda row: (*place(row)[:3], row["seed"], row["valid_bits_per_char_reset_256"])):
        changed = " ".join(f"{key} {value}" for key, value in row["changed"].items()) or "(the recipe)"
        against = row["valid_bits_per_char_reset_256"] - recipes[place(row)]["valid_bits_per_char_reset_256"]
        print(
            f"| {row['text']} | {row['family']} | {row['minutes']:g} | {row['seed']} | {changed} | "
            f"{row['characters_read'] / 1e6:.1f} M | {row['valid_bits_per_char']:.3f} | "
            f"{row['valid_bits_per_char_reset_256']:.3f} | {against:+.3f} |"
        )


def read() -> list[dict]:
    """Return the rows measured so far."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("measure", "sweep"):
        training = verbs.add_parser(verb)
        training.add_argument("texts", nargs="+")
        training.add_argument("--minutes", nargs="+", type=float, default=[0.5, 1.0, 3.0])
        training.add_argument("--families", nargs="+", default=["lstm"])
        training.add_argument("--seeds", nargs="+", type=int, default=[1])
        if verb == "sweep":
            training.add_argument("--knobs", nargs="+", choices=list(KNOBS), default=list(KNOBS))
    verbs.add_parser("fit")
    verbs.add_parser("table")
    given = vars(parser.parse_args())
    {"measure": measure, "sweep": sweep, "fit": fit, "table": table}[given.pop("verb")](**given)
