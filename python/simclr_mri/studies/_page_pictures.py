"""The pictures of a study's report, with what is seen on them in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plot
from .._shared import Picture, Report
from ..datasets import labels_of
from ..metrics import evaluate_predictions
from ._conclusions import STARTS

if TYPE_CHECKING:
    from ..explain import CamResult
    from ._arm import Arm
    from ._result import StudyResult


def confusion_section(report: Report, result: StudyResult) -> None:
    """A confusion matrix for each start and label fraction."""
    report.section("Confusion matrices")
    runs = " Summed over the runs of an arm." if len(result.rows) > len(result.summary()) else ""
    report.text(f"By {result.level}: rows are the truth, columns the answer.{runs}")
    for f in result.fractions:
        report.figures(_confusion(result, name, f) for name in result.inits if result.runs(name, f))


def _confusion(result: StudyResult, init: str, fraction: float) -> Picture:
    matrix, classes = result.confusion(init, fraction), result.split.dataset.classes
    name = f"{_start(init)}, {100 * fraction:g} %"
    right = [f"{matrix[i, i]:,} of {matrix[i].sum():,} {c}" for i, c in enumerate(classes)]
    caption = f"Answers from {_start(init)} with {100 * fraction:g} % of the labels."
    return Picture(
        plot.confusion(matrix, classes, title=name), caption, f"Confusion matrix, {name}. Right: {', '.join(right)}."
    )


def ranking_section(report: Report, result: StudyResult) -> None:
    """ROC, precision-recall and reliability curves of each start with the most labels, of the first seed."""
    top, labels = max(result.fractions), labels_of(result.split.dataset)
    ds = result.split.dataset
    report.section("Ranking and calibration")
    seeds = len({arm.seed for arm in result.evaluations})
    first = ", of the first seed" if seeds > 1 else ""
    report.text(
        f"With {100 * top:g} % of the labels{first}, by {result.level}. {{figure:roc}} and the curves beside it hold "
        "each class against the rest; of two classes there is one curve, of the second. Brackets are 95 % intervals."
    )
    for i, name in enumerate(result.inits):
        if not result.runs(name, top):
            continue
        once = result.repetitions(name, top)[0]
        subjects = None if ds.subjects is None else ds.subjects[once.rows]
        found = evaluate_predictions(
            labels[once.rows], once.probabilities, ds.classes, subjects, n_bootstrap=result.n_bootstrap
        )
        draw = {"ROC": plot.roc, "Precision and recall": plot.precision_recall, "Reliability": plot.reliability}
        report.figures(
            Picture(f(found, level=result.level), f"{what}, {_start(name)}.", key="" if i or key else "roc")
            for key, (what, f) in enumerate(draw.items())
        )


def heat_section(report: Report, result: StudyResult) -> None:
    """Heat maps of each start with the most labels, on the same images."""
    if not result.cams:
        return
    report.section("Where the networks look")
    top = max(arm.label_fraction for arm in result.cams)
    arms = [arm for arm in result.cams if arm.label_fraction == top]
    one = result.cams[arms[0]]
    report.text(
        f"Grad-CAM at {one.layer} for the predicted class, with {100 * top:g} % of the labels, on the same test "
        "images. Each map is scaled by itself: bright says where, not how much."
    )
    for arm in arms:
        cams = result.cams[arm]
        caption = f"Start: {_start(arm.init)}. Slices, and below them the same with heat."
        report.figure(plot.cam(cams), caption, alt=_heat_in_words(cams))
    regions = [row["region"] for row in one.region_shares()]
    if regions and not result.checks:  # the checks have them, of more images
        head = ["region", "share of the picture", *(_start(arm.init) for arm in arms)]
        caption = "Share of the heat inside each region; even heat would give the region's share of the picture."
        report.table(head, _region_rows(result.cams, arms), caption)


def viewer_section(report: Report, result: StudyResult) -> None:
    """The viewers of each start."""
    if not result.viewers:
        return
    report.section("Slice by slice")
    report.text(
        "A few test subjects, with the heat of the network of the first seed with the most labels. Outlines are "
        "regions that are known, as those of phantoms are. The pointer says what is below it."
    )
    for arm, viewer in result.viewers.items():
        report.subsection(f"Start: {_start(arm.init)}").html(viewer.to_html())


def _heat_in_words(cams: CamResult) -> str:
    """How many answers were right, and where most of the heat is beside an even map."""
    text = f"{len(cams)} slices, each above the same slice with its heat map."
    if cams.labels is not None:
        text += f" {int((cams.labels == cams.targets).sum())} of {len(cams)} answers are right."
    shares = [row for row in cams.region_shares() if np.isfinite(row["ratio"])]
    if shares:
        row = max(shares, key=lambda row: row["ratio"])
        text += f" Most heat beside an even map: {row['region']}, {row['ratio']:.1f} times."
    return text


def _region_rows(cams: dict[Arm, CamResult], arms: list[Arm]) -> list[list[str]]:
    shares = {arm: {row["region"]: row for row in cams[arm].region_shares()} for arm in arms}
    return [
        [name, f"{row['area']:.1%}", *(f"{shares[arm][name]['heat']:.1%}" for arm in arms)]
        for name, row in shares[arms[0]].items()
    ]


def checks_section(report: Report, result: StudyResult) -> None:
    """Whether the heat maps can be believed."""
    if not result.checks:
        return
    report.section("Can the heat maps be believed?")
    report.text(
        "Pixels are taken away and filled from their surroundings, the hottest first or the coldest first: maps that "
        "mark what the network uses leave a gap between the two curves. Weights drawn anew must change a map, or it "
        "shows the picture and not what was learnt. The third column is what a map that knows nothing would give."
    )
    for arm, found in result.checks.items():
        start = _start(arm.init)
        caption = f"Checks of heat maps from {start}, {100 * arm.label_fraction:g} % of the labels, "
        report.table(*found.table(), f"{caption}{len(found.cams)} test images.")
        report.figures(
            [
                Picture(found.plot(), f"Deletion and insertion, {start}."),
                Picture(
                    plot.class_maps(found),
                    f"Mean map of each class that was answered, {start}.",
                    f"Mean slice of {', '.join(found.class_maps)}, each above the same with its mean heat map.",
                ),
            ]
        )


def _start(init: Any) -> str:
    return STARTS.get(init, Path(init).name)
