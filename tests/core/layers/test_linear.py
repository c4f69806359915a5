"""The linear layer against float64, gradients by their closed form. A sum of L products is within L eps sum|a b|."""

from __future__ import annotations

import numpy as np
import pytest

import _testing
from reference.guard import guarded

EPS = 2.0**-24
SHAPES = [(1, 1, 1), (2, 3, 5), (4, 64, 4), (7, 33, 17), (32, 100, 128), (130, 40, 70), (3, 1030, 9)]


def assert_product(got, a, b, extra=0.0):
    expected = a.astype(np.float64) @ b.astype(np.float64) + extra
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64) + np.abs(extra)
    assert (np.abs(got - expected) <= (a.shape[1] + 2) * EPS * magnitude).all()


def operands(shape):
    N, C, K = shape
    rng = np.random.default_rng(N)
    return (rng.standard_normal(s, dtype=np.float32) for s in ((N, C), (K, C), (K,), (N, K)))


@pytest.mark.parametrize("shape", SHAPES)
def test_forward(isa, shape):
    x, w, b, _ = operands(shape)
    for at in ("start", "end"):
        out = guarded(np.full((shape[0], shape[2]), np.nan, np.float32), at=at)
        ga, gw, gb = (guarded(a, at=at) for a in (x, w, b))
        assert_product(_testing.linear_forward(ga, gw, gb, out=out), x, w.T, b.astype(np.float64))
    assert_product(_testing.linear_forward(x, w), x, w.T)


@pytest.mark.parametrize("shape", SHAPES)
def test_backward(isa, shape):
    x, w, _, dy = operands(shape)
    for at in ("start", "end"):
        dx, dw, db = _testing.linear_backward(*(guarded(a, at=at) for a in (dy, x, w)))
        assert_product(dx, dy, w)
        assert_product(dw, dy.T, x)
        assert_product(db[None], np.ones((1, shape[0])), dy)


@pytest.mark.parametrize("shape", SHAPES)
def test_same_bits_with_any_threads(isa, shape):
    x, w, b, dy = operands(shape)
    forward = [_testing.linear_forward(x, w, b, n_threads=n).tobytes() for n in (1, 2, 3)]
    backward = [[a.tobytes() for a in _testing.linear_backward(dy, x, w, n_threads=n)] for n in (1, 2, 3)]
    assert forward[0] == forward[1] == forward[2]
    assert backward[0] == backward[1] == backward[2]


def test_bad_arguments_are_named():
    x, w, b, dy = operands((4, 6, 5))
    with pytest.raises(ValueError, match=r"w: expected shape \('any', 6\), got \(5, 5\)"):
        _testing.linear_forward(x, w[:, :5].copy(), b)
    with pytest.raises(ValueError, match=r"b: expected shape \(5,\), got \(4,\)"):
        _testing.linear_forward(x, w, b[:4].copy())
    with pytest.raises(ValueError, match=r"dy: expected shape \(4, 5\)"):
        _testing.linear_backward(dy[:3].copy(), x, w)
