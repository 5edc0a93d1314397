"""The tasks: examples, independent answers to the same questions, what knowing nothing gives, and what is held out."""

import collections
import doctest
import itertools
import math
import random
import re

import pytest

from tolerances import CHANCE
from unrolled.errors import ConfigError
from unrolled.programs import tasks_memory, tasks_regular, tasks_strings
from unrolled.programs.library import machine_named
from unrolled.programs.tasks import LEVELS, TASKS, UNASKED, task_named

EVERY_TASK = pytest.mark.parametrize("name", TASKS)


def drawn(name, count=300, seed=1):
    """Sources with their answers, of training lengths and longer ones."""
    task, draws = TASKS[name], random.Random(seed)
    lengths = [*task.training_lengths, *task.longer_lengths[::40]]
    return [task.draw(draws, draws.choice(lengths)) for _ in range(count)]


def cycle(source):
    position = 0
    for step in source:
        position = {">": position + 1, "<": position - 1}.get(step, position)
    return str(position % 5)


def from_left(source):
    """The value by Python's own arithmetic, brackets put around everything that comes before an operator."""
    parts = re.split(r"([-+*])", source)
    text = "(" * (len(parts) // 2) + parts[0]
    for operator, digit in _twos(parts[1:]):
        text += f"{operator}{digit})"
    return str(_value(text) % 5)


def _twos(parts):
    return [tuple(parts[place : place + 2]) for place in range(0, len(parts), 2)]


def _value(text):
    """A tiny reader of nested brackets, so that nothing is evaluated as code and deep nesting is no recursion."""
    stack, operators = [], []
    for symbol in text:
        if symbol.isdigit():
            stack.append(int(symbol))
        elif symbol in "+-*":
            operators.append(symbol)
        elif symbol == ")":
            right, left = stack.pop(), stack.pop()
            stack.append({"+": left + right, "-": left - right, "*": left * right}[operators.pop()])
    return stack[0]


def by_erasing(source):
    """Brackets are balanced when erasing neighbouring pairs leaves nothing."""
    while (shorter := source.replace("()", "").replace("[]", "")) != source:
        source = shorter
    return str(int(not source))


def blocks(letters):
    return lambda source: str(int([*map(source.count, letters)] == [len(source) // len(letters)] * len(letters)
                                  and "".join(sorted(source)) == source))  # fmt: skip


def summed(source):
    one, other = source.split("+")
    total = sum(2**place for bits in (one, other) for place, bit in enumerate(bits) if bit == "1")
    return "".join(str(total >> place & 1) for place in range(max(1, total.bit_length())))


def added(source):
    marked = [symbol for symbol in source if symbol in tasks_memory.MARKED]
    assert len(marked) == 2
    cents = [tasks_memory.MARKED.index(symbol) for symbol in marked]
    return tasks_memory.SUMS[sum(cents)]


def recalled(source):
    known, tags = {}, []
    for place, symbol in enumerate(source):
        if place >= 8:
            tags.append(known.get(symbol, UNASKED))
        else:
            tags.append(UNASKED)
            if place % 2 == 0:
                known[symbol] = source[place + 1]
    return "".join(tags)


ORACLES = {
    "parity": lambda source: str(sum(map(int, source)) & 1),
    "even-pairs": lambda source: str(int(source[0] == source[-1])),
    "cycle-navigation": cycle,
    "modular-arithmetic": from_left,
    "a-n-b-n": blocks("ab"),
    "a-n-b-n-c-n": blocks("abc"),
    "dyck-1": by_erasing,
    "dyck-2": by_erasing,
    "reverse": lambda source: "".join(reversed(source)),
    "duplicate": lambda source: source + source,
    "odds-first": lambda source: "".join(
        symbol for start in (0, 1) for place, symbol in enumerate(source) if place % 2 == start
    ),
    "binary-addition": summed,
    "bucket-sort": lambda source: "".join(letter * source.count(letter) for letter in "abcde"),
    "copy-memory": lambda source: source[:10],
    "selective-copy": lambda source: source.replace(".", ""),
    "adding": added,
    "mqar": recalled,
}


@pytest.mark.parametrize("module", [tasks_regular, tasks_strings, tasks_memory])
def test_the_examples_in_the_docstrings_are_right(module):
    found = doctest.testmod(module)
    assert found.attempted >= 4 and not found.failed


@EVERY_TASK
def test_every_answer_agrees_with_an_independent_one(name):
    assert set(ORACLES) == set(TASKS)
    task = TASKS[name]
    for source, target in drawn(name):
        assert target == ORACLES[name](source), source
        assert set(source) <= set(task.alphabet) and set(target) <= {*task.answers, UNASKED}
        if task.regime == "tags":
            assert len(target) == len(source)


MACHINES = (
    *("parity", "even-pairs", "cycle-navigation", "modular-arithmetic"),
    *("a-n-b-n", "a-n-b-n-c-n", "dyck-1", "dyck-2", "reverse"),
)


@pytest.mark.parametrize("name", MACHINES)
def test_the_built_in_machines_answer_likewise(name):
    machine = machine_named(name)
    for source, target in drawn(name, count=60):
        result = machine.run(source)
        assert (result.output or str(int(result.accepted))) == target, source


@EVERY_TASK
def test_lengths_are_what_they_say_and_those_of_tests_are_longer(name):
    task, draws = TASKS[name], random.Random(2)
    assert max(task.training_lengths) <= task.trained < min(task.longer_lengths)
    assert task.trained == (64 if name == "mqar" else 40) and max(task.longer_lengths) > 0.95 * task.longest
    extra = 10 if task.level == "memory" and "blanks" in task.length_is else 0
    for length in (task.training_lengths[0], task.training_lengths[-1], task.longer_lengths[-1]):
        assert len(task.draw(draws, length)[0]) == length + extra


@EVERY_TASK
def test_the_same_seed_draws_the_same_and_another_draws_others(name):
    assert drawn(name, 20) == drawn(name, 20) != drawn(name, 20, seed=2)


@EVERY_TASK
@pytest.mark.parametrize("end", ["short", "middle"])
def test_chance_is_what_the_best_blind_answer_reaches(name, end):
    """Blind: for every place the commonest symbol among many answers, judged on other answers."""
    task = TASKS[name]
    lengths = task.training_lengths
    length = lengths[min(2, len(lengths) - 1)] if end == "short" else lengths[len(lengths) // 2]
    examples = [task.draw(random.Random(f"{name} {k}"), length)[1] for k in range(3000)]
    if task.values:
        sums = [task.values[target] for target in examples]
        best = max(
            sum(abs(total - guess / 100) < task.within - 1e-9 for total in sums) / len(sums) for guess in range(199)
        )
        assert best == pytest.approx(task.chance(length), abs=CHANCE)
        mean = sum(sums) / len(sums)
        error = sum((total - mean) ** 2 for total in sums) / len(sums)
        assert error == pytest.approx(task.measure.know_nothing(length), abs=CHANCE)
        assert task.measure.know_nothing(length) == pytest.approx(1 / 6, abs=2e-5)
        return
    if task.regime == "tags":
        counts = collections.Counter(symbol for target in examples for symbol in target if symbol != UNASKED)
        assert counts.most_common(1)[0][1] / counts.total() == pytest.approx(task.chance(length), abs=CHANCE)
        return
    learned, judged = examples[:1500], examples[1500:]
    places = itertools.zip_longest(*learned)
    blind = [collections.Counter(filter(None, place)).most_common(1)[0][0] for place in places]
    shares = [sum(a == b for a, b in zip(target, blind, strict=False)) / len(target) for target in judged]
    assert sum(shares) / len(shares) == pytest.approx(task.chance(length), abs=CHANCE)


def test_a_known_baseline_for_each_published_measure():
    copying = TASKS["copy-memory"].measure.know_nothing(1000)
    assert copying == pytest.approx(10 * math.log(8) / 1020) and round(copying, 4) == 0.0204
    assert TASKS["modular-arithmetic"].chance(1) == pytest.approx(1 / 5)


@EVERY_TASK
def test_training_never_draws_what_is_held_out(name):
    task, draws = TASKS[name], random.Random(3)
    lengths = [length for length in task.training_lengths if length >= 8]
    trained = {source for length in lengths for source, _ in task.examples(draws, length, 20)}
    tested = [source for length in lengths for source, _ in task.examples(draws, length, 5, unseen=True)]
    if task.held_out:
        assert not trained & set(tested)
        assert not any(map(task.is_held_out, trained)) and all(map(task.is_held_out, tested))
    else:
        assert name in ("a-n-b-n", "a-n-b-n-c-n")
    longer = task.examples(draws, task.longer_lengths[0], 40, unseen=True)
    shares = sum(task.is_held_out(source) for source, _ in longer) / 40
    assert shares < 1, "longer inputs need no choosing: none is ever trained on"


@pytest.mark.parametrize("name", ["a-n-b-n", "a-n-b-n-c-n", "dyck-1", "dyck-2"])
def test_half_of_a_language_s_strings_are_members_and_the_others_are_near(name):
    found = [TASKS[name].draw(random.Random(f"{name} {k}"), 12)[1] for k in range(2000)]
    assert found.count("1") / 2000 == pytest.approx(1 / 2, abs=CHANCE)


def test_balanced_strings_are_drawn_uniformly():
    draws = random.Random(5)
    counts = collections.Counter(tasks_strings.balanced_string(draws, "(", 6) for _ in range(5000))
    assert len(counts) == 5, "the third Catalan number"
    assert max(counts.values()) / min(counts.values()) < 1.2


def test_levels_and_names_are_the_lists_they_claim_to_be():
    assert {task.level for task in TASKS.values()} == set(LEVELS)
    assert all(task.name == name and task.regime in ("pairs", "tags") for name, task in TASKS.items())
    with pytest.raises(ConfigError, match="did you mean 'reverse'"):
        task_named("revers")
