"""How figures look: colours for every eye, markers and lines that differ, axes and tiles."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes

from .._shared import our_figure


class Cycle(tuple):
    """A sequence that begins anew behind its end: of colours, markers and lines, however many lines a figure has.

    Seven colours with seven markers and four lines make 28 lines that differ.
    """

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key if isinstance(key, slice) else key % len(self))


COLOURS = Cycle(("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"))


MARKERS = Cycle("osD^vPX")


LINES = Cycle(("-", "--", "-.", ":"))


STYLE: Any = {  # matplotlib types the keys by name
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.prop_cycle": cycler(color=COLOURS),
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "font.size": 10,
    "pdf.fonttype": 42,
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


def axes_of_size(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """`ax`, or the axes of a new figure of this size in inches."""
    if ax is not None:
        return ax
    figure, ax = plt.subplots(figsize=size)
    our_figure(figure)
    return ax


def readable_on(background: Sequence[float]) -> str:
    """ "black" or "white", whichever stands out more from a colour (r, g, b[, a]) in [0, 1]: by at least 4.58 to 1.

    References
    ----------
    Web Content Accessibility Guidelines 2.2, definition of contrast ratio.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def draw_tiles(
    ax: Axes, rows: Sequence[Sequence[np.ndarray]], gap: int = 3, above: Sequence[int] | None = None
) -> tuple[int, int]:
    """Shows rows of images (H, W[, 1 or 3]) in [0, 255] as one picture; returns a tile's height and width.

    `above` leaves so many more white pixels above each row, for text.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    tops = np.cumsum([0, *(above or [0] * len(rows))])[1:] + np.arange(len(rows)) * (height + gap)
    canvas = np.full((tops[-1] + height, columns * (width + gap) - gap, 3), 255, np.uint8)
    for top, row in zip(tops, rows, strict=True):
        for c, image in enumerate(row):
            image = np.asarray(image, np.uint8)
            left = c * (width + gap)
            canvas[top : top + height, left : left + width] = image[..., None] if image.ndim == 2 else image
    ax.imshow(canvas, interpolation="nearest")
    ax.set_axis_off()
    return height + gap, width + gap
