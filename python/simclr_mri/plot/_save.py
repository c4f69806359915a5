"""Figures as files for the screen, the journal and the drawing program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._shared import FORMATS, check_path, choose, figure_formats, save_figure


def save(ax: Any, path: str | Path, *, formats: Sequence[str] | None = None, dpi: int = 300) -> list[Path]:
    """Write a figure as PNG, PDF and SVG beside each other.

    Parameters
    ----------
    ax : Axes or Figure
    path : path
        "figures/scores" gives scores.png, scores.pdf and scores.svg; "figures/scores.pdf" gives that one alone.
    formats : sequence of {"png", "pdf", "svg"}, optional
        What to write where `path` has no suffix; by default all, or what the environment variable SIMCLR_MRI_FIGURES
        names ("png", or "png,pdf"). PDF files hold their fonts as TrueType, as journals ask.
    dpi : int
        Of the PNG, and of pictures inside the others.

    Returns
    -------
    list of Path
        What was written. Each file appears whole or not at all.

    Examples
    --------
    >>> save(roc(evaluation), "figures/roc")  # doctest: +SKIP
    """
    path = check_path(path, "path").expanduser()
    if not hasattr(getattr(ax, "figure", ax), "savefig"):
        raise TypeError(f"ax: expected what a function of plot returns, or a figure, got {type(ax).__name__}")
    suffix = path.suffix[1:].lower()
    if suffix:
        formats = [choose("format", suffix, FORMATS)]
    else:
        formats = [choose("format", name, FORMATS) for name in formats or figure_formats()]
        path = path.with_name(f"{path.name}.{formats[0]}")
    return save_figure(getattr(ax, "figure", ax), path, formats=formats, dpi=dpi, bbox_inches="tight")
