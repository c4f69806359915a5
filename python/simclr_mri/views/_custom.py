"""Views of your own: a callable in the place of an augmentation's name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .._shared import REMEMBERED, callable_name, option_name

CustomViews = Callable[[np.ndarray, np.random.Generator], np.ndarray]

_FARTHEST = 10.0  # of [0, 1], beyond which values are those of another scale
_CUSTOM = 3  # keeps these random streams apart from others with the same seed and epoch


def check_views(kind: Any) -> None:
    """TypeError unless views of your own can be called with images and a generator; ValueError if they are lost."""
    if isinstance(kind, str) and kind.startswith(REMEMBERED):
        name = kind.removeprefix(REMEMBERED)
        raise ValueError(
            f"{option_name('views')}: the run was trained with {name}, and a checkpoint holds its name alone. To train "
            f"it, give the function again: set_params(views={name.rpartition('.')[2]})"
        )
    if callable(kind):
        _check_signature(kind)


def _check_signature(kind: CustomViews) -> None:
    try:
        inspect.signature(kind).bind(None, None)
    except TypeError as error:
        raise TypeError(
            f"{option_name('views')}: expected a callable (images, rng), with images uint8 (N, H, W, C) and a "
            f"numpy.random.Generator; {callable_name(kind)} cannot be called so: {error}"
        ) from None
    except ValueError:
        return  # a builtin that does not tell its arguments


def custom_batch(
    kind: CustomViews,
    pixels: np.ndarray,
    indices: np.ndarray,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seed: int,
    epoch: int,
    view: int,
) -> np.ndarray:
    """Views of pixels uint8 (n, H, W, C), normalised: float32 of the same shape.

    The generator is drawn from the seed, the epoch, the number of the view and the images' indices, so that a run that
    goes on sees the views of one that was not stopped.
    """
    rng = np.random.default_rng([seed, epoch, view, _CUSTOM, *indices.tolist()])
    name = callable_name(kind)
    try:
        given = kind(pixels, rng)
    except Exception as error:
        error.add_note(f"In the views {name}, of {pixels.dtype} {pixels.shape}.")
        raise
    out = np.asarray(given)
    if out.shape != pixels.shape or out.dtype.kind != "f":
        raise ValueError(
            f"{option_name('views')}: {name} gave {out.dtype} {out.shape}; expected float32 {pixels.shape} in [0, 1]"
        )
    farthest = float(np.abs(out).max(initial=0.0))
    if not farthest <= _FARTHEST:  # NaN too
        raise ValueError(
            f"{option_name('views')}: {name} gave values up to {farthest:g}; expected finite ones around [0, 1], the "
            "pixels divided by 255"
        )
    return ((out.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)).astype(np.float32)
