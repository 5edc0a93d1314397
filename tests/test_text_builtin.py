"""Built-in texts: they exist, are split by document, and nothing of the held-out parts stands in train."""

import importlib
import re
import sysconfig

import pytest

from unrolled.errors import TextError
from unrolled.text import builtin
from unrolled.text.builtin import assign, describe, documents

SPLIT = (0.9, 0.05, 0.05)


def paragraphs(part):
    found = (" ".join(block.split()) for _, text in part for block in re.split(r"\n\s*\n", text) if len(block) >= 80)
    return set(found)


@pytest.mark.parametrize("name", ["manual", "python"])
def test_nothing_held_out_stands_in_train(name):
    parts = assign(documents(name), SPLIT)
    train, valid, test = map(paragraphs, parts)
    assert valid and test
    assert not train & valid and not train & test and not valid & test
    sizes = [sum(len(text) for _, text in part) for part in parts]
    assert [size / sum(sizes) for size in sizes] == pytest.approx(SPLIT, abs=0.01)


def test_they_are_the_same_each_time():
    assert documents("manual") == documents("manual")
    assert [(text.name, text.characters > 300_000) for text in describe()] == [("manual", True), ("python", True)]


def test_every_document_goes_somewhere():
    texts = [(str(i), "x" * i) for i in range(1, 50)]
    for split in [(1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.2, 0.3, 0.5)]:
        assert sorted(doc for part in assign(texts, split) for doc in part) == sorted(texts)
    assert [len(part) for part in assign(texts, (1.0, 0.0, 0.0))] == [49, 0, 0]


def test_a_python_without_them_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path / "python.zip"))

    def missing(_name):
        raise ImportError

    monkeypatch.setattr(importlib, "import_module", missing)
    for name in ("manual", "python"):
        with pytest.raises(TextError, match="name a file"):
            documents(name)
    assert [text.characters for text in describe()] == [None, None]


def test_short_blocks_of_source_may_repeat(monkeypatch):
    long, short = "# " + "long " * 30, "pass"
    source = [
        ("a", f"{long}\n\n{short}\n\none"),
        ("b", f"{long}\n\n{short}\n\ntwo"),
        ("c", f"{long}\n\n{short}\n\ntwo"),
    ]
    monkeypatch.setattr(builtin, "_python", lambda: iter(source))
    text = "".join(text for _, text in documents("python"))
    assert (text.count("long " * 30), text.count("pass"), text.count("two")) == (1, 2, 1)
