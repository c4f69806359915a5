"""Batch norm and pooling in bfloat16: what fp32 computes from the same numbers, rounded once.

The fp32 results are tested against float64 elsewhere; those of a bfloat16 call may differ from them by fp32 roundings
in another order, which can tip a tie, so the bound is one unit of the rounding beside the fp32 tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_batchnorm2d import case, gradient_tolerance

import _testing
import reference.batchnorm2d as reference
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
    mean, var = _testing.batchnorm_statistics(x)
    want_mean, want_var = _testing.batchnorm_statistics(wide)
    np.testing.assert_allclose(mean, want_mean, atol=8 * EPS)
    np.testing.assert_allclose(var, want_var, rtol=16 * EPS)
    scale, shift = _testing.batchnorm_fold(gamma, beta, want_mean, want_var)
    size = 1 + np.abs(scale).max() * np.abs(wide).max() + np.abs(shift).max()
    for options in (
        {},
        {"residual": residual},
        {"residual": residual, "residual_scale": shift, "residual_shift": scale},
    ):
        for relu in (False, True):
            want = _testing.scale_shift_add_relu(
                wide, scale, shift, relu=relu, **options | ({"residual": bf16.widen(residual)} if options else {})
            )
            out = guarded(np.full_like(x, 0xFFFF))
            y = _testing.scale_shift_add_relu(x, scale, shift, relu=relu, out=out, **options)
            assert_is_rounded(y, want, 3 * size**2)
    statistics = (gamma, want_mean, want_var, scale, shift)
    for relu in (False, True):
        want = _testing.batchnorm_backward(bf16.widen(dy), wide, *statistics, relu=relu)
        out = guarded(np.full_like(x, 0xFFFF))
        got = _testing.batchnorm_backward(dy, x, *statistics, relu=relu, out=out)
        assert_is_rounded(got[0], want[0], np.abs(want[0]).max() * rows + size * 8)
        for a, b in zip(got[1:], want[1:], strict=True):
            np.testing.assert_allclose(a, b, atol=16 * EPS * (rows * 8 * size))


@pytest.mark.parametrize("channels", CHANNELS)
def test_pooling(isa_bf16, channels):
    x = guarded(bf16.narrow(np.round(bf16.widen(numbers(2, 7, 6, channels)) * 3)))
    want, places = _testing.maxpool_forward(bf16.widen(x), 3, 2, 1)
    y, argmax = _testing.maxpool_forward(x, 3, 2, 1, out=guarded(bf16.narrow(want)))
    assert np.array_equal(bf16.widen(y), want) and np.array_equal(argmax, places)
    dy = guarded(numbers(*y.shape, seed=1))
    dx = _testing.maxpool_backward(dy, argmax, 7, 6, 3, 2, 1, out=guarded(np.full_like(x, 0xFFFF)))
    assert_is_rounded(dx, _testing.maxpool_backward(bf16.widen(dy), places, 7, 6, 3, 2, 1), 4)
    pixels = guarded(x.reshape(2, 42, channels))
    mean = _testing.avgpool_forward(pixels)
    np.testing.assert_allclose(mean, bf16.widen(pixels).mean(axis=1, dtype=np.float64), rtol=2 * EPS)
    spread = _testing.avgpool_backward(mean, 42, precision="bf16", out=guarded(np.full_like(pixels, 0xFFFF)))
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


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(2, 300, 70), (1, 2500, 64)])
def test_batch_norm_against_float64(isa_bf16, shape, relu):
    """Tolerances are fp32's, and one rounding where activations are stored."""
    c = case(*shape)
    c |= {"x": bf16.rounded(c["x"]), "dy": bf16.rounded(c["dy"])}
    if relu:  # keep clear of the kink, where the mask may differ by rounding
        c["dy"][np.abs(reference.forward(c["x"], c["gamma"], c["beta"], 1e-5)) < 1e-4] = 0
    x, dy = bf16.narrow(c["x"]), bf16.narrow(c["dy"])
    mean, var = _testing.batchnorm_statistics(x)
    for got, want in zip((mean, var), reference.statistics(c["x"]), strict=True):
        np.testing.assert_allclose(got, want, rtol=16 * EPS, atol=4 * EPS * np.abs(c["x"]).max())
    scale, shift = _testing.batchnorm_fold(c["gamma"], c["beta"], mean, var)
    want = reference.forward(c["x"], c["gamma"], c["beta"], 1e-5, relu)
    size = np.abs(scale).max() * np.abs(c["x"]).max() + np.abs(shift).max()
    assert_is_rounded(_testing.scale_shift_add_relu(x, scale, shift, relu=relu), want, size)
    got = _testing.batchnorm_backward(dy, x, c["gamma"], mean, var, scale, shift, relu=relu)
    want = reference.backward(c["dy"], c["x"], c["gamma"], c["beta"], 1e-5, relu)
    bounds = gradient_tolerance(c)
    assert (np.abs(bf16.widen(got[0]) - want[0]) <= bf16.UNIT * np.abs(want[0]) + 2 * bounds[0]).all()
    for value, expected, bound in zip(got[1:], want[1:], bounds[1:], strict=True):
        assert (np.abs(value - expected) <= bound).all()


def test_nan_and_infinity(isa_bf16):
    x = bf16.narrow(np.tile(np.array([np.nan, np.inf, -np.inf, -1], np.float32), 20)).reshape(1, 1, 80)
    one, zero = np.ones((1, 80), np.float32), np.zeros((1, 80), np.float32)
    y, mask = _testing.scale_shift_add_relu(x, one, zero, relu=True, mask=True)
    want = np.tile(np.array([np.nan, np.inf, 0, 0], np.float32), 20)
    assert np.array_equal(bf16.widen(y).ravel(), want, equal_nan=True)
    assert (mask == 0b00100010).all()
    dy = np.full_like(x, 0x3F80)
    dx, _, _, ds = _testing.batchnorm_backward(dy, x, one[0], zero, one, one, zero, fixed=True, mask=mask)
    assert np.array_equal(bf16.widen(ds).ravel(), want == np.inf)
    assert np.array_equal(bf16.widen(dx).ravel() != 0, want == np.inf)
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, -2, 3], np.float32)
    draws = np.random.default_rng(0)
    for values, channels in [(odd, 1), (odd, 130), (odd[2:], 64), (odd[3:6], 130), (odd[3:4], 64)]:
        images = bf16.narrow(draws.choice(values, (2, 5, 6, channels)))
        y, places = _testing.maxpool_forward(images, 3, 2, 1)
        want_y, want_places = _testing.maxpool_forward(bf16.widen(images), 3, 2, 1)
        assert np.array_equal(bf16.widen(y), want_y, equal_nan=True) and np.array_equal(places, want_places)
        assert np.array_equal(np.signbit(bf16.widen(y))[want_y == 0], np.signbit(want_y)[want_y == 0])


def test_same_bits_with_any_number_of_threads(isa_bf16):
    x, dy = numbers(2, 1100, 100), numbers(2, 1100, 100, seed=1)
    images = numbers(3, 40, 40, 20)

    def passes(n_threads):
        mean, var = _testing.batchnorm_statistics(x, n_threads=n_threads)
        scale, shift = _testing.batchnorm_fold(np.ones(100, np.float32), np.zeros(100, np.float32), mean, var)
        y, mask = _testing.scale_shift_add_relu(x, scale, shift, dy, relu=True, mask=True, n_threads=n_threads)
        statistics = (scale[0], mean, var, scale, shift)
        back = _testing.batchnorm_backward(dy, x, *statistics, mask=mask, n_threads=n_threads)
        pooled, places = _testing.maxpool_forward(images, 3, 2, 1, n_threads=n_threads)
        gradient = _testing.maxpool_backward(pooled, places, 40, 40, 3, 2, 1, n_threads=n_threads)
        return [mean, var, y, mask, *back, pooled, places, gradient]

    want = passes(1)
    for n_threads in (2, 3):
        assert all(np.array_equal(a, b) for a, b in zip(passes(n_threads), want, strict=True))


@pytest.mark.parametrize("offset", [0, 1])
def test_large_outputs_past_the_caches(isa_bf16, offset):
    """From 8 MiB on outputs are streamed where alignment allows; the values are those of a small piece."""
    x = numbers(1, 66_000, 64)
    memory = np.full(x.size + 64, 0xFFFF, np.uint16)
    start = -memory.ctypes.data % 64 // 2 + offset
    out = memory[start : start + x.size].reshape(x.shape)
    one, zero = np.ones((1, 64), np.float32), np.zeros((1, 64), np.float32)
    y = _testing.scale_shift_add_relu(x, one, zero, relu=True, n_threads=2, out=out)
    assert np.array_equal(y, np.where(x >> 15, 0, x))
    dx, *_ = _testing.batchnorm_backward(x, x, one[0], zero, one, one, zero, fixed=True, n_threads=2, out=out)
    assert np.array_equal(dx, x)
    assert (memory[:start] == 0xFFFF).all() and (memory[start + x.size :] == 0xFFFF).all()
