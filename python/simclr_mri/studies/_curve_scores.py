"""Scores of a label curve, and each subject's part in them.

The area under the curve of a fold and draw is the share of pairs of a positive and a negative test subject that the
scores put in the right order. Its average over draws, folds and repeats is the average of each subject's share of right
pairs, so its sampling error over subjects follows from their spread (DeLong, DeLong and Clarke-Pearson, Biometrics 44,
1988), and that of a difference of two starts from the spread of the subjects' differences. Balanced accuracy is the
mean over the classes of the shares of subjects that are recognised, and its error follows in the same way.

For more than two classes the area is the mean over classes, each against the rest. Subject i of class a takes part as a
positive of a and as a negative of the others, there with the share of a among the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np

from .._shared import CurveMetric, CurveProbe, same
from ._probes import PROBES

CURVE_METRICS: tuple[CurveMetric, ...] = get_args(CurveMetric)
CHUNK = 1 << 24
"""Pairs that are compared at a time."""


class FoldScores:
    """Metrics by size, probe and draw, and the parts of the test subjects, of one fold and start.

    Parameters
    ----------
    subjects : ndarray of shape (S,), int
        The fold's test subjects, as numbers within the data set.
    labels : ndarray of shape (S,), int
    n_classes : int
    """

    def __init__(self, subjects: np.ndarray, labels: np.ndarray, n_classes: int) -> None:
        self.subjects, self._labels, self._k = subjects, labels, n_classes
        self.draws: dict[tuple[int, CurveProbe, CurveMetric], np.ndarray] = {}
        self.parts: dict[tuple[int, CurveProbe, CurveMetric], np.ndarray] = {}

    def add(self, size: int, probe: CurveProbe, scores: np.ndarray) -> None:
        """Scores (B, S, K) of B draws."""
        for metric, judge in _JUDGES.items():
            self.draws[size, probe, metric], self.parts[size, probe, metric] = judge(scores, self._labels, self._k)


def auc_and_parts(scores: np.ndarray, labels: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Area under the curve of each draw (B,), and the parts of the subjects (S,), averaged over draws.

    Both are NaN where the fold lacks a class that they need.
    """
    counts = np.bincount(labels, minlength=n_classes)
    judged = [1] if n_classes == 2 else [c for c in range(n_classes) if counts[c]]
    if (counts > 0).sum() < 2:
        return np.full(len(scores), np.nan), np.full(scores.shape[1], np.nan)
    area, parts = np.zeros(len(scores)), np.zeros(scores.shape[1])
    for c in judged:
        positive = labels == c
        above = _pairs_won(scores[:, positive, c], scores[:, ~positive, c])
        area += above[0]
        parts[positive] += above[1]
        rest = len(labels) - counts[c]
        weight = np.ones(n_classes) if n_classes == 2 else counts / rest
        parts[~positive] += weight[labels[~positive]] * above[2]
    return area / len(judged), parts / len(judged)


def _pairs_won(high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of pairs with high > low, ties half: by draw (B,), by column of `high` and of `low`, over the draws."""
    n_draws, n_high, n_low = len(high), high.shape[1], low.shape[1]
    area, of_high, of_low = np.empty(n_draws), np.zeros(n_high), np.zeros(n_low)
    step = max(1, CHUNK // (n_high * n_low))
    for i in range(0, n_draws, step):
        a, b = high[i : i + step, :, None], low[i : i + step, None, :]
        won = (a > b) + np.float32(0.5) * (a == b)
        area[i : i + step] = won.mean(axis=(1, 2), dtype=np.float64)
        of_high += won.sum(axis=(0, 2), dtype=np.float64)
        of_low += won.sum(axis=(0, 1), dtype=np.float64)
    return area, of_high / (n_draws * n_low), of_low / (n_draws * n_high)


def recall_and_parts(scores: np.ndarray, labels: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Balanced accuracy of each draw (B,), and the share of draws that recognise each subject (S,)."""
    right = scores.argmax(axis=2) == labels
    present = np.unique(labels)
    recalls = np.stack([right[:, labels == c].mean(axis=1) for c in present])
    return recalls.mean(axis=0), right.mean(axis=0)


_JUDGES: dict[CurveMetric, Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]] = {
    "auc": auc_and_parts,
    "balanced_accuracy": recall_and_parts,
}


class Scores:
    """All scores of a curve.

    Attributes
    ----------
    by_draw : dict of (probe, metric) to ndarray of shape (starts, sizes, repeats, draws)
        Means over the folds.
    by_subject : dict of (probe, metric) to ndarray of shape (starts, sizes, subjects)
        Means over draws and repeats.
    """

    def __init__(
        self, n_starts: int, sizes: tuple[int, ...], repeats: int, draws: int, labels: np.ndarray, n_classes: int
    ) -> None:
        keys = [(probe, metric) for probe in PROBES for metric in CURVE_METRICS]
        self._shape = (n_starts, len(sizes), repeats, draws)
        self._sums = {key: np.zeros(self._shape) for key in keys}
        self._folds = {key: np.zeros(self._shape) for key in keys}
        self._parts = {key: np.zeros((n_starts, len(sizes), len(labels))) for key in keys}
        self._times = {key: np.zeros((n_starts, len(sizes), len(labels))) for key in keys}
        self.labels, self.n_classes = labels, n_classes

    def __eq__(self, other: object) -> bool:
        names = ("_sums", "_folds", "_parts", "_times", "labels", "n_classes")
        if not isinstance(other, Scores):
            return NotImplemented
        return all(same(vars(self)[name], vars(other)[name]) for name in names)

    __hash__ = None  # type: ignore[assignment]

    def add(self, start: int, repeat: int, fold: FoldScores) -> None:
        for (size, probe, metric), values in fold.draws.items():
            found = ~np.isnan(values)
            key = (probe, metric)
            self._sums[key][start, size, repeat] += np.where(found, values, 0)
            self._folds[key][start, size, repeat] += found
            parts = fold.parts[size, probe, metric]
            self._parts[key][start, size, fold.subjects] += np.nan_to_num(parts)
            self._times[key][start, size, fold.subjects] += ~np.isnan(parts)

    @property
    def by_draw(self) -> dict[tuple[CurveProbe, CurveMetric], np.ndarray]:
        with np.errstate(invalid="ignore"):
            return {key: sums / self._folds[key] for key, sums in self._sums.items()}

    @property
    def by_subject(self) -> dict[tuple[CurveProbe, CurveMetric], np.ndarray]:
        with np.errstate(invalid="ignore"):
            return {key: sums / self._times[key] for key, sums in self._parts.items()}
