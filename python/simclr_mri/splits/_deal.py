"""Deals units (subjects or images) to parts, stratum by stratum, so that every part gets its share of every class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from .._shared import in_words, option_text
from ..datasets import Dataset, DataWarning, merge_text, subjects_of


def units_of(ds: Dataset, by: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is dealt out, its class, and the unit of each image.

    A subject with images of several classes (a patient who got worse) counts for the most frequent one.
    """
    labels = ds.labels if ds.labels is not None else np.zeros(len(ds), np.int64)
    if by == "image":
        return np.arange(len(ds)), labels, np.arange(len(ds))
    units, members = np.unique(subjects_of(ds), return_inverse=True)
    table = np.zeros((len(units), labels.max() + 1), np.int64)
    np.add.at(table, (members, labels), 1)
    return units, table.argmax(axis=1), members


def quotas_of(strata: np.ndarray, sizes: list[float], by: str) -> dict[int, list[int]]:
    """How many units of each class go into each set.

    Largest remainders twice: the totals of the sets first, then each class, so that 80 : 20 of 6,400 is 5,120 : 1,280.
    """
    totals = largest_remainder(np.array(sizes) * len(strata))
    classes, counts = np.unique(strata, return_counts=True)
    exact = np.outer(counts, sizes)
    quota = np.floor(exact + 1e-9).astype(np.int64)
    remainder = exact - quota
    missing_class = np.array([sum(largest_remainder(row)) for row in exact]) - quota.sum(axis=1)
    missing_set = totals - quota.sum(axis=0)
    for i, j in sorted(np.ndindex(*quota.shape), key=lambda ij: -remainder[ij]):
        if missing_class[i] > 0 and missing_set[j] > 0:
            quota[i, j] += 1
            missing_class[i] -= 1
            missing_set[j] -= 1
    for i in np.flatnonzero(missing_class):
        quota[i, 0] += missing_class[i]
    return {int(c): [int(q) for q in row] for c, row in zip(classes, quota, strict=True)}


def largest_remainder(exact: np.ndarray) -> np.ndarray:
    """Whole numbers that sum to the rounded sum and are nearest to `exact`."""
    whole = np.floor(exact + 1e-9).astype(np.int64)
    missing = round(float(exact.sum())) - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    return whole


def spread_few(quota: list[int], n: int, name: str, by: str, names: Sequence[str], join: str = "") -> list[int]:
    """The quota of a class, changed so that no set goes without it if there are enough units.

    With too few, train comes first, then test: a class that is only validated is of no use.
    """
    if n < len(quota):
        warnings.warn(
            f"class {name} has {n} {by}s for {len(quota)} sets: train and test get one each, val gets none. "
            f"{join or 'Give it more data'}, or do without val: {_two_sets()}",
            DataWarning,
            stacklevel=3,
        )
        return [1 if name_ in ("train", "test") else 0 for name_ in names]
    quota = list(quota)
    for i in [len(quota) - 1, *range(len(quota) - 1)]:
        if quota[i] == 0:
            quota[i] = 1
            if sum(quota) > n:
                quota[int(np.argmax(quota))] -= 1
    return quota


def join_text(ds: Dataset, c: int) -> str:
    """How a class is joined to its neighbour; empty where that would leave one class."""
    if ds.labels is None or len(ds.classes) < 3:
        return ""
    return f"Join it to its neighbour: {merge_text(ds.classes, c)}"


def _two_sets() -> str:
    return option_text(in_words("fractions", "split"), (0.8, 0.2))


def stratum_name(ds: Dataset, c: int, stratify: bool) -> str:
    return ds.classes[c] if stratify and ds.labels is not None else "(all)"


def one_unit(ds: Dataset, c: int, by: str, stratify: bool) -> str:
    """Why class c cannot be split, and the ways out in Python and in the shell."""
    if not stratify or ds.labels is None:
        return f"split: the data set has one {by}, which cannot be in the training and in the test set"
    name, elsewhere = ds.classes[c], ""
    if by == "subject":
        n = len(np.unique(subjects_of(ds)[ds.labels == c]))
        if n > 1:
            elsewhere = f" (of its {n} subjects {n - 1} have as many or more images in another class and count there)"
    return (
        f"class {name} has one {by}{elsewhere}: it cannot be in the training and in the test set. "
        f"{join_text(ds, c) or 'Leave it out'}{', or leave it out' if join_text(ds, c) else ''}"
        + in_words("; stratify=False deals out subjects whatever their class", "")
    )
