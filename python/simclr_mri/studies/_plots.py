"""Pictures of a study as a whole: the scores by share of the labels, and the learning curves of all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from .. import plot
from .._shared import Metric, our_figure
from ._conclusions import STARTS

if TYPE_CHECKING:
    from ._result import StudyResult


@plot.styled
def scores(result: StudyResult, metric: Metric = "balanced_accuracy", *, ax: Axes | None = None) -> Axes:
    """Score by share of the labels, one line a start with bars for the intervals, and a dot for every run.

    Examples
    --------
    >>> ax = scores(study(ds, out="runs/study"))  # doctest: +SKIP
    """
    chance = 1 / len(result.split.dataset.classes) if metric == "balanced_accuracy" else None
    lines = [{**line, "init": STARTS.get(line["init"], line["init"])} for line in result.summary()]
    ax = plot.label_fractions(lines, metric=metric, chance=chance, ax=ax)
    if len(result.rows) > len(result.summary()):
        places = plot.spread_places(len(result.inits))
        for i, name in enumerate(result.inits):
            mine = [row for row in result.rows if row["init"] == name]
            x = [row["label_fraction"] * places[i] for row in mine]
            y = [row[metric] for row in mine]
            ax.scatter(x, y, s=18, color=plot.COLOURS[i], marker=plot.MARKERS[i], alpha=0.45, linewidths=0)
    ax.set_ylabel(f"{metric.replace('_', ' ')} by {result.level}")
    return ax


@plot.styled
def learning_curves(result: StudyResult) -> Axes:
    """Training loss (above) and validation score (below) of every run, a column a label fraction, a colour a start.

    Without validation data the row below shows the training accuracy.

    Examples
    --------
    >>> ax = learning_curves(study(ds, out="runs/study"))  # doctest: +SKIP
    """
    judged = any(row.get("val_balanced_accuracy") is not None for h in result.histories.values() for row in h)
    below = ("val_balanced_accuracy", "validation bal. acc.") if judged else ("train_accuracy", "training accuracy")
    n = len(result.fractions)
    figure, axes = plt.subplots(2, n, figsize=(max(5.6, 2.0 * n + 0.8), 4.2), sharex="col", sharey="row", squeeze=False)
    our_figure(figure)
    for column, f in enumerate(result.fractions):
        for row, (name, label) in enumerate((("loss", "training loss"), below)):
            ax = axes[row, column]
            for i, init in enumerate(result.inits):
                for k, arm in enumerate(result.runs(init, f)):
                    _curve(ax, result.histories[arm], name, i, STARTS.get(init, init) if k == 0 else None)
            if column == 0:
                ax.set_ylabel(label)
        axes[0, column].set_title(f"{100 * f:g} %")
        axes[1, column].set_xlabel("epoch")
        axes[1, column].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set_ylim(0, 1)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    return axes[0, 0]


def _curve(ax: Axes, history: Any, name: str, i: int, label: str | None) -> None:
    points = np.array([(row["epoch"], row[name]) for row in history if row.get(name) is not None]).reshape(-1, 2)
    line = plot.LINES[i % len(plot.LINES)]
    ax.plot(*points.T, color=plot.COLOURS[i], linestyle=line, linewidth=1.2, alpha=0.75, label=label)
