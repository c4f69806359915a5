"""What is known about files before a pixel is read: classes, parts, subjects, slices, and what is left out.

Pictures and volumes go the same way: folders or a table give the classes, a table or the names give the subjects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import call_text, natural_key, option_text, some
from ._class_names import in_order, natural_order, parse_merge
from ._layout import Layout, find_layout
from ._names import known_names
from ._subjects import Groups, find_table, resolve_groups, suspicions, table_and_column
from ._tables import Table, label_column, match_rows, read_rows, subject_column, values_of
from ._walk import EXTENSIONS, Listing, counted_by_reason, ending
from ._words import normal


@dataclass(eq=False)
class Found:
    """Files and what is known of each; all lists are in the same order.

    Attributes
    ----------
    root : Path
    files : list of str
        Relative to `root`.
    labels : ndarray of shape (N,), int, or None
        Index into `classes`.
    classes : list of str
    parts, subjects : ndarray of shape (N,), str, or None
    slices : ndarray of shape (N,), int, or None
    reading : str
        How the folder was understood, in one line.
    notes : list of str or Warning
        What the user should know before believing a result.
    others : dict of str to str
        Files that are not read, and why.
    """

    root: Path
    files: list[str]
    labels: np.ndarray | None = None
    classes: list[str] = field(default_factory=list)
    parts: np.ndarray | None = None
    subjects: np.ndarray | None = None
    slices: np.ndarray | None = None
    reading: str = ""
    notes: list[str | Warning] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What the caller wants of the files; see `ImageFolder`."""

    groups: Groups = None
    labels: Any = None
    layout: str | None = None
    merge: Any = None
    class_order: Sequence[str] | str | None = None
    labelled: bool | None = True

    def options(self) -> dict[str, Any]:
        """By name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def tables(self, root: Path) -> list[Path]:
        """Those that name subjects or classes, as far as they are there."""
        found = []
        for argument in ("groups", "labels"):
            given = getattr(self, argument)
            named = None if given is None or callable(given) else table_and_column(given)
            if named is not None:
                with contextlib.suppress(FileNotFoundError):
                    found.append(find_table(named[0], root, argument))
        return found


def gather(listing: Listing, files: Sequence[str], asked: Asked, own_subjects: Sequence[str] | None = None) -> Found:
    """Finds classes, parts and subjects.

    Parameters
    ----------
    listing : Listing
    files : sequence of str
        The pictures, or the places of volumes, in `listing.root`.
    asked : Asked
        With `labelled` None, a folder without classes is read without labels.
    own_subjects : sequence of str or None
        Whose each file is by its content, such as DICOM's tags.

    Returns
    -------
    Found
    """
    others = {**listing.others, **{n: ending(n) or "files without ending" for n in _unread(listing, files)}}
    if asked.labels is not None:
        found = _by_table(listing, files, asked.labels)
    elif asked.labelled is False:
        found = Found(listing.root, list(files), reading=f"{len(files):,} files without labels")
    else:
        found = _by_folders(listing, files, asked)
    found.others = {**others, **found.others}
    arrange(found, asked)
    _name_subjects(found, asked, dict(zip(files, own_subjects, strict=True)) if own_subjects is not None else None)
    found.notes += listing.notes
    if said := counted_by_reason(found.others):
        found.notes.append(f"{listing.root}: not read: {said}")
    return found


def _unread(listing: Listing, files: Sequence[str]) -> list[str]:
    known = set(files)
    return [name for names in listing.files.values() for name in names if name not in known]


# -- classes ----------------------------------------------------------------------------------------------------------


def _by_folders(listing: Listing, files: Sequence[str], asked: Asked) -> Found:
    layout = find_layout(listing, files, asked.layout)
    if len(layout.classes) < 2 and asked.layout is None and (beside := _tables_beside(listing, files)):
        return _by_table(listing, files, beside)
    if layout.labels is None and asked.labelled:
        raise ValueError(_no_classes(listing, layout))
    found = Found(listing.root, layout.files, None, layout.classes, reading=layout.reading, others=layout.others)
    found.labels = None if layout.labels is None else np.array(layout.labels, np.int64)
    found.parts = None if layout.parts is None else np.array(layout.parts)
    found.subjects = None if layout.subjects is None else np.array(layout.subjects)
    return found


def _tables_beside(listing: Listing, files: Sequence[str]) -> tuple[Path, str] | None:
    """The one table under the root that has a column of classes and a row for every file."""
    fitting = []
    for name in listing.files.get("table", ()):
        try:
            table = read_rows(listing.root / name)
            column = label_column(table)
            if column is not None and match_rows(table, files, [column]).found == len(files):
                fitting.append((listing.root / name, column))
        except ValueError:
            continue
    return fitting[0] if len(fitting) == 1 else None


def _by_table(listing: Listing, files: Sequence[str], labels: Any) -> Found:
    """Classes by a table, and the parts and subjects that it has too."""
    named = table_and_column(labels)
    if named is None:
        raise ValueError(f"labels: expected a table such as 'table.csv:column', got {labels!r}")
    table = read_rows(find_table(named[0], listing.root, "labels"))
    column = _class_column(table, named[1])
    found = Found(listing.root, list(files), reading=f"classes from {table.path.name}, column {column}")
    values = values_of(table, column, files, "labels", found.notes.append)
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


def _no_classes(listing: Listing, layout: Layout) -> str:
    """What to do about pictures without class folders."""
    root = listing.root
    unlabelled = f"Or read them without labels: {call_text('datasets.open_dataset', 'pretrain', root, labelled=False)}"
    if layout.parts is not None:
        names = ", ".join(dict.fromkeys(layout.parts))
        text = f"{root}: no class folders, the images lie in {names} directly. Put each class into a folder of its own."
        return f"{text} {unlabelled}"
    above = root.absolute().parent
    siblings = [p for p in sorted(above.iterdir()) if p.is_dir() and p.name[0] not in "._" and _has_pictures(p)]
    if len(siblings) >= 2:
        # As it was typed, where that says enough.
        shown = root.parent if len(root.parts) > 1 and root.name != ".." else above
        hint = f"Did you mean the folder above, {shown}, with the classes {some([p.name for p in siblings], 6)}?"
    else:
        hint = "Put each class into a folder of its own."
    return f"{root}: wrong folder level, the images lie in it directly. {hint} {unlabelled}"


def _has_pictures(folder: Path) -> bool:
    try:
        return any(ending(p.name) in EXTENSIONS for p in folder.iterdir())
    except OSError:
        return False


def arrange(found: Found, asked: Asked) -> np.ndarray:
    """Joins and orders the classes, and the files by class; returns where each file was before."""
    if found.labels is None:
        if asked.merge or asked.class_order:
            raise ValueError("merge, class_order: the images have no labels")
        return np.arange(len(found.files))
    joined = {name: [name] for name in found.classes}
    if asked.merge:
        joined = parse_merge(asked.merge, natural_order(found.classes))
    order = natural_order(list(joined))
    if asked.class_order is not None:
        order = in_order(asked.class_order, list(joined))
    place = {old: order.index(new) for new, olds in joined.items() for old in olds}
    table = np.array([place[name] for name in found.classes], np.int64)
    found.labels, found.classes = table[found.labels], order
    by_class = np.argsort(found.labels, kind="stable")
    found.files = [found.files[i] for i in by_class]
    found.labels = found.labels[by_class]
    for name in ("parts", "subjects", "slices"):
        values = getattr(found, name)
        setattr(found, name, None if values is None else values[by_class])
    if len(order) == 1:
        found.notes.append(f"{found.root}: one class only ({order[0]}); enough to pretrain, not to classify")
    return by_class


# -- subjects ---------------------------------------------------------------------------------------------------------


def _name_subjects(found: Found, asked: Asked, own: dict[str, str] | None) -> None:
    """Subjects as asked for, by the table of classes, by the files' content or by their names."""
    named = known_names(found.files)
    if named is not None and named.slices is not None and own is None and found.slices is None:
        found.slices = np.array(named.slices)
    given = asked.groups is not None or found.subjects is not None
    if asked.groups is not None:
        found.subjects = _resolved(found, asked.groups, own)
    elif found.subjects is None and own is not None:
        found.subjects = np.array([own[name] for name in found.files])
    elif found.subjects is None and named is not None:
        found.subjects = np.array(named.subjects)
        found.reading += f"; subjects by their names ({named.scheme})"
    if given and found.subjects is not None:
        odd = suspicions(found.subjects, found.labels, found.classes, of_images=own is None)
        found.notes += [f"subjects: {text}" for text in odd]


def _resolved(found: Found, groups: Groups, own: dict[str, str] | None) -> np.ndarray | None:
    try:
        return resolve_groups(groups, found.root, found.files, found.notes.append)
    except ValueError:
        if own is None or table_and_column(groups) is None:
            raise
    return resolve_groups(groups, found.root, [own[name] for name in found.files], found.notes.append)
