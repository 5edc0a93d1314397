"""The text format of machines: read with all faults at once, and written so that reading gives the same machine.

Knows nothing about running machines, about circuits or about networks; docs/machine_format.md describes the format.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile

from unrolled.errors import nearest
from unrolled.programs.faults import KINDS as MACHINE_KINDS
from unrolled.programs.rule_text import (
    MEMORIES,
    READS,
    VERBS,
    WRITES,
    Columns,
    likely_kind,
    machine_rule,
    tape_rule,
    written_rule,
    written_tape_rule,
)
from unrolled.programs.source import Fault, Notes, Source, Unread
from unrolled.programs.turing import END, MARK, Example, Machine, Memory, Rule, TuringMachine
from unrolled.programs.words import ARROW, Word, WordError, cut, said, spell, spell_text, symbol_of, symbols_of

KINDS = (*MACHINE_KINDS, "turing")
VERDICTS = ("accept", "reject")
UNNAMED = "unnamed"
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
            _damaged(read, number, error)
            continue
        if words:
            _line(read, number, words)
    _unknown_lines(read)
    _headers(read)
    build = _turing_machine if read.kind == "turing" else _machine
    return build(read, where)


@dataclass
class _Read:
    """What was found in a file, in the order of its lines."""

    kind: str = ""
    single: dict[str, str] = field(default_factory=dict)
    many: dict[str, list[str]] = field(default_factory=dict)
    about: list[str] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    rules: list[tuple[int, list[Word]]] = field(default_factory=list)
    unknown: list[tuple[int, list[Word]]] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    lines: dict[str, list[int]] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)

    @property
    def faults(self) -> list[Fault]:
        return self.notes.faults

    def source(self, where: str) -> Source:
        """Return what is known of the file; a state stands where its first rule does, or else where it is named."""
        states = {words[0].text: number for number, words in reversed(self.rules)}
        keywords = {keyword: numbers[-1] for keyword, numbers in self.lines.items()}
        return Source(where, self.notes, keywords, self.named | states)


def _line(read: _Read, number: int, words: list[Word]) -> None:
    keyword, rest = words[0].text, words[1:]
    arrows = [place for place, word in enumerate(words) if word == Word(ARROW)]
    if arrows and keyword == "example":
        _example(read, number, rest)
    elif arrows:
        read.rules.append((number, words))
    elif keyword not in KEYWORDS:
        read.unknown.append((number, words))
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
        read.many.setdefault(keyword, []).extend(_symbols(read, number, rest, keyword))
    else:
        read.many.setdefault(keyword, []).extend(word.text for word in rest)
        for word in rest:
            read.named.setdefault(word.text, number)
    if not arrows and keyword in KEYWORDS:
        read.lines.setdefault(keyword, []).append(number)


def _damaged(read: _Read, number: int, error: WordError) -> None:
    """Take from a line with an open quote what it may say, without judging it any further."""
    read.faults.append((number, str(error)))
    words = error.words
    if not words or words[0].text == "example":
        return
    if words[0].text in KEYWORDS and Word(ARROW) not in words:
        noted = len(read.faults)
        _line(read, number, words)
        del read.faults[noted:]
        read.notes.unsure |= {words[0].text, *([MEMORIES] if words[0].text in MACHINE_ONLY else [])}
    else:
        _lost_rule(read, words[0].text)


def _lost_rule(read: _Read, state: str, reads: tuple[str | None, ...] | None = None) -> None:
    read.notes.unread.append(Unread(0, state, reads))
    read.notes.unsure.add(WRITES)


def _unknown_lines(read: _Read) -> None:
    """Note the lines that no keyword begins; where it is all but certain what was meant, read on with that."""
    states = {words[0].text for _, words in read.rules} | set(read.named)
    for number, words in read.unknown:
        word, rest = words[0].text, words[1:]
        close = [] if word in states else difflib.get_close_matches(word, KEYWORDS, n=1, cutoff=0.75)
        if word in states:
            read.faults.append((number, f"a rule of the state {word} without {ARROW}"))
        else:
            read.faults.append((number, f"unknown word {word!r} ({_hint(word)}; a rule has {ARROW})"))
        if close and not (close[0] in ONCE and close[0] in read.lines):
            _line(read, number, [Word(close[0]), *rest])
        elif rest and rest[0].text in KEYWORDS:
            _line(read, number, rest)
        else:
            symbols = tuple(takewhile(bool, map(symbol_of, rest)))
            plain = rest and not rest[0].quoted and rest[0].text in READS
            _lost_rule(read, word, (READS[rest[0].text],) if plain else symbols or None)


def _hint(keyword: str) -> str:
    close = nearest(keyword, KEYWORDS)
    return close if close.startswith("did") else "a line begins with " + ", ".join(KEYWORDS)


def _once(read: _Read, number: int, keyword: str, rest: list[Word]) -> None:
    if len(rest) != 1:
        read.faults.append((number, f"`{keyword}` takes one word, not {len(rest)}"))
        read.notes.unsure.add(keyword)
        rest = [word for word in rest if keyword != "kind" or word.text in KINDS][:1]
    elif keyword in read.single:
        read.faults.append((number, f"a second line `{keyword}`"))
    if not rest or keyword in read.single:
        return
    if keyword == "blank":
        symbols = _symbols(read, number, rest, keyword)
        if len(symbols) == 1:
            read.single[keyword] = symbols[0]
        elif rest[0].quoted:
            read.faults.append((number, "the blank is one symbol"))
            read.notes.unsure.add(keyword)
    else:
        read.single[keyword] = rest[0].text
        if keyword == "start":
            read.named.setdefault(rest[0].text, number)


def _symbols(read: _Read, number: int, words: list[Word], what: str) -> list[str]:
    found: list[str] = []
    for word in words:
        symbols = symbols_of(word)
        if symbols is None:
            read.faults.append((number, f"{word.text!r} is no symbol: a symbol is one character, space, hash or quote"))
            read.notes.unsure.add(what)
        else:
            found.extend(symbols)
    return found


def _memory(read: _Read, number: int, keyword: str, rest: list[Word]) -> None:
    if not rest or (keyword == "counter" and len(rest) > 1):
        usage = "stack NAME SYMBOLS" if keyword == "stack" else "counter NAME"
        read.faults.append((number, f"`{keyword}` is written `{usage}`"))
        read.notes.unsure.add(MEMORIES)
        return
    counter = keyword == "counter"
    alphabet = (MARK,) if counter else tuple(_symbols(read, number, rest[1:], f"stack {rest[0].text}"))
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
    """Note what is missing or does not belong, and settle on the kind that is read."""
    for keyword, usage in (("machine", "machine NAME"), ("start", "start STATE")):
        if keyword not in read.lines:
            read.faults.append((0, f"no {'name' if keyword == 'machine' else keyword}; write `{usage}`"))
    given = read.single.get("kind", "")
    rules = [words for _, words in read.rules]
    tape = any(keyword in read.lines for keyword in TAPE_ONLY)
    likely = likely_kind(rules, tuple(read.memories), tape=tape)
    if given not in KINDS:
        read.kind = likely
        if "kind" not in read.lines:
            read.faults.append((0, f"no kind; write `kind` and one of {', '.join(KINDS)}"))
        elif given:
            read.faults.append((read.lines["kind"][0], f"unknown kind {given!r} ({nearest(given, KINDS)})"))
        return
    acting = any(word.text in VERBS for words in rules for word in words[words.index(Word(ARROW)) :])
    if (given == "turing") != (likely == "turing") and (given != "turing" or read.memories or acting):
        read.kind = likely
        what = "its rules move no head" if given == "turing" else "its rules move a head"
        read.faults.append((read.lines["kind"][0], f"kind {given}, but {what}; say `kind {likely}`"))
        return
    read.kind = given
    for keyword in MACHINE_ONLY if given == "turing" else TAPE_ONLY:
        for number in read.lines.get(keyword, []):
            read.faults.append((number, f"a line `{keyword}` in a machine of kind {given}"))


def _states(read: _Read, marked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the declared states, or else those that have rules or are marked, the start first.

    What stands in a line that could not be understood may be a state that others lead to.
    """
    if "states" in read.many:
        return tuple(read.many["states"])
    start = read.single.get("start", "")
    found = [words[0].text for _, words in read.rules if words[0] != Word(ARROW)]
    found += [state for keyword in marked for state in read.many.get(keyword, [])]
    led = {words[words.index(Word(ARROW)) + 1].text for _, words in read.rules if words[-1] != Word(ARROW)} | {start}
    for _, words in read.unknown:
        for word in words:
            if word.text in led - {""} and word.text not in found:
                found.append(word.text)
                _lost_rule(read, word.text)
    found += [rule.state for rule in read.notes.unread if rule.state in led]
    if not read.rules and not found:
        found = [start or "start"]
    return tuple(dict.fromkeys([start, *found] if start in found else found))


def _alphabet(read: _Read, used: Iterable[str | None]) -> tuple[str, ...]:
    """Return the input's alphabet, or note that symbols are used and none is declared."""
    known = "alphabet" in read.lines or {"tape", "blank"} & read.notes.unsure
    if not known and any((*used, *(example.text for example in read.examples))):
        read.faults.append((0, "no alphabet; write `alphabet SYMBOLS`"))
        read.notes.unsure.add("alphabet")
    return tuple(read.many.get("alphabet", []))


def _machine(read: _Read, where: str) -> Machine:
    columns = Columns(tuple(read.memories))
    rules: list[Rule] = []
    for number, words in read.rules:
        rule = machine_rule(words, number, columns, read.notes)
        if rule:
            rules.append(rule)
    acceptor = not any(rule.write for rule in rules) and WRITES not in read.notes.unsure
    for example in read.examples:
        if acceptor and example.output is not None:
            read.faults.append((example.line, "a machine that writes nothing: its example ends in accept or reject"))
    states = _states(read, ("accept",))
    return Machine(
        name=read.single.get("machine", UNNAMED),
        description="\n".join(read.about),
        kind=read.kind,
        alphabet=_alphabet(read, (rule.read for rule in rules if rule.read not in (None, END))),
        states=states,
        start=read.single.get("start") or (states or ("",))[0],
        accepting=frozenset(read.many.get("accept", [])),
        memories=tuple(read.memories),
        rules=tuple(rules),
        examples=tuple(read.examples),
        otherwise=read.single.get("otherwise", "reject" if "otherwise" in read.lines else ""),
        source=read.source(where),
    )


def _turing_machine(read: _Read, where: str) -> TuringMachine:
    blank = read.single.get("blank", "_")
    rules: dict[tuple[str, str], tuple[str, str, str]] = {}
    lines: dict[tuple[str, str], int] = {}
    for number, words in read.rules:
        for key, action in tape_rule(words, number, read.notes):
            if key in rules:
                what = f"double transition in state {key[0]} for {said([key[1]])}"
                read.faults.append((number, f"{what} (the other is in line {lines[key]})"))
            else:
                rules[key], lines[key] = action, number
    tape = list(read.many.get("tape", []))
    alphabet = _alphabet(read, (symbol for _, symbol in rules if symbol not in (blank, *tape)))
    tape += [symbol for symbol in (*dict.fromkeys(alphabet), blank) if symbol not in tape]
    answer = read.single.get("answer", "verdict" if read.many.get("accept") else "tape")
    if answer not in ("verdict", "tape"):
        read.faults.append((read.lines["answer"][0], f"unknown answer {answer!r}; it is `verdict` or `tape`"))
    for example in read.examples:
        if answer == "verdict" and example.output is not None:
            read.faults.append((example.line, "the answer is the verdict: an example ends in accept or reject"))
    states = _states(read, ("accept", "reject", "halt"))
    return TuringMachine(
        name=read.single.get("machine", UNNAMED),
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
        otherwise=read.single.get("otherwise", "halt" if "otherwise" in read.lines else ""),
        lines=lines,
        source=read.source(where),
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
