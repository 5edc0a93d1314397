"""`unrolled runs` and `unrolled show`: what was trained, and how it learned.

Knows nothing about models: it reads run folders. Must not import torch: it starts at once.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from unrolled.cli.charts import TRAIN_STYLE, VALID_STYLE, curve, duration, exactness, legend
from unrolled.cli.console import Voice
from unrolled.cli.milestones import milestones
from unrolled.cli.options import Folder, Json
from unrolled.text.display import visible, visible_line

DEFAULT = Path("runs")
SHOWN = 240
"""Characters of a sample."""
WIDE = 72
"""From so many columns on, a list of runs says what their models are."""


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
        voice.say(f"no runs in {visible_line(str(folder))}. Make one: unrolled train book.txt, or: unrolled demo")
        return 0
    table = Table(box=None, pad_edge=False)
    for title, justify in (("run", "left"), ("valid", "right"), ("step", "right"), ("", "left")):
        table.add_column(title, justify=justify, overflow="fold", no_wrap=title != "run")  # type: ignore[arg-type]
    if beside := voice.console.width >= WIDE:
        table.add_column("model", overflow="fold")
    for run in found:
        newest = run.newest or {}
        valid, step = newest.get("valid_bits_per_char"), newest.get("step")
        state = (
            Text("damaged", "red") if run.error else Text("finished") if run.finished else Text("unfinished", "yellow")
        )
        cells = [
            Text(visible_line(str(run.path))),
            f"{valid:.3f}" if isinstance(valid, int | float) else "",
            f"{step:,}" if isinstance(step, int) else "",
            state,
        ]
        table.add_row(*cells, *([Text(visible_line(run.error or run.description))] if beside else []))
    voice.say(table)
    voice.say("valid: bits per character at the last look; `unrolled show RUN` tells more", style="dim")
    return 0


def show(run: Folder, /, *, json: Json = False) -> int:
    """Show how a run learned: its model, its curve, its milestones, and what it wrote on the way.

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
    _tell(voice, run, config)
    looks = [metric for metric in metrics if isinstance(metric.get("step"), int)]
    if looks:
        _tell_progress(voice, looks, _found(config, "text", "options", "regime"))
    lines = [
        ([(look["step"], _number(look, name)) for look in looks], style)
        for name, style in (("train_bits_per_char", TRAIN_STYLE), ("valid_bits_per_char", VALID_STYLE))
    ]
    if len(looks) > 1:
        steps = int(_number(config, "training", "steps", default=looks[-1]["step"]))
        drawn = curve(lines, voice.width - 4, 10, max(1, steps))
        voice.say(Panel(drawn, title=legend(), title_align="left", width=voice.width))
    if (table := milestones(looks, voice.width)) is not None:
        voice.say(table)
    for sample in _spread([one for one in samples if isinstance(one.get("text"), str)], 4):
        body = Text(visible(sample["text"]).strip("\n")[:SHOWN])
        title = Text(visible_line(f"step {sample.get('step')}"))
        voice.say(Panel(body, title=title, title_align="left", width=voice.width))
    return 0


def _tell(voice: Voice, run: Path, config: Mapping[str, object]) -> None:
    """Say what was trained on what; config.json may have been edited, so nothing is taken for granted."""
    sources = _found(config, "text", "sources")
    names = ", ".join(map(str, sources)) if isinstance(sources, list) else "?"
    size = int(_number(config, "text", "fingerprint", "size", default=0))
    digest = str(_found(config, "text", "fingerprint", "sha256"))[:16]
    training = {name: _found(config, "training", name) for name in ("steps", "lanes", "unroll", "precision", "seed")}
    regime = _found(config, "text", "options", "regime")
    each = "{lanes} lanes × {unroll} characters"
    if regime in ("pairs", "tags"):
        each = "up to {lanes} lines of about {unroll} characters"
    told = f"{{steps}} steps of {each}, {{precision}}, seed {{seed}}".format(**training)
    voice.say(Text(visible_line(str(run)), style="bold"))
    voice.say(f"model    {visible_line(str(_found(config, 'description')))}")
    voice.say(f"{regime if regime in ('pairs', 'tags') else 'text':9}{visible_line(names)}")
    voice.say(f"         {size:,} bytes, sha256 {visible_line(digest)}…")
    voice.say(f"training {visible_line(told)}")


def _tell_progress(voice: Voice, looks: list[dict], regime: object) -> None:
    last, unit = looks[-1], {"pairs": "target character", "tags": "tag"}.get(str(regime), "character")
    valid = [bits for look in looks if math.isfinite(bits := _number(look, "valid_bits_per_char"))]
    best = f", best look {min(valid):.3f} bits per {unit}" if valid else ""
    accuracy = _number(last, "valid_accuracy")
    best += exactness(accuracy if math.isfinite(accuracy) else None, unit)
    skipped = int(_number(last, "skipped", default=0))
    told = (
        f", {skipped:,} step{'s' * (skipped > 1)} skipped because the loss or the gradient was not finite"
        if skipped
        else ""
    )
    voice.say(f"so far   step {last['step']:,}, {duration(_number(last, 'seconds', default=0))}{best}{told}")


def _found(value: object, *path: str) -> object:
    """Return what lies under these keys, None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _number(value: object, *path: str, default: float = math.nan) -> float:
    found = _found(value, *path)
    finite = isinstance(found, int | float) and math.isfinite(found)
    return found if finite else default


def _spread(items: list[dict], count: int) -> list[dict]:
    """Return up to `count` items, the first and the last among them, spread evenly."""
    if len(items) <= count:
        return items
    return [items[round(k * (len(items) - 1) / (count - 1))] for k in range(count)]
