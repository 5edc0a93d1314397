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

KERNEL_FLOAT32 = 1e-5
"""Relative to the largest number, a kernel's float32 outputs against its float64 twin. Largest seen: 1.8e-6 (elman)."""

KERNEL_FLOAT32_GRADIENT = 1e-5
"""The same for its gradients. Largest seen: 9.1e-7 (lstm)."""

KERNEL_BFLOAT16 = 0.06
"""The same for outputs under bfloat16 autocast. Largest seen, compiled or torch: elman 0.023, gru
0.011, lstm 0.010, convolution 0.008."""

KERNEL_BFLOAT16_GRADIENT = 0.1
"""The same for gradients under bfloat16 autocast. Largest seen: gru 0.031 (100 steps), elman 0.024,
lstm 0.016, convolution 0.006."""

MODEL_FLOAT32 = 3e-6
"""L2 distance relative to float64 of all logits and of the whole gradient. Largest seen: 2.4e-7."""

MODEL_BFLOAT16 = 0.05
"""The same under bfloat16 autocast. Largest seen: 0.028."""

CARRIED_LANES_BITS = 2e-5
"""Bits per character, `carried` in the default lanes against one lane, for long memories. Largest seen: 3.7e-6
(forget bias 5)."""

UPDATE64 = 1e-6
"""Absolute, float64 weights after six updates against naive AdamW. Largest seen: 2e-16, but the loss itself is taken in
float32, where another processor may round its gradient differently by 1e-7."""

GOLDEN_LOSS = 5e-5
"""Relative, float32 losses of 30 seeded steps against the written curves. Largest seen: 2.7e-6, which is their six
digits (1 and 2 threads, with and without compiled kernels and AVX-512)."""

ROWS_BF16 = 0.02
"""Relative norm, bfloat16: reading rows of a table against looking them up. Largest seen: 0.008."""

MUON_SINGULAR_VALUES = (0.3, 1.3)
"""Where five Newton-Schulz rounds bring singular values of at least a twentieth of the largest. Seen: 0.5 to 1.23."""

DROPPED_SHARE = 0.01
"""Of 102,400 numbers, how far the share that dropout drops may lie from p: six standard deviations. Seen: 0.003."""

WRONG_SHARE = 0.2
"""Share of wrong labels on pieces of Python files cut anywhere and joined. Largest seen: 0.17 (strings)."""

ENGINE32 = 1e-4
"""Absolute, logits of size about 10 and all units, the page's engine against float32 in PyTorch, both with weights
rounded to float16. Largest seen: 2.4e-6 in the small models, 1.1e-5 at two layers of 256 (WebAssembly)."""

ENGINE_PROBABILITY = 1e-12
"""Absolute, probabilities in float64 against numpy's: exponentials differ in their last bits."""

ENGINE_PRODUCT = 3e-6
"""Relative to the size of the terms, one matrix-vector product in float32 against float64."""

KERNEL_ATTENTION_BFLOAT16 = 0.02
"""Largest error over the largest number, attention's outputs against a dense float64 twin. Largest seen: compiled
0.0061, torch 0.0097."""

KERNEL_ATTENTION_BFLOAT16_GRADIENT = 0.02
"""The same for attention's gradients. Largest seen: compiled 0.0061, torch 0.0129."""

KERNEL_MLP_BFLOAT16 = 0.01
"""The same for two linear maps with gelu between them, hidden units, outputs and gradients. Largest seen: 0.0061,
compiled and torch."""

KERNEL_NORM_BFLOAT16 = 0.01
"""Largest error over the largest number, the sum and norm of one pass under bfloat16 autocast, outputs and gradients,
against float64. Largest seen: 0.0028."""

WRITER_FLOAT32 = 5e-6
"""Relative to the largest number, logits and states of a compiled writer against the model in float64. Largest seen:
9.3e-7."""

WRITER_BFLOAT16 = 0.04
"""The same with weights in bfloat16. Largest seen: 0.0132 (hybrid, width 80)."""

STATISTIC = 1e-9
"""Absolute, AUC and rank correlation from sums (and Fourier transforms) against pairs counted one by one and scipy.
Largest seen: 5e-15."""

STREAMED = 1e-4
"""Absolute, float64 models whose units are read in warmed-up lanes (and kept in float32) against one reading in order.
Largest seen: 1.5e-7."""

ABLATION64 = 1e-12
"""Absolute, nats per character in float64: losses of many variants in one batch against loops one by one, and against
a machine's formula. Largest seen: 5e-17, of changes of about 0.001."""

CLAMP_RATE = 6.0
"""Characters per thousand in 40,000 drawn: four standard deviations of the largest rate, 100. Seen: 1.6."""

UNITS_BFLOAT16 = 0.1
"""Relative to the largest number of a group, units watched under bfloat16 autocast against float64 step by
step. Largest seen: compiled 0.037 (hybrid), torch 0.048 (lstm)."""

KEPT_FLOAT32 = 2e-6
"""Cells and states of a compiled kernel against what its own gates give, absolute and relative. Largest
seen: 1.1e-7."""

KEPT_BFLOAT16 = 0.006
"""Relative, its hidden units, which are rounded, against what its own gates and cells give. Largest seen: 0.0043; half
a rounding step is 0.0039."""

INFLUENCE = 0.02
"""Absolute, the slope of a score at a place against the score with that place four times more in 24,000. Largest seen:
0.004."""

IMPORTED_LOGITS = 0.2
"""Absolute, log-probabilities of models whose weights are all of size 1, float32 against rounded to float16 by a page.
Largest seen: 0.073 (transformer); trained weights are much smaller."""

SCREENED = 0.02
"""Absolute, scores of the first look (ranks off 16 quantiles) against exact ones. Largest seen: 0.009."""

PAGE_AUC = 0.004
"""Absolute, a page's AUC of a marked passage, from histograms of 256 bins and shown with three digits, against
ranks."""

PAGE_BITS = 1e-3
"""Bits per character of a run and of the one that its page gives back, weights rounded to float16. Seen: 3e-7."""

LINES64 = 1e-6
"""Absolute, float64 gradients of a batch of pairs or tags against a loop over its lines: the loss itself is taken in
float32. Largest seen: 4.8e-8."""

CHANCE = 0.03
"""Absolute, shares among 1,500 to 3,000 drawn answers against exact ones: more than two standard deviations of a share
of 1/2. Largest seen: 0.026."""

COMPILED_LOGITS = 1e-3
"""Absolute, logits of machines in Elman and LSTM weights against the logarithms of their programs' weights, float32.
Largest seen: 1.9e-4 (cycle-navigation, 122 units)."""

TEMPERATURE_OF_DRAWN = 0.1
"""Relative, the temperature found from 2,000 to 3,000 drawn symbols against the one that they were drawn at. Largest
seen over eleven draws: 0.096 (what writes never draws the unknown symbol)."""

TEMPERATURE_AGAIN = 1e-8
"""Relative, a second temperature for a float64 model that has taken in the first, against 1. Largest seen: 5e-16."""

TEMPERATURE_OF_A_QUARTER = 0.1
"""Relative, the temperature of every fourth of 2,000 characters against that of all. Largest seen in five draws:
0.04."""

NATS_OF_A_QUARTER = 2e-3
"""Relative, what 2,000 characters cost at the temperature of every fourth of them against that at their own. Largest
seen in five draws: 6.2e-4."""

FOLDED32 = 1e-7
"""Relative, bits per character of float32 logits that were divided by a temperature against those of a readout that
has taken it in. Largest seen: 4e-9."""
