"""What the tests of pages share: a small trained run without training, and findings made by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import unrolled
from unrolled.laboratory import Run, open_run
from unrolled.models import parse_layers
from unrolled.neurons.evidence import Evidence, Passage
from unrolled.neurons.findings import Candidate, Search
from unrolled.neurons.saturation import Saturation
from unrolled.pages.contents import Excerpt, Found
from unrolled.text.corpus import Corpus, corpus_from_text
from unrolled.training.experiment import begin
from unrolled.training.recipe import Request, make_plan

HOSTILE = (
    "</script><img src=x onerror=alert(1)><!-- <script> ]]> \u202e\x1b[2J\x00\u2028\u2029\ud800 {{script}} '\"&lt;"
)


def made_run(path: Path, text: str, *, layers="lstm", width=8, **wanted) -> tuple[Run, Corpus]:
    """A finished run of random weights, with logs."""
    corpus = corpus_from_text(text)
    request = Request(layers=layers, width=width, steps=20, lanes=2, unroll=8, precision="float32", **wanted)
    assert parse_layers(layers)
    plan = make_plan(request, corpus.vocabulary, len(corpus.part("train")), len(corpus.part("valid")))
    experiment = begin(corpus, plan, path)
    weights = {name: torch.randn_like(value) for name, value in experiment.training.model.state_dict().items()}
    experiment.folder.publish_weights(weights)
    for step in (0, 10, 20):
        report = {"step": step, "chars": step * 16, "train_bits_per_char": None, "valid_bits_per_char": 5.0 - step / 10}
        experiment.folder.append_metric({**report, "seconds": step / 2, "structure": {"words": 0.5}})
        experiment.folder.append_sample({"step": step, "temperature": 0.8, "text": f"wrote {HOSTILE} at {step}"})
    assert experiment.folder.config["unrolled"] == unrolled.__version__
    return open_run(path), corpus


def made_candidate(unit="layer0.cell[3]", feature="inside-double-quotes", **changes) -> Candidate:
    facts = {
        "unit": unit, "feature": feature, "description": "inside double quotes", "kind": "yes-no", "sign": 1,
        "score": 0.99, "interval": (0.98, 0.995), "discovery_score": 0.99, "character_score": 0.6,
        "beyond_character": 0.98, "untrained_score": 0.6, "probe_score": 0.99, "probe_layer": "layer0", "p": 0.002,
        "gain": 0.9,
    }  # fmt: skip
    return Candidate(**{**facts, **changes})


def made_search(*candidates: Candidate, **changes) -> Search:
    facts = {
        "characters": 50_000, "discovery": 24_000, "gap": 1000, "confirmation": 25_000, "units": 40, "shifts": 500,
        "untrained_copies": 3, "candidates": candidates, "skipped": {"inside-url": "too few places"},
    }  # fmt: skip
    return replace(Search(**facts), **changes)


def made_found(text: str = "a “quotation” here\n") -> Found:
    """Two findings (one of a feature that somebody hostile wrote) and one unit that does not hold."""
    quote = made_candidate()
    odd = made_candidate("layer0.hidden[0]", HOSTILE, description=HOSTILE, sign=-1, probe_score=float("nan"))
    weak = made_candidate("layer0.hidden[1]", "vowel", against=(HOSTILE,), score=0.7, gain=0.01)
    passage = Passage(at=5, text=text, values=tuple(np.linspace(-1, 1, len(text)).round(2).tolist()))
    evidence = Evidence(histogram={"low": -1.0, "high": 1.0, "on": [1] * 40, "off": [2] * 40}, strongest=(passage,))
    return Found(
        search=made_search(quote, odd, weak),
        passage=Excerpt(text=text * 20 + HOSTILE, where="the test part"),
        evidence={(one.unit, one.feature): evidence for one in (quote, odd)},
        births={(quote.unit, quote.feature): [(0, 0.5), (20, 0.99)]},
        saturation={"layer0.forget_gate": Saturation(np.array([0.1, 0.0]), np.array([0.5, 1.0]))},
    )
