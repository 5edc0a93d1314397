"""`unrolled task extract` as it is typed: what it says is what the network does."""

import itertools
from xml.etree import ElementTree

import pytest

from typed import Typist
from unrolled.laboratory import open_run

TRAIN = ("--steps", "3", "--width", "12", "--batch", "8", "--family", "rnn", "--seed", "3")


@pytest.fixture
def typist(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Typist(capsys)


def test_the_automaton_answers_as_the_network_does(typist, tmp_path):
    typist.good("task", "train", "parity", *TRAIN, "--run", "run")
    found = typist.json("task", "extract", "run", "--length", "8", "--longer", "100", "--svg", "both.svg")
    assert found["task"] == "parity" and found["strings_checked"] == 2**9 - 2
    following = {(state, letter): to for state, letter, to in found["transitions"]}
    run = open_run("run")
    sources = ["".join(word) for size in range(1, 7) for word in itertools.product("01", repeat=size)]
    for source, answer in zip(sources, run.answers(sources), strict=True):
        state = 0
        for letter in source:
            state = following[state, letter]
        assert found["outputs"][state] == answer[:1], source
    assert found["equals_compiled"] is (found["difference"] is None)
    captions = "".join(ElementTree.parse(tmp_path / "both.svg").getroot().itertext())
    assert "what training found" in captions and "compiled" in captions
    told = typist.good("task", "extract", "run", "--length", "8", "--longer", "100")
    assert found["verdict"].split(",")[0] in " ".join(told.split())


def test_any_run_on_pairs_can_be_asked_over_an_alphabet(typist):
    typist.good("task", "train", "parity", *TRAIN, "--run", "run")
    told = typist.json("task", "extract", "run", "--alphabet", "01", "--length", "6", "--longer", "20")
    assert told["task"] is None and told["equals_compiled"] is None and told["states"] >= 1


@pytest.mark.parametrize(
    "words",
    [("missing",), (".",), ("run", "--alphabet", "xy"), ("run", "--length", "0"), ("run", "--alphabet", "")],
    ids=" ".join,
)
def test_what_cannot_be_asked_is_said_in_one_line(typist, words):
    typist.good("task", "train", "parity", *TRAIN, "--run", "run")
    typist.bad("task", "extract", *words)
