"""unrolled: a laboratory for character-level sequence models.

    import unrolled

    book = unrolled.read_corpus(["book.txt"])
    run = unrolled.train(book, minutes=3)
    print(run.sample("Once upon a time"))

Names are imported when they are first used, so that the command line starts without torch.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

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

if TYPE_CHECKING:
    from unrolled.public import *  # noqa: F403


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}")
    from unrolled import public  # noqa: PLC0415

    value = getattr(public, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
