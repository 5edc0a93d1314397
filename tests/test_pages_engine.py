"""The engine of the pages is the model: logits, units, edits, sampling and text equal Python's, on both kernels."""

import json
import math
import os
import random
import re
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import families
from test_architecture import FAMILY
from tolerances import ENGINE32, ENGINE_PROBABILITY, ENGINE_PRODUCT
from unrolled.errors import ConfigError
from unrolled.models import Edit, ModelConfig, StackConfig, Watch, parse_layers, parse_unit
from unrolled.pages.weights import float16_weights
from unrolled.sampling import SamplingOptions, distribution, draw, stream
from unrolled.text.vocabulary import Vocabulary

HERE = Path(__file__).parent
PAGES = HERE.parent / "src" / "unrolled" / "pages"
SCRIPTS = HERE.parent / "scripts"
TIME = 60


def tool(name: str, package: str) -> str:
    """The path of a program that these tests need; without it they are skipped, but never in CI."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed (Debian: apt-get install {package})"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return found


def ask(*jobs: dict) -> list:
    """Let the engine do jobs (see engine/run.mjs) and return its answers."""
    node = tool("node", "nodejs")
    done = subprocess.run(
        [node, HERE / "engine" / "run.mjs"], input=json.dumps(jobs), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(model, config: ModelConfig, path: Path) -> str:
    """Write a model where the engine finds it, its own weights rounded alike; return its name for jobs."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    path.with_suffix(".json").write_text(json.dumps(config.to_json()), encoding="utf-8")
    path.with_suffix(".safetensors").write_bytes(float16_weights(model.state_dict()))
    return str(path)


def built(config: ModelConfig, vocab: int = families.VOCAB, seed: int = 0):
    """A model whose every number matters: gains and biases away from 1 and 0, logits of size about 3."""
    torch.manual_seed(seed)
    model = config.build(vocab).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
        model.embedding.weight.normal_()
        size = model(tokens(200, vocab))[0].std()
        model.readout.weight.mul_(3 / size)
        model.readout.bias.mul_(3 / size)
    return model


def tokens(time: int, vocab: int = families.VOCAB) -> torch.Tensor:
    return torch.randint(vocab, (1, time), generator=torch.Generator().manual_seed(7))


def recorded(model, run) -> tuple[np.ndarray, np.ndarray]:
    """The logits (T, V) of `run(watch)` and the values (T, all N) of all units that the model used meanwhile."""
    seen = {group: [] for group in model.units}
    with torch.inference_mode():
        logits = run(Watch(lambda group, value: seen[group].append(value[0])))
    values = torch.cat([torch.cat(seen[group]) for group in model.units], dim=1)
    return logits[0].numpy(), values.numpy()


def far(found: list, expected: np.ndarray) -> float:
    assert np.shape(found) == expected.shape
    return float(np.abs(np.array(found) - expected).max())


CASES = {
    **{name: (pattern, 8) for name, pattern in families.PATTERNS.items()},
    "transformer-odd": ("transformer(heads=2,window=7,expansion=1.3)*2", 10),
    "transformer-heads": ("transformer(heads=3,window=1)  transformer(heads=5,window=33,expansion=0.05)", 7),
    "mingru-small": ("mingru(expansion=0.5) mingru(expansion=2.5,negative=true)", 5),
    "wavenet-wide": ("wavenet(kernel=3,cycle=2)*4", 6),
    "tcn-short": ("tcn(kernel=2,cycle=1) tcn(kernel=4,cycle=3)*3", 9),
    "all": ("rnn gru tcn transformer(window=6) mingru wavenet lstm(forget_bias=2) tcn wavenet", 20),
    "memories": ("stackrnn(depth=1,cell=2) tapernn(cells=2,cell=1,tapes=3) stackrnn(depth=9,stacks=3,cell=1)", 7),
    "windows": ("window(window=33,expansion=0.5) window(window=2) window(window=1)", 5),
    "narrow": ("lstm gru", 2),
}


BOTH = [{"wasm": True}, {"wasm": False}]


def case(name: str, folder: Path, *, plain: bool = False):
    """The model of a case and its name for jobs."""
    pattern, width = CASES[name]
    config = ModelConfig(stack=StackConfig(width=width, plain=plain), layers=parse_layers(pattern))
    model = built(config)
    return model, written(model, config, folder / name)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_logits_and_units_are_those_of_python(name, plain, tmp_path):
    (model, path), xs = case(name, tmp_path, plain=plain), tokens(TIME)
    logits, values = recorded(model, lambda watch: model(xs, tap=watch)[0])
    answers = ask(*({"do": "read", "model": path, "tokens": xs[0].tolist(), **kernel} for kernel in BOTH))
    assert [answer["kernel"] for answer in answers] == ["wasm", "javascript"]
    for answer in answers:
        assert answer["units"] == [list(unit) for unit in model.units.items()]
        assert far(answer["logits"], logits) < ENGINE32
        assert far(answer["values"], values) < ENGINE32


@pytest.mark.parametrize("pattern", ["lstm*2", "transformer(heads=4,window=48)*2"])
def test_logits_of_models_as_people_train_them(pattern, tmp_path):
    config = ModelConfig(stack=StackConfig(width=256), layers=parse_layers(pattern))
    model = built(config, vocab=97)
    path, xs = written(model, config, tmp_path / "m"), tokens(200, 97)
    logits, _ = recorded(model, lambda watch: model(xs, tap=watch)[0])
    assert np.abs(logits).max() > 5
    for answer in ask(*({"do": "read", "model": path, "tokens": xs[0].tolist(), **kernel} for kernel in BOTH)):
        assert far(answer["logits"], logits) < ENGINE32


@pytest.mark.parametrize("when", [(0, TIME), (20, 21)], ids=["always", "once"])
@pytest.mark.parametrize("name", CASES)
def test_a_held_unit_reaches_what_it_reaches_in_python(name, when, tmp_path):
    (model, path), xs = case(name, tmp_path), tokens(TIME)
    start, stop = when
    jobs, expected = [], []
    for group, size in model.units.items():
        held = {f"{group}[{index}]": value for index, value in ((0, 0.7), (size - 1, 0.1))}
        jobs.append({"do": "read", "model": path, "tokens": xs[0].tolist(), "clamps": held})
        jobs[-1] |= {"from": start, "to": stop, "wasm": True}
        expected.append(held_in_python(model, xs, group, start, stop))
    calm, _ = recorded(model, lambda watch: model(xs, tap=watch)[0])
    for answer, (logits, values) in zip(ask(*jobs), expected, strict=True):
        effect = float(np.abs(logits[start:] - calm[start:]).max())
        assert far(answer["logits"], logits) < min(ENGINE32, effect / 20)
        assert far(answer["values"], values) < ENGINE32
        # From the edit on, and later than the edit itself wherever there is a memory.
        assert np.array_equal(logits[:start], calm[:start]) or np.abs(logits[:start] - calm[:start]).max() < ENGINE32


def held_in_python(model, xs: torch.Tensor, group: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits and values when the first unit of a group is held at 0.7 and the last at 0.1 for steps [start, stop)."""
    seen = {name: [] for name in model.units}
    hold = False

    def change(name, value):
        changed = value.clone()
        if hold and name == group:
            changed[..., 0] = 0.7
            changed[..., -1] = 0.1
        seen[name].append(changed[0])
        return changed

    state, logits = None, []
    with torch.inference_mode():
        for begin, end, hold in ((0, start, False), (start, stop, True), (stop, xs.shape[1], False)):  # noqa: B007
            if begin < end:
                some, state = model(xs[:, begin:end], state, tap=Edit(change))
                logits.append(some[0])
    return torch.cat(logits).numpy(), torch.cat([torch.cat(seen[name]) for name in model.units], dim=1).numpy()


def test_the_engine_knows_every_family():
    (known,) = ask({"do": "families"})
    assert set(known) == set(FAMILY), "a new family needs its entry in FAMILIES of pages/engine.js"


def test_distributions_are_those_of_python():
    choose = random.Random(5)
    cases = []
    for _ in range(400):
        logits = [choose.choice([choose.uniform(-9, 9), choose.uniform(-1, 1), 2.0, 2.0, -math.inf]) for _ in range(12)]
        logits[1 + choose.randrange(11)] = 3.0  # something can be drawn
        options = {
            "temperature": choose.choice([0.0, 0.01, 0.5, 1.0, 2.5, 100.0]),
            "top_k": choose.choice([None, 1, 2, 3, 5, 11, 12, 30]),
            "top_p": choose.choice([None, 1e-9, 0.3, 0.5, 0.9, 0.999, 1.0]),
        }
        cases.append((logits, options))
    cases += [([0.0] * 5, {"temperature": 1.0, "top_k": k, "top_p": p}) for k in (None, 2) for p in (None, 0.5, 1.0)]
    cases += [([0, 1e30, -1e30, 3], {"temperature": 0.01, "top_k": None, "top_p": None})]
    names = {"temperature": "temperature", "topK": "top_k", "topP": "top_p"}
    found = ask(
        *(
            {
                "do": "distribution",
                "logits": [None if logit == -math.inf else logit for logit in logits],
                "options": {js: options[python] for js, python in names.items()},
            }
            for logits, options in cases
        )
    )
    for answer, (logits, options) in zip(found, cases, strict=True):
        expected = distribution(np.array(logits), SamplingOptions(**options))
        assert answer[0] == 0
        assert answer == pytest.approx(expected, abs=ENGINE_PROBABILITY), (logits, options)
        assert np.array_equal(np.array(answer) > 0, expected > 0)


def test_drawing_is_that_of_python():
    choose = np.random.default_rng(3)
    lists = [choose.dirichlet(np.full(size, 0.3)) for size in (1, 2, 9, 70) for _ in range(5)]
    lists += [np.array([0, 0.5, 0, 0.5, 0]), np.full(10, 0.1), np.array([0, 0, 1.0])]
    uniforms = [0.0, 0.25, 0.5, 0.75, float(np.nextafter(1, 0)), *choose.random(50)]
    jobs = [{"do": "draw", "probabilities": p.tolist(), "uniforms": uniforms} for p in lists]
    for answer, p in zip(ask(*jobs), lists, strict=True):
        assert answer == [draw(p, uniform) for uniform in uniforms]


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"temperature": 0.8, "top_k": 6, "top_p": 0.9}])
def test_the_same_random_numbers_write_the_same_text(options, tmp_path):
    config = ModelConfig(stack=StackConfig(width=16), layers=parse_layers("lstm transformer(heads=2,window=9)"))
    model = built(config)
    model.readout.bias.data[0] = 9.0  # the unknown symbol would be likely, were it ever written
    path = written(model, config, tmp_path / "m")
    seed, prompt, length = 4, [3, 1, 4, 1, 5], 300
    uniforms = np.random.Generator(np.random.PCG64(seed)).random(length).tolist()
    text = list(islice(stream(model, prompt, SamplingOptions(**options), seed=seed), length))
    names = {"temperature": "temperature", "top_k": "topK", "top_p": "topP"}
    job = {"do": "write", "model": path, "prompt": prompt, "uniforms": uniforms, "wasm": True}
    (found,) = ask({**job, "options": {names[option]: value for option, value in options.items()}})
    assert found == text
    assert 0 not in found


def test_random_numbers_are_sfc32():
    seeds = [0, 1, 2, 12345, 2**32, 2**32 + 1, 2**53 - 1]
    found = ask(*({"do": "uniforms", "seed": seed, "count": 1000} for seed in seeds))
    for answer, seed in zip(found, seeds, strict=True):
        assert answer == list(islice(sfc32(seed), 1000))
        assert 0.45 < np.mean(answer) < 0.55 and 0 <= min(answer) < 0.02 and 0.98 < max(answer) < 1
    assert len({answer[0] for answer in found}) == len(seeds)
    (many,) = ask({"do": "uniforms", "seed": 7, "count": 100_000})
    counts = np.bincount((np.array(many) * 64).astype(int), minlength=64)
    assert ((counts - 100_000 / 64) ** 2 / (100_000 / 64)).sum() < 104  # 0.1 % point of chi-square, 63 degrees


def sfc32(seed: int):
    """Chris Doty-Humphrey's small fast counter generator, in plain integers; three words from splitmix32, counter 1."""
    mask = 2**32 - 1
    z = (seed & mask) ^ ((seed >> 32) * 0x9E3779B1 & mask)
    words = []
    for _ in range(3):
        z = (z + 0x9E3779B9) & mask
        mixed = (z ^ z >> 16) * 0x85EBCA6B & mask
        mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & mask
        words.append(mixed ^ mixed >> 16)
    (a, b, c), counter = words, 1

    def bits():
        nonlocal a, b, c, counter
        out = (a + b + counter) & mask
        counter = (counter + 1) & mask
        a, b, c = b ^ b >> 9, (c + (c << 3)) & mask, ((c << 21 | c >> 11) + out) & mask
        return out

    for _ in range(12):
        bits()
    while True:
        high, low = bits() >> 5, bits() >> 6
        yield (high * 2**26 + low) / 2**53


def test_what_is_likely_and_what_surprises():
    logits = [[0.3, -2.0, 5.0, 5.0, 1.0, 4.0, 0.0], [800.0, -800.0, 0.0], [1.0]]
    for (likely, surprises), given in zip(
        ask(*({"do": "likeliest", "logits": x} for x in logits)), logits, strict=True
    ):
        exact = np.array(given) - max(given) - math.log(np.exp(np.array(given) - max(given)).sum())
        order = np.argsort(-exact, kind="stable")[:5]
        assert [entry["id"] for entry in likely] == order.tolist()
        assert [entry["probability"] for entry in likely] == pytest.approx(np.exp(exact[order]), abs=ENGINE_PROBABILITY)
        assert surprises == pytest.approx(-exact / math.log(2), rel=1e-12, abs=1e-12)


TEXTS = [
    "",
    "The cat sat.\n\tIt's  raining\r\n",
    "naïve Straße, e\u0301 \u00e9, 日本語, \U0001f600\U0001f468\u200d\U0001f469, \ufffd \x00 \x1b[31m \u202e \uffff",
    "\udc80\udcff a \ud800 \udfff b \udbff",
    "\u07ff\u0800\uffff\U00010000\U0010ffff",
]


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_text_becomes_the_ids_that_it_is_in_python(kind):
    codes = {ord(c) for c in "".join(TEXTS[:3])[::2]} | {0xDC80, 0xD800}
    symbols = sorted(map(chr, codes)) if kind == "characters" else [chr(byte) for byte in range(256) if byte % 7]
    vocabulary = Vocabulary(kind, ("\ufffd", *(s for s in symbols if s != "\ufffd")))
    choose = random.Random(2)
    texts = TEXTS + ["".join(choose.choice(TEXTS[1] + TEXTS[2] + "xyz") for _ in range(80)) for _ in range(50)]
    found = ask(*({"do": "encode", "vocabulary": vocabulary.to_json(), "text": text} for text in texts))
    for ids, text in zip(found, texts, strict=True):
        assert ids == vocabulary.encode(text).tolist(), repr(text)
    assert any(0 in ids for ids in found) and any(any(ids) for ids in found)


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_ids_become_the_text_that_they_are_in_python(kind):
    symbols = [chr(byte) for byte in range(256)] if kind == "bytes" else ["\n", "a", "é", "日", "\ud800", "\U0001f600"]
    vocabulary = Vocabulary(kind, ("\ufffd", *symbols))
    choose = random.Random(8)
    edges = [0, 0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE2, 0xED, 0xEF, 0xF0, 0xF4, 0xF5]
    ids = [0, *((1 + byte for byte in edges) if kind == "bytes" else range(1, vocabulary.size))]
    lists = [[choose.choice(ids) for _ in range(60)] for _ in range(100)]
    lists += [vocabulary.encode(text).tolist() for text in TEXTS]
    found = ask(*({"do": "decode", "vocabulary": vocabulary.to_json(), "ids": tokens} for tokens in lists))
    for answer, given in zip(found, lists, strict=True):
        decoder = vocabulary.decoder()
        pieces = [*map(decoder.feed, given), decoder.flush()]
        # A surrogate's three bytes are no UTF-8: Python waits for the third before it says so.
        assert answer["pieces"] == pieces or (kind == "bytes" and 1 + 0xED in given)
        assert answer["text"] == vocabulary.decode(given) == "".join(answer["pieces"])


def test_units_are_named_as_in_python():
    units = {"layer0.hidden": 4, "layer0.state.carry": 1, "layer1.cell": 200}
    good = {"layer0.state.carry": ["layer0.state.carry", 0], "layer0.state.carry[0]": ["layer0.state.carry", 0]}
    good |= {"layer1.cell[137]": ["layer1.cell", 137], " layer0.hidden[0] ": ["layer0.hidden", 0]}
    assert ask(*({"do": "parseUnit", "text": text, "units": units} for text in good)) == list(good.values())
    assert [list(parse_unit(text, units)) for text in good] == list(good.values())
    for text in ("layer1.cell", "layer1.cell[200]", "layer9.cell[0]", "layer1.cell[-1]", "constructor[0]", "[3]", ""):
        (found,) = ask({"do": "parseUnit", "text": text, "units": units})
        refused(found)
        with pytest.raises(ConfigError):
            parse_unit(text, units)


def refused(answer, *words: str) -> None:
    """An error that a person can read: one printable line that says what was expected, what came and what to do."""
    assert isinstance(answer, dict) and answer.get("name") == "EngineError", answer
    message = answer["error"]
    assert re.fullmatch(r"expected [ -~]+, got [ -~]+; [ -~]+", message), message
    assert "undefined" not in message, message
    for word in words:
        assert word in message, message


def change_json(path: str, change) -> None:
    file = Path(path).with_suffix(".json")
    config = json.loads(file.read_text(encoding="utf-8"))
    change(config)
    file.write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config.pop("stack"), ["the stack"]),
        (lambda config: config.pop("layers"), ["stack and layers"]),
        (lambda config: config["stack"].update(width="8"), ["width of the stack", '"8"']),
        (lambda config: config["stack"].update(width=9), ["embedding.weight", "(any, 9)", "(11, 8)"]),
        (lambda config: config["stack"].update(plain=True), ["final_norm.gain", "too many"]),
        (lambda config: config["stack"].update(shape="round"), ["an option of the stack", '"shape"']),
        (lambda config: config["layers"][0].update(family="elstm\u202e\n"), ["lstm", '"elstm\\u202e']),
        (lambda config: config["layers"][0].update(family="constructor"), ["a family", '"constructor"']),
        (lambda config: config["layers"][0].pop("family"), ["a family", "nothing"]),
        (lambda config: config["layers"].__setitem__(1, "lstm"), ["a family", "nothing"]),
        (lambda config: config["layers"].pop(), ["branches.3.", "too many"]),
        (lambda config: config["layers"].reverse(), ["branches.0."]),
        (lambda config: config["layers"].append({"family": "rnn"}), ["norms.4.gain", "none of that name"]),
        (lambda config: config["layers"][0].update(cycle=0), ["cycle of wavenet", "1 to 14"]),
        (lambda config: config["layers"][0].update(kernel=3), ["branches.0.weight", "(16, 3, 8)", "(16, 2, 8)"]),
        (lambda config: config["layers"][1].update(window=2.5), ["window of transformer", "2.5"]),
        (lambda config: config["layers"][1].pop("heads"), ["heads of transformer", "nothing"]),
        (lambda config: config["layers"][1].update(expansion=3.5), ["branches.2.up.weight", "(28, 8)", "(32, 8)"]),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_clear_line(change, words, tmp_path):
    config = ModelConfig(stack=StackConfig(width=8), layers=parse_layers("wavenet transformer lstm"))
    path = written(built(config), config, tmp_path / "m")
    job = {"do": "read", "model": path, "tokens": [1, 2], "wasm": True}
    assert len(ask(job)[0]["logits"]) == 2
    change_json(path, change)
    refused(ask(job)[0], *words)


def test_what_the_engine_is_asked_wrongly(tmp_path):
    config = ModelConfig(stack=StackConfig(width=4), layers=parse_layers("gru"))
    path = written(built(config), config, tmp_path / "m")
    read = {"do": "read", "model": path, "wasm": True}
    logits, vocabulary = [1.0, 2.0, 3.0], Vocabulary("characters", ("\ufffd", "a", "b")).to_json()
    wrong = {
        "a symbol below 11": [{**read, "tokens": [token]} for token in (11, -1, 0.5, "a")],
        "a number": [{**read, "tokens": [1], "clamps": {"layer0.hidden[1]": "high"}}],
        "below 4": [{**read, "tokens": [1], "clamps": {"layer0.hidden[4]": 0}}],
        "one character": [{"do": "write", "model": path, "prompt": [], "options": {}, "uniforms": [0.5]}],
        "temperature": [
            {"do": "distribution", "logits": logits, "options": {"temperature": t}} for t in (-1, 101, "1")
        ],
        "top-k": [{"do": "distribution", "logits": logits, "options": {"topK": k}} for k in (0, 1.5, "2")],
        "top-p": [{"do": "distribution", "logits": logits, "options": {"topP": p}} for p in (0, 1.1, "0.5")],
        "finite logits": [
            {"do": "distribution", "logits": [1.0, None, None], "options": {"temperature": t}} for t in (0, 1)
        ],
        "as seed": [{"do": "uniforms", "seed": seed, "count": 1} for seed in (-1, 0.5, 2**60, "1")],
        "version 1": [{"do": "encode", "vocabulary": v, "text": ""} for v in (None, [], {**vocabulary, "version": 2})],
        "single characters": [
            {"do": "encode", "vocabulary": {**vocabulary, "symbols": s}, "text": ""}
            for s in (None, [], ["a"], ["\ufffd", "ab"], ["\ufffd", ""], ["\ufffd", 1])
        ],
        "different bytes": [
            {"do": "encode", "vocabulary": {**vocabulary, "kind": "bytes", "symbols": s}, "text": ""}
            for s in (["\ufffd", "a", "a"], ["\ufffd", "\u0100"])
        ],
    }
    for word, jobs in wrong.items():
        for answer in ask(*jobs):
            refused(answer, word)


def test_both_kernels_multiply():
    choose = np.random.default_rng(1)
    shapes = [(rows, columns) for rows in (*range(1, 20), 31, 32, 33, 64, 100) for columns in (1, 2, 3, 4, 17, 64)]
    cases = [tuple(np.float32(choose.standard_normal(s)) for s in ((r, c), r, c)) for r, c in [*shapes, (97, 1024)]]
    jobs = [
        {"do": "linear", **dict(zip(("weight", "bias", "x"), (a.tolist() for a in case), strict=True))}
        for case in cases
    ]
    for found, (weight, bias, x) in zip(ask(*jobs), cases, strict=True):
        exact = np.float64(bias) + np.float64(weight) @ np.float64(x)
        size = np.abs(bias) + np.abs(weight) @ np.abs(x)
        for answer in found:
            assert len(answer) == len(bias)
            assert (np.abs(np.array(answer) - exact) / size).max() < ENGINE_PRODUCT


def test_the_kernel_is_built_from_its_source(tmp_path):
    tool("wat2wasm", "wabt")
    again = tmp_path / "kernel.wasm"
    subprocess.run([SCRIPTS / "build_kernel.sh", again], check=True, capture_output=True)
    assert again.read_bytes() == (PAGES / "kernel.wasm").read_bytes(), "run scripts/build_kernel.sh"
    assert len(again.read_bytes()) < 1000


def test_the_engine_is_small_and_stands_alone():
    source = (PAGES / "engine.js").read_text(encoding="utf-8")
    assert len(source.encode()) < 56_000
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)
    assert "class Model" in code and "class Vocabulary" in code
    for word in ("import", "require", "document", "window[.]", "globalThis", "fetch", "eval", "Function", "Promise",
                 "await", "process"):  # fmt: skip
        assert not re.search(rf"\b{word}\b" if word[-1].isalpha() else rf"\b{word}", code), word
    assert max(map(len, source.splitlines())) <= 120


def test_what_only_javascript_can_see(tmp_path):
    """States are values, damaged files are refused, WebAssembly may be missing: engine/engine.test.mjs."""
    for name in CASES:
        case(name, tmp_path)
    done = subprocess.run(
        [tool("node", "nodejs"), "--test", HERE / "engine" / "engine.test.mjs"],
        env={**os.environ, "MODELS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(re.search(r"# pass (\d+)", done.stdout)[1]) >= 10


def test_weights_are_halved_but_never_lost(tmp_path):
    tied = torch.randn(3, 4)
    tensors = {"a": tied, "b": tied, "turned": torch.randn(4, 3).T, "large": torch.tensor([1.0, 1e5])}
    (tmp_path / "w").write_bytes(float16_weights(tensors))
    found = load_file(tmp_path / "w")
    assert {name: value.dtype for name, value in found.items()} == {
        "a": torch.float16, "b": torch.float16, "turned": torch.float16, "large": torch.float32,
    }  # fmt: skip
    for name, value in tensors.items():
        assert torch.equal(found[name], value.half() if name != "large" else value)
