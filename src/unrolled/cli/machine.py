"""`unrolled machine`: automata, stacks and Turing machines, run, watched step by step, and compiled into weights.

Knows nothing about how machines work or how they are compiled: it parses, calls and prints. Only `compile` needs
torch.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unrolled.cli.console import Voice
from unrolled.cli.options import Count, Folder, Json, Whole
from unrolled.errors import ConfigError
from unrolled.text.display import visible, visible_line

if TYPE_CHECKING:
    from unrolled.programs.circuit import Circuit
    from unrolled.programs.program import Configuration, Program
    from unrolled.programs.turing import Machine, Result, TuringMachine

LIMIT = 100_000
SHOWN_STEPS = 200
SHOWN_CELLS = 28
"""Of a long tape or stack only so much around the head or the top is drawn."""
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
        about = _about(one)
        voice.say(Text.assemble((one.name, "bold cyan"), (f"  {about['kind']}", "dim")))
        voice.say(Padding(Text(visible(one.description)), (0, 0, 0, 2)))
        if about["example"]:
            voice.say(Padding(Text(str(about["example"]), "green"), (0, 0, 0, 2)))
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
    first: Count = SHOWN_STEPS,
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
        Show at most so many tokens.
    json
        Print one JSON line: {"accepted", "output", "steps", "tokens"}, the last with what was on at each token.
    """
    from unrolled.programs.circuit import compile_program
    from unrolled.programs.library import machine_named
    from unrolled.programs.stream import lower

    found, voice = machine_named(machine), Voice(as_json=json)
    result = found.run(input, limit)
    program = lower(found)
    line = program.line(input, 4 * limit)
    circuit = compile_program(program)
    moments = _moments(program, circuit, line)
    if json:
        voice.result({**_outcome(result), "tokens": [moment.to_json() for moment in moments]})
        return 0
    voice.say(f"{found.name}: {found.description}", style="bold")
    voice.say(_drawn(program, moments[:first], voice))
    if first < len(moments):
        voice.note(f"the first {first} of {len(moments)} tokens; --first shows more")
    _told(voice, found, input, result)
    voice.say(f"on: units of the compiled network at that token; {len(circuit.units)} in all", style="dim")
    return 0


def machine_compile(
    machine: Name,
    /,
    *,
    out: Folder,
    into: Annotated[Literal["circuit", "rnn", "lstm"], Parameter(show_default=True)] = "circuit",
    cells: Whole | None = None,
    characters: Count = 60_000,
    seed: Whole = 1,
    json: Json = False,
) -> int:
    """Compile a machine into the weights of a recurrent network, and write it as a run.

    The network reads lines such as `1011+110=.........10001`: the input, a sign that it is over, a tick for each step
    of computing, and the answer. It predicts every token that is certain, with certainty.

    Parameters
    ----------
    machine
        A machine of the list, or a file that describes one.
    out
        The run folder.
    into
        Units with names (circuit), a plain Elman network (rnn; finite automata), or counting cells (lstm).
    cells
        Hold each stack in numbers of few bits and so many memory cells (default: 256); 0 for one number in float64.
    characters
        About how much text to write for the run: lines of the machine's own work.
    seed
        Of that text.
    json
        Print one JSON line.
    """
    if cells is not None and cells < 0:
        raise ConfigError(expected="--cells of 0 or more", received=str(cells), remedy="leave it out, or raise it")
    from unrolled.programs.library import machine_named

    found, voice = machine_named(machine), Voice(as_json=json)
    from unrolled.programs.compiled_folder import FEATURES, write_compiled
    from unrolled.programs.stream import lower

    run = write_compiled(found, out, form=into, cells=cells, characters=characters, seed=seed)
    (metric,) = _metrics(out)
    bits = metric["valid_bits_per_char"]
    if json:
        told = {"run": str(out), "params": run.config.parameters, "units": sum(run.model.units.values())}
        voice.result({**told, "valid_bits_per_char": bits})
        return 0
    voice.say(f"run      {out}", style="bold")
    voice.say(f"model    {run.config.description}, {sum(run.model.units.values())} units")
    voice.say(f"score    {bits:.3f} bits per character of its own lines: only what the input will be is not certain")
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


@dataclass(frozen=True)
class _Moment:
    """A program and its circuit after one token; `expected` is what must come next, if only one thing can."""

    token: str
    at: "Configuration"
    expected: str
    on: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the moment under plain names."""
        return {
            "token": self.token,
            "state": self.at.state,
            "memories": list(self.at.contents),
            "next": self.expected or None,
            "on": list(self.on),
        }


def _moments(program: "Program", circuit: "Circuit", line: str) -> "list[_Moment]":
    moments, tokens = [], line[:-1]
    for token, at, values in zip(tokens, program.read(tokens), circuit.run(tokens), strict=True):
        likely = [name for name, weight in program.expects(at).items() if weight > 0]
        on = tuple(name for name, value in values.items() if value == 1 and _is_told(name))
        moments.append(_Moment(token, at, likely[0] if len(likely) == 1 else "", on))
    return moments


def _is_told(unit: str) -> bool:
    """Rules and expectations are how a state comes about; what holds, and what was done, is more telling."""
    group, _, what = unit.partition(".")
    inner = what in ("keep", "value", "nonempty") or what.startswith(("after_", "at_least_", "wide"))
    return group not in ("rule", "expects", "reset") and not inner


def _drawn(program: "Program", moments: "list[_Moment]", voice: Voice) -> Table:
    taped = [memory.name for memory in program.memories] == ["left", "right"]
    table = Table(box=None, pad_edge=False, width=voice.width)
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("reads", no_wrap=True)
    table.add_column("state", overflow="fold", style="cyan")
    if program.memories:
        table.add_column("tape" if taped else ", ".join(m.name for m in program.memories), overflow="fold")
    table.add_column("on", overflow="fold", style="dim", ratio=1)
    for number, moment in enumerate(moments, 1):
        cells: list[Text | str | Group] = [f"{number}", Text(visible_line(moment.token)), moment.at.state]
        if taped:
            cells.append(_tape(*moment.at.contents, live=voice.live))
        elif program.memories:
            held = zip(program.memories, moment.at.contents, strict=True)
            cells.append(Group(*(_stack(memory.counter, content) for memory, content in held)))
        cells.append(Text(visible_line("  ".join(moment.on))))
        table.add_row(*cells)
    return table


def _tape(left: str, right: str, *, live: bool) -> Text:
    """Draw a tape, its head highlighted, or in brackets where that cannot be; `right` has the head's cell on top."""
    ahead = right[::-1]
    before, behind = left[-SHOWN_CELLS // 2 :], ahead[1 : 1 + SHOWN_CELLS // 2]
    head = visible_line(ahead[:1] or "_")
    return Text.assemble(
        ("…" if before != left else "") + visible_line(before),
        (head, "reverse") if live else f"[{head}]",
        visible_line(behind) + ("…" if len(behind) < len(ahead) - 1 else ""),
    )


def _stack(counter: bool, held: str) -> Text:
    if counter:
        return Text(str(len(held)))
    if not held:
        return Text("empty", "dim")
    shown = held[-SHOWN_CELLS:]
    return Text.assemble(
        ("…" if shown != held else "") + visible_line(shown[:-1]), (visible_line(shown[-1]), "reverse")
    )


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


def _metrics(folder: Path) -> list[dict[str, object]]:
    from unrolled.training.run_folder import RunFolder

    return RunFolder.open(folder).metrics()
