"""Births: scores at kept steps are those of the weights of that step, and a planted rise is dated."""

import numpy as np
import pytest
import torch

import families
from test_training_durable import Unsynced
from test_training_loop import create
from unrolled.neurons import birth
from unrolled.neurons.birth import Birth, births
from unrolled.neurons.findings import Candidate
from unrolled.neurons.statistics import score_pair
from unrolled.neurons.streaming import record_units
from unrolled.training import durable

IDS = np.random.Generator(np.random.PCG64(5)).integers(1, families.VOCAB, size=1500).astype(np.uint8)
LABELS = {"three": IDS == 3, "number": IDS.astype(np.float32)}
SECONDS = {0: 0.0, 100: 6.0, 200: 12.4, 300: 18.0, 400: 95.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(durable, "system", Unsynced())


def fresh():
    return families.model("toy", dtype=torch.float32)


def candidate(unit="layer0.drive[2]", feature="three", **changes) -> Candidate:
    settings = {"interval": (1.0, 1.0)} | dict.fromkeys(("score", "discovery_score", "probe_score"), 1.0)
    settings |= {"unit": unit, "feature": feature, "description": "", "kind": "yes-no", "sign": 1, "gain": 1.0}
    settings |= {"character_score": 0.5, "beyond_character": 0.5, "untrained_score": 0.6, "p": 0.01}
    return Candidate(**(settings | {"probe_layer": "layer0"} | changes))


def planted(level: float):
    """A model whose unit layer0.drive[2] sees symbol 3 this clearly among other things."""
    model = fresh()
    with torch.no_grad():
        model.embedding.weight[:, 0] -= level
        model.embedding.weight[3, 0] += 2 * level
        model.branches[0].input.weight[2, 0] += level
    return model


def run_with(tmp_path, levels):
    folder = create(tmp_path / "run")
    for number, level in enumerate(levels):
        folder.keep_snapshot(100 * number, planted(level).state_dict(), every=100)
    return folder


def test_scores_are_those_of_each_step_s_weights(tmp_path):
    folder = run_with(tmp_path, [0.0, 1.0, 3.0])
    chosen = [
        candidate(),
        candidate(feature="number", kind="number", sign=-1, untrained_score=0.1),
        candidate("layer1.average[5]"),
    ]
    found = births(folder, fresh, chosen, IDS, LABELS)
    assert found.notes == () and found.births.keys() == {(one.unit, one.feature) for one in chosen}
    for one in chosen:
        points = found.points[one.unit, one.feature]
        assert [step for step, _ in points] == [0, 100, 200]
        for step, score in points:
            model = fresh()
            model.load_state_dict(folder.snapshot(step))
            values_T = record_units(model, IDS, [one.unit])[:, 0]
            assert score == score_pair(values_T, LABELS[one.feature], one.kind, one.sign)


def test_a_planted_rise_is_dated(tmp_path):
    folder = run_with(tmp_path, [0.0, 0.0, 3.0, 3.0])
    found = births(folder, fresh, [candidate()], IDS, LABELS).births["layer0.drive[2]", "three"]
    assert found.points[-1][1] > 0.95 and found.points[1][1] < 0.7
    assert (found.after, found.by) == (100, 200)
    assert found.sentence(SECONDS) == "layer0.drive[2] appeared between step 100 and 200 (6 s to 12 s)"


@pytest.mark.parametrize(
    ("scores", "after", "by"),
    [
        ([0.5, 0.6, 0.9, 1.0], 100, 200),
        ([0.5, 0.9, 0.6, 1.0], 200, 300),
        ([0.9, 0.9, 0.9], None, 0),
        ([0.5, 0.8, 1.0], 0, 100),  # exactly halfway is enough
        ([0.5, 0.79, 1.0], 100, 200),
        ([0.5, 0.9, 0.6], None, None),
        ([0.5, 0.55, 0.58], None, None),
        ([0.99], None, 0),
        ([], None, None),
    ],
)
def test_it_appeared_where_it_stays_halfway(scores, after, by):
    found = birth._birth(candidate(), [(100 * number, score) for number, score in enumerate(scores)])
    assert (found.after, found.by) == (after, by)
    assert found.points == tuple((100 * number, score) for number, score in enumerate(scores))


@pytest.mark.parametrize(
    ("after", "by", "sentence"),
    [
        (200, 400, "u[1] appeared between step 200 and 400 (12 s to 1 min 35 s)"),
        (1200, 2400, "u[1] appeared between step 1,200 and 2,400"),
        (None, 0, "u[1] was there at step 0, the first that was kept"),
        (None, None, "u[1] never rose above what untrained models reach"),
    ],
)
def test_sentences(after, by, sentence):
    assert Birth("u[1]", "f", ((0, 0.5),), after, by).sentence(SECONDS) == sentence


def test_a_run_that_kept_nothing_is_not_said_to_have_learned_nothing():
    assert Birth("u[1]", "f", ()).sentence(SECONDS) == "u[1]: the run kept no weights of its past"


def test_what_cannot_be_read_is_left_out_and_noted(tmp_path):
    folder = run_with(tmp_path, [0.0, 1.0, 2.0, 3.0])
    (folder.path / "snapshots" / "000100.safetensors").write_bytes(b"half")
    folder.keep_snapshot(400, families.model("rnn", dtype=torch.float32).state_dict(), every=100)
    found = births(folder, fresh, [candidate()], IDS, LABELS)
    assert [step for step, _ in found.points["layer0.drive[2]", "three"]] == [0, 200, 300]
    assert len(found.notes) == 2 and "000100" in found.notes[0] and "400" in found.notes[1]


def test_a_run_without_a_past_and_a_search_without_findings(tmp_path):
    folder = create(tmp_path / "run")
    assert births(folder, fresh, [], IDS, LABELS).points == {}
    found = births(folder, fresh, [candidate()], IDS, LABELS)
    assert found.points == {("layer0.drive[2]", "three"): ()} and found.births["layer0.drive[2]", "three"].by is None


def test_only_the_head_of_a_long_text_is_read(tmp_path, monkeypatch):
    folder = run_with(tmp_path, [2.0])
    short = births(folder, fresh, [candidate()], IDS[:700], {"three": LABELS["three"][:700]}).points
    monkeypatch.setattr(birth, "MOST_CHARACTERS", 700)
    assert births(folder, fresh, [candidate()], IDS, LABELS).points == short


def test_it_can_be_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        births(run_with(tmp_path, [1.0]), fresh, [candidate()], IDS, LABELS, should_stop=lambda: True)
