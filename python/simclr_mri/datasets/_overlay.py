"""Maps of slices put back where the slices were cut: a volume that viewers lay over the scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._shared import atomic_writer
from ._cut import PLANES
from ._nifti import require_nibabel
from ._pillow import resized, unfitted


@dataclass(frozen=True, eq=False)
class CutVolume:
    """A volume and where slices were cut from it.

    Attributes
    ----------
    name : str
        Of the volume, without slashes.
    shape : tuple of 3 ints
        Voxels towards the subject's right, front and top.
    affine : ndarray of shape (4, 4)
        Voxel to millimetres in RAS.
    plane : {"axial", "coronal", "sagittal"}
    numbers : tuple of int
        Of the slices, from 1.
    slice_shape : tuple of (int, int)
        Rows and columns of a slice with square pixels, before it was brought to the model's size.
    fit : {"pad", "crop", "stretch"}
    """

    name: str
    shape: tuple[int, int, int]
    affine: np.ndarray
    plane: str
    numbers: tuple[int, ...]
    slice_shape: tuple[int, int]
    fit: str

    def overlay(self, maps: np.ndarray) -> np.ndarray:
        """One map a slice as a volume of the scan's shape.

        A slice that was not taken gets the map of the nearest one; beyond the first and the last the volume is 0.

        Parameters
        ----------
        maps : ndarray of shape (slices, H, W), float32

        Returns
        -------
        ndarray of shape (X, Y, Z), float32
        """
        axis = PLANES[self.plane]
        height, width = [n for i, n in enumerate(self.shape) if i != axis][::-1]
        out = np.zeros(self.shape, np.float32)
        for index, nearest in _nearest(self.numbers):
            image = unfitted(np.asarray(maps[nearest], np.float32), self.slice_shape, self.fit)
            if image.shape != (height, width):
                image = resized(image, (height, width))
            place: list[int | slice] = [slice(None)] * 3
            place[axis] = index
            out[tuple(place)] = image[::-1, ::-1].T
        return out

    def save(self, maps: np.ndarray, path: str | Path) -> Path:
        """Writes the overlay as NIfTI, gzipped if the name ends in ``.gz``."""
        nibabel = require_nibabel(str(path))
        path = Path(path).expanduser()
        image = nibabel.Nifti1Image(self.overlay(maps), self.affine)
        image.header.set_xyzt_units("mm")
        data = image.to_bytes()
        if path.suffix == ".gz":
            import gzip

            data = gzip.compress(data, 6, mtime=0)
        with atomic_writer(path) as file:
            file.write(data)
        return path


def _nearest(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Indices along the axis from the first to the last number, each with the position of the nearest number."""
    known = np.asarray(numbers)
    between = np.arange(known[0], known[-1] + 1)
    nearest = np.abs(between[:, None] - known[None, :]).argmin(axis=1)
    return [(int(number) - 1, int(position)) for number, position in zip(between, nearest, strict=True)]
