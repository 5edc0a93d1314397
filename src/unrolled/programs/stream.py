"""From a machine to the program that a network runs: a line per input, one step per token.

Knows nothing about circuits or networks, and nothing about how a machine is written down.
"""

import random
from collections.abc import Mapping
from functools import singledispatch

from unrolled.errors import MachineError
from unrolled.programs.lowering import lower_machine
from unrolled.programs.lowering_tape import lower_turing_machine
from unrolled.programs.program import RESET, Configuration, Expectation, Program, Step
from unrolled.programs.turing import Machine, TuringMachine

__all__ = ["RESET", "Configuration", "Expectation", "Program", "Step", "examples_text", "lower"]


@singledispatch
def lower(machine: Machine | TuringMachine) -> Program:
    """Return the program of a machine of any kind: lines of `INPUT = ticks OUTPUT newline`, one step per token.

    The input is closed by "=" and a step of computing is "."; a machine that has one of them among its symbols gets
    another sign (`Program.end`, `Program.tick`). An acceptor answers 1 or 0, other machines say their output, and
    nothing where they reject. See `lower_machine` and `lower_turing_machine` for the steps.
    """
    raise MachineError(
        expected="a machine to lower to a program", received=type(machine).__name__, remedy="give a machine"
    )


lower.register(Machine, lower_machine)
lower.register(TuringMachine, lower_turing_machine)


def examples_text(
    machine: Machine | TuringMachine,
    seed: int,
    characters: int,
    *,
    depth: int = 12,
    limit: int = 2_000,
    holding: Mapping[str, int] | None = None,
) -> str:
    """Return lines of runs as the machine's program writes them, at most `characters` long, but at least one line.

    Inputs are drawn from what the program expects (in a part of the lines with a liking for what makes a memory grow),
    or are these inputs and the machine's examples with a few characters changed, so that there are inputs of both
    answers and of many lengths. No memory grows deeper than `depth` while a drawn input is read if something else may
    come; inputs that keep the machine busy for more than `limit` tokens are left out. With `holding`, the most symbols
    that each memory may hold at any time, lines that need more are left out, and so is what the program never
    expects (a closing bracket without an opening one). Raises MachineError when nothing is left.
    """
    draws, program = random.Random(seed), lower(machine)
    lines: list[str] = []
    written = failed = 0
    while failed < 200:
        text = _drawn(program, machine.alphabet, draws, depth)
        kind = draws.random()
        if machine.examples and kind < 1 / 4:
            text = draws.choice(machine.examples).text
        if kind < 1 / 2:
            text = _changed(text, machine.alphabet, draws)
        try:
            line = program.line(text, limit)
        except MachineError:
            failed += 1
            continue
        if holding is not None and not _fits(program, line, holding):
            failed += 1
            continue
        if lines and written + len(line) > characters:
            break
        failed = 0
        lines.append(line)
        written += len(line)
    if not lines:
        raise MachineError(
            expected=f"inputs that {machine.name} answers within {limit} tokens",
            received="200 inputs in a row that it does not",
            remedy="raise the limit, or look with the trace whether it ever halts",
        )
    return "".join(lines)


def _fits(program: Program, line: str, holding: Mapping[str, int]) -> bool:
    """Tell whether the program expects every token of a line, and no memory holds more than it may."""
    now = program.start()
    for token in line:
        if not program.expects(now).get(token):
            return False
        now = program.step(now, token)
        held = zip(program.memories, now.contents, strict=True)
        if any(len(content) > holding[memory.name] for memory, content in held):
            return False
    return True


def _drawn(program: Program, alphabet: tuple[str, ...], draws: random.Random, depth: int) -> str:
    """Return an input drawn from the program's expectations, of a length that is drawn first where that can be."""
    now, read = program.start(), ""
    wanted, liking = draws.randrange(2 * depth + 1), draws.choice((1, 0, -1))
    while len(read) < 8 * depth:
        weights = {token: weight for token, weight in program.expects(now).items() if token in alphabet}
        may_end = program.end in program.expects(now)
        shallow = {t: w for t, w in weights.items() if max(map(len, program.step(now, t).contents), default=0) <= depth}
        if may_end and (len(read) >= wanted or not shallow):
            break
        choices = shallow or weights
        if not choices:
            break
        power = liking if len(read) < wanted // 2 else 1
        token = draws.choices(list(choices), [weight**power for weight in choices.values()])[0]
        now, read = program.step(now, token), read + token
    return read


def _changed(text: str, alphabet: tuple[str, ...], draws: random.Random) -> str:
    """Return a text with up to three characters left out, doubled, exchanged or replaced."""
    characters = list(text)
    for _ in range(draws.randrange(4)):
        if not characters:
            break
        place, other = draws.randrange(len(characters)), draws.randrange(len(characters))
        what = draws.randrange(4)
        if what == 0:
            del characters[place]
        elif what == 1:
            characters.insert(place, characters[place])
        elif what == 2:
            characters[place], characters[other] = characters[other], characters[place]
        else:
            characters[place] = draws.choice(alphabet)
    return "".join(characters)
