"""Training as curves: loss, validation scores, and whether the embeddings keep apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .._shared import expect_rows, expect_shape
from ._style import COLOURS, MARKERS, axes_of_size, styled


@styled
def history(history: Sequence[Mapping[str, Any]], *, batch_size: int | None = None, ax: Axes | None = None) -> Axes:
    """Loss by epoch (left scale) and validation scores (right scale).

    Of SimCLR the chance level ln(2N - 1) is marked, the loss of an embedding that knows nothing; a history from before
    that was recorded needs `batch_size` for it.

    Examples
    --------
    >>> ax = history([{"epoch": 1, "loss": 4.1}, {"epoch": 2, "loss": 3.2}])
    """
    expect_rows("history", history, ("epoch", "loss"), "a model's history_")
    ax = axes_of_size(ax, (5.6, 3.4))
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
    if batch_size is not None or chance:
        level = float(np.mean(chance)) if chance or batch_size is None else float(np.log(2 * batch_size - 1))
        handles.append(ax.axhline(level, color="#888888", linestyle=":", label="chance, ln(2N - 1)"))
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
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
    expect_rows("history", history, ("epoch",), "a model's history_")
    ax = axes_of_size(ax, (5.6, 3.4))
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
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=9)
    return ax


@styled
def learning_rates(
    lrs: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, suggestion: float = np.nan, *, ax: Axes | None = None
) -> Axes:
    """The loss by learning rate, of a range test: each step's, their moving average, and the rate that is suggested.

    Examples
    --------
    >>> ax = learning_rates(np.geomspace(1e-4, 1, 3), np.ones(3), np.array([1.0, 0.5, 0.9]), 1e-3)
    """
    lrs = expect_shape("lrs", lrs, (None,))
    losses, smoothed = (expect_shape(n, v, lrs.shape) for n, v in (("losses", losses), ("smoothed", smoothed)))
    ax = axes_of_size(ax, (5.6, 3.4))
    ax.plot(lrs, losses, color=COLOURS[0], alpha=0.35, label="loss of a step")
    ax.plot(lrs, smoothed, color=COLOURS[0], linewidth=2, label="moving average")
    if np.isfinite(suggestion):
        ax.axvline(suggestion, color=COLOURS[1], linestyle="--", label=f"suggested: {suggestion:g}")
    ax.set_xscale("log")
    low, high = float(np.min(losses)), float(np.max(smoothed))
    ax.set_ylim(low - 0.05 * abs(high - low), high + 0.15 * abs(high - low) + 1e-9)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("training loss")
    ax.legend()
    return ax
