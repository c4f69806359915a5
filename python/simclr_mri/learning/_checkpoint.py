"""Checkpoints: one safetensors file with weights, optimizer, position, history and configuration.

Weights lie under torchvision's names, so any program that reads safetensors can use them; the optimizer's arrays are
under "optimizer/", the best epoch's weights under "best/". Everything else is JSON in the file's metadata. A file is
written beside the old one, flushed to the disk and renamed over it: whatever happens, a whole checkpoint is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import check_path, some, to_json
from ..config import with_new_names
from ..weights import (
    CheckpointError,
    Tensors,
    TensorToCopy,
    match_channels,
    read_encoder,
    read_safetensors,
    safetensors_metadata,
    write_safetensors,
)
from ._plausible import check_tensors, check_values

CHECKPOINT_FILE = "checkpoint.safetensors"
CHECKPOINT_FORMAT = "simclr_mri 2"
_FORMATS = ("simclr_mri 1", CHECKPOINT_FORMAT)  # 1: without digests
_PARTS = ("kind", "config", "network", "progress", "extra", "history")
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")
"""Endings of files of weights: told from a run folder by them where nothing is there yet."""


@dataclass(eq=False)
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


def arrays_of(tensors: Tensors) -> dict[str, np.ndarray]:
    """Tensors of a checkpoint as arrays; those still in the core are copied out."""
    return {name: np.asarray(tensor) for name, tensor in tensors.items()}


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """The checkpoint file of a run folder, or the file itself, whatever it is called. `~` is the user's home."""
    path = check_path(path, "path").expanduser()
    if path.is_file() or (path.suffix in WEIGHT_SUFFIXES and not path.is_dir()):
        return path
    return path / CHECKPOINT_FILE


def existing_checkpoint(path: str | os.PathLike[str]) -> Path:
    """As `checkpoint_path`; FileNotFoundError if there is none, which names files of weights that are there."""
    place = checkpoint_path(path)
    if place.is_file():
        return place
    folder = place.parent
    others = sorted(p.name for p in folder.iterdir() if p.suffix in WEIGHT_SUFFIXES) if folder.is_dir() else []
    if place.name == CHECKPOINT_FILE and others:
        raise FileNotFoundError(
            f"{folder}: holds no {CHECKPOINT_FILE}, but {some(others, 3)}: give the file, {folder / others[0]}"
        )
    raise FileNotFoundError(f"no checkpoint and no weights at {place}")


def is_own_checkpoint(path: Path) -> bool:
    """Whether this package wrote the file, told by its content."""
    return is_checkpoint(safetensors_metadata(path))


def read_metadata(path: Path) -> dict[str, Any]:
    """Everything of a checkpoint but its arrays, which are not read."""
    metadata = safetensors_metadata(path)
    with restoring(str(path)):
        return {key: json.loads(metadata[key]) for key in _PARTS}


@contextlib.contextmanager
def restoring(source: str) -> Iterator[None]:
    """CheckpointError for what a checkpoint lacks, or holds in another shape than its own metadata say."""
    try:
        yield
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"{source}: the checkpoint lacks {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def _place_to_write(path: str | Path) -> Path:
    path = check_path(path, "path").expanduser()
    if path.suffix == ".safetensors" and not path.is_dir():
        return path
    if path.is_file() or (path.suffix in WEIGHT_SUFFIXES and not path.is_dir()):
        raise ValueError(
            f"{path}: a checkpoint is written to a folder or to a .safetensors file. For other programs: export_weights"
        )
    return path / CHECKPOINT_FILE


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint; on OSError (a full disk) the previous file is as it was."""
    path = _place_to_write(path)
    tensors: dict[str, np.ndarray | TensorToCopy] = dict(checkpoint.model)
    tensors |= {f"optimizer/{name}": array for name, array in checkpoint.optimizer.items()}
    tensors |= {f"best/{name}": array for name, array in checkpoint.best.items()}
    metadata = {"format": CHECKPOINT_FORMAT} | {key: to_json(getattr(checkpoint, key)) for key in _PARTS}
    write_safetensors(path, tensors, metadata)
    return path


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this program from a run folder or a file.

    Raises
    ------
    FileNotFoundError
    CheckpointError
        Not a checkpoint, damaged (by its digests), or with values that no run writes; the message names the file.
    """
    path = checkpoint_path(path)
    tensors, metadata = read_safetensors(path)
    if not is_checkpoint(metadata):
        raise CheckpointError(
            f"{path} is a safetensors file, but not a checkpoint of simclr_mri (format "
            f"{metadata.get('format', '')[:40]!r}, expected {CHECKPOINT_FORMAT!r}). To start from the weights of "
            "another program, use SimCLR(weights=...) or Classifier(init=...)."
        )
    if metadata["format"] == CHECKPOINT_FORMAT and "digest" not in metadata:
        raise CheckpointError(f"{path}: damaged: a checkpoint of this version without its digest")
    try:
        values = {key: json.loads(metadata[key]) for key in _PARTS}
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged metadata: {error}") from error
    try:
        check_values(values)
        check_tensors(tensors, values["progress"])
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    values["config"] = with_new_names(values["config"])
    groups: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimizer": {}, "best": {}}
    for name, array in tensors.items():
        group, _, rest = name.partition("/")
        group = group if rest else "model"
        if group not in groups:
            raise CheckpointError(
                f"{path}: damaged: a tensor {name[:80]!r} that belongs to none of {', '.join(groups)}"
            )
        groups[group][rest or name] = array
    return Checkpoint(**values, model=groups["model"], optimizer=groups["optimizer"], best=groups["best"])


def is_checkpoint(metadata: Mapping[str, str]) -> bool:
    """Whether a safetensors file with this metadata is a checkpoint of this program, of any version."""
    return metadata.get("format") in _FORMATS


def load_weights(path: str | Path, in_channels: int) -> dict[str, np.ndarray]:
    """Weights of a ResNet without its head, from a checkpoint of ours or a file of another program.

    Warns of what was taken and what was left out where a file holds more than a network and its head.

    Parameters
    ----------
    path : str or Path
        A run folder, or a file of safetensors or torch.save, whatever it is called; see `weights.find_encoder`.
    in_channels : int
        1 sums the stem's weights over RGB: a gray image then gives what it would as three equal channels.

    Returns
    -------
    dict of str to ndarray
        float32, torchvision's names.

    Raises
    ------
    FileNotFoundError, WeightsError, CheckpointError
        Nothing is there; a file that is damaged or of another kind; no ResNet in it. Each names the file.
    """
    path = existing_checkpoint(path)
    if is_own_checkpoint(path):
        found = read_checkpoint(path)
        state = {name: np.asarray(array) for name, array in (found.best or found.model).items()}
        weights = {name: array for name, array in state.items() if name.split(".")[0] not in ("fc", "projection")}
    else:
        weights, encoder = read_encoder(path)
        if not encoder.is_plain:
            warnings.warn(f"{path}: {encoder}", stacklevel=2)
    return weights | {"conv1.weight": match_channels(path, weights["conv1.weight"], in_channels)}
