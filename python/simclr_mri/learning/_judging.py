"""What everything that predicts probabilities has in common: predict, score and evaluate."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from ..datasets import Dataset, labels_of, require_labels
from ..metrics import Evaluation, balanced_accuracy, evaluate_predictions


class Judge(ClassifierMixin):
    """predict, score and evaluate from `predict_proba` and `classes_`."""

    def predict(self, data: Dataset | np.ndarray) -> np.ndarray:
        """Index into `classes_` of the likeliest class, int64 (N,)."""
        return self.predict_proba(data).argmax(axis=1)

    def score(self, data: Dataset, y: Any = None) -> float:
        """Balanced accuracy by slice."""
        require_labels(data, "score")
        return balanced_accuracy(labels_of(data), self.predict(data))

    def evaluate(self, data: Dataset, *, n_bootstrap: int = 1000, seed: int = 0) -> Evaluation:
        """All metrics by slice and by subject, with bootstrap intervals; see `metrics.evaluate_predictions`."""
        require_labels(data, "evaluate")
        if data.classes != self.classes_:
            raise ValueError(
                f"evaluate: this classifier knows the classes {', '.join(self.classes_)}, the data set has "
                f"{', '.join(data.classes)}. Open both with the same task="
            )
        return evaluate_predictions(
            labels_of(data),
            self.predict_proba(data),
            data.classes,
            subjects=data.subjects,
            n_bootstrap=n_bootstrap,
            seed=seed,
        )
