"""Pooling on NHWC arrays, window by window. Ties and NaN follow torch.nn.functional.max_pool2d."""

from __future__ import annotations

import numpy as np


def _windows(rows: int, cols: int, window: int, stride: int, pad: int):
    """For each output pixel (p, q): its taps (h, w, place) in row-major order."""
    for p in range((rows + 2 * pad - window) // stride + 1):
        for q in range((cols + 2 * pad - window) // stride + 1):
            corners = [
                (p * stride + r - pad, q * stride + s - pad, r * window + s)
                for r in range(window)
                for s in range(window)
            ]
            yield p, q, [(h, w, place) for h, w, place in corners if 0 <= h < rows and 0 <= w < cols]


def max_forward(x: np.ndarray, window: int, stride: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    n, rows, cols, channels = x.shape
    shape = (n, (rows + 2 * pad - window) // stride + 1, (cols + 2 * pad - window) // stride + 1, channels)
    y, argmax = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
    for p, q, taps in _windows(rows, cols, window, stride, pad):
        values = np.stack([x[:, h, w] for h, w, _ in taps])
        # np.argmax takes the first maximum, and the first NaN; the last NaN is wanted
        winner = values.argmax(axis=0)
        nan = np.isnan(values)
        winner = np.where(nan.any(axis=0), len(taps) - 1 - nan[::-1].argmax(axis=0), winner)
        y[:, p, q] = np.take_along_axis(values, winner[None], axis=0)[0]
        argmax[:, p, q] = np.array([place for _, _, place in taps])[winner]
    return y, argmax


def max_backward(
    dy: np.ndarray, argmax: np.ndarray, rows: int, cols: int, window: int, stride: int, pad: int
) -> np.ndarray:
    n, _, _, channels = dy.shape
    dx = np.zeros((n, rows, cols, channels))
    for p, q, taps in _windows(rows, cols, window, stride, pad):
        for h, w, place in taps:
            dx[:, h, w] += dy[:, p, q] * (argmax[:, p, q] == place)
    return dx
