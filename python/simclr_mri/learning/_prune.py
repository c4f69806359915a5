"""Frees what a finished run keeps only to be extended: the state of its optimizer, and weights of its last step where
others are the best. What `evaluate`, `predict`, `explain` and `finetune` read stays, to the bit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open

from .._shared import sole_writer
from ..weights import safetensors_metadata
from ._checkpoint import arrays_of, checkpoint_path, read_checkpoint, write_checkpoint

_ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U8": 1, "BOOL": 1}


def spare_bytes(folder: str | Path) -> int:
    """What `prune` would free; 0 for a run that is not finished, and has to go on.

    Parameters
    ----------
    folder : path
        A run folder or its checkpoint.
    """
    file = checkpoint_path(folder)
    if not json.loads(safetensors_metadata(file).get("progress", "{}")).get("finished"):
        return 0
    with safe_open(file, framework="numpy") as tensors:
        sizes = {}
        for name in tensors.keys():
            part = tensors.get_slice(name)
            sizes[name] = math.prod(part.get_shape()) * _ITEM_BYTES.get(str(part.get_dtype()), 0)
    return sum(size for name, size in sizes.items() if name.startswith(("optimizer/", "best/")))


def prune(folder: str | Path) -> int:
    """Rewrite the checkpoint of a finished run without what only an extension needs.

    Parameters
    ----------
    folder : path

    Returns
    -------
    int
        Bytes that were freed.

    Raises
    ------
    BlockingIOError
        A run is writing to the folder at this moment.
    CheckpointError, OSError
        The file is damaged, or cannot be written; it stays as it was.
    """
    file = checkpoint_path(folder)
    with sole_writer(file.parent):
        if not spare_bytes(file):
            return 0
        before = file.stat().st_size
        found = read_checkpoint(file)
        weights = arrays_of(found.best or found.model)
        write_checkpoint(file, replace(found, model=weights, optimizer={}, best={}))
        return before - file.stat().st_size
