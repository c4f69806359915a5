"""Alignment and uniformity in float64, pair by pair: Wang and Isola, ICML 2020, with alpha = t = 2."""

from __future__ import annotations

import numpy as np


def unit(z: np.ndarray) -> np.ndarray:
    return np.array([row / np.sqrt((row**2).sum()) for row in z.astype(np.float64)])


def alignment(z: np.ndarray) -> float:
    u, n = unit(z), len(z) // 2
    return float(np.mean([((u[i] - u[i + n]) ** 2).sum() for i in range(n)]))


def uniformity(z: np.ndarray) -> float:
    """Of one view."""
    u = unit(z)
    terms = [np.exp(-2 * ((u[i] - u[j]) ** 2).sum()) for i in range(len(u)) for j in range(i)]
    return float(np.log(np.mean(terms)))
