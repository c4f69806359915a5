"""Class folders: which files there are, who is in them, and reading them all at once.

Everything a user can get wrong about a folder is told here in words: a missing folder, the wrong level, an empty class,
a file that is no image, subject tables that do not fit.
"""

from __future__ import annotations

import csv
import difflib
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from ._dataset import DataWarning, check_path
from ._machine import check_images_fit, n_threads

EXTENSIONS = (".jpg", ".jpeg", ".png")
OTHER_IMAGES = (".bmp", ".dcm", ".gif", ".gz", ".nii", ".tif", ".tiff", ".webp")

PART_NAMES = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")

Groups = str | Path | tuple[str | Path, str] | Callable[[str], str | int] | None


def natural_key(text: str) -> list[tuple[bool, int, str]]:
    """Sorts `non_2.jpg` before `non_10.jpg`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text)]


def _hidden(path: Path) -> bool:
    """Folders that start with a dot or an underscore hold no classes (`_masks`, `.ipynb_checkpoints`)."""
    return path.name.startswith((".", "_"))


def _subfolders(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.is_dir() and not _hidden(p)), key=lambda p: natural_key(p.name))


def _is_image(entry: os.DirEntry) -> bool:
    return entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".") and entry.is_file()


def _files_below(folder: Path) -> list[os.DirEntry]:
    """Files in a folder and in the folders below, but for hidden ones.

    A list, not a generator as of `Path.rglob`: a Ctrl-C that reaches a generator while it is closed is lost.
    """
    files: list[os.DirEntry] = []
    left: list[str | os.DirEntry] = [str(folder)]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files.append(entry)
                elif not entry.name.startswith((".", "_")) and not entry.is_symlink():
                    left.append(entry)
    return files


def _images_below(folder: Path) -> list[str]:
    start = len(os.path.join(folder, ""))
    found = [entry.path[start:].replace(os.sep, "/") for entry in _files_below(folder) if _is_image(entry)]
    return sorted(found, key=natural_key)


def _has_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any([_is_image(entry) for entry in entries])


def check_root(root: str | Path) -> Path:
    """`root` as a path, or an error that names the nearest folder that does exist."""
    root = check_path(root, "root").expanduser()
    if root.is_dir():
        return root
    if root.exists():
        raise NotADirectoryError(f"{root}: expected a folder, found a file")
    parent = next(p for p in (root.absolute()).parents if p.is_dir())
    near = difflib.get_close_matches(root.name, [p.name for p in parent.iterdir() if p.is_dir()], n=1)
    hint = f". Did you mean {parent / near[0]}?" if near and parent == root.absolute().parent else ""
    raise FileNotFoundError(f"{root}: no such folder{hint or f' (there is {parent})'}")


def list_classes(root: Path, class_order: Sequence[str] | None = None) -> tuple[list[str], list[int], list[str]]:
    """Files and labels of class folders, class by class.

    Parameters
    ----------
    root : Path
    class_order : sequence of str or None
        The names of all folders, in the order wanted; None sorts them.

    Returns
    -------
    files : list of str
        Relative to `root`, in natural order within each class.
    labels : list of int
    classes : list of str
    """
    folders = _subfolders(root)
    if not folders or (_has_images(root) and not any(_images_below(f) for f in folders)):
        _explain_level(root)
    if len(folders) == 1 and not _has_images(folders[0]) and len(_subfolders(folders[0])) >= 2:
        raise ValueError(f"{root}: wrong folder level, it holds one folder only. Did you mean {folders[0]}?")
    parts = find_parts(root)
    if parts:
        raise ValueError(
            f"{root}: wrong folder level, it holds the parts of a split ({', '.join(parts)}), not classes. Read each "
            f"by itself, such as {root / next(iter(parts))}; the audit checks whether the parts overlap"
        )
    if class_order is not None:
        by_name = {folder.name: folder for folder in folders}
        if sorted(class_order) != sorted(by_name):
            raise ValueError(f"class_order: expected the classes {', '.join(by_name)}, got {', '.join(class_order)}")
        folders = [by_name[name] for name in class_order]
    files: list[str] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = _images_below(folder)
        if not found:
            raise ValueError(f"class {folder.name} is empty: no {', '.join(EXTENSIONS)} file in {folder}")
        files += [f"{folder.name}/{name}" for name in found]
        labels += [label] * len(found)
    _warn_of_others(root, folders)
    return files, labels, [f.name for f in folders]


def find_parts(root: Path) -> dict[str, Path]:
    """The folders of a ready-made split, such as `root/train/<class>` and `root/test/<class>`; empty if it is none."""
    parts = {f.name: f for f in _subfolders(root) if f.name.lower() in PART_NAMES}
    inner = [{g.name for g in _subfolders(f)} for f in parts.values()]
    return parts if len(parts) >= 2 and all(inner) and set.intersection(*inner) else {}


def list_flat(root: Path) -> list[str]:
    """All image files below `root`, whatever the folders are called."""
    files = _images_below(root)
    if not files:
        raise ValueError(f"{root}: no {', '.join(EXTENSIONS)} file in it or below")
    return files


def _explain_level(root: Path) -> None:
    if not _has_images(root):
        raise ValueError(f"{root}: no class folders and no images in it. Expected root/class/image.png")
    above = root.parent if root.parent.name else root.absolute().parent
    siblings = [f for f in _subfolders(above) if _has_images(f)]
    hint = (
        f"Did you mean the folder above, {above}, with the classes {', '.join(f.name for f in siblings[:6])}?"
        if len(siblings) >= 2
        else "Put each class into a folder of its own, or read them unlabelled (labelled=False)"
    )
    raise ValueError(f"{root}: wrong folder level, the images lie in it directly. {hint}")


def _warn_of_others(root: Path, folders: Sequence[Path]) -> None:
    names = [entry.name.lower() for folder in folders for entry in _files_below(folder)]
    others = Counter(os.path.splitext(name)[1] for name in names if name.endswith(OTHER_IMAGES))
    if others:
        which = ", ".join(f"{n:,} {suffix}" for suffix, n in sorted(others.items()))
        warnings.warn(f"{root}: {which} files are not read (only {', '.join(EXTENSIONS)})", DataWarning, stacklevel=4)


# -- pixels -----------------------------------------------------------------------------------------------------------


def read_images(
    root: str | Path,
    files: Sequence[str],
    *,
    image_size: int | None = None,
    channels: int = 1,
    n_jobs: int | None = None,
    errors: str = "raise",
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes files into one array.

    Parameters
    ----------
    root : path
    files : sequence of str
        Relative to `root`.
    image_size : int or None
        Rows and columns to resize to, antialiased; None keeps the size, which must then be the same in all files.
    channels : {1, 3}
    n_jobs : int or None
        Threads; None for all.
    errors : {"raise", "warn"}
        What to do about files that cannot be read: name them in an exception, or in a warning and leave them out.

    Returns
    -------
    images : ndarray of shape (M, H, W, C), uint8
    kept : ndarray of shape (M,), int
        Which files these are.

    Raises
    ------
    DecodeError
        Names the files and what is wrong with each. OSError if the system refused them all.
    ValueError
        Images of several sizes, and no `image_size`.

    Examples
    --------
    >>> images, kept = read_images("Dataset", ["Non_Demented/non_1.jpg"])  # doctest: +SKIP
    """
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 (gray) or 3 (RGB), got {channels}")
    if image_size is not None and (isinstance(image_size, bool) or not isinstance(image_size, (int, np.integer))):
        raise ValueError(f"image_size: expected one whole number of pixels, got {image_size!r}")
    if image_size is not None and image_size < 8:
        raise ValueError(f"image_size: expected at least 8 pixels, got {image_size}")
    if errors not in ("raise", "warn"):
        raise ValueError(f"errors: expected 'raise' or 'warn', got {errors!r}")
    paths = [str(Path(root) / name) for name in files]
    _check_fits(paths, image_size, channels)
    images, failures = _core.decode_files(paths, channels, image_size, n_threads(n_jobs))
    if not failures:
        return images, np.arange(len(files))
    _explain_sizes(failures, files, images.shape)
    summary = f"{len(failures):,} of {len(files):,} files cannot be read:"
    summary += "".join(f"\n  {message}" for _, _, message in failures[:5])
    summary += f"\n  and {len(failures) - 5:,} more" if len(failures) > 5 else ""
    if errors == "raise" or len(failures) == len(files):
        kinds = {kind for _, kind, _ in failures}
        raise OSError(summary) if kinds == {"OSError"} else _core.DecodeError(summary)
    warnings.warn(f"{summary}\nThey are left out", DataWarning, stacklevel=3)
    kept = np.setdiff1d(np.arange(len(files)), [index for index, _, _ in failures])
    return images[kept], kept


def _check_fits(paths: Sequence[str], image_size: int | None, channels: int) -> None:
    """Whether the images fit into memory; their size is that of the first file where none is asked for."""
    rows = columns = image_size
    if image_size is None:
        try:
            rows, columns = _core.read_image(paths[0]).shape[:2]
        except (IndexError, OSError, ValueError):
            return  # it will be named with all others that cannot be read
    check_images_fit(len(paths), rows, columns, channels)


def _explain_sizes(failures: Sequence[tuple[int, str, str]], files: Sequence[str], shape: tuple[int, ...]) -> None:
    """Images of several sizes are no fault of the files: the way out is to name one size."""
    odd = [files[index] for index, kind, _ in failures if kind == "ValueError"]
    if odd:
        raise ValueError(
            f"images of several sizes: {len(odd):,} of {len(files):,} are not {shape[1]} x {shape[2]} px as the first "
            f"one is ({some(odd, 3)}). Give image_size= to resize them all"
        )


# -- subjects ----------------------------------------------------------------------------------------------------------


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


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a .csv or .tsv file."""
    with open(path, newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        rows = list(reader)
    return list(reader.fieldnames or []), rows


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


def some(names: Sequence[str], n: int = 5) -> str:
    """The first few names."""
    return ", ".join(names[:n]) + (f" and {len(names) - n:,} more" if len(names) > n else "")
