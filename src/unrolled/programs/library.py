"""The built-in machines: files in the text format, by plain names.

Knows nothing about running machines on networks.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from unrolled.errors import MachineError, nearest
from unrolled.programs.faults import refuse
from unrolled.programs.machine_text import parse_machine
from unrolled.programs.turing import Machine, TuringMachine, unmet_examples

FOLDER = Path(__file__).parent / "machines"
SUFFIX = ".machine"
LARGEST_FILE = 4_000_000
"""Bytes; a larger file is not a machine that a person wrote."""
EXAMPLE_STEPS, ALL_EXAMPLES_STEPS = 10_000, 200_000
"""So many steps an example of a file may take, and all together, to be tried when the file is read: under a second."""

ORDER = (
    *("parity", "even-pairs", "cycle-navigation", "modular-arithmetic", "quotes"),
    *("a-n-b-n", "dyck-1", "a-n-b-n-c-n", "dyck-2", "reverse", "copy", "binary-addition"),
    *("palindromes", "unary-to-binary"),
    *("busy-beaver-2", "busy-beaver-3", "busy-beaver-3-longest", "busy-beaver-4", "universal"),
)
"""The names in the order in which they are listed: automata, counters, stacks, tapes, what is special."""


def machine_path(name: str) -> Path:
    """Return the file of a built-in machine, to read or to copy. Raises MachineError for an unknown name."""
    if name not in ORDER:
        raise MachineError(expected="the name of a built-in machine", received=repr(name), remedy=nearest(name, ORDER))
    return FOLDER / f"{name}{SUFFIX}"


@cache
def built_in(name: str) -> Machine | TuringMachine:
    """Return a built-in machine. Raises MachineError for an unknown name."""
    path = machine_path(name)
    return parse_machine(path.read_text(encoding="utf-8"), path.name)


def library() -> Mapping[str, Machine | TuringMachine]:
    """Return all built-in machines by their names, the simple ones first."""
    return {name: built_in(name) for name in ORDER}


def machine_named(name_or_path: str) -> Machine | TuringMachine:
    """Return a built-in machine, or the one in a file, whose examples must hold as far as they are soon decided.

    Raises MachineError with the nearest name, or with all faults, or all examples that do not hold.
    """
    if name_or_path in ORDER:
        return built_in(name_or_path)
    path = Path(name_or_path)
    try:
        if not path.is_file():
            raise MachineError(
                expected="the name of a built-in machine, or a file that describes one",
                received=repr(name_or_path),
                remedy=nearest(path.name.removesuffix(SUFFIX), ORDER),
            )
        if path.stat().st_size > LARGEST_FILE:
            raise MachineError(
                expected=f"a machine file of at most {LARGEST_FILE:,} bytes",
                received=f"{path.stat().st_size:,} bytes in {path}",
                remedy="give the file of a machine, as docs/machine_format.md describes it",
            )
        text = path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        reason = "bytes that are not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise MachineError(
            expected="a machine file that can be read",
            received=f"{name_or_path!r}: {reason}",
            remedy="give a file of UTF-8 text that you may read",
        ) from None
    machine = parse_machine(text, path.name)
    refuse(path.name, unmet_examples(machine, EXAMPLE_STEPS, budget=ALL_EXAMPLES_STEPS))
    return machine


def encode_tag_system(productions: Mapping[str, str | None], word: str) -> str:
    """Return the input of the machine `universal` for a 2-tag system: productions by symbol, None for one that halts.

    Each round drops the first two symbols of the word and appends the production of the first one (Post 1943; that
    two suffice for every program: Cocke and Minsky 1964, "Universality of tag systems with P = 2").
    Raises MachineError for a symbol without a production.
    """
    codes = {symbol: "1" * number + "," for number, symbol in enumerate(productions, start=1)}
    used = set(word).union(*(production or "" for production in productions.values()))
    if unknown := sorted(used - set(codes)):
        raise MachineError(
            expected=f"symbols with a production ({' '.join(codes)})",
            received=" ".join(unknown),
            remedy="give every symbol a production, None where it halts",
        )
    written = (
        "!" if production is None else "".join(codes[symbol] for symbol in production)
        for production in productions.values()
    )
    return "".join(f"{production};" for production in written) + ":" + "".join(codes[symbol] for symbol in word)


def decode_tag_word(output: str, productions: Mapping[str, str | None]) -> str:
    """Return the word that the machine `universal` has written, in the symbols of a 2-tag system."""
    symbols = list(productions)
    return "".join(symbols[len(code) - 1] for code in output.split(",")[:-1])
