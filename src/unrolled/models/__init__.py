"""Sequence models: the contract, the stack, and one file per family.

Knows nothing about text, training or files.
"""

from unrolled.models.config import ModelConfig, parse_layers, width_for
from unrolled.models.families import FAMILIES
from unrolled.models.sequence_model import (
    Edit,
    Layer,
    LayerConfig,
    SequenceModel,
    State,
    Tap,
    Watch,
    detached,
    parameter_count,
    parse_unit,
    rows,
    unit_name,
    untouched,
)
from unrolled.models.stack import Stack, StackConfig

__all__ = [
    "FAMILIES",
    "Edit",
    "Layer",
    "LayerConfig",
    "ModelConfig",
    "SequenceModel",
    "Stack",
    "StackConfig",
    "State",
    "Tap",
    "Watch",
    "detached",
    "parameter_count",
    "parse_layers",
    "parse_unit",
    "rows",
    "unit_name",
    "untouched",
    "width_for",
]
