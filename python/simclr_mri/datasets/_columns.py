"""What is known of each image, as read-only arrays: slices and masks, checked when a set is made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def frozen(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def checked_slices(slices: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    array = np.asarray(slices)
    if array.shape != (n,) or not (np.issubdtype(array.dtype, np.integer) or n == 0):
        raise ValueError(f"slices: expected {n} integers, one an image, got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def checked_parts(parts: Sequence[str] | np.ndarray, n: int) -> np.ndarray:
    array = np.asarray(parts).astype(str)
    if array.shape != (n,):
        raise ValueError(f"parts: expected {n} names, one an image, got shape {array.shape}")
    return array


def checked_mask(name: str, mask: np.ndarray, images: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.shape != images.shape[:3] or mask.dtype != bool:
        raise ValueError(f"mask {name!r}: expected bool of shape {images.shape[:3]}, got {mask.dtype} of {mask.shape}")
    return frozen(np.array(mask))
