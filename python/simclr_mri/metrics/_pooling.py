"""Figures of an arm that was trained several times: on several splits, from several seeds.

The test sets of cross-validation are put together until each subject stands there once: a repetition. A metric is
computed for each repetition and averaged over them. Its interval is over subjects and seeds. Over subjects it is a
bootstrap (_resampling.py): one resample of subjects judges every repetition, and in a comparison both arms. Repetitions
also differ among themselves, by the luck of weights and order; the variance of their mean is added, with the degrees of
freedom of so few of them (Welch 1947, Satterthwaite 1946). Of a single repetition nothing is known about that, and the
interval is over subjects alone.

References
----------
Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
Welch, The generalization of "Student's" problem, Biometrika 34, 1947.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import norm, t

from .._shared import ArrayRecord, Level, Metric, plain_row
from ._bootstrap import METRICS, Sample, evaluate_sample
from ._evaluate import pool_subjects
from ._records import Difference, Estimate
from ._resampling import draw_resamples, has_interval, interval

RANGES = {"kappa": (-1.0, 1.0), "brier": (0.0, 2.0)}
"""Of metrics that do not lie between 0 and 1."""


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Pooled(ArrayRecord):
    """All metrics of an arm: `pooled["auc"]` is an `Estimate`.

    Attributes
    ----------
    metrics : dict of str to Estimate
    drawn : dict of str to ndarray of shape (B,)
        Resamples over subjects. They hold nothing of how repetitions differ.
    values : dict of str to ndarray of shape (repetitions,)
    counts : ndarray of shape (K,), int
        Subjects of each class.
    """

    metrics: dict[str, Estimate]
    drawn: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    counts: np.ndarray

    @property
    def n_units(self) -> int:
        """Subjects in all."""
        return int(self.counts.sum())

    def __getitem__(self, name: str) -> Estimate:
        return self.metrics[name]

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a metric."""
        return [{"metric": name, **plain_row(estimate)} for name, estimate in self.metrics.items()]


def pooled_metrics(
    labels: np.ndarray,
    repetitions: Sequence[Repetition],
    subjects: np.ndarray | None = None,
    *,
    level: Level = "slice",
    n_bootstrap: int = 1000,
    seed: int = 0,
    only: str | None = None,
    arm: int = 0,
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
    arm : {0, 1}
        Which of two arms that are to be compared.

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
    k = repetitions[0].probabilities.shape[1]
    units, strata = _strata(labels, groups, repetitions, k)
    resamples = draw_resamples(strata, k, n_bootstrap, seed)
    counts = np.bincount(strata, minlength=k)
    names = METRICS if only is None else (only,)
    points, drawn = [], []
    for part in repetitions:
        sample, unit = _sample(labels, groups, part, level)
        point = evaluate_sample(sample, only=only)
        points.append([point[name] for name in names])
        if n_bootstrap:
            found = resamples.judge(sample, np.searchsorted(units, unit), arm, only)
            drawn.append([found[name] for name in names])
    values = {name: np.array([point[i] for point in points], np.float64) for i, name in enumerate(names)}
    samples = {name: _mean([part[i] for part in drawn]) for i, name in enumerate(names)} if drawn else {}
    metrics = {}
    for name in names:
        widened = with_seeds(samples[name], values[name]) if drawn else None
        metrics[name] = _inside(name, interval(float(values[name].mean()), widened, has_interval(name, counts)))
    return Pooled(metrics, samples, values, counts)


def with_seeds(drawn: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Resamples over subjects, spread about their mean until they hold how repetitions differ.

    Parameters
    ----------
    drawn : ndarray of shape (B,)
    values : ndarray of shape (repetitions,)
        What each repetition gives on all subjects.
    """
    n, mean = len(values), np.nanmean(drawn)
    by_subject = np.nanvar(drawn)
    by_seed = np.var(values, ddof=1) / n if n > 1 else 0.0
    if by_seed == 0 or by_subject == 0:
        return drawn
    freedom = (by_subject + by_seed) ** 2 / (by_seed**2 / (n - 1))
    factor = np.sqrt(1 + by_seed / by_subject) * t.ppf(0.975, freedom) / norm.ppf(0.975)
    return mean + (drawn - mean) * factor


def _inside(name: str, found: Estimate) -> Estimate:
    """No end beyond what the metric can be."""
    low, high = RANGES.get(name, (0.0, 1.0))
    return replace(found, low=float(np.maximum(found.low, low)), high=float(np.minimum(found.high, high)))


def _strata(
    labels: np.ndarray, groups: np.ndarray, repetitions: Sequence[Repetition], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The subjects that are tested, and the class that most of the tested images of each are of."""
    rows = np.unique(np.concatenate([part.rows for part in repetitions]))
    units, inverse = np.unique(groups[rows], return_inverse=True)
    strata, _, _ = pool_subjects(labels[rows], np.zeros((len(rows), k)), inverse)
    return units, strata


def pooled_difference(
    labels: np.ndarray,
    a: Sequence[Repetition],
    b: Sequence[Repetition],
    subjects: np.ndarray | None = None,
    metric: Metric = "balanced_accuracy",
    *,
    level: Level = "slice",
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
    options: dict[str, Any] = {"level": level, "n_bootstrap": n_bootstrap, "seed": seed, "only": metric}
    # An arm against itself does not differ; two arms that answered alike on these subjects may.
    same = all(one.probabilities is two.probabilities for one, two in zip(a, b, strict=True))
    first = pooled_metrics(labels, a, subjects, arm=0, **options)
    second = pooled_metrics(labels, b, subjects, arm=0 if same else 1, **options)
    return difference_of(metric, level, [first], [second])


def difference_of(metric: str, level: str, a: Sequence[Pooled], b: Sequence[Pooled]) -> Difference:
    """The mean over pairs of arms, such as one pair a label fraction, of b - a.

    Parameters
    ----------
    metric, level : str
    a, b : sequence of Pooled
        Of the same subjects; `a` of arm 0 and `b` of arm 1.
    """
    mean_a, mean_b = (float(np.mean([part.values[metric].mean() for part in arms])) for arms in (a, b))
    n_seeds = min(len(part.values[metric]) for part in (*a, *b))
    by_seed = np.mean(
        [two.values[metric][:n_seeds] - one.values[metric][:n_seeds] for one, two in zip(a, b, strict=True)], axis=0
    )
    value = mean_b - mean_a
    enough = all(has_interval(metric, part.counts) for part in (*a, *b))
    drawn = np.empty(0)
    if a[0].drawn:
        drawn = np.mean([two.drawn[metric] - one.drawn[metric] for one, two in zip(a, b, strict=True)], axis=0)
        drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0 or not enough:
        return Difference(
            metric, level, mean_a, mean_b, interval(value, drawn, enough), float("nan"), len(drawn), n_seeds
        )
    drawn = with_seeds(drawn, by_seed)
    tail = min(np.sum(drawn <= 0), np.sum(drawn >= 0)) + 1
    p = float(min(1.0, 2 * tail / (len(drawn) + 1)))
    return Difference(metric, level, mean_a, mean_b, interval(value, drawn), p, len(drawn), n_seeds)


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
