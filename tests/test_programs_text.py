"""The text format of machines: reading gives the machine, writing gives the text, faults come all at once."""

import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from machines_random import random_input, random_machine, random_turing_machine
from unrolled.errors import MachineError
from unrolled.programs.library import ORDER, built_in, machine_path
from unrolled.programs.machine_text import format_machine, parse_machine
from unrolled.programs.turing import END, Action, Example, Machine, Memory, Rule, TuringMachine, unmet_examples

RANDOM = settings(max_examples=200, derandomize=True, deadline=None, database=None)

BRACKETS = """
# everything from a lone hash is a comment
machine brackets
about  Balanced "brackets", with # in the middle.
about Second line.
kind pushdown
alphabet ( hash space quote   # three of four are spelled
stack S ( "#"
start open
accept yes
otherwise reject
rules
  open ( any     -> open push ( hash
  open space ( -> open pop
  open quote     -> other
  other nothing hash -> other pop
  open end empty -> yes
example "( \\" #" -> reject
example "" -> accept
"""


def test_a_file_becomes_a_machine():
    keep = (Action(),)
    assert parse_machine(BRACKETS) == Machine(
        name="brackets",
        description='Balanced "brackets", with # in the middle.\nSecond line.',
        kind="pushdown",
        alphabet=("(", "#", " ", '"'),
        states=("open", "other", "yes"),
        start="open",
        accepting=frozenset({"yes"}),
        memories=(Memory("S", ("(", "#")),),
        rules=(
            Rule("open", "(", (None,), "open", (Action(push=("(", "#")),)),
            Rule("open", " ", ("(",), "open", (Action(pop=True),)),
            Rule("open", '"', (None,), "other", keep),
            Rule("other", None, ("#",), "other", (Action(pop=True),)),
            Rule("open", END, ("",), "yes", keep),
        ),
        examples=(Example('( " #', False), Example("", True)),
        otherwise="reject",
    )
    assert [rule.line for rule in parse_machine(BRACKETS).rules] == [13, 14, 15, 16, 17]


def test_windows_line_ends_and_a_byte_order_mark_change_nothing():
    for name in ORDER:
        text = machine_path(name).read_text(encoding="utf-8")
        assert parse_machine("\ufeff" + text.replace("\n", "\r\n")) == built_in(name)


SEVERAL = """
machine several
kind pushdown
alphabet a b
stack left x y
counter many
start p
otherwise reject
rules
  p a x positive -> p pop left push left y x subtract many add many add many write b
  p b any zero -> p write a b
  p end -> q
  q end empty -> p push left x
example ab -> "reject"
example b -> reject
example "b a" -> accept
"""


def test_actions_on_several_memories():
    with pytest.raises(MachineError, match="line 16: an example with ' '"):
        parse_machine(SEVERAL)
    read = parse_machine(SEVERAL.replace('"b a"', "ba"))
    assert read.rules == (
        Rule("p", "a", ("x", "|"), "p", (Action(True, ("y", "x")), Action(True, ("|", "|"))), "b"),
        Rule("p", "b", (None, ""), "p", (Action(), Action()), "ab"),
        Rule("p", END, (None, None), "q", (Action(), Action())),
        Rule("q", END, ("", None), "p", (Action(push=("x",)), Action())),
    )
    assert read.examples == (Example("ab", True, "reject"), Example("b", False), Example("ba", True))


TAPE = """
machine flip
kind turing
alphabet 0 1
start right
halt done
rules
  right 0 -> right 1 R
  right 1 -> right 0 R
  right _ -> back L
  back 0 1 -> back L
  back _ -> done R
example 0110 -> 1001
example -> ""
"""


def test_a_turing_machine_with_defaults():
    read = parse_machine(TAPE)
    assert read == TuringMachine(
        name="flip",
        description="",
        alphabet=("0", "1"),
        tape=("0", "1", "_"),
        blank="_",
        states=("right", "back", "done"),
        start="right",
        accepting=frozenset(),
        rejecting=frozenset(),
        halting=frozenset({"done"}),
        rules={
            ("right", "0"): ("right", "1", "R"),
            ("right", "1"): ("right", "0", "R"),
            ("right", "_"): ("back", "_", "L"),
            ("back", "0"): ("back", "0", "L"),
            ("back", "1"): ("back", "1", "L"),
            ("back", "_"): ("done", "_", "R"),
        },
        acceptor=False,
        examples=(Example("0110", True, "1001"), Example("", True, "")),
    )
    assert read.run("0110").output == "1001"
    assert parse_machine(TAPE.replace("halt", "accept").replace("1001", "accept").replace('""', "reject")).acceptor


@pytest.mark.parametrize("name", ORDER)
def test_built_in_machines_come_back_from_their_text(name):
    text = format_machine(built_in(name))
    assert parse_machine(text) == built_in(name)
    assert format_machine(parse_machine(text)) == text


@RANDOM
@given(st.integers(0, 10**9))
def test_random_machines_come_back_from_their_text(seed):
    for machine in (random_machine(seed), random_turing_machine(seed)):
        decided = isinstance(machine, TuringMachine) and machine.acceptor
        output = None if decided or not any(getattr(rule, "write", "R") for rule in machine.rules) else "accept"
        examples = tuple(
            Example(random_input(machine, seed + place, 5), True, output if place else None) for place in range(3)
        )
        whole = type(machine)(**(vars_of(machine) | {"examples": examples, "description": "First # line.\nSecond."}))
        assert parse_machine(format_machine(whole)) == whole


FAULTS = [
    ("alphabet ( hash", "alphabet ( hash ab", [(7, "'ab' is no symbol")]),
    ("kind pushdown", "kind pushdwon", [(6, "unknown kind 'pushdwon' (did you mean 'pushdown'?)")]),
    ("kind pushdown\n", "", [(0, "no kind")]),
    ("machine brackets\n", "", [(0, "no name")]),
    ("machine brackets", "machine two words", [(3, "`machine` takes one word, not 2")]),
    ("start open\n", "", [(0, "no start")]),
    ("start open", "start open\nstart yes", [(10, "a second line `start`")]),
    ("start open", "strat open", [(9, "unknown word 'strat' (did you mean 'start'?")]),
    ("accept yes", "blank _", [(10, "a line `blank` in a machine of kind pushdown")]),
    ("accept yes", "accept jes", [(17, "undefined state yes (did you mean 'jes'?)")]),
    ("accept yes", "accept yes\nstates open other jes", [(10, "accept: undefined state yes")]),
    ("otherwise reject\n", "", [(12, "no rule in state open for # ("), (10, "no rule in state yes for ( # ' ' \"")]),
    ("otherwise reject", "otherwise halt", [(11, "only `otherwise reject`")]),
    ("stack S ", "stack ", [(14, "unknown symbol (; ( holds #")]),
    ("stack S ( ", "stack ", [(8, "a memory named '#'"), (8, "has no symbols")]),
    ('stack S ( "#"', "stack", [(8, "written `stack NAME SYMBOLS`")]),
    ('stack S ( "#"', "counter S (", [(8, "written `counter NAME`")]),
    ("open push ( hash", "open push { hash", [(13, "unknown symbol {; S holds ( #")]),
    ("open push ( hash", "open shove (", [(13, "'shove' is nothing that a rule does")]),
    ("open push ( hash", "open push", [(13, "`push` without a symbol")]),
    ("open push ( hash", "open push ( pop", [(13, "`pop` on S comes first and once")]),
    ("open push ( hash", "open add", [(13, "`add` on S; for a stack write pop and push")]),
    ("  open ( any     ->", "  open ->", [(13, "a rule is written `STATE SYMBOL S -> STATE`")]),
    ("  open ( any     ->", "  open ( any any ->", [(13, "a rule is written")]),
    ("  open ( any     ->", "  open ( some ->", [(13, "'some' for S; it is a symbol, empty or any")]),
    ("  open ( any     ->", "  open both any ->", [(13, "'both' is no symbol; what is read is a symbol, `end`")]),
    ("rules", "rules of the game", [(12, "`rules` stands alone")]),
    ('example "( ', 'example ( ( ( "', [(18, "one word on each side")]),
    ('example "" -> accept', 'example ""', [(19, "an example without ->")]),
    ('example "" -> accept', 'example "" -> 11', [(19, "its example ends in accept or reject")]),
    ('example "" -> accept', 'example " -> accept', [(19, "a double quote that is not closed")]),
]


@pytest.mark.parametrize(
    ("old", "new", "wanted"), FAULTS, ids=[f"{i}-{new[:20]}" for i, (_, new, _) in enumerate(FAULTS)]
)
def test_faults_are_named_with_their_lines(old, new, wanted):
    text = BRACKETS.replace(old, new, 1)
    assert text != BRACKETS
    with pytest.raises(MachineError) as caught:
        parse_machine(text, "mine.machine")
    assert "mine.machine without faults" in str(caught.value)
    for line, what in wanted:
        assert any(line == at and what in said for at, said in caught.value.faults), caught.value.faults


TAPE_FAULTS = [
    ("right 1 -> right 0 R", "right 0 -> right 0 R", [(9, "double transition in state right for 0")]),
    ("right 1 -> right 0 R", "right 1 -> right 0 U", [(9, "a move 'U'")]),
    ("right 1 -> right 0 R", "right 1 -> right 00 R", [(9, "'00' is no symbol")]),
    ("right 1 -> right 0 R", "right 1 -> right", [(9, "`STATE SYMBOL -> STATE SYMBOL MOVE`")]),
    ("right 1 -> right 0 R", "right 2 -> right 0 R", [(9, "unknown symbol 2")]),
    ("right 1 -> right 0 R", "right 1 -> left 0 R", [(9, "undefined state left")]),
    ("right 1 -> right 0 R\n", "\n", [(8, "no rule in state right for 1")]),
    ("halt done", "accept done\nhalt done\nanswer tape", [(6, "only a machine whose answer is the verdict")]),
    ("halt done", "accept done", [(13, "the answer is the verdict")]),
    ("halt done", "halt done\nanswer maybe", [(7, "unknown answer 'maybe'")]),
    ("halt done", "halt done\nstack S x", [(7, "a line `stack` in a machine of kind turing")]),
    ("halt done", "halt done\nblank 00", [(7, "'00' is no symbol")]),
]


@pytest.mark.parametrize(("old", "new", "wanted"), TAPE_FAULTS, ids=[new[:30] for _, new, _ in TAPE_FAULTS])
def test_faults_of_turing_machines_are_named_with_their_lines(old, new, wanted):
    with pytest.raises(MachineError) as caught:
        parse_machine(TAPE.replace(old, new, 1))
    for line, what in wanted:
        assert any(line == at and what in said for at, said in caught.value.faults), caught.value.faults


def test_the_machines_on_the_manual_page_are_the_built_in_ones():
    page = (Path(__file__).parent.parent / "docs" / "machine_format.md").read_text(encoding="utf-8")
    machines = [parse_machine(block) for block in page.split("```")[1::2] if block.startswith("\nmachine")]
    assert [machine.name for machine in machines] == ["dyck-2", "unary-to-binary"]
    for machine in machines:
        assert unmet_examples(machine) == []
        whole = built_in(machine.name)
        assert machine == type(whole)(**(vars_of(whole) | {"examples": machine.examples}))


def vars_of(machine):
    return {field: getattr(machine, field) for field in machine.__dataclass_fields__}


def test_all_faults_come_at_once():
    wrong = BRACKETS.replace("start open", "start opne").replace("open pop", "opem pop").replace("push (", "push z", 1)
    with pytest.raises(MachineError) as caught:
        parse_machine(wrong)
    assert len(caught.value.faults) == 3
    assert "line 9: start: undefined state opne" in str(caught.value)
    assert "line 14: undefined state opem" in str(caught.value)
    assert "line 13: unknown symbol z" in str(caught.value)


def faults_of(text):
    with pytest.raises(MachineError) as caught:
        parse_machine(text, "m")
    return [f"{line}: {what.split(' (')[0]}" for line, what in caught.value.faults]


HEAD = ("machine m", "kind automaton", "alphabet a b", "start p", "accept q")
TAPE_HEAD = ("machine m", "kind turing", "alphabet a b", "start p", "accept q")
ALL_OF_THEM = {
    "missing beside double": (
        (*HEAD, "p a -> q", "p a -> p", "q a -> p", "q b -> q"),
        ["6: no rule in state p for b", "7: double transition in state p"],
    ),
    "missing beside an unknown symbol": (
        (*HEAD, "p a -> q", "p c -> p", "q a -> p"),
        [
            "7: unknown symbol c; the alphabet is a b, and there is no rule in state p for b",
            "8: no rule in state q for b",
        ],
    ),
    "missing in a state that has no rule": ((*HEAD, "p a -> q", "p b -> q"), ["5: no rule in state q for a b"]),
    "missing on a tape beside double": (
        (*TAPE_HEAD, "p a -> p R", "p a -> q R"),
        ["6: no rule in state p for b _", "7: double transition in state p for a"],
    ),
    "missing on a tape beside a bad move": (
        (*TAPE_HEAD, "p a -> p R", "p b -> r Z"),
        ["6: no rule in state p for _", "7: a move 'Z'; the moves are L, R and S", "7: undefined state r"],
    ),
    "a bad name hides nothing": (
        ("machine bad one", *HEAD[1:], "p a -> q", "p a -> p", "q a -> q"),
        [
            "1: `machine` takes one word, not 2",
            "6: no rule in state p for b",
            "7: double transition in state p",
            "8: no rule in state q for b",
        ],
    ),
    "no kind": (
        ("machine m", "alphabet a", "start p", "accept p", "p a -> p", "p a -> p"),
        ["0: no kind; write `kind` and one of automaton, counter, pushdown, turing", "6: double transition in state p"],
    ),
    "no kind, but a tape": (
        ("machine m", "alphabet a", "start p", "halt q", "p a -> p R", "p a -> q R"),
        [
            "0: no kind; write `kind` and one of automaton, counter, pushdown, turing",
            "5: no rule in state p for _",
            "6: double transition in state p for a",
        ],
    ),
    "no kind, but a stack": (
        ("machine m", "alphabet a", "stack S x", "start p", "p a -> p push x", "p a -> r"),
        [
            "0: no kind; write `kind` and one of automaton, counter, pushdown, turing",
            "6: double transition in state p",
            "6: undefined state r",
        ],
    ),
    "the wrong kind for a tape": (
        ("machine m", "kind automaton", "alphabet a", "start p", "halt q", "p a -> p R", "p a -> q R"),
        [
            "2: kind automaton, but its rules move a head; say `kind turing`",
            "6: no rule in state p for _",
            "7: double transition in state p for a",
        ],
    ),
    "the wrong kind for a stack": (
        ("machine m", "kind turing", "alphabet a", "stack S x", "start p", "p a -> p push x", "p a -> p"),
        ["2: kind turing, but its rules move no head; say `kind pushdown`", "7: double transition in state p"],
    ),
    "a rule that only has a target": (
        (*HEAD, "p a -> q", "p b -> p", "-> p", "q a -> p", "q b -> q"),
        ["8: a rule is written `STATE SYMBOL -> STATE` and then what it does"],
    ),
    "a rule without an arrow may be the missing one": (
        (*HEAD, "p a -> q", "p b = p", "q a -> p"),
        ["7: a rule of the state p without ->", "8: no rule in state q for b"],
    ),
    "a rule that cannot be read may be the missing one": (
        (*HEAD, "p a -> q", "p b b -> r", "q a -> p", "q b -> q"),
        ["7: a rule is written `STATE SYMBOL -> STATE` and then what it does", "7: undefined state r"],
    ),
    "a misspelled keyword is read on": (
        ("machine m", "kind automaton", "alphabt a b", "start p", "acept q", "p a -> q", "p b -> p", "q a -> p"),
        ["3: unknown word 'alphabt'", "5: unknown word 'acept'", "8: no rule in state q for b"],
    ),
    "no alphabet": (
        ("machine m", "kind automaton", "start p", "accept p", "p a -> p", "p a -> p"),
        ["0: no alphabet; write `alphabet SYMBOLS`", "6: double transition in state p"],
    ),
    "a stack that cannot be read": (
        ("machine m", "kind pushdown", "alphabet a b", "stack", "start p", "p a x -> p pop", "p c -> r"),
        [
            "4: `stack` is written `stack NAME SYMBOLS`",
            "7: undefined state r",
            "7: unknown symbol c; the alphabet is a b, and there is no rule in state p for b",
        ],
    ),
    "an open quote": (
        (*HEAD[:4], 'accept "q', "p a -> q", "p b -> p", "q a -> p", 'q " -> q'),
        ["5: a double quote that is not closed", "9: a double quote that is not closed"],
    ),
}


@pytest.mark.parametrize("what", ALL_OF_THEM)
def test_all_that_is_wrong_is_listed_and_nothing_that_follows_from_it(what):
    rows, wanted = ALL_OF_THEM[what]
    assert faults_of("\n".join(rows)) == wanted


def test_the_same_fault_in_many_lines_is_said_once():
    rows = (*HEAD, "p a -> gone", "p b -> gone", "q a -> gone", "q b -> q")
    with pytest.raises(
        MachineError, match=r"got 1 fault \(lines 6, 7 and 8: undefined state gone \(choose one of p, q\)\)"
    ):
        parse_machine("\n".join(rows))


@pytest.mark.parametrize("name", ORDER)
def test_half_a_rule_is_one_fault_beside_states_that_nothing_defines_now(name):
    rows = machine_path(name).read_text(encoding="utf-8").split("\n")
    for place, row in enumerate(rows):
        words = row.split()
        if "->" in words and words[0] not in ("example", "about", "#"):
            said = faults_of(
                "\n".join((*rows[:place], "  " + " ".join(words[: words.index("->") + 1]), *rows[place + 1 :]))
            )
            assert all(one.startswith(f"{place + 1}: a rule is written") or "undefined state" in one for one in said), (
                said
            )


def refused_properly(text):
    try:
        machine = parse_machine(text, "fuzzed")
    except MachineError as error:
        assert error.faults
        assert all(0 <= line <= text.count("\n") + 1 and what for line, what in error.faults)
        assert "\n" not in str(error)
        return
    assert parse_machine(format_machine(machine)) == machine


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.sampled_from(ORDER), st.integers(0, 10**9))
def test_spoiled_files_give_one_error_with_lines(name, seed):
    rng = random.Random(seed)
    lines = machine_path(name).read_text(encoding="utf-8").split("\n")
    words = [word for line in lines for word in line.split()] + [
        "->",
        '"',
        "#",
        "end",
        "nothing",
        "push",
        "\x03",
        "ß",
        "L",
    ]
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(lines))
        parts = lines[place].split(" ")
        what = rng.randrange(5)
        if what == 0:
            del lines[place]
        elif what == 1:
            lines.insert(place, rng.choice(lines))
        elif what == 2:
            del parts[rng.randrange(len(parts))]
            lines[place] = " ".join(parts)
        elif what == 3:
            parts[rng.randrange(len(parts))] = rng.choice(words)
            lines[place] = " ".join(parts)
        else:
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(words))
            lines[place] = " ".join(parts)
        lines = lines or [""]
    refused_properly("\n".join(lines))


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.text())
@example("machine m\nkind automaton\nstart q\nrules\nq -> \n->\n-> ->\nexample\nexample ->\nkind\nalphabet")
@example('machine m\nkind turing\nblank\nblank ""\ntape ""\nstart q\nq "" -> q S\n q q -> -> ->')
@example('machine "\nkind "automaton"\nstart " "')
@example('machine m\nkind pushdown\nstack S\nstack -> S\ncounter\nstart q\nq a "" -> q push ""')
def test_any_text_gives_a_machine_or_one_error(text):
    refused_properly(text)
    refused_properly("machine m\nkind turing\nstart q\n" + text)
    refused_properly("machine m\nkind pushdown\nstack S x\nstart q\n" + text)
