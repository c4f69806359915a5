"""Scores as pictures: confusion matrices, label fractions, features in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from matplotlib.axes import Axes

from .._shared import Embedding, Level, Metric, checked_labels, choose, expect_rows, expect_shape, short
from ._style import COLOURS, LINES, MARKERS, axes_of_size, readable_on, styled


@styled
def confusion(
    matrix: Any, classes: Sequence[str] = (), *, level: Level = "slice", title: str = "", ax: Axes | None = None
) -> Axes:
    """A confusion matrix: rows are true classes, colour is the share of the row, numbers are counts.

    The title ends in how many are counted.

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
        unit = f"{level}s"
    else:
        unit = ""
    counts = expect_shape("matrix", matrix, (len(classes), len(classes)) if len(classes) else (None, None)).astype(int)
    if len(classes) != len(counts) or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"classes: expected a name for each row of the matrix, {len(counts)}, got {len(classes)}")
    names = [short(name) for name in classes]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = axes_of_size(ax, (0.85 * len(names) + 1.6, 0.75 * len(names) + 1.2))
    cells = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        colour = readable_on(tuple(cells.to_rgba(share[i, j])))
        ax.text(j, i, f"{counts[i, j]:,}\n{share[i, j]:.0%}", ha="center", va="center", color=colour, fontsize=9)
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    n = f"n = {counts.sum():,} {unit}".rstrip()
    ax.set_title(f"{title} ({n})" if title else n)
    return ax


@styled
def label_fractions(
    rows: Sequence[Mapping[str, Any]],
    *,
    metric: Metric = "balanced_accuracy",
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
    keys = ("init", "label_fraction", choose("metric", metric, get_args(Metric)))
    expect_rows("rows", rows, keys, "a study's rows()")
    ax = axes_of_size(ax, (5.6, 3.8))
    arms = list(dict.fromkeys(row["init"] for row in rows))
    fractions = sorted({row["label_fraction"] for row in rows})
    spread = spread_places(len(arms))
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


def spread_places(n: int) -> np.ndarray:
    """Factors for n lines on a logarithmic axis, so that their bars do not hide each other."""
    return np.exp(np.linspace(-0.035, 0.035, n)) if n > 1 else np.ones(1)


@styled
def embedding(
    features: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    method: Embedding = "pca",
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Features in two dimensions, coloured by class.

    Parameters
    ----------
    features : ndarray of shape (N, D)
    labels : array-like of shape (N,)
        Index into `classes`, or their names.
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
    features = expect_shape("features", features, (None, None))
    labels = checked_labels(labels, len(features), classes)
    if method == "pca":
        points = PCA(2, random_state=seed).fit_transform(features)
    else:
        with threadpool_limits(1):  # its OpenMP threads spin, and sums would depend on their number
            points = TSNE(2, random_state=seed, init="pca", perplexity=min(30, (len(features) - 1) / 3)).fit_transform(
                features
            )
    ax = axes_of_size(ax, (4.6, 4.2))
    for c, name in enumerate(classes):
        x, y = points[labels == c].T
        ax.scatter(x, y, s=14, color=COLOURS[c % 7], marker=MARKERS[c % 7], alpha=0.7, linewidths=0, label=short(name))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel("first component" if method == "pca" else "t-SNE 1")
    ax.set_ylabel("second component" if method == "pca" else "t-SNE 2")
    ax.legend(fontsize=9, loc="best")
    return ax
