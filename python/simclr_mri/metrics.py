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

import html
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ._bootstrap import METRICS, Sample, bootstrap_weights, confusion_metrics, evaluate_sample

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auc": "area under the curve",
    "kappa": "quadratic-weighted kappa",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
"""What the metrics are called in tables."""


@dataclass(frozen=True)
class Estimate:
    """A value and its interval; NaN where it is not defined."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def __float__(self) -> float:
        return self.value

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        if np.isnan(self.value):
            return "-"
        if np.isnan(self.low):
            return format(self.value, spec)
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self, ".3f")

    def to_dict(self) -> dict[str, float | None]:
        """None stands for not defined, as JSON has no NaN."""
        return {
            key: None if np.isnan(v) else float(v) for key, v in zip(("value", "low", "high"), self._all(), strict=True)
        }

    def _all(self) -> tuple[float, float, float]:
        return self.value, self.low, self.high


@dataclass(frozen=True)
class ClassResult:
    """Recall and precision of one class, with the number that each is a share of."""

    name: str
    n: int
    n_predicted: int
    recall: Estimate
    precision: Estimate


@dataclass(frozen=True)
class Level:
    """Results over slices, or over subjects. `level["balanced_accuracy"]` is an `Estimate`."""

    n: int
    metrics: dict[str, Estimate]
    by_class: tuple[ClassResult, ...]
    confusion: np.ndarray
    largest_class: float

    def __getitem__(self, name: str) -> Estimate:
        return self.metrics[name]

    def to_dict(self) -> dict[str, object]:
        """Plain numbers, lists and strings."""
        return {
            "n": self.n,
            "largest_class_accuracy": self.largest_class,
            "metrics": {name: e.to_dict() for name, e in self.metrics.items()},
            "classes": [
                {
                    "class": c.name,
                    "n": c.n,
                    "n_predicted": c.n_predicted,
                    "recall": c.recall.to_dict(),
                    "precision": c.precision.to_dict(),
                }
                for c in self.by_class
            ],
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns.

    Attributes
    ----------
    classes : tuple of str
    slices : Level
        Each image counts once.
    subjects : Level or None
        Each subject counts once, by the mean of its slices' probabilities; None when subjects are unknown.
    n_bootstrap : int
    resampled : str
        "subjects" or "images": what the intervals are over.
    notes : tuple of str
        What a reader must know, such as classes without images.
    labels, probabilities, groups : ndarray
        What it was computed from.
    """

    classes: tuple[str, ...]
    slices: Level
    subjects: Level | None
    n_bootstrap: int
    resampled: str
    notes: tuple[str, ...] = ()
    labels: np.ndarray = field(default=None, repr=False)
    probabilities: np.ndarray = field(default=None, repr=False)
    groups: np.ndarray | None = field(default=None, repr=False)

    def __getitem__(self, name: str) -> Estimate:
        """A metric per slice: `evaluation["balanced_accuracy"]`."""
        return self.slices[name]

    @property
    def levels(self) -> dict[str, Level]:
        """ "slice" and, if known, "subject"."""
        return {"slice": self.slices} | ({} if self.subjects is None else {"subject": self.subjects})

    def to_dict(self) -> dict[str, object]:
        """Everything but the inputs, for JSON."""
        return {
            "classes": list(self.classes),
            "n_bootstrap": self.n_bootstrap,
            "resampled": self.resampled,
            "notes": list(self.notes),
            **{name: level.to_dict() for name, level in self.levels.items()},
        }

    def table(self) -> list[dict[str, object]]:
        """One dictionary a metric and level, for `pandas.DataFrame(evaluation.table())`."""
        return [
            {"level": name, "metric": metric, "value": e.value, "low": e.low, "high": e.high, "n": level.n}
            for name, level in self.levels.items()
            for metric, e in level.metrics.items()
        ]

    def __repr__(self) -> str:
        return f"<Evaluation: {self.slices.n:,} slices, balanced accuracy {self['balanced_accuracy']}>"

    def __str__(self) -> str:
        lines = []
        for name, level in self.levels.items():
            lines.append(f"per {name} (n = {level.n:,}; naming the largest class always: {level.largest_class:.3f})")
            lines += [f"  {NAMES[metric]:<26} {e}" for metric, e in level.metrics.items()]
            width = max(len(c.name) for c in level.by_class)
            for c in level.by_class:
                lines.append(f"  {c.name:<{width}}  n {c.n:>5,}  recall {c.recall}  precision {c.precision}")
        return "\n".join([*lines, *self._about_intervals(), *self.notes])

    def _about_intervals(self) -> list[str]:
        """One line, or none where there are no intervals."""
        if not self.n_bootstrap:
            return []
        return [f"95 % intervals: {self.n_bootstrap:,} bootstrap samples of the {self.resampled}"]

    def _repr_html_(self) -> str:
        levels = self.levels
        head = "".join(f"<th>per {name} (n = {level.n:,})</th>" for name, level in levels.items())
        rows = "".join(
            f"<tr><td>{NAMES[m]}</td>" + "".join(f"<td>{level[m]}</td>" for level in levels.values()) + "</tr>"
            for m in METRICS
        )
        base = "".join(f"<td>{level.largest_class:.3f}</td>" for level in levels.values())
        for i, name in enumerate(self.classes):
            cells = (level.by_class[i] for level in levels.values())
            rows += f"<tr><td>recall of {html.escape(name)}</td>"
            rows += "".join(f"<td>{c.recall} (n = {c.n:,})</td>" for c in cells) + "</tr>"
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in [*self._about_intervals(), *self.notes])
        return (
            f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}"
            f"<tr><td>accuracy of naming the largest class</td>{base}</tr></tbody></table>{notes}"
        )


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
    labels, probabilities = _checked(labels, probabilities, len(classes))
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
    metrics = {name: _interval(point[name], drawn.get(name)) for name in METRICS}
    confusion = sample.confusion().astype(np.int64)
    counts, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    by_class = tuple(
        ClassResult(
            name,
            int(counts[i]),
            int(predicted[i]),
            _interval(point["recall"][i], drawn["recall"][:, i] if drawn else None),
            _interval(point["precision"][i], drawn["precision"][:, i] if drawn else None),
        )
        for i, name in enumerate(classes)
    )
    return Level(len(sample.labels), metrics, by_class, confusion, float(counts.max() / counts.sum()))


def _interval(value: float, drawn: np.ndarray | None) -> Estimate:
    if drawn is None or np.isnan(value) or np.all(np.isnan(drawn)):
        return Estimate(float(value))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def _checked(labels: Sequence[int] | np.ndarray, probabilities: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
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


# -- comparisons and calibration ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A metric of arm b less that of arm a, on the same images."""

    metric: str
    level: str
    a: float
    b: float
    difference: Estimate
    p: float
    n_bootstrap: int

    def __str__(self) -> str:
        return (
            f"{NAMES.get(self.metric, self.metric)} per {self.level}: {self.b:.3f} against {self.a:.3f}, "
            f"difference {self.difference:+.3f}, p = {self.p:.3f}"
        )

    def to_dict(self) -> dict[str, object]:
        """Plain numbers and strings."""
        return {
            "metric": self.metric,
            "level": self.level,
            "a": self.a,
            "b": self.b,
            "difference": self.difference.to_dict(),
            "p": self.p,
            "n_bootstrap": self.n_bootstrap,
        }


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
    labels_a, probs_a = _checked(labels, probs_a, np.shape(probs_a)[-1])
    labels_b, probs_b = _checked(labels, probs_b, np.shape(probs_a)[-1])
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
    return Difference(metric, level, a, b, _interval(b - a, drawn if len(drawn) else None), float(p), n_bootstrap)


def temperature_scale(logits: np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """The temperature T for which softmax(logits / T) fits the labels best (least cross-entropy).

    Parameters
    ----------
    logits : ndarray of shape (N, K)
        Of the validation set.
    labels : array-like of shape (N,), int

    Returns
    -------
    float
        Between 0.01 and 100; 1 when nothing can be fitted. Cross-entropy is convex in 1 / T, so its slope is bisected.

    Examples
    --------
    >>> logits = np.array([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])  # too sure: one of four is wrong
    >>> round(temperature_scale(logits, [0, 0, 1, 1]), 1)
    8.2
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits, labels: expected (N, K) and (N,), got {logits.shape} and {labels.shape}")
    if not np.all(np.isfinite(logits)):
        raise ValueError("logits: expected finite values")
    chosen = logits[np.arange(len(labels)), labels]

    def slope(beta: float) -> float:
        scaled = beta * (logits - logits.max(axis=1, keepdims=True))
        weights = np.exp(scaled)
        weights /= weights.sum(axis=1, keepdims=True)
        return float(((weights * logits).sum(axis=1) - chosen).mean())

    low, high = 1e-2, 1e2
    if np.ptp(logits, axis=1).max() == 0:
        return 1.0
    if slope(low) >= 0:
        return 1 / low
    if slope(high) <= 0:
        return 1 / high
    for _ in range(80):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


__all__ = [
    "METRICS",
    "NAMES",
    "ClassResult",
    "Difference",
    "Estimate",
    "Evaluation",
    "Level",
    "balanced_accuracy",
    "evaluate_predictions",
    "paired_difference",
    "pool_subjects",
    "temperature_scale",
]


def __dir__() -> list[str]:
    return sorted(__all__)
