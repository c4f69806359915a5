"""Where the head is in a picture, and what its dark parts make of it."""

from __future__ import annotations

import numpy as np

from .. import _core

BACKGROUND_LEVEL = 10  # of 255: below it a slice shows air, and JPEG ringing in it


def find_head(images: np.ndarray) -> np.ndarray:
    """The head in each slice: brighter than the corners, the largest connected piece, its holes filled.

    Parameters
    ----------
    images : ndarray of shape (N, H, W, C), uint8

    Returns
    -------
    ndarray of shape (N, H, W), bool
        All False for a slice that is black.
    """
    from scipy import ndimage

    out = np.zeros(images.shape[:3], bool)
    for image, head in zip(images, out, strict=True):
        smooth = ndimage.median_filter(image.max(axis=2), 3)  # ringing in the air is thin
        side = max(1, len(smooth) // 8)
        corners = [
            smooth[y, x].max() for y in (slice(side), slice(-side, None)) for x in (slice(side), slice(-side, None))
        ]
        air = max(BACKGROUND_LEVEL - 1, np.median(corners))  # one or two corners may be written on
        pieces, count = ndimage.label(smooth > air)
        if count:
            largest = 1 + np.bincount(pieces.ravel())[1:].argmax()
            head[:] = ndimage.binary_fill_holes(pieces == largest)
    return out


def dark_share(images: np.ndarray) -> np.ndarray:
    """CSF fraction: share of head pixels darker than the mean of their picture, as fluid is and tissue is not.

    Parameters
    ----------
    images : ndarray of shape (N, H, W, C), uint8

    Returns
    -------
    ndarray of shape (N,), float64 in [0, 1]
        0 for a blank picture.

    Examples
    --------
    >>> ring = np.zeros((1, 32, 32, 1), np.uint8)
    >>> ring[0, 8:24, 8:24] = 200
    >>> ring[0, 12:20, 12:20] = 0
    >>> round(float(dark_share(ring)[0]), 2)  # a quarter, but for the corners that a median filter rounds
    0.25
    """
    small = _core.resize(images, min(64, images.shape[1]))
    gray, head = small.mean(axis=3), find_head(small)
    dark = head & (gray < gray.mean(axis=(1, 2), keepdims=True))
    return dark.sum(axis=(1, 2)) / np.maximum(head.sum(axis=(1, 2)), 1)
