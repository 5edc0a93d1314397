"""Every public name in one place; `import unrolled` hands them out when they are first used.

Knows nothing: it only gathers.
"""

from unrolled.errors import ConfigError, RunError, RunLockedError, TextError, TrainingError, UnrolledError
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
    "ConfigError",
    "Corpus",
    "Edit",
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
    "Vocabulary",
    "Watch",
    "corpus_from_text",
    "detached",
    "evaluate",
    "make_plan",
    "new_run_path",
    "open_run",
    "parameter_count",
    "parse_layers",
    "parse_unit",
    "read_corpus",
    "rows",
    "stream",
    "train",
    "training_events",
    "untouched",
    "visible",
    "width_for",
]
