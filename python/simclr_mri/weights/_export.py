"""Weights for other programs, under torchvision's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import __version__, check_path, in_words


def export_weights(model: Any, path: str | Path, *, rgb_stem: bool = False) -> None:
    """Writes weights under torchvision's names as ``.safetensors``, whole or not at all.

    Architecture, size, channels, mean, deviation and classes of a model are in the file's metadata, as JSON. Unless it
    is silent (``verbose=0``), the lines that load the file in PyTorch are printed.

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
    ValueError
        A suffix that is not ``.safetensors``: nothing is written under a name that says something else.

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

    from .._shared import atomic_writer, tell

    path = check_path(path, "path").expanduser()
    if path.suffix != ".safetensors":
        is_onnx = path.suffix == ".onnx"
        other = ": for ONNX use export_onnx" if is_onnx else ", which PyTorch reads with safetensors.torch"
        other = in_words(other, " or .onnx")
        where = in_words("export_weights:", "--out")
        raise ValueError(f"{where} {path}: expected a file name that ends in .safetensors{other}")
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
        file.write(save(tensors, None if network is None else model_facts(model)))
    if network is not None and model.verbose:
        tell("\n".join(torch_lines(model, path, rgb_stem)))


def model_facts(model: Any) -> dict[str, str]:
    """What another program needs to know to use a fitted model, each as JSON."""
    config, preprocess = model.network_config_, model.preprocess_
    facts = {
        "arch": config["arch"],
        "image_size": config["image_size"],
        "channels": config["in_channels"],
        "features": config["features"],
        "mean": preprocess.mean,
        "std": preprocess.std,
        "classes": getattr(model, "class_names_", None),
        "simclr_mri": __version__,
    }
    return {name: json.dumps(value) for name, value in facts.items() if value is not None}


def torch_lines(model: Any, path: Path, rgb_stem: bool) -> list[str]:
    """Python that loads an exported file in torchvision's network."""
    config, classes = model.network_config_, getattr(model, "class_names_", None)
    lines = ["import torch, torchvision, safetensors.torch"]
    lines.append(f"model = torchvision.models.{config['arch']}({f'num_classes={len(classes)}' if classes else ''})")
    if config["in_channels"] == 1 and not rgb_stem:
        lines.append("model.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)")
    if config["features"] == "flatten":
        lines.append("model.avgpool = torch.nn.Identity()")
        size = model.network_.tensor("fc.weight").shape[1] if classes else None
        lines += [f"model.fc = torch.nn.Linear({size}, {len(classes)})"] if classes else []
    if not classes:
        lines.append("model.fc = torch.nn.Identity()  # the projection head is of use in pretraining only")
    strict = "" if classes else ", strict=False"
    lines.append(f"model.load_state_dict(safetensors.torch.load_file({str(path)!r}){strict})")
    mean, std = ([round(v, 5) for v in values] for values in (model.preprocess_.mean, model.preprocess_.std))
    lines.append(f"model.eval()  # takes (pixels / 255 - {mean}) / {std}, of shape (N, C, H, W)")
    return lines
