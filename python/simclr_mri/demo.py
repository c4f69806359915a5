"""The demo: the whole experiment on phantoms, from PNG folders to a report, in minutes.

It does what a user would: writes images to a folder, reads them back, splits them by subject, pretrains without labels,
fine-tunes from random weights and from SimCLR's at several label fractions, judges by subject, and looks at heat maps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import datasets, splits
from ._shared import Record, Resume, bytes_text, counted, is_quiet, say, seconds_text
from .config import DEMO_CHOICES, DataOptions, DemoOptions, StudyOptions
from .learning import Classifier, SimCLR
from .studies import StudyResult, study, study_report

REPORT_S = 25.0  # answers on the test set, bootstraps, heat maps and pictures; measured on 2 cores of a Zen 3
CAM_LAYER = "layer2"  # 6 x 6 at 48 pixels; the study's default would be 3 x 3


@dataclass(frozen=True)
class DemoResult(Record):
    """Where the report is, and what is in it."""

    report: Path
    result: StudyResult
    seconds: float


def run_demo(
    out: str | Path,
    options: DemoOptions | None = None,
    study_options: StudyOptions | None = None,
    data_options: DataOptions | None = None,
    pretrain: SimCLR | None = None,
    finetune: Classifier | None = None,
    *,
    resume: Resume = "auto",
) -> DemoResult:
    """Run the demo, or go on with it.

    Parameters
    ----------
    out : path
        Folder for phantoms, runs and report.html.
    options, study_options, data_options : optional
        Sections "demo", "study" and "data" of the configuration.
    pretrain, finetune : optional
        Unfitted estimators; by default those of the recipe "quick".
    resume : {"auto", "never"}

    Returns
    -------
    DemoResult

    Examples
    --------
    >>> run_demo("demo").report  # doctest: +SKIP
    """
    began_s = time.monotonic()
    options, study_options = options or DemoOptions(), study_options or StudyOptions(**DEMO_CHOICES["study"])
    data_options = data_options or DataOptions(**DEMO_CHOICES["data"])
    pretrain = pretrain or SimCLR(recipe="quick")
    finetune = finetune or Classifier(recipe="quick")
    out = Path(out).expanduser()
    ds = _phantoms(out / "phantoms", options, data_options)
    parts = splits.split(ds, by=data_options.by, seed=data_options.split_seed, fractions=data_options.split)
    if (out / "report.html").exists() and resume == "auto":
        say(f"The demo in {out}/ was finished before: what is there is read, not trained again.\n")
    elif finetune.verbose and not is_quiet():
        _announce(parts, study_options, pretrain, finetune, out)
    result = study(
        ds,
        inits=study_options.inits,
        fractions=study_options.label_fractions,
        seeds=study_options.seeds,
        splits=study_options.splits,
        out=out,
        split=parts,
        pretrain=pretrain,
        finetune=finetune,
        lrs=study_options.lrs,
        cam_layer=CAM_LAYER,
        n_bootstrap=study_options.n_bootstrap,
        resume=resume,
    )
    report = study_report(
        result,
        title="SimCLR on brain slices: a demonstration on phantoms",
        intro=_intro(ds, pretrain, finetune),
        views=pretrain.views,
        pretrain_batch_size=pretrain.batch_size,
        features=_features(out, result.split) if "simclr" in study_options.inits else None,
    )
    path = report.write(out / "report.html")
    return DemoResult(path, result, time.monotonic() - began_s)


def _phantoms(folder: Path, options: DemoOptions, data_options: DataOptions) -> Any:
    """Written as PNG files and read back as any user's folder would be."""
    datasets.write_phantoms(
        folder,
        seed=options.seed,
        n_subjects=options.n_subjects,
        slices=options.slices,
        image_size=options.image_size,
    )
    return datasets.open_dataset(folder, task=data_options.task, channels=data_options.channels)


def _announce(parts: splits.Split, chosen: StudyOptions, ssl: SimCLR, clf: Classifier, out: Path) -> None:
    """Say beforehand what will be done, how long it takes and how much memory, from a few real steps."""
    estimates = [ssl.estimate(parts.train)] if "simclr" in chosen.inits else []
    repeats = chosen.seeds * chosen.splits
    n_tried = max(0, len(chosen.lrs or ()) - 1) * chosen.splits  # one of the rates tried is the first seed's run
    n_runs = len(chosen.inits) * len(chosen.label_fractions) * repeats
    seconds = sum(e.seconds for e in estimates) * repeats + REPORT_S
    val = parts.val if "val" in parts.indices else None
    for fraction in chosen.label_fractions:
        estimates.append(clf_at(clf, fraction).estimate(parts.train, val))
        seconds += estimates[-1].seconds * len(chosen.inits) * (repeats + n_tried)
    fractions = ", ".join(f"{100 * f:g} %" for f in chosen.label_fractions)
    say(
        f"This demo works on {len(parts.dataset):,} phantom slices of {parts.dataset.n_subjects} made-up subjects "
        f"({out / 'phantoms'}/).\n"
        f"  1. split by subject: {len(parts.train):,} slices to train, {len(parts.test):,} to test "
        f"({parts.test.n_subjects:,} subjects)\n"
        f"  2. pretrain a {ssl.arch} with SimCLR, without labels: {counted(ssl.epochs, 'epoch')}"
        f"{f', {repeats} times' if repeats > 1 else ''}\n"
        f"  3. fine-tune {n_runs} classifiers, from {' and '.join(chosen.inits)} weights, with {fractions} of the "
        "labels\n"
        f"  4. judge them by subject, draw heat maps, write {out / 'report.html'}\n"
        f"It will take about {seconds_text(seconds)} and {bytes_text(max(e.memory_bytes for e in estimates))} of "
        "memory. Ctrl-C stops it; the same command goes on.\n"
    )


def clf_at(clf: Classifier, fraction: float) -> Classifier:
    """The same classifier with another label fraction."""
    return type(clf)(**{**clf.get_params(deep=False), "label_fraction": fraction})


def _intro(ds: Any, ssl: SimCLR, clf: Classifier) -> str:
    return (
        f"A {ssl.arch} was pretrained with SimCLR on slices of {ds.image_size} pixels without labels, then fine-tuned "
        "with few and with many labels, beside the same network from random weights. The slices are phantoms: made-up "
        "heads in which ventricles widen, cortex thins and hippocampi shrink with severity, with much overlap between "
        "the classes. So the true regions are known, and the demo needs no download. The commands are those for real "
        "data."
    )


def _features(out: Path, parts: splits.Split) -> Any:
    several = out / "split0"
    ssl = SimCLR.load((several if several.is_dir() else out) / "simclr" / "pretraining_seed0")
    shown = parts["val" if "val" in parts.indices else "train"]
    return ssl.transform(shown), shown.labels
