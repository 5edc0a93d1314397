"""Everything that can be typed wrong: status 2, one line that says what to do, and nothing is left behind."""

import os

import pytest

from typed import TINY, Typist, book, hurried

NEW = ["--run", "new"]
TRAIN = ["train", "book.txt", "--steps", "2", *NEW]


@pytest.fixture
def typist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hurried(monkeypatch)
    (tmp_path / "book.txt").write_text(book())
    (tmp_path / "empty.txt").touch()
    (tmp_path / "one.txt").write_text("a" * 500)
    (tmp_path / "short.txt").write_text("abab")
    (tmp_path / "broken.txt").write_bytes(b"fine\nline \xff\xfe" * 50)
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "x.bin").write_bytes(bytes(range(256)) * 8)
    os.mkfifo(tmp_path / "pipe")
    return Typist(capsys)


MISTAKES = {
    # what is typed: what the line must say
    "tarin": ["a verb", "'tarin'", "did you mean 'train'?"],
    "zzz": ["a verb", "choose one of bench"],
    "--verison": ["'--version'"],
    "train": ["a text to train on"],
    "train book.txt --familly gru": ["an option of `unrolled train`", "did you mean '--family'?"],
    "score new --protocl reset:3": ["an option of `unrolled score`", "did you mean '--protocol'?"],
    "doctor --jsn": ["did you mean '--json'?"],
    "corpora more": ["no more arguments", "'more'"],
    "sample": ["RUN for `unrolled sample`"],
    "show": ["RUN for `unrolled show`"],
    "score": ["RUN for `unrolled score`"],
    "train book.txt --steps": ["a value after --steps"],
    "train book.txt --steps many": ["a whole number after --steps", "'many'"],
    "train book.txt --steps 1.5": ["a whole number after --steps", "'1.5'"],
    "train book.txt --rate fast": ["a number after --rate"],
    "train book.txt --rate nan": ["a number after --rate"],
    "train book.txt --params 1Q": ["a count such as 500, 300k or 1M after --params", "'1Q'"],
    "train book.txt --params 0": ["a count"],
    "train book.txt --chars -5": ["a count"],
    "train book.txt --steps 2 --steps 3": ["--steps once"],
    "train book.txt --steps 2 --minutes 3": ["one budget"],
    "train book.txt --minutes 0": ["minutes above 0"],
    "train book.txt --steps -1": ["steps from 0"],
    "train book.txt --width 0": ["--width"],
    "train book.txt --width 8 --params 1M": ["one size"],
    "train book.txt --params 5 --steps 1": ["parameters"],
    "train book.txt --dropout 2": ["a dropout"],
    "train book.txt --lanes 0": ["lanes from 1"],
    "train book.txt --unroll 0": ["unroll from 1"],
    "train book.txt --precision float16": ["float32 or bfloat16"],
    "train book.txt --seed -1": ["seed from 0"],
    "train book.txt --family gruu": ["a family", "did you mean 'gru'?"],
    "train book.txt --family zzz": ["choose one of circuit, gru"],
    "train book.txt --layers wavnet": ["did you mean 'wavenet'?"],
    "train book.txt --layers lstm(x=3)": ["'x'"],
    "train book.txt --layers=": ["1 to 256 layers"],
    "train book.txt --split 1,2": ["three fractions"],
    "train book.txt --encoding klingon": ["a text encoding"],
    "train book.txt --min-count 0": ["a minimum count"],
    "train bok.txt": ["a text to read", "did you mean 'book.txt'?"],
    "train nothing*": ["at least one text"],
    "train manul": ["did you mean 'manual'?"],
    "train builtin:nope": ["a built-in text"],
    "train empty": ["the folder empty"],
    "train pictures": ["the folder pictures", "--bytes"],
    "train empty.txt": ["which is empty"],
    "train pipe": ["a FIFO"],
    "train /dev/null": ["a device"],
    "train broken.txt": ["byte 0xFF", "line 2", "--bytes"],
    "train one.txt": ["two different characters"],
    "train short.txt --unroll 8": ["at least 9 characters"],
    "train book.txt --config nothing.toml": ["a TOML file after --config", "No such file"],
    "train --resume": ["--run DIR with --resume"],
    "train --resume --run nothing": ["a run folder"],
    "train --resume --run nothing --steps 3": ["no other option with --resume", "--steps"],
    "train book.txt --steps 1 --run book.txt": ["a new or empty folder at book.txt", "a file"],
    "train book.txt --steps 1 --run pictures": ["a folder with other files"],
    "sample nothing": ["a run folder", "nothing"],
    "sample book.txt": ["config.json"],
    "sample empty": ["config.json"],
    "sample empty --length -1": ["--length from 0"],
    "sample empty --length 1e9": ["a whole number"],
    "sample empty --temperature -1": ["a temperature from 0"],
    "sample empty --top-k 0": ["--top-k"],
    "sample empty --top-p 2": ["--top-p"],
    "sample empty --seed -1": ["--seed"],
    "score empty --part tests": ["all, train, valid or test after --part", "did you mean 'test'?"],
    "score empty --protocol reste:3": ["a protocol"],
    "score empty --lanes 0": ["--lanes of at least 1"],
    "show empty": ["config.json"],
    "runs nothing": ["a folder of runs"],
    "runs book.txt": ["a folder of runs"],
    "bench lsmt": ["a word from a row's name", "did you mean 'lstm'?"],
    "bench --rounds 0": ["--rounds of at least 1"],
    "demo --minutes 0": ["minutes above 0"],
    "demo --minutes x": ["a number after --minutes"],
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line(typed, typist, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    line = typist.bad(*typed.split())
    for words in MISTAKES[typed]:
        assert words in line
    assert sorted(tmp_path.rglob("*")) == before, "something was left behind"


def test_hostile_names_are_shown_not_obeyed(typist, tmp_path):
    name = "two\nlines\x1b]0;title\x07\u202e"
    assert "\x1b" not in typist.bad("train", name) + typist.bad("show", name) + typist.bad(name)
    (tmp_path / name).write_text(book())
    typist.good("train", name, *TINY, "--run", name + " run")
    shown = typist.out + typist.err + typist.good("show", name + " run") + typist.good("runs", ".")
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert all(line.split() != ["lines"] for line in shown.splitlines())


SETTINGS = {
    # what stands in the file: what the line must say
    "stepz = 3": ["an option in x.toml", "did you mean 'steps'?"],
    'steps = "many"': ["a whole number for steps in x.toml"],
    "steps = true": ["one value for steps in x.toml", "true"],
    "steps = 1.5": ["a whole number for steps in x.toml", "'1.5'"],
    "steps = [3]": ["one value for steps"],
    "steps = {a = 3}": ["one value for steps"],
    'plain = "yes"': ["true or false for plain"],
    'params = "1Q"': ["a count", "for params in x.toml"],
    'family = "gruu"': ["did you mean 'gru'?"],
    "steps = = 3": ["a TOML file", "line 1"],
    "[train]\nsteps = 3": ["an option in x.toml", "'train'"],
    'config = "y.toml"': ["an option in x.toml", "'config'"],
}


@pytest.mark.parametrize("written", SETTINGS)
def test_a_mistake_in_a_settings_file_is_one_line(written, typist, tmp_path):
    (tmp_path / "x.toml").write_text(written)
    line = typist.bad("train", "book.txt", "--config", "x.toml", *NEW)
    for words in SETTINGS[written]:
        assert words in line
    assert not (tmp_path / "new").exists()


def test_a_settings_file_that_is_no_text(typist, tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in typist.bad("train", "book.txt", "--config", "x.toml")
    assert "directory" in typist.bad("train", "book.txt", "--config", "empty")


def test_what_is_typed_wins_over_a_settings_file(typist, tmp_path):
    (tmp_path / "x.toml").write_text(
        'texts = ["book.txt"]\nsteps = 5\nwidth = 8\nlanes = 2\nunroll = 8\nprecision = "float32"\n'
        'plain = true\nwarm_up = 3\nweight-decay = 0\nsplit = [0.8, 0.1, 0.1]\nrun = "new"\n'
    )
    assert typist.json("train", "--config=x.toml", "--steps", "3")["steps"] == 3
    config = typist.json("show", "new")["config"]
    assert config["training"]["warm_up"] == 3 and config["training"]["weight_decay"] == 0
    assert config["text"]["options"]["split"] == [0.8, 0.1, 0.1] and config["model"]["stack"]["plain"] is True


def test_a_file_that_is_called_like_an_option(typist, tmp_path):
    (tmp_path / "-x").write_text(book())
    typist.good("train", "-x", *TINY, *NEW)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_no_memory(error, typist, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("unrolled.training.recipe.make_plan", fail)
    assert "memory" in typist.bad(*TRAIN)


def test_other_errors_are_bugs_and_not_hidden(typist, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("unrolled.training.recipe.make_plan", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        typist(*TRAIN)
