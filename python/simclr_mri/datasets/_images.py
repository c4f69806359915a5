"""Reads image files into one array, in parallel, and says which of them do not fit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import _core
from .._shared import check_images_fit, n_threads, some
from ._dataset import DataWarning


def read_images(
    root: str | Path,
    files: Sequence[str],
    *,
    image_size: int | None = None,
    channels: int = 1,
    n_jobs: int | None = None,
    errors: str = "raise",
    max_pixels: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes files into one array.

    Parameters
    ----------
    root : path
    files : sequence of str
        Relative to `root`.
    image_size : int or None
        Rows and columns to resize to, antialiased; None keeps the size, which must then be the same in all files.
    channels : {1, 3}
    n_jobs : int or None
        Threads; None for all.
    errors : {"raise", "warn"}
        What to do about files that cannot be read: name them in an exception, or in a warning and leave them out.
    max_pixels : int or None
        Pixels that an image may have before it is resized; None for 2**24, such as 4096 x 4096. A small file may claim
        to be a large image, which takes memory and time.

    Returns
    -------
    images : ndarray of shape (M, H, W, C), uint8
    kept : ndarray of shape (M,), int
        Which files these are.

    Raises
    ------
    DecodeError
        Names the files and what is wrong with each.
    OSError
        The system refused them all; FileNotFoundError if none of them is there.
    MemoryError
        The system refused memory, with either choice of `errors`: the files may be good.
    ValueError
        Images of several sizes, and no `image_size`.

    Examples
    --------
    >>> images, kept = read_images("Dataset", ["Non_Demented/non_1.jpg"])  # doctest: +SKIP
    """
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 (gray) or 3 (RGB), got {channels}")
    if image_size is not None and (isinstance(image_size, bool) or not isinstance(image_size, (int, np.integer))):
        raise ValueError(f"image_size: expected one whole number of pixels, got {image_size!r}")
    if image_size is not None and image_size < 8:
        raise ValueError(f"image_size: expected at least 8 pixels, got {image_size}")
    if errors not in ("raise", "warn"):
        raise ValueError(f"errors: expected 'raise' or 'warn', got {errors!r}")
    if max_pixels is not None and max_pixels < 1:
        raise ValueError(f"max_pixels: expected at least 1, got {max_pixels}")
    most = 0 if max_pixels is None else max_pixels
    paths = [str(Path(root) / name) for name in files]
    _check_fits(paths, image_size, channels, most)
    images, failures = _core.decode_files(paths, channels, image_size, n_threads(n_jobs), max_pixels=most)
    if not failures:
        return images, np.arange(len(files))
    _raise_refusals(failures)
    _explain_sizes(failures, files, images.shape)
    summary = f"{len(failures):,} of {len(files):,} files cannot be read:"
    summary += "".join(f"\n  {message}" for _, _, message in failures[:5])
    summary += f"\n  and {len(failures) - 5:,} more" if len(failures) > 5 else ""
    if errors == "raise" or len(failures) == len(files):
        raise _exception_of({kind for _, kind, _ in failures})(summary)
    warnings.warn(f"{summary}\nThey are left out", DataWarning, stacklevel=3)
    kept = np.setdiff1d(np.arange(len(files)), [index for index, _, _ in failures])
    return images[kept], kept


_OF_ONE_FILE = frozenset(
    "FileNotFoundError PermissionError IsADirectoryError NotADirectoryError DecodeError ValueError".split()
)


def _raise_refusals(failures: Sequence[tuple[int, str, str]]) -> None:
    """What the machine refuses (memory, open files, a disk that fails) says nothing about the file it was asked for."""
    for _, kind, message in failures:
        if kind == "MemoryError":
            raise MemoryError(f"{message}. Close other programs, or give image_size= to hold smaller images")
        if kind not in _OF_ONE_FILE:
            raise OSError(message)


def _exception_of(kinds: set[str]) -> type[Exception]:
    """The exception for files that cannot be read: that of the system, if it refused all of them."""
    if kinds == {"FileNotFoundError"}:
        return FileNotFoundError
    return _core.DecodeError if "DecodeError" in kinds else OSError


def _check_fits(paths: Sequence[str], image_size: int | None, channels: int, max_pixels: int) -> None:
    """Whether the images fit into memory; their size is that of the first file where none is asked for."""
    rows = columns = image_size
    if image_size is None:
        try:
            rows, columns = _core.read_image(paths[0], max_pixels=max_pixels).shape[:2]
        except (IndexError, OSError, ValueError):
            return  # it will be named with all others that cannot be read
    check_images_fit(len(paths), rows, columns, channels)


def _explain_sizes(failures: Sequence[tuple[int, str, str]], files: Sequence[str], shape: tuple[int, ...]) -> None:
    """Images of several sizes are no fault of the files: the way out is to name one size."""
    odd = [files[index] for index, kind, _ in failures if kind == "ValueError"]
    if odd:
        raise ValueError(
            f"images of several sizes: {len(odd):,} of {len(files):,} are not {shape[1]} x {shape[2]} px as the first "
            f"one is ({some(odd, 3)}). Give image_size= to resize them all"
        )
