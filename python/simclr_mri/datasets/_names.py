"""Subjects and slices that well-known sets write into their file names.

References
----------
Marcus et al., Journal of Cognitive Neuroscience 19:1498, 2007 (OASIS). Jack et al., Journal of Magnetic Resonance
Imaging 27:685, 2008 (ADNI). Gorgolewski et al., Scientific Data 3:160044, 2016 (BIDS). IXI: brain-development.org.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._dataset import Dataset

# Of each scheme: its name, and where the subject stands in a path.
_SCHEMES = (
    ("OASIS", re.compile(r"(?:^|[/_-])(OAS1_\d{4}|OAS2_\d{4}|OAS3\d{4}|OAS4\d{4})(?=[_./-]|$)", re.IGNORECASE)),
    ("ADNI", re.compile(r"(?:^|[/_-])(?:I\d+_)?(\d{3}_S_\d{4,5})(?=[_./-]|$)", re.IGNORECASE)),
    ("BIDS", re.compile(r"(?:^|/)(sub-[A-Za-z0-9]+)(?=[_./]|$)")),
    ("IXI", re.compile(r"(?:^|/)(IXI\d{3})(?=-)", re.IGNORECASE)),
)
# A slice: named so, or ADNI's number between the time and the series, or the last number of the name.
_SLICE = re.compile(r"(?:slice|slc|_z|axial|coronal|sagittal)[-_]?(\d{1,4})(?=\D|$)", re.IGNORECASE)
_ADNI_SLICE = re.compile(r"_\d{14,17}_(\d{1,4})_S\d+_I\d+", re.IGNORECASE)
_LAST = re.compile(r"(?<!run)(?<!ses)(?<!echo)(?<!acq)[-_](\d{1,4})$", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """What the names tell: the scheme, and the subject and slice of each file (None where they give no slice)."""

    scheme: str
    subjects: list[str]
    slices: list[int] | None


def known_names(files: Sequence[str]) -> Named | None:
    """Subjects and slices of files that all follow one scheme; None if they do not.

    Parameters
    ----------
    files : sequence of str
        Relative paths. The file's own name is looked at first, then the folders from below.

    Returns
    -------
    Named or None

    Examples
    --------
    >>> known_names(["Mild Dementia/OAS1_0028_MR1_mpr-1_100.jpg"])
    Named(scheme='OASIS', subjects=['OAS1_0028'], slices=[100])
    """
    for scheme, pattern in _SCHEMES:
        subjects = [_subject(name, pattern) for name in files]
        if files and all(subjects):
            slices = [slice_of(name) for name in files]
            known = [number for number in slices if number is not None]
            return Named(scheme, [str(s) for s in subjects], known if len(known) == len(files) else None)
    return None


def likely_subjects(ds: Dataset) -> str | None:
    """A pattern that may name the subjects of a data set's files: several images each, none in two classes; or None.

    Examples
    --------
    >>> import numpy as np
    >>> files = ["a/p01_1.png", "a/p01_2.png", "a/p02_1.png", "b/p03_1.png", "b/p03_2.png", "b/p04_7.png"]
    >>> ds = Dataset(np.zeros((6, 8, 8), np.uint8), [0, 0, 0, 1, 1, 1], "ab", files=files)
    >>> likely_subjects(ds)
    '([^/_]+)_[^/]*$'
    """
    labels = np.zeros(len(ds), np.int64) if ds.labels is None else ds.labels
    for pattern in (r"([^/_]+)_[^/]*$", r"([^/_]+_[^/_]+)_[^/]*$", r"([^/-]+)-[^/]*$", r"/([^/]+)/[^/]+$"):
        matches = [re.search(pattern, name) for name in ds.files]
        if not all(matches):
            continue
        names = [match[1] for match in matches if match]
        n_subjects = len(set(names))
        apart = len(set(zip(names, labels.tolist(), strict=True))) == n_subjects
        if apart and max(3, 1.5 * len(set(labels.tolist()))) <= n_subjects < len(ds):
            return pattern
    return None


def _subject(name: str, pattern: re.Pattern[str]) -> str | None:
    for piece in reversed(name.split("/")):
        if found := pattern.search(piece):
            return found[1]
    return None


def slice_of(name: str) -> int | None:
    """The number of a slice in a file's name; None if there is none.

    Examples
    --------
    >>> slice_of("sub-01_T1w_slice-017.png"), slice_of("sub-01_run-2.png"), slice_of("a/x_12.png")
    (17, None, 12)
    """
    stem = name.rsplit("/", 1)[-1].split(".", 1)[0]
    for pattern in (_ADNI_SLICE, _SLICE, _LAST):
        if found := pattern.search(stem):
            return int(found[1])
    return None
