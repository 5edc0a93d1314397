"""The page as a file: nothing in it but what the skeleton has, a policy that fits, data that come back as they went."""

import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pages_data import HOSTILE, made_candidate, made_found, made_run, made_search
from typed import book
from unrolled.cli import run as run_command
from unrolled.errors import TrainingError
from unrolled.laboratory import open_run
from unrolled.models import ModelConfig, StackConfig, parse_layers
from unrolled.neurons.features import FEATURES
from unrolled.neurons.saturation import Saturation
from unrolled.pages import bundle
from unrolled.pages.builder import as_block, build_page, policy, sealed, write_page
from unrolled.pages.contents import Excerpt, Found, choose_passage, given_away, page_data, plain
from unrolled.pages.weights import float16_weights
from unrolled.programs.compiled_folder import CompileRequest, write_compiled
from unrolled.programs.library import machine_named

SKELETON = """<!doctype html><html><head><meta http-equiv="Content-Security-Policy" content="{{csp}}">
<title>{{title}}</title><style>{{style}}</style></head><body><h1>{{title}}</h1>
<script type="application/json" id="data">{{data}}</script>
<script type="application/octet-stream;base64" id="weights">{{weights}}</script>
<script type="application/octet-stream;base64" id="kernel">{{kernel}}</script>
<script type="module">{{script}}</script></body></html>
"""


class Elements(HTMLParser):
    """What a browser finds: the elements in order, their attributes, and the text inside each kind."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts = [], [], {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self.inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag):
        self.tags.append("/" + tag)
        self.inside = ""

    def handle_data(self, data):
        self.texts[self.inside] = self.texts.get(self.inside, "") + data

    def handle_comment(self, data):
        self.tags.append("comment")

    inside = ""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "quotes-lstm"
    return made_run(path, book())[0]


@pytest.fixture
def short(monkeypatch):
    """A skeleton, a style and a script of a few lines."""
    monkeypatch.setattr(bundle, "skeleton", lambda: SKELETON)
    monkeypatch.setattr(bundle, "style", lambda: "p { color: red }\r\n")
    monkeypatch.setattr(bundle, "script", lambda: "const two = 1 < 2 && 'é';\r\n")


def test_the_data_are_what_the_page_expects(run):
    data = page_data(run, made_found(), title="my run")
    assert data["format"] == 1 and data["title"] == "my run"
    assert page_data(run, made_found())["title"] == "quotes-lstm"
    assert data["facts"]["family"] == "lstm" and data["facts"]["parameters"] == run.config.parameters
    assert data["facts"]["bits_per_char"] == 3.0 and data["facts"]["protocol"] == "carried"
    assert data["facts"]["steps"] == 20 and data["facts"]["seconds"] == 10.0
    assert data["facts"]["kind"] == "trained" and data["facts"]["command"] == ""
    assert data["model"] == run.config.model.to_json() and data["vocabulary"] == run.vocabulary.to_json()
    assert data["units"] == dict(run.model.units)
    quote, odd = data["cards"]
    assert quote["sentence"].startswith("layer0.cell[3] is on inside double quotes: AUC 0.990")
    assert quote["birth"] == [{"step": 0, "score": 0.5}, {"step": 20, "score": 0.99}] and odd["birth"] == []
    assert quote["strongest"][0]["at"] == 5 and quote["histogram"]["on"] == [1] * 40 and quote["counter"] == []
    assert odd["probe_score"] is None
    assert [one["holds"] for one in data["features"]] == [True, True, False]
    assert data["none"] == "" and data["skipped"] == {"inside-url": "too few places"}
    assert data["saturation"] == {"layer0.forget_gate": {"left": [0.1, 0.0], "right": [0.5, 1.0]}}
    assert [one["step"] for one in data["training"]] == [0, 10, 20]
    assert data["training"][1]["sample"] == f"wrote {HOSTILE} at 10" and data["training"][1]["temperature"] == 0.8
    assert data["search"]["untrained_copies"] == 3 and "candidates" not in data["search"]
    assert json.loads(json.dumps(data)) == data


def test_the_command_makes_such_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a book.txt").write_text(book() + "ÄÖÜß\n" * 50, encoding="latin-1")
    asked = (
        "--split 0.8,0.1,0.1 --encoding iso8859-1 --min-count 3 --layers 'gru lstm' --width 8 --plain --dropout 0.25"
    )
    words = ["train", "a book.txt", *shlex.split(asked), "--steps", "0", "--seed", "7"]
    assert run_command([*words, "--run", "one"]) == 0
    first = open_run("one")
    command = page_data(first, made_found())["facts"]["command"]
    assert command == f"unrolled train 'a book.txt' {asked} --steps 0 --seed 7"
    assert run_command([*shlex.split(command)[1:], "--run", "two"]) == 0
    second = open_run("two")
    for part in ("model", "options", "training", "fingerprint", "characters"):
        assert getattr(first.config, part) == getattr(second.config, part), part


def test_a_page_says_how_its_weights_came_to_be(run, tmp_path):
    def facts(one):
        return page_data(one, made_found())["facts"]

    untrained = replace(run.config, training=replace(run.config.training, steps=0))
    assert facts(replace(run, config=untrained))["kind"] == "untrained"
    for form in ("circuit", "rnn", "lstm"):
        request = CompileRequest(form=form, characters=4000)
        told = facts(write_compiled(machine_named("parity"), tmp_path / form, request).run)
        assert told["kind"] == "compiled" and told["command"] == "unrolled machine compile", form
    # A page that was read back has no answer key beside it: circuits are known by their units alone.
    (tmp_path / "circuit" / "features.py").unlink()
    assert facts(open_run(tmp_path / "circuit"))["kind"] == "compiled"


def test_gates_of_many_units_are_plotted_and_nothing_else(run):
    share = Saturation(np.array([0.1, 0.0]), np.array([0.5, 1.0]))
    groups = ("layer0.forget_gate", "layer0.hidden", "layer9.gate")
    found = replace(made_found(), saturation=dict.fromkeys(groups, share))
    assert list(page_data(run, found)["saturation"]) == ["layer0.forget_gate"]


def test_nothing_found_makes_a_page_that_says_so(run):
    nothing = Found(search=made_search(), passage=Excerpt(text="abc", where="the test part"))
    data = page_data(run, nothing)
    assert data["cards"] == [] and data["saturation"] == {} and "No unit holds up" in data["none"]


def test_a_page_does_not_tell_where_the_text_lay(run):
    assert run.path.parent.name not in json.dumps(page_data(run, made_found()))
    sources = ["/home/me/secret/book.txt", "texts/a.txt", "../b.txt", "builtin:manual", "-"]
    config = {"text": {"folder": "/home/me", "sources": sources, "options": {}}, "format": 1}
    told = given_away(config)
    assert told["text"] == {
        "folder": ".", "sources": ["book.txt", "texts/a.txt", "b.txt", "builtin:manual", "-"], "options": {},
    }  # fmt: skip
    assert config["text"]["folder"] == "/home/me" and given_away(told) == told


def test_every_feature_has_one_line_its_best_unit():
    found = made_search(
        made_candidate("a.b[0]", "vowel", score=0.99, against=("not beyond the character",)),
        made_candidate("a.b[1]", "vowel", score=0.9),
        made_candidate("a.b[2]", "digit", score=0.7, against=("chance",)),
        made_candidate("a.b[3]", "digit", score=0.8, against=("chance",)),
    )
    assert [(one.unit, one.holds) for one in found.findings] == [("a.b[1]", True)]
    from unrolled.pages.contents import _features

    told = _features(found)
    assert [(one["name"], one["unit"]) for one in told] == [("vowel", "a.b[1]"), ("digit", "a.b[3]")]
    assert told[1]["against"] == ["chance"]


def test_hostile_strings_add_no_element(run, short):
    weights = float16_weights(run.model.state_dict())
    harmless = build_page(page_data(run, Found(search=made_search(), passage=Excerpt(text="a", where="b"))), weights)
    data = page_data(run, made_found(), title=HOSTILE)
    html = build_page(data, weights)
    plainly, hostile = Elements(harmless), Elements(html)
    assert hostile.tags == plainly.tags and "comment" not in hostile.tags and hostile.tags.count("script") == 4
    assert [a.keys() for a in hostile.attributes] == [a.keys() for a in plainly.attributes]
    found = json.loads(hostile.texts["data"])
    assert {name: found[name] for name in data} == data
    assert "<" not in hostile.texts["data"] and hostile.texts["data"].isascii() and "\x1b" not in html
    assert "</script>" in hostile.texts["title"] and "\u202e" not in html and "\x00" not in html
    assert hostile.texts["script"] == "const two = 1 < 2 && 'é';\n"
    assert base64.b64decode(hostile.texts["weights"], validate=True) == weights
    html.encode("utf-8")


def test_the_policy_allows_exactly_this_script_and_this_style(run, short):
    html = build_page(page_data(run, made_found()), b"")
    page = Elements(html)
    (told,) = [a["content"] for a in page.attributes if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in told.split(";"))
    assert rules["default-src"] == "'none'" and rules["base-uri"] == "'none'" and rules["form-action"] == "'none'"
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
        assert rules[f"{kind}-src"].split()[0] == f"'sha256-{digest}'"
    assert rules["script-src"].split()[1:] == ["'wasm-unsafe-eval'"] and "unsafe-inline" not in told
    assert "\r" not in html


def test_the_policy_counts_what_stands_around_the_placeholder():
    loose = "<style>\n{{style}}\n</style><script type=module>\n{{script}}</script>"
    style, script = (base64.b64encode(hashlib.sha256(one).digest()).decode() for one in (b"\na\n", b"\nb"))
    assert f"script-src 'sha256-{script}' " in policy(loose, "b", "a")
    assert f"style-src 'sha256-{style}';" in policy(loose, "b", "a")


def test_the_real_parts_fit_the_builder(run):
    """The skeleton has each placeholder, and nothing in script and style could end their elements."""
    assert sorted(set(re.findall(r"\{\{(\w+)\}\}", bundle.skeleton()))) == sorted(bundle.PLACEHOLDERS)
    assert not re.search(r"</script|<script|<!--", bundle.script(), re.IGNORECASE)
    assert not re.search(r"</|<!--", bundle.style())
    page = Elements(build_page(page_data(run, made_found(), title=HOSTILE), b"abc"))
    assert page.tags.count("script") == 4 and page.tags.count("style") == 1
    assert json.loads(page.texts["data"])["title"] == HOSTILE
    skeleton = Elements(bundle.skeleton())
    assert page.tags == skeleton.tags
    for attributes in page.attributes:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert attributes.get("http-equiv") or "://" not in " ".join(filter(None, attributes.values()))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
)))  # fmt: skip
def test_blocks_hold_any_data(data):
    block = as_block(data)
    assert "<" not in block and block.isascii() and json.loads(block) == data
    again = sealed(data, b"w")
    assert sealed(json.loads(as_block(again)), b"w") == again


def test_numbers_that_json_lacks_become_null():
    value = {"a": (1.5, float("nan"), float("inf")), 3: np.float32(2), "c": np.array([[1, 2]]), "d": [True, None, "x"]}
    assert plain(value) == {"a": [1.5, None, None], "3": 2.0, "c": [[1, 2]], "d": [True, None, "x"]}


def test_a_model_of_a_million_parameters_is_under_six_megabytes(run):
    torch.manual_seed(0)
    model = ModelConfig(stack=StackConfig(width=256), layers=parse_layers("lstm lstm")).build(125)
    numbers = sum(value.numel() for value in model.state_dict().values())
    assert numbers > 1_080_000
    cards = [made_candidate(f"layer0.cell[{k}]", f"feature-{k}") for k in range(60)]
    made = made_found("x" * 120)
    (evidence, *_) = made.evidence.values()
    full = type(evidence)(
        histogram=evidence.histogram, strongest=evidence.strongest * 6, counter=evidence.strongest * 6
    )
    found = Found(
        search=made_search(*cards),
        passage=Excerpt(text="“я” " * 1500, where="the test part"),
        evidence={(one.unit, one.feature): full for one in cards},
        births={(one.unit, one.feature): [(k, 0.5) for k in range(16)] for one in cards},
    )
    html = build_page(page_data(run, found), float16_weights(model.state_dict()))
    assert 2_900_000 < len(html.encode()) < 6_000_000


def test_a_page_is_written_whole_or_not_at_all(run, tmp_path, short):
    data = page_data(run, made_found())
    write_page(tmp_path / "page.html", data, b"weights")
    assert (tmp_path / "page.html").read_text("utf-8") == build_page(data, b"weights")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(TrainingError, match=r"to write .*page\.html"):
        write_page(tmp_path / "none" / "page.html", data, b"weights")


def test_the_passage_is_where_most_is_going_on():
    calm, busy = "nothing is said here at all\n" * 800, 'he "said" so (and "so")\n' * 300
    text = calm + busy + calm
    by_name = {feature.name: feature for feature in FEATURES}
    labels = [by_name[name].labels(text) for name in ("inside-double-quotes", "inside-parentheses", "position-in-line")]
    found = choose_passage(text, labels)
    assert 5900 <= found.stop - found.start <= 6000
    assert text[found.start - 1] == "\n" and text[found.stop - 1] == "\n"
    assert found.start >= len(calm) - 30 and found.stop <= len(calm + busy) + 30


@pytest.mark.parametrize("text", ["", "a", "ab\n" * 5, "x" * 9000, "\n" * 9000], ids=len)
def test_a_passage_of_any_text(text):
    labels = [np.zeros(len(text), dtype=bool), np.full(len(text), np.nan, dtype=np.float32)]
    found = choose_passage(text, labels)
    assert 0 <= found.start <= found.stop <= len(text) and found.stop - found.start <= 6000
    assert found.stop - found.start >= min(len(text), 5400)
