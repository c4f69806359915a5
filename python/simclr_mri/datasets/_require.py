"""What others ask of a data set: that it is one, its images, and labels, subjects or masks that must be there."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from ._arrays import as_uint8
from ._dataset import Dataset


def check_dataset(value: object, argument: str) -> None:
    """TypeError if `value` is no `Dataset`, with the way to get one from what it is.

    Examples
    --------
    >>> check_dataset("Dataset/", "train")
    Traceback (most recent call last):
    TypeError: train: expected a Dataset, got 'Dataset/'. Open a folder with datasets.open_dataset('Dataset/')
    """
    if isinstance(value, Dataset):
        return
    if isinstance(value, (str, Path)):
        raise TypeError(
            f"{argument}: expected a Dataset, got {str(value)!r}. "
            f"Open a folder with datasets.open_dataset({str(value)!r})"
        )
    if type(value).__name__ == "Split":
        raise TypeError(f"{argument}: expected a Dataset, got a Split. Unpack it: train, val, test = split(ds)")
    hint = ". Wrap arrays: Dataset.from_arrays(images, labels)" if isinstance(value, np.ndarray) else ""
    raise TypeError(f"{argument}: expected a Dataset, got {type(value).__name__}{hint}")


def as_images(data: Dataset | np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C) of a data set or an array (N, H, W) or (N, H, W, C): uint8, bool, or float in [0, 1]."""
    return as_uint8(data.images if isinstance(data, Dataset) else data)


def labels_of(ds: Dataset) -> np.ndarray:
    """The labels, int64 (N,), of a data set that must have them; ValueError otherwise."""
    if ds.labels is None:
        raise ValueError(f"{ds.name}: the data set has no labels")
    return ds.labels


def subjects_of(ds: Dataset) -> np.ndarray:
    """The subjects, str (N,), of a data set that must know them; ValueError otherwise."""
    if ds.subjects is None:
        raise ValueError(f"{ds.name}: the subjects are unknown. Open the data with groups=...")
    return ds.subjects


def masks_of(ds: Dataset) -> dict[str, np.ndarray]:
    """The masks, bool (N, H, W) by region, of a data set that must have them; ValueError otherwise."""
    masks = ds.masks
    if masks is None:
        raise ValueError(f"{ds.name}: the data set has no masks")
    return masks


def require_labels(value: object, argument: str) -> Dataset:
    """A data set that can teach or test a classifier; TypeError or ValueError for anything else."""
    check_dataset(value, argument)
    ds = cast(Dataset, value)
    if ds.labels is None:
        raise ValueError(f"{argument}: the data set has no labels")
    if len(ds) == 0:
        raise ValueError(f"{argument}: the data set is empty")
    return ds
