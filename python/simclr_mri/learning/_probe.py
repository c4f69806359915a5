"""LinearProbe: logistic regression on features that are not trained further, of slices or of whole heads.

What features are worth is told by a linear model on them, beside the same model on the pixels and on the features of a
network that has learnt nothing: pretraining that beats neither has not helped. Slices of a head are taken one by one,
or together: as the mean of their features, or side by side, so that each position in the head has weights of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from .._shared import Arch, By, ClassWeight, ProbePool, choose
from ..config import check_mapping
from ..datasets import Dataset, as_images, labels_of, require_labels
from ..splits import draw_labelled
from ._checkpoint import checkpoint_path, is_own_checkpoint, read_metadata
from ._class_weights import given_weights
from ._classifier import Classifier
from ._display import RichRepr
from ._estimator import NetworkEstimator, copy_of_parameters, image_tags
from ._inputs import inputs_of
from ._judging import Judge
from ._simclr import SimCLR
from ._starts import check_start, unfrozen

POOLS = ("slice", "mean", "stack")


STRENGTH = 10.0
"""C times the number of features: on the Alzheimer MRI set (rating 0 against above 0, folds by subject) 3 to 100 give
the same area under the curve to .01, for pixels and for features of networks, pooled or not."""


class Pixels(BaseEstimator):
    """The encoder that encodes nothing: pixels in [0, 1], row by row."""

    def transform(self, data: Dataset | np.ndarray) -> np.ndarray:
        """ndarray of shape (N, H W C), float32."""
        images = as_images(data)
        return images.reshape(len(images), -1).astype(np.float32) / 255


class LinearProbe(RichRepr, Judge, TransformerMixin, BaseEstimator):
    """Logistic regression on a frozen network's features: what the features know by themselves.

    Parameters
    ----------
    init : SimCLR or Classifier, fitted; path of a checkpoint; "random"; or "pixels"
        Where the features come from. "random" is a network with the weights that `random_state` draws, and "pixels"
        the images themselves (as large as the data set was opened): the two that pretraining has to beat.
    pool : {"slice", "mean", "stack"}
        What one example is: a slice; a subject, by the mean of its slices' features; or a subject, by its slices'
        features side by side, for which all subjects need the same slices. All slices of a subject then get the
        probabilities of the subject.
    label_fraction, fraction_by, class_weight, random_state, n_jobs
        As for `Classifier`.
    arch : str
        The network of init="random".
    C : float, optional
        Inverse strength of the L2 penalty, on standardised features; None is 10 / number of features.

    Attributes
    ----------
    classes_, class_names_
        See `Classifier`.
    encoder_ : estimator
        Its `transform` gives the features of images.
    model_ : sklearn.pipeline.Pipeline
    slices_ : tuple of int
        The slices that are stacked; empty for other pools.

    Examples
    --------
    >>> from simclr_mri import LinearProbe, datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> LinearProbe("pixels", pool="stack").fit(ds).predict_proba(ds).shape
    (40, 2)
    """

    def __init__(
        self,
        init: Any,
        *,
        pool: ProbePool = "slice",
        label_fraction: float = 1.0,
        fraction_by: By = "subject",
        class_weight: ClassWeight | Mapping[Any, float] | None = "balanced",
        arch: Arch = "resnet18",
        C: float | None = None,
        random_state: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.init = init
        self.pool = pool
        self.label_fraction = label_fraction
        self.fraction_by = fraction_by
        self.class_weight = class_weight
        self.arch = arch
        self.C = C
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        groups: Any = None,
        val: Dataset | None = None,
        train: Dataset | None = None,
    ) -> LinearProbe:
        """Fit on the labelled share of the training data; arguments as of `Classifier.fit`, and `val` is not used."""
        choose("pool", self.pool, POOLS)
        given = inputs_of("LinearProbe", X, y, groups=groups, val=val, train=train, with_labels=True)
        require_labels(given.train, "train")
        labelled = given.train[draw_labelled(self, given.train)]
        self.encoder_ = self._encoder(given.train)
        self._class_names, self._label_values = given.train.classes, given.label_values
        self.slices_ = _slices_to_stack(labelled, "train") if self.pool == "stack" else ()
        features, members = self._examples(labelled, "train")
        labels = np.empty(len(features), np.int64)
        labels[members] = labels_of(labelled)
        weights = self.class_weight
        if isinstance(weights, Mapping):
            by_class = given_weights(check_mapping(weights, "class_weight"), given.train.classes)
            weights = {int(k): float(by_class[k]) for k in np.unique(labels)}
        self.model_ = self._regression(len(features), features.shape[1], weights).fit(features, labels)
        return self

    @property
    def class_names_(self) -> tuple[str, ...]:
        self.check_fitted()
        found = vars(self)
        return found["_class_names"] if "_class_names" in found else found["classes_"]  # a pickle of version 0.1

    @property
    def label_values_(self) -> np.ndarray | None:
        self.check_fitted()
        return vars(self).get("_label_values")

    def check_fitted(self) -> None:
        """NotFittedError before `fit`."""
        if "model_" not in vars(self):
            raise NotFittedError("this LinearProbe is not fitted yet: call fit first")

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        """Images, not tables."""
        return image_tags(super().__sklearn_tags__())

    def _encoder(self, train: Dataset) -> Any:
        init = unfrozen(self.init)
        if isinstance(init, NetworkEstimator):
            check_start(init)
            return init
        if isinstance(self.init, str) and self.init == "pixels":
            return Pixels()
        if isinstance(self.init, str) and self.init == "random":
            untrained = SimCLR(
                self.arch, epochs=0, batch_size=2, random_state=self.random_state, n_jobs=self.n_jobs, verbose=0
            )
            return untrained.fit(train.unlabelled())
        path = checkpoint_path(self.init)
        is_classifier = is_own_checkpoint(path) and read_metadata(path)["kind"] == Classifier.kind
        return (Classifier if is_classifier else SimCLR).load(path, n_jobs=self.n_jobs)

    def __sklearn_clone__(self) -> LinearProbe:
        """Unfitted, with the same parameters; a fitted start stays what it is."""
        return copy_of_parameters(self)

    def _regression(self, n_examples: int, n_features: int, weights: Any) -> Pipeline:
        regression = LogisticRegression(
            C=STRENGTH / n_features if self.C is None else self.C,
            class_weight=weights,
            max_iter=2000,
            random_state=self.random_state,
        )
        # The penalty does not see rotations: in the space that the examples span the result is the same, and cheap.
        rotation = [PCA(svd_solver="full")] if n_features > n_examples else []
        return make_pipeline(StandardScaler(), *rotation, regression)

    # ---- examples --------------------------------------------------------------------------------------------------

    def _examples(self, data: Dataset | np.ndarray, argument: str) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, D) of the examples, and which of them each image belongs to."""
        features = self.encoder_.transform(data)
        if self.pool == "slice":
            return features, np.arange(len(features))
        if not isinstance(data, Dataset) or data.subjects is None:
            raise ValueError(f"{argument}: pool={self.pool!r} needs a data set whose subjects are known")
        names, members = np.unique(data.subjects, return_inverse=True)
        if self.pool == "mean":
            sums = np.zeros((len(names), features.shape[1]), np.float64)
            np.add.at(sums, members, features)
            return (sums / np.bincount(members)[:, None]).astype(np.float32), members
        if _slices_to_stack(data, argument) != self.slices_:
            raise ValueError(
                f"{argument}: pool='stack' was fitted on the slices {_listed(self.slices_)} of each subject"
            )
        assert data.slices is not None  # _slices_to_stack looked
        order = np.lexsort((data.slices, members))
        return features[order].reshape(len(names), -1), members

    # ---- use -------------------------------------------------------------------------------------------------------

    def transform(self, data: Dataset | np.ndarray) -> np.ndarray:
        """The frozen features of each image, float32 (N, D)."""
        self.check_fitted()
        return self.encoder_.transform(data)

    def predict_proba(self, data: Dataset | np.ndarray) -> np.ndarray:
        """Probability of each class, float64 (N, classes), a row an image; 0 for classes without a labelled image."""
        self.check_fitted()
        features, members = self._examples(data, "data")
        # In float64 an image's probabilities do not depend on which others are asked about with it.
        found = self.model_.predict_proba(features.astype(np.float64))[members]
        full = np.zeros((len(found), len(self.class_names_)))
        full[:, self.model_.classes_] = found
        return full


def _slices_to_stack(ds: Dataset, argument: str) -> tuple[int, ...]:
    """The slices that every subject has once; ValueError unless all have the same."""
    if ds.subjects is None or ds.slices is None:
        raise ValueError(f"{argument}: pool='stack' needs a data set whose subjects and slice numbers are known")
    expected: tuple[int, ...] | None = None
    for name in np.unique(ds.subjects):
        mine = tuple(int(i) for i in np.sort(ds.slices[ds.subjects == name]))
        expected = mine if expected is None else expected
        if mine != expected or len(set(mine)) != len(mine):
            raise ValueError(
                f"{argument}: pool='stack' needs the same slices of each subject, once each; {name} has "
                f"{_listed(mine)}, expected {_listed(expected)}"
            )
    return expected or ()


def _listed(slices: tuple[int, ...]) -> str:
    return ", ".join(map(str, slices[:12])) + (", ..." if len(slices) > 12 else "")
