"""Classifier: a ResNet trained on labels, from random weights, from SimCLR's, or from a file."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import OnError, Progress, Resume, about_options, in_words
from ..config import FinetuneOptions, as_dict, checked, documents_options, takes_recipe
from ..datasets import (
    Dataset,
    Groups,
    PictureStream,
    VolumeStream,
    check_dataset,
    labels_of,
    require_labels,
    stream_pictures,
)
from ..metrics import Evaluation, softmax
from ..splits import draw_labelled
from ..views import Preprocess
from ._checkpoint import Checkpoint, checkpoint_path, read_checkpoint, restoring
from ._classifier_task import ClassifierTask
from ._data import describe_data
from ._estimator import NetworkEstimator
from ._inputs import Inputs, inputs_of
from ._judging import Judge
from ._model import Model, network_config
from ._plan import Plan, plain_config
from ._predict_table import PredictionTable, check_probabilities
from ._ranks import Ranks
from ._seen import SEEN, seen_note
from ._starts import Start, check_start, is_lost, known_start, read_start, start_network, start_title
from ._task import Estimate

_READING_BEFORE = {"intensity": "full", "fit": "stretch"}  # of models that do not remember how pixels were read


@documents_options
@takes_recipe("finetune")
@dataclass(repr=False, eq=False)
class Classifier(Judge, FinetuneOptions, NetworkEstimator):
    """Learns classes from labelled images.

    The arguments are those of `simclr-mri finetune --help`, with the same names; those not given come from `recipe`.
    `init` may also be a fitted `SimCLR`; then `arch` and `features` are its own.

    Attributes
    ----------
    classes_ : tuple of str, or ndarray
        The names of the data set's classes; after `fit(X, y)` the sorted values of y, which `predict` answers with.
    class_names_ : tuple of str
        The names in either case.
    labelled_ : ndarray of int64
        Which training images' labels were used.
    best_epoch_ : int
        Whose weights were kept, by `select` on the validation set.
    model_, network_, preprocess_, history_, position_, data_
        See `NetworkEstimator`.

    Examples
    --------
    >>> from simclr_mri import Classifier
    >>> Classifier(init="random", arch="resnet18", label_fraction=0.1).label_fraction
    0.1
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=16, slices=1, image_size=32, task="cdr0")
    >>> clf = Classifier(arch="resnet18", epochs=1, batch_size=8, verbose=0).fit(ds)
    >>> clf.predict_proba(ds).shape, clf.classes_
    ((16, 2), ('CDR_0', 'CDR_above_0'))
    >>> clf.evaluate(ds, n_bootstrap=100)["balanced_accuracy"].value <= 1
    True

    The head alone is trained, with a class that counts twice:

    >>> probe = Classifier(clf, freeze="layer4", class_weight={"CDR_above_0": 2}, epochs=1, batch_size=8, verbose=0)
    >>> bool((probe.fit(ds).transform(ds) == clf.transform(ds)).all())
    True

    All stages are trained, early ones slower, and the head faster:

    >>> slower = Classifier(clf, layer_decay=0.5, layer_rates={"head": 10}, epochs=1, batch_size=8, verbose=0).fit(ds)
    """

    kind = "classifier"
    section = "finetune"

    @property
    def class_names_(self) -> tuple[str, ...]:
        return self._fitted().classes

    @property
    def label_values_(self) -> np.ndarray | None:
        return self._fitted().label_values

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; `arch` and `features` are those of a start that brings its own.

        Parameters
        ----------
        deep : bool
            Those of a start that is an estimator too, as `init__...`.
        """
        return {**super().get_params(deep), **start_network(self.init)}

    @about_options
    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        groups: Any = None,
        val: Any = None,
        train: Dataset | None = None,
        checkpoint: str | Path | None = None,
        resume: Resume = "auto",
        facts: dict[str, Any] | None = None,
        callbacks: Sequence[Any] = (),
        comm: Any = None,
    ) -> Classifier:
        """Train: `fit(train)`, `fit(train, val)` with data sets, or `fit(X, y)` with arrays.

        Parameters
        ----------
        X : Dataset with labels, or array-like of shape (N, H, W) or (N, H, W, C)
            Arrays are uint8, or float in [0, 1]. `label_fraction` of the labels is used.
        y : array-like of shape (N,), or Dataset, optional
            Labels, as whole numbers or names; `predict` answers with these. With a data set as X, the labels to learn
            in the place of its own, or a data set as `val`.
        groups : array-like of shape (N,), optional
            Who is in each image.
        val : Dataset, or tuple (X, y), optional
            Where the best epoch is chosen; without it the last epoch is kept.
        train : Dataset, optional
            Another name of X.
        checkpoint, resume, facts, callbacks, comm
            As for `SimCLR.fit`.

        Returns
        -------
        Classifier
            self. After Ctrl-C too, with a warning.

        Raises
        ------
        ValueError, TypeError, BlockingIOError, FloatingPointError, RankError
            As `SimCLR.fit`.
        """
        options = self._checked_options()
        given = self._inputs(X, y, groups, val, train)
        lost = _lost_start(self.init, checkpoint, resume)
        if lost is None:
            check_start(self.init)
        title = f"fine-tune {start_title(self.init)} {options.label_fraction:.0%}"
        self._run(
            title,
            lambda: self._plan(title, options, given, lost, facts),
            checkpoint=checkpoint,
            resume=resume,
            callbacks=callbacks,
            verbose=options.verbose,
            comm=comm,
        )
        return self

    def _inputs(self, X: Any, y: Any, groups: Any, val: Any, train: Any) -> Inputs:
        given = inputs_of("Classifier", X, y, groups=groups, val=val, train=train, with_labels=True)
        require_labels(given.train, "train")
        if given.val is not None and len(given.val):
            require_labels(given.val, "val")
            names, theirs = given.train.classes, given.val.classes
            if names != theirs:
                raise ValueError(f"val: expected the classes {', '.join(names)}, got {', '.join(theirs)}")
        return given

    def _plan(
        self, title: str, options: FinetuneOptions, given: Inputs, lost: Start | None, facts: dict[str, Any] | None
    ) -> Plan:
        train = given.train
        start = lost or read_start(self.init, train.n_channels)
        indices, labelled = _draw_labels(options, train)
        fingerprint = labelled.fingerprint()
        data = {**describe_data(labelled, facts, fingerprint), **start.pretrained_on}
        options = _with_network_of(options, start)
        config, network = plain_config(as_dict(options), start.name), _network(options, train)

        def make_task(ranks: Ranks) -> ClassifierTask:
            model, lr = _model(options, start, given, network, data), _effective_lr(options)
            return ClassifierTask(title, options, config, model, labelled, indices, given.val, lr, ranks)

        def when_finished() -> None:
            self.labelled_, self.model_.label_values = indices, given.label_values

        return Plan(config, network, fingerprint, make_task, oddities=_oddities(options), when_finished=when_finished)

    @about_options
    def estimate(
        self, X: Any = None, y: Any = None, *, groups: Any = None, val: Any = None, train: Dataset | None = None
    ) -> Estimate:
        """Time and memory of `fit` with the same data, by timing a few real steps; changes nothing here."""
        task = self.trial(X, y, groups=groups, val=val, train=train)
        n_val = 0 if task.val is None else len(task.val)
        return task.measure(n_predicted=min(task.epochs, task.options.epochs) * n_val)

    @about_options
    def trial(
        self, X: Any = None, y: Any = None, *, groups: Any = None, val: Any = None, train: Dataset | None = None
    ) -> ClassifierTask:
        """A task of `fit` with this data, to be tried and thrown away; nothing changes here."""
        options = self._checked_options()
        given = self._inputs(X, y, groups, val, train)
        check_start(self.init)
        start = read_start(self.init, given.train.n_channels)
        options = _with_network_of(options, start)
        indices, labelled = _draw_labels(options, given.train)
        model = _model(options, start, given, _network(options, given.train), {})
        return ClassifierTask("", options, {}, model, labelled, indices, given.val, _effective_lr(options))

    def check_start(self) -> None:
        """FileNotFoundError when `init` names a file that is not there, TypeError when it names nothing."""
        check_start(self.init)

    def effective_lr(self) -> float:
        """The highest learning rate that `fit` will use."""
        return _effective_lr(self._checked_options())

    def _checked_options(self) -> FinetuneOptions:
        return checked(self, FinetuneOptions)

    # ---- what training leaves --------------------------------------------------------------------------------------

    def _take_from(self, task: Any) -> None:
        super()._take_from(task)
        self.best_epoch_, self.labelled_ = task.best_epoch, task.labelled_indices

    def _adopt(self, task: Any) -> None:
        super()._adopt(task)
        if not task.position.finished and task.is_interrupted:
            task.use_best()

    def _restore(self, found: Checkpoint, source: str) -> None:
        super()._restore(found, source)
        with restoring(source):
            self.best_epoch_ = found.extra["best_epoch"]
            if "labelled" in found.extra:  # since version 0.2
                self.labelled_ = np.array(found.extra["labelled"], np.int64)
        if isinstance(self.init, str):
            self.init = known_start(self.init)

    def _old_extra(self, state: dict[str, Any]) -> dict[str, Any]:
        score = state.get("_best_score", -math.inf)
        found = {"classes": list(state["classes_"]), "best_epoch": state["best_epoch_"]}
        return {**found, "best_score": score if math.isfinite(score) else None, "labelled": self.labelled_.tolist()}

    # ---- use ------------------------------------------------------------------------------------------------------

    def evaluate(
        self, data: Dataset | np.ndarray, y: Any = None, *, groups: Any = None, n_bootstrap: int = 1000, seed: int = 0
    ) -> Evaluation:
        """All metrics by slice and by subject, with bootstrap intervals; see `metrics.evaluate_predictions`.

        Warns, and leaves a note in the result, when the model was trained or pretrained on some of the images.

        Parameters
        ----------
        data, y, groups
            A data set, or arrays of images, labels and subjects.
        n_bootstrap, seed
            As of `metrics.evaluate_predictions`.
        """
        self.check_fitted()
        if y is not None or groups is not None:
            data = self._judged(data, y, groups)
        data = require_labels(data, "evaluate")
        found = super().evaluate(data, n_bootstrap=n_bootstrap, seed=seed)
        note = seen_note(self.data_, data)
        if note is None:
            return found
        warnings.warn(f"evaluate: {note}", stacklevel=2)
        return replace(found, notes=(*found.notes, f"{note}."))

    def predict_proba(self, data: Dataset | np.ndarray) -> np.ndarray:
        """Probability of each class.

        Parameters
        ----------
        data : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C)
            Arrays are uint8, or float in [0, 1].

        Returns
        -------
        ndarray of shape (N, classes), float64
        """
        return softmax(self._forward(data, "head"))

    def predict_table(
        self, data: str | Path | Dataset, *, groups: Groups = None, errors: OnError = "raise"
    ) -> PredictionTable:
        r"""Class probabilities of new pictures, which need no labels.

        Pictures are read some hundred at a time, and resized to the model's size and channels: memory does not grow
        with the folder.

        Parameters
        ----------
        data : path or Dataset
            A folder, whatever its sub-folders mean, or pictures that are in memory.
        groups, errors
            Whose the pictures are, and what to do about files that cannot be read; as for `ImageFolder`.

        Returns
        -------
        PredictionTable
            By slice, and by subject where the subjects are known; `to_frame()` and `save("answers.csv")`.

        Raises
        ------
        FloatingPointError
            A probability is not finite; names the file.

        Examples
        --------
        >>> import tempfile
        >>> from simclr_mri import Classifier, datasets
        >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
        >>> clf = Classifier(arch="resnet18", epochs=0, verbose=0).fit(ds)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = datasets.write_phantoms(folder, n_subjects=4, slices=2, image_size=48)
        ...     clf.predict_table(folder, groups=r"(sub-\d+)")
        <PredictionTable: 8 pictures of 4 subjects, classes CDR_0, CDR_above_0>
        """
        self.check_fitted()
        if not isinstance(data, (str, os.PathLike)):
            check_dataset(data, "data")
        pieces = [data] if isinstance(data, Dataset) else self.stream(data, groups=groups, errors=errors)
        n = len(data) if isinstance(data, Dataset) else len(pieces)
        progress = Progress("predict", n, verbose=self.verbose)
        files: list[str] = []
        subjects: list[np.ndarray | None] = []
        found: list[np.ndarray] = []
        try:
            for piece in pieces:
                if not len(piece):
                    continue  # all its files were left out, with a warning
                found.append(self.predict_proba(piece))
                check_probabilities(found[-1], piece.files)
                files += piece.files
                subjects += [piece.subjects]
                progress.update(1 if isinstance(pieces, VolumeStream) else len(piece))
        finally:
            progress.close()
        if not found:
            raise ValueError(f"predict_table: no pictures that can be read in {data}")
        named = [part for part in subjects if part is not None]
        known = np.concatenate(named) if len(named) == len(subjects) else None
        return PredictionTable(tuple(files), np.concatenate(found), self.class_names_, known)

    def stream(
        self, path: str | Path, *, groups: Groups = None, errors: OnError = "raise"
    ) -> PictureStream | VolumeStream:
        """The pictures of a folder as this model takes them, piece by piece; see `datasets.stream_pictures`."""
        self.check_fitted()
        config = self.network_config_
        return stream_pictures(
            path,
            image_size=config["image_size"],
            channels=config["in_channels"],
            groups=groups,
            errors=errors,
            n_jobs=self.n_jobs,
            reading=self.data_.get("reading", _READING_BEFORE),
        )


# ---- a run ---------------------------------------------------------------------------------------------------------


def _draw_labels(options: FinetuneOptions, train: Dataset) -> tuple[np.ndarray, Dataset]:
    """Which images' labels are used, and these images."""
    indices = draw_labelled(options, train)
    labelled = train[indices]
    present = np.unique(labels_of(labelled))
    if len(labelled) < 2 or len(present) < 2:
        here = ", ".join(train.classes[c] for c in present) or "none"
        raise ValueError(
            f"train: a classifier needs images of two classes at least, and the {len(labelled):,} labelled ones here "
            f"are of {here}. {in_words('SimCLR', 'simclr-mri pretrain')} needs no classes"
        )
    return indices, labelled


def _with_network_of(options: FinetuneOptions, start: Start) -> FinetuneOptions:
    theirs = {key: start.network[key] for key in ("arch", "features") if key in start.network}
    return replace(options, **theirs)


def _network(options: FinetuneOptions, train: Dataset) -> dict[str, Any]:
    return network_config(train, options, [(len(train.classes), options.dropout, False)], "fc")


def _model(
    options: FinetuneOptions, start: Start, given: Inputs, network: dict[str, Any], data: dict[str, Any]
) -> Model:
    model = Model.build(
        network,
        start.preprocess or Preprocess.of(given.train, options.normalize),
        seed=options.random_state,
        n_jobs=options.n_jobs,
        precision=options.precision,
        data=data,
        classes=given.train.classes,
        label_values=given.label_values,
    )
    if start.weights is not None:
        model.load_backbone(start.weights, start.name)
    return model


def _lost_start(init: Any, checkpoint: str | Path | None, resume: str) -> Start | None:
    """The start of a run in that folder that goes on by itself, where `init` is only its name."""
    if not is_lost(init) or checkpoint is None or resume == "never" or not checkpoint_path(checkpoint).exists():
        return None
    found = read_checkpoint(checkpoint)
    if found.config.get("init") != init:
        return None
    with restoring(str(checkpoint)):
        preprocess = Preprocess(*(tuple(found.extra["preprocess"][key]) for key in ("mean", "std")))
    kept = {
        name: value for name, value in found.extra["data"].items() if name in SEEN and name.startswith("pretrained")
    }
    return Start(init, None, found.network, preprocess, kept)


def _effective_lr(options: FinetuneOptions) -> float:
    if options.lr is not None:
        return options.lr
    if options.optimizer == "lars":
        return 0.075 * math.sqrt(options.batch_size)
    return 1e-3 if options.optimizer == "adamw" else 0.01


def _oddities(options: FinetuneOptions) -> list[str]:
    oddities = ["the best epoch is chosen on the set given as val, where the notebooks give the test set"]
    if options.features == "flatten":
        oddities.append("the last stage is flattened instead of averaged")
    if isinstance(options.init, str) and options.init == "random":
        oddities.append("the start is random")
    return oddities
