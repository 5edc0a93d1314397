"""What the search and the proof say about a unit: plain values, and the JSON that scripts and pages read.

Knows nothing about how they are found. Scores: for a yes/no feature the AUC, the probability that the unit is further
on at a place with the label than at one without; for a number the rank correlation. Both are turned by `sign`, so that
larger is always better. Strength puts them on one scale from 0 (chance) to 1 (perfect): 2 AUC - 1, or the correlation.
"""

from dataclasses import asdict, dataclass

Interval = tuple[float, float]
"""A 95 % interval, low and high."""


def strength(score: float, kind: str) -> float:
    """Return a score on the scale from 0 (chance) to 1 (perfect)."""
    return 2 * score - 1 if kind == "yes-no" else score


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What holding a unit at its mean costs, in nats per character.

    `matters` is the mean change of the loss at the `places` where the feature is decided (`where` says which they
    are), `elsewhere` at all others; `random_matters` and `random_elsewhere` are the largest that the same costs for one
    of `random_units` of the same group that do not follow the feature, as like in variance as there are. `proved`: the
    loss rises where it matters, more than for every random unit and more than elsewhere, and the interval says so,
    too. `used`: it rises elsewhere more than for every random unit, and the interval says so, too.
    """

    where: str
    places: int
    matters: float
    matters_interval: Interval
    elsewhere: float
    elsewhere_interval: Interval
    random_units: int
    random_matters: float
    random_matters_interval: Interval
    random_elsewhere: float
    proved: bool
    used: bool


@dataclass(frozen=True, kw_only=True)
class Clamp:
    """What the model writes with a unit held, beside the untouched model on the same random numbers.

    `mark` is the character counted, in characters per thousand written, over `samples` passages of `length`
    characters; `on` and `off` are rates with the unit held at `on_value` and `off_value`. `changed`: the difference
    between the two, place by place, has an interval that does not contain 0.
    """

    mark: str
    samples: int
    length: int
    on_value: float
    off_value: float
    untouched: float
    on: float
    off: float
    on_interval: Interval
    off_interval: Interval
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The best unit for a feature (or one of the best), judged on text that it was not chosen on.

    `character_score` is what the current character alone reaches, `beyond_character` the unit's score among places
    with the same character, `untrained_score` the best that untrained copies of the model reach, `probe_score` that
    of the best linear probe over the whole `probe_layer`, one fitted by least squares or the unit alone. `p` is the
    family-wise error. `gain` is the share of what the character and the untrained copies leave open that the unit
    closes. `against` says why it is not reported; empty where it is.
    """

    unit: str
    feature: str
    description: str
    kind: str
    sign: int
    score: float
    interval: Interval
    discovery_score: float
    character_score: float
    beyond_character: float
    untrained_score: float
    probe_score: float
    probe_layer: str
    p: float
    gain: float
    against: tuple[str, ...] = ()
    ablation: Ablation | None = None
    clamp: Clamp | None = None

    @property
    def holds(self) -> bool:
        """Whether this is a finding."""
        return not self.against

    def to_json(self) -> dict[str, object]:
        """Return the numbers under their public names."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search looked at and what it found: `candidates` has every feature's best units, `findings` those that
    hold, the surest first; `skipped` says why a feature could not be judged on this text.
    """

    characters: int
    discovery: int
    gap: int
    confirmation: int
    units: int
    shifts: int
    untrained_copies: int
    candidates: tuple[Candidate, ...]
    skipped: dict[str, str]

    @property
    def findings(self) -> tuple[Candidate, ...]:
        """Those that hold, the surest first."""
        return tuple(sorted((one for one in self.candidates if one.holds), key=lambda one: -round(one.gain, 9)))
