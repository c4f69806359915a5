"""Any file of weights, told by its content: its tensors, which stay on the disk until they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ._encoder import Encoder, find_encoder
from ._errors import WeightsError, naming
from ._stored import StoredTensor, check_numbers, open_safetensors
from ._torch_file import LazyTensor, open_regular, open_tensors

_OTHERS = {  # how files begin that people take for weights, and what to do about each
    b"\x89HDF": "an HDF5 file, as Keras writes them; convert it to PyTorch or safetensors first",
    b"version https://git-lfs": "a Git LFS pointer, not the weights: fetch them with 'git lfs pull'",
    b"<": "a web page or XML, not weights: the download was answered by a page",
    b"\x93NUMPY": "a NumPy array; expected a file of torch.save or a safetensors file",
    b"\x08": "an ONNX file; expected a file of torch.save or a safetensors file",
    b"\x1f\x8b": "compressed by gzip: unpack it first",
}


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as those of torch.save do, in either of its formats; OSError if it cannot be read."""
    with open_regular(path) as file:
        head = file.read(4)
    return head == b"PK\x03\x04" or head[:1] == b"\x80"


def open_weights(path: str | Path) -> Mapping[str, LazyTensor | StoredTensor]:
    """The tensors of a file of torch.save or a safetensors file, whatever it is called.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    mapping of str to tensor
        Each has a `shape` and a `dtype_name`, and becomes a float32 or int64 array by `numpy.asarray`. Nested names are
        joined by dots.

    Raises
    ------
    OSError
        The system refuses the file.
    WeightsError
        Names the file and says what it is instead.
    """
    path = Path(path).expanduser()
    if is_torch_file(path):
        return open_tensors(path)
    with open_regular(path) as file:
        head = file.read(32)
    with naming(path):
        if not head:
            raise WeightsError("the file is empty")
        for begin, what in _OTHERS.items():
            if head.startswith(begin) and head[7:8] != b"\0":  # the header's size of a safetensors file ends in zeros
                raise WeightsError(what)
        return open_safetensors(path)


def read_encoder(path: str | Path) -> tuple[dict[str, np.ndarray], Encoder]:
    """The ResNet encoder of a file, and where in the file it was found.

    Parameters
    ----------
    path : str or Path
        Of torch.save or safetensors, written by any of the programs that `find_encoder` knows.

    Returns
    -------
    weights : dict of str to ndarray
        float32 under torchvision's names, without a head.
    encoder : Encoder

    Raises
    ------
    OSError
    WeightsError
        Not a file of weights, or damaged; names the file.
    NoEncoderError
        Holds no ResNet, or none that can be used.
    """
    tensors = open_weights(path)
    with naming(path):
        encoder = find_encoder(tensors)
    weights = {name: np.asarray(tensors[stored]) for name, stored in encoder.names.items()}
    with naming(path):
        check_numbers(weights)
    return weights, encoder


__all__ = ["is_torch_file", "open_weights", "read_encoder"]
