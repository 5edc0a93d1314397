"""Every public name in one place; `import unrolled` hands them out when they are first used.

Knows nothing: it only gathers.
"""

from unrolled.errors import ConfigError, RunError, RunLockedError, TextError, TrainingError, UnrolledError
from unrolled.inspection import Inspection, Unseen, birth_certificates, inspect, make_page, unseen
from unrolled.laboratory import Run, new_run_path, open_run, train
from unrolled.models import (
    FAMILIES,
    Edit,
    Layer,
    LayerConfig,
    ModelConfig,
    SequenceModel,
    Stack,
    StackConfig,
    State,
    Tap,
    Watch,
    detached,
    parameter_count,
    parse_layers,
    parse_unit,
    rows,
    untouched,
    width_for,
)
from unrolled.neurons.clamps import Clamps
from unrolled.neurons.feature_files import load_features
from unrolled.neurons.features import FEATURES, Feature
from unrolled.neurons.findings import Ablation, Candidate, Clamp, Search
from unrolled.neurons.streaming import record_units, stream_units
from unrolled.sampling import SamplingOptions, stream
from unrolled.text.corpus import Corpus, TextOptions, corpus_from_text, read_corpus
from unrolled.text.display import visible
from unrolled.text.vocabulary import Vocabulary
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, Score, evaluate
from unrolled.training.loop import Training
from unrolled.training.loop import train as training_events
from unrolled.training.recipe import Plan, Request, make_plan
from unrolled.training.run_folder import RunFolder

__all__ = [
    "FAMILIES",
    "FEATURES",
    "Ablation",
    "Candidate",
    "Clamp",
    "Clamps",
    "ConfigError",
    "Corpus",
    "Edit",
    "Feature",
    "Inspection",
    "Layer",
    "LayerConfig",
    "ModelConfig",
    "Plan",
    "Protocol",
    "Request",
    "Run",
    "RunError",
    "RunFolder",
    "RunLockedError",
    "SamplingOptions",
    "Score",
    "Search",
    "SequenceModel",
    "Stack",
    "StackConfig",
    "State",
    "Tap",
    "TextError",
    "TextOptions",
    "Training",
    "TrainingConfig",
    "TrainingError",
    "UnrolledError",
    "Unseen",
    "Vocabulary",
    "Watch",
    "birth_certificates",
    "corpus_from_text",
    "detached",
    "evaluate",
    "inspect",
    "load_features",
    "make_page",
    "make_plan",
    "new_run_path",
    "open_run",
    "parameter_count",
    "parse_layers",
    "parse_unit",
    "read_corpus",
    "record_units",
    "rows",
    "stream",
    "stream_units",
    "train",
    "training_events",
    "unseen",
    "untouched",
    "visible",
    "width_for",
]
