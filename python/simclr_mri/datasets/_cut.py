"""Cutting a volume into slices: plane, numbers, square pixels, gray levels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import _core
from ._nifti import Volume

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis that each plane is at right angles to."""

PERCENTILES = (1.0, 99.0)
HEAD_ABOVE, HEAD_SHARE = 0.1, 0.05
"""A slice shows the head where at least this share of its pixels is above this share of the volume's range. The head
fills 20 to 60 % of a slice through the brain; air and noise stay below a tenth of the range."""


def check_cut(plane: str, every: int, range_: Any) -> None:
    """ValueError for a plane, a step or a range that does not exist."""
    if plane not in PLANES:
        raise ValueError(f"plane: expected one of axial, coronal, sagittal, got {plane!r}")
    if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
        raise ValueError(f"every: expected a whole number of at least 1, got {every!r}")
    if range_ is None:
        return
    numbers = isinstance(range_, Sequence) and not isinstance(range_, str) and len(range_) == 2
    if (
        not numbers
        or not all(isinstance(v, (int, float, np.number)) for v in range_)
        or not 0 <= range_[0] <= range_[1]
    ):
        raise ValueError(
            f"range: expected two shares of the volume, such as (0.3, 0.7), or the first and last slice, got {range_!r}"
        )


def levels(data: np.ndarray, intensity: Any) -> tuple[float, float]:
    """The values of a volume that become black and white.

    Parameters
    ----------
    data : ndarray, float32
    intensity : None, "percentile", "full" or (low, high)
        None and "percentile" are the 1st and 99th percentile of all finite voxels, "full" the least and the greatest.
    """
    if isinstance(intensity, (tuple, list)):
        return float(intensity[0]), float(intensity[1])
    finite = data[np.isfinite(data)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if intensity != "full":
        inner = np.percentile(finite, PERCENTILES, method="inverted_cdf")
        if inner[0] < inner[1]:
            low, high = float(inner[0]), float(inner[1])
    return (low, high) if low < high else (low, low + 1.0)


def slices_of(
    volume: Volume, *, plane: str, every: int, range_: Any = None, intensity: Any = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Slices from bottom to top, back to front or left to right.

    Parameters
    ----------
    volume : Volume
    plane : {"axial", "coronal", "sagittal"}
    every : int
        Take every so many-th slice.
    range_ : (low, high) or None
        Up to 1: shares of the volume's extent. Above: the first and the last number, from 1. None: where the head is.
    intensity : None, "percentile", "full" or (low, high)

    Yields
    ------
    number : int
        From 1, in the volume as it lies in standard orientation.
    image : ndarray of shape (H, W), uint8
        Square pixels of the finer of the two spacings. As in radiology: the right side of the subject is on the left of
        the picture (sagittal: the front is), front (axial) or top (others) is up.
    """
    axis = PLANES[plane]
    low, high = levels(volume.data, intensity)
    data = np.nan_to_num(volume.data, nan=low, posinf=high, neginf=low)
    numbers = _numbers(data, axis, range_, low + HEAD_ABOVE * (high - low))
    others = [spacing for i, spacing in enumerate(volume.spacing) if i != axis]
    finest = min(others)
    for index in numbers[::every]:
        image = np.ascontiguousarray(np.take(data, index, axis=axis).T[::-1, ::-1])
        rows, columns = (max(1, round(n * s / finest)) for n, s in zip(image.shape, others[::-1], strict=True))
        if (rows, columns) != image.shape:
            image = _core.resize(image[None, :, :, None], (rows, columns), 1)[0, ..., 0]
        unit = (np.clip(image, low, high) - low) / (high - low)
        yield int(index) + 1, np.floor(255 * unit + 0.5).astype(np.uint8)


def _numbers(data: np.ndarray, axis: int, range_: Any, above: float) -> np.ndarray:
    n = data.shape[axis]
    if range_ is None:
        share = (data > above).mean(axis=tuple(i for i in range(3) if i != axis))
        shown = np.flatnonzero(share >= HEAD_SHARE)
        return np.arange(shown[0], shown[-1] + 1) if len(shown) else np.arange(n)
    first, last = range_
    if last <= 1:
        centres = (np.arange(n) + 0.5) / n
        return np.flatnonzero((centres >= first) & (centres <= last))
    return np.arange(max(0, int(first) - 1), min(n, int(last)))
