"""Batch normalisation in float64, after Ioffe and Szegedy (ICML 2015), algorithm 1; x is (groups, rows, C)."""

from __future__ import annotations

import numpy as np


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    mean = x.mean(axis=1)
    return mean, ((x - mean[:, None]) ** 2).mean(axis=1)


def forward(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float, relu: bool = False) -> np.ndarray:
    mean, var = statistics(x)
    y = gamma * (x - mean[:, None]) / np.sqrt(var[:, None] + eps) + beta
    return np.maximum(y, 0) if relu else y


def backward(
    dy: np.ndarray, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float, relu: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dgamma and dbeta by the chain of section 3, with the mean's and the variance's gradients spelled out."""
    dy, x = dy.astype(np.float64), x.astype(np.float64)
    if relu:
        dy = dy * (forward(x, gamma, beta, eps) > 0)
    rows = x.shape[1]
    mean, var = statistics(x)
    apart, spread = x - mean[:, None], var[:, None] + eps
    dxhat = dy * gamma
    dvar = (dxhat * apart * -0.5 * spread**-1.5).sum(axis=1, keepdims=True)
    dmean = (-dxhat / np.sqrt(spread)).sum(axis=1, keepdims=True) - 2 * dvar * apart.mean(axis=1, keepdims=True)
    dx = dxhat / np.sqrt(spread) + dvar * 2 * apart / rows + dmean / rows
    return dx, (dy * apart / np.sqrt(spread)).sum(axis=(0, 1)), dy.sum(axis=(0, 1))
