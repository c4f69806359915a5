"""Tables as text: .csv, .tsv and .txt in whatever encoding and with whatever separator, JSON and Parquet."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._shared import option_text
from ._walk import ending

SEPARATORS = ",;\t|"
# Words in the names of columns, by what is looked for: of a wrong name the message suggests one of these.
USUAL = {"groups": ("subject", "patient", "participant"), "labels": ("class", "label", "diagnosis", "group")}


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
        words = USUAL.get(argument, ())
        likely = (
            [by_case[near[0]]] if near else [c for c in self.columns if any(word in c.casefold() for word in words)]
        )
        hint = f". Did you mean {by_case[near[0]]}?" if near else "." if likely else ""
        ready = f" Such as {option_text(argument, f'{self.path}:{likely[0]}')}" if likely else ""
        raise ValueError(
            f"{argument}: {self.path} has the columns {', '.join(self.columns)}, not {name!r}{hint}{ready}"
        )


def read_rows(path: str | Path) -> Table:
    """Reads a .csv, .tsv or .txt file, also one packed by gzip, a .json, .jsonl or .parquet file.

    Parameters
    ----------
    path : path
        Text in UTF-8, UTF-16 or Windows-1252; separated by commas, semicolons, tabs or bars, in .txt also by blanks, or
        by what a first line such as `sep=;` says. Lines above the names of the columns that begin with # are passed
        over. JSON: a list of records, one record a line, or an object of file to class or file to record.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        No header, or rows longer than it.
    """
    path = Path(path)
    read = {".parquet": _rows_of_parquet, **dict.fromkeys((".json", ".jsonl", ".ndjson"), _rows_of_json)}
    rows = read.get(path.suffix.lower(), _rows_of_text)(path)
    if not rows:
        raise ValueError(f"{path}: an empty table; expected a line with the names of the columns")
    columns = [name.strip() or f"column {i + 1}" for i, name in enumerate(rows[0])]
    if len(set(columns)) < len(columns):
        raise ValueError(f"{path}: the column {Counter(columns).most_common(1)[0][0]!r} is there twice")
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
            raise ValueError(f"{path}: line {number} has {len(row)} values, and there are {len(columns)} columns")
    width = len(columns)
    return Table(path, columns, [[c.strip() for c in row[:width]] + [""] * (width - len(row)) for row in rows[1:]])


def _rows_of_text(path: Path) -> list[list[str]]:
    data = path.read_bytes()
    try:
        text = _decoded(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
        lines = [line for line in text.splitlines() if line.strip()]
        separator = "\t" if ".tsv" in path.name.lower() else ","
        if lines and (stated := re.fullmatch(r"sep=(.)", lines[0].strip(' "'), re.IGNORECASE)):  # as Excel writes it
            separator, text = stated[1], text.partition(lines[0])[2]
        elif lines:
            while len(lines) > 1 and re.match(r"#(\s|[^,;\t|]*$)", lines[0]):
                text, lines = text.partition(lines[0])[2], lines[1:]
            separator = _separator(lines, separator)
            if path.suffix.lower() == ".txt" and all(separator not in line for line in lines):
                return _rows_by_blanks(lines)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        return [row for row in reader if any(c.strip() for c in row)]
    except (csv.Error, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:  # such as UTF-16 that is cut
        raise ValueError(f"{path}: not a table: {error}") from None


def _rows_by_blanks(lines: list[str]) -> list[list[str]]:
    """Lines cut at blanks; at the last one only where paths have blanks, so that rows are uneven or names cut."""
    rows, at_last = [line.split() for line in lines], [line.rsplit(None, 1) for line in lines]
    is_cut = not ending(rows[-1][0]) and ending(at_last[-1][0])
    return at_last if is_cut or len({len(row) for row in rows}) > 1 else rows


def _rows_of_json(path: Path) -> list[list[str]]:
    """Records, or an object of name to class or to record; ValueError for anything else."""
    try:
        text = _decoded(path.read_bytes())
        given = (
            json.loads(text)
            if path.suffix.lower() == ".json"
            else list(map(json.loads, filter(str.strip, text.splitlines())))
        )
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if isinstance(given, dict):
        given = [
            {"file": name, **(value if isinstance(value, dict) else {"label": value})} for name, value in given.items()
        ]
    if not isinstance(given, list) or not given or not all(isinstance(row, dict) for row in given):
        raise ValueError(f"{path}: expected a list of records, or an object of file to class")
    columns = [name for name in dict.fromkeys(key for row in given for key in row)]
    plain = [c for c in columns if not any(isinstance(row.get(c), (dict, list)) for row in given)]
    return [plain, *([_text_of(row.get(name)) for name in plain] for row in given)] if plain else []


def _rows_of_parquet(path: Path) -> list[list[str]]:
    """The columns that are text or numbers."""
    parquet = require_pyarrow(str(path))
    try:
        plain = [f.name for f in parquet.read_schema(path) if not (f.type.num_fields or "binary" in str(f.type))]
        made = parquet.read_table(path, columns=plain)
        columns = [[_text_of(value) for value in made[name].to_pylist()] for name in plain]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    return [plain, *(list(row) for row in zip(*columns, strict=True))] if plain else []


def _text_of(value: Any) -> str:
    is_whole = isinstance(value, float) and value.is_integer()  # as pandas has whole numbers beside missing ones
    return "" if value is None else str(int(value)) if is_whole else str(value)


def require_pyarrow(name: str) -> Any:
    """pyarrow.parquet; ImportError with the line to type."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            f"{name}: Parquet files are read by pyarrow, which is not installed. Type: pip install pyarrow"
        ) from None
    return pyarrow.parquet


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    for odd, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # without its mark: every other byte of ASCII is 0
        if len(data) > 3 and not any(data[odd:200:2]):
            return data.decode(encoding)
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
