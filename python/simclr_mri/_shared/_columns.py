"""What is said of each image, as arrays: labels, subjects and numbers, checked wherever they come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._text import some


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of classes; TypeError for anything else, ValueError if one is there twice.

    Examples
    --------
    >>> checked_classes(["well", "well"])
    Traceback (most recent call last):
    ValueError: classes: 'well' is there twice; each class needs a name of its own
    """
    if np.ndim(list(classes) if isinstance(classes, str) else classes) != 1:  # "ab" are the classes a and b
        raise TypeError(f"classes: expected a sequence of names, got {type(classes).__name__}")
    names = tuple(str(name) for name in classes)
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(f"classes: {twice[0]!r} is there twice; each class needs a name of its own")
    return names


def checked_labels(labels: Sequence[Any] | np.ndarray, n: int, classes: Sequence[str] | int) -> np.ndarray:
    """Labels as int64 (n,), from 0 to K - 1; ValueError names the first that is wrong.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Whole numbers, or names of classes.
    n : int
    classes : sequence of K str, or int
        How many there are, where their names are not known.

    Examples
    --------
    >>> checked_labels(["sick", "well"], 2, ["well", "sick"])
    array([1, 0])
    """
    names = () if isinstance(classes, int) else tuple(str(name) for name in classes)
    k = classes if isinstance(classes, int) else len(names)
    values = label_values(labels)
    if len(values) != n:
        raise ValueError(f"labels: expected {n:,}, one an image, got {len(values):,}")
    if n and not k:
        raise ValueError("labels: expected classes beside them. Give their names as well: classes=[...]")
    if values.dtype.kind == "U":
        places = {name: i for i, name in enumerate(names)}
        unknown = [i for i, value in enumerate(values) if value not in places]
        if unknown:
            known = f"is none of the classes {some(names, 9)}" if names else "is a name, and the classes are not known"
            raise ValueError(
                f"labels: expected 0 to {k - 1}{' or names' if names else ''}; {str(values[unknown[0]])!r} of image "
                f"{unknown[0]} {known}"
            )
        return np.array([places[value] for value in values], np.int64)
    if n and (values.min() < 0 or values.max() >= k):
        i = int(((values < 0) | (values >= k)).argmax())
        raise ValueError(
            f"labels: expected 0 to {k - 1} for {k} classes, got {values.min()} to {values.max()} (first in row {i})"
        )
    return values.astype(np.int64)


def label_values(labels: Any, argument: str = "labels") -> np.ndarray:
    """Labels as an array of whole numbers or of strings, (N,); ValueError if they are neither or some are missing."""
    values = as_column(labels)
    if values.ndim != 1:
        raise ValueError(f"{argument}: expected one label an image, got an array of shape {values.shape}")
    if values.dtype.kind in "fO":
        missing = np.flatnonzero([is_missing(value) for value in values])
        if len(missing):
            raise ValueError(f"{argument}: the label of image {missing[0]} is missing, as of {len(missing):,}")
    if values.dtype.kind == "O":
        is_text = any(isinstance(value, str) for value in values)
        return np.array([_name(v) for v in values]) if is_text else _whole(np.array(values.tolist()), argument)
    return _whole(values, argument)


def _whole(values: np.ndarray, argument: str) -> np.ndarray:
    """Whole numbers and strings as they are, floats that are whole as int64."""
    if values.dtype.kind in "iuU" or not values.size:
        return values if values.size else np.zeros(0, np.int64)
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.round(values)).all():
        return values.astype(np.int64)
    kind = "continuous numbers" if values.dtype.kind == "f" else str(values.dtype)
    raise ValueError(f"{argument}: expected classes, as whole numbers or names, got {kind}")


def checked_subjects(subjects: Sequence[Any] | np.ndarray, n: int, argument: str = "subjects") -> np.ndarray:
    """Names of subjects, str (n,); ValueError if one is missing: two images of nobody would count as one subject's.

    Whole numbers may come as floats, as tables have them: 7.0 is subject 7.

    Examples
    --------
    >>> checked_subjects([7.0, 8.0], 2).tolist()
    ['7', '8']
    >>> checked_subjects(["s1", None], 2)
    Traceback (most recent call last):
    ValueError: subjects: expected a name for each image; 1 of 2 have none, the first is image 1
    """
    array = as_column(subjects)
    if array.shape != (n,):
        raise ValueError(f"{argument}: expected {n:,} names, one an image, got shape {array.shape}")
    if array.dtype.kind not in "OfU":
        return array.astype(str)
    if array.dtype.kind == "U":  # of many images few names are different
        empty = [name for name in set(array.tolist()) if is_missing(name)]
        missing = np.flatnonzero(np.isin(array, empty)) if empty else np.zeros(0, np.int64)
    else:
        missing = np.flatnonzero([is_missing(value) for value in array])
    if len(missing):
        raise ValueError(
            f"{argument}: expected a name for each image; {len(missing):,} of {n:,} have none, the first is image "
            f"{missing[0]}"
        )
    return array.astype(str) if array.dtype.kind == "U" else np.array([_name(value) for value in array], str)


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None, NaN, pandas' NA, or a text of nothing."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def as_column(values: Any) -> np.ndarray:
    """An array of what is said of each image; None and NaN stay apart from texts, of which NumPy would make texts."""
    if isinstance(values, np.ndarray) or not hasattr(values, "__iter__") or isinstance(values, (str, bytes)):
        return np.asarray(values)
    listed = list(values)
    return np.array(listed, object) if len({type(value) for value in listed}) > 1 else np.asarray(listed)


def _name(value: Any) -> str:
    """A cell as a name: 7.0 as 7, since tables have whole numbers as floats beside empty cells."""
    is_whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)
