"""Max pooling and average pooling."""

from __future__ import annotations

import numpy as np
import pytest

import _testing
import reference.pooling as reference
from reference.guard import guarded

EPS = float(np.finfo(np.float32).eps)
CHANNELS = [1, 3, 7, 8, 9, 15, 16, 17, 32, 33, 64, 100, 128]
# rows, cols, window, stride, pad: the stem's, odd images, no padding, gaps between windows, a window of the whole image
WINDOWS = [
    (8, 8, 3, 2, 1),
    (7, 5, 3, 2, 1),
    (6, 6, 2, 2, 0),
    (7, 9, 2, 3, 0),
    (4, 4, 4, 1, 0),
    (1, 1, 3, 2, 1),
    (5, 4, 3, 1, 2),
]


def images(rows: int, cols: int, channels: int, n: int = 2) -> np.ndarray:
    rng = np.random.default_rng([rows, cols, channels])
    return np.round(rng.standard_normal((n, rows, cols, channels)) * 3).astype(np.float32)  # rounded: many ties


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("window", WINDOWS)
def test_maxpool(isa, window, channels):
    rows, cols, *rest = window
    x = guarded(images(rows, cols, channels))
    want_y, want_argmax = reference.max_forward(x, *rest)
    y, argmax = _testing.maxpool_forward(x, *rest, out=guarded(np.full_like(want_y, np.nan)))
    assert np.array_equal(y, want_y)
    assert np.array_equal(argmax, want_argmax)
    dy = guarded(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32))
    out = guarded(np.full_like(x, np.nan))
    dx = _testing.maxpool_backward(dy, guarded(argmax), rows, cols, *rest, out=out)
    want = reference.max_backward(dy, argmax, rows, cols, *rest)
    np.testing.assert_allclose(dx, want, rtol=0, atol=rest[0] ** 2 * EPS * np.abs(dy).max())


def test_maxpool_and_nan_as_in_pytorch(isa):
    torch = pytest.importorskip("torch")
    x = images(9, 8, 21)
    x.ravel()[::17] = np.nan
    x.ravel()[::23] = -np.inf
    tensor = torch.from_numpy(x).permute(0, 3, 1, 2)
    want_y, where = torch.nn.functional.max_pool2d(tensor, 3, 2, 1, return_indices=True)
    y, argmax = _testing.maxpool_forward(x, 3, 2, 1)
    assert np.array_equal(y, want_y.permute(0, 2, 3, 1).numpy(), equal_nan=True)
    p, q = np.indices(y.shape)[1:3]
    place = (p * 2 + argmax // 3 - 1) * 8 + q * 2 + argmax % 3 - 1
    assert np.array_equal(place, where.permute(0, 2, 3, 1).numpy())


def test_maxpool_with_threads(isa):
    x = images(16, 16, 20, n=3)
    y, argmax = _testing.maxpool_forward(x, 3, 2, 1)
    dy = y + 1
    dx = _testing.maxpool_backward(dy, argmax, 16, 16, 3, 2, 1)
    for n_threads in (2, 3):
        again, places = _testing.maxpool_forward(x, 3, 2, 1, n_threads=n_threads)
        assert np.array_equal(again, y) and np.array_equal(places, argmax)
        assert np.array_equal(_testing.maxpool_backward(dy, argmax, 16, 16, 3, 2, 1, n_threads=n_threads), dx)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("pixels", [1, 2, 9, 16, 50])
def test_avgpool(isa, pixels, channels):
    rng = np.random.default_rng([pixels, channels])
    x = guarded(rng.standard_normal((3, pixels, channels)).astype(np.float32) + 100)
    y = _testing.avgpool_forward(x, out=guarded(np.full((3, channels), np.nan, np.float32)))
    np.testing.assert_allclose(y, x.astype(np.float64).mean(axis=1), rtol=2 * EPS)
    dy = guarded(rng.standard_normal((3, channels)).astype(np.float32))
    dx = _testing.avgpool_backward(dy, pixels, out=guarded(np.full_like(x, np.nan)))
    np.testing.assert_allclose(dx, np.broadcast_to(dy[:, None] / pixels, x.shape), rtol=2 * EPS)
    for n_threads in (2, 3):
        assert np.array_equal(_testing.avgpool_forward(x, n_threads=n_threads), y)
        assert np.array_equal(_testing.avgpool_backward(dy, pixels, n_threads=n_threads), dx)


def test_errors():
    x = np.zeros((1, 2, 2, 1), np.float32)
    with pytest.raises(ValueError, match="window of 3 is larger than the image of 2 x 2 padded by 0"):
        _testing.maxpool_forward(x, 3, 1, 0)
    with pytest.raises(ValueError, match="a pad below the window"):
        _testing.maxpool_forward(x, 2, 1, 2)
    with pytest.raises(ValueError, match=r"dy: expected shape \(1, 1, 1, 1\), got \(1, 2, 2, 1\)"):
        _testing.maxpool_backward(x, np.zeros((1, 2, 2, 1), np.uint8), 2, 2, 3, 2, 1)


@pytest.mark.parametrize("stride", [3, 2**31, 2**61, 2**62, 2**62 + 1, 2**63 - 1])
def test_a_stride_may_be_longer_than_the_image(stride):
    """One window: no product of the stride with a size may wrap around, let alone to zero."""
    for rows, cols, channels in ((2, 3, 1), (3, 2, 4), (4, 4, 2)):
        x = images(rows, cols, channels)
        y, argmax = _testing.maxpool_forward(x, 2, stride, 0)
        assert y.shape[1:3] == ((rows - 2) // stride + 1, (cols - 2) // stride + 1)
        assert np.array_equal(y[:, :1, :1], x[:, :2, :2].max(axis=(1, 2), keepdims=True))
        dx = _testing.maxpool_backward(np.ones_like(y), argmax, rows, cols, 2, stride, 0)
        assert dx.sum() == y.size


def test_large_gradient_past_the_caches(isa):
    """From 8 MiB on dx is streamed; the values are those of each image alone."""
    y, argmax = _testing.maxpool_forward(images(64, 64, 64, n=9), 3, 2, 1)
    dx = _testing.maxpool_backward(y, argmax, 64, 64, 3, 2, 1, n_threads=2)
    for n in (0, 8):
        assert np.array_equal(
            dx[n : n + 1], _testing.maxpool_backward(y[n : n + 1], argmax[n : n + 1], 64, 64, 3, 2, 1)
        )
