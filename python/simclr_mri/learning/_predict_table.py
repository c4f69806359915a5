"""Answers about new pictures: a table of class probabilities, by slice and by subject."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import ArrayRecord, Level, atomic_writer, frame_of, html_table

FORMATS = (".csv", ".parquet")
_COLUMNS = ("file", "subject", "predicted", "n_slices")


@dataclass(frozen=True, eq=False)
class PredictionTable(ArrayRecord):
    """Class probabilities of pictures. Prints as a summary; `to_frame()` and `save()` give the table.

    Attributes
    ----------
    files : tuple of str
        Relative to the folder that was read.
    probabilities : ndarray of shape (N, K), float64
        Rows sum to 1.
    classes : tuple of K str
    subjects : ndarray of shape (N,), str, or None
        Who is in the picture; None when unknown.

    Examples
    --------
    >>> table = PredictionTable(("a.png", "b.png"), np.array([[0.9, 0.1], [0.6, 0.4]]), ("well", "sick"),
    ...                         np.array(["s1", "s1"]))
    >>> table.rows("subject")
    [{'subject': 's1', 'n_slices': 2, 'predicted': 'well', 'well': 0.75, 'sick': 0.25}]
    """

    files: tuple[str, ...]
    probabilities: np.ndarray
    classes: tuple[str, ...]
    subjects: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.files)

    @property
    def predicted(self) -> np.ndarray:
        """Name of the likeliest class of each picture, str (N,)."""
        return np.array(self.classes)[self.probabilities.argmax(axis=1)]

    @property
    def levels(self) -> tuple[Level, ...]:
        """ "slice" and, where the subjects are known, "subject"."""
        return ("slice",) if self.subjects is None else ("slice", "subject")

    def columns(self, level: Level = "slice") -> list[str]:
        """Names of the columns; a class that is called as one of the others has "p_" before its name."""
        first = ["subject", "n_slices", "predicted"]
        if level == "slice":
            first = ["file", *(["subject"] if self.subjects is not None else []), "predicted"]
        return [*first, *(f"p_{name}" if name in _COLUMNS else name for name in self.classes)]

    def rows(self, level: Level = "slice") -> list[dict[str, Any]]:
        """One dictionary a slice, or a subject with the mean of its slices' probabilities.

        Raises
        ------
        ValueError
            Another level, or the subjects are unknown.
        """
        return [dict(zip(self.columns(level), row, strict=True)) for row in self.cells(level)]

    def cells(self, level: Level = "slice") -> Iterator[list[Any]]:
        """The rows without their names, in the order of `columns`."""
        if level not in self.levels:
            unknown = "; the subjects are unknown: give groups=" if level == "subject" else ""
            raise ValueError(f"level={level!r}: expected one of {', '.join(self.levels)}{unknown}")
        if level == "subject":
            names, means, counts = self._pooled()
            for name, mean, count in zip(names, means, counts, strict=True):
                yield [str(name), int(count), self.classes[int(mean.argmax())], *map(float, mean)]
            return
        for i, (file, row) in enumerate(zip(self.files, self.probabilities, strict=True)):
            subject = [] if self.subjects is None else [str(self.subjects[i])]
            yield [file, *subject, self.classes[int(row.argmax())], *map(float, row)]

    def _pooled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        names, groups, counts = np.unique(np.asarray(self.subjects), return_inverse=True, return_counts=True)
        sums = np.zeros((len(names), len(self.classes)))
        np.add.at(sums, groups, self.probabilities)
        return names, sums / counts[:, None], counts

    def to_frame(self, level: Level = "slice") -> Any:
        """`rows(level)` as a pandas DataFrame; ImportError says what to install."""
        return frame_of(self.rows(level), "PredictionTable", self.columns(level))

    def to_csv(self, level: Level = "slice") -> str:
        """The table as text; probabilities with six digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns(level))
        for cells in self.cells(level):
            writer.writerow([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells])
        return text.getvalue()

    def save(self, path: str | Path) -> list[Path]:
        """Writes the table by slice to `path` and, where subjects are known, by subject to a file beside it.

        Parameters
        ----------
        path : str or Path
            ``.csv``, or ``.parquet`` (needs pyarrow). Subjects go to ``NAME_by_subject``.

        Returns
        -------
        list of Path
            What was written.
        """
        path = check_table_path(path)
        written = []
        for level in self.levels:
            place = path if level == "slice" else path.with_stem(f"{path.stem}_by_{level}")
            data = (
                _parquet(self, level)
                if path.suffix.lower() == ".parquet"
                else self.to_csv(level).encode("utf-8", "surrogateescape")
            )
            with atomic_writer(place) as file:
                file.write(data)
            written.append(place)
        return written

    def __repr__(self) -> str:
        who = "" if self.subjects is None else f" of {len(np.unique(self.subjects)):,} subjects"
        return f"<PredictionTable: {len(self):,} pictures{who}, classes {', '.join(self.classes)}>"

    def __str__(self) -> str:
        lines = []
        for level in self.levels:
            likeliest = self.predicted if level == "slice" else [row["predicted"] for row in self.rows("subject")]
            counts = {name: int(np.sum(np.asarray(likeliest) == name)) for name in self.classes}
            said = ", ".join(f"{n:,} {name}" for name, n in counts.items())
            lines.append(f"predicted by {level}: {said}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        level = self.levels[-1]
        shown = [[f"{c:.3f}" if isinstance(c, float) else c for c in cells] for cells in self.cells(level)]
        more = f"<p>and {len(shown) - 20:,} more: to_frame()</p>" if len(shown) > 20 else ""
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{html_table(self.columns(level), shown[:20])}{more}"


def check_table_path(path: str | Path) -> Path:
    """`path` with `~` expanded; ValueError for an ending that is no table's, ImportError where a library lacks."""
    path = Path(path).expanduser()
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: expected a file name that ends in {' or '.join(FORMATS)}")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file, found a folder; give {path / 'answers.csv'}")
    if path.suffix.lower() == ".parquet":
        _pyarrow()
    return path


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError("a .parquet table needs pyarrow: pip install pyarrow, or choose a .csv file") from None
    return pyarrow


def _parquet(table: PredictionTable, level: Level) -> bytes:
    pyarrow = _pyarrow()
    columns = table.columns(level)
    rows = list(table.cells(level))
    arrays = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), sink)
    return sink.getvalue()


def check_probabilities(probabilities: np.ndarray, files: Sequence[str]) -> None:
    """FloatingPointError naming the first file whose probabilities are not finite: an answer must not come of it."""
    odd = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(odd):
        raise FloatingPointError(
            f"{files[odd[0]]}: the probabilities are not finite (NaN), as of {len(odd):,} of {len(files):,} pictures. "
            "The weights are damaged, or training diverged: load an earlier checkpoint"
        )
