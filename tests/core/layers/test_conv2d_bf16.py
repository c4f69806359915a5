"""Convolutions in bfloat16: every method and direction on the instruction sets that change it, against float64.

Tolerances: operands are rounded to bfloat16 first, so their products are exact in fp32 and a sum of L of them in any
order is within e = L eps sum|a b| of the true one (eps = 2**-24; sum|a b| is the convolution of absolute values). A
result in bfloat16 is rounded once more, by at most u = 2**-8 of itself: u |y| + (1 + u) e. Instructions that multiply
bfloat16 flush denormal operands, products and sums, which costs at most 2**-126 a product.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from test_conv2d import EPS, SHAPES, Shape, expected_of, operands, run

import _testing
from conftest import FP32_LEVELS, SUPPORTED
from reference import winograd
from reference.guard import guarded
from simclr_mri import _core

U = 2.0**-8
FLUSHED = 2.0**-126
WINOGRAD_ROUNDINGS = 32  # as in test_winograd.py
# The levels at which a method's kernels differ from those of the level below.
LEVELS = {
    "reference": ["ref"],
    "via_fp32": ["ref", "avx2", "avx512", "avx512bf16"],
    "winograd": ["ref", "avx2", "avx512", "avx512bf16"],
    "amx": ["ref", "amx"],
    "bf16_dot2": ["ref", "avx512bf16"],
}
CASES = [(isa, method) for method, levels in LEVELS.items() for isa in levels if isa in SUPPORTED]
# As in ResNets: rows of 16, 8, 4 and 2 pixels, batches around 16 and 32, two and more tiles of channels, the stem.
RESNET = [
    (2, 16, 16, 64, 96, 3, 3, 1, 1),
    (3, 8, 8, 96, 64, 3, 3, 1, 1),
    (17, 4, 4, 64, 128, 3, 3, 1, 1),
    (33, 2, 2, 96, 64, 3, 3, 1, 1),
    (15, 1, 1, 64, 64, 3, 3, 1, 1),
    (16, 2, 2, 128, 160, 1, 1, 1, 0),
    (31, 4, 4, 64, 96, 1, 1, 1, 0),
    (3, 16, 16, 64, 64, 3, 3, 2, 1),
    (5, 8, 8, 128, 96, 1, 1, 2, 0),
    (32, 4, 4, 64, 64, 3, 3, 2, 1),
    (2, 34, 32, 1, 64, 7, 7, 2, 3),
    (2, 20, 36, 3, 64, 7, 7, 2, 3),
    # Gradients of weights: too large for a sum of their own in each part of the pixels; rows in pieces.
    (35, 2, 2, 128, 144, 3, 3, 1, 1),
    (3, 3, 4, 416, 400, 1, 1, 2, 0),
    (34, 3, 3, 48, 40, 3, 3, 2, 1),
    (2, 2, 50, 64, 32, 3, 3, 1, 1),
    (1, 3, 240, 3, 32, 7, 7, 2, 3),
    (1, 2, 50, 64, 64, 1, 1, 1, 0),
]
SHAPES = [*SHAPES, *(Shape(*sizes) for sizes in RESNET)]


def on_methods(shapes):
    """Every case with every shape that its method is for."""
    pairs = [
        pytest.param(case, shape, id=f"{'x'.join(map(str, shape))}-{'-'.join(case)}")
        for shape in shapes
        for case in CASES
        if case[1] != "winograd" or shape[5:8] == (3, 3, 1)
    ]
    return pytest.mark.parametrize(("case", "shape"), pairs)


@pytest.fixture
def method(case):
    """The case's method, with its instruction set in use."""
    _testing.set_isa(case[0])
    yield case[1]
    _testing.set_isa(SUPPORTED[-1])


def as_bf16(x: np.ndarray) -> np.ndarray:
    """The float32 numbers x rounded to bfloat16, as the upper halves of float32 (uint16); here, not in our C."""
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def as_float(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.uint32) << 16).view(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    return as_float(as_bf16(x))


@functools.cache
def case_of(direction, shape):
    """Operands (x, dy as bfloat16; w rounded), the float64 result, sum|a b| and L."""
    x, w, dy = operands(shape)
    expected, magnitude, length = expected_of(direction, shape, *map(rounded, (x, w, dy)))
    return as_bf16(x), w, as_bf16(dy), expected, magnitude, length


def plan(shape, direction, method, n_threads=1):
    entry = _core.conv2d_plan(shape, n_threads, method, precision="bf16")[direction]
    if entry is None:
        pytest.skip(f"{method} does not apply")
    return entry[1]


def sum_error(method, direction, shape, magnitude, length):
    """The bound e of the fp32 sums, element by element. The widened method may be Winograd's, with more roundings."""
    if method == "winograd" or (method == "via_fp32" and _core.conv2d_plan(shape, 1)[direction][0] == "winograd"):
        x, w, dy = map(rounded, operands(shape))
        if direction == 0:
            magnitude = winograd.forward(x, w, shape.pad, absolute=True)
        elif direction == 1:
            magnitude = winograd.backward_data(dy, w, shape.pad, absolute=True)
        else:
            magnitude = winograd.backward_weights(x, dy, shape.pad, absolute=True)
        length += WINOGRAD_ROUNDINGS
    return (length + 2) * (EPS * magnitude + FLUSHED)


def assert_close(got, expected, e, *, narrowed):
    bound = U * np.abs(expected) + (1 + U) * e if narrowed else e
    assert np.isfinite(got).all()
    error = np.abs(got - expected)
    assert (error <= bound).all(), f"error {error.max():.3g}, at worst {(error - bound).max():.3g} above the bound"


def guarded_run(direction, s, operands, at, method, accumulate_into=None, n_threads=1):
    """One call whose every array, workspace included, touches a forbidden page."""
    a, b = (guarded(operand, at=at) for operand in operands)
    out_shape = [(s.N, *s.out, s.K), (s.N, s.H, s.W, s.C), (-(-s.K // 32), s.R * s.S, s.C, 32)][direction]
    out = accumulate_into
    if out is None:
        out = np.full(out_shape, np.nan, np.float32) if direction == 2 else np.full(out_shape, 0x7FC0, np.uint16)
    out = guarded(out, at=at)
    workspace = guarded(np.full(plan(s, direction, method, n_threads), 0xFF, np.uint8), at=at)
    options = {"accumulate": True} if accumulate_into is not None else {}
    run(
        direction,
        s,
        a,
        b,
        out=out,
        method=method,
        workspace=workspace,
        n_threads=n_threads,
        precision="bf16",
        **options,
    )
    return out if direction == 2 else as_float(out)


@on_methods(SHAPES)
def test_forward(method, shape):
    x, w, _, expected, magnitude, length = case_of(0, shape)
    e = sum_error(method, 0, shape, magnitude, length)
    for at in ("end", "start"):
        assert_close(guarded_run(0, shape, (x, _core.conv2d_pack(w)), at, method), expected, e, narrowed=True)


@on_methods(SHAPES)
def test_backward_data(method, shape):
    x, w, dy, expected, magnitude, length = case_of(1, shape)
    packed = _core.conv2d_pack(w)
    e = sum_error(method, 1, shape, magnitude, length)
    for at in ("end", "start"):
        assert_close(guarded_run(1, shape, (dy, packed), at, method), expected, e, narrowed=True)
    before = as_float(x)
    dx = guarded_run(1, shape, (dy, packed), "end", method, accumulate_into=x)
    assert_close(dx, before + expected, e + 2 * EPS * np.abs(before), narrowed=True)


@on_methods(SHAPES)
def test_backward_weights(method, shape):
    s = shape
    x, _, dy, expected, magnitude, length = case_of(2, shape)
    e = sum_error(method, 2, shape, magnitude, length)
    for at in ("end", "start"):
        dw = guarded_run(2, shape, (x, dy), at, method)
        assert_close(_testing.conv2d_unpack(dw, (s.K, s.C, s.R, s.S)), expected, e, narrowed=False)
        assert s.K % 32 == 0 or (dw[-1, :, :, s.K % 32 :] == 0).all()


@on_methods(SHAPES[1::2])
def test_same_bits_with_any_threads(method, shape):
    x, w, dy, *_ = case_of(0, shape)
    packed = _core.conv2d_pack(w)
    for direction, (a, b) in enumerate([(x, packed), (dy, packed), (x, dy)]):
        if _core.conv2d_plan(shape, 1, method, precision="bf16")[direction] is None:
            continue
        one, three = (run(direction, shape, a, b, method=method, n_threads=n, precision="bf16") for n in (1, 3))
        assert one.tobytes() == three.tobytes()


@on_methods([Shape(3, 5, 6, 7, 9, 3, 3, 2, 1), Shape(17, 2, 2, 33, 40, 1, 1, 1, 0)])
def test_nan_and_infinity_reach_the_outputs_that_they_should(method, shape):
    x, w, dy = map(rounded, operands(shape))
    x[0, 1, 1, 4], x[-1, -1, -1, -1] = np.nan, np.inf
    dy[0, 1, 1, 2], dy[-1, 1, 1, -1] = (
        np.inf,
        np.nan,
    )  # not padded: 0 x infinity may be NaN or absent
    packed = _core.conv2d_pack(w)
    for direction, (a, b) in enumerate([(as_bf16(x), packed), (as_bf16(dy), packed), (as_bf16(x), as_bf16(dy))]):
        if _core.conv2d_plan(shape, 1, method, precision="bf16")[direction] is None:
            continue
        with np.errstate(invalid="ignore"):
            expected = expected_of(direction, shape, x, w, dy)[0]
        got = run(direction, shape, a, b, method=method, precision="bf16")
        got = _testing.conv2d_unpack(got, w.shape) if direction == 2 else as_float(got)
        assert np.array_equal(np.isnan(got), np.isnan(expected))
        assert np.array_equal(got[np.isinf(got)], expected[np.isinf(expected)])
        assert np.array_equal(np.isinf(got), np.isinf(expected))


@on_methods([Shape(2, 3, 4, 8, 16, 1, 1, 1, 0)])
def test_denormals_are_kept_or_flushed(method, shape):
    """Sums of denormals are either right or zero: nothing else may come of them."""
    plan(shape, 0, method)
    x, w, _ = operands(shape)
    x = as_bf16(x * np.float32(2.0**-128))
    with np.errstate(under="ignore"):
        expected, magnitude, length = expected_of(0, shape, as_float(x), rounded(w), np.zeros((2, 3, 4, 16)))
    y = as_float(run(0, shape, x, _core.conv2d_pack(w), method=method, precision="bf16"))
    bound = U * np.abs(expected) + (length + 2) * EPS * magnitude + 2.0**-134
    assert ((np.abs(y - expected) <= bound) | (np.abs(y - expected) <= 8 * length * FLUSHED)).all()


@pytest.mark.skipif("avx512bf16" not in SUPPORTED, reason="pairs are chosen with AVX512_BF16 only")
def test_chosen_methods_without_tile_registers():
    def chosen(*sizes):
        return [method for method, _ in _core.conv2d_plan(Shape(*sizes), precision="bf16")]

    fast = _core.cpu_info()["cpu"].startswith("AMD")
    try:
        for level in FP32_LEVELS:
            _testing.set_isa(level)
            assert chosen(32, 32, 32, 64, 256, 1, 1, 1, 0) == ["via_fp32"] * 3
            assert chosen(32, 16, 16, 128, 128, 3, 3, 1, 1) == ["via_fp32" if level == "ref" else "winograd"] * 3
        _testing.set_isa("avx512bf16")
        assert chosen(32, 32, 32, 64, 256, 1, 1, 1, 0) == ["bf16_dot2"] * 3
        assert chosen(32, 4, 4, 512, 512, 3, 3, 1, 1) == ["winograd"] * 3
        assert chosen(64, 2, 2, 512, 512, 3, 3, 1, 1) == ["bf16_dot2" if fast else "via_fp32"] * 3
        assert chosen(32, 8, 8, 512, 1024, 1, 1, 1, 0) == ["bf16_dot2" if fast else "via_fp32"] * 3
    finally:
        _testing.set_isa(SUPPORTED[-1])


def test_conversions(isa_bf16):
    """All 2**16 numbers survive; rounding is to the nearest, ties to even; NaN stays NaN; denormals may become 0."""
    every = np.arange(1 << 16, dtype=np.uint16)
    floats = _core.bf16_to_float(every)
    assert np.array_equal(floats.view(np.uint32) >> 16, every)
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, (7, 331), dtype=np.uint32)
    bits[:, ::3] = bits[:, ::3] & 0xFFFF0000 | 0x8000  # ties
    for x in (floats, bits.view(np.float32)):
        got, nan = _core.bf16_from_float(x), np.isnan(x)
        right = (got == as_bf16(x)) | (np.abs(x) < FLUSHED) & (got & 0x7FFF == 0)
        assert got.shape == x.shape and (right | nan).all()
        assert np.isnan(as_float(got[nan])).all()


def test_bad_arguments_are_named():
    shape = (1, 4, 4, 2, 3, 3, 3, 1, 1)
    x, w, _ = operands(shape)
    packed = _core.conv2d_pack(w)
    with pytest.raises(ValueError, match="precision: expected 'fp32' or 'bf16', got 'half'"):
        _core.conv2d_forward(shape, x, packed, precision="half")
    with pytest.raises(TypeError, match=r"x: expected dtype.*uint16.*float32"):
        _core.conv2d_forward(shape, x, packed, precision="bf16")
    with pytest.raises(TypeError, match=r"x: expected dtype.*float32.*uint16"):
        _core.conv2d_forward(shape, as_bf16(x), packed)
    with pytest.raises(NotImplementedError, match="method: igemm cannot"):
        _core.conv2d_forward(shape, as_bf16(x), packed, precision="bf16", method="igemm")
