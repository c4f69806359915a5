"""Pictures of a folder piece by piece, so that a folder of any size is read in the memory of a few hundred."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._core import DecodeError
from .._shared import Channels, OnError
from ._cache import is_cache, open_cache, plain_option
from ._dataset import Dataset
from ._folder import check_root, nothing_to_read
from ._found import Asked
from ._gather import gather
from ._images import read_images
from ._pillow import fitted, to_uint8
from ._subjects import Groups, resolve_groups
from ._volumes import Cut, VolumeStream, find_volumes
from ._walk import walk
from ._warnings import DataWarning, FilesLeftOut

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

    def spread(self, n: int) -> np.ndarray:
        """Indices of up to n pictures: of as many subjects as possible, or evenly over the folder, ascending."""
        if self.subjects is None:
            return np.unique(np.linspace(0, len(self) - 1, min(n, len(self))).round().astype(np.int64))
        rank = np.zeros(len(self), np.int64)  # of a picture among its subject's, the middle one first
        for subject in np.unique(self.subjects):
            mine = np.flatnonzero(self.subjects == subject)
            rank[mine[np.argsort(np.abs(np.arange(len(mine)) - len(mine) // 2), kind="stable")]] = np.arange(len(mine))
        return np.sort(np.argsort(rank, kind="stable")[:n])

    def read(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """Some of the pictures, without labels; what cannot be read and may be left out is."""
        chosen = [self.files[i] for i in indices]
        try:
            images, kept = read_images(self.root, chosen, **self._reading)
        except (DecodeError, OSError) as error:  # none of these few can be read, which is no reason to stop either
            if self._reading["errors"] != "warn":
                raise
            warnings.warn(f"{error}\nThey are left out", FilesLeftOut, stacklevel=2)
            size, channels = self._reading["image_size"], self._reading["channels"]
            images, kept = np.empty((0, size, size, channels), np.uint8), np.empty(0, np.int64)
        rows = np.asarray(indices)[kept]
        subjects = None if self.subjects is None else self.subjects[rows]
        return Dataset(images, subjects=subjects, files=[self.files[i] for i in rows], name=self.root.absolute().name)

    def __iter__(self) -> Iterator[Dataset]:
        for start in range(0, len(self), PIECE):
            yield self.read(np.arange(start, min(start + PIECE, len(self))))


class CacheStream(PictureStream):
    """The same of a cache: nothing is decoded."""

    def __init__(self, root: Path, ds: Dataset, reading: dict[str, Any]) -> None:
        super().__init__(root, ds.files, ds.subjects, reading)
        self._ds = ds.unlabelled()

    def read(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        chosen, how = self._ds[np.asarray(indices)], self._reading
        size, channels = (how["image_size"], how["image_size"]), how["channels"]
        images = [fitted(to_uint8(image, None, channels), size, how["fit"]) for image in chosen.images]
        pixels = np.stack(images) if images else np.empty((0, *size, channels), np.uint8)
        return Dataset(pixels, subjects=chosen.subjects, files=chosen.files, name=self._ds.name, copy=False)


def stream_pictures(
    path: str | Path,
    *,
    image_size: int,
    channels: Channels = 1,
    groups: Groups = None,
    errors: OnError = "raise",
    n_jobs: int | None = None,
    reading: Mapping[str, Any] | None = None,
) -> PictureStream | VolumeStream:
    """The pictures below a folder, whatever its sub-folders mean; slices of volumes where there are no pictures; or
    what is in a cache.

    Parameters
    ----------
    path : path
    image_size : int
        Rows and columns that each picture is resized to.
    channels, groups, errors, n_jobs
        As for `ImageFolder`.
    reading : dict or None
        What decides the pixels besides, as `Dataset.reading` tells it of the data that a model was trained on:
        "intensity" and "fit", and for volumes "plane", "every" and "range".

    Returns
    -------
    PictureStream or VolumeStream
        Both have a length and give data sets of some pictures each.

    Examples
    --------
    >>> stream = stream_pictures("New", image_size=128, reading=train.reading)  # doctest: +SKIP
    >>> answers = [clf.predict_proba(piece) for piece in stream]  # doctest: +SKIP
    """
    how = dict(reading or {})
    root = check_root(path)
    options = {"image_size": image_size, "channels": channels, "errors": errors, "n_jobs": n_jobs}
    options |= {"intensity": how.get("intensity"), "fit": how.get("fit", "pad")}
    if is_cache(root):
        ds, _ = open_cache(root)
        mine, theirs = how.get("intensity"), ds.reading.get("intensity")
        if mine is not None and plain_option(mine) != plain_option(theirs):
            said = f"{root}: a cache with intensity={theirs!r}, where the model learned with {mine!r}"
            warnings.warn(f"{said}. Give the folder of the pictures instead of the cache", DataWarning, stacklevel=2)
        if groups is not None:
            ds = ds.with_subjects(resolve_groups(groups, root, ds.files))
        return CacheStream(root, ds, options)
    listing = walk(root)
    asked = Asked(groups, labelled=False)
    if not listing.pictures and listing.volumes:
        found, items = find_volumes(root, asked)
        cut = Cut(**{key: how[key] for key in ("plane", "every", "range", "intensity") if key in how})
        return VolumeStream(found, items, cut, image_size, channels, how.get("fit", "pad"), errors)
    if not listing.pictures:
        raise ValueError(nothing_to_read(listing, False))
    found = gather(listing, listing.pictures, asked)
    for note in found.notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return PictureStream(root, found.files, found.subjects, options)
