"""Class activation maps in float64: one image's activations a and gradients g, each (h, w, C)."""

from __future__ import annotations

import numpy as np


def gradcam(a, g):
    return np.maximum(a @ g.mean(axis=(0, 1)), 0)


def gradcam_plus_plus(a, g):
    numerator, denominator = g**2, 2 * g**2 + g**3 * a.sum(axis=(0, 1))
    alpha = np.divide(numerator, denominator, out=np.zeros_like(g), where=denominator != 0)
    return np.maximum(a @ (alpha * np.maximum(g, 0)).sum(axis=(0, 1)), 0)


def hirescam(a, g):
    return np.maximum((a * g).sum(axis=2), 0)


def layercam(a, g):
    return np.maximum((a * np.maximum(g, 0)).sum(axis=2), 0)


def eigencam(a, g):
    matrix = a.reshape(-1, a.shape[2])
    scores = matrix @ np.linalg.svd(matrix, full_matrices=False)[2][0]
    return np.maximum(scores * (1 if scores.sum() >= 0 else -1), 0).reshape(a.shape[:2])


METHODS = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "hirescam": hirescam,
    "layercam": layercam,
    "eigencam": eigencam,
}


def upsample(maps: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Bilinear with half-pixel centres and clamped borders, as a product of two interpolation matrices."""

    def matrix(size_in: int, size_out: int) -> np.ndarray:
        at = np.clip((np.arange(size_out) + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
        return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size_in)[None]))

    return matrix(maps.shape[1], rows) @ maps @ matrix(maps.shape[2], cols).T
