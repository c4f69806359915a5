"""Tables that say something about images: a column of subjects or of classes, matched to files by whatever names them.

The separator, the encoding and the order of the columns are found out. A row may name its file by an absolute path, by
one with another beginning, by its name alone, without ending, or name a subject or session whose files it is about.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._shared import option_text, some

MISSING = ("", "nan", "na", "n/a", "none", "null", "<na>", "?", "-")
LABEL_COLUMNS = (
    *("label", "labels", "class", "classes", "diagnosis", "dx", "dx_group", "group", "target", "category", "cdr"),
    *("research_group", "class_name", "label_name"),
)
SUBJECT_COLUMNS = (
    *("subject", "subject_id", "subjectid", "participant_id", "participant", "patient", "patient_id", "patientid"),
    *("ptid", "rid", "sub", "subj"),
)
FILE_COLUMNS = ("file", "filename", "file_name", "filepath", "path", "image", "image_path", "img", "id", "image_id")
SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """A table as text: column names and rows of one length."""

    path: Path
    columns: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The values of one column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def find(self, name: str, argument: str) -> str:
        """The column of this name, whatever its case; ValueError that lists the columns."""
        by_case = {column.casefold(): column for column in reversed(self.columns)}
        if name in self.columns or name.casefold() in by_case:
            return name if name in self.columns else by_case[name.casefold()]
        near = difflib.get_close_matches(name.casefold(), by_case, n=1)
        hint = f". Did you mean {by_case[near[0]]}?" if near else ""
        ready = option_text(argument, f"{self.path}:{by_case[near[0]] if near else self.columns[-1]}")
        raise ValueError(
            f"{argument}: {self.path} has the columns {', '.join(self.columns)}, not {name!r}{hint} Such as {ready}"
        )


def read_rows(path: str | Path) -> Table:
    """Reads a .csv or .tsv file.

    Parameters
    ----------
    path : path
        Text in UTF-8, UTF-16 with its mark, or Windows-1252; separated by commas, semicolons, tabs or bars.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        No header, or rows longer than it.
    """
    path = Path(path)
    empty = f"{path}: an empty table; expected a line with the names of the columns"
    data = path.read_bytes()
    try:
        text = _decoded(data)
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            raise ValueError(empty)
        separator = _separator(lines, "\t" if path.suffix.lower() == ".tsv" else ",")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        rows = [row for row in reader if any(c.strip() for c in row)]
    except (csv.Error, UnicodeDecodeError) as error:  # a value of more than 128 KiB; UTF-16 that is cut
        raise ValueError(f"{path}: not a table: {error}") from None
    if not rows:
        raise ValueError(empty)
    columns = [name.strip() or f"column {i + 1}" for i, name in enumerate(rows[0])]
    if len(set(columns)) < len(columns):
        raise ValueError(f"{path}: the column {Counter(columns).most_common(1)[0][0]!r} is there twice")
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
            raise ValueError(f"{path}: line {number} has {len(row)} values, and there are {len(columns)} columns")
    width = len(columns)
    return Table(path, columns, [[c.strip() for c in row[:width]] + [""] * (width - len(row)) for row in rows[1:]])


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _separator(lines: list[str], default: str) -> str:
    """The sign that cuts the first lines into the same number of pieces, at least two."""
    best, most = default, 1
    for sign in dict.fromkeys([default, *SEPARATORS]):
        counts = {len(row) for row in csv.reader(lines[:50], delimiter=sign)}
        if len(counts) == 1 and (n := counts.pop()) > most:
            best, most = sign, n
    if most == 1:  # uneven lines: the sign that the header has most of
        best = max(dict.fromkeys([default, *SEPARATORS]), key=lines[0].count)
    return best


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
    best, trouble = Match(table.columns[0], [None] * len(files), len(table.rows)), None
    for way in (_by_path, _by_identity):
        if 2 * best.found >= len(files) > 0:  # most files have a row of their own: the others are missing
            break
        for column in names:
            try:
                rows = way(table, column, files, where)
            except ValueError as error:
                trouble = trouble or error
                continue
            found = Match(column, rows, len(table.rows) - len({r for r in rows if r is not None}))
            if found.found > best.found:
                best = found
            if found.found == len(files):
                return found
    if trouble is not None and best.found < len(files):
        raise trouble
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
    empty = [name for name, value in zip(files, chosen, strict=True) if value.casefold() in MISSING]
    if empty:
        shown = values[match.rows[list(files).index(empty[0])] or 0]
        raise ValueError(
            f"{argument}: {table.path} has no {column} for {len(empty):,} images ({shown!r}): {some(empty)}"
        )
    if match.surplus:
        tell(f"{table.path}: {match.surplus:,} of {len(table.rows):,} rows are about no image here")
    return np.array(chosen)


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
