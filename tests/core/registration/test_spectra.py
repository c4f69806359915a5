"""Spectra in C against the equations in float64: vectors that are full or not, arrays that end at a guard page."""

from __future__ import annotations

import numpy as np
import pytest

import _testing
from conftest import SUPPORTED
from reference.guard import guarded
from simclr_mri import _core

RNG = np.random.default_rng(7)


def floats(*shape: int) -> np.ndarray:
    return guarded(RNG.normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("size", [8, 40, 64])
def test_local_contrast(size: int) -> None:
    gray, fine, coarse = floats(3, size, size), *(np.abs(floats(size, size)) for _ in range(2))
    g, f, c = (x.astype(float) for x in (gray, fine, coarse))
    band = f.T @ g @ f - c.T @ g @ c
    expected = band / (np.sqrt(c.T @ (band * band) @ c) + 8)
    found = _core.local_contrast(gray, guarded(fine), guarded(coarse), 8)
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max() + 2e-6 * size


@pytest.mark.parametrize(("size", "cut", "n_waves", "n"), [(64, 64, 40, 2560), (64, 42, 48, 7), (10, 2, 8, 1)])
def test_polar_spectra(size: int, cut: int, n_waves: int, n: int) -> None:
    row, column, half = size - cut, (size - cut) // 2, cut // 2
    pictures, window = floats(3, size, size), floats(cut, cut)
    angle = np.outer(np.arange(half) - half + 0.5, np.arange(n_waves) * 0.06)
    waves = guarded(np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32))
    index = guarded(RNG.integers(0, 2 * n_waves * n_waves, (2, 4, n)).astype(np.int32))
    weights = guarded(RNG.random((2, 4, n)).astype(np.float32))
    found = _core.polar_spectra(pictures, row, column, window, waves, index, weights, 0.02)
    seen = pictures[:, row : row + cut, column : column + cut].astype(float) * window
    place = np.arange(cut) - half + 0.5
    up = np.exp(-0.06j * np.outer(np.arange(n_waves), place))
    power = np.abs(np.stack([up @ seen @ up.T, up.conj() @ seen @ up.T], axis=1)).reshape(3, -1)
    value = (power[:, index] * weights).sum(axis=2)
    expected = value + 0.02 * np.sqrt((value**2).mean(axis=2, keepdims=True)) + 1e-6
    assert np.abs(found - expected).max() < 2e-5 * expected.max()


def waves_of(n_radial: int, rings: int, angles: int) -> tuple[np.ndarray, np.ndarray]:
    along = 2 * np.pi / angles * np.outer(np.arange(angles), np.arange(1, 17))
    across = 2 * np.pi / rings * np.outer(np.arange(n_radial), np.arange(rings))
    columns = np.concatenate([np.cos(along), np.sin(along)], axis=1)
    return guarded(columns.astype(np.float32)), guarded(
        np.concatenate([np.cos(across), np.sin(across)]).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("rings", "angles", "n_radial", "n_angular"), [(40, 64, 21, 14), (48, 33, 3, 16), (5, 40, 2, 1)]
)
def test_transforms(rings: int, angles: int, n_radial: int, n_angular: int) -> None:
    maps = floats(3, rings, angles)
    columns, rows = waves_of(n_radial, rings, angles)
    whole = np.fft.fft2(maps.astype(float))[:, :, 1 : n_angular + 1]
    k = np.arange(n_radial)
    z = (np.abs(whole[:, k]) + np.abs(whole[:, -k])).reshape(3, -1)
    expected = np.sqrt(z / np.linalg.norm(z, axis=1, keepdims=True))
    assert np.abs(_core.polar_descriptors(maps, columns, rows, n_angular) - expected).max() < 1e-5
    low = _core.polar_low(maps, columns, rows, n_angular)
    without = maps - maps.mean(axis=2, keepdims=True, dtype=float)
    expected = whole[:, np.r_[0:n_radial, 1 - n_radial : 0]] / np.linalg.norm(without, axis=(1, 2))[:, None, None]
    assert np.abs(low[..., 0] + 1j * low[..., 1] - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("n_radial", "n_shifts"), [(13, 15), (1, 1), (24, 4)])
def test_heights(n_radial: int, n_shifts: int) -> None:
    k = np.r_[0:n_radial, 1 - n_radial : 0]
    a, b = (floats(3, len(k), 12, 2) for _ in range(2))
    ring, angle = 0.1 * np.outer(np.arange(n_shifts), k), 2 * np.pi / 40 * np.outer(np.arange(1, 13), np.arange(40))
    rings, angles = (np.stack([np.cos(x), np.sin(x)], axis=-1).astype(np.float32) for x in (ring, angle))
    found = _core.low_heights(a, b, guarded(rings), guarded(np.ascontiguousarray(angles.swapaxes(1, 2))))
    x, y = (side[..., 0] + 1j * side[..., 1].astype(float) for side in (a, b))
    both = [np.exp(1j * ring) @ (left * y) @ np.exp(1j * angle) for left in (x.conj(), x[:, -np.arange(len(k))])]
    expected = np.max([surface.real.max(axis=(1, 2)) for surface in both], axis=0)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_what_is_refused() -> None:
    picture, square = floats(1, 64, 64), floats(64, 64)
    with pytest.raises(ValueError, match="gray: columns: expected a multiple of 8 from 8 to 64, got 72"):
        _core.local_contrast(floats(1, 72, 72), floats(72, 72), floats(72, 72), 8)
    with pytest.raises(ValueError, match="fine_t: expected shape"):
        _core.local_contrast(picture, square[:32], square, 8)
    waves, index, weights = floats(2, 32, 40), np.zeros((1, 4, 5), np.int32), floats(1, 4, 5)
    rest = (square, waves, index, weights, 0.02)
    for name, change in {"row": (1, 0, *rest), "column": (0, -1, *rest)}.items():
        with pytest.raises(ValueError, match=f"{name}: expected"):
            _core.polar_spectra(picture, *change)
    for wrong in (-1, 2 * 40 * 40):
        with pytest.raises(ValueError, match="index: expected 0 to 3199"):
            _core.polar_spectra(picture, 0, 0, square, waves, np.full_like(index, wrong), weights, 0.02)
    with pytest.raises(ValueError, match="weights: expected shape"):
        _core.polar_spectra(picture, 0, 0, square, waves, index, weights[:, :, :4], 0.02)
    with pytest.raises(TypeError, match="window"):
        _core.polar_spectra(picture, 0, 0, None, waves, index, weights, 0.02)
    columns, rows = waves_of(3, 40, 64)
    for few in (0, 17):
        with pytest.raises(ValueError, match="n_angular: expected"):
            _core.polar_low(floats(1, 40, 64), columns, rows, few)
    with pytest.raises(ValueError, match="rings: expected shape"):
        _core.polar_descriptors(floats(1, 39, 64), columns, rows, 4)
    with pytest.raises(ValueError, match="b: expected shape"):
        _core.low_heights(floats(2, 5, 12, 2), floats(1, 5, 12, 2), floats(3, 5, 2), floats(12, 2, 40))
    with pytest.raises(ValueError, match="an odd number"):
        _core.low_heights(floats(2, 4, 12, 2), floats(2, 4, 12, 2), floats(3, 4, 2), floats(12, 2, 40))


def test_the_same_bits_on_every_instruction_set() -> None:
    picture = floats(2, 64, 64)
    window, waves = floats(64, 64), floats(2, 32, 40)
    index, weights = RNG.integers(0, 3200, (1, 4, 99)).astype(np.int32), floats(1, 4, 99)
    maps, (columns, rows) = floats(2, 40, 64), waves_of(13, 40, 64)
    low, rings, angles = floats(2, 25, 12, 2), floats(15, 25, 2), floats(12, 2, 40)

    def all_of_them() -> list[np.ndarray]:
        return [
            _core.local_contrast(picture, np.abs(window), np.abs(window), 8),
            _core.polar_spectra(picture, 0, 0, window, waves, index, weights, 0.02),
            _core.polar_descriptors(maps, columns, rows, 14),
            _core.polar_low(maps, columns, rows, 12),
            _core.low_heights(low, low[::-1].copy(), rings, angles),
        ]

    here = all_of_them()
    try:
        _testing.set_isa("ref")
        plain = all_of_them()
    finally:
        _testing.set_isa(SUPPORTED[-1])
    assert all(np.array_equal(a, b) for a, b in zip(here, plain, strict=True))
