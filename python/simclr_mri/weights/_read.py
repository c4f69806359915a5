"""Weights from other programs: torchvision's and timm's ResNets as ``.safetensors`` or ``.pth``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .._shared import check_path
from ._errors import WeightsError, naming
from ._open import is_torch_file, open_weights
from ._stored import check_numbers
from ._torch_file import materialize, open_torch
from ._torch_pickle import refusal
from ._torch_values import Table, Tensor

_WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which training scripts store the weights
_MOST_WRAPPERS = 4
_PREFIXES = ("module.", "model.", "backbone.")


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
    path = check_path(path, "path").expanduser()
    if is_torch_file(path):
        with naming(path):
            tensors = _read_torch(path)
    else:
        tensors = {name: np.asarray(tensor) for name, tensor in open_weights(path).items()}
    with naming(path):
        if not tensors:
            raise WeightsError("holds no tensors")
        check_numbers(tensors)
    return _strip_prefix(tensors)


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    """The named tensors of the file's dictionary, out of its wrapper if it has one."""
    file = open_torch(path)
    table = file.tree
    for _ in range(_MOST_WRAPPERS):
        if type(table) is Table:
            table = next((table[key] for key in _WRAPPERS if type(table.get(key)) is Table), table)
    if type(table) is not Table:
        raise WeightsError(refusal(file.asked) if file.asked else "expected a dictionary of tensors")
    tensors = {name: value for name, value in table.items() if type(name) is str and type(value) is Tensor}
    if not tensors and file.asked:
        raise WeightsError(refusal(file.asked))
    file.check(tensors)
    return {name: materialize(name, tensor, file) for name, tensor in tensors.items()}


def _strip_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            return {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
