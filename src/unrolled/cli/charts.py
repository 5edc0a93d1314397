"""Small drawings for a terminal: a curve in braille dots, a bar, a text coloured by how surprising it was.

Knows nothing about training or models: numbers in, rich text out.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from unrolled.text.display import visible

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
TRAIN_STYLE, VALID_STYLE = "cyan", "bold yellow"
SETTLED = 0.03
"""The first so much of a curve does not stretch its y axis."""
SURPRISE_STYLES = (
    "",
    "on #26374d",
    "on #2f5673",
    "on #3f7f8c",
    "black on #7fb069",
    "black on #f2b134",
    "black on #ee6c4d",
)
"""From expected to astonishing; told apart by lightness as well as by hue, so colour-blind eyes can, too."""
SURPRISE_BITS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0)


def curve(series: Sequence[tuple[Sequence[tuple[float, float]], str]], width: int, height: int, end: float) -> Text:
    """Draw series of (x, y) points, each in its style, in `width` x `height` cells; x runs from 0 to `end`.

    The y axis is labelled with the largest and smallest value after the first steep descent; what lies above is drawn
    at the top edge. Not-a-number points are left out.
    """
    points = [(x, y) for line, _ in series for x, y in line if math.isfinite(y)]
    if not points:
        return Text("no report yet", style="dim")
    settled = SETTLED * max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for x, y in points if x >= settled)
    span = (high - low) or 1.0
    label = max(len(f"{high:.2f}"), len(f"{low:.2f}"))
    columns = max(8, width - label - 2)
    cells = [[0] * columns for _ in range(height)]
    styles = [[""] * columns for _ in range(height)]
    for line, style in series:
        for x, y in _joined([(x, y) for x, y in line if math.isfinite(y)], end, 2 * columns):
            across = min(2 * columns - 1, int(x / max(end, 1e-9) * (2 * columns - 1)))
            down = max(0, min(4 * height - 1, int((high - y) / span * (4 * height - 1))))
            cells[down // 4][across // 2] |= _DOTS[down % 4][across % 2]
            styles[down // 4][across // 2] = style
    drawn = Text()
    for row in range(height):
        edge = f"{high:.2f}" if row == 0 else f"{low:.2f}" if row == height - 1 else ""
        drawn.append(f"{edge:>{label}} ", style="dim")
        drawn.append("│", style="dim")
        for column in range(columns):
            drawn.append(chr(0x2800 + cells[row][column]), style=styles[row][column])
        if row < height - 1:
            drawn.append("\n")
    return drawn


def legend() -> Text:
    """Say which line of a curve of training is which."""
    return Text.assemble("bits per character: ", ("━ train ", TRAIN_STYLE), ("━ valid", VALID_STYLE))


def _joined(line: Sequence[tuple[float, float]], end: float, dots: int) -> list[tuple[float, float]]:
    """Fill the way between neighbouring points, one per dot column."""
    filled: list[tuple[float, float]] = list(line[:1])
    for (x0, y0), (x1, y1) in pairwise(line):
        steps = max(1, math.ceil((x1 - x0) / max(end, 1e-9) * dots))
        filled.extend((x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(1, steps + 1))
    return filled


def bar(share: float, width: int) -> Text:
    """Draw how much of the way is done, 0 to 1."""
    full = round(max(0.0, min(1.0, share)) * width)
    return Text("━" * full, style="cyan") + Text("━" * (width - full), style="bright_black")


def surprise(text: str, bits: Sequence[float]) -> Text:
    """Colour each character by the bits it cost the model."""
    drawn = Text()
    for character, cost in zip(text, bits, strict=True):
        level = sum(cost > edge for edge in SURPRISE_BITS)
        drawn.append(visible(character), style=SURPRISE_STYLES[level])
    return drawn


def surprise_legend() -> Text:
    """Say what the colours of `surprise` mean."""
    drawn = Text("bits per character: ", style="dim")
    edges = ("<1", *(f"{low:g}-{high:g}" for low, high in pairwise(SURPRISE_BITS)), ">10")
    for style, edge in zip(SURPRISE_STYLES, edges, strict=True):
        drawn.append(f" {edge} ", style=style)
    return drawn


def exactness(accuracy: float | None, unit: str) -> str:
    """Say in what share an answer was right: `, exact 87.0 %`, of single tags `, right 87.0 %`; "" for a plain text."""
    if accuracy is None:
        return ""
    return f", {'right' if unit == 'tag' else 'exact'} {100 * accuracy:.1f} %"


def duration(seconds: float) -> str:
    """Write seconds as a person says them: 42 s, 3 min 05 s, 2 h 10 min."""
    seconds = max(0.0, seconds)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        return f"{int(seconds + 0.5) // 60} min {int(seconds + 0.5) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"
