"""The fine-tuning rate of each start in a study, chosen on validation data.

A pretrained network wants a smaller rate than a random one, so that one rate for all favours one of the starts. Here
every start tries the same rates with the same budget, at each label fraction and in each split, with the first seed;
the rate that is best on validation data serves all seeds. The test set is not looked at. In a split without validation
data a part of the training set is held back while rates are tried, and training with the chosen one is on all of it.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import splits as _splits
from .._shared import By, Resume, atomic_writer
from ..datasets import Dataset
from ..learning import CHECKPOINT_FILE, Classifier

if TYPE_CHECKING:
    from ._arm import Arm


HELD_BACK = 0.15  # of the training set, where a split has no validation data: as much as in the default split


def checked_rates(lrs: Sequence[float] | None) -> tuple[float, ...]:
    """In ascending order, each once; ValueError for one that is not above 0, or for only one."""
    rates = tuple(sorted({float(lr) for lr in lrs or ()}))
    for lr in rates:
        if not (lr > 0 and math.isfinite(lr)):
            raise ValueError(f"lrs: expected learning rates above 0, got {lr:g}")
    if len(rates) == 1:
        raise ValueError(f"lrs: expected two or more to choose from, got {rates[0]:g}; one for all is finetune's lr")
    return rates


def held_back(train: Dataset, by: By, seed: int) -> tuple[Dataset, Dataset]:
    """(train, validation) from a training set, for a split that has no validation data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _splits.LeakageWarning)  # it was said of the split itself
        parts = _splits.split(train, by=by, seed=seed, fractions=(1 - HELD_BACK, HELD_BACK))
    return parts.train, parts.test


def trials_become_runs(clf: Classifier, split: _splits.Split) -> bool:
    """Whether trying a rate is the very training that would follow: on the same data, the epoch chosen on the same."""
    return "val" in split.indices and clf.select_on == "val"


def validation_score(clf: Classifier) -> tuple[str, float]:
    """What the epochs were chosen by (balanced accuracy where the last is taken), and its value: larger is better."""
    metric = "balanced_accuracy" if clf.select == "last" else clf.select
    kept = [row for row in clf.history_ if row["epoch"] == clf.best_epoch_]
    value = kept[0].get(f"val_{metric}") if kept else None
    if value is None:
        return metric, -math.inf
    return metric, -value if metric == "loss" else value


@dataclass
class RateSearch:
    """Which rate each start has at each label fraction in each split.

    Attributes
    ----------
    lrs : tuple of float
        From `checked_rates`; of equally good ones the first is taken.
    resume : {"auto", "never"}
    trials : list of dict
        init, label_fraction, split, lr, metric, val_score, chosen, seconds; one for every rate that was tried.
    chosen : dict of (init, label_fraction, split) to float
    """

    lrs: tuple[float, ...]
    resume: Resume = "auto"
    trials: list[dict[str, Any]] = field(default_factory=list)
    chosen: dict[tuple[str, float, int], float] = field(default_factory=dict)

    def choose(
        self,
        arm: Arm,
        make: Callable[[float], Classifier],
        sets: Callable[[], tuple[Dataset, Dataset]],
        folder: Path,
        facts: Mapping[str, Any],
        tried: Callable[[float, Classifier, float], None],
    ) -> float:
        """The rate of an arm, tried out the first time that it is asked for.

        Parameters
        ----------
        arm : Arm
        make : callable (lr) -> Classifier
        sets : callable () -> (train, validation)
        folder : Path
            Of the arm; each trial has a folder in it.
        facts : mapping
            Kept in the checkpoints.
        tried : callable (lr, classifier, score) -> None
            Told after each trial.

        Returns
        -------
        float
        """
        key = (arm.init, arm.label_fraction, arm.split)
        if key not in self.chosen:
            train, val = sets()
            found = []
            for lr in self.lrs:
                clf = make(lr)
                found.append(self._try(arm, lr, clf, train, val, folder / trial_name(lr), facts))
                tried(lr, clf, found[-1]["val_score"])
            best = max(found, key=lambda trial: trial["val_score"])
            best["chosen"] = True
            self.trials += found
            self.chosen[key] = best["lr"]
        return self.chosen[key]

    def _try(
        self,
        arm: Arm,
        lr: float,
        clf: Classifier,
        train: Dataset,
        val: Dataset,
        folder: Path,
        facts: Mapping[str, Any],
    ) -> dict[str, Any]:
        try:
            clf.fit(train, val, checkpoint=folder, resume=self.resume, facts=dict(facts))
            if not clf.position_.finished:
                raise KeyboardInterrupt
            metric, score = validation_score(clf)
        except FloatingPointError:  # a rate that diverges has lost; it is an answer, and no reason to stop
            metric, score = clf.select, -math.inf
        trial = {"init": arm.init, "label_fraction": arm.label_fraction, "split": arm.split, "lr": lr}
        seconds = round(sum(row["seconds"] for row in clf.history_), 1)
        return trial | {"metric": metric, "val_score": score, "chosen": False, "seconds": seconds}


def trial_name(lr: float) -> str:
    """Folder of a trial."""
    return f"lr_{lr:g}"


def adopt_trial(trial: Path, folder: Path, resume: Resume) -> None:
    """A trial becomes the run of `folder`, unless one is there: the checkpoint last, so that it is whole if there."""
    if resume == "auto" and (folder / CHECKPOINT_FILE).exists():
        return
    whole = [path for path in trial.iterdir() if not path.name.startswith(".")]  # not what a kill left behind
    for path in sorted(whole, key=lambda path: path.name == CHECKPOINT_FILE):
        with open(path, "rb") as source, atomic_writer(folder / path.name) as target:
            shutil.copyfileobj(source, target)


def rates_table(trials: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a start and label fraction, the mean validation score of each rate over the splits.

    Examples
    --------
    >>> trial = {"init": "random", "label_fraction": 0.1, "split": 0, "metric": "accuracy"}
    >>> tried = [(1e-4, 0.5, False), (1e-3, 0.75, True)]
    >>> rates_table([{**trial, "lr": lr, "val_score": v, "chosen": c} for lr, v, c in tried])
    (['start', 'labels', '0.0001', '0.001'], [['random', '10 %', '0.500', '0.750 (chosen)']])
    """
    rates = sorted({trial["lr"] for trial in trials})
    n_splits = len({trial["split"] for trial in trials})
    rows = []
    for init, f in dict.fromkeys((trial["init"], trial["label_fraction"]) for trial in trials):
        cells = []
        for lr in rates:
            mine = [t for t in trials if (t["init"], t["label_fraction"], t["lr"]) == (init, f, lr)]
            mean, n = sum(t["val_score"] for t in mine) / len(mine), sum(t["chosen"] for t in mine)
            often = "" if not n else f" (chosen in {n} of {n_splits})" if n_splits > 1 else " (chosen)"
            cells.append(f"{mean:.3f}{often}" if math.isfinite(mean) else f"diverged{often}")
        rows.append([Path(init).name, f"{100 * f:g} %", *cells])
    return ["start", "labels", *(f"{lr:g}" for lr in rates)], rows
