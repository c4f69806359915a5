"""Files of ``torch.save``, in both formats: where each storage lies, and tensors that are read when asked for.

Since PyTorch 1.6 a file is a zip archive with the dictionary (``data.pkl``) and one member for each storage; before
that it was four pickles and then the storages one after another. What a file claims is checked against what it holds
before memory is taken for it: the storages together are no longer than the file, and no tensor reaches beyond its own.
"""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._shared import open_to_read
from ._errors import WeightsError
from ._torch_pickle import read_pickle, refusal
from ._torch_values import ITEM_BYTES, Inert, Items, Storage, Table, Tensor, shortened

MOST_SHARING = 4
"""Tensors of a file together over its storages: weights may be tied, and that is twice at most in ordinary networks."""
MOST_NAME = 1000
"""Characters of a tensor's name, its path included."""
_MOST_NUMBERS = 2**59
"""Numbers of a tensor, were the sides of 0 not there: what numpy can address."""
_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file in PyTorch's format before 1.6
_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
}
_MODULE_PARTS = ("_modules", "_parameters", "_buffers")
"""Where a whole ``torch.nn.Module`` keeps its tensors: attributes, and no part of their names."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a storage's bytes lie; packed: deflated within a zip archive. crc: None where the format has none."""

    name: str
    offset: int
    n_bytes: int
    packed_bytes: int
    is_packed: bool = False
    is_member: bool = False
    crc: int | None = None


class TorchFile:
    """An open file's dictionary, and the bytes of its storages.

    Attributes
    ----------
    path : Path
    tree : object
        The file's dictionary as `read_pickle` gives it, with a `Tensor` for each tensor.
    asked : str or None
        The first name in it that is not known to this program.
    """

    def __init__(self, path: Path, tree: Any, asked: str | None, places: dict[str, _Place]) -> None:
        self.path = path
        self.tree = tree
        self.asked = asked
        self._places = places
        self._latest: tuple[str, bytes] | None = None
        self._left = MOST_SHARING * sum(place.n_bytes for place in places.values())

    def bytes_of(self, storage: Storage) -> bytes:
        """A storage's bytes. The latest one is kept, because the tensors of one storage follow each other."""
        if self._latest is not None and self._latest[0] == storage.key:
            return self._latest[1]
        place = self._places[storage.key]
        self._left -= place.n_bytes
        if self._left < 0:
            raise WeightsError(
                "its tensors name their storages in turn, which would read them again and again: refused"
            )
        self._latest = None
        with open(self.path, "rb") as file:
            data = _read_place(file, place)
        self._latest = (storage.key, data)
        return data

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """WeightsError if the tensors do not lie within their storages, or are together much larger than those."""
        held: dict[str, int] = {}
        named = 0
        for name, tensor in tensors.items():
            storage, item = tensor.storage, ITEM_BYTES[tensor.storage.kind]
            place = self._places.get(storage.key)
            if place is None:
                raise WeightsError(f"storage '{shortened(storage.key)}' is named and is not there")
            if storage.size != place.n_bytes // item:
                raise WeightsError(
                    f"storage '{shortened(storage.key)}': expected {storage.size} numbers of {item} bytes, got "
                    f"{place.n_bytes} bytes"
                )
            _check_extent(name, tensor)
            held[storage.key] = max(storage.size, held.get(storage.key, 0))
            named += math.prod(tensor.shape)
        numbers = sum(held.values())
        if named > MOST_SHARING * numbers:  # a small file may name a large storage often
            raise WeightsError(f"holds {numbers:,} numbers and names tensors of {named:,} numbers: refused")


def _shown(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) <= 6 else f"({str(shape[:6])[1:-1]}, ... {len(shape)} in all)"


def _check_extent(name: str, tensor: Tensor) -> None:
    shape, size = tensor.shape, tensor.storage.size
    if 0 in shape:
        if math.prod(n for n in shape if n) > _MOST_NUMBERS:
            raise WeightsError(f"{shortened(name)}: shape {_shown(shape)} is impossible")
        return
    last = tensor.offset + sum((n - 1) * step for n, step in zip(shape, tensor.stride, strict=True))
    if last >= size or math.prod(shape) > size:
        raise WeightsError(f"{shortened(name)}: shape {_shown(shape)} does not fit a storage of {size} numbers")


class LazyTensor:
    """A tensor of a file that is read when an array is made of it.

    Attributes
    ----------
    shape : tuple of int
    dtype_name : str
        As stored: "float32", "bfloat16", "int64", ...
    """

    def __init__(self, file: TorchFile, name: str, tensor: Tensor) -> None:
        self._file = file
        self._name = name
        self._tensor = tensor
        self.shape = tensor.shape
        self.dtype_name = _DTYPES[tensor.storage.kind]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """float32 for floating-point numbers and int64 for integers, contiguous, a copy of its own."""
        try:
            array = materialize(self._name, self._tensor, self._file)
        except WeightsError as error:
            raise WeightsError(f"{self._file.path}: {error}") from None
        return array if dtype is None else array.astype(dtype, copy=False)


def open_torch(path: str | Path) -> TorchFile:
    """Reads the dictionary of a file of ``torch.save``, and none of its numbers.

    Raises
    ------
    OSError
        The system refuses the file.
    WeightsError
        Not a whole file of ``torch.save``; the message does not name the file.
    """
    path = Path(path).expanduser()
    with open_regular(path) as file:
        head = file.read(4)
        file.seek(0)
        return _open_zip(path, file) if head == b"PK\x03\x04" else _open_legacy(path, file)


def open_tensors(path: str | Path) -> dict[str, LazyTensor]:
    """All tensors of a file of ``torch.save``, wherever they are nested.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to LazyTensor
        Names are the keys on the way to a tensor, joined by dots. What a module keeps as attributes, ``_modules``,
        ``_parameters`` and ``_buffers``, is left out of them. A container that is reached on two ways is entered once.

    Raises
    ------
    OSError
        The system refuses the file.
    WeightsError
        As `read_weights`; the message names the file.
    """
    try:
        file = open_torch(path)
        found: dict[str, Tensor] = {}
        for name, tensor in _walk(file.tree):
            found.setdefault(name, tensor)
        file.check(found)
        if not found and file.asked:
            raise WeightsError(refusal(file.asked))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return {name: LazyTensor(file, name, tensor) for name, tensor in found.items()}


def open_regular(path: Path) -> BinaryIO:
    """The file, open for reading; a pipe or a device, which would never end, is an OSError."""
    descriptor = open_to_read(path)
    file = os.fdopen(descriptor, "rb") if not stat.S_ISDIR(os.fstat(descriptor).st_mode) else None
    if file is not None and stat.S_ISREG(os.fstat(descriptor).st_mode):
        return file
    code = errno.EISDIR if file is None else errno.EINVAL
    if file is None:
        os.close(descriptor)
    else:
        file.close()
    raise OSError(code, "not a regular file", os.fspath(path))


def _walk(tree: Any) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors in the order of the file. Iterative, and each container once: a file may nest and share."""
    pending: list[tuple[str, Any]] = [("", tree)]
    seen: set[int] = set()
    while pending:
        name, value = pending.pop()
        if type(value) is Tensor:
            yield name, value
            continue
        if type(value) not in (Items, Table, Inert) or id(value) in seen:
            continue
        seen.add(id(value))
        pending.extend(reversed([(_joined(name, key), child) for key, child in _children(value)]))


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if type(value) is Items:
        yield from ((str(i), child) for i, child in enumerate(value))
    elif type(value) is Table:
        yield from ((str(key), child) for key, child in value.items())
    else:
        yield from (("", part) for part in (value.arguments, value.state, value.items, value.table))


def _joined(name: str, key: str) -> str:
    if not key or key in _MODULE_PARTS:
        return name
    if len(name) + len(key) >= MOST_NAME:
        raise WeightsError(f"holds a name of more than {MOST_NAME} characters: refused")
    return f"{name}.{key}" if name else key


# ---- the two formats ----


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _open_zip(path: Path, file: BinaryIO) -> TorchFile:
    n_bytes = _size_of(file)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, UnicodeError, ValueError) as error:
        raise WeightsError(f"not a whole weights file ({error})") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # EINVAL: the archive names a place that no file has
            raise
        raise WeightsError("not a whole weights file (an archive with impossible offsets)") from None
    places = {member.filename: _place(member, n_bytes) for member in members}
    total = sum(place.n_bytes for place in places.values())
    if total > 2 * n_bytes:
        raise WeightsError(f"its members claim to be larger than the file ({total:,} bytes of {n_bytes:,}): refused")
    pickles = [name for name in places if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError("a zip archive, but not one of torch.save (no data.pkl)")
    folder = pickles[0].removesuffix("data.pkl")
    order = places.get(f"{folder}byteorder")
    if order is not None and _read_place(file, order) != b"little":
        raise WeightsError("stored with big-endian numbers, which are not supported")
    whole = read_pickle(io.BytesIO(_read_place(file, places[pickles[0]])))
    data = f"{folder}data/"
    storages = {name.removeprefix(data): place for name, place in places.items() if name.startswith(data)}
    return TorchFile(path, whole.value, whole.asked, storages)


def _place(member: zipfile.ZipInfo, n_bytes: int) -> _Place:
    name = shortened(member.filename)
    if member.file_size > n_bytes or member.compress_size > n_bytes:
        raise WeightsError(f"{name} claims to be larger than the file: refused")
    if not 0 <= member.header_offset <= n_bytes:
        raise WeightsError(f"{name} claims to lie outside of the file: damaged")
    if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise WeightsError(f"{name} is encrypted or compressed in a way that torch.save does not use: refused")
    is_packed = member.compress_type == zipfile.ZIP_DEFLATED
    return _Place(name, member.header_offset, member.file_size, member.compress_size, is_packed, True, member.CRC)


def _read_place(file: BinaryIO, place: _Place) -> bytes:
    """The bytes, checked against their length and, where there is one, their checksum."""
    offset = place.offset
    if place.is_member:
        file.seek(offset)
        head = file.read(30)
        if len(head) != 30 or head[:4] != b"PK\x03\x04":
            raise WeightsError(f"{place.name}: is not where the archive says: damaged")
        offset += 30 + sum(struct.unpack_from("<2H", head, 26))
    file.seek(offset)
    data = file.read(place.packed_bytes)
    if place.is_packed:
        try:
            data = zlib.decompressobj(-15).decompress(data, max(place.n_bytes, 1))
        except zlib.error as error:
            raise WeightsError(f"{place.name}: damaged ({error})") from None
    if len(data) != place.n_bytes:
        raise WeightsError(f"{place.name}: expected {place.n_bytes:,} bytes, the file ends after {len(data):,}")
    if place.crc is not None and zlib.crc32(data) != place.crc:
        raise WeightsError(f"{place.name}: its checksum is wrong: damaged")
    return data


def _open_legacy(path: Path, file: BinaryIO) -> TorchFile:
    """Magic number, version, machine, the dictionary, the storages' keys, and then each storage."""
    n_bytes = _size_of(file)
    first = read_pickle(file, is_magic=True)
    if type(first.value) is not int or first.value != _MAGIC:
        raise WeightsError(refusal(first.asked) if first.asked else "a pickle, but not one of torch.save")
    read_pickle(file)
    machine = read_pickle(file).value
    if type(machine) is Table and machine.get("little_endian") is False:
        raise WeightsError("stored with big-endian numbers, which are not supported")
    whole = read_pickle(file)
    kinds = {tensor.storage.key: tensor.storage.kind for _, tensor in _walk(whole.value)}
    keys = read_pickle(file).value
    if type(keys) is not Items or not all(type(key) is str for key in keys):
        raise WeightsError("has no list of storages behind its dictionary: damaged")
    places: dict[str, _Place] = {}
    for key in keys:
        if key not in kinds or key in places:
            raise WeightsError(f"storage '{shortened(key)}' belongs to no tensor")
        head = file.read(8)
        count = int.from_bytes(head, "little", signed=True)
        item = ITEM_BYTES["UntypedStorage" if kinds[key].startswith("uint") else kinds[key]]
        left = n_bytes - file.tell()
        if len(head) != 8 or count < 0 or count * item > left:
            raise WeightsError(
                f"storage '{shortened(key)}': expected {max(count, 0) * item:,} bytes, the file ends after {left:,}"
            )
        places[key] = _Place(f"storage '{shortened(key)}'", file.tell(), count * item, count * item)
        file.seek(count * item, os.SEEK_CUR)
    return TorchFile(path, whole.value, whole.asked, places)


# ---- numbers ----


def materialize(name: str, tensor: Tensor, file: TorchFile) -> np.ndarray:
    """The tensor in an array of its own, float32 or int64."""
    kind, size = tensor.storage.kind, tensor.storage.size
    dtype = np.dtype("<u2" if kind == "BFloat16Storage" else _DTYPES[kind]).newbyteorder("<")
    if 0 in tensor.shape:
        return plain_array(np.zeros(tensor.shape, dtype))
    flat = np.frombuffer(file.bytes_of(tensor.storage), dtype, size)
    strides = tuple(step * dtype.itemsize if n > 1 else 0 for n, step in zip(tensor.shape, tensor.stride, strict=True))
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
    if kind == "BFloat16Storage":
        return (view.astype("<u4") << 16).view("<f4").astype(np.float32, order="C", copy=False)
    return plain_array(view)


def plain_array(array: np.ndarray) -> np.ndarray:
    """float32 or int64, contiguous, and a copy of its own."""
    with np.errstate(over="ignore"):  # what no float32 can hold becomes infinite, which is named where it matters
        return np.array(array, dtype=np.float32 if array.dtype.kind == "f" else np.int64, order="C")
