"""Convolutions: every method and direction on every instruction set, against the float64 reference.

Tolerances: a sum of L products in any order is within L eps sum|a b| of the true one, and sum|a b| is the same
convolution of absolute values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import _testing
from reference import conv2d as reference
from reference.guard import guarded
from simclr_mri import _core

EPS = 2.0**-24
METHODS = ["reference", "im2col", "igemm"]


class Shape(NamedTuple):
    N: int
    H: int
    W: int
    C: int
    K: int
    R: int
    S: int
    stride: int
    pad: int

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        rows = (self.H + 2 * self.pad - self.R) // self.stride + 1
        return rows, (self.W + 2 * self.pad - self.S) // self.stride + 1


SHAPES = [
    (1, 1, 1, 1, 1, 1, 1, 1, 0),
    (2, 5, 3, 17, 33, 1, 1, 1, 0),
    (3, 7, 9, 64, 64, 1, 1, 1, 0),
    (2, 5, 7, 290, 70, 1, 1, 1, 0),  # two groups of channels in the gradient of the weights, in place or packed
    (2, 5, 7, 33, 40, 1, 1, 2, 0),
    (9, 4, 4, 32, 96, 1, 1, 2, 0),
    (1, 1, 1, 3, 5, 3, 3, 1, 1),
    (1, 2, 2, 1, 1, 3, 3, 1, 1),
    (10, 2, 2, 16, 37, 3, 3, 1, 1),
    (17, 4, 4, 9, 32, 3, 3, 1, 1),
    (2, 5, 11, 3, 64, 3, 3, 1, 1),
    (2, 8, 8, 48, 33, 3, 3, 1, 1),
    (1, 13, 6, 32, 16, 3, 3, 1, 0),
    (2, 6, 7, 5, 3, 3, 3, 1, 2),
    (2, 9, 8, 17, 35, 3, 3, 2, 1),
    (11, 4, 4, 33, 64, 3, 3, 2, 1),
    (1, 3, 2, 4, 8, 3, 3, 2, 1),
    (2, 17, 16, 1, 64, 7, 7, 2, 3),
    (2, 12, 15, 3, 5, 7, 7, 2, 3),
    (1, 4, 3, 3, 33, 7, 7, 2, 3),
    (2, 8, 9, 6, 7, 2, 5, 3, 1),
    (3, 9, 9, 70, 330, 3, 3, 2, 1),  # six tasks of columns for each chunk of pixels, which threads share
    (3, 20, 21, 40, 330, 1, 1, 1, 0),
]
SHAPES = [Shape(*sizes) for sizes in SHAPES]
IDS = ["x".join(map(str, shape)) for shape in SHAPES]


def operands(shape):
    s = Shape(*shape)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((s.N, s.H, s.W, s.C), dtype=np.float32)
    w = rng.standard_normal((s.K, s.C, s.R, s.S), dtype=np.float32)
    dy = rng.standard_normal((s.N, *s.out, s.K), dtype=np.float32)
    return x, w, dy


def plan(shape, direction, method, n_threads=1):
    """Workspace bytes, or a skip where the method does not apply (each method's own list of shapes is tested below)."""
    entry = _core.conv2d_plan(shape, n_threads, method)[direction]
    if entry is None:
        pytest.skip(f"{method} does not apply")
    return entry[1]


def assert_close(got, expected, magnitude, length, method):
    bound = (length + 2) * EPS * magnitude
    assert np.isfinite(got).all()
    error = np.abs(got - expected)
    assert (error <= bound + 1e-30).all(), f"error {error.max():.3g}, bound at worst {(error - bound).max():.3g} below"


def run(direction, shape, a, b, **options):
    function = [_core.conv2d_forward, _core.conv2d_backward_data, _core.conv2d_backward_weights][direction]
    return function(shape, a, b, **options)


def expected_of(direction, s, x, w, dy):
    """(result, the same of absolute values, length of the sums) in float64."""
    results = []
    for f in (lambda a: a, np.abs):
        if direction == 0:
            results.append(reference.forward(f(x), f(w), s.stride, s.pad))
        elif direction == 1:
            results.append(reference.backward_data(f(dy), f(w), x.shape, s.stride, s.pad))
        else:
            results.append(reference.backward_weights(f(x), f(dy), (s.R, s.S), s.stride, s.pad))
    return *results, [s.R * s.S * s.C, s.R * s.S * s.K, dy.size // s.K][direction]


def guarded_run(direction, s, operands, at, method, accumulate_into=None, n_threads=1):
    """One call whose every array, workspace included, touches a forbidden page."""
    a, b = (guarded(operand, at=at) for operand in operands)
    out_shape = [(s.N, *s.out, s.K), (s.N, s.H, s.W, s.C), (-(-s.K // 32), s.R * s.S, s.C, 32)][direction]
    out = np.full(out_shape, np.nan, np.float32) if accumulate_into is None else accumulate_into
    out = guarded(out, at=at)
    workspace = guarded(np.full(plan(s, direction, method, n_threads), 0xFF, np.uint8), at=at)
    options = {"accumulate": True} if accumulate_into is not None else {}
    return run(direction, s, a, b, out=out, method=method, workspace=workspace, n_threads=n_threads, **options)


def test_pack_is_the_documented_layout():
    w = np.random.default_rng(0).standard_normal((37, 5, 3, 2), dtype=np.float32)
    packed = _core.conv2d_pack(w)
    assert packed.shape == (2, 6, 5, 32)
    for k, c, r, s in [(0, 0, 0, 0), (31, 4, 2, 1), (32, 3, 1, 0), (36, 4, 2, 1)]:
        assert packed[k // 32, r * 2 + s, c, k % 32] == w[k, c, r, s]
    assert (packed[1, :, :, 5:] == 0).all()
    assert np.array_equal(_testing.conv2d_unpack(packed, w.shape), w)


def test_reference_gradients_by_finite_differences():
    shape = (2, 5, 6, 3, 4, 3, 3, 2, 1)
    x, w, dy = (a.astype(np.float64) for a in operands(shape))
    rng = np.random.default_rng(1)
    for of_x in (True, False):
        direction = rng.standard_normal(x.shape if of_x else w.shape)
        gradient = (
            reference.backward_data(dy, w, x.shape, 2, 1) if of_x else reference.backward_weights(x, dy, (3, 3), 2, 1)
        )

        def loss(t, of_x=of_x, direction=direction):
            moved = (x + t * direction, w) if of_x else (x, w + t * direction)
            return (reference.forward(*moved, 2, 1) * dy).sum()

        assert (loss(0.5) - loss(-0.5)) == pytest.approx((gradient * direction).sum(), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_forward(isa, shape, method):
    x, w, dy = operands(shape)
    expected, magnitude, length = expected_of(0, shape, x, w, dy)
    for at in ("end", "start"):
        y = guarded_run(0, shape, (x, _core.conv2d_pack(w)), at, method)
        assert_close(y, expected, magnitude, length, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_backward_data(isa, shape, method):
    x, w, dy = operands(shape)
    expected, magnitude, length = expected_of(1, shape, x, w, dy)
    packed = _core.conv2d_pack(w)
    for at in ("end", "start"):
        dx = guarded_run(1, shape, (dy, packed), at, method)
        assert_close(dx, expected, magnitude, length, method)
    dx = guarded_run(1, shape, (dy, packed), "end", method, accumulate_into=x)
    assert_close(dx, x + expected, np.abs(x) + magnitude, length + 1, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_backward_weights(isa, shape, method):
    s = shape
    x, w, dy = operands(shape)
    expected, magnitude, length = expected_of(2, shape, x, w, dy)
    for at in ("end", "start"):
        dw = guarded_run(2, shape, (x, dy), at, method)
        assert_close(_testing.conv2d_unpack(dw, (s.K, s.C, s.R, s.S)), expected, magnitude, length, method)
        assert s.K % 32 == 0 or (dw[-1, :, :, s.K % 32 :] == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [*SHAPES[2:-2:3], *SHAPES[-2:]], ids=[*IDS[2:-2:3], *IDS[-2:]])
def test_same_bits_with_any_threads(isa, shape, method):
    x, w, dy = operands(shape)
    packed = _core.conv2d_pack(w)
    for direction, (a, b) in enumerate([(x, packed), (dy, packed), (x, dy)]):
        if _core.conv2d_plan(shape, 1, method)[direction] is None:
            continue
        one, two, three = (run(direction, shape, a, b, method=method, n_threads=n) for n in (1, 2, 3))
        assert one.tobytes() == two.tobytes() == three.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_nan_and_infinity_reach_the_outputs_that_they_should(isa, method):
    shape = (2, 6, 6, 8, 16, 1, 1, 1, 0)
    x, w, _ = operands(shape)
    x[0, 2, 3, 4], x[1, 5, 5, 0] = np.nan, np.inf
    if _core.conv2d_plan(shape, 1, method)[0] is None:
        pytest.skip(f"{method} does not apply")
    bad = ~np.isfinite(run(0, shape, x, _core.conv2d_pack(w), method=method)).all(axis=-1)
    assert np.argwhere(bad).tolist() == [[0, 2, 3], [1, 5, 5]]


def test_bad_arguments_are_named():
    shape = (1, 4, 4, 2, 3, 3, 3, 1, 1)
    x, w, dy = operands(shape)
    packed = _core.conv2d_pack(w)
    with pytest.raises(ValueError, match=r"x: expected shape \(1, 4, 4, 2\), got \(1, 4, 4, 1\)"):
        _core.conv2d_forward(shape, x[..., :1].copy(), packed)
    with pytest.raises(TypeError, match=r"w: expected dtype.*float32.*float64"):
        _core.conv2d_forward(shape, x, packed.astype(np.float64))
    with pytest.raises(ValueError, match="window 3 x 3 does not fit an image of 1 x 1 padded by 0"):
        _core.conv2d_forward((1, 1, 1, 2, 3, 3, 3, 1, 0), x, packed)
    with pytest.raises(ValueError, match="expected stride > 0"):
        _core.conv2d_forward((1, 4, 4, 2, 3, 3, 3, 0, 1), x, packed)
    with pytest.raises(MemoryError, match="too large"):
        _core.conv2d_forward((2**29, 2**14, 2**14, 2, 3, 3, 3, 1, 1), x, packed)
    with pytest.raises(ValueError, match="unknown method 'fft'"):
        _core.conv2d_forward(shape, x, packed, method="fft")
    with pytest.raises(ValueError, match="accumulate"):
        _core.conv2d_backward_data(shape, dy, packed, accumulate=True)
    with pytest.raises(ValueError, match="workspace: expected at least"):
        _core.conv2d_forward(shape, x, packed, method="im2col", workspace=np.zeros(1, np.uint8))


def test_chosen_methods():
    def chosen(*sizes):
        return [method for method, _ in _core.conv2d_plan(Shape(*sizes))]

    best = _core.cpu_info()["isa"] != "ref"
    assert chosen(32, 16, 16, 128, 128, 3, 3, 1, 1) == ["winograd" if best else "im2col"] * 3
    for sizes in [
        (32, 2, 2, 512, 512, 3, 3, 1, 1),
        (1, 4, 4, 512, 512, 3, 3, 1, 1),
        (32, 5, 5, 64, 64, 3, 3, 1, 1),
        (32, 16, 16, 128, 128, 3, 3, 2, 1),
        (32, 16, 16, 3, 64, 3, 3, 1, 1),
        (32, 16, 16, 128, 128, 1, 1, 1, 0),
    ]:
        assert chosen(*sizes) == ["igemm" if best else "im2col"] * 3


@pytest.mark.parametrize("channels", [64, 65])
def test_results_written_past_the_caches(isa, channels):
    """From 8 MiB on, where rows lie on cache lines (64 channels) or only some do (65)."""
    shape = Shape(1, 128, 258, 8, channels, 1, 1, 1, 0)
    x, w, _ = operands(shape)
    expected = (x.reshape(-1, 8).astype(np.float64) @ w.reshape(channels, 8).T).reshape(1, 128, 258, channels)
    out = guarded(np.full(expected.shape, np.nan, np.float32), at="end")
    run(0, shape, x, _core.conv2d_pack(w), out=out, method="igemm", n_threads=2)
    assert np.abs(out - expected).max() <= 10 * EPS * 8 * np.abs(x).max() * np.abs(w).max()
    mirrored = Shape(1, 128, 258, channels, 8, 1, 1, 1, 0)
    packed = _core.conv2d_pack(np.ascontiguousarray(w.transpose(1, 0, 2, 3)))
    dx = run(1, mirrored, x, packed, method="igemm", n_threads=2)
    assert np.abs(dx - expected).max() <= 10 * EPS * 8 * np.abs(x).max() * np.abs(w).max()
