"""The report of a study: what was done, on what, what came out, and what the networks look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import plot
from .._shared import Report, bytes_text, counted, html_table, rows_of, seconds_text
from ..explain import CamResult
from ._arm import METRICS, Arm
from ._conclusions import STARTS, conclusions, verdict
from ._rates import rates_table
from ._result import StudyResult


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
    _curves(report, result)
    _confusions(report, result)
    _heat(report, result)
    _checks(report, result)
    _looks(report, result)
    _costs(report, result)
    return report


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
    if len(result.splits) > 1:
        report.text(
            f"There are {len(result.splits)} splits, and every network, the pretrained ones too, was trained anew for "
            "each, without its test set. The first one:"
        )
    names = list(split.indices)
    counts = {name: split.dataset[index].counts() for name, index in split.indices.items()}
    rows = []
    for i, c in enumerate(ds.classes):
        cells = []
        for name in names:
            count = counts[name]
            subjects = "" if count.subjects is None else f" ({count.subjects[i]:,} subjects)"
            cells.append(f"{count.images[i]:,}{subjects}")
        rows.append([c, *cells])
    report.table(["class", *names], rows)
    report.figure(
        plot.views(split.train, kind=views), "What SimCLR learns from: two random views of a slice are to agree."
    )


def _pretraining(report: Report, result: StudyResult, batch_size: int | None, features: Any) -> None:
    if not result.pretraining:
        return
    report.section("Pretraining without labels")
    several = len(result.pretraining) > 1
    history = next(iter(result.pretraining.values()))
    report.text(
        f"SimCLR, {counted(len(history), 'epoch')}. The loss starts near ln(2N - 1), which an embedding that knows "
        "nothing would have, and falls as views of one slice come together. The nearest-neighbour score uses labels "
        "only to look: it is fitted on training images and scored on validation images."
    )
    first = " The first of several." if several else ""
    pictures = [(plot.history(history, batch_size=batch_size), f"Loss and nearest-neighbour accuracy by epoch.{first}")]
    if any("uniformity" in row for row in history):
        pictures.append((plot.collapse(history), "Whether the embeddings of different images keep apart."))
    if features is not None:
        ax = plot.embedding(*features, result.split.dataset.classes)
        pictures.append((ax, "Pretrained features of validation images, which no label has shaped, in two dimensions."))
    report.figures(pictures)
    if several:
        names = {"loss": "loss", "knn_accuracy": "nearest neighbours", "probe_balanced_accuracy": "linear probe"}
        rows = [
            [f"split {k}, seed {seed}", *(f"{h.column(name)[-1]:.3f}" if h.column(name) else "-" for name in names)]
            for (k, seed), h in result.pretraining.items()
        ]
        report.text("The last epoch of each (the probe by balanced accuracy):")
        report.table(["pretraining", *names.values()], rows)


def _scores(report: Report, result: StudyResult) -> None:
    report.section("How much do few labels teach?")
    report.text(f"{result.caption()}. Balanced accuracy is the mean of the classes' recalls. {_fairness(result)}")
    report.figures((result.plot(metric), "") for metric in result.main_metrics)
    report.table(*result.table())
    for metric in result.main_metrics[1:]:
        report.text(f"{result.caption(metric)}:")
        report.table(*result.table(metric))
    _differences(report, result)
    if result.trials:
        report.text(f"{result.rates_caption()}:")
        report.table(*rates_table(result.trials))
    report.text("Every metric by slice, each image counted once, mean over the runs:")
    rows = []
    for line in result.summary():
        mine = [r for r in result.rows if (r["init"], r["label_fraction"]) == (line["init"], line["label_fraction"])]
        means = [f"{np.mean([r[f'slice_{m}'] for r in mine]):.3f}" for m in METRICS]
        rows.append([STARTS.get(line["init"], line["init"]), f"{100 * line['label_fraction']:g} %", *means])
    report.table(["start", "labels", "balanced accuracy", "accuracy", "macro F1", "area under curve", "kappa"], rows)


def _fairness(result: StudyResult) -> str:
    chosen = "the best epoch was chosen on validation data" if result.split.val is not None else "the last epoch counts"
    if any(look.get("epochs") for look in result.looks):
        chosen = "the best epoch was chosen on the test set, which flatters"
    rates = "; the learning rate of each was chosen on validation data, among the same few" if result.trials else ""
    return f"Every arm has the same budget; {chosen}{rates}."


def _differences(report: Report, result: StudyResult) -> None:
    rows = []
    for f, d in result.differences("random", "simclr"):
        ahead, pairs = result.wins("random", "simclr", f)
        rows.append([f"{100 * f:g} %", *_difference(d), f"{ahead} of {pairs}", verdict(d)])
    if not rows:
        return
    mean = result.mean_difference("random", "simclr")
    if mean is not None and len(rows) > 1:
        rows.append(["their mean", *_difference(mean), "", verdict(mean)])
    report.text(
        "The two starts compared: the same resampled test subjects judge both, so that what makes a subject easy for "
        "both cancels."
    )
    report.table(["labels", "random", "SimCLR", "difference (95 % interval)", "p", "runs ahead", "pretraining"], rows)


def _difference(d: Any) -> list[str]:
    found = d.difference
    bounds = found.note or f"{found.low:+.3f} to {found.high:+.3f}"
    return [f"{d.a:.3f}", f"{d.b:.3f}", f"{found.value:+.3f} ({bounds})", "-" if np.isnan(d.p) else f"{d.p:.3f}"]


def _curves(report: Report, result: StudyResult) -> None:
    report.section("Learning curves")
    each = " Each line is a run." if len(result.rows) > len(result.summary()) else ""
    report.figure(
        result.plot_learning_curves(),
        f"By share of the labels. Where labels are few the budget of steps makes more epochs.{each}",
    )


def _confusions(report: Report, result: StudyResult) -> None:
    report.section("Confusion matrices")
    runs = " Summed over the runs of an arm." if len(result.rows) > len(result.summary()) else ""
    report.text(f"By {result.level}: rows are the truth, columns the answer.{runs}")
    for f in result.fractions:
        report.figures(
            (
                plot.confusion(
                    result.confusion(name, f),
                    result.split.dataset.classes,
                    title=f"{STARTS.get(name, Path(name).name)}, {100 * f:g} %",
                ),
                "",
            )
            for name in result.inits
            if result.runs(name, f)
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
    if regions and not result.checks:  # the checks have them, of more images
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
        report.figures(
            [
                (found.plot(), "Deletion and insertion."),
                (plot.class_maps(found), "Mean map of each class that was answered."),
            ]
        )


def _looks(report: Report, result: StudyResult) -> None:
    if not result.looks:
        return
    report.section("Looks at the test sets")
    judged = [look for look in result.looks if look["purpose"] == "judged"]
    again = len(judged) - len(result.rows)
    other = [look for look in result.looks if look["purpose"] != "judged"]
    text = f"{len(judged)} looks for {len(result.rows)} runs"
    text += ": each was judged once. " if again == 0 else f"; {again} of them again, after a stop or a change. "
    if not other:
        text += "Nothing was chosen on a test set, and no other look is on record."
    report.text(text)
    if other:
        report.table(
            ["time", "purpose", "of"],
            [[look["time"], look["purpose"], look.get("model") or _who(look)] for look in other],
        )
    keys = ("time", "purpose", "init", "label_fraction", "seed", "split", "images", "test_set")
    rows = [[look.get(key, "") for key in keys] for look in result.looks]
    report.html(f"<details><summary>The record</summary>{html_table(keys, rows)}</details>")


def _who(look: dict[str, Any]) -> str:
    return f"{look['init']}, {100 * look['label_fraction']:g} %, seed {look['seed']}, split {look['split']}"


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
        "training, all runs": seconds_text(manifest["training_s"]),
        "wall time of the last command": seconds_text(manifest["wall_s"]),
        "peak memory": bytes_text(manifest["peak_memory_bytes"]),
        "pretraining, images/s": manifest["pretraining_images_per_s"] or "-",
        "fine-tuning, images/s": manifest["finetuning_images_per_s"] or "-",
        "processor": f"{manifest['versions'].get('cpu', '')}, {manifest['versions'].get('isa', '')}",
        "command": " ".join([Path(manifest["command"][0]).name, *manifest["command"][1:]]),
    }
    report.table(["", ""], rows_of(speed))
    rows = [
        [
            f"{arm}, split {arm.split}" if len(result.splits) > 1 else str(arm),
            f"{row['n_labelled']:,}",
            f"{row['lr']:g}",
            row["epochs"],
            row["best_epoch"],
            f"{sum(line['seconds'] for line in result.histories[arm]):.0f}",
            f"{row['balanced_accuracy']:.3f}",
        ]
        for arm, row in zip(result.evaluations, result.rows, strict=True)
    ]
    head = ["run", "labelled images", "rate", "epochs", "epoch kept", "training, s", "balanced accuracy"]
    report.html(f"<details><summary>All {len(rows)} runs</summary>{html_table(head, rows)}</details>")
    report.details("Manifest: every option, version, seed and fingerprint", manifest)


def _name(arm: Arm) -> str:
    return STARTS.get(arm.init, Path(arm.init).name)
