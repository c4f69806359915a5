"""The result of a label curve: means, intervals, paired differences, and what they allow to say."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from scipy import special, stats

from .. import plot
from .._shared import CurveMetric, CurveProbe, Record, choose, counted, frame_of, html_table, same, text_table
from ._curve_scores import CURVE_METRICS, Scores
from ._probes import PROBES

MIN_SUBJECTS = 5
"""Of each class, for an interval: of fewer the spread is not known."""

POWER = 0.8
FEW_PAIRS = 2
"""Comparisons that are told in sentences; more are a table."""
TITLE = "Area under the curve by subject, linear probe, by number of labelled subjects"
LABELS = {"auc": "area under the curve", "balanced_accuracy": "balanced accuracy"}
PROBE_LABELS = {"linear": "linear probe", "knn": "nearest neighbours"}


@dataclass(frozen=True)
class CurveDifference(Record):
    """Two starts with as many labelled subjects; all in units of the metric.

    Attributes
    ----------
    n_labelled : int or None
        None: the mean over all numbers of labelled subjects.
    a, b : float
        Score of the reference, and of the start.
    difference, low, high : float
        b - a and its 95 % interval.
    smallest : float
        The difference that this design would have seen in 80 % of repetitions.
    verdict : str

    Examples
    --------
    >>> print(CurveDifference(8, 0.64, 0.71, 0.07, 0.04, 0.1, 0.05, "higher"))
    +0.070 (+0.040 to +0.100)
    """

    n_labelled: int | None
    a: float
    b: float
    difference: float
    low: float
    high: float
    smallest: float
    verdict: str

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.difference:+.3f} (no interval: {self.verdict})"
        return f"{self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


class LabelCurve:
    """Scores by start and number of labelled subjects; `label_curve` makes it.

    Intervals are over subjects (DeLong) and over repeats, or over draws where there is one repeat; they hold for these
    training subjects, as those of every cross-validation.

    Attributes
    ----------
    starts : tuple of str
    sizes : tuple of int
        Numbers of labelled subjects.
    classes : tuple of str
    about : dict
        Data and design.
    notes : dict of str to str
        What given weights have seen of these images, by start.

    Examples
    --------
    >>> from simclr_mri import datasets, label_curve
    >>> ds = datasets.phantoms(n_subjects=40, slices=2, image_size=32, task="cdr0")
    >>> curve = label_curve(ds, ["pixels"], n_labelled=[4, 8], draws=5, repeats=1)
    >>> curve.starts, curve.sizes
    (('pixels 16 x 16',), (4, 8))
    """

    def __init__(
        self,
        starts: tuple[str, ...],
        sizes: tuple[int, ...],
        scores: Scores,
        classes: tuple[str, ...],
        labels: np.ndarray,
        about: dict[str, Any],
        references: Sequence[str] = (),
        notes: dict[str, str] | None = None,
    ) -> None:
        self.starts, self.sizes, self.classes = starts, sizes, classes
        self.about, self.notes = about, dict(notes or {})
        self.references = tuple(references) or starts[:1]
        self._scores, self._labels = scores, labels
        self.counts = np.bincount(labels, minlength=len(classes))

    # ---- numbers ----------------------------------------------------------------------------------------------------

    def mean(self, metric: CurveMetric = "auc", probe: CurveProbe = "linear") -> np.ndarray:
        """Scores (starts, sizes), means over folds, draws and repeats."""
        return self._scores.by_draw[self._key(metric, probe)].mean(axis=(2, 3))

    def spread(self, metric: CurveMetric = "auc", probe: CurveProbe = "linear") -> np.ndarray:
        """The 10 % and 90 % quantiles over draws and repeats (starts, sizes, 2): the luck of a draw."""
        values = self._scores.by_draw[self._key(metric, probe)].reshape(len(self.starts), len(self.sizes), -1)
        return np.moveaxis(np.quantile(values, [0.1, 0.9], axis=2), 0, 2)

    def interval(self, metric: CurveMetric = "auc", probe: CurveProbe = "linear") -> np.ndarray:
        """95 % intervals (starts, sizes, 2); NaN where a class has too few subjects."""
        key, mean = self._key(metric, probe), self.mean(metric, probe)
        draws, parts = self._scores.by_draw[key], self._scores.by_subject[key]
        half = np.empty(mean.shape)
        for i, j in np.ndindex(*mean.shape):
            half[i, j] = self._quantile(0.975) * self._error(draws[i, j], parts[i, j], metric)
        if metric == "auc":  # near 1 the interval is not symmetric; on the scale of the logit it is (Pepe 2003, 5.2)
            inside = np.clip(mean, 1e-6, 1 - 1e-6)
            step = half / (inside * (1 - inside))
            return special.expit(special.logit(inside)[:, :, None] + np.stack([-step, step], axis=2))
        return np.clip(np.stack([mean - half, mean + half], axis=2), 0, 1)

    def difference(
        self, a: str, b: str, n_labelled: int | None = None, metric: CurveMetric = "auc", probe: CurveProbe = "linear"
    ) -> CurveDifference:
        """Start `b` against the reference `a`, on the same draws, folds and test subjects.

        `n_labelled` None is the mean over all numbers of labelled subjects.
        """
        key = self._key(metric, probe)
        i, j = (self.starts.index(choose("start", name, self.starts)) for name in (a, b))
        which = slice(None) if n_labelled is None else [self.sizes.index(choose("n_labelled", n_labelled, self.sizes))]
        draws, parts = self._scores.by_draw[key][:, which], self._scores.by_subject[key][:, which]
        error = self._error((draws[j] - draws[i]).mean(axis=0), (parts[j] - parts[i]).mean(axis=0), metric)
        found = float((draws[j] - draws[i]).mean())
        low, high = found - self._quantile(0.975) * error, found + self._quantile(0.975) * error
        smallest = (self._quantile(0.975) + stats.norm.ppf(POWER)) * error
        verdict = self._too_few() or ("higher" if low > 0 else "lower" if high < 0 else "not distinguishable from zero")
        values = (float(draws[i].mean()), float(draws[j].mean()), found, float(low), float(high), float(smallest))
        return CurveDifference(n_labelled, *values, verdict)

    def differences(
        self, a: str, b: str, metric: CurveMetric = "auc", probe: CurveProbe = "linear"
    ) -> list[CurveDifference]:
        """`difference` for each number of labelled subjects, and for their mean if there are several."""
        sizes: list[int | None] = [*self.sizes, *([None] if len(self.sizes) > 1 else [])]
        return [self.difference(a, b, n, metric, probe) for n in sizes]

    def pairs(self) -> list[tuple[str, str]]:
        """(reference, start) of all that are compared: references with each other, and every other start with each."""
        baselines = [name for name in self.starts if name in self.references]
        others = [name for name in self.starts if name not in self.references]
        return [*combinations(baselines, 2), *((a, b) for b in others for a in baselines)]

    def _key(self, metric: CurveMetric, probe: CurveProbe) -> tuple[CurveProbe, CurveMetric]:
        return choose("probe", probe, tuple(PROBES)), choose("metric", metric, CURVE_METRICS)

    def _too_few(self) -> str:
        few = [i for i, n in enumerate(self.counts) if 0 < n < MIN_SUBJECTS]
        return f"too few: {self.classes[few[0]]} has {counted(int(self.counts[few[0]]), 'subject')}" if few else ""

    def _quantile(self, p: float) -> float:
        return float(stats.t.ppf(p, max(1, self.counts[self.counts > 0].min() - 1)))

    def _error(self, draws: np.ndarray, parts: np.ndarray, metric: str) -> float:
        """Standard error of a mean over draws (repeats, B) with the subjects' parts (subjects,)."""
        if self._too_few():
            return float("nan")
        share = 1.0 if metric == "auc" else 1 / (self.counts > 0).sum()
        of_subjects = sum(
            share**2 * np.nanvar(parts[self._labels == c], ddof=1) / n for c, n in enumerate(self.counts) if n
        )
        if len(draws) > 1:
            return float(np.sqrt(of_subjects + draws.mean(axis=1).var(ddof=1) / len(draws)))
        of_draws = draws.var(ddof=1) / draws.size if draws.size > 1 else 0.0
        return float(np.sqrt(of_subjects + of_draws))

    # ---- words and tables -------------------------------------------------------------------------------------------

    def design(self) -> str:
        """One sentence: subjects, folds, repeats and draws."""
        about = self.about
        who = ", ".join(f"{n} {name}" for name, n in zip(self.classes, self.counts, strict=True) if n)
        return (
            f"{counted(int(self.counts.sum()), 'subject')} ({who}), {about['n_splits']} folds by subject, "
            f"{counted(about['repeats'], 'repeat')}, {counted(about['draws'], 'draw')} of labelled subjects a fold"
        )

    def conclusion(self, metric: CurveMetric = "auc", probe: CurveProbe = "linear") -> str:
        """What the intervals allow to say, a line for each start and reference."""
        parts = [self.compare(a, b, metric, probe) for a, b in self.pairs()]
        return "\n".join([*parts, *self._one_repeat()]) if parts else ""

    def _one_repeat(self) -> list[str]:
        if self.about["repeats"] > 1:
            return []
        return [
            "There is one repeat, so the intervals hold the luck of draws and subjects, and that of other weights and "
            "folds only as far as the folds differ."
        ]

    def compare(self, a: str, b: str, metric: CurveMetric = "auc", probe: CurveProbe = "linear") -> str:
        """One start against one reference, in sentences."""
        found = self.differences(a, b, metric, probe)
        each = [d for d in found if d.n_labelled is not None]
        mean = found[-1]
        what = f"{b} against {a}"
        if self._too_few():
            return f"{what}: {mean.difference:+.3f}; no interval ({self._too_few()})."
        sizes = {word: [str(d.n_labelled) for d in each if d.verdict == word] for word in ("higher", "lower")}
        said = [f"{word} with {_list(ns)} labelled subjects" for word, ns in sizes.items() if ns]
        text = f"{what}: {' and '.join(said) if said else 'no difference is distinguishable from zero'}"
        if len(each) > 1:
            text += f". Over all numbers of labelled subjects together: {mean}, {mean.verdict}"
        smallest = [d.smallest for d in each]
        seen = f"{min(smallest):.3f}" if len(each) == 1 else f"{min(smallest):.3f} to {max(smallest):.3f}"
        return f"{text}. The smallest difference that this design would see: {seen}."

    def table(self, metric: CurveMetric = "auc", probe: CurveProbe = "linear") -> tuple[list[str], list[list[str]]]:
        """Head and rows: a start a row, a number of labelled subjects a column."""
        means = self.mean(metric, probe)
        rows = [[name, *(f"{v:.3f}" for v in means[i])] for i, name in enumerate(self.starts)]
        return ["start", *map(str, self.sizes)], rows

    def pairs_table(
        self, metric: CurveMetric = "auc", probe: CurveProbe = "linear"
    ) -> tuple[list[str], list[list[str]]]:
        """Head and rows: a compared pair a row, with the numbers of labelled subjects at which a difference is seen."""
        head = ["start", "less", "mean difference (95 % interval)", "higher with", "lower with", "would see"]
        rows = []
        for a, b in self.pairs():
            found = self.differences(a, b, metric, probe)
            seen = [
                [str(d.n_labelled) for d in found if d.n_labelled is not None and d.verdict == word]
                for word in ("higher", "lower")
            ]
            rows.append([b, a, str(found[-1]), *(", ".join(ns) or "-" for ns in seen), f"{found[-1].smallest:.3f}"])
        return head, rows

    def difference_table(
        self, a: str, b: str, metric: CurveMetric = "auc", probe: CurveProbe = "linear"
    ) -> tuple[list[str], list[list[str]]]:
        """Head and rows: a number of labelled subjects a row."""
        head = ["labelled subjects", a, b, "difference (95 % interval)", "would see", "verdict"]
        rows = []
        for d in self.differences(a, b, metric, probe):
            size = "their mean" if d.n_labelled is None else str(d.n_labelled)
            rows.append([size, f"{d.a:.3f}", f"{d.b:.3f}", str(d), f"{d.smallest:.3f}", d.verdict])
        return head, rows

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a start, number of labelled subjects, probe and metric: for a data frame."""
        found = []
        for probe in PROBES:
            for metric in CURVE_METRICS:
                means, limits = self.mean(metric, probe), self.interval(metric, probe)
                spread = self.spread(metric, probe)
                for (i, start), (j, n) in product(enumerate(self.starts), enumerate(self.sizes)):
                    low, high = limits[i, j]
                    row = {"start": start, "n_labelled": n, "probe": probe, "metric": metric}
                    row |= {"mean": means[i, j], "low": low, "high": high}
                    found.append(row | {"draws_10": spread[i, j, 0], "draws_90": spread[i, j, 1]})
        return [{k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()} for row in found]

    def to_frame(self) -> Any:
        """`rows()` as a pandas DataFrame; ImportError says what to install."""
        return frame_of(self.rows(), "LabelCurve")

    def __eq__(self, other: object) -> bool:
        return same(vars(self), vars(other)) if isinstance(other, LabelCurve) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def difference_rows(self) -> list[dict[str, Any]]:
        """One dictionary a compared pair, number of labelled subjects, probe and metric."""
        return [
            {"reference": a, "start": b, "probe": probe, "metric": metric, **asdict(d)}
            for a, b in self.pairs()
            for probe in PROBES
            for metric in CURVE_METRICS
            for d in self.differences(a, b, metric, probe)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single draws, as plain values."""
        return {
            "about": {**self.about, "classes": list(self.classes), "subjects": self.counts.tolist()},
            "starts": list(self.starts),
            "n_labelled": list(self.sizes),
            "notes": self.notes,
            "scores": self.rows(),
            "differences": self.difference_rows(),
        }

    def plot(self, metric: CurveMetric = "auc", probe: CurveProbe = "linear", *, ax: Any = None) -> Any:
        """Scores by number of labelled subjects, with bands for the intervals; returns the axes."""
        labels = f"{LABELS[choose('metric', metric, CURVE_METRICS)]} by subject, {PROBE_LABELS[probe]}"
        chance = 0.5 if metric == "auc" else 1 / max(1, int((self.counts > 0).sum()))
        return plot.label_curve(
            self.sizes,
            self.starts,
            self.mean(metric, probe),
            self.interval(metric, probe),
            ylabel=labels,
            chance=chance,
            ax=ax,
        )

    def __str__(self) -> str:
        head, rows = self.table()
        widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in [head, *rows]
        ]
        said = self.conclusion() if len(self.pairs()) <= FEW_PAIRS else self._differences_text()
        return f"{TITLE}\n" + "\n".join(lines) + f"\n\n{self.design()}" + (f"\n{said}" if said else "")

    def _differences_text(self) -> str:
        """The pairs, a line each under its start, within 80 columns where names are short."""
        by_start: dict[str, list[list[str]]] = {}
        for start, reference, mean, higher, lower, _ in self.pairs_table()[1]:
            seen = [f"{word}: {ns}" for word, ns in (("higher", higher), ("lower", lower)) if ns != "-"]
            by_start.setdefault(start, []).append([f"  {reference}", mean, "; ".join(seen)])
        parts = [f"{start}, less\n{text_table(rows[0], rows[1:], 'left')}" for start, rows in by_start.items()]
        title = "Mean difference (95 % interval) over all numbers of labelled subjects, and where one is seen"
        return "\n".join(["", title, *parts, *self._one_repeat()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = html_table(*self.pairs_table()) if self.pairs() else ""
        return f"<p>{TITLE}. {html.escape(self.design())}.</p>{html_table(*self.table())}{said}"


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


__all__ = ["CurveDifference", "LabelCurve"]
