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
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .._shared import ArrayRecord, By, in_words, option_text, suggests_names
from ..datasets import Dataset, check_dataset, part_of, subjects_of
from ._deal import join_text, one_unit, quotas_of, spread_few, stratum_name, units_of
from ._overlap import LeakageError, Overlap, describe_overlap, find_overlap

SET_NAMES = ("train", "val", "test")


class LeakageWarning(UserWarning):
    """A split was asked for that measures how well subjects are remembered."""


@dataclass(frozen=True, eq=False)
class Split(ArrayRecord):
    """Disjoint parts of a data set. Unpacks into data sets: `train, val, test = split(ds)`.

    Attributes
    ----------
    dataset : Dataset
    indices : dict of str to ndarray of int
        Part name ("train", "val", "test") to sorted indices into `dataset`.
    by : str
        "subject", "image", or "given" where the data set came in parts.
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
    by: By | Literal["given"]
    seed: int
    _parts: dict[str, Dataset] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def unit(self) -> By:
        """What is dealt out where more is held back: of parts that were given, subjects where they are known."""
        if self.by != "given":
            return self.by
        return "subject" if self.dataset.subjects is not None else "image"

    def __getitem__(self, name: str) -> Dataset:
        """A part by name: `parts["train"]`, always the same object."""
        if name not in self.indices:
            raise KeyError(f"{name!r}: this split has {', '.join(self.indices)}")
        if name not in self._parts:
            self._parts[name] = self.dataset[self.indices[name]]
        return self._parts[name]

    def __iter__(self) -> Iterator[Dataset]:
        return (self[name] for name in self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def train(self) -> Dataset:
        """What is learnt from."""
        return self["train"]

    @property
    def val(self) -> Dataset | None:
        """What choices are made on; None in a split of two."""
        return self["val"] if "val" in self.indices else None

    @property
    def test(self) -> Dataset:
        """What is looked at last."""
        return self["test"]

    def overlaps(self, *, edited: bool = True) -> list[Overlap]:
        """The overlap of every pair of parts; `edited=False` compares pixels only, see `find_overlap`."""
        names = list(self.indices)
        return [
            find_overlap(self[a], self[b], a, b, edited=edited) for i, a in enumerate(names) for b in names[i + 1 :]
        ]

    def rows(self) -> list[dict[str, object]]:
        """One dictionary for each part and class: images and, where known, subjects."""
        return [{"set": name, **row} for name in self.indices for row in self[name].counts().rows()]

    def __str__(self) -> str:
        how = "as given" if self.by == "given" else f"by {self.by}, seed {self.seed}"
        lines = [f"split {how}: {len(self.dataset):,} images"]
        for name, index in self.indices.items():
            counts = self[name].counts()
            classes = ", ".join(f"{c} {n:,}" for c, n in zip(counts.classes, counts.images, strict=True))
            who = "" if counts.subjects is None else f", {self[name].n_subjects:,} subjects"
            lines.append(f"  {name:<5} {len(index):>6,} images{who}  ({classes})")
        for overlap in self.overlaps(edited=False):
            if overlap:
                lines.append(f"  {describe_overlap(overlap)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(index):,}" for name, index in self.indices.items())
        how = "given" if self.by == "given" else f"by {self.by}"
        return f"<Split {how}, seed {self.seed}: {sizes}>"

    def _repr_html_(self) -> str:
        rows = self.rows()
        head = "".join(f"<th>{key}</th>" for key in (rows[0] if rows else {}))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(v))}</td>" for v in row.values()) + "</tr>" for row in rows
        )
        notes = "".join(f"<p>{html.escape(describe_overlap(o))}</p>" for o in self.overlaps(edited=False) if o)
        return (
            f"<p><b>{html.escape(repr(self)[1:-1])}</b></p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"
        )


@suggests_names
def split(
    ds: Dataset,
    *,
    by: By = "subject",
    seed: int = 42,
    fractions: Sequence[float] | str = (0.7, 0.15, 0.15),
    stratify: bool = True,
) -> Split:
    """Splits into train, validation and test, or into train and test.

    Parameters
    ----------
    ds : Dataset
    by : {"subject", "image"}
        "image" puts slices of one subject into several sets and warns about it.
    seed : int
    fractions : sequence of 2 or 3 floats, or "given"
        Sizes, in units of subjects or of images; they sum to at most 1. "given" takes the parts that the data set comes
        with as they are, see `given_split`.
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
    if isinstance(fractions, str):
        if fractions != "given":
            raise ValueError(f"fractions: expected sizes or 'given', got {fractions!r}")
        return given_split(ds)
    check_by(ds, by)
    sizes = _checked_fractions(fractions)
    names = SET_NAMES if len(sizes) == 3 else ("train", "test")
    rng = np.random.default_rng(seed)
    units, labels, members = units_of(ds, by)
    strata = labels if stratify and ds.labels is not None else np.zeros(len(units), np.int64)
    assigned = np.full(len(units), -1)
    quotas = quotas_of(strata, sizes, by)
    for c in np.unique(strata):
        found = rng.permutation(np.flatnonzero(strata == c))
        if len(found) < 2:
            raise ValueError(one_unit(ds, c, by, stratify))
        quota = spread_few(quotas[c], len(found), stratum_name(ds, c, stratify), by, names, join_text(ds, c))
        assigned[found[: sum(quota)]] = np.repeat(np.arange(len(sizes)), quota)
    indices = {name: np.flatnonzero(assigned[members] == i) for i, name in enumerate(names)}
    for name, index in indices.items():
        if not len(index):
            shares = ", ".join(f"{size:g}" for size in sizes)
            raise ValueError(
                f"{in_words('fractions', '--split')}: the {name} set would be empty ({len(units)} {by}s, {shares})"
            )
    result = Split(ds, indices, by, seed)
    judge_split(result)
    return result


def given_split(ds: Dataset) -> Split:
    """The split that a data set comes with, such as its folders `train`, `val` and `test`.

    Parameters
    ----------
    ds : Dataset
        With `parts`, as `ImageFolder` reads them off folders or a table.

    Returns
    -------
    Split
        What the parts share is warned of, and not mended.

    Raises
    ------
    ValueError
        No parts, parts that are not called like training and test, or several splits in one data set.

    Examples
    --------
    >>> import numpy as np
    >>> from simclr_mri.datasets import Dataset
    >>> images = np.zeros((4, 8, 8), np.uint8)
    >>> ds = Dataset(images, [0, 1, 0, 1], "ab", list("stuv"), parts=["Training", "Training", "test", "test"])
    >>> given_split(ds)
    <Split given, seed 0: train 2, test 2>
    """
    check_dataset(ds, "ds")
    if ds.parts is None:
        raise ValueError(f"{ds.name}: has no ready-made parts, so it must be split anew, by subject or by image")
    names = sorted(set(ds.parts.tolist()))
    sets = {name: part_of(name.rsplit("/", 1)[-1]) for name in names}
    if "train" not in sets.values() or "test" not in sets.values() or None in sets.values():
        raise ValueError(
            f"{ds.name}: its parts are called {', '.join(name or '(none)' for name in names)}; which of them are for "
            "training and for testing does not follow from these names. Rename them, or split anew"
        )
    if len({name.rpartition("/")[0] for name in names}) > 1:
        raise ValueError(f"{ds.name}: holds several splits ({', '.join(names)}). Open one of their folders")
    which = np.array([sets[name] for name in ds.parts.tolist()])
    result = Split(ds, {name: np.flatnonzero(which == name) for name in SET_NAMES if name in which}, "given", 0)
    for overlap in result.overlaps(edited=False):
        if overlap:
            warnings.warn(f"the parts as given: {describe_overlap(overlap)}", LeakageWarning, stacklevel=2)
    return result


def seed_split(ds: Dataset) -> Split:
    """The split of the published recipe: 80 : 20 at random by image, seed 42, not stratified.

    On the Alzheimer MRI data set that is 5,120 and 1,280 images. It measures whether other slices of a subject were
    seen in training: the recipe is reproduced with its flaw, and the warning says so.

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


def check_by(ds: Dataset, by: str) -> None:
    check_dataset(ds, "ds")
    if by not in ("subject", "image"):
        raise ValueError(f"by: expected 'subject' or 'image', got {by!r}")
    if by == "subject" and ds.subjects is None:
        raise ValueError(
            f"{option_text('by', 'subject')}: the subjects of this data set are unknown. Give them when reading it by "
            f"{in_words('groups=', '--groups')}, or split by image: {option_text('by', 'image')}"
        )
    if not len(ds):
        raise ValueError("the data set is empty")


def _checked_fractions(fractions: Sequence[float]) -> list[float]:
    sizes = [float(f) for f in fractions]
    if len(sizes) not in (2, 3) or min(sizes) <= 0 or sum(sizes) > 1 + 1e-9:
        given = ", ".join(f"{size:g}" for size in sizes)
        raise ValueError(
            f"{in_words('fractions', '--split')}: expected 2 or 3 positive sizes that sum to at most 1, got {given}"
        )
    return sizes


def judge_split(result: Split) -> None:
    """An overlap is an error by subject and a warning in words by image."""
    if result.by == "subject":
        names, subjects = list(result.indices), subjects_of(result.dataset)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                shared = np.intersect1d(subjects[result.indices[a]], subjects[result.indices[b]])
                if len(shared):
                    raise LeakageError(f"{a} and {b} share {len(shared)} subjects, {shared[0]} among them")
        return
    fact = "If one subject gave several images, these are in training and in test"
    if result.dataset.subjects is not None:
        known = np.isin(
            result.dataset.subjects[result.indices["test"]], result.dataset.subjects[result.indices["train"]]
        )
        fact = f"{known.mean():.1%} of the test images are of a subject that is also in the training set"
    warnings.warn(
        f"this split is by image. {fact}: the score will say how well subjects are remembered, not how well the "
        f"disease is recognised. {_by_subject(result.dataset)}",
        LeakageWarning,
        stacklevel=3,
    )


def _by_subject(ds: Dataset) -> str:
    groups = "" if ds.subjects is not None else f"name the subjects by {in_words('groups=', '--groups')} and "
    text = f"{groups}use {option_text('by', 'subject')} for a score that holds for new patients"
    return f"{text[0].upper()}{text[1:]}"
