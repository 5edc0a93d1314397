"""Measure what running `carried` on lanes changes: `python scripts/protocols.py RUN [CHARACTERS]`.

Scores the head of the run's own validation part with one lane (exact) and with several, in float32.
"""

import sys
import time

import unrolled
from unrolled.training.experiment import known_sources, read_config


def main(path: str, characters: int = 30_000) -> None:
    """Print one table row per number of lanes."""
    run = unrolled.open_run(path)
    _, _, options = read_config(run.config)
    corpus = unrolled.read_corpus(known_sources(run.config), options, vocabulary=run.vocabulary)
    ids = corpus.part("valid")[:characters]
    exact = None
    for lanes in (1, 2, 4, 8, 16):
        start = time.perf_counter()
        score = unrolled.evaluate(run.model, ids, unrolled.Protocol(), lanes=lanes)
        exact = score.bits_per_char if exact is None else exact
        difference = score.bits_per_char - exact
        seconds = time.perf_counter() - start
        print(f"| {run.config['family']} | {lanes} | {score.bits_per_char:.7f} | {difference:+.1e} | {seconds:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
