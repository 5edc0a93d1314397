"""An experiment on disk: begun once, resumed to the same bytes, finished with its best weights."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import families
import tolerances
from test_training_durable import Unsynced
from unrolled.errors import RunError, TextError, UnrolledError
from unrolled.models import ModelConfig
from unrolled.text.corpus import TextOptions, read_corpus
from unrolled.training import calibration, durable, experiment, loop
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, evaluate_part
from unrolled.training.experiment import begin, finish, load_weights
from unrolled.training.loop import train
from unrolled.training.recipe import Plan
from unrolled.training.run_config import RunConfig, describe
from unrolled.training.run_folder import FORMAT_VERSION, RunFolder

OPTIONS = TextOptions(split=(0.8, 0.1, 0.1))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(durable, "system", Unsynced())
    monkeypatch.setattr(loop, "SAMPLE_CHARACTERS", 4)


def formula(length: int, start: int = 0) -> str:
    """A text without a file: numbers that grow, so that no two lines are equal."""
    return " ".join(f"{n * n % 997}{'abcde'[n % 5]}\n" for n in range(start, start + length))[:length]


@pytest.fixture
def book(tmp_path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(formula(1500))
    return path


def plan(name: str = "lstm", **changed) -> Plan:
    settings = {"steps": 8, "lanes": 3, "unroll": 5, "rate": 0.02, "warm_up": 2, "evaluate_every": 3, "seed": 5}
    model = families.config(name, dropout=0.2)
    return Plan(model, TrainingConfig(**(settings | changed)), 1234, None, 1.0)


def started(book: Path, path: Path, **changed):
    return begin(read_corpus([book], OPTIONS), plan(**changed), path)


def resume(path, sources=None):
    """Resume as the command line does: the text is read again, as the run says."""
    return experiment.resume(
        path, lambda kept, known: read_corpus(sources or kept.find_sources(), kept.options, vocabulary=known)
    )


def run_to(found, steps: int | None = None):
    counters = found.training.counters
    with found.folder.lock():
        found.folder.truncate_logs_after(counters.step)
        stop = (lambda: False) if steps is None else (lambda: counters.step >= steps)
        return list(train(found.training, found.folder, should_stop=stop))


def left_behind(path: Path) -> dict[str, object]:
    folder = RunFolder.open(path)
    files = {file.name: file.read_bytes() for file in folder.latest().path.iterdir() if file.suffix == ".safetensors"}
    logs = [{key: value for key, value in line.items() if key != "seconds"} for line in folder.metrics()]
    return {**files, "logs": logs, "samples": folder.samples(), "best": folder.best().step}


def refused(call, *words: str, kind: type[UnrolledError] = RunError) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).isprintable()
    for word in words:
        assert word in str(caught.value)


def test_begin_writes_down_everything(book, tmp_path):
    found = started(book, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["format"] == FORMAT_VERSION
    assert config["text"]["sources"] == [str(book)]
    assert config["text"]["characters"] == {"train": 1200, "valid": 150, "test": 150}
    assert config["text"]["fingerprint"] == dataclasses.asdict(found.corpus.fingerprint)
    assert config["environment"]["torch"] == torch.__version__
    assert config["description"] == "lstm lstm, width 8, 1,234 parameters, dropout 0.2"
    read = RunConfig.from_json(config)
    assert read == found.config
    assert (read.model, read.training, read.options) == (plan().model, plan().training, OPTIONS)
    assert found.training.counters.step == 0


def test_the_first_weights_are_a_function_of_the_seed(book, tmp_path):
    torch.manual_seed(1)
    one = started(book, tmp_path / "one").training.model.state_dict()
    torch.manual_seed(2)
    two = started(book, tmp_path / "two").training.model.state_dict()
    other = started(book, tmp_path / "other", seed=6).training.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])


def test_what_cannot_begin_leaves_nothing(book, tmp_path):
    started(book, tmp_path / "run")
    refused(lambda: started(book, tmp_path / "run"), "--resume")
    refused(lambda: started(book, tmp_path / "new", unroll=5000), "5,001", kind=TextError)
    book.write_text("a" * 2000)
    refused(lambda: started(book, tmp_path / "new"), "two different characters", kind=TextError)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("name", "average"), [("lstm", 0), ("hybrid", 0), ("lstm", 3)])
@pytest.mark.parametrize("stop", [1, 3, 7])
def test_resume_makes_the_same_bytes(name, average, stop, book, tmp_path):
    whole = started(book, tmp_path / "whole", name=name, average=average)
    run_to(whole)
    first = started(book, tmp_path / "run", name=name, average=average)
    run_to(first, stop)
    torch.manual_seed(99)
    second = resume(tmp_path / "run")
    assert second.notes == () and second.training.counters.step == stop
    run_to(second)
    assert left_behind(tmp_path / "run") == left_behind(tmp_path / "whole")
    assert finish(second) == finish(whole)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_resume_says_what_differs(book, tmp_path, monkeypatch):
    run_to(started(book, tmp_path / "run"), 4)
    now = experiment.environment()
    monkeypatch.setattr(experiment, "environment", lambda: now | {"torch": "9.9", "threads": 64})
    (note,) = resume(tmp_path / "run").notes
    assert "torch" in note and "9.9" in note and "threads" in note and "may differ" in note
    assert "python" not in note


def test_resume_passes_over_a_damaged_checkpoint_and_says_so(book, tmp_path):
    whole = started(book, tmp_path / "whole")
    run_to(whole)
    run_to(started(book, tmp_path / "run"), 7)
    damaged = tmp_path / "run" / "checkpoints" / "000007" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found = resume(tmp_path / "run")
    assert found.training.counters.step == 6
    assert "000007" in found.notes[0]
    run_to(found)
    assert left_behind(tmp_path / "run") == left_behind(tmp_path / "whole")


def test_resume_finds_a_text_that_has_moved(book, tmp_path):
    run_to(started(book, tmp_path / "run"), 4)
    moved = book.rename(tmp_path / "moved.txt")
    refused(lambda: resume(tmp_path / "run"), "book.txt", kind=TextError)
    assert resume(str(tmp_path / "run"), [str(moved)]).training.counters.step == 4


def test_resume_refuses_a_changed_text_a_finished_run_and_an_edited_one(book, tmp_path):
    run_to(started(book, tmp_path / "run"), 4)
    kept = book.read_text()
    book.write_text(kept.replace("a", "A", 1))
    refused(lambda: resume(tmp_path / "run"), "the text has changed", "1,500 bytes")
    book.write_text(kept)
    run_to(resume(tmp_path / "run"))
    # Killed between the last checkpoint and the end: it only has to be finished.
    killed = resume(tmp_path / "run")
    assert [type(event).__name__ for event in run_to(killed)] == ["Stopped"]
    assert finish(killed).score is not None
    refused(lambda: resume(tmp_path / "run"), "finished at step 8 of 8")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"steps": 8', '"steps": 9'))
    refused(lambda: resume(tmp_path / "run"), "config.json", "edited")
    refused(lambda: resume(str(tmp_path / "none")), "does not exist")
    started(book, tmp_path / "new")
    refused(lambda: resume(str(tmp_path / "new")), "none; train first")


def test_finish_publishes_the_best_weights(book, tmp_path, monkeypatch):
    factors = iter([1.0, 0.5, 0.9, 2.0])
    looked = loop._scored

    def scored(training):
        score, temperature = looked(training)
        return dataclasses.replace(score, nats=score.nats * next(factors)), temperature

    monkeypatch.setattr(loop, "_scored", scored)
    found = started(book, tmp_path / "run")
    run_to(found)
    best = found.folder.best()
    assert (best.step, found.folder.latest().step) == (3, 8)
    finished = finish(found)
    score = finished.score
    assert finished.temperature == 1
    assert finish(found, should_stop=lambda: True).score is None
    weights = found.training.model.state_dict()
    assert all(torch.equal(weights[name], best.model[name]) for name in weights)
    model = plan().model.build(found.corpus.vocabulary.size)
    load_weights(model, found.folder.weights(), "here")
    assert score == evaluate_part(model, found.corpus, "valid", Protocol())
    assert score.chars == 149 and not found.training.model.training


def test_finish_calibrates_what_it_publishes_and_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "LEAST_CHARACTERS", 100)
    book = tmp_path / "book.txt"
    book.write_text(formula(1500))
    found, raw = started(book, tmp_path / "run", rate=0.2), started(book, tmp_path / "raw", rate=0.2, uncalibrated=True)
    finished = {}
    for each in (found, raw):
        run_to(each)
        files = {file: file.read_bytes() for file in each.folder.latest().path.iterdir()}
        finished[each.folder.path.name] = finish(each)
        assert finish(each) == finished[each.folder.path.name]
        assert {file: file.read_bytes() for file in each.folder.latest().path.iterdir()} == files
    run, plain = finished["run"], finished["raw"]
    assert run.temperature != 1 and plain.temperature == 1
    assert run.score.nats < plain.score.nats
    for each, score, own in ((found, run.score, [run.temperature]), (raw, plain.score, [])):
        looks = each.folder.metrics()
        best = min(looks, key=lambda look: look["valid_bits_per_char"])
        assert best["step"] == each.folder.best().step
        assert best["valid_bits_per_char"] == pytest.approx(score.bits_per_char, rel=tolerances.FOLDED32)
        assert looks[0]["temperature"] == 1
        assert [look["temperature"] for look in looks if look["temperature"] != 1][-1:] == [round(t, 4) for t in own]
    learned, published = found.folder.best().model, found.folder.weights()
    assert torch.equal(published["readout.weight"], learned["readout.weight"] / run.temperature)
    assert {name for name in learned if not torch.equal(learned[name], published[name])} == {
        "readout.weight",
        "readout.bias",
    }
    assert all(torch.equal(value, learned[name]) for name, value in raw.folder.weights().items())


def test_untrained_weights_and_interrupted_calibrations_are_published_as_they_are(book, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "LEAST_CHARACTERS", 100)
    untrained = started(book, tmp_path / "untrained", steps=0)
    run_to(untrained)
    assert finish(untrained).temperature == 1
    hurried = started(book, tmp_path / "hurried")
    run_to(hurried)
    assert finish(hurried, should_stop=lambda: True) == experiment.Finished(None)
    for each in (untrained, hurried):
        kept = each.folder.best().model
        assert all(torch.equal(value, kept[name]) for name, value in each.folder.weights().items())


def test_without_a_validation_part_there_is_no_score(book, tmp_path):
    options = TextOptions(split=(1.0, 0.0, 0.0))
    found = begin(read_corpus([book], options), plan(), tmp_path / "run")
    run_to(found)
    assert finish(found) == experiment.Finished(None)
    assert found.folder.best().step == found.folder.latest().step == 8
    assert all(line["valid_bits_per_char"] is None for line in found.folder.metrics())


def test_validation_and_test_characters_never_influence_the_weights(tmp_path):
    kept = {}
    for name, ending in (("one", formula(300, 7)), ("two", formula(300, 4000)), ("three", "é\n" * 150)):
        book = tmp_path / f"{name}.txt"
        book.write_text(formula(1200) + ending)
        corpus = read_corpus([book], OPTIONS)
        found = begin(corpus, plan(), tmp_path / name)
        run_to(found)
        kept[name] = (found.folder.latest().path / "model.safetensors").read_bytes(), corpus.vocabulary
        assert set(corpus.part("valid").tolist() + corpus.part("test").tolist()) - {0} or name == "three"
    assert kept["one"] == kept["two"] == kept["three"]


def test_weights_that_do_not_fit_are_named():
    model, other = families.model("lstm"), families.model("lstm", width=9)
    refused(
        lambda: load_weights(model, other.state_dict(), "somewhere"),
        "branches.0.bias_hh",
        "(32,)",
        "(36,)",
        "somewhere",
    )
    short = dict(model.state_dict())
    short.pop("readout.bias")
    refused(lambda: load_weights(model, short, "x"), "readout.bias", "none")
    refused(lambda: load_weights(model, {**model.state_dict(), "zz": torch.zeros(1)}, "x"), "zz", "none")
    assert describe(ModelConfig.from_json(families.config("rnn", plain=True).to_json()), 5).endswith(
        "5 parameters, plain"
    )


@pytest.mark.parametrize("missing", ["model", "training", "text"])
def test_a_configuration_without_its_parts(missing, book, tmp_path):
    config = dict(started(book, tmp_path / "run").folder.config)
    config.pop(missing)
    refused(lambda: RunConfig.from_json(config), missing)
