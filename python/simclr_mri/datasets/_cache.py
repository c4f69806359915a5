"""A data set on the disk, decoded once: opened in a second or two whatever its size, and read as it is needed.

A cache is a folder:

- `pixels.npy`: uint8 (N, H, W, C), in the order of the data set;
- `histograms.npy`: how often each value occurs in each image, unsigned integers (N, 256, C);
- `index.npz`: files, labels, subjects, slices and parts, a digest of each image, and the names, sizes and times of the
  files that were read;
- `cache.json`: classes, how the files were read, and digests of the index and of the histograms;
- `fingerprints.json`: of subsets that were asked for; it may be missing.

It is made in a folder of another name and renamed when all is there, so that a run that is stopped leaves no half one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import call_text, check_path, option_text, plain_json, to_json, write_json
from ._cached_store import HISTOGRAMS, PIXELS, CachedStore, CacheError, damaged
from ._dataset import Dataset
from ._pixel_file import PixelFile
from ._source import SourceFiles
from ._store import are_flat, keys_of
from ._walk import is_hidden
from ._warnings import DataWarning

ABOUT, INDEX = "cache.json", "index.npz"
FORMAT, VERSION = "simclr_mri cache", 1

Reader = Callable[[PixelFile | None], Dataset]


def through_cache(
    cache: str | Path | None, source: Path, options: dict[str, Any], tables: list[Path], read: Reader
) -> Dataset:
    """The data set that `read` gives; by way of a cache if one is asked for, which is made if it is not there.

    Parameters
    ----------
    cache : path or None
    source : Path
        The folder or file that is read.
    options : dict
        How it is read: a cache that was made otherwise is refused.
    tables : list of Path
        Files besides that the result depends on.
    read : callable (PixelFile or None) -> Dataset
        Puts the pixels into the file where it can.
    """
    if cache is None:
        return read(None)
    folder = check_path(cache, "cache").expanduser()
    _check_place(folder, source)
    wanted = {name: plain_option(value) for name, value in options.items()}
    if not folder.exists():
        make_cache(folder, source, wanted, tables, read)
    store, about = _open(folder)
    here, made_of = source.resolve(), Path(about["source"])
    if made_of != here and (not about["source"] or made_of.exists()):
        raise CacheError(
            f"{folder}: is a cache of {about['source']}, and asked for is {here}. Choose another place for "
            "another cache"
        )
    _check_options(folder, about, wanted)
    _check_source(store, about, here)
    for note in about["notes"]:
        warnings.warn(note, DataWarning, stacklevel=4)
    return dataset_of(store, about, moved_to=None if made_of == here else here)


def options_kept(reading: dict[str, Any]) -> dict[str, Any]:
    """Of the options of reading those that decide what is in a cache."""
    return {name: value for name, value in reading.items() if name not in ("n_jobs", "errors", "max_pixels")}


def is_cache(path: Path) -> bool:
    """Whether the folder is a cache, be it damaged."""
    return (path / ABOUT).is_file() and any((path / name).is_file() for name in (PIXELS, INDEX))


def open_cache(folder: Path) -> tuple[Dataset, dict[str, Any]]:
    """The data set of a cache, and what is said of it: "source", and "options" as of reading it."""
    store, about = _open(folder)
    _check_source(store, about, Path(about["source"]) if about["source"] else None)
    return dataset_of(store, about), about


def dataset_of(store: CachedStore, about: dict[str, Any], *, moved_to: Path | None = None) -> Dataset:
    """The whole data set of a cache; `moved_to` is where the files that it was made of are now."""
    index = store.index
    paths = () if index["paths"] is None else index["paths"]
    if moved_to is not None:
        paths = [_moved(path, about["source"], moved_to) for path in paths]
    more: dict[str, Any] = {name: index[name] for name in ("slices", "parts")}
    more |= {"name": about["name"], "sources": paths}
    ds = Dataset(store.images, index["labels"], about["classes"], index["subjects"], index["files"], **more, copy=False)
    reading = {name: tuple(v) if isinstance(v, list) else v for name, v in about["reading"].items()}
    not_read = dict(zip(index["not_read"], index["why_not"], strict=True))
    return ds.with_store(store, index["masks"]).with_reading(about["understood"], reading, not_read)


def _moved(path: str, before: str, now: Path) -> str:
    place = Path(path)
    return str(now / place.relative_to(before)) if place.is_relative_to(before) else path


# -- making -----------------------------------------------------------------------------------------------------------


def put_on_disk(ds: Dataset, folder: Path) -> Dataset:
    """The same data set with its images in a new cache, for other processes; it has no files that might change."""
    make_cache(folder, None, {}, [], lambda into: ds)
    return open_cache(folder)[0]


def make_cache(folder: Path, source: Path | None, options: dict[str, Any], tables: list[Path], read: Reader) -> None:
    """Reads all files and writes a cache, a few megabytes at a time."""
    draft = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        why = f"{error.strerror}, so the folder of the cache cannot be made"
        raise OSError(error.errno, why, str(folder)) from None
    try:
        # Before they are read: a change in between is noticed later.
        files = SourceFiles.of(source, tables) if source else SourceFiles([], np.zeros(0, "<i8"), np.zeros(0, "<i8"))
        pixels = PixelFile(draft / PIXELS, str(folder))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", DataWarning)
            ds = read(pixels)
        _put_pixels(draft, ds, folder)
        about = {"name": ds.name, "classes": ds.classes, "shape": ds.shape, "options": options}
        about |= {"source": str(source.resolve()) if source else "", "understood": ds.understood, "reading": ds.reading}
        about["notes"] = [str(note.message) for note in told if issubclass(note.category, DataWarning)]
        _describe(draft, ds, files, about)
        with contextlib.suppress(OSError):  # another run has made the same one meanwhile: that one is opened
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    if not is_cache(folder):
        raise CacheError(f"{folder}: cannot be made; a file or folder of this name appeared meanwhile")


def _put_pixels(draft: Path, ds: Dataset, folder: Path) -> None:
    """The pixels where they are not there yet, as those of readers that decode into memory."""
    images = ds.images if ds.shape[0] == len(ds) and ds.is_whole else None
    if isinstance(images, np.memmap) and Path(str(images.filename)) == draft / PIXELS:
        images.flush()
        return
    fresh = PixelFile(draft / f"{PIXELS}.new", str(folder))
    for chunk in ds.chunks():
        fresh.append(chunk)
    fresh.finish()
    (draft / f"{PIXELS}.new").rename(draft / PIXELS)


def _describe(draft: Path, ds: Dataset, files: SourceFiles, about: dict[str, Any]) -> None:
    """The index, the histograms, and what is said of the whole."""
    keys, flat = [], []
    n, height, width, channels = ds.shape
    counts = np.lib.format.open_memmap(
        draft / HISTOGRAMS, "w+", np.min_scalar_type(height * width).newbyteorder("<"), (n, 256, channels)
    )
    start = 0
    for images in ds.chunks():
        keys.append(keys_of(images))
        flat.append(are_flat(images))
        for c in range(channels):
            values = images[..., c].reshape(len(images), -1).astype(np.int32)
            values += 256 * np.arange(len(images), dtype=np.int32)[:, None]
            counts[start : start + len(images), :, c] = np.bincount(
                values.ravel(), minlength=256 * len(images)
            ).reshape(-1, 256)
        start += len(images)
    counts.flush()
    arrays: dict[str, Any] = {
        "keys": np.concatenate(keys),
        "is_flat": np.concatenate(flat),
        "files": _packed(list(ds.files)),
        "paths": _packed(list(ds.sources)),
    }
    numbers, names = {"labels": ds.labels, "slices": ds.slices}, {"subjects": ds.subjects, "parts": ds.parts}
    arrays |= {name: column for name, column in numbers.items() if column is not None}
    for name, column in names.items():
        if column is not None:
            known, arrays[f"{name}_of"] = np.unique(column, return_inverse=True)
            arrays[name] = _packed(known.tolist())
    for name, mask in (ds.masks or {}).items():
        arrays[f"mask_{name}"] = np.packbits(mask)
    arrays |= {"not_read": _packed(list(ds.not_read)), "why_not": _packed(list(ds.not_read.values()))}
    arrays |= {"source": _packed(files.names), "sizes": files.sizes, "times": files.times}
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    (draft / INDEX).write_bytes(packed.getvalue())
    about = {**plain_json(about, "reading"), "index": hashlib.sha256(packed.getvalue()).hexdigest()}
    about["histograms"] = hashlib.sha256(np.ascontiguousarray(counts).data).hexdigest()
    digest = hashlib.sha256(to_json(about).encode()).hexdigest()
    write_json(draft / ABOUT, {"format": FORMAT, "version": VERSION, "digest": digest, "about": about})


def _packed(texts: list[str]) -> np.ndarray:
    """Texts as one array of bytes, a zero after each: a tenth of the size of an array of str."""
    joined = "".join(f"{text}\0" for text in texts)
    return np.frombuffer(joined.encode("utf-8", "surrogateescape"), np.uint8)


def _unpacked(packed: np.ndarray) -> list[str]:
    return packed.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]


# -- opening ----------------------------------------------------------------------------------------------------------

_opened: dict[tuple[Any, ...], tuple[CachedStore, dict[str, Any]]] = {}  # so that data sets of one cache share its map


def _open(folder: Path) -> tuple[CachedStore, dict[str, Any]]:
    """The store of a cache, and what is said of it; CacheError, with the file that is damaged."""
    about = _read_about(folder)
    states = [os.stat(folder / name) for name in (PIXELS, INDEX, HISTOGRAMS) if (folder / name).is_file()]
    place = (str(folder.resolve()), about["index"], *((s.st_ino, s.st_size, s.st_mtime_ns) for s in states))
    if place in _opened:
        return _opened[place]
    try:
        packed = (folder / INDEX).read_bytes()
    except FileNotFoundError:
        raise damaged(folder / INDEX, "the file is missing") from None
    if hashlib.sha256(packed).hexdigest() != about["index"]:
        raise damaged(folder / INDEX, "not what was written")
    with np.load(io.BytesIO(packed)) as arrays:
        index = _index_of(arrays, tuple(about["shape"]))
    _opened.clear()  # one at a time: a cache that is made anew at the same place is another
    _opened[place] = CachedStore(folder, tuple(about["shape"]), index, about["histograms"], reopened), about
    return _opened[place]


def reopened(folder: str, digest: str) -> CachedStore:
    """The store of a cache that a pickled data set refers to."""
    store, about = _open(Path(folder))
    if about["histograms"] != digest:
        raise CacheError(f"{folder}: holds other images than when the data set was pickled")
    return store


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    if not folder.is_dir():
        raise CacheError(f"{folder}: expected the folder of a cache, found a file. Choose another place for the cache")
    if not path.is_file():
        raise CacheError(
            f"{folder}: exists, and is no cache (there is no {ABOUT} in it). Choose another place for the cache"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise damaged(path, f"expected the format {FORMAT!r}, found {found['format']!r}")
        if found["version"] != VERSION:
            raise CacheError(
                f"{path}: of version {found['version']}, and this program reads version {VERSION}. Delete the folder "
                f"{folder} and make the cache again"
            )
        about = found["about"]
        if hashlib.sha256(to_json(about).encode()).hexdigest() != found["digest"]:
            raise damaged(path, "not what was written")
    except CacheError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"cannot be read ({type(error).__name__}: {error})") from None
    return dict(about)


def _index_of(arrays: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    index: dict[str, Any] = {name: arrays[name] for name in ("keys", "is_flat", "sizes", "times")}
    for name in ("not_read", "why_not", "source"):
        index[name] = _unpacked(arrays[name])
    for name in ("files", "paths"):
        index[name] = np.array(_unpacked(arrays[name]), dtype=object)
    index["paths"] = index["paths"] if len(index["paths"]) else None
    for name in ("labels", "slices"):
        index[name] = arrays[name] if name in arrays else None
    for name in ("subjects", "parts"):
        index[name] = np.array(_unpacked(arrays[name]))[arrays[f"{name}_of"]] if name in arrays else None
    regions = [name for name in arrays.files if name.startswith("mask_")]
    n = int(np.prod(shape[:3]))
    index["masks"] = {
        name.removeprefix("mask_"): np.unpackbits(arrays[name], count=n).reshape(shape[:3]).astype(bool)
        for name in regions
    } or None
    return index


# -- checks -----------------------------------------------------------------------------------------------------------


def _check_place(folder: Path, source: Path) -> None:
    """A cache among the pictures would be read as a class, and be a change of its own source."""
    root = source if source.is_dir() else source.parent
    place, root = folder.absolute().resolve(), root.resolve()
    if place == root or (place.is_relative_to(root) and not any(map(is_hidden, place.relative_to(root).parts))):
        beside = root.with_name(f"{root.name}_cache")
        raise CacheError(
            f"{folder}: lies among the files that it is made of. Put it beside them: {option_text('cache', beside)}"
        )


def _check_options(folder: Path, about: dict[str, Any], wanted: dict[str, Any]) -> None:
    theirs, (_, height, width, _) = about["options"], about["shape"]
    wrong = [name for name in wanted if theirs.get(name) != wanted[name]]
    if wanted.get("image_size") == height == width:  # asked for is what the files had
        wrong = [name for name in wrong if name != "image_size"]
    if not wrong:
        return
    made = ", ".join(f"{name}={theirs.get(name)!r}" for name in wrong)
    asked = ", ".join(f"{name}={wanted[name]!r}" for name in wrong)
    raise CacheError(
        f"{folder}: was made with {made}, and asked for is {asked}. Open it as it is: "
        f"{call_text('datasets.open_dataset', 'data', folder)}. Or choose another place for another cache"
    )


def _check_source(store: CachedStore, about: dict[str, Any], source: Path | None) -> None:
    """Whether the files are still those that were read. Where none of them is left, the cache stands for itself."""
    index = store.index
    if source is None or not source.exists():
        return
    before = SourceFiles(index["source"], index["sizes"], index["times"])
    now = SourceFiles.of(source, before.elsewhere)
    if source == Path(about["source"]) and (not now.names or (now.sizes < 0).all()):
        return
    said = before.changes(now)
    if said:
        raise CacheError(
            f"{store.folder}: {source} is not as it was when the cache was made: {said}. Delete the folder "
            f"{store.folder} and make the cache again"
        )


def plain_option(value: Any) -> Any:
    """An option as JSON has it; a function goes by its name."""
    if callable(value):
        return f"function {getattr(value, '__qualname__', type(value).__name__)}"
    return plain_json(value, "cache")
