"""Classes, parts and subjects by tables: one that was asked for, or those that lie beside the pictures.

Tables beside the pictures are `labels.csv` for all of them, or one a part: `train.csv` and `test.csv`,
`train_labels.csv` and `val_labels.csv`, `train/labels.csv` and `test/labels.csv`. Tables that say different things of
the same picture are an error that names both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import call_text, natural_key, option_text
from ._found import Found
from ._layout import Layout
from ._read_table import Table, read_rows
from ._subjects import find_table, table_and_column
from ._tables import (
    MISSING,
    NO_CLASS,
    label_column,
    match_rows,
    require_header,
    subject_column,
    values_of,
    with_classes,
)
from ._walk import Listing
from ._words import normal, part_of, tokens


def by_table(
    root: Path, files: Sequence[str], labels: Any, own_subjects: Sequence[str] | None = None, *, is_asked: bool = True
) -> Found:
    """Classes by one table, and the parts and subjects that it has too.

    Parameters
    ----------
    root : Path
    files : sequence of str
    labels : str or tuple
        "table.csv:column" or ("table.csv", "column").
    own_subjects : sequence of str or None
        Whose each file is, which the table may name instead of the file.
    is_asked : bool
        Whether the caller named the column; if not, columns that could have been meant are said too.
    """
    named = table_and_column(labels)
    if named is None:
        raise ValueError(f"labels: expected a table such as 'table.csv:column', got {labels!r}")
    table = with_classes(read_rows(find_table(named[0], root, "labels")))
    column = _class_column(table, named[1])
    others = [name for name in _label_columns(table) if name != column]
    also = f" (it also has {', '.join(others)})" if others and not (is_asked and named[1]) else ""
    found = Found(root, list(files), reading=f"classes from {table.path.name}, column {column}{also}")
    by_subject = own_subjects is not None and not match_rows(table, files, [column]).found
    names = own_subjects if own_subjects is not None and by_subject else files
    values = values_of(table, column, names, "labels", found.notes.append)
    found.classes = sorted(set(values.tolist()), key=natural_key)
    found.labels = np.array([found.classes.index(value) for value in values.tolist()])
    for name in table.columns:
        form = normal(name)
        if name != column and form in ("split", "part", "partition", "subset", "set", "fold"):
            found.parts = _complete(table, name, files)
        if name != column and form in ("slice", "slicenumber", "sliceindex"):
            found.slices = _whole(_complete(table, name, files))
    who = subject_column(table)
    if who is not None and who != column:
        found.subjects = _complete(table, who, files)
        found.reading += f"; subjects from its column {who}" if found.subjects is not None else ""
    return found


def _class_column(table: Table, asked: str | None) -> str:
    if asked is not None:
        return table.find(asked, "labels")
    column = label_column(table)
    if column is None:
        raise ValueError(
            f"labels: {table.path} has the columns {', '.join(table.columns)}; say which one holds the classes, such "
            f"as {option_text('labels', f'{table.path}:{table.columns[-1]}')}"
        )
    return column


def _label_columns(table: Table) -> list[str]:
    """All columns that are called like classes."""
    return [name for name in table.columns if label_column(Table(table.path, [name], [])) is not None]


def _complete(table: Table, column: str, files: Sequence[str]) -> np.ndarray | None:
    """A column that was not asked for: its values if there is one for every file."""
    try:
        return values_of(table, column, files, "labels", lambda text: None)
    except ValueError:
        return None


def _whole(values: np.ndarray | None) -> np.ndarray | None:
    """Whole numbers, or None."""
    try:
        numbers = np.array(values, float)
    except (TypeError, ValueError):
        return None
    return numbers.astype(np.int64) if numbers.shape and (numbers == np.floor(numbers)).all() else None


def said_of(found: Found) -> str:
    """What files were found to be, in words: "; parts train 4, test 2; classes AD 3, CN 3"."""
    pieces = []
    if found.parts is not None:
        pieces.append("parts " + ", ".join(f"{name} {n:,}" for name, n in Counter(found.parts.tolist()).items()))
    if found.labels is not None:
        sizes = np.bincount(found.labels, minlength=len(found.classes))
        pieces.append("classes " + ", ".join(f"{c} {n:,}" for c, n in zip(found.classes, sizes, strict=True)))
    return "".join(f"; {piece}" for piece in pieces)


# -- tables that lie beside the pictures ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    """What one table says: its row for each file, None for none."""

    name: str
    table: Table
    column: str
    rows: list[int | None]

    @property
    def part(self) -> str | None:
        """The part of a split that the table is called like, or the folder that it lies in."""
        *folders, name = self.name.split("/")
        return part_of(name.split(".")[0]) or (part_of(folders[-1]) if folders else None)

    def values(self, column: str, missing: Sequence[str] = MISSING) -> list[str]:
        """A column for each file; "" where there is no value."""
        given = self.table.column(column)
        found = ["" if row is None else given[row] for row in self.rows]
        return ["" if value.casefold() in missing else value for value in found]

    def classes(self) -> list[str]:
        """The class of each file; "" for none."""
        return self.values(self.column, NO_CLASS)

    def grouping(self) -> list[int]:
        """Classes by number, in the order in which they occur: the same for names that only differ."""
        number: dict[str, int] = {}
        return [number.setdefault(value, len(number)) for value in self.classes()]


def by_tables_beside(listing: Listing, files: Sequence[str], layout: Layout) -> Found | None:
    """Classes by the tables under the root; None if they do not say enough.

    Parameters
    ----------
    listing : Listing
    files : sequence of str
        The pictures, or the places of volumes.
    layout : Layout
        Its parts are taken where the tables know none.

    Raises
    ------
    ValueError
        Tables that contradict each other; both are named.
    """
    readings = _readings(listing, files)
    whole = [reading for reading in readings if all(reading.classes())]
    order = ("train", "val", "test")
    parts = sorted((r for r in readings if r.part and r not in whole), key=lambda r: order.index(r.part or "test"))
    if whole:
        chosen = _agreed(listing, whole)
        found = by_table(listing.root, files, (chosen.table.path, chosen.column), is_asked=False)
        owners = _owners(listing, parts, files)
        if found.parts is None and len(parts) > 1 and None not in owners:
            found.parts = np.array([parts[o].part for o in owners if o is not None])
    elif parts:
        found = _joined(listing, parts, files)
    else:
        return None
    if found.parts is None and layout.parts is not None and set(layout.files) >= set(found.files):
        place = dict(zip(layout.files, layout.parts, strict=True))
        parts_of_folders = [place[name] for name in found.files]
        found.parts = np.array(parts_of_folders) if len(set(parts_of_folders)) > 1 else None
    found.reading += said_of(found)
    used = {reading.name for reading in (*whole, *parts)}
    listing.files["parquet"] = [name for name in listing.files.get("parquet", ()) if name not in used]
    return found


def _readings(listing: Listing, files: Sequence[str]) -> list[_Reading]:
    """Tables with a column of classes and a row for some file; one in a folder of pictures is about those."""
    found = []
    for name in _tables(listing):
        try:
            table = with_classes(read_rows(listing.root / name))
            column = label_column(table)
            if column is None:
                continue
            folder = name.rpartition("/")[0]
            inside = [i for i, file in enumerate(files) if folder and file.startswith(f"{folder}/")]
            about = inside or range(len(files))
            matched = match_rows(table, [files[i] for i in about], [column]).rows
        except (ValueError, ImportError):
            continue
        rows: list[int | None] = [None] * len(files)
        for i, row in zip(about, matched, strict=True):
            rows[i] = row
        reading = _Reading(name, table, column, rows)
        if any(reading.classes()):
            found.append(reading)
    return found


def _tables(listing: Listing) -> list[str]:
    """Tables under the root, but for answers that are to be filled in, such as `sample_submission.csv`."""
    names = [*listing.files.get("table", ()), *listing.files.get("parquet", ())]
    return [name for name in names if not any(word.startswith("submi") for word in tokens(name))]


def _agreed(listing: Listing, whole: list[_Reading]) -> _Reading:
    """The one that has a column of subjects too, or else the first; ValueError where they differ."""
    first = whole[0]
    for other in whole[1:]:
        if other.grouping() != first.grouping():
            ways = [option_text("labels", f"{r.table.path}:{r.column}") for r in (first, other)]
            raise ValueError(
                f"{listing.root}: two tables say which class each image is of, and they differ.\n"
                + "".join(f"  {r.name}: {way}\n" for r, way in zip((first, other), ways, strict=True))
                + "Choose one"
            )
    return next((reading for reading in whole if subject_column(reading.table) is not None), first)


def _owners(listing: Listing, parts: list[_Reading], files: Sequence[str]) -> list[int | None]:
    """The table that each file is in; ValueError if that is two of different parts or classes."""
    owners: list[int | None] = [None] * len(files)
    classes = [reading.classes() for reading in parts]
    for o, reading in enumerate(parts):
        for i, value in enumerate(classes[o]):
            if not value:
                continue
            before = owners[i]
            if before is not None and (parts[before].part != reading.part or classes[before][i] != value):
                one = call_text("datasets.open_dataset", "data", listing.root / parts[before].name)
                raise ValueError(
                    f"{listing.root}: {files[i]} is in {parts[before].name} and in {reading.name}. Take it out of one "
                    f"of them, or open one table alone: {one}"
                )
            owners[i] = o if before is None else before
    return owners


def _joined(listing: Listing, parts: list[_Reading], files: Sequence[str]) -> Found:
    """Tables of parts put together: each file has its class and its part from the table that names it."""
    owners = _owners(listing, parts, files)
    kept = [(i, o) for i, o in enumerate(owners) if o is not None]
    said = ", ".join(f"{reading.name}, column {reading.column}" for reading in parts)
    found = Found(listing.root, [files[i] for i, _ in kept], reading=f"classes from {said}")
    classes = [reading.classes() for reading in parts]
    named = [classes[o][i] for i, o in kept]
    spelling: dict[str, str] = {}
    for value in sorted(set(named), key=natural_key):
        spelling.setdefault(normal(value) or value, value)
    found.classes = sorted(spelling.values(), key=natural_key)
    found.labels = np.array([found.classes.index(spelling[normal(value) or value]) for value in named], np.int64)
    if len({reading.part for reading in parts}) > 1:
        found.parts = np.array([parts[o].part for _, o in kept])
    who = [(reading, subject_column(reading.table)) for reading in parts]
    subjects = [[] if column is None else reading.values(column) for reading, column in who]
    whose = [subjects[o][i] if subjects[o] else "" for i, o in kept]
    found.subjects = np.array(whose) if all(whose) else None
    left = [files[i] for i, o in enumerate(owners) if o is None]
    found.others = dict.fromkeys(left, "pictures that no table gives a class")
    return found


def what_tables_say(listing: Listing, files: Sequence[str]) -> str | None:
    """The way out where a table names pictures, and it is not clear which classes they are of."""
    for name in _tables(listing)[:8]:
        path = listing.root / name
        try:
            table = with_classes(read_rows(path))
        except (ValueError, ImportError):
            continue
        require_header(table, files)
        column = label_column(table)
        match = match_rows(table, files, [column] if column else [])
        if not match.found:
            continue
        if column is not None:
            alone = call_text("datasets.open_dataset", "data", path)
            said = f"has classes for {match.found:,} of {len(files):,} pictures. To use these alone: {alone}"
        else:
            rest = [c for c in table.columns if c != match.column]
            ready = option_text("labels", f"{path}:{rest[-1] if rest else 'class'}")
            said = f"has the columns {', '.join(table.columns)}; say which one holds the classes, such as {ready}"
        return f"{listing.root}: no class folders. {name} {said}"
    return None
