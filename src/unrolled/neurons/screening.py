"""The first look: the score of every unit for every label in one pass, and a linear probe for each layer.

Knows nothing about chance, copies or what is reported: it chooses what is worth judging on other text.

Ranks of units are read off 16 quantiles that the first blocks give, so that the pass needs no memory but sums. The
probe of a layer is ridge regression from all its units, scaled to standard deviation 1, to the label (a linear
discriminant where it is yes/no), fitted on a sample of the places.

Shapes: B lanes, T time, R rows (places), N units of a group, F features, C masks, Q quantiles, X units of a
layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.models.sequence_model import SequenceModel
from unrolled.neurons.statistics import Label, from_sums
from unrolled.neurons.streaming import Block, stream_units

QUANTILES = 16
SAMPLE_ROWS = 4096
"""So many places, from all over the text, give the quantiles."""
PROBE_ROWS = 40_000
PROBE_ROWS_PER_UNIT = 16
RIDGE = 1e-3
"""Of the number of rows: what is added to the diagonal of the units' covariance."""


def layer_of(group: str) -> str:
    """Return the layer of a group of units: `layer1` for `layer1.cell`."""
    return group.partition(".")[0]


def rows_of(block: Block) -> dict[str, Tensor]:
    """Return a block's values as (R, N) float32 tensors, without what lies behind the text's end."""
    there_BT = torch.from_numpy(block.places_BT >= 0)
    return {name: value_BTN[there_BT].float() for name, value_BTN in block.values.items()}


def places_of(block: Block) -> np.ndarray:
    """Return the places (R,) of the rows."""
    return block.places_BT[block.places_BT >= 0]


class _Ranks:
    """Maps values of a group to their ranks in (0, 1), ties shared, as a sample gives them."""

    def __init__(self, sample_RN: Tensor) -> None:
        at_Q = torch.linspace(0, 1, QUANTILES + 1)[1:-1] * (len(sample_RN) - 1)
        self.edges_QN = sample_RN.sort(dim=0).values[at_Q.long()].contiguous()
        bins_RN = self._bins(sample_RN)
        counts_QN = torch.zeros(QUANTILES, sample_RN.shape[1]).scatter_add_(0, bins_RN, torch.ones(bins_RN.shape))
        self.rank_QN = (counts_QN.cumsum(0) - counts_QN / 2) / len(sample_RN)

    def _bins(self, values_RN: Tensor) -> Tensor:
        # So few comparisons of whole blocks are several times as fast as torch.searchsorted.
        bins_RN = torch.zeros(values_RN.shape, dtype=torch.uint8)
        for edges_N in self.edges_QN:
            bins_RN += values_RN > edges_N
        return bins_RN.long()

    def of(self, values_RN: Tensor) -> Tensor:
        """Return ranks (R, N)."""
        return self.rank_QN.gather(0, self._bins(values_RN))


class _Probes:
    """Sums for a ridge regression from all units of one layer, over rows until there are enough."""

    def __init__(self, units: int, features: int) -> None:
        self.enough = min(PROBE_ROWS, max(5_000, PROBE_ROWS_PER_UNIT * units))
        self.rows = 0
        self.shift_X: Tensor | None = None
        self.xx = torch.zeros(units, units)
        self.x = torch.zeros(units)
        self.xm, self.xy = torch.zeros(units, features), torch.zeros(units, features)
        self.m, self.y = torch.zeros(features), torch.zeros(features)

    def add(self, x_RX: Tensor, y_RF: Tensor, m_RF: Tensor) -> None:
        if self.rows >= self.enough:
            return
        if self.shift_X is None:  # near the mean, so that float32 sums of squares lose nothing
            self.shift_X = x_RX.mean(0)
        x_RX = x_RX - self.shift_X
        self.rows += len(x_RX)
        self.xx += x_RX.t() @ x_RX
        self.x += x_RX.sum(0)
        self.xm += x_RX.t() @ m_RF
        self.xy += x_RX.t() @ y_RF
        self.m += m_RF.sum(0)
        self.y += y_RF.sum(0)

    def solved(self) -> Tensor:
        """Return weights (X, F) for units as they are; what is constant is left out, as only ranks count."""
        rows, mean_X = self.rows, self.x.double() / self.rows
        covariance_XX = self.xx.double() / rows - mean_X[:, None] * mean_X
        scale_X = covariance_XX.diagonal().clamp(min=0).sqrt()
        scale_X = torch.where(scale_X > 1e-6, scale_X, torch.inf)
        scaled_XX = covariance_XX / scale_X[:, None] / scale_X
        mean_F = self.y.double() / self.m.double().clamp(min=1)
        # Where a label is undefined its mean is put, which pulls in no direction.
        with_y_XF = (self.xy.double() - self.xm.double() * mean_F) / rows / scale_X[:, None]
        scaled_XX.diagonal().add_(RIDGE)
        factor_XX = torch.linalg.cholesky(scaled_XX)
        return (torch.cholesky_solve(with_y_XF, factor_XX) / scale_X[:, None]).float()


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over places for a group: ranks and their squares where each of C masks holds, ranks times labels."""

    u: Tensor
    uu: Tensor
    uy: Tensor

    @classmethod
    def empty(cls, units: int, features: int, masks: int) -> "_Sums":
        return cls(*(torch.zeros(rows, units, dtype=torch.float64) for rows in (masks, masks, features)))

    def add(self, u_RN: Tensor, y_RF: Tensor, m_RC: Tensor) -> None:
        self.u.add_(m_RC.t() @ u_RN)
        self.uu.add_(m_RC.t() @ u_RN.square())
        self.uy.add_(y_RF.t() @ u_RN)


@dataclass(frozen=True, eq=False)
class Screen:
    """What one pass over the discovery part gave.

    `scores` has (N, F) for every group: AUC, or rank correlation, up to the roughness of the quantiles. `probes` has
    for every layer the names of its groups in order and weights (X, F); empty where no probes were asked for.
    """

    scores: Mapping[str, np.ndarray]
    probes: Mapping[str, tuple[tuple[str, ...], Tensor]]

    def best(self, feature: int, kind: str, count: int) -> list[tuple[str, int, int, float]]:
        """Return up to `count` units (group, index, sign, score) for a feature, the strongest first.

        Units that share layer and index (a cell and its hidden unit) are one: the stronger stands for both. One that is
        alone in its group shares nothing.
        """
        chance = 0.5 if kind == "yes-no" else 0.0
        found: list[tuple[float, str, int, int, float]] = []
        for group, scores_NF in self.scores.items():
            away_N = scores_NF[:, feature] - chance
            for index in np.argsort(-np.abs(away_N), kind="stable")[:count]:
                away = float(away_N[index])
                sign = 1 if away >= 0 else -1
                score = chance + abs(away)
                found.append((abs(away), group, int(index), sign, score))
        chosen: dict[tuple[str, int], tuple[str, int, int, float]] = {}
        for _, group, index, sign, score in sorted(found, key=lambda one: -one[0]):
            whose = group if len(self.scores[group]) == 1 else layer_of(group)
            chosen.setdefault((whose, index), (group, index, sign, score))
        return list(chosen.values())[:count]


def screen(
    model: SequenceModel,
    ids: np.ndarray,
    labels: Sequence[Label],
    *,
    probes: bool,
    precision: str,
    should_stop: Callable[[], bool],
) -> Screen:
    """Read a text once and return the score of every unit for every label, and the layers' probes."""
    y_TF = torch.from_numpy(np.stack([label.y_T for label in labels], 1)).float()
    m_TF = torch.from_numpy(np.stack([label.there_T for label in labels], 1)).float()
    # Most labels are defined everywhere: their sums of units alone are the same.
    own = [f for f, label in enumerate(labels) if not label.there_T.all()]
    column = [own.index(f) + 1 if f in own else 0 for f in range(len(labels))]
    m_TC = torch.cat([torch.ones(len(m_TF), 1), m_TF[:, own]], 1)
    layers: dict[str, list[str]] = {}
    for group in model.units:
        layers.setdefault(layer_of(group), []).append(group)
    fitting = {
        layer: _Probes(sum(model.units[group] for group in groups), len(labels)) for layer, groups in layers.items()
    }
    sums = {group: _Sums.empty(size, len(labels), m_TC.shape[1]) for group, size in model.units.items()}
    ranks: dict[str, _Ranks] = {}
    blocks = stream_units(model, ids, precision=precision, should_stop=should_stop)
    for places_R, values in _pooled(blocks):
        if not ranks:
            ranks = {group: _Ranks(values_RN[:SAMPLE_ROWS]) for group, values_RN in values.items()}
        at_R = torch.from_numpy(places_R)
        y_RF, m_RF, m_RC = y_TF[at_R], m_TF[at_R], m_TC[at_R]
        for group, values_RN in values.items():
            sums[group].add(ranks[group].of(values_RN), y_RF, m_RC)
        for layer, groups in layers.items() if probes else ():
            if fitting[layer].rows < fitting[layer].enough:
                fitting[layer].add(torch.cat([values[group] for group in groups], 1), y_RF, m_RF)
    y_F, yy_F, n_F = (terms.double().sum(0).numpy() for terms in (y_TF, y_TF.square(), m_TF))
    scores = {}
    for group, found in sums.items():
        u_CN, uu_CN, uy_FN = found.u.numpy(), found.uu.numpy(), found.uy.numpy()
        columns = [
            from_sums(label.kind, n_F[f], u_CN[column[f]], uu_CN[column[f]], y_F[f], yy_F[f], uy_FN[f])
            for f, label in enumerate(labels)
        ]
        scores[group] = np.stack(columns, 1)
    solved = {layer: (tuple(groups), fitting[layer].solved()) for layer, groups in layers.items()} if probes else {}
    return Screen(scores, solved)


def _pooled(blocks: Iterator[Block]) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """Yield rows of blocks, the first ones together, until there are enough for quantiles."""
    first: list[tuple[np.ndarray, dict[str, Tensor]]] = []
    have = 0
    for block in blocks:
        # Copied while they wait, as a block's tensors are good only until the next one.
        taken = (places_of(block), rows_of(block))
        if have >= SAMPLE_ROWS:
            yield taken
            continue
        first.append(taken)
        have += len(taken[0])
        if have >= SAMPLE_ROWS:
            yield _together(first)
            first = []
    if first:
        yield _together(first)


def _together(parts: list[tuple[np.ndarray, dict[str, Tensor]]]) -> tuple[np.ndarray, dict[str, Tensor]]:
    values = {group: torch.cat([rows[group] for _, rows in parts]) for group in parts[0][1]}
    return np.concatenate([places for places, _ in parts]), values
