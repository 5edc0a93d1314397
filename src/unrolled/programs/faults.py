"""Everything that can be wrong with a machine, found at once and said with the lines where it stands.

Knows nothing about files, about running a machine or about what a machine is for.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, combinations
from math import prod
from typing import TYPE_CHECKING

from unrolled.errors import MachineError, nearest
from unrolled.programs.words import SPELLED

if TYPE_CHECKING:
    from unrolled.programs.turing import Machine, Rule, TuringMachine

Fault = tuple[int, str]
Tops = tuple[str | None, ...]

KINDS = ("automaton", "counter", "pushdown")
MOVES = ("L", "R", "S")
PUSHED = 2
LISTED = 40
RULES = 10_000
COMBINATIONS = 20_000
RESERVED = ("->", "example", "about")
VERBS = ("pop", "push", "add", "subtract", "write")


def refuse(what: str, found: Iterable[Fault]) -> None:
    """Raise one MachineError that lists the faults of something with their lines, if there are any."""
    faults = sorted(set(found))
    if not faults:
        return
    listed = "; ".join(f"line {line}: {fault}" if line else fault for line, fault in faults[:LISTED])
    if len(faults) > LISTED:
        listed += f"; and {len(faults) - LISTED} more"
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    raise MachineError(
        expected=f"{what} without faults",
        received=f"{count} ({listed})",
        remedy="correct what is listed; docs/machine_format.md describes the format",
        faults=faults,
    )


def refuse_input(name: str, text: str, alphabet: Sequence[str]) -> None:
    """Raise a MachineError that lists every symbol of a text that a machine cannot read."""
    unknown = [
        f"{symbol!r} at position {place}" for place, symbol in enumerate(text, start=1) if symbol not in alphabet
    ]
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        raise MachineError(
            expected=f"an input over the alphabet of {name} ({said(alphabet)})",
            received=", ".join(unknown[:10]) + more,
            remedy="leave these symbols out, or choose another machine",
        )


def too_long(name: str, limit: int) -> MachineError:
    """Return the error of a run that did not end within its limit."""
    return MachineError(
        expected=f"the machine {name} to come to rest within {limit} steps",
        received=f"a machine that is still running after step {limit}",
        remedy="raise the limit of steps, or look with the trace whether it ever halts",
    )


def said(symbols: Iterable[str]) -> str:
    """Return symbols as a person reads them."""
    listed = [repr(symbol) if symbol == " " or not symbol.isprintable() else symbol for symbol in symbols]
    return " ".join(listed) or "no symbol"


def of_machine(machine: "Machine", end: str, mark: str) -> Iterable[Fault]:
    """Yield every fault of an automaton, a counter machine or a pushdown machine."""
    yield from _names(machine)
    yield from _symbols("alphabet", machine.alphabet, end)
    yield from _known("accept", machine.accepting, machine.states)
    yield from _memories(machine, end, mark)
    wrong = [fault for rule in machine.rules for fault in _rule(machine, rule, end)]
    yield from wrong
    if wide := _too_wide(machine):
        yield from wide
        return
    yield from _conflicts([rule for rule in machine.rules if len(rule.tops) == len(machine.memories)])
    if machine.otherwise not in ("", "reject"):
        yield 0, "otherwise: this kind of machine knows only `otherwise reject`"
    elif not machine.otherwise and not wrong:
        yield from _missing(machine)
    for example in machine.examples:
        if unknown := sorted(set(example.text) - set(machine.alphabet)):
            yield example.line, f"an example with {said(unknown)}, which the alphabet does not have"


def of_turing_machine(machine: "TuringMachine", end: str) -> Iterable[Fault]:
    """Yield every fault of a Turing machine."""
    yield from _names(machine)
    yield from _symbols("alphabet", machine.alphabet, end)
    yield from _symbols("tape", machine.tape, end)
    if unknown := [symbol for symbol in machine.alphabet if symbol not in machine.tape]:
        yield 0, f"tape: {said(unknown)} of the alphabet is missing"
    if machine.blank not in machine.tape:
        yield 0, f"tape: the blank {said([machine.blank])} is missing"
    if machine.blank in machine.alphabet:
        yield 0, f"blank: {said([machine.blank])} is also a symbol of the input"
    for what, states in (("accept", machine.accepting), ("reject", machine.rejecting), ("halt", machine.halting)):
        yield from _known(what, states, machine.states)
    for state in sorted(machine.accepting & machine.rejecting):
        yield 0, f"reject: the state {state} also accepts"
    if machine.accepting and not machine.acceptor:
        yield 0, "accept: only a machine whose answer is the verdict accepts; use `halt` where it is the tape"
    if machine.otherwise not in ("", "halt", "reject"):
        yield 0, "otherwise: a Turing machine knows `otherwise halt` and `otherwise reject`"
    yield from _transitions(machine)
    for example in machine.examples:
        if unknown := sorted(set(example.text) - set(machine.alphabet)):
            yield example.line, f"an example with {said(unknown)}, which the alphabet does not have"


def _transitions(machine: "TuringMachine") -> Iterable[Fault]:
    final = machine.accepting | machine.rejecting | machine.halting
    for (state, symbol), (to, write, move) in machine.rules.items():
        line = machine.lines.get((state, symbol), 0)
        for name in sorted({state, to} - set(machine.states)):
            yield line, _undefined(name, machine.states)
        for one in sorted({symbol, write} - set(machine.tape)):
            yield line, f"unknown symbol {said([one])}; the tape alphabet is {said(machine.tape)}"
        if move not in MOVES:
            yield line, f"a move {move!r}; the moves are L, R and S"
        if state in final:
            yield line, f"a rule for the state {state}, in which the machine halts"
    if not machine.otherwise:
        for state in machine.states:
            lacking = [symbol for symbol in machine.tape if (state, symbol) not in machine.rules]
            if state not in final and lacking:
                yield 0, f"no rule in state {state} for {said(lacking)} (give rules, or say `otherwise halt`)"


def _names(machine: "Machine | TuringMachine") -> Iterable[Fault]:
    states, start = machine.states, machine.start
    if not is_name(machine.name):
        yield 0, f"machine: {machine.name!r} is no name ({NAMING})"
    for state in states:
        if not is_name(state):
            yield 0, f"states: {state!r} is no name ({NAMING})"
    for state in repeated(states):
        yield 0, f"states: {state} is declared twice"
    if start not in states:
        yield 0, f"start: {_undefined(start, states)}"


NAMING = "a name has no spaces, begins with neither # nor a double quote and is not -> or example or about"


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def is_name(name: str) -> bool:
    """Tell whether a word can name a state, a memory or a machine in a file."""
    plain = name.isprintable() and not any(c.isspace() for c in name)
    return bool(name) and plain and name[0] not in '#"' and name not in RESERVED


def _symbols(where: str, symbols: Sequence[str], end: str, line: int = 0) -> Iterable[Fault]:
    for symbol in symbols:
        if len(symbol) != 1 or symbol == end or not symbol.isprintable():
            yield line, f"{where}: {symbol!r} is no symbol; one is a visible character or the space"
    for symbol in repeated(symbols):
        yield line, f"{where}: {said([symbol])} stands there twice"


def _known(what: str, named: Iterable[str], states: Sequence[str]) -> Iterable[Fault]:
    for name in sorted(set(named) - set(states)):
        yield 0, f"{what}: {_undefined(name, states)}"


def _undefined(name: str, states: Sequence[str]) -> str:
    return f"undefined state {name} ({nearest(name, states) if states else 'no state is defined'})"


def _memories(machine: "Machine", end: str, mark: str) -> Iterable[Fault]:
    names = [memory.name for memory in machine.memories]
    held = {symbol for memory in machine.memories for symbol in memory.alphabet}
    for name in repeated(names):
        yield max(m.line for m in machine.memories if m.name == name), f"a second memory named {name}"
    for memory in machine.memories:
        name, line = memory.name, memory.line
        if not is_name(name) or name in VERBS:
            yield line, f"a memory named {name!r} ({NAMING}, nor one of {', '.join(VERBS)})"
        elif name in held or name in SPELLED:
            yield line, f"the memory {name} has the name of a symbol"
        if memory.counter and memory.alphabet != (mark,):
            yield line, f"the counter {name} has an alphabet; a counter has the one symbol {mark}"
        yield from _symbols(f"stack {name}", memory.alphabet, end, line)
        if not memory.alphabet:
            yield line, f"the stack {name} has no symbols"
    if machine.kind not in KINDS:
        yield 0, f"kind: unknown kind {machine.kind!r} ({nearest(machine.kind, KINDS)})"
    elif machine.kind == "automaton" and machine.memories:
        yield 0, "kind: an automaton has no memories; say `kind counter` or `kind pushdown`"
    elif machine.kind == "counter" and not all(memory.counter for memory in machine.memories):
        yield 0, "kind: a counter machine has counters only; say `kind pushdown`"


def _rule(machine: "Machine", rule: "Rule", end: str) -> Iterable[Fault]:
    line = rule.line
    for name in sorted({rule.state, rule.to} - set(machine.states)):
        yield line, _undefined(name, machine.states)
    if rule.read is not None and rule.read not in (end, *machine.alphabet):
        yield line, f"unknown symbol {said([rule.read])}; the alphabet is {said(machine.alphabet)}"
    if not len(rule.tops) == len(rule.actions) == len(machine.memories):
        yield line, f"{len(machine.memories)} memories, but the rule looks at {len(rule.tops)}"
        return
    for memory, top, action in zip(machine.memories, rule.tops, rule.actions, strict=True):
        unknown = [symbol for symbol in (top, *action.push) if symbol and symbol not in memory.alphabet]
        if unknown:
            yield line, f"unknown symbol {said(unknown)}; {memory.name} holds {said(memory.alphabet)}"
        if action.pop and not top:
            does = "takes one from" if memory.counter else "pops"
            asks = "that it is positive" if memory.counter else "which symbol is on top"
            yield line, f"the rule {does} {memory.name} without asking {asks}"
        if len(action.push) > PUSHED:
            yield line, f"the rule pushes {len(action.push)} symbols on {memory.name}; at most {PUSHED} at once"
    if len(rule.write) > PUSHED:
        yield line, f"the rule writes {len(rule.write)} symbols; at most {PUSHED} at once"
    if bad := [symbol for symbol in rule.write if not symbol.isprintable()]:
        yield line, f"the rule writes {said(bad)}; a symbol is one visible character or the space"


def _too_wide(machine: "Machine") -> list[Fault]:
    """Return what makes a machine too large to be checked rule against rule and top against top."""
    if len(machine.rules) > RULES:
        return [(0, f"{len(machine.rules)} rules; a machine may have {RULES}")]
    asked: dict[str, set[int]] = {}
    for rule in machine.rules:
        asked.setdefault(rule.state, set()).update(place for place, top in enumerate(rule.tops) if top is not None)
    found = []
    for state, places in asked.items():
        near = [memory for place, memory in enumerate(machine.memories) if place in places]
        count = prod(len(memory.alphabet) + 1 for memory in near)
        if count > COMBINATIONS:
            what = f"the rules of state {state} tell {count} combinations of tops apart; at most {COMBINATIONS}"
            found.append((0, f"{what} (look at fewer memories in one state)"))
    return found


def _conflicts(rules: Sequence["Rule"]) -> Iterable[Fault]:
    by_state: dict[str, list[Rule]] = {}
    for rule in rules:
        by_state.setdefault(rule.state, []).append(rule)
    for one, other in chain.from_iterable(combinations(own, 2) for own in by_state.values()):
        same = one.read == other.read or None in (one.read, other.read)
        if same and overlap(one.tops, other.tops):
            if one.read == other.read:
                what = "double transition"
            else:
                what = "a rule that reads nothing stands against one that reads"
            first, second = sorted((one.line, other.line))
            yield second, f"{what} in state {one.state} (the other is {f'in line {first}' if first else 'before it'})"


def _missing(machine: "Machine") -> Iterable[Fault]:
    alphabets = tuple(memory.alphabet for memory in machine.memories)
    for state in machine.states:
        own = [rule for rule in machine.rules if rule.state == state]
        lacking: dict[Tops, list[str]] = {}
        for symbol in machine.alphabet:
            patterns = [rule.tops for rule in own if rule.read in (None, symbol)]
            for tops in uncovered(patterns, alphabets):
                lacking.setdefault(tops, []).append(symbol)
        for tops, symbols in lacking.items():
            shown = "".join(
                f", {memory.name} {'zero' if memory.counter else 'empty'}" if not top else f", {memory.name} {top}"
                for memory, top in zip(machine.memories, tops, strict=True)
                if top is not None
            )
            yield 0, f"no rule in state {state} for {said(symbols)}{shown} (give rules, or say `otherwise reject`)"


def overlap(one: Tops, other: Tops) -> bool:
    """Tell whether some tops fit both patterns."""
    return all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


def cells(patterns: Sequence[Tops], alphabets: Sequence[tuple[str, ...]], prefix: Tops = ()) -> Iterable[Tops]:
    """Yield disjoint patterns that cover all tops, each wholly inside or wholly outside of every pattern given."""
    place = len(prefix)
    if place == len(alphabets):
        yield prefix
        return
    near = [tops for tops in patterns if overlap(tops[:place], prefix)]
    asked = any(tops[place] is not None for tops in near)
    for top in ("", *alphabets[place]) if asked else (None,):
        yield from cells(near, alphabets, (*prefix, top))


def uncovered(patterns: Sequence[Tops], alphabets: Sequence[tuple[str, ...]]) -> list[Tops]:
    """Return disjoint patterns for the tops that none of the given patterns fits."""
    return [tops for tops in cells(patterns, alphabets) if not any(overlap(tops, one) for one in patterns)]
