"""Reading images: class folders, the Alzheimer MRI data set, phantom folders.

Pixels come through the C decoders (libjpeg-turbo, libpng) into one uint8 array. Subjects come from a table, a pattern
or a function; for the Alzheimer MRI data set they follow from the numbering of its files.

References
----------
Alzheimer MRI Preprocessed Dataset, kaggle.com/datasets/sachinkumar413/alzheimer-mri-dataset.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ._dataset import Dataset, DataWarning
from ._folder import check_root, list_classes, list_flat
from ._images import read_images
from ._subjects import Groups, resolve_groups


def ImageFolder(
    root: str | Path,
    *,
    groups: Groups = None,
    image_size: int | None = None,
    channels: int = 1,
    n_jobs: int | None = None,
    class_order: Sequence[str] | None = None,
    labelled: bool = True,
    errors: str = "raise",
    name: str | None = None,
    max_pixels: int | None = None,
) -> Dataset:
    r"""Reads class folders: `root/class/**/image.png`.

    Parameters
    ----------
    root : path
        Folders in it are classes; those that start with "." or "_" are passed over.
    groups : str, tuple, callable or None
        Who is in each image: "table.csv:column" or ("table.csv", "column"), whose rows name files by path or by name; a
        regular expression with one group over the relative file name, such as r"(sub-[0-9]+)_"; or a function of it.
    image_size : int or None
        Resize to this many pixels, antialiased; None keeps the size.
    channels : {1, 3}
    n_jobs : int or None
        Threads; None for all.
    class_order : sequence of str or None
        The classes in order of severity; None sorts by name.
    labelled : bool
        False reads every image below `root`, without labels, for pretraining.
    errors : {"raise", "warn"}
        Files that cannot be decoded: an exception that names them, or a warning.
    name : str or None
    max_pixels : int or None
        Pixels that an image may have before it is resized; None for 2**24, such as 4096 x 4096.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     made = write_phantoms(f"{root}/mri", n_subjects=8, slices=1, image_size=32)
    ...     ImageFolder(f"{root}/mri", groups=r"/(sub-\d+)_")
    <Dataset 'mri': 8 images of 32 x 32 px, gray, 8 subjects, 4 classes>
    """
    root = check_root(root)
    if labelled:
        files, label_list, classes = list_classes(root, class_order)
        labels = np.array(label_list, np.int64)
    else:
        files, labels, classes = list_flat(root), None, []
    subjects = resolve_groups(groups, root, files)
    images, kept = read_images(
        root, files, image_size=image_size, channels=channels, n_jobs=n_jobs, errors=errors, max_pixels=max_pixels
    )
    if len(classes) == 1:
        warnings.warn(
            f"{root}: one class only ({classes[0]}); enough to pretrain, not to classify", DataWarning, stacklevel=2
        )
    return Dataset(
        images,
        None if labels is None else labels[kept],
        classes,
        None if subjects is None else subjects[kept],
        [files[i] for i in kept],
        name=name or root.absolute().name,
        copy=False,
    )
