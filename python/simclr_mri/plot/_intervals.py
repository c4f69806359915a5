"""Values with their intervals, one a line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from .._shared import expect_shape
from ._style import COLOURS, axes_of_size, styled


@styled
def intervals(
    names: Sequence[str], values: np.ndarray, *, xlabel: str = "", chance: float | None = None, ax: Axes | None = None
) -> Axes:
    """A dot and its interval for each name, from above.

    Parameters
    ----------
    names : sequence of str
    values : ndarray of shape (names, 3)
        Value, lower and upper end; NaN ends are not drawn.
    xlabel : str
    chance : float, optional
        Marked by a line.

    Examples
    --------
    >>> ax = intervals(["a", "b"], np.array([[0.6, 0.5, 0.7], [0.7, 0.6, 0.8]]))
    """
    values = expect_shape("values", values, (len(list(names)) if np.iterable(names) else None, 3))
    ax = axes_of_size(ax, (5.6, 1.2 + 0.34 * len(names)))
    for y, (value, low, high) in enumerate(values):
        if np.isfinite([low, high]).all():
            ax.plot([low, high], [y, y], color=COLOURS[0], linewidth=1.5)
        ax.plot(value, y, marker="o", color=COLOURS[0])
    if chance is not None:
        ax.axvline(chance, color="#888888", linestyle=":")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(xlabel)
    return ax
