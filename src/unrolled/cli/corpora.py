"""`unrolled corpora`: the texts that need no file.

Knows nothing about how they are made. Must not import torch: it starts at once.
"""

from rich.table import Table
from rich.text import Text

from unrolled.cli.console import Voice
from unrolled.cli.options import Json


def corpora(*, json: Json = False) -> int:
    """List the built-in texts: every Python ships them, nothing is downloaded.

    Parameters
    ----------
    json
        Print one JSON list.
    """
    from unrolled.text.builtin import describe

    voice = Voice(as_json=json)
    found = describe()
    if json:
        voice.result([vars(text) for text in found])
        return 0
    table = Table(box=None, pad_edge=False)
    table.add_column("text", style="cyan", no_wrap=True)
    table.add_column("characters", justify="right", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for text in found:
        size = "not here" if text.characters is None else f"{text.characters:,}"
        table.add_row(text.name, size, Text(text.description))
    voice.say(table)
    voice.say("train on one:  unrolled train manual", style="dim")
    return 0
