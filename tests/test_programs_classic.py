"""Machines in Elman and LSTM weights, in lockstep with the programs that they were made from."""

import math
import random

import pytest
import torch

import tolerances
from unrolled.errors import MachineError
from unrolled.models import Watch
from unrolled.programs.classic import COUNTS, IMPOSSIBLE, elman, elman_units, lstm_counter, lstm_units
from unrolled.programs.library import library
from unrolled.programs.program import Expectation, Program, Step
from unrolled.programs.stream import lower
from unrolled.programs.turing import Action, Memory

FINITE = ("parity", "even-pairs", "cycle-navigation", "quotes")
COUNTING = ("a-n-b-n", "dyck-1", "a-n-b-n-c-n")
BOTH_TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def program(name: str) -> Program:
    return lower(library()[name])


def built(weights, dtype):
    config, vocabulary, state = weights
    model = config.build(vocabulary.size).to(dtype)
    model.load_state_dict(state)
    return model.eval(), vocabulary


def read(model, vocabulary, text):
    """The logits after every token, and every group of units."""
    seen = {}
    ids_1T = torch.from_numpy(vocabulary.encode(text).astype(int))[None]
    with torch.inference_mode():
        logits_1TV, _ = model(ids_1T, tap=Watch(lambda name, value_BTN: seen.__setitem__(name, value_BTN[0])))
    return logits_1TV[0].double(), seen


def texts(made: Program, length: int) -> list[str]:
    """Random tokens, random lines of the alphabet, and the lines of the machine's own examples."""
    draws = random.Random(made.name)
    symbols = library()[made.name].alphabet
    lines = ["".join(draws.choices(symbols, k=draws.randint(0, 12))) for _ in range(length // 16)]
    examples = [example.text for example in library()[made.name].examples]
    return [
        "".join(draws.choices(made.tokens, k=length)),
        "".join(made.line(line) for line in lines + examples),
    ]


def assert_expected(made: Program, vocabulary, text, logits_TV):
    """The logits are the logarithms of the program's weights, and far below for what cannot come."""
    number = {symbol: index for index, symbol in enumerate(vocabulary.symbols)}
    wanted_TV = torch.full_like(logits_TV, IMPOSSIBLE)
    for time, configuration in enumerate(made.read(text)):
        weights = made.expects(configuration)
        for token, weight in weights.items():
            if weight > 0:
                wanted_TV[time, number[token]] = math.log(weight / sum(weights.values()))
    torch.testing.assert_close(logits_TV, wanted_TV, rtol=0, atol=tolerances.COMPILED_LOGITS)


@BOTH_TYPES
@pytest.mark.parametrize("name", FINITE)
def test_elman_networks_run_in_lockstep_with_their_program(name, dtype):
    made = program(name)
    model, vocabulary = built(elman(made), dtype)
    for text in texts(made, 10_000):
        logits_TV, seen = read(model, vocabulary, text)
        assert_expected(made, vocabulary, text, logits_TV)
        assert set(seen["layer0.hidden"].unique().tolist()) <= {-1.0, 0.0, 1.0}


@BOTH_TYPES
def test_each_elman_unit_is_its_state_and_token_exactly(dtype):
    made = program("quotes")
    model, vocabulary = built(elman(made), dtype)
    (text, _) = texts(made, 2_000)
    before = [made.states[0], *(configuration.state for configuration in made.read(text))]
    units = elman_units(made)
    hidden_TN = read(model, vocabulary, text)[1]["layer0.hidden"]
    wanted_TN = torch.tensor(
        [[1, 1 if token == "\n" else -1] + [1 if (state, token) == unit else -1 for unit in units]
         for state, token in zip(before, text, strict=False)], dtype=dtype
    )  # fmt: skip
    assert torch.equal(hidden_TN[:, : len(units) + 2], wanted_TN)
    assert not hidden_TN[:, len(units) + 2 :].any()


@BOTH_TYPES
@pytest.mark.parametrize("name", COUNTING + FINITE[:1])
def test_lstm_counters_run_in_lockstep_with_their_program(name, dtype):
    made = program(name)
    model, vocabulary = built(lstm_counter(made), dtype)
    for text in texts(made, 3_000):
        logits_TV, seen = read(model, vocabulary, text)
        assert_expected(made, vocabulary, text, logits_TV)
        for gate in ("input_gate", "forget_gate", "output_gate"):
            used = seen[f"layer0.{gate}"][:, : len(lstm_units(made))]
            assert set(used.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("a-n-b-n", "a" * 1000 + "b" * 1000, "a" * 1000 + "b" * 1001),
        ("a-n-b-n", "a" * 7 + "b" * 7, "a" * 1000 + "b" * 999),
        ("dyck-1", "(" * 1000 + ")" * 1000, "(" * 1000 + ")" * 1000 + ")("),
        ("a-n-b-n-c-n", "a" * 1000 + "b" * 1000 + "c" * 1000, "a" * 1000 + "b" * 1000 + "c" * 999),
    ],
)
def test_lstm_counters_count_to_a_thousand(name, inside, outside):
    made = program(name)
    model, vocabulary = built(lstm_counter(made), torch.float32)
    text = f"{inside}=1\n{outside}=0\n"
    logits_TV, seen = read(model, vocabulary, text)
    assert_expected(made, vocabulary, text, logits_TV)
    for time, verdict in ((len(inside), "1"), (len(text) - 3, "0")):
        assert vocabulary.symbols[int(logits_TV[time].argmax())] == verdict
    cells_TN = seen["layer0.cell"][: len(inside), 2 + len(lstm_units(made)) - 2 - len(made.memories) :]
    depths = [[len(content) for content in configuration.contents] for configuration in made.read(inside)]
    assert cells_TN[:, : len(made.memories)].tolist() == depths


def test_float32_cells_count_up_to_the_stated_limit_and_no_further():
    made = program("dyck-1")
    model, vocabulary = built(lstm_counter(made), torch.float32)
    unit = len(lstm_units(made)) - 1

    def after(text, state):
        with torch.inference_mode():
            return model(torch.from_numpy(vocabulary.encode(text).astype(int))[None], state)[1]

    def at(count):
        state = dict(after("(", None))
        state["layer0.cell"] = state["layer0.cell"].clone()
        state["layer0.cell"][0, unit] = count
        return state

    def counted(text, count):
        return int(after(text, at(count))["layer0.cell"][0, unit])

    assert counted("(()", COUNTS - 2) == COUNTS - 1
    assert counted("(", COUNTS - 1) == COUNTS
    assert counted("(", COUNTS) == COUNTS


@pytest.mark.parametrize("name", ["parity", "dyck-1"])
def test_networks_can_be_read_in_pieces(name):
    made = program(name)
    model, vocabulary = built(lstm_counter(made), torch.float32)
    (text, _) = texts(made, 200)
    whole_TV = read(model, vocabulary, text)[0]
    state = None
    for time, token in enumerate(text):
        with torch.inference_mode():
            logits_BTV, state = model(torch.tensor(vocabulary.encode(token).astype(int))[None], state)
        assert torch.equal(logits_BTV[0, 0].double(), whole_TV[time])


def test_the_unknown_symbol_is_read_as_a_token_that_no_step_names():
    made = program("parity")
    for make in (elman, lstm_counter):
        model, vocabulary = built(make(made), torch.float32)
        asked = read(model, vocabulary, "10\ufffd=")[0][-1]
        known = read(model, vocabulary, "10\n10=")[0][-1]
        assert vocabulary.symbols[int(asked.argmax())] == "0"
        assert vocabulary.symbols[int(known.argmax())] == "1"
        assert bool((asked[0] < asked.max() - 20).all())


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(MachineError, match="dyck-1, which has depth"):
        elman(program("dyck-1"))
    with pytest.raises(MachineError, match="no stack for an LSTM, got dyck-2 with brackets"):
        lstm_counter(program("dyck-2"))
    with pytest.raises(MachineError, match="no stack for an LSTM, got universal"):
        lstm_counter(program("universal"))


def counter_program(second: Action) -> Program:
    """`x` counts up, and in the other state, where the count is still looked at, does `second`."""
    up = Action(push=("|",))
    return Program(
        "two-ways",
        ("\n", "=", "x", "y"),
        ("here", "there"),
        (Memory("count", ("|",), counter=True),),
        (
            Step("here", frozenset("x"), (None,), "here", (up,)),
            Step("here", None, (None,), "there", (Action(),)),
            Step("there", frozenset("x"), ("|",), "there", (second,)),
            Step("there", frozenset("x"), ("",), "there", (Action(),)),
            Step("there", None, (None,), "there", (Action(),)),
        ),
        (
            Expectation("here", (None,), {"x": 1.0}),
            Expectation("there", ("",), {"\n": 1.0}),
            Expectation("there", ("|",), {"x": 1.0}),
        ),
    )


@pytest.mark.parametrize("second", [Action(pop=True), Action(push=("|", "|"))], ids=["down", "by two"])
def test_a_token_that_moves_a_counter_in_two_ways_is_refused(second):
    with pytest.raises(MachineError, match="'x' moves it by"):
        lstm_counter(counter_program(second))
