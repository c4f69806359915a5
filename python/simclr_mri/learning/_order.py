"""The order of an epoch's images: each once, or every class equally often."""

from __future__ import annotations

import numpy as np

_ORDER = 1  # keeps the order's random stream apart from others with the same seed and epoch


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of n images in an epoch, int64."""
    return np.random.default_rng((seed, epoch, _ORDER)).permutation(n)


def balanced_order(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """As many draws as images, every class as often as the others, in random order, int64.

    Draw d shows image d % n for the (d // n)-th time in this epoch, so that repeats can be augmented differently. No
    image of a class is drawn once more before all of them were; of a large class each epoch sees another part.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 1])
    >>> (labels[balanced_order(labels, 0, 0) % 6] == 1).sum()
    np.int64(3)
    """
    n, classes = len(labels), np.unique(labels)
    rng = np.random.default_rng((seed, epoch, _ORDER))
    quotas = np.full(len(classes), n // len(classes))
    quotas[rng.permutation(len(classes))[: n % len(classes)]] += 1
    draws = []
    for c, quota in zip(classes, quotas, strict=True):
        mine = np.flatnonzero(labels == c)
        rounds = -(-quota // len(mine))
        draws.append(np.concatenate([r * n + rng.permutation(mine) for r in range(rounds)])[:quota])
    return rng.permutation(np.concatenate(draws))


def batch_bounds(n: int, batch_size: int, drop_last: bool) -> list[tuple[int, int]]:
    """Start and end of each batch. A last batch of one image is dropped: batch norm cannot normalise it."""
    bounds = [(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    if len(bounds) > 1 and (bounds[-1][1] - bounds[-1][0] < (batch_size if drop_last else 2)):
        bounds.pop()
    return bounds
