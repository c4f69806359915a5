"""Weights from other programs: torchvision's and timm's ResNets as ``.safetensors`` or ``.pth``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ._errors import WeightsError
from ._torch_pickle import plain_array, read_legacy, read_zip

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
    path = Path(path)
    with open(path, "rb") as file:
        head = file.read(16)
        file.seek(0)
        try:
            if head[:4] == b"PK\x03\x04":
                tensors = read_zip(file)
            elif head[:1] == b"\x80":
                tensors = read_legacy(file)
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


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: plain_array(file.get_tensor(name)) for name in file.keys()}
    except SafetensorError as error:
        raise WeightsError(f"neither a safetensors file nor one of torch.save ({error})") from None
    except (TypeError, AttributeError) as error:
        raise WeightsError(f"has a tensor type that numpy lacks ({error}); store it as float32") from None


def _strip_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            return {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
