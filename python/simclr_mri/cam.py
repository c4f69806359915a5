"""Class activation maps: where a classifier looks.

Grad-CAM (Selvaraju et al., ICCV 2017) and its relatives weigh a stage's activations by the gradient of one class's
logit; the formulas are in the C core (include/smri/cam.h). At 128 pixels `layer4` is 4 x 4, too coarse to name a
hippocampus: `layer3` and `layer2` are finer. Whether a map can be believed is for `check_cams`.
"""

from __future__ import annotations

import html
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _core
from ._dataset import Dataset
from ._estimator import as_images
from ._machine import n_threads
from .config import LAYERS
from .options import choose
from .runlog import html_table
from .views import plain_batch

METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "eigencam")
BACKGROUND_LEVEL = 10  # of 255: below it a slice shows air, and JPEG ringing in it


@dataclass(frozen=True)
class CamResult:
    """Heat maps with what they explain. Usable as the array of its maps.

    Attributes
    ----------
    maps : ndarray of shape (N, H, W), float32 in [0, 1]
    images : ndarray of shape (N, H, W, C), uint8
    targets : ndarray of shape (N,), int64
        The class that each map explains.
    probabilities : ndarray of shape (N, classes)
    classes : tuple of str
    layer, method : str
        Several stages are joined by "+".
    labels : ndarray of shape (N,), int64, or None
        The true classes.
    masks : dict of str to ndarray of shape (N, H, W), bool
        Known regions; always has "black background".

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> maps, targets = np.ones((2, 32, 32), np.float32), np.array([0, 1])
    >>> result = CamResult(maps, ds.images[:2], targets, np.eye(2), ds.classes, "layer4", "gradcam")
    >>> result.captions()
    ['CDR 0 100%', 'CDR above 0 100%']
    """

    maps: np.ndarray
    images: np.ndarray
    targets: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    layer: str
    method: str
    labels: np.ndarray | None = None
    masks: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.maps)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.maps, dtype=dtype, copy=copy)

    def region_shares(self) -> list[dict[str, Any]]:
        """For each region: its share of the heat, its share of the area (what even heat would give), and their ratio.

        Averages over the images whose map is not empty.
        """
        heat = self.maps.sum(axis=(1, 2))
        shown = heat > 0
        rows = []
        for name, mask in self.masks.items():
            inside = (self.maps * mask).sum(axis=(1, 2))[shown] / heat[shown]
            area = mask.mean(axis=(1, 2))[shown]
            share, by_area = (float(x.mean()) if shown.any() else float("nan") for x in (inside, area))
            rows.append(
                {"region": name, "heat": share, "area": by_area, "ratio": share / by_area if by_area else float("nan")}
            )
        return rows

    def captions(self) -> list[str]:
        """One line an image: what was predicted, how surely, and the truth where it is known."""
        lines = []
        for i, target in enumerate(self.targets):
            line = f"{short(self.classes[target])} {self.probabilities[i, target]:.0%}"
            if self.labels is not None and self.labels[i] != target:
                line += f"\n(is {short(self.classes[self.labels[i]])})"
            lines.append(line)
        return lines

    def __repr__(self) -> str:
        _, height, width = self.maps.shape
        return f"<CamResult: {len(self)} maps of {height} x {width} px, {self.method} at {self.layer}>"

    def _repr_html_(self) -> str:
        from . import plot, report

        rows = [
            [r["region"], f"{r['heat']:.1%}", f"{r['area']:.1%}", f"{r['ratio']:.2f}"] for r in self.region_shares()
        ]
        picture = report.png_tag(plot.cam(self).figure, alt="heat maps", dpi=100)
        return f"<p><b>{html.escape(repr(self)[1:-1])}</b></p>{picture}" + html_table(
            ["region", "heat", "area", "heat / area"], rows
        )


def short(name: str) -> str:
    """A class name for small places: "Very_Mild_Demented" becomes "Very Mild"."""
    return name.replace("_Demented", "").replace("_", " ")


def grad_cam(
    model: Any,
    images: Dataset | np.ndarray,
    *,
    layer: str | Sequence[str] = "layer4",
    target: int | str | None = None,
    method: str = "gradcam",
    batch_size: int = 16,
) -> CamResult:
    """Heat maps of a classifier.

    Parameters
    ----------
    model : Classifier, fitted
    images : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C), uint8
        A data set's labels and region masks go into the result.
    layer : {"stem", "layer1", "layer2", "layer3", "layer4"}, or several
        Several, as a sequence or joined by "+" ("layer2+layer3"), give the mean of their maps, each scaled to [0, 1]
        before: places that several stages agree on stay hot.
    target : int, str or None
        Class to explain; None explains each image's predicted class.
    method : {"gradcam", "gradcam++", "hirescam", "layercam", "eigencam"}
    batch_size : int

    Returns
    -------
    CamResult
        maps are float32 (N, H, W) in [0, 1], each scaled by itself: heat says where, not how much.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> from simclr_mri import Classifier
    >>> clf = Classifier(arch="resnet18", epochs=0, batch_size=4, verbose=0).fit(ds)
    >>> grad_cam(clf, ds[:2], layer="layer2")
    <CamResult: 2 maps of 32 x 32 px, gradcam at layer2>
    """
    _check_model(model)
    layers = layer_names(layer)
    choose("method", method, METHODS)
    model._check_fitted()
    pixels = model._checked(images)
    n = len(pixels)
    wanted = None if target is None else np.full(n, _class_index(target, model.classes_), np.int64)
    threads = n_threads(model.n_jobs)
    maps, outputs = [], []
    for start in range(0, n, batch_size):
        batch = plain_batch(pixels, np.arange(start, min(start + batch_size, n)), model.preprocess_, model.n_jobs)
        part = None if wanted is None else wanted[start : start + batch_size]
        stages = []
        for stage in layers:
            activations, gradients, logits = model.network_.explain(
                batch, part, stage=stage, batch_size=batch_size, precision=model.precision
            )
            coarse = _core.cam_map(activations, gradients, method, True, threads)
            stages.append(_core.upsample(coarse, pixels.shape[1], pixels.shape[2], threads))
        maps.append(stages[0] if len(stages) == 1 else _combined(stages))
        outputs.append(logits)
    from .classifier import softmax

    probabilities = softmax(np.concatenate(outputs)) if n else np.empty((0, len(model.classes_)))
    known = images if isinstance(images, Dataset) else None
    masks = dict(known.masks or {}) if known is not None else {}
    masks["black background"] = pixels.max(axis=3) < BACKGROUND_LEVEL
    return CamResult(
        maps=np.concatenate(maps) if n else np.empty((0, *pixels.shape[1:3]), np.float32),
        images=as_images(images),
        targets=probabilities.argmax(axis=1) if wanted is None else wanted,
        probabilities=probabilities,
        classes=model.classes_,
        layer="+".join(layers),
        method=method,
        labels=None if known is None else known.labels,
        masks=masks,
    )


def layer_names(layer: str | Sequence[str]) -> tuple[str, ...]:
    """The stages of a `layer` argument; ValueError for unknown or repeated ones."""
    names = tuple(layer.split("+")) if isinstance(layer, str) else tuple(layer)
    for name in names:
        choose("layer", name, LAYERS)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"layer: expected different stages of {', '.join(LAYERS)}, got {layer!r}")
    return names


def _combined(stages: list[np.ndarray]) -> np.ndarray:
    mean = np.mean(stages, axis=0, dtype=np.float32)
    low, high = (f(mean, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    return (mean - low) / np.where(high > low, high - low, 1)


def _check_model(model: Any) -> None:
    if isinstance(model, (Dataset, np.ndarray)):
        raise TypeError("grad_cam: the model comes first: grad_cam(classifier, images)")
    if not hasattr(model, "predict_proba") or not hasattr(model, "_check_fitted"):
        raise TypeError(
            f"grad_cam: expected a Classifier, got {type(model).__name__}"
            + (". Fine-tune it first: Classifier(init=ssl).fit(train, val)" if type(model).__name__ == "SimCLR" else "")
        )


def _class_index(target: int | str, classes: tuple[str, ...]) -> int:
    if isinstance(target, str):
        return classes.index(choose("target", target, classes))
    if not isinstance(target, numbers.Integral) or not 0 <= target < len(classes):
        raise ValueError(
            f"target={target!r}: expected a class from 0 to {len(classes) - 1} or one of {', '.join(classes)}"
        )
    return int(target)
