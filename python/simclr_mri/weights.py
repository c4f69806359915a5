"""Weights from and to other programs: torchvision's and timm's ResNets as ``.safetensors`` or ``.pth``.

A ``.pth`` file is a pickle, and a pickle is a program. None is run here: an interpreter of the few instructions that a
dictionary of tensors needs reads it, every name outside an allow-list is refused, and every tensor is checked against
the bytes that the file really holds. PyTorch is not needed.
"""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["WeightsError", "export_weights", "read_weights"]

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
_PREFIXES = ("module.", "model.", "backbone.")


class WeightsError(ValueError):
    """A weights file that cannot be read, or holds what a dictionary of tensors does not need."""


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


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a weights file.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors`` file, or a ``.pth`` / ``.pt`` / ``.bin`` file of ``torch.save`` (both of its formats).
        A dictionary under ``state_dict`` or ``model`` is unwrapped, the prefixes of data-parallel training are dropped.

    Returns
    -------
    dict of str to ndarray
        Names as stored; floating-point tensors as float32, integers as int64.

    Raises
    ------
    FileNotFoundError
        No such file.
    WeightsError
        Not a weights file, truncated, or holding anything but tensors and plain values; the message names the file.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "w.safetensors"
    >>> export_weights({"fc.bias": np.zeros(4, np.float32)}, path)
    >>> read_weights(path)["fc.bias"].shape
    (4,)
    """
    path = Path(path)
    with open(path, "rb") as file:
        head = file.read(16)
        file.seek(0)
        try:
            if head[:4] == b"PK\x03\x04":
                tensors = _read_zip(file)
            elif head[:1] == b"\x80":
                tensors = _read_legacy(file)
            else:
                tensors = _read_safetensors(path)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from None
        except (
            zipfile.BadZipFile,
            EOFError,
            IndexError,
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
            RuntimeError,
            MemoryError,
        ) as error:
            raise WeightsError(f"{path}: not a whole weights file ({type(error).__name__}: {error})") from None
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors")
    return _strip_prefix(tensors)


def export_weights(model: Any, path: str | Path, *, rgb_stem: bool = False) -> None:
    """Writes weights under torchvision's names as ``.safetensors``, whole or not at all.

    Parameters
    ----------
    model : SimCLR or Classifier, fitted, or mapping of str to ndarray
        The network to write, head included; or its tensors, as ``Network.state()`` gives them.
    path : str or Path
        The file to write, ``.safetensors``.
    rgb_stem : bool, default False
        Spread a one-channel ``conv1.weight`` evenly over three channels, so that a network that is given the same
        gray picture in all three computes the same.

    Raises
    ------
    TypeError
        Not a fitted model and no mapping.

    Examples
    --------
    >>> import tempfile, pathlib, simclr_mri as sm
    >>> ds = sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> clf = sm.Classifier(arch="resnet18", epochs=0, verbose=0).fit(ds)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "resnet18.safetensors"
    >>> export_weights(clf, path, rgb_stem=True)  # torch: model.load_state_dict(safetensors.torch.load_file(path))
    >>> read_weights(path)["conv1.weight"].shape
    (64, 3, 7, 7)
    """
    from safetensors.numpy import save

    from .checkpoint import atomic_writer

    network = getattr(model, "network_", None)
    if network is None and not isinstance(model, Mapping):
        raise TypeError(
            f"export_weights: expected a fitted SimCLR or Classifier, or a dictionary of arrays, got "
            f"{type(model).__name__}{' that is not fitted yet' if hasattr(model, 'fit') else ''}"
        )
    state = model if network is None else network.state()
    tensors = {name: np.ascontiguousarray(value) for name, value in state.items()}
    stem = tensors.get("conv1.weight")
    if rgb_stem and stem is not None and stem.shape[1] == 1:
        tensors["conv1.weight"] = np.repeat(stem / np.float32(3), 3, axis=1)
    with atomic_writer(path) as file:
        file.write(save(tensors))


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: _plain(file.get_tensor(name)) for name in file.keys()}
    except SafetensorError as error:
        raise WeightsError(f"neither a safetensors file nor one of torch.save ({error})") from None
    except (TypeError, AttributeError) as error:
        raise WeightsError(f"has a tensor type that numpy lacks ({error}); store it as float32") from None


def _size_of(file: BinaryIO) -> int:
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return size


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
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


def _read_legacy(file: BinaryIO) -> dict[str, np.ndarray]:
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
        return _plain(np.zeros(tensor.shape, dtype))
    strides = tuple(step * dtype.itemsize for step in tensor.stride)
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
    if tensor.storage.kind == "BFloat16Storage":
        return (view.astype("<u4") << 16).view("<f4")
    return _plain(view)


def _plain(array: np.ndarray) -> np.ndarray:
    """float32 or int64, contiguous, and a copy of its own."""
    return np.array(array, dtype=np.float32 if array.dtype.kind == "f" else np.int64, order="C")


def _strip_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            return {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
