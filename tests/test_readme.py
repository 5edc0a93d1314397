"""The README's Python runs as it stands, its files exist, and its verbs are the command line's."""

import re
from pathlib import Path

import pytest

import unrolled
from unrolled.cli import run as command_line

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines(tmp_path, monkeypatch, capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "book.txt").write_text('"Once upon a time," he said, "there was a text."\n' * 200)
    monkeypatch.chdir(tmp_path)
    whole = unrolled.train
    quick = {"steps": 8, "width": 16, "lanes": 4, "unroll": 16, "precision": "float32"}

    def quickly(corpus, *, minutes, **options):
        assert minutes == 3
        return whole(corpus, **quick, **options)

    monkeypatch.setattr(unrolled, "train", quickly)
    exec(compile(snippet, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "tensor" in printed
    assert len(printed) > 200
    assert (tmp_path / "runs" / "book-lstm" / "model.safetensors").exists()


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), (page, target)


def test_pages_that_the_source_names_exist():
    for file in [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"docs/[\w/-]+\.(?:md|json|svg)", file.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), (file, target)


@pytest.mark.parametrize(
    "verb",
    [
        *("demo", "train", "sample", "score", "neurons", "import", "runs", "show"),
        *("machine", "task", "corpora", "doctor", "bench"),
    ],
)
def test_every_verb_is_documented_and_has_help(verb, capsys):
    assert f"`{verb}`" in README
    page = "runs" if verb == "show" else verb
    assert f"unrolled {verb}" in (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert command_line([verb, "--help"]) == 0
    assert "Usage: unrolled " + verb in capsys.readouterr().out
