"""The report of a study: the conclusion first, then what was done, on what, what came out, and how to repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import plot
from .._shared import Picture, Report, Views, bytes_text, counted, expect, rows_of, seconds_text
from ..metrics import NAMES
from ..views import CustomViews
from ._arm import METRICS
from ._conclusions import STARTS, findings, headline, leak, opening_table, signed, verdict
from ._model_card import model_card
from ._page_pictures import checks_section, confusion_section, heat_section, ranking_section, viewer_section
from ._rates import rates_table
from ._result import StudyResult


def study_report(
    result: StudyResult,
    *,
    title: str,
    intro: str,
    views: Views | CustomViews = "mri",
    pretrain_batch_size: int | None = None,
    features: tuple[np.ndarray, np.ndarray] | None = None,
) -> Report:
    """Everything about a study in one page, which opens with its conclusion and its main table.

    Parameters
    ----------
    result : StudyResult
    title, intro : str
    views : str or callable
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
    expect("result", result, "inits", "what study returns")
    report = Report(title)
    _opening(report, result)
    _conclusions(report, result, intro)
    _data(report, result, views)
    _pretraining(report, result, pretrain_batch_size, features)
    _scores(report, result)
    _curves(report, result)
    confusion_section(report, result)
    ranking_section(report, result)
    heat_section(report, result)
    checks_section(report, result)
    viewer_section(report, result)
    _looks(report, result)
    model_card(result).add_to(report)
    _costs(report, result)
    return report


def _opening(report: Report, result: StudyResult) -> None:
    report.text(headline(result), "lead")
    if leak(result):
        report.text(leak(result), "note")
    report.table(*opening_table(result), f"{result.caption()}.", key="main")


def _conclusions(report: Report, result: StudyResult, intro: str) -> None:
    report.section("Conclusions")
    if intro:
        report.text(intro)
    report.items([*findings(result), "The figures are those of {table:main}, drawn in {figure:scores}."])


def _data(report: Report, result: StudyResult, views: Views | CustomViews) -> None:
    ds, split = result.split.dataset, result.split
    report.section("Data")
    size = f"{ds.image_size} x {ds.image_size}"
    who = "" if ds.subjects is None else f" of {ds.n_subjects:,} subjects"
    report.text(
        f"{ds.name}: {len(ds):,} images of {size} pixels{who}, {len(ds.classes)} classes ({{figure:images}}). "
        "{table:sets} counts them by set."
    )
    report.figure(
        plot.montage(ds),
        "Images of each class, each of another subject where there are enough.",
        alt=f"Grid of brain slices, a row a class: {', '.join(ds.classes)}.",
        key="images",
    )
    why = (
        "The sets are split by subject: all slices of a subject are in one set. Slices of one subject resemble each "
        "other, so a network that has seen some of them would be tested on its memory."
        if split.by == "subject"
        else "The sets are split by image, so slices of one subject are in training and in test: the scores below say "
        "how well subjects are remembered, not how well the disease is recognised."
    )
    report.text(why)
    several = len(result.splits) > 1
    if several:
        report.text(
            f"There are {len(result.splits)} splits, and every network, the pretrained ones too, was trained anew for "
            "each, without its test set."
        )
    caption = f"Images by class and set{', in the first split' if several else ''}."
    report.table(["class", *split.indices], _counts(result), caption, key="sets")
    name = getattr(views, "__name__", views)
    report.figure(
        plot.views(split.train, kind=views),
        "What SimCLR learns from: two random views of a slice are to agree.",
        alt=f'Three slices, a row each. The slice is on the left, then six random views "{name}" of it.',
    )


def _counts(result: StudyResult) -> list[list[str]]:
    """A row a class: images, and subjects where they are known, of each set of the first split."""
    split = result.split
    counts = {name: split.dataset[index].counts() for name, index in split.indices.items()}
    rows = []
    for i, name in enumerate(split.dataset.classes):
        cells = []
        for count in counts.values():
            subjects = "" if count.subjects is None else f" ({count.subjects[i]:,} subjects)"
            cells.append(f"{count.images[i]:,}{subjects}")
        rows.append([name, *cells])
    return rows


def _pretraining(report: Report, result: StudyResult, batch_size: int | None, features: Any) -> None:
    if not result.pretraining:
        return
    report.section("Pretraining without labels")
    several = len(result.pretraining) > 1
    history = next(iter(result.pretraining.values()))
    report.text(
        f"SimCLR, {counted(len(history), 'epoch')} ({{figure:pretraining}}). The loss starts near ln(2N - 1), which an "
        "embedding that knows nothing would have, and falls as views of one slice come together. The nearest-neighbour "
        "score uses labels only to look: it is fitted on training images and scored on validation images."
    )
    first = " The first of several." if several else ""
    loss = plot.history(history, batch_size=batch_size)
    pictures = [Picture(loss, f"Loss and nearest-neighbour accuracy by epoch.{first}", key="pretraining")]
    if any("uniformity" in row for row in history):
        pictures.append(Picture(plot.collapse(history), "Whether the embeddings of different images keep apart."))
    if features is not None:
        pictures.append(
            Picture(
                plot.embedding(*features, result.split.dataset.classes),
                "Pretrained features of validation images, which no label has shaped, in two dimensions.",
                "Scatter plot of the first two principal components of the features, coloured by class.",
            )
        )
    report.figures(pictures)
    if several:
        names = {"loss": "loss", "knn_accuracy": "nearest neighbours", "probe_balanced_accuracy": "linear probe"}
        rows = [
            [f"split {k}, seed {seed}", *(f"{h.column(name)[-1]:.3f}" if h.column(name) else "-" for name in names)]
            for (k, seed), h in result.pretraining.items()
        ]
        caption = "The last epoch of each pretraining; the probe by balanced accuracy."
        report.table(["pretraining", *names.values()], rows, caption)


def _scores(report: Report, result: StudyResult) -> None:
    report.section("How much do few labels teach?")
    report.text(
        f"Balanced accuracy is the mean of the classes' recalls. {{figure:scores}} shows it by share of the labels. "
        f"{_fairness(result)}"
    )
    keys = ["scores", *[""] * len(result.main_metrics)]
    report.figures(
        Picture(result.plot(metric), f"{result.caption(metric)}.", key=key)
        for metric, key in zip(result.main_metrics, keys, strict=False)
    )
    for metric in result.main_metrics[1:]:
        report.table(*result.table(metric), f"{result.caption(metric)}.")
    _differences(report, result)
    if result.trials:
        report.table(*rates_table(result.trials), f"{result.rates_caption()}.")
    rows = []
    for line in result.summary():
        mine = [r for r in result.rows if (r["init"], r["label_fraction"]) == (line["init"], line["label_fraction"])]
        means = [f"{np.mean([r[f'slice_{m}'] for r in mine]):.3f}" for m in METRICS]
        rows.append([STARTS.get(line["init"], line["init"]), f"{100 * line['label_fraction']:g} %", *means])
    head = ["start", "labels", *(NAMES[metric] for metric in METRICS)]
    report.table(head, rows, "Every metric by slice, each image counted once, mean over the runs.")


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
        "{table:differences} compares the two starts: the same resampled test subjects judge both, so that what makes "
        "a subject easy for both cancels."
    )
    head = ["labels", "random", "SimCLR", "difference (95 % interval)", "p", "runs ahead", "pretraining"]
    caption = f"Balanced accuracy by {result.level} from random weights and after SimCLR, paired."
    report.table(head, rows, caption, key="differences")


def _difference(d: Any) -> list[str]:
    return [f"{d.a:.3f}", f"{d.b:.3f}", signed(d.difference), "-" if np.isnan(d.p) else f"{d.p:.3f}"]


def _curves(report: Report, result: StudyResult) -> None:
    report.section("Learning curves")
    each = " Each line is a run." if len(result.rows) > len(result.summary()) else ""
    fractions = ", ".join(f"{100 * f:g} %" for f in result.fractions)
    starts = " and ".join(STARTS.get(name, Path(name).name) for name in result.inits)
    report.figure(
        result.plot_learning_curves(),
        f"Training loss and validation score by share of the labels. Where labels are few the budget of steps makes "
        f"more epochs.{each}",
        alt=f"Panels for {fractions} of the labels: training loss above, score below, by epoch, from {starts}.",
    )


def _looks(report: Report, result: StudyResult) -> None:
    if not result.looks:
        return
    report.section("Test-set access log")
    judged = [look for look in result.looks if look["purpose"] == "judged"]
    again = len(judged) - len(result.rows)
    other = [look for look in result.looks if look["purpose"] != "judged"]
    text = f"{len(judged)} accesses for {len(result.rows)} runs"
    text += ": each was judged once. " if again == 0 else f"; {again} of them again, after a stop or a change. "
    if not other:
        text += "Nothing was chosen on a test set, and no other access is in the log."
    report.text(text)
    if other:
        rows = [[look["time"], look["purpose"], look.get("model") or _who(look)] for look in other]
        report.table(["time", "purpose", "of"], rows, "Other accesses to a test set.")
    keys = ("time", "purpose", "init", "label_fraction", "seed", "split", "images", "test_set")
    report.folded_table("The access log", keys, [[look.get(key, "") for key in keys] for look in result.looks])


def _who(look: dict[str, Any]) -> str:
    return f"{look['init']}, {100 * look['label_fraction']:g} %, seed {look['seed']}, split {look['split']}"


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
    report.table(["", ""], rows_of(speed), "Cost of the study.")
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
    report.folded_table(f"All {len(rows)} runs", head, rows)
    report.details("Manifest: every option, version, seed and fingerprint", manifest)
