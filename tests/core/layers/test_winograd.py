"""Winograd's convolution: every direction on every instruction set, against the float64 reference.

Tolerances: the six line transforms of a product are sums of at most four terms, with constants rounded once more in G.
So with L products summed up an output is within (L + 32) eps of the sum of absolute values, taken through the absolute
matrices. That sum is up to a hundred times the direct one; the root mean square errors are tested beside it.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from test_conv2d import EPS, Shape, guarded_run, operands, run

import _testing
from reference import conv2d as direct
from reference import winograd as reference
from simclr_mri import _core

ROUNDINGS = 32
# N, H, W, C, K, pad: rows and columns below, at and above a tile; channels below, at and above vectors, blocks of 32
# and 64, and chunks; tiles above one block and one run of blocks; weights below and above the size that changes the
# plan (C K = 16384).
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (1, 2, 2, 3, 5, 1),
    (3, 4, 4, 9, 32, 1),
    (2, 5, 11, 3, 64, 1),
    (1, 8, 7, 17, 33, 1),
    (1, 13, 6, 32, 16, 0),
    (2, 6, 7, 5, 3, 2),
    (5, 12, 13, 16, 31, 1),
    (1, 4, 5, 65, 70, 1),
    (1, 7, 8, 150, 40, 1),
    (3, 4, 4, 130, 140, 1),
    (2, 29, 20, 161, 104, 1),
    (1, 121, 118, 3, 5, 1),
    (1, 3, 2, 20, 833, 1),
]
SHAPES = [Shape(N, H, W, C, K, 3, 3, 1, pad) for N, H, W, C, K, pad in SHAPES]
IDS = ["x".join(map(str, shape[:5])) for shape in SHAPES]


@functools.cache
def expected_of(direction, s):
    """(result of direct sums, magnitude of Winograd's, number of products in a sum) in float64 for operands(s)."""
    x, w, dy = operands(s)
    tiles = s.N * -(-s.out[0] // 4) * -(-s.out[1] // 4)
    if direction == 0:
        return direct.forward(x, w, 1, s.pad), reference.forward(x, w, s.pad, absolute=True), s.C
    if direction == 1:
        return direct.backward_data(dy, w, x.shape, 1, s.pad), reference.backward_data(dy, w, s.pad, absolute=True), s.K
    magnitude = reference.backward_weights(x, dy, s.pad, absolute=True)
    return direct.backward_weights(x, dy, (3, 3), 1, s.pad), magnitude, tiles


def assert_close(got, expected, magnitude, length):
    error = np.abs(got - expected)
    assert (error <= (length + ROUNDINGS) * EPS * magnitude).all(), f"error {error.max():.3g}"


def test_reference_equals_the_definition():
    x, w, dy = operands((2, 9, 6, 4, 5, 3, 3, 1, 1))
    assert np.allclose(reference.forward(x, w, 1), direct.forward(x, w, 1, 1), rtol=0, atol=1e-12)
    dx = reference.backward_data(dy, w, 1)
    assert np.allclose(dx, direct.backward_data(dy, w, x.shape, 1, 1), rtol=0, atol=1e-12)
    dw = reference.backward_weights(x, dy, 1)
    assert np.allclose(dw, direct.backward_weights(x, dy, (3, 3), 1, 1), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_forward(isa, shape):
    x, w, _ = operands(shape)
    for at in ("end", "start"):
        assert_close(guarded_run(0, shape, (x, _core.conv2d_pack(w)), at, "winograd"), *expected_of(0, shape))


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_backward_data(isa, shape):
    x, w, dy = operands(shape)
    packed = _core.conv2d_pack(w)
    expected, magnitude, length = expected_of(1, shape)
    for at in ("end", "start"):
        assert_close(guarded_run(1, shape, (dy, packed), at, "winograd"), expected, magnitude, length)
    dx = guarded_run(1, shape, (dy, packed), "end", "winograd", accumulate_into=x)
    assert_close(dx, x + expected, np.abs(x) + magnitude, length + 1)


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_backward_weights(isa, shape):
    s = shape
    x, w, dy = operands(shape)
    for at in ("end", "start"):
        dw = guarded_run(2, shape, (x, dy), at, "winograd")
        assert_close(_testing.conv2d_unpack(dw, w.shape), *expected_of(2, shape))
        assert s.K % 32 == 0 or (dw[-1, :, :, s.K % 32 :] == 0).all()


@pytest.mark.parametrize("shape", SHAPES[5::2], ids=IDS[5::2])
def test_same_bits_with_any_threads(isa, shape):
    x, w, dy = operands(shape)
    packed = _core.conv2d_pack(w)
    for direction, (a, b) in enumerate([(x, packed), (dy, packed), (x, dy)]):
        one, two, three = (run(direction, shape, a, b, method="winograd", n_threads=n) for n in (1, 2, 3))
        assert one.tobytes() == two.tobytes() == three.tobytes()


@pytest.mark.parametrize("n_threads", [2, 3])
def test_workspace_of_many_threads_is_enough(n_threads):
    shape = SHAPES[IDS.index("2x29x20x161x104")]
    x, w, dy = operands(shape)
    packed = _core.conv2d_pack(w)
    for direction, pair in enumerate([(x, packed), (dy, packed), (x, dy)]):
        guarded_run(direction, shape, pair, "end", "winograd", n_threads=n_threads)


def test_root_mean_square_error(isa):
    """About 1e-6 of the outputs' size; the usual points 1 and 2 give 2 to 3e-6, a wrong constant far more."""
    shape = Shape(2, 16, 16, 128, 128, 3, 3, 1, 1)
    x, w, dy = operands(shape)
    packed = _core.conv2d_pack(w)
    for direction, pair in enumerate([(x, packed), (dy, packed), (x, dy)]):
        got = run(direction, shape, *pair, method="winograd")
        expected = expected_of(direction, shape)[0]
        if direction == 2:
            got = _testing.conv2d_unpack(got, w.shape)
        error = np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2))
        assert error < 1.5e-6


def test_a_bad_pixel_spoils_its_tiles_only(isa):
    shape = Shape(2, 12, 12, 8, 16, 3, 3, 1, 1)
    x, w, _ = operands(shape)
    x[1, 5, 6, 3] = np.nan
    bad = ~np.isfinite(run(0, shape, x, _core.conv2d_pack(w), method="winograd")).all(axis=-1)
    assert bad[1, 4:7, 5:8].all()
    bad[1, 4:8, 4:8] = False
    assert not bad.any()


@pytest.mark.parametrize(
    "shape", [(1, 8, 8, 4, 4, 3, 3, 2, 1), (1, 8, 8, 4, 4, 1, 1, 1, 0), (1, 8, 8, 4, 4, 3, 3, 1, 3)], ids=str
)
def test_other_windows_strides_and_paddings_are_refused(shape):
    assert list(_core.conv2d_plan(shape, 1, "winograd")) == [None] * 3
