"""The learning-rate range test (Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3).

A run of a few steps, in which the rate rises from step to step until the loss does. The model is thrown away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._shared import ArrayRecord
from ._estimator import NetworkEstimator

SMOOTHING = 0.9  # of the exponential average over steps, corrected for its start as Adam's
DIVERGED = 4.0  # times the least smoothed loss, where the test ends


@dataclass(frozen=True, eq=False)
class LearningRates(ArrayRecord):
    """What `find_learning_rate` found; prints what to take, plots itself.

    Attributes
    ----------
    lrs, losses, smoothed : ndarray of shape (steps,)
        The rate of each step, its loss, and the exponential average of the losses.
    diverged : bool
        Whether the loss rose so far, or stopped being finite, that the test ended before its last step.

    Examples
    --------
    >>> found = LearningRates(np.geomspace(1e-4, 1, 5), np.ones(5), np.array([1.0, 0.9, 0.5, 0.4, 2.0]), False)
    >>> found.suggestion, found.steepest
    (0.01, 0.001)
    """

    lrs: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged: bool

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss is least: as a highest rate, `lr`. NaN if it never fell."""
        best = int(np.argmin(self.smoothed))
        return math.nan if best == 0 else float(f"{self.lrs[best] / 10:.2g}")

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest by the logarithm of the rate; NaN if it never fell."""
        best = int(np.argmin(self.smoothed))
        if best == 0:
            return math.nan
        slopes = np.gradient(self.smoothed[: best + 1], np.log(self.lrs[: best + 1]))
        return float(f"{self.lrs[int(np.argmin(slopes))]:.2g}")

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a step: lr, loss, smoothed."""
        columns = zip(self.lrs.tolist(), self.losses.tolist(), self.smoothed.tolist(), strict=True)
        return [{"lr": lr, "loss": loss, "smoothed": smoothed} for lr, loss, smoothed in columns]

    def plot(self, ax: Any = None) -> Any:
        """The loss by learning rate, with the suggestion."""
        from .. import plot

        return plot.learning_rates(self.lrs, self.losses, self.smoothed, self.suggestion, ax=ax)

    def __str__(self) -> str:
        if math.isnan(self.suggestion):
            return (
                f"the loss did not fall between {self.lrs[0]:.2g} and {self.lrs[-1]:.2g}: begin lower, or take more "
                "steps or larger batches"
            )
        least = self.lrs[int(np.argmin(self.smoothed))]
        return (
            f"lr={self.suggestion:g}, a tenth of {least:.2g}, where the loss is least; it falls fastest at "
            f"{self.steepest:g}"
        )

    def __repr__(self) -> str:
        return f"<LearningRates: {len(self.lrs)} steps, {self}>"


def find_learning_rate(
    estimator: Any,
    X: Any = None,
    y: Any = None,
    *,
    groups: Any = None,
    lowest: float = 1e-6,
    highest: float = 1.0,
    n_steps: int = 100,
) -> LearningRates:
    """Learning-rate range test: the loss while the rate rises from step to step; the estimator is left as it is.

    Parameters
    ----------
    estimator : SimCLR or Classifier
        Its options are used, but for `lr`, `schedule` and `epochs`.
    X, y, groups
        As of its `fit`, without validation data.
    lowest, highest : float
        The first and the last rate; those between rise by a constant factor.
    n_steps : int
        At least 10. A step takes as long as one of training.

    Returns
    -------
    LearningRates
        It ends early when the smoothed loss is four times its least value, or not finite.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3.

    Examples
    --------
    >>> import simclr_mri as sm
    >>> ds = sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> clf = sm.Classifier(arch="resnet18", batch_size=8, verbose=0)
    >>> found = sm.find_learning_rate(clf, ds, n_steps=12)
    >>> len(found.lrs) <= 12, float(found.lrs[0]), "model_" in vars(clf)
    (True, 1e-06, False)
    """
    if not isinstance(estimator, NetworkEstimator):
        raise TypeError(f"find_learning_rate: expected a SimCLR or a Classifier, got {type(estimator).__name__}")
    if isinstance(n_steps, bool) or not hasattr(n_steps, "__index__") or n_steps < 10:
        raise ValueError(f"n_steps: expected a whole number of at least 10, got {n_steps!r}")
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"lowest, highest: expected rising numbers above 0, got {lowest!r} and {highest!r}")
    lrs, losses, smoothed, diverged = _range_test(estimator, (X, y, groups), np.geomspace(lowest, highest, n_steps))
    if not losses:
        raise FloatingPointError(f"find_learning_rate: the loss is not finite at the lowest rate, {lowest:g}")
    return LearningRates(lrs[: len(losses)], np.array(losses), np.array(smoothed), diverged)


def _range_test(
    estimator: NetworkEstimator, data: tuple[Any, Any, Any], lrs: np.ndarray
) -> tuple[np.ndarray, list[float], list[float], bool]:
    X, y, groups = data
    task = estimator.trial(X, y, groups=groups)
    losses: list[float] = []
    smoothed: list[float] = []
    average, epoch, order = 0.0, 0, task.order(0)
    for step, lr in enumerate(lrs.tolist()):
        at = step % len(task.bounds)
        if step and at == 0:
            epoch += 1
            order = task.order(epoch)
        start, end = task.bounds[at]
        try:
            task.step(order[start:end], epoch, step, lr, task.options.momentum)
        except FloatingPointError:
            return lrs, losses, smoothed, True
        losses.append(float(task.result["loss"]))
        average = SMOOTHING * average + (1 - SMOOTHING) * losses[-1]
        smoothed.append(average / (1 - SMOOTHING ** (step + 1)))
        if step > 10 and smoothed[-1] > DIVERGED * min(smoothed):
            return lrs, losses, smoothed, True
    return lrs, losses, smoothed, False
