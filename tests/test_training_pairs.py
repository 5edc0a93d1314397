"""Training and scoring on pairs and tags: only what is asked counts, and exact is what the model would write."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import families
from tolerances import EXACT64, LINES64
from unrolled import open_run
from unrolled import train as train_run
from unrolled.errors import ConfigError, TextError
from unrolled.models import ModelConfig, StackConfig, parse_layers
from unrolled.sampling import SamplingOptions, answer_lines, answers, likeliest, stream
from unrolled.text.corpus import TextOptions, corpus_from_text
from unrolled.text.lines import LineBatches
from unrolled.training import loop
from unrolled.training.answers import OTHER, Answer, answered, baseline, confusion, mistakes
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, evaluate_lines, evaluate_part
from unrolled.training.loop import Training, train, update
from unrolled.training.recipe import Request, make_plan
from unrolled.training.run_config import RunConfig

LETTERS = "abcdefgh"


def words(count, seed=0, longest=6):
    random = np.random.Generator(np.random.PCG64(seed))
    return ["".join(random.choice(list(LETTERS), size=random.integers(1, longest + 1))) for _ in range(count)]


def reversals(count=60, longest=6):
    return "".join(f"{word}\t{word[::-1]}\n" for word in words(count, longest=longest))


def vowels(count=60):
    found = [f"a{word}" for word in words(count)]
    return "".join(f"{one}\t{''.join('v' if c in 'ae' else '·' if c == 'b' else 'c' for c in one)}\n" for one in found)


def corpus_of(text, regime, split=(0.8, 0.2, 0)):
    return corpus_from_text(text, TextOptions(regime=regime, split=split, min_count=1))


PAIRS, TAGS = corpus_of(reversals(), "pairs"), corpus_of(vowels(), "tags")
BOTH = pytest.mark.parametrize("corpus", [PAIRS, TAGS], ids=["pairs", "tags"])


def model_of(corpus, pattern="lstm", width=12, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    config = ModelConfig(stack=StackConfig(width=width), layers=parse_layers(pattern))
    return config.build(corpus.vocabulary.size).to(dtype).eval()


def training_of(corpus, *, model=None, **changed):
    settings = {"steps": 12, "lanes": 7, "unroll": 8, "evaluate_every": 4, "clip": 1e9, "warm_up": 1, "rate": 0.01}
    model = model_of(corpus) if model is None else model
    config = TrainingConfig(**(settings | changed))
    return Training(
        model, config, corpus.vocabulary, corpus.part("train"), corpus.part("valid"), regime=corpus.options.regime
    )


def asked_of(line, regime):
    """What is read of a line of text, and after which of its characters what is asked."""
    source, _, target = line.partition("\t")
    if regime == "tags":
        return source, [(t, tag) for t, tag in enumerate(target) if tag != "·"]
    return f"{source}\t{target}", [(len(source) + t, symbol) for t, symbol in enumerate(target + "\n")]


def costs_by_hand(model, corpus, lines):
    """The nats of every asked symbol, line by line, one character after another from a cold start."""
    found = []
    for line in lines:
        read, asked = asked_of(line, corpus.options.regime)
        state, logits = None, []
        for token in corpus.vocabulary.encode(read).astype(np.int64):
            logits_11V, state = model(torch.tensor([[token]]), state)
            logits.append(logits_11V[0, 0].log_softmax(-1))
        found.append([-logits[t][int(corpus.vocabulary.encode(symbol)[0])] for t, symbol in asked])
    return found


def text_lines(corpus, part):
    return corpus.vocabulary.decode(corpus.part(part)).split("\n")[:-1]


@BOTH
@pytest.mark.parametrize("pattern", ["lstm", "transformer(heads=2,window=5)", "tcn*2"])
def test_a_score_is_a_loop_over_the_lines(corpus, pattern):
    model = model_of(corpus, pattern)
    with torch.no_grad():
        costs = [float(cost) for line in costs_by_hand(model, corpus, text_lines(corpus, "train")) for cost in line]
    score = evaluate_part(model, corpus, "train", Protocol())
    assert score.chars == len(costs) and score.nats == pytest.approx(math.fsum(costs), abs=EXACT64 * len(costs))
    assert str(score.protocol) == corpus.options.regime and score.answers.lines == len(text_lines(corpus, "train"))
    asked = "".join(
        symbol for line in text_lines(corpus, "train") for _, symbol in asked_of(line, corpus.options.regime)[1]
    )
    assert score.utf8_bytes == len(asked.encode()) and score.unknown == 0


@BOTH
def test_the_gradient_comes_from_what_is_asked_alone(corpus):
    training = training_of(corpus)
    batches = training.batches()
    inputs_BT, _ = batches.batch(0)
    decode, regime = corpus.vocabulary.decode, corpus.options.regime
    known = {asked_of(line, regime)[0]: line for line in text_lines(corpus, "train")}
    lines = [
        next(
            known[read[:end]]
            for end in range(len(read), 0, -1)
            if read[:end] in known and set(read[end:]) <= {"\ufffd"}
        )
        for read in map(decode, inputs_BT)
    ]
    oracle = model_of(corpus)
    costs = [cost for line in costs_by_hand(oracle, corpus, lines) for cost in line]
    loss = torch.stack(costs).mean()
    loss.backward()
    before = {name: parameter.detach().clone() for name, parameter in training.model.named_parameters()}
    assert update(training, batches) is None
    assert training.counters.loss_sum == pytest.approx(loss.item(), rel=1e-6)
    for (name, parameter), (_, wanted) in zip(
        training.model.named_parameters(), oracle.named_parameters(), strict=True
    ):
        assert wanted.grad is not None and torch.allclose(parameter.grad, wanted.grad, rtol=0, atol=LINES64), name
        assert not torch.equal(parameter, before[name])


def test_what_is_not_asked_and_what_comes_after_changes_nothing():
    """Another source costs something; what stands in a padded batch beside a line does not."""
    model, lines = model_of(PAIRS), PAIRS.lines("train")
    alone = [
        evaluate_lines(
            model,
            dataclasses.replace(
                lines,
                starts_L=lines.starts_L[k : k + 1],
                tabs_L=lines.tabs_L[k : k + 1],
                ends_L=lines.ends_L[k : k + 1],
            ),
        )
        for k in range(len(lines))
    ]
    together = evaluate_lines(model, lines)
    assert sum(one.nats for one in alone) == pytest.approx(together.nats, abs=1e-8)
    assert sum(one.chars for one in alone) == together.chars == together.answers.asked
    head = evaluate_lines(model, lines, at_most=40)
    assert head.answers.lines == len(lines.head(40)) < len(lines)


@BOTH
def test_an_exact_answer_is_what_the_model_would_write(corpus):
    """Also where it is half trained, so that some answers are right and some are not."""
    training = training_of(corpus, steps=40 if corpus is PAIRS else 6, rate=0.02, evaluate_every=40)
    list(train(training))
    model, lines = training.model.eval(), corpus.lines("train")
    found = answer_lines(model, lines, range(len(lines)))
    score = evaluate_lines(model, lines)
    decode = corpus.vocabulary.decode
    if corpus is TAGS:
        asked = [
            (said, tag)
            for k, one in enumerate(found)
            for said, tag in zip(decode(one), decode(lines.target(k)), strict=True)
            if tag != "·"
        ]
        assert score.answers.right == sum(said == tag for said, tag in asked) and score.answers.asked == len(asked)
        assert score.accuracy == score.answers.right / score.answers.asked
    else:
        free = []
        newline = int(corpus.vocabulary.encode("\n")[0])
        for row in range(len(lines)):
            written = []
            prompt = corpus.vocabulary.encode(decode(lines.source(row)) + "\t")
            for symbol in stream(model, prompt, SamplingOptions(temperature=0.0), seed=1):
                if symbol == newline or len(written) > 20:
                    break
                written.append(symbol)
            free.append(written)
        right = [decode(one) == decode(lines.target(k)) for k, one in enumerate(free)]
        assert [decode(one) == decode(lines.target(k)) for k, one in enumerate(found)] == right
        assert score.answers.exact == sum(right) and score.accuracy == sum(right) / len(lines)
    assert 0 < score.accuracy < 1, "neither untrained nor perfect, or this proves little"


def test_answers_come_in_the_order_of_their_prompts():
    model, vocabulary = model_of(PAIRS, dtype=torch.float32), PAIRS.vocabulary
    prompts = [vocabulary.encode(word + "\t") for word in ["abc", "a", "ccc", "bb", "a"]]
    newline = int(vocabulary.encode("\n")[0])
    greedy = SamplingOptions(temperature=0.0)
    found = answers(model, prompts, greedy, end=newline, most=5)
    alone = [answers(model, [prompt], greedy, end=newline, most=5)[0] for prompt in prompts]
    assert [one.tolist() for one in found] == [one.tolist() for one in alone]
    assert all(len(one) <= 5 and newline not in one for one in found)
    assert answers(model, prompts[:1], greedy, end=newline, most=0)[0].tolist() == []
    drawn = answers(model, [prompts[1]] * 40, SamplingOptions(), end=newline, most=5)
    assert len({tuple(one.tolist()) for one in drawn}) > 5
    with pytest.raises(ConfigError, match="at least one character"):
        likeliest(model, np.array([], dtype=np.int64))


def test_the_writer_is_not_made_under_autocast():
    """Tables that autocast rounds would be read as numbers of another size."""
    model, lines = model_of(PAIRS, width=16, dtype=torch.float32), PAIRS.lines("train")
    plain = answer_lines(model, lines, range(9))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = answer_lines(model, lines, range(9))
    assert len(plain) == len(rounded) and all(one.max(initial=0) < PAIRS.vocabulary.size for one in rounded)


@BOTH
def test_an_interrupted_training_goes_on_as_if_it_were_not(corpus):
    def fresh(seed=0):
        return training_of(corpus, model=model_of(corpus, seed=seed, dtype=torch.float32), lanes=5)

    whole, first = fresh(), fresh()
    list(train(whole))
    asked = iter([False] * 4 + [True])
    list(train(first, should_stop=lambda: next(asked)))
    assert first.counters.step == 5 and first.counters.position == 5
    second = fresh(seed=9)
    second.model.load_state_dict(first.model.state_dict())
    second.restore({name: value.clone() for name, value in first.tensors().items()}, dataclasses.asdict(first.counters))
    list(train(second))
    assert second.counters.step == 12 and second.state == {}
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    for name, value in whole.tensors().items():
        assert torch.equal(value, second.tensors()[name]), name


def test_where_nothing_is_finite_steps_are_skipped_and_nothing_is_answered():
    training = training_of(PAIRS)
    with torch.no_grad():
        next(training.model.parameters()).fill_(math.nan)
    assert "loss was nan" in update(training, training.batches())
    assert training.state == {} and training.counters.position == 1
    assert loop._write(training)[0] == "" or "→" in loop._write(training)[0]


def test_without_a_validation_part_training_lines_are_answered():
    training = training_of(corpus_of(reversals(), "pairs", (1, 0, 0)))
    told = loop._write(training)[0].split("\n")
    assert len(told) == loop.SHOWN_LINES and all(" → " in line for line in told)
    assert list(train(training))[-1].reason == "finished"


def test_the_baseline_is_the_commonest_answer():
    lines = corpus_of("a\tx\nb\tyy\nc\tyy\nd\tz\ne\tyy\n", "pairs", (1, 0, 0))
    assert baseline(lines.lines("all"), lines.vocabulary).to_json() == {"answer": "yy", "share": 0.6}
    tagged = corpus_of("abc\txyx\nab\t·y\nb\ty\na\ty\n", "tags", (1, 0, 0))
    found = baseline(tagged.lines("all"), tagged.vocabulary)
    assert found.answer == "y" and found.share == pytest.approx(4 / 6)


def test_a_confusion_counts_targets_and_answers():
    found = [Answer("", t, a) for t, a in [("x", "x"), ("x", "y"), ("y", "y"), ("y", "q"), ("y", "x"), ("y", "y")]]
    assert confusion(found, "pairs") == {"x": {"x": 1, "y": 1}, "y": {OTHER: 1, "x": 1, "y": 2}}
    assert [one.answer for one in mistakes(found)] == ["y", "q", "x"]
    assert confusion(found[:2], "pairs") == {"x": {"x": 1, OTHER: 1}}
    assert confusion([Answer("", str(k), "") for k in range(9)], "pairs") is None
    assert confusion([Answer("", str(k % 30), "") for k in range(900)], "pairs") is None
    tags = [Answer("abc", "x·y", "y·y"), Answer("ab", "xx", "xx")]
    assert confusion(tags, "tags") == {"x": {"x": 2, "y": 1}, "y": {"y": 1}}


def test_answers_of_tags_leave_open_what_is_not_asked():
    found = answered(model_of(TAGS), TAGS.lines("train"), TAGS.vocabulary)
    assert all(len(one.answer) == len(one.target) for one in found)
    assert all(
        (said == "·") == (tag == "·")
        for one in found
        for said, tag in zip(one.answer, one.target, strict=True)
        if tag == "·"
    )


def test_a_plan_for_lines():
    corpus = corpus_of("".join(f"{word}\t{word}\n" for word in words(3000)), "pairs")
    lines = corpus.lines("train")
    sizes = len(corpus.part("train")), len(corpus.part("valid"))
    plan = make_plan(Request(steps=0), corpus.vocabulary, *sizes, lines)
    training = plan.training
    assert training.forget_every == 0 and training.lanes == 128
    assert lines.lengths.mean() <= training.unroll <= lines.lengths.max()
    few = corpus_of(reversals(40), "pairs").lines("train")
    assert make_plan(Request(steps=0), corpus.vocabulary, *sizes, few).training.lanes == len(few) // 8
    assert make_plan(Request(steps=0, lanes=9), corpus.vocabulary, *sizes, few).training.lanes == 9
    for wrong in ({"unroll": 9}, {"forget_every": 100}):
        with pytest.raises(ConfigError, match="read whole, from a cold start"):
            make_plan(Request(steps=0, **wrong), corpus.vocabulary, *sizes, lines)
    with pytest.raises(ConfigError, match="lanes from 1"):
        make_plan(Request(steps=0, lanes=0), corpus.vocabulary, *sizes, lines)


def test_no_lines_are_not_scored():
    corpus = corpus_of(reversals(), "pairs", (1, 0, 0))
    with pytest.raises(TextError, match="at least 1 line"):
        evaluate_part(model_of(corpus), corpus, "valid", Protocol())
    with pytest.raises(KeyboardInterrupt):
        evaluate_lines(model_of(corpus), corpus.lines("train"), should_stop=lambda: True)


@pytest.mark.parametrize("name", ["rnn", "gru", "mingru", "wavenet", "transformer", "hybrid", "toy"])
def test_families_learn_from_lines(name):
    torch.manual_seed(0)
    model = families.config(name).build(PAIRS.vocabulary.size)
    assert update(training_of(PAIRS, model=model), LineBatches(PAIRS.lines("train"), 7, 1)) is None


def test_in_python_a_run_is_trained_asked_and_scored(tmp_path, monkeypatch):
    monkeypatch.setattr("unrolled.training.recipe.faster_precision", lambda *_: ("float32", 0.01, 1.0))
    corpus = corpus_of("".join(f"{word}\t{word[-1]}\n" for word in words(400)), "pairs")
    run = train_run(corpus, run=tmp_path / "run", steps=60, width=24, layers="lstm", lanes=32, plain=False)
    assert run.answers(["abc", "hga", "d"]) == [run.answer("abc"), run.answer("hga"), run.answer("d")]
    assert run.score(corpus, "valid").accuracy > 0.8
    with pytest.raises(ConfigError, match="without a TAB"):
        run.answer("a\tb")
    metrics = run.config.options.regime, [line["valid_accuracy"] for line in loop.RunFolder.open(run.path).metrics()]
    assert metrics[0] == "pairs" and metrics[1][-1] > metrics[1][0]
    assert RunConfig.from_json(run.config.to_json("1")) == run.config
    assert open_run(run.path).answer("abc") == run.answer("abc")


def test_a_run_from_before_there_were_regimes_opens():
    told = {"split": [0.9, 0.05, 0.05], "encoding": "utf-8", "as_bytes": False, "min_count": 2}
    assert TextOptions(**told).regime == "text"
