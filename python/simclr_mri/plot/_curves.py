"""How probabilities rank and whether they are honest: ROC, precision-recall and reliability curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .._shared import short
from ._style import COLOURS, LINES, MARKERS, axes_of_size, styled


@styled
def roc(evaluation: Any, *, level: str | None = None, ax: Axes | None = None) -> Axes:
    """True positive rate by false positive rate; the area under each curve and its 95 % interval are in the legend.

    Parameters
    ----------
    evaluation : Evaluation, or dict of str to Evaluation
        Of several, such as one a start, each is drawn under its name.
    level : {"slice", "subject"} or None
        None: by subject where subjects are known.

    Examples
    --------
    >>> from simclr_mri import evaluate_predictions
    >>> found = evaluate_predictions([0, 1, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]], ("well", "sick"))
    >>> ax = roc(found)
    """
    ax = axes_of_size(ax, (4.6, 4.6))
    for i, (label, curve) in enumerate(_named("roc", evaluation, level)):
        ax.plot(curve.x, curve.y, color=_colour(i), linestyle=_line(i), label=f"{label}, area {curve.area}")
    ax.plot([0, 1], [0, 1], color="#888888", linestyle=":", linewidth=1.2, label="chance, area 0.5")
    return _framed(ax, "false positive rate (1 - specificity)", "true positive rate (sensitivity)")


@styled
def precision_recall(evaluation: Any, *, level: str | None = None, ax: Axes | None = None) -> Axes:
    """Precision by recall; the average precision of each curve and its 95 % interval are in the legend.

    Dotted: the precision of guessing, which is the share of the class.

    Parameters
    ----------
    evaluation, level
        As for `roc`.

    Examples
    --------
    >>> from simclr_mri import evaluate_predictions
    >>> found = evaluate_predictions([0, 1, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]], ("well", "sick"))
    >>> ax = precision_recall(found)
    """
    ax = axes_of_size(ax, (4.6, 4.6))
    for i, (label, curve) in enumerate(_named("precision_recall", evaluation, level)):
        text = f"{label}, average {curve.area}"
        ax.step(curve.x, curve.y, where="pre", color=_colour(i), linestyle=_line(i), label=text)
        ax.axhline(curve.share, color=_colour(i), linestyle=":", linewidth=1)
    return _framed(ax, "recall (sensitivity)", "precision (positive predictive value)")


@styled
def reliability(evaluation: Any, *, level: str | None = None, ax: Axes | None = None) -> Axes:
    """The share of a class among those with about the same predicted probability of it; on the diagonal it is honest.

    Bins hold equal numbers. Bars are 95 % intervals of the shares (Jeffreys), where each subject counts once. The
    legend has the Brier score over all classes, which is 0 at best.

    Parameters
    ----------
    evaluation, level
        As for `roc`.

    Examples
    --------
    >>> from simclr_mri import evaluate_predictions
    >>> found = evaluate_predictions([0, 1, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]], ("well", "sick"))
    >>> ax = reliability(found)
    """
    ax = axes_of_size(ax, (4.6, 4.6))
    ax.plot([0, 1], [0, 1], color="#888888", linestyle=":", linewidth=1.2, label="honest")
    for i, (label, curve) in enumerate(_named("reliability", evaluation, level)):
        ax.plot(curve.x, curve.y, color=_colour(i), marker=MARKERS[i % len(MARKERS)], linestyle=_line(i), label=label)
        if curve.low is not None and curve.high is not None:
            bars = np.clip([curve.y - curve.low, curve.high - curve.y], 0, None)
            ax.errorbar(curve.x, curve.y, bars, fmt="none", color=_colour(i), elinewidth=1, capsize=2, alpha=0.7)
    for name, one in _by_name(evaluation).items():
        brier = one.levels[level or ("subject" if "subject" in one.levels else "slice")]["brier"]
        ax.plot([], [], " ", label=f"{name + ': ' if name else ''}Brier score {brier}")
    return _framed(ax, "predicted probability", "observed share")


def _by_name(evaluation: Any) -> Mapping[str, Any]:
    found = evaluation if isinstance(evaluation, Mapping) else {"": evaluation}
    for one in found.values():
        if not hasattr(one, "probabilities"):
            raise TypeError(
                f"expected an Evaluation, got {type(one).__name__}. Make one first: "
                "evaluate_predictions(labels, probabilities, classes, subjects)"
            )
    return found


def _named(kind: str, evaluation: Any, level: str | None) -> list[tuple[str, Any]]:
    """Curves with their labels: the name where there are several evaluations, the class, and how many are of it."""
    from ..metrics import curves

    return [
        (f"{name + ': ' if name else ''}{short(curve.name)} (n = {curve.n:,})", curve)
        for name, one in _by_name(evaluation).items()
        for curve in curves(one, kind, level)
    ]


def _framed(ax: Axes, xlabel: str, ylabel: str) -> Axes:
    """A square from 0 to 1, with the legend below, where it hides no curve."""
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.16))
    return ax


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _line(i: int) -> str:
    return LINES[i % len(LINES)]
