"""Resamples of subjects for intervals: a stratified Bayesian bootstrap with a little doubt.

A study fixes how many subjects of each class it tests, so subjects are resampled within each class: no resample is
without a class. Instead of drawing subjects with replacement, each of a class's n subjects gets a random weight
(Rubin 1981). Weights alone cannot leave what was seen: if all of nine subjects were right, every resample would say
that all are. So each class also has imagined subjects, half an observation in all: half of it answered rightly, the
rest spread over the wrong classes (the proper Bayesian bootstrap of Muliere and Secchi 1996, with the weight of half a
Jeffreys prior). An imagined subject has the mean probabilities of the real ones with the same answer. The weights of
one class are

    Dirichlet((n - lost) / n for each subject, doubt / 4 for (right, right), ...) * n.

`lost` makes up for the mean having been estimated from the same subjects: resamples of n subjects vary by a factor
(n - 1) / n too little, which shows when n is 3. The two constants were chosen by simulation
(tests/bench/bench_coverage.py): 95 % intervals then cover the truth in 92 to 98 % of studies of 12, 9 and 3 subjects
to 100, 70 and 30 subjects, where percentiles of a plain bootstrap cover as few as 80 %. Recall and precision of a
single class are proportions, for which the whole Jeffreys prior covers best (Brown, Cai and DasGupta 2001).

Two arms are compared on the same weights. An imagined subject has an answer in each of them, independent of each other.

References
----------
Rubin, The Bayesian bootstrap, Annals of Statistics 9, 1981.
Muliere and Secchi, Bayesian nonparametric predictive inference and bootstrap techniques, AISM 48, 1996.
Brown, Cai and DasGupta, Interval estimation for a binomial proportion, Statistical Science 16, 2001.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._bootstrap import Sample, confusion_metrics
from ._records import LEAST_PER_CLASS, LEAST_SUBJECTS, TOO_FEW, Estimate

DOUBT, LOST = 0.5, 1.25
CLASS_DOUBT, CLASS_LOST = 1.0, 1.0
"""Of the recall and the precision of one class."""

OVER_CLASSES = ("balanced_accuracy", "macro_f1", "auc", "kappa")
"""Metrics in which each class counts, however small it is."""
NEVER = ("ece",)
"""The binned calibration error is biased upwards by several times its own spread, whatever the number of subjects
(Kumar, Liang and Ma, Verified uncertainty calibration, NeurIPS 2019): no resampling gives it an interval that holds."""


@dataclass(frozen=True, eq=False)
class Resamples:
    """Weights of B resamples.

    Attributes
    ----------
    weights : ndarray of shape (B, U), float32
        Of each subject (of each image, where subjects are unknown).
    imagined : ndarray of shape (B, K, K, K), float32
        Of subjects of class c that arm 0 takes for class i and arm 1 for class j.
    """

    weights: np.ndarray
    imagined: np.ndarray

    def judge(self, sample: Sample, units: np.ndarray, arm: int = 0, only: str | None = None) -> dict[str, np.ndarray]:
        """All metrics of a sample in each resample; `units` (N,) says whose each of its rows is."""
        wider, weights = self.extended(sample, units, arm)
        return confusion_metrics(wider, weights, only=only)

    def extended(self, sample: Sample, units: np.ndarray, arm: int = 0) -> tuple[Sample, np.ndarray]:
        """The sample with the imagined subjects' rows, and the weights (B, rows) of both."""
        k, n = sample.n_classes, len(sample.labels)
        rows_each = n / len(np.unique(units))
        answers = self.imagined.sum(axis=3 if arm == 0 else 2).reshape(len(self.weights), k * k)
        labels = np.concatenate([sample.labels, np.repeat(np.arange(k), k)])
        probabilities = np.concatenate([sample.probabilities, np.tile(_typical(sample), (k, 1))])
        weights = np.concatenate([self.weights[:, units], rows_each * answers], axis=1)
        return Sample(labels, probabilities), weights


def draw_resamples(strata: np.ndarray, k: int, n_bootstrap: int, seed: int, *, by_class: bool = False) -> Resamples:
    """Weights for subjects of known classes.

    Parameters
    ----------
    strata : ndarray of shape (U,), int
        The class of each subject.
    k : int
        Number of classes.
    n_bootstrap, seed : int
    by_class : bool
        For recall and precision of single classes, not for averages over all subjects.
    """
    rng = np.random.default_rng(seed)
    doubt, lost = (CLASS_DOUBT, CLASS_LOST) if by_class else (DOUBT, LOST)
    weights = np.zeros((n_bootstrap, len(strata)), np.float32)
    imagined = np.zeros((n_bootstrap, k, k, k), np.float32)
    for c in range(k):
        mine = np.flatnonzero(strata == c)
        n = len(mine)
        if n == 0:
            continue
        answer = np.full(k, 0.5 / (k - 1))
        answer[c] = 0.5
        seen = rng.standard_gamma(max(n - lost, 0.5) / n, size=(n_bootstrap, n))
        unseen = rng.standard_gamma(np.broadcast_to(doubt * np.outer(answer, answer), (n_bootstrap, k, k)))
        total = np.maximum(seen.sum(axis=1) + unseen.sum(axis=(1, 2)), np.finfo(float).tiny) / n
        weights[:, mine] = seen / total[:, None]
        imagined[:, c] = unseen / total[:, None, None]
    return Resamples(weights, imagined)


def _typical(sample: Sample) -> np.ndarray:
    """ndarray of shape (K, K): mean probabilities of the rows that were taken for each class.

    A class that nobody was taken for gets what is halfway between even and sure.
    """
    k = sample.n_classes
    found = 0.5 / k + 0.5 * np.eye(k)
    for c in np.unique(sample.predicted):
        found[c] = sample.probabilities[sample.predicted == c].mean(axis=0)
    return found


def has_interval(metric: str, counts: np.ndarray) -> bool:
    """Whether there are enough subjects; `counts` (K,) says how many each class has."""
    present = counts[counts > 0]
    if metric in NEVER or present.sum() < LEAST_SUBJECTS:
        return False
    return metric not in OVER_CLASSES or bool(present.min() >= LEAST_PER_CLASS)


def interval(value: float, drawn: np.ndarray | None, enough: bool = True) -> Estimate:
    """The value with the 2.5 and 97.5 percentiles of its resamples.

    The ends are moved to the value where it lies outside, as a perfect score does.
    """
    if drawn is None or len(drawn) == 0 or np.isnan(value) or np.all(np.isnan(drawn)):
        return Estimate(float(value))
    if not enough:
        return Estimate(float(value), note=TOO_FEW)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))
