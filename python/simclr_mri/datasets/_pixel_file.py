"""Pixels that are written to a file as they are read, so that a data set may be larger than memory."""

from __future__ import annotations

import io
import mmap
import os
import shutil
from pathlib import Path

import numpy as np

from .._shared import bytes_text

HEADER_BYTES = 128  # of a .npy file of four axes, however many images there are


class PixelFile:
    """A `.npy` file of uint8 (N, H, W, C) while it is written: of a known number of images in any order, or one after
    the other.

    Parameters
    ----------
    path : Path
    place : str
        What messages call it: the cache that it will be part of.
    """

    def __init__(self, path: Path, place: str) -> None:
        self.path, self._place = path, place
        self._images: np.memmap | None = None
        self._n, self._shape = 0, (0, 0, 0)

    def allocate(self, shape: tuple[int, int, int, int]) -> np.memmap:
        """Room for this many images, zeros so far; OSError if the disk does not have it."""
        wanted, free = int(np.prod(shape, dtype=object)), shutil.disk_usage(self.path.parent).free
        if wanted > free:
            raise OSError(f"{self._place}: the images need {bytes_text(wanted)}, and {bytes_text(free)} are free there")
        self._images = np.lib.format.open_memmap(self.path, "w+", np.uint8, shape)
        return self._images

    def release(self) -> None:
        """Hands the pages that were written back to the system, which writes them to the disk in its own time."""
        if self._images is not None:
            map_under(self._images).madvise(mmap.MADV_DONTNEED)

    def keep(self, rows: np.ndarray) -> np.memmap:
        """Only these rows, which ascend: the others are files that could not be read."""
        assert self._images is not None
        for place, row in enumerate(rows):
            if place != row:
                self._images[place] = self._images[row]
        shape = self._images.shape[1:]
        self._images.flush()
        del self._images
        self._n, self._shape = len(rows), shape
        return self.finish()

    def append(self, images: np.ndarray) -> None:
        """Further images (n, H, W, C), of the size of those before."""
        if not self._n:
            self.path.write_bytes(bytes(HEADER_BYTES))
            self._shape = images.shape[1:]
        assert images.shape[1:] == self._shape
        with open(self.path, "ab") as file:
            file.write(np.ascontiguousarray(images).data)
        self._n += len(images)

    def finish(self) -> np.memmap:
        """The images, once the last one was appended."""
        shape, header = (self._n, *self._shape), io.BytesIO()
        about = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, about)
        assert len(header.getvalue()) == HEADER_BYTES
        with open(self.path, "r+b") as file:
            file.write(header.getvalue())
            file.truncate(HEADER_BYTES + int(np.prod(shape)))
            os.fsync(file.fileno())
        self._images = np.lib.format.open_memmap(self.path, "r+")
        return self._images


def map_under(array: np.memmap) -> mmap.mmap:
    """The memory map that an array lies in."""
    found: object = array
    while isinstance(found, np.ndarray):
        found = found.base
    assert isinstance(found, mmap.mmap)
    return found
