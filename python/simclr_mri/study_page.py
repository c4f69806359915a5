"""The report of a study: what was done, on what, what came out, and what the networks look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import plot
from .cam import CamResult
from .progress import bytes_text, seconds_text
from .report import Report, rows_of
from .studies import Arm, StudyResult

NAMES = {"random": "random weights", "simclr": "SimCLR"}


def study_report(
    result: StudyResult,
    *,
    title: str,
    intro: str,
    views: str = "mri",
    pretrain_batch_size: int | None = None,
    features: tuple[np.ndarray, np.ndarray] | None = None,
) -> Report:
    """Everything about a study in one page.

    Parameters
    ----------
    result : StudyResult
    title, intro : str
    views : str
        The augmentation to show.
    pretrain_batch_size : int, optional
        For the chance line of the pretraining loss.
    features : (ndarray (N, D), ndarray (N,)), optional
        Pretrained features and labels of validation images, for the map.

    Returns
    -------
    Report

    Examples
    --------
    >>> study_report(result, title="Kaggle, by subject").write("report.html")  # doctest: +SKIP
    """
    report = Report(title)
    report.text(intro)
    report.text(conclusions(result), "lead")
    _data(report, result, views)
    _pretraining(report, result, pretrain_batch_size, features)
    _scores(report, result)
    _heat(report, result)
    _checks(report, result)
    _costs(report, result)
    return report


def conclusions(result: StudyResult, metric: str = "balanced_accuracy") -> str:
    """Sentences computed from the figures: no claim beyond the intervals."""
    chance = 1 / len(result.split.dataset.classes)
    sentences = []
    for f, d in result.differences("random", "simclr", metric):
        low, high = d.difference.low, d.difference.high
        verdict = (
            "pretraining helped"
            if low > 0
            else "pretraining hurt"
            if high < 0
            else "no difference that the test set can tell"
        )
        sentences.append(
            f"At {100 * f:g} % of the labels the balanced accuracy by {result.level} is {d.a:.2f} from random weights "
            f"and {d.b:.2f} after SimCLR (difference {d.difference.value:+.2f}, 95 % interval {low:+.2f} to "
            f"{high:+.2f}: {verdict})."
        )
    n = len(result.split.test)
    who = f"{result.split.test.n_subjects} subjects" if result.level == "subject" else f"{n} images"
    sentences.append(f"The test set has {who}; always answering one class scores {chance:.2f}.")
    return " ".join(sentences)


def _data(report: Report, result: StudyResult, views: str) -> None:
    ds, split = result.split.dataset, result.split
    report.section("Data")
    size = f"{ds.image_size} x {ds.image_size}"
    who = "" if ds.subjects is None else f" of {ds.n_subjects:,} subjects"
    report.text(f"{ds.name}: {len(ds):,} images of {size} pixels{who}, {len(ds.classes)} classes.")
    report.figure(plot.montage(ds), "Images of each class, each of another subject where there are enough.")
    why = (
        "The sets are split by subject: all slices of a head are in one set. Slices of one head resemble each other, "
        "so a network that has seen some of them would be tested on its memory."
        if split.by == "subject"
        else "The sets are split by image, so slices of one head are in training and in test: the scores below say "
        "how well heads are remembered, not how well the disease is recognised."
    )
    report.text(why)
    names = list(split.indices)
    counts = {name: split.dataset[index].counts() for name, index in split.indices.items()}
    rows = []
    for i, c in enumerate(ds.classes):
        cells = []
        for name in names:
            subjects = "" if counts[name].subjects is None else f" ({counts[name].subjects[i]:,} subjects)"
            cells.append(f"{counts[name].images[i]:,}{subjects}")
        rows.append([c, *cells])
    report.table(["class", *names], rows)
    report.figure(
        plot.views(split.train, kind=views), "What SimCLR learns from: two random views of a slice are to agree."
    )


def _pretraining(report: Report, result: StudyResult, batch_size: int | None, features: Any) -> None:
    if not result.pretraining:
        return
    report.section("Pretraining without labels")
    history = next(iter(result.pretraining.values()))
    report.text(
        f"SimCLR, {len(history)} epochs. The loss starts near ln(2N - 1), which an embedding that knows nothing would "
        "have, and falls as views of one slice come together. The nearest-neighbour score uses labels only to look: "
        "it is fitted on training images and scored on validation images."
    )
    pictures = [(plot.history(history, batch_size=batch_size), "Loss and nearest-neighbour accuracy by epoch.")]
    if any("uniformity" in row for row in history):
        pictures.append((plot.collapse(history), "Whether the embeddings of different images keep apart."))
    if features is not None:
        ax = plot.embedding(*features, result.split.dataset.classes)
        pictures.append((ax, "Pretrained features of validation images, which no label has shaped, in two dimensions."))
    report.figures(pictures)


def _scores(report: Report, result: StudyResult) -> None:
    report.section("How much do few labels teach?")
    report.text(
        f"Balanced accuracy (the mean of the classes' recalls) by {result.level} on the test set, with 95 % intervals "
        "by bootstrap over subjects. Every arm has the same budget; the best epoch was chosen on validation data."
        if result.level == "subject"
        else "Balanced accuracy (the mean of the classes' recalls) by image on the test set."
    )
    report.figure(result.plot())
    report.table(*result.table())
    rows = [
        [f"{100 * f:g} %", f"{d.a:.3f}", f"{d.b:.3f}", f"{d.difference:+.3f}", f"{d.p:.2f}"]
        for f, d in result.differences("random", "simclr")
    ]
    if rows:
        report.text("The two starts compared on the same test subjects:")
        report.table(["labels", "random", "SimCLR", "difference", "p"], rows)
    head = ["start", "labels", "accuracy", "balanced accuracy", "macro F1", "area under curve", "kappa"]
    metrics = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "kappa")
    report.text("The same by slice, each image counted once:")
    report.table(
        head,
        [
            [
                NAMES.get(r["init"], r["init"]),
                f"{100 * r['label_fraction']:g} %",
                *(f"{r[f'slice_{m}']:.3f}" for m in metrics),
            ]
            for r in result.rows
            if r["seed"] == 0
        ],
    )
    report.section("Confusion matrices")
    report.text(f"By {result.level}: rows are the truth, columns the answer.")
    for f in sorted({arm.label_fraction for arm in result.evaluations}):
        arms = [arm for arm in result.evaluations if arm.label_fraction == f and arm.seed == 0]
        report.figures(
            (plot.confusion(result.evaluations[arm], level=result.level, title=f"{_name(arm)}, {100 * f:g} %"), "")
            for arm in arms
        )


def _heat(report: Report, result: StudyResult) -> None:
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
        report.figure(plot.cam(result.cams[arm]), f"Start: {_name(arm)}.")
    regions = [row["region"] for row in one.region_shares()]
    if regions:
        report.text(
            "Share of the heat inside each region, beside the region's share of the picture (even heat would give "
            "that):"
        )
        report.table(["region", "share of the picture", *(_name(arm) for arm in arms)], _region_rows(result.cams, arms))


def _checks(report: Report, result: StudyResult) -> None:
    if not result.checks:
        return
    report.section("Can the heat maps be believed?")
    report.text(
        "Pixels are taken away and filled from their surroundings, the hottest first or the coldest first: maps that "
        "mark what the network uses leave a gap between the two curves. Weights drawn anew must change a map, or it "
        "shows the picture and not what was learnt. The third column is what a map that knows nothing would give."
    )
    for arm, found in result.checks.items():
        report.text(
            f"Start: {_name(arm)}, {100 * arm.label_fraction:g} % of the labels, {len(found.cams)} test images."
        )
        report.table(*found.table())
        report.figures([(found.plot(), "Deletion and insertion."), (plot.class_maps(found), "Mean map of each class.")])


def _region_rows(cams: dict[Arm, CamResult], arms: list[Arm]) -> list[list[str]]:
    shares = {arm: {row["region"]: row for row in cams[arm].region_shares()} for arm in arms}
    return [
        [name, f"{row['area']:.1%}", *(f"{shares[arm][name]['heat']:.1%}" for arm in arms)]
        for name, row in shares[arms[0]].items()
    ]


def _costs(report: Report, result: StudyResult) -> None:
    manifest: dict[str, Any] = result.facts.get("manifest", {})
    if not manifest:
        return
    report.section("Time, memory, and how to repeat this")
    speed = {
        "wall time": seconds_text(manifest["wall_s"]),
        "peak memory": bytes_text(manifest["peak_memory_bytes"]),
        "pretraining, images/s": manifest["pretraining_images_per_s"] or "-",
        "fine-tuning, images/s": manifest["finetuning_images_per_s"] or "-",
        "processor": f"{manifest['versions'].get('cpu', '')}, {manifest['versions'].get('isa', '')}",
        "command": " ".join([Path(manifest["command"][0]).name, *manifest["command"][1:]]),
    }
    report.table(["", ""], rows_of(speed))
    report.details("Manifest: every option, version, seed and fingerprint", manifest)


def _name(arm: Arm) -> str:
    return NAMES.get(arm.init, Path(arm.init).name)
