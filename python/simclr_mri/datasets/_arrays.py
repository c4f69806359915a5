"""Arrays as other programs hold them: pixels of any number type as uint8, labels of any kind as numbers and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._shared import label_values
from ._class_names import natural_order
from ._images import Intensity, is_intensity
from ._pillow import to_uint8


def as_uint8(images: Any, intensity: Intensity = None, argument: str = "images") -> np.ndarray:
    """Pixels as the package holds them.

    Parameters
    ----------
    images : array-like of shape (N, H, W) or (N, H, W, 1 or 3)
        uint8, bool, float in [0, 1] or whole numbers from 0 to 255; any numbers where `intensity` is given.
    intensity : {"full", "percentile"}, (low, high) or None
        The values that become black and white, as for `read_images`. Percentiles are those of each image.
    argument : str
        For messages.

    Returns
    -------
    ndarray of shape (N, H, W, C), uint8
        The array itself where it is uint8 already.

    Raises
    ------
    ValueError
        Another shape, values outside the range, or values that are not finite.

    Examples
    --------
    >>> as_uint8(np.array([[[0.0, 0.5, 1.0]]] * 2)[..., None]).ravel()[:3].tolist()
    [0, 128, 255]
    """
    array = images if isinstance(images, np.ndarray) else np.asarray(images)
    array = _of_images(array, argument)
    if not is_intensity(intensity):
        raise ValueError(
            f"intensity: expected 'full', 'percentile' or a pair (low, high) with low < high, got {intensity!r}"
        )
    if array.dtype == np.uint8 and intensity in (None, "full"):
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{argument}: expected numbers, got {array.dtype} of shape {array.shape}")
    out = np.empty(array.shape, np.uint8)
    range_ = _range(array, intensity, argument)
    for i, image in enumerate(array):  # one at a time: in float64 all of them would take eight times the memory
        if array.dtype.kind == "f" and not np.isfinite(image).all():
            raise ValueError(f"{argument}: image {i} has values that are not finite (NaN or infinity)")
        out[i] = to_uint8(image, range_, image.shape[2])
    return out


def _of_images(array: np.ndarray, argument: str) -> np.ndarray:
    """The array with four axes; ValueError if these are not images."""
    expected = "expected a Dataset or an array of images, uint8 or float in [0, 1], of shape (N, H, W) or (N, H, W, C)"
    if array.ndim == 3 and array.shape[2] in (1, 3):
        raise ValueError(f"{argument}: got one image of shape {array.shape}; give several: ds[:1], or image[None]")
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        raise ValueError(
            f"{argument}: {expected}, got {array.dtype} of shape {array.shape}. The channels come last: "
            f"np.moveaxis({argument}, 1, -1)"
        )
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise ValueError(f"{argument}: {expected}, C 1 or 3, got {array.dtype} of shape {array.shape}")
    return array[..., None] if array.ndim == 3 else array


def _range(array: np.ndarray, intensity: Intensity, argument: str) -> Any:
    """What `to_uint8` takes for these values."""
    if intensity == "full":
        return (0, np.iinfo(array.dtype).max) if array.dtype.kind == "u" else _range(array, None, argument)
    if intensity is not None or not array.size:
        return intensity
    high = 1.0 if array.dtype.kind == "f" else 255
    low_found, high_found = array.min(), array.max()
    if not np.isfinite([low_found, high_found]).all():
        return (0, high)  # the image is named where it is converted
    if low_found < 0 or high_found > high:
        expected = "floats in [0, 1]" if array.dtype.kind == "f" else "whole numbers from 0 to 255"
        pair = f"({low_found:.6g}, {high_found:.6g})"
        raise ValueError(
            f"{argument}: expected {expected}, got {array.dtype} from {low_found:.6g} to {high_found:.6g}. Say which "
            f"values are black and white: Dataset.from_arrays({argument}, intensity={pair})"
        )
    return (0, high)


def encode_labels(
    labels: Any, classes: Sequence[str] | None = None, *, argument: str = "labels"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as indices into names.

    Parameters
    ----------
    labels : array-like of shape (N,)
        Names; or whole numbers, which are indices into `classes` where these are given.
    classes : sequence of str, optional
        Without them the names that occur: in order of severity where they tell it, else sorted.
    argument : str
        For messages.

    Returns
    -------
    indices : ndarray of shape (N,), int64
    classes : tuple of str

    Examples
    --------
    >>> encode_labels(["AD", "CN", "AD"]), encode_labels([3, 1, 3])[1]
    ((array([1, 0, 1]), ('CN', 'AD')), ('1', '3'))
    """
    values = label_values(labels, argument)
    names = None if classes is None else tuple(str(c) for c in classes)
    if names is not None and values.dtype.kind in "iu":
        return values.astype(np.int64), names
    found, indices = np.unique(values, return_inverse=True)
    if names is None:
        names = tuple(str(value) for value in found)
        names = tuple(natural_order(names)) if values.dtype.kind == "U" else names
    unknown = [str(value) for value in found if str(value) not in names]
    if unknown:
        raise ValueError(f"{argument}: {unknown[0]!r} is none of the classes {', '.join(names)}")
    table = np.array([names.index(str(value)) for value in found], np.int64)
    return table[indices] if len(found) else np.zeros(0, np.int64), names
