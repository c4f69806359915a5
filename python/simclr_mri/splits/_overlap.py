"""What two sets of images share: the leak that a split must not have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..datasets import Dataset


class LeakageError(ValueError):
    """Two sets that must be apart share subjects or images."""


@dataclass(frozen=True)
class Overlap:
    """What two sets share: subjects, files, and the images of `b` that these touch.

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

    @property
    def share(self) -> float:
        """Share of the images of `b` whose subject is also in `a`."""
        return self.n_images_of_shared_subjects / self.n_images if self.n_images else 0.0

    def __bool__(self) -> bool:
        return bool(self.subjects) or self.n_identical > 0


def find_overlap(a: Dataset, b: Dataset, name_a: str = "train", name_b: str = "test") -> Overlap:
    """What two sets share.

    Identical images are found by their pixels; subjects are compared where both sets know them.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> find_overlap(ds[:3], ds[2:4]).subjects
    ('sub-0002',)
    """
    subjects, touched = None, 0
    if a.subjects is not None and b.subjects is not None:
        shared = np.intersect1d(a.subjects, b.subjects)
        subjects, touched = tuple(map(str, shared)), int(np.isin(b.subjects, shared).sum())
    identical = 0
    if a.shape[1:] == b.shape[1:]:
        identical = int(np.isin(b.image_keys()[0], a.image_keys()[0]).sum())
    return Overlap(name_a, name_b, len(b), subjects, touched, identical)


def describe_overlap(overlap: Overlap) -> str:
    """The overlap in words."""
    parts = []
    if overlap.subjects:
        some = ", ".join(overlap.subjects[:3]) + (", ..." if len(overlap.subjects) > 3 else "")
        parts.append(
            f"{_are(len(overlap.subjects), 'subject', overlap.b)} also in {overlap.a} ({some}): "
            f"{overlap.n_images_of_shared_subjects:,} of {overlap.n_images:,} images, {overlap.share:.1%}"
        )
    if overlap.n_identical:
        parts.append(f"{_are(overlap.n_identical, 'image', overlap.b)} in {overlap.a} pixel by pixel")
    return "; ".join(parts) or f"{overlap.a} and {overlap.b} share nothing"


def _are(n: int, what: str, where: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'} of {where} {'is' if n == 1 else 'are'}"


def check_overlap(a: Dataset, b: Dataset, *, names: tuple[str, str] = ("train", "test")) -> None:
    """Raises when two sets share a subject or an identical image.

    Parameters
    ----------
    a, b : Dataset
    names : tuple of str
        What the message calls them.

    Raises
    ------
    LeakageError

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> check_overlap(ds[:2], ds[2:])  # passes: nobody is in both
    """
    overlap = find_overlap(a, b, *names)
    if overlap:
        raise LeakageError(f"{describe_overlap(overlap)}. Split by subject: split(ds, by='subject')")
