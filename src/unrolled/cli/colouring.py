"""A text coloured by a unit: blue where it is low, orange where it is high, plain in between.

Knows nothing about models: characters and one number for each.
"""

import numpy as np
from rich.console import Group
from rich.text import Text

from unrolled.text.display import visible

CHARACTERS = 3000
STEPS = 9
_LOW = ((5, 48, 97), (33, 102, 172), (67, 147, 195), (146, 197, 222))
_HIGH = ((253, 184, 99), (224, 130, 20), (179, 88, 6), (127, 59, 8))
_MARKS = "=-: .+*#@"
"""Without colours: from lowest to highest."""


def levels(values_T: np.ndarray) -> np.ndarray:
    """Return the level of each number, 0 (lowest) to `STEPS` - 1, the middle of what it usually is in the middle."""
    low, high = np.quantile(values_T, [0.02, 0.98])
    middle, reach = (low + high) / 2, max(1e-12, (high - low) / 2)
    return np.clip(np.round((values_T - middle) / reach * (STEPS // 2)) + STEPS // 2, 0, STEPS - 1).astype(int)


def coloured(unit: str, text: str, values_T: np.ndarray, *, colours: bool, width: int) -> Group:
    """Return a text coloured by its numbers, with a legend; without colours, a line of marks stands under each line."""
    levels_T = levels(values_T)
    low, high = np.quantile(values_T, [0.02, 0.98])
    if colours:
        legend = Text.assemble((f"{unit}  ", "bold"), f"{low:.2f} ")
        for level in range(STEPS):
            legend.append("  ", style=_style(level))
        legend.append(f" {high:.2f}")
        body = Text()
        for character, level in zip(text, levels_T.tolist(), strict=True):
            shown = "↵\n" if character == "\n" else visible(character)
            body.append(shown, style=_style(level) if character != "\n" else f"dim {_style(level)}")
        return Group(legend, Text(), body)
    legend = Text(f"{unit}: marks under the text, from {low:.2f} to {high:.2f}: {' '.join(_MARKS)}")
    lines: list[Text] = [legend, Text()]
    for shown, marks in _marked(text, levels_T, width):
        lines += [Text(shown), Text(marks)]
    return Group(*lines)


def _marked(text: str, levels_T: np.ndarray, width: int) -> list[tuple[str, str]]:
    """Cut a text into lines of at most `width` columns, each with the marks that belong under it."""
    lines, shown, marks = [], "", ""
    for character, level in zip(text, levels_T.tolist(), strict=True):
        piece = visible(character).replace("\n", "").replace("\t", "␉")
        shown, marks = shown + piece, marks + _MARKS[level] * len(piece)
        if character == "\n" or len(shown) >= width:
            lines.append((shown, marks))
            shown, marks = "", ""
    return [*lines, (shown, marks)] if shown else lines


def _style(level: int) -> str:
    middle = STEPS // 2
    if level == middle:
        return ""
    red, green, blue = _LOW[level] if level < middle else _HIGH[level - middle - 1]
    light = red * 299 + green * 587 + blue * 114 > 128_000
    return f"{'black' if light else 'white'} on #{red:02x}{green:02x}{blue:02x}"
