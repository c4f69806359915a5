"""Weights of the classes in the loss, with scikit-learn's meaning of `class_weight`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._shared import did_you_mean, option_name


def balanced_weights(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """n / (classes present x n of the class), scikit-learn's "balanced"; 1 for a class that is absent. float32."""
    counts = np.bincount(labels, minlength=n_classes)
    present = int((counts > 0).sum())
    return np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 1.0).astype(np.float32)


def given_weights(weights: Mapping[str, float], classes: Sequence[str]) -> np.ndarray:
    """Weights by class name or index as an array, 1 for classes without one: float32 (classes,).

    A key is a name where a class has it. It is an index where no class is named by a number.

    Raises
    ------
    ValueError
        No such class, or two keys for one.

    Examples
    --------
    >>> given_weights({"sick": 2.0}, ("healthy", "sick")), given_weights({"1": 2.0}, ("healthy", "sick"))
    (array([1., 2.], dtype=float32), array([1., 2.], dtype=float32))
    """
    found = np.ones(len(classes), np.float32)
    named: set[int] = set()
    has_numbers = any(name.lstrip("-").isdigit() for name in classes)
    for key, weight in weights.items():
        if key in classes:
            index = list(classes).index(key)
        elif key.isdigit() and int(key) < len(classes) and not has_numbers:
            index = int(key)
        else:
            raise ValueError(f"{option_name('class_weight')}: there is no class {key!r}.{did_you_mean(key, classes)}")
        if index in named:
            raise ValueError(f"{option_name('class_weight')}: {classes[index]!r} is given twice, by name and by index")
        named.add(index)
        found[index] = weight
    return found
