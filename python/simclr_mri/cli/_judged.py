"""Which images a trained classifier is asked about: a part of its own data, or a data set that it has never met."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import DataOptions
from ..datasets import SEVERITY, TASKS, Dataset, match_classes, n_unmatched
from ..learning import Classifier, share_of_training
from ._common import inherited, open_data, remembered, split_data
from ._settings import Settings

ALL = "all"


@dataclass(frozen=True, eq=False)
class Judged:
    """A classifier, the images that it is asked about, and where these come from.

    Attributes
    ----------
    clf : Classifier
    data : Dataset
        With the classifier's classes.
    settings : Settings
    on : str
        "train", "val", "test" or "all".
    is_foreign : bool
        Another data set than the one that the classifier was trained on.
    others : dict of str to Dataset
        Images of classes that the classifier does not know.
    """

    clf: Classifier
    data: Dataset
    settings: Settings
    on: str
    is_foreign: bool
    others: dict[str, Dataset]

    @property
    def split(self) -> dict[str, Any]:
        """How the images were chosen, for JSON."""
        names = ("by", "split_seed", "split", "folds", "fold")
        options = {name: getattr(self.settings.data, name) for name in names}
        return {"on": self.on} | ({} if self.on == ALL else options)


def judged(args: argparse.Namespace, section: str) -> Judged:
    """The classifier and the part of the data that is asked for; all of it where the data set is a foreign one."""
    known = remembered(args.model)
    settings = Settings(args, inherited(known))
    chosen = getattr(settings, section)
    clf = Classifier.load(args.model, precision=chosen.precision)
    foreign = _foreign_data(args, settings, clf, known)
    if foreign is None:
        ds = open_data(settings.data)
        others: dict[str, Dataset] = {}
        if ds.classes != clf.class_names_:
            raise ValueError(
                f"the model knows the classes {', '.join(clf.class_names_)}; {settings.data.path} has "
                f"{', '.join(ds.classes)}. Join or rename them, such as "
                f"--merge {shlex.quote(f'{ds.classes[0]}={clf.class_names_[0]}')}"
            )
    else:
        ds, others = match_classes(foreign, clf.class_names_)
    on = chosen.on or ("test" if foreign is None else ALL)
    if on == ALL:
        return Judged(clf, ds, settings, on, foreign is not None, others)
    parts = split_data(ds, settings.data)
    if on not in parts.indices:
        raise ValueError(f"--on {on}: this split has only {', '.join(parts.indices)}, and all")
    return Judged(clf, ds[parts.indices[on]], settings, on, foreign is not None, others)


def is_elsewhere(args: argparse.Namespace, known: dict[str, Any]) -> bool:
    """Whether a folder is given that is not the one that the model was trained on."""
    path = getattr(args, "path", None)
    own = known.get("options", {}).get("path")
    return path is not None and (not own or Path(path).expanduser().resolve() != Path(own))


def _foreign_data(
    args: argparse.Namespace, settings: Settings, clf: Classifier, known: dict[str, Any]
) -> Dataset | None:
    """The data set that is given, unless it holds the images that the model was trained on."""
    if not is_elsewhere(args, known):
        return None
    options = foreign_options(args, settings.data, clf)
    plain = open_data(replace(options, task=None))
    if share_of_training(clf.data_, plain) > 0.99:  # its own data set, in another place
        return None
    if hasattr(args, "task") and options.task:
        return plain.with_task(options.task)
    tasks = [name for name, joined in TASKS.items() if clf.class_names_ == tuple(joined)]
    return min(
        _readings(plain, options.task or next(iter(tasks), None)), key=lambda ds: n_unmatched(ds, clf.class_names_)
    )


def _readings(plain: Dataset, task: str | None) -> list[Dataset]:
    """The data set as it is and, if its classes are the four of the model's task in whatever spelling, joined."""
    if task is None:
        return [plain]
    try:
        known, others = match_classes(plain, SEVERITY)
    except ValueError:  # none of the four
        return [plain]
    return [plain] if others else [plain, known.with_task(task)]


def foreign_options(args: argparse.Namespace, options: DataOptions, clf: Classifier) -> DataOptions:
    """The model's size and channels; its table of subjects is of other images, so only one that is given counts."""
    config = clf.network_config_
    return replace(
        options,
        image_size=config["image_size"],
        channels=config["in_channels"],
        groups=getattr(args, "groups", None),
    )
