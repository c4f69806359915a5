"""Safetensors files as tensors that stay on the disk until they are asked for, bfloat16 and fp16 among them.

The library checks the header: sizes, overlaps, the length of the file. The numbers are read here, because NumPy has no
bfloat16, and because of a training program's checkpoint only the encoder is wanted.

Format: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ._errors import WeightsError
from ._torch_values import shortened

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "u1",
}
_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, read when it is made into an array: float32 or int64, C-ordered, a copy of its own."""

    shape: tuple[int, ...]
    dtype_name: str
    read: Callable[[], np.ndarray]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read()


def widened(array: np.ndarray, *, bfloat16: bool = False) -> np.ndarray:
    """float32 of any floating-point numbers, int64 of any integers; bfloat16 comes as its bits, uint16."""
    if bfloat16:
        return (array.astype("<u4") << 16).view("<f4")
    return np.array(array, dtype=np.float32 if array.dtype.kind == "f" else np.int64, order="C")


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file that the library has found whole; the message of WeightsError does not name the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise WeightsError(f"neither a safetensors file nor one of torch.save ({error})") from None
    with open(path, "rb") as file:
        (n_header,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(n_header))
    header.pop("__metadata__", None)
    return {name: _stored(path, 8 + n_header, name, entry) for name, entry in header.items()}


def _stored(path: Path, start: int, name: str, entry: dict[str, Any]) -> StoredTensor:
    kind = entry["dtype"]
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    read = partial(_read, path, name, kind, start + begin, end - begin, shape)
    return StoredTensor(shape, _NAMES.get(kind, kind), read)


def _read(path: Path, name: str, kind: str, start: int, n_bytes: int, shape: tuple[int, ...]) -> np.ndarray:
    if kind not in _DTYPES:
        raise WeightsError(f"{path}: {shortened(name)} is stored as {kind}; expected one of {', '.join(_DTYPES)}")
    with open(path, "rb") as file:
        file.seek(start)
        data = file.read(n_bytes)
    return widened(np.frombuffer(data, _DTYPES[kind]).reshape(shape), bfloat16=kind == "BF16")


def check_numbers(tensors: Mapping[str, np.ndarray]) -> None:
    """WeightsError unless all are finite, and no variance is below 0: such weights would spoil every result."""
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise WeightsError(f"{shortened(name)} holds numbers that are not finite (NaN or infinity)")
        if name.endswith("running_var") and array.size and array.min() < 0:
            raise WeightsError(f"{shortened(name)} holds variances below 0, the lowest {array.min():g}")


def safetensors_metadata(path: str | Path) -> dict[str, str]:
    """The texts in the header of a safetensors file; empty for a file of another kind, whatever it is called."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, ValueError):
        return {}


__all__ = ["StoredTensor", "check_numbers", "open_safetensors", "safetensors_metadata", "widened"]
