"""Whether one classifier is better than another on the same images: a paired bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._bootstrap import METRICS, Sample, bootstrap_weights, confusion_metrics, evaluate_sample
from ._evaluate import checked_predictions, percentile_interval, pool_subjects
from ._records import Difference


def paired_difference(
    labels: Sequence[int] | np.ndarray,
    probs_a: np.ndarray,
    probs_b: np.ndarray,
    subjects: Sequence[str] | np.ndarray | None = None,
    metric: str = "balanced_accuracy",
    *,
    level: str = "slice",
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Difference:
    """Compares two arms on the same images: the same bootstrap sample of subjects judges both.

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
        b less a, its 95 % interval, and a two-sided p: twice the share of samples on the other side of 0.

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
    labels_a, probs_a = checked_predictions(labels, probs_a, np.shape(probs_a)[-1])
    labels_b, probs_b = checked_predictions(labels, probs_b, np.shape(probs_a)[-1])
    groups = np.arange(len(labels_a)) if subjects is None else np.unique(np.asarray(subjects), return_inverse=True)[1]
    weights = bootstrap_weights(int(groups.max()) + 1, n_bootstrap, seed)
    if level == "subject":
        labels_a, probs_a, _ = pool_subjects(labels_a, probs_a, groups)
        labels_b, probs_b, _ = pool_subjects(labels_b, probs_b, groups)
    else:
        weights = weights[:, groups]
    arms = [Sample(labels_a, probs_a), Sample(labels_b, probs_b)]
    a, b = (float(evaluate_sample(arm)[metric]) for arm in arms)
    drawn = (
        confusion_metrics(arms[1], weights, only=metric)[metric]
        - confusion_metrics(arms[0], weights, only=metric)[metric]
    )
    drawn = drawn[~np.isnan(drawn)]
    tail = min(np.sum(drawn <= 0), np.sum(drawn >= 0)) + 1
    p = min(1.0, 2 * tail / (len(drawn) + 1))
    return Difference(
        metric, level, a, b, percentile_interval(b - a, drawn if len(drawn) else None), float(p), n_bootstrap
    )
