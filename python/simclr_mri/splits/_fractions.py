"""Nested sets of labelled images: 1 % is part of 10 %, which is part of 100 %."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._shared import By, in_words, option_name
from ..datasets import Dataset, DataWarning, check_dataset
from ._deal import units_of
from ._split import check_by


def label_fractions(
    ds: Dataset,
    fractions: Sequence[float] = (0.01, 0.1, 0.2, 0.5, 1.0),
    *,
    by: By = "subject",
    seed: int = 0,
) -> dict[float, np.ndarray]:
    """Which images keep their labels at each fraction.

    The sets are nested (the 1 % are among the 10 %) and stratified; each class keeps at least one subject or image.

    Parameters
    ----------
    ds : Dataset
        The training set.
    fractions : sequence of float in (0, 1]
    by : {"subject", "image"}
    seed : int

    Returns
    -------
    dict of float to ndarray of int
        Fraction to sorted indices into `ds`. By image the size is the fraction rounded up (5,120 images at 1 % are 52).

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> {f: len(index) for f, index in label_fractions(ds, [0.1, 0.5, 1.0]).items()}
    {0.1: 4, 0.5: 20, 1.0: 40}
    """
    check_dataset(ds, "ds")
    if ds.labels is None:
        raise ValueError("label_fractions: the data set has no labels")
    check_by(ds, by)
    wrong = [f for f in fractions if not 0 < f <= 1]
    if wrong:
        name = in_words("fractions", option_name("label_fraction"))
        raise ValueError(f"{name}: expected above 0 and at most 1 (0.1 is 10 %), got {wrong[0]:g}")
    _, labels, members = units_of(ds, by)
    order = nested_order(labels, np.random.default_rng(seed))
    n_present = len(np.unique(labels))
    chosen: dict[float, np.ndarray] = {}
    for f in sorted(fractions):
        wanted = f * len(order)
        n = math.ceil(wanted - 1e-9) if by == "image" else round(wanted)
        if n < n_present:
            warnings.warn(
                f"{f:.3g} of {len(order)} {by}s would be {wanted:.1f}: {n_present} are taken, one for each class",
                DataWarning,
                stacklevel=2,
            )
        keep = np.zeros(len(order), bool)
        keep[order[: max(n, n_present)]] = True
        chosen[f] = np.flatnonzero(keep[members])
    return {f: chosen[f] for f in fractions}


def nested_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of the units whose every prefix is stratified and holds each class once.

    Unit r of a class of n comes at (r + 1/2) / n, except that the first of each class leads.
    """
    key = np.empty(len(labels))
    for c in np.unique(labels):
        found = rng.permutation(np.flatnonzero(labels == c))
        key[found] = (np.arange(len(found)) + 0.5) / len(found)
        key[found[0]] = -1.0
    return np.argsort(key, kind="stable")


def draw_labelled(estimator: Any, train: Dataset) -> np.ndarray:
    """Which images' labels an estimator may use, by its label_fraction, fraction_by and random_state."""
    if estimator.label_fraction >= 1:
        return np.arange(len(train))
    by: By = estimator.fraction_by if train.subjects is not None else "image"
    drawn = label_fractions(train, [estimator.label_fraction], by=by, seed=estimator.random_state)
    return np.asarray(next(iter(drawn.values())))
