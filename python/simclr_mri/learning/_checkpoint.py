"""Checkpoints: one safetensors file with weights, optimizer, position, history and configuration.

Weights lie under torchvision's names, so any program that reads safetensors can use them; the optimizer's arrays are
under "optimizer/", the best epoch's weights under "best/". Everything else is JSON in the file's metadata. A file is
written beside the old one, flushed to the disk and renamed over it: whatever happens, a whole checkpoint is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import check_path
from ..weights import (
    CheckpointError,
    Tensors,
    TensorToCopy,
    match_channels,
    read_safetensors,
    read_weights,
    write_safetensors,
)

CHECKPOINT_FILE = "checkpoint.safetensors"


CHECKPOINT_FORMAT = "simclr_mri 1"


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
    return path if path.suffix in (".safetensors", ".pth", ".pt", ".bin") else path / CHECKPOINT_FILE


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint; on OSError (a full disk) the previous file is as it was."""
    path = checkpoint_path(path)
    tensors: dict[str, np.ndarray | TensorToCopy] = dict(checkpoint.model)
    tensors |= {f"optimizer/{name}": array for name, array in checkpoint.optimizer.items()}
    tensors |= {f"best/{name}": array for name, array in checkpoint.best.items()}
    keys = ("kind", "config", "network", "progress", "extra", "history")
    metadata = {"format": CHECKPOINT_FORMAT} | {key: json.dumps(getattr(checkpoint, key)) for key in keys}
    write_safetensors(path, tensors, metadata)
    return path


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this program from a run folder or a file."""
    path = checkpoint_path(path)
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file, but not a checkpoint of simclr_mri (format {metadata.get('format')!r}, "
            f"expected {CHECKPOINT_FORMAT!r}). To start from the weights of another program, use SimCLR(weights=...) "
            "or Classifier(init=...)."
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
    kept["conv1.weight"] = match_channels(path, kept["conv1.weight"], in_channels)
    return kept


def _read_any(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """(tensors, whether the file is a checkpoint of ours)."""
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    if path.suffix != ".safetensors":
        return read_weights(path), False
    tensors, metadata = read_safetensors(path)
    own = metadata.get("format") == CHECKPOINT_FORMAT
    return (tensors if own else read_weights(path)), own
