"""The classes of one data set in the words of another: capitals, spaces and dashes differ, the meaning does not."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ._dataset import Dataset
from ._require import require_labels


def match_classes(ds: Dataset, classes: Sequence[str]) -> tuple[Dataset, dict[str, Dataset]]:
    """The images of known classes, and those of every other class.

    Parameters
    ----------
    ds : Dataset
        With labels.
    classes : sequence of str
        The known classes, in their order.

    Returns
    -------
    known : Dataset
        Labelled by `classes`, some of which may have no image.
    others : dict of str to Dataset
        The images of each class that is not among them.

    Raises
    ------
    ValueError
        No class is known; the message shows both sides.

    Examples
    --------
    >>> ds = Dataset(np.zeros((3, 8, 8), np.uint8), [0, 1, 2], ("NonDemented", "mild demented", "Other"))
    >>> known, others = match_classes(ds, ("Mild_Demented", "Non_Demented", "Moderate_Demented"))
    >>> known.labels.tolist(), {name: len(images) for name, images in others.items()}
    ([1, 0], {'Other': 1})
    """
    require_labels(ds, "match_classes")
    place = _places(ds.classes, classes)
    if not any(i is not None for i in place):
        raise ValueError(
            f"the model knows the classes {', '.join(classes)}; {ds.name} has {', '.join(ds.classes)}: none in common"
        )
    is_known = np.array([i is not None for i in place])[ds.labels]
    table = np.array([-1 if i is None else i for i in place])
    known = ds[np.flatnonzero(is_known)]
    others = {name: ds[np.flatnonzero(ds.labels == i)] for i, name in enumerate(ds.classes) if place[i] is None}
    return known.with_labels(table[known.labels], classes), {n: images for n, images in others.items() if len(images)}


def n_unmatched(ds: Dataset, classes: Sequence[str]) -> int:
    """How many classes one side has and the other has not."""
    place = _places(ds.classes, classes)
    return place.count(None) + len(classes) - len({i for i in place if i is not None})


def _places(names: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    """Index into `classes` of each name, by its letters and digits where these tell all classes apart."""
    plain = [re.sub(r"[\W_]", "", name.lower()) for name in classes]
    if len(set(plain)) < len(plain):
        return [classes.index(name) if name in classes else None for name in names]
    return [plain.index(word) if (word := re.sub(r"[\W_]", "", name.lower())) in plain else None for name in names]
