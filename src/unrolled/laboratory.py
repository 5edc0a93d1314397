"""The Python API in three verbs: train a text, open a run, use it.

Knows nothing about terminals; the command line is made of the same pieces.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import ConfigError, UnrolledError, nearest
from unrolled.models import SequenceModel, State, Tap, parse_layers, untouched
from unrolled.models.config import family_of
from unrolled.sampling import SamplingOptions, answers, decoded, likeliest, stream, streams
from unrolled.text.corpus import Corpus
from unrolled.text.pairs import NEWLINE, TAB
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.evaluation import Protocol, Score, evaluate_part
from unrolled.training.events import Event
from unrolled.training.experiment import begin, finish, load_weights
from unrolled.training.loop import autocast
from unrolled.training.loop import train as training_events
from unrolled.training.measure import default_device
from unrolled.training.recipe import Request, make_plan
from unrolled.training.run_config import RunConfig
from unrolled.training.run_folder import RunFolder

RUNS = Path("runs")
Settings = TypeVar("Settings", Request, SamplingOptions)


@dataclass(frozen=True)
class Run:
    """A trained model with its vocabulary, ready to write, to score and to be watched."""

    path: Path
    model: SequenceModel
    vocabulary: Vocabulary
    config: RunConfig

    def write(self, prompt: str = "\n", *, seed: int = 1, tap: Tap = untouched, **options: Any) -> Iterator[str]:
        """Yield what the model writes after `prompt`, piece by piece, for ever; options as in `SamplingOptions`.

        Characters that the model has never seen are read as the unknown symbol. Raises ConfigError for an option that
        there is not, or a value out of its range.
        """
        drawing, precision = _made(SamplingOptions, options), self.config.training.precision
        decoder, ids = self.vocabulary.decoder(), self.vocabulary.encode(prompt)
        for symbol in stream(self.model, ids, drawing, seed=seed, tap=tap, precision=precision):
            if piece := decoder.feed(symbol):
                yield piece

    def sample(self, prompt: str = "\n", length: int = 500, *, seed: int = 1, **options: Any) -> str:
        """Return `length` characters that the model writes after `prompt`; options as in `SamplingOptions`."""
        pieces = self.write(prompt, seed=seed, **options)
        return "".join(islice((character for piece in pieces for character in piece), length))

    def samples(
        self, prompt: str = "\n", length: int = 500, *, seeds: Sequence[int], tap: Tap = untouched, **options: Any
    ) -> list[str]:
        """Return what streams with these seeds write after `prompt`, `length` characters each."""
        drawing, precision = _made(SamplingOptions, options), self.config.training.precision
        ids = self.vocabulary.encode(prompt)
        blocks = streams(self.model, ids, drawing, seeds=seeds, tap=tap, precision=precision)
        return decoded(blocks, self.vocabulary, count=len(seeds), length=length)

    def score(self, corpus: Corpus, part: str = "test", protocol: str = "carried", lanes: int | None = None) -> Score:
        """Score a part of a text (`train`, `valid`, `test` or `all`), read with this run's vocabulary.

        A text of pairs or tags is scored line by line: `protocol` and `lanes` then mean nothing.

        Raises ConfigError for another vocabulary, part or protocol, TextError when there is nothing to predict.
        """
        if corpus.vocabulary != self.vocabulary:
            raise ConfigError(
                expected="a text that was read with this run's vocabulary",
                received="one with another vocabulary",
                remedy="read it with read_corpus(..., vocabulary=run.vocabulary)",
            )
        with autocast(self.model, self.config.training.precision):
            return evaluate_part(self.model, corpus, part, Protocol.parse(protocol), lanes=lanes)

    def answer(self, source: str, *, most: int = 1000) -> str:
        """Return what a run trained on pairs writes after `source`, or what one trained on tags says under it.

        The likeliest symbol is taken every time; a pair's answer ends at the newline or after `most` characters.

        Raises:
            ConfigError: a run that was trained on a plain text, a source with a TAB or newline, no source of tags.
        """
        return self.answers([source], most=most)[0]

    def answers(self, sources: Sequence[str], *, most: int = 1000) -> list[str]:
        """Return what `answer` does for every source; those of one length are read side by side."""
        regime, decode = self.config.options.regime, self.vocabulary.decode
        if regime == "text":
            raise ConfigError(
                expected="a run trained on pairs or tags",
                received="one trained on a plain text",
                remedy="let it write with sample",
            )
        for source in sources:
            if TAB in source or NEWLINE in source:
                raise ConfigError(
                    expected="a source of one line without a TAB", received=repr(source[:40]), remedy="leave them out"
                )
        if regime == "tags":
            return [decode(likeliest(self.model, self.vocabulary.encode(source))) for source in sources]
        prompts = [self.vocabulary.encode(source + TAB) for source in sources]
        end, greedy = int(self.vocabulary.encode(NEWLINE)[0]), SamplingOptions(temperature=0.0)
        precision = self.config.training.precision
        found = answers(self.model, prompts, greedy, end=end, most=most, precision=precision)
        return [decode(ids) for ids in found]

    def read(self, text: str, state: State | None = None, *, tap: Tap = untouched) -> tuple[Tensor, State]:
        """Read a text; return the log-probabilities (T, V) in nats of what follows each character, and the state."""
        tokens_1T = torch.from_numpy(self.vocabulary.encode(text).astype(np.int64))[None].to(_device(self.model))
        with torch.inference_mode():
            logits_1TV, state = self.model(tokens_1T, state, tap=tap)
        return logits_1TV[0].log_softmax(-1), state


def open_run(path: str | Path) -> Run:
    """Open a run folder (or a shared one) with its best weights. Raises RunError in one line when it cannot."""
    folder = RunFolder.open(path)
    config = RunConfig.from_json(folder.config)
    vocabulary = Vocabulary.from_json(folder.vocabulary)
    model = config.model.build(vocabulary.size)
    load_weights(model, folder.weights(), str(path))
    return Run(folder.path, model.to(default_device()).eval(), vocabulary, config)


def train(
    corpus: Corpus,
    *,
    run: str | Path | None = None,
    listen: Callable[[Event], object] = lambda _: None,
    **request: Any,
) -> Run:
    """Train a model on a text and return it; every event is told to `listen`, nothing is printed.

    `request` holds the fields of `Request`: `minutes=3`, `steps=500`, `family="gru"`, `params=1_000_000`, ... The run
    folder is `run`, or a new one under `runs/`. Raises UnrolledError subclasses.
    """
    wanted = _made(Request, request)
    lines = corpus.lines("train") if corpus.options.regime != "text" else None
    plan = make_plan(wanted, corpus.vocabulary, len(corpus.part("train")), len(corpus.part("valid")), lines)
    experiment = begin(corpus, plan, Path(run) if run is not None else new_run_path(corpus.sources, wanted))
    with experiment.folder.lock():
        for event in training_events(experiment.training, experiment.folder):
            listen(event)
        finish(experiment)
    return open_run(experiment.folder.path)


def new_run_path(sources: Sequence[str], request: Request, runs: Path = RUNS) -> Path:
    """Return a path under `runs` that is free: the text's name, the family, and a number if need be."""
    stem = Path(sources[0].removeprefix("builtin:")).stem if len(sources) == 1 else f"{len(sources)}-texts"
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem).strip("-") or "text"
    if request.layers is None:
        kind = request.family
    else:
        families = {family_of(layer) for layer in parse_layers(request.layers)}
        kind = families.pop() if len(families) == 1 else "hybrid"
    for number in range(1, 100_000):
        path = runs / (f"{stem}-{kind}" if number == 1 else f"{stem}-{kind}-{number}")
        if not path.exists():
            return path
    raise UnrolledError(expected=f"a free name under {runs}", received="100000 runs", remedy="give one with --run")


def _made(kind: type[Settings], given: dict[str, Any]) -> Settings:
    """Return settings of a kind with the given fields; one that there is not raises ConfigError with the nearest."""
    known = {field.name for field in fields(kind)}
    for name in given:
        if name not in known:
            raise ConfigError(expected=f"a field of {kind.__name__}", received=repr(name), remedy=nearest(name, known))
    return kind(**given)


def _device(model: SequenceModel) -> torch.device:
    return next(model.parameters()).device
