"""Figures that this package made: saved, put into pages, and closed. Those of the user stay open.

matplotlib is not imported here: where there is a figure, it has been.
"""

from __future__ import annotations

import base64
import html
import io
import sys
import weakref
from pathlib import Path
from typing import Any

from ._files import atomic_writer

_OURS: weakref.WeakSet[Any] = weakref.WeakSet()


def our_figure(figure: Any) -> Any:
    """`figure`, remembered as one that this package made and may close."""
    _OURS.add(figure)
    return figure


def close_figure(figure: Any) -> None:
    """Forget a figure that this package made; a figure of the user's stays open."""
    if figure in _OURS:
        sys.modules["matplotlib.pyplot"].close(figure)


def png_tag(figure: Any, alt: str, *, dpi: int = 150) -> str:
    """A matplotlib figure as an inline <img>; closes it if this package made it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", facecolor="white")
    close_figure(figure)
    width = int(figure.get_figwidth() * 96)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" width="{width}" alt="{html.escape(alt, quote=True)}">'


def save_figure(figure: Any, path: str | Path, **options: Any) -> None:
    """Write a PNG file, whole or not at all, and close the figure if this package made it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
    **options
        As of `Figure.savefig`.
    """
    with atomic_writer(path) as file:
        figure.savefig(file, format="png", **options)
    close_figure(figure)
