"""Look for an automaton's states inside a network: does its memory form a cloud per state, and which units tell.

Knows nothing about how the automaton was found. Shapes: B sources, T symbols, P places in them, N units, C clusters.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.models import SequenceModel, Watch, unit_name
from unrolled.programs.automata import Automaton
from unrolled.text.vocabulary import Vocabulary

PURE = 0.99
"""From this share of held-out places on, clusters count as inside one state each."""
SPLITS = (1, 2, 4, 8, 16)
"""So many clusters per state are tried."""
SOURCES, LONGEST = 256, 40
MOST_PLACES = 4096
_ROUNDS = 30
_FLAT = 1e-9


@dataclass(frozen=True)
class Separation:
    """The unit that tells one state from all others best, and how well on places that it was not chosen on.

    `auc` is the probability that the unit says more in this state than elsewhere (or less, if `inside` is smaller
    than `outside`, its means here and there): 1 separates completely, 0.5 not at all.
    """

    state: int
    unit: str
    auc: float
    inside: float
    outside: float


@dataclass(frozen=True)
class Clusters:
    """How the memories of a network, clustered without knowing the automaton, fit its states.

    Clusters are fitted, and named after the state that is commonest in them, on one half of the sources; `purity` is
    the share of the places in the other half whose cluster has the name of their state, `purity_of_state` the same for
    each state (None: never met). `count` is the smallest tried number of clusters with a purity of `PURE`, or the best.
    """

    count: int
    states_met: int
    places: int
    purity: float
    purity_of_state: tuple[float | None, ...]
    separations: tuple[Separation, ...]

    @property
    def relation(self) -> str:
        """Say "equal" (one cluster is one state), "refine" (several are one state) or "mixed"."""
        if self.purity < PURE:
            return "mixed"
        return "equal" if self.count <= self.states_met else "refine"

    def verdict(self) -> str:
        """Return one sentence for people."""
        share = f"{100 * self.purity:.4g} % of {self.places:,} held-out places"
        if self.relation == "equal":
            return f"Its memory forms {self.count} clusters, one per state ({share})."
        if self.relation == "refine":
            return f"Its memory forms {self.count} clusters that refine the {self.states_met} states ({share})."
        return f"Its memory forms no clusters that follow the states: {self.count} of them tell the state at {share}."


def clusters_of(
    model: SequenceModel, vocabulary: Vocabulary, automaton: Automaton, *, seed: int = 1, longest: int = LONGEST
) -> Clusters:
    """Cluster what a model remembers after each letter of random sources, and compare with the automaton's states.

    What is clustered are the groups of units that the model's state carries under the same name; where there are none
    (attention, convolutions), all units. Units are scaled to the same variance.
    """
    draws = random.Random(seed)
    words = [automaton.sources.draw(draws, draws.randint(2, max(2, longest))) for _ in range(SOURCES)]
    halves = [_places(model, vocabulary, automaton, words[half::2], seed + half) for half in range(2)]
    names, values, states = halves[0][0], [half[1] for half in halves], [half[2] for half in halves]
    spread_N = values[0].std(dim=0)
    moving_N = spread_N > _FLAT
    scaled = [(value_PN - values[0].mean(dim=0))[:, moving_N] / spread_N[moving_N] for value_PN in values]
    met = len(states[0].unique())
    best: tuple[float, int, Tensor] | None = None
    for split in SPLITS:
        count = min(met * split, len(scaled[0]))
        right_P = _cluster(scaled, states, count, seed)
        purity = float(right_P.float().mean())
        if best is None or purity > best[0]:
            best = purity, count, right_P
        if purity >= PURE:
            break
    assert best is not None
    purity, count, right_P = best
    return Clusters(
        count=count,
        states_met=met,
        places=len(right_P),
        purity=purity,
        purity_of_state=tuple(
            float(right_P[states[1] == state].float().mean()) if bool((states[1] == state).any()) else None
            for state in range(len(automaton))
        ),
        separations=tuple(_separations(names, values, states)),
    )


def _places(
    model: SequenceModel, vocabulary: Vocabulary, automaton: Automaton, words: Sequence[tuple[str, ...]], seed: int
) -> tuple[list[str], Tensor, Tensor]:
    """Return the units' names, their values (P, N) after each letter, and the automaton's state there (P,)."""
    carried = set(model.initial_state(1))
    groups = [name for name in model.units if name in carried] or list(model.units)
    seen: dict[str, list[Tensor]] = {name: [] for name in groups}
    tap = Watch(lambda name, value_BTN: seen[name].append(value_BTN) if name in seen else None)
    coded = [torch.from_numpy(vocabulary.encode("".join(word)).astype(np.int64)) for word in words]
    device = next(model.parameters()).device
    tokens_BT = torch.nn.utils.rnn.pad_sequence(coded, batch_first=True).to(device)
    with torch.inference_mode():
        model(tokens_BT, tap=tap)
    values_BTN = torch.cat([torch.cat(seen[name], dim=1).double().cpu() for name in groups], dim=2)
    rows, times, states = [], [], []
    for row, word in enumerate(words):
        state, time = 0, -1
        for letter in word:
            state, time = automaton.after(state, letter), time + len(letter)
            rows.append(row)
            times.append(time)
            states.append(state)
    chosen = sorted(random.Random(seed).sample(range(len(rows)), min(MOST_PLACES, len(rows))))
    values_PN = values_BTN[torch.tensor(rows)[chosen], torch.tensor(times)[chosen]]
    names = [unit_name(name, index, model.units) for name in groups for index in range(model.units[name])]
    return names, values_PN, torch.tensor(states)[chosen]


def _cluster(scaled: Sequence[Tensor], states: Sequence[Tensor], count: int, seed: int) -> Tensor:
    """Return for the places of the second half (P,) whether the name of their cluster is their state."""
    fitted_PN, held_PN = scaled
    centres_CN = _k_means(fitted_PN, count, seed)
    inside_P = torch.cdist(fitted_PN, centres_CN).argmin(dim=1)
    votes_CS = torch.zeros(len(centres_CN), int(max(part.max() for part in states)) + 1)
    votes_CS.index_put_((inside_P, states[0]), torch.ones(len(inside_P)), accumulate=True)
    return votes_CS.argmax(dim=1)[torch.cdist(held_PN, centres_CN).argmin(dim=1)] == states[1]


def _k_means(values_PN: Tensor, count: int, seed: int) -> Tensor:
    """Return the centres (C, N) of Lloyd's algorithm, begun with places that lie far from each other.

    The first is drawn with the seed, each further one is the place farthest from all before (Gonzalez 1985): clouds
    that lie apart get one each, however few places they have.
    """
    first = random.Random(seed).randrange(len(values_PN))
    chosen = [first]
    nearest_P = torch.cdist(values_PN, values_PN[first : first + 1])[:, 0]
    while len(chosen) < count and float(nearest_P.max()) > 0:
        chosen.append(int(nearest_P.argmax()))
        nearest_P = torch.minimum(nearest_P, torch.cdist(values_PN, values_PN[chosen[-1:]])[:, 0])
    centres_CN = values_PN[chosen].clone()
    for _ in range(_ROUNDS):
        inside_P = torch.cdist(values_PN, centres_CN).argmin(dim=1)
        sums_CN = torch.zeros_like(centres_CN).index_add_(0, inside_P, values_PN)
        sizes_C = torch.bincount(inside_P, minlength=len(centres_CN))
        moved_CN = torch.where(sizes_C[:, None] > 0, sums_CN / sizes_C.clamp(min=1)[:, None], centres_CN)
        if torch.equal(moved_CN, centres_CN):
            break
        centres_CN = moved_CN
    return centres_CN


def _separations(names: Sequence[str], values: Sequence[Tensor], states: Sequence[Tensor]) -> list[Separation]:
    """Choose the best unit for each state on the first half and measure it on the second."""
    found = []
    for state in states[0].unique().tolist():
        here, held = states[0] == state, states[1] == state
        if bool(here.all()) or bool(held.all()) or not bool(held.any()):
            continue
        auc_N = _auc(values[0], here)
        unit = int((auc_N - 0.5).abs().argmax())
        column_P = values[1][:, unit]
        auc = float(_auc(column_P[:, None], held)[0])
        auc = auc if auc_N[unit] >= 1 / 2 else 1 - auc
        found.append(Separation(state, names[unit], auc, float(column_P[held].mean()), float(column_P[~held].mean())))
    return found


def _auc(values_PN: Tensor, here_P: Tensor) -> Tensor:
    """Return for each unit (N,) the probability that it says more at these places than at others, ties half."""
    columns_NP = values_PN.t().contiguous()
    sorted_NP = columns_NP.sort(dim=1).values
    below = torch.searchsorted(sorted_NP, columns_NP)
    until = torch.searchsorted(sorted_NP, columns_NP, right=True)
    ranks_NP = (below + until + 1).double() / 2
    inside, outside = int(here_P.sum()), int((~here_P).sum())
    return (ranks_NP[:, here_P].sum(dim=1) - inside * (inside + 1) / 2) / (inside * outside)
