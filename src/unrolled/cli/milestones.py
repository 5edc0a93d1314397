"""Milestones of a run as a small table: what the first look measured, a line of blocks, and what the last one did.

Knows nothing about how they are measured: it reads the reports of a run, which may be old or edited.
"""

import math
from collections.abc import Mapping, Sequence

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

BLOCKS = "▁▂▃▄▅▆▇█"
STYLE = "cyan"
NARROW, LEAST_BLOCKS, MOST_BLOCKS = 60, 4, 32
"""Columns of a terminal below which the text's own numbers are left out; blocks of a line."""
_TAKEN, _TAKEN_NARROW = 56, 34
"""Columns that everything but the blocks takes."""

_ROWS = (
    ("words", "known words", True),
    ("quotes", "closed quotes", True),
    ("brackets", "closed brackets", True),
    ("python", "parsed Python", True),
    ("line_lengths", "line lengths off", False),
    ("copied", "longest copy", False),
)
"""The name in a report, the name for people, and whether it is a share (or else a number of characters)."""


def milestones(looks: Sequence[Mapping[str, object]], width: int) -> Panel | None:
    """Draw the milestones in `width` columns; None where no report has any, as in runs of earlier versions."""
    found = [(key, name, share, [_value(look, "structure", key) for look in looks]) for key, name, share in _ROWS]
    found = [row for row in found if any(map(math.isfinite, row[3]))]
    if not found:
        return None
    wide = width >= NARROW
    blocks = max(LEAST_BLOCKS, min(MOST_BLOCKS, width - (_TAKEN if wide else _TAKEN_NARROW)))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("first", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("last", justify="right", no_wrap=True)
    if wide:
        table.add_column("the text's own", justify="right", no_wrap=True)
    for key, name, share, values in found:
        there = [value for value in values if math.isfinite(value)]
        cells = [name, _told(there[0], share, wide), spark(values, blocks, 1.0 if share else max(there)), ""]
        cells[3] = Text(_told(there[-1], share, wide), style="bold")
        own = next((own for look in looks if math.isfinite(own := _value(look, "structure_of_text", key))), math.nan)
        table.add_row(*cells, *([Text(_told(own, share, wide), style="dim")] if wide else []))
    title = "milestones, in what the model wrote" if wide else "milestones (in characters)"
    return Panel(table, title=title, title_align="left", width=width)


def spark(values: Sequence[float], most: int, top: float) -> Text:
    """Draw numbers from 0 to `top` as a line of at most `most` blocks, a gap where there is none."""
    count = min(most, len(values))
    spread = [values[round(k * (len(values) - 1) / max(1, count - 1))] for k in range(count)]
    drawn = [BLOCKS[_level(value, top)] if math.isfinite(value) else " " for value in spread]
    return Text("".join(drawn), style=STYLE)


def _level(value: float, top: float) -> int:
    share = value / top if top > 0 else 0.0
    return max(0, min(len(BLOCKS) - 1, int(share * len(BLOCKS))))


def _told(value: float, share: bool, wide: bool) -> str:
    if not math.isfinite(value):
        return ""
    return f"{100 * value:.0f} %" if share else f"{value:.0f}{' chars' * wide}"


def _value(look: Mapping[str, object], *path: str) -> float:
    found: object = look
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if number and abs(found) < 1e15 else math.nan  # type: ignore[arg-type]
