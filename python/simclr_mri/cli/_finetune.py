"""`simclr-mri finetune`: a classifier on the training part of the split."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from ..config import as_dict
from ..datasets import Dataset
from ..learning import CHECKPOINT_FILE, Classifier, pretrained_keys, seen_note
from ._common import (
    after_training,
    announce,
    describe,
    estimator_of,
    facts_of,
    folder_for_results,
    inherited,
    open_data,
    ranks_of,
    remembered,
    split_data,
    trackers,
)
from ._settings import Settings


def finetune(args: argparse.Namespace) -> int:
    """A classifier on the training part of the split."""
    init = getattr(args, "init", "random")
    theirs = remembered(init)
    settings = Settings(args, inherited(theirs))
    callbacks = trackers(settings)
    clf = estimator_of(Classifier, settings.finetune)
    clf.check_start()
    ds = open_data(settings.data)
    parts = split_data(ds, settings.data)
    describe(ds, parts)
    _warn_of_pretraining(init, theirs, settings, parts.test)
    ranks = ranks_of(args)
    out = folder_for_results(settings, f"runs/finetune_{_short_name(clf.init)}_{100 * clf.label_fraction:g}pct")
    select = parts.test if clf.select_on == "test" else parts.val
    what = f"classifier, start {clf.init}, {100 * clf.label_fraction:g} % of the labels"
    announce(clf, what, parts.train, select, out, settings.run.resume, ranks)
    clf.fit(
        parts.train,
        select,
        checkpoint=out,
        resume=settings.run.resume,
        facts=facts_of(settings.data, settings.recipe),
        callbacks=callbacks,
        comm=ranks,
    )
    return after_training(clf, out, f"simclr-mri evaluate {out}", ranks)


def _warn_of_pretraining(init: str, remembered: dict[str, Any], settings: Settings, test: Dataset) -> None:
    """What the start has seen of the test set, or may have seen where it does not remember its images."""
    note = seen_note(pretrained_keys(remembered), test)
    if note:
        warnings.warn(f"{init}: {note}", stacklevel=2)
    theirs, mine = inherited(remembered).get("data", {}), as_dict(settings.data)
    differing = [
        k
        for k in ("by", "split_seed", "split", "task", "folds", "fold")
        if k in theirs and _plain(theirs[k]) != _plain(mine[k])
    ]
    if differing:
        warnings.warn(
            f"{init} was pretrained on another split ({', '.join(differing)} differ): it may have seen test images, "
            "without their labels",
            stacklevel=2,
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _short_name(init: str) -> str:
    """A start in a folder's name: "random", a run's folder, a file without its endings."""
    path = Path(init)
    return (path.parent.name or "weights") if path.name == CHECKPOINT_FILE else path.name.split(".")[0] or "weights"
