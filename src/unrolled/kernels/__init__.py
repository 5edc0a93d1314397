"""The time loops that must be fast: recurrences, scans, convolutions; each has a naive twin in tests/reference.py.

Knows nothing about layers, taps or states: tensors in, tensors out. Everything is differentiable.
"""

from unrolled.kernels.attention import ROTARY_BASE, rotary_attention
from unrolled.kernels.convolution import dilated_causal_convolution
from unrolled.kernels.dropout import dropout
from unrolled.kernels.lookup import lookup
from unrolled.kernels.mlp import gelu_mlp
from unrolled.kernels.norm import add_rms_norm, rms_norm
from unrolled.kernels.recurrence import Weights, elman, gru, gru_with_gates, lstm, lstm_with_gates
from unrolled.kernels.scan import linear_scan

__all__ = [
    "ROTARY_BASE",
    "Weights",
    "add_rms_norm",
    "dilated_causal_convolution",
    "dropout",
    "elman",
    "gelu_mlp",
    "gru",
    "gru_with_gates",
    "linear_scan",
    "lookup",
    "lstm",
    "lstm_with_gates",
    "rms_norm",
    "rotary_attention",
]
