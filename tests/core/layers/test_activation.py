"""ReLU and dropout."""

from __future__ import annotations

import numpy as np
import pytest

import _testing
from reference.activation import dropout_mask
from reference.guard import guarded

SIZES = [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 257]


def floats(n: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng([seed, n]).standard_normal(n).astype(np.float32)
    x[2::7] = 0
    x[3::11] = -0.0
    return x


@pytest.mark.parametrize("n", SIZES)
def test_relu(isa, n):
    x, dy = guarded(floats(n)), guarded(floats(n, seed=1))
    out = guarded(np.full(n, np.nan, np.float32))
    y = _testing.relu_forward(x, out=out)
    assert np.array_equal(y, np.maximum(x, 0))
    out = guarded(np.full(n, np.nan, np.float32))
    dx = _testing.relu_backward(dy, y, out=out)
    assert np.array_equal(dx, np.where(x > 0, dy, 0))
    in_place = x.copy()
    assert np.array_equal(_testing.relu_forward(in_place, out=in_place), y)
    in_place = dy.copy()
    assert np.array_equal(_testing.relu_backward(in_place, y, out=in_place), dx)


def test_relu_of_special_values(isa):
    x = np.tile(np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, -1e-45], np.float32), 7)
    y = _testing.relu_forward(x)
    want = np.tile(np.array([np.nan, np.inf, 0, 0, 1e-45, 0], np.float32), 7)
    assert np.array_equal(y, want, equal_nan=True)
    dy = np.ones_like(x)
    assert np.array_equal(_testing.relu_backward(dy, y), (y > 0).astype(np.float32))


def test_relu_with_threads(isa):
    x = floats(100_003)
    want = _testing.relu_forward(x)
    assert np.array_equal(want, np.maximum(x, 0))
    for n_threads in (2, 3):
        assert np.array_equal(_testing.relu_forward(x, n_threads=n_threads), want)
        assert np.array_equal(_testing.relu_backward(x, want, n_threads=n_threads), np.where(x > 0, x, 0))


@pytest.mark.parametrize("cols", SIZES[1:])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_is_the_stream(isa, p, cols):
    x = guarded(np.random.default_rng(cols).standard_normal((3, cols)).astype(np.float32))
    out = guarded(np.full_like(x, np.nan))
    y = _testing.dropout(x, p, 2**40 + 5, step=7, layer=3, out=out)
    mask = dropout_mask(3, cols, p, 2**40 + 5, 7, 3)
    assert np.array_equal(y, np.where(mask, x * np.float32(1 / (1 - float(np.float32(p)))), 0))
    in_place = x.copy()
    assert np.array_equal(_testing.dropout(in_place, p, 2**40 + 5, step=7, layer=3, out=in_place), y)


def test_dropout_share_threads_and_names(isa):
    x = np.ones((33, 1003), np.float32)
    y = _testing.dropout(x, 0.3, 11, step=1, layer=0)
    assert abs((y == 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / x.size)
    assert abs(y.mean() - 1) < 0.02
    for n_threads in (2, 3):
        assert np.array_equal(_testing.dropout(x, 0.3, 11, step=1, layer=0, n_threads=n_threads), y)
    for other in ({"seed": 12}, {"step": 2}, {"layer": 1}):
        name = {"seed": 11, "step": 1, "layer": 0} | other
        assert 0.3 < (_testing.dropout(x, 0.3, **name) == y).mean() < 0.7


def test_dropped_elements_are_zero_whatever_they_were(isa):
    x = np.full((2, 500), np.nan, np.float32)
    y = _testing.dropout(x, 0.5, 1)
    assert set(np.unique(np.isnan(y))) == {True, False}
    assert (y[~np.isnan(y)] == 0).all()


def test_dropout_refuses_probability_one():
    with pytest.raises(ValueError, match=r"p in \[0, 1\)"):
        _testing.dropout(np.ones((2, 2), np.float32), 1.0, 0)
