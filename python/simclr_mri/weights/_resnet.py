"""Which ResNet a dictionary of tensors is, and its stem for gray and colour images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ._errors import CheckpointError


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


def match_channels(path: Path, stem: np.ndarray, in_channels: int) -> np.ndarray:
    found = stem.shape[1]
    if found == in_channels:
        return stem
    if found == 3 and in_channels == 1:
        return stem.sum(axis=1, keepdims=True)
    if found == 1 and in_channels == 3:
        return np.repeat(stem / 3, 3, axis=1)
    raise CheckpointError(f"{path}: conv1.weight takes {found} channels; the images have {in_channels}")
