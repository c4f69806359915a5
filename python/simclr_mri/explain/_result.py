"""Heat maps with the images that they belong to; they plot themselves and count what they mark."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import ArrayRecord, atomic_writer, html_table, png_tag, short


@dataclass(frozen=True, eq=False)
class CamResult(ArrayRecord):
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
    files : tuple of str
        Names of the images, where they are known.
    grid : tuple of (int, int)
        Rows and columns of each stage's own map, before it was enlarged.

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
    files: tuple[str, ...] = ()
    grid: tuple[tuple[int, int], ...] = ()

    @property
    def has_places(self) -> bool:
        """False where each stage is 1 x 1: such a map can name no place, whatever the evidence."""
        return not self.grid or any(rows * columns > 1 for rows, columns in self.grid)

    def __len__(self) -> int:
        return len(self.maps)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.maps, dtype=dtype, copy=copy)

    def save(self, path: str | Path) -> Path:
        """Writes the maps, the images and what they are of as arrays: `numpy.load(path)["maps"]`.

        Parameters
        ----------
        path : str or Path
            The file to write, ``.npz``.
        """
        path = Path(path).expanduser()
        if path.suffix != ".npz":
            raise ValueError(f"{path}: expected a file name that ends in .npz")
        arrays = {
            "maps": self.maps,
            "images": self.images,
            "files": np.array(self.files, dtype=str),
            "explained_class": np.array(self.classes)[self.targets],
            "probabilities": self.probabilities,
            "classes": np.array(self.classes),
            "layer": np.array(self.layer),
            "method": np.array(self.method),
        }
        with atomic_writer(path) as file:
            np.savez_compressed(file, **arrays)
        return path

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

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary an image: what was explained, how surely it was predicted, and where the map is hottest."""
        rows = []
        for i, target in enumerate(self.targets.tolist()):
            y, x = np.unravel_index(int(self.maps[i].argmax()), self.maps[i].shape)
            row: dict[str, Any] = {"file": self.files[i]} if self.files else {}
            row |= {"explained_class": self.classes[target], "probability": float(self.probabilities[i, target])}
            if self.labels is not None:
                row["class"] = self.classes[self.labels[i]]
            rows.append({**row, "hottest_row": int(y), "hottest_column": int(x)})
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
        from .. import plot

        rows = [
            [r["region"], f"{r['heat']:.1%}", f"{r['area']:.1%}", f"{r['ratio']:.2f}"] for r in self.region_shares()
        ]
        picture = png_tag(plot.cam(self).figure, alt="heat maps", dpi=100)
        return f"<p><b>{html.escape(repr(self)[1:-1])}</b></p>{picture}" + html_table(
            ["region", "heat", "area", "heat / area"], rows
        )
