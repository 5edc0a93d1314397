"""`unrolled sample`: a trained model writes.

Knows nothing about how characters are drawn: it parses, calls and prints as they come.
"""

import sys
from itertools import chain, islice
from pathlib import Path

from unrolled.cli.console import Voice
from unrolled.cli.options import Switch
from unrolled.errors import ConfigError

CONTEXT = 16
"""So many characters before one decide how it is shown: long runs of combining marks are cut."""


def sample(
    run: Path,
    *,
    prompt: str = "\n",
    length: int = 1000,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    raw: Switch = False,
    json: Switch = False,
) -> int:
    r"""Let a trained model write, character by character.

    Parameters
    ----------
    run
        The run folder.
    prompt
        What the text begins with (default: a new line); the model goes on from there.
    length
        How many characters to write.
    temperature
        Below 1 bolder, above 1 wilder; 0 always takes the likeliest.
    top_k
        Draw among the k likeliest characters only.
    top_p
        Draw among the likeliest characters that together reach this probability.
    seed
        The same seed gives the same text (default: a new one each time, shown at the end).
    raw
        Print control characters as they are, even if they drive the terminal.
    json
        Print one JSON line instead of the text.
    """
    if not 0 <= length <= 10**9:
        raise ConfigError(expected="--length from 0 to 1000000000", received=str(length), remedy="change it")
    from secrets import randbelow

    from unrolled.laboratory import open_run
    from unrolled.text.display import visible

    opened = open_run(run)
    voice, said = Voice(as_json=True), Voice(as_json=json)
    if not prompt:
        prompt = "\n"
    if strangers := opened.vocabulary.unknown(prompt):
        shown = ", ".join(repr(c) for c in strangers[:8])
        voice.note(f"the model has never seen {shown}: read as its unknown symbol")
    chosen = randbelow(2**31) if seed is None else seed
    if chosen < 0:
        raise ConfigError(expected="--seed of at least 0", received=str(seed), remedy="change it")
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    pieces = islice(opened.write(prompt, seed=chosen, **options), length)
    if json:
        said.result({"run": str(run), "prompt": prompt, "text": "".join(pieces), "seed": chosen, **options})
        return 0
    before = ""
    for piece in chain([prompt.lstrip("\n")], pieces):
        sys.stdout.write(piece if raw else visible(piece, after=before))
        sys.stdout.flush()
        before = (before + piece)[-CONTEXT:]
    sys.stdout.write("\n")
    sys.stdout.flush()
    if seed is None and voice.console.is_terminal:
        voice.say(f"(seed {chosen})", style="dim")
    return 0
