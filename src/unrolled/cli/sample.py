"""`unrolled sample`: a trained model writes.

Knows nothing about how characters are drawn: it parses, calls and prints as they come.
"""

import sys
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import Folder, Json, Number, Switch, Whole
from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from unrolled.text.vocabulary import Vocabulary

CONTEXT = 16
"""So many characters before one decide how it is shown: long runs of combining marks are cut."""


@Parameter(name="*")
@dataclass(frozen=True)
class DrawArguments:
    """How characters are drawn."""

    temperature: Number = 0.8
    "Below 1 bolder, above 1 wilder; 0 always takes the likeliest."
    top_k: Whole | None = None
    "Draw among the N likeliest characters only."
    top_p: Number | None = None
    "Draw among the likeliest characters that together reach this probability."


def sample(
    run: Folder,
    /,
    *,
    prompt: Annotated[str, Parameter(metavar="TEXT", show_default=False, allow_leading_hyphen=True)] = "",
    length: Whole = 1000,
    draw: DrawArguments = DrawArguments(),
    seed: Whole | None = None,
    raw: Switch = False,
    json: Json = False,
) -> int:
    """Let a trained model write, character by character.

    Parameters
    ----------
    run
        The run folder.
    prompt
        What the text begins with; the model goes on from there.
    length
        How many characters to write.
    seed
        The same seed gives the same text (default: a new one each time, shown at the end).
    raw
        Print control characters as they are, even if they drive the terminal.
    json
        Print one JSON line instead of the text.
    """
    if not 0 <= length <= 10**9:
        raise ConfigError(expected="--length from 0 to 1000000000", received=str(length), remedy="change it")
    if seed is not None and seed < 0:
        raise ConfigError(expected="--seed of at least 0", received=str(seed), remedy="change it")
    from secrets import randbelow

    from unrolled.laboratory import open_run
    from unrolled.sampling import SamplingOptions
    from unrolled.text.display import visible

    SamplingOptions(**asdict(draw))  # refuses nonsense before the model is read
    opened = open_run(run)
    voice = Voice(as_json=True)
    if prompt and (strangers := opened.vocabulary.unknown(prompt)):
        shown = ", ".join(repr(c) for c in strangers[:8])
        voice.note(f"the model has never seen {shown}: read as its unknown symbol")
    start = prompt or opening(opened.vocabulary)
    chosen = randbelow(2**31) if seed is None else seed
    pieces = islice(opened.write(start, seed=chosen, **asdict(draw)), length)
    if json:
        found = {"run": str(run), "prompt": start, "text": "".join(pieces), "length": length, "seed": chosen}
        Voice().result({**found, **asdict(draw)})
        return 0
    before = ""
    for piece in chain([prompt], pieces) if prompt else pieces:
        _write(piece if raw else visible(piece, after=before), as_bytes=raw and opened.vocabulary.kind == "bytes")
        before = (before + piece)[-CONTEXT:]
    _write("\n")
    if seed is None and voice.console.is_terminal:
        voice.say(f"(seed {chosen})", style="dim")
    return 0


def opening(vocabulary: "Vocabulary") -> str:
    """Return what a model without a prompt begins after: a new line, where its text had any."""
    return vocabulary.symbols[-1] if vocabulary.unknown("\n") else "\n"


def _write(piece: str, *, as_bytes: bool = False) -> None:
    if as_bytes:
        sys.stdout.buffer.write(piece.encode("utf-8", "surrogateescape"))
    else:
        sys.stdout.write(piece)
    sys.stdout.flush()
