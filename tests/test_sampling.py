"""What is drawn is what the model says: naive twins, one uniform number per character, states that are values."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import families
import reference
from tolerances import EXACT64
from typed import TINY, Typist, book, hurried
from unrolled import sampling
from unrolled.cli import run as command_line
from unrolled.errors import ConfigError, UnrolledError
from unrolled.kernels import native
from unrolled.laboratory import open_run
from unrolled.models import Edit, Watch
from unrolled.neurons.clamps import Clamps
from unrolled.sampling import SamplingOptions, decoded, distribution, draw, draws, read, stream, streams, write
from unrolled.text.vocabulary import UNKNOWN, Vocabulary

NAMES = ["lstm", "mingru", "tcn", "transformer", "hybrid", "toy"]
PROMPT = [1, 4, 2, 9, 3, 3, 7, 1, 5, 6, 8, 10, 2]
quick = settings(max_examples=100, deadline=None, derandomize=True)
logits_of = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=20, unique=True)


def take(count, model, prompt=PROMPT, **options):
    seed, tap = options.pop("seed", 1), options.pop("tap", families.untouched)
    return list(islice(stream(model, prompt, SamplingOptions(**options), seed=seed, tap=tap), count))


@quick
@given(
    logits=logits_of,
    temperature=st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.5, 100.0]),
    top_k=st.none() | st.integers(1, 25),
    top_p=st.none() | st.floats(0.01, 1.0),
)
def test_distributions_are_the_naive_ones(logits, temperature, top_k, top_p):
    given = np.array(logits, dtype=np.float32)
    kept = given.copy()
    found = distribution(given, SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p))
    expected = reference.distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    assert found.dtype == np.float64 and found.shape == given.shape
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found[0] == 0
    assert np.array_equal(given, kept)
    edge = top_p is not None and abs(np.cumsum(sorted(expected, reverse=True)) - top_p).min() < 1e-9
    if not edge:  # whether a sum of floats reaches p exactly is nobody's promise
        assert found == pytest.approx(expected, abs=1e-12)


def test_temperature_zero_takes_the_likeliest_and_the_first_of_equals():
    options = SamplingOptions(temperature=0.0)
    assert distribution(np.array([9, 1, 3, 3, 2.0]), options).tolist() == [0, 0, 1, 0, 0]


def test_top_k_and_top_p_keep_the_first_of_equals():
    equal = np.zeros(5)
    assert distribution(equal, SamplingOptions(top_k=2)).tolist() == [0, 0.5, 0.5, 0, 0]
    assert distribution(equal, SamplingOptions(top_p=0.5)).tolist() == [0, 0.5, 0.5, 0, 0]
    assert distribution(equal, SamplingOptions(top_p=1.0)).tolist() == [0, 0.25, 0.25, 0.25, 0.25]
    assert distribution(equal, SamplingOptions(top_p=1e-9)).tolist() == [0, 1, 0, 0, 0]


def test_huge_and_impossible_logits():
    options = SamplingOptions(temperature=0.01)
    assert distribution(np.array([0, 1e30, -1e30, 3], dtype=np.float32), options).tolist() == [0, 1, 0, 0]
    assert distribution(np.array([0, -np.inf, 2, -np.inf], dtype=np.float32), options).tolist() == [0, 0, 1, 0]


@quick
@given(
    weights=st.lists(st.sampled_from([0.0, 1e-12, 0.1, 0.25, 1.0]), min_size=1, max_size=9).filter(any),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_draw_is_the_inverse_of_the_cumulative_distribution(weights, uniform):
    probabilities = np.array(weights) / sum(weights)
    found = draw(probabilities, uniform)
    assert probabilities[found] > 0
    below, upto = probabilities[:found].sum(), probabilities[: found + 1].sum()
    assert below - 1e-12 <= uniform <= upto + 1e-12


@quick
@given(
    logits=st.lists(st.lists(st.floats(-30, 30, width=32), min_size=9, max_size=9), min_size=1, max_size=6),
    temperature=st.sampled_from([0.0, 0.05, 0.8, 1.0, 3.0]),
    top_k=st.none() | st.integers(1, 9),
    top_p=st.none() | st.floats(0.01, 1.0),
    seed=st.integers(0, 1000),
)
def test_rows_are_drawn_as_each_is_alone(logits, temperature, top_k, top_p, seed):
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p)
    turned_BV = np.asfortranarray(np.array(logits, dtype=np.float32))
    kept_BV = turned_BV.copy()
    uniforms_B = np.random.Generator(np.random.PCG64(seed)).random(len(logits))
    uniforms_B[0] = (0.0, np.nextafter(1, 0))[seed % 2]
    found_B = draws(turned_BV, options, uniforms_B)
    pairs = zip(kept_BV, uniforms_B.tolist(), strict=True)
    assert found_B.tolist() == [draw(distribution(logits_V, options), uniform) for logits_V, uniform in pairs]
    assert found_B.dtype == np.int64 and np.array_equal(turned_BV, kept_BV)


def test_draw_at_the_edges():
    probabilities = np.array([0, 0.5, 0, 0.5, 0])
    drawn = [draw(probabilities, u) for u in (0.0, 0.499, 0.5, 0.75, np.nextafter(1, 0))]
    assert drawn == [1, 1, 3, 3, 3]
    tenths = np.full(10, 0.1)  # sums to less than one
    assert draw(tenths, np.nextafter(1, 0)) == 9


def test_frequencies_are_the_probabilities():
    probabilities = distribution(np.array([5, 0, 0.3, -1, 2, 1, -4], dtype=np.float32), SamplingOptions())
    uniforms = np.random.Generator(np.random.PCG64(7)).random(20_000)
    counts = np.bincount([draw(probabilities, u) for u in uniforms], minlength=7)
    assert counts[0] == 0
    expected = 20_000 * probabilities[1:]
    chi_square = ((counts[1:] - expected) ** 2 / expected).sum()
    assert chi_square < 20.5  # 0.1 % point of chi-square with 5 degrees of freedom


@pytest.mark.parametrize("name", NAMES)
def test_a_text_depends_on_its_seed_and_never_holds_the_unknown_symbol(name):
    model = families.model(name, dtype=torch.float32)
    with torch.no_grad():
        model.readout.bias[0] = 20.0  # the model would write nothing else
    text = take(60, model)
    assert text == take(60, model)
    assert take(30, model) == text[:30]
    assert text != take(60, model, seed=2)
    assert 0 not in text
    assert set(text) <= set(range(families.VOCAB))


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_read_at_once_or_bit_by_bit_is_the_same(name):
    model = families.model(name)
    whole, pieces = read(model, PROMPT), None
    for start, stop in ((0, 1), (1, 6), (6, 7), (7, len(PROMPT))):
        pieces = read(model, PROMPT[start:stop], None if pieces is None else pieces.state)
    assert whole.logits_V == pytest.approx(pieces.logits_V, abs=1e-6)
    for key, value in whole.state.items():
        torch.testing.assert_close(pieces.state[key], value, rtol=0, atol=EXACT64)
    text = take(40, model)
    # What was written may as well have been the prompt.
    uniforms = np.random.Generator(np.random.PCG64(1))
    uniforms.random(15)
    place = read(model, [*PROMPT, *text[:15]])
    for symbol in text[15:]:
        assert draw(distribution(place.logits_V, SamplingOptions()), uniforms.random()) == symbol
        place = read(model, [symbol], place.state)


@pytest.mark.parametrize("name", NAMES)
def test_an_old_state_goes_back_and_a_copied_one_forks(name):
    model = families.model(name)
    kept = read(model, PROMPT[:8])
    state, logits = {key: value.clone() for key, value in kept.state.items()}, kept.logits_V.copy()
    there = read(model, PROMPT[8:], kept.state)
    fork = read(model, [5, 5, 5], kept.state)
    assert not np.allclose(fork.logits_V, there.logits_V)
    again = read(model, PROMPT[8:], kept.state)
    assert np.array_equal(again.logits_V, there.logits_V)
    assert np.array_equal(kept.logits_V, logits)
    assert all(torch.equal(kept.state[key], state[key]) for key in state)


@pytest.mark.parametrize("name", NAMES)
def test_a_tap_that_watches_changes_no_text_and_one_that_edits_does(name):
    model = families.model(name, dtype=torch.float32)
    text, seen = take(40, model), []
    assert take(40, model, tap=Watch(lambda unit, value: seen.append((unit, value.shape[1])))) == text
    steps = {unit: sum(count for other, count in seen if other == unit) for unit in model.units}
    assert set(steps.values()) == {len(PROMPT) + 39}
    with torch.no_grad():
        model.readout.weight.mul_(50)
    text = take(40, model)
    assert take(40, model, tap=Edit(lambda _, value: value)) == text
    assert take(40, model, tap=Edit(lambda _, value: value * 0 + 0.7)) != text


def test_the_same_random_numbers_whatever_the_model_says():
    """Two models whose distributions agree at a step, and whose random numbers do, write the same symbol there."""
    model = families.model("lstm", dtype=torch.float32)
    flat = families.model("gru", dtype=torch.float32)
    for one in (model, flat):
        with torch.no_grad():
            one.readout.weight.zero_()
            one.readout.bias.zero_()
    uniforms = np.random.Generator(np.random.PCG64(3)).random(50)
    assert take(50, model, seed=3) == take(50, flat, seed=3) == [1 + int(u * (families.VOCAB - 1)) for u in uniforms]


def test_sampling_leaves_the_model_and_the_random_generator_alone():
    model = families.model("hybrid", dtype=torch.float32)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    take(10, model)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": 101.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_k": -3},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
    ],
)
def test_options_that_are_refused(options):
    with pytest.raises(ConfigError):
        SamplingOptions(**options)


def test_an_empty_prompt_is_refused():
    model = families.model("rnn")
    for start in (lambda: take(1, model, prompt=[]), lambda: read(model, [])):
        with pytest.raises(ConfigError, match="at least one character"):
            start()


def slowly(monkeypatch):
    """Take the compiled kernels away: the model itself is called for every character."""
    monkeypatch.setattr(native, "library", lambda: None)


@pytest.fixture(params=["as it is here", "without compiled kernels"])
def either_way(request, monkeypatch):
    if request.param != "as it is here":
        slowly(monkeypatch)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("name", NAMES)
def test_many_streams_are_what_their_seeds_write_alone(name):
    model = families.model(name, dtype=torch.float32)
    seeds = [3, 1, 4, 1, 5]
    together = write(model, PROMPT, SamplingOptions(temperature=0.9), seeds=seeds, length=50)
    assert together.shape == (5, 50) and together.dtype == np.int64
    alone = [take(50, model, seed=seed, temperature=0.9) for seed in seeds]
    assert together.tolist() == alone
    assert alone[1] == alone[3] != alone[0]
    assert write(model, PROMPT, SamplingOptions(), seeds=seeds, length=0).shape == (5, 0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("seconds", [0.0, 1e-4, 10.0])
def test_how_much_is_written_at_once_changes_nothing(seconds, precision, monkeypatch):
    model = families.model("hybrid", dtype=torch.float32)
    expected = write(model, PROMPT, SamplingOptions(), seeds=[1, 2], length=300, precision=precision)
    monkeypatch.setattr(sampling, "BLOCK_SECONDS", seconds)
    assert np.array_equal(
        write(model, PROMPT, SamplingOptions(), seeds=[1, 2], length=300, precision=precision), expected
    )
    found = list(islice(stream(model, PROMPT, SamplingOptions(), seed=2, precision=precision), 300))
    assert found == expected[1].tolist()
    blocks = list(islice(streams(model, PROMPT, SamplingOptions(), seeds=[1, 2], precision=precision), 4))
    found = np.concatenate(blocks, axis=1)
    assert np.array_equal(found[:, :300], expected[:, : found.shape[1]])


@pytest.mark.parametrize("name", NAMES)
def test_the_fast_way_and_the_slow_way_write_the_same(name, monkeypatch):
    model = families.model(name, dtype=torch.float32)
    options = {"temperature": 0.7, "top_k": 7, "top_p": 0.9}
    fast = take(60, model, **options)
    slowly(monkeypatch)
    assert take(60, model, **options) == fast


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_texts_have_as_many_characters_as_asked_for(kind):
    symbols = ("a", "b", "\x80", "\xc3") if kind == "bytes" else ("a", "b", "é", "–")
    vocabulary = Vocabulary(kind, (UNKNOWN, *sorted(symbols)))
    torch.manual_seed(0)
    model = families.config("gru").build(vocabulary.size).eval()

    def texts(prompt: str, seeds: list[int], length: int) -> list[str]:
        blocks = streams(model, vocabulary.encode(prompt), SamplingOptions(), seeds=seeds)
        return decoded(blocks, vocabulary, count=len(seeds), length=length)

    found = texts("ab?", [1, 2, 3], 40)
    assert [len(text) for text in found] == [40] * 3 and len(set(found)) == 3
    ids = write(model, vocabulary.encode("ab?"), SamplingOptions(), seeds=[1, 2, 3], length=120)
    decoders = [vocabulary.decoder() for _ in range(3)]
    whole = ["".join(decoder.feed(i) for i in row) for decoder, row in zip(decoders, ids.tolist(), strict=True)]
    assert [text[:40] for text in whole] == found
    assert texts("a", [1, 2], 0) == ["", ""]
    with pytest.raises(ConfigError, match="at least one"):
        texts("", [1], 3)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_no_numbers_are_one_clear_error(bad):
    model = families.model("lstm", dtype=torch.float32)
    with torch.no_grad():
        model.readout.bias[3] = bad
    with pytest.raises(UnrolledError, match="finite logits"):
        take(3, model)


def test_no_seeds_are_refused():
    model = families.model("rnn", dtype=torch.float32)
    with pytest.raises(ConfigError, match="at least one seed"):
        write(model, PROMPT, SamplingOptions(), seeds=[], length=3)
    with pytest.raises(ConfigError, match="at least one seed"):
        next(streams(model, PROMPT, SamplingOptions(), seeds=[]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One small run, made once for this file."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "book.txt").write_text(book())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_CACHE", str(folder / "cache"))
        hurried(patch)
        assert command_line(["train", str(folder / "book.txt"), *TINY, "--run", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def typist(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    return Typist(capsys)


def test_several_texts_are_printed_one_after_another_each_as_its_seed_writes_it(typist):
    options = ("--prompt", "the", "--length", "30")
    alone = [typist.good("sample", "run", *options, "--seed", seed) for seed in (7, 8, 9)]
    together = typist.good("sample", "run", *options, "--seed", "7", "--count", "3")
    assert together == "".join(f"--- seed {seed}\n{text}" for seed, text in zip((7, 8, 9), alone, strict=True))


def test_several_texts_are_a_list_for_scripts(typist):
    found = typist.json("sample", "run", "--length", "20", "--count", "2", "--temperature", "0.5")
    assert found["count"] == 2 and found["temperature"] == 0.5 and "text" not in found
    assert [one["seed"] for one in found["texts"]] == [found["seed"], found["seed"] + 1]
    for one in found["texts"]:
        again = typist.json("sample", "run", "--length", "20", "--seed", one["seed"], "--temperature", "0.5")
        assert again["text"] == one["text"] and len(one["text"]) == 20


@pytest.mark.parametrize("words", [("--count", "0"), ("--count", "5000"), ("--count", "2", "--length", "100000000")])
def test_counts_that_are_refused(words, typist):
    assert "--count from 1" in typist.bad("sample", "run", *words)


HELD = ("--clamp", "layer1.cell[3]=2.5", "--clamp", "layer0.hidden[1]=-1")
FEW = ("--prompt", "the", "--length", "40", "--seed", "7")


def test_a_clamped_text_is_what_the_tap_writes_from_the_same_numbers(typist):
    opened = open_run("run")
    tap = Clamps.parse(HELD[1::2], opened.model.units)
    found = typist.good("sample", "run", *FEW, *HELD)
    assert found == "the" + opened.sample("the", 40, seed=7, temperature=0.8, tap=tap) + "\n"
    assert found != typist.good("sample", "run", *FEW)
    seeds = range(7, 10)
    together = typist.json("sample", "run", *FEW, *HELD, "--count", "3")
    assert [one["text"] for one in together["texts"]] == opened.samples(
        "the", 40, seeds=seeds, temperature=0.8, tap=tap
    )
    assert together["clamps"] == [*HELD[1::2]] == typist.json("sample", "run", *FEW, *HELD)["clamps"]
    assert typist.json("sample", "run", *FEW)["clamps"] == []


def test_a_unit_held_at_what_it_is_anyway_leaves_every_text_as_it_is(typist, monkeypatch):
    """The random numbers are the same with and without a clamp, for one text and for several."""
    slowly(monkeypatch)
    opened = open_run("run")
    with torch.no_grad():  # without a candidate the cell stays 0
        for weight in opened.model.branches[1].weights:
            weight[2 * 8 + 3] = 0.0
    monkeypatch.setattr("unrolled.laboratory.open_run", lambda _: opened)
    for several in ((), ("--count", "3")):
        plain = typist.good("sample", "run", *FEW, *several)
        assert typist.good("sample", "run", *FEW, *several, "--clamp", "layer1.cell[3]=0") == plain
        assert typist.good("sample", "run", *FEW, *several, "--clamp", "layer1.cell[3]=3") != plain


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("layer1.cel[3]=1", "did you mean 'layer1.cell'?"),
        ("layer1.cell[8]=1", "an index below 8"),
        ("layer1.cell[3]=high", "a finite number"),
        ("layer1.cell[3]", "a unit and a value"),
    ],
)
def test_clamps_that_are_refused(typed, words, typist):
    assert words in typist.bad("sample", "run", "--clamp", typed)
    assert words in typist.bad("sample", "run", "--clamp", "layer0.cell[0]=1", "--clamp", typed, "--count", "2")


def test_one_unit_is_clamped_once(typist):
    assert "twice" in typist.bad("sample", "run", *HELD, *HELD[:2])
    assert "a value after --clamp" in typist.bad("sample", "run", "--clamp")
