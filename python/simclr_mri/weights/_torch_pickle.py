"""Reads `.pth` files of `torch.save` without PyTorch.

A ``.pth`` file is a pickle, and a pickle is a program. None is run here: an interpreter of the few instructions that a
dictionary of tensors needs reads it, every name outside an allow-list is refused, and every tensor is checked against
the bytes that the file really holds."""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ._errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file in PyTorch's format before 1.6


_STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("u1"),
}


MOST_EXPANSION = 16
"""Memory over bytes of the file: bool becomes int64 (8), and weights may be tied (2)."""


_WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which training scripts store the weights


@dataclass(frozen=True)
class _Storage:
    kind: str
    key: str
    size: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Mark:
    """The stack's marker."""


def _size_of(file: BinaryIO) -> int:
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return size


def read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    """The format since PyTorch 1.6: a zip archive with data.pkl and one member for each storage."""
    n_bytes = _size_of(file)
    with zipfile.ZipFile(file) as archive:
        packed = [info.filename for info in archive.infolist() if info.file_size > n_bytes]
        if packed:
            raise WeightsError(f"{packed[0]} claims to be larger than the file: refused")
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError("a zip archive, but not one of torch.save (no data.pkl)")
        folder = pickles[0].removesuffix("data.pkl")
        order = folder + "byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise WeightsError("stored with big-endian numbers, which are not supported")
        tree = _interpret(archive.open(pickles[0]))

        def load(storage: _Storage) -> bytes:
            return archive.read(f"{folder}data/{storage.key}")

        return _collect(tree, load, n_bytes)


def read_legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    """The format before PyTorch 1.6: magic, version, machine, the dictionary, the keys, and then each storage."""
    n_bytes = _size_of(file)
    if _interpret(file) != _MAGIC:
        raise WeightsError("a pickle, but not one of torch.save")
    _interpret(file)
    machine = _interpret(file)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise WeightsError("stored with big-endian numbers, which are not supported")
    tree = _interpret(file)
    kinds = {tensor.storage.key: tensor.storage for tensor in _tensors_of(tree).values()}
    contents: dict[str, bytes] = {}
    for key in _interpret(file):
        count = int.from_bytes(file.read(8), "little", signed=True)
        if key not in kinds:
            raise WeightsError(f"storage {key!r} belongs to no tensor")
        if count != kinds[key].size:
            raise WeightsError(f"storage {key!r}: expected {kinds[key].size} numbers, got {count}")
        wanted = count * _STORAGES[kinds[key].kind].itemsize
        if wanted > n_bytes - file.tell():
            raise WeightsError(
                f"storage {key!r}: expected {wanted:,} bytes, the file ends after {n_bytes - file.tell():,}"
            )
        contents[key] = file.read(wanted)
    return _collect(tree, lambda storage: contents[storage.key], n_bytes)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> _Tensor:
    numbers = [offset, *shape, *stride]
    if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise WeightsError("a tensor with sizes that are not natural numbers")
    if len(shape) != len(stride):
        raise WeightsError("a tensor whose shape and stride differ in length")
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


# The only callables a file may name, and what happens instead of a call.
_CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("collections", "OrderedDict"): lambda items=(): dict(items),
}


def _find_global(module: str, name: str) -> Any:
    if module == "torch" and name in _STORAGES:
        return name
    if (module, name) in _CALLS:
        return _CALLS[module, name]
    raise WeightsError(f"asks for {module}.{name}, which a dictionary of tensors does not need: refused")


def _persistent(value: Any) -> _Storage:
    tag, kind, key, _, size, *view = value
    if tag != "storage" or kind not in _STORAGES or type(size) is not int or size < 0 or (view and view[0] is not None):
        raise WeightsError(f"an unknown kind of storage: {value!r}")
    return _Storage(kind, str(key), size)


def _interpret(file: BinaryIO) -> Any:
    """Runs one pickle up to its STOP, with the instructions below and no others."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def pop_mark() -> list[Any]:
        place = max(i for i, item in enumerate(stack) if item is _Mark)
        items = stack[place + 1 :]
        del stack[place:]
        return items

    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_Mark)
            case "NONE":
                stack.append(None)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1" | "BINFLOAT" | "FLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "UNICODE":
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING" | "BINBYTES" | "SHORT_BINBYTES":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(pop_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "LIST":
                stack.append(pop_mark())
            case "APPEND":
                value = stack.pop()
                stack[-1].append(value)
            case "APPENDS":
                items = pop_mark()
                stack[-1].extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "SETITEMS":
                items = pop_mark()
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "BUILD":
                stack.pop()  # attributes (a state_dict's _metadata) carry no tensors
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[int(argument)] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[int(argument)])
            case "GLOBAL":
                stack.append(_find_global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_find_global(module, name))
            case "BINPERSID":
                stack.append(_persistent(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                if function not in _CALLS.values():
                    raise WeightsError("calls what is not a function: refused")
                stack.append(function(*arguments))
            case "STOP":
                return stack.pop()
            case other:
                raise WeightsError(f"uses the pickle instruction {other}, which a dictionary of tensors does not need")
    raise WeightsError("ends within its dictionary")


def _tensors_of(tree: Any) -> dict[str, _Tensor]:
    """The named tensors of a file's dictionary, out of its wrapper if it has one."""
    if not isinstance(tree, dict):
        raise WeightsError(f"expected a dictionary of tensors, got {type(tree).__name__}")
    for key in _WRAPPERS:
        if isinstance(tree.get(key), dict):
            return _tensors_of(tree[key])
    return {name: value for name, value in tree.items() if isinstance(name, str) and isinstance(value, _Tensor)}


def _collect(tree: Any, load: Callable[[_Storage], bytes], n_bytes: int) -> dict[str, np.ndarray]:
    numbers = sum(math.prod(tensor.shape) for tensor in _tensors_of(tree).values())
    if 4 * numbers > MOST_EXPANSION * n_bytes:  # tensors may share a storage, and a small file name a large one often
        raise WeightsError(f"holds {n_bytes:,} bytes and names tensors of {numbers:,} numbers: refused")
    return {name: _materialize(name, tensor, load(tensor.storage)) for name, tensor in _tensors_of(tree).items()}


def _materialize(name: str, tensor: _Tensor, data: bytes) -> np.ndarray:
    dtype = _STORAGES[tensor.storage.kind]
    if len(data) != tensor.storage.size * dtype.itemsize:
        raise WeightsError(
            f"{name}: expected {tensor.storage.size * dtype.itemsize} bytes of {tensor.storage.kind}, got {len(data)}"
        )
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    empty = 0 in tensor.shape
    if not empty and (last >= tensor.storage.size or math.prod(tensor.shape) > tensor.storage.size):
        raise WeightsError(f"{name}: shape {tensor.shape} does not fit a storage of {tensor.storage.size} numbers")
    flat = np.frombuffer(data, dtype)
    if empty:
        return plain_array(np.zeros(tensor.shape, dtype))
    strides = tuple(step * dtype.itemsize for step in tensor.stride)
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
    if tensor.storage.kind == "BFloat16Storage":
        return (view.astype("<u4") << 16).view("<f4")
    return plain_array(view)


def plain_array(array: np.ndarray) -> np.ndarray:
    """float32 or int64, contiguous, and a copy of its own."""
    return np.array(array, dtype=np.float32 if array.dtype.kind == "f" else np.int64, order="C")
