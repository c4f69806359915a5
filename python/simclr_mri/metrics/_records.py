"""What judging predictions gives: values with intervals, results by class and level, and differences of two arms."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._shared import ArrayRecord, plain_row
from ._bootstrap import METRICS

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

DETECTABLE = (1.959964 + 0.841621) / 1.959964
"""Standard errors for 80 % power at the 5 % level, over those of half an interval."""
TOO_FEW = "too few"
LEAST_PER_CLASS = 3
"""Subjects of each class below which averages over the classes have no interval: with 2 it covers 99 % and more."""
LEAST_SUBJECTS = 10
"""Subjects below which a proportion of them has no interval: one more or less decides between 88 and 99 % coverage."""


@dataclass(frozen=True, eq=False)
class Estimate(ArrayRecord):
    """A value and its 95 % interval; NaN where it is not defined.

    Attributes
    ----------
    value, low, high : float
    note : str
        "too few" where there are too few subjects for an interval that holds.

    Examples
    --------
    >>> print(Estimate(0.8, 0.7, 0.9), f"{Estimate(0.8, note='too few'):.1f}")
    0.800 [0.700, 0.900] 0.8 (too few)
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    note: str = ""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash((self.note, *(None if np.isnan(v) else v for v in self._all())))

    def __float__(self) -> float:
        return self.value

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        if np.isnan(self.value):
            return "-"
        if np.isnan(self.low):
            return format(self.value, spec) + (f" ({self.note})" if self.note else "")
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self, ".3f")

    def to_dict(self) -> dict[str, float | str | None]:
        """None stands for not defined, as JSON has no NaN."""
        found: dict[str, float | str | None] = {
            key: None if np.isnan(v) else float(v) for key, v in zip(("value", "low", "high"), self._all(), strict=True)
        }
        return found | ({"note": self.note} if self.note else {})

    def _all(self) -> tuple[float, float, float]:
        return self.value, self.low, self.high


@dataclass(frozen=True, eq=False)
class ClassResult(ArrayRecord):
    """Recall and precision of one class, with the number that each is a share of.

    Examples
    --------
    >>> from simclr_mri.metrics import evaluate_predictions
    >>> found = evaluate_predictions([0, 0, 1, 1], np.eye(2)[[0, 0, 1, 0]], ("well", "sick"), n_bootstrap=0)
    >>> sick = found.slices.by_class[1]
    >>> sick.name, sick.n, sick.n_predicted, float(sick.recall), float(sick.precision)
    ('sick', 2, 1, 0.5, 1.0)
    """

    name: str
    n: int
    n_predicted: int
    recall: Estimate
    precision: Estimate


@dataclass(frozen=True, eq=False)
class Level(ArrayRecord):
    """Results over slices, or over subjects. `level["balanced_accuracy"]` is an `Estimate`.

    Examples
    --------
    >>> from simclr_mri.metrics import evaluate_predictions
    >>> found = evaluate_predictions([0, 0, 1, 1], np.eye(2)[[0, 0, 1, 0]], ("well", "sick"), n_bootstrap=0)
    >>> float(found.slices["accuracy"]), found.slices.confusion.tolist()
    (0.75, [[2, 0], [1, 1]])
    """

    n: int
    metrics: dict[str, Estimate]
    by_class: tuple[ClassResult, ...]
    confusion: np.ndarray
    largest_class: float

    def __getitem__(self, name: str) -> Estimate:
        return self.metrics[name]

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a metric."""
        return [
            {"metric": name, "value": e.value, "low": e.low, "high": e.high, "n": self.n}
            for name, e in self.metrics.items()
        ]

    @property
    def estimates(self) -> list[Estimate]:
        """All of them: the metrics, then recall and precision by class."""
        return [*self.metrics.values(), *(e for c in self.by_class for e in (c.recall, c.precision))]

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


@dataclass(frozen=True, eq=False)
class Evaluation(ArrayRecord):
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

    Examples
    --------
    >>> from simclr_mri.metrics import evaluate_predictions
    >>> probabilities = np.eye(2)[[0, 0, 1, 0]]
    >>> found = evaluate_predictions([0, 0, 1, 1], probabilities, ("well", "sick"), list("aabb"), n_bootstrap=0)
    >>> found.subjects.n, float(found.slices["accuracy"])
    (2, 0.75)
    """

    classes: tuple[str, ...]
    slices: Level
    subjects: Level | None
    n_bootstrap: int
    resampled: str
    notes: tuple[str, ...]
    labels: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
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

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a metric and level; `to_frame()` has them as a table."""
        return [{"level": name, **row} for name, level in self.levels.items() for row in level.rows()]

    table = rows

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
        lines = [
            f"95 % intervals: {self.n_bootstrap:,} bootstrap samples of the {self.resampled}, drawn within each class"
        ]
        estimates = [e for level in self.levels.values() for e in level.estimates]
        if any(e.note == TOO_FEW for e in estimates):
            lines.append(
                f"{TOO_FEW}: an interval needs {LEAST_SUBJECTS} {self.resampled}, and {LEAST_PER_CLASS} of each class "
                "for an average over classes; the calibration error has none, as few images a bin raise it"
            )
        return lines

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


@dataclass(frozen=True, eq=False)
class Difference(ArrayRecord):
    """A metric of arm b less that of arm a, on the same images.

    Attributes
    ----------
    metric, level : str
    a, b : float
    difference : Estimate
    p : float
        Two-sided.
    n_bootstrap : int
    n_seeds : int
        How often each arm was trained. With 1 the interval is over subjects alone: it says nothing of what another
        seed would give.

    Examples
    --------
    >>> from simclr_mri.metrics import paired_difference
    >>> good, bad = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[0, 1, 1, 0]]
    >>> found = paired_difference([0, 0, 1, 1], bad, good, n_bootstrap=50)
    >>> found.metric, float(found.a), float(found.b)
    ('balanced_accuracy', 0.5, 1.0)
    """

    metric: str
    level: str
    a: float
    b: float
    difference: Estimate
    p: float
    n_bootstrap: int
    n_seeds: int = 1

    def __hash__(self) -> int:  # type: ignore[override]
        return hash((self.metric, self.level, self.a, self.b, self.n_bootstrap, self.n_seeds))

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary."""
        return [{**plain_row(self), "detectable": self.detectable}]

    @property
    def detectable(self) -> float:
        """The smallest true difference that such a comparison would call different from zero in 80 % of repeats.

        (1.96 + 0.84) standard errors, by the width of the interval.
        """
        return DETECTABLE * (self.difference.high - self.difference.low) / 2

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
            "n_seeds": self.n_seeds,
            "detectable": None if np.isnan(self.detectable) else self.detectable,
        }
