"""Whether one classifier is better than another on the same images: a paired bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._shared import Level, Metric, checked_subjects
from ._bootstrap import METRICS
from ._evaluate import checked_predictions
from ._pooling import Repetition, pooled_difference
from ._records import Difference


def paired_difference(
    labels: Sequence[int] | np.ndarray,
    probs_a: np.ndarray,
    probs_b: np.ndarray,
    subjects: Sequence[str] | np.ndarray | None = None,
    metric: Metric = "balanced_accuracy",
    *,
    level: Level = "slice",
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Difference:
    """Compares two arms on the same images: the same resamples of subjects, drawn within each class, judge both.

    Parameters
    ----------
    labels : array-like of shape (N,), int
    probs_a, probs_b : ndarray of shape (N, K)
    subjects : array-like of shape (N,), str, or None
        None resamples images.
    metric : str
        One of accuracy, balanced_accuracy, macro_f1, auc, kappa, brier, ece.
    level : {"slice", "subject"}
    n_bootstrap : int
    seed : int

    Returns
    -------
    Difference
        b less a, its 95 % interval, and a two-sided p: twice the share of resamples on the other side of 0. With too
        few subjects (see `Estimate.note`) interval and p are NaN.

    Examples
    --------
    >>> good, bad = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[0, 1, 1, 0]]
    >>> float(paired_difference([0, 0, 1, 1], bad, good, n_bootstrap=50).difference)
    0.5
    """
    if metric not in METRICS:
        raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    if level not in ("slice", "subject") or (level == "subject" and subjects is None):
        raise ValueError(f"level: expected 'slice' or, with subjects, 'subject', got {level!r}")
    if n_bootstrap < 1:
        raise ValueError(f"n_bootstrap: expected at least 1, got {n_bootstrap}")
    k = np.shape(probs_a)[-1] if np.ndim(probs_a) == 2 else 2
    truth, first = checked_predictions(labels, probs_a, k, name="probs_a")
    _, second = checked_predictions(labels, probs_b, k, name="probs_b")
    rows = np.arange(len(truth))
    return pooled_difference(
        truth,
        [Repetition(rows, first)],
        [Repetition(rows, second)],
        None if subjects is None else checked_subjects(subjects, len(truth)),
        metric,
        level=level,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
