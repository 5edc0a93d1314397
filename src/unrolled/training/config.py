"""How a model is trained: every number that decides the outcome, in one frozen value.

Knows nothing about budgets (recipe.py chooses the numbers) or about files.
"""

from dataclasses import dataclass

from unrolled.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run.

    steps          updates of the weights, T * lanes characters each
    lanes          B parallel lanes of the one stream of text
    unroll         T, the characters that gradients flow through (truncated backpropagation through time)
    forget_every   characters after which, on average, a lane forgets all it read and begins anew; 0 never forgets
    optimizer      of the layers' matrices: adamw or muon (everything else is AdamW's)
    rate           peak learning rate of AdamW; it rises over `warm_up` steps, stays for the share `hold` of all steps,
                   and then falls linearly to zero
    matrix_rate    peak learning rate of Muon, on the same schedule
    weight_decay   on matrices only; biases, norms and the embedding are left alone
    average        steps over which the weights are averaged, exponentially: what is looked at, saved and published are
                   then the averages; 0 for the weights themselves
    beta2, clip    AdamW's second moment and the largest norm of the gradient
    evaluate_every steps between two looks at the validation part, samples and checkpoints
    evaluate_chars characters of the validation part that such a look scores (the summary scores all of them)
    uncalibrated   look at the weights, and publish them, as they were learned; otherwise a text's looks score at the
                   temperature that fits them best, and when training has ended one is fitted on the validation part
                   (calibration.py)
    patience       looks without a better validation score before training stops; 0 never stops early
    precision      of the matrix products in training: float32, or bfloat16 under autocast
    seed           decides the weights, the dropout and the samples
    """

    steps: int
    lanes: int = 32
    unroll: int = 64
    forget_every: int = 0
    optimizer: str = "adamw"
    rate: float = 4e-3
    matrix_rate: float = 0.02
    warm_up: int = 20
    hold: float = 0.0
    weight_decay: float = 0.01
    average: int = 0
    beta2: float = 0.99
    clip: float = 1.0
    evaluate_every: int = 100
    evaluate_chars: int = 32768
    uncalibrated: bool = False
    patience: int = 0
    precision: str = "float32"
    seed: int = 1

    def __post_init__(self) -> None:
        limits = {
            "steps": (0, 10**9),
            "lanes": (1, 65536),
            "unroll": (1, 65536),
            "forget_every": (0, 10**9),
            "rate": (0, 100),
            "matrix_rate": (0, 100),
            "warm_up": (0, 10**9),
            "hold": (0, 1),
            "weight_decay": (0, 10),
            "average": (0, 10**9),
            "beta2": (0, 0.999999),
            "clip": (1e-9, 1e9),
            "evaluate_every": (1, 10**9),
            "evaluate_chars": (2, 10**12),
            "patience": (0, 10**9),
            "seed": (0, 2**63 - 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(
                    expected=f"{name} from {low} to {high}",
                    received=str(value),
                    remedy=f"change --{name.replace('_', '-')}",
                )
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(
                expected="an optimizer: adamw or muon", received=repr(self.optimizer), remedy="choose one"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(
                expected="a precision of float32 or bfloat16", received=repr(self.precision), remedy="choose one"
            )

    def share_at(self, step: int) -> float:
        """Return the part of the peak rates at which update number `step`, counted from 0, is made."""
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        held = self.hold * self.steps
        left = 1.0 if step < held else (self.steps - step) / max(1.0, self.steps - held)
        return warm * max(0.0, left)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of update number `step`, counted from 0."""
        return self.rate * self.share_at(step)
