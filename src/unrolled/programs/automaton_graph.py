"""Draw automata: one or several side by side as an SVG picture, and each as a table for a terminal.

Knows nothing about networks, or about where an automaton came from; whoever draws gives the captions.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from unrolled.errors import MachineError
from unrolled.programs.automata import NOWHERE, UNASKED, Automaton
from unrolled.text.display import visible_line

RADIUS = 24
MARGIN = 66
GAP = 40
CAPTION = 46
LABEL_LETTERS = 5
"""So many letters stand on an arrow; more are counted, and all of them are in its title."""
DRAWN_STATES = 64
_PITCH, _SPREAD = 128, 6
_LETTER = 7.6
_ORDERED_STATES = 16
_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_STYLE = f"""
  .unrolled-automaton {{ --ink: #1c2733; --faint: #5d6b79; --line: #7c8b99; --fill: #eef3f7; --paper: #ffffff;
    --yes: #1f6fb2; font-family: {_FONT}; }}
  @media (prefers-color-scheme: dark) {{
    .unrolled-automaton {{ --ink: #e6edf3; --faint: #9fadba; --line: #6e7f8f; --fill: #22303d; --paper: #12181f;
      --yes: #7cc0ff; }} }}
  .unrolled-automaton .paper {{ fill: var(--paper); }}
  .unrolled-automaton .state {{ fill: var(--fill); stroke: var(--line); stroke-width: 1.5; }}
  .unrolled-automaton .edge {{ fill: none; stroke: var(--line); stroke-width: 1.4; }}
  .unrolled-automaton .head {{ fill: var(--line); }}
  .unrolled-automaton text {{ text-anchor: middle; dominant-baseline: central; fill: var(--ink); font-size: 13px; }}
  .unrolled-automaton .label {{ paint-order: stroke; stroke: var(--paper); stroke-width: 4px; font-size: 12.5px; }}
  .unrolled-automaton .answer {{ fill: var(--yes); font-size: 17px; font-weight: bold; }}
  .unrolled-automaton .name {{ fill: var(--faint); font-size: 10px; }}
  .unrolled-automaton .caption {{ font-size: 15px; font-weight: bold; }}
"""

Point = tuple[float, float]


def graph_svg(automata: Sequence[tuple[str, Automaton]]) -> str:
    """Return an SVG picture of automata side by side, each under its caption.

    A state is a circle with its answer in it (an en dash where it is never asked) and its number below; an arrow from
    nowhere points to the start. All letters from one state to another share an arrow.

    Raises:
        MachineError: nothing to draw, or more than `DRAWN_STATES` states.
    """
    most = max((len(automaton) for _, automaton in automata), default=0)
    if not 1 <= most <= DRAWN_STATES:
        raise MachineError(
            expected=f"automata of 1 to {DRAWN_STATES} states to draw",
            received=f"one of {most}" if most else "none",
            remedy="read larger ones as a table",
        )
    sizes = [_size(automaton) for _, automaton in automata]
    wide = [max(size[0], 9.2 * len(caption) + GAP) + GAP for size, (caption, _) in zip(sizes, automata, strict=True)]
    high = max(size[1] for size in sizes)
    width, height = sum(wide), high + CAPTION
    drawn, left = [], 0.0
    for (caption, automaton), own in zip(automata, wide, strict=True):
        centre = (left + own / 2, CAPTION + high / 2)
        drawn.append(f'<text class="caption" x="{centre[0]:.1f}" y="{CAPTION / 2:.1f}">{_text(caption)}</text>')
        drawn += _automaton(automaton, centre)
        left += own
    told = " | ".join(f"{caption}: {len(automaton)} states" for caption, automaton in automata)
    return "\n".join(
        [
            f'<svg class="unrolled-automaton" xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">',
            f"<title>{_text(told)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def transition_table(automaton: Automaton, width: int = 80) -> str:
    """Return a table for a terminal: a line per state with its answer, and where each letter leads.

    Where all letters do not fit into `width` columns, the letters that lead to the same state share a place instead.
    """
    answers = [visible_line(answer) if answer != UNASKED else "-" for answer in automaton.outputs]
    names = [f"{'>' if state == 0 else ' '}{state}" for state in range(len(automaton))]
    letters = [visible_line(letter) for letter in automaton.sources.letters]
    rows = [
        [name, answer, *("-" if to == NOWHERE else str(to) for to in row)]
        for name, answer, row in zip(names, answers, automaton.next, strict=True)
    ]
    table = [["state", "answer", *letters], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        return "\n".join(
            "  ".join(f"{cell:>{size}}" for cell, size in zip(row, widths, strict=True)).rstrip() for row in table
        )
    lines = [f"{'state':>{widths[0]}}  {'answer':>{widths[1]}}  letters → next state"]
    for state, (name, answer) in enumerate(zip(names, answers, strict=True)):
        indent = f"{name:>{widths[0]}}  {answer:>{widths[1]}}  "
        for to, found in sorted(_merged(automaton, state).items()):
            lines += _folded(indent, " ".join(map(visible_line, found)) + f" → {to}", width)
            indent = " " * len(indent)
    return "\n".join(lines)


def _folded(indent: str, text: str, width: int) -> list[str]:
    """Break a line between letters, so that it fits if it can."""
    lines, line = [], indent
    for word in text.split(" "):
        if line.strip() and len(line) + len(word) + 1 > width and line != indent:
            lines.append(line.rstrip())
            line = " " * len(indent)
        line += word + " "
    return [*lines, line.rstrip()]


def _merged(automaton: Automaton, state: int) -> dict[int, list[str]]:
    """Return the letters that lead from a state to each next one."""
    merged: dict[int, list[str]] = {}
    for letter, to in zip(automaton.sources.letters, automaton.next[state], strict=True):
        if to != NOWHERE:
            merged.setdefault(to, []).append(letter)
    return merged


def _size(automaton: Automaton) -> Point:
    """Return the width and height of a drawing, loops and their labels included."""
    offsets = _offsets(automaton)
    loops = [len(_shown(merged[state])) for state in offsets if state in (merged := _merged(automaton, state))]
    across = max(abs(x) for x, _ in offsets.values()) + MARGIN + _LETTER * max(loops, default=0)
    return 2 * across, 2 * (max(abs(y) for _, y in offsets.values()) + MARGIN)


def _offsets(automaton: Automaton) -> dict[int, Point]:
    """Return where each state stands, from the middle: on a circle, the start on the left."""
    count = len(automaton)
    arrows = [_merged(automaton, state) for state in range(count)]
    degree = max(len([to for to in merged if to != state]) for state, merged in enumerate(arrows))
    longest = max((len(_shown(letters)) for merged in arrows for letters in merged.values()), default=1)
    pitch = _PITCH + _SPREAD * max(0, degree - 3) * longest
    radius = 0.0 if count == 1 else pitch / 2 / math.sin(math.pi / count)
    angles = [math.pi + 2 * math.pi * place / count for place in range(count)]
    order = _order(arrows)
    return {
        state: (radius * math.cos(angle), radius * math.sin(angle)) for state, angle in zip(order, angles, strict=True)
    }


def _order(arrows: Sequence[Mapping[int, object]]) -> list[int]:
    """Return the states in an order round the circle in which arrows are short, by swaps, the start first."""
    count = len(arrows)
    order = list(range(count))

    def cost() -> int:
        place = {state: number for number, state in enumerate(order)}
        gaps = [abs(place[state] - place[to]) for state, merged in enumerate(arrows) for to in merged]
        return sum(min(gap, count - gap) ** 2 for gap in gaps)

    best, gained = cost(), count <= _ORDERED_STATES
    while gained:
        gained = False
        for one in range(1, count):
            for other in range(one + 1, count):
                order[one], order[other] = order[other], order[one]
                if (new := cost()) < best:
                    best, gained = new, True
                else:
                    order[one], order[other] = order[other], order[one]
    return order


def _automaton(automaton: Automaton, centre: Point) -> list[str]:
    """Draw one automaton: arrows first, so that states and then labels lie above them."""
    offsets = _offsets(automaton)
    places = [(centre[0] + offsets[state][0], centre[1] + offsets[state][1]) for state in range(len(automaton))]
    arrows, labels = [_start(places[0])], []
    for state, place in enumerate(places):
        for to, letters in _merged(automaton, state).items():
            if to == state:
                angle = math.atan2(place[1] - centre[1], place[0] - centre[0]) if len(places) > 1 else -math.pi / 2
                arrow, label = _loop(place, angle, len(_shown(letters)))
            else:
                arrow, label = _arrow(place, places[to], centre, len(places))
            title = f"{state} → {to}: {' '.join(map(visible_line, letters))}"
            arrows.append(f"<g><title>{_text(title)}</title>{arrow}</g>")
            labels.append(f'<text class="label" x="{label[0]:.1f}" y="{label[1]:.1f}">{_text(_shown(letters))}</text>')
    circles = []
    for state, (x, y) in enumerate(places):
        answer = automaton.outputs[state]
        shown = visible_line(answer) if answer != UNASKED else "–"
        circles.append(
            f'<circle class="state" cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>'
            f'<text class="answer" x="{x:.1f}" y="{y - 3:.1f}">{_text(shown)}</text>'
            f'<text class="name" x="{x:.1f}" y="{y + 14:.1f}">{state}</text>'
        )
    return [*arrows, *circles, *labels]


def _start(place: Point) -> str:
    """Draw the arrow from nowhere, from below: the start stands on the left, and its loop goes further left."""
    x, y = place
    along = math.radians(128)
    tip = (x + RADIUS * math.cos(along), y + RADIUS * math.sin(along))
    tail = (x + (RADIUS + 34) * math.cos(along), y + (RADIUS + 34) * math.sin(along))
    return f'<path class="edge" d="M {_at(tail)} L {_at(tip)}"/>' + _head(tip, along + math.pi)


def _loop(place: Point, angle: float, letters: int) -> tuple[str, Point]:
    """Return a loop at a state that points away from the middle, and where its label stands."""
    x, y = place

    def out(turn: float, far: float) -> Point:
        return x + far * math.cos(angle + turn), y + far * math.sin(angle + turn)

    begin, end = out(-0.45, RADIUS), out(0.45, RADIUS)
    path = f'<path class="edge" d="M {_at(begin)} C {_at(out(-0.62, 74))} {_at(out(0.62, 74))} {_at(end)}"/>'
    aside = _LETTER * (letters - 1) / 2 * abs(math.cos(angle))
    return path + _head(end, angle + 0.45 + math.pi + 0.24), out(0, 60 + aside)


def _arrow(begin: Point, end: Point, centre: Point, count: int) -> tuple[str, Point]:
    """Return a curved arrow, bent to its right so that the way back is another line, and where its label stands."""
    length = math.dist(begin, end)
    straight = math.atan2(end[1] - begin[1], end[0] - begin[0])
    bend = min(0.26, 26 / length + 0.08)
    middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
    aside = straight + math.pi / 2
    outward = (middle[0] - centre[0]) * math.cos(aside) + (middle[1] - centre[1]) * math.sin(aside)
    radius = math.dist(begin, centre)
    across = math.dist(middle, centre) < 0.99 * radius * math.cos(math.pi / count)
    # Outside of the line between two states that are no neighbours stands another one.
    if across and outward > 0.05 * radius:
        bend = -bend / 4
    control = (
        middle[0] + length * bend * math.cos(aside),
        middle[1] + length * bend * math.sin(aside),
    )
    leaving = math.atan2(control[1] - begin[1], control[0] - begin[0])
    coming = math.atan2(end[1] - control[1], end[0] - control[0])
    tail = (begin[0] + RADIUS * math.cos(leaving), begin[1] + RADIUS * math.sin(leaving))
    tip = (end[0] - RADIUS * math.cos(coming), end[1] - RADIUS * math.sin(coming))
    path = f'<path class="edge" d="M {_at(tail)} Q {_at(control)} {_at(tip)}"/>'
    # Arrows through the middle all cross there: their labels stand nearer to where they come from.
    where = 0.3 if across else 0.5
    label = tuple(
        (1 - where) ** 2 * a + 2 * where * (1 - where) * b + where**2 * c
        for a, b, c in zip(tail, control, tip, strict=True)
    )
    return path + _head(tip, coming), (label[0], label[1])


def _head(tip: Point, angle: float) -> str:
    """Draw the head of an arrow that goes in the direction of `angle`."""
    corners = [tip]
    for turn in (2.72, -2.72):
        corners.append((tip[0] + 10 * math.cos(angle + turn), tip[1] + 10 * math.sin(angle + turn)))
    return f'<polygon class="head" points="{" ".join(_at(corner) for corner in corners)}"/>'


def _shown(letters: Sequence[str]) -> str:
    """Return the label of an arrow."""
    shown = ["␣" if letter == " " else visible_line(letter) for letter in letters]
    more = len(shown) - LABEL_LETTERS
    return " ".join(shown) if more <= 0 else f"{' '.join(shown[: LABEL_LETTERS - 1])} +{more + 1}"


def _at(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"


def _text(text: str) -> str:
    return escape(visible_line(text))
