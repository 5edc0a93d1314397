"""From a machine to the program that a network runs: a line per input, one step per token.

Knows nothing about circuits or networks, and nothing about how a machine is written down.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

from unrolled.errors import MachineError
from unrolled.programs.drafting import SLIP
from unrolled.programs.lowering import lower_machine
from unrolled.programs.lowering_tape import lower_turing_machine
from unrolled.programs.program import RESET, Configuration, Expectation, Program, Step
from unrolled.programs.turing import Machine, TuringMachine

__all__ = ["RESET", "Configuration", "Examples", "Expectation", "Program", "Step", "examples", "lower"]

LIMIT = 2_000
"""Inputs that keep a machine busy for more tokens are no examples, unless more are asked for."""
LONGEST = 1_000
"""Lines that are cut off are shorter than what a lane of a text reads before it is scored, so that it sees a start."""
PIECES = 12
"""At least so many lines that are cut off: every part of the text has some."""


@singledispatch
def lower(machine: Machine | TuringMachine) -> Program:
    """Return the program of a machine of any kind: lines of `INPUT = ticks OUTPUT newline`, one step per token.

    The input is closed by "=" and a step of computing is "."; a machine that has one of them among its symbols gets
    another sign (`Program.end`, `Program.tick`). An acceptor answers 1 or 0, other machines say their output, or
    nothing where they reject (see `Machine`). See `lower_machine` and `lower_turing_machine` for the steps.
    """
    raise MachineError(
        expected="a machine to lower to a program", received=type(machine).__name__, remedy="give a machine"
    )


lower.register(Machine, lower_machine)
lower.register(TuringMachine, lower_turing_machine)


@dataclass(frozen=True)
class Examples:
    """Lines of a program's work. `answered` says whether they end as the program ends them, or are cut off before."""

    lines: tuple[str, ...]
    answered: bool


def examples(
    machine: Machine | TuringMachine,
    seed: int,
    characters: int,
    *,
    depth: int = 12,
    limit: int = LIMIT,
    holding: Mapping[str, int] | None = None,
) -> Examples:
    """Return lines of runs as the machine's program writes them, at most `characters` long, but at least one line.

    Inputs are drawn from what the program expects (in a part of the lines with a liking for what makes a memory grow),
    or are these inputs and the machine's examples with a few characters changed, so that there are many lengths. Of an
    acceptor half of the lines are rejected, as far as both answers can be found. No memory grows deeper than `depth`
    while a drawn input is read if something else may come; inputs that keep the machine busy for more than `limit`
    tokens are left out. With `holding`, the most symbols that each memory may hold at any time, lines that need more
    are left out. Where nothing is left, lines are what the program does on such inputs until it is cut off: after
    `limit` tokens, before a memory holds too much, and soon enough for several lines.
    """
    draws, program = random.Random(seed), lower(machine)
    lines: list[str] = []
    counts = dict.fromkeys(program.answers or (), 0)
    written = failed = passed = 0
    patience, without = 64, set[str]()
    while failed < 200:
        text = _input(machine, program, draws, depth)
        line = "" if text in without else _line(program, text, limit, holding or {})
        if not line:
            without.add(text)
            failed += 1
            continue
        answer = line[-2:-1] if counts else ""
        if counts and passed < patience and counts[answer] > min(counts.values()):
            passed += 1
            continue
        # A machine that hardly ever gives the other answer is not searched for it again and again.
        patience, passed, failed = patience // 2 if passed and passed >= patience else patience, 0, 0
        if lines and written + len(line) > characters:
            break
        if counts:
            counts[answer] += 1
        lines.append(line)
        written += len(line)
    if lines:
        return Examples(tuple(lines), answered=True)
    longest = max(2, min(limit, LONGEST, characters // PIECES))
    while len(lines) < PIECES or written + longest < characters:
        line = _beginning(program, _input(machine, program, draws, depth), longest, holding or {})
        lines.append(line)
        written += len(line)
    return Examples(tuple(lines), answered=False)


def _input(machine: Machine | TuringMachine, program: Program, draws: random.Random, depth: int) -> str:
    """Return an input: drawn, or an example, or one of both with a few characters changed."""
    text, kind = _drawn(program, machine.alphabet, draws, depth), draws.random()
    if machine.examples and kind < 1 / 4:
        text = draws.choice(machine.examples).text
    return _changed(text, machine.alphabet, draws) if kind < 1 / 2 else text


def _line(program: Program, text: str, limit: int, holding: Mapping[str, int]) -> str:
    """Return the line of an input, or nothing where that takes too long or a memory holds more than it may."""
    try:
        line = program.line(text, limit)
    except MachineError:
        return ""
    return line if all(_held(program, now.contents, holding) for now in program.read(line)) else ""


def _held(program: Program, contents: Sequence[str], holding: Mapping[str, int]) -> bool:
    pairs = zip(program.memories, contents, strict=True)
    return all(len(content) <= holding.get(memory.name, len(content)) for memory, content in pairs)


def _beginning(program: Program, text: str, longest: int, holding: Mapping[str, int]) -> str:
    """Return what the program reads and does on an input, cut off before it is too long or a memory too full."""
    now, line = program.start(), ""
    while len(line) < longest - 1:
        expected = program.expects(now)
        likely = max(sorted(expected), key=lambda token: expected[token])
        token = (text + program.end)[len(line)] if len(line) <= len(text) else likely
        now = program.step(now, token)
        if token == RESET or not _held(program, now.contents, holding):
            break
        line += token
    return line + RESET


def _drawn(program: Program, alphabet: tuple[str, ...], draws: random.Random, depth: int) -> str:
    """Return an input drawn from the program's expectations, of a length that is drawn first where that can be."""
    now, read = program.start(), ""
    wanted, liking, careful = draws.randrange(2 * depth + 1), draws.choice((1, 0, -1)), draws.random() < 1 / 2
    while len(read) < 8 * depth:
        expected = program.expects(now)
        likely = {token: weight for token, weight in expected.items() if weight > SLIP}
        weights = {t: w for t, w in (likely if careful else expected).items() if t in alphabet}
        may_end = program.end in (likely if careful else expected)
        shallow = {t: w for t, w in weights.items() if max(map(len, program.step(now, t).contents), default=0) <= depth}
        if may_end and (len(read) >= wanted or not shallow):
            break
        choices = shallow or weights
        if not choices:
            break
        power = liking if len(read) < wanted // 2 else 1
        drawn = [weight**power if weight > SLIP else weight for weight in choices.values()]
        token = draws.choices(list(choices), drawn)[0]
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
