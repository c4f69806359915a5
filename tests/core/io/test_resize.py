"""Antialiased resizing against Pillow and against the triangle filter in float64."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from reference import resize as ref
from reference.guard import guarded
from simclr_mri import _core

SHAPES = [
    ((1, 1), (5, 7)),
    ((9, 9), (9, 9)),
    ((7, 5), (1, 1)),
    ((17, 31), (17, 8)),
    ((31, 17), (8, 17)),
    ((16, 16), (32, 48)),
    ((33, 47), (15, 64)),
    ((128, 128), (64, 64)),
    ((77, 53), (64, 64)),
    ((200, 3), (2, 100)),
]


def by_pillow(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Columns first, then rows: Pillow's own order depends on its version when both change."""
    pixels = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    resized = pixels.resize((cols, image.shape[0]), Image.Resampling.BILINEAR).resize(
        (cols, rows), Image.Resampling.BILINEAR
    )
    return np.asarray(resized).reshape(rows, cols, image.shape[2])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size, result", SHAPES)
def test_uint8_equals_pillow(size, result, channels):
    rng = np.random.default_rng(sum(size))
    images = rng.integers(0, 256, (3, *size, channels), dtype=np.uint8)
    resized = _core.resize(images, result, n_threads=1)
    assert resized.dtype == np.uint8 and resized.shape == (3, *result, channels)
    assert np.array_equal(resized, np.stack([by_pillow(image, *result) for image in images]))
    in_one = np.stack(
        [
            np.asarray(
                Image.fromarray(image.squeeze(2) if channels == 1 else image).resize(
                    result[::-1], Image.Resampling.BILINEAR
                )
            ).reshape(*result, channels)
            for image in images
        ]
    )
    assert np.abs(resized.astype(int) - in_one).max() <= 1
    assert np.array_equal(_core.resize(images, result, n_threads=3), resized)
    assert np.abs(resized - ref.resize(images, *result)).max() <= 1.01  # a rounding of half a level for each axis


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size, result", SHAPES)
def test_float32_follows_the_filter(size, result, channels):
    rng = np.random.default_rng(sum(size))
    images = rng.normal(size=(3, *size, channels)).astype(np.float32)
    resized = _core.resize(images, result, n_threads=1)
    assert resized.dtype == np.float32
    expected = ref.resize(images, *result)
    taps = sum(2 * max(1, -(-n // m)) + 1 for n, m in zip(size, result, strict=True))
    # Each weight, product and partial sum is rounded once; the weights sum to 1.
    assert np.abs(resized - expected).max() < 3 * taps * 2**-24 * np.abs(images).max()
    assert np.array_equal(_core.resize(images, result, n_threads=3), resized)


def test_same_size_copies_and_constants_stay():
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 8, 3), dtype=np.uint8)
    assert np.array_equal(_core.resize(images, (9, 8)), images)
    for level in (0, 1, 127, 255):
        assert (_core.resize(np.full((1, 37, 41, 1), level, np.uint8), (19, 50)) == level).all()


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("size, result", SHAPES)
def test_nothing_is_read_outside(size, result, at):
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    assert np.array_equal(_core.resize(guarded(images, at=at), result), _core.resize(images, result))
    floats = images.astype(np.float32)
    assert np.array_equal(_core.resize(guarded(floats, at=at), result), _core.resize(floats, result))


def test_wrong_arguments_are_named():
    images = np.zeros((1, 4, 4, 1), np.uint8)
    with pytest.raises(ValueError, match="size: expected a positive integer or"):
        _core.resize(images, (0, 4))
    with pytest.raises(ValueError, match="images: expected 4 dimensions, got 3"):
        _core.resize(images[0], 4)
    with pytest.raises(TypeError, match="images: expected dtype uint8, got float64"):
        _core.resize(images.astype(np.float64), 4)
    with pytest.raises(ValueError, match="resize: expected sizes of 1 to"):
        _core.resize(np.zeros((1, 0, 4, 1), np.uint8), 4)
    assert _core.resize(images[:0], 7).shape == (0, 7, 7, 1)
