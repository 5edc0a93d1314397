"""Machines for tests: random ones of every kind, drawn from a seed, and interpreters that share no code with ours."""

import itertools
import random

from unrolled.programs.turing import END, MARK, Action, Machine, Memory, Rule, TuringMachine

STATES = ("q", "r2", "s-long", "t_", "u")
SYMBOLS = 'ab01(#" .='


def random_machine(seed: int, *, silent_rules: bool | None = None) -> Machine:
    """An automaton, a counter machine or a machine with up to three stacks; a third of them reads nothing at times."""
    rng = random.Random(seed)
    alphabet = tuple(rng.sample(SYMBOLS, rng.randint(0 if seed % 11 == 0 else 1, 3)))
    kind = rng.choice(("automaton", "counter", "pushdown", "pushdown"))
    memories = {
        "automaton": (),
        "counter": tuple(Memory(f"count{i}", (MARK,), counter=True) for i in range(rng.randint(1, 3))),
        "pushdown": (
            Memory("counter", (MARK,), counter=True)
            if rng.random() < 0.2
            else Memory("stack", tuple(rng.sample("XYZ#", rng.randint(1, 3)))),
            *(Memory(f"more{i}", tuple("AB"[: rng.randint(1, 2)])) for i in range(rng.randint(0, 2))),
        ),
    }[kind]
    states = STATES[: rng.randint(1, 5)]
    silent = rng.random() < 1 / 3 if silent_rules is None else silent_rules
    style = rng.choice(("acceptor", "early", "late", "late"))

    def rule(state, read, tops):
        actions = tuple(
            Action(
                pop=bool(top) and rng.random() < 0.5,
                push=tuple(rng.choice(memory.alphabet) for _ in range(rng.choice((0, 0, 1, 1, 2)))),
            )
            for memory, top in zip(memories, tops, strict=True)
        )
        write = ""
        if style == "early" or (style == "late" and read == END):
            write = "".join(rng.choice("xy1.") for _ in range(rng.choice((0, 1, 2) if style == "early" else (1,))))
        return Rule(state, read, tops, rng.choice(states), actions, write)

    rules = []
    for state in states:
        for tops in itertools.product(*(rng.choice(((None,), ("", *m.alphabet), ("", *m.alphabet))) for m in memories)):
            if silent and rng.random() < 0.3:
                rules.append(rule(state, None, tops))
                continue
            rules += [rule(state, symbol, tops) for symbol in alphabet if rng.random() < 0.9]
            if rng.random() < 0.4:
                rules.append(rule(state, END, tops))
    rng.shuffle(rules)
    accepting = frozenset(rng.sample(states, rng.randint(0, len(states))))
    name = f"random-{seed}"
    return Machine(name, "", kind, alphabet, states, states[0], accepting, memories, tuple(rules), (), "reject")


def random_turing_machine(seed: int) -> TuringMachine:
    """A Turing machine, which more often than not goes on for a while."""
    rng = random.Random(seed)
    tape = tuple(rng.sample("_ab01#= .", rng.randint(2, 4)))
    blank = rng.choice(tape)
    alphabet = tuple(symbol for symbol in tape if symbol != blank and rng.random() < 0.8)
    states = STATES[: rng.randint(1, 4)]
    acceptor = rng.random() < 0.4
    final = ("yes", "no") if acceptor else ("stop", "bad")
    otherwise = rng.choice(("halt", "reject"))
    accepting = frozenset(final[:1] if acceptor else ()) | frozenset(states[:1] if acceptor and seed % 13 == 0 else ())
    rules = {}
    for state in states:
        for symbol in tape if state not in accepting else ():
            if rng.random() < 0.9:
                to = rng.choice(final) if rng.random() < 0.12 else rng.choice(states)
                rules[state, symbol] = (to, rng.choice(tape), rng.choice("LLRRS"))
    return TuringMachine(
        f"random-{seed}",
        "",
        alphabet,
        tape,
        blank,
        (*states, *final),
        states[0],
        accepting,
        frozenset(final[1:]),
        frozenset(() if acceptor else final[:1]),
        rules,
        acceptor,
        (),
        otherwise,
    )


def random_input(machine: Machine | TuringMachine, seed: int, longest: int = 20) -> str:
    """Symbols of the machine's alphabet."""
    rng = random.Random(seed)
    return "".join(rng.choice(machine.alphabet) for _ in range(rng.randint(0, longest))) if machine.alphabet else ""


def naive_trace(machine: Machine, text: str, steps: int):
    """(state, symbols read, stacks as lists, what is written) before each step, by lists and a search of all rules."""
    state, place, stacks, written = machine.start, 0, [[] for _ in machine.memories], []
    yield state, place, [list(stack) for stack in stacks], "".join(written)
    for _ in range(steps):
        usable = []
        for rule in machine.rules:
            if rule.state != state:
                continue
            if rule.read == END and place < len(text):
                continue
            if rule.read not in (None, END) and (place == len(text) or text[place] != rule.read):
                continue
            tops = [stack[-1] if stack else "" for stack in stacks]
            if all(wanted is None or wanted == top for wanted, top in zip(rule.tops, tops, strict=True)):
                usable.append(rule)
        assert len(usable) <= 1
        if not usable:
            return
        (rule,) = usable
        if rule.read not in (None, END):
            place += 1
        for stack, action in zip(stacks, rule.actions, strict=True):
            if action.pop:
                stack.pop()
            stack.extend(action.push)
        written.extend(rule.write)
        state = rule.to
        yield state, place, [list(stack) for stack in stacks], "".join(written)


def naive_tape(machine: TuringMachine, text: str, steps: int):
    """(state, tape as a dictionary without blanks, head) before each step."""
    tape = {place: symbol for place, symbol in enumerate(text) if symbol != machine.blank}
    state, head = machine.start, 0
    yield state, dict(tape), head
    for _ in range(steps):
        if state in machine.accepting or state in machine.rejecting or state in machine.halting:
            return
        rule = machine.rules.get((state, tape.get(head, machine.blank)))
        if rule is None:
            return
        state, symbol, move = rule
        tape[head] = symbol
        if symbol == machine.blank:
            del tape[head]
        head += 1 if move == "R" else -1 if move == "L" else 0
        yield state, dict(tape), head
