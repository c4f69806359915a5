"""Tables of paths: the rows of a data frame or a CSV file, each of which names a picture and says what it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import did_you_mean
from ._arrays import encode_labels
from ._images import Pictures, decode
from ._read_table import read_rows
from ._tables import FILE_COLUMNS, LABEL_COLUMNS, MISSING, SUBJECT_COLUMNS

SLICE_COLUMNS = ("slice", "slice_index", "slice_number")
PART_COLUMNS = ("part", "set", "split", "subset")
AUTO = "auto"


@dataclass(frozen=True)
class Columns:
    """Which column is what: a name, "auto" for the usual names, or None for none.

    Attributes
    ----------
    path, label, subject, slice, part : str or None
    """

    path: str = AUTO
    label: str | None = AUTO
    subject: str | None = AUTO
    slice: str | None = AUTO
    part: str | None = AUTO


@dataclass(frozen=True, eq=False)
class Rows:
    """What a table says, row by row; without pixels.

    Attributes
    ----------
    files : list of str
    labels : ndarray of shape (N,), int64, or None
    classes : tuple of str
    subjects, parts : ndarray of shape (N,), str, or None
    slices : ndarray of shape (N,), int64, or None
    """

    files: list[str]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    subjects: np.ndarray | None
    slices: np.ndarray | None
    parts: np.ndarray | None

    def read(self, root: str | Path, **options: Any) -> tuple[Pictures, dict[str, Any]]:
        """The pictures, and the arguments of `Dataset` for those that could be read; options as of `read_images`."""
        pictures = decode(Path(root).expanduser(), self.files, **options)
        kept = pictures.kept
        given = {"labels": self.labels, "subjects": self.subjects, "slices": self.slices, "parts": self.parts}
        found: dict[str, Any] = {name: None if value is None else value[kept] for name, value in given.items()}
        return pictures, {**found, "classes": self.classes, "files": [self.files[i] for i in kept]}


def csv_columns(path: str | Path) -> dict[str, list[Any]]:
    """The columns of a .csv or .tsv file, as text."""
    table = read_rows(Path(path).expanduser())
    return {name: table.column(name) for name in table.columns}


def frame_columns(frame: Any) -> dict[str, list[Any]]:
    """The columns of a data frame (pandas, polars) or of a mapping of name to values."""
    names = list(frame) if isinstance(frame, Mapping) else getattr(frame, "columns", None)
    if names is None or callable(names) or isinstance(frame, (str, os.PathLike)):
        hint = ". For a file: Dataset.from_csv(path)" if isinstance(frame, (str, os.PathLike)) else ""
        raise TypeError(f"frame: expected a data frame or a dict of columns, got {type(frame).__name__}{hint}")
    found = {str(name): list(frame[name]) for name in names}
    if len({len(values) for values in found.values()}) > 1:
        lengths = ", ".join(f"{name} {len(values)}" for name, values in found.items())
        raise ValueError(f"frame: expected columns of one length, got {lengths}")
    return found


def rows_of_table(
    columns: Mapping[str, Sequence[Any]], chosen: Columns, classes: Sequence[str] | None, where: str
) -> Rows:
    """What a table says of its pictures.

    Parameters
    ----------
    columns : mapping of str to sequence
    chosen : Columns
    classes : sequence of str, optional
        The names of the classes, in order.
    where : str
        The table, for messages.

    Raises
    ------
    ValueError
        A column that is not there, or a row without a value; the row is named.
    """
    path = _column(columns, chosen.path, FILE_COLUMNS, "path", where)
    if path is None:
        raise ValueError(
            f"{where}: no column of paths; say which one it is: path={next(iter(columns), 'file')!r}. "
            f"Columns: {', '.join(columns)}"
        )
    label = _column(columns, chosen.label, LABEL_COLUMNS, "label", where)
    subject = _column(columns, chosen.subject, SUBJECT_COLUMNS, "subject", where)
    number = _column(columns, chosen.slice, SLICE_COLUMNS, "slice", where)
    part = _column(columns, chosen.part, PART_COLUMNS, "part", where)
    files = _texts(columns, path, where)
    if not files:
        raise ValueError(f"{where}: no rows")
    labels, names = None, tuple(str(c) for c in classes or ())
    if label is not None:
        labels, names = encode_labels(_texts(columns, label, where), classes, argument=f"{where}, column {label}")
    return Rows(
        files,
        labels,
        names,
        None if subject is None else np.array(_texts(columns, subject, where)),
        None if number is None else _whole(_texts(columns, number, where), number, where),
        None if part is None else np.array(_texts(columns, part, where)),
    )


def _column(
    columns: Mapping[str, Sequence[Any]], chosen: str | None, usual: Sequence[str], argument: str, where: str
) -> str | None:
    if chosen == AUTO and AUTO not in columns:
        named = {name.casefold().replace(" ", "_"): name for name in reversed(list(columns))}
        return next((named[name] for name in usual if name in named), None)
    if chosen is not None and chosen not in columns:
        raise ValueError(f"{argument}: {where} has no column {chosen!r}.{did_you_mean(chosen, columns)}")
    return chosen


def _texts(columns: Mapping[str, Sequence[Any]], name: str, where: str) -> list[str]:
    """A column as text; 3.0 becomes "3", as pandas writes whole numbers beside missing ones."""
    texts = []
    for i, value in enumerate(columns[name]):
        is_whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
        text = str(int(value)) if is_whole else "" if value is None else str(value).strip()
        if text.casefold() in MISSING:
            raise ValueError(f"{where}: row {i} has no {name}, got {value!r}. Leave out such rows first")
        texts.append(text)
    return texts


def _whole(texts: list[str], name: str, where: str) -> np.ndarray:
    try:
        return np.array([int(text) for text in texts], np.int64)
    except ValueError as error:
        raise ValueError(f"{where}: the column {name} has no whole numbers ({error})") from None
