"""Pictures. Each function draws on `ax`, or on a new figure, and returns the Axes.

Colours are Okabe and Ito's, which the colour-blind can tell apart; arms differ in marker and line as well, so that a
print in black and white can be read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from ._dataset import Dataset
from .cam import CamResult, short
from .options import choose

if TYPE_CHECKING:
    from .cam_checks import CamChecks

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
LINES = ("-", "--", "-.", ":")
HEAT = "inferno"

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "font.size": 10,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
}


def styled(draw: Callable[..., Axes]) -> Callable[..., Axes]:
    """Draws in the package's style without touching the user's."""

    @functools.wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Axes:
        with matplotlib.rc_context(STYLE):
            ax = draw(*args, **kwargs)
            interactive = matplotlib.is_interactive()
        # A notebook's first figure turns this on; if leaving the context turned it off, later figures would not show.
        matplotlib.interactive(interactive)
        return ax

    return wrapper


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return plt.subplots(figsize=size)[1] if ax is None else ax


def _tiles(ax: Axes, rows: Sequence[Sequence[np.ndarray]], gap: int = 3) -> tuple[int, int]:
    """Shows rows of images (H, W[, 1 or 3]) in [0, 255] as one picture; returns a tile's height and width."""
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    canvas = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            image = np.asarray(image, np.uint8)
            top, left = r * (height + gap), c * (width + gap)
            canvas[top : top + height, left : left + width] = image[..., None] if image.ndim == 2 else image
    ax.imshow(canvas, interpolation="nearest")
    ax.set_axis_off()
    return height + gap, width + gap


@styled
def montage(ds: Dataset, *, per_class: int = 8, seed: int = 0, ax: Axes | None = None) -> Axes:
    """Images of every class, one row a class, of different subjects where possible.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> ax = montage(ds, per_class=3)
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros(len(ds), np.int64) if ds.labels is None else ds.labels
    names = ds.classes if ds.labels is not None else ("",)
    rows, shown = [], []
    for c, name in enumerate(names):
        found = rng.permutation(np.flatnonzero(labels == c))
        if len(found) == 0:
            continue
        if ds.subjects is not None:
            first = np.unique(ds.subjects[found], return_index=True)[1]
            found = np.concatenate([found[np.sort(first)], np.delete(found, first)])
        rows.append(list(ds[found[:per_class]].images))
        shown.append(f"{short(name)}\n{len(found):,}")
    ax = _axes(ax, (1.0 * per_class + 1.2, 1.05 * len(rows)))
    height, _ = _tiles(ax, rows)
    for r, name in enumerate(shown):
        ax.text(-4, r * height + height / 2, name, ha="right", va="center", fontsize=9)
    return ax


@styled
def views(
    ds: Dataset, *, kind: str = "mri", n: int = 3, n_views: int = 6, seed: int = 0, ax: Axes | None = None
) -> Axes:
    """Images (left) and random views of them, as SimCLR sees them.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> ax = views(ds, kind="mri", n=2, n_views=3)
    """
    from .views import Preprocess, augmented_batch

    plain = Preprocess.of(ds.images, normalize=False)
    indices = np.random.default_rng(seed).choice(len(ds), n, replace=False)
    drawn = [augmented_batch(ds.images, indices, kind, plain, seed=seed, epoch=0, view=v) for v in range(n_views)]
    rows = [
        [ds.images[index], *(np.clip(view[i] * 255, 0, 255).round() for view in drawn)]
        for i, index in enumerate(indices)
    ]
    ax = _axes(ax, (1.1 * (n_views + 1), 1.15 * n + 0.3))
    _, width = _tiles(ax, rows)
    ax.set_title(f'image, and views "{kind}"')
    ax.axvline(width - 2, color="#D55E00", linewidth=1.5)
    return ax


@styled
def history(history: Sequence[Mapping[str, Any]], *, batch_size: int | None = None, ax: Axes | None = None) -> Axes:
    """Loss by epoch (left scale) and validation scores (right scale).

    Of SimCLR the chance level ln(2N - 1) is marked, the loss of an embedding that knows nothing; a history from before
    that was recorded needs `batch_size` for it.

    Examples
    --------
    >>> ax = history([{"epoch": 1, "loss": 4.1}, {"epoch": 2, "loss": 3.2}])
    """
    ax = _axes(ax, (5.6, 3.4))
    if not history:
        ax.set_title("no epochs yet")
        return ax
    epochs = [row["epoch"] for row in history]
    handles = ax.plot(epochs, [row["loss"] for row in history], color=COLOURS[0], label="training loss")
    if any("val_loss" in row for row in history):
        handles += ax.plot(
            epochs,
            [row.get("val_loss", np.nan) for row in history],
            color=COLOURS[0],
            linestyle="--",
            label="validation loss",
        )
    chance = [row["chance_loss"] for row in history if row.get("chance_loss")]
    if chance or batch_size is not None:
        level = float(np.mean(chance)) if chance else np.log(2 * batch_size - 1)
        handles.append(ax.axhline(level, color="#888888", linestyle=":", label="chance, ln(2N - 1)"))
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.xaxis.get_major_locator().set_params(integer=True)
    scores = {
        "knn_accuracy": "nearest neighbours",
        "probe_balanced_accuracy": "linear probe, balanced accuracy",
        "val_balanced_accuracy": "validation balanced accuracy",
    }
    shown = {name: label for name, label in scores.items() if any(name in row for row in history)}
    if shown:
        right = ax.twinx()
        right.grid(False)
        right.spines["right"].set_visible(True)
        for i, (name, label) in enumerate(shown.items()):
            points = [(row["epoch"], row[name]) for row in history if row.get(name) is not None]
            handles += right.plot(
                *zip(*points, strict=True), color=COLOURS[1 + i], marker=MARKERS[i], markersize=4, label=label
            )
        right.set_ylim(0, 1)
        right.set_ylabel("score")
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=9)
    return ax


@styled
def collapse(history: Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Axes:
    """Whether SimCLR's embeddings keep apart: spread and alignment (left scale) and uniformity (right) by epoch.

    A collapse shows as a spread near 0 and a uniformity near 0; the formulas are those of `monitor.Collapse`.

    Examples
    --------
    >>> ax = collapse([{"epoch": 1, "spread": 0.5, "alignment": 0.2, "uniformity": -2.0}])
    """
    ax = _axes(ax, (5.6, 3.4))
    rows = [row for row in history if "uniformity" in row]
    if not rows:
        ax.set_title("no embeddings were measured")
        return ax
    epochs = [row["epoch"] for row in rows]
    labels = {"spread": "spread (1: even sphere, 0: collapse)", "alignment": "alignment (0: views agree)"}
    handles = []
    for i, (name, label) in enumerate(labels.items()):
        values = [row[name] for row in rows]
        handles += ax.plot(epochs, values, color=COLOURS[i], marker=MARKERS[i], markersize=4, label=label)
    right = ax.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    label = "uniformity (right; -4: even sphere, 0: collapse)"
    values = [row["uniformity"] for row in rows]
    handles += right.plot(
        epochs, values, color=COLOURS[2], linestyle="--", marker=MARKERS[2], markersize=4, label=label
    )
    right.set_ylim(-4.2, 0.2)
    right.set_ylabel("uniformity")
    ax.set_ylim(-0.03, max(1.05, ax.get_ylim()[1]))  # at least to 1, so that a collapse looks like one
    ax.set_xlabel("epoch")
    ax.set_ylabel("spread, alignment")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=9)
    return ax


@styled
def confusion(
    matrix: Any, classes: Sequence[str] = (), *, level: str = "slice", title: str = "", ax: Axes | None = None
) -> Axes:
    """A confusion matrix: rows are true classes, colour is the share of the row, numbers are counts.

    Parameters
    ----------
    matrix : Evaluation, or ndarray of shape (K, K), int
    classes : sequence of str
        Not needed for an Evaluation.
    level : {"slice", "subject"}
        What an Evaluation counts.

    Examples
    --------
    >>> ax = confusion([[40, 3], [6, 12]], ["well", "sick"], title="validation")
    """
    if hasattr(matrix, "levels"):
        matrix, classes = matrix.levels[choose("level", level, tuple(matrix.levels))].confusion, matrix.classes
    counts = np.asarray(matrix)
    names = [short(name) for name in classes]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = _axes(ax, (0.85 * len(names) + 1.6, 0.75 * len(names) + 1.2))
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        colour = "white" if share[i, j] > 0.55 else "black"
        ax.text(j, i, f"{counts[i, j]:,}\n{share[i, j]:.0%}", ha="center", va="center", color=colour, fontsize=9)
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title)
    return ax


@styled
def label_fractions(
    rows: Sequence[Mapping[str, Any]],
    *,
    metric: str = "balanced_accuracy",
    chance: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Score by share of the labels, one line a start, bars for the intervals.

    Parameters
    ----------
    rows : sequence of dict
        init, label_fraction, `metric`, and `metric`_low and `metric`_high where known; several seeds are averaged.
    chance : float, optional
        Marked as what always answering one class scores.

    Examples
    --------
    >>> ax = label_fractions([{"init": "random", "label_fraction": f, "balanced_accuracy": f} for f in (0.1, 1.0)])
    """
    ax = _axes(ax, (5.6, 3.8))
    arms = list(dict.fromkeys(row["init"] for row in rows))
    fractions = sorted({row["label_fraction"] for row in rows})
    spread = _spread_places(len(arms))
    for i, arm in enumerate(arms):
        mine = [[row for row in rows if row["init"] == arm and row["label_fraction"] == f] for f in fractions]
        x = [f * spread[i] for f, found in zip(fractions, mine, strict=True) if found]
        mine = [found for found in mine if found]
        y = np.array([np.mean([row[metric] for row in found]) for found in mine])
        low = np.array([np.mean([row.get(f"{metric}_low", row[metric]) for row in found]) for found in mine])
        high = np.array([np.mean([row.get(f"{metric}_high", row[metric]) for row in found]) for found in mine])
        bars = [np.maximum(y - low, 0), np.maximum(high - y, 0)]
        line = LINES[i % len(LINES)]
        ax.errorbar(x, y, bars, label=arm, color=COLOURS[i], marker=MARKERS[i], linestyle=line, capsize=3, elinewidth=1)
    if chance is not None:
        ax.axhline(chance, color="#888888", linestyle=":", label="always one class")
    ax.set_xscale("log")
    ax.set_xticks(fractions, [f"{f:.3g} %" for f in 100 * np.array(fractions)])
    ax.minorticks_off()
    ax.set_xlabel("labels used for fine-tuning")
    ax.set_ylabel(metric.replace("_", " "))
    ax.legend(loc="best", fontsize=9)
    return ax


def _spread_places(n: int) -> np.ndarray:
    """Factors for n lines on a logarithmic axis, so that their bars do not hide each other."""
    return np.exp(np.linspace(-0.035, 0.035, n)) if n > 1 else np.ones(1)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A gray image with heat over it, uint8 (H, W, 3): what is cold stays as it was.

    Examples
    --------
    >>> overlay(np.zeros((2, 2)), np.eye(2)).shape
    (2, 2, 3)
    """
    gray = np.asarray(image, np.float64).reshape(*heat.shape, -1).mean(axis=2, keepdims=True)
    colour = matplotlib.colormaps[HEAT](0.25 + 0.75 * heat)[..., :3] * 255
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
    result = images if isinstance(images, CamResult) else maps if isinstance(maps, CamResult) else None
    heat = np.asarray(result.maps if result is not None else maps)
    pictures = np.asarray(result.images if isinstance(images, CamResult) else images)
    if pictures.shape[:3] != heat.shape:
        raise ValueError(f"plot.cam: {pictures.shape[:3]} images and {heat.shape} maps do not fit")
    captions = result.captions() if result is not None else [""] * len(heat)
    rows: list[list[np.ndarray]] = []
    for start in range(0, len(heat), columns):
        part = slice(start, start + columns)
        rows.append(list(pictures[part]))
        rows.append([overlay(image, m) for image, m in zip(pictures[part], heat[part], strict=True)])
    columns = min(columns, len(heat))
    ax = _axes(ax, (1.35 * columns, 1.35 * len(rows) + 0.35 * (len(rows) // 2)))
    height, width = _tiles(ax, rows)
    for i, caption in enumerate(captions):
        row, column = 2 * (i // columns), i % columns
        ax.text(
            column * width + 2,
            row * height + 2,
            caption,
            color="white",
            fontsize=7.5,
            va="top",
            ha="left",
            bbox={"facecolor": "black", "alpha": 0.55, "pad": 1.5, "edgecolor": "none"},
        )
    return ax


@styled
def cam_curves(checks: CamChecks, *, ax: Axes | None = None) -> Axes:
    """What is left of a class's probability as pixels go: the hottest first (deletion), the coldest first (insertion).

    Bands are 95 % of the mean over images; the area between the curves is what the maps know.

    Examples
    --------
    >>> ax = cam_curves(check_cams(clf, test))  # doctest: +SKIP
    """
    ax = _axes(ax, (5.2, 3.6))
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
def class_maps(checks: CamChecks, *, ax: Axes | None = None) -> Axes:
    """The mean image of each explained class, and with its mean map on it.

    Examples
    --------
    >>> ax = class_maps(check_cams(clf, test))  # doctest: +SKIP
    """
    names = list(checks.class_maps)
    pictures = [checks.class_images[name] for name in names]
    heats = [checks.class_maps[name] for name in names]
    hot = [overlay(image, heat / max(heat.max(), 1e-9)) for image, heat in zip(pictures, heats, strict=True)]
    ax = _axes(ax, (1.6 * len(names), 3.5))
    _, width = _tiles(ax, [pictures, hot])
    for i, name in enumerate(names):
        ax.text((i + 0.5) * width, -4, short(name), ha="center", va="bottom", fontsize=9)
    return ax


@styled
def embedding(
    features: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    method: str = "pca",
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Features in two dimensions, coloured by class.

    Parameters
    ----------
    features : ndarray of shape (N, D)
    labels : ndarray of shape (N,), int
    classes : sequence of str
    method : {"pca", "tsne"}

    Examples
    --------
    >>> ax = embedding(np.eye(6), np.array([0, 0, 0, 1, 1, 1]), ["well", "sick"])
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    choose("method", method, ("pca", "tsne"))
    if method == "pca":
        points = PCA(2, random_state=seed).fit_transform(features)
    else:
        with threadpool_limits(1):  # its OpenMP threads spin, and sums would depend on their number
            points = TSNE(2, random_state=seed, init="pca", perplexity=min(30, (len(features) - 1) / 3)).fit_transform(
                features
            )
    ax = _axes(ax, (4.6, 4.2))
    for c, name in enumerate(classes):
        mine = points[labels == c]
        ax.scatter(
            *mine.T, s=14, color=COLOURS[c % 7], marker=MARKERS[c % 7], alpha=0.7, linewidths=0, label=short(name)
        )
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel("first component" if method == "pca" else "t-SNE 1")
    ax.set_ylabel("second component" if method == "pca" else "t-SNE 2")
    ax.legend(fontsize=9, loc="best")
    return ax


__all__ = [
    "COLOURS",
    "HEAT",
    "LINES",
    "MARKERS",
    "STYLE",
    "cam",
    "cam_curves",
    "class_maps",
    "collapse",
    "confusion",
    "embedding",
    "history",
    "label_fractions",
    "montage",
    "overlay",
    "views",
]


def __dir__() -> list[str]:
    return sorted(__all__)
