"""Reading a text for a verb: with progress when it takes long, and everything worth knowing said aloud.

Knows nothing about what the text is for.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TransferSpeedColumn

from unrolled.cli.console import Voice

if TYPE_CHECKING:
    from unrolled.text.corpus import Corpus, TextOptions
    from unrolled.text.vocabulary import Vocabulary


def read(
    voice: Voice, texts: Sequence[str], options: "TextOptions", vocabulary: "Vocabulary | None" = None
) -> "Corpus":
    """Read texts into parts of ids, encoded with `vocabulary` if there is one."""
    from unrolled.text.corpus import read_corpus

    columns = (TextColumn("reading"), BarColumn(), TransferSpeedColumn())
    with Progress(*columns, console=voice.console, transient=True, disable=not voice.live) as progress:
        task = progress.add_task("reading", total=None)

        def heard(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total or None)

        corpus = read_corpus(list(texts), options, vocabulary=vocabulary, progress=heard)
    for note in corpus.notes:
        voice.note(note)
    distinct = corpus.vocabulary.size - 1
    if options.regime != "text":
        counts = {name: len(corpus.lines(name)) for name in corpus.parts}
        sizes = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        voice.say(f"{options.regime:9}{sum(counts.values()):,} lines ({sizes}), {distinct} distinct characters")
        return corpus
    sizes = ", ".join(f"{len(ids):,} {name}" for name, ids in corpus.parts.items() if len(ids))
    voice.say(f"text     {corpus.characters:,} characters ({sizes}), {distinct} distinct")
    return corpus
