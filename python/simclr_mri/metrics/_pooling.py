"""Figures of an arm that was trained several times: on several splits, from several seeds.

The test sets of cross-validation are put together until each subject stands there once: a repetition. A metric is
computed for each repetition and averaged over them. Its interval is a bootstrap over subjects: a sample of subjects
judges every repetition, and in a comparison both arms. So it says what other subjects would change; what another seed
or another split would change is the spread of the runs, given beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._bootstrap import METRICS, Sample, bootstrap_weights, confusion_metrics, evaluate_sample
from ._evaluate import pool_subjects
from ._records import Difference, Estimate


@dataclass(frozen=True)
class Repetition:
    """Predictions in which no image occurs twice.

    Attributes
    ----------
    rows : ndarray of shape (n,), int
        Which images of the data set.
    probabilities : ndarray of shape (n, K)
    """

    rows: np.ndarray
    probabilities: np.ndarray


def join(runs: Sequence[Repetition]) -> list[Repetition]:
    """Runs put together into repetitions, each as complete as the runs allow.

    Examples
    --------
    >>> folds = [Repetition(np.array([i]), np.ones((1, 2)) / 2) for i in (0, 1, 0)]
    >>> [part.rows.tolist() for part in join(folds)]
    [[0, 1], [0]]
    """
    open_parts: list[list[Repetition]] = []
    for run in runs:
        for part in open_parts:
            if not any(np.intersect1d(run.rows, other.rows).size for other in part):
                part.append(run)
                break
        else:
            open_parts.append([run])
    return [
        Repetition(np.concatenate([run.rows for run in part]), np.concatenate([run.probabilities for run in part]))
        for part in open_parts
    ]


@dataclass(frozen=True)
class Pooled:
    """All metrics of an arm: `pooled["auc"]` is an `Estimate`, `drawn["auc"]` its bootstrap samples (B,)."""

    metrics: dict[str, Estimate]
    drawn: dict[str, np.ndarray]
    n_units: int

    def __getitem__(self, name: str) -> Estimate:
        return self.metrics[name]


def pooled_metrics(
    labels: np.ndarray,
    repetitions: Sequence[Repetition],
    subjects: np.ndarray | None = None,
    *,
    level: str = "slice",
    n_bootstrap: int = 1000,
    seed: int = 0,
    only: str | None = None,
) -> Pooled:
    """The metrics of an arm over its repetitions, with intervals.

    Parameters
    ----------
    labels : ndarray of shape (N,), int
        Of the whole data set.
    repetitions : sequence of Repetition
    subjects : ndarray of shape (N,), or None
        None resamples images.
    level : {"slice", "subject"}
    n_bootstrap, seed : int
    only : str, optional
        Compute this metric alone.

    Returns
    -------
    Pooled

    Examples
    --------
    >>> once = Repetition(np.arange(4), np.eye(2)[[0, 0, 1, 0]])
    >>> pooled_metrics(np.array([0, 0, 1, 1]), [once], n_bootstrap=0, only="accuracy")["accuracy"].value
    0.75
    """
    if level not in ("slice", "subject") or (level == "subject" and subjects is None):
        raise ValueError(f"level: expected 'slice' or, with subjects, 'subject', got {level!r}")
    if not repetitions:
        raise ValueError("repetitions: expected at least one, got none")
    groups = np.arange(len(labels)) if subjects is None else np.unique(subjects, return_inverse=True)[1]
    units = np.unique(np.concatenate([groups[part.rows] for part in repetitions]))
    weights = bootstrap_weights(len(units), n_bootstrap, seed)
    names = METRICS if only is None else (only,)
    points, drawn = [], []
    for part in repetitions:
        sample, unit = _sample(labels, groups, part, level)
        point = evaluate_sample(sample)
        points.append([point[name] for name in names])
        if n_bootstrap:
            found = confusion_metrics(sample, weights[:, np.searchsorted(units, unit)], only=only)
            drawn.append([found[name] for name in names])
    values = np.mean(points, axis=0)
    samples = {name: _mean([part[i] for part in drawn]) for i, name in enumerate(names)} if drawn else {}
    metrics = {name: interval(float(values[i]), samples.get(name)) for i, name in enumerate(names)}
    return Pooled(metrics, samples, len(units))


def pooled_difference(
    labels: np.ndarray,
    a: Sequence[Repetition],
    b: Sequence[Repetition],
    subjects: np.ndarray | None = None,
    metric: str = "balanced_accuracy",
    *,
    level: str = "slice",
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Difference:
    """Arm b less arm a: the same bootstrap sample of subjects judges every repetition of both.

    Parameters
    ----------
    labels, subjects, level, n_bootstrap, seed
        As for `pooled_metrics`.
    a, b : sequence of Repetition
        On the same images.
    metric : str

    Returns
    -------
    metrics.Difference

    Examples
    --------
    >>> rows = np.arange(4)
    >>> bad, good = (Repetition(rows, np.eye(2)[answer]) for answer in ([0, 1, 1, 0], [0, 0, 1, 1]))
    >>> pooled_difference(np.array([0, 0, 1, 1]), [bad], [good], n_bootstrap=50).difference.value
    0.5
    """
    if [part.rows.tolist() for part in a] != [part.rows.tolist() for part in b]:
        raise ValueError("a, b: expected repetitions on the same images")
    options = {"level": level, "n_bootstrap": n_bootstrap, "seed": seed, "only": metric}
    one, two = (pooled_metrics(labels, part, subjects, **options) for part in (a, b))
    drawn = two.drawn[metric] - one.drawn[metric] if n_bootstrap else None
    return difference_of(metric, level, one[metric].value, two[metric].value, drawn)


def difference_of(metric: str, level: str, a: float, b: float, drawn: np.ndarray | None) -> Difference:
    """A `metrics.Difference` from the two figures and bootstrap samples of b - a."""
    drawn = np.empty(0) if drawn is None else drawn[~np.isnan(drawn)]
    tail = min(np.sum(drawn <= 0), np.sum(drawn >= 0)) + 1
    p = min(1.0, 2 * tail / (len(drawn) + 1)) if len(drawn) else float("nan")
    return Difference(metric, level, a, b, interval(b - a, drawn if len(drawn) else None), float(p), len(drawn))


def interval(value: float, drawn: np.ndarray | None) -> Estimate:
    """The value with the 2.5 and 97.5 percentiles of its bootstrap samples."""
    if drawn is None or np.isnan(value) or np.all(np.isnan(drawn)):
        return Estimate(float(value))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def _sample(labels: np.ndarray, groups: np.ndarray, part: Repetition, level: str) -> tuple[Sample, np.ndarray]:
    """What is judged, and the subject of each of its rows."""
    mine, truth = groups[part.rows], labels[part.rows]
    if level == "slice":
        return Sample(truth, part.probabilities), mine
    unit, inverse = np.unique(mine, return_inverse=True)
    subject_labels, means, _ = pool_subjects(truth, part.probabilities, inverse)
    return Sample(subject_labels, means), unit


def _mean(samples: list[np.ndarray]) -> np.ndarray:
    """Mean over repetitions of bootstrap samples; where one is not defined, over the others."""
    stacked = np.stack(samples)
    found = ~np.isnan(stacked)
    n = found.sum(axis=0)
    return np.where(n > 0, np.where(found, stacked, 0).sum(axis=0) / np.maximum(n, 1), np.nan)
