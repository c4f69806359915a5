"""Pictures in Parquet files, as Hugging Face's data sets have them: a column of bytes, a column of labels."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import natural_key, option_text, some
from ._by_table import said_of
from ._class_names import natural_order
from ._found import Asked, Found
from ._gather import arrange
from ._images import Pictures, decode
from ._read_table import require_pyarrow
from ._tables import LABEL_COLUMNS, SUBJECT_COLUMNS
from ._walk import counted_by_reason
from ._words import part_of


def holds_pictures(path: Path) -> bool:
    """Whether a file has a column with the bytes of pictures; one of paths and labels has none."""
    parquet = require_pyarrow(str(path))
    try:
        head = next(parquet.ParquetFile(path).iter_batches(batch_size=8), None)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    return head is not None and any(map(_has_bytes, head.columns))


def read_parquet(paths: Sequence[Path], root: Path, asked: Asked, **options: Any) -> tuple[Found, Pictures]:
    """Rows of one or several files as pictures.

    Parameters
    ----------
    paths : sequence of Path
        Files called like parts (`train-00000-of-00001.parquet`) are parts of a ready-made split.
    root : Path
        What names are relative to.
    asked : Asked
        `groups` and `labels` may name columns.
    **options
        As for `decode`.

    Returns
    -------
    found : Found
    pictures : Pictures
    """
    parquet = require_pyarrow(str(paths[0]))
    names: list[str] = []
    labels: list[str] = []
    subjects: list[str] = []
    parts: list[str] = []
    with tempfile.TemporaryDirectory(prefix="simclr_mri_") as folder:
        for path in sorted(paths, key=lambda p: natural_key(str(p))):
            rows = _Rows(parquet, path, asked)
            part = part_of(path.stem) or ""
            for i, blob in enumerate(rows.blobs()):
                Path(folder, f"{len(names):07d}.png").write_bytes(blob)  # the format is told by the content
                names.append(
                    f"{path.relative_to(root).as_posix()}:{i}" if path.is_relative_to(root) else f"{path.name}:{i}"
                )
                parts.append(part)
            labels += rows.labels or [""] * (len(names) - len(labels))
            subjects += rows.subjects or [""] * (len(names) - len(subjects))
        found = Found(root, list(names), reading=f"{len(names):,} rows of {some([p.name for p in paths], 2)}")
        found.subjects = np.array(subjects) if all(subjects) else None
        found.parts = np.array(parts) if all(parts) and len(set(parts)) > 1 else None
        if any(labels) and asked.labelled is not False:
            _leave_out_unlabelled(found, labels)
        elif asked.labelled:
            advice = option_text("labels", rows.columns[-1])
            raise ValueError(f"{paths[0]}: no column of labels; say which one it is, such as {advice}")
        row_of = {name: i for i, name in enumerate(names)}
        arrange(found, asked)
        found.reading += said_of(found)
        if found.others:
            found.notes.append(f"{root}: not read: {counted_by_reason(found.others)}")
        files = [f"{row_of[name]:07d}.png" for name in found.files]
        try:
            pictures = decode(folder, files, **options)
        except (ValueError, OSError) as error:
            raise type(error)(_with_names(str(error), folder, names)) from None
    pictures.notes = [_with_names(note, folder, names) for note in pictures.notes]
    return found, pictures


def _leave_out_unlabelled(found: Found, labels: Sequence[str]) -> None:
    """Rows without a class, such as those of a part that is for others to judge, are left out and counted."""
    kept = [i for i, label in enumerate(labels) if label]
    found.others = dict.fromkeys(
        (found.files[i] for i, label in enumerate(labels) if not label), "rows without a class"
    )
    found.classes = natural_order(sorted({labels[i] for i in kept}, key=natural_key))
    found.labels = np.array([found.classes.index(labels[i]) for i in kept], np.int64)
    found.files = [found.files[i] for i in kept]
    found.subjects = None if found.subjects is None else found.subjects[kept]
    found.parts = None if found.parts is None else found.parts[kept]
    if found.parts is not None and len(set(found.parts.tolist())) < 2:
        found.parts = None


def _with_names(text: str, folder: str, names: Sequence[str]) -> str:
    """Messages name rows, not the temporary files that they were decoded from."""
    import re

    return re.sub(rf"(?:{re.escape(folder)}/)?(\d{{7}})\.png", lambda m: names[int(m[1])], text)


def _has_bytes(column: Any) -> bool:
    values = (v.get("bytes") if isinstance(v, dict) else v for v in column.to_pylist())
    return any(isinstance(data, bytes) and len(data) > 8 for data in values)


class _Rows:
    """One file's columns of pictures, labels and subjects."""

    def __init__(self, parquet: Any, path: Path, asked: Asked) -> None:
        try:
            self.file = parquet.ParquetFile(path)
            self.columns = list(self.file.schema_arrow.names)
            head = next(self.file.iter_batches(batch_size=8), None)
            self.pictures = next((c for c in self.columns if head is not None and _has_bytes(head[c])), None)
            self.table = self.file.read(columns=[c for c in self.columns if c != self.pictures])
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
        self.path = path
        if self.pictures is None:
            raise ValueError(f"{path}: no column with the bytes of pictures; its columns are {', '.join(self.columns)}")
        label = self._column(asked.labels, LABEL_COLUMNS)
        self.labels = self._named_labels(label) if label else None
        who = self._column(asked.groups, SUBJECT_COLUMNS)
        self.subjects = [str(v) for v in self.table[who].to_pylist()] if who else None

    def blobs(self) -> Any:
        """The bytes of each picture, row by row; some rows are in memory at a time."""
        try:
            for batch in self.file.iter_batches(batch_size=256, columns=[self.pictures]):
                for value in batch[self.pictures]:
                    data = value.as_py()
                    yield (data.get("bytes") if isinstance(data, dict) else data) or b""
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None

    def _column(self, asked: Any, usual: Sequence[str]) -> str | None:
        if asked is not None:
            name = str(asked[1] if isinstance(asked, tuple) else asked).rpartition(":")[2]
            if name not in self.table.column_names:
                raise ValueError(f"{self.path} has the columns {', '.join(self.columns)}, not {name!r}")
            return name
        by_form = {c.casefold().replace(" ", "_"): c for c in self.table.column_names}
        return next((by_form[name] for name in usual if name in by_form), None)

    def _named_labels(self, column: str) -> list[str]:
        """Labels as names, by the metadata that Hugging Face writes; as numbers where there is none."""
        metadata = (self.file.schema_arrow.metadata or {}).get(b"huggingface")
        names: list[str] | None = None
        if metadata:
            feature = json.loads(metadata).get("info", {}).get("features", {}).get(column, {})
            names = feature.get("names") if isinstance(feature, dict) else None
        values = self.table[column].to_pylist()
        if None in values and set(values) != {None}:
            raise ValueError(f"{self.path}: no {column} in row {values.index(None)}")
        return [
            "" if v is None else names[v] if names and isinstance(v, int) and 0 <= v < len(names) else str(v)
            for v in values
        ]
