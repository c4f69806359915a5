"""Affine maps in C against the equations in float64."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from reference import registration as ref
from reference.guard import guarded
from simclr_mri import _core


def pictures(h: int, w: int, n: int = 4) -> np.ndarray:
    noise = np.random.default_rng(h * w).normal(size=(n, h, w))
    return (8 * ndimage.gaussian_filter(noise, (0, 2, 2))).astype(np.float32)


def near_identity(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    maps = rng.normal(0, 0.03, (n, 6)) * (1, 1, 1, 1, 30, 30)
    return maps + np.array([1, 0, 0, 1, 0, 0])


@pytest.mark.parametrize(("h", "w"), [(64, 64), (31, 40), (45, 13), (3, 3)])
@pytest.mark.parametrize("nearest", [False, True])
def test_warp(h: int, w: int, nearest: bool) -> None:
    images, maps = guarded(pictures(h, w)), near_identity(4)
    maps[1] = (0, -1.3, -0.8, 0, 2, 1)
    moved = _core.warp_affine(images, maps, nearest)
    for image, m, out in zip(images, maps, moved, strict=True):
        value, inside = ref.sample(image.astype(float), m[:4].reshape(2, 2), m[4:], 0)
        assert np.abs(out - (value if nearest else value * inside)).max() < 1e-4 * np.abs(image).max() + 1e-4


@pytest.mark.parametrize(("h", "w", "margin"), [(64, 64, 4), (40, 53, 0), (33, 26, 7)])
def test_register(h: int, w: int, margin: int) -> None:
    a, truth = pictures(h, w), near_identity(4, seed=1)
    b = _core.warp_affine(a, truth, True)
    b[3] = -b[3]  # inverted: a factor of -1
    start = np.tile([1.0, 0, 0, 1, 0, 0], (4, 1))
    for steps in (0, 1, 3):
        maps, match = _core.register_affine(guarded(a), guarded(b), start, steps, margin)
        for k in range(4):
            expected, fits = ref.register(a[k].astype(float), b[k].astype(float), start[k], steps, margin)
            assert np.abs(maps[k] - expected).max() < 2e-4 and abs(match[k] - fits) < 1e-4
    maps, match = _core.register_affine(a, b, start, 20, margin)
    assert match.min() > 0.99 and (start == [1, 0, 0, 1, 0, 0]).all(), "the argument is left as it was"
    if margin == 4:
        assert np.abs(maps - truth)[:, :4].max() < 0.01


def test_same_bits_each_time_and_degenerate_maps() -> None:
    a, b = pictures(64, 64)[:2], pictures(64, 64)[2:]
    start = near_identity(2)
    first, again = (_core.register_affine(a, b, start, 5) for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))
    flat = np.zeros((2, 6))
    assert not _core.warp_affine(a, flat).any() and not _core.register_affine(a, b, flat, 3)[1].any()
    far = start + np.array([0, 0, 0, 0, 1e9, 0])  # nothing overlaps
    assert _core.register_affine(a, b, far, 2)[1].max() == 0 and not _core.warp_affine(a, far).any()
    unknown = np.full((2, 6), np.nan)
    assert not _core.warp_affine(a, unknown).any()
    blank = np.zeros_like(a)
    assert np.isfinite(_core.register_affine(blank, blank, start, 4)[0]).all()


def test_what_is_refused() -> None:
    a, maps = pictures(16, 16), near_identity(4)
    with pytest.raises(ValueError, match="b: expected shape"):
        _core.register_affine(a, a[:2], maps, 1)
    with pytest.raises(ValueError, match="maps: expected shape"):
        _core.warp_affine(a, maps[:3])
    with pytest.raises(ValueError, match="expected 19 to 512"):
        _core.register_affine(a, a, maps, 1, margin=8)
    with pytest.raises(ValueError, match="steps"):
        _core.register_affine(a, a, maps, -1)
    with pytest.raises(TypeError, match="images"):
        _core.warp_affine(a.astype(float), maps)
