"""Automata, counter machines, stacks and tapes: the values, their faults, the interpreters, the built-in machines."""

import dataclasses
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machines_random import naive_tape, naive_trace, random_input, random_machine, random_turing_machine
from unrolled.errors import MachineError
from unrolled.programs.library import (
    FOLDER,
    ORDER,
    SUFFIX,
    built_in,
    decode_tag_word,
    encode_tag_system,
    library,
    machine_named,
    machine_path,
)
from unrolled.programs.turing import END, MARK, Action, Example, Machine, Memory, Rule, TuringMachine, unmet_examples

RANDOM = settings(max_examples=200, derandomize=True, deadline=None, database=None)
STEPS = 64


def strings(alphabet, longest):
    for length in range(longest + 1):
        yield from map("".join, itertools.product(alphabet, repeat=length))


@RANDOM
@given(st.integers(0, 10**9))
def test_the_interpreter_agrees_with_a_naive_one(seed):
    machine = random_machine(seed)
    text = random_input(machine, seed + 1)
    wanted = list(naive_trace(machine, text, STEPS))
    found = list(itertools.islice(machine.trace(text), STEPS + 1))
    seen = [(now.state, now.read, [list(content) for content in now.contents], now.output) for now in found]
    assert seen == wanted
    assert [now.step for now in found] == list(range(len(found)))
    if len(found) <= STEPS:
        result, (state, place, _, written) = machine.run(text), wanted[-1]
        marked = machine.accepting or (() if machine.acceptor else machine.states)
        assert result.steps == len(wanted) - 1
        assert result.accepted == (place == len(text) and state in marked)
        assert result.output == (written if result.accepted else "")


@RANDOM
@given(st.integers(0, 10**9))
def test_the_tape_interpreter_agrees_with_a_naive_one(seed):
    machine = random_turing_machine(seed)
    text = random_input(machine, seed + 1)
    wanted = list(naive_tape(machine, text, STEPS))
    found = list(itertools.islice(machine.trace(text), STEPS + 1))
    assert len(found) == len(wanted)
    for now, (state, tape, head) in zip(found, wanted, strict=True):
        assert now.state == state
        shown = {at - now.head: c for at, c in enumerate(now.tape) if c != machine.blank}
        assert shown == {at - head: c for at, c in tape.items()}
        assert 0 <= now.head < len(now.tape)
    if len(found) <= STEPS:
        result, (state, tape, _) = machine.run(text), wanted[-1]
        dropped = state not in machine.final and machine.otherwise == "reject"
        if machine.acceptor:
            assert result.accepted == (state in machine.accepting)
            assert result.output == ""
        else:
            assert result.accepted == (state != "bad" and not dropped)
            cells = range(min(tape), max(tape) + 1) if tape and result.accepted else ()
            assert result.output == "".join(tape.get(at, machine.blank) for at in cells)


def balanced(text):
    while "()" in text or "[]" in text:
        text = text.replace("()", "").replace("[]", "")
    return not text


ACCEPTORS = {
    "parity": (8, lambda text: text.count("1") % 2 == 1),
    "even-pairs": (8, lambda text: (text.count("ab") + text.count("ba")) % 2 == 0),
    "quotes": (4, lambda text: text.count('"') % 2 == 1),
    "a-n-b-n": (8, lambda text: text == "a" * (len(text) // 2) + "b" * (len(text) // 2)),
    "a-n-b-n-c-n": (7, lambda text: text == "".join(c * (len(text) // 3) for c in "abc")),
    "dyck-1": (9, balanced),
    "dyck-2": (5, balanced),
    "palindromes": (7, lambda text: text == text[::-1]),
}


@pytest.mark.parametrize("name", ACCEPTORS)
def test_built_in_acceptors_on_all_short_strings(name):
    machine = built_in(name)
    longest, wanted = ACCEPTORS[name]
    for text in strings(machine.alphabet, longest):
        assert machine.run(text).accepted == wanted(text), text
        assert machine.run(text).output == ""


def from_left_to_right(text):
    value = int(text[0])
    for operator, digit in zip(text[1::2], text[2::2], strict=True):
        value = {"+": value + int(digit), "-": value - int(digit), "*": value * int(digit)}[operator] % 5
    return str(value)


def test_built_in_transducers():
    rng = random.Random(5)
    for text in strings("ab", 6):
        assert built_in("reverse").run(text).output == text[::-1]
        assert built_in("copy").run(text).output == text
    for count in range(20):
        assert built_in("unary-to-binary").run("1" * count).output == f"{count:b}"
    for text in strings("<.>", 5):
        assert built_in("cycle-navigation").run(text).output == str((text.count(">") - text.count("<")) % 5)
    for _ in range(80):
        one, other = rng.randrange(2 ** rng.randint(1, 70)), rng.randrange(2 ** rng.randint(1, 70))
        zeros = "0" * rng.choice((0, 0, 3))
        assert built_in("binary-addition").run(f"{zeros}{one:b}+{other:b}").output == f"{one + other:b}"
        digits = rng.choices("01234", k=rng.randint(1, 12))
        text = digits[0] + "".join(rng.choice("+-*") + digit for digit in digits[1:])
        assert built_in("modular-arithmetic").run(text).output == from_left_to_right(text)


@pytest.mark.parametrize("name", ORDER)
def test_examples_of_built_in_machines_hold(name):
    machine = built_in(name)
    assert machine.name == name
    assert machine.description
    assert machine.examples
    assert unmet_examples(machine) == []


def test_unmet_examples_are_found():
    wrong = (Example("1", True), Example("11", True, None, 7))
    assert unmet_examples(dataclasses.replace(built_in("parity"), examples=wrong)) == [
        (7, "the machine rejects the example '11'")
    ]
    wrong = (Example("ab", True, "ab", 3), Example("", False))
    found = unmet_examples(dataclasses.replace(built_in("reverse"), examples=wrong))
    assert found == [(3, "the example 'ab' gives 'ba', not 'ab'"), (0, "the machine accepts the example ''")]
    (late,) = unmet_examples(built_in("busy-beaver-4"), 50)
    assert "still running after step 50" in late[1]


def test_within_a_budget_an_example_that_goes_on_is_left_undecided_and_others_are_not():
    loop = {("p", "a"): ("p", "a", "S"), ("p", "_"): ("stop", "_", "S")}
    endless = turing(rules=loop, examples=(Example("a", True, "x", 4), Example("", True, "y", 5)))
    assert unmet_examples(endless, 100, budget=1000) == [(5, "the example '' gives '', not 'y'")]
    assert [line for line, _ in unmet_examples(endless, 100)] == [4, 5]
    many = turing(rules=loop, examples=tuple(Example("a", True, "x") for _ in range(100_000)))
    assert unmet_examples(many, 100, budget=1000) == []


@pytest.mark.parametrize(
    ("name", "steps", "ones"),
    [
        ("busy-beaver-2", 6, 4),
        ("busy-beaver-3", 14, 6),
        ("busy-beaver-3-longest", 21, 5),
        ("busy-beaver-4", 107, 13),
    ],
)
def test_busy_beavers_do_what_the_literature_says(name, steps, ones):
    """Rado 1962 and Lin 1963 for two and three states (S = 21, Sigma = 6), Brady 1983 for four (107, 13)."""
    result = built_in(name).run("")
    assert (result.steps, result.output.count("1")) == (steps, ones)


def test_no_machine_with_two_states_beats_the_busy_beaver():
    actions = list(itertools.product("ABH", "01", "LR"))
    keys = [("A", "0"), ("A", "1"), ("B", "0"), ("B", "1")]
    longest = most = 0
    for table in itertools.product(actions, repeat=4):
        if table[0][0] == "H" or all(action[0] != "H" for action in table):
            continue
        rules, tape, state, head, step = dict(zip(keys, table, strict=True)), {}, "A", 0, 0
        while state != "H" and step < 30:
            state, tape[head], move = rules[state, tape.get(head, "0")]
            head, step = head + (1 if move == "R" else -1), step + 1
        if state == "H":
            longest, most = max(longest, step), max(most, list(tape.values()).count("1"))
    result = built_in("busy-beaver-2").run("")
    assert (longest, most) == (result.steps, result.output.count("1"))


def tag_system(productions, word, rounds):
    """The word of a 2-tag system when it halts; None if it does not within so many rounds."""
    for _ in range(rounds):
        if len(word) < 2 or productions[word[0]] is None:
            return word
        word = word[2:] + productions[word[0]]
    return None


COLLATZ = {"a": "bc", "b": "a", "c": "aaa"}
"""De Mol 2008: from the word a^n it goes through a^(n/2), or a^((3n+1)/2), down to the word a."""


def test_the_universal_machine_runs_the_collatz_system():
    for number in range(1, 8):
        result = built_in("universal").run(encode_tag_system(COLLATZ, "a" * number))
        assert result.accepted
        assert decode_tag_word(result.output, COLLATZ) == "a"


def test_the_universal_machine_agrees_with_a_tag_system_in_python():
    rng = random.Random(2)
    halted = 0
    for _ in range(300):
        symbols = "abcd"[: rng.randint(1, 4)]
        productions = {symbol: "".join(rng.choices(symbols, k=rng.randint(0, 3))) for symbol in symbols}
        if rng.random() < 0.7:
            productions[rng.choice(symbols)] = None
        word = "".join(rng.choices(symbols, k=rng.randint(0, 6)))
        wanted = tag_system(productions, word, 15)
        if wanted is not None:
            result = built_in("universal").run(encode_tag_system(productions, word))
            assert (result.accepted, decode_tag_word(result.output, productions)) == (True, wanted)
            halted += len(wanted) > 1
    assert halted > 50
    with pytest.raises(MachineError, match="symbols with a production"):
        encode_tag_system({"a": "ab"}, "a")


def test_the_library_lists_every_file():
    assert list(library()) == list(ORDER)
    assert sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")) == sorted(ORDER)


def test_machines_by_name_and_by_file(tmp_path):
    assert machine_named("parity") is built_in("parity")
    copied = tmp_path / "mine.machine"
    copied.write_text(machine_path("dyck-2").read_text(encoding="utf-8"), encoding="utf-8")
    assert machine_named(str(copied)) == built_in("dyck-2")
    for wrong, says in (
        ("partiy", "did you mean 'parity'"),
        (str(tmp_path), "choose one of"),
        ("a\0b", "choose|embed"),
    ):
        with pytest.raises(MachineError, match=says):
            machine_named(wrong)
    text = machine_path("reverse").read_text(encoding="utf-8").rstrip()
    copied.write_text(f"{text}\nexample ab -> ab\nexample b -> b\nexample a -> reject\n", encoding="utf-8")
    with pytest.raises(MachineError, match=r"mine\.machine without faults, got 2 faults") as caught:
        machine_named(str(copied))
    last = text.count("\n") + 1
    assert caught.value.faults == (
        (last + 1, "the example 'ab' gives 'ba', not 'ab'"),
        (last + 3, "the machine accepts the example 'a'"),
    )
    copied.write_bytes(b"machine \xff")
    with pytest.raises(MachineError, match="not UTF-8"):
        machine_named(str(copied))
    with pytest.raises(MachineError, match="built-in machine"):
        machine_path("../machines/parity")


def test_an_input_outside_of_the_alphabet_names_every_symbol():
    for name in ("parity", "palindromes"):
        with pytest.raises(MachineError, match="'x' at position 2, 'y' at position 4") as caught:
            list(built_in(name).trace({"parity": "0x1y", "palindromes": "axby"}[name]))
        assert name in str(caught.value)


def test_a_run_that_goes_on_stops_at_its_limit():
    right = TuringMachine(
        "right", "", (), ("_",), "_", ("q",), "q", *[frozenset()] * 3, {("q", "_"): ("q", "_", "R")}, False
    )
    with pytest.raises(MachineError, match="after step 77"):
        right.run("", 77)
    assert len(list(itertools.islice(right.trace(""), 50))) == 50
    loop = Rule("q", None, (), "q", ())
    circle = Machine("circle", "", "automaton", (), ("q",), "q", frozenset(), (), (loop,))
    with pytest.raises(MachineError, match=r"circle to come to rest within 5 steps.*after step 5"):
        circle.run("", 5)
    assert built_in("busy-beaver-2").run("", 6).steps == 6


STACK = Memory("S", ("x", "y"))


def machine(*rules, memories=(STACK,), kind="pushdown", **changes):
    values = {
        "name": "m",
        "description": "",
        "kind": kind,
        "alphabet": ("a", "b"),
        "states": ("p", "q"),
        "start": "p",
        "accepting": frozenset({"q"}),
        "memories": memories,
        "rules": rules,
        "examples": (),
        "otherwise": "reject",
    }
    return Machine(**(values | changes))


KEEP = (Action(),)
GOOD = Rule("p", "a", (None,), "q", KEEP, "", 1)
BAD_RULES = [
    ((GOOD, Rule("p", "a", ("x",), "p", KEEP, "", 9)), 9, r"double transition in state p \(the other is in line 1\)"),
    ((GOOD, Rule("p", None, ("x",), "p", KEEP, "", 9)), 9, "reads nothing stands against one that reads"),
    ((Rule("p", END, ("x",), "p", KEEP, "", 3), Rule("p", None, ("x",), "p", KEEP, "", 9)), 9, "reads nothing"),
    ((Rule("p", "a", (None,), "r", KEEP, "", 9),), 9, "undefined state r"),
    ((Rule("r", "a", (None,), "p", KEEP, "", 9),), 9, "undefined state r"),
    ((Rule("p", "c", (None,), "p", KEEP, "", 9),), 9, "unknown symbol c; the alphabet is a b"),
    ((Rule("p", "a", ("z",), "p", KEEP, "", 9),), 9, "unknown symbol z; S holds x y"),
    ((Rule("p", "a", (None,), "p", (Action(push=("z",)),), "", 9),), 9, "unknown symbol z; S holds x y"),
    ((Rule("p", "a", (None,), "p", (Action(pop=True),), "", 9),), 9, "pops S without asking"),
    ((Rule("p", "a", ("",), "p", (Action(pop=True),), "", 9),), 9, "pops S without asking"),
    ((Rule("p", "a", (None,), "p", (Action(push=("x",) * 3),), "", 9),), 9, "pushes 3 symbols on S"),
    ((Rule("p", "a", (None,), "p", KEEP, "xyz", 9),), 9, "writes 3 symbols"),
    ((Rule("p", "a", (None,), "p", KEEP, "\n", 9),), 9, "one visible character"),
    ((Rule("p", "a", (), "p", KEEP, "", 9),), 9, "1 memories, but the rule looks at 0"),
]


@pytest.mark.parametrize(("rules", "line", "says"), BAD_RULES)
def test_a_bad_rule_is_named_with_its_line(rules, line, says):
    with pytest.raises(MachineError, match=says) as caught:
        machine(*rules)
    assert [where for where, _ in caught.value.faults] == [line]


def test_rules_over_different_tops_do_not_conflict():
    machine(Rule("p", "a", ("x",), "p", KEEP), Rule("p", "a", ("y",), "q", KEEP), Rule("p", None, ("",), "q", KEEP))


BAD_VALUES = [
    ({"states": ("p", "q", "p")}, "declared twice"),
    ({"states": ("p", "q", "a b")}, "a name has no spaces"),
    ({"start": "z"}, "undefined state z"),
    ({"accepting": frozenset({"qq"})}, r"undefined state qq \(did you mean 'q'"),
    ({"alphabet": ("a", "ab")}, "alphabet: 'ab' is no symbol"),
    ({"alphabet": ("a", "\n")}, "is no symbol"),
    ({"alphabet": ("a", "b", "a")}, "a stands there twice"),
    ({"memories": (STACK, STACK)}, "a second memory named S"),
    ({"memories": (Memory("x", ("x",)),)}, "has the name of a symbol"),
    ({"memories": (Memory("push", ("x",)),)}, "a memory named 'push'"),
    ({"memories": (Memory("S", ()),)}, "has no symbols"),
    ({"memories": (Memory("S", ("x",), True),)}, "has an alphabet"),
    ({"kind": "automaton"}, "an automaton has no memories"),
    ({"kind": "counter"}, "counters only"),
    ({"kind": "push-down"}, "did you mean 'pushdown'"),
    ({"otherwise": "halt"}, "only `otherwise reject`"),
    ({"name": "two words"}, "no name"),
    ({"examples": (Example("axa", True, None, 4),)}, "line 4: an example with x"),
]


@pytest.mark.parametrize(("changes", "says"), BAD_VALUES, ids=[says for _, says in BAD_VALUES])
def test_bad_values_of_a_machine(changes, says):
    with pytest.raises(MachineError, match=says):
        machine(**changes)


def test_missing_rules_are_listed_by_state_symbol_and_top():
    rules = (Rule("p", "a", ("",), "q", KEEP), Rule("q", None, (None,), "q", KEEP))
    with pytest.raises(MachineError) as caught:
        machine(*rules, otherwise="")
    assert [what.split(" (")[0] for _, what in caught.value.faults] == [
        "no rule in state p for a, S x",
        "no rule in state p for a, S y",
        "no rule in state p for b",
    ]
    machine(*rules)
    counter = Memory("n", (MARK,), counter=True)
    with pytest.raises(MachineError, match="no rule in state q for a b, n zero"):
        machine(
            *(Rule("p", c, (None,), "q", KEEP) for c in "ab"),
            *(Rule("q", c, (MARK,), "q", KEEP) for c in "ab"),
            memories=(counter,),
            kind="counter",
            otherwise="",
        )


def turing(**changes):
    values = {
        "name": "t",
        "description": "",
        "alphabet": ("a",),
        "tape": ("a", "_"),
        "blank": "_",
        "states": ("p", "stop"),
        "start": "p",
        "accepting": frozenset(),
        "rejecting": frozenset(),
        "halting": frozenset({"stop"}),
        "rules": {("p", "a"): ("p", "a", "R"), ("p", "_"): ("stop", "_", "S")},
        "acceptor": False,
        "lines": {("p", "a"): 5},
    }
    return TuringMachine(**(values | changes))


BAD_TAPES = [
    ({"tape": ("_",), "rules": {}, "otherwise": "halt"}, "tape: a of the alphabet is missing"),
    ({"blank": "b"}, "the blank b is missing"),
    ({"alphabet": ("a", "_")}, "blank: _ is also a symbol of the input"),
    ({"accepting": frozenset({"stop"}), "rejecting": frozenset({"stop"})}, "the state stop also accepts"),
    ({"accepting": frozenset({"stop"})}, "only a machine whose answer is the verdict"),
    ({"rules": {("p", "a"): ("r", "a", "R")}}, "line 5: undefined state r"),
    ({"rules": {("p", "a"): ("p", "c", "R")}}, "line 5: unknown symbol c"),
    ({"rules": {("p", "a"): ("p", "a", "U")}}, "line 5: a move 'U'"),
    ({"rules": {("p", "a"): ("p", "a", "R")}}, "no rule in state p for _"),
    ({"rules": {("stop", "a"): ("p", "a", "R")}, "otherwise": "halt"}, "in which the machine halts"),
    ({"otherwise": "accept"}, "knows `otherwise halt`"),
    ({"halting": frozenset({"halt"})}, "halt: undefined state halt"),
    ({"examples": (Example("ab", True, "", 3),)}, "line 3: an example with b"),
]


@pytest.mark.parametrize(("changes", "says"), BAD_TAPES, ids=[says for _, says in BAD_TAPES])
def test_bad_values_of_a_turing_machine(changes, says):
    turing()
    with pytest.raises(MachineError, match=says):
        turing(**changes)


def test_a_machine_that_is_too_large_to_check_is_refused_at_once():
    stacks = tuple(Memory(f"stack{place}", tuple("abcdefgh")) for place in range(12))
    rules = (
        Rule("p", "a", tuple("a" if here == place else None for here in range(12)), "p", (Action(),) * 12)
        for place in range(12)
    )
    with pytest.raises(MachineError, match="282429536481 combinations of tops"):
        machine(*rules, memories=stacks)
    with pytest.raises(MachineError, match="10001 rules"):
        machine(*[Rule("p", "a", (None,), "p", KEEP, "", line) for line in range(10_001)])


def test_all_faults_come_in_one_line():
    with pytest.raises(MachineError) as caught:
        machine(Rule("p", "c", (None,), "r", KEEP, "", 3), start="z", accepting=frozenset({"w\n"}))
    assert len(caught.value.faults) == 4
    assert "\n" not in str(caught.value)
    assert "got 4 faults" in str(caught.value)
