"""Learning a task: what is asked, what counts as right, how it ends, what it leaves, and the table of many of them."""

import dataclasses
import json
import random

import numpy as np
import pytest
import torch

from unrolled.errors import ConfigError, RunError, RunLockedError, TrainingError
from unrolled.laboratory import open_run
from unrolled.models import parse_layers
from unrolled.models.sequence_model import SequenceModel
from unrolled.programs import learning, lessons
from unrolled.programs.heat import colour, markdown, percent, svg
from unrolled.programs.judging import bands, judge, lines_of, mean_of, spread, vocabulary_of
from unrolled.programs.learning import Judged, LearnRequest, Looked, begin, keep, learn, outcome, test, update
from unrolled.programs.table import TableRequest, TrialBegan, TrialEnded, all_families, open_table, run_table
from unrolled.programs.table_cells import Trial, cells_of
from unrolled.programs.tasks import TASKS
from unrolled.training.events import Skipped, Stopped
from unrolled.training.optimizer import Optimizer

test.__test__ = False

TINY = {"width": 8, "batch": 4, "steps": 3, "family": "rnn"}
EASY = dataclasses.replace(TASKS["parity"], trained=8, longest=40)


class Fixed(SequenceModel):
    """A model whose logits are a function of the last symbol alone: a table."""

    def __init__(self, table_VV):
        super().__init__()
        self.vocab_size = len(table_VV)
        self.table = torch.nn.Parameter(torch.as_tensor(table_VV, dtype=torch.float32))

    units = {}  # noqa: RUF012

    def initial_state(self, batch):
        return {}

    def forward(self, tokens_BT, state=None, *, tap=None):
        return self.table[tokens_BT], {}


def always(task, symbol):
    """A model that says the same symbol whatever it reads."""
    vocabulary = vocabulary_of(task)
    table = np.zeros((vocabulary.size, vocabulary.size))
    table[:, vocabulary.symbols.index(symbol)] = 9
    return Fixed(table), vocabulary


def test_what_never_looks_at_the_input_reaches_chance():
    model, vocabulary = always(TASKS["parity"], "1")
    (score,) = judge(model, TASKS["parity"], vocabulary, [41], sequences=400)
    assert score.accuracy == pytest.approx(score.chance, abs=0.08) and score.exact == 0, "the line must end, too"
    model, vocabulary = always(TASKS["mqar"], "Q")
    (score,) = judge(model, TASKS["mqar"], vocabulary, [40], sequences=400)
    assert score.accuracy == pytest.approx(score.chance, abs=0.02)


def test_a_model_reads_back_its_own_answer_and_not_the_right_one():
    """Who repeats the symbol before would be nearly right on a sorted string if the right one were shown."""
    task = TASKS["bucket-sort"]
    vocabulary = vocabulary_of(task)
    (score,) = judge(Fixed(9 * np.eye(vocabulary.size)), task, vocabulary, [60], sequences=10)
    assert score.accuracy == 0
    lines = lines_of(task, vocabulary, task.examples(random.Random(1), 60, 10))
    inputs_BT, targets_BT = lines.batch(np.arange(10))
    assert (inputs_BT == targets_BT).sum() / (targets_BT >= 0).sum() > 0.85


def test_first_symbols_that_are_right_count_although_the_rest_is_wrong():
    task = TASKS["reverse"]
    model, vocabulary = always(task, "a")
    scores = list(judge(model, task, vocabulary, [5, 50], sequences=64))
    for score in scores:
        draws = random.Random(f"{0x7E57} 1 {score.length}")
        targets = [target for _, target in task.examples(draws, score.length, 64, unseen=True)]
        assert score.accuracy == pytest.approx(sum(t.count("a") / len(t) for t in targets) / 64)
        assert score.exact == 0


def test_what_is_written_for_numbers_is_their_mean():
    """Sure of 0.99 for every question: the squared error is that of knowing nothing, up to chance."""
    task = TASKS["adding"]
    model, vocabulary = always(task, task.answers[99])
    with torch.no_grad():
        model.table.mul_(10)
    (score,) = judge(model, task, vocabulary, [60], sequences=600)
    assert score.measured == pytest.approx(score.know_nothing, abs=0.03)
    assert score.accuracy == pytest.approx(score.chance, abs=0.04)


def test_knowing_nothing_costs_what_is_published_for_copy_memory():
    task = TASKS["copy-memory"]
    vocabulary = vocabulary_of(task)
    table = np.full((vocabulary.size, vocabulary.size), -50.0)
    table[:, [vocabulary.symbols.index(symbol) for symbol in task.answers]] = 0
    (score,) = judge(Fixed(table), task, vocabulary, [100], sequences=8)
    assert score.measured == pytest.approx(10 * np.log(8) / 120) == score.know_nothing


def test_an_easy_task_is_learned_and_beyond_the_lengths_of_training():
    lesson = begin(EASY, LearnRequest(family="mingru-negative", width=16, batch=16, steps=600))
    events = list(learn(lesson))
    assert lesson.stopped == "no mistakes any more" and lesson.step < 600 and lesson.share() == 0
    assert isinstance(events[-1], Stopped) and [event for event in events if isinstance(event, Looked)][-1].exact == 1
    assert len([event for event in test(lesson, points=2) if isinstance(event, Judged)]) == 8
    found = outcome(lesson)
    assert found.solved and found.headline is found.longer and found.longer.accuracy > 0.95
    assert found.trained.exact == 1


def test_the_same_seed_learns_the_same_to_the_last_bit():
    def weights(seed):
        lesson = begin(EASY, LearnRequest(**TINY, seed=seed))
        list(learn(lesson))
        return torch.cat([value.flatten() for value in lesson.model.state_dict().values()])

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_only_what_is_asked_has_a_gradient():
    """Of the readout, rows of symbols never asked for and never likely learn only by being pushed down together."""
    lesson = begin(TASKS["mqar"], LearnRequest(**TINY))
    lines = lines_of(lesson.task, lesson.vocabulary, [lesson.task.draw(random.Random(1), 20)])
    _, targets_BT = lines.batch(np.arange(1))
    assert (targets_BT >= 0).sum() == 4
    loss, read = update(lesson, Optimizer(lesson.model, lesson.training))
    assert loss == pytest.approx(np.log(lesson.vocabulary.size), abs=0.3) and read >= 4 * 16


def test_more_room_changes_no_weight():
    for pattern in ("transformer(window=9)", "stackrnn", "tapernn", "lstm", "window"):
        config = lessons.ModelConfig(stack=lessons.StackConfig(width=8), layers=parse_layers(pattern))
        small, large = (lessons.roomy(config, size).build(7).state_dict() for size in (30, 90))
        assert {name: value.shape for name, value in small.items()} == {k: v.shape for k, v in large.items()}
    transformer = lessons.roomy(LearnRequest(family="transformer").model(), 90).layers[0]
    assert transformer.window == 90


@pytest.mark.parametrize("family", all_families())
def test_every_family_learns_and_is_tested(family):
    task = dataclasses.replace(TASKS["reverse"], trained=6, longest=12)
    lesson = begin(task, LearnRequest(family=family, width=8, batch=4, steps=2))
    list(learn(lesson))
    list(test(lesson, points=1, sequences=3))
    assert 0 <= outcome(lesson).longer.accuracy <= 1


def test_a_loss_that_is_not_finite_is_skipped_and_then_given_up():
    lesson = begin(EASY, LearnRequest(**TINY | {"steps": 30}))
    with torch.no_grad():
        lesson.model.readout.bias.fill_(float("nan"))
    before = {name: value.clone() for name, value in lesson.model.state_dict().items() if "readout.bias" not in name}
    skipped = []
    with pytest.raises(TrainingError, match="--rate"):
        for event in learn(lesson):
            skipped += [event] if isinstance(event, Skipped) else []
    assert [event.in_a_row for event in skipped] == list(range(1, 11))
    assert all(torch.equal(value, lesson.model.state_dict()[name]) for name, value in before.items())


def test_minutes_become_steps(monkeypatch):
    found = learning.begin(EASY, LearnRequest(family="rnn", width=8, batch=4, minutes=0.05))
    assert 1 <= found.training.steps < 100_000
    with pytest.raises(ConfigError, match="one budget"):
        LearnRequest(steps=1, minutes=1)
    with pytest.raises(ConfigError, match="did you mean 'lstm'"):
        LearnRequest(family="lstn")


@pytest.mark.parametrize("name", ["parity", "mqar"])
def test_a_run_folder_is_one_like_any_other(name, tmp_path, monkeypatch):
    monkeypatch.setattr("unrolled.programs.lesson_folder.EXAMPLE_LINES", 500)
    lesson = begin(TASKS[name], LearnRequest(**TINY), tmp_path / "run")
    list(learn(lesson))
    list(test(lesson, points=1, sequences=2))
    keep(lesson)
    run = open_run(tmp_path / "run")
    assert run.config.options.regime == TASKS[name].regime
    for key, value in lesson.model.state_dict().items():
        assert torch.equal(run.model.state_dict()[key], value)
    lines = (tmp_path / "run" / "examples.txt").read_text().splitlines()
    assert len(lines) == len(set(lines)) > 300
    longer = [source for source, _ in (line.split("\t") for line in lines) if len(source) >= 8]
    assert all(map(TASKS[name].is_held_out, longer)), "training must not have seen them"
    told = json.loads((tmp_path / "run" / "task.json").read_text())
    assert told["task"] == name and told["steps"] == 3 and len(told["lengths"]) == 4
    assert lesson.folder.metrics()[-1]["step"] == 3
    with pytest.raises(RunError, match="a new or empty folder"):
        begin(TASKS[name], LearnRequest(**TINY), tmp_path / "run")


def test_what_is_learned_is_kept_when_it_is_stopped(tmp_path):
    asked = iter([False, False, True])
    lesson = begin(EASY, LearnRequest(**TINY | {"steps": 50}), tmp_path / "run")
    events = list(learn(lesson, should_stop=lambda: next(asked)))
    assert events[-1].reason == "interrupted" and lesson.step == 3
    keep(lesson)
    assert outcome(lesson) is None and open_run(tmp_path / "run").model is not None


def test_lengths_are_spread_and_bands_cover_all():
    assert spread(range(1, 41), 3) == [1, 20, 40] or spread(range(1, 41), 3) == [1, 21, 40]
    assert spread([5, 7], 9) == [5, 7] and spread([5, 7, 9], 1) == [9]
    for task in TASKS.values():
        covered = [length for low, high in bands(task) for length in range(low, high + 1)]
        assert covered == list(range(1, task.longest + 1)) and bands(task)[0] == (1, task.trained)


TABLE = TableRequest(
    tasks=("parity", "adding"), families=("rnn", "mingru-negative"), seeds=2, steps=2, width=8, batch=4, points=1,
    sequences=2,
)  # fmt: skip


def test_a_table_that_is_interrupted_goes_on_and_comes_to_the_same(tmp_path):
    whole, parts = open_table(tmp_path / "whole", TABLE), open_table(tmp_path / "parts", TABLE)
    with whole.lock():
        events = list(run_table(whole))
    assert sum(isinstance(event, TrialEnded) for event in events) == 8
    runs = 0
    while open_table(tmp_path / "parts", TABLE).wanted():
        ended = 0
        for event in run_table(parts, should_stop=lambda: ended >= 3):  # noqa: B023
            ended += isinstance(event, TrialEnded)
            assert not isinstance(event, TrialBegan) or event.total == 8 - 3 * runs
        runs += 1
    assert runs == 3
    assert [dataclasses.replace(one, details={}) for one in whole.trials()] == [
        dataclasses.replace(one, details={}) for one in parts.trials()
    ]
    assert (tmp_path / "whole/heat.svg").read_bytes() == (tmp_path / "parts/heat.svg").read_bytes()
    assert (tmp_path / "whole/table.md").read_bytes() == (tmp_path / "parts/table.md").read_bytes()
    assert {trial.seed for trial in whole.trials()[:4]} == {1}, "a whole table of the first seed comes first"


def test_a_half_written_trial_is_done_again(tmp_path):
    request = dataclasses.replace(TABLE, tasks=("parity",), seeds=1)
    table = open_table(tmp_path, request)
    list(run_table(table))
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert len(table.trials()) == 1 and len(table.wanted()) == 1
    list(run_table(table))
    assert len(table.trials()) == 2 and not table.wanted()


def test_a_trial_that_fails_is_told_and_not_tried_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "update", lambda lesson, _: (float("nan"), 1))
    table = open_table(tmp_path, dataclasses.replace(TABLE, tasks=("parity",), families=("rnn",), seeds=1, steps=20))
    list(run_table(table))
    (trial,) = table.trials()
    assert trial.headline is None and not trial.solved and "10 steps in a row" in trial.problem
    assert not table.wanted() and table.cells()[0].best == 0


def test_a_table_of_another_protocol_or_writer_is_refused(tmp_path):
    table = open_table(tmp_path / "table", TABLE)
    with pytest.raises(RunError, match=r"steps 3.*steps 2"):
        open_table(tmp_path / "table", dataclasses.replace(TABLE, steps=3))
    assert open_table(tmp_path / "table", dataclasses.replace(TABLE, seeds=9, rates=(0.1,))).trials() == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("mine")
    with pytest.raises(RunError, match="a folder with other files"):
        open_table(tmp_path / "other", TABLE)
    with table.lock(), pytest.raises(RunLockedError, match="another process"), table.lock():
        pass
    for wrong in ({"seeds": 0}, {"tasks": ("parity", "parity")}, {"families": ("nobody",)}, {"rates": (-1.0,)}):
        with pytest.raises(ConfigError):
            dataclasses.replace(TABLE, **wrong)


def trial(seed, headline, rate=0.1, family="rnn", **more):
    facts = {"task": "parity", "trained": 1.0, "longer": headline, "exact": headline, "chance": 0.5}
    return Trial(family=family, rate=rate, seed=seed, headline=headline, solved=headline >= 0.9, **facts | more)


def test_a_cell_tells_the_best_and_how_often_the_best_rate_solves():
    trials = [trial(1, 1.0), trial(2, 0.5), trial(1, 0.97, 0.3), trial(2, 0.95, 0.3), trial(1, 0.6, family="l<stm")]
    cell, other = cells_of(trials, ["parity"], ["rnn", "gru", "l<stm"])
    assert (cell.best, cell.rate, cell.solved, cell.seeds, cell.trials) == (1.0, 0.3, 2, 2, 4)
    assert (other.solved, other.shade) == (0, pytest.approx(0.2))
    page = svg([cell, other], ["rnn", "l<stm"])
    assert "l&lt;stm" in page and "l<stm" not in page and page.count("<rect") >= 4 and ">2/2<" in page
    table = markdown([cell, other], ["rnn", "l<stm"], {"format": 1, "steps": 5})
    assert "| parity | 50 | 100 (2/2) | 60 (0/1) |" in table and "steps 5" in table


def test_numbers_are_never_rounded_up_to_all_right():
    assert [percent(share) for share in (1.0, 0.9999, 0.996, 0.899, 0.0)] == ["100", "99.9", "99.6", "90", "0"]


def test_colours_grow_lighter():
    def lightness(share):
        red, green, blue = bytes.fromhex(colour(share)[1:])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    found = [lightness(step / 20) for step in range(21)]
    assert found == sorted(found) and found[-1] - found[0] > 150


def test_solved_is_more_than_knowing_nothing():
    score = next(iter(judge(*_right_blindly(), [5], sequences=4)))
    assert mean_of([score]).solved == (score.accuracy >= 0.9)
    almost = dataclasses.replace(score, accuracy=0.93, chance=0.92)
    assert not mean_of([almost]).solved and mean_of([dataclasses.replace(almost, accuracy=0.97)]).solved


def _right_blindly():
    model, vocabulary = always(TASKS["parity"], "1")
    return model, TASKS["parity"], vocabulary
