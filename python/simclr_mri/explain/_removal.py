"""What is left of a class's probability when the hottest or the coldest pixels are taken away."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._result import CamResult

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


NOISE = 0.01  # deviation of the noise on filled pixels, of the range of an image: as in ROAD's own code


# Weights of ROAD's linear imputation: a pixel is this mean of its neighbours.
_NEIGHBOURS = [(0, 1, 1 / 6), (0, -1, 1 / 6), (1, 0, 1 / 6), (-1, 0, 1 / 6)]
_NEIGHBOURS += [(1, 1, 1 / 12), (1, -1, 1 / 12), (-1, 1, 1 / 12), (-1, -1, 1 / 12)]


def removal_curves(model: Any, cams: CamResult, fractions: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the explained class without the hottest, and without the coldest, pixels: two of (N, F)."""
    n, height, width = cams.maps.shape
    rng = np.random.default_rng((seed, 1))
    ties = rng.random((n, height * width))  # large parts of a map are equally cold
    hottest_first = np.lexsort((ties, -cams.maps.reshape(n, -1)), axis=1)
    curves = []
    for order in (hottest_first, hottest_first[:, ::-1]):
        columns = []
        for fraction in fractions:
            removed = np.zeros((n, height * width), bool)
            np.put_along_axis(removed, order[:, : round(fraction * height * width)], True, axis=1)
            filled = [
                impute(image, gone.reshape(height, width), rng) if gone.any() else image
                for image, gone in zip(cams.images, removed, strict=True)
            ]
            columns.append(model.predict_proba(np.stack(filled))[np.arange(n), cams.targets])
        curves.append(np.stack(columns, axis=1))
    return curves[0], curves[1]


def impute(image: np.ndarray, removed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fills removed pixels: each is the weighted mean of its eight neighbours, all at once, and a little noise.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), uint8
    removed : ndarray of shape (H, W), bool
        Not all of them.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (H, W, C), uint8
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import splu

    y, x = np.nonzero(removed)
    n = len(y)
    number = np.full((removed.shape[0] + 2, removed.shape[1] + 2), -1)  # of an unknown; -1 known; -2 outside
    number[[0, -1]] = number[:, [0, -1]] = -2
    number[y + 1, x + 1] = np.arange(n)
    values = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    diagonal, right = np.zeros(n), np.zeros((n, image.shape[2]))
    rows, columns, weights = [np.arange(n)], [np.arange(n)], [diagonal]
    for dy, dx, weight in _NEIGHBOURS:
        other = number[y + 1 + dy, x + 1 + dx]
        diagonal[other > -2] += weight
        known = np.flatnonzero(other == -1)
        right[known] += weight * values[y[known] + 1 + dy, x[known] + 1 + dx]
        unknown = np.flatnonzero(other >= 0)
        rows.append(unknown)
        columns.append(other[unknown])
        weights.append(np.full(len(unknown), -weight))
    system = coo_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (n, n)).tocsc()
    # The system is symmetric and positive definite: an ordering for such, and no pivoting.
    solved = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)
    out = image.copy()
    out[y, x] = np.clip(solved + rng.normal(0, 255 * NOISE, right.shape), 0, 255).round()
    return out
