"""Winograd's convolution F(4x4, 3x3) in float64, built from its points, and magnitudes of its sums."""

from __future__ import annotations

import numpy as np

POINTS = (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)  # and infinity
OUT, WINDOW = 4, 3
IN = OUT + WINDOW - 1


def matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T [4, 6], G [6, 3] and B^T [6, 6]: evaluation at the points, and interpolation through them.

    Row i of B^T holds the coefficients of the product of (x - p) over the points p other than point i, row i of G the
    powers of point i divided by that product at point i. The point at infinity is the highest coefficient.
    """
    a_t, g, b_t = np.zeros((OUT, IN)), np.zeros((IN, WINDOW)), np.zeros((IN, IN))
    for i, point in enumerate(POINTS):
        others = np.poly([p for p in POINTS if p != point])[::-1]
        b_t[i, : others.size] = others
        a_t[:, i] = point ** np.arange(OUT)
        g[i] = point ** np.arange(WINDOW) / np.polynomial.polynomial.polyval(point, others)
    b_t[-1] = np.poly(POINTS)[::-1]
    a_t[-1, -1] = g[-1, -1] = 1.0
    return a_t, g, b_t


def _tiles(x: np.ndarray, pad: int, rows: int, cols: int, side: int) -> np.ndarray:
    """[N, rows, cols, C, side, side]: the tiles whose corners lie 4 pixels apart, zeros outside of the image."""
    need = (OUT * (rows - 1) + side, OUT * (cols - 1) + side)
    after = [max(0, n - pad - size) for n, size in zip(need, x.shape[1:3], strict=True)]
    padded = np.pad(x, ((0, 0), (pad, after[0]), (pad, after[1]), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    return windows[:, ::OUT, ::OUT][:, :rows, :cols]


def _square(matrix: np.ndarray, tile: np.ndarray, absolute: bool) -> np.ndarray:
    """matrix tile matrix^T over the last two axes."""
    matrix = np.abs(matrix) if absolute else matrix
    return matrix @ tile @ matrix.T


def forward(x: np.ndarray, w: np.ndarray, pad: int, *, absolute: bool = False) -> np.ndarray:
    """y [N, P, Q, K] of x [N, H, W, C] and w [K, C, 3, 3].

    With `absolute`, the same sums with every number replaced by its absolute value: what rounding errors scale with.
    """
    x, w = (np.abs(a).astype(np.float64) if absolute else a.astype(np.float64) for a in (x, w))
    p, q = x.shape[1] + 2 * pad - 2, x.shape[2] + 2 * pad - 2
    rows, cols = -(-p // OUT), -(-q // OUT)
    a_t, g, b_t = matrices()
    v = _square(b_t, _tiles(x, pad, rows, cols, IN), absolute)
    y = _square(a_t, np.einsum("nijcab,kcab->nijkab", v, _square(g, w, absolute), optimize=True), absolute)
    return y.transpose(0, 1, 4, 2, 5, 3).reshape(len(x), rows * OUT, cols * OUT, len(w))[:, :p, :q]


def backward_data(dy: np.ndarray, w: np.ndarray, pad: int, *, absolute: bool = False) -> np.ndarray:
    """dx of the convolution with that padding: the forward one with the weights transposed and turned by half."""
    return forward(dy, w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], 2 - pad, absolute=absolute)


def backward_weights(x: np.ndarray, dy: np.ndarray, pad: int, *, absolute: bool = False) -> np.ndarray:
    """dw [K, C, 3, 3]."""
    x, dy = (np.abs(a).astype(np.float64) if absolute else a.astype(np.float64) for a in (x, dy))
    rows, cols = -(-dy.shape[1] // OUT), -(-dy.shape[2] // OUT)
    a_t, g, b_t = matrices()
    v = _square(b_t, _tiles(x, pad, rows, cols, IN), absolute)
    d = _square(a_t.T, _tiles(dy, 0, rows, cols, OUT), absolute)
    return _square(g.T, np.einsum("nijcab,nijkab->kcab", v, d, optimize=True), absolute)
