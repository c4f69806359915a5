"""From uint8 images to what the network sees: normalisation, and the augmentations by name.

Size is the signal here (ventricles widen, the brain shrinks), so crops keep at least half of the image and nothing is
flipped upside down; colours do not exist. "crop" is the paper recipe's, "mri" ours for SimCLR, "light" ours for
fine-tuning. "intensity" changes no sizes at all, and what scanners differ in as much as "mri".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from .._shared import Views, choose, expect, n_threads
from ..datasets import Dataset
from ._custom import CustomViews, custom_batch

VIEWS: dict[str, dict[str, Any]] = {
    "none": {},
    "crop": {"scale": (0.5, 1.0)},
    "light": {"scale": (0.8, 1.0), "flip_horizontal": 0.5, "rotation_deg": 8.0, "shift": 0.03, "contrast": (0.9, 1.1)},
    "intensity": {
        "flip_horizontal": 0.5,
        "rotation_deg": 8.0,
        "shift": 0.03,
        "brightness": (0.7, 1.3),
        "contrast": (0.7, 1.3),
        "gamma": (0.7, 1.4),
        "blur_p": 0.3,
        "blur_sigma": (0.3, 1.2),
        "noise_sd": 0.03,
    },
    "mri": {
        "scale": (0.5, 1.0),
        "ratio": (0.9, 1.1),
        "flip_horizontal": 0.5,
        "rotation_deg": 15.0,
        "shift": 0.05,
        "brightness": (0.7, 1.3),
        "contrast": (0.7, 1.3),
        "gamma": (0.7, 1.4),
        "blur_p": 0.3,
        "blur_sigma": (0.3, 1.2),
        "noise_sd": 0.03,
    },
}


@dataclass(frozen=True)
class Preprocess:
    """Shift and scale of the pixels, by channel, in units of the image range [0, 1].

    Examples
    --------
    >>> images = np.array([[[[0]], [[255]]]], np.uint8)  # (1, 2, 1, 1)
    >>> Preprocess.of(images, normalize=True)
    Preprocess(mean=(0.5,), std=(0.5,))
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Dataset | np.ndarray, normalize: bool) -> Preprocess:
        """Mean and deviation over a data set or images uint8 (N, H, W, C); 0 and 1 if not to be normalised."""
        channels = images.shape[-1]
        if not normalize or len(images) == 0:
            return cls((0.0,) * channels, (1.0,) * channels)
        # Sums of a histogram are exact, whatever the number of images and the order.
        values = np.arange(256, dtype=np.float64) / 255
        data = images if isinstance(images, Dataset) else Dataset(images, copy=False)
        counts = data.histogram()
        mean, std = [], []
        for c in range(channels):
            share = counts[:, c] / counts[:, c].sum()
            mean.append(float(share @ values))
            std.append(float(max(np.sqrt(share @ (values - mean[-1]) ** 2), 1e-3)))
        return cls(tuple(mean), tuple(std))


def plain_batch(
    images: Dataset | np.ndarray, indices: np.ndarray, preprocess: Preprocess, n_jobs: int | None = None
) -> np.ndarray:
    """Normalised images, float32 (n, H, W, C).

    Examples
    --------
    >>> images = np.full((3, 32, 32, 1), 255, np.uint8)
    >>> batch = plain_batch(images, np.array([2, 0]), Preprocess(mean=(0.5,), std=(0.25,)))
    >>> batch.shape, float(batch.max())
    ((2, 32, 32, 1), 2.0)
    """
    pixels, rows = _pixels_and_rows(images, _checked_indices(indices))
    expect("preprocess", preprocess, "std", "a Preprocess")
    return _core.gather_batch(
        pixels,
        rows,
        mean=preprocess.mean,
        std=preprocess.std,
        n_threads=n_threads(n_jobs),
    )


def augmented_batch(
    images: Dataset | np.ndarray,
    indices: np.ndarray,
    kind: Views | CustomViews,
    preprocess: Preprocess,
    *,
    seed: int,
    epoch: int,
    view: int = 0,
    n_jobs: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Random views of images.

    Parameters
    ----------
    images : Dataset, or ndarray of shape (M, H, W, C), uint8
    indices : ndarray of shape (n,)
        Which images; also the names of their random streams.
    kind : {"mri", "intensity", "crop", "light", "none"}, or callable
        A callable (images, rng) is given the images, uint8 (n, H, W, C), and a numpy.random.Generator, and returns
        float32 (n, H, W, C) in units of the image range [0, 1]; they are normalised afterwards.
    preprocess : Preprocess
    seed, epoch, view : int
        With the index they determine the view, whatever the batch and the number of threads.
    out : ndarray of shape (n, H, W, C), float32, optional

    Returns
    -------
    ndarray of shape (n, H, W, C), float32

    Examples
    --------
    >>> images = np.zeros((3, 32, 32, 1), np.uint8)
    >>> plain = Preprocess(mean=(0.0,), std=(1.0,))
    >>> augmented_batch(images, np.array([0, 2]), "mri", plain, seed=0, epoch=0).shape
    (2, 32, 32, 1)
    """
    names = _checked_indices(indices)
    pixels, rows = _pixels_and_rows(images, names)
    expect("preprocess", preprocess, "std", "a Preprocess")
    if callable(kind):
        views = custom_batch(
            kind, pixels[rows], names, mean=preprocess.mean, std=preprocess.std, seed=seed, epoch=epoch, view=view
        )
        if out is None:
            return views
        out[...] = views
        return out
    choose("views", kind, list(VIEWS))
    return _core.augment_batch(
        pixels,
        rows,
        samples=names,
        **VIEWS[kind],
        mean=preprocess.mean,
        std=preprocess.std,
        seed=seed,
        epoch=epoch,
        view=view,
        n_threads=n_threads(n_jobs),
        out=out,
    )


def _pixels_and_rows(images: Dataset | np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the core reads from: an array as it is, or of a data set the images of this batch alone."""
    if isinstance(images, Dataset):
        return np.ascontiguousarray(images.take(indices)), np.arange(len(indices))
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images: expected a Dataset or an array, got {type(images).__name__}")
    return images, indices


def _checked_indices(indices: np.ndarray) -> np.ndarray:
    """Indices as int64; TypeError unless they are whole numbers."""
    array = np.asarray(indices)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"indices: expected whole numbers of shape (n,), got {array.dtype} of shape {array.shape}")
    return np.ascontiguousarray(array, np.int64)
