"""`unrolled machine` as it is typed: lists, runs, traces, and compiled runs that every other verb can use."""

import itertools
import json
import random
from pathlib import Path

import pytest

from typed import Typist
from unrolled.laboratory import open_run
from unrolled.programs.automata import Sources, automaton_of
from unrolled.programs.library import ORDER, built_in
from unrolled.programs.stream import lower
from unrolled.programs.units import Circuit

ENDS_IN_AB = """machine ends-in-ab
about Does the word end in ab?
kind automaton
alphabet a b
start begin
accept ab
rules
  begin a -> a
  begin b -> begin
  a a -> a
  a b -> ab
  ab a -> a
  ab b -> begin
example aab -> accept
"""


@pytest.fixture
def typist(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Typist(capsys)


def test_the_list_names_every_machine(typist):
    assert [one["name"] for one in typist.json("machine", "list")] == list(ORDER)
    listed = typist.good("machine", "list")
    assert all(name in listed for name in ORDER)


def test_a_run_says_what_the_machine_says(typist):
    assert typist.json("machine", "run", "binary-addition", "1011+110") == {
        "accepted": True,
        "output": "10001",
        "steps": built_in("binary-addition").run("1011+110").steps,
    }
    assert typist.json("machine", "run", "dyck-2", "([)]")["accepted"] is False
    beaver = typist.json("machine", "run", "busy-beaver-4")
    assert (beaver["steps"], beaver["output"].count("1")) == (107, 13)
    assert "rejects 110" in typist.good("machine", "run", "parity", "110")


def test_steps_show_the_stack_and_the_units_that_hold_it(typist):
    told = typist.json("machine", "step", "dyck-2", "([])")
    assert told["accepted"] is True
    assert [moment["memories"] for moment in told["tokens"][:4]] == [["("], ["(["], ["("], [""]]
    assert "brackets.top_is_left_square_bracket" in told["tokens"][1]["on"]
    assert told["tokens"][-2]["next"] == "1"
    shown = typist.good("machine", "step", "dyck-2", "([])")
    assert "brackets.pop" in shown and "dyck-2 accepts ([])" in shown


def test_steps_show_the_tape_with_its_head(typist):
    shown = typist.good("machine", "step", "unary-to-binary", "11")
    assert "1[1]" in shown and "writes 10" in shown


def test_the_limit_means_the_same_for_a_run_and_its_steps(typist, tmp_path):
    (tmp_path / "once.machine").write_text(
        "machine once\nkind turing\nalphabet a\nstart s\naccept y\notherwise halt\n s a -> y R\n"
    )
    given = ("once.machine", "a" * 300, "--limit", "1")
    run, step = (typist.json("machine", verb, *given) for verb in ("run", "step"))
    assert run == {name: step[name] for name in run} and len(step["tokens"]) > 300
    looping = ("busy-beaver-4", "--limit", "50")
    assert typist.bad("machine", "run", *looping) == typist.bad("machine", "step", *looping)


def test_only_the_first_tokens_are_computed(typist, monkeypatch):
    stepped = []
    step = Circuit._step
    monkeypatch.setattr(Circuit, "_step", lambda self, *given: stepped.append(1) or step(self, *given))
    shown = typist.good("machine", "step", "unary-to-binary", "1" * 50, "--first", "2")
    assert "the first 2 tokens" in shown and len(stepped) == 3
    assert len(typist.json("machine", "step", "parity", "11", "--first", "3")["tokens"]) == 3
    assert len(typist.json("machine", "step", "parity", "1" * 300)["tokens"]) == 302
    assert "--first" not in typist.good("machine", "step", "parity", "11", "--first", "4")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_list_and_the_steps_fit_every_width_whole_and_without_blanks_behind(typist, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for words in (
        ("list",),
        ("step", "universal", "1,;!:11,1,"),
        ("step", "dyck-2", "([])"),
        ("step", "reverse", "ab"),
    ):
        lines = typist.good("machine", *words).split("\n")
        assert all(line == line.rstrip() for line in lines)
        said = " ".join(" ".join(lines).split())
        free = ("unrolled machine", "on: units", " steps)", "the first")
        lines = [line for line in lines if not any(word in line for word in free)]
        assert max(map(len, lines)) <= width, words
        if words == ("list",):
            assert all(" ".join(built_in(name).description.split()) in said for name in ORDER)
        elif words[1] == "universal":
            assert "passed.top_is_exclamation_mark" in said and "state.reading" in said


def test_a_file_whose_examples_do_not_come_true_is_refused_by_every_verb(typist, tmp_path):
    (tmp_path / "mine.machine").write_text(ENDS_IN_AB + "example ba -> accept\nexample ab -> reject\n")
    for words in (
        ("run", "mine.machine", "a"),
        ("step", "mine.machine", "a"),
        ("compile", "mine.machine", "--out", "x"),
    ):
        said = typist.bad("machine", *words)
        assert "2 faults (line 15: the machine rejects the example 'ba'; line 16: the machine accepts" in said
    assert not (tmp_path / "x").exists()


def test_a_machine_of_ones_own(typist, tmp_path):
    (tmp_path / "mine.machine").write_text(ENDS_IN_AB)
    for word in map("".join, itertools.product("ab", repeat=4)):
        assert typist.json("machine", "run", "mine.machine", word)["accepted"] is word.endswith("ab")
    typist.good("machine", "compile", "mine.machine", "--out", "mine")
    assert typist.json("sample", "mine", "--prompt", "abab=", "--length", "1", "--seed", "1")["text"] == "1"


def test_a_faulty_file_lists_all_its_faults_with_their_lines(typist, tmp_path):
    text = ENDS_IN_AB.replace("  a b -> ab\n", "  a b -> abb\n  a b -> ab\n").replace(
        "  ab b -> begin\n", "  ab c -> ab\n"
    )
    (tmp_path / "bad.machine").write_text(text)
    said = typist.bad("machine", "run", "bad.machine", "ab")
    assert "line 11" in said and "abb" in said and "double" in said and "unknown symbol c" in said


@pytest.mark.parametrize(
    "words",
    [
        ("run", "paritty", "1"),
        ("run", "parity", "12"),
        ("run", "busy-beaver-4", "--limit", "50"),
        ("run", "no/such.machine"),
        ("compile", "dyck-2", "--into", "rnn", "--out", "x"),
        ("compile", "copy", "--into", "lstm", "--out", "x"),
        ("compile", "parity", "--into", "gru", "--out", "x"),
        ("compile", "parity", "--into", "rnn", "--cells", "4", "--out", "x"),
        ("compile", "parity", "--cells", "-1", "--out", "x"),
        ("compile", "parity", "--into", "rnn", "--activation", "heaviside", "--out", "x"),
        ("compile", "parity"),
        ("walk", "parity"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said_in_one_line(typist, tmp_path, words):
    typist.bad("machine", *words)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("parity", "circuit"),
        ("parity", "rnn"),
        ("dyck-1", "circuit"),
        ("dyck-1", "lstm"),
        ("binary-addition", "circuit"),
    ],
)
def test_a_compiled_run_answers_like_the_machine(typist, name, form):
    told = typist.json("machine", "compile", name, "--into", form, "--out", "run", "--characters", "3000")
    assert told["valid_bits_per_char"] < 3
    machine, run, draws = built_in(name), open_run("run"), random.Random(3)
    for _ in range(10):
        text = "".join(draws.choices(machine.alphabet, k=draws.randrange(9)))
        result = machine.run(text)
        answer = result.output if not machine.acceptor else str(int(result.accepted))
        written = run.sample(text + "=", 60, seed=1).split("\n")[0].replace(".", "")
        assert written == answer, text


def test_every_other_verb_opens_a_compiled_run(typist, tmp_path):
    typist.good("machine", "compile", "quotes", "--out", "run", "--characters", "30000")
    bits = typist.json("score", "run")["bits_per_char"]
    assert 0 < bits < 3
    assert "circuit" in typist.good("show", "run")
    assert "run" in typist.good("runs", ".")
    text = typist.json("sample", "run", "--length", "400", "--seed", "2")["text"]
    lines = text.split("\n")[1:-1]
    answers = [line[-1] for line in lines]
    assert set(answers) == {"0", "1"}
    assert all(int(line[-1]) == built_in("quotes").run(line.split("=")[0]).accepted for line in lines)


def test_the_search_recovers_the_units_of_a_compiled_machine(typist):
    typist.good("machine", "compile", "quotes", "--out", "run", "--characters", "30000")
    found = typist.json("neurons", "run", "--features", "run/features.py", "--no-proof", "--page", "run.html")
    inside = next(one for one in found if one["feature"] == "state-inside")
    assert inside["unit"].startswith("layer0.state.inside") and inside["score"] == pytest.approx(1.0)
    # The start has no unit of its own: what says that no other state is on is the expectation that goes with it.
    outside = next(one for one in found if one["feature"] == "state-outside")
    assert outside["score"] == pytest.approx(1.0)
    typist.good("import", "run.html", "--run", "again")
    text = [typist.json("sample", name, "--length", "200", "--seed", "5")["text"] for name in ("run", "again")]
    assert text[0] == text[1]


def test_beyond_the_exact_depth_it_refuses_and_with_cells_it_goes_on(typist):
    deep = "(" * 40 + ")" * 40 + "="
    typist.good("machine", "compile", "dyck-2", "--cells", "0", "--out", "plain", "--characters", "2000")
    typist.good("machine", "compile", "dyck-2", "--out", "cells", "--characters", "2000")
    said = typist.bad("sample", "plain", "--prompt", deep, "--length", "1")
    assert "step" in said and "brackets" in said
    assert typist.json("sample", "cells", "--prompt", deep, "--length", "1")["text"] == "1"
    assert json.loads(typist.good("machine", "run", "dyck-2", deep[:-1], "--json"))["accepted"] is True


SLOW = """machine slow
kind turing
alphabet a
start q
halt h
otherwise halt
rules
  q a -> q R
  q _ -> r a L
  r a -> r L
  r _ -> q a R
"""


@pytest.mark.parametrize(
    ("words", "exact", "said"),
    [
        (("parity",), {}, "at any length: it has no memory"),
        (("dyck-2", "--cells", "0"), {"brackets": 23}, "up to 23 symbols on brackets; beyond it an error"),
        (("dyck-2",), {"brackets": 1032}, "up to 1,032 symbols on brackets (256 memory cells each)"),
        (("dyck-2", "--cells", "1"), {"brackets": 12}, "up to 12 symbols on brackets (1 memory cell each)"),
        (("a-n-b-n",), {"depth": 2**45}, "a count of 35,184,372,088,832 in depth"),
        (("a-n-b-n", "--into", "lstm"), {"depth": 2**24}, "a count of 16,777,216 in depth"),
    ],
    ids=str,
)
def test_compile_says_how_far_it_is_exact(typist, words, exact, said):
    told = typist.json("machine", "compile", *words, "--out", "one", "--characters", "1500")
    assert told["exact_up_to"] == exact and told["examples_answered"] is True
    shown = typist.good("machine", "compile", *words, "--out", "two", "--characters", "1500")
    assert said in " ".join(shown.split())


def test_memory_cells_hold_exactly_what_compile_says(typist):
    for cells in (1, 3):
        name = f"run{cells}"
        told = typist.json("machine", "compile", "dyck-2", "--cells", str(cells), "--out", name, "--characters", "1500")
        most = told["exact_up_to"]["brackets"]
        typist.good("sample", name, "--prompt", "(" * most, "--length", "1")
        assert f"step {most + 1}" in typist.bad("sample", name, "--prompt", "(" * (most + 1), "--length", "1")


def test_a_failed_compilation_leaves_nothing_behind(typist, tmp_path, monkeypatch):
    from unrolled.errors import TrainingError
    from unrolled.training.run_folder import RunFolder

    def full(*_):
        raise TrainingError(expected="to write", received="a full disk", remedy="make room")

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "publish_weights", full)
        typist.bad("machine", "compile", "parity", "--out", "x", "--characters", "1500")
    assert not (tmp_path / "x").exists()
    typist.good("machine", "compile", "parity", "--out", "x", "--characters", "1500")
    assert "another --out" in typist.bad("machine", "compile", "parity", "--out", "x")


def test_a_machine_that_answers_nothing_in_time_is_compiled_all_the_same(typist, tmp_path):
    (tmp_path / "slow.machine").write_text(SLOW)
    shown = typist.good("machine", "compile", "slow.machine", "--out", "run", "--limit", "100", "--characters", "4000")
    assert "no input was answered within 100 tokens" in " ".join(shown.split())
    assert typist.json("score", "run")["bits_per_char"] < 1
    assert typist.json("sample", "run", "--prompt", "aa=", "--length", "50", "--seed", "1")["text"] == "." * 50


@pytest.mark.parametrize("name", ["busy-beaver-4", "busy-beaver-2"])
def test_what_is_certain_costs_nothing_in_any_part(typist, name):
    told = typist.json("machine", "compile", name, "--out", "run", "--characters", "20000")
    assert told["valid_bits_per_char"] < 1e-6
    for part in ("train", "valid", "test"):
        assert typist.json("score", "run", "--part", part)["bits_per_char"] < 1e-6


def test_heaviside_units_do_the_same(typist):
    for activation in ("saturated-linear", "heaviside"):
        told = typist.json(
            "machine", "compile", "quotes", "--activation", activation, "--out", activation, "--characters", "3000"
        )
        assert told["activation"] == activation
    texts = [
        typist.json("sample", name, "--length", "300", "--seed", "5")["text"]
        for name in ("saturated-linear", "heaviside")
    ]
    assert texts[0] == texts[1]
    units = json.loads(Path("heaviside/config.json").read_text())["model"]["layers"][0]["units"]
    assert {unit[2] for unit in units} == {"step"}, "a finite automaton needs no other"


@pytest.mark.parametrize(("name", "form"), [("parity", "circuit"), ("even-pairs", "rnn"), ("cycle-navigation", "rnn")])
def test_what_is_extracted_from_a_compiled_run_is_the_machine(typist, name, form):
    typist.good("machine", "compile", name, "--into", form, "--out", "run", "--characters", "2000")
    machine = built_in(name)
    letters = "".join(machine.alphabet)
    told = typist.json("task", "extract", "run", "--alphabet", letters, "--length", "6", "--longer", "50")
    wanted = automaton_of(lower(machine), Sources.over(letters))
    assert told["outputs"] == list(wanted.outputs)
    assert told["transitions"] == [list(edge) for edge in wanted.edges()]
