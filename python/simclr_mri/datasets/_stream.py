"""Pictures of a folder piece by piece, so that a folder of any size is read in the memory of a few hundred."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._core import DecodeError
from ._dataset import Dataset, DataWarning
from ._folder import check_root, list_flat
from ._images import read_images
from ._subjects import Groups, resolve_groups

PIECE = 256
"""Pictures that are in memory at once: at 224 pixels and three channels 37 MB."""


class PictureStream:
    """What is known about the pictures of a folder before one is read. Iterating gives data sets of some pictures each.

    Attributes
    ----------
    root : Path
    files : tuple of str
        Relative to `root`, in natural order.
    subjects : ndarray of shape (N,), str, or None
        None when unknown.

    Examples
    --------
    >>> import tempfile
    >>> from simclr_mri.datasets import write_phantoms
    >>> with tempfile.TemporaryDirectory() as root:
    ...     made = write_phantoms(root, n_subjects=4, slices=2, image_size=32)
    ...     stream = stream_pictures(root, image_size=32)
    ...     len(stream), [len(piece) for piece in stream]
    (8, [8])
    """

    def __init__(self, root: Path, files: Sequence[str], subjects: np.ndarray | None, reading: dict[str, Any]) -> None:
        self.root, self.files, self.subjects, self._reading = root, tuple(files), subjects, reading

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """Some of the pictures, without labels; what cannot be read and may be left out is."""
        chosen = [self.files[i] for i in indices]
        try:
            images, kept = read_images(self.root, chosen, **self._reading)
        except (DecodeError, OSError) as error:  # none of these few can be read, which is no reason to stop either
            if self._reading["errors"] != "warn":
                raise
            warnings.warn(f"{error}\nThey are left out", DataWarning, stacklevel=2)
            size, channels = self._reading["image_size"], self._reading["channels"]
            images, kept = np.empty((0, size, size, channels), np.uint8), np.empty(0, np.int64)
        rows = np.asarray(indices)[kept]
        subjects = None if self.subjects is None else self.subjects[rows]
        return Dataset(images, subjects=subjects, files=[self.files[i] for i in rows], name=self.root.absolute().name)

    def __iter__(self) -> Iterator[Dataset]:
        for start in range(0, len(self), PIECE):
            yield self.read(np.arange(start, min(start + PIECE, len(self))))


def stream_pictures(
    path: str | Path,
    *,
    image_size: int,
    channels: int = 1,
    groups: Groups = None,
    errors: str = "raise",
    n_jobs: int | None = None,
) -> PictureStream:
    """The pictures below a folder, whatever its sub-folders mean.

    Parameters
    ----------
    path : path
    image_size : int
        Rows and columns that each picture is resized to.
    channels, groups, errors, n_jobs
        As for `ImageFolder`.

    Returns
    -------
    PictureStream
    """
    root = check_root(path)
    files = list_flat(root)
    reading = {"image_size": image_size, "channels": channels, "errors": errors, "n_jobs": n_jobs}
    return PictureStream(root, files, resolve_groups(groups, root, files), reading)
