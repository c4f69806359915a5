"""Which slices SimCLR brings together and which it does not push apart, where subjects are known.

Neighbouring slices of one head show almost the same: as negatives they are false ones, as positives they teach what
stays the same from slice to slice. Azizi et al., "Big self-supervised models advance medical image classification",
ICCV 2021, take two images of one patient as a pair.
"""

from __future__ import annotations

import re

import numpy as np

from .._shared import in_words, option_text
from ..datasets import Dataset, subjects_of

_NEIGHBOUR = 2  # keeps this random stream apart from others with the same seed and epoch


class Pairs:
    """The second view of each slice, and who is no negative of whom.

    Parameters
    ----------
    ds : Dataset
        Its training images.
    positives : {"same_slice", "adjacent", "same_subject"}
        What the second view shows, with equal chances. "adjacent": the slice itself, the one before or the one after it
        in its subject's stack, as far as these are in `ds`. Where the data set does not number its slices, they lie in
        the order of the file names. "same_subject": any slice of the subject.
    exclude_same_subject : bool
    seed : int

    Raises
    ------
    ValueError
        The subjects are needed and unknown.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=3, image_size=32)
    >>> pairs = Pairs(ds, "same_subject", exclude_same_subject=True, seed=0)
    >>> pairs.groups(np.array([0, 1, 3]))  # two slices of one subject, one of another; and their second views
    array([0, 0, 1, 0, 0, 1], dtype=int32)
    """

    def __init__(self, ds: Dataset, positives: str, exclude_same_subject: bool, seed: int) -> None:
        if ds.subjects is None and (exclude_same_subject or positives != "same_slice"):
            name, value = ("exclude_same_subject", True) if exclude_same_subject else ("positives", positives)
            raise ValueError(
                f"{option_text(name, value)}: the subjects of the training images are unknown; open the data with "
                f"{in_words('groups=', '--groups')}, a table or a pattern over file names"
            )
        self._seed, self._n = seed, len(ds)
        self._subjects = _numbered(subjects_of(ds)) if exclude_same_subject else None
        self._partners = _PARTNERS[positives](ds) if positives != "same_slice" else None
        self._epoch, self._steps = -1, np.empty(0, np.int64)

    def groups(self, indices: np.ndarray) -> np.ndarray | None:
        """The subject of each row of a batch, int32 (2 n,); None if all other rows are negatives."""
        return None if self._subjects is None else np.tile(self._subjects[indices], 2)

    def second_views(self, indices: np.ndarray, epoch: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """(number of the view, rows of the batch, slices shown there), together each row once.

        The number differs by where the slice stands to the row's own, so that no two rows show the same view.
        """
        rows = np.arange(len(indices))
        if self._partners is None:
            return [(1, rows, indices)]
        steps = self._drawn(epoch)[indices]
        parts = []
        for step in np.unique(steps):
            mine = steps == step
            parts.append((1 + int(step), rows[mine], self._partners[indices[mine], step]))
        return parts

    def _drawn(self, epoch: int) -> np.ndarray:
        """The column of its partner of this epoch, for every training image."""
        if self._epoch != epoch:
            assert self._partners is not None  # its callers looked
            there = self._partners >= 0
            pick = (np.random.default_rng((self._seed, epoch, _NEIGHBOUR)).random(self._n) * there.sum(axis=1)).astype(
                int
            )
            self._steps = (there.cumsum(axis=1) == pick[:, None] + 1).argmax(axis=1)
            self._epoch = epoch
        return self._steps


def neighbours(ds: Dataset) -> np.ndarray:
    """Each image, the slice before it and the one after it in its subject's stack: int64 (N, 3), -1 for none.

    Examples
    --------
    >>> ds = Dataset(np.zeros((4, 8, 8), np.uint8), subjects=["a", "b", "a", "a"], slices=[2, 1, 1, 4])
    >>> neighbours(ds).tolist()
    [[0, 2, -1], [1, -1, -1], [2, -1, 0], [3, -1, -1]]
    """
    n = len(ds)
    subjects = _numbered(subjects_of(ds))
    level = ds.slices if ds.slices is not None else _places(ds.files)
    order = np.lexsort((level, subjects))
    one, two = order[:-1], order[1:]
    joined = subjects[one] == subjects[two]
    if ds.slices is not None:
        joined &= level[two] - level[one] == 1
    table = np.full((n, 3), -1, np.int64)
    table[:, 0] = np.arange(n)
    table[two[joined], 1] = one[joined]
    table[one[joined], 2] = two[joined]
    return table


def stack_partners(ds: Dataset) -> np.ndarray:
    """Each image and the other slices of its subject: int64 (N, slices of the longest stack), -1 for none.

    Column s is s places further in the stack, past its end from its start: no two images share a partner in a column.

    Examples
    --------
    >>> ds = Dataset(np.zeros((4, 8, 8), np.uint8), subjects=["a", "b", "a", "a"], slices=[2, 1, 1, 4])
    >>> stack_partners(ds).tolist()
    [[0, 3, 2], [1, -1, -1], [2, 0, 3], [3, 2, 0]]
    """
    subjects = _numbered(subjects_of(ds))
    order = np.lexsort((ds.slices if ds.slices is not None else _places(ds.files), subjects))
    sizes = np.bincount(subjects)
    starts = np.cumsum(sizes) - sizes
    table = np.full((len(ds), sizes.max()), -1, np.int64)
    place = np.empty(len(ds), np.int64)
    place[order] = np.arange(len(ds)) - starts[subjects[order]]
    for step in range(sizes.max()):
        has = sizes[subjects] > step
        at = starts[subjects] + (place + step) % sizes[subjects]
        table[has, step] = order[at[has]]
    return table


_PARTNERS = {"adjacent": neighbours, "same_subject": stack_partners}


def _numbered(subjects: np.ndarray) -> np.ndarray:
    return np.unique(subjects, return_inverse=True)[1].astype(np.int32)


def _places(files: tuple[str, ...]) -> np.ndarray:
    """The place of each file in the order of the names, numbers by their value."""
    keys = [[int(x) if i % 2 else x for i, x in enumerate(re.split(r"([0-9]+)", name))] for name in files]
    places = np.empty(len(files), np.int64)
    places[sorted(range(len(files)), key=keys.__getitem__)] = np.arange(len(files))
    return places
