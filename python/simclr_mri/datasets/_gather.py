"""What is known about files before a pixel is read: classes, parts, subjects, slices, and what is left out.

Pictures and volumes go the same way: folders or a table give the classes, a table or the names give the subjects.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._shared import call_text, natural_key, option_text, some
from ._by_table import by_table, by_tables_beside, parts_by_lists, said_of, what_tables_say
from ._class_names import in_order, natural_order, parse_merge
from ._found import Asked, Found
from ._layout import AmbiguousLayout, Layout, find_layout
from ._names import known_names
from ._subjects import Groups, resolve_groups, suspicions, table_and_column
from ._walk import EXTENSIONS, Listing, counted_by_reason, ending
from ._words import is_numbered_person


def gather(
    listing: Listing,
    files: Sequence[str],
    asked: Asked,
    own_subjects: Sequence[str] | None = None,
    *,
    by_folders: bool = True,
) -> Found:
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
    by_folders : bool
        Whether folders may be classes.

    Returns
    -------
    Found
    """
    if asked.labels is not None:
        found = by_table(listing.root, files, asked.labels, own_subjects)
    elif asked.labelled is False:
        found = Found(listing.root, list(files), reading=f"{len(files):,} files without labels")
    else:
        found = _by_folders(listing, files, asked, own_subjects, by_folders)
    for path in asked.tables(listing.root):
        _is_read(listing, path)
    unread = {name: ending(name) or "files without ending" for name in _unread(listing, files)}
    found.others = {**listing.others, **unread, **found.others}
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


def _is_read(listing: Listing, path: Path) -> None:
    """Takes a table that was asked for out of what is not read."""
    if path.is_relative_to(listing.root):
        name = path.relative_to(listing.root).as_posix()
        listing.others.pop(name, None)
        listing.files = {kind: [n for n in names if n != name] for kind, names in listing.files.items()}


def _by_folders(
    listing: Listing, files: Sequence[str], asked: Asked, own_subjects: Sequence[str] | None, by_folders: bool
) -> Found:
    layout, trouble = None, None
    if by_folders:
        try:
            layout = find_layout(listing, files, asked.layout)
        except AmbiguousLayout as error:  # a table may tell
            trouble = error
    if asked.layout is None and (layout is None or len(layout.classes) < 2):
        if beside := by_tables_beside(listing, files, layout, own_subjects):
            return beside
        said = what_tables_say(listing, files)
    else:
        said = None
    if trouble is not None and said is None:
        raise trouble
    if said is not None and (trouble is not None or (asked.labelled and layout is not None and layout.labels is None)):
        raise ValueError(f"{listing.root}: no class folders. {said}. {_without_labels(listing.root)}")
    if layout is None:
        found = Found(listing.root, list(files), reading=f"{len(files):,} files without labels")
        found.notes += [f"{listing.root}: {said}"] if said else []
        return found
    if layout.labels is None and asked.labelled:
        raise ValueError(_no_classes(listing, layout))
    found = Found(listing.root, layout.files, None, layout.classes, reading=layout.reading, others=layout.others)
    found.labels = None if layout.labels is None else np.array(layout.labels, np.int64)
    found.parts = None if layout.parts is None else np.array(layout.parts)
    if layout.classes and asked.layout is None and found.parts is None:
        found.parts = parts_by_lists(listing, layout.files)
        found.reading += "" if found.parts is None else "; parts by lists: " + said_of(found).split("; ")[1]
    found.subjects = None if layout.subjects is None else np.array(layout.subjects)
    found.notes += [f"{listing.root}: {said}"] if said else []
    return found


def _without_labels(root: Path) -> str:
    return f"Or read them without labels: {call_text('datasets.open_dataset', 'pretrain', root, labelled=False)}"


def _no_classes(listing: Listing, layout: Layout) -> str:
    """What to do about pictures without class folders."""
    root = listing.root
    unlabelled = _without_labels(root)
    if layout.parts is not None:
        names = ", ".join(dict.fromkeys(layout.parts))
        text = f"{root}: no class folders, the images lie in {names} directly. Put each class into a folder of its own."
        return f"{text} {unlabelled}"
    above = root.absolute().parent
    siblings = [p for p in sorted(above.iterdir()) if p.is_dir() and p.name[0] not in "._" and _has_pictures(p)]
    if begin := _beginnings(layout.files):
        pattern = option_text("labels", "^([A-Za-z]+(?:[-_ ][A-Za-z]+)*)")
        hint = f"Their names begin with {some(begin, 6)}. If these are the classes: {pattern}."
    elif len(siblings) >= 2:
        # As it was typed, where that says enough.
        shown = root.parent if len(root.parts) > 1 and root.name != ".." else above
        hint = f"Did you mean the folder above, {shown}, with the classes {some([p.name for p in siblings], 6)}?"
    else:
        hint = "Put each class into a folder of its own."
    return f"{root}: wrong folder level, the images lie in it directly. {hint} {unlabelled}"


def _beginnings(files: Sequence[str]) -> list[str]:
    """The words that the names begin with, if there are a few and each is there twice: AD_1.png, CN_1.png."""
    found = [re.match(r"[A-Za-z]+(?:[-_ ][A-Za-z]+)*(?=[-_ (]*\d)", name) for name in files]
    counts = Counter(match[0] for match in found if match)
    fits = all(found) and 2 <= len(counts) <= 12 and min(counts.values()) >= 2
    return sorted(counts, key=natural_key) if fits else []


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
    elif found.subjects is None and (folders := _folders_of_persons(found)) is not None:
        found.subjects = np.array(folders)
        found.reading += f"; {len(set(folders)):,} subjects by folder, such as {folders[0]}"
    if given and found.subjects is not None:
        odd = suspicions(found.subjects, found.labels, found.classes, of_images=own is None)
        found.notes += [f"subjects: {text}" for text in odd]


def _folders_of_persons(found: Found) -> list[str] | None:
    """The folder of each file that is called like a person with a number; None if there is not one for every file."""
    names = [next((piece for piece in name.split("/")[:-1] if is_numbered_person(piece)), "") for name in found.files]
    if found.labels is not None and len(set(zip(names, found.labels.tolist(), strict=True))) > len(set(names)):
        # The numbers begin anew in each class.
        names = [name and f"{found.classes[c]}/{name}" for name, c in zip(names, found.labels.tolist(), strict=True)]
    return names if all(names) and len(set(names)) > 1 else None


def _resolved(found: Found, groups: Groups, own: dict[str, str] | None) -> np.ndarray | None:
    try:
        return resolve_groups(groups, found.root, found.files, found.notes.append)
    except ValueError:
        if own is None or table_and_column(groups) is None:
            raise
    return resolve_groups(groups, found.root, [own[name] for name in found.files], found.notes.append)
