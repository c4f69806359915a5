"""Probes of frozen features for many draws of labelled subjects at once.

A draw labels a few of a fold's training subjects. Both probes see features only through their inner products, so one
Gram matrix a fold serves every draw, every number of labels and both probes, and a draw of n subjects costs one n x n
system.

Linear probe: ridge regression of one-hot classes with balanced class weights and an intercept, in its dual form
(Saunders, Gammerman and Vovk, "Ridge regression learning algorithm in dual variables", ICML 1998). With w_i the weight
of labelled subject i, K the Gram matrix centred by the weighted mean and Y the centred targets,

    alpha = (K + penalty diag(1 / (n w)))^-1 Y,    scores(x) = weighted mean of the targets + K(x, labelled) alpha.

Nearest neighbours: the k = round(sqrt(n)) labelled subjects most similar by cosine vote, each divided by its class's
share of the labels and weighed by exp(similarity / TEMPERATURE) as in Wu, Xiong, Yu and Lin, "Unsupervised feature
learning via non-parametric instance discrimination", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._shared import CurveProbe

PENALTY = 1.0
"""Of the ridge, for features that are standardised and divided by the square root of their number."""

TEMPERATURE = 0.1
CHUNK_BYTES = 1 << 26
"""Bound of the systems that are solved at a time."""


@dataclass(frozen=True, eq=False)
class Gram:
    """Inner products of one fold's subjects.

    Attributes
    ----------
    train : ndarray of shape (T, T), float64
        Between training subjects.
    test : ndarray of shape (S, T), float64
        Of test subjects with training subjects.
    test_norms : ndarray of shape (S,), float64
        Squared lengths of the test subjects.
    """

    train: np.ndarray
    test: np.ndarray
    test_norms: np.ndarray

    @classmethod
    def of(cls, train: np.ndarray, test: np.ndarray) -> Gram:
        """From features (T, D) and (S, D), standardised by the training subjects, whose labels are not needed for it.

        Features that are constant over the training subjects count as zero.
        """
        mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
        scale = np.where(deviation > 1e-6 * np.abs(mean) + 1e-12, deviation, np.inf) * np.sqrt(train.shape[1])
        a, b = (train - mean) / scale, (test - mean) / scale
        return cls(a @ a.T, b @ a.T, np.einsum("sd,sd->s", b, b))


def ridge_scores(
    gram: Gram, labels: np.ndarray, draws: np.ndarray, n_classes: int, penalty: float = PENALTY
) -> np.ndarray:
    """Scores of test subjects by ridge regression, one model a draw.

    Parameters
    ----------
    gram : Gram
    labels : ndarray of shape (T,), int
        Classes of the training subjects; only those of labelled ones are used.
    draws : ndarray of shape (B, n), int
        The labelled training subjects of each draw.
    n_classes : int
    penalty : float

    Returns
    -------
    ndarray of shape (B, S, n_classes), float64
        Higher for more likely classes; -inf for classes without a labelled subject.
    """
    n = draws.shape[1]
    step = max(1, CHUNK_BYTES // (8 * n * (n + len(gram.test))))
    parts = [_ridge_chunk(gram, labels, draws[i : i + step], n_classes, penalty) for i in range(0, len(draws), step)]
    return np.concatenate(parts)


def _ridge_chunk(gram: Gram, labels: np.ndarray, draws: np.ndarray, n_classes: int, penalty: float) -> np.ndarray:
    n = draws.shape[1]
    one_hot = np.eye(n_classes)[labels[draws]]
    counts = one_hot.sum(axis=1)
    weights = _class_weights(labels[draws], counts)
    inner = gram.train[draws[:, :, None], draws[:, None, :]]
    cross = np.moveaxis(gram.test[:, draws], 0, 1)
    towards_mean = np.einsum("bij,bj->bi", inner, weights)
    mean_norm = np.einsum("bi,bi->b", towards_mean, weights)
    centred = inner - towards_mean[:, :, None] - towards_mean[:, None, :] + mean_norm[:, None, None]
    test_towards_mean = np.einsum("bsj,bj->bs", cross, weights)
    cross = cross - test_towards_mean[:, :, None] - towards_mean[:, None, :] + mean_norm[:, None, None]
    mean_target = np.einsum("bi,bic->bc", weights, one_hot)
    diagonal = np.arange(n)
    centred[:, diagonal, diagonal] += penalty / (n * weights)
    alpha = np.linalg.solve(centred, one_hot - mean_target[:, None, :])
    scores = mean_target[:, None, :] + cross @ alpha
    return np.where(counts[:, None, :] > 0, scores, -np.inf)


def _class_weights(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Weights (B, n) that give every class present the same sum, and sum to 1."""
    mine = np.take_along_axis(counts, labels, axis=1)
    return 1 / (mine * (counts > 0).sum(axis=1, keepdims=True))


def neighbour_scores(gram: Gram, labels: np.ndarray, draws: np.ndarray, n_classes: int) -> np.ndarray:
    """Scores of test subjects by their nearest labelled subjects; arguments and result as for `ridge_scores`."""
    n = draws.shape[1]
    k = max(1, round(np.sqrt(n)))
    lengths = np.sqrt(np.maximum(np.einsum("tt->t", gram.train), 1e-30))
    cosine = gram.test / np.sqrt(np.maximum(gram.test_norms, 1e-30))[:, None] / lengths
    drawn = np.moveaxis(cosine[:, draws], 0, 1)
    one_hot = np.eye(n_classes)[labels[draws]]
    counts = one_hot.sum(axis=1)
    kth = np.partition(drawn, n - k, axis=2)[:, :, n - k, None]
    votes = np.where(drawn >= kth, np.exp((drawn - 1) / TEMPERATURE), 0.0)
    scores = (votes * _class_weights(labels[draws], counts)[:, None, :]) @ one_hot
    return np.where(counts[:, None, :] > 0, scores / scores.sum(axis=2, keepdims=True), -np.inf)


PROBES: dict[CurveProbe, Callable[..., np.ndarray]] = {"linear": ridge_scores, "knn": neighbour_scores}
"""The probes by name."""
