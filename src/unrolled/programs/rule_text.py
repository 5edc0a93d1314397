"""The rules of a machine file: one line each, read and written.

Knows nothing about the rest of the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from unrolled.programs.faults import MOVES
from unrolled.programs.source import Fault, Notes, Unread
from unrolled.programs.turing import END, MARK, Action, Memory, Rule
from unrolled.programs.words import ARROW, Word, spell, symbol_of, symbols_of

READS = {"end": END, "nothing": None}
VERBS = ("pop", "push", "add", "subtract", "write")
_COUNTER_TOPS = {"zero": "", "empty": "", "positive": MARK, "any": None}
_STACK_TOPS = {"empty": "", "any": None}
MEMORIES, WRITES = "memories", "writes"
"""What is not known when the line of a memory, or what a rule does, could not be read."""


@dataclass
class Columns:
    """What stands between the symbol that is read and the arrow: a top for every memory."""

    memories: tuple[Memory, ...]

    @property
    def usage(self) -> str:
        """How a rule is written."""
        return " ".join(("STATE SYMBOL", *(memory.name for memory in self.memories), ARROW, "STATE"))


def machine_rule(words: list[Word], line: int, columns: Columns, notes: Notes) -> Rule | None:
    """Return the rule of an automaton, a counter machine or a pushdown machine, or note what is wrong with it.

    Where only what it does is wrong, the rule does the rest, so that it can still be held against the others.
    """
    place, faults = words.index(Word(ARROW)), notes.faults
    before, after = words[:place], words[place + 1 :]
    memories = columns.memories
    if MEMORIES in notes.unsure:
        before, after, memories = before[:2], after[:1], ()
    if not 2 <= len(before) <= 2 + len(memories) or not after:
        faults.append((line, f"a rule is written `{columns.usage}` and then what it does"))
        _unread(before, after, line, notes)
        if len(before) > 2 + len(memories):  # which word is the state?
            notes.unread += [Unread(0, word.text) for word in before[1:]]
        return None
    noted = len(faults)
    state, read, *tops = before
    symbol = READS[read.text] if not read.quoted and read.text in READS else symbol_of(read)
    if symbol is None and read != Word("nothing"):
        faults.append((line, f"{read.text!r} is no symbol; what is read is a symbol, `end` or `nothing`"))
    asked = [_top(top, memory, line, faults) for top, memory in zip(tops, memories, strict=False)]
    asked += [None] * (len(memories) - len(asked))
    if len(faults) > noted or MEMORIES in notes.unsure:
        _actions(after[1:], line, memories, faults)
        _unread(before, after, line, notes)
        return None
    actions, write = _actions(after[1:], line, memories, faults)
    if len(faults) > noted:
        notes.unsure.add(WRITES)
    return Rule(state.text, symbol, tuple(asked), after[0].text, actions, write, line)


def _unread(before: list[Word], after: list[Word], line: int, notes: Notes) -> None:
    """Note a rule that could not be read, with what is known of it."""
    notes.unsure.add(WRITES)
    if not before:
        return
    reads: tuple[str | None, ...] | None = None
    if len(before) > 1:
        read = before[1]
        symbol = READS[read.text] if not read.quoted and read.text in READS else symbol_of(read)
        reads = None if symbol is None else (symbol,)
    notes.unread.append(Unread(line, before[0].text, reads, after[0].text if after else ""))


def _top(word: Word, memory: Memory, line: int, faults: list[Fault]) -> str | None:
    known = _COUNTER_TOPS if memory.counter else _STACK_TOPS
    if not word.quoted and word.text in known:
        return known[word.text]
    symbol = symbol_of(word)
    if memory.counter or symbol is None:
        choices = "zero, positive or any" if memory.counter else "a symbol, empty or any"
        faults.append((line, f"{word.text!r} for {memory.name}; it is {choices}"))
        return None
    return symbol


def _actions(
    words: list[Word], line: int, memories: tuple[Memory, ...], faults: list[Fault]
) -> tuple[tuple[Action, ...], str]:
    pops, pushes, write = [False] * len(memories), [""] * len(memories), ""
    names = [memory.name for memory in memories]
    waiting = list(words)
    while waiting:
        verb = waiting.pop(0)
        if verb.quoted or verb.text not in VERBS:
            faults.append((line, f"{verb.text!r} is nothing that a rule does; it may {', '.join(VERBS)}"))
            break
        if verb.text == "write":
            write += _taken(waiting)
            continue
        place = names.index(waiting.pop(0).text) if waiting and waiting[0].text in names else 0
        if not memories or (len(memories) > 1 and not _named(words, waiting, names)):
            which = f"say which memory ({', '.join(names)})" if memories else "this machine has no memory"
            faults.append((line, f"`{verb.text}`: {which}"))
            break
        memory = memories[place]
        if memory.counter != (verb.text in ("add", "subtract")):
            use = "add and subtract" if memory.counter else "pop and push"
            faults.append((line, f"`{verb.text}` on {memory.name}; for a {_kind(memory)} write {use}"))
            _taken(waiting)
            continue
        symbols = _taken(waiting) if verb.text == "push" else ""
        if verb.text == "push" and not symbols and waiting and waiting[0].text not in VERBS:
            what = f"{waiting[0].text!r} is no symbol that could be pushed"
            faults.append((line, f"{what}; {memory.name} holds {' '.join(memory.alphabet)}"))
            break
        if verb.text == "push" and not symbols:
            faults.append((line, f"`push` without a symbol; {memory.name} holds {' '.join(memory.alphabet)}"))
        if verb.text in ("pop", "subtract") and (pops[place] or pushes[place]):
            faults.append((line, f"`{verb.text}` on {memory.name} comes first and once"))
        pops[place] |= verb.text in ("pop", "subtract")
        pushes[place] += MARK if verb.text == "add" else symbols
    return tuple(Action(pop, tuple(push)) for pop, push in zip(pops, pushes, strict=True)), write


def _named(words: list[Word], waiting: list[Word], names: list[str]) -> bool:
    """Tell whether the word just taken was the name of a memory."""
    return words[len(words) - len(waiting) - 1].text in names


def _kind(memory: Memory) -> str:
    return "counter" if memory.counter else "stack"


def _taken(waiting: list[Word]) -> str:
    """Take symbols from the front of the words as long as there are any."""
    taken = ""
    while waiting and (symbols := symbols_of(waiting[0])):
        taken += symbols
        waiting.pop(0)
    return taken


def tape_rule(words: list[Word], line: int, notes: Notes) -> list[tuple[tuple[str, str], tuple[str, str, str]]]:
    """Return the transitions of one rule of a Turing machine, one for each symbol that it names.

    Where only what it does is wrong, they leave the tape as it is, so that they can still be held against the others.
    """
    place, faults = words.index(Word(ARROW)), notes.faults
    before, after = words[:place], words[place + 1 :]
    to = after[0].text if after and not (len(after) == 1 and after[0].text in MOVES) else ""
    if not 2 <= len(after) <= 3 or len(before) < 2:
        faults.append((line, f"a rule is written `STATE SYMBOL {ARROW} STATE SYMBOL MOVE`"))
        if not to or len(before) < 2 or len(after) > 3:
            reads = "".join(symbols_of(word) or "" for word in before[1:])
            if before:
                notes.unread.append(Unread(line, before[0].text, tuple(reads) or None, to if len(after) == 1 else ""))
            return []
        after = [after[0], Word("S")]
    write, move = symbol_of(after[1]) if len(after) == 3 else None, after[-1].text
    if len(after) == 3 and write is None:
        faults.append((line, f"{after[1].text!r} is no symbol that could be written"))
    if move not in MOVES:
        faults.append((line, f"a move {move!r}; the moves are L, R and S"))
        move = "S"
    found = []
    for word in before[1:]:
        symbols = symbols_of(word)
        if not symbols:
            faults.append((line, f"{word.text!r} is no symbol"))
            notes.unread.append(Unread(line, before[0].text))
        for symbol in symbols or "":
            found.append(((before[0].text, symbol), (to, symbol if write is None else write, move)))
    return found


def likely_kind(rules: Iterable[list[Word]], memories: tuple[Memory, ...], *, tape: bool) -> str:
    """Return the kind of machine that these rules and memories most likely belong to; `tape`: there are lines for one.

    A rule that ends in a move, and does nothing that rules with memories do, can only be that of a Turing machine.
    """
    moving = [_moves(words) for words in rules]
    if 2 * sum(moving) > len(moving) or (tape and not memories and not moving):
        return "turing"
    if memories:
        return "counter" if all(memory.counter for memory in memories) else "pushdown"
    return "turing" if tape and any(moving) else "automaton"


def _moves(words: list[Word]) -> bool:
    after = words[words.index(Word(ARROW)) + 1 :]
    return 2 <= len(after) <= 3 and after[-1].text in MOVES and after[1].text not in VERBS


def written_rule(rule: Rule, memories: tuple[Memory, ...]) -> str:
    """Return the line of a rule."""
    read = "nothing" if rule.read is None else "end" if rule.read == END else spell(rule.read)
    words = [rule.state, read]
    for memory, top in zip(memories, rule.tops, strict=True):
        if memory.counter:
            words.append("any" if top is None else "positive" if top else "zero")
        else:
            words.append("any" if top is None else spell(top) if top else "empty")
    words += [ARROW, rule.to]
    for memory, action in zip(memories, rule.actions, strict=True):
        name = [memory.name] if len(memories) > 1 else []
        if action.pop:
            words += ["subtract" if memory.counter else "pop", *name]
        if memory.counter:
            words += [word for _ in action.push for word in ("add", *name)]
        elif action.push:
            words += ["push", *name, *map(spell, action.push)]
    if rule.write:
        words += ["write", *map(spell, rule.write)]
    return " ".join(words)


def written_tape_rule(key: tuple[str, str], action: tuple[str, str, str]) -> str:
    """Return the line of a Turing machine's rule."""
    (state, symbol), (to, write, move) = key, action
    return " ".join((state, spell(symbol), ARROW, to, spell(write), move))
