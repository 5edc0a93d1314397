"""Measure what running `carried` on lanes changes: `python scripts/protocols.py RUN [CHARACTERS]`.

Scores the head of the run's own validation part with one lane (exact) and with several, in float32.
"""

import sys
import time

import unrolled


def main(path: str, characters: int = 30_000) -> None:
    """Print one table row per number of lanes."""
    run = unrolled.open_run(path)
    corpus = unrolled.read_corpus(run.config.find_sources(), run.config.options, vocabulary=run.vocabulary)
    ids = corpus.part("valid")[:characters]
    exact = None
    for lanes in (1, 2, 4, 8, 16):
        start = time.perf_counter()
        score = unrolled.evaluate(run.model, ids, unrolled.Protocol(), lanes=lanes)
        exact = score.bits_per_char if exact is None else exact
        difference = score.bits_per_char - exact
        seconds = time.perf_counter() - start
        told = f"{score.bits_per_char:.7f} | {difference:+.1e} | {seconds:.1f}"
        print(f"| {run.config.model.pattern()} | {lanes} | {told} |")


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
