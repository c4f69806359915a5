"""Metrics of one sample and of a thousand weighted resamples of it at once.

A bootstrap sample of subjects is a weight for each (_resampling.py). All metrics here are functions of weighted
sums, so that all samples are computed together: confusion matrices are one matrix product, the area under the curve is
a weighted rank statistic over images sorted once. With all weights 1 each equals scikit-learn's value: a test checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn import metrics as sk

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "kappa", "brier", "ece")


N_BINS = 15
"""Bins of equal width of the expected calibration error, as in Guo et al. 2017."""


CHUNK = 1 << 22
"""Weights handled at a time in the rank statistic: 32 MB of float64."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Labels of shape (N,) and probabilities of shape (N, K)."""

    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def n_classes(self) -> int:
        """K, whether or not all of them occur."""
        return self.probabilities.shape[1]

    @cached_property
    def predicted(self) -> np.ndarray:
        """The most probable class."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def squared_error(self) -> np.ndarray:
        """Each image's sum of squared differences from the one-hot label."""
        return ((self.probabilities - np.eye(self.n_classes)[self.labels]) ** 2).sum(axis=1)

    @cached_property
    def bins(self) -> np.ndarray:
        """The calibration bin of each image, by the confidence of its prediction."""
        return np.clip(np.ceil(self.probabilities.max(axis=1) * N_BINS).astype(int) - 1, 0, N_BINS - 1)

    def confusion(self) -> np.ndarray:
        """ndarray of shape (K, K): rows are labels, columns predictions."""
        return sk.confusion_matrix(self.labels, self.predicted, labels=range(self.n_classes))


def evaluate_sample(sample: Sample, *, only: str | None = None) -> dict[str, float | np.ndarray]:
    """All metrics of a sample, by scikit-learn where it has them; recall and precision as arrays of shape (K,).

    `only` leaves out what this metric does not need.
    """
    present = np.unique(sample.labels)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        sample.labels, sample.predicted, labels=range(sample.n_classes), zero_division=0
    )
    named = np.bincount(sample.predicted, minlength=sample.n_classes)
    out: dict[str, float | np.ndarray] = {
        "accuracy": float((sample.labels == sample.predicted).mean()),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
        "recall": np.where(support > 0, recall, np.nan),
        "precision": np.where(named > 0, precision, np.nan),
        "brier": float(sample.squared_error.mean()),
    }
    if only in (None, "auc"):
        out["auc"] = _auc(sample, present)
    if only in (None, "kappa"):
        out["kappa"] = _kappa(sample)
    if only in (None, "ece"):
        out["ece"] = float(_calibration_error(sample, np.ones((1, len(sample.labels))))[0])
    return out


def _auc(sample: Sample, present: np.ndarray) -> float:
    """One against the rest, the mean over the classes that occur; of two classes, the second against the first."""
    if len(present) < 2:
        return float("nan")
    chosen = [1] if sample.n_classes == 2 else present
    return float(np.mean([sk.roc_auc_score(sample.labels == c, sample.probabilities[:, c]) for c in chosen]))


def _kappa(sample: Sample) -> float:
    if len(np.union1d(sample.labels, sample.predicted)) < 2:
        return float("nan")
    return float(
        sk.cohen_kappa_score(sample.labels, sample.predicted, labels=list(range(sample.n_classes)), weights="quadratic")
    )


def confusion_metrics(sample: Sample, weights: np.ndarray, *, only: str | None = None) -> dict[str, np.ndarray]:
    """All metrics of weighted samples.

    Parameters
    ----------
    sample : Sample
    weights : ndarray of shape (B, N)
    only : str or None
        Leaves out what this metric does not need.

    Returns
    -------
    dict of str to ndarray of shape (B,) or, for recall and precision, (B, K)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        out = _from_confusion(sample, weights)
        if only in (None, "brier"):
            out["brier"] = weights @ sample.squared_error / weights.sum(axis=1)
        if only in (None, "ece"):
            out["ece"] = _calibration_error(sample, weights)
        if only in (None, "auc"):
            out["auc"] = _weighted_auc(sample, weights)
    return out


def _from_confusion(sample: Sample, weights: np.ndarray) -> dict[str, np.ndarray]:
    k = sample.n_classes
    cells = np.zeros((len(sample.labels), k * k), np.float32)
    cells[np.arange(len(sample.labels)), sample.labels * k + sample.predicted] = 1
    confusion = (weights.astype(np.float32) @ cells).astype(np.float64).reshape(-1, k, k)
    total = confusion.sum(axis=(1, 2))
    rows, columns = confusion.sum(axis=2), confusion.sum(axis=1)
    hits = np.einsum("bkk->bk", confusion)
    recall = hits / rows
    f1 = np.where(rows > 0, 2 * hits / (rows + columns), np.nan)
    distance = np.subtract.outer(np.arange(k), np.arange(k)) ** 2.0
    expected = np.einsum("bi,bj,ij->b", rows, columns, distance) / total
    return {
        "accuracy": hits.sum(axis=1) / total,
        "balanced_accuracy": np.nanmean(recall, axis=1),
        "macro_f1": np.nanmean(f1, axis=1),
        "kappa": 1 - np.einsum("bij,ij->b", confusion, distance) / expected,
        "recall": recall,
        "precision": hits / columns,
    }


def _calibration_error(sample: Sample, weights: np.ndarray) -> np.ndarray:
    """Mean over the bins of |share correct - mean confidence|, weighted by their sizes."""
    gap = (sample.predicted == sample.labels) - sample.probabilities.max(axis=1)
    by_bin = np.zeros((len(gap), N_BINS), np.float64)
    by_bin[np.arange(len(gap)), sample.bins] = gap
    return np.abs(weights @ by_bin).sum(axis=1) / weights.sum(axis=1)


def _weighted_auc(sample: Sample, weights: np.ndarray) -> np.ndarray:
    k = sample.n_classes
    step = max(1, CHUNK // max(1, len(sample.labels)))
    blocks = []
    for start in range(0, len(weights), step):
        block = weights[start : start + step].astype(np.float64)
        each = [weighted_auc(sample, c, block) for c in ([1] if k == 2 else range(k))]
        blocks.append(np.stack(each))
    values = np.concatenate(blocks, axis=1)
    found = ~np.isnan(values)
    n = found.sum(axis=0)
    return np.where(n > 0, np.where(found, values, 0).sum(axis=0) / np.maximum(n, 1), np.nan)


def weighted_auc(sample: Sample, c: int, weights: np.ndarray) -> np.ndarray:
    """P(score of a positive > score of a negative) + P(equal) / 2, over weighted pairs; ndarray of shape (B,)."""
    scores = sample.probabilities[:, c]
    order = np.argsort(scores, kind="stable")
    positive = (sample.labels == c)[order]
    ends = np.flatnonzero(np.diff(scores[order], append=np.inf))
    sorted_weights = weights[:, order]
    negatives = np.cumsum(sorted_weights * ~positive, axis=1)[:, ends]
    positives = np.diff(np.cumsum(sorted_weights * positive, axis=1)[:, ends], axis=1, prepend=0.0)
    below = np.concatenate([np.zeros((len(weights), 1)), negatives[:, :-1]], axis=1)
    pairs = positives.sum(axis=1) * negatives[:, -1]
    return (positives * (below + negatives)).sum(axis=1) / (2 * pairs)
