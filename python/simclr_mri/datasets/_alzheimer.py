"""The Alzheimer MRI data set, whose subjects follow from the numbers in its file names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._shared import Channels, some
from ._classes import SEVERITY
from ._dataset import Dataset
from ._folder import check_root
from ._images import read_images

N_SUBJECTS = dict(zip(SEVERITY, (100, 70, 28, 2), strict=True))
"""Subjects by class; each gave 32 slices, 1 mm apart."""


N_TEST_FILES = dict(zip(SEVERITY, (640, 448, 179, 12), strict=True))
"""Images by class in the test half of the set that this one was made from: they come first in its numbering."""


N_SLICES = 32


_PREFIX = dict(zip(SEVERITY, ("non", "verymild", "mild", "moderate"), strict=True))


def alzheimer_mri_subjects(n_subjects: int, n_test_files: int) -> list[tuple[int, int]]:
    """Subject and slice (both from 1) behind each file number of a class of the Alzheimer MRI data set.

    The publisher numbered the files of an older set in the order in which a program listed them. There a slice of a
    subject was called `26 (10).jpg`, and subject 1 had no number. So, with n subjects and T test files: files 1 to T
    are the last T - 6n subjects of slice 26, then slices 27 to 32, each by subject 2, 3, ..., n, 1; the others are
    slices 1 to 25 and the rest of slice 26, each in the order of the names as strings.

    Parameters
    ----------
    n_subjects, n_test_files : int

    Returns
    -------
    list of (subject, slice), one for each file number from 1 to 32 n

    Examples
    --------
    >>> alzheimer_mri_subjects(2, 12)[:3]  # file 1 is slice 27 of subject 2
    [(2, 27), (1, 27), (2, 28)]
    """
    by_number = [*range(2, n_subjects + 1), 1]
    by_name = sorted(range(1, n_subjects + 1), key=lambda s: f"26 ({s}).jpg" if s > 1 else "26.jpg")
    early = by_number[n_subjects - (n_test_files - 6 * n_subjects) :] if n_test_files > 6 * n_subjects else []
    order = [(subject, 26) for subject in early]
    order += [(subject, level) for level in range(27, N_SLICES + 1) for subject in by_number]
    order += [(subject, level) for level in range(1, 26) for subject in by_name]
    order += [(subject, 26) for subject in by_name if subject not in early]
    return order


def AlzheimerMRI(
    root: str | Path,
    *,
    image_size: int | None = None,
    task: str = "4class",
    channels: Channels = 1,
    n_jobs: int | None = None,
) -> Dataset:
    """Reads the Kaggle "Alzheimer MRI Preprocessed Dataset": 6,400 slices of 200 subjects, 128 x 128 pixels.

    The subjects, which the publisher does not give, follow from the numbering of the files (`alzheimer_mri_subjects`).

    Parameters
    ----------
    root : path
        The folder with `Non_Demented`, `Very_Mild_Demented`, `Mild_Demented` and `Moderate_Demented`.
    image_size : int or None
        Resize to this many pixels; None keeps 128.
    task : {"4class", "3class", "cdr0"}
        See `Dataset.with_task`.
    channels : {1, 3}
    n_jobs : int or None
        Threads; None for all.

    Returns
    -------
    Dataset
        Classes by severity, subjects such as "mild-007", slices from 1 to 32.

    Raises
    ------
    ValueError
        The folder does not hold the published 3,200 + 2,240 + 896 + 64 files.

    Examples
    --------
    >>> AlzheimerMRI("Dataset", task="cdr0")  # doctest: +SKIP
    <Dataset 'Alzheimer MRI': 6,400 images of 128 x 128 px, gray, 200 subjects, 2 classes>
    """
    root = check_root(root)
    _check_published(root)
    counts = {name: N_SUBJECTS[name] * N_SLICES for name in SEVERITY}
    files = [f"{name}/{_PREFIX[name]}_{i}.jpg" for name in SEVERITY for i in range(1, counts[name] + 1)]
    labels = np.repeat(np.arange(len(SEVERITY)), list(counts.values())).tolist()
    subjects, levels = _published_subjects(files, labels)
    images, _ = read_images(root, files, image_size=image_size, channels=channels, n_jobs=n_jobs)
    sources = [str(root / file) for file in files]
    ds = Dataset(
        images, labels, SEVERITY, subjects, files, name="Alzheimer MRI", slices=levels, sources=sources, copy=False
    )
    return ds.with_task(task)


def is_alzheimer_mri(root: str | Path) -> bool:
    """Whether the folder has the four published class folders."""
    return all((Path(root) / name).is_dir() for name in SEVERITY)


def _check_published(root: Path) -> None:
    if not is_alzheimer_mri(root):
        places = [p for p in (*root.glob("*/"), *root.glob("*/*/"), root.absolute().parent) if is_alzheimer_mri(p)]
        hint = f"wrong folder level? Did you mean {places[0]}?" if places else "For another data set use ImageFolder"
        raise ValueError(f"{root}: expected the folders {', '.join(SEVERITY)}. {hint}")
    for name in SEVERITY:
        expected = N_SUBJECTS[name] * N_SLICES
        found = {p.name for p in (root / name).iterdir() if not p.name.startswith(".")}
        wanted = {f"{_PREFIX[name]}_{i}.jpg" for i in range(1, expected + 1)}
        if found != wanted:
            lacking, extra = sorted(wanted - found), sorted(found - wanted)
            raise ValueError(
                f"{root / name}: expected the {expected:,} published files, found {len(found):,}"
                + (f"; missing {some(lacking, 3)}" if lacking else "")
                + (f"; unknown {some(extra, 3)}" if extra else "")
                + ". The subjects follow from the numbering, so the set must be whole; else use ImageFolder"
            )


def _published_subjects(files: Sequence[str], labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Subject and slice of each file."""
    tables = {name: alzheimer_mri_subjects(N_SUBJECTS[name], N_TEST_FILES[name]) for name in SEVERITY}
    subjects, levels = [], []
    for file, label in zip(files, labels, strict=True):
        name = SEVERITY[label]
        number = int(Path(file).stem.rpartition("_")[2])
        subject, level = tables[name][number - 1]
        subjects.append(f"{_PREFIX[name]}-{subject:03d}")
        levels.append(level)
    return np.array(subjects), np.array(levels)
