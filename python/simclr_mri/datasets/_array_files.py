"""Pictures in files of arrays: NumPy's .npz and .npy, MATLAB's .mat, and HDF5.

A file holds a stack of pictures with their labels, as MedMNIST's `train_images` and `train_labels` do, or one picture,
as each of the 3,064 files of the brain tumour set on figshare does.

References
----------
Yang et al., Scientific Data 10:41, 2023 (MedMNIST). Cheng et al., PLoS ONE 10:e0140381, 2015 (figshare: 1 meningioma,
2 glioma, 3 pituitary tumour).
"""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from .._shared import call_text, natural_key, some
from ._by_table import said_of
from ._class_names import natural_order
from ._found import Asked, Found
from ._gather import arrange, gather
from ._images import Pictures, decode
from ._subjects import resolve_groups
from ._walk import Listing
from ._words import is_masks, part_of, tokens

_TUMOURS = {"1": "meningioma", "2": "glioma", "3": "pituitary"}
_LABELS = ("label", "y", "target", "class", "diagnos", "dx")
_SUBJECTS = ("subject", "patient", "ptid", "pid", "participant")


@dataclass(eq=False)
class Stack:
    """Pictures of one array, and what is known of each.

    Attributes
    ----------
    images : ndarray of shape (N, H, W) or (N, H, W, C), numbers
    labels, subjects : list of str or None
    part : str
        "train", "val", "test" or "".
    """

    images: np.ndarray
    labels: list[str] | None = None
    subjects: list[str] | None = None
    part: str = ""


# -- files to named arrays --------------------------------------------------------------------------------------------


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name; nothing in it is executed.

    Raises
    ------
    ValueError
        The file is damaged, or holds pickled objects.
    ImportError
        h5py is needed and not installed.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".npy":
            return {path.stem: np.load(path, allow_pickle=False)}
        if kind == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        return _of_matlab(path) if kind == ".mat" else _of_hdf5(path)
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        if kind in (".npy", ".npz") and _has_objects(path):
            raise ValueError(
                f"{path}: holds pickled objects, which can run code and are not read. Save arrays of numbers or text"
            ) from None
        raise ValueError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None


def _has_objects(path: Path) -> bool:
    """Whether an array of NumPy's holds Python objects, by its header."""
    try:
        with contextlib.ExitStack() as stack:
            if path.suffix.lower() == ".npy":
                files: list[Any] = [stack.enter_context(open(path, "rb"))]
            else:
                archive = stack.enter_context(zipfile.ZipFile(path))
                files = [stack.enter_context(archive.open(name)) for name in archive.namelist()]
            return any(_dtype_of(file).hasobject for file in files)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return False


def _dtype_of(file: Any) -> np.dtype:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)[2]


def _of_matlab(path: Path) -> dict[str, np.ndarray]:
    """A file of version 5 by scipy, of version 7.3, which is HDF5, by h5py; fields of a struct as struct/field."""
    import scipy.io

    try:
        found = scipy.io.loadmat(path)
    except NotImplementedError:
        return {name: array.T for name, array in _of_hdf5(path).items()}
    named: dict[str, np.ndarray] = {}
    for name, value in found.items():
        if getattr(value, "dtype", None) is not None and value.dtype.names and value.size == 1:
            named |= {f"{name}/{field}": np.asarray(value[field].flat[0]) for field in value.dtype.names}
        elif isinstance(value, np.ndarray):
            named[name] = value
    return named


def _of_hdf5(path: Path) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise ImportError(
            f"{path}: HDF5 files are read by h5py, which is not installed. Type: pip install h5py"
        ) from None
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("#"):
            text = h5py.check_string_dtype(item.dtype) is not None
            found[name] = np.asarray(item.asstr()[()]).astype(str) if text else np.asarray(item[()])

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


# -- named arrays to stacks -------------------------------------------------------------------------------------------


def stacks_of(path: Path, arrays: Mapping[str, np.ndarray]) -> list[Stack]:
    """The pictures among named arrays, with the labels and subjects that belong to them.

    Raises
    ------
    ValueError
        No array has the shape of pictures; the message lists what is there.
    """
    if "cjdata/image" in arrays:
        return [_tumour(arrays)]
    columns = {name: column for name, array in arrays.items() if (column := _column(array)) is not None}
    lengths = {len(column) for column in columns.values()}
    found = []
    for name, array in arrays.items():
        images = None if is_masks(name) else _as_stack(array, lengths)
        if images is not None:
            mine = {k: c for k, c in columns.items() if len(c) == len(images) and part_of(k) == part_of(name)}
            found.append(Stack(images, _labels(mine, arrays), _named(mine, _SUBJECTS), part_of(name) or ""))
    if not found:
        there = [f"{name or 'an array'} {array.dtype} {array.shape}" for name, array in arrays.items()]
        raise ValueError(
            f"{path}: expected an array of pictures, of shape (N, H, W) or (N, H, W, C) with C 1 or 3, found "
            f"{some(there, 6) if there else 'nothing'}"
        )
    return found


def _tumour(arrays: Mapping[str, np.ndarray]) -> Stack:
    label = str(int(arrays["cjdata/label"].flat[0]))
    who = arrays.get("cjdata/PID", np.array([]))
    subject = str(who.flat[0]) if who.dtype.kind == "U" and who.size else "".join(chr(int(c)) for c in who.flat)
    return Stack(arrays["cjdata/image"][None], [_TUMOURS.get(label, label)], [subject] if subject else None)


def _as_stack(array: np.ndarray, lengths: Iterable[int]) -> np.ndarray | None:
    """(N, H, W) or (N, H, W, C); None for what is no picture."""
    if array.dtype.kind not in "uifb" or min(array.shape[:2], default=0) < 1:
        return None
    if array.ndim == 2:
        return array[None] if min(array.shape) >= 8 and len(array) not in lengths else None
    if array.ndim == 3 and array.shape[2] in (1, 3):
        return array[None]
    if array.ndim == 3:  # MATLAB counts pictures last
        last = array.shape[2] in lengths and array.shape[0] not in lengths
        array = np.moveaxis(array, 2, 0) if last else array
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = np.moveaxis(array, 1, 3)
    fits = array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))
    return array if fits and min(array.shape[1:3]) >= 8 else None


def _column(array: np.ndarray) -> np.ndarray | None:
    """One value a picture: (N,), (N, 1), (1, N), or the index of the one of each row of (N, K); else None."""
    if array.dtype.kind not in "uifbUS" or not array.size:
        return None
    if array.ndim == 1 or (array.ndim == 2 and 1 in array.shape):
        return array.reshape(-1)
    is_one_hot = array.ndim == 2 and array.dtype.kind in "uifb" and 1 < array.shape[1] <= 64
    if is_one_hot and np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all():
        return array.argmax(axis=1)
    return None


def _named(columns: Mapping[str, np.ndarray], beginnings: Sequence[str]) -> list[str] | None:
    """The column that is called so, as text."""
    for name, values in columns.items():
        for word in tokens(name):
            if any(word == start or (len(start) > 1 and word.startswith(start)) for start in beginnings):
                return [_text(value) for value in values.tolist()]
    return None


def _labels(columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> list[str] | None:
    """The column of labels: called so, or the only one; by name where names of classes are given too."""
    found = _named(columns, _LABELS)
    if found is None and len(columns) == 1 and _named(columns, _SUBJECTS) is None:
        found = [_text(value) for value in next(iter(columns.values())).tolist()]
    texts = [array for name, array in arrays.items() if array.dtype.kind == "U" and "names" in tokens(name)]
    names = texts[0].reshape(-1).tolist() if texts else []
    if found is not None and names and all(value.isdecimal() and int(value) < len(names) for value in found):
        return [names[int(value)] for value in found]
    return found


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(int(value)) if isinstance(value, (bool, float)) and float(value).is_integer() else str(value)


# -- the reader -------------------------------------------------------------------------------------------------------


def read_array_files(
    paths: Sequence[Path], root: Path, asked: Asked, listing: Listing | None = None, **options: Any
) -> tuple[Found, Pictures]:
    """Files of arrays as pictures.

    Parameters
    ----------
    paths : sequence of Path
    root : Path
        What names are relative to.
    asked : Asked
        Of files of one picture each without labels, folders or a table tell the classes.
    listing : Listing, optional
        What lies under the root, where that is a folder.
    **options
        As for `decode`.

    Returns
    -------
    found : Found
    pictures : Pictures
    """
    stacks = list(_stacks(sorted(paths, key=lambda p: natural_key(str(p)))))
    names, labels, subjects, parts = list[str](), list[str](), list[str](), list[str]()
    counts = Counter[str]()
    for path, stack in stacks:
        name, n = path.relative_to(root).as_posix(), len(stack.images)
        names += [name] if n == 1 else [f"{name}:{counts[name] + i}" for i in range(n)]
        counts[name] += n
        labels += stack.labels or [""] * len(stack.images)
        subjects += stack.subjects or [""] * len(stack.images)
        parts += [stack.part] * len(stack.images)
    if any(labels) or asked.labelled is False or listing is None:
        found = _found(root, names, labels, subjects, parts, asked, [p.name for p, _ in stacks])
    else:
        listing.others = {name: reason for name, reason in listing.others.items() if root / name not in set(paths)}
        found = gather(listing, names, asked)
    place = {name: f"{i:07d}.png" for i, name in enumerate(names)}
    with tempfile.TemporaryDirectory(prefix="simclr_mri_") as folder:
        range_ = _range([stack.images for _, stack in stacks])
        for i, image in enumerate(image for _, stack in stacks for image in stack.images):
            Path(folder, f"{i:07d}.png").write_bytes(_core.encode_png(_as_png(image, range_), 1))
        pictures = decode(folder, [place[name] for name in found.files], **options)
    if range_ is not None:
        found.notes.append(f"{root}: values from {range_[0]:.6g} to {range_[1]:.6g} become black to white")
    return found, pictures


def _stacks(paths: Sequence[Path]) -> Iterator[tuple[Path, Stack]]:
    """The stacks of all files; .npy files of one folder are arrays of one set, such as X_train.npy and y_train.npy."""
    loose: dict[Path, dict[str, np.ndarray]] = {}
    for path in paths:
        arrays = load_arrays(path)
        if path.suffix.lower() == ".npy":
            loose.setdefault(path.parent, {}).update(arrays)
        else:
            yield from ((path, stack) for stack in stacks_of(path, arrays))
    for folder, arrays in loose.items():
        if all(_is_picture(array) for array in arrays.values()):
            yield from ((folder / f"{name}.npy", Stack(array[None])) for name, array in arrays.items())
        else:
            yield from ((folder / f"{next(iter(arrays))}.npy", stack) for stack in stacks_of(folder, arrays))


def _is_picture(array: np.ndarray) -> bool:
    return (array.ndim == 2 and _column(array) is None) or (array.ndim == 3 and array.shape[2] in (1, 3))


def _found(
    root: Path,
    names: list[str],
    labels: list[str],
    subjects: list[str],
    parts: list[str],
    asked: Asked,
    files: list[str],
) -> Found:
    found = Found(root, list(names), reading=f"{len(names):,} pictures of {some(list(dict.fromkeys(files)), 2)}")
    found.subjects = np.array(subjects) if all(subjects) else None
    if asked.groups is not None:
        found.subjects = resolve_groups(asked.groups, root, names, found.notes.append)
    found.parts = np.array(parts) if all(parts) and len(set(parts)) > 1 else None
    if asked.labelled is not False:
        if not all(labels):
            both = call_text("datasets.open_dataset", "data", root)
            beside = f". If they are in a file beside it, open the folder: {both}" if files[0].endswith(".npy") else ""
            raise ValueError(
                f"{root / files[0]}: no labels for {labels.count(''):,} of {len(names):,} pictures. Expected an array "
                f"called labels or y with one value a picture{beside}"
            )
        found.classes = natural_order(sorted(set(labels), key=natural_key))
        found.labels = np.array([found.classes.index(label) for label in labels], np.int64)
    arrange(found, asked)
    found.reading += said_of(found)
    return found


def _range(stacks: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """What becomes black and white of values that no PNG holds; None for 8 and 16 bits, and floats in [0, 1]."""
    odd = [s for s in stacks if s.dtype not in (np.uint8, np.uint16, bool) and s.size]
    if not odd:
        return None
    low, high = float(min(s.min() for s in odd)), float(max(s.max() for s in odd))
    if not np.isfinite([low, high]).all():
        raise ValueError("images: values that are not finite (NaN or infinity)")
    whole = all(s.dtype.kind in "iu" for s in odd)
    if low >= 0 and (high <= 1 if not whole else high <= 65535):
        return None
    return low, high


def _as_png(image: np.ndarray, range_: tuple[float, float] | None) -> np.ndarray:
    """(H, W, C), of 8 or 16 bits."""
    image = image if image.ndim == 3 else image[..., None]
    if image.dtype == bool:
        image = image.astype(np.uint8) * np.uint8(255)
    elif image.dtype not in (np.uint8, np.uint16):
        low, high = range_ or ((0.0, 1.0) if image.dtype.kind == "f" else (0.0, 65535.0))
        unit = (image.astype(np.float64) - low) / max(high - low, 1e-12)
        image = np.floor(np.clip(unit, 0, 1) * 65535 + 0.5).astype(np.uint16)
    return np.ascontiguousarray(image)
