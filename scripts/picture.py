"""Draw a run as the live display showed it, as an SVG for the README: `python scripts/picture.py RUN OUT.svg`.

Knows nothing about training: it reads a run's own logs.
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from unrolled.cli.live import Story, picture
from unrolled.training.run_folder import RunFolder


def main(run: str, out: str, share: float = 0.62) -> None:
    """Draw the run at `share` of its way."""
    folder = RunFolder.open(run)
    steps = folder.config["training"]["steps"]
    story = Story(f"{folder.path.name} · {folder.config['description']}", steps)
    metrics = [m for m in folder.metrics() if m["step"] <= share * steps]
    for m in metrics:
        if m["train_bits_per_char"] is not None:
            story.train.append((m["step"], m["train_bits_per_char"]))
        story.valid.append((m["step"], m["valid_bits_per_char"]))
    last = metrics[-1]
    story.step, story.seconds = last["step"], last["seconds"]
    story.speed = last["chars"] / last["seconds"]
    story.best = min(bits for _, bits in story.valid)
    seconds = {m["step"]: m["seconds"] for m in metrics}
    story.passages = [(s["step"], seconds[s["step"]], s["text"]) for s in folder.samples() if s["step"] in seconds]
    console = Console(record=True, width=104, height=34, force_terminal=True, file=io.StringIO())
    console.print(picture(story, 104, 34))
    svg = console.export_svg(title="unrolled demo")
    # The page must open without a network: the reader's own monospace font does.
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    svg = svg.replace("Fira Code", "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas")
    Path(out).write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
