"""`unrolled runs` and `unrolled show`: what was trained, and how it learned.

Knows nothing about models: it reads run folders. Must not import torch: it starts at once.
"""

import math
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from unrolled.cli.charts import curve, duration
from unrolled.cli.console import Voice
from unrolled.cli.options import Folder, Json
from unrolled.text.display import visible

DEFAULT = Path("runs")


def runs(folder: Annotated[Folder, Parameter(show_default=False)] = DEFAULT, /, *, json: Json = False) -> int:
    """List the runs in a folder.

    Parameters
    ----------
    folder
        Where to look (default: runs).
    json
        Print one JSON list.
    """
    from unrolled.training.run_folder import list_runs

    voice = Voice(as_json=json)
    found = list_runs(folder) if folder.exists() or folder != DEFAULT else []
    if json:
        voice.result(
            [
                {
                    "run": str(run.path),
                    "model": run.description,
                    "newest": run.newest,
                    "finished": run.finished,
                    "error": run.error,
                }
                for run in found
            ]
        )
        return 0
    if not found:
        voice.say(f"no runs in {folder}. Make one: unrolled train book.txt, or: unrolled demo")
        return 0
    table = Table(box=None, pad_edge=False)
    for title, justify in (("run", "left"), ("valid", "right"), ("step", "right"), ("", "left"), ("model", "left")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for run in found:
        newest = run.newest or {}
        valid = newest.get("valid_bits_per_char")
        state = (
            Text("damaged", "red") if run.error else Text("finished") if run.finished else Text("unfinished", "yellow")
        )
        table.add_row(
            Text(visible(str(run.path))),
            f"{valid:.3f}" if isinstance(valid, float) else "",
            f"{newest.get('step', 0):,}",
            state,
            Text(visible(run.error or run.description)),
        )
    voice.say(table)
    voice.say("valid: bits per character at the last look; `unrolled show RUN` tells more", style="dim")
    return 0


def show(run: Folder, /, *, json: Json = False) -> int:
    """Show how a run learned: its model, its curve, and what it wrote on the way.

    Parameters
    ----------
    run
        The run folder.
    json
        Print everything as one JSON line.
    """
    from unrolled.training.run_folder import RunFolder

    voice = Voice(as_json=json)
    folder = RunFolder.open(run)
    metrics, samples, config = folder.metrics(), folder.samples(), folder.config
    if json:
        voice.result({"run": str(run), "config": config, "metrics": metrics, "samples": samples})
        return 0
    training, text = config.get("training", {}), config.get("text", {})
    voice.say(Text(visible(str(run)), style="bold"))
    voice.say(f"model    {config.get('description', '')}")
    voice.say(f"text     {', '.join(text.get('sources', []))}")
    fingerprint = text.get("fingerprint", {})
    voice.say(f"         {fingerprint.get('size', 0):,} bytes, sha256 {str(fingerprint.get('sha256', ''))[:16]}…")
    voice.say(
        f"training {training.get('steps', 0):,} steps of {training.get('lanes')} lanes × {training.get('unroll')} "
        f"characters, {training.get('precision')}, seed {training.get('seed')}"
    )
    if metrics:
        last = metrics[-1]
        best = min((m["valid_bits_per_char"] for m in metrics if m.get("valid_bits_per_char")), default=None)
        told = f", best look {best:.3f} bits per character" if best is not None else ""
        voice.say(f"so far   step {last['step']:,}, {duration(last.get('seconds', 0.0))}{told}")
    width = min(100, voice.console.width)
    lines = [
        ([(m["step"], m[name] if m.get(name) is not None else math.nan) for m in metrics], style)
        for name, style in (("train_bits_per_char", "cyan"), ("valid_bits_per_char", "bold yellow"))
    ]
    if len(metrics) > 1:
        drawn = curve(lines, width - 4, 10, max(1, training.get("steps", 1)))
        legend = Text.assemble("bits per character: ", ("━ train ", "cyan"), ("━ valid", "bold yellow"))
        voice.say(Panel(drawn, title=legend, title_align="left", width=width))
    for sample in _spread(samples, 4):
        body = Text(visible(sample["text"]).strip("\n")[:240])
        voice.say(Panel(body, title=f"step {sample['step']:,}", title_align="left", width=width))
    return 0


def _spread(items: list[dict], count: int) -> list[dict]:
    """Return up to `count` items, the first and the last among them, spread evenly."""
    if len(items) <= count:
        return items
    return [items[round(k * (len(items) - 1) / (count - 1))] for k in range(count)]
