"""What notebooks show of an estimator: where it stands, its loss, its parameters."""

from __future__ import annotations

import html
from typing import Any

from .._shared import counted, html_table, sparkline


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
    if hasattr(estimator, "encoder_"):  # a linear probe
        return f"on {type(estimator.encoder_).__name__}'s features, {len(estimator.class_names_)} classes"
    position = getattr(estimator, "position_", None)
    if position is None:
        return f"{estimator.get_params(deep=False).get('arch', '')}, not fitted yet".removeprefix(", ")
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


class RichRepr:
    """Shows an estimator as text and, in a notebook, by `estimator_html`; completes to what is for users."""

    def __dir__(self) -> list[str]:
        """Without scikit-learn's metadata routing, which these estimators do not take part in."""
        return [name for name in super().__dir__() if not name.endswith(("_request", "_metadata_routing"))]

    def _repr_html_(self) -> str:
        return estimator_html(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}
