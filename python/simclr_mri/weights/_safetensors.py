"""The safetensors format: arrays and metadata, written one array at a time, flushed before they appear.

The format has no checksum. Checkpoints carry their own: XXH64 of each tensor in the metadata's `digests`, and of the
header itself in `digest`, which stands first and counts as zeros. Both are 16 hexadecimal digits, so that they can be
filled in when all tensors are written.
"""

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

from .. import _core
from .._shared import atomic_writer
from ._errors import CheckpointError

_LARGE_BYTES = 1 << 20
_NO_DIGEST = "0" * 16
_BEGIN = b'{"__metadata__": {"digest": "'
_WAY_OUT = "Copy the file again, or train anew in another folder"
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
    """The safetensors format: header size, JSON header, then the arrays, little-endian and C-ordered. With digests."""
    text = _header(tensors, metadata, dict.fromkeys(tensors, _NO_DIGEST))
    digests = {}
    with atomic_writer(path) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name, tensor in tensors.items():
            digests[name] = _append(file, np.ascontiguousarray(tensor))
        text = _header(tensors, metadata, digests)
        file.seek(8)
        file.write(_BEGIN + _hexadecimal(text).encode() + text[len(_BEGIN) + len(_NO_DIGEST) :])


def _header(tensors: Tensors, metadata: Mapping[str, str], digests: Mapping[str, str]) -> bytes:
    """The header as text, its own digest still zeros."""
    own = {"digest": _NO_DIGEST, "digests": json.dumps(digests)}
    header: dict[str, Any] = {"__metadata__": {**own, **metadata}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        header[name] = {
            "dtype": _DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    return text + b" " * (-len(text) % 8)  # arrays start on 8 bytes, as readers that map the file expect


def _hexadecimal(data: Any) -> str:
    return f"{_core.xxh64(data):016x}"


def _append(file: IO[bytes], array: np.ndarray) -> str:
    """Writes an array and returns its digest. The disk writes what is there while the rest is copied, and the system
    takes the same memory for the rest: a stop waits for a checkpoint, and 180 MB that a virtual machine has to ask for
    take 0.3 s."""
    data = array.reshape(-1).view(np.uint8).data
    file.write(data)
    if array.nbytes >= _LARGE_BYTES and hasattr(os, "posix_fadvise"):
        file.flush()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return _hexadecimal(data)


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata, checked against their digests if the file has them.

    Raises
    ------
    FileNotFoundError
    CheckpointError
        Damaged, or of another format; the message names the file.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = dict(file.metadata() or {})
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is not a whole safetensors file: {error}. It may have been cut "
            "off while it was copied."
        ) from error
    if "digest" in metadata:
        _check_digests(path, tensors, metadata)
    return tensors, metadata


def _check_digests(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """CheckpointError unless the file is, bit by bit, what was written."""
    with open(path, "rb") as file:
        text = file.read(struct.unpack("<Q", file.read(8))[0])
    begin, end = len(_BEGIN), len(_BEGIN) + len(_NO_DIGEST)
    as_written = _BEGIN + _NO_DIGEST.encode() + text[end:]
    if not text.startswith(_BEGIN) or text[begin:end].decode("latin-1") != _hexadecimal(as_written):
        raise CheckpointError(f"{path}: its header is damaged. {_WAY_OUT}")
    digests = json.loads(metadata["digests"])
    for name, array in tensors.items():
        if digests[name] != _hexadecimal(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data):
            raise CheckpointError(f"{path}: the tensor {name} is damaged. {_WAY_OUT}")
