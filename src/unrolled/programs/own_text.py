"""A run folder that brings its own text: examples beside the weights, which every verb can read again.

Knows nothing about where the examples or the weights come from.
"""

from pathlib import Path

import unrolled
from unrolled.models import ModelConfig, parameter_count
from unrolled.models.sequence_model import SequenceModel
from unrolled.text.corpus import Corpus
from unrolled.training import durable
from unrolled.training.config import TrainingConfig
from unrolled.training.measure import environment
from unrolled.training.run_config import RunConfig
from unrolled.training.run_folder import RunFolder

EXAMPLES = "examples.txt"


def folder_with_text(
    path: Path, text: str, corpus: Corpus, *, config: ModelConfig, model: SequenceModel, training: TrainingConfig
) -> RunFolder:
    """Make a run folder whose text is `text`, as `corpus` (made of it in memory) reads it.

    Raises RunError where there is a run already, TrainingError where nothing can be written.
    """
    about = RunConfig(
        model=config,
        training=training,
        parameters=parameter_count(model),
        options=corpus.options,
        sources=(EXAMPLES,),
        folder=str(path.absolute()),
        fingerprint=corpus.fingerprint,
        characters={name: len(ids) for name, ids in corpus.parts.items()},
        environment=environment(),
    )
    folder = RunFolder.create(path, about.to_json(unrolled.__version__), corpus.vocabulary.to_json())
    durable.write_bytes_durably(path / EXAMPLES, text.encode())
    return folder
