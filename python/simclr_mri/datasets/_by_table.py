"""Classes, parts and subjects by a table or a pattern that was asked for, or by the tables beside the pictures.

Tables beside the pictures are `labels.csv` for all of them, or one a part: `train.csv` and `test.csv`,
`train_labels.csv` and `val_labels.csv`, `train/labels.csv` and `test/labels.csv`; also as text or JSON. Tables that say
different things of the same picture are an error that names both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import call_text, natural_key, option_text
from ._folder import way_in
from ._found import Found
from ._layout import Layout
from ._read_table import Table, read_rows
from ._subjects import by_pattern, find_table, table_and_column
from ._tables import (
    MISSING,
    NO_CLASS,
    Contradiction,
    label_column,
    match_rows,
    subject_column,
    values_of,
    why_no_classes,
    with_classes,
    with_header,
)
from ._walk import TEXT_EXTENSIONS, Listing, ending
from ._words import normal, part_of, tokens

NO_CLASS_GIVEN = "pictures that no table gives a class"
MOST_TEXTS = 20
"""Text and JSON files that may be tables; if there are more, they are about one picture each."""


def by_table(
    root: Path, files: Sequence[str], labels: Any, own_subjects: Sequence[str] | None = None, *, is_asked: bool = True
) -> Found:
    """Classes by one table, and the parts and subjects that it has too.

    Parameters
    ----------
    root : Path
    files : sequence of str
    labels : str or tuple
        "table.csv:column" or ("table.csv", "column"); or a regular expression with one group over the file's name.
    own_subjects : sequence of str or None
        Whose each file is, which the table may name instead of the file.
    is_asked : bool
        Whether the caller named the column; if not, columns that could have been meant are said too.
    """
    named = table_and_column(labels)
    if named is None:
        found = Found(root, list(files), reading=f"classes by the pattern {labels}")
        _set_classes(found, by_pattern(str(labels), files, "labels").tolist())
        found.reading += said_of(found)
        return found
    table = open_table(find_table(named[0], root, "labels"), files)
    column = _class_column(table, named[1])
    others = [name for name in _label_columns(table) if name != column]
    also = f" (it also has {', '.join(others)})" if others and not (is_asked and named[1]) else ""
    found = Found(root, list(files), reading=f"classes from {table.path.name}, column {column}{also}")
    by_subject = own_subjects is not None and not match_rows(table, files, [column]).found
    names = own_subjects if own_subjects is not None and by_subject else files
    values = values_of(table, column, names, "labels", found.notes.append)
    found.others = {name: NO_CLASS_GIVEN for name, value in zip(files, values, strict=True) if not value}
    files = found.files = [name for name in files if name not in found.others]
    _set_classes(found, [value for value in values.tolist() if value])
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


def open_table(path: Path, files: Sequence[str]) -> Table:
    """A table about files: with names of its columns, and with a column of classes if it has one for each class."""
    return with_classes(with_header(read_rows(path), files))


def _set_classes(found: Found, values: Sequence[str]) -> None:
    """Classes by name; names that differ by case and signs only are one, numbers are not."""
    key = {value: value if re.fullmatch(r"[-+\d.]+", value) else normal(value) or value for value in set(values)}
    spelling: dict[str, str] = {}
    for value in sorted(key, key=natural_key):
        spelling.setdefault(key[value], value)
    found.classes = sorted(spelling.values(), key=natural_key)
    place = {value: found.classes.index(spelling[key[value]]) for value in key}
    found.labels = np.array([place[value] for value in values], np.int64)


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


def by_tables_beside(
    listing: Listing, files: Sequence[str], layout: Layout | None, own_subjects: Sequence[str] | None = None
) -> Found | None:
    """Classes by the tables under the root; None if they do not say enough.

    Parameters
    ----------
    listing : Listing
    files : sequence of str
        The pictures, or the places of volumes.
    layout : Layout or None
        Its parts are taken where the tables know none.
    own_subjects : sequence of str or None
        Whose each file is by its content, which a table may name instead of the file.

    Raises
    ------
    ValueError
        Tables that contradict each other; both are named.
    """
    readings = _readings(listing, files, own_subjects)
    whole = [reading for reading in readings if all(reading.classes())]
    order = ("train", "val", "test")
    parts = sorted((r for r in readings if r.part and r not in whole), key=lambda r: order.index(r.part or "test"))
    rest = [reading for reading in readings if reading not in whole and None not in reading.rows]
    if whole:
        chosen = _agreed(listing, whole)
        found = by_table(listing.root, files, (chosen.table.path, chosen.column), own_subjects, is_asked=False)
        owners = _owners(listing, parts, files)
        if found.parts is None and len(parts) > 1 and None not in owners:
            found.parts = np.array([parts[o].part for o in owners if o is not None])
    elif parts:
        found = _joined(listing, parts, files)
    elif rest:  # a row for each file, and no class in some
        found = _joined(listing, [_agreed(listing, rest)], files)
    else:
        return None
    if (
        found.parts is None
        and layout is not None
        and layout.parts is not None
        and set(layout.files) >= set(found.files)
    ):
        place = dict(zip(layout.files, layout.parts, strict=True))
        parts_of_folders = [place[name] for name in found.files]
        found.parts = np.array(parts_of_folders) if len(set(parts_of_folders)) > 1 else None
    found.reading += said_of(found)
    _forget(listing, [reading.name for reading in (*whole, *parts, *rest)])
    return found


def _readings(listing: Listing, files: Sequence[str], own_subjects: Sequence[str] | None) -> list[_Reading]:
    """Tables with a column of classes and a row for some file; one in a folder of pictures is about those."""
    found = []
    for name in _tables(listing):
        folder = name.rpartition("/")[0]
        inside = [i for i, file in enumerate(files) if folder and file.startswith(f"{folder}/")]
        about = inside or range(len(files))
        try:
            table = open_table(listing.root / name, [files[i] for i in about])
            column = _classes_of(table)
            if column is None:
                continue
            match = match_rows(table, [files[i] for i in about], [column])
            if not match.found and own_subjects is not None:
                match = match_rows(table, [own_subjects[i] for i in about], [column])
            matched = match.rows
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
    texts = [name for name in listing.others if ending(name) in TEXT_EXTENSIONS]
    texts = texts if len(texts) <= MOST_TEXTS else []
    names = [*listing.files.get("table", ()), *listing.files.get("parquet", ()), *texts]
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
    _set_classes(found, [classes[o][i] for i, o in kept])
    if len({reading.part for reading in parts}) > 1:
        found.parts = np.array([parts[o].part for _, o in kept])
    who = [(reading, subject_column(reading.table)) for reading in parts]
    subjects = [[] if column is None else reading.values(column) for reading, column in who]
    whose = [subjects[o][i] if subjects[o] else "" for i, o in kept]
    found.subjects = np.array(whose) if all(whose) else None
    left = [files[i] for i, o in enumerate(owners) if o is None]
    found.others = dict.fromkeys(left, NO_CLASS_GIVEN)
    return found


def parts_by_lists(listing: Listing, files: Sequence[str]) -> np.ndarray | None:
    """The part of each file by lists such as `train.txt` and `test.txt`; None unless they name each file once."""
    parts: list[str] = [""] * len(files)
    used = []
    for name in _tables(listing):
        part = part_of(name.rsplit("/", 1)[-1].split(".")[0])
        if part is None:
            continue
        try:
            rows = match_rows(with_header(read_rows(listing.root / name), files), files).rows
        except (ValueError, ImportError):
            continue
        mine = [i for i, row in enumerate(rows) if row is not None]
        if any(parts[i] not in ("", part) for i in mine):
            return None
        for i in mine:
            parts[i] = part
        used += [name] * bool(mine)
    if not all(parts) or len(set(parts)) < 2:
        return None
    _forget(listing, used)
    return np.array(parts)


def _forget(listing: Listing, used: Sequence[str]) -> None:
    """Tables that were used are not among what is not read."""
    for kind in ("parquet", "table"):
        listing.files[kind] = [name for name in listing.files.get(kind, ()) if name not in used]
    listing.others = {name: reason for name, reason in listing.others.items() if name not in used}


def what_tables_say(listing: Listing, files: Sequence[str]) -> str | None:
    """The way out where a table names pictures, and it is not clear which classes they are of; None without one."""
    for name in _tables(listing)[:8]:
        path = listing.root / name
        try:
            table = open_table(path, files)
            column = _classes_of(table)
            match = match_rows(table, files, [column] if column else [])
        except Contradiction as error:
            return str(error).lstrip(": ")
        except (ValueError, ImportError):
            continue
        if not match.found:
            continue
        if wrong := why_no_classes(table):
            return f"{name} {wrong}"
        if column is not None:
            alone = call_text("datasets.open_dataset", "data", path)
            return f"{name} has classes for {match.found:,} of {len(files):,} pictures. To use these alone: {alone}"
        if rest := [c for c in table.columns if c != match.column]:
            ready = option_text("labels", f"{path}:{_likely_classes(table, rest)}")
            return (
                f"{name} has the columns {', '.join(table.columns)}; say which one holds the classes, such as {ready}"
            )
    if sheet := next((name for name in listing.others if ending(name) in (".xlsx", ".xls", ".ods")), None):
        return f"{sheet} may hold the classes{way_in(sheet)}"
    return _boxes(listing)


def _classes_of(table: Table) -> str | None:
    """The column called like classes, unless it has another value in every row, as an id has."""
    column = label_column(table)
    is_id = column is not None and len(table.rows) > 3 and len(set(table.column(column))) == len(table.rows)
    return None if is_id else column


def _likely_classes(table: Table, columns: Sequence[str]) -> str:
    """The column that has few values, each several times; the last one if none has."""
    several = [c for c in columns if 2 <= len(set(table.column(c))) <= max(2, min(20, len(table.rows) // 2))]
    return (several or list(columns))[-1]


def _boxes(listing: Listing) -> str | None:
    """What to do about annotations for object detection, which give no class to a picture; None without them."""
    texts = [name for name in listing.others if ending(name) == ".txt"]
    config = next((name for name in listing.others if ending(name) in (".yaml", ".yml")), None)
    yolo = texts[0] if config and 2 * len(texts) >= len(listing.pictures) else None
    coco = next((name for name in listing.others if name.endswith(("coco.json", "annotations.json"))), None)
    if found := coco or yolo:
        return (
            f"{found} marks places in pictures, for object detection. Classes are needed: one folder a class, or a "
            "table with a line file,label and a row a picture"
        )
    return None
