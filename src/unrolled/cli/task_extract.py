"""`unrolled task extract`: the automaton that a trained network behaves like, beside the compiled one.

Knows nothing about how automata are found or compared: it parses, calls and prints.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import Folder, Json, Whole
from unrolled.text.display import visible_line

if TYPE_CHECKING:
    from unrolled.programs.automata import Automaton, Sources
    from unrolled.programs.extraction import Extraction
    from unrolled.text.vocabulary import Vocabulary


@Parameter(name="*")
@dataclass(frozen=True)
class AskArguments:
    """How much is asked."""

    length: Whole | None = None
    "Ask all sources of up to so many letters (default: as many as make 20,000 sources)."
    longer: Whole = 2000
    "So many longer sources on top."
    states: Whole = 64
    "The largest automaton to look for."
    seed: Whole = 1
    "Of the longer sources."


def task_extract(
    run: Folder,
    /,
    *,
    alphabet: Annotated[str | None, Parameter(metavar="SYMBOLS")] = None,
    ask: AskArguments = AskArguments(),
    svg: Annotated[Path | None, Parameter(metavar="FILE.svg")] = None,
    json: Json = False,
) -> int:
    """Ask a trained network until its automaton is known: which program did training find?

    Parameters
    ----------
    run
        A run of `unrolled task train` on a regular task, or, with --alphabet, any run on pairs or compiled machine.
    alphabet
        Ask all strings over these symbols (default: the sources of the run's task).
    svg
        Draw the automaton, beside the compiled one where there is a machine of that name.
    json
        Print one JSON line.
    """
    from unrolled.laboratory import open_run
    from unrolled.programs.automata import Sources
    from unrolled.programs.automaton_graph import graph_svg, transition_table
    from unrolled.programs.extraction import ExtractionOptions, extract
    from unrolled.programs.lesson_folder import task_of
    from unrolled.programs.tasks import task_named
    from unrolled.training import durable
    from unrolled.training.loop import autocast

    task = task_of(run) if alphabet is None else None
    voice, opened = Voice(as_json=json), open_run(run)
    sources = Sources.of(task_named(task)) if task is not None else Sources.over(alphabet or "")
    options = ExtractionOptions(length=ask.length, longer=ask.longer, states=ask.states, seed=ask.seed)
    voice.say(f"asking   {visible_line(str(run))} about sources over {' '.join(map(visible_line, sources.letters))} …")
    with autocast(opened.model, opened.config.training.precision):
        end = _end(opened.vocabulary, alphabet)
        found = extract(opened.model, opened.vocabulary, sources, end=end, options=options)
    compiled = _compiled(task, sources)
    drawn = [("what training found", found.automaton)] + ([("compiled", compiled)] if compiled is not None else [])
    if svg is not None:
        durable.write_bytes_durably(svg, graph_svg(drawn).encode())
    if json:
        voice.result({"task": task, "layers": opened.config.model.pattern(), **_to_json(found, compiled)})
        return 0
    voice.say()
    for line in (found.verdict(), *([found.clusters.verdict()] if found.clusters is not None else [])):
        voice.say(line)
    if compiled is not None:
        voice.say(_compared(task or "", found.automaton, compiled), style="bold")
    for title, automaton in drawn:
        voice.say(f"\n{title}", style="bold")
        voice.say(transition_table(automaton, voice.width))
    voice.say()
    if svg is not None:
        voice.say(f"drawn in {visible_line(str(svg))}")
    else:
        asked = "" if alphabet is None else f" --alphabet {shlex.quote(alphabet)}"
        what = "draw both" if len(drawn) > 1 else "draw it"
        voice.commands([(f"unrolled task extract {shlex.quote(str(run))}{asked} --svg automaton.svg", what)])
    return 0


def _end(vocabulary: "Vocabulary", alphabet: str | None) -> str:
    """Return what ends a source: a TAB, or, for a compiled machine, which has never seen one, its own sign."""
    from unrolled.programs.drafting import ENDS
    from unrolled.text.pairs import TAB

    if alphabet is None or TAB in vocabulary.symbols:
        return TAB
    return next((sign for sign in ENDS if sign in vocabulary.symbols and sign not in alphabet), TAB)


def _compiled(task: str | None, sources: "Sources") -> "Automaton | None":
    """Return the smallest automaton of the built-in machine of the task's name, if that is a finite automaton."""
    from unrolled.programs.automata import automaton_of
    from unrolled.programs.library import ORDER, built_in
    from unrolled.programs.stream import lower

    if task is None or task not in ORDER:
        return None
    program = lower(built_in(task))
    return None if program.memories else automaton_of(program, sources)


def _compared(task: str, found: "Automaton", compiled: "Automaton") -> str:
    from unrolled.programs.automata import Difference, isomorphic

    match = isomorphic(found, compiled)
    if isinstance(match, Difference):
        return f"It is another program than the machine {task}: {match} (the first is what training found)."
    return f"Training found the program itself: state for state the smallest automaton of the machine {task}."


def _to_json(found: "Extraction", compiled: "Automaton | None") -> dict[str, object]:
    from unrolled.programs.automata import Difference, isomorphic

    match = None if compiled is None else isomorphic(found.automaton, compiled)
    return {
        "states": len(found.automaton),
        "outputs": list(found.automaton.outputs),
        "transitions": [list(edge) for edge in found.automaton.edges()],
        "queries": found.queries,
        "checked_up_to": found.checked_up_to,
        "strings_checked": found.strings_checked,
        "longer_checked": found.longer_checked,
        "disagreements": [str(one) for one in found.disagreements],
        "clusters": None if found.clusters is None else found.clusters.relation,
        "equals_compiled": None if compiled is None else not isinstance(match, Difference),
        "difference": str(match) if isinstance(match, Difference) else None,
        "verdict": found.verdict(),
    }
