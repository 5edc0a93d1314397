"""The verbs that use a run: `sample`, `score`, `runs`, `show`; and the ones that need none."""

import json
import shutil
import sys

import pytest

from typed import TINY, Typist, book, hurried
from unrolled.cli import run as command_line


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


def test_sample_has_the_length_asked_for_and_follows_the_seed(typist):
    texts = [typist.good("sample", "run", "--length", "40", "--seed", seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2] and len(texts[0]) == 41
    assert typist.good("sample", "run", "--length", "0") == "\n"
    assert typist.json("sample", "run", "--length", "0")["text"] == ""


def test_sample_says_the_seed_so_that_it_can_be_repeated(typist):
    found = typist.json("sample", "run", "--length", "20")
    again = typist.json("sample", "run", "--length", "20", "--seed", found["seed"])
    assert again == found


@pytest.mark.parametrize("prompt", ["the cat", "-", "- the", "--the", "the " * 3000])
def test_prompts(prompt, typist):
    out = typist.good("sample", "run", "--prompt", prompt, "--length", "5", "--seed", "1")
    assert out.startswith(prompt) and len(out) == len(prompt) + 6


def test_a_prompt_with_unknown_characters_is_a_warning(typist):
    out = typist.good("sample", "run", "--prompt", "Щи\x1b[2J", "--length", "5")
    assert out.startswith("Щи␛[2J") and "\x1b" not in typist.err
    assert "the model has never seen 'Щ'" in typist.err and "unknown symbol" in typist.err


def test_score_is_for_scripts(typist):
    found = typist.json("score", "run")
    assert {"bits_per_char", "nats_per_char", "bits_per_byte", "chars", "protocol"} <= found.keys()
    assert found["part"] == "test" and found["protocol"] == "carried" and found["chars"] > 100
    assert found["bits_per_char"] == pytest.approx(found["nats_per_char"] / 0.6931471805599453)
    assert typist.json("score", "run", "--part", "valid", "--protocol", "reset:16")["protocol"] == "reset:16"
    assert typist.json("score", "run", "--part", "all")["chars"] > typist.json("score", "run", "--lanes", "1")["chars"]


def test_score_of_another_text_counts_what_it_does_not_know(typist, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("Щи да каша пища наша. the cat\n" * 10)
    found = typist.json("score", "run", other)
    assert found["part"] == "all" and found["unknown_chars"] > 50 and "unknown to the model" in typist.err
    assert "never seen" in typist.good("score", "run", other)


def test_score_without_the_text_it_was_trained_on(trained, typist, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["text"]["sources"] = ["gone.txt"]
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert "gone.txt" in typist.bad("score", tmp_path / "run")
    assert typist.json("score", tmp_path / "run", "book.txt")["part"] == "test"


def test_a_folder_with_three_files_is_enough_to_share(trained, typist, tmp_path):
    for name in ("config.json", "vocabulary.json", "model.safetensors"):
        shutil.copy(trained / "run" / name, tmp_path)
    assert typist.good("sample", tmp_path, "--length", "5", "--seed", "1") == typist.good(
        "sample", "run", "--length", "5", "--seed", "1"
    )
    assert "model    lstm" in typist.good("show", tmp_path)


def test_runs_lists_good_and_damaged_ones(trained, typist, tmp_path):
    assert "no runs in runs" in typist.good("runs")
    assert typist.json("runs") == []
    for name in ("good", "bad"):
        shutil.copytree(trained / "run", tmp_path / name)
    (tmp_path / "bad" / "config.json").write_text("{")
    out = typist.good("runs", tmp_path)
    assert "damaged" in out and "finished" in out and "lstm" in out
    good = next(one for one in typist.json("runs", tmp_path) if one["error"] is None)
    assert good["finished"] and good["newest"]["step"] == 6 and good["run"].endswith("good")


def test_show_tells_how_it_learned(typist):
    out = typist.good("show", "run")
    assert "6 steps of 2 lanes × 8 characters" in out and "book.txt" in out and "best look" in out
    assert "step 0" in out and "step 6" in out and "bits per character" in out
    found = typist.json("show", "run")
    assert found.keys() == {"run", "config", "metrics", "samples"} and found["metrics"][-1]["step"] == 6


def test_show_draws_milestones(trained, typist, tmp_path, monkeypatch):
    shutil.copytree(trained / "run", tmp_path / "run")
    structure = {"words": 0.03, "quotes": None, "brackets": 1, "line_lengths": 87.4, "copied": 3, "python": None}
    looks = [{"step": 10 * k, "structure": structure | {"words": 0.03 + 0.011 * k}} for k in range(81)]
    looks[0]["structure_of_text"] = {"words": 1.0, "brackets": 0.97}
    looks[40]["structure"] = None
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))
    for columns in (40, 80):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = typist.good("show", tmp_path / "run")
        words, brackets = (next(line for line in out.splitlines() if name in line) for name in ("words", "brackets"))
        assert "3 % ▁" in words and "91 %" in words and ("100 %" in words) == (columns == 80)
        assert set("▁▂▄▅▆█") <= set(words) and "██" in brackets and not set("▁▂▄▅▆") & set(brackets)
        assert "quotes" not in out and "Python" not in out and len(words) == columns
    assert typist.json("show", tmp_path / "run")["metrics"] == looks


@pytest.mark.parametrize(
    "structure", [None, "many", 3, {}, {"words": "all"}, {"words": True, "quotes": None, "copied": 10**400}], ids=str
)
def test_show_of_a_run_without_milestones(structure, trained, typist, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    looks = [{"step": step} | ({} if structure is None else {"structure": structure}) for step in (0, 6)]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))
    assert "milestones" not in typist.good("show", tmp_path / "run")


@pytest.mark.parametrize("columns", [40, 72, 80, 200])
def test_widths(columns, typist, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (["runs", "."], ["show", "run"], ["corpora"]):
        boxes = [line for line in typist.good(*words).splitlines() if line[:1] in "╭│╰"]
        assert all(len(line) <= min(columns, 100) for line in boxes)


def test_corpora(typist):
    assert [one["name"] for one in typist.json("corpora")] == ["manual", "python"]
    assert "unrolled train manual" in typist.good("corpora")


def test_doctor(typist, monkeypatch):
    monkeypatch.setattr(sys.modules["unrolled.cli.doctor"], "_product_rate", lambda _: 100.0)
    monkeypatch.setattr("unrolled.training.measure.faster_precision", lambda *_: ("float32", 0.01, 1.5))
    found = typist.json("doctor")
    assert {"torch", "cores", "threads", "compiled_kernels", "float32_gflops", "faster_precision"} <= found.keys()


def test_bench(typist, monkeypatch):
    row = {"name": "x", "unit": "u", "value": 2.0, "reference": "y", "reference_value": 1.0, "ratio": 2.0}
    monkeypatch.setattr("unrolled.benchmarks.measure_row", lambda *_: row)
    found = typist.json("bench", "gru")
    assert found and all(one == row for one in found)
    assert "plain PyTorch" in typist.good("bench", "gru", "--rounds", "1")
