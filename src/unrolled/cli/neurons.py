"""`unrolled neurons`: which units mean something, how sure that is, and what happens without them.

Knows nothing about how they are found: it parses, calls and prints.
"""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Group
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text as Line

from unrolled.cli.console import Voice
from unrolled.cli.options import Count, Folder, Json, Switch, Text, Whole
from unrolled.errors import ConfigError, TextError
from unrolled.text.display import visible, visible_line

if TYPE_CHECKING:
    from unrolled.inspection import Inspection, Listening, Unseen
    from unrolled.laboratory import Run
    from unrolled.neurons.birth import Births
    from unrolled.neurons.features import Feature
    from unrolled.neurons.findings import Candidate, Search

PAGE = "page.html"
USUAL_CHARACTERS = 400_000
CARDS = 8
"""So many findings are told in sentences; the others follow in one line each."""


@Parameter(name="*")
@dataclass(frozen=True)
class SearchArguments:
    """How the search is done."""

    features: Annotated[Path | None, Parameter(metavar="FILE.py")] = None
    "A Python file with features of your own: plain functions `text -> one label per character`."
    characters: Count = USUAL_CHARACTERS
    "Read at most so much of the text."
    proof: Annotated[bool, Parameter(negative="--no-proof", show_default=False)] = True
    "Whether to ablate and clamp what was found (--no-proof: only search)."
    seed: Whole = 1
    "Of the untrained copies and of what is written with a unit held."


def neurons(
    run: Folder,
    /,
    *texts: Text,
    page: Annotated[Path | None, Parameter(metavar="FILE.html")] = None,
    show: Annotated[str | None, Parameter(metavar="UNIT")] = None,
    over_training: Switch = False,
    how: SearchArguments = SearchArguments(),
    encoding: Annotated[str | None, Parameter(metavar="NAME")] = None,
    json: Json = False,
) -> int:
    """Look inside a trained model: which units follow something in the text, and what it does without them.

    Parameters
    ----------
    run
        The run folder.
    texts
        As for `unrolled train`; without one, the validation and test parts of the text that the run was trained on.
    page
        Write everything on one page that opens in any browser, the model included.
    show
        Do not search: show the text coloured by this unit, `layer1.cell[137]`.
    over_training
        Also say when each unit came to follow its feature.
    encoding
        How the files are encoded (default: as the run was told).
    json
        Print the findings as one JSON list.
    """
    if how.characters < 1 or how.seed < 0:
        raise ConfigError(
            expected="--characters of at least 1 and --seed of at least 0", received="less", remedy="change it"
        )
    if page is not None and show is not None:
        raise ConfigError(expected="--show or --page", received="both", remedy="leave one of them out")
    if page is not None and (problem := _unwritable(page)):
        raise ConfigError(expected="a file to write the page to", received=problem, remedy="choose another --page")
    from unrolled.cli.interrupts import listening as hearing
    from unrolled.cli.reading import read
    from unrolled.inspection import birth_certificates, inspect, make_page, unseen
    from unrolled.laboratory import open_run

    voice = Voice(as_json=json)
    features = _features(how.features)
    opened = open_run(run)
    if show is not None:
        from unrolled.models import parse_unit

        parse_unit(show, opened.model.units)
    options = opened.config.options if encoding is None else replace(opened.config.options, encoding=encoding)
    corpus = read(voice, texts or opened.config.find_sources(), options, opened.vocabulary)
    if show is not None:
        return _show(voice, opened, unseen(opened, corpus, characters=how.characters, fewest=2), show)
    text = unseen(opened, corpus, characters=how.characters)
    if len(text.ids) < how.characters != USUAL_CHARACTERS:
        voice.note(f"there are only {len(text.ids):,} characters that the run was not trained on: all are read")
    born = None
    with hearing() as interrupts, _telling(voice, interrupts) as listening:
        found = inspect(opened, text, features=features, proof=how.proof, seed=how.seed, listening=listening)
        if over_training:
            born = birth_certificates(found, listening)
        written = make_page(found, page, born, listening) if page is not None else None
    if json:
        voice.result([_as_json(one, born) for one in found.search.findings])
        return 0
    _tell(voice, found, born, CARDS)
    voice.say()
    if written is not None:
        _tell_page(voice, written)
    else:
        voice.commands(_next(run, texts, found.search))
    return 0


def look_inside(voice: Voice, run: Path, cards: int) -> None:
    """Search a run that was just trained, tell the surest `cards` findings, and write its page into its folder."""
    from unrolled.cli.interrupts import listening as hearing
    from unrolled.inspection import birth_certificates, inspect, make_page, unseen
    from unrolled.laboratory import open_run
    from unrolled.text.corpus import read_corpus

    opened = open_run(run)
    corpus = read_corpus(opened.config.find_sources(), opened.config.options, vocabulary=opened.vocabulary)
    try:
        text = unseen(opened, corpus)
    except TextError as problem:
        voice.note(str(problem))
        return
    with hearing() as interrupts, _telling(voice, interrupts) as listening:
        found = inspect(opened, text, listening=listening)
        born = birth_certificates(found, listening)
        page = make_page(found, run / PAGE, born, listening)
    _tell(voice, found, born, cards)
    voice.say()
    _tell_page(voice, page)


def _tell_page(voice: Voice, page: Path) -> None:
    voice.say(f"page     {visible_line(str(page))} ({page.stat().st_size / 1e6:.1f} MB)", style="bold")
    voice.say("         open it in any browser: it holds the model itself, and asks no server for anything")


def _unwritable(page: Path) -> str:
    """Say before an hour of work what would stop the page from being written at its end; empty where nothing would."""
    if page.is_dir():
        return f"{page}, which is a folder"
    return "" if page.absolute().parent.is_dir() else f"{page}, whose folder does not exist"


def _features(path: Path | None) -> "Sequence[Feature]":
    from unrolled.neurons.feature_files import load_features
    from unrolled.neurons.features import FEATURES

    return FEATURES if path is None else (*FEATURES, *load_features(path))


@contextmanager
def _telling(voice: Voice, interrupts: object) -> "Iterator[Listening]":
    """Show which stage is going on, in place on a terminal and line by line elsewhere."""
    from unrolled.inspection import Listening

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=voice.console, transient=True, disable=not voice.live) as progress:
        task = progress.add_task("reading", total=None)

        def stage(name: str) -> None:
            progress.update(task, description=name, total=None, completed=0)
            if not voice.live:
                voice.say(f"· {name}", style="dim")

        def share(done: float) -> None:
            progress.update(task, total=1.0, completed=done)

        yield Listening(stage=stage, share=share, should_stop=interrupts)  # type: ignore[arg-type]


def _tell(voice: Voice, found: "Inspection", born: "Births | None", count: int) -> None:
    from unrolled.inspection import best_by_feature
    from unrolled.neurons.sentences import none_found

    search = found.search
    voice.say(
        f"looked   at {search.units:,} units on {search.confirmation:,} characters of {found.unseen.where}, after"
        f" choosing on {search.discovery:,} others; {search.untrained_copies} untrained copies beside it"
    )
    if not search.findings:
        voice.say()
        voice.say(none_found(search))
        return
    best = best_by_feature(search.findings)
    cards, others = best[:count], [one for one in search.findings if one not in best[:count]]
    for number, one in enumerate(cards, 1):
        voice.say()
        voice.say(_card(number, one, born, _seconds(found.run), voice.width if voice.live else None))
    if others:
        voice.say()
        voice.say(f"{len(others)} more, the surest first", style="bold")
        for one in others:
            voice.say(_line(one, voice.width if voice.live else None))
    if born is not None:
        for note in born.notes:
            voice.note(note)


def _card(number: int, one: "Candidate", born: "Births | None", seconds: dict[int, float], width: int | None) -> Group:
    """Return a finding as it is told: a heading and sentences, wrapped for a terminal and in one line for a file."""
    from unrolled.neurons.sentences import claim, sentence

    claimed = visible(claim(one))
    titles = textwrap.wrap(claimed, max(20, width - 4)) if width else [claimed]
    head = Line.assemble((f"{number:>2}  ", "dim"), ("\n    ".join(titles), "bold"), "  ", _bar(one))
    told = [(sentence(one).removeprefix(f"{claim(one)}: "), "")]
    if born is not None:
        told.append((born.births[one.unit, one.feature].sentence(seconds), "italic"))
    body = []
    for words, style in told:
        lines = textwrap.wrap(visible(words), max(20, width - 4)) if width else [visible(words)]
        body += [Line("    " + line, style=style) for line in lines]
    return Group(head, *body)


def _bar(one: "Candidate") -> Line:
    """Draw the strength from chance to perfect in ten cells."""
    from unrolled.neurons.findings import strength

    full = round(10 * max(0.0, strength(one.score, one.kind)))
    return Line.assemble(("━" * full, "green"), ("─" * (10 - full), "dim"))


def _line(one: "Candidate", width: int | None) -> Line:
    from unrolled.neurons.sentences import claim

    score = f"{'AUC' if one.kind == 'yes-no' else 'ρ  '} {one.score:.3f}  "
    effect = f"  ({one.ablation.matters:+.2f} nats without it)" if one.ablation and one.ablation.proved else ""
    words, indent = visible(claim(one) + effect), " " * (4 + len(score))
    lines = textwrap.wrap(words, max(20, width - len(indent))) if width else [words]
    return Line.assemble("    ", (score, "dim"), f"\n{indent}".join(lines))


def _seconds(run: "Run") -> dict[int, float]:
    from unrolled.training.run_folder import RunFolder

    looks = RunFolder.open(run.path).metrics()
    return {look["step"]: look["seconds"] for look in looks if "step" in look and "seconds" in look}


def _as_json(one: "Candidate", born: "Births | None") -> dict[str, object]:
    from unrolled.neurons.sentences import sentence

    told = {**one.to_json(), "sentence": sentence(one)}
    told.pop("against")
    if born is not None:
        birth = born.births[one.unit, one.feature]
        points = [{"step": step, "score": score} for step, score in birth.points]
        told["birth"] = {"after": birth.after, "by": birth.by, "scores": points}
    return told


def _next(run: Path, texts: Sequence[str], search: "Search") -> list[tuple[str, str]]:
    import shlex

    typed = shlex.join([str(run), *texts])
    lines = [(f"unrolled neurons {typed} --page page.html", "everything on one page, the model included")]
    if search.findings:
        best = search.findings[0]
        lines.append((f'unrolled neurons {typed} --show "{best.unit}"', "the text coloured by a unit"))
        if best.clamp is not None:
            held = f'"{best.unit}={best.clamp.on_value:.3g}"'
            lines.append((f"unrolled sample {shlex.quote(str(run))} --clamp {held}", "let it write with the unit held"))
    return lines


def _show(voice: Voice, run: "Run", text: "Unseen", unit: str) -> int:
    from unrolled.cli.colouring import CHARACTERS, coloured
    from unrolled.neurons.streaming import record_units

    values_T = record_units(run.model, text.ids[:CHARACTERS], [unit], precision=run.config.training.precision)[:, 0]
    if voice.as_json:
        voice.result({"unit": unit, "text": text.text[: len(values_T)], "values": values_T.tolist()})
        return 0
    voice.say(coloured(unit, text.text[: len(values_T)], values_T, colours=voice.live, width=voice.width))
    return 0
