"""Programs for tests: random ones with every kind of memory, drawn from a seed, and two small ones written by hand."""

import itertools
import random

from unrolled.programs.program import Expectation, Program, Step
from unrolled.programs.stream import lower
from unrolled.programs.turing import END, MARK, Action, Machine, Memory, Rule, TuringMachine

NAMES = "qrstuvwxyz"
KINDS = (
    (),
    ("counter",),
    ("stack1",),
    ("stack2",),
    ("stack3", "counter"),
    ("stack2", "stack2"),
    ("stack5",),
    ("counter", "counter"),
)


def random_program(seed: int) -> Program:
    """A total, deterministic program: every state asks some of its memories for their tops, and half of all tokens."""
    rng = random.Random(seed)
    alphabet = tuple(rng.sample("abcdef()[]#. ", rng.randint(1, 4)))
    kinds = rng.choice(KINDS)
    memories = tuple(
        Memory(f"{kind}.{i}", (MARK,), counter=True)
        if kind == "counter"
        else Memory(f"{kind}({i})", tuple("XYZ*_"[: int(kind[-1])]))
        for i, kind in enumerate(kinds)
    )
    states = tuple(f"{name} {i}" for i, name in enumerate(NAMES[: rng.randint(1, 4)]))
    steps, expectations = [], []
    for state in states:
        named = rng.sample(alphabet, rng.randint(0, len(alphabet)))
        for token in (*named, None):
            tokens = None if token is None else frozenset(token)
            for tops in _patterns(rng, memories):
                actions = tuple(_action(rng, memory, top) for memory, top in zip(memories, tops, strict=True))
                steps.append(Step(state, tokens, tops, rng.choice(states), actions))
        for tops in _patterns(rng, memories):
            likely = rng.sample((*alphabet, "\n"), rng.randint(1, len(alphabet)))
            expectations.append(Expectation(state, tops, {token: rng.choice((0.25, 1.0, 2.0)) for token in likely}))
    tokens = tuple(sorted((*alphabet, "\n")))
    return Program(f"random {seed}", tokens, states, memories, tuple(steps), tuple(expectations))


def _patterns(rng, memories):
    choices = [(None,) if rng.random() < 0.5 else ("", *memory.alphabet) for memory in memories]
    return list(itertools.product(*choices))


def _action(rng, memory, top):
    pop = bool(top) and rng.random() < 0.5
    return Action(pop, tuple(rng.choice(memory.alphabet) for _ in range(rng.choice((0, 0, 1, 1, 2)))))


def random_text(program: Program, seed: int, length: int) -> str:
    """Tokens of the program, a newline now and then."""
    rng = random.Random(seed)
    others = [token for token in program.tokens if token != "\n"]
    return "".join("\n" if rng.random() < 0.04 else rng.choice(others) for _ in range(length))


def nested(brackets: str = "()[]") -> Program:
    """Balanced brackets on one stack; what does not fit leads to a state of no return."""
    opening, closing = brackets[::2], brackets[1::2]
    stack = Memory("S", tuple(opening))
    steps = [Step("open", frozenset(o), (None,), "open", (Action(push=(o,)),)) for o in opening]
    for o, c in zip(opening, closing, strict=True):
        steps += [
            Step("open", frozenset(c), (top,), "open" if top == o else "wrong", (Action(pop=top == o),))
            for top in ("", *opening)
        ]
    steps += [Step("open", frozenset("="), (top,), "wrong" if top else "right", (Action(),)) for top in ("", *opening)]
    steps += [Step("open", None, (None,), "wrong", (Action(),)), Step("wrong", None, (None,), "wrong", (Action(),))]
    steps += [Step("right", None, (None,), "wrong", (Action(),))]
    begin = dict.fromkeys(opening, 0.25)
    expectations = [Expectation("open", ("",), begin | {"=": 1.0})]
    expectations += [Expectation("open", (o,), begin | {c: 1.0}) for o, c in zip(opening, closing, strict=True)]
    expectations += [Expectation("right", (None,), {"1": 1.0}), Expectation("wrong", (None,), {"\n": 1.0})]
    tokens = tuple(sorted({*brackets, "=", "0", "1", "\n"}))
    return Program("nested", tokens, ("open", "right", "wrong"), (stack,), tuple(steps), tuple(expectations))


def small_programs() -> dict[str, Program]:
    """Lowered machines of every kind, and a hand-written program."""
    stay, up, down = Action(), Action(push=(MARK,)), Action(pop=True)
    parity = Machine(
        "parity", "", "automaton", ("0", "1"), ("even", "odd"), "even", frozenset({"odd"}), (),
        tuple(Rule(s, c, (), t, ()) for s, c, t in (
            ("even", "0", "even"), ("even", "1", "odd"), ("odd", "0", "odd"), ("odd", "1", "even"))),
    )  # fmt: skip
    counter = Memory("counter0", (MARK,), counter=True)
    a_n_b_n = Machine(
        "a-n-b-n", "", "counter", ("a", "b"), ("up", "down", "done"), "up", frozenset({"done"}), (counter,),
        (
            Rule("up", "a", (None,), "up", (up,)),
            Rule("up", "b", (MARK,), "down", (down,)),
            Rule("down", "b", (MARK,), "down", (down,)),
            Rule("down", END, ("",), "done", (stay,)),
        ),
        otherwise="reject",
    )  # fmt: skip
    increment = TuringMachine(
        "increment", "", ("0", "1"), ("0", "1", "_"), "_", ("right", "carry", "done"), "right",
        frozenset(), frozenset(), frozenset({"done"}),
        {
            ("right", "0"): ("right", "0", "R"), ("right", "1"): ("right", "1", "R"),
            ("right", "_"): ("carry", "_", "L"), ("carry", "1"): ("carry", "0", "L"),
            ("carry", "0"): ("done", "1", "S"), ("carry", "_"): ("done", "1", "S"),
        },
        acceptor=False,
    )  # fmt: skip
    lowered = {machine.name: lower(machine) for machine in (parity, a_n_b_n, increment)}
    return {**lowered, "nested": nested()}
