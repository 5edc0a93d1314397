"""The pages of a table: a heat map as SVG, numbers in its cells, and a table in Markdown.

The colours go from dark blue to yellow as those of cividis (Nunez et al. 2018, arXiv 1712.01492), which look alike to
colour-blind eyes; the number stands in each cell. Knows nothing about files or how numbers are made.
"""

from collections.abc import Mapping, Sequence
from html import escape

from unrolled.programs.table_cells import Cell

CIVIDIS = ((0, 34, 78), (52, 66, 109), (92, 97, 112), (124, 123, 120), (163, 150, 113), (206, 183, 92), (254, 232, 56))
CELL_WIDTH, CELL_HEIGHT = 74, 34
LEFT, TOP, MARGIN = 170, 118, 14
_LIGHT_TEXT_BELOW = 0.45
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1a1a1a}.small{font-size:10.5px}.page{fill:#fff}.none{fill:#0001}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.page{fill:#16181c}.none{fill:#fff2}}"
    "text.onlight{fill:#111}text.ondark{fill:#fff}"
)


def colour(share: float) -> str:
    """Return the colour for a share of 0 to 1, as #rrggbb."""
    place = max(0.0, min(1.0, share)) * (len(CIVIDIS) - 1)
    low = min(int(place), len(CIVIDIS) - 2)
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(CIVIDIS[low], CIVIDIS[low + 1], strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def percent(share: float) -> str:
    """Write an accuracy as a table does, never rounded up to 100: 99.9 is not all."""
    hundred = 100 * share
    return f"{hundred:.0f}" if hundred >= 100 or hundred < 99 else f"{int(hundred * 10) / 10:.1f}"


def grid(cells: Sequence[Cell]) -> tuple[list[str], dict[tuple[str, str], Cell]]:
    """Return the tasks in the order in which they come, and the cells by task and family."""
    return list(dict.fromkeys(cell.task for cell in cells)), {(cell.task, cell.family): cell for cell in cells}


def svg(cells: Sequence[Cell], families: Sequence[str]) -> str:
    """Return the heat map: a row for each task, a column for each family; brighter is nearer to all right."""
    tasks, by_both = grid(cells)
    width = LEFT + CELL_WIDTH * len(families) + MARGIN + 40
    height = TOP + CELL_HEIGHT * len(tasks) + 62
    title = "Accuracy on inputs longer than in training"
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{title}"><style>{_STYLE}</style>',
        f'<rect class="page" width="{width}" height="{height}"/>',
        f'<text x="{MARGIN}" y="26" style="font-weight:600;font-size:15px">{title}</text>',
        f'<text class="small" x="{MARGIN}" y="44">percent right, the best trial; below, the seeds that solve it</text>',
    ]
    for column, family in enumerate(families):
        x, y = LEFT + CELL_WIDTH * column + CELL_WIDTH // 2 - 8, TOP - 8
        drawn.append(f'<text x="{x}" y="{y}" transform="rotate(-28 {x} {y})">{escape(family)}</text>')
    for row, task in enumerate(tasks):
        y = TOP + CELL_HEIGHT * row
        drawn.append(f'<text x="{LEFT - 10}" y="{y + CELL_HEIGHT // 2 + 5}" text-anchor="end">{escape(task)}</text>')
        drawn += [
            _cell(by_both.get((task, family)), LEFT + CELL_WIDTH * column, y) for column, family in enumerate(families)
        ]
    return "\n".join([*drawn, *_legend(TOP + CELL_HEIGHT * len(tasks) + 16), "</svg>", ""])


def _cell(cell: Cell | None, x: int, y: int) -> str:
    box = f'x="{x + 1}" y="{y + 1}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" rx="3"'
    if cell is None:
        return f'<rect class="none" {box}/>'
    ink = "ondark" if cell.shade < _LIGHT_TEXT_BELOW else "onlight"
    middle = x + CELL_WIDTH // 2
    told = f"{cell.task}, {cell.family}: {percent(cell.best)} %, know-nothing {percent(cell.chance)} %"
    return (
        f'<rect {box} fill="{colour(cell.shade)}"><title>{escape(told)}</title></rect>'
        f'<text class="{ink}" x="{middle}" y="{y + 16}" text-anchor="middle">{percent(cell.best)}</text>'
        f'<text class="{ink} small" x="{middle}" y="{y + 28}" text-anchor="middle">{cell.solved}/{cell.seeds}</text>'
    )


def _legend(y: int) -> list[str]:
    steps = 12
    boxes = [
        f'<rect x="{LEFT + 14 * step}" y="{y}" width="14" height="12" fill="{colour(step / (steps - 1))}"/>'
        for step in range(steps)
    ]
    return [
        f'<text class="small" x="{LEFT - 10}" y="{y + 10}" text-anchor="end">know-nothing</text>',
        *boxes,
        f'<text class="small" x="{LEFT + 14 * steps + 8}" y="{y + 10}">all right</text>',
    ]


def markdown(cells: Sequence[Cell], families: Sequence[str], protocol: Mapping[str, object]) -> str:
    """Return the table in Markdown, with what the numbers are and how they came to be."""
    tasks, by_both = grid(cells)
    common = ", ".join(f"{name} {value}" for name, value in protocol.items() if name != "format" and value is not None)
    lines: list[str] = [
        "# Length generalisation",
        "",
        "Percent of asked symbols that are right on inputs longer than any in training (`mqar`: on new inputs of the",
        "trained lengths), the best of all trials; in brackets the seeds that solve the task at the best rate.",
        "Know-nothing is the best answer of one who never looks at the input. Solved: 90 percent or more, and at least",
        f"halfway from know-nothing to all right. Every trial: {common}.",
        "",
        "| task | know-nothing | " + " | ".join(families) + " |",
        "|---|---:|" + "---:|" * len(families),
    ]
    for task in tasks:
        found = [by_both.get((task, family)) for family in families]
        chance = next(cell.chance for cell in found if cell is not None)
        row = ["" if cell is None else f"{percent(cell.best)} ({cell.solved}/{cell.seeds})" for cell in found]
        lines.append(f"| {task} | {percent(chance)} | " + " | ".join(row) + " |")
    measured = [cell for cell in cells if cell.measured is not None and cell.know_nothing is not None]
    if measured:
        lines += ["", "| task | family | second measure | know-nothing |", "|---|---|---:|---:|"]
        lines += [
            f"| {cell.task} | {cell.family} | {cell.measured:.4g} | {cell.know_nothing:.4g} |" for cell in measured
        ]
    lines += ["", "The rates at which the seeds were counted:", ""]
    lines += [f"- {family}: {_rates(cells, family)}" for family in families]
    return "\n".join([*lines, ""])


def _rates(cells: Sequence[Cell], family: str) -> str:
    tasks: dict[float, list[str]] = {}
    for cell in cells:
        if cell.family == family:
            tasks.setdefault(cell.rate, []).append(cell.task)
    if len(tasks) == 1:
        return f"{next(iter(tasks)):g}"
    return "; ".join(f"{rate:g} ({', '.join(named)})" for rate, named in sorted(tasks.items()))
