"""Write docs/results/bench.md from what `unrolled bench --json` printed.

    unrolled bench --json > docs/results/bench.json && python scripts/bench_page.py

The machine is the one that this script runs on: run both on the same one.
"""

import json
import os
import time
from pathlib import Path

import torch

from unrolled.benchmarks import rows
from unrolled.training.measure import processor

RESULTS = Path(__file__).parent.parent / "docs" / "results"


def main() -> None:
    """Write the page, a table for each subject."""
    measured = {result["name"]: result for result in json.loads((RESULTS / "bench.json").read_text(encoding="utf-8"))}
    lines = [
        "# Speed beside plain PyTorch",
        "",
        "```sh",
        "unrolled bench --json > docs/results/bench.json && python scripts/bench_page.py",
        "```",
        "",
        f"{os.cpu_count()} cores of {processor()}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}. Medians of "
        "at least five turns, both sides taking turns in one process; the ratio is the claim, the absolute numbers are "
        "context. A ratio of 1 is a tie, above 1 unrolled is the faster one. What stands in each row and what it is "
        "compared with: [unrolled bench](../bench.md).",
    ]
    subject = ""
    for row in rows():
        if row.name not in measured:
            continue
        if row.subject != subject:
            subject = row.subject
            lines += ["", f"## {subject[0].upper()}{subject[1:]}", ""]
            lines += ["| | unit | unrolled | reference | ratio | the reference is |", "|---|---|---|---|---|---|"]
        found = measured[row.name]
        values = f"{_number(found['value'])} | {_number(found['reference_value'])} | {found['ratio']:.2f}"
        lines.append(f"| {row.name} | {found['unit']} | {values} | {found['reference']} |")
    (RESULTS / "bench.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    main()
