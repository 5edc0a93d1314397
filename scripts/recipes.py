"""Measure what the recipes reach, and fit what a plan may be expected to reach.

    python scripts/recipes.py measure manual book.txt --minutes 0.5 1 3 --families lstm gru
    python scripts/recipes.py fit

`measure` trains through the public API and appends one row per run to docs/results/recipes.json; only validation parts
are looked at. `fit` prints the coefficients of training/expectation.py and how far the fit is from each run.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np

import unrolled
from unrolled.training.expectation import ngram_bits

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "recipes.json"


def measure(texts: list[str], minutes: list[float], families: list[str], seed: int) -> None:
    """Train every combination and append what came out."""
    for text in texts:
        corpus = unrolled.read_corpus([text])
        hardness = ngram_bits(corpus)
        for family in families:
            for budget in minutes:
                request = {"minutes": budget, "family": family, "seed": seed}
                start = time.perf_counter()
                with tempfile.TemporaryDirectory() as scratch:
                    run = unrolled.train(corpus, run=Path(scratch) / "run", **request)
                    score = run.score(corpus, "valid")
                config = run.config.training
                row = {
                    "text": Path(text).name,
                    "family": family,
                    "minutes": budget,
                    "seed": seed,
                    "model": run.config.description,
                    "steps": config.steps,
                    "lanes": config.lanes,
                    "unroll": config.unroll,
                    "rate": config.rate,
                    "precision": config.precision,
                    "characters_read": config.steps * config.lanes * config.unroll,
                    "train_characters": len(corpus.part("train")),
                    "ngram_bits": round(hardness, 4),
                    "valid_bits_per_char": round(score.bits_per_char, 4),
                    "wall_seconds": round(time.perf_counter() - start, 1),
                }
                print(json.dumps(row), flush=True)
                rows = read()
                rows.append(row)
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


def fit() -> None:
    """Fit log(bits) to the n-gram's bits, the characters read and the size of the text, with an offset per family."""
    rows = read()
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
            f"| {row['text']} | {row['family']} | {row['minutes']:g} | {row['model']} | "
            f"{row['characters_read'] / 1e6:.1f} M | {row['ngram_bits']:.3f} | {row['valid_bits_per_char']:.3f} | "
            f"{error:+.1%} |"
        )


def read() -> list[dict]:
    """Return the rows measured so far."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    measuring = verbs.add_parser("measure")
    measuring.add_argument("texts", nargs="+")
    measuring.add_argument("--minutes", nargs="+", type=float, default=[0.5, 1.0, 3.0])
    measuring.add_argument("--families", nargs="+", default=["lstm"])
    measuring.add_argument("--seed", type=int, default=1)
    verbs.add_parser("fit")
    given = parser.parse_args()
    if given.verb == "measure":
        measure(given.texts, given.minutes, given.families, given.seed)
    else:
        fit()
