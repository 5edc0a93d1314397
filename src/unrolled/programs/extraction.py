"""Find out by questions which automaton a trained network is: L*, and a check on all sources up to a length.

Knows nothing about how a network was trained or stored, about tasks or about drawing. Shapes: B sources, T symbols.

The network is only asked: it reads a source and the end sign, and its likeliest next symbol is its answer. A table of
answers grows into an automaton (Angluin 1987, "Learning regular sets from queries and counterexamples"); each source
that the automaton answers otherwise gives one new question by which two states differ (Rivest and Schapire 1993).
Weiss, Goldberg and Yahav 2018 (arXiv 1711.09576) did this to recurrent networks.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import numpy as np
import torch

from unrolled.errors import ConfigError, MachineError
from unrolled.models import SequenceModel
from unrolled.programs.automata import NOWHERE, UNASKED, Automaton, Sources, Word, minimal
from unrolled.programs.clusters import Clusters, clusters_of
from unrolled.text.display import visible_line
from unrolled.text.pairs import TAB
from unrolled.text.vocabulary import Vocabulary

Ask = Callable[[Sequence[str]], Sequence[str]]
"""Answers sources, one symbol each."""

EXHAUSTIVE = 20_000
"""So many sources are asked one and all, unless a length is given."""
MOST_EXHAUSTIVE = 4_000_000
UNSETTLED_SHARE = 0.1
"""If more than this share of longer sources is answered otherwise, there is no automaton worth showing."""
_BLOCK_SYMBOLS = 65_536
_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class ExtractionOptions:
    """How much is asked.

    `length` letters: all sources up to there are asked (None: as long as they are at most `EXHAUSTIVE`). `longer`
    sources of up to `longest` letters come on top, drawn with `seed`: at random, of repeated pieces, and along the
    automaton's own paths. `states` is the largest automaton that is looked for.
    """

    length: int | None = None
    longer: int = 2000
    longest: int = 200
    states: int = 64
    seed: int = 1

    def __post_init__(self) -> None:
        limits = {"length": (1, 64), "longer": (0, 1_000_000), "longest": (1, 100_000), "states": (1, 10_000)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(expected=f"{name} from {least} to {most:,}", received=str(value), remedy="change it")


@dataclass(frozen=True)
class Disagreement:
    """A source that the network answers otherwise than the automaton."""

    source: str
    network: str
    automaton: str

    def __str__(self) -> str:
        shown = visible_line(self.source[:_SHOWN]) + ("…" * (len(self.source) > _SHOWN))
        network, automaton = visible_line(self.network), visible_line(self.automaton)
        return f"to {shown!r} the network says {network!r}, the automaton {automaton!r}"


@dataclass(frozen=True)
class Extraction:
    """The automaton that a network behaves like, and how far that was checked.

    All `strings_checked` sources of up to `checked_up_to` letters are answered as the automaton does. Of
    `longer_checked` longer ones `disagreements` (shortest first) are not. `queries` counts every different source that
    the network was asked, `most_states` the largest automaton that was looked for. `clusters` says what the automaton's
    states are inside the network.
    """

    automaton: Automaton
    queries: int
    checked_up_to: int
    strings_checked: int
    longer_checked: int
    longest: int
    disagreements: tuple[Disagreement, ...]
    most_states: int
    clusters: Clusters | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing that was asked disagrees."""
        return not self.disagreements

    def verdict(self) -> str:
        """Return what was found, in one or two sentences for people."""
        states = f"{len(self.automaton)} state{'s' * (len(self.automaton) != 1)}"
        said = (
            f"On all {self.strings_checked:,} sources of up to {self.checked_up_to} letters the network answers like "
            f"an automaton of {states}"
        )
        if not self.longer_checked:
            return said + "."
        if self.settled:
            return f"{said}, and so it does on {self.longer_checked:,} longer ones of up to {self.longest}."
        count = len(self.disagreements)
        return (
            f"{said}. Of {self.longer_checked:,} longer ones of up to {self.longest} it answers {count:,} otherwise, "
            f"as no automaton of at most {self.most_states} states does: {self.disagreements[0]}."
        )


def extract(
    model: SequenceModel,
    vocabulary: Vocabulary,
    sources: Sources | str,
    *,
    end: str = TAB,
    options: ExtractionOptions | None = None,
) -> Extraction:
    """Find the automaton that a model's answers follow, and what its states are inside the model.

    `sources` are what may be asked (a text: all strings over its symbols). The model, as it is used (`model.eval()`),
    reads a source, then `end`, and answers with its likeliest next symbol.

    Raises:
        ConfigError: the model has never seen one of the symbols, or too many sources were asked for.
        MachineError: the model does not behave like an automaton of at most `options.states` states.
    """
    sources = Sources.over(sources) if isinstance(sources, str) else sources
    strange = vocabulary.unknown("".join(sources.letters) + end)
    if strange:
        raise ConfigError(
            expected="a model that knows the symbols of the sources and the end sign",
            received="one that has never seen " + ", ".join(repr(symbol) for symbol in strange),
            remedy="ask a model that was trained on this task",
        )
    found = learn(network(model, vocabulary, end), sources, options)
    seed = options.seed if options else ExtractionOptions().seed
    return replace(found, clusters=clusters_of(model, vocabulary, found.automaton, seed=seed))


def network(model: SequenceModel, vocabulary: Vocabulary, end: str = TAB) -> Ask:
    """Return a function that lets a model answer many sources at once, its likeliest symbol each."""
    device = next(model.parameters()).device

    def ask(sources: Sequence[str]) -> list[str]:
        said = [""] * len(sources)
        order = sorted(range(len(sources)), key=lambda number: len(sources[number]))
        for chosen in _blocks(order, [len(sources[number]) + len(end) for number in order]):
            coded = [vocabulary.encode(sources[number] + end).astype(np.int64) for number in chosen]
            lengths_B = torch.tensor([len(ids) for ids in coded], device=device)
            # What stands behind the end cannot be seen from there, so that shorter ones may be filled up.
            tokens_BT = torch.zeros(len(coded), int(lengths_B.max()), dtype=torch.long, device=device)
            for row, ids in enumerate(coded):
                tokens_BT[row, : len(ids)] = torch.from_numpy(ids)
            with torch.inference_mode():
                logits_BTV, _ = model(tokens_BT)
            logits_BV = logits_BTV[torch.arange(len(coded), device=device), lengths_B - 1].float()
            logits_BV[:, 0] = -torch.inf
            for number, symbol in zip(chosen, logits_BV.argmax(-1).tolist(), strict=True):
                said[number] = vocabulary.symbols[symbol]
        return said

    return ask


def learn(ask: Ask, sources: Sources, options: ExtractionOptions | None = None) -> Extraction:
    """Find the automaton that anybody's answers follow (without a look inside); errors as in `extract`.

    Every source is asked once: who answers differently each time is held to the first answer. It ends always.
    """
    options = options or ExtractionOptions()
    length = _length(sources, options)
    oracle = _Oracle(ask, sources)
    table = _Table(oracle, options.states)
    short = list(sources.words(length))
    oracle.answers(short)
    try:
        table.close()
        while word := next(_disagreeing(oracle, table.automaton(), short), None):
            table.split(word)
    except _Full:
        _refuse(oracle, table, short, options, f"all sources of up to {length} letters")
    draws = random.Random(options.seed)
    longer = list(dict.fromkeys(_longer(table, length, options, draws)))
    oracle.answers(longer)
    on_short = table.automaton()
    try:
        while word := next(_disagreeing(oracle, table.automaton(), [*short, *longer]), None):
            table.split(word)
        automaton, wrong = table.automaton(), list[Word]()
    except _Full:
        automaton, wrong = on_short, list(_disagreeing(oracle, on_short, longer))
        if len(wrong) > UNSETTLED_SHARE * len(longer):
            _refuse(oracle, table, longer, options, f"sources of up to {options.longest} letters")
    wrong.sort(key=len)
    return Extraction(
        minimal(automaton),
        oracle.queries,
        length,
        len(short),
        len(longer),
        max(map(len, longer), default=0),
        tuple(_told(oracle, automaton, word) for word in wrong),
        options.states,
    )


class _Full(Exception):  # noqa: N818 - it never leaves this module
    """There would be more states than allowed."""


@dataclass
class _Oracle:
    """Answers that are asked for once, many at a time."""

    ask: Ask
    sources: Sources
    known: dict[str, str] = field(default_factory=dict)

    @property
    def queries(self) -> int:
        return len(self.known)

    def answers(self, words: Sequence[Word | None]) -> list[str]:
        """Return the answer to each word, UNASKED to those that are not asked and to those that are None."""
        spelled = [None if word is None or not self.sources.asked(word) else "".join(word) for word in words]
        new = [source for source in dict.fromkeys(spelled) if source is not None and source not in self.known]
        if new:
            self.known.update(zip(new, self.ask(new), strict=True))
        return [UNASKED if source is None else self.known[source] for source in spelled]


@dataclass
class _Table:
    """Angluin's table: a word to each state, and the suffixes whose answers tell all states apart."""

    oracle: _Oracle
    most: int
    words: list[Word] = field(default_factory=lambda: [()])
    suffixes: list[Word] = field(default_factory=lambda: [()])
    whole: Automaton | None = None
    _rows: dict[Word, tuple[str, ...]] = field(default_factory=dict)

    def automaton(self) -> Automaton:
        """Return the automaton of the closed table."""
        assert self.whole is not None
        return self.whole

    def split(self, word: Word) -> None:
        """Add the suffix of a word that is answered otherwise by which a state falls into two, and close the table."""
        automaton, sources = self.automaton(), self.oracle.sources
        states = [0]
        for letter in word:
            states.append(automaton.after(states[-1], letter))
        mixed = [(*self.words[state], *word[place:]) for place, state in enumerate(states)]
        answers = self.oracle.answers(mixed)
        place = max(place for place in range(len(word)) if answers[place] != answers[place + 1])
        suffix = word[place + 1 :]
        assert sources.asked(word) and suffix not in self.suffixes
        self.suffixes.append(suffix)
        self.close()

    def close(self) -> None:
        """Add words until every letter leads to a known row; _Full when there are more than `most` of them."""
        sources = self.oracle.sources
        while True:
            ahead = [(*word, letter) for word in self.words for letter in sources.following(word)]
            self._fill([*self.words, *ahead])
            # Where a source begins with other letters than it goes on with, nothing leads back to the start.
            known = {self._rows[word]: state for state, word in enumerate(self.words) if sources.alike or word}
            fresh = next((word for word in ahead if self._rows[word] not in known), None)
            if fresh is None:
                break
            if len(self.words) >= self.most:
                raise _Full
            self.words.append(fresh)
        rows = []
        for word in self.words:
            row = dict.fromkeys(sources.letters, NOWHERE)
            row.update((letter, known[self._rows[*word, letter]]) for letter in sources.following(word))
            rows.append(tuple(row.values()))
        self.whole = Automaton(sources, tuple(self._rows[word][0] for word in self.words), tuple(rows))

    def _fill(self, words: Sequence[Word]) -> None:
        """Ask for what is missing in the rows of these words."""
        sources, wanted = self.oracle.sources, list[tuple[Word, Word | None]]()
        for word in dict.fromkeys(words):
            for suffix in self.suffixes[len(self._rows.get(word, ())) :]:
                fits = word or not suffix or sources.alike
                wanted.append((word, (*word, *suffix) if fits else None))
        for (word, _), answer in zip(wanted, self.oracle.answers([asked for _, asked in wanted]), strict=True):
            self._rows[word] = (*self._rows.get(word, ()), answer)


def _disagreeing(oracle: _Oracle, automaton: Automaton, words: Sequence[Word]) -> Iterator[Word]:
    """Yield the words that the automaton answers otherwise, in their order."""
    for word, answer in zip(words, oracle.answers(words), strict=True):
        if automaton.answer(word) != answer:
            yield word


def _longer(table: _Table, length: int, options: ExtractionOptions, draws: random.Random) -> Iterator[Word]:
    """Yield sources of more than `length` letters.

    A third is drawn at random. A third repeats one to three short pieces, often equally often: counting shows there
    and hardly anywhere else. A third goes to a state, on at random, and ends with a suffix that tells states apart.
    """
    sources = table.oracle.sources
    if options.longest <= length:
        return
    for number in range(options.longer):
        size = draws.randint(length + 1, options.longest)
        if number % 3 == 0:
            yield sources.draw(draws, size)
        elif number % 3 == 1:
            begun: Word = () if sources.alike else sources.draw(draws, 1)
            pieces = [tuple(draws.choices(sources.rest, k=draws.randint(1, 2))) for _ in range(draws.randint(1, 3))]
            times = max(1, size // sum(map(len, pieces)))
            counts = [times if number % 2 else draws.randint(1, 2 * times) for _ in pieces]
            repeated = (letter for piece, count in zip(pieces, counts, strict=True) for letter in piece * count)
            word = (*begun, *repeated)[: options.longest]
            yield word if len(word) > length else sources.draw(draws, size)
        else:
            start, suffix = draws.choice(table.words), draws.choice(table.suffixes)
            start = start or sources.draw(draws, 1)
            middle = draws.choices(sources.rest, k=max(0, size - len(start) - len(suffix)))
            yield (*start, *middle, *suffix)[: options.longest]


def _length(sources: Sources, options: ExtractionOptions) -> int:
    """Return up to how many letters all sources are asked."""
    if options.length is not None:
        if sources.count(options.length) > MOST_EXHAUSTIVE:
            raise ConfigError(
                expected=f"a length with at most {MOST_EXHAUSTIVE:,} sources",
                received=f"{options.length} letters, {sources.count(options.length):,} sources",
                remedy="give a smaller length",
            )
        return options.length
    return max((length for length in range(1, 65) if sources.count(length) <= EXHAUSTIVE), default=1)


def _told(oracle: _Oracle, automaton: Automaton, word: Word) -> Disagreement:
    return Disagreement("".join(word), oracle.answers([word])[0], automaton.answer(word))


def _refuse(oracle: _Oracle, table: _Table, words: Sequence[Word], options: ExtractionOptions, where: str) -> NoReturn:
    told = ""
    if table.whole is not None:
        wrong = min(_disagreeing(oracle, table.whole, words), key=len, default=None)
        told = f"; with {len(table.whole)} of them, {_told(oracle, table.whole, wrong)}" if wrong else ""
    raise MachineError(
        expected=f"a network that is like an automaton of at most {options.states} states on {where}",
        received=f"one that needs more states{told}",
        remedy="allow more states or ask shorter sources; what it does may be no regular task",
    )


def _blocks(order: Sequence[int], lengths: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut what is sorted by length into blocks of at most so many symbols, filled up."""
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or lengths[stop] * (stop + 1 - start) > _BLOCK_SYMBOLS:
            yield order[start:stop]
            start = stop
