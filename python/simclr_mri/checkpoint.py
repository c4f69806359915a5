"""Checkpoints: one safetensors file with weights, optimizer, position, history and configuration.

Weights lie under torchvision's names, so any program that reads safetensors can use them; the optimizer's arrays are
under "optimizer/", the best epoch's weights under "best/". Everything else is JSON in the file's metadata. A file is
written beside the old one, flushed to the disk and renamed over it: whatever happens, a whole checkpoint is there.
"""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from ._dataset import check_path
from .weights import read_weights

FILE_NAME = "checkpoint.safetensors"
FORMAT = "simclr_mri 1"
_LARGE_BYTES = 1 << 20
_DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint, or not one that this program can use."""


@dataclass(frozen=True)
class TensorToCopy:
    """A float32 tensor of the core that is copied when it is written, so that saving needs memory for one at a time."""

    shape: tuple[int, ...]
    copy: Callable[[], np.ndarray]
    dtype = np.dtype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.copy()


Tensors = Mapping[str, "np.ndarray | TensorToCopy"]


@dataclass
class Checkpoint:
    """What a run leaves behind.

    Attributes
    ----------
    kind : {"simclr", "classifier"}
    config : dict
        The estimator's parameters.
    network : dict
        What rebuilds the network: arch, image_size, in_channels, features, head, head_name.
    model : mapping of str to ndarray or TensorToCopy
        Weights and running statistics under torchvision's names; arrays when the checkpoint was read.
    optimizer, best : mapping of str to ndarray or TensorToCopy
        Optimizer state (empty when the run is finished) and the best epoch's weights (empty when none was chosen).
    progress : dict
        epoch, step, finished, and what the loop needs to go on.
    extra : dict
        preprocess (mean, std), classes, data (options and fingerprints), versions, recipe.
    history : list of dict
        One row an epoch.
    """

    kind: str
    config: dict[str, Any]
    network: dict[str, Any]
    model: Tensors
    optimizer: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


def checkpoint_path(path: str | Path) -> Path:
    """The checkpoint file of a run folder, or the file itself."""
    path = check_path(path, "path")
    return path if path.suffix in (".safetensors", ".pth", ".pt", ".bin") else path / FILE_NAME


@contextlib.contextmanager
def atomic_writer(path: str | Path):
    """A binary file that appears at `path` whole or not at all; OSError names `path`."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            kept = "; the file that was there before is intact" if path.exists() else ""
            raise OSError(error.errno, f"cannot write {path}: {error.strerror}{kept}") from error
        raise


def _sweep(path: Path) -> None:
    """Removes what processes that were killed while they wrote this file have left; a checkpoint is large."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        pid = left.suffixes[-2][1:] if len(left.suffixes) > 1 else ""
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except OSError:
            pass  # it lives and is someone else's


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


def save(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint; on OSError (a full disk) the previous file is as it was."""
    path = checkpoint_path(path)
    tensors: dict[str, np.ndarray | TensorToCopy] = dict(checkpoint.model)
    tensors |= {f"optimizer/{name}": array for name, array in checkpoint.optimizer.items()}
    tensors |= {f"best/{name}": array for name, array in checkpoint.best.items()}
    keys = ("kind", "config", "network", "progress", "extra", "history")
    metadata = {"format": FORMAT} | {key: json.dumps(getattr(checkpoint, key)) for key in keys}
    write_safetensors(path, tensors, metadata)
    return path


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this program from a run folder or a file."""
    path = checkpoint_path(path)
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file, but not a checkpoint of simclr_mri (format {metadata.get('format')!r}, "
            f"expected {FORMAT!r}). To start from the weights of another program, use SimCLR(weights=...) or "
            "Classifier(init=...)."
        )
    try:
        values = {
            key: json.loads(metadata[key]) for key in ("kind", "config", "network", "progress", "extra", "history")
        }
    except (KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: damaged metadata: {error}") from error
    groups: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimizer": {}, "best": {}}
    for name, array in tensors.items():
        group, _, rest = name.partition("/")
        groups[group if rest else "model"][rest or name] = array
    return Checkpoint(**values, **groups)


def load_weights(path: str | Path, in_channels: int) -> dict[str, np.ndarray]:
    """Weights of a ResNet from a checkpoint of ours or a torchvision / timm file, without its head.

    Parameters
    ----------
    path : str or Path
        A run folder, or a `.safetensors` or `.pth` file.
    in_channels : int
        1 sums the stem's weights over RGB: a gray image then gives what it would as three equal channels.

    Returns
    -------
    dict of str to ndarray
        float32, torchvision's names; `fc.*`, `projection.*` and `num_batches_tracked` are left out.
    """
    path = checkpoint_path(path)
    tensors, own = _read_any(path)
    if "conv1.weight" not in tensors:
        raise CheckpointError(
            f"{path}: expected a ResNet under torchvision's names (conv1.weight, layer1.0.conv1.weight, ...), found "
            f"{', '.join(list(tensors)[:4]) or 'nothing'}"
        )
    prefix = "best/" if own and any(name.startswith("best/") for name in tensors) else ""
    kept = {}
    for name, array in tensors.items():
        plain = name.removeprefix(prefix)
        is_backbone = name.startswith(prefix) and "/" not in plain and plain.split(".")[0] not in ("fc", "projection")
        if is_backbone and not plain.endswith("num_batches_tracked"):
            kept[plain] = np.asarray(array, np.float32)
    kept["conv1.weight"] = _match_channels(path, kept["conv1.weight"], in_channels)
    return kept


def arch_of(weights: Mapping[str, np.ndarray]) -> str | None:
    """Which ResNet's weights these are, by the kind and the number of blocks of its third stage; None if none of ours.

    Examples
    --------
    >>> arch_of({f"layer3.{i}.conv{j}.weight": np.zeros(0) for i in range(6) for j in (1, 2, 3)})
    'resnet50'
    """
    blocks = {name.split(".")[1] for name in weights if name.startswith("layer3.")}
    found = (len(blocks), "layer3.0.conv3.weight" in weights)
    return {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50", (23, True): "resnet101"}.get(found)


def _read_any(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """(tensors, whether the file is a checkpoint of ours)."""
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    if path.suffix != ".safetensors":
        return read_weights(path), False
    tensors, metadata = read_safetensors(path)
    own = metadata.get("format") == FORMAT
    return (tensors if own else read_weights(path)), own


def _match_channels(path: Path, stem: np.ndarray, in_channels: int) -> np.ndarray:
    found = stem.shape[1]
    if found == in_channels:
        return stem
    if found == 3 and in_channels == 1:
        return stem.sum(axis=1, keepdims=True)
    if found == 1 and in_channels == 3:
        return np.repeat(stem / 3, 3, axis=1)
    raise CheckpointError(f"{path}: conv1.weight takes {found} channels; the images have {in_channels}")
