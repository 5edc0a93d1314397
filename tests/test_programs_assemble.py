"""Compiled models do exactly what circuits do, in float64 and with bounded precision, or say where they cannot."""

import dataclasses
import itertools
import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from programs_random import nested, random_program, random_text
from test_pages_engine import ask, written
from tolerances import ENGINE32, STATISTIC
from unrolled.errors import ConfigError, MachineError
from unrolled.models import Edit, ModelConfig, Watch, parse_layers, parse_unit, rows
from unrolled.models.circuit import CircuitConfig
from unrolled.neurons.features import Feature
from unrolled.neurons.search import Text, search
from unrolled.neurons.statistics import score_pair
from unrolled.programs.assemble import IMPOSSIBLE, assemble, compiled_model, contents, depths
from unrolled.programs.circuit import compile_program
from unrolled.programs.library import library
from unrolled.programs.program import Expectation, Program, Step
from unrolled.programs.stream import lower
from unrolled.programs.turing import MARK, Action, Memory

MACHINES = library()
NESTED = nested()


def ids_of(vocabulary, text):
    return torch.from_numpy(vocabulary.encode(text).astype(np.int64))[None]


def watched(model, ids, state=None):
    """Logits (T, V), every unit's values over time, and the state after."""
    seen = {}
    with torch.no_grad():
        logits, after = model(ids, state, tap=Watch(lambda name, value: seen.setdefault(name, value[0, :, 0])))
    return logits[0], {name.removeprefix("layer0."): values.tolist() for name, values in seen.items()}, after


def expected_logits(vocabulary, weights):
    return torch.tensor(
        [math.log(weights[symbol]) if weights.get(symbol, 0) > 0 else IMPOSSIBLE for symbol in vocabulary.symbols]
    )


def in_lockstep(program, text, *, cells=0, precision=64, cuts=25, boolean="clip"):
    """Every unit at every step is the circuit's number; but a stack's part in cells is taken into account at cuts."""
    circuit = compile_program(program, unary=cells > 0, boolean=boolean)
    config, vocabulary, weights = assemble(circuit, cells=cells, precision=precision)
    model = config.build(vocabulary.size).eval()
    model.load_state_dict(weights)
    now, exact = program.read(text), list(circuit.run(text))
    stems = tuple(stack.unit.removesuffix("value") for stack in circuit.stacks)
    partly = {
        unit.name
        for unit in circuit.units
        if cells and any(unit.name == f"{stem}value" or unit.name.startswith(f"{stem}after_") for stem in stems)
    }
    state, edges = None, [0, *range(7, len(text), cuts), len(text)]
    for start, stop in itertools.pairwise(edges):
        logits, units, state = watched(model, ids_of(vocabulary, text[start:stop]), state)
        for name in units.keys() - partly:
            assert units[name] == [values[name] for values in exact[start:stop]], (name, start)
        for row, configuration in zip(logits, now[start:stop], strict=True):
            assert torch.equal(row, expected_logits(vocabulary, program.expects(configuration)))
        assert contents(circuit, state) == now[stop - 1].contents
    assert int(state["layer0.steps"]) == len(text)


def within(program, text):
    """The longest beginning of a text during which no stack is deeper than float64 allows."""
    limits = depths(compile_program(program)).values()
    deep = [any(len(c) > n for c, n in zip(now.contents, limits, strict=True)) for now in program.read(text)]
    return text[: deep.index(True)] if any(deep) else text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_random_programs_in_lockstep(seed):
    program = random_program(seed)
    text = random_text(program, seed, 64)
    possible = within(program, text)
    in_lockstep(program, possible or text[:1])
    if possible != text:
        model, vocabulary = compiled_model(program)
        with pytest.raises(MachineError, match=rf"more at step {len(possible) + 1};"):
            model(ids_of(vocabulary, text))
    large = any(len(memory.alphabet) > 4 for memory in program.memories)
    if program.memories:
        in_lockstep(program, text, cells=130, precision=64 if large else 32)


@pytest.mark.parametrize("boolean", ["clip", "step"])
@pytest.mark.parametrize("name", MACHINES)
def test_the_library_in_lockstep(name, boolean):
    program = lower(MACHINES[name])
    lines = [program.line(example.text) for example in MACHINES[name].examples if len(example.text) < 20]
    text = "".join(line for line in lines if len(line) < 300)[:900] + random_text(program, 1, 40)
    in_lockstep(program, within(program, text), boolean=boolean)
    in_lockstep(program, text, cells=100, precision=32, boolean=boolean)


@pytest.mark.parametrize("name", [name for name, machine in MACHINES.items() if machine.examples])
def test_a_compiled_machine_writes_its_own_answers(name):
    program = lower(MACHINES[name])
    model, vocabulary = compiled_model(program, cells=64)
    for example in sorted(MACHINES[name].examples, key=lambda example: len(example.text))[:2]:
        line = program.line(example.text)
        if len(line) > 400:
            continue
        written = example.text + program.end
        with torch.no_grad():
            logits, state = model(ids_of(vocabulary, written))
            while not written.endswith("\n"):
                written += vocabulary.symbols[int(logits[0, -1].argmax())]
                logits, state = model(ids_of(vocabulary, written[-1]), state)
        assert written == line


def test_float64_says_how_deep_it_is_exact_and_names_the_step_beyond():
    circuit = compile_program(NESTED)
    model, vocabulary = compiled_model(NESTED)
    (limit,) = depths(circuit).values()
    assert limit == circuit.stacks[0].deepest(53) == 23
    fits = "[(" * limit
    _, units, _ = watched(model, ids_of(vocabulary, fits[:limit]))
    assert units["S.value"][-1] == list(circuit.run(fits[:limit]))[-1]["S.value"]
    with pytest.raises(MachineError, match=rf"S to hold at most {limit} symbols.*at step {limit + 1};.*memory cells"):
        model(ids_of(vocabulary, fits))
    _, state = model(ids_of(vocabulary, "()\n" + fits[:limit]))
    with pytest.raises(MachineError, match=rf"step {limit + 4};"):
        model(ids_of(vocabulary, "("), state)
    batch = torch.cat([ids_of(vocabulary, "()" * limit), ids_of(vocabulary, fits)])
    with pytest.raises(MachineError, match=rf"step {limit + 1};"):
        model(batch)
    assert depths(circuit, precision=32) == {"S": 9}


@pytest.mark.parametrize("precision", [64, 32])
def test_memory_cells_hold_a_thousand_brackets_and_say_when_they_are_full(precision):
    model, vocabulary = compiled_model(NESTED, cells=250, precision=precision)
    depth, circuit = 1000, compile_program(NESTED)
    opening = "".join(np.random.default_rng(0).choice(list("(["), depth))
    closing = opening[::-1].translate(str.maketrans("([", ")]"))
    _, state = model(ids_of(vocabulary, opening))
    assert contents(circuit, state) == (opening,)
    assert state["layer0.S.value.used"].item() > 240
    for tail, answer in ((closing + "=", "1"), (closing[:-1] + {")": "]", "]": ")"}[closing[-1]] + "=", "\n")):
        logits, _ = model(ids_of(vocabulary, tail), state)
        assert vocabulary.symbols[int(logits[0, -1].argmax())] == answer
    assert contents(circuit, model(ids_of(vocabulary, "\n"), state)[1]) == ("",)
    small, _ = compiled_model(NESTED, cells=3, precision=precision)
    with pytest.raises(MachineError, match=r"S to fit into its 3 memory cells, got more at step 21;"):
        small(ids_of(vocabulary, opening))
    small(ids_of(vocabulary, opening[:20]))


def test_a_stack_of_too_many_symbols_is_refused():
    memory = Memory("S", tuple(chr(0x4E00 + i) for i in range(200)))
    push = tuple(Step("s", frozenset(c), (None,), "s", (Action(push=(c,)),)) for c in memory.alphabet)
    rest = Step("s", None, (None,), "s", (Action(),))
    tokens = tuple(sorted((*memory.alphabet, "\n")))
    program = Program("wide", tokens, ("s",), (memory,), (*push, rest), (Expectation("s", (None,), {"\n": 1.0}),))
    with pytest.raises(MachineError, match=r"few enough for 24 bits, got 200 symbols on S"):
        compiled_model(program, precision=32)
    in_lockstep(program, "".join(memory.alphabet[:3]))


def test_counters_are_exact_up_to_their_limit():
    steps = (
        Step("s", frozenset("+"), (None,), "s", (Action(push=(MARK,)),)),
        Step("s", None, (None,), "s", (Action(),)),
    )
    memory = Memory("many", (MARK,), counter=True)
    program = Program("count", ("\n", "+"), ("s",), (memory,), steps, (Expectation("s", (None,), {"+": 1.0}),))
    for precision, limit in ((64, 2**45), (32, 2**23)):
        model, vocabulary = compiled_model(program, precision=precision)
        _, state = model(ids_of(vocabulary, "+"))
        at = compile_program(program).registers.index("many.value")
        state["layer0.registers"][0, at] = limit - 1
        _, state = model(ids_of(vocabulary, "+"), state)
        assert state["layer0.registers"][0, at] == limit
        assert not model(ids_of(vocabulary, "\n"), state)[1]["layer0.registers"].any()
        with pytest.raises(MachineError, match=rf"many to count to at most {limit}, got more at step 3;"):
            model(ids_of(vocabulary, "+"), state)


# --------------------------------------------------------------------------- the laws, where nothing is rounded

WORKED = {"nested": (NESTED, 0), "nested-cells": (NESTED, 40), "a-n-b-n-c-n": (lower(MACHINES["a-n-b-n-c-n"]), 0)}
every_machine = pytest.mark.parametrize("name", WORKED)


def built(name):
    program, cells = WORKED[name]
    return program, *compiled_model(program, cells=cells)


def batch_of(program, vocabulary, size=3, time=40):
    return torch.cat([ids_of(vocabulary, within(program, random_text(program, s, 90))[:time]) for s in range(size)])


def same(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@every_machine
def test_split_identity_rows_and_purity_hold_exactly(name):
    program, model, vocabulary = built(name)
    ids = batch_of(program, vocabulary)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        whole, after = model(ids)
        for cut in (0, 1, 17, 40):
            first, state = model(ids[:, :cut])
            before = {key: value.clone() for key, value in state.items()}
            second, end = model(ids[:, cut:], state)
            assert torch.equal(torch.cat([first, second], 1), whole)
            same(end, after)
            same(state, before)
        state, pieces = None, []
        for t in range(ids.shape[1]):
            logits, state = model(ids[:, t : t + 1], state)
            pieces.append(logits)
        assert torch.equal(torch.cat(pieces, 1), whole)
        same(state, after)
        picked = torch.tensor([2, 0, 2])
        some, some_after = model(ids[picked])
        assert torch.equal(some, whole[picked])
        same(some_after, rows(after, picked))
        other = ids.clone()
        other[:, 20] = (other[:, 20] + 1) % vocabulary.size
        assert torch.equal(model(other)[0][:, :20], whole[:, :20])
    same(dict(model.state_dict()), kept)
    assert all(not value.any() for value in model.initial_state(2).values())


@every_machine
def test_taps_see_every_unit_once_and_edits_that_change_nothing_change_nothing(name):
    program, model, vocabulary = built(name)
    ids, seen = batch_of(program, vocabulary), ({}, {})

    def recorded(into):
        return lambda name, value: (into.setdefault(name, []).append(value.clone()), value)[1]

    with torch.no_grad():
        logits, after = model(ids)
        for tap in (Watch(recorded(seen[0])), Edit(recorded(seen[1]))):
            same_logits, same_after = model(ids, tap=tap)
            assert torch.equal(same_logits, logits)
            same(same_after, after)
    assert list(seen[0]) == list(model.units)
    assert set(model.units.values()) == {1}
    for group in model.units:
        assert torch.equal(torch.cat(seen[0][group], 1), torch.cat(seen[1][group], 1))
        assert torch.cat(seen[0][group], 1).shape == (*ids.shape, 1)


def held(unit, value, start=0):
    """A tap that holds a unit at a value from step `start` on."""
    clock = itertools.count()

    def change(_, shown):
        return torch.full_like(shown, value) if next(clock) >= start else shown

    return Edit(change, pattern=re.escape(unit))


def test_a_unit_that_is_held_changes_what_the_machine_does():
    model, vocabulary = compiled_model(NESTED)
    ids = ids_of(vocabulary, "([])=")
    assert parse_unit("layer0.state.wrong", model.units) == ("layer0.state.wrong", 0)
    logits, _ = model(ids, tap=held("layer0.state.wrong", 1.0, start=2))
    assert vocabulary.symbols[int(logits[0, -1].argmax())] == "\n"
    _, after = model(ids[:, :2], tap=held("layer0.S.value", 0.0))
    assert contents(compile_program(NESTED), after) == ("",)


@pytest.mark.parametrize("cells", [0, 4])
def test_an_edited_run_is_not_checked_until_it_starts_again(cells):
    model, vocabulary = compiled_model(NESTED, cells=cells)
    deep = ids_of(vocabulary, "(" * 60)
    edit = held("layer0.S.value", 0.3, start=2)
    for tap in (edit, held("layer0.S.value", 0.3)):
        _, state = model(ids_of(vocabulary, "((((("), tap=tap)
        assert state["layer0.edited"].all()
        _, state = model(deep, state)
        _, state = model(ids_of(vocabulary, "\n"), state)
        assert not state["layer0.edited"].any()
        with pytest.raises(MachineError):
            model(deep, state)
    with pytest.raises(MachineError):
        model(deep, tap=Edit(lambda _, value: value))


@every_machine
def test_round_trip(name, tmp_path):
    program, cells = WORKED[name]
    config, vocabulary, weights = assemble(compile_program(program, unary=cells > 0), cells=cells)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()), encoding="utf-8")
    save_file(weights, tmp_path / "model.safetensors")
    again = ModelConfig.from_json(json.loads((tmp_path / "config.json").read_text(encoding="utf-8")))
    assert again == config
    assert again.stack.plain
    model = again.build(vocabulary.size)
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert len(weights) == 7
    ids = batch_of(program, vocabulary)
    assert torch.equal(model(ids)[0], compiled_model(program, cells=cells)[0](ids)[0])
    for dtype in (torch.float16, torch.float64):
        other = again.build(vocabulary.size).to(dtype)
        other.load_state_dict(weights)
        layer, ours = other.branches[0], model.branches[0]
        for key, value in ours.named_parameters():
            assert torch.equal(dict(layer.named_parameters())[key].double(), value.double()), key


def test_a_compiled_model_can_be_trained_further():
    config, vocabulary, weights = assemble(compile_program(NESTED))
    model = config.untrained().build(vocabulary.size)
    model.load_state_dict(weights)
    ids = ids_of(vocabulary, "([]())=1\n[[]]=1\n")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(20):
        logits, _ = model(ids[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits[0], ids[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.005, losses


@pytest.mark.parametrize(
    "change",
    [
        {"units": ()},
        {"units": (("a", 0, "tanh"),)},
        {"units": (("a", 1, "clip"), ("b", 0, "clip"))},
        {"units": (("a", 0, "clip"), ("a", 0, "clip"))},
        {"units": (("a[0]", 0, "clip"),)},
        {"units": (("a", 0),)},
        {"units": ("a",)},
        {"units": ((1, 0, "clip"),)},
        {"registers": ("nobody",)},
        {"outputs": ("expects.0", "expects.0")},
        {"stacks": (("nobody", 2, 20, 0),)},
        {"stacks": (("S.value", 2, 99, 0),)},
        {"stacks": (("S.value", 2.0, 20, 0),)},
        {"cells": 5},
        {"cells": -1},
        {"precision": 16},
        {"counters": (("nobody", 5),)},
        {"registers": (("S.value",),)},
    ],
)
def test_configurations_that_are_refused(change):
    config, _, _ = assemble(compile_program(NESTED))
    (layer,) = config.layers
    with pytest.raises(ConfigError) as caught:
        dataclasses.replace(layer, **change)
    assert "circuit" in str(caught.value)


def test_a_circuit_is_not_written_in_a_layer_pattern_and_needs_its_width():
    with pytest.raises(ConfigError, match="only a program sets it"):
        parse_layers("circuit(units=ab)")
    with pytest.raises(ConfigError, match="units to be of type tuple"):
        ModelConfig.from_json({"stack": {"width": 4}, "layers": [{"family": "circuit", "units": "ab"}]})
    config, _, _ = assemble(compile_program(NESTED))
    with pytest.raises(ConfigError, match="at most 2 outputs"):
        config.layers[0].build(2, 0)
    assert CircuitConfig() == CircuitConfig(units=())


# --------------------------------------------------------------------------- the neuron search knows the answer


def lines_of(program, seed, characters):
    """Lines that the program itself would write, with choices drawn by their weights."""
    rng, text, now = np.random.default_rng(seed), [], program.start()
    while len(text) < characters:
        weights = program.expects(now)
        text.append(str(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values()))))
        now = program.step(now, text[-1])
    return "".join(text)


def test_the_neuron_search_finds_the_units_of_a_compiled_machine():
    program = lower(MACHINES["dyck-2"])
    config, vocabulary, weights = assemble(compile_program(program), cells=50)
    model = config.build(vocabulary.size)
    model.load_state_dict(weights)
    text = lines_of(program, 0, 12_000)
    circuit = compile_program(program)
    now = program.read(text)
    labels = {
        "top-is-round": np.array([c.contents[0][-1:] == "(" for c in now]),
        "top-is-square": np.array([c.contents[0][-1:] == "[" for c in now]),
        "nonempty": np.array([bool(c.contents[0]) for c in now]),
    }
    stem = circuit.stacks[0].unit.removesuffix("value")
    # Others are on at the same places, too (the value is above 0 where the stack holds something): they come later.
    named = {
        "top-is-round": f"layer0.{stem}top_is_left_parenthesis",
        "top-is-square": f"layer0.{stem}top_is_left_square_bracket",
        "nonempty": f"layer0.{stem}nonempty",
    }
    features = tuple(
        Feature(name, name, "yes-no", lambda _, found=found: found, causal=True) for name, found in labels.items()
    )
    ids = vocabulary.encode(text)
    found = search(
        model.eval(), lambda seed: _untrained(config, vocabulary, seed), Text(ids=ids, features=features, labels=labels)
    )
    for feature, unit in named.items():
        reported = [(one.unit, one.score) for one in found.findings if one.feature == feature]
        assert reported, feature
        assert reported[0] == (unit, pytest.approx(1.0, abs=STATISTIC)), feature


def _untrained(config, vocabulary, seed):
    torch.manual_seed(seed)
    return config.untrained().build(vocabulary.size).eval()


def test_every_state_unit_separates_its_state_perfectly():
    program = lower(MACHINES["binary-addition"])
    model, vocabulary = compiled_model(program, cells=50)
    text = lines_of(program, 1, 1500)
    now, circuit = program.read(text), compile_program(program)
    _, values, _ = watched(model, ids_of(vocabulary, text))
    seen = {c.state for c in now} & set(circuit.states.values())
    assert len(seen) >= 4
    for unit, state in circuit.states.items():
        if state in seen:
            here = np.array([c.state == state for c in now])
            assert score_pair(np.array(values[unit]), here, "yes-no", 1) == pytest.approx(1.0, abs=STATISTIC)


@pytest.mark.parametrize("name", ["dyck-2", "binary-addition", "a-n-b-n-c-n"])
@pytest.mark.parametrize(("cells", "boolean"), [(0, "clip"), (30, "clip"), (30, "step")])
def test_the_engine_of_the_pages_runs_compiled_machines(name, cells, boolean, tmp_path):
    program = lower(MACHINES[name])
    circuit = compile_program(program, unary=cells > 0, boolean=boolean)
    config, vocabulary, weights = assemble(circuit, cells=cells)
    model = config.build(vocabulary.size).eval()
    model.load_state_dict(weights)
    path, text = written(model, config, tmp_path / "machine"), lines_of(program, 3, 300)
    text = text if cells else within(program, text)
    (answer,) = ask({"do": "read", "model": path, "tokens": vocabulary.encode(text).tolist(), "wasm": True})
    logits, units, _ = watched(model, ids_of(vocabulary, text))
    assert answer["units"] == [[group, 1] for group in model.units]
    assert np.abs(np.array(answer["logits"]) - logits.numpy()).max() < ENGINE32
    assert np.array_equal(np.array(answer["values"], dtype=np.float32).T, np.array(list(units.values()), np.float32))


def test_the_engine_of_the_pages_says_where_a_stack_is_full(tmp_path):
    for cells, step, words in ((0, 24, "S to hold at most 23 symbols"), (3, 21, "S to fit into its 3 memory cells")):
        config, vocabulary, weights = assemble(compile_program(NESTED), cells=cells)
        model = config.build(vocabulary.size)
        model.load_state_dict(weights)
        path = written(model, config, tmp_path / f"m{cells}")
        ids = vocabulary.encode("(" * 40).tolist()
        good, bad = ask(*({"do": "read", "model": path, "tokens": ids[:n], "wasm": False} for n in (step - 1, step)))
        assert len(good["logits"]) == step - 1
        assert words in bad["error"]
        assert f"more at step {step};" in bad["error"]
