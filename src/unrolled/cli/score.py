"""`unrolled score`: how well a trained model predicts a text.

Knows nothing about how texts are scored: it parses, calls and prints.
"""

from dataclasses import replace
from typing import Annotated, Literal

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import Folder, Json, Text, Whole
from unrolled.errors import ConfigError, TextError


def score(
    run: Folder,
    /,
    *texts: Text,
    part: Annotated[
        Literal["all", "train", "valid", "test"] | None, Parameter(metavar="PART", show_choices=False)
    ] = None,
    protocol: Annotated[str, Parameter(metavar="NAME")] = "carried",
    lanes: Whole | None = None,
    encoding: Annotated[str | None, Parameter(metavar="NAME")] = None,
    split: Annotated[str | None, Parameter(metavar="A,B,C")] = None,
    json: Json = False,
) -> int:
    """Score a text under a trained model, in bits and nats per character and bits per byte.

    Parameters
    ----------
    run
        The run folder.
    texts
        As for `unrolled train`; without one, the text that the run was trained on.
    part
        all, train, valid or test of the text (default: test for the run's own text, all for another one).
    protocol
        carried (state carried through the whole part) or reset:256 (cold start every 256 characters).
    lanes
        How many places of the part are read side by side under carried; 1 is exact and slow.
    encoding
        How the files are encoded (default: as the run was told).
    split
        Fractions for the parts (default: the run's own).
    json
        Print one JSON line.
    """
    from unrolled.cli.interrupts import listening
    from unrolled.cli.reading import read
    from unrolled.laboratory import open_run
    from unrolled.text.corpus import parse_split
    from unrolled.training.evaluation import Protocol, evaluate_part
    from unrolled.training.loop import autocast

    voice = Voice(as_json=json)
    chosen = Protocol.parse(protocol)
    if lanes is not None and lanes < 1:
        raise ConfigError(expected="--lanes of at least 1", received=str(lanes), remedy="raise it")
    opened = open_run(run)
    options = opened.config.options
    if encoding is not None:
        options = replace(options, encoding=encoding)
    if split is not None:
        options = replace(options, split=parse_split(split))
    corpus = read(voice, texts or opened.config.find_sources(), options, opened.vocabulary)
    own = opened.config.is_text(corpus)
    if not own and (not texts or corpus.fingerprint == opened.config.fingerprint):
        voice.note("not the parts that this run was trained on: they may overlap with what it has learned")
    part = part or ("test" if own else "all")
    size = len(corpus.part(part))
    if size < 2:
        raise TextError(
            expected=f"a {part} part of at least 2 characters", received=f"{size}", remedy="choose another --part"
        )
    # The precision that the weights were trained at: nothing else multiplied with them while they were fitted.
    with listening() as interrupts, autocast(opened.model, opened.config.training.precision):
        result = evaluate_part(opened.model, corpus, part, chosen, lanes=lanes, should_stop=interrupts)
    if json:
        voice.result({**result.to_json(), "part": part, "run": str(run)})
        return 0
    voice.say(f"{result.bits_per_char:.4f} bits per character", style="bold")
    voice.say(f"{result.nats_per_char:.4f} nats per character, {result.bits_per_byte:.4f} bits per byte")
    own_part = " of the run's own text" if own else ""
    voice.say(f"over {result.chars:,} characters: part {part}{own_part}, protocol {result.protocol}")
    if result.unknown:
        voice.note(f"{result.unknown:,} of them the model has never seen: they are scored as its unknown symbol")
    return 0
