"""Muon: what it does to a matrix, to which matrices, and that a run with it resumes byte-identically."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import families
from tolerances import MUON_SINGULAR_VALUES, UPDATE64
from unrolled.training.config import TrainingConfig
from unrolled.training.optimizer import Optimizer, clip_gradients, orthogonalised, square_blocks


@settings(max_examples=25, deadline=None, derandomize=True)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99))
def test_orthogonalised_brings_every_singular_value_near_one_and_keeps_directions(rows, columns, seed):
    matrix = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(seed))
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = orthogonalised(matrix)
    values = torch.linalg.svdvals(turned)
    low, high = MUON_SINGULAR_VALUES
    # The iteration needs a few more rounds for directions that hardly occur.
    occur = s > 0.05 * s[:, :1]
    assert (values[occur] > low).all() and (values <= high).all()
    closest = u @ v
    alignment = (turned * closest).sum((1, 2)) / (turned.norm(dim=(1, 2)) * closest.norm(dim=(1, 2)))
    assert (alignment > 0.9).all()


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [
        ((8, 8), [(8, 8)]),
        ((32, 8), [(8, 8)] * 4),
        ((8, 32), [(8, 8)] * 4),
        ((8, 3, 8), [(8, 8)] * 3),
        ((5, 8), [(5, 8)]),
    ],
)
def test_stacks_are_taken_apart_into_square_blocks_that_are_views(shape, blocks):
    matrix = torch.zeros(shape)
    found = square_blocks(matrix)
    assert [tuple(block.shape) for block in found] == blocks
    for block in found:
        block.add_(1.0)
    assert (matrix == 1.0).all()


@pytest.mark.parametrize("name", sorted(families.PATTERNS))
def test_every_weight_moves_and_only_matrices_of_layers_are_muons(name):
    model = families.model(name, dtype=torch.float32).train()
    optimizer = Optimizer(model, TrainingConfig(steps=10, optimizer="muon"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(torch.randint(families.VOCAB, (2, 8)))[0].square().sum().backward()
    optimizer.step(1.0)
    for key, value in model.state_dict().items():
        assert not torch.equal(value, before[key]), key
    owned = {key.removeprefix("momentum.") for key in optimizer.tensors() if key.startswith("momentum.")}
    assert owned == {
        key for key, p in model.named_parameters() if p.dim() > 1 and not key.startswith(("embedding.", "readout."))
    }


def stepped(optimizer, model, times):
    for k in range(times):
        model.zero_grad()
        xs = torch.randint(families.VOCAB, (2, 6), generator=torch.Generator().manual_seed(k))
        model(xs)[0].square().sum().backward()
        optimizer.step(0.5)
        yield {key: value.clone() for key, value in model.state_dict().items()}


def same(one, two):
    return all(torch.equal(value, two[key]) for key, value in one.items())


@pytest.mark.parametrize("average", [0, 2])
def test_its_state_comes_back(average):
    config = TrainingConfig(steps=10, optimizer="muon", average=average)
    model = families.model("lstm", dtype=torch.float32)
    optimizer = Optimizer(model, config)
    list(stepped(optimizer, model, 3))
    with optimizer.averages():
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        kept = {key: value.clone() for key, value in optimizer.tensors().items()}
    list(stepped(optimizer, model, 2))

    other = families.model("lstm", dtype=torch.float32)
    other.load_state_dict(weights)
    resumed = Optimizer(other, dataclasses.replace(config))
    resumed.restore(kept)
    list(stepped(resumed, other, 2))
    assert same(model.state_dict(), other.state_dict())
    with optimizer.averages(), resumed.averages():
        assert same(model.state_dict(), other.state_dict())


def test_averages_are_those_of_the_weights_and_change_no_update():
    model, plain = (families.model("lstm", dtype=torch.float64) for _ in range(2))
    optimizer = Optimizer(model, TrainingConfig(steps=10, average=3))
    naive = {}
    both = zip(stepped(optimizer, model, 7), stepped(Optimizer(plain, TrainingConfig(steps=10)), plain, 7), strict=True)
    for number, (now, without) in enumerate(both, 1):
        assert same(now, without)
        share = 1 / min(number, 3)
        naive = {key: naive.get(key, 0) * (1 - share) + value * share for key, value in now.items()}
    with optimizer.averages():
        for key, value in model.state_dict().items():
            assert torch.allclose(value, naive[key], rtol=UPDATE64, atol=UPDATE64), key
    assert same(now, model.state_dict())


def test_after_an_error_the_weights_are_the_weights_again():
    model = families.model("lstm", dtype=torch.float32)
    optimizer = Optimizer(model, TrainingConfig(steps=10, average=3))
    (*_, before) = stepped(optimizer, model, 3)
    with pytest.raises(KeyboardInterrupt), optimizer.averages():
        assert not same(before, model.state_dict())
        raise KeyboardInterrupt
    assert same(before, model.state_dict())


@pytest.mark.parametrize("limit", [0.5, 3.0, 1e9])
def test_clipping_is_torchs(limit):
    ours, theirs = ([torch.zeros(shape).requires_grad_() for shape in ((3, 5), (7,), (2, 2, 2))] for _ in range(2))
    for k, (mine, its) in enumerate(zip(ours[:2], theirs[:2], strict=True)):  # the third one has no gradient
        mine.grad = torch.randn(mine.shape, generator=torch.Generator().manual_seed(k))
        its.grad = mine.grad.clone()
    norm = clip_gradients(ours, limit)
    assert norm == torch.nn.utils.clip_grad_norm_(theirs, limit).item()
    for mine, its in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(mine.grad, its.grad)
    assert ours[2].grad is None
    assert clip_gradients([], limit) == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_norm_of_gradients_that_are_not_finite_is_not_finite(bad):
    parameter = torch.zeros(3).requires_grad_()
    parameter.grad = torch.tensor([1.0, bad, 2.0])
    assert not math.isfinite(clip_gradients([parameter], 1.0))
