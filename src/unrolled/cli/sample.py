"""`unrolled sample`: a trained model writes.

Knows nothing about how characters are drawn: it parses, calls and prints, one text as it comes, several when all are
done.
"""

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import Folder, Json, Number, Switch, Whole
from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from unrolled.laboratory import Run
    from unrolled.models import Tap
    from unrolled.text.vocabulary import Vocabulary

CONTEXT = 16
"""So many characters before one decide how it is shown: long runs of combining marks are cut."""
TEMPERATURE = 0.8
MOST_TEXTS = 4096
MOST_TOGETHER = 10**8
"""Characters of several texts are held until all are done."""


@Parameter(name="*")
@dataclass(frozen=True)
class DrawArguments:
    """How characters are drawn."""

    temperature: Number | None = None
    "Below 1 bolder, above 1 wilder; 0 always takes the likeliest (default: 0.8, and 0 for the answer to a source)."
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
    count: Whole = 1,
    seed: Whole | None = None,
    clamp: Annotated[tuple[str, ...], Parameter(metavar="UNIT=X", negative="", show_default=False)] = (),
    raw: Switch = False,
    json: Json = False,
) -> int:
    """Let a trained model write, character by character.

    Parameters
    ----------
    run
        The run folder.
    prompt
        What the text begins with; the model goes on from there. For a run of pairs or tags: a source.
    length
        How many characters to write; the answer to a source ends where the model ends it.
    count
        How many texts to write, side by side and with seeds one apart: many cost little more than one.
    seed
        The same seed gives the same text (default: a new one each time, shown at the end).
    clamp
        Hold a unit at a value, such as "layer1.cell[137]=1.0"; may be repeated. Compare with the same seed without it.
    raw
        Print control characters as they are, even if they drive the terminal.
    json
        Print one JSON line instead of the text.
    """
    _refuse(length, count, seed)
    from secrets import randbelow

    from unrolled.laboratory import open_run
    from unrolled.models import untouched
    from unrolled.neurons.clamps import Clamps
    from unrolled.sampling import SamplingOptions

    drawn: dict[str, Any] = asdict(draw)
    drawn["temperature"] = TEMPERATURE if draw.temperature is None else draw.temperature
    SamplingOptions(**drawn)  # refuses nonsense before the model is read
    opened = open_run(run)
    tap = Clamps.parse(clamp, opened.model.units) if clamp else untouched
    voice = Voice(as_json=True)
    _note_strangers(voice, opened, prompt)
    regime = opened.config.options.regime
    if regime == "tags":
        return _tag(opened, prompt, tap, {"run": str(run), "prompt": prompt, "clamps": list(clamp)}, count, json=json)
    if regime == "pairs":
        drawn["temperature"] = 0.0 if prompt and draw.temperature is None else drawn["temperature"]
        prompt = _as_source(prompt)
    start = prompt or opening(opened.vocabulary)
    chosen = randbelow(2**31) if seed is None else seed
    as_bytes = raw and opened.vocabulary.kind == "bytes"
    told = {"run": str(run), "prompt": start, "length": length, "seed": chosen, **drawn, "clamps": list(clamp)}
    if count > 1:
        seeds = range(chosen, chosen + count)
        written = opened.samples(start, length, seeds=seeds, tap=tap, **drawn)
        written = [text.partition("\n")[0] for text in written] if regime == "pairs" else written
        if json:
            found = [{"seed": one, "text": text} for one, text in zip(seeds, written, strict=True)]
            Voice().result({**told, "count": count, "texts": found})
            return 0
        for one, text in zip(seeds, written, strict=True):
            _write(f"--- seed {one}\n")
            _print(prompt, text, raw=raw, as_bytes=as_bytes)
        return 0
    characters = islice(chain.from_iterable(opened.write(start, seed=chosen, tap=tap, **drawn)), length)
    if regime == "pairs":
        characters = takewhile(lambda character: character != "\n", characters)
    if json:
        Voice().result({**told, "text": "".join(characters)})
        return 0
    _print(prompt, characters, raw=raw, as_bytes=as_bytes)
    if seed is None and voice.console.is_terminal:
        voice.say(f"(seed {chosen})", style="dim")
    return 0


def _note_strangers(voice: Voice, opened: "Run", prompt: str) -> None:
    if strangers := opened.vocabulary.unknown(prompt):
        shown = ", ".join(repr(c) for c in strangers[:8])
        voice.note(f"the model has never seen {shown}: read as its unknown symbol")


def _as_source(prompt: str) -> str:
    """Return the prompt with the TAB after which an answer begins; behind a TAB may stand how the answer begins."""
    if "\n" in prompt or prompt.count("\t") > 1:
        raise ConfigError(
            expected="a source for a run of pairs: one line with at most one TAB", received=repr(prompt[:40]),
            remedy="give one source at a time",
        )  # fmt: skip
    return prompt if "\t" in prompt else prompt + "\t"


def _tag(opened: "Run", prompt: str, tap: "Tap", told: dict[str, object], count: int, *, json: bool) -> int:
    """Print a source and under it the tag that the model finds likeliest after each of its characters."""
    from unrolled.sampling import likeliest
    from unrolled.text.display import visible_line

    if not prompt or "\n" in prompt or "\t" in prompt:
        raise ConfigError(
            expected="a --prompt of one line without a TAB, as this run was trained on tags",
            received=repr(prompt[:40]) if prompt else "none",
            remedy="give the characters to tag",
        )
    if count > 1:
        raise ConfigError(
            expected="--count 1 for a run of tags", received=str(count), remedy="leave it out: tags are not drawn"
        )
    tags = opened.vocabulary.decode(likeliest(opened.model, opened.vocabulary.encode(prompt), tap=tap))
    if json:
        Voice().result({**told, "tags": tags})
        return 0
    _write(f"{visible_line(prompt)}\n{visible_line(tags)}\n")
    return 0


def _refuse(length: int, count: int, seed: int | None) -> None:
    if not 0 <= length <= 10**9:
        raise ConfigError(expected="--length from 0 to 1000000000", received=str(length), remedy="change it")
    if not 1 <= count <= MOST_TEXTS or (count > 1 and count * length > MOST_TOGETHER):
        raise ConfigError(
            expected=f"--count from 1 to {MOST_TEXTS}, and at most {MOST_TOGETHER} characters together",
            received=f"--count {count} --length {length}",
            remedy="lower one of them",
        )
    if seed is not None and seed < 0:
        raise ConfigError(expected="--seed of at least 0", received=str(seed), remedy="change it")


def opening(vocabulary: "Vocabulary") -> str:
    """Return what a model without a prompt begins after: a new line, where its text had any."""
    return vocabulary.symbols[-1] if vocabulary.unknown("\n") else "\n"


def _print(prompt: str, characters: Iterable[str], *, raw: bool, as_bytes: bool) -> None:
    """Print a prompt and what was written after it, each character as it comes."""
    from unrolled.text.display import visible

    before = ""
    for piece in chain([prompt], characters) if prompt else characters:
        _write(piece if raw else visible(piece, after=before), as_bytes=as_bytes)
        before = (before + piece)[-CONTEXT:]
    _write("\n")


def _write(piece: str, *, as_bytes: bool = False) -> None:
    if as_bytes:
        sys.stdout.buffer.write(piece.encode("utf-8", "surrogateescape"))
    else:
        sys.stdout.write(piece)
    sys.stdout.flush()
