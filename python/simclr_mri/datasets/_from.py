"""Data sets of what a program already holds: arrays, data frames and CSV files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from .._shared import Channels, Fit, OnError
from ._arrays import as_uint8, encode_labels
from ._images import Intensity
from ._tabular import AUTO, Columns, Rows, csv_columns, frame_columns, rows_of_table
from ._warnings import DataWarning


class FromArraysAndTables:
    """Other beginnings of a `Dataset`."""

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any = None,
        subjects: Any = None,
        *,
        classes: Sequence[str] | None = None,
        slices: Any = None,
        files: Sequence[str] = (),
        parts: Any = None,
        intensity: Intensity = None,
        name: str = "arrays",
    ) -> Self:
        """A data set of arrays in whatever types they are.

        Parameters
        ----------
        images : array-like of shape (N, H, W) or (N, H, W, 1 or 3)
            uint8, bool, float in [0, 1] or whole numbers from 0 to 255; any numbers with `intensity`. Kept as uint8.
        labels : array-like of shape (N,), optional
            Names of classes, or whole numbers.
        subjects : array-like of shape (N,), optional
            Who is in each image, as text or numbers.
        classes : sequence of str, optional
            The names in order; labels that are numbers are indices into them. Without them the labels that occur name
            the classes.
        slices, files, parts, name
            As of `Dataset`.
        intensity : {"full", "percentile"}, (low, high) or None
            The values that become black and white; percentiles are those of each image.

        Returns
        -------
        Dataset

        Raises
        ------
        ValueError
            Shapes, types or values that are not those above; the message says what was found.

        Examples
        --------
        >>> import numpy as np
        >>> from simclr_mri import Dataset
        >>> ds = Dataset.from_arrays(np.zeros((3, 8, 8)), ["AD", "CN", "AD"], subjects=[7, 8, 7])
        >>> ds, ds.classes, ds.labels.tolist()
        (<Dataset 'arrays': 3 images of 8 x 8 px, gray, 2 subjects, 2 classes>, ('CN', 'AD'), [1, 0, 1])
        """
        pixels = as_uint8(images, intensity)
        indices, names = (None, tuple(classes or ())) if labels is None else encode_labels(labels, classes)
        is_callers = pixels is images or pixels.base is not None
        more: dict[str, Any] = {"name": name, "slices": slices, "parts": parts, "copy": is_callers}
        return _made(cls, {"intensity": intensity or "full"}, pixels, indices, names, subjects, files, **more)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        root: str | Path = ".",
        *,
        path: str = AUTO,
        label: str | None = AUTO,
        subject: str | None = AUTO,
        slice: str | None = AUTO,
        part: str | None = AUTO,
        classes: Sequence[str] | None = None,
        image_size: int | None = None,
        channels: Channels = 1,
        intensity: Intensity = None,
        fit: Fit = "pad",
        errors: OnError = "raise",
        n_jobs: int | None = None,
        name: str = "frame",
    ) -> Self:
        """A data set of the pictures that a table names, a row each.

        Parameters
        ----------
        frame : data frame of pandas or polars, or dict of column name to values
        root : path
            Where relative paths begin.
        path, label, subject, slice, part : str or None
            The columns of the picture's path, its class, who is in it, its number in the subject's stack and its part
            of a ready-made split. "auto" takes a column of a usual name, such as "file", "diagnosis" and "subject_id",
            where there is one; None takes none.
        classes : sequence of str, optional
            The names of the classes in order; without them those that occur.
        image_size, channels, intensity, fit, errors, n_jobs
            As for `datasets.read_images`.
        name : str

        Returns
        -------
        Dataset
            In the order of the rows.

        Raises
        ------
        ValueError
            No such column, or a row without a value.
        FileNotFoundError, DecodeError
            Pictures that are not there or cannot be read.

        Examples
        --------
        >>> Dataset.from_frame(pandas.read_excel("visits.xlsx"), root="scans", label="dx")  # doctest: +SKIP
        """
        options = {"image_size": image_size, "channels": channels, "intensity": intensity, "fit": fit}
        rows = rows_of_table(frame_columns(frame), Columns(path, label, subject, slice, part), classes, "frame")
        return cls._of_rows(rows, root, name, options | {"errors": errors, "n_jobs": n_jobs})

    @classmethod
    def from_csv(
        cls,
        file: str | Path,
        root: str | Path | None = None,
        *,
        path: str = AUTO,
        label: str | None = AUTO,
        subject: str | None = AUTO,
        slice: str | None = AUTO,
        part: str | None = AUTO,
        classes: Sequence[str] | None = None,
        image_size: int | None = None,
        channels: Channels = 1,
        intensity: Intensity = None,
        fit: Fit = "pad",
        errors: OnError = "raise",
        n_jobs: int | None = None,
        name: str | None = None,
    ) -> Self:
        """A data set of the pictures that a .csv or .tsv file names, a row each.

        `datasets.open_dataset(file)` matches rows to the pictures around the file, also by parts of their names; this
        takes the paths as they are written.

        Parameters
        ----------
        file : path
        root : path, optional
            Where relative paths begin; the folder of the file by default.
        path, label, subject, slice, part, classes, image_size, channels, intensity, fit, errors, n_jobs
            As for `from_frame`.
        name : str, optional
            The file's by default.

        Returns
        -------
        Dataset
            In the order of the rows.

        Examples
        --------
        >>> Dataset.from_csv("scans/labels.csv", label="diagnosis", subject="patient")  # doctest: +SKIP
        """
        options = {"image_size": image_size, "channels": channels, "intensity": intensity, "fit": fit}
        rows = rows_of_table(csv_columns(file), Columns(path, label, subject, slice, part), classes, str(file))
        place = Path(file).expanduser().parent if root is None else root
        return cls._of_rows(rows, place, name or Path(file).stem, options | {"errors": errors, "n_jobs": n_jobs})

    @classmethod
    def _of_rows(cls, rows: Rows, root: str | Path, name: str, options: dict[str, Any]) -> Self:
        pictures, given = rows.read(root, **options)
        for note in pictures.notes:
            warnings.warn(note, DataWarning, stacklevel=3)
        reading = {"intensity": pictures.intensity, "fit": options["fit"]}
        return _made(cls, reading, pictures.images, name=name, copy=False, **given)


def _made(cls: Any, reading: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """A `Dataset` that remembers how its pixels were read."""
    return cls(*args, **kwargs).with_reading("", reading, {})
