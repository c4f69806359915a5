"""What notebooks show: small line pictures inside text, the state of an estimator, and a bar that draws the loss.

Pictures are SVG in data URIs: a few hundred bytes each, which web pages that show notebooks let through. The bar needs
IPython only, no widgets, so that a saved notebook shows its last state.
"""

from __future__ import annotations

import base64
import html
import math
import time
from collections.abc import Sequence
from typing import Any

from .progress import counted, seconds_text
from .runlog import html_table

BLUE = "#0072B2"
BAR_EVERY_S = 0.25  # a notebook page draws four times a second without effort
MAX_POINTS = 240  # of the loss behind a bar; older steps are thinned out


def sparkline(values: Sequence[float], *, width: int = 180, height: int = 32, label: str = "") -> str:
    """An <img> of values as a line, scaled to their range; "" where there are fewer than two.

    Examples
    --------
    >>> sparkline([3.0, 2.0, 1.5]).startswith('<img src="data:image/svg+xml;base64,')
    True
    >>> sparkline([3.0])
    ''
    """
    finite = [float(v) for v in values if math.isfinite(v)]
    if len(finite) < 2:
        return ""
    low, spread = min(finite), (max(finite) - min(finite)) or 1.0
    x_step = (width - 6) / (len(finite) - 1)
    points = [(3 + i * x_step, 3 + (height - 6) * (1 - (v - low) / spread)) for i, v in enumerate(finite)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
        f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="2.5" fill="{BLUE}"/></svg>'
    )
    alt = html.escape(label or f"from {finite[0]:.3g} to {finite[-1]:.3g}", quote=True)
    data = base64.b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" width="{width}" height="{height}" alt="{alt}">'


def estimator_html(estimator: Any) -> str:
    """One line on what an estimator is and where it stands, the loss, and its parameters behind a click."""
    fitted = getattr(estimator, "history_", None) is not None
    line = f"<b>{html.escape(type(estimator).__name__)}</b> {html.escape(_state(estimator))}"
    losses = estimator.history_.column("loss") if fitted else []
    picture = f"<p>loss {sparkline(losses, label='loss by epoch')} {losses[-1]:.3f}</p>" if len(losses) > 1 else ""
    rows = [(name, _brief(value)) for name, value in estimator.get_params(deep=False).items()]
    parameters = html_table(["parameter", "value"], rows)
    return f"<p>{line}</p>{picture}<details><summary>parameters</summary>{parameters}</details>"


def _state(estimator: Any) -> str:
    if hasattr(estimator, "model_"):  # a linear probe
        return f"on {type(estimator.encoder_).__name__}'s features, {len(estimator.classes_)} classes"
    position = getattr(estimator, "position_", None)
    if position is None:
        start = getattr(getattr(estimator, "init", None), "network_config_", {})  # its architecture is taken over
        return f"{start.get('arch', getattr(estimator, 'arch', ''))}, not fitted yet".removeprefix(", ")
    network, data = estimator.network_config_, estimator.data_
    parts = [
        f"{network['arch']}, {estimator.network_.n_parameters / 1e6:.1f} million parameters",
        f"{data['n_images']:,} images of {network['image_size']} px",
        f"{position.epoch} of {counted(estimator.epochs, 'epoch')}"
        if not position.finished
        else f"{counted(position.epoch, 'epoch')}, finished",
    ]
    if getattr(estimator, "best_epoch_", 0):
        parts.append(f"weights of epoch {estimator.best_epoch_}")
    return "; ".join(parts)


def _brief(value: Any) -> str:
    return f"a fitted {type(value).__name__}" if hasattr(value, "network_") else repr(value)


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


class RichRepr:
    """Shows an estimator as text and, in a notebook, by `estimator_html`; completes to what is for users."""

    def __dir__(self) -> list[str]:
        """Without scikit-learn's metadata routing, which these estimators do not take part in."""
        return [name for name in super().__dir__() if not name.endswith(("_request", "_metadata_routing"))]

    def _repr_html_(self) -> str:
        return estimator_html(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}
