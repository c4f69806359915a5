"""Forward with an epilogue: scale, shift, residual and ReLU, by every method in both precisions, against float64.

Tolerances: the sum's own (test_conv2d.py, test_winograd.py, test_conv2d_bf16.py) times |scale|, and four more
roundings of what is added up. In bf16 one rounding of the result, and where the method takes a pass of its own, of the
sum before.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_conv2d import EPS, Shape, expected_of, operands, run
from test_conv2d_bf16 import FLUSHED, U, as_bf16, as_float, rounded, sum_error

import _testing
from conftest import FP32_LEVELS, SUPPORTED
from reference import winograd
from reference.guard import guarded
from simclr_mri import _core

ONE_PASS = ["igemm", "winograd", "bf16_dot2"]
FP32 = [(isa, method, "fp32") for method in ("reference", "im2col", "igemm", "winograd") for isa in FP32_LEVELS]
BF16 = [
    (isa, method, "bf16")
    for method, levels in {
        "reference": ["ref"],
        "via_fp32": ["avx2"],
        "winograd": ["ref", "avx2", "avx512", "avx512bf16"],
        "bf16_dot2": ["ref", "avx512bf16"],
        "amx": ["amx"],
    }.items()
    for isa in levels
    if isa in SUPPORTED
]
# Columns below and above vectors, blocks and tiles; pixels below and above six; odd depths; the stem; strides; and for
# Winograd's two plans 3 x 3 with stride 1, small weights and large ones.
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1, 1, 0),
    (2, 5, 3, 17, 33, 1, 1, 1, 0),
    (2, 7, 9, 64, 130, 1, 1, 1, 0),
    (9, 4, 4, 32, 96, 1, 1, 2, 0),
    (2, 17, 16, 1, 64, 7, 7, 2, 3),
    (2, 9, 8, 17, 35, 3, 3, 2, 1),
    (2, 8, 7, 17, 33, 3, 3, 1, 1),
    (3, 4, 4, 130, 140, 3, 3, 1, 1),
]


def on_methods(shapes):
    """Every case with every shape that its method is for."""
    pairs = [
        pytest.param(case, shape, id=f"{'x'.join(map(str, shape))}-{'-'.join(case)}")
        for shape in (Shape(*sizes) for sizes in shapes)
        for case in [*FP32, *BF16]
        if case[1] != "winograd" or shape[5:8] == (3, 3, 1)
    ]
    return pytest.mark.parametrize(("case", "shape"), pairs)


@pytest.fixture
def way(case):
    """(method, precision), with the instruction set in use."""
    _testing.set_isa(case[0])
    yield case[1:]
    _testing.set_isa(SUPPORTED[-1])


def terms_of(s):
    """Scale and shift of the output channels, and a residual."""
    rng = np.random.default_rng(7)
    scale, shift = rng.normal(1, 0.5, s.K), rng.normal(0, 2, s.K)
    return scale.astype(np.float32), shift.astype(np.float32), rng.normal(0, 3, (s.N, *s.out, s.K)).astype(np.float32)


def error_of_sum(method, precision, s, x, w):
    """(float64 sum, the bound of its error, element by element)."""
    dy = np.zeros((s.N, *s.out, s.K))
    if precision == "bf16":
        y, magnitude, length = expected_of(0, s, rounded(x), rounded(w), dy)
        e = sum_error(method, 0, s, magnitude, length)
        return y, e if method in ONE_PASS else e + U * np.abs(y)
    y, magnitude, length = expected_of(0, s, x, w, dy)
    if method == "winograd":
        return y, (s.C + 32) * EPS * winograd.forward(x, w, s.pad, absolute=True)
    return y, (length + 2) * EPS * magnitude


@on_methods(SHAPES)
def test_against_float64(way, shape):
    method, precision = way
    s, narrow = shape, as_bf16 if precision == "bf16" else np.array
    x, w, _ = operands(s)
    scale, shift, residual = terms_of(s)
    y, e = error_of_sum(method, precision, s, x, w)
    packed, widen = _core.conv2d_pack(w), as_float if precision == "bf16" else np.array
    bytes_ = _core.conv2d_plan(s, 2, method, precision=precision)[0][1]
    if method not in ONE_PASS:
        bytes_ += -(-narrow(residual).nbytes // 64) * 64
    for at, relu, accumulate in [
        ("end", True, True),
        ("start", False, False),
        ("end", False, True),
        ("start", True, False),
    ]:
        before = (
            narrow(residual)
            if accumulate
            else np.full_like(narrow(residual), 0x7FC0 if precision == "bf16" else np.nan)
        )
        out = guarded(before, at=at)
        run(
            0,
            s,
            guarded(narrow(x), at=at),
            guarded(packed, at=at),
            out=out,
            method=method,
            precision=precision,
            scale=guarded(scale, at=at),
            shift=guarded(shift, at=at),
            relu=relu,
            accumulate=accumulate,
            workspace=guarded(np.full(bytes_, 0xFF, np.uint8), at=at),
            n_threads=2,
        )
        old = widen(narrow(residual)).astype(np.float64) if accumulate else 0.0
        expected = scale * y + shift + old
        bound = np.abs(scale) * (e + 2 * EPS * np.abs(y)) + 2 * EPS * (np.abs(shift) + np.abs(old) + np.abs(expected))
        if precision == "bf16":
            bound = (1 + U) * bound + U * np.abs(expected) + FLUSHED
        expected = np.maximum(expected, 0) if relu else expected
        error = np.abs(widen(out) - expected)
        assert np.isfinite(error).all() and (error <= bound).all(), f"{at}, {relu}, {accumulate}: {error.max():.3g}"


@on_methods(SHAPES[5:7])
def test_same_bits_with_any_threads(way, shape):
    method, precision = way
    narrow = as_bf16 if precision == "bf16" else np.array
    x, w, _ = operands(shape)
    scale, shift, residual = terms_of(shape)
    bits = set()
    for n_threads in (1, 2, 3):
        options = {"scale": scale, "shift": shift, "relu": True, "accumulate": True, "out": narrow(residual)}
        y = run(
            0,
            shape,
            narrow(x),
            _core.conv2d_pack(w),
            method=method,
            precision=precision,
            n_threads=n_threads,
            **options,
        )
        bits.add(y.tobytes())
    assert len(bits) == 1


@on_methods([(1, 4, 4, 8, 8, 3, 3, 1, 1)])
def test_a_relu_keeps_what_is_not_a_number(way, shape):
    method, precision = way
    narrow, widen = (as_bf16, as_float) if precision == "bf16" else (np.array, np.array)
    x, w, _ = operands(shape)
    scale, shift, _ = terms_of(shape)
    shift[3] = np.nan
    options = {"scale": scale, "shift": shift, "relu": True, "method": method, "precision": precision}
    y = widen(run(0, shape, narrow(x), _core.conv2d_pack(w), **options))
    assert np.isnan(y[..., 3]).all() and np.isfinite(np.delete(y, 3, axis=-1)).all()


def test_bad_arguments_are_named():
    shape = (1, 4, 4, 2, 3, 3, 3, 1, 1)
    x, w, dy = operands(shape)
    packed, three = _core.conv2d_pack(w), np.ones(3, np.float32)
    with pytest.raises(ValueError, match="scale, shift: expected both"):
        _core.conv2d_forward(shape, x, packed, scale=three)
    with pytest.raises(ValueError, match="scale, shift: expected both"):
        _core.conv2d_forward(shape, x, packed, relu=True)
    with pytest.raises(ValueError, match="of forward only"):
        run(1, shape, dy, packed, scale=three, shift=three)
    with pytest.raises(ValueError, match="shift: expected shape"):
        _core.conv2d_forward(shape, x, packed, scale=three, shift=np.ones(4, np.float32))
    with pytest.raises(ValueError, match="accumulate: only"):
        _core.conv2d_forward(shape, x, packed, scale=three, shift=three, accumulate=True)
