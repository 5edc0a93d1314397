"""Features from a user's file: what becomes one, and what is said about a file that cannot be used."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from unrolled.errors import ConfigError
from unrolled.neurons.feature_files import load_features

GOOD = '''
"""Two features and some that are none."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent  # takes a text and has a docstring, and was not written here

import numpy as np


@dataclass
class Settings:
    letter: str = "e"


def letter_E(text: str) -> np.ndarray:
    """The letter e.

    Small or capital.
    """
    return np.array([c in Settings().letter + "E" for c in text], dtype=bool)


def since_start(text: str):
    """Characters read"""
    return np.arange(1, len(text) + 1)


same_again = since_start


def _private(text: str):
    """Is private."""
    return np.zeros(len(text))


def in_a_list(text):
    return [character == "e" for character in text]


def other_name(line: str):
    """Takes something else."""


def two(text: str, more: int = 1):
    """Takes more."""
'''


def write(folder: Path, source: str | bytes, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return path


def test_functions_of_a_text_become_features(tmp_path):
    found = load_features(write(tmp_path, GOOD))
    assert [(f.name, f.description, f.kind, f.causal) for f in found] == [
        ("letter-E", "the letter e", "yes-no", False),
        ("since-start", "characters read", "number", False),
        ("in-a-list", "in a list", "yes-no", False),
    ]
    letter, since, listed = found
    assert listed.labels("He e").tolist() == [False, True, False, True]
    assert letter.labels("He e").tolist() == [False, True, False, True]
    assert since.labels("abc").dtype == np.float32
    assert since.labels("abc").tolist() == [1, 2, 3]


def test_nothing_is_left_behind(tmp_path):
    before = list(sys.path), set(sys.modules)
    load_features(str(write(tmp_path, GOOD)))
    assert list(sys.path) == before[0]
    assert not any("mine" in name for name in set(sys.modules) - before[1])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_the_file_is_read_as_it_is_now(tmp_path):
    template = 'import numpy as np\ndef f(text: str):\n    """F."""\n    return np.full(len(text), %d)\n'
    for value in (1, 2):
        (feature,) = load_features(write(tmp_path, template % value))
        assert feature.labels("a").tolist() == [value]


def test_a_file_of_the_name_of_a_module_does_not_hide_it(tmp_path):
    load_features(write(tmp_path, GOOD, "textwrap.py"))
    assert importlib.util.find_spec("textwrap").origin != str(tmp_path / "textwrap.py")


def returning(expression: str) -> str:
    return f'import numpy as np\n\ndef mine(text: str):\n    """Mine."""\n    return {expression}\n'


BAD = {
    "syntax": ("x = 1\ndef f(:\n", "line 2 is no Python"),
    "bytes": (b"x = '\xff'\n", "no Python"),
    "nul": (b"x = 1\0\n", "null bytes"),
    "import": ("import numpy\nimport no_such_module_here\n", "line 2 raises ModuleNotFoundError: No module named"),
    "raises": ("def g():\n    raise ValueError('a\\nb')\ng()\n", "line 2 raises ValueError: a\\nb"),
    "exits": ("import sys\nsys.exit(3)\n", "line 2 raises SystemExit: 3"),
    "nothing": ("x = 1\n", "which has none"),
    "nothing close": ("def f(line):\n    '''F.'''\n", "`def my_feature(text):`"),
    "taken": (returning("1").replace("mine", "inside_double_quotes"), "the name of a built-in feature"),
    "longer": (returning("np.zeros(len(text) + 1)"), "shape (53,) for 52 characters"),
    "deeper": (returning("np.zeros((len(text), 1))"), "shape (52, 1)"),
    "a list of lists": (returning("[[0.0], 1] * (len(text) // 2)"), "a list of unlike things"),
    "a short list": (returning("[0.0]"), "shape (1,) for 52 characters"),
    "nothing returned": (returning("None"), "an object of type NoneType"),
    "words": (returning("np.array(list(text))"), "labels of type <U1"),
    "objects": (returning("np.array([None] * len(text))"), "labels of type object"),
    "complex": (returning("np.zeros(len(text), complex)"), "labels of type complex128"),
    "inside": (returning("text.nothing"), "line 5 raises AttributeError: 'str' object has no attribute 'nothing'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_clear_line(name, tmp_path):
    source, said = BAD[name]
    with pytest.raises(ConfigError) as caught:
        load_features(write(tmp_path, source))
    message = str(caught.value)
    assert said in message, message
    assert "\n" not in message and message.startswith("expected ") and ", got " in message
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(ConfigError, match="which is not there"):
        load_features(tmp_path / "no.py")
    with pytest.raises(ConfigError, match="which is not a file"):
        load_features(tmp_path)


LATER = {
    "shape": ("np.zeros(len(text)) if 'two' in text else np.zeros(2)", r"shape \(2,\) for 1 characters"),
    "type": ("np.zeros(len(text)) if 'two' in text else np.zeros(len(text), bool)", "type bool, after another"),
    "raises": ("np.zeros(len(text)) if 'two' in text else 1 / 0", "line 5 raises ZeroDivisionError"),
}


@pytest.mark.parametrize("name", LATER)
def test_what_goes_wrong_with_another_text_is_told_as_well(name, tmp_path):
    expression, said = LATER[name]
    (feature,) = load_features(write(tmp_path, returning(expression)))
    with pytest.raises(ConfigError, match=said):
        feature.labels("a")
