"""The two losses in float64, written from their definitions; gradients come from finite differences in the tests."""

from __future__ import annotations

import numpy as np


def log_sum_exp(x: np.ndarray) -> float:
    top = x.max()
    return top + np.log(np.exp(x - top).sum())


def ntxent(z: np.ndarray, temperature: float, groups: np.ndarray | None = None) -> float:
    """Chen et al., ICML 2020, equation 1, row by row; rows of one group are no negatives of each other."""
    z = z.astype(np.float64)
    rows, pairs = len(z), len(z) // 2
    u = z / np.maximum(np.sqrt((z**2).sum(axis=1, keepdims=True)), 1e-12)
    total = 0.0
    for i in range(rows):
        positive = (i + pairs) % rows
        kept = [j for j in range(rows) if j == positive or (j != i and (groups is None or groups[j] != groups[i]))]
        similarity = np.array([u[i] @ u[j] for j in kept]) / temperature
        total += log_sum_exp(similarity) - similarity[kept.index(positive)]
    return total / rows


def ntxent_gradient(z: np.ndarray, temperature: float, groups: np.ndarray | None = None) -> np.ndarray:
    """The gradient by back-propagation through softmax, products and normalisation, one matrix at a time."""
    z = z.astype(np.float64)
    rows, pairs = len(z), len(z) // 2
    norm = np.maximum(np.sqrt((z**2).sum(axis=1, keepdims=True)), 1e-12)
    u = z / norm
    s = u @ u.T / temperature
    positive = (np.arange(rows) + pairs) % rows
    kept = np.ones((rows, rows), bool) if groups is None else groups[:, None] != groups[None]
    np.fill_diagonal(kept, False)
    kept[np.arange(rows), positive] = True
    s = np.where(kept, s, -np.inf)
    p = np.exp(s - s.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(rows), positive] -= 1
    ds = p / rows
    du = (ds + ds.T) @ u / temperature
    along = np.where(norm > 1e-12, (du * u).sum(axis=1, keepdims=True), 0)
    return (du - along * u) / norm


def standardize(z: np.ndarray) -> np.ndarray:
    """Batch norm without parameters: columns of mean 0 and variance var / (var + 1e-5)."""
    z = z.astype(np.float64)
    return (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)


def standardize_gradient(z: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The gradient of z by the rows' covariances, one column at a time: no formula of means."""
    z, dy, n = z.astype(np.float64), dy.astype(np.float64), len(z)
    dz = np.empty_like(z)
    for d in range(z.shape[1]):
        centred = z[:, d] - z[:, d].mean()
        variance = (centred**2).mean() + 1e-5
        jacobian = (np.eye(n) - 1 / n) / np.sqrt(variance) - np.outer(centred, centred) / (n * variance**1.5)
        dz[:, d] = jacobian.T @ dy[:, d]
    return dz


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, class_weights: np.ndarray | None = None, label_smoothing: float = 0.0
) -> float:
    """Soft targets (1 - e) one-hot + e / K, each class's term weighted; divided by the labels' weights."""
    logits = logits.astype(np.float64)
    k = logits.shape[1]
    weights = np.ones(k) if class_weights is None else class_weights.astype(np.float64)
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        log_p = row - log_sum_exp(row)
        target = np.full(k, label_smoothing / k)
        smooth = -(target * weights * log_p).sum()
        total += (1 - label_smoothing) * weights[label] * -log_p[label] + smooth
    return total / weights[labels].sum()
