"""Opens a folder, whichever of the known layouts it has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ._alzheimer import AlzheimerMRI, is_alzheimer_mri
from ._classes import SEVERITY
from ._dataset import Dataset
from ._folder import check_root
from ._image_folder import ImageFolder
from ._phantoms._generate import MANIFEST, load_phantoms
from ._subjects import Groups


def open_dataset(
    path: str | Path,
    *,
    groups: Groups = None,
    image_size: int | None = None,
    task: str | None = None,
    channels: int = 1,
    n_jobs: int | None = None,
    class_order: Sequence[str] | None = None,
    labelled: bool = True,
    errors: str = "raise",
) -> Dataset:
    """Opens a folder by what is in it: the Alzheimer MRI set, phantoms, or any class folders.

    Parameters
    ----------
    path : path
    groups, image_size, channels, n_jobs, class_order, labelled, errors
        As for `ImageFolder`. Giving `groups` or `class_order` reads it as plain class folders.
    task : {"4class", "3class", "cdr0"} or None
        Joins classes; for sets with the four severity classes.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     made = write_phantoms(root, n_subjects=8, slices=1, image_size=32)
    ...     open_dataset(root, task="cdr0")
    <Dataset 'phantoms (seed 0)': 8 images of 32 x 32 px, gray, 8 subjects, 2 classes>
    """
    root = check_root(path)
    plain = groups is not None or class_order is not None or not labelled
    options = {"image_size": image_size, "channels": channels, "n_jobs": n_jobs}
    if not plain and is_phantom_folder(root):
        ds = load_phantoms(root, **options)
    elif not plain and is_alzheimer_mri(root) and (root / SEVERITY[0] / "non_1.jpg").is_file() and errors == "raise":
        ds = AlzheimerMRI(root, **options)
    else:
        if labelled and class_order is None and is_alzheimer_mri(root):
            class_order = SEVERITY
        ds = ImageFolder(root, groups=groups, class_order=class_order, labelled=labelled, errors=errors, **options)
    return ds if task is None else ds.with_task(task)


def is_phantom_folder(root: str | Path) -> bool:
    """Whether `write_phantoms` made the folder."""
    try:
        return json.loads((Path(root) / MANIFEST).read_text(encoding="utf-8")).get("format") == "simclr_mri phantoms"
    except (OSError, ValueError):
        return False
