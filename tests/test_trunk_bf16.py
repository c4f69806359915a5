"""Batch norm and pooling in bfloat16: what fp32 computes from the same numbers, rounded once.

The fp32 results are tested against float64 elsewhere; those of a bfloat16 call may differ from them by fp32 roundings
in another order, which can tip a tie, so the bound is one unit of the rounding beside the fp32 tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest

from reference import bf16
from reference.guard import guarded
from simclr_mri import _core

EPS = float(np.finfo(np.float32).eps)
CHANNELS = [1, 7, 8, 9, 17, 33, 64, 257]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Random bfloat16 numbers."""
    return bf16.narrow(np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32))


def assert_is_rounded(got: np.ndarray, exact: np.ndarray, size: float) -> None:
    """`got` (bfloat16) is `exact` (float32) but for its rounding and fp32 errors of sums of that size."""
    assert got.dtype == np.uint16
    error = np.abs(bf16.widen(got).astype(np.float64) - exact)
    assert (error <= bf16.UNIT * np.abs(exact) + 16 * EPS * size).all()


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("rows", [1, 9, 50])
def test_batch_norm(isa_bf16, rows, channels):
    x, dy, residual = (guarded(numbers(2, rows, channels, seed=seed)) for seed in range(3))
    gamma, beta = bf16.widen(numbers(channels, seed=3)), bf16.widen(numbers(channels, seed=4))
    wide = bf16.widen(x)
    mean, var = _core.batchnorm_statistics(x)
    want_mean, want_var = _core.batchnorm_statistics(wide)
    np.testing.assert_allclose(mean, want_mean, atol=8 * EPS)
    np.testing.assert_allclose(var, want_var, rtol=16 * EPS)
    scale, shift = _core.batchnorm_fold(gamma, beta, want_mean, want_var)
    size = 1 + np.abs(scale).max() * np.abs(wide).max() + np.abs(shift).max()
    for options in (
        {},
        {"residual": residual},
        {"residual": residual, "residual_scale": shift, "residual_shift": scale},
    ):
        for relu in (False, True):
            want = _core.affine(
                wide, scale, shift, relu=relu, **options | ({"residual": bf16.widen(residual)} if options else {})
            )
            out = guarded(np.full_like(x, 0xFFFF))
            y = _core.affine(x, scale, shift, relu=relu, out=out, **options)
            assert_is_rounded(y, want, 3 * size**2)
    statistics = (gamma, want_mean, want_var, scale, shift)
    for relu in (False, True):
        want = _core.batchnorm_backward(bf16.widen(dy), wide, *statistics, relu=relu)
        out = guarded(np.full_like(x, 0xFFFF))
        got = _core.batchnorm_backward(dy, x, *statistics, relu=relu, out=out)
        assert_is_rounded(got[0], want[0], np.abs(want[0]).max() * rows + size * 8)
        for a, b in zip(got[1:], want[1:], strict=True):
            np.testing.assert_allclose(a, b, atol=16 * EPS * (rows * 8 * size))


@pytest.mark.parametrize("channels", CHANNELS)
def test_pooling(isa_bf16, channels):
    x = guarded(bf16.narrow(np.round(bf16.widen(numbers(2, 7, 6, channels)) * 3)))
    want, places = _core.maxpool_forward(bf16.widen(x), 3, 2, 1)
    y, argmax = _core.maxpool_forward(x, 3, 2, 1, out=guarded(bf16.narrow(want)))
    assert np.array_equal(bf16.widen(y), want) and np.array_equal(argmax, places)
    dy = guarded(numbers(*y.shape, seed=1))
    dx = _core.maxpool_backward(dy, argmax, 7, 6, 3, 2, 1, out=guarded(np.full_like(x, 0xFFFF)))
    assert_is_rounded(dx, _core.maxpool_backward(bf16.widen(dy), places, 7, 6, 3, 2, 1), 4)
    pixels = guarded(x.reshape(2, 42, channels))
    mean = _core.avgpool_forward(pixels)
    np.testing.assert_allclose(mean, bf16.widen(pixels).mean(axis=1, dtype=np.float64), rtol=2 * EPS)
    spread = _core.avgpool_backward(mean, 42, precision="bf16", out=guarded(np.full_like(pixels, 0xFFFF)))
    want = np.broadcast_to(bf16.narrow(mean * (np.float32(1) / np.float32(42)))[:, None], spread.shape)
    assert np.array_equal(spread, want)


def test_conversions(isa_bf16):
    rng = np.random.default_rng(0)
    for n in (0, 1, 7, 8, 9, 31, 33, 70_001):
        bits = rng.integers(0, 2**32, n, dtype=np.uint32)
        bits[::5] &= 0xFFFF0000
        bits[1::7] = bits[1::7] & 0xFFFF0000 | 0x8000  # ties
        x = guarded(bits.view(np.float32))
        normal = np.isnan(x) | (np.abs(x) >= 2.0**-126) | (x == 0)  # the instruction flushes denormals to zero
        got = _core.bf16_from_float(x)
        assert np.array_equal(got[normal], bf16.narrow(x)[normal])
        back = guarded(got)
        assert np.array_equal(_core.bf16_to_float(back).view(np.uint32), bf16.widen(back).view(np.uint32))
