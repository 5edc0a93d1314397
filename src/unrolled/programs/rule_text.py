"""The rules of a machine file: one line each, read and written.

Knows nothing about the rest of the file.
"""

from dataclasses import dataclass

from unrolled.programs.faults import MOVES, Fault
from unrolled.programs.turing import END, MARK, Action, Memory, Rule
from unrolled.programs.words import ARROW, Word, spell, symbol_of, symbols_of

READS = {"end": END, "nothing": None}
VERBS = ("pop", "push", "add", "subtract", "write")
_COUNTER_TOPS = {"zero": "", "empty": "", "positive": MARK, "any": None}
_STACK_TOPS = {"empty": "", "any": None}


@dataclass
class Columns:
    """What stands between the symbol that is read and the arrow: a top for every memory."""

    memories: tuple[Memory, ...]

    @property
    def usage(self) -> str:
        """How a rule is written."""
        return " ".join(("STATE SYMBOL", *(memory.name for memory in self.memories), ARROW, "STATE"))


def machine_rule(words: list[Word], line: int, columns: Columns, faults: list[Fault]) -> Rule | None:
    """Return the rule of an automaton, a counter machine or a pushdown machine, or note what is wrong with it."""
    place = words.index(Word(ARROW))
    before, after = words[:place], words[place + 1 :]
    memories = columns.memories
    if not 2 <= len(before) <= 2 + len(memories) or not after:
        faults.append((line, f"a rule is written `{columns.usage}` and then what it does"))
        return None
    noted = len(faults)
    state, read, *tops = before
    symbol = READS[read.text] if not read.quoted and read.text in READS else symbol_of(read)
    if symbol is None and read != Word("nothing"):
        faults.append((line, f"{read.text!r} is no symbol; what is read is a symbol, `end` or `nothing`"))
    asked = [_top(top, memory, line, faults) for top, memory in zip(tops, memories, strict=False)]
    asked += [None] * (len(memories) - len(asked))
    actions, write = _actions(after[1:], line, memories, faults)
    if len(faults) > noted:
        return None
    return Rule(state.text, symbol, tuple(asked), after[0].text, actions, write, line)


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
        symbols = _taken(waiting) if verb.text == "push" else ""
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


def tape_rule(words: list[Word], line: int, faults: list[Fault]) -> list[tuple[tuple[str, str], tuple[str, str, str]]]:
    """Return the transitions of one rule of a Turing machine, one for each symbol that it names."""
    place = words.index(Word(ARROW))
    before, after = words[:place], words[place + 1 :]
    if len(before) < 2 or not 2 <= len(after) <= 3:
        faults.append((line, f"a rule is written `STATE SYMBOL {ARROW} STATE SYMBOL MOVE`"))
        return []
    write = symbol_of(after[1]) if len(after) == 3 else None
    if len(after) == 3 and write is None:
        faults.append((line, f"{after[1].text!r} is no symbol that could be written"))
        return []
    move = after[-1].text
    if move not in MOVES:
        faults.append((line, f"a move {move!r}; the moves are L, R and S"))
        return []
    found = []
    for word in before[1:]:
        symbols = symbols_of(word)
        if not symbols:
            faults.append((line, f"{word.text!r} is no symbol"))
        for symbol in symbols or "":
            found.append(((before[0].text, symbol), (after[0].text, symbol if write is None else write, move)))
    return found


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
