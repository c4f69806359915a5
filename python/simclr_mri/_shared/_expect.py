"""What is handed in, checked: a TypeError or ValueError that names the argument, what was expected and what came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def expect(argument: str, given: Any, attribute: str, wanted: str) -> None:
    """TypeError unless `given` has `attribute`, as what is `wanted` has.

    Examples
    --------
    >>> expect("checks", 3, "fractions", "what check_cams returns")
    Traceback (most recent call last):
    TypeError: checks: expected what check_cams returns, got int
    """
    if not hasattr(given, attribute):
        raise TypeError(f"{argument}: expected {wanted}, got {type(given).__name__}")


def expect_rows(argument: str, given: Any, keys: Sequence[str], wanted: str) -> None:
    """TypeError unless `given` is a sequence of mappings; ValueError if one lacks one of `keys`.

    Examples
    --------
    >>> expect_rows("history", [{"epoch": 1}], ("epoch", "loss"), "a model's history_")
    Traceback (most recent call last):
    ValueError: history: expected a model's history_, whose rows have epoch and loss; row 0 lacks loss
    """
    if isinstance(given, (str, bytes, Mapping, np.ndarray)) or not isinstance(given, Iterable):
        raise TypeError(f"{argument}: expected {wanted}, got {type(given).__name__}")
    for i, row in enumerate(given):
        if not isinstance(row, Mapping):
            raise TypeError(f"{argument}: expected {wanted}, a dictionary a row, got {type(row).__name__} in row {i}")
        lacking = [key for key in keys if key not in row]
        if lacking:
            raise ValueError(
                f"{argument}: expected {wanted}, whose rows have {' and '.join(keys)}; row {i} lacks {lacking[0]}"
            )


def expect_shape(argument: str, given: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Numbers of a shape, in which None is any length; ValueError otherwise.

    Examples
    --------
    >>> expect_shape("values", [1, 2], (None, 3))
    Traceback (most recent call last):
    ValueError: values: expected numbers of shape (*, 3), got shape (2,)
    """
    expected = f"({', '.join('*' if n is None else str(n) for n in shape)}{',' * (len(shape) == 1)})"
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{argument}: expected numbers of shape {expected}, got {type(given).__name__}") from None
    if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{argument}: expected numbers of shape {expected}, got shape {array.shape}")
    return array
