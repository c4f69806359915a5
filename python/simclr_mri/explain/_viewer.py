"""A viewer of heat maps: a slider over a subject's slices, in one page that needs no network."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import NOT_A_DEVICE, ArrayRecord, CamMethod, Layer, atomic_writer, short
from ..datasets import Dataset, check_dataset
from ._cam import check_model, grad_cam
from ._result import CamResult
from ._viewer_page import CONTROLS, SCRIPT, STYLE
from ._weighting import CamWeights

LARGEST_SIDE = 256  # pixels; larger images are shrunk, so that a page of 64 slices stays under 12 MB
NO_OUTLINE = ("black background", "outside the head")
OUTLINES = ("#56B4E9", "#FFFFFF", "#3DDC84", "#FF9ECF")  # bright, as what they lie on is dark
HIDDEN_AT_FIRST = ("head",)


@dataclass(frozen=True, eq=False)
class Viewer(ArrayRecord):
    """Slices of a few subjects with their heat maps; shows itself in a notebook.

    Attributes
    ----------
    cams : CamResult
        The maps, subject after subject and slice after slice.
    subjects : tuple of str
        Whose each of them is.

    Examples
    --------
    >>> view(clf, test).write("viewer.html")  # doctest: +SKIP
    """

    cams: CamResult
    subjects: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a slice: that of `CamResult.rows` with its subject."""
        return [{"subject": subject, **row} for subject, row in zip(self.subjects, self.cams.rows(), strict=True)]

    def to_html(self) -> str:
        """A part of a page: the viewer with its style, data and script."""
        data = json.dumps(self._data()).replace("<", "\\u003c")
        return (
            f'<style>{STYLE}</style><div class="viewer" role="group" aria-label="Viewer of heat maps">'
            f'<script type="application/json">{data}</script>{CONTROLS}</div><script>{SCRIPT}</script>'
        )

    def write(self, path: str | Path) -> Path:
        """Write a page of its own, whole or not at all."""
        path = Path(path).expanduser()
        with atomic_writer(path) as file:
            file.write(self._page().encode())
        return path

    def _page(self) -> str:
        title = f"{len(self.cams)} heat maps of {len(set(self.subjects))} subjects"
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>:root {{ color-scheme: light dark; }} "
            "body { font: 16px/1.5 system-ui, sans-serif; margin: 1rem; }</style>\n</head>\n<body>\n"
            f"<p>{title}. {html.escape(self.cams.method)} at {html.escape(self.cams.layer)}. {NOT_A_DEVICE}</p>\n"
            f"{self.to_html()}\n</body>\n</html>\n"
        )

    def _repr_html_(self) -> str:
        """In a frame of its own, as notebooks rewrite scripts and styles."""
        page = html.escape(self._page(), quote=True)
        return f'<iframe title="Viewer of heat maps" style="width:100%;height:620px;border:0" srcdoc="{page}"></iframe>'

    def __repr__(self) -> str:
        return f"<Viewer: {len(self.cams)} slices of {len(set(self.subjects))} subjects>"

    def _data(self) -> dict[str, Any]:
        from .. import plot

        step = math.ceil(max(self.cams.maps.shape[1:]) / LARGEST_SIDE)
        gray = _shrunk(self.cams.images.astype(np.float32).mean(axis=3), step).round().astype(np.uint8)
        heat = (_shrunk(self.cams.maps, step) * 255).round().astype(np.uint8)
        names = [name for name in self.cams.masks if name not in NO_OUTLINE]
        masks = [_shrunk(self.cams.masks[name].astype(np.float32), step) >= 0.5 for name in names]
        found: dict[str, list[dict[str, Any]]] = {}
        for i, subject in enumerate(self.subjects):
            said, brief = self._words(i)
            regions = [_text(np.packbits(mask[i])) for mask in masks]
            picture = {
                "image": _text(gray[i]),
                "heat": _text(heat[i]),
                "regions": regions,
                "said": said,
                "brief": brief,
            }
            found.setdefault(subject, []).append(picture)
        colours = [OUTLINES[i % len(OUTLINES)] for i in range(len(names))]
        return {
            "shape": gray.shape[1:],
            "colours": _text(plot.heat_colours()),
            "regions": [
                [name, colour, name not in HIDDEN_AT_FIRST] for name, colour in zip(names, colours, strict=True)
            ],
            "subjects": [{"name": name, "slices": slices} for name, slices in found.items()],
        }

    def _words(self, i: int) -> tuple[str, str]:
        """What is said of a slice below the controls, and in one line beside the pointer."""
        cams = self.cams
        file = cams.files[i] if cams.files else f"image {i + 1}"
        answers = [f"{short(c)} {p:.0%}" for c, p in zip(cams.classes, cams.probabilities[i], strict=True)]
        lines = [f"File: {file}", f"Subject: {self.subjects[i]}", f"Probabilities: {', '.join(answers)}"]
        if cams.labels is not None:
            lines.append(f"Truth: {short(cams.classes[cams.labels[i]])}")
        lines.append(f"Heat for: {short(cams.classes[cams.targets[i]])}")
        target = f"{short(cams.classes[cams.targets[i]])} {cams.probabilities[i, cams.targets[i]]:.0%}"
        return "\n".join(lines), f"{file}, {self.subjects[i]}, {target}"


def view(
    model: Any,
    dataset: Dataset,
    *,
    n_subjects: int = 4,
    n_slices: int = 16,
    layer: Layer | str | Sequence[Layer | str] = "layer3",
    method: CamMethod | CamWeights = "gradcam",
    target: int | str | None = None,
) -> Viewer:
    """A viewer of a classifier's heat maps, slice by slice.

    Parameters
    ----------
    model : Classifier, fitted
    dataset : Dataset
        With masks, as phantoms have, the true regions are outlined.
    n_subjects : int
        So many are shown, in turn of each class.
    n_slices : int
        At most so many of each subject, evenly spaced.
    layer, method, target
        As for `grad_cam`.

    Returns
    -------
    Viewer
        Shows itself in a notebook; `write` makes a page. A page has about 2.7 bytes a pixel and slice: 3 MB for 64
        slices of 128 pixels.

    Examples
    --------
    >>> from simclr_mri import Classifier, datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=2, image_size=32, task="cdr0")
    >>> clf = Classifier(arch="resnet18", epochs=0, batch_size=4, verbose=0).fit(ds)
    >>> view(clf, ds, n_subjects=2, layer="layer2")
    <Viewer: 4 slices of 2 subjects>
    """
    for name, value in (("n_subjects", n_subjects), ("n_slices", n_slices)):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, got {value}")
    check_model(model)
    check_dataset(dataset, "dataset")
    if len(dataset) == 0:
        raise ValueError("view: expected at least one image, got none")
    rows = _chosen(dataset, n_subjects, n_slices)
    shown = dataset[rows]
    subjects = ("unknown",) * len(rows) if shown.subjects is None else tuple(map(str, shown.subjects))
    return Viewer(grad_cam(model, shown, layer=layer, method=method, target=target), subjects)


def _chosen(ds: Dataset, n_subjects: int, n_slices: int) -> np.ndarray:
    """Rows of the slices that are shown: subjects of each class in turn, slices in their order."""
    if ds.subjects is None:
        return _spaced(np.arange(len(ds)), n_slices)
    names, first = np.unique(ds.subjects, return_index=True)
    classes = np.zeros(len(names), int) if ds.labels is None else ds.labels[first]
    turn = np.empty(len(names), int)
    for c in np.unique(classes):
        turn[classes == c] = np.arange(np.sum(classes == c))
    chosen = sorted(np.lexsort((classes, turn))[:n_subjects], key=lambda i: classes[i])
    found = []
    for i in chosen:
        mine = np.flatnonzero(ds.subjects == names[i])
        order = mine if ds.slices is None else mine[np.argsort(ds.slices[mine], kind="stable")]
        found.append(_spaced(order, n_slices))
    return np.concatenate(found)


def _spaced(rows: np.ndarray, n: int) -> np.ndarray:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))]


def _shrunk(images: np.ndarray, step: int) -> np.ndarray:
    """Means of blocks of `step` x `step` pixels of images (N, H, W); what does not fill a block is cut off."""
    n, height, width = images.shape
    rows, columns = height // step, width // step
    return images[:, : rows * step, : columns * step].reshape(n, rows, step, columns, step).mean(axis=(2, 4))


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
