"""Metrics that survive a 50 : 1 imbalance, per slice and per subject, with intervals over subjects.

The classes are unequal and ordered, and slices of one head are not independent. So: balanced accuracy, macro F1, recall
and precision by class with their n, area under the curve, quadratic-weighted kappa, Brier score, expected calibration
error; per subject too (the mean of its slices' probabilities); intervals by bootstrap over subjects; always beside the
accuracy of naming the largest class. Values are scikit-learn's where it has the metric; a class that does not occur in
the labels is left out of the averages, and a note says so.

References
----------
Guo et al., On calibration of modern neural networks, ICML 2017 (ECE, temperature scaling).
Efron and Tibshirani, An introduction to the bootstrap, 1993 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._bootstrap import METRICS, Sample, bootstrap_weights, confusion_metrics, evaluate_sample
from ._records import ClassResult, Estimate, Evaluation, Level


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes that occur in `labels`; predictions of other classes are just wrong.

    Parameters
    ----------
    labels, predicted : ndarray of shape (n,), int

    Examples
    --------
    >>> balanced_accuracy(np.array([0, 0, 1]), np.array([0, 2, 1]))
    0.75
    """
    from sklearn.metrics import recall_score

    present = np.unique(labels)
    return float(recall_score(labels, predicted, labels=present, average="macro", zero_division=0))


def evaluate_predictions(
    labels: Sequence[int] | np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray | None = None,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Judges predicted probabilities.

    Parameters
    ----------
    labels : array-like of shape (N,), int
        Index into `classes`.
    probabilities : ndarray of shape (N, K)
        Rows sum to 1.
    classes : sequence of K str
        In order of severity, for the kappa.
    subjects : array-like of shape (N,), str, or None
        None leaves out the results per subject, and the bootstrap is over images: too narrow if images of one head
        recur, as a note says.
    n_bootstrap : int
        Samples for the 95 % percentile intervals; 0 for none.
    seed : int

    Returns
    -------
    Evaluation

    Examples
    --------
    >>> probabilities = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]
    >>> found = evaluate_predictions([0, 0, 1, 1], probabilities, ("well", "sick"), n_bootstrap=0)
    >>> float(found["balanced_accuracy"])
    0.75
    """
    if n_bootstrap < 0:
        raise ValueError(f"n_bootstrap: expected 0 (no intervals) or more, got {n_bootstrap}")
    labels, probabilities = checked_predictions(labels, probabilities, len(classes))
    classes = tuple(classes)
    notes = _notes(labels, classes, subjects)
    groups = np.arange(len(labels)) if subjects is None else np.unique(np.asarray(subjects), return_inverse=True)[1]
    weights = bootstrap_weights(int(groups.max()) + 1, n_bootstrap, seed)
    slices = _level(Sample(labels, probabilities), weights[:, groups], classes)
    per_subject = None
    if subjects is not None:
        subject_labels, means, mixed = pool_subjects(labels, probabilities, groups)
        if mixed:
            notes.append(f"{mixed} subjects have images of several classes; each counts as its most frequent one.")
        per_subject = _level(Sample(subject_labels, means), weights, classes)
    return Evaluation(
        classes,
        slices,
        per_subject,
        n_bootstrap,
        "images" if subjects is None else "subjects",
        tuple(notes),
        labels,
        probabilities,
        None if subjects is None else np.asarray(subjects),
    )


def pool_subjects(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """The label and the mean probabilities of each subject, and how many subjects have several labels.

    Parameters
    ----------
    labels : ndarray of shape (N,), int
    probabilities : ndarray of shape (N, K)
    groups : ndarray of shape (N,), int
        Subject number, from 0.
    """
    n, k = int(groups.max()) + 1, probabilities.shape[1]
    sums, votes = np.zeros((n, k)), np.zeros((n, k), np.int64)
    np.add.at(sums, groups, probabilities)
    np.add.at(votes, (groups, labels), 1)
    return votes.argmax(axis=1), sums / votes.sum(axis=1, keepdims=True), int(((votes > 0).sum(axis=1) > 1).sum())


def _level(sample: Sample, weights: np.ndarray, classes: tuple[str, ...]) -> Level:
    point = evaluate_sample(sample)
    drawn = confusion_metrics(sample, weights) if len(weights) else {}
    metrics = {name: percentile_interval(point[name], drawn.get(name)) for name in METRICS}
    confusion = sample.confusion().astype(np.int64)
    counts, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    by_class = tuple(
        ClassResult(
            name,
            int(counts[i]),
            int(predicted[i]),
            percentile_interval(point["recall"][i], drawn["recall"][:, i] if drawn else None),
            percentile_interval(point["precision"][i], drawn["precision"][:, i] if drawn else None),
        )
        for i, name in enumerate(classes)
    )
    return Level(len(sample.labels), metrics, by_class, confusion, float(counts.max() / counts.sum()))


def percentile_interval(value: float, drawn: np.ndarray | None) -> Estimate:
    if drawn is None or np.isnan(value) or np.all(np.isnan(drawn)):
        return Estimate(float(value))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def checked_predictions(
    labels: Sequence[int] | np.ndarray, probabilities: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if k < 2:
        raise ValueError(f"classes: expected at least 2, got {k}; one class cannot be told from nothing")
    if probabilities.ndim != 2 or probabilities.shape[1] != k:
        raise ValueError(f"probabilities: expected shape (N, {k}), got {probabilities.shape}")
    if labels.shape != probabilities.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels: expected {len(probabilities)} integers, got {labels.dtype} of shape {labels.shape}")
    if not len(labels):
        raise ValueError("labels: expected at least one image, got none")
    if labels.min() < 0 or labels.max() >= k:
        raise ValueError(f"labels: expected 0 to {k - 1}, got {labels.min()} to {labels.max()}")
    if not np.all(np.isfinite(probabilities)) or np.any(np.abs(probabilities.sum(axis=1) - 1) > 1e-3):
        raise ValueError("probabilities: expected finite rows that sum to 1")
    return labels.astype(np.int64), probabilities


def _notes(labels: np.ndarray, classes: tuple[str, ...], subjects: object) -> list[str]:
    notes = []
    absent = [name for i, name in enumerate(classes) if not np.any(labels == i)]
    if absent:
        notes.append(
            f"No image is of class {', '.join(absent)}: balanced accuracy, macro F1 and the area under the curve are "
            f"means over the other {len(classes) - len(absent)}."
        )
    if subjects is None:
        notes.append("Subjects are unknown: if images of one head recur, the intervals are too narrow.")
    return notes


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of rows of logits, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
