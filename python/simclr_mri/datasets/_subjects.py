"""Who is in each picture: subjects from a table, a pattern over file names, or a function."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import read_table, some

Groups = str | Path | tuple[str | Path, str] | Callable[[str], str | int] | None


def resolve_groups(groups: Groups, root: Path, files: Sequence[str]) -> np.ndarray | None:
    """The subject of each file by a table, a pattern or a function.

    Parameters
    ----------
    groups : str, tuple, callable or None
        "table.csv:column" or ("table.csv", "column"); a regular expression with one group over the relative file name;
        or a function of it that returns a str or an int.
    root : Path
        Where a relative path of the table is looked for, after the current folder.
    files : sequence of str

    Returns
    -------
    ndarray of shape (N,), str, or None
    """
    if groups is None:
        return None
    if callable(groups):
        return np.array([_named(groups(name), name) for name in files])
    if isinstance(groups, tuple):
        return _by_table(_find_table(groups[0], root), groups[1], files)
    text = str(groups)
    table, _, column = text.rpartition(":")
    if table.lower().endswith((".csv", ".tsv")):
        return _by_table(_find_table(table, root), column, files)
    if text.lower().endswith((".csv", ".tsv")):
        return _by_table(_find_table(text, root), "subject", files)
    return _by_pattern(text, files)


def _named(subject: Any, file: str) -> str:
    """What a function of the file name returned; a match or None made into text would be a subject of its own."""
    if isinstance(subject, (str, int, np.integer)) and not isinstance(subject, bool) and subject != "":
        return str(subject)
    hint = "; a match has it as match[1]" if isinstance(subject, re.Match) else ""
    raise TypeError(f"groups({file!r}): expected a str that is not empty or an int, got {subject!r}{hint}")


def _find_table(path: str | Path, root: Path) -> Path:
    for candidate in (Path(path).expanduser(), root / path, root.parent / path):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"groups: no table {path}, neither here nor in {root}")


def _by_pattern(pattern: str, files: Sequence[str]) -> np.ndarray:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"groups: {pattern!r} is neither a .csv file nor a regular expression ({error})") from None
    if compiled.groups != 1:
        raise ValueError(
            f"groups: expected one group in parentheses in the pattern {pattern!r}, got {compiled.groups}, "
            f"such as r'(sub-\\d+)_'"
        )
    matches = [compiled.search(name) for name in files]
    missing = [name for name, match in zip(files, matches, strict=True) if match is None or match[1] is None]
    if missing:
        raise ValueError(
            f"groups: {pattern!r} does not match {len(missing):,} of {len(files):,} files: {some(missing)}"
        )
    return np.array([match[1] for match in matches])


def _by_table(path: Path, column: str, files: Sequence[str]) -> np.ndarray:
    """Matches rows to files by relative path, or by file name where that is unique."""
    columns, rows = read_table(path)
    if column not in columns:
        near = difflib.get_close_matches(column, columns, n=1)
        hint = f". Did you mean {near[0]}?" if near else ""
        raise ValueError(f"groups: {path} has the columns {', '.join(columns)}, not {column!r}{hint}")
    key = next((c for c in columns if c.lower() in ("file", "filename", "file_name", "path", "image")), columns[0])
    table: dict[str, str] = {}
    for row in rows:
        name, value = row[key].replace("\\", "/").removeprefix("./"), row[column]
        if table.setdefault(name, value) != value:
            raise ValueError(f"groups: {path} gives {name} twice, as {table[name]!r} and {value!r}")
    names = list(files)
    if not any(name in table for name in names):
        short = [name.rsplit("/", 1)[-1] for name in files]
        repeated = [name for name, n in Counter(short).items() if n > 1]
        if repeated and any(name in table for name in repeated):
            raise ValueError(f"groups: {path} must give paths such as {files[0]}: {repeated[0]} is in several folders")
        names = short
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"groups: {path} has no row for {len(missing):,} of {len(files):,} images: {some(missing)}")
    extra = sorted(set(table) - set(names))
    if extra:
        raise ValueError(f"groups: {path} has rows for {len(extra):,} images that are not there: {some(extra)}")
    empty = [name for name in names if not (table[name] or "").strip()]
    if empty:
        raise ValueError(f"groups: {path} has no {column} for {len(empty):,} images: {some(empty)}")
    return np.array([table[name] for name in names])
