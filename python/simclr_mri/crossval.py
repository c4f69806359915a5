"""Cross-validated probabilities: every subject judged by a model that has not seen it.

With few subjects one test set says little: 30 of the 200 of the Alzheimer MRI set give an area under the curve to
within .1. In k folds all of them are tested, and `evaluate_predictions` judges them together.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from ._dataset import Dataset
from .classifier import require_labels
from .splits import kfold


def cross_val_proba(
    estimator: Any,
    ds: Dataset,
    *,
    n_splits: int = 5,
    by: str = "subject",
    seed: int = 0,
    out: str | Path | None = None,
) -> np.ndarray:
    """Probabilities of each image by a copy of the estimator that was fitted without its fold.

    What is fitted learns from the other folds only. That holds for weights given as `init` too only if they come from
    other data: SimCLR pretrained on all images has seen those of the test folds, without their labels.

    Parameters
    ----------
    estimator : Classifier, LinearProbe, or any with `fit(train)`, `predict_proba(data)` and `classes_`
    ds : Dataset
    n_splits, by, seed
        As for `splits.kfold`.
    out : path, optional
        A folder in which each fold keeps its checkpoints, for an estimator that can: a stopped run goes on.

    Returns
    -------
    ndarray of shape (N, classes), float64
        For `evaluate_predictions(ds.labels, probabilities, ds.classes, ds.subjects)`. The mean over several estimators
        or random states is an ensemble; folds of the same seed are the same for all.

    Examples
    --------
    >>> import simclr_mri as sm
    >>> ds = sm.datasets.phantoms(seed=1, n_subjects=30, slices=2, image_size=32, task="cdr0")
    >>> probabilities = cross_val_proba(sm.LinearProbe("pixels", pool="stack"), ds, n_splits=3)
    >>> probabilities.shape
    (60, 2)
    """
    require_labels(ds, "ds")
    found = np.full((len(ds), len(ds.classes)), np.nan)
    for k, fold in enumerate(kfold(ds, n_splits=n_splits, by=by, seed=seed)):
        model = clone(estimator)
        options: dict[str, Any] = {}
        if out is not None and "checkpoint" in inspect.signature(model.fit).parameters:
            options["checkpoint"] = Path(out) / f"fold_{k}"
        model.fit(fold.train, **options)
        if not getattr(getattr(model, "position_", None), "finished", True):
            raise KeyboardInterrupt
        found[fold.indices["test"]] = model.predict_proba(fold.test)
    return found


__all__ = ["cross_val_proba"]
