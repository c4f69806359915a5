"""Decoding files into one array of uint8: sizes, proportions, channels, and which values become black and white.

JPEG and PNG go through the core (libjpeg-turbo, libpng), other formats through Pillow. Colour profiles and the EXIF
orientation are ignored: pixels stay where the file has them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from .. import _core
from .._shared import (
    Channels,
    Fit,
    OnError,
    check_images_fit,
    check_path,
    n_threads,
    option_text,
    some,
)
from ._pillow import fitted, read_pillow, to_uint8
from ._pixel_file import PixelFile
from ._store import CHUNK_BYTES
from ._walk import PILLOW_EXTENSIONS, ending, sniff, what_else
from ._warnings import DataWarning, FilesLeftOut

Intensity = str | tuple[float, float] | None
FITS: tuple[Fit, ...] = get_args(Fit)
FULL_16 = 65_535


class SeveralSizes(ValueError):
    """Images of several sizes, and none that all are to be brought to."""


_OF_ONE_FILE = frozenset(
    "FileNotFoundError PermissionError IsADirectoryError NotADirectoryError DecodeError ValueError".split()
)


def _raise_refusals(failures: Iterable[tuple[str, str]]) -> None:
    """What the machine refuses (memory, open files, a disk that fails) says nothing about the file it was asked for."""
    for kind, message in failures:
        if kind == "MemoryError":
            smaller = option_text("image_size", 64)
            raise MemoryError(f"{message}. Close other programs, or hold smaller images: {smaller}")
        if kind not in _OF_ONE_FILE:
            raise OSError(message)


def _exception_of(kinds: set[str]) -> type[Exception]:
    """The exception for files that cannot be read: that of the system, if it refused all of them."""
    if kinds == {"FileNotFoundError"}:
        return FileNotFoundError
    return _core.DecodeError if "DecodeError" in kinds else OSError


@dataclass(eq=False)
class Pictures:
    """Decoded files.

    Attributes
    ----------
    images : ndarray of shape (M, H, W, C), uint8
    kept : ndarray of shape (M,), int
        Which files these are.
    intensity : "full", "percentile" or (low, high)
        What became black and white.
    notes : list of str
        What is worth a note.
    """

    images: np.ndarray
    kept: np.ndarray
    intensity: Any = "full"
    notes: list[str] = field(default_factory=list)


def check_reading(image_size: int | None, channels: int, errors: str, intensity: Intensity, fit: str) -> None:
    """ValueError for an option of reading that does not exist."""
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 (gray) or 3 (RGB), got {channels}")
    if image_size is not None and (isinstance(image_size, bool) or not isinstance(image_size, (int, np.integer))):
        raise ValueError(f"image_size: expected one whole number of pixels, got {image_size!r}")
    if image_size is not None and image_size < 8:
        raise ValueError(f"image_size: expected at least 8 pixels, got {image_size}")
    if errors not in get_args(OnError):
        raise ValueError(f"errors: expected 'raise' or 'warn', got {errors!r}")
    if fit not in FITS:
        raise ValueError(f"fit: expected one of {', '.join(FITS)}, got {fit!r}")
    if not is_intensity(intensity):
        raise ValueError(
            f"intensity: expected 'full', 'percentile' or a pair (low, high) with low < high, got {intensity!r}"
        )


def is_intensity(value: Any) -> bool:
    """Whether a value says what becomes black and white: a name, a pair of numbers, or None."""
    return value is None or (isinstance(value, str) and value in ("full", "percentile")) or _is_pair(value)


def _is_pair(value: Any) -> bool:
    numbers = isinstance(value, (tuple, list)) and len(value) == 2
    return numbers and all(isinstance(v, (int, float, np.number)) for v in value) and bool(value[0] < value[1])


def read_images(
    root: str | Path,
    files: Sequence[str],
    *,
    image_size: int | None = None,
    channels: Channels = 1,
    n_jobs: int | None = None,
    errors: OnError = "raise",
    intensity: Intensity = None,
    fit: Fit = "pad",
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
    intensity : {"full", "percentile"}, (low, high) or None
        The values that become black and white: all that 8 or 16 bits can hold, each image's own 1st and 99th
        percentile, or these two. None is "full" for 8 bits; for 16 bits the files' own depth if they state it (sBIT in
        PNG) or if the largest value of all is below a quarter of the possible, as in 12-bit scans.
    fit : {"pad", "crop", "stretch"}
        What happens to images of other proportions than `image_size`: black beside the whole image, only its centre, or
        stretching.
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

    Notes
    -----
    The EXIF orientation and colour profiles are ignored.

    Examples
    --------
    >>> images, kept = read_images("Dataset", ["Non_Demented/non_1.jpg"])  # doctest: +SKIP
    """
    check_path(root, "root")
    if isinstance(files, (str, bytes)) or not isinstance(files, Iterable):
        raise TypeError(f"files: expected a sequence of names in root, got {type(files).__name__}")
    for file in files:
        check_path(file, "files")
    options: dict[str, Any] = {"image_size": image_size, "channels": channels, "n_jobs": n_jobs, "errors": errors}
    found = decode(root, files, **options, intensity=intensity, fit=fit, max_pixels=max_pixels)
    for note in found.notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return found.images, found.kept


def decode(
    root: str | Path,
    files: Sequence[str],
    *,
    image_size: int | None = None,
    channels: Channels = 1,
    n_jobs: int | None = None,
    errors: OnError = "raise",
    intensity: Intensity = None,
    fit: Fit = "pad",
    max_pixels: int | None = None,
    into: PixelFile | None = None,
) -> Pictures:
    """`read_images`, and what was found out on the way; the images lie in the file `into`, if there is one."""
    check_reading(image_size, channels, errors, intensity, fit)
    if max_pixels is not None and max_pixels < 1:
        raise ValueError(f"max_pixels: expected at least 1, got {max_pixels}")
    paths = [str(Path(root) / name) for name in files]
    batch = _Batch(paths, files, channels, n_threads(n_jobs), fit, max_pixels or 0, into)
    batch.read(image_size, intensity)
    kept = batch.check(errors)
    images = batch.images
    if len(kept) < len(files):
        images = images[kept] if into is None else into.keep(kept)
    return Pictures(images, kept, batch.intensity, batch.all_notes(images, intensity))


class _Batch:
    """Files on their way to one array."""

    def __init__(
        self,
        paths: list[str],
        files: Sequence[str],
        channels: int,
        threads: int,
        fit: str,
        max_pixels: int,
        into: PixelFile | None,
    ) -> None:
        self.paths, self.files, self.channels, self.threads, self.fit = paths, files, channels, threads, fit
        self.max_pixels = max_pixels  # 0: the core's own bound
        self.into = into  # None: in memory, all at once
        self.images = np.zeros((len(paths), 0, 0, channels), np.uint8)
        self.failures: dict[int, tuple[str, str]] = {}  # index to kind of exception and message
        self.facts = np.zeros((len(paths), 5), np.uint16)
        self.pages: dict[int, str] = {}
        self.wide: dict[int, tuple[float, float]] = {}  # least and greatest of numbers of 32 bits
        self.intensity: Any = "full"
        self.resizes = False
        self.first: int | None = None  # whose size counts
        self.foreign = [i for i, path in enumerate(paths) if ending(path) in PILLOW_EXTENSIONS]

    def read(self, image_size: int | None, intensity: Intensity) -> None:
        """Decodes all files; 16-bit files a second time once the range of the whole set is known."""
        self.resizes = image_size is not None
        size = self._size(image_size)
        ours = np.setdiff1d(np.arange(len(self.paths)), self.foreign)
        given = None if intensity in (None, "full") else intensity
        core_range = (
            (round(given[0]), max(round(given[0]) + 1, round(given[1]))) if isinstance(given, (tuple, list)) else given
        )
        self._by_core(ours, image_size, core_range, size)
        waiting = self._foreign(intensity, given, size)
        if intensity is None:
            core_range = self._range_of_set()
            deep = np.flatnonzero((self.facts[:, 0] == 16) & ~np.isin(np.arange(len(self.paths)), self.foreign))
            if core_range is not None and len(deep):
                self._by_core(deep, image_size, core_range, size)
            given = core_range
        self.intensity = "full" if given is None else tuple(given) if isinstance(given, list) else given
        for index, values in waiting.items():
            values = self._by_pillow(index) if values is None else values
            if values is not None:
                self._place(index, to_uint8(values, given, self.channels), size)

    def _foreign(self, intensity: Intensity, given: Any, size: tuple[int, int] | None) -> dict[int, np.ndarray | None]:
        """Reads what is Pillow's; returns images of 16 bits that wait for the range of the whole set.

        On the way into a file these are not kept in memory (None), and are read a second time.
        """
        waiting: dict[int, np.ndarray | None] = {}
        if not self.foreign:
            return waiting
        with ThreadPoolExecutor(self.threads or None) as workers:
            for piece in self._pieces(np.array(self.foreign)):
                for index, values in zip(piece.tolist(), workers.map(self._by_pillow, piece.tolist()), strict=True):
                    if values is None:
                        continue
                    if intensity is None and values.dtype != np.uint8:
                        waiting[index] = None if self.into else values
                    else:
                        self._place(index, to_uint8(values, given, self.channels), size)
        return waiting

    def _pieces(self, which: np.ndarray) -> Iterator[np.ndarray]:
        """All at once in memory; a few megabytes at a time into a file."""
        each = max(1, self.images[:1].nbytes)
        step = max(64, CHUNK_BYTES // each) if self.into else max(1, len(which))
        for start in range(0, len(which), step):
            yield which[start : start + step]
            if self.into:
                self.into.release()

    def _allocate(self, size: tuple[int, int]) -> None:
        shape = (len(self.paths), *size, self.channels)
        self.images = self.into.allocate(shape) if self.into and 0 not in shape else np.zeros(shape, np.uint8)

    def _size(self, image_size: int | None) -> tuple[int, int] | None:
        """Rows and columns of the result: those asked for, or of the first file that can be read."""
        if image_size is not None:
            size: tuple[int, int] | None = (int(image_size), int(image_size))
        else:
            sizes = ((i, self._size_of(i)) for i in range(len(self.paths)))
            self.first, size = next(((i, s) for i, s in sizes if s is not None), (None, None))
        if size is not None and self.into is None:
            check_images_fit(len(self.paths), *size, self.channels)
        return size

    def _size_of(self, index: int) -> tuple[int, int] | None:
        try:
            if index in self.foreign[:1] or ending(self.paths[index]) in PILLOW_EXTENSIONS:
                return read_pillow(self.paths[index], self.max_pixels)[0].shape[:2]
            return _core.read_image(self.paths[index], max_pixels=self.max_pixels).shape[:2]
        except (OSError, ValueError):
            return None

    def _by_core(self, which: np.ndarray, image_size: int | None, range_: Any, size: tuple[int, int] | None) -> None:
        if size is None:
            size = (0, 0)
        if self.images.shape[1:3] != size:
            self._allocate(size)
        for piece in self._pieces(which):
            self._piece_by_core(piece, image_size, range_, size)

    def _piece_by_core(self, which: np.ndarray, image_size: int | None, range_: Any, size: tuple[int, int]) -> None:
        if self.into and self.first is not None and self.first != which[0] and self.first not in self.foreign:
            which = np.concatenate([[self.first], which])  # the core takes the size of the first of these
        paths = [self.paths[i] for i in which]
        options = {"fit": self.fit, "range": range_, "facts": True, "max_pixels": self.max_pixels}
        found, failures, facts = _core.decode_files(paths, self.channels, image_size, self.threads, **options)
        self.facts[which] = facts
        failed = {int(which[i]): (kind, message) for i, kind, message in failures}
        if found.shape[1:3] == size:
            if len(which) == len(self.paths) and self.into is None:
                self.images = found
            else:
                self.images[which] = found
        else:  # the first file, whose size counts, is one of Pillow's
            message = "{} x {} where the first image has {} x {}".format(*found.shape[1:3], *size)
            failed |= {int(i): ("ValueError", message) for i in which if int(i) not in failed}
        for index, failure in failed.items():
            if failure[0] == "DecodeError" and sniff(self.paths[index]) != "picture":
                self._second_chance(index, failure)
            else:
                self.failures[index] = failure

    def _second_chance(self, index: int, failure: tuple[str, str]) -> None:
        """A file whose ending lies about its format: Pillow may read it, or it can be said what it is."""
        path = self.paths[index]
        kind, what = sniff(path), what_else(path)
        if kind == "pillow":
            self.foreign.append(index)
        elif kind in ("dicom", "volume"):
            self.failures[index] = (
                "DecodeError",
                f"{path}: a {'DICOM' if kind == 'dicom' else 'NIfTI'} file, whatever its name",
            )
        else:
            self.failures[index] = ("DecodeError", f"{path}: {what}") if what else failure

    def _by_pillow(self, index: int) -> np.ndarray | None:
        try:
            samples, note = read_pillow(self.paths[index], self.max_pixels)
        except (OSError, ValueError) as error:
            kind = "DecodeError" if isinstance(error, _core.DecodeError) else type(error).__name__
            self.failures[index] = (kind, str(error))
            return None
        if note:
            self.pages[index] = note
        if samples.dtype not in (np.uint8, np.uint16):
            self.wide[index] = (float(samples.min()), float(samples.max()))
        if samples.dtype == np.uint16:
            self.facts[index] = (16, 0, samples.min(), samples.max(), 0)
        else:
            self.facts[index] = (8, 0, 0, 255, 0)
        return samples

    def _place(self, index: int, image: np.ndarray, size: tuple[int, int] | None) -> None:
        if self.images.shape[1:3] == (0, 0):
            self._allocate(size or image.shape[:2])
        rows, columns = self.images.shape[1:3]
        if image.shape[:2] != (rows, columns) and size is not None and not self.resizes:
            text = (
                f"{self.paths[index]}: {image.shape[0]} x {image.shape[1]} where the first image has {rows} x {columns}"
            )
            self.failures[index] = ("ValueError", text)
        else:
            self.images[index] = fitted(image, (rows, columns), self.fit)

    def _range_of_set(self) -> tuple[int, int] | None:
        """The range of all 16-bit files together: what they state, or the depth that holds their largest value."""
        deep = self.facts[self.facts[:, 0] == 16]
        if not len(deep):
            return None
        largest, stated = int(deep[:, 3].max()), set(deep[:, 1].tolist())
        bits = stated.pop() if len(stated) == 1 else 0
        if not 8 <= bits < 16 or largest >= 1 << bits:  # where sBIT follows its specification, values fill all 16 bits
            bits = 16 if largest == 0 or largest > FULL_16 // 4 else max(8, largest.bit_length())
        return None if bits == 16 else (0, (1 << bits) - 1)

    # -- what to say -------------------------------------------------------------------------------------------------

    def check(self, errors: str) -> np.ndarray:
        """Which files are kept; raises or warns about the others."""
        n = len(self.paths)
        if not self.failures:
            return np.arange(n)
        _raise_refusals(self.failures.values())
        self._explain_sizes()
        listed = [self.failures[i][1] for i in sorted(self.failures)]
        summary = f"{len(listed):,} of {n:,} files cannot be read:" + "".join(f"\n  {text}" for text in listed[:5])
        summary += f"\n  and {len(listed) - 5:,} more" if len(listed) > 5 else ""
        if errors == "raise" or len(listed) == n:
            way_out = f"\nTo leave them out: {option_text('errors', 'warn')}" if len(listed) < n else ""
            raise _exception_of({kind for kind, _ in self.failures.values()})(summary + way_out)
        warnings.warn(f"{summary}\nThey are left out", FilesLeftOut, stacklevel=4)
        return np.setdiff1d(np.arange(n), list(self.failures))

    def _explain_sizes(self) -> None:
        """Images of several sizes are no fault of the files: the way out is to name one size."""
        odd = [self.files[i] for i in sorted(self.failures) if self.failures[i][0] == "ValueError"]
        if odd:
            rows, columns = self.images.shape[1:3]
            side = max(32, rows, columns)
            raise SeveralSizes(
                f"images of several sizes: {len(odd):,} of {len(self.files):,} are not {rows} x {columns} px as the "
                f"first is ({some(odd, 3)}). Resize them all, keeping proportions: {option_text('image_size', side)}"
            )

    def all_notes(self, images: np.ndarray, asked: Intensity) -> list[str]:
        """What is worth a note: header bytes passed over, further pages, and a small range of values."""
        notes = []
        if odd := np.flatnonzero(self.facts[:, 4]).tolist():
            files = some([self.files[i] for i in odd], 3)
            notes.append(
                f"{len(odd):,} JPEG files have foreign bytes in their header and are read all the same: {files}"
            )
        if self.pages:
            index, which = next(iter(self.pages.items()))
            notes.append(f"{len(self.pages):,} files have several pages, such as {self.files[index]}: {which} is read")
        if self.wide and asked in (None, "full"):
            low, high = min(v[0] for v in self.wide.values()), max(v[1] for v in self.wide.values())
            same = self._wider(float(f"{low:.4g}"), float(f"{high:.4g}"))
            notes.append(
                f"{len(self.wide):,} files hold numbers of 32 bits, from {low:.4g} to {high:.4g}: each is spread from "
                f"its own least to its own greatest value. To spread all alike: {same}"
            )
        on_range = self._note_on_range(images, asked)
        return [*notes, on_range] if on_range else notes

    def _note_on_range(self, images: np.ndarray, asked: Intensity) -> str | None:
        if not images.size or asked not in (None, "full"):
            return None
        deep = self.facts[self.facts[:, 0] == 16]
        if len(deep):
            low, high = int(deep[:, 2].min()), int(deep[:, 3].max())
            if (high - low) * 4 > FULL_16:
                return None
            text = f"{len(deep):,} files of 16 bits have values from {low:,} to {high:,} only, of 65,535"
            if self.intensity == "full":
                n_levels = high // 257 - low // 257 + 1
                return f"{text}, which makes {n_levels} gray levels. To spread them: {self._wider(low, high)}"
            return f"{text}: {self.intensity[0]:,} to {self.intensity[1]:,} become black to white"
        low, high = int(images.min()), int(images.max())
        if (high - low) * 4 > 255:
            return None
        if low == high:
            return f"every pixel of all {len(images):,} images has the value {low}"
        return (
            f"the images have gray levels from {low} to {high} only, of 255. To spread them: {self._wider(low, high)}"
        )

    @staticmethod
    def _wider(low: float, high: float) -> str:
        return option_text("intensity", (low, high if high > low else low + 1))
