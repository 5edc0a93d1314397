"""`unrolled import`: a page that somebody gave away becomes a run folder again.

Knows nothing about how pages are made or read: it parses, calls and prints.
"""

import shlex
from itertools import count
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import Folder, Json

NAME_LENGTH = 60
RUNS = Path("runs")


def import_(
    page: Annotated[Path, Parameter(metavar="FILE")],
    /,
    *,
    run: Folder | None = None,
    json: Json = False,
) -> int:
    """Make a run folder out of a page that `unrolled neurons --page` wrote; nothing in the page is executed.

    Parameters
    ----------
    page
        The page.
    run
        The run folder (default: a new one under runs/, with the name that the page has).
    json
        Print one JSON line.
    """
    from unrolled.pages.reading import read_page, write_run

    voice = Voice(as_json=json)
    contents = read_page(page)
    path = write_run(contents, run if run is not None else _free(contents.title or page.stem))
    parameters = sum(weights.numel() for weights in contents.weights.values())
    if json:
        voice.result({"run": str(path), "page": str(page), "parameters": parameters})
        return 0
    voice.say(f"run      {path}", style="bold")
    voice.say(f"model    {contents.config.get('description', '')}")
    voice.say("weights  as the page holds them, rounded to float16")
    typed = shlex.quote(str(path))
    voice.commands(
        [
            (f"unrolled sample {typed}", "let it write"),
            (f"unrolled show {typed}", "how it learned"),
            (f"unrolled neurons {typed} TEXT", "look inside with a text of your own"),
        ]
    )
    return 0


def _free(title: str) -> Path:
    """Return a new path under runs/ with the page's name; a page may call itself anything."""
    stem = "".join(one if one.isalnum() or one in "-_" else "-" for one in title[:NAME_LENGTH]).strip("-") or "page"
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    return next(RUNS / name for name in names if not (RUNS / name).exists())
