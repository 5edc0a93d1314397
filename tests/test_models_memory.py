"""Stack and tape RNNs are the loops that their docstrings say, and the window sees W inputs; what each can learn."""

import dataclasses
import random

import pytest
import torch
from torch.nn import functional as F

import families
from tolerances import EXACT64, GRADIENT64
from unrolled.errors import ConfigError
from unrolled.kernels.shifting import shift_stack
from unrolled.models import Edit, ModelConfig, StackConfig, Watch, parse_layers, untouched
from unrolled.models.tapernn import ACTIONS


def layer_of(pattern: str, width: int = 5, seed: int = 3):
    torch.manual_seed(seed)
    return parse_layers(pattern)[0].build(width, 0)[0].double()


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def controller(layer, x, hidden, cell, read):
    """One step of an Elman network or an LSTM on numbers that were read, from the weights as they lie."""
    pre = layer.weight_ih @ x + layer.bias + layer.weight_hh @ hidden + layer.weight_rh @ read
    if not layer.gated:
        return pre.tanh(), cell
    i, f, g, o = pre.chunk(4)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def naive_stack(layer, x_TD, hidden, cell, stacks):
    """One stream; `stacks` is a list of lists of cells, the topmost first."""
    out, (count, size, depth) = [], (layer.stacks, layer.cell, layer.depth)
    for x in x_TD:
        hidden, cell = controller(layer, x, hidden, cell, torch.cat([stack[0] for stack in stacks]))
        emitted = layer.emit.weight @ hidden + layer.emit.bias
        for s in range(count):
            push, pop, keep = emitted[3 * s : 3 * s + 3].exp() / emitted[3 * s : 3 * s + 3].exp().sum()
            value = emitted[3 * count + s * size : 3 * count + (s + 1) * size].tanh()
            padded = [value, *stacks[s], torch.zeros(size, dtype=x.dtype)]
            stacks[s] = [push * padded[d] + keep * padded[d + 1] + pop * padded[d + 2] for d in range(depth)]
        out.append(hidden)
    return torch.stack(out), hidden, cell, torch.stack([torch.stack(stack) for stack in stacks])


def naive_tape(layer, x_TD, hidden, cell, tapes):
    """One stream from nothing read; a tape is a list of cells, heads and marks are lists of shares."""
    count, size, cells = layer.tapes, layer.cell, layer.cells
    start = [1.0] + [0.0] * (cells - 1)
    heads, marks, out = [start] * count, [start] * count, []
    for x in x_TD:
        read = [sum(heads[s][p] * tapes[s][p] for p in range(cells)) for s in range(count)]
        hidden, cell = controller(layer, x, hidden, cell, torch.cat(read))
        emitted = layer.emit.weight @ hidden + layer.emit.bias
        for s in range(count):
            stay, right, left, home, back = emitted[5 * s : 5 * s + 5].softmax(0)
            write, written = emitted[5 * count :].view(2, count, size)[:, s]
            write, written = write.sigmoid(), written.tanh()
            head, mark = heads[s], marks[s]
            tapes[s] = [tapes[s][p] + write * head[p] * (written - tapes[s][p]) for p in range(cells)]
            heads[s] = [
                stay * head[p] + right * head[(p - 1) % cells] + left * head[(p + 1) % cells]
                + home * start[p] + back * mark[p] for p in range(cells)
            ]  # fmt: skip
            marks[s] = [mark[p] + home * (head[p] - mark[p]) for p in range(cells)]
        out.append(hidden)
    return torch.stack(out), *(torch.stack([torch.stack(one) for one in each]) for each in (tapes, heads, marks))


STACKS = ["stackrnn(depth=3,cell=2)", "stackrnn(depth=4,cell=3,stacks=2,gated=true)", "stackrnn(depth=1,cell=1)"]
TAPES = ["tapernn(cells=4,cell=2)", "tapernn(cells=3,cell=3,tapes=2,gated=true)", "tapernn(cells=2,cell=1)"]


@pytest.mark.parametrize("pattern", STACKS)
def test_a_stack_rnn_is_the_naive_loop(pattern):
    layer, x = layer_of(pattern), normal(1, 3, 9, 5)
    state = {name: normal(7 + n, *value.shape) for n, (name, value) in enumerate(layer.initial_state(3).items())}
    found, after = layer(x, state)
    loss = (found * normal(2, *found.shape)).sum() + (after["stack"] * normal(3, *after["stack"].shape)).sum()
    gradients = torch.autograd.grad(loss, list(layer.parameters()))
    expected, stacks = [], []
    for row in range(3):
        rows = [[*stack] for stack in state["stack"][row]]
        out, hidden, cell, stack = naive_stack(
            layer, x[row], state["hidden"][row], state.get("cell", state["hidden"])[row], rows
        )
        torch.testing.assert_close(after["hidden"][row], hidden, rtol=0, atol=EXACT64)
        if layer.gated:
            torch.testing.assert_close(after["cell"][row], cell, rtol=0, atol=EXACT64)
        expected.append(out)
        stacks.append(stack)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=EXACT64)
    torch.testing.assert_close(after["stack"], torch.stack(stacks), rtol=0, atol=EXACT64)
    loss = (torch.stack(expected) * normal(2, *found.shape)).sum()
    loss = loss + (torch.stack(stacks) * normal(3, *after["stack"].shape)).sum()
    for mine, theirs in zip(gradients, torch.autograd.grad(loss, list(layer.parameters())), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=GRADIENT64)


@pytest.mark.parametrize("pattern", TAPES)
def test_a_tape_rnn_is_the_naive_loop(pattern):
    layer, x = layer_of(pattern), normal(1, 2, 11, 5)
    found, after = layer(x, layer.initial_state(2))
    zero = torch.zeros(5, dtype=torch.float64)
    for row in range(2):
        tapes = [[torch.zeros(layer.cell, dtype=torch.float64)] * layer.cells for _ in range(layer.tapes)]
        out, tape, heads, marks = naive_tape(layer, x[row], zero, zero, tapes)
        torch.testing.assert_close(found[row], out, rtol=0, atol=EXACT64)
        torch.testing.assert_close(after["tape"][row], tape, rtol=0, atol=EXACT64)
        start = torch.eye(layer.cells, dtype=torch.float64)[0]
        torch.testing.assert_close(after["position"][row] + start, heads, rtol=0, atol=EXACT64)
        torch.testing.assert_close(after["mark"][row] + start, marks, rtol=0, atol=EXACT64)


def test_the_gradient_of_a_shift_is_the_numerical_one():
    leaves = [normal(n, *shape).requires_grad_() for n, shape in enumerate([(2, 3, 4, 2), (2, 3, 2), (2, 3, 3)])]
    assert torch.autograd.gradcheck(shift_stack, leaves)
    assert torch.autograd.gradcheck(shift_stack, [leaves[0][:, :, :1], *leaves[1:]])


def driven(layer, x_BTD, **held):
    """Run a layer with groups of units held to what `held` says for each step; return what was read, and the state.

    Each value is one list of numbers per step.
    """
    clock, read = dict.fromkeys(held, 0), []

    def change(name, value):
        clock[name] += value.shape[1]
        return torch.tensor(held[name][clock[name] - 1], dtype=value.dtype).expand_as(value[:, 0])[:, None]

    class Both(Edit):
        def watches(self, name):
            return name in held or name == layer.reading

        def edits(self, name):
            return name in held

        def __call__(self, name, value):
            if name in held:
                return change(name, value)
            read.append(value)
            return value

    _, after = layer(x_BTD, layer.initial_state(len(x_BTD)), Both(change))
    return torch.cat(read, dim=1), after


def one(name: str, *names: str) -> list[float]:
    return [float(other == name) for other in names]


def stack_moves(word: str) -> list[list[float]]:
    names = {"+": "push", "-": "pop", ".": "keep"}
    return [one(names[letter], "push", "pop", "keep") for letter in word]


def test_a_stack_pushes_pops_and_keeps_and_lets_the_lowest_cell_fall_out():
    layer, word = layer_of("stackrnn(depth=3,cell=1)"), "+++.--+++++-----."
    values = [[float(t + 1)] for t in range(len(word))]
    read, after = driven(layer, torch.zeros(1, len(word), 5).double(), action=stack_moves(word), pushed=values)
    expected, stack = [], []
    for letter, (value,) in zip(word, values, strict=True):
        expected.append(stack[-1] if stack else 0.0)
        stack = [*stack, value][-3:] if letter == "+" else stack[:-1] if letter == "-" else stack
    assert read[0, :, 0].tolist() == expected
    assert expected[-6:] == [11.0, 10.0, 9.0, 0.0, 0.0, 0.0], "only three of the five cells were kept"
    assert not after["stack"].any()


def test_a_tape_moves_jumps_and_is_a_ring():
    moves = ["right", "right", "stay", "left", "home", "back", "right", "home", "left", "right", "back", "stay"]
    layer, values = layer_of("tapernn(cells=4,cell=1)"), [[float(t + 1)] for t in range(len(moves))]
    held = {"action": [one(move, *ACTIONS) for move in moves], "write": [[1.0]] * len(moves), "written": values}
    read, after = driven(layer, torch.zeros(1, len(moves), 5).double(), **held)
    tape, head, mark, expected = [0.0] * 4, 0, 0, []
    for move, (value,) in zip(moves, values, strict=True):
        expected.append(tape[head])
        tape[head] = value
        head, mark = {
            "stay": (head, mark), "right": ((head + 1) % 4, mark), "left": ((head - 1) % 4, mark),
            "home": (0, head), "back": (mark, mark),
        }[move]  # fmt: skip
    assert read[0, :, 0].tolist() == expected
    assert after["tape"].flatten().tolist() == tape
    assert (after["position"].flatten() + torch.eye(4)[0]).tolist() == torch.eye(4)[head].tolist()


def test_a_tape_can_be_read_and_left_as_it_is():
    layer, x = layer_of("tapernn(cells=4,cell=2)"), normal(1, 1, 7, 5)
    held = {"write": [[1.0, 1.0]] * 3 + [[0.0, 0.0]] * 4, "action": [one("right", *ACTIONS)] * 7}
    _, written = driven(layer, x[:, :3], **held)
    read, after = driven(layer, x, **held)
    assert torch.equal(read[0, 4:7], written["tape"][0, 0, :3])
    torch.testing.assert_close(after["tape"], written["tape"], rtol=0, atol=EXACT64)


@pytest.mark.parametrize("pattern", ["stackrnn(depth=4,cell=2,stacks=2)", "tapernn(cells=4,cell=2,tapes=2)"])
def test_no_edit_makes_a_memory_grow(pattern):
    layer, x = layer_of(pattern), normal(4, 1, 120, 5)
    for group in layer.memory_units:
        for value in (-3.0, 0.7, 1.0, 50.0):
            held = Edit(lambda _, shown, value=value: torch.full_like(shown, value), pattern=group)
            _, after = layer(x, layer.initial_state(1), held)
            largest = max(abs(value), 1.0) if group in ("pushed", "written") else 1.0
            memory = [after[name] for name in after if name not in ("hidden", "cell")]
            assert all(value.abs().max() <= largest * (1 + EXACT64) for value in memory), group


@pytest.mark.parametrize(
    ("pattern", "room"), [("stackrnn(depth=5)", {"depth": 40}), ("tapernn(cells=9)", {"cells": 40})]
)
def test_a_trained_model_may_be_used_with_a_larger_memory(pattern, room):
    """Equal while the smaller one has room, other than that beyond it."""
    small = ModelConfig(stack=StackConfig(width=6), layers=parse_layers(pattern))
    layers = tuple(dataclasses.replace(layer, **room) for layer in small.layers)
    torch.manual_seed(0)
    model = small.build(families.VOCAB).double().eval()
    larger = dataclasses.replace(small, layers=layers).build(families.VOCAB).double().eval()
    larger.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter in model.branches[0].emit.parameters():
            parameter.mul_(3)
        larger.load_state_dict(model.state_dict())
        xs = torch.randint(families.VOCAB, (2, 30), generator=torch.Generator().manual_seed(0))
        found, expected = model(xs)[0], larger(xs)[0]
    torch.testing.assert_close(found[:, :5], expected[:, :5], rtol=0, atol=EXACT64)
    assert (found[:, 10:] - expected[:, 10:]).abs().max() > 1e-6


def test_a_stack_may_be_deepened_in_the_middle_of_a_text():
    model = families.model("stackrnn")
    xs = torch.randint(families.VOCAB, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, state = model(xs[:, :4])  # 4 steps into stacks of 6 and 5
        deeper = {name: F.pad(v, (0, 0, 0, 20)) if name.endswith("stack") else v for name, v in state.items()}
        found, after = model(xs[:, 4:6], deeper)
        expected, _ = model(xs[:, 4:6], state)
    assert after["layer0.stack"].shape == (2, 2, 26, 3)
    torch.testing.assert_close(found, expected, rtol=0, atol=EXACT64)


@pytest.mark.parametrize("pattern", ["stackrnn", "tapernn(gated=true)"])
def test_the_loop_keeps_the_precision_of_the_state(pattern):
    model = ModelConfig(stack=StackConfig(width=16), layers=parse_layers(pattern)).build(families.VOCAB).eval()
    xs = torch.randint(families.VOCAB, (2, 20), generator=torch.Generator().manual_seed(0))
    shown = {}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        _, state = model(xs, tap=Watch(lambda name, value: shown.update({name: value.dtype})))
    assert {value.dtype for value in state.values()} | set(shown.values()) == {torch.float32}


def test_a_memory_layer_alone_takes_any_tap_and_gives_gradients_to_its_state():
    layer, x = layer_of("stackrnn(depth=3,cell=2)"), normal(1, 2, 4, 5)
    state = {name: normal(5, *value.shape).requires_grad_() for name, value in layer.initial_state(2).items()}
    found, _ = layer(x, state, untouched)
    assert all(gradient.any() for gradient in torch.autograd.grad(found.sum(), list(state.values())))


@pytest.mark.parametrize(("window", "layers"), [(1, 1), (2, 1), (5, 1), (4, 3)])
def test_a_window_sees_so_many_inputs_and_no_more(window, layers):
    torch.manual_seed(0)
    config = ModelConfig(stack=StackConfig(width=6), layers=parse_layers(f"window(window={window})*{layers}"))
    model, reach = config.build(families.VOCAB).double().eval(), layers * (window - 1)
    xs = torch.randint(families.VOCAB, (1, reach + 3), generator=torch.Generator().manual_seed(0))
    other = xs.clone()
    other[:, 1] = (other[:, 1] + 1) % families.VOCAB
    with torch.no_grad():
        moved = (model(xs)[0] - model(other)[0]).abs().amax(-1)[0] > 0
    assert moved.tolist() == [1 <= t <= 1 + reach for t in range(reach + 3)]


def test_a_window_is_a_perceptron_over_its_inputs():
    layer, x = layer_of("window(window=3,expansion=1.4)"), normal(1, 2, 7, 5)
    found, after = layer(x, layer.initial_state(2))
    for t in range(7):
        seen = [x[:, t - ago] if t >= ago else torch.zeros(2, 5).double() for ago in (2, 1, 0)]
        hidden = sum(seen[j] @ layer.weight[:, j].T for j in range(3)) + layer.bias
        torch.testing.assert_close(found[:, t], layer.output(hidden.tanh()), rtol=0, atol=EXACT64)
    assert torch.equal(after["past"], x[:, -2:])


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("stackrnn(depth=0)", ["depth of 1 to 65536", "got 0"]),
        ("stackrnn(cell=2000)", ["cell of 1 to 1024"]),
        ("stackrnn(stacks=-1)", ["stacks of 1 to 64"]),
        ("stackrnn(gated=perhaps)", ["gated to be of type bool"]),
        ("stackrnn(dept=3)", ["did you mean 'depth'"]),
        ("tapernn(cells=1)", ["cells from 2 to 65536"]),
        ("tapernn(tapes=65)", ["tapes from 1 to 64"]),
        ("tapernn(cell=0)", ["cell from 1 to 1024"]),
        ("window(window=0)", ["window of 1 to 1024"]),
        ("window(expansion=nan)", ["expansion in (0, 16]"]),
    ],
)
def test_options_that_are_refused(pattern, words):
    with pytest.raises(ConfigError) as caught:
        parse_layers(pattern)
    for word in words:
        assert word in str(caught.value)


TAB, END, LETTERS = 1, 2, (3, 4, 5, 6)


def reversals(choose: random.Random, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lines of a source, a tab, its letters backwards and an end, padded; and where an answer is asked for."""
    xs = torch.zeros(len(lengths), 2 * max(lengths) + 2, dtype=torch.long)
    asked = torch.zeros(xs.shape, dtype=torch.bool)
    for row, length in enumerate(lengths):
        source = choose.choices(LETTERS, k=length)
        xs[row, : 2 * length + 2] = torch.tensor([*source, TAB, *source[::-1], END])
        asked[row, length + 1 : 2 * length + 2] = True
    return xs, asked[:, 1:]


def exactly_right(pattern: str, steps: int, longer: list[int]) -> float:
    """The share of longer lines that a model answers without a mistake, trained on lines of 1 to 12 letters."""
    torch.manual_seed(1)
    choose = random.Random(1)
    model = ModelConfig(stack=StackConfig(width=64), layers=parse_layers(pattern)).build(3 + len(LETTERS))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        xs, asked = reversals(choose, [choose.randint(1, 12) for _ in range(32)])
        loss = F.cross_entropy(model(xs[:, :-1])[0][asked], xs[:, 1:][asked])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    xs, asked = reversals(random.Random(9), longer)
    with torch.no_grad():
        right = (model.eval()(xs[:, :-1])[0].argmax(-1) == xs[:, 1:]) | ~asked
    return right.all(dim=1).double().mean().item()


def test_a_stack_rnn_learns_to_reverse_and_goes_on_to_twice_the_length():
    longer = [length for length in range(13, 25) for _ in range(8)]
    assert exactly_right("stackrnn", 200, longer) > 0.9
    assert exactly_right("lstm", 200, longer) < 0.1
