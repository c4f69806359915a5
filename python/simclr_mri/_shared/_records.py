"""Results: what they have in common is rows for a table, a data frame, and a comparison by value."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


class Rows(list):
    """A list of rows that can also be called, as the `rows()` of other results.

    Examples
    --------
    >>> found = Rows([{"a": 1}])
    >>> found() == found, found[0]["a"]
    (True, 1)
    """

    def __call__(self) -> list[dict[str, Any]]:
        return list(self)


class Record:
    """Base of results, which are dataclasses: `rows()` and `to_frame()`."""

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a line of the table that the result is: plain numbers, strings and None."""
        return [plain_row(self)]

    def to_frame(self) -> Any:
        """`rows()` as a pandas DataFrame; ImportError says what to install."""
        return frame_of(self.rows(), type(self).__name__)


class ArrayRecord(Record):
    """Base of results with arrays or undefined numbers in them: `==` compares the values and answers with one bool.

    A dataclass's own comparison asks an array for its truth. Declare the class `@dataclass(frozen=True, eq=False)`.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return same_fields(self, other)

    __hash__ = None  # type: ignore[assignment]


def frame_of(rows: list[dict[str, Any]], name: str, columns: list[str] | None = None) -> Any:
    """A pandas DataFrame of rows; ImportError says what to install. `name` is of the result."""
    try:
        import pandas
    except ImportError:
        raise ImportError(f"{name}.to_frame needs pandas: pip install pandas") from None
    return pandas.DataFrame(rows, columns=columns or list(dict.fromkeys(key for row in rows for key in row)))


def plain_row(record: Any) -> dict[str, Any]:
    """The fields of a dataclass that are plain values; those of a record in it with its name before them."""
    row: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name.startswith("_"):
            continue
        if isinstance(value, np.generic):
            value = value.item()
        if is_dataclass(value):
            row |= {f"{field.name}_{key}": inner for key, inner in plain_row(value).items()}
        elif value is None or isinstance(value, (str, int, float)):
            row[field.name] = value
        elif hasattr(value, "__fspath__"):
            row[field.name] = str(value)
    return row


def same_fields(a: Any, b: Any) -> bool:
    """Whether two dataclasses of one type hold equal values, in the fields that count for a comparison."""
    return all(same(getattr(a, field.name), getattr(b, field.name)) for field in fields(a) if field.compare)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, arrays by shape and content (NaN equals NaN), containers and records item by item.

    Examples
    --------
    >>> same({"a": [np.array([1.0, np.nan])]}, {"a": [np.array([1.0, np.nan])]})
    True
    """
    if a is b:
        return True
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape):
            return False
        is_float = np.issubdtype(a.dtype, np.inexact) and np.issubdtype(b.dtype, np.inexact)
        return bool(np.array_equal(a, b, equal_nan=is_float))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if is_dataclass(a) and not isinstance(a, type) and type(a) is type(b):
        return same_fields(a, b)
    if isinstance(a, (float, np.floating)) and isinstance(b, (float, np.floating)) and a != a and b != b:
        return True
    return bool(a == b)
