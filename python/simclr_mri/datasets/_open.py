"""Opens whatever it is: class folders, the Alzheimer MRI set, phantoms, volumes, a table of paths, Parquet files."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._shared import Channels, Fit, OnError, call_text, check_path, suggests_names
from ._alzheimer import AlzheimerMRI, is_alzheimer_mri
from ._array_files import read_array_files
from ._cache import is_cache, open_cache, options_kept, plain_option, through_cache
from ._cached_store import CacheError
from ._class_names import in_order, parse_merge
from ._classes import SEVERITY
from ._dataset import Dataset
from ._folder import check_root, nothing_to_read
from ._found import Asked
from ._gather import gather
from ._image_folder import as_dataset
from ._images import Intensity, check_reading, decode
from ._parquet import holds_pictures, read_parquet
from ._phantoms._generate import MANIFEST, load_phantoms
from ._read_table import read_rows
from ._subjects import Groups, resolve_groups
from ._tables import match_rows, with_header
from ._volumes import Cut, read_volumes
from ._walk import (
    ARRAY_EXTENSIONS,
    PARQUET_EXTENSIONS,
    TABLE_EXTENSIONS,
    TEXT_EXTENSIONS,
    Listing,
    ending,
    is_hidden,
    walk,
)
from ._warnings import DataWarning
from ._write_slices import TABLE, is_slices_folder


@suggests_names
def open_dataset(
    path: str | Path,
    *,
    groups: Groups = None,
    labels: Any = None,
    image_size: int | None = None,
    task: str | None = None,
    channels: Channels = 1,
    n_jobs: int | None = None,
    merge: Any = None,
    class_order: Sequence[str] | str | None = None,
    labelled: bool = True,
    layout: str | None = None,
    intensity: Intensity = None,
    fit: Fit = "pad",
    errors: OnError = "raise",
    max_pixels: int | None = None,
    cache: str | Path | None = None,
) -> Dataset:
    """Opens a folder or a file by what is in it.

    Class folders with or without parts and wrappers, the Alzheimer MRI set, phantoms, NIfTI files and DICOM series (cut
    as `Volumes` does by default), a table of paths and labels (`.csv`, `.tsv`, `.txt`, `.json`, `.jsonl`), `.parquet`
    files with pictures, arrays (`.npz`, `.npy`, `.mat`, `.h5`); and a cache that was made of any of these.

    Parameters
    ----------
    path : path
    groups, labels, image_size, channels, n_jobs, merge, class_order, labelled
        As for `ImageFolder`.
    layout, intensity, fit, errors, max_pixels
        As for `ImageFolder`. Giving `groups`, `labels`, `layout` or `intensity` reads it as a plain folder.
    task : {"4class", "3class", "cdr0"} or None
        Joins classes; for sets with the four severity classes, in whatever wording.
    cache : path or None
        As for `ImageFolder`.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> import tempfile
    >>> from simclr_mri.datasets import write_phantoms
    >>> with tempfile.TemporaryDirectory() as root:
    ...     made = write_phantoms(root, n_subjects=8, slices=1, image_size=32)
    ...     open_dataset(root, task="cdr0")
    <Dataset 'phantoms (seed 0)': 8 images of 32 x 32 px, gray, 8 subjects, 2 classes>
    """
    check_reading(image_size, channels, errors, intensity, fit)
    asked = Asked(groups, labels, layout, merge, class_order, labelled)
    reading: dict[str, Any] = {"image_size": image_size, "channels": channels, "n_jobs": n_jobs, "errors": errors}
    reading |= {"intensity": intensity, "fit": fit, "max_pixels": max_pixels}
    place = check_path(path, "path").expanduser()
    if cache is None and is_cache(place):
        ds = _open_cache(place, asked, reading)
    else:
        table = place.is_file() and ending(place.name) in (*TABLE_EXTENSIONS, *TEXT_EXTENSIONS)
        source = place.parent if table else place if place.is_file() else check_root(place)
        options = {"reader": "open_dataset", **asked.options(), **options_kept(reading)}
        tables = [*asked.tables(source), *([place] if table else [])]
        ds = through_cache(cache, source, options, tables, lambda into: _open(place, asked, {**reading, "into": into}))
    return ds if task is None else ds.with_task(task)


def _open_cache(folder: Path, asked: Asked, reading: dict[str, Any]) -> Dataset:
    """A cache as data: subjects, joining and ordering may be asked for anew, what decides the pixels may not."""
    ds, about = open_cache(folder)
    wanted = {name: reading[name] for name in ("image_size", "channels", "intensity", "fit")}
    wanted |= {"layout": asked.layout, "labels": asked.labels}
    theirs = {**about["options"], "image_size": ds.image_size, "channels": ds.n_channels}
    for name, value in wanted.items():
        is_default = value is None or (name, value) in (("channels", 1), ("fit", "pad"))
        same = [theirs.get(name), plain_option(ds.reading.get(name))]  # "full", and what that was for these files
        if not is_default and plain_option(value) not in same:
            other = call_text("datasets.open_dataset", "data", about["source"], cache=f"{folder}_2", **{name: value})
            raise CacheError(
                f"{folder}: a cache with {name}={theirs.get(name)!r}, and asked for is {name}={value!r}. That takes "
                f"another cache: {other}"
            )
    done: dict[str, Any] = {
        name: None for name, value in asked.options().items() if plain_option(value) == theirs.get(name)
    }
    asked = replace(asked, **{**done, "labelled": asked.labelled and ds.labels is not None})
    if asked.groups is not None:
        notes: list[str] = []
        ds = ds.with_subjects(resolve_groups(asked.groups, folder, ds.files, notes.append))
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=4)
    return _rearranged(ds, asked)


def _open(path: Path, asked: Asked, reading: dict[str, Any]) -> Dataset:
    if path.is_file() and ending(path.name) in ARRAY_EXTENSIONS:
        return _open_arrays([path], path.parent, asked, reading)
    if path.is_file() and ending(path.name) in (*TABLE_EXTENSIONS, *TEXT_EXTENSIONS, *PARQUET_EXTENSIONS):
        return _open_file(path, asked, reading)
    root = check_root(path)
    asked_for = (asked.groups, asked.labels, asked.layout, reading["intensity"], reading["max_pixels"])
    plain = any(value is not None for value in asked_for)
    more = {name: reading[name] for name in ("image_size", "channels", "n_jobs")}
    if not plain and is_phantom_folder(root):
        return _rearranged(load_phantoms(root, **more), asked)
    published = None if plain or reading["errors"] != "raise" else _published_folder(root)
    if published is not None:
        return _rearranged(AlzheimerMRI(published, **more), asked)
    listing = walk(root)
    if not listing.pictures:
        if listing.files.get("parquet"):
            return _open_parquet([root / name for name in listing.files["parquet"]], root, asked, reading)
        if listing.volumes:
            return _open_volumes(root, asked, reading)
        if arrays := [root / name for name in listing.others if ending(name) in ARRAY_EXTENSIONS]:
            return _open_arrays(arrays, root, asked, reading, listing)
        raise ValueError(nothing_to_read(listing, asked.labelled))
    if not plain and is_slices_folder(root):
        asked = _asked_of_slices(root, asked)
    found = gather(listing, listing.pictures, asked)
    pictures = decode(root, found.files, **reading)
    return as_dataset(found, pictures, root.absolute().name, reading["fit"], root, stacklevel=6)


def _rearranged(ds: Dataset, asked: Asked) -> Dataset:
    """A set whose subjects are known by itself, with its classes joined and ordered as asked for."""
    if asked.merge:
        ds = ds.merge_classes(parse_merge(asked.merge, ds.classes))
    if asked.class_order:
        ds = ds.merge_classes({name: [name] for name in in_order(asked.class_order, ds.classes)})
    return ds if asked.labelled else ds.unlabelled()


def _published_folder(root: Path) -> Path | None:
    """The folder itself, or the one within its wrappers, if it holds the published Alzheimer MRI set."""
    for _ in range(4):
        if is_alzheimer_mri(root):
            return root if (root / SEVERITY[0] / "non_1.jpg").is_file() else None
        inner = [e.path for e in os.scandir(root) if os.path.isdir(e.path) and not is_hidden(e.name)]
        if len(inner) != 1:
            return None
        root = Path(inner[0])
    return None


def _open_volumes(root: Path, asked: Asked, reading: dict[str, Any]) -> Dataset:
    asked = replace(asked, labelled=None if asked.labelled else False)
    return read_volumes(root, asked, Cut(intensity=reading["intensity"]), root.absolute().name, reading)


def _asked_of_slices(root: Path, asked: Asked) -> Asked:
    """Classes, subjects and slices of a folder that `write_slices` made."""
    table = read_rows(root / TABLE)
    if not any(table.column("class")) or not asked.labelled:
        return Asked(groups=(root / TABLE, "subject"), labelled=False)
    order = None if asked.merge else json.loads((root / "slices.json").read_text(encoding="utf-8"))["classes"]
    return replace(asked, labels=(root / TABLE, "class"), class_order=asked.class_order or order)


def _open_file(path: Path, asked: Asked, reading: dict[str, Any]) -> Dataset:
    if ending(path.name) in PARQUET_EXTENSIONS and holds_pictures(path):
        return _open_parquet([path], path.parent, asked, reading)
    table = read_rows(path)
    listing = walk(path.parent)
    files = listing.pictures
    if not files:
        raise ValueError(nothing_to_read(listing, asked.labelled))
    table = with_header(table, files)
    match = match_rows(table, files, where="labels")
    named = [name for name, row in zip(files, match.rows, strict=True) if row is not None]
    if not named:
        example = next((value for value in table.column(match.column) if value), "nothing")
        raise ValueError(
            f"{path}: names no picture in {path.parent} or below. Pictures there are called {files[0]}; the column "
            f"{match.column} has {example}"
        )
    others = dict.fromkeys(set(files) - set(named), f"pictures that {path.name} does not name")
    listing.others.update(others)
    for kind in ("picture", "pillow"):
        listing.files[kind] = [name for name in listing.files.get(kind, ()) if name not in others]
    if asked.labels is None and asked.labelled:
        asked = replace(asked, labels=path)
    listing.files.pop("parquet", None)
    found = gather(listing, named, asked)
    pictures = decode(path.parent, found.files, **reading)
    return as_dataset(found, pictures, path.stem, reading["fit"], path.parent, stacklevel=7)


def _open_parquet(paths: list[Path], root: Path, asked: Asked, reading: dict[str, Any]) -> Dataset:
    found, pictures = read_parquet(paths, root, asked, **reading)
    return as_dataset(found, pictures, paths[0].stem if len(paths) == 1 else root.name, reading["fit"], stacklevel=7)


def _open_arrays(
    paths: list[Path], root: Path, asked: Asked, reading: dict[str, Any], listing: Listing | None = None
) -> Dataset:
    found, pictures = read_array_files(paths, root, asked, listing, **reading)
    return as_dataset(found, pictures, paths[0].stem if len(paths) == 1 else root.name, reading["fit"], stacklevel=7)


def is_phantom_folder(root: str | Path) -> bool:
    """Whether `write_phantoms` made the folder."""
    try:
        return json.loads((Path(root) / MANIFEST).read_text(encoding="utf-8")).get("format") == "simclr_mri phantoms"
    except (OSError, ValueError):
        return False
