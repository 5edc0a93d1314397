"""Lanes: every batch is what the naive formula says, at any position, in any dtype."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import ConfigError, TextError
from unrolled.text.lanes import Lanes


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 50), st.integers(0, 10**12))
def test_batches_are_the_formula(length, lanes, steps, position):
    ids = np.arange(length, dtype=np.uint8)
    inputs, targets = Lanes(ids, lanes, steps).batch(position)
    naive = [[ids[(b * (length // lanes) + position + t) % length] for t in range(steps + 1)] for b in range(lanes)]
    assert inputs.tolist() == [row[:-1] for row in naive]
    assert targets.tolist() == [row[1:] for row in naive]
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.flags.c_contiguous and targets.flags.c_contiguous


def test_the_cursor_is_one_integer():
    lanes = Lanes(np.arange(100, dtype=np.uint16), 4, 5)
    first, second = lanes.batch(0), lanes.batch(lanes.next(0))
    assert first[1][:, -1].tolist() == second[0][:, 0].tolist()


def test_a_memory_map_is_read_in_place(tmp_path):
    np.arange(1000, dtype=np.uint32).tofile(tmp_path / "ids")
    ids = np.memmap(tmp_path / "ids", dtype=np.uint32, mode="r")
    inputs, _ = Lanes(ids, 2, 3).batch(998)
    assert type(inputs) is np.ndarray
    assert inputs.tolist() == [[998, 999, 0], [498, 499, 500]]


@pytest.mark.parametrize("dtype", [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)])
def test_ids_of_any_integer_dtype(dtype):
    inputs, targets = Lanes(np.arange(100, dtype=dtype), 2, 3).batch(49)
    assert (inputs.tolist(), targets.tolist()) == ([[49, 50, 51], [99, 0, 1]], [[50, 51, 52], [0, 1, 2]])
    assert inputs.dtype == targets.dtype == np.int64


def test_impossible_lanes_are_refused():
    with pytest.raises(TextError):
        Lanes(np.array([], dtype=np.uint8), 1, 1)
    for lanes, steps in [(0, 1), (1, 0), (-1, 5)]:
        with pytest.raises(ConfigError):
            Lanes(np.arange(5), lanes, steps)
