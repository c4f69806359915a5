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

import copy
import html
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._dataset import Dataset
from .cam import BACKGROUND_LEVEL, CamResult, grad_cam, layer_names
from .checkpoint import atomic_writer
from .runlog import html_table

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NOISE = 0.01  # deviation of the noise on filled pixels, of the range of an image: as in ROAD's own code
# Weights of ROAD's linear imputation: a pixel is this mean of its neighbours.
_NEIGHBOURS = [(0, 1, 1 / 6), (0, -1, 1 / 6), (1, 0, 1 / 6), (-1, 0, 1 / 6)]
_NEIGHBOURS += [(1, 1, 1 / 12), (1, -1, 1 / 12), (-1, 1, 1 / 12), (-1, -1, 1 / 12)]
SAME_MAP = 0.5  # rank correlation above which a map of random weights counts as the same
_SSIM_WINDOW_PX = 7
OUTSIDE = "outside the head"


@dataclass(frozen=True)
class CamChecks:
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

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows: each check, what was found, what a map that knows nothing gives, and a verdict."""
        mean, low, high = self.area
        rows = [
            [
                "area between insertion and deletion",
                f"{mean:+.3f} ({low:+.3f} to {high:+.3f})",
                "0",
                "marks what matters" if low > 0 else "marks what does not matter" if high < 0 else "cannot be told",
            ]
        ]
        for row in self.randomised:
            found, same = row["rank_correlation"], row["rank_correlation"] > SAME_MAP
            verdict = "no maps to compare" if not row["images"] else "unchanged by new weights" if same else "changes"
            rows.append([f"new weights in {row['layers']}", f"{found:.2f} (SSIM {row['ssim']:.2f})", "1", verdict])
        for row in self.regions:
            verdict = f"{row['ratio']:.2f} x even heat; hottest pixel of {row['hits']:.0%}"
            rows.append([f"heat: {row['region']}", f"{row['heat']:.2%}", f"{row['area']:.2%}", verdict])
        empty = float((self.cams.maps.max(axis=(1, 2)) == 0).mean())
        rows.append(["empty maps", f"{empty:.0%}", "", "no evidence for the class at this stage" if empty else ""])
        return ["check", "found", "knows nothing", "verdict"], rows

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values."""
        mean, low, high = self.area
        area = {"area": mean, "area_low": low, "area_high": high}
        return {**area, "images": len(self.cams), "randomised": self.randomised, "regions": self.regions}

    def plot(self, ax: Any = None) -> Any:
        """The deletion and insertion curves."""
        from . import plot

        return plot.cam_curves(self, ax=ax)

    def __repr__(self) -> str:
        return f"<CamChecks: {len(self.cams)} maps, {self.cams.method} at {self.cams.layer}>"

    def __str__(self) -> str:
        head, rows = self.table()
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
        return "\n".join([f"{len(self.cams)} maps, {self.cams.method} at {self.cams.layer}", *lines])

    def _repr_html_(self) -> str:
        from . import plot, report

        pictures = report.png_tag(self.plot().figure, alt="deletion and insertion", dpi=100)
        pictures += report.png_tag(plot.class_maps(self).figure, alt="mean maps", dpi=100)
        title = html.escape(f"{len(self.cams)} maps, {self.cams.method} at {self.cams.layer}")
        return f"<p><b>{title}</b></p>{html_table(*self.table())}{pictures}"


def check_cams(
    model: Any,
    dataset: Dataset,
    *,
    layer: str | Sequence[str] = "layer3",
    method: str = "gradcam",
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
    from .studies import spread_examples

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
        randomised=randomised_weights(model, cams, examples, seed),
        regions=_regions(cams),
        class_maps={name: cams.maps[mine].mean(axis=0) for name, mine in chosen.items()},
        class_images={name: cams.images[mine].mean(axis=(0, 3)) for name, mine in chosen.items()},
    )


# ---- kept in a file --------------------------------------------------------------------------------------------------

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
    texts["cams"] = {"classes": cams.classes, "layer": cams.layer, "method": cams.method}
    with atomic_writer(path) as file:
        np.savez_compressed(file, json=np.array(json.dumps(texts)), **arrays)


def load_checks(path: str | Path, of: Mapping[str, Any]) -> CamChecks | None:
    """Read them; None if there are none, or if they are of something else."""
    if not Path(path).exists():
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
        **{name: arrays.get(name) for name in _CAM_ARRAYS},
        classes=tuple(facts["classes"]),
        layer=facts["layer"],
        method=facts["method"],
        masks=named("mask"),
    )
    curves = {name: arrays[name] for name in ("fractions", "deletion", "insertion")}
    means = {"class_maps": named("class_map"), "class_images": named("class_image")}
    return CamChecks(cams=cams, **curves, **{name: texts[name] for name in _TEXTS}, **means)


# ---- 1. deletion and insertion ---------------------------------------------------------------------------------------


def removal_curves(model: Any, cams: CamResult, fractions: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the explained class without the hottest, and without the coldest, pixels: two of (N, F)."""
    n, height, width = cams.maps.shape
    rng = np.random.default_rng((seed, 1))
    ties = rng.random((n, height * width))  # large parts of a map are equally cold
    hottest_first = np.lexsort((ties, -cams.maps.reshape(n, -1)), axis=1)
    curves = []
    for order in (hottest_first, hottest_first[:, ::-1]):
        columns = []
        for fraction in fractions:
            removed = np.zeros((n, height * width), bool)
            np.put_along_axis(removed, order[:, : round(fraction * height * width)], True, axis=1)
            filled = [
                impute(image, gone.reshape(height, width), rng) if gone.any() else image
                for image, gone in zip(cams.images, removed, strict=True)
            ]
            columns.append(model.predict_proba(np.stack(filled))[np.arange(n), cams.targets])
        curves.append(np.stack(columns, axis=1))
    return curves[0], curves[1]


def impute(image: np.ndarray, removed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fills removed pixels: each is the weighted mean of its eight neighbours, all at once, and a little noise.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), uint8
    removed : ndarray of shape (H, W), bool
        Not all of them.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (H, W, C), uint8
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import splu

    y, x = np.nonzero(removed)
    n = len(y)
    number = np.full((removed.shape[0] + 2, removed.shape[1] + 2), -1)  # of an unknown; -1 known; -2 outside
    number[[0, -1]] = number[:, [0, -1]] = -2
    number[y + 1, x + 1] = np.arange(n)
    values = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    diagonal, right = np.zeros(n), np.zeros((n, image.shape[2]))
    rows, columns, weights = [np.arange(n)], [np.arange(n)], [diagonal]
    for dy, dx, weight in _NEIGHBOURS:
        other = number[y + 1 + dy, x + 1 + dx]
        diagonal[other > -2] += weight
        known = np.flatnonzero(other == -1)
        right[known] += weight * values[y[known] + 1 + dy, x[known] + 1 + dx]
        unknown = np.flatnonzero(other >= 0)
        rows.append(unknown)
        columns.append(other[unknown])
        weights.append(np.full(len(unknown), -weight))
    system = coo_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (n, n)).tocsc()
    # The system is symmetric and positive definite: an ordering for such, and no pivoting.
    solved = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)
    out = image.copy()
    out[y, x] = np.clip(solved + rng.normal(0, 255 * NOISE, right.shape), 0, 255).round()
    return out


# ---- 2. new weights --------------------------------------------------------------------------------------------------


def randomised_weights(model: Any, cams: CamResult, images: Dataset, seed: int) -> list[dict[str, Any]]:
    """Likeness of the maps to those of the same classes after weights from the head downwards are drawn anew."""
    trained = model.network_.state()
    other = copy.copy(model)
    other._build(model.network_config_, seed=seed + 1_000_003)  # any seed but the one that the training began from
    fresh = other.network_.state()
    found = []
    kept = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    for n_kept, layers in ((6, "the head"), (5, "layer4 and up"), (4, "layer3 and up"), (0, "all layers")):
        prefixes = tuple(f"{name}." for name in kept[:n_kept])
        other.network_.load({k: trained[k] if k.startswith(prefixes) else v for k, v in fresh.items()})
        maps = np.empty_like(cams.maps)
        for target in np.unique(cams.targets):
            mine = np.flatnonzero(cams.targets == target)
            options = {"layer": layer_names(cams.layer), "method": cams.method, "target": int(target)}
            maps[mine] = grad_cam(other, images[mine], **options).maps
        both = (np.ptp(maps, axis=(1, 2)) > 0) & (np.ptp(cams.maps, axis=(1, 2)) > 0)
        pairs = list(zip(cams.maps[both], maps[both], strict=True))
        found.append(
            {
                "layers": layers,
                "rank_correlation": float(np.mean([rank_correlation(a, b) for a, b in pairs])) if pairs else np.nan,
                "ssim": float(np.mean([ssim(a, b) for a, b in pairs])) if pairs else np.nan,
                "images": len(pairs),
            }
        )
    return found


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of two maps; NaN if one is constant."""
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity of two maps in [0, 1] (Wang et al., IEEE TIP 2004) with even 7 x 7 windows."""
    from scipy.ndimage import uniform_filter

    def mean(x: np.ndarray) -> np.ndarray:
        return uniform_filter(x, min(_SSIM_WINDOW_PX, *x.shape))

    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = 0.01**2, 0.03**2
    ma, mb = mean(a), mean(b)
    va, vb, vab = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return float(np.mean((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))


# ---- 3. places -------------------------------------------------------------------------------------------------------


def find_head(images: np.ndarray) -> np.ndarray:
    """The head in each slice: brighter than the corners, the largest connected piece, its holes filled.

    Parameters
    ----------
    images : ndarray of shape (N, H, W, C), uint8

    Returns
    -------
    ndarray of shape (N, H, W), bool
        All False for a slice that is black.
    """
    from scipy import ndimage

    out = np.zeros(images.shape[:3], bool)
    for image, head in zip(images, out, strict=True):
        smooth = ndimage.median_filter(image.max(axis=2), 3)  # ringing in the air is thin
        side = max(1, len(smooth) // 8)
        corners = [
            smooth[y, x].max() for y in (slice(side), slice(-side, None)) for x in (slice(side), slice(-side, None))
        ]
        air = max(BACKGROUND_LEVEL - 1, np.median(corners))  # one or two corners may be written on
        pieces, count = ndimage.label(smooth > air)
        if count:
            largest = 1 + np.bincount(pieces.ravel())[1:].argmax()
            head[:] = ndimage.binary_fill_holes(pieces == largest)
    return out


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


__all__ = [
    "CamChecks",
    "check_cams",
    "find_head",
    "impute",
    "load_checks",
    "randomised_weights",
    "rank_correlation",
    "save_checks",
    "ssim",
]
