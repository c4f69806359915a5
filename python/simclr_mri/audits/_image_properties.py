"""Single numbers of an image: brightness, background, where the head is, sharpness."""

from __future__ import annotations

import numpy as np

from .. import _core
from ..datasets import find_head

BLOCK_PX = 8
"""Side of the blocks that JPEG codes one by one."""

_CHUNK = 64
"""Images at a time: their arrays then stay in the cache."""


def image_properties(images: np.ndarray) -> dict[str, np.ndarray]:
    """Properties of pixels, by name.

    Parameters
    ----------
    images : ndarray of shape (N, H, W, C), uint8

    Returns
    -------
    dict of str to ndarray of shape (N,), float64
        "mean intensity", "contrast" (standard deviation), "background level" (median of the four corners) and "grey
        levels" (how many occur), all in levels of 0 to 255; "head row", "head column" (centre) and "head size" (area)
        as shares of the picture, NaN where it is black; "sharpness": the logarithm of the mean square of
        second differences (down, then across) over the variance; "JPEG blocks": the logarithm of the mean step across
        the edges of 8 x 8 blocks over that elsewhere.
    """
    parts = [_of_some(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _of_some(images: np.ndarray) -> dict[str, np.ndarray]:
    gray = images[..., 0].astype(np.float32) if images.shape[3] == 1 else images.mean(axis=3, dtype=np.float32)
    deviation = gray.std(axis=(1, 2))
    corner = max(1, min(gray.shape[1:]) // 16)
    ends = (slice(corner), slice(-corner, None))
    corners = np.stack([gray[:, y, x].mean(axis=(1, 2)) for y in ends for x in ends])
    down = gray[:, 1:] - gray[:, :-1]
    across = gray[:, :, 1:] - gray[:, :, :-1]
    fine = down[:, :, 1:] - down[:, :, :-1]
    found = {
        "mean intensity": gray.mean(axis=(1, 2)),
        "contrast": deviation,
        "background level": np.median(corners, axis=0),
        "grey levels": np.array([np.count_nonzero(np.bincount(image.ravel())) for image in images]),
        "sharpness": np.log((np.einsum("nyx,nyx->n", fine, fine) / fine[0].size + 0.01) / (deviation**2 + 0.01)),
    }
    if min(gray.shape[1:]) >= 4 * BLOCK_PX:
        steps = np.abs(down, out=down).mean(axis=2), np.abs(across, out=across).mean(axis=1)
        found["JPEG blocks"] = np.mean([_block_edges(step) for step in steps], axis=0)
    return {name: column.astype(np.float64) for name, column in (found | _head(images)).items()}


def _block_edges(step: np.ndarray) -> np.ndarray:
    on_edge = np.arange(step.shape[1]) % BLOCK_PX == BLOCK_PX - 1
    return np.log((step[:, on_edge].mean(axis=1) + 0.1) / (step[:, ~on_edge].mean(axis=1) + 0.1))


def _head(images: np.ndarray) -> dict[str, np.ndarray]:
    """Where the head is, and how large, as shares of the picture."""
    head = find_head(_core.resize(np.ascontiguousarray(images), min(32, *images.shape[1:3])))
    area = head.mean(axis=(1, 2))
    seen = np.where(area > 0, area, np.nan)
    row, column = ((np.arange(n) + 0.5) / n for n in head.shape[1:])
    return {
        "head row": (head.mean(axis=2) * row).mean(axis=1) / seen,
        "head column": (head.mean(axis=1) * column).mean(axis=1) / seen,
        "head size": area,
    }
