"""One cell of a study's table: a start, a share of the labels, a seed and a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .._shared import Record
from ..splits import Split

METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "auc", "kappa")


@dataclass(frozen=True)
class Arm(Record):
    """One run of a study. `split` counts from 0.

    Examples
    --------
    >>> print(Arm("random", 0.1, seed=0), "in", Arm("random", 0.1, seed=0).folder)
    random, 10 % of the labels, seed 0 in random/10pct_seed0
    """

    init: str
    label_fraction: float
    seed: int
    split: int = 0

    @property
    def folder(self) -> str:
        """Inside the study's folder or, of several splits, inside that of the split."""
        return f"{Path(self.init).name.replace('.', '_')}/{100 * self.label_fraction:g}pct_seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.init}, {100 * self.label_fraction:g} % of the labels, seed {self.seed}"


def level_of(split: Split) -> str:
    """A subject counts once where it is in one set only; else each slice does, as where subjects are unknown."""
    return "subject" if split.dataset.subjects is not None and split.by == "subject" else "slice"
