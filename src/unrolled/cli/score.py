"""`unrolled score`: how well a trained model predicts a text.

Knows nothing about how texts are scored: it parses, calls and prints.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import Folder, Json, Text, Whole
from unrolled.errors import ConfigError, TextError
from unrolled.text.display import visible_line

if TYPE_CHECKING:
    from unrolled.laboratory import Run
    from unrolled.text.corpus import Corpus
    from unrolled.training.answers import Answer, Baseline, Confusion
    from unrolled.training.evaluation import Score

SHOWN_MISTAKES = 3


def score(
    run: Folder,
    /,
    *texts: Text,
    part: Annotated[
        Literal["all", "train", "valid", "test"] | None, Parameter(metavar="PART", show_choices=False)
    ] = None,
    protocol: Annotated[str, Parameter(metavar="NAME")] = "carried",
    lanes: Whole | None = None,
    encoding: Annotated[str | None, Parameter(metavar="NAME")] = None,
    split: Annotated[str | None, Parameter(metavar="A,B,C")] = None,
    json: Json = False,
) -> int:
    """Score a text under a trained model, in bits and nats per character and bits per byte.

    Parameters
    ----------
    run
        The run folder.
    texts
        As for `unrolled train`; without one, the text that the run was trained on.
    part
        all, train, valid or test of the text (default: test for the run's own text, all for another one).
    protocol
        carried (state carried through the whole part) or reset:256 (cold start every 256 characters).
    lanes
        How many places of the part are read side by side under carried; 1 is exact and slow.
    encoding
        How the files are encoded (default: as the run was told).
    split
        Fractions for the parts (default: the run's own).
    json
        Print one JSON line.
    """
    from unrolled.cli.interrupts import listening
    from unrolled.cli.reading import read
    from unrolled.laboratory import open_run
    from unrolled.text.corpus import parse_split
    from unrolled.training.evaluation import Protocol, evaluate_part
    from unrolled.training.loop import autocast

    voice = Voice(as_json=json)
    chosen = Protocol.parse(protocol)
    if lanes is not None and lanes < 1:
        raise ConfigError(expected="--lanes of at least 1", received=str(lanes), remedy="raise it")
    opened = open_run(run)
    options = opened.config.options
    if encoding is not None:
        options = replace(options, encoding=encoding)
    if split is not None:
        options = replace(options, split=parse_split(split))
    if options.regime != "text":
        _refuse_protocol(options.regime, protocol, lanes)
    corpus = read(voice, texts or opened.config.find_sources(), options, opened.vocabulary)
    own = opened.config.is_text(corpus)
    if not own and (not texts or corpus.fingerprint == opened.config.fingerprint):
        voice.note("not the parts that this run was trained on: they may overlap with what it has learned")
    part = part or ("test" if own else "all")
    size = len(corpus.part(part))
    if size < 2:
        raise TextError(
            expected=f"a {part} part of at least 2 characters", received=f"{size}", remedy="choose another --part"
        )
    # The precision that the weights were trained at: nothing else multiplied with them while they were fitted.
    with listening() as interrupts, autocast(opened.model, opened.config.training.precision):
        result = evaluate_part(opened.model, corpus, part, chosen, lanes=lanes, should_stop=interrupts)
    beside = None if options.regime == "text" else _Beside.measured(opened, corpus, part)
    if json:
        figures = beside.to_json() if beside else {}
        voice.result({**result.to_json(), **figures, "part": part, "run": str(run)})
    else:
        _tell(voice, result, beside, f"part {part}" + (" of the run's own text" if own else ""))
    return 0


def _refuse_protocol(regime: str, protocol: str, lanes: int | None) -> None:
    if protocol != "carried" or lanes is not None:
        raise ConfigError(
            expected=f"neither --protocol nor --lanes for a run of {regime}: each line is read from a cold start",
            received=f"--protocol {protocol}" if protocol != "carried" else f"--lanes {lanes}",
            remedy="leave it out",
        )


def _tell(voice: Voice, result: "Score", beside: "_Beside | None", part: str) -> None:
    voice.say(f"{result.bits_per_char:.4f} bits per {result.unit}", style="bold")
    voice.say(f"{result.nats_per_char:.4f} nats per {result.unit}, {result.bits_per_byte:.4f} bits per byte")
    how = f"protocol {result.protocol}"
    if beside is not None:
        beside.tell(voice, result)
        how = "each line from a cold start"
    voice.say(f"over {result.chars:,} {result.unit}s: {part}, {how}")
    if result.unknown:
        voice.note(f"{result.unknown:,} of them the model has never seen: they are scored as its unknown symbol")


@dataclass(frozen=True)
class _Beside:
    """What is told beside the score of pairs or tags."""

    baseline: "Baseline"
    confusion: "Confusion | None"
    mistakes: "list[Answer]"

    @classmethod
    def measured(cls, opened: "Run", corpus: "Corpus", part: str) -> "_Beside":
        """Let the model answer the lines of a part, at most as many as `answers.MOST_ANSWERED`."""
        from unrolled.training import answers

        lines, precision = corpus.lines(part), opened.config.training.precision
        found = answers.answered(opened.model, lines, opened.vocabulary, precision=precision)
        own = answers.baseline(lines, opened.vocabulary)
        return cls(own, answers.confusion(found, lines.regime), answers.mistakes(found))

    def to_json(self) -> dict[str, object]:
        """Return what is told under public names."""
        return {
            "baseline": self.baseline.to_json(),
            "confusion": self.confusion,
            "mistakes": [one.to_json() for one in self.mistakes],
        }

    def tell(self, voice: Voice, result: "Score") -> None:
        """Print the accuracy, the baseline beside it, and a few mistakes."""
        from unrolled.text.pairs import told_answer

        answers, accuracy = result.answers, result.accuracy or 0.0
        assert answers is not None
        voice.say(accuracy_line(result), style="bold")
        always = f"always {visible_line(self.baseline.answer)!r}: {100 * self.baseline.share:.1f} %"
        voice.say(f"knowing nothing, {always}")
        if accuracy < 1.0 and self.mistakes:
            voice.say("for example, and in brackets what it should be:")
            for one in self.mistakes[:SHOWN_MISTAKES]:
                voice.say(f"  {told_answer(one.source, one.target, one.answer)}")


def accuracy_line(result: "Score") -> str:
    """Say how many answers are right: `exact: 98.4 % of 1,000 answers`."""
    answers = result.answers
    assert answers is not None
    exact = f"{100 * answers.exact / answers.lines:.1f} % of {answers.lines:,}"
    if result.unit == "tag":
        return f"right: {100 * answers.right / answers.asked:.1f} % of {answers.asked:,} tags; {exact} lines wholly"
    return f"exact: {exact} answers"
