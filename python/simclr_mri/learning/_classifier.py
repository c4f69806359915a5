"""Classifier: a ResNet trained on labels, from random weights, from SimCLR's, or from a file."""

from __future__ import annotations

import difflib
import hashlib
import math
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import ARCHS, Progress, sole_writer
from ..config import FinetuneOptions, check, documents_options, takes_recipe
from ..datasets import Dataset, Groups, PictureStream, VolumeStream, require_labels, stream_pictures
from ..metrics import Evaluation, balanced_accuracy, softmax
from ..splits import draw_labelled
from ..views import Preprocess, augmented_batch
from ._checkpoint import (
    Checkpoint,
    checkpoint_path,
    existing_checkpoint,
    is_own_checkpoint,
    load_weights,
    read_checkpoint,
)
from ._estimator import Estimate, NetworkEstimator, describe_data, restoring, warn_oddities
from ._history import History
from ._judging import Judge
from ._loop import Position
from ._order import balanced_order
from ._predict_table import PredictionTable, check_probabilities
from ._seen import pretrained_keys, seen_note
from ._simclr import SimCLR

_STARTS = "'random', a fitted SimCLR, a run folder or a file of weights"


_READING_BEFORE = {"intensity": "full", "fit": "stretch"}  # of models that do not remember how pixels were read


def _no_such_start(init: str) -> str:
    if init in ARCHS:
        hint = f". The network is another argument: arch={init!r}"
    elif difflib.get_close_matches(init, ["random"], n=1):
        hint = ". Did you mean 'random'?"
    else:
        hint = f"; there is no {checkpoint_path(init)}"
    return f"init={init!r}: expected {_STARTS}{hint}"


def balanced_weights(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """n / (classes present x n of the class), scikit-learn's "balanced"; 1 for a class that is absent. float32."""
    counts = np.bincount(labels, minlength=n_classes)
    present = int((counts > 0).sum())
    return np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 1.0).astype(np.float32)


@documents_options
@takes_recipe("finetune")
@dataclass(repr=False, eq=False)
class Classifier(Judge, FinetuneOptions, NetworkEstimator):
    """Learns classes from labelled images.

    The arguments are those of `simclr-mri finetune --help`, with the same names; those not given come from `recipe`.
    `init` may also be a fitted `SimCLR`; then `arch` and `features` are its own.

    Attributes
    ----------
    classes_ : tuple of str
    labelled_ : ndarray of int64
        Which training images' labels were used.
    best_epoch_ : int
        Whose weights were kept, by `select` on the validation set.
    network_, preprocess_, history_, position_, data_
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
    """

    kind = "classifier"

    def fit(
        self,
        train: Dataset,
        val: Dataset | None = None,
        *,
        checkpoint: str | Path | None = None,
        resume: str = "auto",
        facts: dict[str, Any] | None = None,
    ) -> Classifier:
        """Train.

        Parameters
        ----------
        train : Dataset
            With labels, of which `label_fraction` is used.
        val : Dataset, optional
            Where the best epoch is chosen; without it the last epoch is kept.
        checkpoint, resume, facts
            As for `SimCLR.fit`.

        Returns
        -------
        Classifier
            self. After Ctrl-C too, with a warning.

        Raises
        ------
        ValueError, BlockingIOError, FloatingPointError
            As `SimCLR.fit`.
        """
        check(self)
        self.check_start()
        require_labels(train, "train")
        if val is not None and len(val):
            require_labels(val, "val")
            if val.classes != train.classes:
                raise ValueError(f"val: expected the classes {', '.join(train.classes)}, got {', '.join(val.classes)}")
        with sole_writer(checkpoint):
            with self._all_or_nothing(self._title()):
                ready = self._make_ready(train, val, checkpoint, resume, facts)
            if ready:
                folder = None if checkpoint is None else Path(checkpoint).expanduser()
                n = len(self._train)
                self._run(self._title(), n, self._batch, self._n_epochs(), False, self.effective_lr(), folder)
                if not self.position_.finished and self._best is not None:
                    self.network_.load(self._best)
        return self

    def _make_ready(
        self,
        train: Dataset,
        val: Dataset | None,
        checkpoint: str | Path | None,
        resume: str,
        facts: dict[str, Any] | None,
    ) -> bool:
        """Everything before the first step; False when a finished run was found and read."""
        self.classes_ = train.classes
        self.labelled_ = draw_labelled(self, train)
        labelled = train[self.labelled_]
        present = np.unique(labelled.labels)
        if len(labelled) < 2 or len(present) < 2:
            raise ValueError(
                f"train: {len(labelled)} labelled images of {len(present)} class(es); a classifier needs at least two "
                "of each"
            )
        backbone, network, preprocess = self._start(train)
        self.data_ = {**describe_data(labelled, facts), **self._pretrained_on}
        found = self._resumable(checkpoint, resume)
        if found is not None and found.progress["finished"]:
            with restoring(str(checkpoint)):
                self._restore(found)
            return False
        self._say_oddities()
        self._prepare(labelled, val, backbone, network, preprocess)
        if found is not None:
            self._resume(found)
            with restoring(str(checkpoint)):
                self._restore_best(found)
        return True

    def _prepare(
        self,
        labelled: Dataset,
        val: Dataset | None,
        backbone: dict[str, np.ndarray] | None,
        network: dict[str, Any],
        preprocess: Preprocess,
    ) -> None:
        self._build(network, seed=self.random_state)
        if backbone is not None:
            self._load_backbone(backbone, self._init_name())
        self.preprocess_ = preprocess
        self.position_, self.history_ = Position(), History()
        self.best_epoch_, self._best_score, self._best = 0, -math.inf, None
        self._train, self._val = labelled, val if val is not None and len(val) else None
        weighted = self.class_weight and self.sampling == "shuffle"  # both at once would correct twice
        self._weights = balanced_weights(labelled.labels, len(self.classes_)) if weighted else None
        self._batch = min(self.batch_size, len(labelled))
        self._make_trainer(self._batch)

    def _n_epochs(self) -> int:
        return max(self.epochs, -(-self.min_steps // -(-len(self._train) // self._batch)))

    def estimate(self, train: Dataset, val: Dataset | None = None) -> Estimate:
        """Time and memory of `fit`, by timing a few real steps on `train`; changes nothing here."""
        self.check_start()
        trial = type(self)(**{**self.get_params(deep=False), "init": "random"})
        trial.classes_ = train.classes
        labelled = train[draw_labelled(trial, train)]
        trial._prepare(labelled, val, *trial._start(train))
        steps = trial._n_epochs() * -(-len(labelled) // trial._batch)
        n_val = 0 if val is None else len(val)
        return trial._measure(len(labelled), trial._batch, steps, looks=min(trial._n_epochs(), self.epochs) * n_val)

    # ---- where it starts --------------------------------------------------------------------------------------------

    def _start(self, train: Dataset) -> tuple[dict[str, np.ndarray] | None, dict[str, Any], Preprocess]:
        """(weights or None, network, normalisation) of `init`; sets its digest."""
        preprocess = Preprocess.of(train, self.normalize)
        network = self._network_config(train)
        self._digest, self._pretrained_on = "", {}
        if isinstance(self.init, str) and self.init == "random":
            return None, network, preprocess
        if isinstance(self.init, NetworkEstimator):
            self.init._check_fitted()
            state, theirs, preprocess = self.init.network_.state(), self.init.network_config_, self.init.preprocess_
            weights = {name: array for name, array in state.items() if not name.startswith(theirs["head_name"])}
            self._remember_pretraining(self.init.data_)
        else:
            weights, theirs, preprocess = self._start_from_file(train, preprocess)
        for key in ("arch", "features") if theirs else ():
            network[key] = theirs[key]
        if theirs and theirs["in_channels"] != network["in_channels"]:
            raise ValueError(
                f"init was trained on {theirs['in_channels']} channel(s), the data set has {network['in_channels']}: "
                f"open it with channels={theirs['in_channels']}"
            )
        digest = hashlib.sha256()
        for name in sorted(weights):
            digest.update(np.ascontiguousarray(weights[name]).data)
        self._digest = digest.hexdigest()[:12]
        return weights, network, preprocess

    def _remember_pretraining(self, data: dict[str, Any]) -> None:
        self._pretrained_on = pretrained_keys(data)

    def check_start(self) -> None:
        """FileNotFoundError when `init` names a file that is not there, TypeError when it names nothing."""
        if isinstance(self.init, NetworkEstimator):
            return
        if not isinstance(self.init, (str, os.PathLike)):
            raise TypeError(f"init: expected {_STARTS}, got {type(self.init).__name__}")
        if self.init == "random" or checkpoint_path(self.init).is_file():
            return
        if Path(self.init).expanduser().is_dir():
            existing_checkpoint(self.init)  # raises, and says what the folder holds instead
        raise FileNotFoundError(_no_such_start(str(self.init)))

    def _start_from_file(
        self, train: Dataset, preprocess: Preprocess
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], Preprocess]:
        path = checkpoint_path(self.init)
        weights = load_weights(path, train.n_channels)
        if not is_own_checkpoint(path):
            return weights, {}, preprocess
        found = read_checkpoint(path)
        with restoring(str(path)):
            self._remember_pretraining(found.extra["data"])
            means_and_deviations = (tuple(found.extra["preprocess"][key]) for key in ("mean", "std"))
            return weights, found.network, Preprocess(*means_and_deviations)

    def _init_name(self) -> str:
        if isinstance(self.init, str) and (self.init == "random" or not getattr(self, "_digest", "")):
            return self.init
        source = "SimCLR" if isinstance(self.init, SimCLR) else type(self.init).__name__
        return f"{source if isinstance(self.init, NetworkEstimator) else self.init} #{self._digest}"

    def _title(self) -> str:
        start = (
            "random"
            if self.init == "random"
            else "SimCLR"
            if isinstance(self.init, SimCLR)
            else Path(str(self.init)).name
        )
        return f"fine-tune {start} {self.label_fraction:.0%}"

    def _say_oddities(self) -> None:
        oddities = ["the best epoch is chosen on the set given as val, where the notebooks give the test set"]
        if self.features == "flatten":
            oddities.append("the last stage is flattened instead of averaged")
        if self.init == "random":
            oddities.append("the start is random")
        warn_oddities(self.recipe, oddities)

    def _head(self) -> list[tuple[int, float, bool]]:
        return [(len(self.classes_), self.dropout, False)]

    def effective_lr(self) -> float:
        if self.lr is not None:
            return self.lr
        return 1e-3 if self.optimizer == "adamw" else 0.01

    # ---- training --------------------------------------------------------------------------------------------------

    def _order(self, n: int, epoch: int) -> np.ndarray:
        if self.sampling == "balanced":
            return balanced_order(self._train.labels, self.random_state, epoch)
        return super()._order(n, epoch)

    def _draw_views(self, draws: np.ndarray, epoch: int) -> np.ndarray:
        """The images of a batch; one that is drawn again in an epoch (`balanced_order`) is augmented differently."""
        train, indices, repeats = self._train, draws % len(self._train), draws // len(self._train)
        out = np.empty((len(draws), *train.shape[1:]), np.float32)
        options = {"seed": self.random_state, "epoch": epoch, "n_jobs": self.n_jobs}
        for repeat in np.unique(repeats):
            rows = np.flatnonzero(repeats == repeat)
            views = augmented_batch(train, indices[rows], self.views, self.preprocess_, view=int(repeat), **options)
            out[rows] = views
        return out

    def _step(self, draws: np.ndarray, epoch: int, step: int, lr: float, momentum: float) -> dict[str, Any]:
        images, indices = self._draw_views(draws, epoch), draws % len(self._train)
        return self._trainer.supervised_step(
            images,
            self._train.labels[indices].astype(np.int32),
            lr=lr,
            momentum=momentum,
            rho=self._rho(),
            class_weights=self._weights,
            label_smoothing=self.label_smoothing,
            seed=self.random_state,
            step=step,
        )

    def _end_epoch(self, row: dict[str, Any]) -> None:
        row["train_accuracy"] = self.position_.n_correct / self.position_.n_images
        n_epochs = self._n_epochs()
        # Epochs added by min_steps are not looked at more often: every arm chooses among as many epochs.
        stride = -(-n_epochs // max(1, self.epochs))
        if self._val is None or (row["epoch"] % stride and row["epoch"] != n_epochs):
            return
        probabilities = self.predict_proba(self._val)
        predicted, labels = probabilities.argmax(axis=1), self._val.labels
        row["val_loss"] = float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())
        row["val_accuracy"] = float((predicted == labels).mean())
        row["val_balanced_accuracy"] = balanced_accuracy(labels, predicted)
        if self.select == "last":
            return
        score = -row["val_loss"] if self.select == "loss" else row[f"val_{self.select}"]
        if score > self._best_score:
            self.best_epoch_, self._best_score = row["epoch"], score
            self._best = self.network_.state()

    def _finish(self) -> None:
        if self._best is not None:
            self.network_.load(self._best)
        else:
            self.best_epoch_ = self.position_.epoch

    def _forget_batches(self) -> None:
        self._train = self._val = None

    def _extra(self) -> dict[str, Any]:
        score = self._best_score if math.isfinite(self._best_score) else None
        return {"classes": list(self.classes_), "best_epoch": self.best_epoch_, "best_score": score}

    def _restore_best(self, found: Checkpoint) -> None:
        self.best_epoch_ = found.extra["best_epoch"]
        score = found.extra["best_score"]
        self._best_score = -math.inf if score is None else score
        self._best = found.best or None

    def _restore(self, found: Checkpoint) -> None:
        super()._restore(found)
        self.classes_ = tuple(found.extra["classes"])
        self._restore_best(found)

    # ---- use -------------------------------------------------------------------------------------------------------

    def evaluate(self, data: Dataset, *, n_bootstrap: int = 1000, seed: int = 0) -> Evaluation:
        """All metrics by slice and by subject, with bootstrap intervals; see `metrics.evaluate_predictions`.

        Warns, and leaves a note in the result, when the model was trained or pretrained on some of the images.
        """
        self._check_fitted()
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
        data : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C), uint8

        Returns
        -------
        ndarray of shape (N, classes), float64
        """
        return softmax(self._forward(data, "head"))

    def predict_table(
        self, data: str | Path | Dataset, *, groups: Groups = None, errors: str = "raise"
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
        self._check_fitted()
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
        return PredictionTable(tuple(files), np.concatenate(found), self.classes_, known)

    def stream(self, path: str | Path, *, groups: Groups = None, errors: str = "raise") -> PictureStream | VolumeStream:
        """The pictures of a folder as this model takes them, piece by piece; see `datasets.stream_pictures`."""
        self._check_fitted()
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
