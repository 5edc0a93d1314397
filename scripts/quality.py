"""Measure what minutes reach with nothing but the public commands, and print the tables of docs/results/quality.md.

    python scripts/quality.py measure tinyshakespeare.txt --split 0.9,0.1,0 --minutes 0.5 1 3 10
    python scripts/quality.py measure war_and_peace.txt --split 0.8,0.1,0.1 --minutes 20 60
    python scripts/quality.py collect runs/book-20 book.txt --minutes 20 --wall 1204
    python scripts/quality.py table

`measure` runs `unrolled train` (into runs/TEXT-MINUTES) and `unrolled score`, on a machine that has nothing else to do;
`collect` scores a run that `unrolled train --minutes` made in so many seconds. Both write to docs/results/quality.json,
where a new row takes the place of an older one of the same text and minutes.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from unrolled.training.run_folder import RunFolder

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "quality.json"
PROTOCOLS = ("carried", "reset:256")


def command(*arguments: str) -> dict:
    """Run a command with --json, its progress on standard error, and return the last line of what it prints."""
    called = [sys.executable, "-m", "unrolled", *arguments, "--json"]
    return json.loads(subprocess.run(called, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def measure(text: str, minutes: float, split: str) -> None:
    """Train once for so many minutes and keep the row."""
    run = Path("runs") / f"{Path(text).stem}-{minutes:g}"
    start = time.perf_counter()
    command("train", text, "--split", split, "--minutes", f"{minutes:g}", "--run", str(run))
    collect(run, text, minutes, time.perf_counter() - start)


def collect(run: Path, text: str, minutes: float, wall: float) -> None:
    """Score a run on its validation part, and on its test part where it has one, and keep the row."""
    folder = RunFolder.open(run)
    config = json.loads((run / "config.json").read_text())
    training, split = config["training"], config["text"]["options"]["split"]
    scores = {
        f"{part} {protocol}": command("score", str(run), text, "--part", part, "--protocol", protocol)
        for part in (("valid", "test") if split[2] else ("valid",))
        for protocol in PROTOCOLS
    }
    learned, published = folder.best().model["readout.weight"], folder.weights()["readout.weight"]
    read_characters = training["steps"] * training["lanes"] * training["unroll"]
    row = {
        "text": Path(text).name,
        "minutes": minutes,
        "split": split,
        "model": config["description"],
        **{name: training[name] for name in ("steps", "lanes", "unroll", "weight_decay", "matrix_rate", "average")},
        "passes": round(read_characters / config["text"]["characters"]["train"], 2),
        "temperature": round((learned / published).median().item(), 4),
        "nats_per_char": {name: round(score["nats_per_char"], 4) for name, score in scores.items()},
        "seconds": round(folder.metrics()[-1]["seconds"]),
        "wall": round(wall),
    }
    print(json.dumps(row), flush=True)
    others = [one for one in read() if (one["text"], one["minutes"]) != (row["text"], row["minutes"])]
    rows = sorted([*others, row], key=lambda one: (one["text"], one["minutes"]))
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(one) for one in rows) + "\n]\n")


def read() -> list[dict]:
    """Return the rows measured so far."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def table() -> None:
    """Print a table per text."""
    rows = read()
    for text in sorted({row["text"] for row in rows}):
        mine = [row for row in rows if row["text"] == text]
        names = list(mine[0]["nats_per_char"])
        heads = ["minutes", "model", "decay, rate", "steps", "passes", "temperature", *names, "wall"]
        print(f"\n{text}, nats per character:\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
        for row in mine:
            scores = " | ".join(f"{row['nats_per_char'][name]:.4f}" for name in names)
            print(
                f"| {row['minutes']:g} | {row['model']} | {row['weight_decay']:g}, {row['matrix_rate']:g} | "
                f"{row['steps']:,} | {row['passes']:.1f} | {row['temperature']:.3f} | {scores} | {row['wall']:,} s |"
            )


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("text")
    measuring.add_argument("--split", default="0.9,0.1,0")
    measuring.add_argument("--minutes", type=float, nargs="+", required=True)
    collecting = commands.add_parser("collect")
    collecting.add_argument("run", type=Path)
    collecting.add_argument("text")
    collecting.add_argument("--minutes", type=float, required=True)
    collecting.add_argument("--wall", type=float, required=True)
    commands.add_parser("table")
    asked = parser.parse_args()
    if asked.command == "measure":
        for minutes in asked.minutes:
            measure(asked.text, minutes, asked.split)
    elif asked.command == "collect":
        collect(asked.run, asked.text, asked.minutes, asked.wall)
    else:
        table()


if __name__ == "__main__":
    main()
