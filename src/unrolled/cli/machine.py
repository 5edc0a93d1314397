"""`unrolled machine`: automata, stacks and Turing machines, run, watched step by step, and compiled into weights.

Knows nothing about how machines work or how they are compiled: it parses, calls and prints. Only `compile` needs
torch.
"""

import shlex
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.machine_display import moments, show_listed, show_work
from unrolled.cli.options import Count, Folder, Json, Whole
from unrolled.errors import ConfigError
from unrolled.text.display import visible_line

if TYPE_CHECKING:
    from unrolled.programs.compiled_folder import Compiled
    from unrolled.programs.turing import Machine, Result, TuringMachine

LIMIT = 100_000
SHOWN_STEPS = 200
KINDS = {
    "automaton": "finite automaton",
    "counter": "counter machine",
    "pushdown": "stack machine",
    "turing": "Turing machine",
}

Name = Annotated[str, Parameter(metavar="MACHINE")]
Input = Annotated[str, Parameter(metavar="INPUT", allow_leading_hyphen=True, show_default=False)]


def machine_list(*, json: Json = False) -> int:
    """List the machines that come with unrolled.

    Parameters
    ----------
    json
        Print one JSON list.
    """
    from unrolled.programs.library import library

    voice, found = Voice(as_json=json), list(library().values())
    if json:
        voice.result([_about(one) for one in found])
        return 0
    for one in found:
        show_listed(voice, _about(one))
    voice.say()
    first = found[0].name
    voice.commands(
        [
            ("unrolled machine run binary-addition 1011+110", "what it says"),
            (f"unrolled machine step {first} 1011", "how it works, step by step"),
            (f"unrolled machine compile {first} --out runs/{first}", "the same in a network's weights"),
        ]
    )
    return 0


def machine_run(machine: Name, input: Input = "", /, *, limit: Count = LIMIT, json: Json = False) -> int:
    """Run a machine on an input and say whether it accepts, what it writes, and in how many steps.

    Parameters
    ----------
    machine
        A machine of the list, or a file that describes one.
    input
        What it reads (default: nothing).
    limit
        Give up after so many steps.
    json
        Print one JSON line: {"accepted", "output", "steps"}.
    """
    from unrolled.programs.library import machine_named

    found, voice = machine_named(machine), Voice(as_json=json)
    result = found.run(input, limit)
    _told(voice, found, input, result)
    return 0


def machine_step(
    machine: Name,
    input: Input = "",
    /,
    *,
    limit: Count = LIMIT,
    first: Count | None = None,
    json: Json = False,
) -> int:
    """Show a machine at work inside a network: at each token its state, its memories, and the units that are on.

    Parameters
    ----------
    machine
        A machine of the list, or a file that describes one.
    input
        What it reads (default: nothing).
    limit
        Give up after so many steps.
    first
        Show at most so many tokens (default: 200, and with --json all).
    json
        Print one JSON line: {"accepted", "output", "steps", "tokens"}, the last with what was on at each token.
    """
    from unrolled.programs.circuit import compile_program
    from unrolled.programs.library import machine_named
    from unrolled.programs.stream import lower

    found, voice = machine_named(machine), Voice(as_json=json)
    result = found.run(input, limit)
    program = lower(found)
    circuit = compile_program(program)
    work = moments(program, circuit, input)
    if json:
        voice.result({**_outcome(result), "tokens": [moment.to_json() for moment in islice(work, first)]})
        return 0
    seen = list(islice(work, first or SHOWN_STEPS))
    show_work(voice, found.name, found.description, program, seen)
    if next(work, None) is not None:
        voice.note(f"the first {len(seen)} tokens; --first shows more")
    _told(voice, found, input, result)
    voice.say(f"on: units of the compiled network at that token; {len(circuit.units)} in all", style="dim")
    return 0


def machine_compile(
    machine: Name,
    /,
    *,
    out: Folder,
    into: Annotated[Literal["circuit", "rnn", "lstm"], Parameter(show_default=True)] = "circuit",
    activation: Literal["saturated-linear", "heaviside"] | None = None,
    cells: Whole | None = None,
    characters: Count = 60_000,
    limit: Count = 2_000,
    seed: Whole = 1,
    json: Json = False,
) -> int:
    """Compile a machine into the weights of a recurrent network, and write it as a run.

    The network reads lines such as `1011+110=......10001`: the input, a sign that it is over, a tick for each step
    of computing, and the answer. It predicts every token that is certain, with certainty.

    Parameters
    ----------
    machine
        A machine of the list, or a file that describes one.
    out
        The run folder.
    into
        Units with names (circuit), a plain Elman network (rnn; finite automata), or counting cells (lstm).
    activation
        Of the units of a circuit that are always 0 or 1: clip(sum), or a threshold (default: saturated-linear).
    cells
        Hold each stack in numbers of few bits and so many memory cells (default: 256); 0 for one number in float64.
    characters
        About how much text to write for the run: lines of the machine's own work.
    limit
        Leave inputs out of that text that keep the machine busy for more tokens.
    seed
        Of that text.
    json
        Print one JSON line.
    """
    if cells is not None and cells < 0:
        raise ConfigError(expected="--cells of 0 or more", received=str(cells), remedy="leave it out, or raise it")
    from unrolled.programs.library import machine_named

    found, voice = machine_named(machine), Voice(as_json=json)
    from unrolled.programs.compiled_folder import FEATURES, CompileRequest, write_compiled
    from unrolled.programs.stream import lower

    request = CompileRequest(into, activation, cells=cells, characters=characters, limit=limit, seed=seed)
    made = write_compiled(found, out, request)
    run, units = made.run, sum(made.run.model.units.values())
    if json:
        told = {"run": str(out), "params": run.config.parameters, "units": units}
        told |= {"activation": made.activation, "cells": made.cells}
        told |= {"exact_up_to": dict(made.depths), "examples_answered": made.answered}
        voice.result({**told, "valid_bits_per_char": made.bits})
        return 0
    voice.say(f"run      {out}", style="bold")
    voice.say(f"model    {run.config.description}, {units} units")
    voice.say(f"exact    {_exact(made)}")
    if made.answered:
        said = "what the input will be is not certain, all else is"
    else:
        said = f"no input was answered within {limit:,} tokens (--limit) and the memories, so lines break off"
    voice.say(f"score    {made.bits:.3f} bits per character of its own lines: {said}")
    typed, example = shlex.quote(str(out)), found.examples[0].text if found.examples else ""
    prompt = shlex.quote(example + lower(found).end)
    voice.commands(
        [
            (f"unrolled sample {typed} --prompt {prompt} --length 60", "let it work"),
            (
                f"unrolled neurons {typed} --features {shlex.quote(str(out / FEATURES))}",
                "find its units by looking",
            ),
            (f"unrolled neurons {typed} --page machine.html", "one page that runs it in a browser"),
            (f"unrolled machine step {shlex.quote(machine)} {shlex.quote(example)}", "the same step by step"),
        ]
    )
    return 0


def _exact(made: "Compiled") -> str:
    """Say how far a compiled network is exact."""
    if not made.depths:
        return "at any length: it has no memory but its states"
    held = [
        f"{'a count of ' if name in made.counters else ''}{most:,} "
        f"{'in' if name in made.counters else 'symbols on'} {visible_line(name)}"
        for name, most in made.depths.items()
    ]
    cells = f" ({made.cells:,} memory cell{'s' * (made.cells > 1)} each)" if made.cells else ""
    return f"at any length, with up to {', '.join(held)}{cells}{'; beyond it an error' if made.checked else ''}"


def _told(voice: Voice, machine: "Machine | TuringMachine", text: str, result: "Result") -> None:
    if voice.as_json:
        voice.result(_outcome(result))
        return
    verdict = ("accepts" if result.accepted else "rejects") if machine.acceptor else ""
    said = f"{machine.name} {verdict or 'reads'} {visible_line(text) or 'nothing'}"
    if not machine.acceptor:
        said += f" and writes {visible_line(result.output) or 'nothing'}" if result.accepted else " and rejects it"
    voice.say(f"{said} ({result.steps:,} steps)", style="bold")


def _outcome(result: "Result") -> dict[str, object]:
    return {"accepted": result.accepted, "output": result.output, "steps": result.steps}


def _about(machine: "Machine | TuringMachine") -> dict[str, object]:
    from unrolled.programs.machine_text import kind_of

    example = next((one for one in machine.examples if one.text), None)
    shown = ""
    if example is not None:
        answer = example.output if example.output is not None else "yes" if example.accepted else "no"
        shown = f"{example.text} → {answer}"
    return {
        "name": machine.name,
        "kind": KINDS[kind_of(machine)],
        "states": len(machine.states),
        "alphabet": list(machine.alphabet),
        "description": machine.description,
        "example": shown,
    }
