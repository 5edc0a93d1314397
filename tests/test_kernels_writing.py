"""A compiled writer does what the model does one symbol at a time: the same logits, states, draws and errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import families
from tolerances import WRITER_BFLOAT16, WRITER_FLOAT32
from unrolled.errors import UnrolledError
from unrolled.kernels import native, steps, writing
from unrolled.sampling import SamplingOptions, distribution, draw

pytestmark = pytest.mark.skipif(native.library() is None, reason=f"no compiled kernels here: {native.problem()}")

WRITERS = sorted(set(families.PATTERNS) - {"toy", "guest", "circuit", "stackrnn", "tapernn", "window"})
BOUNDS = {False: WRITER_FLOAT32, True: WRITER_BFLOAT16}


@pytest.fixture(autouse=True)
def threads_as_before():
    yield
    torch.set_num_threads(1)


def numbers(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def symbols(seed, *shape, vocab=families.VOCAB):
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(seed))


def begun(model, read_BT, *, bfloat16=False):
    """A writer that goes on where the model has read `read_BT`."""
    with torch.no_grad():
        logits_BTV, state = model(read_BT)
    return model.writer(state, logits_BTV[:, -1], bfloat16=bfloat16)


def wrote(writer, uniforms_BT, **options):
    return writer.write(uniforms_BT, temperature=options.pop("temperature", 1.0), **options)


def distance(found, expected):
    """The largest difference, relative to the largest number."""
    if found.numel() == 0 or not expected.any():
        return float(found.abs().max()) if found.numel() else 0.0
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


def assert_like_the_model(writer, model, all_BT, bound):
    """What a writer knows after `all_BT` is what the model in float64 knows."""
    with torch.no_grad():
        logits_BTV, expected = model.double()(all_BT)
    state, logits_BV = writer.place()
    assert distance(logits_BV, logits_BTV[:, -1]) < bound
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert state[name].shape == value.shape
        assert distance(state[name], value) < bound, name
    model.float()


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("plain", [False, True], ids=["residual", "plain"])
@pytest.mark.parametrize("width", [8, 48, 80])
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_computes_what_the_model_does(name, width, plain, bfloat16):
    model = families.model(name, dtype=torch.float32, width=width, plain=plain)
    for streams, threads in ((1, 1), (1, 2), (2, 3), (7, 2)):
        torch.set_num_threads(threads)
        read = symbols(1, streams, 9)
        writer = begun(model, read, bfloat16=bfloat16)
        written = wrote(writer, numbers(2, streams, 31))
        assert written.min() > 0 and written.max() < families.VOCAB
        assert_like_the_model(writer, model, torch.cat([read, written], dim=1), BOUNDS[bfloat16])


@pytest.mark.parametrize("name", WRITERS)
def test_far_past_every_window_and_from_nothing_read(name):
    model = families.model(name, dtype=torch.float32)
    read = symbols(1, 2, 1)
    writer = begun(model, read)
    written = wrote(writer, numbers(2, 2, 150))
    assert_like_the_model(writer, model, torch.cat([read, written], dim=1), WRITER_FLOAT32)


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", WRITERS)
def test_blocks_neighbours_and_threads_change_no_bit(name, bfloat16):
    model = families.model(name, dtype=torch.float32, width=48)
    read, uniforms = symbols(1, 13, 9), numbers(2, 13, 40)
    together = begun(model, read, bfloat16=bfloat16)
    (state, logits), whole = together.place(), wrote(together, uniforms)
    for threads in (1, 2, 3):
        for rows in (slice(0, 13), slice(3, 4), slice(5, 7), slice(6, 12)):
            torch.set_num_threads(1)  # a table is made by torch, whose products depend on the number of threads
            start = {key: value[rows] for key, value in state.items()}
            writer = model.writer(start, logits[rows], bfloat16=bfloat16)
            torch.set_num_threads(threads)
            pieces = [wrote(writer, uniforms[rows, a:b]) for a, b in ((0, 0), (0, 1), (1, 17), (17, 40))]
            assert torch.equal(torch.cat(pieces, dim=1), whole[rows])
            after, after_logits = writer.place()
            assert torch.equal(after_logits, together.place()[1][rows])
            for key, value in together.place()[0].items():
                assert torch.equal(after[key], value[rows]), key


@pytest.mark.parametrize("name", WRITERS)
def test_streams_of_different_age(name):
    model = families.model(name, dtype=torch.float32)
    with torch.no_grad():
        old_logits, old = model(symbols(1, 1, 9))
        new_logits, new = model(symbols(2, 1, 2))
    state = {key: torch.cat([old[key], new[key]]) for key in old}
    both = model.writer(state, torch.cat([old_logits[:, -1], new_logits[:, -1]]))
    written = wrote(both, numbers(3, 2, 12))
    for row, (logits, one) in enumerate(((old_logits, old), (new_logits, new))):
        alone = model.writer(one, logits[:, -1])
        assert torch.equal(wrote(alone, numbers(3, 2, 12)[row : row + 1])[0], written[row])


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_writer_gives_back_can_be_read_on_by_the_model(name):
    model = families.model(name, dtype=torch.float32)
    read, more = symbols(1, 2, 9), symbols(5, 2, 6)
    writer = begun(model, read)
    written = wrote(writer, numbers(2, 2, 20))
    with torch.no_grad():
        found, _ = model(more, writer.place()[0])
        expected, _ = model.double()(torch.cat([read, written, more], dim=1))
    assert distance(found, expected[:, -6:]) < WRITER_FLOAT32


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "mingru", "transformer"])
def test_a_first_layer_that_is_too_large_for_a_table_is_multiplied(name, bfloat16, monkeypatch):
    model = families.model(name, dtype=torch.float32, width=48)
    read = symbols(1, 3, 9)
    kinds = []
    for numbers_of_a_table in (steps.TABLE_NUMBERS, 0):
        monkeypatch.setattr(steps, "TABLE_NUMBERS", numbers_of_a_table)
        writer = begun(model, read, bfloat16=bfloat16)
        kinds.append(writer._operations[:, 0].tolist())
        written = wrote(writer, numbers(2, 3, 20))
        assert_like_the_model(writer, model, torch.cat([read, written], dim=1), BOUNDS[bfloat16])
    assert len(kinds[1]) == len(kinds[0]) + 1, "the norm before the first product"


def learned(name, vocab=families.VOCAB):
    """A model that has learned a rhythm for some steps: its distributions are sharp and its weights are not small."""
    torch.manual_seed(1)
    model = families.config(name, width=32).build(vocab)
    text = torch.tensor([1, 2, 3, 4, 2, 5, 6, 7, 8, 2, 9, 10, 3, 3, 1, 6] * 5)[None]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(25):
        logits, _ = model(text[:, :-1])
        loss = F.cross_entropy(logits[0], text[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("name", WRITERS)
def test_a_model_that_has_learned_writes_the_same_text_either_way(name):
    model = learned(name)
    uniforms = numbers(4, 1, 120)
    for temperature in (0.0, 1.0):
        writer = begun(model, torch.tensor([[1, 2, 3]]))
        fast = wrote(writer, uniforms, temperature=temperature)[0].tolist()
        slow, options = [], SamplingOptions(temperature=temperature)
        with torch.no_grad():
            logits, state = model(torch.tensor([[1, 2, 3]]))
            for uniform in uniforms[0]:
                slow.append(draw(distribution(logits[0, -1].numpy(), options), uniform.item()))
                logits, state = model(torch.tensor([slow[-1:]]), state)
        assert fast == slow
    assert len(set(fast)) > 5


def fixed(logits):
    """A model that expects the same at every step, whatever it reads."""
    torch.manual_seed(0)
    model = families.config("rnn").build(len(logits)).eval()
    with torch.no_grad():
        model.readout.weight.zero_()
        model.readout.bias.copy_(torch.tensor(logits))
    return begun(model, torch.tensor([[1]]))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    logits=st.lists(st.sampled_from([-60.0, -3.0, -1.0, 0.0, 0.5, 2.0, 7.0]) | st.floats(-30, 30, width=32),
                    min_size=2, max_size=40),
    temperature=st.sampled_from([0.0, 1e-40, 0.01, 0.5, 1.0, 2.5, 100.0]),
    top_k=st.none() | st.integers(1, 45),
    top_p=st.none() | st.floats(0.01, 1.0),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_draws_are_those_of_the_naive_distribution(logits, temperature, top_k, top_p, seed):
    uniforms = numbers(seed, 1, 200)
    found = wrote(fixed(logits), uniforms, temperature=temperature, top_k=top_k, top_p=top_p)[0].tolist()
    options = {"temperature": temperature, "top_k": top_k}
    whole = distribution(np.array(logits, dtype=np.float32), SamplingOptions(**options))
    if top_p is not None and abs(np.cumsum(np.sort(whole)[::-1]) - top_p).min() < 1e-5:
        return  # whether a sum of floats reaches p exactly is nobody's promise
    probabilities = distribution(np.array(logits, dtype=np.float32), SamplingOptions(**options, top_p=top_p))
    edges = np.cumsum(probabilities)
    for symbol, uniform in zip(found, uniforms[0].tolist(), strict=True):
        assert probabilities[symbol] > 1e-30
        assert symbol == draw(probabilities, uniform) or abs(edges - uniform).min() < 1e-6


def test_equals_are_kept_in_order():
    uniforms = numbers(0, 1, 400)
    for options, expected in (
        ({"temperature": 0.0}, {1}),
        ({"top_k": 2}, {1, 2}),
        ({"top_k": 1}, {1}),
        ({"top_p": 0.5}, {1, 2}),
        ({"top_p": 1e-9}, {1}),
        ({"top_k": 3, "top_p": 0.5}, {1, 2}),
        ({"top_p": 1.0}, {1, 2, 3, 4}),
        ({}, {1, 2, 3, 4}),
    ):
        assert set(wrote(fixed([0.0] * 5), uniforms, **options)[0].tolist()) == expected, options
    assert set(wrote(fixed([9.0, 1, 3, 3, 2]), uniforms, temperature=0.0)[0].tolist()) == {2}


def test_frequencies_are_the_probabilities():
    logits = np.array([5, 0, 0.3, -1, 2, 1, -4], dtype=np.float32)
    uniforms = torch.from_numpy(np.random.Generator(np.random.PCG64(7)).random((4, 10_000)))
    torch.manual_seed(0)
    model = families.config("gru").build(7).eval()
    with torch.no_grad():
        model.readout.weight.zero_()
        model.readout.bias.copy_(torch.from_numpy(logits))
    counts = np.bincount(wrote(begun(model, torch.ones(4, 1, dtype=torch.int64)), uniforms).flatten(), minlength=7)
    assert counts[0] == 0
    expected = 40_000 * distribution(logits, SamplingOptions())[1:]
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 20.5  # 0.1 % point of chi-square, 5 degrees of freedom


def test_the_ends_of_the_uniform_numbers():
    ends = torch.tensor([[0.0, np.nextafter(1, 0)]], dtype=torch.float64)
    assert wrote(fixed([0.0] * 11), ends)[0].tolist() == [1, 10]
    assert wrote(fixed([5.0, -400.0, 0.0, 0.0, -400.0]), ends)[0].tolist() == [2, 3]


def test_a_large_vocabulary_that_fills_no_block():
    torch.manual_seed(0)
    model = families.config("lstm", width=24).build(333).eval()
    read = symbols(1, 3, 5, vocab=333)
    writer = begun(model, read)
    written = wrote(writer, numbers(2, 3, 30), top_p=0.95)
    assert written.max() > families.VOCAB
    assert_like_the_model(writer, model, torch.cat([read, written], dim=1), WRITER_FLOAT32)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", WRITERS)
def test_numbers_that_are_none_are_one_clear_error(name, threads, bad):
    torch.set_num_threads(threads)
    for bfloat16 in (False, True):
        for victim in ("embedding.weight", "readout.weight", "branches.1.", "readout.bias"):
            model = families.model(name, dtype=torch.float32)
            writer_of = begun(model, symbols(1, 1, 3))
            state, logits = writer_of.place()
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    if key.startswith(victim):
                        parameter.fill_(bad if victim != "branches.1." else float("nan"))
            writer = model.writer(state, logits, bfloat16=bfloat16)
            with pytest.raises(UnrolledError, match="finite logits"):
                wrote(writer, numbers(2, 1, 10))


def test_large_weights_saturate_and_stay_finite():
    for name in ("lstm", "gru", "rnn", "mingru", "wavenet"):
        model = families.model(name, dtype=torch.float32, width=16)
        with torch.no_grad():
            for parameter in model.branches.parameters():
                parameter.mul_(1000)
        writer = begun(model, symbols(1, 2, 4))
        wrote(writer, numbers(2, 2, 50))
        state, logits = writer.place()
        assert logits.isfinite().all() and all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("name", WRITERS)
def test_writing_changes_neither_model_nor_state_and_no_change_reaches_the_writer(name):
    model = families.model(name, dtype=torch.float32)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        logits, state = model(symbols(1, 2, 7))
    kept = {key: value.clone() for key, value in state.items()}
    texts = []
    for _ in range(2):
        writer = model.writer(state, logits[:, -1])
        place = writer.place()
        assert all(torch.equal(place[0][key], kept[key]) for key in kept)
        texts.append(wrote(writer, numbers(2, 2, 20)))
        assert all(torch.equal(place[0][key], kept[key]) for key in kept)
    assert torch.equal(*texts)
    assert all(torch.equal(state[key], kept[key]) for key in kept)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    expected = wrote(writer, numbers(3, 2, 20))
    writer = model.writer(state, logits[:, -1])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(wrote(writer, numbers(2, 2, 20)), texts[0])
    assert torch.equal(wrote(writer, numbers(3, 2, 20)), expected)


def test_there_is_no_writer_where_nobody_can_write(monkeypatch):
    def writer(model, dtype=torch.float32):
        return begun(model.to(dtype), symbols(1, 1, 3))

    assert writer(families.model("lstm")) is not None
    assert writer(families.model("lstm"), torch.float64) is None
    assert writer(families.model("toy")) is None
    assert writer(families.model("guest")) is None
    monkeypatch.setattr(native, "library", lambda: None)
    assert writer(families.model("lstm")) is None


def test_a_writer_is_one_object_with_its_own_room():
    model = families.model("hybrid", dtype=torch.float32)
    first, second = begun(model, symbols(1, 1, 9)), begun(model, symbols(1, 1, 9))
    expected = wrote(first, numbers(2, 1, 30))
    assert torch.equal(wrote(second, numbers(2, 1, 30)), expected)
    assert isinstance(first, writing.CompiledWriter)
