"""A bar below a notebook's cell that draws the loss.

It needs IPython only, no widgets, so that a saved notebook shows its last state."""

from __future__ import annotations

import html
import sys
import time
from typing import Any

from ._html import sparkline
from ._text import seconds_text


def in_notebook() -> bool:
    """Whether a Jupyter kernel shows what we print."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


BAR_EVERY_S = 0.25  # a notebook page draws four times a second without effort


MAX_POINTS = 240  # of the loss behind a bar; older steps are thinned out


class NotebookBar:
    """A bar below a notebook's cell: share done, images/s, time left, and the loss as it falls.

    Parameters
    ----------
    title : str
    total, done : int
        Images of the whole run, and how many were done before.
    """

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        from IPython.display import HTML, display

        self.title, self.total, self.done = title, total, done
        self._as_html, self._start_done = HTML, done
        self._start_s = self._drawn_s = time.monotonic()
        self._shown: dict[str, Any] = {}
        self._losses: list[float] = []
        self._closed = False
        self._handle = display(HTML(self.to_html()), display_id=True)

    def update(self, n: int) -> None:
        """`n` more images are done."""
        self.done += n
        if time.monotonic() - self._drawn_s >= BAR_EVERY_S:
            self._draw()

    def set_postfix(self, shown: dict[str, Any], refresh: bool = True) -> None:
        """What stands behind the bar; a "loss" in it is drawn."""
        self._shown = dict(shown)
        try:
            self._losses.append(float(shown["loss"]))
        except (KeyError, ValueError):
            return
        if len(self._losses) > MAX_POINTS:
            self._losses = self._losses[::2]

    def close(self) -> None:
        """Draw the last state, which stays."""
        self._closed = True
        self._draw()

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        if self._handle is not None:
            self._handle.update(self._as_html(self.to_html()))

    def to_html(self) -> str:
        """The bar as it stands."""
        took = time.monotonic() - self._start_s
        speed = (self.done - self._start_done) / max(took, 1e-9)
        share = self.done / self.total if self.total else 1.0
        facts = [f"{share:.0%}", *(f"{key} {value}" for key, value in self._shown.items())]
        if self.done > self._start_done:
            left = (self.total - self.done) / speed
            rest = f"{seconds_text(left)} left" if left and not self._closed else f"took {seconds_text(took)}"
            facts += [f"{speed:.3g} images/s", f"stopped, {rest}" if left and self._closed else rest]
        bar = f'<progress value="{self.done}" max="{max(self.total, 1)}"></progress>'
        text = html.escape(" · ".join(facts))
        return f"<div>{html.escape(self.title)} {bar} {text} {sparkline(self._losses, label='loss by step')}</div>"
