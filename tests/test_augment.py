"""Augmented views: geometry and photometrics against NumPy, draws by their statistics, independence from everything else."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import _core

ALL = {
    "scale": (0.5, 1.0),
    "ratio": (0.9, 1.1),
    "flip_horizontal": 0.5,
    "flip_vertical": 0.3,
    "rotation_deg": 10.0,
    "shift": 0.05,
    "brightness": (0.8, 1.2),
    "contrast": (0.8, 1.2),
    "gamma": (0.7, 1.4),
    "blur_p": 0.5,
    "blur_sigma": (0.3, 1.5),
    "noise_sd": 0.02,
    "mean": 0.2,
    "std": 0.3,
}


def cache(m: int = 5, h: int = 33, w: int = 29, c: int = 1) -> np.ndarray:
    return np.random.default_rng(m * h + w).integers(0, 256, (m, h, w, c), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_identity_is_the_pixels(isa, channels):
    images, indices = cache(c=channels), np.array([3, 0, 3])
    expected = (images[indices] / np.float32(255)).astype(np.float32)
    assert np.array_equal(_core.augment_batch(images, indices), expected)
    mean, std = np.array([0.1, 0.2, 0.3], np.float32)[:channels], np.array([0.5, 0.25, 2], np.float32)[:channels]
    mean, std = np.resize(mean, 3), np.resize(std, 3)
    normalised = (expected - mean[:channels]) / std[:channels]
    assert np.array_equal(_core.augment_batch(images, indices, mean=mean, std=std), normalised)
    assert np.array_equal(_core.gather_batch(images, indices, mean=mean, std=std), normalised)


def test_same_bits_for_any_threads_and_batch_order(isa):
    images = cache()
    indices = np.array([4, 1, 1, 0, 2, 3], np.int64)
    _core.set_isa("ref")
    expected = _core.augment_batch(images, indices, seed=7, epoch=2, view=1, n_threads=1, **ALL)
    _core.set_isa(isa)
    for n_threads in (1, 3):
        views = _core.augment_batch(images, indices, seed=7, epoch=2, view=1, n_threads=n_threads, **ALL)
        assert np.array_equal(views, expected)
        backwards = _core.augment_batch(images, indices[::-1].copy(), seed=7, epoch=2, view=1, n_threads=n_threads, **ALL)
        assert np.array_equal(backwards[::-1], expected)
