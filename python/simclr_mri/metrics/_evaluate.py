"""Metrics that survive a 50 : 1 imbalance, per slice and per subject, with intervals over subjects.

The classes are unequal and ordered, and slices of one subject are not independent. So: balanced accuracy, macro F1,
recall and precision by class with their n, area under the curve, quadratic-weighted kappa, Brier score, expected
calibration error; per subject too (the mean of its slices' probabilities); intervals by a bootstrap over the subjects
of each class (_resampling.py); always beside the accuracy of naming the largest class. Values are scikit-learn's where
it has the metric; a class that does not occur in the labels is left out of the averages, and a note says so.

References
----------
Guo et al., On calibration of modern neural networks, ICML 2017 (ECE, temperature scaling).
Rubin, The Bayesian bootstrap, Annals of Statistics 9, 1981 (intervals).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._shared import (
    as_column,
    checked_classes,
    checked_labels,
    checked_subjects,
    expect_shape,
    label_values,
    suggests_names,
)
from ._bootstrap import METRICS, Sample, evaluate_sample
from ._records import LEAST_SUBJECTS, ClassResult, Estimate, Evaluation, Level
from ._resampling import Resamples, draw_resamples, has_interval, interval

ROUNDING = 1e-3
"""How far from 1 a row of probabilities may sum: half-precision softmax is off by that."""


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

    labels, predicted = label_values(labels), label_values(predicted, "predicted")
    if len(labels) != len(predicted) or not len(labels):
        raise ValueError(f"predicted: expected one a label, of which there are {len(labels)}, got {len(predicted)}")
    present = np.unique(labels)
    return float(recall_score(labels, predicted, labels=present, average="macro", zero_division=0))


def balanced_accuracy_interval(
    labels: np.ndarray, predicted: np.ndarray, units: np.ndarray, k: int, *, n_bootstrap: int = 1000, seed: int = 0
) -> Estimate:
    """Balanced accuracy of rows with its 95 % interval over subjects, quicker than all of `evaluate_predictions`.

    Parameters
    ----------
    labels, predicted : ndarray of shape (N,), int
    units : ndarray of shape (N,), int
        Subject number of each row, from 0.
    k : int
        Number of classes.
    n_bootstrap, seed : int

    Examples
    --------
    >>> labels = np.repeat([0, 1], 10)
    >>> print(balanced_accuracy_interval(labels, np.roll(labels, 2), np.arange(20), 2))
    0.800 [0.579, 0.930]
    """
    confusion = np.zeros((int(units.max()) + 1, k, k))
    np.add.at(confusion, (units, labels, predicted), 1)
    strata = confusion.sum(axis=2).argmax(axis=1)
    drawn = draw_resamples(strata, k, n_bootstrap, seed)
    imagined = drawn.imagined.sum(axis=3) * (len(labels) / len(confusion))
    resampled = (drawn.weights @ confusion.reshape(len(confusion), -1)).reshape(-1, k, k) + imagined
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = np.einsum("bcc->bc", resampled) / resampled.sum(axis=2)
    value, counts = balanced_accuracy(labels, predicted), np.bincount(strata, minlength=k)
    return interval(value, np.nanmean(recalls, axis=1), has_interval("balanced_accuracy", counts))


@suggests_names
def evaluate_predictions(
    labels: Sequence[Any] | np.ndarray,
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
    labels : array-like of shape (N,)
        Index into `classes`, or their names.
    probabilities : ndarray of shape (N, K)
        Rows sum to 1.
    classes : sequence of K str
        In order of severity, for the kappa.
    subjects : array-like of shape (N,), str, or None
        None leaves out the results per subject, and the bootstrap is over images: too narrow if images of one subject
        recur, as a note says.
    n_bootstrap : int
        Resamples for the 95 % intervals; 0 for none.
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
    classes = checked_classes(classes)
    labels, probabilities = checked_predictions(labels, probabilities, classes)
    subjects = None if subjects is None else checked_subjects(subjects, len(labels))
    notes = _notes(labels, classes, subjects)
    groups = np.arange(len(labels)) if subjects is None else np.unique(subjects, return_inverse=True)[1]
    subject_labels, means, mixed = pool_subjects(labels, probabilities, groups)
    resamples = [
        draw_resamples(subject_labels, len(classes), n_bootstrap, seed, by_class=by_class) for by_class in (False, True)
    ]
    slices = _level(Sample(labels, probabilities), groups, subject_labels, resamples, classes)
    per_subject = None
    if subjects is not None:
        if mixed:
            notes.append(f"{mixed} subjects have images of several classes; each counts as its most frequent one.")
        units = np.arange(len(means))
        per_subject = _level(Sample(subject_labels, means), units, subject_labels, resamples, classes)
    return Evaluation(
        classes,
        slices,
        per_subject,
        int(n_bootstrap),
        "images" if subjects is None else "subjects",
        tuple(notes),
        labels,
        probabilities,
        subjects,
    )


def pool_subjects(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """The label and the mean probabilities of each subject, and how many subjects have several labels.

    Parameters
    ----------
    labels : ndarray of shape (N,), int
    probabilities : ndarray of shape (N, K)
    groups : ndarray of shape (N,), int or str
        Subject of each row.

    Returns
    -------
    labels : ndarray of shape (S,), int
        In the order of the sorted subjects; the one that most of a subject's images have.
    probabilities : ndarray of shape (S, K), float64
    n_mixed : int

    Examples
    --------
    >>> labels, probabilities, mixed = pool_subjects(
    ...     np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]), np.array([0, 0, 1])
    ... )
    >>> labels.tolist(), probabilities.tolist(), mixed
    ([0, 1], [[0.7, 0.3], [0.2, 0.8]], 0)
    """
    probabilities = expect_shape("probabilities", probabilities, (None, None))
    labels = checked_labels(labels, *probabilities.shape)
    if np.shape(groups) != labels.shape:
        raise ValueError(f"groups: expected {len(labels):,}, one an image, got shape {np.shape(groups)}")
    groups = np.unique(as_column(groups), return_inverse=True)[1]
    n, k = int(groups.max(initial=-1)) + 1, probabilities.shape[1]
    sums, votes = np.zeros((n, k)), np.zeros((n, k), np.int64)
    np.add.at(sums, groups, probabilities)
    np.add.at(votes, (groups, labels), 1)
    return votes.argmax(axis=1), sums / votes.sum(axis=1, keepdims=True), int(((votes > 0).sum(axis=1) > 1).sum())


def _level(
    sample: Sample, units: np.ndarray, strata: np.ndarray, resamples: list[Resamples], classes: tuple[str, ...]
) -> Level:
    """`units` (N,) says whose each row is, `strata` which class each subject counts as."""
    point: dict[str, Any] = evaluate_sample(sample)
    some = len(resamples[0].weights) > 0
    drawn = resamples[0].judge(sample, units) if some else {}
    each = resamples[1].judge(sample, units, only="recall") if some else {}
    subjects = np.bincount(strata, minlength=len(classes))
    metrics = {name: interval(point[name], drawn.get(name), has_interval(name, subjects)) for name in METRICS}
    confusion = sample.confusion().astype(np.int64)
    counts, predicted = confusion.sum(axis=1), confusion.sum(axis=0)

    def share(name: str, i: int, where: np.ndarray) -> Estimate:
        enough = len(np.unique(units[where == i])) >= LEAST_SUBJECTS
        return interval(point[name][i], each[name][:, i] if some else None, enough)

    by_class = tuple(
        ClassResult(
            name,
            int(counts[i]),
            int(predicted[i]),
            share("recall", i, sample.labels),
            share("precision", i, sample.predicted),
        )
        for i, name in enumerate(classes)
    )
    return Level(len(sample.labels), metrics, by_class, confusion, float(counts.max() / counts.sum()))


def checked_predictions(
    labels: Sequence[Any] | np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str] | int,
    *,
    name: str = "probabilities",
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 and probabilities as float64; ValueError that names what is wrong with them."""
    k = classes if isinstance(classes, int) else len(classes)
    if k < 2:
        raise ValueError(f"classes: expected at least 2, got {k}; there is nothing to tell one class from")
    if k == 2 and np.ndim(probabilities) == 1 and len(probabilities):
        raise ValueError(
            f"{name}: expected shape (N, 2), got {np.shape(probabilities)}. Of the second class's alone: "
            "np.column_stack([1 - p, p])"
        )
    probabilities = expect_shape(name, probabilities, (None, k))
    labels = checked_labels(labels, len(probabilities), classes)
    if not len(labels):
        raise ValueError("labels: expected at least one image, got none")
    faulty = ~np.isfinite(probabilities).all(axis=1)
    if faulty.any():
        raise ValueError(
            f"{name}: expected finite rows that sum to 1; {faulty.sum():,} of {len(faulty):,} rows are not finite, the "
            f"first of image {faulty.argmax()}. A network that diverged gives such: train it with a lower lr"
        )
    beyond = ((probabilities < 0) | (probabilities > 1 + ROUNDING)).any(axis=1)
    if beyond.any():
        i = int(beyond.argmax())
        raise ValueError(
            f"{name}: expected values from 0 to 1, got {probabilities[i].min():g} to {probabilities[i].max():g} in row "
            f"{i}. Of logits, softmax makes probabilities"
        )
    total = probabilities.sum(axis=1)
    if np.any(np.abs(total - 1) > ROUNDING):
        i = int(np.abs(total - 1).argmax())
        raise ValueError(f"{name}: expected rows that sum to 1, got {total[i]:g} in row {i}")
    return labels, probabilities


def _notes(labels: np.ndarray, classes: tuple[str, ...], subjects: object) -> list[str]:
    notes = []
    absent = [name for i, name in enumerate(classes) if not np.any(labels == i)]
    if absent:
        notes.append(
            f"No image is of class {', '.join(absent)}: balanced accuracy, macro F1 and the area under the curve are "
            f"means over the other {len(classes) - len(absent)}."
        )
    if subjects is None:
        notes.append("Subjects are unknown: if a subject has several images, the intervals are too narrow.")
    return notes


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of rows of logits, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
