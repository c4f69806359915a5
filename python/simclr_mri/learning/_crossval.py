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

from .._shared import By
from ..datasets import Dataset, require_labels
from ..splits import kfold


def cross_val_proba(
    estimator: Any,
    ds: Dataset,
    *,
    n_splits: int = 5,
    by: By = "subject",
    seed: int = 0,
    n_seeds: int = 1,
    mirror: bool = False,
    pretrain: Any = None,
    out: str | Path | None = None,
) -> np.ndarray:
    """Probabilities of each image by copies of the estimator that were fitted without its fold.

    What is fitted learns from the other folds only. That holds for weights given as `init` too only if they come from
    other data: SimCLR pretrained on all images has seen those of the test folds, without their labels. `pretrain` is
    fitted anew in each fold and has not.

    Parameters
    ----------
    estimator : Classifier, LinearProbe, or any with `fit(train)`, `predict_proba(data)` and `classes_`
    ds : Dataset
    n_splits, by, seed
        As for `splits.kfold`.
    n_seeds : int
        Copies in each fold, with random states counted up from the estimator's; their probabilities are averaged.
    mirror : bool
        Average each image's probabilities with those of its mirror image. A head is nearly symmetric.
    pretrain : SimCLR, optional
        Where the copies start: fitted on the training images of each fold, once for all copies.
    out : path, optional
        A folder in which each fold keeps its checkpoints, for an estimator that can: a stopped run goes on.

    Returns
    -------
    ndarray of shape (N, classes), float64
        For `evaluate_predictions(ds.labels, probabilities, ds.classes, ds.subjects)`. Folds of the same seed are the
        same for all estimators, so the mean over several is an ensemble too.

    Examples
    --------
    >>> import simclr_mri as sm
    >>> ds = sm.datasets.phantoms(seed=1, n_subjects=30, slices=2, image_size=32, task="cdr0")
    >>> probabilities = cross_val_proba(sm.LinearProbe("pixels", pool="stack"), ds, n_splits=3)
    >>> probabilities.shape
    (60, 2)
    """
    require_labels(ds, "ds")
    if n_seeds < 1:
        raise ValueError(f"n_seeds: expected 1 or more, got {n_seeds}")
    found = np.full((len(ds), len(ds.classes)), np.nan)
    for k, fold in enumerate(kfold(ds, n_splits=n_splits, by=by, seed=seed)):
        folder = None if out is None else Path(out).expanduser() / f"fold_{k}"
        train, test, more = fold.train, fold.test, {}
        if pretrain is not None:
            more["init"] = _fitted(clone(pretrain), train, None if folder is None else folder / "pretraining")
        parts = []
        for i in range(n_seeds):
            model = clone(estimator)
            if i or more:
                model.set_params(**more, **({"random_state": model.random_state + i} if i else {}))
            _fitted(model, train, folder if folder is None or i == 0 else folder / f"seed_{i}")
            parts.append(model.predict_proba(test))
            if mirror:
                parts.append(model.predict_proba(test.mirrored()))
        found[fold.indices["test"]] = np.mean(parts, axis=0)
    return found


def _fitted(model: Any, train: Dataset, folder: Path | None) -> Any:
    options: dict[str, Any] = {}
    if folder is not None and "checkpoint" in inspect.signature(model.fit).parameters:
        options["checkpoint"] = folder
    model.fit(train, **options)
    if not getattr(getattr(model, "position_", None), "finished", True):
        raise KeyboardInterrupt
    return model
