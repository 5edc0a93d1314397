"""Everything that can be wrong with a machine, found at once and said with the lines where it stands.

Knows nothing about files, about running a machine or about what a machine is for.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations
from math import prod
from typing import TYPE_CHECKING

from unrolled.errors import MachineError, nearest
from unrolled.programs.source import Fault, Unread, excused, meant
from unrolled.programs.words import SPELLED, said

if TYPE_CHECKING:
    from unrolled.programs.turing import Machine, Rule, TuringMachine

Tops = tuple[str | None, ...]

KINDS = ("automaton", "counter", "pushdown")
MOVES = ("L", "R", "S")
PUSHED = 2
LISTED = 40
RULES = 10_000
COMBINATIONS = 20_000
SYMBOLS = frozenset(("alphabet", "tape", "blank"))
"""The lines that say which symbols there are."""
RESERVED = ("->", "example", "about")
VERBS = ("pop", "push", "add", "subtract", "write")


def refuse(what: str, found: Iterable[Fault]) -> None:
    """Raise one MachineError that lists the faults of something with their lines, if there are any."""
    faults = sorted(set(found))
    if not faults:
        return
    lines: dict[str, list[int]] = {}
    for line, fault in faults:
        lines.setdefault(fault, []).append(line)
    listed = "; ".join(_at(lines[fault]) + fault for fault in list(lines)[:LISTED])
    if len(lines) > LISTED:
        listed += f"; and {len(lines) - LISTED} more"
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    raise MachineError(
        expected=f"{what} without faults",
        received=f"{count} ({listed})",
        remedy="correct what is listed; docs/machine_format.md describes the format",
        faults=faults,
    )


def _at(lines: Sequence[int]) -> str:
    if len(lines) == 1:
        return f"line {lines[0]}: " if lines[0] else ""
    shown = [str(line) for line in lines[:LISTED]]
    return f"lines {', '.join(shown[:-1])} {'and' if len(lines) <= LISTED else '...'} {shown[-1]}: "


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


def of_machine(machine: "Machine", end: str, mark: str) -> Iterable[Fault]:
    """Yield every fault of an automaton, a counter machine or a pushdown machine."""
    yield from machine.source.notes.faults
    yield from _names(machine)
    yield from _symbols("alphabet", machine.alphabet, end)
    yield from _known("accept", machine.accepting, machine.states)
    yield from _memories(machine, end, mark)
    if machine.otherwise not in ("", "reject"):
        yield 0, "otherwise: this kind of machine knows only `otherwise reject`"
    wide = _too_wide(machine)
    whole = [rule for rule in machine.rules if len(rule.tops) == len(rule.actions) == len(machine.memories)]
    lacking = {} if machine.otherwise or wide else _lacking(machine, whole)
    reads = [(rule.state, rule.read) for rule in machine.rules]
    hints = _hints(machine, lacking, reads, (None, end, *machine.alphabet))
    known = frozenset(machine.states)
    for rule in machine.rules:
        yield from _rule(machine, rule, end, hints.get(rule.state, ""), known)
    yield from _unread(machine, machine.alphabet, end, hints)
    yield from wide or _conflicts(whole)
    yield from _missing(machine, lacking, hints, "reject")
    yield from _examples(machine)


def of_turing_machine(machine: "TuringMachine", end: str) -> Iterable[Fault]:
    """Yield every fault of a Turing machine."""
    yield from machine.source.notes.faults
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
    yield from _transitions(machine, end)
    yield from _examples(machine)


def _examples(machine: "Machine | TuringMachine") -> Iterable[Fault]:
    for example in machine.examples:
        unknown = sorted(set(example.text) - set(machine.alphabet))
        if unknown and "alphabet" not in machine.source.notes.unsure:
            yield example.line, f"an example with {said(unknown)}, which the alphabet does not have"


def _unread(
    machine: "Machine | TuringMachine", symbols: Sequence[str], end: str, hints: Mapping[str, str]
) -> Iterable[Fault]:
    unsure = machine.source.notes.unsure & SYMBOLS
    for rule in (rule for rule in machine.source.notes.unread if rule.line):
        for name in sorted({rule.state, rule.to} - {"", *machine.states}):
            yield rule.line, _undefined(name, machine.states)
        for symbol in () if unsure else rule.reads or ():
            if symbol is not None and symbol not in (end, *symbols):
                yield rule.line, _unknown(symbol, symbols, hints.get(rule.state, ""))


def _unknown(symbol: str, symbols: Sequence[str], hint: str = "") -> str:
    return f"unknown symbol {said([symbol])}; the alphabet is {said(symbols)}{hint}"


def _transitions(machine: "TuringMachine", end: str) -> Iterable[Fault]:
    final, unsure = machine.accepting | machine.rejecting | machine.halting, machine.source.notes.unsure
    states = frozenset(machine.states)
    lacking = {} if machine.otherwise else _lacking_on_tape(machine, final)
    hints = _hints(machine, lacking, machine.rules, machine.tape)
    yield from _unread(machine, machine.tape, end, hints)
    for (state, symbol), (to, write, move) in machine.rules.items():
        line = machine.lines.get((state, symbol), 0)
        for name in sorted({state, to} - states):
            yield line, _undefined(name, machine.states)
        for one in sorted({symbol, write} - set(machine.tape)) if not unsure & SYMBOLS else ():
            hint = hints.get(state, "") if one == symbol else ""
            yield line, f"unknown symbol {said([one])}; the tape alphabet is {said(machine.tape)}{hint}"
        if move not in MOVES:
            yield line, f"a move {move!r}; the moves are L, R and S"
        if state in final:
            yield line, f"a rule for the state {state}, in which the machine halts"
    yield from _missing(machine, lacking, hints, "halt")


def _names(machine: "Machine | TuringMachine") -> Iterable[Fault]:
    states, start = machine.states, machine.start
    if not is_name(machine.name):
        yield 0, f"machine: {machine.name!r} is no name ({NAMING})"
    for state in states:
        if not is_name(state):
            yield 0, f"states: {state!r} is no name ({NAMING})"
    for state in repeated(states):
        yield 0, f"states: {state} is declared twice"
    if start not in states and "start" not in machine.source.notes.unsure:
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


def _rule(machine: "Machine", rule: "Rule", end: str, hint: str, states: frozenset[str]) -> Iterable[Fault]:
    line, unsure = rule.line, machine.source.notes.unsure
    for name in sorted({rule.state, rule.to} - states):
        yield line, _undefined(name, machine.states)
    if rule.read is not None and rule.read not in (end, *machine.alphabet) and "alphabet" not in unsure:
        yield line, _unknown(rule.read, machine.alphabet, hint)
    if not len(rule.tops) == len(rule.actions) == len(machine.memories):
        yield line, f"{len(machine.memories)} memories, but the rule looks at {len(rule.tops)}"
        return
    for memory, top, action in zip(machine.memories, rule.tops, rule.actions, strict=True):
        unknown = [symbol for symbol in (top, *action.push) if symbol and symbol not in memory.alphabet]
        if unknown and memory.alphabet and f"stack {memory.name}" not in unsure:
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


def _lacking(machine: "Machine", rules: Sequence["Rule"]) -> dict[str, dict[Tops, list[str]]]:
    """Return for every state the tops over which symbols lack a rule, where no faulty rule may be meant for them."""
    alphabets, found = tuple(memory.alphabet for memory in machine.memories), {}
    loose = {id(rule) for rule in machine.rules} - {id(rule) for rule in rules}
    unread = list(machine.source.notes.unread)
    unread += [Unread(rule.line, rule.state, (rule.read,)) for rule in machine.rules if id(rule) in loose]
    patterns: dict[tuple[str, str | None], list[Tops]] = {}
    states = dict.fromkeys(machine.states)
    for rule in rules:
        known = zip(rule.tops, alphabets, strict=True)
        tops = tuple(top if top in ("", *alphabet) else None for top, alphabet in known)
        patterns.setdefault((meant(rule.state, states), rule.read), []).append(tops)
    for state, may_be in excused(machine.states, unread).items():
        lacking: dict[Tops, list[str]] = found.setdefault(state, {})
        for symbol in machine.alphabet if None not in may_be else ():
            own = [tops for read in (None, symbol) for tops in patterns.get((state, read), ())]
            for tops in uncovered(own, alphabets) if symbol not in may_be else ():
                lacking.setdefault(tops, []).append(symbol)
    return found


def _lacking_on_tape(machine: "TuringMachine", final: Iterable[str]) -> dict[str, dict[Tops, list[str]]]:
    states = dict.fromkeys(machine.states)
    present = {(meant(state, states), symbol) for state, symbol in machine.rules}
    wanted = [one for one in machine.tape if one != machine.blank or "blank" not in machine.source.notes.unsure]
    found: dict[str, dict[Tops, list[str]]] = {}
    for state, may_be in excused(machine.states, machine.source.notes.unread).items():
        lacking = [one for one in wanted if (state, one) not in present and not {None, one} & may_be]
        if lacking and state not in final:
            found[state] = {(): lacking}
    return found


def _hints(
    machine: "Machine | TuringMachine",
    lacking: Mapping[str, Mapping[Tops, list[str]]],
    reads: Iterable[tuple[str, str | None]],
    known: Sequence[str | None],
) -> dict[str, str]:
    """Return the states whose missing rules may well be those for unknown symbols, each with words that say so."""
    unknown: dict[str, set[str | None]] = {}
    unread = [(rule.state, read) for rule in machine.source.notes.unread if rule.line for read in rule.reads or ()]
    for state, symbol in (one for one in (*reads, *unread) if one[1] not in known):
        unknown.setdefault(state, set()).add(symbol)
    found = {}
    for state, symbols in unknown.items():
        missed = list(dict.fromkeys(chain.from_iterable(lacking.get(state, {}).values())))
        if 0 < len(missed) <= len(symbols):
            found[state] = f", and there is {', and '.join(_unserved(machine, state, lacking[state]))}"
    return found


def _missing(
    machine: "Machine | TuringMachine",
    lacking: Mapping[str, Mapping[Tops, list[str]]],
    hints: Mapping[str, str],
    otherwise: str,
) -> Iterable[Fault]:
    for state in lacking:
        for what in _unserved(machine, state, lacking[state]) if state not in hints else ():
            yield machine.source.states.get(state, 0), f"{what} (give rules, or say `otherwise {otherwise}`)"


def _unserved(machine: "Machine | TuringMachine", state: str, lacking: Mapping[Tops, list[str]]) -> Iterable[str]:
    for tops, symbols in lacking.items():
        shown = "".join(
            f", {memory.name} {'zero' if memory.counter else 'empty'}" if not top else f", {memory.name} {top}"
            for memory, top in zip(getattr(machine, "memories", ()), tops, strict=True)
            if top is not None
        )
        yield f"no rule in state {state} for {said(symbols)}{shown}"


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
