"""Temperature scaling: one number, fitted on validation data, that makes probabilities honest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._shared import checked_labels, expect_shape


def temperature_scale(logits: np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """The temperature T for which softmax(logits / T) fits the labels best (least cross-entropy).

    Parameters
    ----------
    logits : ndarray of shape (N, K)
        Of the validation set.
    labels : array-like of shape (N,), int

    Returns
    -------
    float
        Between 0.01 and 100; 1 when nothing can be fitted. Cross-entropy is convex in 1 / T, so its slope is bisected.

    Examples
    --------
    >>> logits = np.array([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])  # too sure: one of four is wrong
    >>> round(temperature_scale(logits, [0, 0, 1, 1]), 1)
    8.2
    """
    logits = expect_shape("logits", logits, (None, None))
    if logits.shape[1] < 2:
        raise ValueError(f"logits: expected shape (N, K) with 2 classes or more, got {logits.shape}")
    labels = checked_labels(labels, *logits.shape)
    if not len(labels):
        raise ValueError("labels: expected at least one image, got none")
    faulty = ~np.isfinite(logits).all(axis=1)
    if faulty.any():
        raise ValueError(
            f"logits: expected finite values; {faulty.sum():,} of {len(faulty):,} rows are not, the first is row "
            f"{faulty.argmax()}"
        )
    chosen = logits[np.arange(len(labels)), labels]

    def slope(beta: float) -> float:
        scaled = beta * (logits - logits.max(axis=1, keepdims=True))
        weights = np.exp(scaled)
        weights /= weights.sum(axis=1, keepdims=True)
        return float(((weights * logits).sum(axis=1) - chosen).mean())

    low, high = 1e-2, 1e2
    if np.ptp(logits, axis=1).max() == 0:
        return 1.0
    if slope(low) >= 0:
        return 1 / low
    if slope(high) <= 0:
        return 1 / high
    for _ in range(80):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))
