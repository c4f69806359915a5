"""Tables that say something about images: a column of subjects or of classes, matched to files by whatever names them.

A row may name its file by an absolute path, by one with another beginning, by its name alone, without ending, or name
a subject or session whose files it is about.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .._shared import some
from ._read_table import Table
from ._words import normal

MISSING = ("", "nan", "na", "n/a", "none", "null", "<na>", "?", "-")
NO_CLASS = tuple(word for word in MISSING if word != "none")  # which may be a class: no tumour, no dementia
LABEL_COLUMNS = (
    *("label", "labels", "class", "classes", "diagnosis", "dx", "dx_group", "group", "target", "category", "cdr"),
    *("research_group", "class_name", "label_name"),
)
SUBJECT_COLUMNS = (
    *("subject", "subject_id", "subjectid", "participant_id", "participant", "patient", "patient_id", "patientid"),
    *("ptid", "rid", "sub", "subj"),
)
FILE_COLUMNS = ("file", "filename", "file_name", "filepath", "path", "image", "image_path", "img", "id", "image_id")


# -- rows to files ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Match:
    """Which row is about each file.

    Attributes
    ----------
    column : str
        The column that names the files.
    rows : list of int or None
        The row of each file, None for none.
    surplus : int
        Rows that are about no file.
    """

    column: str
    rows: list[int | None]
    surplus: int

    @property
    def found(self) -> int:
        """How many files have a row."""
        return sum(row is not None for row in self.rows)


def match_rows(table: Table, files: Sequence[str], skip: Sequence[str] = (), where: str = "") -> Match:
    """Matches the rows of a table to files by the column that does it best.

    Parameters
    ----------
    table : Table
    files : sequence of str
        Paths relative to the folder of images.
    skip : sequence of str
        Columns that hold what is asked for, and so cannot name files.
    where : str
        Argument that the table was given for, for messages.

    Returns
    -------
    Match

    Raises
    ------
    ValueError
        A name in the table fits several files in different folders.
    """
    names = sorted((c for c in table.columns if c not in skip), key=lambda c: c.casefold() not in FILE_COLUMNS)
    names = names or list(skip)
    best, trouble = Match(table.columns[0], [None] * len(files), len(table.rows)), dict[str, ValueError]()
    for way in (_by_path, _by_identity):
        if 2 * best.found >= len(files) > 0:  # most files have a row of their own: the others are missing
            break
        for column in names:
            try:
                rows = way(table, column, files, where)
            except ValueError as error:
                trouble.setdefault(column, error)
                continue
            found = Match(column, rows, len(table.rows) - len({r for r in rows if r is not None}))
            if found.found > best.found:
                best = found
            if found.found == len(files):
                return found
    for column, said in trouble.items():  # of other columns it says nothing: classes may be called like pictures
        if best.found == 0 or (best.found < len(files) and column.casefold() in FILE_COLUMNS):
            raise said
    return best


def _clean(path: str) -> list[str]:
    """The pieces of a path, without drive and dots."""
    pieces = re.sub(r"^[a-zA-Z]:(?=[\\/])|^\w+://", "", path.strip().strip("\"'")).replace("\\", "/").split("/")
    return [piece for piece in pieces if piece not in ("", ".", "..")]


def _stem(name: str) -> str:
    for double in (".nii.gz", ".csv.gz"):
        if name.lower().endswith(double):
            return name[: -len(double)]
    return name.rsplit(".", 1)[0] if re.search(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", name) else name


def _by_path(table: Table, column: str, files: Sequence[str], where: str) -> list[int | None]:
    """By the longest common ending of both paths; the file's ending (.png) may be missing on either side."""
    index: dict[tuple[str, ...], set[int]] = defaultdict(set)
    cut = [_cut(name) for name in files]
    for i, pieces in enumerate(cut):
        for n in range(1, len(pieces) + 1):
            index[tuple(pieces[-n:])].add(i)
    rows: list[int | None] = [None] * len(files)
    lengths = [0] * len(files)
    vague: dict[str, set[int]] = {}
    for number, text in enumerate(table.column(column)):
        pieces = _cut(text)
        for n in range(min(len(pieces), 64), 0, -1):
            hits = index.get(tuple(pieces[-n:]))
            if not hits:
                continue
            if len(hits) > 1:
                vague[text] = hits
                break
            (i,) = hits
            if n > lengths[i]:
                rows[i], lengths[i] = number, n
            elif n == lengths[i] and table.rows[rows[i] or 0] != table.rows[number]:
                _refuse_twice(table, files[i], column, rows[i] or 0, number, where)
            break
    if vague and any(rows[i] is None for hits in vague.values() for i in hits):
        name, hits = next(iter(vague.items()))
        both = " and ".join(sorted(files[i] for i in hits)[:2])
        raise ValueError(
            f"{where}: {table.path} must give paths such as {files[0]} in its column {column}: {name} may be {both}, "
            "in several folders"
        )
    return rows


def _cut(path: str) -> list[str]:
    pieces = _clean(path)
    return [*pieces[:-1], _stem(pieces[-1])] if pieces else []


def _refuse_twice(table: Table, file: str, column: str, first: int, second: int, where: str) -> None:
    a, b = table.rows[first], table.rows[second]
    place = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y and table.columns[i] != column)
    raise ValueError(
        f"{where}: {table.path} gives {file} twice, as {a[place]!r} and {b[place]!r} in {table.columns[place]}"
    )


def _by_identity(table: Table, column: str, files: Sequence[str], where: str) -> list[int | None]:
    """By the id of a subject or a session that a folder or the beginning of a file's name is: sub-01, OAS1_0028_MR1."""
    named = [(text, i) for i, text in enumerate(table.column(column)) if text.casefold() not in MISSING]
    ids = {text: i for text, i in named if len(text) >= 2}
    if len(dict(named)) < len(named):  # the same in several rows, such as a class: it names no row
        return [None] * len(files)
    rows: list[int | None] = []
    for name in files:
        row = None
        for piece in reversed(_cut(name)):
            ends = [m.start() for m in re.finditer(r"[_.\- ]|$", piece)]
            row = next((ids[piece[:end]] for end in reversed(ends) if piece[:end] in ids), None)
            if row is None:  # an id within: ADNI_002_S_0295_MR_...
                row = next((ids[p] for p in _runs(piece) if p in ids), None)
            if row is not None:
                break
        rows.append(row)
    return rows


def _runs(piece: str) -> list[str]:
    """Pieces between underscores, the longest first: a_b_c gives a_b_c, a_b, b_c, a, b, c."""
    parts = piece.split("_")[:16]
    n = len(parts)
    return ["_".join(parts[i : i + size]) for size in range(n, 0, -1) for i in range(n - size + 1)]


def values_of(
    table: Table, column: str, files: Sequence[str], argument: str, tell: Callable[[str], None]
) -> np.ndarray:
    """The value of a column for each file.

    Parameters
    ----------
    table : Table
    column : str
    files : sequence of str
    argument : str
        "groups" or "labels", for messages.
    tell : callable
        Told what is worth a note.

    Returns
    -------
    ndarray of shape (N,), str

    Raises
    ------
    ValueError
        Files without a row or without a value; the message shows an example of both sides.
    """
    require_header(table, files)
    column = table.find(column, argument)
    match = match_rows(table, files, skip=[column], where=argument)
    if match.found == 0 and (own := match_rows(table, files, where=argument)).found:
        match = own
    missing = [name for name, row in zip(files, match.rows, strict=True) if row is None]
    if missing:
        example = next((value for value in table.column(match.column) if value), "nothing")
        raise ValueError(
            f"{argument}: {table.path} has no row for {len(missing):,} of {len(files):,} images: {some(missing)}. "
            f"Images are called {missing[0]}; the column {match.column} has {example}"
        )
    values = table.column(column)
    chosen = [values[row or 0] for row in match.rows]
    missing_words = NO_CLASS if argument == "labels" else MISSING
    empty = [name for name, value in zip(files, chosen, strict=True) if value.casefold() in missing_words]
    if empty:
        shown = values[match.rows[list(files).index(empty[0])] or 0]
        raise ValueError(
            f"{argument}: {table.path} has no {column} for {len(empty):,} images ({shown!r}): {some(empty)}"
        )
    if match.surplus:
        tell(f"{table.path}: {match.surplus:,} of {len(table.rows):,} rows are about no image here")
    return np.array(chosen)


def require_header(table: Table, files: Sequence[str]) -> None:
    """ValueError for a table whose first line is about a picture already."""
    names = {name.rsplit("/", 1)[-1] for name in files}
    first = next((name for name in table.columns if (pieces := _clean(name)) and pieces[-1] in names), None)
    if first is not None:
        raise ValueError(
            f"{table.path}: its first line is about a picture ({first}). Put a line with the names of the columns "
            "above it, such as file,label"
        )


def label_column(table: Table) -> str | None:
    """The column that seems to hold classes; None if there is none or several."""
    return usual_column(table, LABEL_COLUMNS)


def subject_column(table: Table) -> str | None:
    """The column that seems to hold subjects; None if there is none."""
    return usual_column(table, SUBJECT_COLUMNS)


def usual_column(table: Table, usual: Sequence[str]) -> str | None:
    """The first of these names that the table has, whatever their case."""
    found = [column for name in usual for column in table.columns if column.casefold().replace(" ", "_") == name]
    return found[0] if found else None


def with_classes(table: Table) -> Table:
    """A table that has a column for each class, 1 where a row is of it, with one column `class` more."""
    if label_column(table) is not None or "class" in table.columns:
        return table
    flags = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
    named = {name: [flags.get(value.casefold()) for value in table.column(name)] for name in table.columns}
    ones = {name: values for name, values in named.items() if None not in values and normal(name)}
    if len(ones) < 2 or any(sum(map(bool, row)) != 1 for row in zip(*ones.values(), strict=True)):
        return table
    names = [next(name for name in ones if ones[name][i]) for i in range(len(table.rows))]
    rows = [[*row, name] for row, name in zip(table.rows, names, strict=True)]
    return Table(table.path, [*table.columns, "class"], rows)
