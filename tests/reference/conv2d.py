"""Two-dimensional convolution (cross-correlation) and its gradients in float64, NHWC, one tap at a time."""

from __future__ import annotations

import numpy as np


def _out_size(size: int, window: int, stride: int, pad: int) -> int:
    return (size + 2 * pad - window) // stride + 1


def _taps(x: np.ndarray, r: int, s: int, rows: int, cols: int, stride: int) -> tuple[slice, slice]:
    return slice(r, r + stride * (rows - 1) + 1, stride), slice(s, s + stride * (cols - 1) + 1, stride)


def forward(x: np.ndarray, w: np.ndarray, stride: int, pad: int) -> np.ndarray:
    """y [N, P, Q, K] of x [N, H, W, C] and w [K, C, R, S]."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    n, h, width, _ = x.shape
    k, _, rows, cols = w.shape
    p, q = _out_size(h, rows, stride, pad), _out_size(width, cols, stride, pad)
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    y = np.zeros((n, p, q, k))
    for r in range(rows):
        for s in range(cols):
            i, j = _taps(padded, r, s, p, q, stride)
            y += padded[:, i, j] @ w[:, :, r, s].T
    return y


def backward_data(dy: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: int, pad: int) -> np.ndarray:
    """dx of the given shape [N, H, W, C]: the adjoint of `forward` in x."""
    dy, w = dy.astype(np.float64), w.astype(np.float64)
    n, h, width, c = shape
    _, p, q, _ = dy.shape
    padded = np.zeros((n, h + 2 * pad, width + 2 * pad, c))
    for r in range(w.shape[2]):
        for s in range(w.shape[3]):
            i, j = _taps(padded, r, s, p, q, stride)
            padded[:, i, j] += dy @ w[:, :, r, s]
    return padded[:, pad : pad + h, pad : pad + width]


def backward_weights(x: np.ndarray, dy: np.ndarray, window: tuple[int, int], stride: int, pad: int) -> np.ndarray:
    """dw [K, C, R, S]: the adjoint of `forward` in w."""
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    _, p, q, k = dy.shape
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    dw = np.zeros((k, x.shape[3], *window))
    for r in range(window[0]):
        for s in range(window[1]):
            i, j = _taps(padded, r, s, p, q, stride)
            dw[:, :, r, s] = np.tensordot(dy, padded[:, i, j], axes=([0, 1, 2], [0, 1, 2]))
    return dw
