"""The page of a label curve, with the curves, the differences and how it was done; and its tables as files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import CurveMetric, CurveProbe, Report, atomic_writer, expect, save_figure, write_json
from ._curve_result import LABELS, PROBE_LABELS, CurveDifference, LabelCurve

HOW = (
    "Each start gives every subject one row of features, which are not trained further. In each fold some of the "
    "training subjects are labelled, and a probe learns from them and is scored on the fold's test subjects. All "
    "starts see the same draws of labelled subjects, the same folds and the same test subjects. SimCLR was pretrained "
    "anew in each fold, on the images of its training subjects, without labels."
)
INTERVALS = (
    "Intervals are 95 %, over test subjects (DeLong) and over repeats, or over draws where there is one repeat. A "
    "difference is paired: what makes a subject or a draw easy for both starts cancels. 'Would see' is the true "
    "difference that this design finds in four of five repetitions. Folds share training subjects, so the intervals "
    "hold for subjects like these and training sets drawn from these."
)

MOST_JUDGED = 2
"""Starts that the opening judges; of more it takes the highest."""


def label_curve_report(curve: LabelCurve) -> Report:
    """Everything about a label curve in one page, which shows itself in a notebook.

    Examples
    --------
    >>> label_curve_report(label_curve(ds)).write("report.html")  # doctest: +SKIP
    """
    expect("curve", curve, "pairs_table", "what label_curve returns")
    report = Report(f"Label curve: {curve.about['data']}")
    report.text(_opening(curve), "lead")
    caption = "Area under the curve by subject, linear probe, by number of labelled subjects."
    report.table(*curve.table(), caption, key="main")
    for name, note in curve.notes.items():
        report.text(f"{name}: {note}.", "note")
    report.section("Scores by number of labelled subjects")
    report.text("{figure:scores} draws the figures of {table:main}.")
    report.figure(
        curve.plot(),
        "Area under the curve by subject of a linear probe on frozen features, by number of labelled subjects. Bands "
        "are 95 % intervals of each start; they do not judge differences, which are paired and stand below.",
        key="scores",
    )
    report.section("Differences")
    if curve.pairs():
        caption = (
            "Mean over all numbers of labelled subjects of what a start reaches less what another does; the numbers at "
            "which it is higher or lower; and the mean difference that this design would see."
        )
        report.table(*curve.pairs_table(), caption)
    report.text(INTERVALS)
    for a, b in curve.pairs():
        report.table(*curve.difference_table(a, b), f"{b} against {a}, linear probe, {LABELS['auc']} by subject.")
    report.section("The other probe and metric")
    others: list[tuple[CurveMetric, CurveProbe]] = [
        ("auc", "knn"),
        ("balanced_accuracy", "linear"),
        ("balanced_accuracy", "knn"),
    ]
    for metric, probe in others:
        report.table(*curve.table(metric, probe), f"{LABELS[metric].capitalize()} by subject, {PROBE_LABELS[probe]}.")
    report.section("How it was done")
    report.text(f"{curve.design()}. {HOW}")
    report.text(
        "The linear probe is ridge regression of one-hot classes with balanced class weights, on features that are "
        f"standardised over the training subjects (penalty {curve.about['penalty']:g}). Nearest neighbours: the square "
        "root of the number of labelled subjects, by cosine."
    )
    report.details("All figures", _without_nan(curve.to_dict()))
    return report


def _opening(curve: LabelCurve) -> str:
    """How the start that matters compares: each that has learnt something, or of many and of none the highest."""
    learned = [name for name in curve.starts if name not in curve.references]
    means = dict(zip(curve.starts, curve.mean().mean(axis=1), strict=True))
    judged = learned if 0 < len(learned) <= MOST_JUDGED else [max(learned or curve.starts, key=means.__getitem__)]
    if len(curve.starts) < 2:
        return f"{curve.design()}."
    said = [_judged(curve, name, means[name], [a for a in curve.references if a != name]) for name in judged]
    highest = "" if judged == learned else f"The highest{' of those that have learnt' if learned else ''} is "
    return (
        f"{highest}{' '.join(said)} (Area under the curve by subject, mean over all numbers of labelled subjects, with "
        "95 % intervals.)"
    )


def _judged(curve: LabelCurve, name: str, mean: float, others: list[str]) -> str:
    """One start against those that have learnt nothing."""
    parts = []
    for other in others:
        d = curve.difference(other, name)
        if np.isnan(d.low):
            parts.append(f"{d.difference:+.3f} against {other} (no interval: {d.verdict})")
        elif d.verdict in ("higher", "lower"):
            parts.append(f"{d.verdict} than {other} by {abs(d.difference):.3f} ({_size(d)})")
        else:
            parts.append(f"not distinguishable from {other}")
    return f"{name} with {mean:.3f}: {'; '.join(parts)}." if parts else f"{name} with {mean:.3f}."


def _size(d: CurveDifference) -> str:
    """The interval of a difference's size."""
    low, high = sorted((abs(d.low), abs(d.high)))
    return f"{low:.3f} to {high:.3f}"


def write_curve(curve: LabelCurve, folder: Path) -> None:
    """Writes label_curve.csv, differences.csv, label_curve.json, label_curve.png and report.html."""
    for name, rows in (("label_curve", curve.rows()), ("differences", curve.difference_rows())):
        with atomic_writer(folder / f"{name}.csv") as file:
            file.write(_csv(rows).encode())
    write_json(folder / "label_curve.json", _without_nan(curve.to_dict()))
    save_figure(curve.plot().figure, folder / "label_curve.png")
    label_curve_report(curve).write(folder / "report.html")


def _csv(rows: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    if rows:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()})
    return stream.getvalue()


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: None in its place."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
