"""The safetensors format: arrays and metadata, written one array at a time, flushed before they appear."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._shared import atomic_writer
from ._errors import CheckpointError

_LARGE_BYTES = 1 << 20


_DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}


@dataclass(frozen=True)
class TensorToCopy:
    """A float32 tensor of the core that is copied when it is written, so that saving needs memory for one at a time."""

    shape: tuple[int, ...]
    copy: Callable[[], np.ndarray]
    dtype = np.dtype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.copy()


Tensors = Mapping[str, "np.ndarray | TensorToCopy"]


def write_safetensors(path: str | Path, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    """The safetensors format: header size, JSON header, then the arrays, little-endian and C-ordered."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        header[name] = {
            "dtype": _DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # arrays start on 8 bytes, as readers that map the file expect
    with atomic_writer(path) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for tensor in tensors.values():
            _append(file, np.ascontiguousarray(tensor))


def _append(file: IO[bytes], array: np.ndarray) -> None:
    """Writes an array. The disk writes what is there while the rest is copied, and the system takes the same memory
    for the rest: a stop waits for a checkpoint, and 180 MB that a virtual machine has to ask for take 0.3 s."""
    file.write(array.reshape(-1).view(np.uint8).data)
    if array.nbytes >= _LARGE_BYTES and hasattr(os, "posix_fadvise"):
        file.flush()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata; FileNotFoundError, or CheckpointError naming the file when it is damaged or foreign."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is not a whole safetensors file: {error}. It may have been cut "
            "off while it was copied."
        ) from error
