"""Curves of how probabilities rank and whether they are honest: ROC, precision and recall, reliability.

Of two classes there is one curve, of the second; of more there is one a class, against the rest. The area under a ROC
curve has the interval of all metrics (_resampling.py). The average precision is biased upwards in small samples, and
resamples of it cover the truth in as few as 84 % of studies. Its interval is normal on the scale of the logit with as
many observations as there are subjects of the class (Boyd, Eng and Page 2013), which covers it in 95 to 99 % of
simulated studies with 9 to 200 of them.

References
----------
Boyd, Eng and Page, Area under the precision-recall curve: point estimates and confidence intervals, ECML PKDD 2013.
Davis and Goadrich, The relationship between precision-recall and ROC curves, ICML 2006 (no straight lines between
    points: the area is the average precision).
Brown, Cai and DasGupta, Interval estimation for a binomial proportion, Statistical Science 16, 2001 (Jeffreys).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta
from sklearn import metrics as sk

from .._shared import ArrayRecord, expect
from ._bootstrap import Sample, weighted_auc
from ._evaluate import pool_subjects
from ._records import LEAST_PER_CLASS, LEAST_SUBJECTS, TOO_FEW, Estimate, Evaluation
from ._resampling import draw_resamples, interval

KINDS = ("roc", "precision_recall", "reliability")
LEAST_FOR_PRECISION = 9
"""Subjects of the class, from which the interval of the average precision was tried."""
MOST_BINS, LEAST_PER_BIN = 10, 15


@dataclass(frozen=True, eq=False)
class Curve(ArrayRecord):
    """One curve of one class.

    Attributes
    ----------
    name : str
        The class that counts as positive.
    x, y : ndarray of shape (P,)
        False and true positive rate; recall and precision; or mean probability and share of the class in each bin.
    area : Estimate
        Under the ROC curve, the average precision, or (of reliability) NaN.
    share : float
        Of the class among all that are judged: what guessing has as precision.
    n : int
        How many are of the class.
    low, high : ndarray of shape (P,), or None
        95 % intervals (Jeffreys) of the shares of reliability, where each subject counts once.

    Examples
    --------
    >>> from simclr_mri.metrics import evaluate_predictions
    >>> probabilities = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]
    >>> found = evaluate_predictions([0, 0, 1, 1], probabilities, ("well", "sick"), n_bootstrap=0)
    >>> (curve,) = curves(found, "roc")
    >>> curve.name, float(curve.area), curve.n
    ('sick', 0.75, 2)
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    area: Estimate
    share: float
    n: int
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a point: class, x, y and, where there are intervals, low and high."""
        columns = {"x": self.x, "y": self.y}
        if self.low is not None and self.high is not None:
            columns |= {"low": self.low, "high": self.high}
        return [{"class": self.name, **{k: float(v[i]) for k, v in columns.items()}} for i in range(len(self.x))]


def curves(evaluation: Evaluation, kind: str, level: str | None = None) -> tuple[Curve, ...]:
    """ROC, precision-recall or reliability curves, as `plot.roc` and its like draw them.

    Parameters
    ----------
    evaluation : Evaluation
    kind : {"roc", "precision_recall", "reliability"}
    level : {"slice", "subject"} or None
        None: by subject where subjects are known.

    Returns
    -------
    tuple of Curve
        Of two classes one, of the second; of more one a class, against the rest. A class without images, or with all
        of them, has none.

    Examples
    --------
    >>> from simclr_mri import evaluate_predictions
    >>> probabilities = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]
    >>> found = evaluate_predictions([0, 0, 1, 1], probabilities, ("well", "sick"), n_bootstrap=0)
    >>> [(curve.name, curve.area.value) for curve in curves(found, "roc")]
    [('sick', 0.75)]
    """
    expect("evaluation", evaluation, "levels", "what evaluate_predictions returns")
    for name, given, known in (("kind", kind, KINDS), ("level", level, (None, *evaluation.levels))):
        if given not in known:
            raise ValueError(f"{name}={given!r}: expected one of {', '.join(map(repr, known))}")
    level = level or ("subject" if evaluation.subjects is not None else "slice")
    labels, probabilities, groups = evaluation.labels, evaluation.probabilities, evaluation.groups
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    strata, means, _ = pool_subjects(labels, probabilities, units)
    is_independent = level == "subject" or groups is None
    if level == "subject":
        labels, probabilities, units = strata, means, np.arange(len(means))
    sample = Sample(labels, probabilities)
    k = len(evaluation.classes)
    chosen = [c for c in ([1] if k == 2 else range(k)) if 0 < np.sum(labels == c) < len(labels)]
    if kind == "reliability":
        return tuple(_reliability(sample, c, evaluation.classes[c], is_independent) for c in chosen)
    wider, weights = draw_resamples(strata, k, evaluation.n_bootstrap, 0).extended(sample, units)
    found = []
    for c in chosen:
        ours = int(np.sum(strata == c))
        if kind == "roc":
            x, y, value = _roc(sample, c)
            enough = min(ours, len(strata) - ours) >= LEAST_PER_CLASS and len(strata) >= LEAST_SUBJECTS
            area = interval(value, weighted_auc(wider, c, weights) if len(weights) else None, enough)
        else:
            x, y, value = _precision_recall(sample, c)
            area = _logit_interval(value, ours) if len(weights) else Estimate(value)
        n = int(np.sum(labels == c))
        found.append(Curve(evaluation.classes[c], x, y, area, n / len(labels), n))
    return tuple(found)


def _roc(sample: Sample, c: int) -> tuple[np.ndarray, np.ndarray, float]:
    truth, scores = sample.labels == c, sample.probabilities[:, c]
    x, y, _ = sk.roc_curve(truth, scores)
    return x, y, float(sk.roc_auc_score(truth, scores))


def _precision_recall(sample: Sample, c: int) -> tuple[np.ndarray, np.ndarray, float]:
    truth, scores = sample.labels == c, sample.probabilities[:, c]
    precision, recall, _ = sk.precision_recall_curve(truth, scores)
    return recall[::-1], precision[::-1], float(sk.average_precision_score(truth, scores))


def _logit_interval(value: float, n: int) -> Estimate:
    if n < LEAST_FOR_PRECISION:
        return Estimate(value, note=TOO_FEW)
    inside = np.clip(value, 0.5 / n, 1 - 0.5 / n)
    step = 1.959964 / np.sqrt(n * inside * (1 - inside))
    low, high = expit(logit(inside) - step), expit(logit(inside) + step)
    return Estimate(value, float(min(low, value)), float(max(high, value)))


def _reliability(sample: Sample, c: int, name: str, with_intervals: bool) -> Curve:
    """Bins of equal numbers, as equal widths leave some empty and most in one."""
    scores, truth = sample.probabilities[:, c], sample.labels == c
    order = np.argsort(scores, kind="stable")
    n_bins = max(2, min(MOST_BINS, len(order) // LEAST_PER_BIN))
    bins = [part for part in np.array_split(order, n_bins) if len(part)]
    x = np.array([scores[part].mean() for part in bins])
    hits, sizes = np.array([truth[part].sum() for part in bins]), np.array([len(part) for part in bins])
    low = high = None
    if with_intervals:
        low = np.where(hits > 0, beta.ppf(0.025, hits + 0.5, sizes - hits + 0.5), 0.0)
        high = np.where(hits < sizes, beta.ppf(0.975, hits + 0.5, sizes - hits + 0.5), 1.0)
    area = Estimate(float("nan"))
    return Curve(name, x, hits / sizes, area, float(truth.mean()), int(truth.sum()), low, high)
