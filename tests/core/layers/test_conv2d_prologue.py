"""Forward with a prologue, a batch norm and a ReLU on the way in: by every method in both precisions.

Against float64, and bit for bit against the same in two steps. Tolerances: the sum's own (test_conv2d.py,
test_winograd.py, test_conv2d_bf16.py), and what the roundings of an activated x come to: two of its terms, and in bf16
that of x itself.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_conv2d import EPS, operands, run
from test_conv2d_bf16 import FLUSHED, WINOGRAD_ROUNDINGS, U, as_bf16, as_float, rounded
from test_conv2d_epilogue import on_methods, way  # noqa: F401 (a fixture)

import _testing
from reference import conv2d, winograd
from reference.guard import guarded
from simclr_mri import _core

# Pixels below, at and above a call of the kernel, which stops at the ends of images; channels below and above
# vectors, groups of vectors and a call's numbers; and for Winograd's two plans 3 x 3 with stride 1, small weights and
# large ones.
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1, 1, 0),
    (4, 5, 3, 17, 33, 1, 1, 1, 0),
    (2, 9, 11, 64, 130, 1, 1, 1, 0),
    (2, 2, 3, 4100, 5, 1, 1, 1, 0),
    (6, 4, 4, 32, 96, 1, 1, 2, 0),
    (2, 17, 16, 1, 64, 7, 7, 2, 3),
    (2, 9, 8, 17, 35, 3, 3, 2, 1),
    (2, 8, 7, 17, 33, 3, 3, 1, 1),
    (2, 6, 5, 70, 3, 3, 3, 1, 2),
    (4, 4, 4, 130, 140, 3, 3, 1, 1),
]


def parameters_of(s, groups):
    """Scale and shift of the input channels; shifts are so large that they would be seen in the padding."""
    rng = np.random.default_rng(3)
    return tuple(rng.normal(mean, 1, (groups, s.C)).astype(np.float32) for mean in (0, 2))


def by_image(s, parameters):
    """[groups, C] as one row for each image, to be multiplied with [N, H, W, C]."""
    return np.repeat(parameters.astype(np.float64), s.N // len(parameters), axis=0)[:, None, None, :]


def error_of_sum(method, s, x, w):
    """The bound of a sum's error, element by element; the widened method may be Winograd's."""
    if method == "winograd" or (method == "via_fp32" and _core.conv2d_plan(s, 1)[0][0] == "winograd"):
        magnitude, length = winograd.forward(x, w, s.pad, absolute=True), s.R * s.S * s.C + WINOGRAD_ROUNDINGS
    else:
        magnitude, length = conv2d.forward(np.abs(x), np.abs(w), s.stride, s.pad), s.R * s.S * s.C
    return (length + 2) * (EPS * magnitude + FLUSHED)


def workspace_of(s, method, precision, n_threads):
    bytes_ = _core.conv2d_plan(s, n_threads, method, precision=precision, prologue=True)[0][1]
    return np.full(bytes_, 0xFF, np.uint8)


@on_methods(SHAPES)
def test_against_float64(way, shape):  # noqa: F811
    method, precision = way
    s, (narrow, widen) = shape, (as_bf16, as_float) if precision == "bf16" else (np.array, np.array)
    x, w, _ = operands(s)
    if precision == "bf16":
        x, w = rounded(x), rounded(w)
    for groups, at in ((1, "end"), (1, "start"), (min(2, s.N), "end"), (s.N, "start")):
        scale, shift = parameters_of(s, groups)
        product, offset = by_image(s, scale) * x, by_image(s, shift)
        activated = np.maximum(product + offset, 0)
        slack = 2 * EPS * (np.abs(product) + np.abs(offset))
        slack += U * (activated + slack) if precision == "bf16" else 0
        y = conv2d.forward(activated, w, s.stride, s.pad)
        bound = error_of_sum(method, s, activated + slack, w) + conv2d.forward(slack, np.abs(w), s.stride, s.pad)
        bound = (1 + U) * bound + U * np.abs(y) if precision == "bf16" else bound
        out = guarded(np.full(y.shape, *((0x7FC0, np.uint16) if precision == "bf16" else (np.nan, np.float32))), at=at)
        run(
            0,
            s,
            guarded(narrow(x), at=at),
            guarded(_core.conv2d_pack(w), at=at),
            out=out,
            method=method,
            precision=precision,
            x_scale=guarded(scale, at=at),
            x_shift=guarded(shift, at=at),
            workspace=guarded(workspace_of(s, method, precision, 2), at=at),
            n_threads=2,
        )
        error = np.abs(widen(out) - y)
        assert np.isfinite(error).all() and (error <= bound).all(), f"{groups}, {at}: {error.max():.3g}"


@on_methods(SHAPES)
def test_same_bits_as_in_two_steps_and_with_any_threads(way, shape):  # noqa: F811
    method, precision = way
    narrow = as_bf16 if precision == "bf16" else np.array
    x, w, _ = operands(shape)
    x[0, 0, 0, 0] = np.nan  # which a ReLU keeps
    packed, groups = _core.conv2d_pack(w), 2 if shape.N % 2 == 0 else 1
    scale, shift = parameters_of(shape, groups)
    panel = narrow(x).reshape(groups, -1, shape.C)
    activated = _testing.scale_shift_add_relu(panel, scale, shift, relu=True).reshape(x.shape)
    options = {"method": method, "precision": precision}
    expected = run(0, shape, activated, packed, **options)
    assert np.isnan(as_float(expected) if precision == "bf16" else expected).any()
    for n_threads in (1, 2, 3):
        y = run(0, shape, narrow(x), packed, x_scale=scale, x_shift=shift, n_threads=n_threads, **options)
        assert y.tobytes() == expected.tobytes(), n_threads


def test_bad_arguments_are_named():
    shape = (4, 4, 4, 2, 3, 3, 3, 1, 1)
    x, w, dy = operands(shape)
    packed, good = _core.conv2d_pack(w), np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="x_scale, x_shift: expected both"):
        _core.conv2d_forward(shape, x, packed, x_scale=good)
    with pytest.raises(ValueError, match="of forward without scale and shift only"):
        run(1, shape, dy, packed, x_scale=good, x_shift=good)
    with pytest.raises(ValueError, match="of forward without scale and shift only"):
        three = np.ones(3, np.float32)
        _core.conv2d_forward(shape, x, packed, x_scale=good, x_shift=good, scale=three, shift=three)
    with pytest.raises(ValueError, match="x_shift: expected shape"):
        _core.conv2d_forward(shape, x, packed, x_scale=good, x_shift=good[:1].copy())
    with pytest.raises(ValueError, match="rows that divides 4 images, got 3"):
        three = np.ones((3, 2), np.float32)
        _core.conv2d_forward(shape, x, packed, x_scale=three, x_shift=three)
