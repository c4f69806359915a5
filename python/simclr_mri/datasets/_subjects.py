"""Who is in each image: by a table, a pattern over file names or a function; and what is suspicious about it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import option_text, some
from ._read_table import read_rows
from ._tables import MISSING, subject_column, values_of
from ._walk import PARQUET_EXTENSIONS, TABLE_EXTENSIONS, TEXT_EXTENSIONS

Groups = str | Path | tuple[str | Path, str] | Callable[[str], str | int] | None


def resolve_groups(
    groups: Groups, root: Path, files: Sequence[str], tell: Callable[[str], None] = lambda text: None
) -> np.ndarray | None:
    """The subject of each file by a table, a pattern or a function.

    Parameters
    ----------
    groups : str, tuple, callable or None
        "table.csv:column" or ("table.csv", "column"); a regular expression with one group over the relative file name;
        or a function of it that returns a str or an int.
    root : Path
        Where a relative path of the table is looked for, after the current folder.
    files : sequence of str
    tell : callable
        Told what is worth a note, such as rows of the table that are about no image.

    Returns
    -------
    ndarray of shape (N,), str, or None
    """
    if groups is None:
        return None
    if callable(groups):
        return np.array([_named(groups(name), name) for name in files])
    named = table_and_column(groups)
    if named is None:
        return by_pattern(str(groups), files, "groups")
    table = read_rows(find_table(named[0], root, "groups"))
    column = (subject_column(table) or "subject") if named[1] is None else named[1]
    return values_of(table, column, files, "groups", tell)


def table_and_column(given: Any) -> tuple[str | Path, str | None] | None:
    """The table and its column; None if `given` is no table. The column is None where it is to be found out."""
    if isinstance(given, tuple):
        return given
    text = str(given)
    table, _, column = text.rpartition(":")
    endings = (*TABLE_EXTENSIONS, *TEXT_EXTENSIONS, *PARQUET_EXTENSIONS)
    if table.lower().endswith(endings):
        return table, column
    return (text, None) if text.lower().endswith(endings) else None


def find_table(path: str | Path, root: Path, argument: str) -> Path:
    """The table, looked for here, in the folder of images and beside it."""
    for candidate in (Path(path).expanduser(), root / path, root.parent / path):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{argument}: no table {path}, neither here nor in {root}")


def _named(subject: Any, file: str) -> str:
    """What a function of the file name returned; a match or None made into text would be a subject of its own."""
    if isinstance(subject, (str, int, np.integer)) and not isinstance(subject, bool) and subject != "":
        return str(subject)
    hint = "; a match has it as match[1]" if isinstance(subject, re.Match) else ""
    raise TypeError(f"groups({file!r}): expected a str that is not empty or an int, got {subject!r}{hint}")


def by_pattern(pattern: str, files: Sequence[str], argument: str) -> np.ndarray:
    """What the one group of a regular expression finds in each file's name; `argument` is for messages."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"{argument}: '{pattern}' is neither a table (.csv) nor a regular expression ({error})"
        ) from None
    if compiled.groups != 1:
        example = r"(sub-\d+)_" if argument == "groups" else "([a-z]+)_"
        raise ValueError(
            f"{argument}: expected a table such as 'table.csv:column', or one group in parentheses in the pattern "
            f"'{pattern}', which has {compiled.groups}. Such as {option_text(argument, example)}"
        )
    matches = [compiled.search(name) for name in files]
    missing = [name for name, match in zip(files, matches, strict=True) if match is None or match[1] is None]
    if missing:
        raise ValueError(
            f"{argument}: '{pattern}' does not match {len(missing):,} of {len(files):,} files: {some(missing)}. "
            f"Change it so that its group finds {'the subject' if argument == 'groups' else 'the class'} in each"
        )
    return np.array([match[1] for match in matches if match is not None])


def suspicions(
    subjects: np.ndarray, labels: np.ndarray | None, classes: Sequence[str], *, of_images: bool = True
) -> list[str]:
    """What looks wrong about subjects, in words.

    Parameters
    ----------
    subjects : ndarray of shape (N,), str
    labels : ndarray of shape (N,), int, or None
    classes : sequence of str
    of_images : bool
        False if these are subjects of volumes, where one each is nothing odd.

    Returns
    -------
    list of str
        One image each; one subject for all; names that mean "unknown"; names that differ in form only; several classes.

    Examples
    --------
    >>> suspicions(np.array(["1", "1.0", "2", "2"]), None, ())
    ["'1' and '1.0' may be the same subject"]
    """
    names, counts = np.unique(subjects, return_counts=True)
    found = []
    if of_images and len(names) > 1 and counts.max() == 1:
        found.append(
            f"each of the {len(names):,} subjects has one image, so splitting by subject is splitting by image"
        )
    if of_images and len(names) == 1 and len(subjects) > 1:
        found.append(f"all {len(subjects):,} images are of one subject ({names[0]})")
    unknown = [name for name in names if name.casefold().strip() in MISSING]
    if unknown:
        found.append(f"{int(counts[np.isin(names, unknown)].sum()):,} images are of the subject {unknown[0]!r}")
    forms: dict[str, list[str]] = defaultdict(list)
    for name in names.tolist():
        forms[_form(name)].append(name)
    same = [alike for alike in forms.values() if len(alike) > 1]
    if same:
        more = f", and {len(same) - 1:,} more such pairs" if len(same) > 1 else ""
        found.append(f"{' and '.join(map(repr, same[0][:3]))} may be the same subject{more}")
    if labels is not None and len(classes) > 1:
        several = (
            [n for n in names.tolist() if len(np.unique(labels[subjects == n])) > 1] if len(names) < 20_000 else []
        )
        if several:
            where = ", ".join(classes[c] for c in np.unique(labels[subjects == several[0]]))
            found.append(
                f"{len(several):,} of {len(names):,} subjects are in several classes, such as {several[0]} ({where})"
            )
    return found


def _form(name: str) -> str:
    """A name without what often differs between tables: case, blanks, leading zeros, ".0"."""
    text = re.sub(r"\s+", "", name.casefold())
    text = re.sub(r"^(\D*\d+)\.0+$", r"\1", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)
