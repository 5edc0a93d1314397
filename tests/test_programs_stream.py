"""Machines lowered to programs: the same states, memories and answers at every step, and what is expected next."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machines_random import naive_tape, naive_trace, random_input, random_machine, random_turing_machine
from unrolled.errors import MachineError
from unrolled.programs.circuit import compile_program
from unrolled.programs.drafting import ENDING, GROWING, SLIP
from unrolled.programs.library import ORDER, built_in
from unrolled.programs.machine_text import parse_machine
from unrolled.programs.program import Program
from unrolled.programs.stream import RESET, examples, lower
from unrolled.programs.turing import END, Machine, TuringMachine, fits

RANDOM = settings(max_examples=200, derandomize=True, deadline=None, database=None)
STEPS = 64


def well_formed(program: Program) -> None:
    """Every name is known, nothing pops an empty memory, and no two steps or expectations fit at once."""
    assert program.tokens == tuple(sorted(set(program.tokens)))
    assert RESET in program.tokens
    assert len(set(program.states)) == len(program.states)
    alphabets = [("", *memory.alphabet) for memory in program.memories]
    for step in program.steps:
        assert {step.state, step.to} <= set(program.states)
        assert step.tokens is None or step.tokens <= set(program.tokens) - {RESET}
        assert len(step.tops) == len(step.actions) == len(program.memories)
        for memory, top, action in zip(program.memories, step.tops, step.actions, strict=True):
            assert set(action.push) <= set(memory.alphabet)
            assert top in (None, "", *memory.alphabet)
            assert not action.pop or top
            assert len(action.push) <= 2
    for expectation in program.expectations:
        assert expectation.weights
        assert set(expectation.weights) <= set(program.tokens)
        assert all(weight > 0 for weight in expectation.weights.values())
    cells = 1
    for alphabet in alphabets:
        cells *= len(alphabet)
    for state in program.states:
        for tops in itertools.product(*alphabets) if cells <= 50 else ():
            fitting = [e for e in program.expectations_of[state] if fits(e.tops, tops)]
            assert len(fitting) == 1, (state, tops)
            for token in (*program.named[state], None):
                steps = [step for step in program.steps_of.get((state, token), ()) if fits(step.tops, tops)]
                assert len(steps) <= 1, (state, token, tops)


def counted(program, now, token):
    """One step, with the check that exactly one fits."""
    key = token if token in program.named[now.state] else None
    assert sum(fits(step.tops, now.contents) for step in program.steps_of.get((now.state, key), ())) == 1
    assert sum(fits(e.tops, now.contents) for e in program.expectations_of[now.state]) == 1
    return program.step(now, token)


def answer(program, now, limit):
    """The rest of a line from a configuration on: what is expected is read, as often as it takes."""
    said = ""
    for _ in range(limit):
        (token,) = program.expects(now)
        if token == RESET:
            return said.lstrip(program.tick)
        said += token
        now = counted(program, now, token)
    raise AssertionError("no end")


def same(program, now, wanted):
    """A configuration of the program stands for one of the machine: the state, and what is on the machine's stacks."""
    state, _, stacks, _ = wanted
    assert program.machine_states.get(now.state, state) == state
    assert [list(content) for content in now.contents[: len(stacks)]] == stacks


def turned(program, machine, text):
    """Read a buffered input, and the ticks that turn it round."""
    now = program.start()
    for token in text + program.end:
        now = counted(program, now, token)
    for _ in range(len(text) + 1 if machine.alphabet else 0):
        assert program.expects(now) == {program.tick: 1}
        now = counted(program, now, program.tick)
    return now


def buffered(program, machine, text, wanted):
    """A tick is a step of the machine; the two more stacks hold what is written and what is unread."""
    now = turned(program, machine, text)
    for place, there in enumerate(wanted):
        same(program, now, there)
        if len(now.contents) > len(machine.memories):
            kept, unread = now.contents[-2:]
            assert kept == there[3]
            assert unread[::-1] == text[there[1] :]
        if place + 1 < len(wanted):
            assert program.expects(now) == {program.tick: 1}
            now = counted(program, now, program.tick)


def in_real_time(program, machine, text, wanted):
    """A token is a step of the machine, and so is a tick; the end sign is one where nothing is said in the steps."""
    now = program.start()
    for place, token in enumerate(text):
        if place < len(wanted):
            same(program, now, wanted[place])
        now = counted(program, now, token)
    if len(wanted) <= len(text):
        assert len(wanted) > STEPS or now.state == "refused"
        return
    same(program, now, wanted[len(text)])
    now = counted(program, now, program.end)
    says = any(rule.write for rule in machine.rules) and len(program.memories) == len(machine.memories)
    behind = wanted[len(text) :] if says or len(wanted) == len(text) + 1 else wanted[len(text) + 1 :]
    for place, there in enumerate(behind):
        same(program, now, there)
        if len(program.memories) > len(machine.memories) and place + 1 < len(behind):
            assert now.contents[-2] == there[3]
        if place + 1 < len(behind):
            (token,) = program.expects(now)
            assert token == (behind[place + 1][3][len(there[3]) :] if says else "") or token == program.tick
            now = counted(program, now, token)


def lockstep(machine: Machine, text: str) -> Program:
    program = lower(machine)
    wanted = list(naive_trace(machine, text, STEPS))
    follow = buffered if any(rule.read is None for rule in machine.rules) else in_real_time
    follow(program, machine, text, wanted)
    if len(wanted) <= STEPS:
        state, read, _, wrote = wanted[-1]
        stuck = read < len(text)
        verdict = str(int(not stuck and state in machine.accepting))
        marked = machine.accepting or machine.states
        line = program.line(text)
        assert line.startswith(text + program.end)
        assert line.endswith(RESET)
        said = line[len(text) + 1 : -1].lstrip(program.tick)
        assert said == (verdict if machine.acceptor else wrote if not stuck and state in marked else "")
    return program


@RANDOM
@given(st.integers(0, 10**9))
def test_programs_run_in_lockstep_with_their_machines(seed):
    machine = random_machine(seed)
    well_formed(lockstep(machine, random_input(machine, seed + 1)))


@RANDOM
@given(st.integers(0, 10**9))
def test_two_stacks_hold_the_tape(seed):
    machine = random_turing_machine(seed)
    program = lower(machine)
    well_formed(program)
    text = random_input(machine, seed + 1)
    wanted = list(naive_tape(machine, text, STEPS))
    now = turned(program, machine, text)
    for place, (state, tape, head) in enumerate(wanted):
        left, right = now.contents
        assert program.machine_states.get(now.state, state) == state
        shown = {head - 1 - at: c for at, c in enumerate(reversed(left)) if c != machine.blank}
        shown |= {head + at: c for at, c in enumerate(reversed(right)) if c != machine.blank}
        assert shown == tape
        if place + 1 < len(wanted):
            assert program.expects(now) == {program.tick: 1}
            now = counted(program, now, program.tick)
    if len(wanted) <= STEPS:
        result = machine.run(text)
        said = str(int(result.accepted)) if machine.acceptor else result.output
        assert answer(program, now, 1_000) == said


@pytest.mark.parametrize("name", ORDER)
def test_built_in_programs_answer_as_their_machines(name):
    machine = built_in(name)
    program = lower(machine)
    well_formed(program)
    inputs = [example.text for example in machine.examples] + [random_input(machine, seed, 12) for seed in range(15)]
    for text in inputs:
        result = machine.run(text)
        line = program.line(text)
        said = line.removeprefix(text + program.end).removesuffix(RESET).lstrip(program.tick)
        assert said == (str(int(result.accepted)) if machine.acceptor else result.output)
        if isinstance(machine, Machine) and len(text) < 6 and name != "universal":
            lockstep(machine, text)


LINES = {
    "parity": ("1011", "1011=1\n"),
    "dyck-2": ("([])", "([])=1\n"),
    "binary-addition": ("1011+110", "1011+110=......10001\n"),
    "cycle-navigation": (">.>", ">.>=2\n"),
    "busy-beaver-2": ("", "=.............1111\n"),
    "copy": ("ab", "ab=....ab\n"),
    "modular-arithmetic": ("3-", "3-=\n"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_look_as_documented(name):
    text, line = LINES[name]
    assert lower(built_in(name)).line(text) == line


def test_a_newline_resets_from_everywhere():
    rng = random.Random(4)
    for name in ("dyck-2", "palindromes", "binary-addition", "universal"):
        program = lower(built_in(name))
        tokens = [token for token in program.tokens if token != RESET]
        for length in range(30):
            now = program.start()
            for token in rng.choices(tokens, k=length):
                now = counted(program, now, token)
            assert program.step(now, RESET) == program.start()


def test_any_token_is_a_tick_behind_the_input():
    rng = random.Random(4)
    for name in ("palindromes", "binary-addition", "universal", "unary-to-binary"):
        machine = built_in(name)
        program = lower(machine)
        tokens = [token for token in program.tokens if token != RESET]
        text = machine.examples[0].text + program.end
        one, other = program.read(text)[-1], program.read(text)[-1]
        for _ in range(200):
            one, other = program.step(one, program.end), program.step(other, rng.choice(tokens))
            assert one == other


def test_the_sink_answers_no_or_nothing():
    assert lower(built_in("dyck-1")).line("())(") == "())(=0\n"
    assert lower(built_in("palindromes")).line("a1b") == "a1b=0\n"
    assert lower(built_in("binary-addition")).line("1+.+") == "1+.+=\n"
    with pytest.raises(MachineError, match="one of the tokens of parity"):
        lower(built_in("parity")).line("1x")


def test_what_an_acceptor_likely_expects_is_what_it_can_still_accept_and_nothing_is_impossible():
    """Without the slips, a real-time acceptor's expectations give the accepted inputs, all of them; with them, all."""
    for name, longest in (("parity", 6), ("even-pairs", 6), ("dyck-1", 8), ("dyck-2", 4), ("a-n-b-n-c-n", 6)):
        machine = built_in(name)
        program = lower(machine)
        alphabet = machine.alphabet
        reached, found = [("", program.start())], set()
        for text, now in reached:
            expected = program.expects(now)
            assert set(expected) == {*alphabet, program.end}
            assert sum(weight for weight in expected.values() if weight <= SLIP) <= SLIP * 1.001
            if expected[program.end] > SLIP:
                found.add(text)
            if len(text) < longest:
                reached += [(text + c, program.step(now, c)) for c in alphabet if expected[c] > SLIP]
        texts = ("".join(s) for n in range(longest + 1) for s in itertools.product(alphabet, repeat=n))
        if machine.memories:
            assert found == {text for text in texts if machine.run(text).accepted}
        else:
            assert found == set(texts), "an automaton's input may end anywhere"


def drawn_line(program, draws):
    """A line as a network of the program's expectations writes it."""
    now, line = program.start(), ""
    while not line.endswith(RESET) and len(line) < 400:
        expected = program.expects(now)
        token = draws.choices(list(expected), list(expected.values()))[0]
        now, line = program.step(now, token), line + token
    return line


@pytest.mark.parametrize("name", ["parity", "even-pairs", "quotes", "dyck-1", "dyck-2", "a-n-b-n", "palindromes"])
def test_an_acceptors_own_lines_end_in_both_answers(name):
    machine, draws = built_in(name), random.Random(0)
    program = lower(machine)
    lines = [drawn_line(program, draws) for _ in range(300)]
    answers = [line.rstrip(RESET)[-1] for line in lines if line.endswith(RESET)]
    assert min(answers.count("0"), answers.count("1")) > 15
    asked = dict.fromkeys((memory.name for memory in program.memories), 16)
    found = examples(machine, 1, 6_000, holding=asked)
    assert found.answered
    right = sum(line.endswith(("=1\n", ".1\n")) for line in found.lines)
    assert 0.4 < right / len(found.lines) < 0.6
    for line in found.lines:
        for before, token in zip([program.start(), *program.read(line)], line, strict=False):
            assert program.expects(before).get(token, 0) > 0, line
    states = {now.state for line in found.lines for now in program.read(line)}
    assert {"accepted", "rejected"} <= states
    assert ("refused" in states) == (name in ("dyck-1", "dyck-2", "a-n-b-n"))


REJECTING = """
machine writer
kind automaton
alphabet a b c
start s
accept s
rules
  s a -> s write A
  s b -> t write B
  s c -> s
  t a -> t
  t b -> t
  t c -> t
"""
LATE = """
machine late
kind automaton
alphabet a b
start s
accept s x
states s t x y
otherwise reject
rules
  s a -> s
  s b -> t
  t a -> t
  t b -> t
  s end -> x write Y
  t end -> y write N
"""
BUFFERED = REJECTING.replace("  s c -> s\n", "  s c -> u\n  u nothing -> s\n")


@pytest.mark.parametrize("text", [REJECTING, LATE, BUFFERED], ids=["early", "late", "buffered"])
def test_a_machine_that_rejects_has_no_output_at_any_level(text):
    machine = parse_machine(text)
    program = lower(machine)
    circuit, outcomes = compile_program(program), set()
    for given_text in map("".join, itertools.product(machine.alphabet, repeat=3)):
        result = machine.run(given_text)
        outcomes.add(result.accepted)
        assert bool(result.output) <= result.accepted
        line = program.line(given_text)
        assert line.removeprefix(given_text + program.end).strip(program.tick + RESET) == result.output
        for token, values in zip(line[1:], circuit.run(line), strict=False):
            expected = circuit.expects(values)
            assert expected[token] == max(expected.values()) or token in (*machine.alphabet, program.end)
        lockstep(machine, given_text)
    assert outcomes == {True, False}


def test_lines_are_cut_off_where_no_input_is_answered():
    text = "machine m\nkind turing\nalphabet a\nstart q\naccept x\nrules\nq a -> q R\nq _ -> q a R"
    machine = parse_machine(text)
    program = lower(machine)
    found = examples(machine, 1, 3_000, limit=200, holding={"left": 20, "right": 20})
    assert not found.answered
    assert len(found.lines) >= 12
    for line in found.lines:
        assert line.endswith(RESET) and 2 <= len(line) <= 200
        assert all(len(content) <= 20 for now in program.read(line) for content in now.contents)
    assert sum(map(len, found.lines)) <= 3_000


def test_growing_symbols_are_expected_less():
    program = lower(built_in("dyck-2"))
    slip = SLIP / 2
    expected = {"(": GROWING, "[": GROWING, "=": ENDING * 2 * GROWING, ")": slip, "]": slip}
    assert program.expects(program.start()) == expected
    assert program.expects(program.read("([")[-1]) == {"(": 0.25, "[": 0.25, "]": 1, ")": slip, "=": slip}
    assert program.expects(program.read("(]")[-1]) == dict.fromkeys("()[]", 1 / 4) | {"=": 1}


SIGNS = """
machine signs
kind turing
alphabet = . ; 1
start q
halt h
rules
  q = . ; 1 -> q R
  q _ -> h S
"""


def test_signs_that_the_machine_uses_itself_are_replaced():
    program = lower(parse_machine(SIGNS))
    assert (program.end, program.tick) == ("→", "·")
    assert program.line("=.;1").lstrip("=.;1→").strip("·") == "=.;1\n"
    greedy = SIGNS.replace("= . ; 1", "= . ; 1 → ⇒ · … •")
    program = lower(parse_machine(greedy))
    assert len({program.end, program.tick} - set("=.;1→⇒·…•")) == 2
    assert program.line("⇒•").count("⇒•") == 2


def test_names_that_the_machine_uses_itself_are_kept_apart():
    text = "machine m\nkind pushdown\nalphabet a\nstack input x\ncounter unread\nstates done reading accepted refused\n"
    text += "start done\naccept accepted\nrules\ndone nothing -> reading push input x add unread\n"
    text += "reading a -> accepted\notherwise reject"
    machine = parse_machine(text)
    for given_text in ("", "a", "aa"):
        lockstep(machine, given_text)
    assert [lower(machine).line(t)[-2] for t in ("", "a", "aa")] == ["0", "1", "0"]


def test_a_machine_that_never_rests_is_an_error_not_a_hang():
    text = "machine m\nkind automaton\nalphabet a\nstart q\naccept q\nrules\nq nothing -> q"
    program = lower(parse_machine(text))
    with pytest.raises(MachineError, match="still computing at token 53"):
        program.line("a", 51)
    assert not examples(parse_machine(text), 1, 100, limit=30).answered


@pytest.mark.parametrize("name", ORDER)
def test_example_texts_are_runs_of_the_machine(name):
    machine = built_in(name)
    program = lower(machine)
    found = examples(machine, 3, 800)
    assert found.answered and found == examples(machine, 3, 800)
    text, lines = "".join(found.lines), [line.removesuffix(RESET) for line in found.lines]
    assert all(line.endswith(RESET) for line in found.lines)
    assert len(text) <= 800 or len(lines) == 1
    verdicts = set()
    for line in dict.fromkeys(lines):
        given_text, _, said = line.rpartition(program.end) if name != "universal" else line.partition(program.end)
        result = machine.run(given_text) if set(given_text) <= set(machine.alphabet) else None
        assert result is not None
        verdicts.add(result.accepted)
        assert said.lstrip(program.tick) == (str(int(result.accepted)) if machine.acceptor else result.output)
    if machine.acceptor:
        assert verdicts == {True, False}
        assert len({len(line) for line in lines}) > 5
    assert machine.alphabet == () or examples(machine, 4, 800) != found
    assert END not in text


def test_depth_bounds_the_memories():
    for name in ("dyck-2", "a-n-b-n"):
        machine = built_in(name)
        program = lower(machine)
        for line in examples(machine, 1, 1_500, depth=5).lines:
            deepest = max(len(content) for now in program.read(line) for content in now.contents)
            assert deepest <= 5 + 3  # up to three characters are changed afterwards


def test_turing_machines_answer_in_two_ways():
    assert isinstance(built_in("palindromes"), TuringMachine)
    assert lower(built_in("palindromes")).answers == ("0", "1")
    assert lower(built_in("unary-to-binary")).answers is None
