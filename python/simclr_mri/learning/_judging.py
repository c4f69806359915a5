"""What everything that predicts probabilities has in common: predict, score and evaluate."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d

from .._shared import label_values, option_name
from ..datasets import Dataset, labels_of, require_labels
from ..metrics import Evaluation, balanced_accuracy, evaluate_predictions
from ._inputs import indices_of


class Judge(ClassifierMixin):
    """predict, score and evaluate from `predict_proba`."""

    @property
    def class_names_(self) -> tuple[str, ...]:
        """What the columns of `predict_proba` are called, whatever the labels were."""
        raise NotImplementedError

    @property
    def label_values_(self) -> np.ndarray | None:
        """The values of y, one a class, where `fit` was given y; None where the labels came with a data set."""
        raise NotImplementedError

    @property
    def classes_(self) -> Any:
        """The classes, a column of `predict_proba` each: the sorted values of y where `fit` was given y, an ndarray.

        Their names, a tuple of str, where the labels came with a data set.
        """
        return self.class_names_ if self.label_values_ is None else self.label_values_

    def predict(self, data: Dataset | np.ndarray) -> np.ndarray:
        """The likeliest class of each image, in the form of the labels that `fit` was given.

        Parameters
        ----------
        data : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C)

        Returns
        -------
        ndarray of shape (N,)
            int64 indices into `classes_` after `fit(train)`, as `train.labels` are; values of y after `fit(X, y)`.
            `predict_table` has names.
        """
        chosen = self.predict_proba(data).argmax(axis=1)
        return chosen if self.label_values_ is None else self.label_values_[chosen]

    def score(self, data: Dataset | np.ndarray, y: Any = None) -> float:
        """Balanced accuracy by slice.

        Parameters
        ----------
        data : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C)
        y : array-like of shape (N,), optional
            The true labels, in the form that `fit` was given; those of the data set by default.
        """
        if y is None:
            truth = labels_of(require_labels(data, "score"))
            return balanced_accuracy(truth, self.predict_proba(data).argmax(axis=1))
        truth, guess = label_values(column_or_1d(y, warn=True), "y"), self.predict(data)
        if (truth.dtype.kind == "U") != (guess.dtype.kind == "U"):
            raise ValueError(
                f"y: expected labels as fit was given, such as {guess[:1].tolist()}, got {truth[:1].tolist()}"
            )
        codes = np.unique(np.concatenate([truth, guess]), return_inverse=True)[1]  # y may have classes not seen in fit
        return balanced_accuracy(codes[: len(truth)], codes[len(truth) :])

    def evaluate(
        self, data: Dataset | np.ndarray, y: Any = None, *, groups: Any = None, n_bootstrap: int = 1000, seed: int = 0
    ) -> Evaluation:
        """All metrics by slice and by subject, with bootstrap intervals; see `metrics.evaluate_predictions`.

        Parameters
        ----------
        data : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C)
        y, groups : array-like of shape (N,), optional
            The true labels and the subjects, for arrays.
        n_bootstrap, seed
            As of `metrics.evaluate_predictions`.
        """
        if y is not None or groups is not None:
            data = self._judged(data, y, groups)
        data = require_labels(data, "evaluate")
        if data.classes != self.class_names_:
            raise ValueError(
                f"evaluate: this classifier knows the classes {', '.join(self.class_names_)}, the data set has "
                f"{', '.join(data.classes)}. Open both with the same {option_name('task')}"
            )
        return evaluate_predictions(
            labels_of(data),
            self.predict_proba(data),
            data.classes,
            subjects=data.subjects,
            n_bootstrap=n_bootstrap,
            seed=seed,
        )

    def _judged(self, data: Any, y: Any, groups: Any) -> Dataset:
        """A data set of what is given apart."""
        ds = data if isinstance(data, Dataset) else Dataset.from_arrays(data, name="X")
        if y is not None:
            ds = ds.with_labels(indices_of(y, self.class_names_, self.label_values_), self.class_names_)
        return ds if groups is None else ds.with_subjects(groups)
