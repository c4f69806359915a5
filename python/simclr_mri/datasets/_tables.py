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
from ._walk import EXTENSIONS, PILLOW_EXTENSIONS, ending
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


class Contradiction(ValueError):
    """A table that says two things of one picture or subject."""


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
    for way in (_by_path, _by_identity, _by_number):
        if 2 * best.found >= len(files) > 0:  # most files have a row of their own: the others are missing
            break
        if way is not _by_path and best.surplus == 0 and _names_pictures(table.column(best.column)):
            break  # each row names its picture: the other files are not meant, though names of subjects fit them too
        for column in names:
            try:
                rows = way(table, column, files, where, skip)
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


def _names_pictures(values: Sequence[str]) -> bool:
    """Whether a column holds names of files with their ending."""
    return len(values) > 0 and all(ending(value) in (*EXTENSIONS, *PILLOW_EXTENSIONS) for value in values)


def _clean(path: str) -> list[str]:
    """The pieces of a path, without drive and dots."""
    pieces = re.sub(r"^[a-zA-Z]:(?=[\\/])|^\w+://", "", path.strip().strip("\"'")).replace("\\", "/").split("/")
    return [piece for piece in pieces if piece not in ("", ".", "..")]


def _stem(name: str) -> str:
    for double in (".nii.gz", ".csv.gz"):
        if name.lower().endswith(double):
            return name[: -len(double)]
    return name.rsplit(".", 1)[0] if re.search(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", name) else name


def _by_path(table: Table, column: str, files: Sequence[str], where: str, asked: Sequence[str]) -> list[int | None]:
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
    raise Contradiction(
        f"{where}: {table.path} gives {file} twice, as {a[place]!r} and {b[place]!r} in {table.columns[place]}"
    )


def _by_identity(table: Table, column: str, files: Sequence[str], where: str, asked: Sequence[str]) -> list[int | None]:
    """By the id of a subject or a session that a folder or the beginning of a file's name is: sub-01, OAS1_0028_MR1."""
    named = [(text, i) for i, text in enumerate(table.column(column)) if text.casefold() not in MISSING]
    ids = {text: i for text, i in named if len(text) >= 2}
    if len(dict(named)) < len(named) and not _repeats_agree(table, column, files, where, asked):
        return [None] * len(files)  # the same in several rows, such as a class: it names no row
    rows: list[int | None] = []
    for name in files:
        row = None
        for piece in reversed(_cut(name)):
            for start in dict.fromkeys((piece, piece.removeprefix("sub-"))):  # BIDS, whose table may lack the prefix
                ends = [m.start() for m in re.finditer(r"[_.\- ]|$", start)]
                row = next((ids[start[:end]] for end in reversed(ends) if start[:end] in ids), row)
            if row is None:  # an id within: ADNI_002_S_0295_MR_...
                row = next((ids[p] for p in _runs(piece) if p in ids), None)
            if row is not None:
                break
        rows.append(row)
    return rows


def _repeats_agree(table: Table, column: str, files: Sequence[str], where: str, asked: Sequence[str]) -> bool:
    """Whether rows of the same id, such as visits of a subject, say the same of what is asked; ValueError if not.

    Only for columns that are called like subjects: of others it says nothing that values repeat.
    """
    if column.casefold().replace(" ", "_") not in SUBJECT_COLUMNS or not asked:
        return False
    said: dict[str, str] = {}
    whole = "\n".join(files)
    for text, value in zip(table.column(column), table.column(asked[0]), strict=True):
        if said.setdefault(text, value) != value and text in whole:
            raise Contradiction(
                f"{where}: {table.path} gives {text} twice, as {said[text]!r} and {value!r} in {asked[0]}. Keep one row"
            )
    return True


def _by_number(table: Table, column: str, files: Sequence[str], where: str, asked: Sequence[str]) -> list[int | None]:
    """By a number that a spreadsheet took the leading zeros of: 7 for 0007.png, or for the folder 0007."""
    values = table.column(column)
    numbers = {int(text): row for row, text in enumerate(values) if text.isdecimal()}
    none: list[int | None] = [None] * len(files)
    if len(numbers) < len(values) or not numbers:
        return none
    stems = [pieces[-1] if (pieces := _cut(name)) else "" for name in files]
    if len(set(stems)) == len(files):
        return [numbers.get(int(stem)) if stem.isdecimal() else None for stem in stems]
    folders = [[piece for piece in _cut(name)[:-1] if piece.isdecimal()] for name in files]
    return [numbers.get(int(found[0])) if len(found) == 1 else None for found in folders]


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
        "" for images that a table of labels knows and gives no class, unless that is all of them.

    Raises
    ------
    ValueError
        Files without a row, or without a subject; the message shows an example of both sides.
    """
    table = with_header(table, files)
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
    if argument == "labels" and len(empty) < len(files):
        chosen = ["" if value.casefold() in missing_words else value for value in chosen]
    elif empty:
        shown = values[match.rows[list(files).index(empty[0])] or 0]
        raise ValueError(
            f"{argument}: {table.path} has no {column} for {len(empty):,} images ({shown!r}): {some(empty)}"
        )
    if match.surplus:
        tell(f"{table.path}: {match.surplus:,} of {len(table.rows):,} rows are about no image here")
    return np.array(chosen)


def with_header(table: Table, files: Sequence[str]) -> Table:
    """The table itself; if its first line is about a picture already, with that line as a row and columns named so.

    Two columns without names are `file` and `label`; of more, those that name no picture are `column 2`, `column 3`.
    """
    ends = {name.rsplit("/", 1)[-1] for name in files}
    of_files = [i for i, name in enumerate(table.columns) if (pieces := _clean(name)) and pieces[-1] in ends]
    if not of_files:
        return table
    names = [f"column {i + 1}" for i in range(len(table.columns))]
    names[of_files[0]] = "file"
    if len(names) == 2:
        names[1 - of_files[0]] = "label"
    return Table(table.path, names, [table.columns, *table.rows])


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
    ones = _columns_of_classes(table)
    if len(ones) < 2 or any(sum(row) != 1 for row in zip(*ones.values(), strict=True)):
        return table
    names = [next(name for name in ones if ones[name][i]) for i in range(len(table.rows))]
    rows = [[*row, name] for row, name in zip(table.rows, names, strict=True)]
    return Table(table.path, [*table.columns, "class"], rows)


def why_no_classes(table: Table) -> str:
    """What is wrong with a table that has a column for each class: rows of several classes, or of none; or ""."""
    ones = _columns_of_classes(table)
    if len(ones) < 2 or len(ones) < len(table.columns) - 1:
        return ""
    for i, row in enumerate(zip(*ones.values(), strict=True)):
        if sum(row) != 1:
            named = [name for name, one in zip(ones, row, strict=True) if one]
            found = f"several classes ({some(named, 3)})" if named else "none"
            return f"has a column for each class, and its row {i + 1} is of {found}. Each picture needs one class"
    return ""


def _columns_of_classes(table: Table) -> dict[str, list[bool]]:
    """The columns that hold nothing but 0 and 1; none where another column holds the classes."""
    if label_column(table) is not None or "class" in table.columns:
        return {}
    flags = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
    named = {name: [flags.get(value.casefold()) for value in table.column(name)] for name in table.columns}
    return {name: list(map(bool, values)) for name, values in named.items() if None not in values and normal(name)}
