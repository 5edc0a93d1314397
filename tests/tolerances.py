"""Every tolerance of the tests, each with its measurement (the largest error seen) and what it protects.

A tolerance is changed here, in a commit of its own that says why, or not at all.
"""

EXACT64 = 1e-10
"""Absolute, float64: only summation order may differ. Largest seen over all families and cuts: 5e-15."""

SPLIT32 = 2e-5
"""Absolute, float32 logits across cuts of the stream. Largest seen: 3e-6 (transformer, logits of size about 1)."""

GRADIENT64 = 1e-8
"""Absolute, float64 gradients of a fast kernel against its naive twin or torch.nn. Largest seen: 4e-14."""

FIRST_LOSS_NATS = 0.25
"""How far an untrained model's loss may lie from log V. Largest seen: 0.12 (V = 11)."""
