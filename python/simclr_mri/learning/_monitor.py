"""Looks at an embedding while it is learnt: what a simple classifier reads from it, and whether it collapses.

With unit rows u, and u and v the two views of an image (Wang and Isola, "Understanding contrastive representation
learning through alignment and uniformity on the hypersphere", ICML 2020):

    alignment     mean |u - v|^2                                0 is best: views of an image are one point
    uniformity    log mean over i < j of exp(-2 |u_i - u_j|^2)  -4 is an even sphere, 0 is one point: collapse
    spread        sqrt(D) x deviation of u by coordinate        1 is an even sphere, 0 is one point: collapse
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .._shared import Record

KS = (1, 10, 50, 100)


COLLAPSED_SPREAD = 0.1  # embeddings that fill less than a hundredth (0.1 squared) of the variance of an even sphere


UNIFORMITY_ROWS = 256  # of a view: 32,640 pairs tell the mean, and large batches stay cheap


RIDGE = 0.1  # penalty of the probe on standardised features, relative to the number of images


class CollapseWarning(UserWarning):
    """The embeddings of different images have become the same."""


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


def probe_balanced_accuracy(
    train: np.ndarray, train_labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray
) -> float:
    """Balanced accuracy of a linear probe: ridge regression with balanced classes on standardised features.

    In closed form, so that it may be asked after any epoch; `LinearProbe` is the one to publish.

    Parameters
    ----------
    train, val : ndarray of shape (n, D)
    train_labels, val_labels : ndarray of shape (n,), int

    Returns
    -------
    float
        NaN if the training images are of one class.

    Examples
    --------
    >>> points, labels = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), np.array([0, 0, 1])
    >>> probe_balanced_accuracy(points, labels, points, labels)
    1.0
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.metrics import recall_score

    if len(np.unique(train_labels)) < 2:
        return float("nan")
    mean, deviation = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-6)
    model = RidgeClassifier(RIDGE * len(train), class_weight="balanced").fit((train - mean) / deviation, train_labels)
    predicted = model.predict((val - mean) / deviation)
    return float(recall_score(val_labels, predicted, labels=np.unique(val_labels), average="macro"))


@dataclass(frozen=True)
class Collapse(Record):
    """How the embeddings of one batch lie on the sphere; the formulas are at the top of this file.

    Attributes
    ----------
    spread, alignment, uniformity : float

    Examples
    --------
    >>> views = np.random.default_rng(0).normal(size=(64, 8))  # nothing in common, and evenly spread
    >>> found = Collapse.of(views)
    >>> round(found.spread), found.is_collapsed
    (1, False)
    """

    spread: float
    alignment: float
    uniformity: float

    @classmethod
    def of(cls, embeddings: np.ndarray) -> Collapse:
        """Measures a batch.

        Parameters
        ----------
        embeddings : ndarray of shape (2 N, D)
            Rows i and i + N are the two views of an image, as `Trainer.output()` has them after `simclr_step`.

        Examples
        --------
        >>> Collapse.of(np.ones((4, 8))).is_collapsed
        True
        """
        unit = _unit(embeddings)
        n = len(unit) // 2
        one, two = unit[:n], unit[n:]
        alignment = float(np.mean(((one - two) ** 2).sum(axis=1)))
        return cls(_spread(unit), alignment, (_uniformity(one) + _uniformity(two)) / 2)

    @property
    def is_collapsed(self) -> bool:
        return self.spread < COLLAPSED_SPREAD

    as_dict = asdict


def embedding_spread(embeddings: np.ndarray) -> float:
    """Deviation of unit embeddings by coordinate, times sqrt(D): 1 on an even sphere, 0 when all are the same point."""
    return _spread(_unit(embeddings))


def standardized(embeddings: np.ndarray) -> np.ndarray:
    """Columns shifted and scaled to mean 0 and deviation 1, with batch norm's floor of 1e-5 on the variance.

    Parameters
    ----------
    embeddings : ndarray of shape (n, D)

    Returns
    -------
    ndarray of shape (n, D)

    Examples
    --------
    >>> standardized(np.array([[1.0, 5.0], [3.0, 5.0]])).round(3)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    return (embeddings - embeddings.mean(axis=0)) / np.sqrt(embeddings.var(axis=0) + 1e-5)


def chance_loss(n_pairs: int, groups: np.ndarray | None = None) -> float:
    """NT-Xent of an embedding that knows nothing: the mean logarithm of the number of images that a row is told from.

    ln(2N - 1) where every other image counts; less where those of the same group do not.

    Parameters
    ----------
    n_pairs : int
    groups : ndarray of shape (2 N,), int, optional

    Examples
    --------
    >>> round(chance_loss(32), 3)  # ln 63
    4.143
    """
    if groups is None:
        return float(np.log(2 * n_pairs - 1))
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return float(np.mean(np.log(len(groups) - counts[inverse] + 1)))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _spread(unit: np.ndarray) -> float:
    return float(np.mean(unit.std(axis=0)) * np.sqrt(unit.shape[1]))


def _uniformity(unit: np.ndarray) -> float:
    """0 for a single row, which has no pairs."""
    unit = unit[:UNIFORMITY_ROWS].astype(np.float64)
    n = len(unit)
    if n < 2:
        return 0.0
    kernel = np.exp(4 * (unit @ unit.T - 1))  # |u - v|^2 = 2 - 2 u.v
    return float(np.log(max(kernel.sum() - np.trace(kernel), 1e-300) / (n * (n - 1))))
