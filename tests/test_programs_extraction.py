"""Automata: their smallest form, learning them by questions, finding them in networks, and drawing them."""

import random
import re
import xml.etree.ElementTree as ET

import pytest
import torch

from unrolled.errors import ConfigError, MachineError
from unrolled.models import SequenceModel, untouched
from unrolled.programs.automata import NOWHERE, Automaton, Difference, Sources, automaton_of, isomorphic, minimal
from unrolled.programs.automaton_graph import graph_svg, transition_table
from unrolled.programs.classic import elman, lstm_counter
from unrolled.programs.clusters import clusters_of
from unrolled.programs.extraction import ExtractionOptions, extract, learn, network
from unrolled.programs.library import library
from unrolled.programs.stream import lower
from unrolled.programs.tasks import TASKS
from unrolled.text.vocabulary import UNKNOWN, Vocabulary

REGULAR = {"parity": 2, "even-pairs": 5, "cycle-navigation": 5, "modular-arithmetic": 6}
"""The regular tasks and the sizes of their smallest automata, counted by hand."""
QUICK = ExtractionOptions(length=6, longer=150, longest=60)


def compiled(name, make=elman):
    config, vocabulary, state = make(lower(library()[name]))
    model = config.build(vocabulary.size)
    model.load_state_dict(state)
    return model.eval(), vocabulary


def truth(name):
    """Answers in plain Python, independent of machines."""

    def arithmetic(source):
        value = int(source[0])
        for operator, digit in zip(source[1::2], source[2::2], strict=True):
            value = {"+": value + int(digit), "-": value - int(digit), "*": value * int(digit)}[operator] % 5
        return str(value)

    answer = {
        "parity": lambda source: str(source.count("1") % 2),
        "even-pairs": lambda source: str(int(source[0] == source[-1])),
        "cycle-navigation": lambda source: str((source.count(">") - source.count("<")) % 5),
        "modular-arithmetic": arithmetic,
    }[name]
    return lambda sources: [answer(source) for source in sources]


def random_automaton(seed, states, letters="ab", answers="01"):
    draws = random.Random(seed)
    rows = tuple(tuple(draws.randrange(states) for _ in letters) for _ in range(states))
    return Automaton(Sources.over(letters, empty=True), tuple(draws.choices(answers, k=states)), rows)


def distinguishable(automaton):
    """The number of reachable states with different futures, by comparing answers to all suffixes (naively)."""
    suffixes = [(), *Sources.over(automaton.sources.letters).words(len(automaton))]

    def future(state):
        answers = []
        for suffix in suffixes:
            at = state
            for letter in suffix:
                at = automaton.after(at, letter)
            answers.append(automaton.outputs[at])
        return tuple(answers)

    reached = {automaton.state(word) for word in [(), *Sources.over(automaton.sources.letters).words(len(automaton))]}
    return len({future(state) for state in reached})


@pytest.mark.parametrize("seed", range(12))
def test_the_smallest_form_gives_the_same_answers_with_as_few_states_as_there_are_futures(seed):
    automaton = random_automaton(seed, 6)
    small = minimal(automaton)
    assert len(small) == distinguishable(automaton)
    assert all(small.answer(word) == automaton.answer(word) for word in automaton.sources.words(8))
    assert minimal(small) == small
    assert isomorphic(automaton, small) == {state: state for state in range(len(small))}


@pytest.mark.parametrize("seed", range(12))
def test_a_difference_is_a_shortest_source_with_other_answers(seed):
    left, right = random_automaton(seed, 5), random_automaton(seed + 100, 5)
    wrong = [word for word in left.sources.words(7) if left.answer(word) != right.answer(word)]
    found = isomorphic(left, right)
    assert isinstance(found, Difference)
    assert len(found.word) == len(wrong[0])
    assert (left.answer(found.word), right.answer(found.word)) == (found.left, found.right)


def test_a_renamed_automaton_is_mapped_state_by_state():
    automaton = minimal(random_automaton(3, 6))
    order = [0, *random.Random(1).sample(range(1, len(automaton)), len(automaton) - 1)]
    number = {state: place for place, state in enumerate(order)}
    rows = tuple(tuple(number[to] for to in automaton.next[state]) for state in order)
    renamed = Automaton(automaton.sources, tuple(automaton.outputs[state] for state in order), rows)
    assert minimal(renamed) == automaton


def test_automata_over_other_sources_are_not_compared():
    with pytest.raises(MachineError, match="over the same sources"):
        isomorphic(random_automaton(1, 3), random_automaton(1, 3, "xy"))


@pytest.mark.parametrize(("name", "states"), REGULAR.items())
def test_the_library_and_the_learner_agree_on_each_regular_task(name, states):
    sources = Sources.of(TASKS[name])
    machine = automaton_of(lower(library()[name]), sources)
    found = learn(truth(name), sources, ExtractionOptions(length=4, longer=300))
    assert len(machine) == states
    assert found.settled and found.automaton == machine
    assert isomorphic(found.automaton, machine) == {state: state for state in range(states)}


def test_sources_of_tasks_are_what_the_tasks_draw():
    assert Sources.of(TASKS["parity"]) == Sources.over("01")
    arithmetic = Sources.of(TASKS["modular-arithmetic"])
    assert (arithmetic.first, len(arithmetic.rest)) == (tuple("01234"), 15)
    assert [arithmetic.count(length) for length in (1, 2)] == [5, 80]
    assert len(set(arithmetic.words(2))) == 80
    assert NOWHERE in automaton_of(lower(library()["modular-arithmetic"]), arithmetic).next[0]


@pytest.mark.parametrize("letters", [("a", "ab"), ("a", "a"), ("",), ()])
def test_letters_that_cannot_be_told_apart_are_refused(letters):
    with pytest.raises(MachineError, match="letters"):
        Sources.over(letters)


@pytest.mark.parametrize("seed", range(8))
def test_any_automaton_is_learned_from_its_answers(seed):
    automaton = minimal(random_automaton(seed, 9, "abc", "xyz"))
    asked = []

    def ask(sources):
        asked.extend(sources)
        return [automaton.answer(source) for source in sources]

    found = learn(ask, automaton.sources, ExtractionOptions(length=5, longer=200, longest=40))
    assert found.automaton == automaton
    assert found.queries == len(asked) == len(set(asked))
    assert found.strings_checked == sum(3**size for size in range(6))


def test_a_rare_state_that_short_sources_miss_is_found_by_longer_ones():
    """Fifteen a's in a row switch the answer: no source of up to 6 letters shows it, repeated pieces do."""
    rows = tuple((min(state + 1, 15), 0 if state < 15 else 15) for state in range(16))
    automaton = Automaton(Sources.over("ab"), (*"0" * 15, "1"), rows)
    found = learn(lambda sources: [automaton.answer(source) for source in sources], automaton.sources, QUICK)
    assert found.settled
    assert found.automaton == minimal(automaton)


@pytest.mark.parametrize("states", [8, 40])
def test_answers_without_rule_end_in_one_error_with_the_shortest_disagreement(states):
    draws = random.Random(states)
    with pytest.raises(MachineError, match=rf"at most {states} states .* to '[ab]+' the network says '[01]'"):
        learn(
            lambda sources: [draws.choice("01") for _ in sources],
            Sources.over("ab"),
            ExtractionOptions(length=10, longer=50, states=states),
        )


def counts(sources):
    return [str(int(source == "a" * (len(source) // 2) + "b" * (len(source) // 2))) for source in sources]


def test_counting_is_no_small_automaton():
    with pytest.raises(MachineError, match="at most 8 states on all sources of up to 12 letters") as caught:
        learn(counts, Sources.over("ab"), ExtractionOptions(length=12, longer=50, states=8))
    told = re.search(r"to '([ab]+)' the network says '([01])', the automaton '([01])'", str(caught.value))
    assert told is not None
    assert counts([told[1]]) == [told[2]] != [told[3]]


def test_an_automaton_that_holds_only_so_far_says_where_it_ends():
    found = learn(counts, Sources.over("ab"), ExtractionOptions(length=8, longer=600, longest=60, states=14))
    assert not found.settled
    assert found.strings_checked == 2**9 - 2
    first = found.disagreements[0]
    half = len(first.source) // 2
    assert (first.source, first.network, first.automaton) == ("a" * half + "b" * half, "1", "0")
    assert [len(one.source) for one in found.disagreements] == sorted(len(one.source) for one in found.disagreements)
    assert "as no automaton of at most 14 states does" in found.verdict()


def test_a_little_noise_on_long_sources_leaves_the_automaton_and_is_counted():
    def ask(sources):
        draws = [random.Random(source).random() < 0.02 and len(source) > 20 for source in sources]
        return [str((source.count("b") + noise) % 2) for source, noise in zip(sources, draws, strict=True)]

    found = learn(ask, Sources.over("ab"), ExtractionOptions(length=8, longer=600, longest=60, states=20))
    assert len(found.automaton) == 2
    assert 1 <= len(found.disagreements) <= 30
    assert all(ask([one.source]) == [one.network] != [one.automaton] for one in found.disagreements)


@pytest.mark.parametrize("name", ["parity", "even-pairs", "cycle-navigation"])
def test_the_automaton_of_a_compiled_network_is_its_machine(name):
    model, vocabulary = compiled(name)
    sources = Sources.of(TASKS[name])
    found = extract(model, vocabulary, sources, end="=", options=QUICK)
    assert found.settled
    assert found.automaton == automaton_of(lower(library()[name]), sources)
    assert found.clusters is not None
    assert found.clusters.purity == 1.0
    assert found.clusters.relation == "refine"


def test_letters_of_several_symbols_are_asked_of_a_network():
    model, vocabulary = compiled("modular-arithmetic", lstm_counter)
    sources = Sources.of(TASKS["modular-arithmetic"])
    options = ExtractionOptions(length=2, longer=60, longest=20)
    found = extract(model, vocabulary, sources, end="=", options=options)
    assert found.automaton == automaton_of(lower(library()["modular-arithmetic"]), sources)


def test_a_compiled_counter_is_no_small_automaton():
    model, vocabulary = compiled("a-n-b-n", lstm_counter)
    with pytest.raises(MachineError, match="at most 6 states"):
        extract(model, vocabulary, "ab", end="=", options=ExtractionOptions(length=10, longer=20, states=6))


def test_sources_of_different_lengths_are_answered_as_one_by_one():
    model, vocabulary = compiled("parity")
    ask = network(model, vocabulary, "=")
    draws = random.Random(2)
    sources = ["".join(draws.choices("01", k=draws.randint(0, 300))) for _ in range(300)]
    assert ask(sources) == [ask([source])[0] for source in sources]
    assert ask(sources) == [str(source.count("1") % 2) for source in sources]
    assert ask([]) == []


def test_what_a_model_never_saw_and_too_much_to_ask_are_refused():
    model, vocabulary = compiled("parity")
    with pytest.raises(ConfigError, match="never seen 'x', '\\\\t'"):
        extract(model, vocabulary, "01x")
    with pytest.raises(ConfigError, match="at most 4,000,000 sources"):
        extract(model, vocabulary, "01", end="=", options=ExtractionOptions(length=40))
    with pytest.raises(ConfigError, match="states from 1"):
        ExtractionOptions(states=0)


class Memory(SequenceModel):
    """A fake model whose memory is given by hand: a cell per automaton state, noise, and one dead unit."""

    def __init__(self, automaton, noise):
        super().__init__()
        self.automaton, self.noise = automaton, noise
        self.weight = torch.nn.Parameter(torch.zeros(1))

    @property
    def units(self):
        return {"gate": 2, "memory": len(self.automaton) + 2}

    def initial_state(self, batch):
        return {"memory": torch.zeros(batch, len(self.automaton) + 2)}

    def forward(self, tokens_BT, state=None, *, tap=untouched):
        letters = ("", *self.automaton.sources.letters)
        shown = torch.zeros(*tokens_BT.shape, self.units["memory"])
        for row, tokens in enumerate(tokens_BT.tolist()):
            at = 0
            for time, token in enumerate(tokens):
                at = self.automaton.after(at, letters[token]) if token else at
                shown[row, time, at] = 1.0
        size = len(self.automaton)
        torch.manual_seed(5)
        shown[:, :, : size + 1] += self.noise * torch.randn(*tokens_BT.shape, size + 1)
        tap("gate", torch.zeros(*tokens_BT.shape, 2))
        tap("memory", shown)
        return torch.zeros(*tokens_BT.shape, 4), state


def cycle_of_three():
    return Automaton(Sources.over("ab"), ("x", "y", "z"), ((1, 0), (2, 1), (0, 2)))


def test_clusters_of_a_known_memory_equal_the_states_and_name_the_units():
    vocabulary = Vocabulary("characters", (UNKNOWN, "a", "b"))
    found = clusters_of(Memory(cycle_of_three(), 0.05), vocabulary, cycle_of_three())
    assert (found.count, found.relation, found.purity) == (3, "equal", 1.0)
    assert found.purity_of_state == (1.0, 1.0, 1.0)
    assert [(one.state, one.unit, one.auc) for one in found.separations] == [
        (state, f"memory[{state}]", 1.0) for state in range(3)
    ]
    assert all(one.inside > 0.9 and abs(one.outside) < 0.1 for one in found.separations)


def test_a_memory_of_noise_is_called_mixed():
    vocabulary = Vocabulary("characters", (UNKNOWN, "a", "b"))
    found = clusters_of(Memory(cycle_of_three(), 1000.0), vocabulary, cycle_of_three())
    assert found.relation == "mixed"
    assert 0.2 < found.purity < 0.5
    assert all(0.4 < one.auc < 0.6 for one in found.separations)


def elements(svg, name, kind):
    found = ET.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{name}")
    return [element for element in found if element.get("class") == kind]


def test_the_picture_holds_every_state_arrow_and_caption_and_escapes_them():
    arithmetic = automaton_of(lower(library()["modular-arithmetic"]), Sources.of(TASKS["modular-arithmetic"]))
    hostile = Automaton(Sources.over("<&\x1b"), ("<b>", "\u202e"), ((1, 0, 1), (1, 1, 0)))
    svg = graph_svg([("what <training> found", arithmetic), ("compiled & kept", hostile)])
    assert [text.text for text in elements(svg, "text", "caption")] == ["what <training> found", "compiled & kept"]
    assert len(elements(svg, "circle", "state")) == 6 + 2
    answers = [text.text for text in elements(svg, "text", "answer")]
    assert answers == ["–", "0", "1", "2", "3", "4", "<b>", "⟨U+202E⟩"]
    pairs = {(state, to) for state, _, to in arithmetic.edges()} | {("h", s, t) for s, _, t in hostile.edges()}
    assert len(elements(svg, "text", "label")) == len(pairs) == len(elements(svg, "polygon", "head")) - 2
    assert "\x1b" not in svg


@pytest.mark.parametrize("count", range(1, 13))
def test_no_state_or_label_lies_outside_of_the_picture_and_no_states_touch(count):
    rows = tuple(((state + 1) % count, state, (5 * state + 2) % count) for state in range(count))
    automaton = Automaton(Sources.over("abc"), tuple(str(state % 3) for state in range(count)), rows)
    svg = graph_svg([("one", automaton), ("two", automaton)])
    width, height = map(float, ET.fromstring(svg).get("viewBox").split()[2:])
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in elements(svg, "circle", "state")]
    labels = [(float(t.get("x")), float(t.get("y"))) for t in elements(svg, "text", "label")]
    assert all(24 < x < width - 24 and 24 < y < height - 24 for x, y in circles)
    assert all(0 < x < width and 0 < y < height for x, y in labels)
    distances = [abs(complex(*a) - complex(*b)) for i, a in enumerate(circles) for b in circles[:i]]
    assert min(distances) > 60


def test_nothing_and_too_much_are_not_drawn():
    with pytest.raises(MachineError, match="got none"):
        graph_svg([])
    with pytest.raises(MachineError, match="one of 65"):
        graph_svg([("large", Automaton(Sources.over("a"), ("0",) * 65, ((0,),) * 65))])


def test_a_table_shows_where_each_letter_leads():
    parity = automaton_of(lower(library()["parity"]), Sources.over("01"))
    assert transition_table(parity).splitlines() == [
        "state  answer  0  1",
        "   >0       0  0  1",
        "    1       1  1  0",
    ]


@pytest.mark.parametrize("width", [40, 60])
def test_a_table_with_many_letters_folds_and_loses_nothing(width):
    arithmetic = automaton_of(lower(library()["modular-arithmetic"]), Sources.of(TASKS["modular-arithmetic"]))
    lines = transition_table(arithmetic, width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.count("*0") for line in lines) == 5
    letters = [word for line in lines[1:] for word in line[15:].replace("→", " ").split()]
    assert sum(word in arithmetic.sources.letters for word in letters) >= sum(1 for _ in arithmetic.edges())
