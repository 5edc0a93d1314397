"""What a machine is doing at each character of a text, as labels: the answer key for a search among its units.

Knows nothing about networks: the machine itself is asked, not what it was compiled into.
"""

from functools import lru_cache

import numpy as np

from unrolled.programs.circuit import word
from unrolled.programs.machine_text import format_machine, parse_machine
from unrolled.programs.program import RESET, Configuration, Program
from unrolled.programs.stream import lower
from unrolled.programs.turing import Machine, TuringMachine

_HEAD = '''"""What the machine {name} does at each character: features for `unrolled neurons RUN --features THIS_FILE`.

Each label is what the machine itself says, step by step; the network is not asked.
"""

from unrolled.programs.answer_key import depths, states, tops

MACHINE = {text!r}
'''
_STATE = '''

def {function}(text: str):
    """The program is in the state {state}."""
    return states(MACHINE, text, {state!r})
'''
_TOP = '''

def {function}(text: str):
    """The top of {memory} is {symbol}."""
    return tops(MACHINE, text, {memory!r}, {symbol!r})
'''
_DEPTH = '''

def {function}(text: str):
    """How much {memory} holds."""
    return depths(MACHINE, text, {memory!r})
'''


def states(machine: str, text: str, state: str) -> np.ndarray:
    """Say for each character of a text whether a machine (in the text format) has then brought its program to `state`.

    Characters that the program does not know are read as newlines.
    """
    return np.asarray([at.state == state for at in _followed(machine, text)], dtype=bool)


def tops(machine: str, text: str, memory: str, symbol: str) -> np.ndarray:
    """Say for each character of a text whether `symbol` then lies on top of a memory."""
    return np.asarray([held[-1:] == symbol for held in _contents(machine, text, memory)], dtype=bool)


def depths(machine: str, text: str, memory: str) -> np.ndarray:
    """Say for each character of a text how many symbols a memory then holds."""
    return np.asarray([len(held) for held in _contents(machine, text, memory)], dtype=float)


def features_file(machine: Machine | TuringMachine) -> str:
    """Return the source of a features file: a function for every state, depth and top of the machine's program."""
    program, taken = lower(machine), set[str]()
    pieces = [_HEAD.format(name=machine.name, text=format_machine(machine))]
    for state in program.states:
        pieces.append(_STATE.format(function=_function(f"state_{word(state)}", taken), state=state))
    for memory in program.memories:
        name = word(memory.name)
        pieces.append(_DEPTH.format(function=_function(f"depth_of_{name}", taken), memory=memory.name))
        for symbol in () if memory.counter else memory.alphabet:
            function = _function(f"top_of_{name}_is_{word(symbol)}", taken)
            pieces.append(_TOP.format(function=function, memory=memory.name, symbol=symbol))
    return "".join(pieces)


def _function(wanted: str, taken: set[str]) -> str:
    """Return a name for a function of Python that no other has."""
    plain, number = wanted.replace("-", "_"), 1
    name = plain
    while name in taken:
        number += 1
        name = f"{plain}_{number}"
    taken.add(name)
    return name


def _contents(machine: str, text: str, memory: str) -> list[str]:
    place = [one.name for one in _program(machine).memories].index(memory)
    return [at.contents[place] for at in _followed(machine, text)]


@lru_cache(maxsize=4)
def _program(machine: str) -> Program:
    return lower(parse_machine(machine))


@lru_cache(maxsize=2)
def _followed(machine: str, text: str) -> tuple[Configuration, ...]:
    program = _program(machine)
    known = frozenset(program.tokens)
    return tuple(program.read(one if one in known else RESET for one in text))
