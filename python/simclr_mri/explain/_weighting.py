"""From a stage's activations and gradients to coarse maps: by one of the core's methods, or by weights of your own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import _core
from .._shared import CAM_METHODS, CamMethod, choose

CamWeights = Callable[[np.ndarray, np.ndarray], np.ndarray]


def method_name(method: CamMethod | CamWeights) -> str:
    """What a method is called in results and pictures; ValueError or TypeError if it is none."""
    if callable(method):
        return getattr(method, "__name__", type(method).__name__)
    if not isinstance(method, str):
        raise TypeError(
            f"method: expected one of {', '.join(CAM_METHODS)}, or a callable (activations, gradients) -> weights, got "
            f"{type(method).__name__}"
        )
    return choose("method", method, CAM_METHODS)


def coarse_maps(
    method: CamMethod | CamWeights, activations: np.ndarray, gradients: np.ndarray, layer: str, n_threads: int
) -> np.ndarray:
    """Maps float32 (n, h, w) of activations and gradients (n, h, w, C)."""
    if not callable(method):
        return _core.cam_map(activations, gradients, method, True, n_threads)
    name = method_name(method)
    try:
        given = method(activations, gradients)
    except Exception as error:
        error.add_note(f"grad_cam: in the weights {name} for {layer}.")
        raise
    weights = np.asarray(given)
    n, _, _, channels = activations.shape
    if weights.shape not in ((n, channels), activations.shape) or weights.dtype.kind not in "fiu":
        raise ValueError(
            f"grad_cam: the weights {name} gave {weights.dtype} {weights.shape} for {layer}; expected numbers of shape "
            f"{(n, channels)}, one for each channel, or {activations.shape}, one for each place too"
        )
    if not np.isfinite(weights).all():
        raise ValueError(f"grad_cam: the weights {name} gave numbers that are not finite for {layer}")
    if weights.ndim == 2:
        weights = weights[:, None, None, :]
    return np.maximum((weights * activations.astype(np.float64)).sum(axis=3), 0).astype(np.float32)
