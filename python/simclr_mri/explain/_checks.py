"""Whether heat maps can be believed: four questions, each with what a map that knows nothing would score.

1. Does it matter to the network what the map marks? Pixels are taken away, the hottest first (deletion) or the coldest
   first (insertion, read backwards), and filled with what their neighbours suggest, so that the hole itself is no sign
   (ROAD: Rong et al., "A consistent and efficient evaluation strategy for attribution methods", ICML 2022). The area
   between the two curves is 0 for a map that knows nothing.
2. Does the map depend on what was learnt? Weights are drawn anew from the head downwards; the map must go with them
   (Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018).
3. Is the heat in the head, and on phantoms, whose truth is known, in which region? With the pointing game (Zhang et
   al., "Top-down neural attention by excitation backprop", ECCV 2016): is the hottest pixel in the region?
4. Is it the same place for all images of a class? The mean map of each class shows it.
"""

from __future__ import annotations

import html
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import ArrayRecord, CamMethod, Layer, atomic_writer, html_table, png_tag, suggests_names
from ..datasets import Dataset, check_dataset, find_head
from ._cam import check_model, grad_cam
from ._randomised import SAME_MAP, randomised_weights
from ._removal import FRACTIONS, removal_curves
from ._result import CamResult
from ._weighting import CamWeights

OUTSIDE = "outside the head"
NEARLY_EVEN = 0.9  # share of the heat outside the head, over its share of the area, from which a map is as good as even


@dataclass(frozen=True, eq=False)
class CamChecks(ArrayRecord):
    """What `check_cams` found. Prints as a table; shows itself in a notebook.

    Attributes
    ----------
    cams : CamResult
        The maps that were checked, `masks` with "outside the head".
    fractions : ndarray of shape (F,)
        Shares of pixels taken away, from 0.
    deletion, insertion : ndarray of shape (N, F)
        Probability of the explained class when the hottest, or the coldest, pixels are gone.
    randomised : list of dict
        layers (drawn anew), rank_correlation and ssim with the trained network's maps, images (that have both maps).
    regions : list of dict
        region, heat (share), area (share), ratio, hits: of the images that show the region, the share whose hottest
        pixel is there.
    class_maps, class_images : dict of str to ndarray of shape (H, W)
        Mean over the images of which the class was explained.

    Examples
    --------
    >>> from simclr_mri import check_cams
    >>> print(check_cams(clf, test, layer="layer3"))  # doctest: +SKIP
    """

    cams: CamResult
    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    randomised: list[dict[str, Any]]
    regions: list[dict[str, Any]]
    class_maps: dict[str, np.ndarray]
    class_images: dict[str, np.ndarray]

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a region: its share of the heat and of the area, and how often it holds the hottest pixel."""
        return [dict(row) for row in self.regions]

    @property
    def areas(self) -> np.ndarray:
        """Area between insertion and deletion, by image: what the map knows; 0 for a map that knows nothing."""
        gap = self.insertion - self.deletion
        return ((gap[:, 1:] + gap[:, :-1]) / 2 * np.diff(self.fractions)).sum(axis=1)

    @property
    def area(self) -> tuple[float, float, float]:
        """Mean of `areas` and the ends of its 95 % interval (normal, over images)."""
        areas = self.areas
        error = 1.96 * areas.std(ddof=1) / np.sqrt(len(areas)) if len(areas) > 1 else np.inf
        return float(areas.mean()), float(areas.mean() - error), float(areas.mean() + error)

    @property
    def outside_head(self) -> float:
        """Share of the heat outside the head."""
        return next(row["heat"] for row in self.regions if row["region"] == OUTSIDE)

    @property
    def doubts(self) -> list[str]:
        """What speaks against reading the maps as where the network looks; computed from the checks."""
        if not self.cams.has_places:
            return [f"{self.cams.layer} is 1 x 1 at this image size and has no places: take an earlier layer"]
        found = []
        _, low, high = self.area
        if low <= 0:
            matter = (
                "matter less than the coldest" if high < 0 else "do not distinguishably matter more than the coldest"
            )
            found.append(f"the hottest pixels {matter}")
        if any(row["images"] and row["rank_correlation"] > SAME_MAP for row in self.randomised[-1:]):
            found.append("a network with new weights gives the same maps")
        outside = next((row for row in self.regions if row["region"] == OUTSIDE), None)
        if outside and outside["ratio"] >= NEARLY_EVEN:
            found.append(f"the heat outside the head is {outside['ratio']:.2f} times that of an even map")
        if outside and outside["hits"] >= outside["area"] > 0:
            found.append(f"the hottest pixel is outside the head in {outside['hits']:.0%} of the images")
        if self._empty >= 0.5:
            found.append(f"{self._empty:.0%} of the maps are empty")
        return found

    @property
    def verdict(self) -> str:
        """One sentence from all checks together."""
        if not self.doubts:
            return "no check speaks against reading the maps as where the network looks"
        return f"do not read the maps as where the network looks: {'; '.join(self.doubts)}"

    @property
    def _empty(self) -> float:
        return float((self.cams.maps.max(axis=(1, 2)) == 0).mean())

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows: each check, what was found, what a map that knows nothing gives, and a verdict."""
        mean, low, high = self.area
        more = "more" if low > 0 else "less"
        apart = low > 0 or high < 0
        rows = [
            [
                "area between insertion and deletion",
                f"{mean:+.3f} ({low:+.3f} to {high:+.3f})",
                "0",
                f"the hottest pixels matter {more} than the coldest" if apart else "not distinguishable from zero",
            ]
        ]
        for row in self.randomised:
            found, same = row["rank_correlation"], row["rank_correlation"] > SAME_MAP
            verdict = "no maps to compare" if not row["images"] else "unchanged by new weights" if same else "changes"
            rows.append([f"new weights in {row['layers']}", f"{found:.2f} (SSIM {row['ssim']:.2f})", "1", verdict])
        for row in self.regions:
            verdict = f"{row['ratio']:.2f} x even heat; hottest pixel of {row['hits']:.0%}"
            rows.append([f"heat: {row['region']}", f"{row['heat']:.2%}", f"{row['area']:.2%}", verdict])
        why = "no evidence for the class at this stage" if self.cams.has_places else "a stage of 1 x 1 has no places"
        rows.append(["empty maps", f"{self._empty:.0%}", "", why if self._empty else ""])
        rows.append(["all checks", "", "", self.verdict])
        return ["check", "found", "knows nothing", "verdict"], rows

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values."""
        mean, low, high = self.area
        area = {"area": mean, "area_low": low, "area_high": high}
        return {**area, "images": len(self.cams), "randomised": self.randomised, "regions": self.regions}

    def plot(self, ax: Any = None) -> Any:
        """The deletion and insertion curves."""
        from .. import plot

        return plot.cam_curves(self, ax=ax)

    def __repr__(self) -> str:
        return f"<CamChecks: {len(self.cams)} maps, {self.cams.method} at {self.cams.layer}>"

    def __str__(self) -> str:
        head, rows = self.table()
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
        return "\n".join([f"{len(self.cams)} maps, {self.cams.method} at {self.cams.layer}", *lines])

    def _repr_html_(self) -> str:
        from .. import plot

        pictures = png_tag(self.plot().figure, alt="deletion and insertion", dpi=100)
        pictures += png_tag(plot.class_maps(self).figure, alt="mean maps", dpi=100)
        title = html.escape(f"{len(self.cams)} maps, {self.cams.method} at {self.cams.layer}")
        return f"<p><b>{title}</b></p>{html_table(*self.table())}{pictures}"


@suggests_names
def check_cams(
    model: Any,
    dataset: Dataset,
    *,
    layer: Layer | str | Sequence[Layer | str] | None = None,
    method: CamMethod | CamWeights = "gradcam",
    target: int | str | None = None,
    n_images: int = 24,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
) -> CamChecks:
    """Check a classifier's heat maps.

    Parameters
    ----------
    model : Classifier, fitted
    dataset : Dataset
        `n_images` of it are looked at, spread over classes and subjects. With masks, the regions are checked too.
    layer, method, target
        As for `grad_cam`.
    n_images : int
    fractions : sequence of float
        Shares of the pixels that are taken away, rising, in (0, 1).
    seed : int
        Of the noise on filled pixels, the order of equally hot ones and the new weights.

    Returns
    -------
    CamChecks

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> from simclr_mri import Classifier
    >>> clf = Classifier(arch="resnet18", epochs=0, batch_size=4, verbose=0).fit(ds)
    >>> checks = check_cams(clf, ds, layer="layer2", n_images=2)
    >>> checks.table()[0]
    ['check', 'found', 'knows nothing', 'verdict']
    """
    from ..datasets import spread_examples

    check_model(model)
    check_dataset(dataset, "dataset")
    if len(dataset) == 0 or n_images < 1:
        raise ValueError(f"check_cams: expected at least one image, got {len(dataset)} and n_images={n_images}")
    steps = np.array([0.0, *fractions])
    if not (np.diff(steps) > 0).all() or steps[-1] >= 1:
        raise ValueError(f"fractions: expected rising numbers between 0 and 1, got {tuple(fractions)}")
    examples = spread_examples(dataset, n_images)
    cams = grad_cam(model, examples, layer=layer, method=method, target=target)
    head = cams.masks["head"] if "head" in cams.masks else find_head(cams.images)
    cams.masks[OUTSIDE] = ~head
    deletion, insertion = removal_curves(model, cams, steps, seed)
    chosen = {cams.classes[c]: cams.targets == c for c in np.unique(cams.targets)}
    return CamChecks(
        cams=cams,
        fractions=steps,
        deletion=deletion,
        insertion=insertion,
        randomised=randomised_weights(model, cams, method, examples, seed),
        regions=_regions(cams),
        class_maps={name: cams.maps[mine].mean(axis=0) for name, mine in chosen.items()},
        class_images={name: cams.images[mine].mean(axis=(0, 3)) for name, mine in chosen.items()},
    )


_CAM_ARRAYS = ("maps", "images", "targets", "probabilities", "labels")


_TEXTS = ("randomised", "regions")


def save_checks(path: str | Path, checks: CamChecks, of: Mapping[str, Any]) -> None:
    """Write checks to a .npz file, with the name of what they are of (weights, test set, options)."""
    cams = checks.cams
    arrays = {name: getattr(cams, name) for name in _CAM_ARRAYS if getattr(cams, name) is not None}
    arrays |= {name: getattr(checks, name) for name in ("fractions", "deletion", "insertion")}
    arrays |= {f"mask/{name}": mask for name, mask in cams.masks.items()}
    arrays |= {f"class_map/{name}": mean for name, mean in checks.class_maps.items()}
    arrays |= {f"class_image/{name}": mean for name, mean in checks.class_images.items()}
    texts = {name: getattr(checks, name) for name in _TEXTS} | {"of": dict(of)}
    texts["cams"] = {"classes": cams.classes, "layer": cams.layer, "method": cams.method, "grid": cams.grid}
    with atomic_writer(path) as file:
        np.savez_compressed(file, json=np.array(json.dumps(texts)), **arrays)


def load_checks(path: str | Path, of: Mapping[str, Any]) -> CamChecks | None:
    """Read them; None if there are none, or if they are of something else."""
    if not Path(path).expanduser().exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, zipfile.BadZipFile):
        return None  # not ours; they will be computed
    texts = json.loads(str(arrays.pop("json", "{}")))
    if texts.get("of") != dict(of):
        return None

    def named(kind: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(f"{kind}/"): a for name, a in arrays.items() if name.startswith(f"{kind}/")}

    facts = texts["cams"]
    cams = CamResult(
        maps=arrays["maps"],
        images=arrays["images"],
        targets=arrays["targets"],
        probabilities=arrays["probabilities"],
        labels=arrays.get("labels"),
        classes=tuple(facts["classes"]),
        layer=facts["layer"],
        method=facts["method"],
        grid=tuple((rows, columns) for rows, columns in facts.get("grid", ())),
        masks=named("mask"),
    )
    return CamChecks(
        cams=cams,
        fractions=arrays["fractions"],
        deletion=arrays["deletion"],
        insertion=arrays["insertion"],
        randomised=texts["randomised"],
        regions=texts["regions"],
        class_maps=named("class_map"),
        class_images=named("class_image"),
    )


def _regions(cams: CamResult) -> list[dict[str, Any]]:
    """Shares of heat and area, and the pointing game, over the images whose map is not empty."""
    shown = np.flatnonzero(cams.maps.max(axis=(1, 2)) > 0)
    hottest = cams.maps[shown].reshape(len(shown), cams.maps[0].size).argmax(axis=1)
    rows = cams.region_shares()
    for row in rows:
        mask = cams.masks[row["region"]][shown].reshape(len(shown), cams.maps[0].size)
        there = mask.any(axis=1)
        row["hits"] = float(mask[np.arange(len(shown)), hottest][there].mean()) if there.any() else float("nan")
    return rows
