"""Cross-validation: folds in which every subject is tested once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._shared import By, suggests_names
from ..datasets import Dataset, DataWarning
from ._deal import one_unit, quotas_of, stratum_name, units_of
from ._split import Split, check_by, judge_split


@suggests_names
def kfold(
    ds: Dataset,
    *,
    n_splits: int = 5,
    by: By = "subject",
    seed: int = 0,
    repeats: int = 1,
    stratify: bool = True,
    val: float = 0.0,
) -> Folds:
    """Cross-validation: every subject (or image) is tested once in each repeat.

    Parameters
    ----------
    ds : Dataset
    n_splits : int
    by : {"subject", "image"}
    seed : int
        Repeat r shuffles with seed + r.
    repeats : int
    stratify : bool
    val : float
        Share of what a fold does not test that is kept for validation; 0 for none. A class of which only one subject
        is left goes to train.

    Returns
    -------
    Folds
        An iterator of `Split`, with "train" and "test", and "val" between them if asked for. Also a splitter for the
        `cv=` of scikit-learn, which gets the indices of train and test.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> [len(fold.test) for fold in kfold(ds, n_splits=4)]
    [10, 10, 10, 10]
    >>> from sklearn.model_selection import cross_val_score
    >>> from simclr_mri import LinearProbe
    >>> scores = cross_val_score(LinearProbe("pixels"), ds, ds.labels, cv=kfold(ds, n_splits=4))
    >>> scores.shape
    (4,)
    """
    check_by(ds, by)
    units, labels, members = units_of(ds, by)
    if not 2 <= n_splits <= len(units):
        raise ValueError(f"n_splits: expected 2 to {len(units)} (the number of {by}s), got {n_splits}")
    strata = labels if stratify and ds.labels is not None else np.zeros(len(units), np.int64)
    for c in np.unique(strata):
        n = int((strata == c).sum())
        if n < 2 and stratify and ds.labels is not None:
            raise ValueError(one_unit(ds, c, by, stratify))
        if n < n_splits:
            warnings.warn(
                f"class {stratum_name(ds, c, stratify)} has {n} {by}s: only {n} of {n_splits} folds test it",
                DataWarning,
                stacklevel=2,
            )
    if not 0 <= val < 1:
        raise ValueError(f"val: expected a share from 0 to below 1, got {val}")
    return Folds(ds, n_splits * repeats, lambda: _folds(ds, units, strata, members, n_splits, by, seed, repeats, val))


class Folds(Iterator[Split]):
    """The splits of a cross-validation, one after the other; also a splitter for the `cv=` of scikit-learn.

    `len()` is the number of splits.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> folds = kfold(datasets.phantoms(n_subjects=24, slices=2, image_size=32, task="cdr0"), n_splits=3)
    >>> len(folds), [len(test) for _, test in folds.split()]
    (3, [16, 16, 16])
    """

    def __init__(self, ds: Dataset, n: int, begin: Callable[[], Iterator[Split]]) -> None:
        self._ds, self._n, self._begin = ds, n, begin
        self._going: Iterator[Split] | None = None

    def __len__(self) -> int:
        return self._n

    def __next__(self) -> Split:
        if self._going is None:
            self._going = self._begin()
        return next(self._going)

    def __repr__(self) -> str:
        return f"<Folds: {self._n} splits of {self._ds.name!r}>"

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Indices of train and test in each split, always from the first one; X has to be as long as the data set.

        Classes and subjects are those of the data set, whatever y and groups are.
        """
        n = len(self._ds) if X is None else len(X)
        if n != len(self._ds):
            raise ValueError(f"cv: these folds are of {len(self._ds):,} images, and X has {n:,}")
        return ((fold.indices["train"], fold.indices["test"]) for fold in self._begin())

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """How many there are."""
        return self._n


def _folds(ds, units, strata, members, n_splits, by, seed, repeats, val) -> Iterator[Split]:
    for repeat in range(repeats):
        rng = np.random.default_rng(seed + repeat)
        fold = np.empty(len(units), np.int64)
        start = 0
        for c in np.unique(strata):
            # Dealing on from where the last class stopped keeps the folds equal in size.
            found = rng.permutation(np.flatnonzero(strata == c))
            fold[found] = (start + np.arange(len(found))) % n_splits
            start += len(found)
        for k in range(n_splits):
            part = np.where(fold == k, 2, 0)
            if val:
                part[_held_back(strata, fold != k, val, by, np.random.default_rng((seed + repeat, k)))] = 1
            sets = {"train": 0, "val": 1, "test": 2} if val else {"train": 0, "test": 2}
            indices = {name: np.flatnonzero(part[members] == number) for name, number in sets.items()}
            result = Split(ds, indices, by, seed + repeat)
            if by == "subject" or (repeat == 0 and k == 0):  # the warning is said once
                judge_split(result)
            yield result


def _held_back(strata: np.ndarray, rest: np.ndarray, share: float, by: str, rng: np.random.Generator) -> np.ndarray:
    """Units of `rest` for validation: a share of every class, at least one, but never the last one."""
    quotas = quotas_of(strata[rest], [1 - share, share], by)
    chosen = []
    for c, quota in quotas.items():
        found = rng.permutation(np.flatnonzero(rest & (strata == c)))
        chosen.append(found[: min(max(1, quota[1]), len(found) - 1)])
    return np.concatenate(chosen)
