"""The Python API end to end, for a built-in family and for one from outside: train, open, write, score, watch."""

import json
import shutil
from dataclasses import asdict
from itertools import islice

import numpy as np
import pytest
import torch

import families
import unrolled
from tolerances import SPLIT32
from unrolled.errors import ConfigError, RunError, TextError
from unrolled.laboratory import new_run_path
from unrolled.training import recipe
from unrolled.training.events import Evaluated, Saved, Stopped, Wrote

TEXT = "".join(f"the {n} cats sat on {n * n % 97} mats.\n" for n in range(150))
ASKED = {"steps": 12, "width": 16, "lanes": 4, "unroll": 8, "precision": "float32", "seed": 7}


@pytest.fixture(scope="module")
def corpus():
    return unrolled.corpus_from_text(TEXT)


@pytest.fixture(scope="module", params=["lstm", "toy", "hybrid"])
def trained(request, corpus, tmp_path_factory):
    """A run, its events, and the run's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "seconds_per_step", lambda *_given, **_named: 0.01)
        events = []
        path = tmp_path_factory.mktemp("runs") / request.param
        kind = {"layers": families.PATTERNS["hybrid"]} if request.param == "hybrid" else {"family": request.param}
        run = unrolled.train(corpus, run=path, listen=events.append, **kind, **ASKED)
    return run, events


def test_training_tells_what_happens_and_saves(trained):
    run, events = trained
    assert {type(event) for event in events} >= {Evaluated, Wrote, Saved, Stopped}
    assert isinstance(events[-1], Stopped) and (events[-1].step, events[-1].reason) == (12, "finished")
    assert not run.model.training
    assert {"config.json", "vocabulary.json", "metrics.jsonl", "samples.jsonl", "model.safetensors"} <= {
        file.name for file in run.path.iterdir()
    }
    scores = [event.score.bits_per_char for event in events if isinstance(event, Evaluated)]
    assert min(scores[1:]) < scores[0]


def test_a_run_that_is_opened_is_the_run_that_was_trained(trained):
    run, _ = trained
    again = unrolled.open_run(str(run.path))
    assert again.config == run.config and again.vocabulary == run.vocabulary
    assert again.sample("the ", 50, seed=3) == run.sample("the ", 50, seed=3)
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name])


def test_a_shared_folder_needs_three_files(trained, tmp_path):
    run, _ = trained
    for name in ("config.json", "vocabulary.json", "model.safetensors"):
        with pytest.raises(RunError):
            unrolled.open_run(tmp_path)
        shutil.copy(run.path / name, tmp_path)
    assert unrolled.open_run(tmp_path).sample("a", 30) == run.sample("a", 30)


def test_writing(trained):
    run, _ = trained
    text = run.sample("the cat", 80, seed=5, temperature=0.7, top_k=9)
    assert len(text) == 80 and set(text) <= set(TEXT)
    assert text == "".join(islice(run.write("the cat", seed=5, temperature=0.7, top_k=9), 80))
    assert text != run.sample("the cat", 80, seed=6, temperature=0.7, top_k=9)
    assert len(run.sample(length=10)) == 10
    assert len(run.sample("Ωß", 10)) == 10, "what was never seen is read as the unknown symbol"
    with pytest.raises(ConfigError):
        run.sample("a", 3, temperature=-1.0)
    with pytest.raises(ConfigError):
        run.sample("", 3)
    with pytest.raises(ConfigError, match="did you mean 'temperature'"):
        run.sample("a", 3, temprature=1.0)
    with pytest.raises(ConfigError, match="a field of SamplingOptions"):
        run.samples("a", 3, seeds=[1], colour=1.0)


def test_scoring(trained, corpus):
    run, events = trained
    best = min(event.score.bits_per_char for event in events if isinstance(event, Evaluated))
    valid = run.score(corpus, "valid")
    assert valid.bits_per_char == pytest.approx(best)
    assert str(valid.protocol) == "carried"
    test, cold = run.score(corpus), run.score(corpus, protocol="reset:4")
    assert test.chars == cold.chars == len(corpus.part("test")) - 1
    assert cold != test
    whole = run.score(corpus, "all")
    # The first character is not predicted, and its bytes are not counted either.
    assert (whole.chars, whole.utf8_bytes) == (len(TEXT) - 1, len(TEXT[1:].encode()))
    with pytest.raises(ConfigError, match="did you mean 'test'"):
        run.score(corpus, "tset")


def test_reading_gives_log_probabilities_and_a_state_to_go_on_from(trained, corpus):
    run, _ = trained
    whole, after = run.read("the 5 cats")
    assert whole.shape == (10, run.vocabulary.size)
    torch.testing.assert_close(whole.exp().sum(-1), torch.ones(10))
    first, state = run.read("the 5")
    second, state = run.read(" cats", state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=SPLIT32)
    assert state.keys() == after.keys()
    nothing, _ = run.read("")
    assert nothing.shape == (0, run.vocabulary.size)
    ids = run.vocabulary.encode(TEXT[:100]).astype(np.int64)
    nats = -run.read(TEXT[:100])[0][:-1].gather(-1, torch.from_numpy(ids)[1:, None]).sum().item()
    assert unrolled.evaluate(run.model, ids, unrolled.Protocol()).nats == pytest.approx(nats, rel=1e-5)


def test_every_unit_can_be_watched_and_edited_by_name(trained):
    run, _ = trained
    seen = {name: [] for name in run.model.units}
    run.read("the cats", tap=unrolled.Watch(lambda name, value: seen[name].append(value.clone())))
    shapes = {name: torch.cat(blocks, dim=1).shape for name, blocks in seen.items()}
    assert shapes == {name: (1, 8, size) for name, size in run.model.units.items()}
    plain, _ = run.read("the cats")
    group = next(iter(run.model.units))
    edited, _ = run.read("the cats", tap=unrolled.Edit(lambda _, value: value + 1.0, pattern=group))
    assert not torch.allclose(plain, edited)
    assert unrolled.parse_unit(f"{group}[3]", run.model.units) == (group, 3)


def test_the_configuration_says_what_was_trained(trained):
    run, _events = trained
    config = json.loads((run.path / "config.json").read_text())
    assert unrolled.__version__ == config["unrolled"]
    assert run.config.to_json(unrolled.__version__) == config
    assert config["training"]["steps"] == 12 and config["training"]["seed"] == 7
    assert unrolled.ModelConfig.from_json(config["model"]).to_json() == config["model"]
    assert config["parameters"] == unrolled.parameter_count(run.model)
    assert config["text"]["sources"] == ["a string"]


def test_the_same_request_trains_the_same_weights(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "seconds_per_step", lambda *_given, **_named: 0.01)
    runs = [unrolled.train(corpus, run=tmp_path / name, family="gru", **ASKED) for name in "ab"]
    for name, value in runs[0].model.state_dict().items():
        assert torch.equal(value, runs[1].model.state_dict()[name])


def test_a_run_is_never_written_over(corpus, trained):
    run, _ = trained
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(RunError, match="--resume"):
        unrolled.train(corpus, run=run.path, **ASKED)
    assert (run.path / "config.json").read_bytes() == before


def test_a_text_that_is_too_short_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "seconds_per_step", lambda *_given, **_named: 0.01)
    with pytest.raises(TextError):
        unrolled.train(unrolled.corpus_from_text("abab"), run=tmp_path / "run", **ASKED)
    assert not (tmp_path / "run").exists()


def test_run_paths_are_free_and_say_what_is_in_them(tmp_path):
    request = unrolled.Request(family="gru")
    assert new_run_path(["/some/My book (2).txt"], request, tmp_path) == tmp_path / "My-book--2-gru"
    (tmp_path / "a-gru").mkdir()
    assert new_run_path(["a.txt"], request, tmp_path).name == "a-gru-2"
    (tmp_path / "a-gru-2").touch()
    assert new_run_path(["a.txt"], request, tmp_path).name == "a-gru-3"
    assert new_run_path(["a", "b"], request, tmp_path).name == "2-texts-gru"
    assert new_run_path(["builtin:manual"], unrolled.Request(layers="rnn"), tmp_path).name == "manual-rnn"
    assert new_run_path(["-"], request, tmp_path).parent == tmp_path
    assert "/" not in new_run_path(["../../x/.."], request, tmp_path).name


def test_a_request_is_plain_data():
    assert unrolled.Request(**asdict(unrolled.Request(steps=3))) == unrolled.Request(steps=3)
