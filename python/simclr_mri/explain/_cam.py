"""Class activation maps: where a classifier looks.

Grad-CAM (Selvaraju et al., ICCV 2017) and its relatives weigh a stage's activations by the gradient of one class's
logit; the formulas are in the C core (include/smri/cam.h). At 128 pixels `layer4` is 4 x 4, too coarse to name a
hippocampus: `layer3` and `layer2` are finer. Whether a map can be believed is for `check_cams`.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from .._shared import CAM_METHODS, LAYERS, CamMethod, Layer, choose, n_threads, option_text, suggests_names
from ..datasets import BACKGROUND_LEVEL, Dataset, as_images
from ..views import plain_batch
from ._result import CamResult
from ._weighting import CamWeights, coarse_maps, method_name

METHODS = CAM_METHODS


@suggests_names
def grad_cam(
    model: Any,
    images: Dataset | np.ndarray,
    *,
    layer: Layer | str | Sequence[Layer | str] | None = None,
    target: int | str | None = None,
    method: CamMethod | CamWeights = "gradcam",
    batch_size: int = 16,
) -> CamResult:
    """Heat maps of a classifier.

    Parameters
    ----------
    model : Classifier, fitted
    images : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C), uint8
        A data set's labels and region masks go into the result.
    layer : {"stem", "layer1", "layer2", "layer3", "layer4"}, or several, or None
        None is the last stage whose maps have at least 4 x 4 places. Several, as a sequence or joined by "+"
        ("layer2+layer3"), give the mean of their maps, each scaled to [0, 1] before, and scaled again: places that
        several stages agree on stay hot.
    target : int, str or None
        Class to explain; None explains each image's predicted class.
    method : {"gradcam", "gradcam++", "hirescam", "layercam", "eigencam"} or callable
        A callable is given the activations of some images and the gradients of the class's logit, both float32
        (n, h, w, C), and returns weights (n, C), or (n, h, w, C) where each place has its own. The map is
        ReLU(sum over C of weights * activations). It is called for each stage, `batch_size` images at a time.
    batch_size : int

    Returns
    -------
    CamResult
        maps are float32 (N, H, W) in [0, 1], each scaled by itself after it was enlarged, from 0 at its coldest pixel
        to 1 at its hottest: heat says where, not how much. A map that is even, as a stage of 1 x 1 gives, is 0.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> from simclr_mri import Classifier
    >>> clf = Classifier(arch="resnet18", epochs=0, batch_size=4, verbose=0).fit(ds)
    >>> grad_cam(clf, ds[:2], layer="layer2")
    <CamResult: 2 maps of 32 x 32 px, gradcam at layer2>

    Weights of your own; these are Grad-CAM's, without what speaks against the class:

    >>> def evidence(activations, gradients):
    ...     return gradients.clip(0).mean(axis=(1, 2))
    >>> grad_cam(clf, ds[:2], layer="layer2", method=evidence)
    <CamResult: 2 maps of 32 x 32 px, evidence at layer2>
    """
    check_model(model)
    layers = layer_names(default_layer(model.network_config_["image_size"]) if layer is None else layer)
    name = method_name(method)
    model.check_fitted()
    pixels = as_images(model.model_.checked(images))
    n = len(pixels)
    wanted = None if target is None else np.full(n, _class_index(target, model.class_names_), np.int64)
    threads = n_threads(model.n_jobs)
    maps, outputs = [], []
    grid: dict[str, tuple[int, int]] = {}
    for start in range(0, n, batch_size):
        batch = plain_batch(pixels, np.arange(start, min(start + batch_size, n)), model.preprocess_, model.n_jobs)
        part = None if wanted is None else wanted[start : start + batch_size]
        stages = []
        for stage in layers:
            activations, gradients, logits = model.network_.explain(
                batch, part, stage=stage, batch_size=batch_size, precision=model.precision
            )
            coarse = coarse_maps(method, activations, gradients, stage, threads)
            grid[stage] = coarse.shape[1:]
            stages.append(_scaled(_core.upsample(coarse, pixels.shape[1], pixels.shape[2], threads)))
        maps.append(stages[0] if len(stages) == 1 else _scaled(np.stack(stages).mean(axis=0, dtype=np.float32)))
        outputs.append(logits)
        if not np.isfinite(logits).all():
            raise FloatingPointError(
                "grad_cam: the network's outputs are not finite. Its weights have diverged: train again with a lower lr"
            )
    from ..metrics import softmax

    probabilities = softmax(np.concatenate(outputs)) if n else np.empty((0, len(model.class_names_)))
    known = images if isinstance(images, Dataset) else None
    masks = dict(known.masks or {}) if known is not None else {}
    masks["black background"] = pixels.max(axis=3) < BACKGROUND_LEVEL
    return CamResult(
        maps=np.concatenate(maps) if n else np.empty((0, *pixels.shape[1:3]), np.float32),
        images=as_images(images),
        targets=probabilities.argmax(axis=1) if wanted is None else wanted,
        probabilities=probabilities,
        classes=model.class_names_,
        layer="+".join(layers),
        method=name,
        labels=None if known is None else known.labels,
        masks=masks,
        files=() if known is None else known.files,
        grid=tuple((int(rows), int(columns)) for rows, columns in grid.values()),
    )


def default_layer(image_size: int) -> str:
    """The last stage whose maps have at least 4 x 4 places: layer4 from 97 pixels on, layer3 from 49, layer2 below.

    Examples
    --------
    >>> default_layer(224), default_layer(128), default_layer(64), default_layer(32)
    ('layer4', 'layer4', 'layer3', 'layer2')
    """
    strides = {"layer4": 32, "layer3": 16, "layer2": 8}  # of ResNets
    return next((layer for layer, stride in strides.items() if -(-image_size // stride) >= 4), "layer1")


def layer_names(layer: str | Sequence[str]) -> tuple[str, ...]:
    """The stages of a `layer` argument; ValueError for unknown or repeated ones."""
    names = tuple(layer.split("+")) if isinstance(layer, str) else tuple(layer)
    for name in names:
        choose("layer", name, LAYERS)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"layer: expected different stages of {', '.join(LAYERS)}, got {layer!r}")
    return names


def _scaled(maps: np.ndarray) -> np.ndarray:
    """Each map (N, H, W) from 0 at its coldest pixel to 1 at its hottest; an even one is 0.

    After the enlargement: interpolated, a single hot cell of a coarse stage reaches its value between two pixels only.
    """
    low, high = (f(maps, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    return (maps - low) / np.where(high > low, high - low, 1)


def check_model(model: Any) -> None:
    """TypeError unless `model` is a classifier whose maps can be made."""
    if isinstance(model, (Dataset, np.ndarray)):
        raise TypeError(
            f"grad_cam: expected a Classifier, got {type(model).__name__}; the model comes first: "
            "grad_cam(classifier, images)"
        )
    if not hasattr(model, "predict_proba") or not hasattr(model, "check_fitted"):
        raise TypeError(
            f"grad_cam: expected a Classifier, got {type(model).__name__}"
            + (". Fine-tune it first: Classifier(init=ssl).fit(train, val)" if type(model).__name__ == "SimCLR" else "")
        )


def _class_index(target: int | str, classes: tuple[str, ...]) -> int:
    if isinstance(target, str):
        return classes.index(choose("target", target, classes))
    if not isinstance(target, numbers.Integral) or not 0 <= target < len(classes):
        raise ValueError(
            f"{option_text('target', target)}: expected a class from 0 to {len(classes) - 1} or one of "
            f"{', '.join(classes)}"
        )
    return int(target)
