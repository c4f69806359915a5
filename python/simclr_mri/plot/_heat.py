"""Heat maps over images, and the checks of them."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from .._shared import expect, expect_shape, short
from ._style import COLOURS, LINES, MARKERS, axes_of_size, draw_tiles, styled

HEAT = "inferno"
TILE_INCHES, LINE_INCHES = 1.35, 0.16  # of an image, and of a line of 7 points above it


def heat_colours() -> np.ndarray:
    """Colours of heat from 0 to 1, uint8 (256, 3); the darkest quarter of the map is left out, as it would hide."""
    return (matplotlib.colormaps[HEAT](np.linspace(0.25, 1, 256))[:, :3] * 255).round().astype(np.uint8)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A gray image with heat over it, uint8 (H, W, 3): what is cold stays as it was.

    Examples
    --------
    >>> overlay(np.zeros((2, 2)), np.eye(2)).shape
    (2, 2, 3)
    """
    heat = expect_shape("heat", heat, (None, None))
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.shape[:2] != heat.shape:
        raise ValueError(f"image: expected the shape of heat, {heat.shape}, got {image.shape}")
    gray = image.astype(np.float64).reshape(*heat.shape, -1).mean(axis=2, keepdims=True)
    colour = heat_colours()[(np.clip(heat, 0, 1) * 255).round().astype(int)]
    weight = 0.65 * np.clip(heat, 0, 1)[..., None] ** 0.8
    return np.clip((1 - weight) * gray + weight * colour, 0, 255).round().astype(np.uint8)


@styled
def cam(images: Any, maps: Any = None, *, columns: int = 6, ax: Axes | None = None) -> Axes:
    """Images above, the same with heat below.

    Parameters
    ----------
    images : CamResult, or ndarray of shape (N, H, W, C), uint8
    maps : CamResult, or ndarray of shape (N, H, W) in [0, 1]
        Not needed if `images` is a CamResult.

    Examples
    --------
    >>> ax = cam(np.zeros((2, 32, 32, 1), np.uint8), np.ones((2, 32, 32)))
    """
    result = next((given for given in (images, maps) if hasattr(given, "maps")), None)  # a CamResult
    if result is None and maps is None:
        raise TypeError(
            f"images: expected what grad_cam returns, or images with their maps, got {type(images).__name__}"
        )
    heat = np.asarray(result.maps if result is not None else maps)
    pictures = np.asarray(result.images if result is images else images)
    if pictures.ndim != 4 or pictures.shape[:3] != heat.shape:
        raise ValueError(
            f"maps: expected shape (N, H, W) for images (N, H, W, C), got {heat.shape} and {pictures.shape}, which "
            "do not fit"
        )
    captions = result.captions() if result is not None else [""] * len(heat)
    rows: list[list[np.ndarray]] = []
    for start in range(0, len(heat), columns):
        part = slice(start, start + columns)
        rows.append(list(pictures[part]))
        rows.append([overlay(image, m) for image, m in zip(pictures[part], heat[part], strict=True)])
    columns = min(columns, len(heat))
    n_lines = max((caption.count("\n") + 1 for caption in captions if caption), default=0)
    inches = LINE_INCHES * n_lines
    space = round(inches / TILE_INCHES * heat.shape[1])  # of the text, in pixels of the images
    ax = axes_of_size(ax, (TILE_INCHES * columns + 0.7, (TILE_INCHES * len(rows)) + inches * (len(rows) // 2)))
    height, width = draw_tiles(ax, rows, above=[space, 0] * (len(rows) // 2))
    for i, caption in enumerate(captions):
        pair, column = i // columns, i % columns
        ax.text(column * width, pair * (2 * height + space) + space - 1, caption, fontsize=7, va="bottom", ha="left")
    heat_bar(ax, "heat of each map, from its coldest to its hottest pixel")
    return ax


def heat_bar(ax: Axes, label: str) -> None:
    """A colour bar beside heat maps: what the colours of `overlay` mean."""
    used = matplotlib.colors.ListedColormap(heat_colours() / 255)
    colours = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), used)
    bar = ax.figure.colorbar(colours, ax=ax, fraction=0.03, pad=0.02, aspect=30, ticks=[0, 0.5, 1])
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


@styled
def cam_curves(checks: Any, *, ax: Axes | None = None) -> Axes:
    """What is left of a class's probability as pixels go: the hottest first (deletion), the coldest first (insertion).

    Bands are 95 % of the mean over images; the area between the curves is what the maps know.

    Examples
    --------
    >>> ax = cam_curves(check_cams(clf, test))  # doctest: +SKIP
    """
    expect("checks", checks, "fractions", "what check_cams returns")
    ax = axes_of_size(ax, (5.2, 3.6))
    x = 100 * checks.fractions
    curves = {"coldest pixels first (insertion)": checks.insertion, "hottest pixels first (deletion)": checks.deletion}
    for i, (label, values) in enumerate(curves.items()):
        mean, error = values.mean(axis=0), 1.96 * values.std(axis=0, ddof=min(1, len(values) - 1)) / len(values) ** 0.5
        ax.plot(x, mean, color=COLOURS[i], linestyle=LINES[i], marker=MARKERS[i], markersize=4, label=label)
        ax.fill_between(x, mean - error, mean + error, color=COLOURS[i], alpha=0.15, linewidth=0)
    ax.set_xlabel("pixels taken away and filled from their surroundings, %")
    ax.set_ylabel("probability of the class")
    ax.set_ylim(0, 1)
    ax.set_title(f"area between {checks.area[0]:+.3f} ({checks.area[1]:+.3f} to {checks.area[2]:+.3f})")
    ax.legend(loc="lower left", fontsize=9)
    return ax


@styled
def class_maps(checks: Any, *, ax: Axes | None = None) -> Axes:
    """The mean image of each explained class, and with its mean map on it.

    Examples
    --------
    >>> ax = class_maps(check_cams(clf, test))  # doctest: +SKIP
    """
    expect("checks", checks, "class_maps", "what check_cams returns")
    names = list(checks.class_maps)
    pictures = [checks.class_images[name] for name in names]
    heats = [checks.class_maps[name] for name in names]
    hot = [overlay(image, heat / max(heat.max(), 1e-9)) for image, heat in zip(pictures, heats, strict=True)]
    ax = axes_of_size(ax, (1.6 * len(names) + 0.8, 3.5))
    _, width = draw_tiles(ax, [pictures, hot])
    for i, name in enumerate(names):
        ax.text((i + 0.5) * width, -4, short(name), ha="center", va="bottom", fontsize=9)
    heat_bar(ax, "mean heat, over its hottest pixel")
    return ax
