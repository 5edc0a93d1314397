"""`unrolled task` as it is typed: the list, learning, the table, how both stop, and what is refused."""

import json
import re
import signal

import pytest

from typed import Typist
from unrolled import cli
from unrolled.cli import task, task_display
from unrolled.programs.judging import LengthScore
from unrolled.programs.table_cells import Cell
from unrolled.programs.tasks import TASKS

TINY = ["--family", "rnn", "--width", "8", "--batch", "4", "--steps", "3"]
TABLE = ["--tasks", "parity,adding", "--families", "rnn,mingru-negative", "--steps", "2", "--width", "8"]
TABLE += ["--batch", "4", "--points", "1", "--sequences", "2"]


@pytest.fixture
def typist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unrolled.programs.lesson_folder.EXAMPLE_LINES", 300)
    if "task" not in {verb.of for verb in cli.VERBS}:
        actions = (task.task_list, task.task_train, task.task_table)
        verbs = [cli.Verb(action, "[OPTIONS]", (), of="task") for action in actions]
        monkeypatch.setattr(cli, "VERBS", (*cli.VERBS, *verbs))
        monkeypatch.setattr(cli, "TOPICS", {**cli.TOPICS, "task": "tasks"})
    return Typist(capsys)


def test_the_list_names_every_task_with_an_example_and_its_baseline(typist):
    out = typist.good("task", "list")
    for name, found in TASKS.items():
        assert name in out and found.description in out
    assert out.count("know-nothing") == len(TASKS) and out.index("regular") < out.index("memory")
    told = typist.json("task", "list")
    assert [one["name"] for one in told] == list(TASKS)
    assert all(0 < one["chance"] < 1 and len(one["example"]) == 2 for one in told)


def test_a_task_is_learned_tested_and_kept(typist, tmp_path):
    out = typist.good("task", "train", "reverse", *TINY)
    order = [
        "task     reverse",
        "model    rnn",
        "at most 3 steps",
        "run      runs/reverse-rnn",
        "step 3/3",
        "finished at",
    ]
    order += ["1-40 trained", "41-100", "101-200", "201-500", "Not learned", "next"]
    assert [out.index(words) for words in order] == sorted(out.index(words) for words in order)
    assert out.count("know-nothing 50.0 %") == 4 and "\x1b" not in out
    told = typist.json("task", "train", "mqar", *TINY, "--run", "other")
    assert told["task"] == "mqar" and told["run"] == "other" and told["solved"] is False and told["steps"] == 3
    assert {"accuracy", "exact", "chance"} <= told["longer"].keys() and told["longer"]["chance"] == pytest.approx(
        1 / 26
    )
    scored = typist.json("score", "runs/reverse-rnn")
    assert scored["protocol"] == "pairs" and 0 <= scored["accuracy"] <= 1
    assert typist.good("sample", "runs/reverse-rnn", "--prompt", "abba").startswith("abba\t")
    assert "rnn, width 8" in typist.good("show", "runs/reverse-rnn")
    assert (tmp_path / "runs/reverse-rnn/examples.txt").exists()


def test_a_second_measure_is_told_beside_its_baseline(typist):
    out = typist.good("task", "train", "adding", *TINY)
    assert len(re.findall(r"squared error, \w+ lengths: \S+ \(know-nothing 0.1666\)", out)) == 2
    out = typist.good("task", "train", "copy-memory", *TINY)
    assert "nats per step, longer lengths" in out


def test_ctrl_c_keeps_what_there_is(typist, tmp_path, monkeypatch):
    hear = task_display.Progress.hear

    def interrupting(self, event):
        hear(self, event)
        if event.step == 10 and type(event).__name__ == "Looked":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(task_display.Progress, "hear", interrupting)
    steps = [*TINY[:-1], "400"]
    assert typist("task", "train", "parity", *steps, "--json") == 130
    told = json.loads(typist.out)
    assert told["stopped"] == "interrupted" and told["steps"] < 400 and "longer" not in told
    assert "kept in runs/parity-rnn" in typist.err and (tmp_path / "runs/parity-rnn/model.safetensors").exists()


def test_a_table_goes_on_where_it_was_and_is_drawn(typist, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    ended, left = task_display.TableProgress._ended, [1]

    def interrupting(self, event):
        ended(self, event)
        if left[0]:
            left[0] -= 1
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(task_display.TableProgress, "_ended", interrupting)
    assert typist("task", "table", *TABLE, "--out", "table") == 130
    assert "3 trials are missing" in typist.out
    out = typist.good("task", "table", *TABLE, "--out", "table")
    assert "3 trials to do, 1 done before" in out
    told = typist.json("task", "table", *TABLE, "--out", "table")
    assert told["missing"] == 0 and len(told["cells"]) == 4
    assert any(line.startswith("parity") for line in out.splitlines()) and "\x1b" not in out
    names = {path.name for path in (tmp_path / "table").iterdir()}
    assert {"table.md", "table.json", "heat.svg", "trials.jsonl"} <= names


def test_a_narrow_heat_map_comes_in_parts():
    facts = {"exact": 0.0, "trained": 1.0, "chance": 0.5, "rate": 0.1, "seeds": 3, "trials": 3}
    families = ["rnn", "mingru-negative", "transformer", "stackrnn", "window"]
    cells = [Cell(task="modular-arithmetic", family=name, best=1.0, solved=2, **facts) for name in families[:-1]]
    lines = [line.plain for line in task_display.heat(cells, families, 60)]
    assert max(map(len, lines[:-1])) <= 60
    assert all(sum(name in line.split() for line in lines) == 1 for name in families)
    assert sum("100*" in line for line in lines) >= 2 and any("█" in line for line in lines)


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (0.0, "0.0"),
        (0.6016, "60.1"),
        (0.60199, "60.1"),
        (0.29, "29.0"),
        (0.57, "57.0"),
        (0.89996, "89.9"),
        (1.0, "100.0"),
    ],
)
def test_a_share_is_rounded_down_in_the_bar_as_in_the_sentence(part, shown):
    assert task_display.share(part) == shown
    score = LengthScore(length=3, sequences=64, accuracy=part, exact=0.0, nats=1.0, chance=part)
    band = task_display._band([score], "trained", 1, 40, 80).plain
    assert f" {shown} %  know-nothing {shown} %" in band


def test_the_bar_and_the_sentence_say_the_same_number(typist):
    out = typist.good("task", "train", "parity", *TINY)
    (bar,) = re.findall(r"trained .* ([0-9.]+) %  know-nothing", out)
    (sentence,) = re.findall(r"([0-9.]+)%\)? right on the lengths of training|training \(([0-9.]+)%\)", out)
    assert bar == "".join(sentence)


def test_what_is_wrong_is_said_in_one_line(typist, tmp_path):
    assert "did you mean 'parity'" in typist.bad("task", "train", "parti")
    assert "did you mean 'lstm'" in typist.bad("task", "train", "parity", "--family", "lsmt")
    assert "one budget" in typist.bad("task", "train", "parity", "--steps", "1", "--minutes", "1")
    assert "--rates" in typist.bad("task", "table", "--rates", "0.1,fast", "--out", "table")
    assert "--tasks" in typist.bad("task", "table", "--tasks", "parity,,reverse", "--out", "table")
    assert "did you mean 'reverse'" in typist.bad("task", "table", "--tasks", "revers", "--out", "table")
    assert "--seeds" in typist.bad("task", "table", "--seeds", "0", "--out", "table")
    assert not (tmp_path / "table").exists() and not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("mine")
    assert "a file" in typist.bad("task", "table", *TABLE, "--out", "file")
    assert "a folder" in typist.bad("task", "table", *TABLE, "--out", ".")
