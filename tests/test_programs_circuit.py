"""Circuits do at every token what their programs do, exactly and at any length; what they cannot be is refused."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs_random import nested, random_program, random_text, small_programs
from unrolled.errors import MachineError
from unrolled.programs.circuit import COUNTED, compile_program, word
from unrolled.programs.program import Expectation, Program, Step
from unrolled.programs.turing import MARK, Action, Memory

SMALL = small_programs()


def in_lockstep(program, circuit, text):
    stems = [memory.unit.removesuffix(".value") for memory in circuit.memories]
    tests = [[unit.name for unit in circuit.units if unit.name.startswith(f"{stem}.top_is_")] for stem in stems]
    for token, now, values in zip(text, program.read(text), circuit.run(text), strict=True):
        assert (circuit.state(values), circuit.contents(values)) == (now.state, now.contents), (token, now)
        assert circuit.expects(values) == program.expects(now)
        assert sum(values[output.unit] for output in circuit.outputs) == 1
        tops = [content[-1:] for content in now.contents]
        for stem, test, top in zip(stems, tests, tops, strict=True):
            assert values[f"{stem}.nonempty"] == bool(top)
            assert [name for name in test if values[name]] == ([f"{stem}.top_is_{word(top)}"] if test and top else [])


def booleans(circuit):
    """The units that are always 0 or 1: all but what a memory holds."""
    inner = (".value", ".wide", ".wider")
    return [u for u in circuit.units if ".after_" not in u.name and not u.name.endswith(inner)]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_random_programs_in_lockstep(seed):
    program = random_program(seed)
    for unary in {False, any(memory.counter for memory in program.memories)}:
        for boolean in ("clip", "step"):
            circuit = compile_program(program, unary=unary, boolean=boolean)
            in_lockstep(program, circuit, random_text(program, seed, 64))
            assert all((unit.activation == boolean) for unit in booleans(circuit))


@pytest.mark.parametrize("boolean", ["clip", "step"])
@pytest.mark.parametrize("name", SMALL)
def test_machines_of_every_kind_in_lockstep(name, boolean):
    program = SMALL[name]
    circuit = compile_program(program, boolean=boolean)
    in_lockstep(program, circuit, random_text(program, 1, 200))
    if not program.memories:
        assert {unit.activation for unit in circuit.units} == {boolean}


CHARACTER = st.characters(exclude_categories=("Cs",))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(one=CHARACTER, other=CHARACTER)
def test_different_characters_become_different_words(one, other):
    assert (word(one) == word(other)) == (one == other)
    assert not set(word(one)) & set("[] \n.")


def holding(symbols):
    """Each symbol is pushed as it is read; which one lies on top is told by what is expected."""
    memory = Memory("S", tuple(symbols))
    steps = [Step("s", frozenset(c), (None,), "s", (Action(push=(c,)),)) for c in symbols]
    steps.append(Step("s", None, (None,), "s", (Action(),)))
    expectations = [Expectation("s", (c,), {c: 1.0}) for c in symbols] + [Expectation("s", ("",), {"\n": 1.0})]
    return Program("held", tuple(sorted({*symbols, "\n"})), ("s",), (memory,), tuple(steps), tuple(expectations))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(symbols=st.lists(CHARACTER.filter(lambda c: c not in "\n\x03"), min_size=2, max_size=8, unique=True))
def test_units_have_different_names_whatever_the_alphabet(symbols):
    program = holding(symbols)
    circuit = compile_program(program)
    assert len({unit.name for unit in circuit.units}) == len(circuit.units)
    in_lockstep(program, circuit, "".join(symbols) + "\n" + "".join(reversed(symbols)))


def test_characters_whose_names_differ_in_a_hyphen_only_are_kept_apart():
    """U+0F60 is TIBETAN LETTER -A, U+0F68 TIBETAN LETTER A."""
    program = holding("\u0f68\u0f60x")
    for boolean in ("clip", "step"):
        in_lockstep(program, compile_program(program, boolean=boolean), "\u0f68\u0f60x\u0f60\n\u0f60")


def test_a_stack_of_a_thousand_symbols_is_exact():
    program, depth = nested(), 1000
    text = "([" * (depth // 2) + "])" * (depth // 2) + "=1\n"
    circuit = compile_program(program)
    values = list(circuit.run(text))
    assert circuit.contents(values[depth - 1]) == ("([" * (depth // 2),)
    assert values[depth - 1]["S.value"].denominator == 4**depth
    assert circuit.expects(values[-3]) == {"1": 1.0}
    assert circuit.expects(list(circuit.run("([" * (depth // 2) + "])" * (depth // 2 - 1) + "])]="))[-1]) == {"\n": 1.0}


def test_values_and_names_of_units():
    circuit = compile_program(nested())
    names = {unit.name for unit in circuit.units}
    assert {"S.value", "S.nonempty", "S.top_is_left_parenthesis", "S.top_is_left_square_bracket", "S.pop"} <= names
    assert {"state.right", "state.wrong", "state.lost", "rule.0", "expects.0"} <= names
    assert "state.open" not in names, "the start is where no other state is on"
    *_, last = circuit.run("([")
    assert last["S.value"] == Fraction(3, 4) + Fraction(1, 16)
    assert (last["S.top_is_left_square_bracket"], last["S.top_is_left_parenthesis"]) == (1, 0)
    levels = {unit.name: unit.level for unit in circuit.units}
    assert all(levels[source] < unit.level for unit in circuit.units for source in unit.units)
    assert set(circuit.registers) >= {"S.value", "S.nonempty", "state.right"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("carry", "carry"),
        ("q-1_x", "q-1_x"),
        ("(", "left_parenthesis"),
        ("a b", "a_space_b"),
        ("\x01", "u0001"),
        ("é", "latin_small_letter_e_with_acute"),
        ("", "empty"),
    ],
)
def test_words(text, name):
    assert word(text) == name


def test_names_that_become_the_same_word_are_kept_apart():
    stay = (Action(),)
    states, tops = ("s", "a(", "a_left_parenthesis", "lost"), (None,) * 3
    memories = (Memory("state", ("x", "y")), Memory("m(", ("x",)), Memory("m_left_parenthesis", ("x",)))
    push = tuple(Action(push=(memory.alphabet[-1],)) for memory in memories)
    actions = (stay * 3, (*push[:1], *stay * 2), (*stay, push[1], *stay), push)
    steps = [Step(state, frozenset(str(i)), tops, to, actions[i]) for state in states for i, to in enumerate(states)]
    steps += [Step(state, None, tops, state, stay * 3) for state in states]
    expectations = tuple(Expectation(state, tops, {"0": float(i + 1)}) for i, state in enumerate(states))
    program = Program("twins", ("\n", "0", "1", "2", "3"), states, memories, tuple(steps), expectations)
    circuit = compile_program(program)
    names = [unit.name for unit in circuit.units]
    assert len(set(names)) == len(names)
    in_lockstep(program, circuit, random_text(program, 0, 100))


def test_an_unknown_symbol_is_taken_as_any_other_or_loses_the_program_until_the_newline():
    nest = compile_program(nested())
    assert [nest.state(values) for values in nest.run("(é)\n()")] == ["open", "wrong", "wrong", "open", "open", "open"]
    plain = Program(
        "ab", ("\n", "a", "b"), ("s", "t"), (),
        (Step("s", frozenset("ab"), (), "t", ()), Step("t", frozenset("ab"), (), "s", ())),
        (Expectation("s", (), {"a": 1.0}), Expectation("t", (), {"b": 1.0})),
    )  # fmt: skip
    circuit = compile_program(plain)
    seen = list(circuit.run("aéa\na"))
    assert [circuit.state(values) for values in seen] == ["t", None, None, "s", "t"]
    assert circuit.expects(seen[2]) == {"\n": 1.0}


def counting(push: int) -> Program:
    steps = (
        Step("s", frozenset("+"), (None,), "s", (Action(push=(MARK,) * push),)),
        Step("s", None, (None,), "s", (Action(),)),
    )
    memory = Memory("many", (MARK,), counter=True)
    return Program("count", ("\n", "+", "."), ("s",), (memory,), steps, (Expectation("s", (None,), {"+": 1.0}),))


def test_a_counter_is_an_integer_and_a_newline_sets_it_to_zero():
    circuit = compile_program(counting(2))
    assert [values["many.value"] for values in circuit.run("++.+\n+")] == [2, 4, 4, 6, 0, 2]
    unary = compile_program(counting(2), unary=True)
    assert [unary.contents(values) for values in unary.run("+.\n+")] == [("||",), ("||",), ("",), ("||",)]


def test_a_counter_that_is_no_longer_exact_is_an_error_that_names_the_step(monkeypatch):
    circuit = compile_program(counting(2))
    assert max(abs(weight) for unit in circuit.units for weight in unit.units.values()) ** 3 == COUNTED
    monkeypatch.setattr("unrolled.programs.units.COUNTED", 5)
    with pytest.raises(MachineError, match=r"many to count to at most 5.*more at step 3"):
        list(circuit.run("+++"))


def test_a_number_that_stands_for_no_content_is_refused():
    (stack,) = compile_program(nested()).memories
    assert stack.contents(Fraction(0)) == ""
    for wrong in (Fraction(1, 2), Fraction(7, 5), Fraction(-1, 4)):
        with pytest.raises(MachineError, match="a content of S"):
            stack.contents(wrong)


def test_the_stated_depth_leaves_every_partial_sum_exact():
    """Terms are multiples of 2^-n, and their absolute values add up to at most 2^(53 - n)."""
    for seed in range(40):
        program = random_program(seed)
        circuit = compile_program(program, unary=True)
        for stack in circuit.stacks:
            for precision in (24, 53):
                fine = 2 ** (stack.bits * (stack.deepest(precision) + stack.growth))
                for unit in circuit.units:
                    stem = stack.unit.removesuffix("value")
                    if stack.unit in {*unit.past, *unit.units} or unit.name.startswith(f"{stem}after"):
                        terms = [*unit.past.values(), *unit.units.values(), *unit.tokens.values()]
                        assert (sum(map(abs, terms)) + abs(unit.bias)) * fine <= 2**precision
                        assert (unit.bias * fine).denominator == 1
