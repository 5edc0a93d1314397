"""Look inside a run: its units on text that it was not trained on, found, proved, and put on a page.

Knows nothing about terminals; the command line and the Python API both call it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from unrolled.errors import ConfigError, TextError
from unrolled.laboratory import Run
from unrolled.models import SequenceModel
from unrolled.neurons import search as searching
from unrolled.neurons.birth import Births, births
from unrolled.neurons.evidence import Evidence, gather
from unrolled.neurons.features import FEATURES, Feature
from unrolled.neurons.findings import Candidate, Search
from unrolled.neurons.proof import prove
from unrolled.neurons.proving import Proving
from unrolled.neurons.saturation import saturation
from unrolled.neurons.streaming import record_units
from unrolled.pages.builder import write_page
from unrolled.pages.contents import Excerpt, Found, choose_passage, page_data
from unrolled.pages.weights import float16_weights
from unrolled.text.corpus import Corpus
from unrolled.training.measure import default_device
from unrolled.training.run_folder import RunFolder

CHARACTERS = 400_000
"""So much of a text is read unless one asks for more."""
PROOF_CHARACTERS = 200_000
"""Units are proved, and evidence is gathered, on at most so much of the confirmation part."""
MOST_PROVED = 24
"""Each feature's best unit is proved first, then the surest others."""
PASSAGE_FEATURES = 12


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Text that a run was not trained on: `ids` (T,), `text` with one character for each, and which part it is.

    `whole` is the text as people read it: the same, or, where ids are bytes, what they stand for.
    """

    ids: np.ndarray
    text: str
    whole: str
    where: str

    def labels(self, features: Sequence[Feature]) -> dict[str, np.ndarray]:
        """Return every feature's labels, one per id: where ids are bytes, all of a character have its label."""
        labels = {feature.name: feature.labels(self.whole) for feature in features}
        if len(self.whole) == len(self.ids):
            return labels
        times_T = [len(character.encode("utf-8", "surrogateescape")) for character in self.whole]
        return {name: np.repeat(labels_T, times_T) for name, labels_T in labels.items()}


def unseen(
    run: Run, corpus: Corpus, *, characters: int = CHARACTERS, fewest: int = searching.FEWEST_CHARACTERS
) -> Unseen:
    """Return at most `characters` of a text that the run was not trained on.

    Of the run's own text these are the validation and test parts, of any other text all of it: whether that is a piece
    of the run's own, nobody can tell. Raises ConfigError for a text read with another vocabulary, or the run's own cut
    into other parts, TextError where fewer than `fewest` are left.
    """
    if corpus.vocabulary != run.vocabulary:
        raise ConfigError(
            expected="a text that was read with this run's vocabulary",
            received="one with another vocabulary",
            remedy="read it with read_corpus(..., vocabulary=run.vocabulary)",
        )
    own = run.config.is_text(corpus)
    if not own and corpus.fingerprint == run.config.fingerprint:
        raise ConfigError(
            expected="the run's own text in the parts that it was trained on",
            received=f"parts of {', '.join(f'{len(ids):,}' for ids in corpus.parts.values())} characters",
            remedy="read it with read_corpus(..., options=run.config.options, vocabulary=run.vocabulary)",
        )
    if own:
        ids = np.concatenate([corpus.part("valid"), corpus.part("test")])
        parts = [name for name in ("validation", "test") if len(corpus.part({"validation": "valid"}.get(name, name)))]
        where = f"the {' and '.join(parts)} part{'s' * (len(parts) > 1)}" if parts else ""
    else:
        ids, where = corpus.part("all"), "another text"
    ids = np.asarray(ids[:characters])
    if len(ids) < fewest:
        raise TextError(
            expected=f"at least {fewest:,} characters that the model was not trained on",
            received=f"{len(ids):,}",
            remedy="name a longer text after the run, or train with a larger validation and test part (--split)",
        )
    if run.vocabulary.kind == "characters":
        whole = run.vocabulary.decode(ids)
        return Unseen(ids=ids, text=whole, whole=whole, where=where)
    # The unknown symbol stands for some byte, and 0xFF is one that UTF-8 never has.
    values = bytes([ord(run.vocabulary.symbols[one]) if one else 0xFF for one in ids.tolist()])
    whole = values.decode("utf-8", "surrogateescape")
    return Unseen(ids=ids, text=values.decode("latin-1"), whole=whole, where=where)


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Who is told what goes on: `stage` hears its name, `share` how much of it is done; `should_stop` is asked."""

    stage: Callable[[str], object] = lambda _: None
    share: Callable[[float], object] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False


NOBODY = Listening()


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found inside a run, on which text, with the labels of all features."""

    run: Run
    unseen: Unseen
    search: Search
    labels: Mapping[str, np.ndarray] = field(repr=False)

    @property
    def confirmation(self) -> slice:
        """The part on which nothing was chosen."""
        return slice(len(self.unseen.ids) - self.search.confirmation, len(self.unseen.ids))


def inspect(
    run: Run,
    text: Unseen,
    *,
    features: Sequence[Feature] = FEATURES,
    proof: bool = True,
    seed: int = 1,
    listening: Listening = NOBODY,
) -> Inspection:
    """Find the units of a run that follow features of a text, and prove of the surest that they matter.

    Raises TextError for a text too short, ConfigError from a feature of one's own, KeyboardInterrupt when told to stop.
    """
    listening.stage(searching.STAGES[0])
    labels = text.labels(features)
    found = searching.search(
        run.model,
        lambda other: fresh(run, other),
        searching.Text(ids=text.ids, features=features, labels=labels),
        precision=run.config.training.precision,
        seed=seed,
        should_stop=listening.should_stop,
        progress=listening.stage,
    )
    inspection = Inspection(run=run, unseen=text, search=found, labels=labels)
    return proved(inspection, seed, listening) if proof and found.findings else inspection


def proved(inspection: Inspection, seed: int, listening: Listening) -> Inspection:
    """Return the same with what ablation and clamping say about the surest `MOST_PROVED` findings."""
    listening.stage("proof")
    search, part = inspection.search, _head(inspection.confirmation)
    how = Proving(
        seed=seed,
        precision=inspection.run.config.training.precision,
        should_stop=listening.should_stop,
        progress=listening.share,
    )
    best = best_by_feature(search.findings)
    chosen = [*best, *(one for one in search.findings if one not in best)][:MOST_PROVED]
    findings = prove(
        inspection.run.model,
        inspection.unseen.ids[part],
        inspection.unseen.text[part],
        chosen,
        {one.feature: inspection.labels[one.feature][part] for one in chosen},
        how,
    )
    by_pair = {(one.unit, one.feature): one for one in findings}
    candidates = tuple(by_pair.get((one.unit, one.feature), one) for one in search.candidates)
    return dataclasses.replace(inspection, search=dataclasses.replace(search, candidates=candidates))


def fresh(run: Run, seed: int) -> SequenceModel:
    """Return an untrained copy of a run's model."""
    torch.manual_seed(seed)
    return run.config.model.untrained().build(run.vocabulary.size).to(default_device()).eval()


def birth_certificates(inspection: Inspection, listening: Listening = NOBODY) -> Births:
    """Return the score of every finding at every step whose weights the run kept."""
    listening.stage("over training")
    part, run = inspection.confirmation, inspection.run
    return births(
        RunFolder.open(run.path),
        lambda: fresh(run, 0),
        inspection.search.findings,
        inspection.unseen.ids[part],
        {one.feature: inspection.labels[one.feature][part] for one in inspection.search.findings},
        precision=run.config.training.precision,
        should_stop=listening.should_stop,
    )


def make_page(
    inspection: Inspection, path: Path | str, born: Births | None = None, listening: Listening = NOBODY
) -> Path:
    """Write the page of a run and return its path. Raises RunError or TrainingError in one line."""
    born = birth_certificates(inspection, listening) if born is None else born
    listening.stage("the page")
    run, part = inspection.run, _head(inspection.confirmation)
    ids, text = inspection.unseen.ids[part], inspection.unseen.text[part]
    labels = {name: labels_T[part] for name, labels_T in inspection.labels.items()}
    findings, precision = inspection.search.findings, run.config.training.precision
    main = [labels[one.feature] for one in best_by_feature(findings)[:PASSAGE_FEATURES]]
    chosen = choose_passage(text, main)
    # Where ids are bytes, the page reads what they stand for.
    passage = Excerpt(text=run.vocabulary.decode(ids[chosen]), where=inspection.unseen.where)
    found = Found(
        search=inspection.search,
        passage=passage,
        evidence=_evidence(run, findings, ids, text, labels, part.start),
        births=born.points,
        saturation=saturation(run.model, ids[:PROOF_CHARACTERS], precision=precision),
    )
    write_page(Path(path), page_data(run, found), float16_weights(run.model.state_dict()))
    return Path(path)


def best_by_feature(findings: Sequence[Candidate]) -> list[Candidate]:
    """Return each feature's first finding, in order."""
    return list({one.feature: one for one in reversed(findings)}.values())[::-1]


def _evidence(
    run: Run, findings: Sequence[Candidate], ids: np.ndarray, text: str, labels: Mapping[str, np.ndarray], start: int
) -> dict[tuple[str, str], Evidence]:
    units = list(dict.fromkeys(one.unit for one in findings))
    if not units:
        return {}
    recorded_TU = record_units(run.model, ids, units, precision=run.config.training.precision)
    return {
        (one.unit, one.feature): gather(
            one, text, recorded_TU[:, units.index(one.unit)], labels[one.feature], start=start
        )
        for one in findings
    }


def _head(part: slice) -> slice:
    return slice(part.start, min(part.stop, part.start + PROOF_CHARACTERS))
