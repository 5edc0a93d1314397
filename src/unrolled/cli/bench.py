"""`unrolled bench`: training throughput of every family beside what a user would write in plain PyTorch.

Knows nothing about how it is measured: it calls and prints.
"""

from rich.table import Table
from rich.text import Text

from unrolled.cli.console import Voice
from unrolled.cli.options import Json, Whole
from unrolled.errors import ConfigError, nearest


def bench(*names: str, rounds: Whole = 7, json: Json = False) -> int:
    """Measure training throughput side by side with plain PyTorch, same sizes, in one run.

    Parameters
    ----------
    names
        Measure only the rows whose name contains one of these words (default: all).
    rounds
        How often each side is measured, in turns; medians are shown.
    json
        Print one JSON list.
    """
    from unrolled.benchmarks import measure_rows, rows

    voice = Voice(as_json=json)
    if rounds < 1:
        raise ConfigError(expected="--rounds of at least 1", received=str(rounds), remedy="raise it")
    everything = rows()
    for name in names:
        if not any(name in row.name for row in everything):
            known = {row.name.split()[0] for row in everything}
            raise ConfigError(expected="a word from a row's name", received=repr(name), remedy=nearest(name, known))
    chosen = [row for row in everything if not names or any(name in row.name for name in names)]
    results = []
    table = Table(box=None, pad_edge=False)
    for title in ("", "unrolled", "plain PyTorch", "ratio", "plain PyTorch is"):
        table.add_column(title, justify="left" if title in ("", "plain PyTorch is") else "right", overflow="fold")
    with voice.console.status("measuring …") as status:
        for row in chosen:
            status.update(f"measuring {row.name} …")
            result = measure_rows(row, rounds)
            results.append(result)
            style = "" if result["ratio"] >= 1 else "red"
            table.add_row(
                row.name,
                f"{result['value']:,.0f}",
                f"{result['reference_value']:,.0f}",
                Text(f"{result['ratio']:.2f}", style=style),
                row.reference,
            )
    if json:
        voice.result(list(results))
        return 0
    voice.say("training throughput in characters per second", style="bold")
    voice.say(table)
    return 0
