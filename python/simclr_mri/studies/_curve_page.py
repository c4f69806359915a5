"""The page of a label curve, with the curves, the differences and how it was done; and its tables as files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import CurveMetric, CurveProbe, Report, atomic_writer, save_figure, write_json
from ._curve_result import LABELS, PROBE_LABELS, LabelCurve

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


def label_curve_report(curve: LabelCurve) -> Report:
    """Everything about a label curve in one page, which shows itself in a notebook.

    Examples
    --------
    >>> label_curve_report(label_curve(ds)).write("report.html")  # doctest: +SKIP
    """
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
    report.items(curve.conclusion().splitlines())
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
    """Which starts that have learnt something differ from those that have not, over all label numbers."""
    pairs = [pair for pair in curve.pairs() if pair[1] not in curve.references] or curve.pairs()
    found = [(a, b, curve.difference(a, b)) for a, b in pairs]
    if not found:
        return f"{curve.design()}."
    said = [f"{b} against {a} {d}, {d.verdict}" for a, b, d in found if d.verdict in ("higher", "lower")]
    rest = len(found) - len(said)
    text = "Area under the curve by subject over all numbers of labelled subjects together (95 % interval): "
    if not said:
        return f"{text}no difference between the starts that are compared is distinguishable from zero."
    others = (
        f" In {rest} other comparison{'s' * (rest > 1)} no difference is distinguishable from zero." if rest else ""
    )
    return f"{text}{'; '.join(said)}.{others}"


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
