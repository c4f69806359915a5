"""What `fit` is given: data sets as this package has them, or arrays and labels as scikit-learn hands them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d

from .._shared import label_values
from ..datasets import Dataset, check_dataset, encode_labels


@dataclass(frozen=True, eq=False)
class Inputs:
    """The data of a run.

    Attributes
    ----------
    train : Dataset
    val : Dataset or None
    label_values : ndarray of shape (classes,), or None
        What `predict` answers for each class: the values that y had. None where the labels came with a data set;
        then it answers with indices into its classes.
    """

    train: Dataset
    val: Dataset | None
    label_values: np.ndarray | None = None


def inputs_of(estimator: str, X: Any, y: Any, *, groups: Any, val: Any, train: Any, with_labels: bool) -> Inputs:
    """The arguments of `fit` as data sets.

    Parameters
    ----------
    estimator : str
        For messages.
    X : Dataset, or array-like of shape (N, H, W) or (N, H, W, C)
    y : array-like of shape (N,), or Dataset
        Labels; or validation data, as in `fit(train, val)`.
    groups : array-like of shape (N,), or None
        Who is in each image.
    val : Dataset, or tuple (X, y) or (X, y, groups), or None
    train : Dataset or None
        The same as X, by its name in this package.
    with_labels : bool
        Whether y is used.

    Raises
    ------
    TypeError, ValueError
        Nothing to learn from, data that is given twice, or arrays without labels.
    """
    if X is not None and train is not None:
        raise TypeError(f"{estimator}.fit: the training data is given twice, as X and as train")
    X = train if X is None else X
    if X is None:
        raise TypeError(f"{estimator}.fit: no data; give fit(train) a Dataset, or fit(X, y) arrays")
    if isinstance(y, Dataset):
        if val is not None:
            raise TypeError(f"{estimator}.fit: the validation data is given twice")
        y, val = None, y
    y = column_or_1d(y, warn=True) if with_labels and y is not None else None
    ds, values = _data_set(estimator, X, y, groups, with_labels)
    if val is not None and not isinstance(val, Dataset):
        val = _validation(val, ds, values, with_labels)
    return Inputs(ds, val, values)


def is_arrays(X: Any) -> bool:
    """Whether images are given as an array or what becomes one, and not as a data set."""
    return isinstance(X, (list, tuple)) or hasattr(X, "__array__")


def _data_set(
    estimator: str, X: Any, y: np.ndarray | None, groups: Any, with_labels: bool
) -> tuple[Dataset, np.ndarray | None]:
    if not is_arrays(X):
        check_dataset(X, "train")
        ds = X if groups is None else X.with_subjects(groups)
        return (ds, None) if y is None else _relabelled(ds, y)
    if not with_labels:
        return Dataset.from_arrays(X, None, groups, name="X"), None
    if y is None:
        raise ValueError(
            f"{estimator}.fit requires y to be passed, but the target y is None: fit(X, y) with arrays, or fit(train) "
            "with a Dataset that has labels"
        )
    values, indices = np.unique(label_values(y, "y"), return_inverse=True)
    return Dataset.from_arrays(X, indices, groups, classes=[str(v) for v in values], name="X"), values


def _relabelled(ds: Dataset, y: np.ndarray) -> tuple[Dataset, np.ndarray]:
    """A data set with other labels, and what predict answers for each class.

    Numbers are indices into the classes of the data set, as `ds.labels` are: so all folds have the same classes.
    """
    given = label_values(y, "y")
    k = len(ds.classes)
    if given.dtype.kind in "iu" and k and given.size and given.min() >= 0 and given.max() < k:
        return ds.with_labels(given, ds.classes), np.arange(k)
    values, indices = np.unique(given, return_inverse=True)
    return ds.with_labels(indices, [str(v) for v in values]), values


def _validation(val: Any, train: Dataset, values: np.ndarray | None, with_labels: bool) -> Dataset:
    if not isinstance(val, tuple) or len(val) not in (2, 3):
        check_dataset(val, "val")
    X, y, groups = (*val, None)[:3]
    if isinstance(X, Dataset) or not with_labels:
        raise TypeError("val: expected a Dataset, or (X, y) with arrays for a classifier")
    return Dataset.from_arrays(
        X, indices_of(y, train.classes, values, "val"), groups, classes=train.classes, name="val"
    )


def indices_of(y: Any, classes: tuple[str, ...], values: np.ndarray | None, argument: str = "y") -> np.ndarray:
    """Labels as a fitted classifier knows them, as indices into its classes; ValueError for one that it does not."""
    names = classes if values is None else [str(v) for v in values]
    given = label_values(column_or_1d(y, warn=True), argument)
    if values is None and given.dtype.kind in "iu":
        return encode_labels(given, classes, argument=argument)[0]
    return encode_labels([str(v) for v in given], names, argument=argument)[0]
