"""What two sets of images share: the leak that a split must not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._shared import Record, counted, plain_row
from ..datasets import Dataset, check_dataset


class LeakageError(ValueError):
    """Two sets that must be apart share subjects or images."""


@dataclass(frozen=True)
class Overlap(Record):
    """What two sets share: subjects, pictures, and the images of `b` that these touch.

    Attributes
    ----------
    a, b : str
        Names of the sets.
    n_images : int
        Of `b`.
    subjects : tuple of str or None
        In both; None where one of the sets does not know its subjects.
    n_images_of_shared_subjects : int
    n_identical : int
        Images of `b` that are in `a` pixel by pixel.
    n_edited : int or None
        Further images of `b` that are edited copies of images of `a`; None if these were not looked for.

    Examples
    --------
    >>> Overlap("train", "test", 10, ("s1",), 5, 0).share
    0.5
    """

    a: str
    b: str
    n_images: int
    subjects: tuple[str, ...] | None
    n_images_of_shared_subjects: int
    n_identical: int
    n_edited: int | None = None

    @property
    def share(self) -> float:
        """Share of the images of `b` whose subject is also in `a`."""
        return self.n_images_of_shared_subjects / self.n_images if self.n_images else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary."""
        n_subjects = None if self.subjects is None else len(self.subjects)
        return [{**plain_row(self), "n_shared_subjects": n_subjects, "share": self.share}]

    def __bool__(self) -> bool:
        return bool(self.subjects) or self.n_identical > 0 or bool(self.n_edited)


def find_overlap(
    a: Dataset, b: Dataset, name_a: str = "train", name_b: str = "test", *, edited: bool = True
) -> Overlap:
    """What two sets share.

    Subjects are compared where both sets know them. Pictures are found by their pixels, and by `find_copies` if they
    were turned, mirrored, zoomed, cropped, recoded or filtered.

    Parameters
    ----------
    a, b : Dataset
    name_a, name_b : str
        What messages call them.
    edited : bool
        False compares pixels only, at once; edited copies take some seconds for thousands of images.

    Returns
    -------
    Overlap

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> find_overlap(ds[:3], ds[2:4]).subjects
    ('sub-0002',)
    >>> find_overlap(ds[:3], ds[3:6]).n_edited
    0
    """
    check_dataset(a, "a")
    check_dataset(b, "b")
    subjects, touched = None, 0
    if a.subjects is not None and b.subjects is not None:
        shared = np.intersect1d(a.subjects, b.subjects)
        subjects, touched = tuple(map(str, shared)), int(np.isin(b.subjects, shared).sum())
    identical = np.zeros(len(b), bool)
    if a.shape[1:] == b.shape[1:]:
        identical = np.isin(b.image_keys()[0], a.image_keys()[0])
    n_edited = None
    if edited:
        from ._copies import find_copies

        pairs = find_copies(a.images, b.images, controls=0).pairs - len(a)
        copied = pairs[(pairs[:, 0] < 0) & (pairs[:, 1] >= 0), 1]
        n_edited = len(np.setdiff1d(copied, np.flatnonzero(identical)))
    return Overlap(name_a, name_b, len(b), subjects, touched, int(identical.sum()), n_edited)


def describe_overlap(overlap: Overlap) -> str:
    """The overlap in words; where nothing is shared, what was looked for."""
    parts = []
    if overlap.subjects:
        some = ", ".join(overlap.subjects[:3]) + (", ..." if len(overlap.subjects) > 3 else "")
        parts.append(
            f"{_are(len(overlap.subjects), 'subject', overlap.b)} also in {overlap.a} ({some}): "
            f"{overlap.n_images_of_shared_subjects:,} of {overlap.n_images:,} images, {overlap.share:.1%}"
        )
    if overlap.n_identical:
        parts.append(f"{_are(overlap.n_identical, 'image', overlap.b)} in {overlap.a} pixel by pixel")
    if overlap.n_edited:
        n = overlap.n_edited
        parts.append(
            f"{counted(n, 'image')} of {overlap.b} {'is an edited copy' if n == 1 else 'are edited copies'} "
            f"of images of {overlap.a} (turned, mirrored, zoomed, cropped, recoded or filtered)"
        )
    if parts:
        return "; ".join(parts)
    subjects = "no picture; subjects are unknown" if overlap.subjects is None else "no subject and no picture"
    sought = "equal pixels only" if overlap.n_edited is None else "equal pixels and edited copies"
    return f"{overlap.a} and {overlap.b} share {subjects} (looked for: {sought})"


def _are(n: int, what: str, where: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'} of {where} {'is' if n == 1 else 'are'}"


def check_overlap(a: Dataset, b: Dataset, *, names: tuple[str, str] = ("train", "test"), edited: bool = True) -> None:
    """Raises when two sets share a subject or a picture.

    Parameters
    ----------
    a, b : Dataset
    names : tuple of str
        What the message calls them.
    edited : bool
        False compares pixels only, see `find_overlap`.

    Raises
    ------
    LeakageError

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> check_overlap(ds[:2], ds[2:])  # passes: nobody is in both
    """
    overlap = find_overlap(a, b, *names, edited=edited)
    if not overlap:
        return
    if overlap.subjects:
        raise LeakageError(f"{describe_overlap(overlap)}. Split by subject: split(ds, by='subject')")
    raise LeakageError(f"{describe_overlap(overlap)}. Leave the copies out of {names[1]}; audit(ds) names them")
