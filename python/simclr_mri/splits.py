"""Splits that do not leak, and label fractions that nest.

Slices of one head resemble each other more than two heads of one class do, so a classifier that has seen other slices
of the test subjects is tested on its memory. Splits are therefore by subject unless the other is asked for, stratified
by class, drawn from a seed, and checked for overlap when they are made.

References
----------
Yagis et al., Effect of data leakage in brain MRI classification using 2D convolutional neural networks, Scientific
Reports 11:22544, 2021.
"""

from __future__ import annotations

import html
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ._dataset import Dataset, DataWarning, check_dataset
from ._overlap import LeakageError, Overlap, check_overlap, describe_overlap, find_overlap

SET_NAMES = ("train", "val", "test")


class LeakageWarning(UserWarning):
    """A split was asked for that measures memory of heads."""


@dataclass(frozen=True)
class Split:
    """Disjoint parts of a data set. Unpacks into data sets: `train, val, test = split(ds)`.

    Attributes
    ----------
    dataset : Dataset
    indices : dict of str to ndarray of int
        Part name ("train", "val", "test") to sorted indices into `dataset`.
    by : str
        "subject" or "image".
    seed : int

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> parts = split(ds, seed=0)
    >>> parts
    <Split by subject, seed 0: train 28, val 6, test 6>
    >>> train, val, test = parts
    """

    dataset: Dataset
    indices: dict[str, np.ndarray]
    by: str
    seed: int

    def __iter__(self) -> Iterator[Dataset]:
        return (self.dataset[index] for index in self.indices.values())

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def train(self) -> Dataset:
        """What is learnt from."""
        return self.dataset[self.indices["train"]]

    @property
    def val(self) -> Dataset | None:
        """What choices are made on; None in a split of two."""
        return self.dataset[self.indices["val"]] if "val" in self.indices else None

    @property
    def test(self) -> Dataset:
        """What is looked at last."""
        return self.dataset[self.indices["test"]]

    def overlaps(self) -> list[Overlap]:
        """The overlap of every pair of parts."""
        names = list(self.indices)
        return [
            find_overlap(self.dataset[self.indices[a]], self.dataset[self.indices[b]], a, b)
            for i, a in enumerate(names)
            for b in names[i + 1 :]
        ]

    def rows(self) -> list[dict[str, object]]:
        """One dictionary for each part and class: images and, where known, subjects."""
        return [
            {"set": name, **row} for name, index in self.indices.items() for row in self.dataset[index].counts().rows()
        ]

    def __str__(self) -> str:
        lines = [f"split by {self.by}, seed {self.seed}: {len(self.dataset):,} images"]
        for name, index in self.indices.items():
            counts = self.dataset[index].counts()
            classes = ", ".join(f"{c} {n:,}" for c, n in zip(counts.classes, counts.images, strict=True))
            who = "" if counts.subjects is None else f", {self.dataset[index].n_subjects:,} subjects"
            lines.append(f"  {name:<5} {len(index):>6,} images{who}  ({classes})")
        for overlap in self.overlaps():
            if overlap:
                lines.append(f"  {describe_overlap(overlap)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(index):,}" for name, index in self.indices.items())
        return f"<Split by {self.by}, seed {self.seed}: {sizes}>"

    def _repr_html_(self) -> str:
        rows = self.rows()
        head = "".join(f"<th>{key}</th>" for key in (rows[0] if rows else {}))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(v))}</td>" for v in row.values()) + "</tr>" for row in rows
        )
        notes = "".join(f"<p>{html.escape(describe_overlap(o))}</p>" for o in self.overlaps() if o)
        return (
            f"<p><b>{html.escape(repr(self)[1:-1])}</b></p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"
        )


# -- one split ---------------------------------------------------------------------------------------------------------


def split(
    ds: Dataset,
    *,
    by: str = "subject",
    seed: int = 42,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    stratify: bool = True,
) -> Split:
    """Splits into train, validation and test, or into train and test.

    Parameters
    ----------
    ds : Dataset
    by : {"subject", "image"}
        "image" puts slices of one head into several sets and warns about it.
    seed : int
    fractions : sequence of 2 or 3 floats
        Sizes, in units of subjects or of images; they sum to at most 1.
    stratify : bool
        Every class is split in the same proportion. A class with fewer subjects than sets goes to train first, then
        test, with a warning; a class with one subject is an error.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        Subjects unknown, a class with one subject, a set that would be empty.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> train, test = split(ds, fractions=(0.8, 0.2))
    >>> set(train.subjects) & set(test.subjects)
    set()
    """
    _check_by(ds, by)
    sizes = _checked_fractions(fractions)
    names = SET_NAMES if len(sizes) == 3 else ("train", "test")
    rng = np.random.default_rng(seed)
    units, labels, members = _units(ds, by)
    strata = labels if stratify and ds.labels is not None else np.zeros(len(units), np.int64)
    assigned = np.full(len(units), -1)
    quotas = _quotas(strata, sizes, by)
    for c in np.unique(strata):
        found = rng.permutation(np.flatnonzero(strata == c))
        if len(found) < 2:
            raise ValueError(_one_unit(ds, c, by, stratify))
        quota = _spread_few(quotas[c], len(found), _stratum_name(ds, c, stratify), by, names)
        assigned[found[: sum(quota)]] = np.repeat(np.arange(len(sizes)), quota)
    indices = {name: np.flatnonzero(assigned[members] == i) for i, name in enumerate(names)}
    for name, index in indices.items():
        if not len(index):
            raise ValueError(f"split: the {name} set would be empty ({len(units)} {by}s, fractions {tuple(sizes)})")
    result = Split(ds, indices, by, seed)
    _judge(result)
    return result


def seed_split(ds: Dataset) -> Split:
    """The split of the published recipe: 80 : 20 at random by image, seed 42, not stratified.

    On the Alzheimer MRI data set that is 5,120 and 1,280 images. It measures whether other slices of a head were seen
    in training: the recipe is reproduced with its flaw, and the warning says so.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     seed_split(ds)
    <Split by image, seed 42: train 32, test 8>
    """
    return split(ds, by="image", seed=42, fractions=(0.8, 0.2), stratify=False)


def kfold(
    ds: Dataset,
    *,
    n_splits: int = 5,
    by: str = "subject",
    seed: int = 0,
    repeats: int = 1,
    stratify: bool = True,
    val: float = 0.0,
) -> Iterator[Split]:
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

    Yields
    ------
    Split
        With "train" and "test", and "val" between them if asked for.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> [len(fold.test) for fold in kfold(ds, n_splits=4)]
    [10, 10, 10, 10]
    """
    _check_by(ds, by)
    units, labels, members = _units(ds, by)
    if not 2 <= n_splits <= len(units):
        raise ValueError(f"n_splits: expected 2 to {len(units)} (the number of {by}s), got {n_splits}")
    strata = labels if stratify and ds.labels is not None else np.zeros(len(units), np.int64)
    for c in np.unique(strata):
        n = int((strata == c).sum())
        if n < 2 and stratify and ds.labels is not None:
            raise ValueError(_one_unit(ds, c, by, stratify))
        if n < n_splits:
            warnings.warn(
                f"class {_stratum_name(ds, c, stratify)} has {n} {by}s: only {n} of {n_splits} folds test it",
                DataWarning,
                stacklevel=2,
            )
    if not 0 <= val < 1:
        raise ValueError(f"val: expected a share from 0 to below 1, got {val}")
    return _folds(ds, units, strata, members, n_splits, by, seed, repeats, val)


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
                _judge(result)
            yield result


def _held_back(strata: np.ndarray, rest: np.ndarray, share: float, by: str, rng: np.random.Generator) -> np.ndarray:
    """Units of `rest` for validation: a share of every class, at least one, but never the last one."""
    quotas = _quotas(strata[rest], [1 - share, share], by)
    chosen = []
    for c, quota in quotas.items():
        found = rng.permutation(np.flatnonzero(rest & (strata == c)))
        chosen.append(found[: min(max(1, quota[1]), len(found) - 1)])
    return np.concatenate(chosen)


# -- label fractions ---------------------------------------------------------------------------------------------------


def label_fractions(
    ds: Dataset,
    fractions: Sequence[float] = (0.01, 0.1, 0.2, 0.5, 1.0),
    *,
    by: str = "subject",
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
    if ds.labels is None:
        raise ValueError("label_fractions: the data set has no labels")
    _check_by(ds, by)
    wrong = [f for f in fractions if not 0 < f <= 1]
    if wrong:
        raise ValueError(f"fractions: expected values in (0, 1], got {wrong[0]}")
    _, labels, members = _units(ds, by)
    order = _nested_order(labels, np.random.default_rng(seed))
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


def _nested_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of the units whose every prefix is stratified and holds each class once.

    Unit r of a class of n comes at (r + 1/2) / n, except that the first of each class leads.
    """
    key = np.empty(len(labels))
    for c in np.unique(labels):
        found = rng.permutation(np.flatnonzero(labels == c))
        key[found] = (np.arange(len(found)) + 0.5) / len(found)
        key[found[0]] = -1.0
    return np.argsort(key, kind="stable")


# -- shared ------------------------------------------------------------------------------------------------------------


def _check_by(ds: Dataset, by: str) -> None:
    check_dataset(ds, "ds")
    if by not in ("subject", "image"):
        raise ValueError(f"by: expected 'subject' or 'image', got {by!r}")
    if by == "subject" and ds.subjects is None:
        raise ValueError(
            "by='subject': the subjects of this data set are unknown. Give them when reading it "
            "(ImageFolder(root, groups=...)), let audit(ds) infer groups from the pixels, or ask for by='image'"
        )
    if not len(ds):
        raise ValueError("the data set is empty")


def _checked_fractions(fractions: Sequence[float]) -> list[float]:
    sizes = [float(f) for f in fractions]
    if len(sizes) not in (2, 3) or min(sizes) <= 0 or sum(sizes) > 1 + 1e-9:
        raise ValueError(f"fractions: expected 2 or 3 positive sizes that sum to at most 1, got {tuple(fractions)}")
    return sizes


def _units(ds: Dataset, by: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is dealt out, its class, and the unit of each image.

    A subject with images of several classes (a patient who got worse) counts for the most frequent one.
    """
    labels = ds.labels if ds.labels is not None else np.zeros(len(ds), np.int64)
    if by == "image":
        return np.arange(len(ds)), labels, np.arange(len(ds))
    units, members = np.unique(ds.subjects, return_inverse=True)
    table = np.zeros((len(units), labels.max() + 1), np.int64)
    np.add.at(table, (members, labels), 1)
    return units, table.argmax(axis=1), members


def _quotas(strata: np.ndarray, sizes: list[float], by: str) -> dict[int, list[int]]:
    """How many units of each class go into each set.

    Largest remainders twice: the totals of the sets first, then each class, so that 80 : 20 of 6,400 is 5,120 : 1,280.
    """
    totals = _largest_remainder(np.array(sizes) * len(strata))
    classes, counts = np.unique(strata, return_counts=True)
    exact = np.outer(counts, sizes)
    quota = np.floor(exact + 1e-9).astype(np.int64)
    remainder = exact - quota
    missing_class = np.array([sum(_largest_remainder(row)) for row in exact]) - quota.sum(axis=1)
    missing_set = totals - quota.sum(axis=0)
    for i, j in sorted(np.ndindex(*quota.shape), key=lambda ij: -remainder[ij]):
        if missing_class[i] > 0 and missing_set[j] > 0:
            quota[i, j] += 1
            missing_class[i] -= 1
            missing_set[j] -= 1
    for i in np.flatnonzero(missing_class):
        quota[i, 0] += missing_class[i]
    return {int(c): [int(q) for q in row] for c, row in zip(classes, quota, strict=True)}


def _largest_remainder(exact: np.ndarray) -> np.ndarray:
    """Whole numbers that sum to the rounded sum and are nearest to `exact`."""
    whole = np.floor(exact + 1e-9).astype(np.int64)
    missing = round(float(exact.sum())) - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    return whole


def _spread_few(quota: list[int], n: int, name: str, by: str, names: Sequence[str]) -> list[int]:
    """The quota of a class, changed so that no set goes without it if there are enough units.

    With too few, train comes first, then test: a class that is only validated is of no use.
    """
    if n < len(quota):
        warnings.warn(
            f"class {name} has {n} {by}s for {len(quota)} sets: train and test get one each, val gets none. "
            f"Join classes (task='3class' or 'cdr0', merge_classes) or give two fractions",
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


def _stratum_name(ds: Dataset, c: int, stratify: bool) -> str:
    return ds.classes[c] if stratify and ds.labels is not None else "(all)"


def _one_unit(ds: Dataset, c: int, by: str, stratify: bool) -> str:
    """Why class c cannot be split, and the ways out in Python and in the shell."""
    if not stratify or ds.labels is None:
        return f"split: the data set has one {by}, which cannot be in the training and in the test set"
    name, elsewhere = ds.classes[c], ""
    if by == "subject":
        n = len(np.unique(ds.subjects[ds.labels == c]))
        if n > 1:
            elsewhere = f" (of its {n} subjects {n - 1} have as many or more images in another class and count there)"
    return (
        f"class {name} has one {by}{elsewhere}: it cannot be in the training and in the test set. Join it to another "
        "class (Python: merge_classes or task=, shell: --task) or leave its folder out; in Python, stratify=False "
        "deals out subjects whatever their class"
    )


def _judge(result: Split) -> None:
    """An overlap is an error by subject and a warning in words by image."""
    if result.by == "subject":
        names = list(result.indices)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                shared = np.intersect1d(
                    result.dataset.subjects[result.indices[a]], result.dataset.subjects[result.indices[b]]
                )
                if len(shared):
                    raise LeakageError(f"{a} and {b} share {len(shared)} subjects, {shared[0]} among them")
        return
    fact = "If one head gave several images, its slices are in training and in test"
    if result.dataset.subjects is not None:
        known = np.isin(
            result.dataset.subjects[result.indices["test"]], result.dataset.subjects[result.indices["train"]]
        )
        fact = f"{known.mean():.1%} of the test images are of a subject that is also in the training set"
    warnings.warn(
        f"this split is by image. {fact}: the score will say how well heads are remembered, not how well the disease "
        f"is recognised. Use by='subject' for a score that holds for new patients",
        LeakageWarning,
        stacklevel=3,
    )


__all__ = [
    "SET_NAMES",
    "LeakageError",
    "LeakageWarning",
    "Overlap",
    "Split",
    "check_overlap",
    "find_overlap",
    "kfold",
    "label_fractions",
    "seed_split",
    "split",
]


def __dir__() -> list[str]:
    return sorted(__all__)
