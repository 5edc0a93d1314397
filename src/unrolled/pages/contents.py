"""What a page is told: facts, findings, passages and training of a run, as plain JSON values.

Knows nothing about HTML, and nothing about how units are found. Where the text lay on this machine is left out: a page
is made to be given away.
"""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from unrolled.laboratory import Run
from unrolled.models import ModelConfig
from unrolled.models.config import family_of
from unrolled.neurons.evidence import Evidence
from unrolled.neurons.findings import Candidate, Search, strength
from unrolled.neurons.saturation import Saturation
from unrolled.neurons.sentences import none_found, summary
from unrolled.text.corpus import IN_MEMORY, TextOptions
from unrolled.training.evaluation import Score
from unrolled.training.run_folder import RunFolder

FORMAT = 1
MOST_CARDS = 60
MOST_LOOKS = 200
OWN_TEXT, ANSWER_KEY = "examples.txt", "features.py"
"""What a run that brings its own text has beside its weights, and a compiled one besides."""
PASSAGE = 6000
"""Characters of the passage that a page shows."""

Key = tuple[str, str]
"""A finding by its unit and its feature."""


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The passage that a page shows: text that the model never saw, and which part it comes from."""

    text: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that was found out about a run. `births` are (step, score) at every kept snapshot, by finding."""

    search: Search
    passage: Excerpt
    evidence: Mapping[Key, Evidence] = field(default_factory=dict)
    births: Mapping[Key, Sequence[tuple[int, float]]] = field(default_factory=dict)
    saturation: Mapping[str, Saturation] = field(default_factory=dict)


def page_data(run: Run, found: Found, *, score: Score | None = None, title: str = "") -> dict[str, Any]:
    """Return what a page about a run is told, as plain JSON values (numbers that JSON lacks are null).

    `score` is the model's score on unseen text; without it the best look at the validation part stands there. `title`
    is the run's name where none is given. Raises RunError when the run's logs cannot be read.
    """
    folder = RunFolder.open(run.path)
    metrics = folder.metrics()
    search = found.search
    return plain(
        {
            "format": FORMAT,
            "title": title or run.path.absolute().name,
            "facts": _facts(run, folder.config, metrics, score),
            "model": run.config.model.to_json(),
            "vocabulary": run.vocabulary.to_json(),
            "run": given_away(folder.config),
            "passage": dataclasses.asdict(found.passage),
            "units": dict(run.model.units),
            "cards": [_card(one, found) for one in search.findings[:MOST_CARDS]],
            "none": none_found(search),
            "features": _features(search),
            "skipped": search.skipped,
            "saturation": {group: one.to_json() for group, one in found.saturation.items() if _is_gate(run, group)},
            "training": _training(metrics, folder.samples()),
            "search": {
                name: getattr(search, name)
                for name in ("characters", "discovery", "gap", "confirmation", "units", "shifts", "untrained_copies")
            },
        }
    )


def given_away(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration without the folders in which the text was found."""
    text = config.get("text")
    if not isinstance(text, Mapping):
        return dict(config)
    return {**config, "text": {**text, "folder": ".", "sources": [_name(str(one)) for one in text.get("sources", [])]}}


def choose_passage(text: str, labels: Sequence[np.ndarray], size: int = PASSAGE) -> slice:
    """Return where most is going on: about `size` characters from the start of a line in which `labels` change most.

    `labels` are those of the found features over `text`; each counts alike, however often it changes. A number changes
    where it takes another step than it mostly takes.
    """
    begins = np.array([0, *(at + 1 for at, one in enumerate(text[:-1]) if one == "\n")])
    begins = begins[begins + size <= len(text)]
    if len(begins) == 0:
        return slice(0, min(size, len(text)))
    worth_W = np.zeros(len(begins))
    for labels_T in labels:
        sums = np.concatenate([[0], np.cumsum(_changes(labels_T))])
        # The first changes show a feature; the root lets further ones count, but less and less.
        changes_W = np.sqrt(sums[begins + size] - sums[begins])
        worth_W += changes_W / max(1.0, changes_W.max())
    start = int(begins[np.argmax(worth_W)])
    last = text.rfind("\n", start + size - size // 10, start + size)
    return slice(start, last + 1 if last >= 0 else start + size)


def plain(value: object) -> Any:
    """Return a value as JSON has it: arrays as lists, tuples as lists, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _facts(run: Run, config: Mapping[str, Any], metrics: list[dict[str, Any]], score: Score | None) -> dict[str, Any]:
    looks = [bits for one in metrics if isinstance(bits := one.get("valid_bits_per_char"), int | float)]
    sources = [_name(source) for source in run.config.sources]
    seconds = metrics[-1].get("seconds") if metrics else None
    return {
        "kind": _kind(run),
        "family": " + ".join(dict.fromkeys(run.config.model.pattern().split())),
        "description": run.config.description,
        "parameters": run.config.parameters,
        "text": ", ".join(sources),
        "bits_per_char": score.bits_per_char if score else min(looks, default=None),
        "protocol": str(score.protocol) if score else "carried",
        "scored": "unseen text" if score else "validation part",
        "seconds": seconds,
        "steps": metrics[-1].get("step", run.config.training.steps) if metrics else run.config.training.steps,
        "version": config.get("unrolled", ""),
        "command": _command(run, sources),
    }


def _kind(run: Run) -> str:
    """Return how the weights came to be: "trained", "untrained", or "compiled" from a machine.

    A compiled circuit names its units; other forms are told by the answer key that lies beside them.
    """
    if any(layer.get("units") for layer in run.config.model.to_json()["layers"]):  # type: ignore[attr-defined]
        return "compiled"
    if run.config.training.steps:
        return "trained"
    return "compiled" if (run.path / OWN_TEXT).exists() and (run.path / ANSWER_KEY).exists() else "untrained"


def _is_gate(run: Run, group: str) -> bool:
    """Say whether a group is a gate with a plot of its own: units of a circuit are no gates, and one is no plot."""
    return run.model.units.get(group, 0) > 1 and "gate" in group.rpartition(".")[2]


def _command(run: Run, sources: Sequence[str]) -> str:
    """Return a command that makes such a model: text, layers, size, steps and seed; the recipe chooses the rest.

    Empty where it was not `unrolled train` that made it, or nobody can read the text again.
    """
    if _kind(run) == "compiled":
        return "unrolled machine compile"
    if (run.path / OWN_TEXT).exists() or IN_MEMORY in sources:
        return ""
    model, options, usual = run.config.model, run.config.options, TextOptions()
    words = [source.removeprefix("builtin:") for source in sources]
    words += ["--split", ",".join(f"{share:g}" for share in options.split)]
    words += ["--encoding", options.encoding] if options.encoding != usual.encoding else []
    words += ["--bytes"] if options.as_bytes else []
    words += ["--min-count", str(options.min_count)] if options.min_count != usual.min_count else []
    words += [f"--{options.regime}"] if options.regime != usual.regime else []
    words += ["--layers", _pattern(model), "--width", str(model.stack.width)]
    words += ["--plain"] if model.stack.plain else []
    words += ["--dropout", f"{model.stack.dropout:g}"]
    words += ["--steps", str(run.config.training.steps), "--seed", str(run.config.training.seed)]
    return shlex.join(["unrolled", "train", *words])


def _pattern(model: ModelConfig) -> str:
    layers = []
    for layer in model.layers:
        given = {
            one.name: getattr(layer, one.name)
            for one in dataclasses.fields(layer)  # type: ignore[arg-type]
            if getattr(layer, one.name) != one.default
        }
        options = ",".join(f"{name}={str(value).lower()}" for name, value in given.items())
        layers.append(family_of(layer) + (f"({options})" if options else ""))
    return " ".join(layers)


def _name(source: str) -> str:
    """Return a text's name as it may be told: relative paths stay, of others the file's own name."""
    path = PurePath(source)
    return path.name if path.is_absolute() or ".." in path.parts else source


def _card(candidate: Candidate, found: Found) -> dict[str, object]:
    key = (candidate.unit, candidate.feature)
    return {
        **candidate.to_json(),
        "sentence": summary(candidate),
        **found.evidence.get(key, Evidence()).to_json(),
        "birth": [{"step": step, "score": score} for step, score in found.births.get(key, ())],
    }


def _features(search: Search) -> list[dict[str, object]]:
    """Return every feature's best unit: one that holds before one that does not, then by score."""
    best: dict[str, Candidate] = {}
    for one in search.candidates:
        other = best.get(one.feature)
        if other is None or _standing(one) > _standing(other):
            best[one.feature] = one
    names = ("description", "kind", "unit", "score", "character_score", "untrained_score", "probe_score", "holds")
    return [
        {"name": one.feature, **{name: getattr(one, name) for name in names}, "against": list(one.against)}
        for one in sorted(best.values(), key=_standing, reverse=True)
    ]


def _standing(candidate: Candidate) -> tuple[bool, float, float]:
    return candidate.holds, candidate.gain if candidate.holds else 0.0, strength(candidate.score, candidate.kind)


def _training(metrics: list[dict[str, Any]], samples: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Return the looks of training, each with what the model wrote then; of very many an even choice."""
    texts = {one.get("step"): one for one in samples}
    if len(metrics) > MOST_LOOKS:
        chosen = np.linspace(0, len(metrics) - 1, MOST_LOOKS).round().astype(int)
        metrics = [metrics[at] for at in chosen]
    return [
        {
            "structure": None,
            **metric,
            "sample": texts.get(metric.get("step"), {}).get("text", ""),
            "temperature": texts.get(metric.get("step"), {}).get("temperature"),
        }
        for metric in metrics
    ]


def _changes(labels_T: np.ndarray) -> np.ndarray:
    """Return at which places a label does something else than it does from most places to the next, (T,) of 0 and 1."""
    if len(labels_T) < 2:
        return np.zeros(len(labels_T))
    if labels_T.dtype == bool:
        return np.concatenate([[0], labels_T[1:] != labels_T[:-1]])
    steps = np.diff(labels_T.astype(np.float64))
    there = np.isfinite(steps)
    usual = np.median(steps[there]) if there.any() else 0.0
    return np.concatenate([[0], there & (np.abs(steps - usual) > 0.5 * max(abs(usual), 1e-6))])
