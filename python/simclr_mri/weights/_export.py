"""Weights for other programs, under torchvision's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def export_weights(model: Any, path: str | Path, *, rgb_stem: bool = False) -> None:
    """Writes weights under torchvision's names as ``.safetensors``, whole or not at all.

    Parameters
    ----------
    model : SimCLR or Classifier, fitted, or mapping of str to ndarray
        The network to write, head included; or its tensors, as ``Network.state()`` gives them.
    path : str or Path
        The file to write, ``.safetensors``.
    rgb_stem : bool, default False
        Spread a one-channel ``conv1.weight`` evenly over three channels, so that a network that is given the same
        gray picture in all three computes the same.

    Raises
    ------
    TypeError
        Not a fitted model and no mapping.

    Examples
    --------
    >>> import tempfile, pathlib, simclr_mri as sm
    >>> ds = sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> clf = sm.Classifier(arch="resnet18", epochs=0, verbose=0).fit(ds)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "resnet18.safetensors"
    >>> export_weights(clf, path, rgb_stem=True)  # torch: model.load_state_dict(safetensors.torch.load_file(path))
    >>> read_weights(path)["conv1.weight"].shape
    (64, 3, 7, 7)
    """
    from safetensors.numpy import save

    from .._shared import atomic_writer

    network = getattr(model, "network_", None)
    if network is None and not isinstance(model, Mapping):
        raise TypeError(
            f"export_weights: expected a fitted SimCLR or Classifier, or a dictionary of arrays, got "
            f"{type(model).__name__}{' that is not fitted yet' if hasattr(model, 'fit') else ''}"
        )
    state = model if network is None else network.state()
    tensors = {name: np.ascontiguousarray(value) for name, value in state.items()}
    stem = tensors.get("conv1.weight")
    if rgb_stem and stem is not None and stem.shape[1] == 1:
        tensors["conv1.weight"] = np.repeat(stem / np.float32(3), 3, axis=1)
    with atomic_writer(path) as file:
        file.write(save(tensors))
