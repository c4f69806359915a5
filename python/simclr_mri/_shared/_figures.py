"""Figures that this package made: saved, put into pages, and closed. Those of the user stay open.

matplotlib is not imported here: where there is a figure, it has been.
"""

from __future__ import annotations

import base64
import html
import io
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ._files import atomic_writer
from ._text import choose

FORMATS = ("png", "pdf", "svg")
"""What figures are written as beside each other: for the screen, for the journal, for a drawing program."""
FORMATS_VARIABLE = "SIMCLR_MRI_FIGURES"
"""Environment variable that names fewer formats, with commas: "png" makes studies and tests faster."""

# Fonts as TrueType, which journals ask for (matplotlib's default is Type 3), and the same bytes each time.
_SAVED: dict[str, Any] = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.hashsalt": "simclr_mri"}
_METADATA = {"png": None, "pdf": {"CreationDate": None}, "svg": {"Date": None}}

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


def figure_formats() -> tuple[str, ...]:
    """The formats that are written where none are named: all, or those of the environment variable."""
    named = [name.strip().lower() for name in os.environ.get(FORMATS_VARIABLE, "").split(",") if name.strip()]
    return tuple(choose(FORMATS_VARIABLE, name, FORMATS) for name in named) or FORMATS


def save_figure(figure: Any, path: str | Path, *, formats: Sequence[str] | None = None, **options: Any) -> list[Path]:
    """Write a figure, each file whole or not at all, and close the figure if this package made it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        Its suffix is replaced by that of each format.
    formats : sequence of {"png", "pdf", "svg"}, optional
        By default all, or those that the environment variable SIMCLR_MRI_FIGURES names. PDF files hold their fonts as
        TrueType. SVG files hold letters as outlines, which look the same without the font.
    **options
        As of `Figure.savefig`.

    Returns
    -------
    list of Path
    """
    formats = figure_formats() if formats is None else formats
    written = [Path(path).expanduser().with_suffix(f".{name}") for name in formats]
    with sys.modules["matplotlib"].rc_context(_SAVED), _laid_out_once(figure):
        for name, target in zip(formats, written, strict=True):
            with atomic_writer(target) as file:
                figure.savefig(file, format=name, **{"metadata": _METADATA[name], **options})
    close_figure(figure)
    return written


@contextmanager
def _laid_out_once(figure: Any) -> Iterator[None]:
    """The layout engine places the axes once and not anew for each format."""
    engine = figure.get_layout_engine()
    if engine is None:
        yield
        return
    engine.execute(figure)
    figure.set_layout_engine("none")
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def has_figure(path: str | Path) -> bool:
    """Whether `save_figure` has written all its files there."""
    return all(Path(path).with_suffix(f".{name}").is_file() for name in figure_formats())


def describe(ax: Any, caption: str = "") -> str:
    """What is seen on axes, in words, for those who do not see them: titles, scales, and where each line goes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> line = ax.plot([1, 2, 4], [0.5, 0.6, 0.8], label="SimCLR")
    >>> text = ax.set(xlabel="labels", ylabel="accuracy")
    >>> describe(ax)
    'Accuracy by labels. SimCLR: 0.5 at 1, 0.8 at 4.'
    """
    panels = [panel for panel in ax.figure.axes if panel.lines or panel.collections or panel.patches] or [ax]
    said = list(dict.fromkeys(text for panel in panels for text in _panel(panel)))
    if not any(panel.get_ylabel() for panel in panels) and caption:
        said.insert(0, caption.rstrip(". "))
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in said) or "A picture without axes."


def _panel(ax: Any) -> list[str]:
    x, y = ax.get_xlabel(), ax.get_ylabel()
    title = " ".join(filter(None, (ax.get_title(), ax.get_title(loc="left"), ax.get_title(loc="right"))))
    scales = f"{y} by {x}" if x and y else y or x
    said = [": ".join(filter(None, (title, scales)))] if title or scales else []
    for line in ax.lines:
        name, xs, ys = line.get_label(), line.get_xdata(), line.get_ydata()
        if name.startswith("_") or len(xs) == 0:
            continue
        level = len(set(map(float, ys))) == 1
        ends = f"{ys[0]:.3g}" if level else f"{ys[0]:.3g} at {xs[0]:g}, {ys[-1]:.3g} at {xs[-1]:g}"
        said.append(f"{name}: {ends}")
    return said
