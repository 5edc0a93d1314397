"""The text format of machines: read with all faults at once, and written so that reading gives the same machine.

Knows nothing about running machines, about circuits or about networks; docs/machine_format.md describes the format.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from unrolled.errors import MachineError, nearest
from unrolled.programs.faults import KINDS as MACHINE_KINDS
from unrolled.programs.faults import Fault, refuse, said
from unrolled.programs.rule_text import Columns, machine_rule, tape_rule, written_rule, written_tape_rule
from unrolled.programs.turing import MARK, Example, Machine, Memory, Rule, TuringMachine
from unrolled.programs.words import ARROW, Word, WordError, cut, spell, spell_text, symbols_of

KINDS = (*MACHINE_KINDS, "turing")
VERDICTS = ("accept", "reject")
MACHINE_ONLY = ("stack", "counter")
TAPE_ONLY = ("tape", "blank", "reject", "halt", "answer")
ONCE = ("machine", "kind", "blank", "start", "answer", "otherwise")
KEYWORDS = (*ONCE, "about", "alphabet", *MACHINE_ONLY, "tape", "states", "accept", "reject", "halt", "rules", "example")


def parse_machine(text: str, where: str = "a machine file") -> Machine | TuringMachine:
    """Return the machine that a text describes. Raises one MachineError with every fault and its line."""
    read = _Read()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if line.split(maxsplit=1)[:1] == ["about"]:
            read.about.append(line.strip().removeprefix("about").strip())
            continue
        try:
            words = cut(line)
        except WordError as error:
            read.faults.append((number, str(error)))
            continue
        if words:
            _line(read, number, words)
    _headers(read)
    if read.faults and (read.kind not in KINDS or not read.name):
        refuse(where, read.faults)
    build = _turing_machine if read.kind == "turing" else _machine
    try:
        machine = build(read)
    except MachineError as error:
        refuse(where, [*read.faults, *(_placed(read, fault) for fault in error.faults)])
        raise
    refuse(where, read.faults)
    return machine


def _placed(read: "_Read", fault: Fault) -> Fault:
    """Give a fault of the machine as a whole the line of the keyword that it begins with."""
    line, what = fault
    numbers = read.lines.get(what.split(":")[0], [])
    return (numbers[-1], what) if numbers and not line else fault


@dataclass
class _Read:
    """What was found in a file, in the order of its lines."""

    single: dict[str, str] = field(default_factory=dict)
    many: dict[str, list[str]] = field(default_factory=dict)
    about: list[str] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    rules: list[tuple[int, list[Word]]] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lines: dict[str, list[int]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.single.get("kind", "")

    @property
    def name(self) -> str:
        return self.single.get("machine", "")


def _line(read: _Read, number: int, words: list[Word]) -> None:
    keyword, rest = words[0].text, words[1:]
    arrows = [place for place, word in enumerate(words) if word == Word(ARROW)]
    if arrows and keyword == "example":
        _example(read, number, rest)
    elif arrows:
        read.rules.append((number, words))
    elif keyword not in KEYWORDS:
        read.faults.append((number, f"unknown word {keyword!r} ({_hint(keyword)}; a rule has {ARROW})"))
    elif keyword == "example":
        read.faults.append((number, f"an example without {ARROW}; write `example INPUT {ARROW} OUTPUT`"))
    elif keyword == "rules":
        if rest:
            read.faults.append((number, f"`rules` stands alone on its line; a rule has {ARROW}"))
    elif keyword in ONCE:
        _once(read, number, keyword, rest)
    elif keyword in MACHINE_ONLY:
        _memory(read, number, keyword, rest)
    elif keyword in ("alphabet", "tape"):
        read.many.setdefault(keyword, []).extend(_symbols(read, number, rest))
    else:
        read.many.setdefault(keyword, []).extend(word.text for word in rest)
    if not arrows:
        read.lines.setdefault(keyword, []).append(number)


def _hint(keyword: str) -> str:
    close = nearest(keyword, KEYWORDS)
    return close if close.startswith("did") else "a line begins with " + ", ".join(KEYWORDS)


def _once(read: _Read, number: int, keyword: str, rest: list[Word]) -> None:
    if len(rest) != 1:
        read.faults.append((number, f"`{keyword}` takes one word, not {len(rest)}"))
    elif keyword in read.single:
        read.faults.append((number, f"a second line `{keyword}`"))
    elif keyword == "blank":
        symbols = _symbols(read, number, rest)
        if len(symbols) == 1:
            read.single[keyword] = symbols[0]
        elif rest[0].quoted:
            read.faults.append((number, "the blank is one symbol"))
    else:
        read.single[keyword] = rest[0].text


def _symbols(read: _Read, number: int, words: list[Word]) -> list[str]:
    found: list[str] = []
    for word in words:
        symbols = symbols_of(word)
        if symbols is None:
            read.faults.append((number, f"{word.text!r} is no symbol: a symbol is one character, space, hash or quote"))
        else:
            found.extend(symbols)
    return found


def _memory(read: _Read, number: int, keyword: str, rest: list[Word]) -> None:
    if not rest or (keyword == "counter" and len(rest) > 1):
        usage = "stack NAME SYMBOLS" if keyword == "stack" else "counter NAME"
        read.faults.append((number, f"`{keyword}` is written `{usage}`"))
        return
    counter = keyword == "counter"
    alphabet = (MARK,) if counter else tuple(_symbols(read, number, rest[1:]))
    read.memories.append(Memory(rest[0].text, alphabet, counter, number))


def _example(read: _Read, number: int, rest: list[Word]) -> None:
    place = rest.index(Word(ARROW))
    given, wanted = rest[:place], rest[place + 1 :]
    if len(given) > 1 or len(wanted) > 1:
        read.faults.append((number, "an example has one word on each side; a text with spaces stands in double quotes"))
        return
    text = given[0].text if given else ""
    if wanted and not wanted[0].quoted and wanted[0].text in VERDICTS:
        read.examples.append(Example(text, wanted[0].text == "accept", None, number))
    else:
        read.examples.append(Example(text, True, wanted[0].text if wanted else "", number))


def _headers(read: _Read) -> None:
    """Note what is missing or does not belong."""
    if not read.name and not any("`machine`" in what for _, what in read.faults):
        read.faults.append((0, "no name; write `machine NAME`"))
    if not read.kind:
        read.faults.append((0, f"no kind; write `kind` and one of {', '.join(KINDS)}"))
    elif read.kind not in KINDS:
        read.faults.append((read.lines["kind"][0], f"unknown kind {read.kind!r} ({nearest(read.kind, KINDS)})"))
    if "start" not in read.single and not any("`start`" in what for _, what in read.faults):
        read.faults.append((0, "no start; write `start STATE`"))
    foreign = MACHINE_ONLY if read.kind == "turing" else TAPE_ONLY
    for keyword in foreign if read.kind in KINDS else ():
        for number in read.lines.get(keyword, []):
            read.faults.append((number, f"a line `{keyword}` in a machine of kind {read.kind}"))


def _states(read: _Read, marked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the declared states, or else those that have rules or are marked, the start first."""
    if "states" in read.many:
        return tuple(read.many["states"])
    start = read.single.get("start", "")
    found = [words[0].text for _, words in read.rules] or [start]
    found += [state for keyword in marked for state in read.many.get(keyword, [])]
    return tuple(dict.fromkeys([start, *found] if start in found else found))


def _machine(read: _Read) -> Machine:
    columns = Columns(tuple(read.memories))
    rules: list[Rule] = []
    for number, words in read.rules:
        rule = machine_rule(words, number, columns, read.faults)
        if rule:
            rules.append(rule)
    acceptor = not any(rule.write for rule in rules)
    for example in read.examples:
        if acceptor and example.output is not None and not read.faults:
            read.faults.append((example.line, "a machine that writes nothing: its example ends in accept or reject"))
    states = _states(read, ("accept",))
    return Machine(
        name=read.name,
        description="\n".join(read.about),
        kind=read.kind,
        alphabet=tuple(read.many.get("alphabet", [])),
        states=states,
        start=read.single.get("start") or (states or ("",))[0],
        accepting=frozenset(read.many.get("accept", [])),
        memories=tuple(read.memories),
        rules=tuple(rules),
        examples=tuple(read.examples),
        # a fault elsewhere may be the reason why a rule is missing
        otherwise=read.single.get("otherwise", "reject" if read.faults else ""),
    )


def _turing_machine(read: _Read) -> TuringMachine:
    alphabet = tuple(read.many.get("alphabet", []))
    blank = read.single.get("blank", "_")
    tape = list(read.many.get("tape", []))
    tape += [symbol for symbol in (*dict.fromkeys(alphabet), blank) if symbol not in tape]
    rules: dict[tuple[str, str], tuple[str, str, str]] = {}
    lines: dict[tuple[str, str], int] = {}
    for number, words in read.rules:
        for key, action in tape_rule(words, number, read.faults):
            if key in rules:
                what = f"double transition in state {key[0]} for {said([key[1]])}"
                read.faults.append((number, f"{what} (the other is in line {lines[key]})"))
            else:
                rules[key], lines[key] = action, number
    answer = read.single.get("answer", "verdict" if read.many.get("accept") else "tape")
    if answer not in ("verdict", "tape"):
        read.faults.append((read.lines["answer"][0], f"unknown answer {answer!r}; it is `verdict` or `tape`"))
    for example in read.examples:
        if answer == "verdict" and example.output is not None:
            read.faults.append((example.line, "the answer is the verdict: an example ends in accept or reject"))
    states = _states(read, ("accept", "reject", "halt"))
    return TuringMachine(
        name=read.name,
        description="\n".join(read.about),
        alphabet=alphabet,
        tape=tuple(tape),
        blank=blank,
        states=states,
        start=read.single.get("start") or (states or ("",))[0],
        accepting=frozenset(read.many.get("accept", [])),
        rejecting=frozenset(read.many.get("reject", [])),
        halting=frozenset(read.many.get("halt", [])),
        rules=rules,
        acceptor=answer != "tape",
        examples=tuple(read.examples),
        otherwise=read.single.get("otherwise", "halt" if read.faults else ""),
        lines=lines,
    )


def kind_of(machine: Machine | TuringMachine) -> str:
    """Return the word that stands behind `kind` in a machine's text."""
    return "turing" if isinstance(machine, TuringMachine) else machine.kind


def format_machine(machine: Machine | TuringMachine) -> str:
    """Return the text of a machine; reading it gives an equal machine."""
    turing = isinstance(machine, TuringMachine)
    lines = [f"machine {machine.name}", *(f"about {line}".rstrip() for line in machine.description.split("\n") if line)]
    lines += [f"kind {kind_of(machine)}", _listed("alphabet", map(spell, machine.alphabet))]
    if turing:
        lines += [_listed("tape", map(spell, machine.tape)), f"blank {spell(machine.blank)}"]
    else:
        for memory in machine.memories:
            symbols = [] if memory.counter else map(spell, memory.alphabet)
            lines.append(_listed(f"{'counter' if memory.counter else 'stack'} {memory.name}", symbols))
    lines += [_listed("states", machine.states), f"start {machine.start}"]
    marked = {"accept": machine.accepting}
    if turing:
        marked |= {"reject": machine.rejecting, "halt": machine.halting}
    lines += [_listed(word, sorted(states)) for word, states in marked.items() if states]
    if turing:
        lines.append(f"answer {'verdict' if machine.acceptor else 'tape'}")
    if machine.otherwise:
        lines.append(f"otherwise {machine.otherwise}")
    lines.append("rules")
    if turing:
        lines += [f"  {written_tape_rule(key, action)}" for key, action in machine.rules.items()]
    else:
        lines += [f"  {written_rule(rule, machine.memories)}" for rule in machine.rules]
    for example in machine.examples:
        verdict = VERDICTS[not example.accepted]
        wanted = verdict if example.output is None else spell_text(example.output, VERDICTS)
        lines.append(f"example {spell_text(example.text)} {ARROW} {wanted}")
    return "\n".join(lines) + "\n"


def _listed(word: str, items: Iterable[str]) -> str:
    return " ".join((word, *items))
