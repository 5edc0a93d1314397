"""`unrolled bench`: training, scoring, sampling and reading beside the strongest plain twin, in one run.

Knows nothing about how it is measured: it calls and prints.
"""

import re
from typing import TYPE_CHECKING

from rich.text import Text

from unrolled.cli.console import Voice
from unrolled.cli.options import Json, Whole
from unrolled.errors import ConfigError, nearest

if TYPE_CHECKING:
    from unrolled.benchmarks import Result, Row

COLUMNS = (44, 11, 11, 7)
"""The name, both values and the ratio; the reference's name stands on a line of its own below."""


def bench(*names: str, rounds: Whole = 5, json: Json = False) -> int:
    """Measure speeds side by side with what a user would write in plain PyTorch, in one run.

    Parameters
    ----------
    names
        Measure only the rows whose name contains one of these words (default: all, a few minutes).
    rounds
        How many turns each side takes at least; medians are shown.
    json
        Print one JSON list.
    """
    from unrolled.benchmarks import measure_row, rows

    voice = Voice(as_json=json)
    if rounds < 1:
        raise ConfigError(expected="--rounds of at least 1", received=str(rounds), remedy="raise it")
    chosen = _chosen(rows(), names)
    voice.say("unrolled beside its strongest twin in plain PyTorch, medians; both take turns")
    voice.say("ratio = unrolled / reference: 1 is a tie, and above 1 unrolled is the faster one")
    subject, results = "", []
    for number, row in enumerate(chosen, 1):
        if row.subject != subject:
            subject = row.subject
            voice.say()
            voice.say(_line(subject, "unrolled", "reference", "ratio"), style="bold")
        with voice.console.status(f"{number} of {len(chosen)}: {row.name} …"):
            result = measure_row(row, rounds)
        results.append(result)
        _show(voice, row, result)
    if json:
        voice.result(list(results))
    return 0


def _chosen(rows: "list[Row]", names: tuple[str, ...]) -> "list[Row]":
    """Return the rows whose name contains one of the names as whole words."""
    words = {row.name: f" {' '.join(_words(row.name))} " for row in rows}
    for name in names:
        if not any(f" {' '.join(_words(name))} " in found for found in words.values()):
            known = {word for row in rows for word in _words(row.name) if word.isalpha()}
            raise ConfigError(expected="a word from a row's name", received=repr(name), remedy=nearest(name, known))
    wanted = [f" {' '.join(_words(name))} " for name in names]
    return [row for row in rows if not names or any(name in words[row.name] for name in wanted)]


def _words(name: str) -> list[str]:
    return re.findall(r"\w+", name.lower())


def _show(voice: Voice, row: "Row", result: "Result") -> None:
    value, reference_value = (f"{result[key]:,.{_decimals(result[key])}f}" for key in ("value", "reference_value"))
    line = Text(
        _line(row.name.removeprefix(f"{row.name.split()[0]} "), value, reference_value, f"{result['ratio']:.2f}")
    )
    if result["ratio"] < 1:
        line.stylize("red", len(line) - COLUMNS[3])
    voice.say(line)
    voice.say(f"  {result['unit']}; reference: {result['reference']}", style="dim")


def _decimals(value: float) -> int:
    return 0 if value >= 100 else 1


def _line(name: str, *cells: str) -> str:
    return name.ljust(COLUMNS[0]) + "".join(cell.rjust(width) for cell, width in zip(cells, COLUMNS[1:], strict=True))
