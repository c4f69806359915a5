"""Several data sets as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ._dataset import Dataset
from ._require import check_dataset


def concatenate(parts: Sequence[Dataset], *, name: str | None = None) -> Dataset:
    """One data set of several; masks are dropped.

    Parameters
    ----------
    parts : sequence of Dataset
        Of one image size. Classes are joined by name; subjects are kept if all parts know them, and the same name means
        the same subject.
    name : str or None

    Returns
    -------
    Dataset

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=2, image_size=32)
    >>> concatenate([ds[:6], ds[6:]], name="both")
    <Dataset 'both': 16 images of 32 x 32 px, gray, 8 subjects, 4 classes>
    """
    if isinstance(parts, (str, Dataset)) or not isinstance(parts, Iterable):
        raise TypeError(f"parts: expected a sequence of data sets, got {type(parts).__name__}")
    parts = list(parts)
    for i, part in enumerate(parts):
        check_dataset(part, f"parts[{i}]")
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) != 1:
        raise ValueError(f"concatenate: expected images of one shape, got {', '.join(map(str, sorted(shapes)))}")
    if len({part.labels is None for part in parts}) != 1:
        raise ValueError("concatenate: some parts have labels and some have none")
    classes = list(dict.fromkeys(c for part in parts for c in part.classes))
    labels = None
    if parts[0].labels is not None:
        tables = [np.array([classes.index(c) for c in part.classes], np.int64) for part in parts]
        labels = np.concatenate([table[part.labels] for table, part in zip(tables, parts, strict=True)])
    known = all(part.subjects is not None for part in parts)
    return Dataset(
        np.concatenate([part.images for part in parts]),
        labels,
        classes,
        np.concatenate([part.subjects for part in parts]) if known else None,
        [name for part in parts for name in part.files],
        name=name or " + ".join(part.name for part in parts),
        sources=[path for part in parts for path in part.sources] if all(part.sources for part in parts) else (),
        copy=False,
    )
