"""Looks at an embedding while it is learnt: nearest neighbours, and whether it collapses."""

from __future__ import annotations

import numpy as np

KS = (1, 10, 50, 100)


def knn_accuracy(
    train: np.ndarray, train_labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray, ks: tuple[int, ...] = KS
) -> dict[int, float]:
    """Accuracy of k nearest neighbours by cosine: fitted on training embeddings, scored on validation images.

    Parameters
    ----------
    train, val : ndarray of shape (n, D)
    train_labels, val_labels : ndarray of shape (n,), int
    ks : tuple of int
        Those above the number of training images are left out.

    Returns
    -------
    dict of int to float
        k to accuracy.

    Examples
    --------
    >>> points, labels = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), np.array([0, 0, 1])
    >>> knn_accuracy(points, labels, np.array([[1.0, 0.2]]), np.array([0]), ks=(1,))
    {1: 1.0}
    """
    from sklearn.neighbors import KNeighborsClassifier

    scores = {}
    for k in ks:
        if k <= len(train):
            model = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(train, train_labels)
            scores[k] = float(np.mean(model.predict(val) == val_labels))
    return scores


def embedding_spread(embeddings: np.ndarray) -> float:
    """Deviation of unit embeddings by coordinate, times sqrt(D): 1 on an even sphere, 0 when all are the same point."""
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    return float(np.mean(unit.std(axis=0)) * np.sqrt(unit.shape[1]))
