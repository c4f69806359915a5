"""Class folders as a data set: `root/class/**/image.png`, with or without parts, wrappers and tables around them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._shared import Channels, Fit, OnError
from ._cache import options_kept, through_cache
from ._dataset import Dataset
from ._folder import check_root, nothing_to_read
from ._found import Asked, Found
from ._gather import gather
from ._images import Intensity, Pictures, check_reading, decode
from ._pixel_file import PixelFile
from ._subjects import Groups
from ._walk import walk
from ._warnings import DataWarning


def ImageFolder(
    root: str | Path,
    *,
    groups: Groups = None,
    labels: str | Path | tuple[str | Path, str] | None = None,
    image_size: int | None = None,
    channels: Channels = 1,
    n_jobs: int | None = None,
    merge: Any = None,
    class_order: Sequence[str] | str | None = None,
    labelled: bool = True,
    layout: str | None = None,
    intensity: Intensity = None,
    fit: Fit = "pad",
    errors: OnError = "raise",
    name: str | None = None,
    max_pixels: int | None = None,
    cache: str | Path | None = None,
) -> Dataset:
    r"""Reads class folders: `root/class/**/image.png`, and what people make of them.

    Which level of folders holds the classes is found out: there may be one folder around all, parts of a ready-made
    split above or below the classes (`ds.parts`), augmented copies or masks beside the originals (not read), or a table
    of labels beside a flat folder. `ds.understood` says in a line what was understood, and what is not read is counted
    in a warning.

    Parameters
    ----------
    root : path
        Folders that start with "." or "_" are passed over; links to folders are followed.
    groups : str, tuple, callable or None
        Who is in each image: "table.csv:column" or ("table.csv", "column"), whose rows name files by path, name or id;
        a regular expression with one group over the relative file name, such as r"(sub-[0-9]+)_"; or a function of
        it. None takes what the names of OASIS, ADNI, BIDS and IXI tell.
    labels : str, tuple or None
        "table.csv:column" with the class of each image, or a pattern with one group over file names; instead of
        folders.
    image_size : int or None
        Resize to this many pixels, antialiased; None keeps the size.
    channels : {1, 3}
    n_jobs : int or None
        Threads; None for all.
    merge : str, sequence of str, dict or None
        Classes to join: "Mild,Moderate=Dementia", or {"Dementia": ["Mild", "Moderate"]}.
    class_order : sequence of str or None
        The classes in order of severity (after joining); None knows some scales and sorts by name otherwise.
    labelled : bool
        False reads every image below `root`, without labels, for pretraining.
    layout : str or None
        What each level of folders is, where the structure can be read in several ways: "part/class", "class/subject/*".
    intensity : {"full", "percentile"}, (low, high) or None
        The values that become black and white, see `read_images`.
    fit : {"pad", "crop", "stretch"}
        What becomes of images that are not square when `image_size` is given.
    errors : {"raise", "warn"}
        Files that cannot be decoded: an exception that names them, or a warning.
    name : str or None
    max_pixels : int or None
        Pixels that an image may have before it is resized; None for 2**24, such as 4096 x 4096.
    cache : path or None
        A folder that keeps the decoded images: made in the memory of a few of them if it is not there, and opened at
        once from then on. Images are read from it when they are needed, so there may be more than fit into memory.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        No classes, an empty class, folders that can be read in two ways, a table that does not fit.
    DecodeError
        Files that are damaged or of a kind that is not supported.
    CacheError
        The cache is damaged, or was made otherwise than asked for, or the files have changed since; a ValueError.

    Examples
    --------
    >>> import tempfile
    >>> from simclr_mri.datasets import write_phantoms
    >>> with tempfile.TemporaryDirectory() as root:
    ...     made = write_phantoms(f"{root}/mri", n_subjects=8, slices=1, image_size=32)
    ...     ImageFolder(f"{root}/mri", groups=r"/(sub-\d+)_")
    <Dataset 'mri': 8 images of 32 x 32 px, gray, 8 subjects, 4 classes>
    """
    check_reading(image_size, channels, errors, intensity, fit)
    root = check_root(root)
    asked = Asked(groups, labels, layout, merge, class_order, labelled)
    reading: dict[str, Any] = {"image_size": image_size, "channels": channels, "n_jobs": n_jobs, "errors": errors}
    reading |= {"intensity": intensity, "fit": fit, "max_pixels": max_pixels}

    def read(into: PixelFile | None) -> Dataset:
        listing = walk(root)
        if not listing.pictures:
            raise ValueError(nothing_to_read(listing, labelled))
        found = gather(listing, listing.pictures, asked)
        pictures = decode(root, found.files, **reading, into=into)
        return as_dataset(found, pictures, name or root.absolute().name, fit, root, stacklevel=5)

    return through_cache(
        cache, root, {"reader": "ImageFolder", **asked.options(), **options_kept(reading)}, asked.tables(root), read
    )


def as_dataset(
    found: Found, pictures: Pictures, name: str, fit: str, root: Path | None = None, stacklevel: int = 3
) -> Dataset:
    """The data set of what was found and read; warns of what is worth a note. None: files have no path of their own."""
    for note in [*found.notes, *pictures.notes]:
        warnings.warn(note, DataWarning, stacklevel=stacklevel)
    kept = pictures.kept
    pick = lambda values: None if values is None else values[kept]  # noqa: E731
    ds = Dataset(
        pictures.images,
        pick(found.labels),
        found.classes,
        pick(found.subjects),
        [found.files[i] for i in kept],
        name=name,
        slices=pick(found.slices),
        parts=pick(found.parts),
        sources=() if root is None else [str(root / found.files[i]) for i in kept],
        copy=False,
    )
    return ds.with_reading(found.reading, {"intensity": pictures.intensity, "fit": fit}, found.others)
