"""Scores by number of labelled subjects, a line and a band for each start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from .._shared import expect_shape, short
from ._style import COLOURS, LINES, MARKERS, axes_of_size, styled


@styled
def label_curve(
    sizes: Sequence[int],
    names: Sequence[str],
    means: np.ndarray,
    bands: np.ndarray | None = None,
    *,
    ylabel: str = "",
    chance: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scores by number of labelled subjects.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of labelled subjects.
    names : sequence of str
        One a line.
    means : ndarray of shape (names, sizes)
    bands : ndarray of shape (names, sizes, 2), optional
        Lower and upper ends; not drawn where they are NaN.
    ylabel : str
    chance : float, optional
        Marked as what guessing scores.

    Examples
    --------
    >>> ax = label_curve([4, 8], ["pixels"], np.array([[0.6, 0.7]]), np.array([[[0.5, 0.7], [0.6, 0.8]]]))
    """
    sizes = expect_shape("sizes", sizes, (None,)).astype(int).tolist()
    means = expect_shape("means", means, (len(names), len(sizes)))
    bands = None if bands is None else expect_shape("bands", bands, (*means.shape, 2))
    ax = axes_of_size(ax, (6.2, 4.2))
    for i, name in enumerate(names):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        ax.plot(sizes, means[i], color=colour, marker=marker, linestyle=LINES[i % len(LINES)], label=short(name))
        if bands is not None:
            ax.fill_between(sizes, bands[i, :, 0], bands[i, :, 1], color=colour, alpha=0.12, linewidth=0)
    if chance is not None:
        ax.axhline(chance, color="#888888", linestyle=":", linewidth=1.2)
        ax.annotate("chance", (sizes[0], chance), (0, 3), textcoords="offset points", color="#666666", fontsize=9)
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
    ax.minorticks_off()
    ax.set_xlabel("labelled subjects")
    ax.set_ylabel(ylabel)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.07), fontsize=9)
    return ax
