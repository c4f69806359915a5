"""The classifier's task: augmented images with labels, cross-entropy, and the best epoch by validation data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..config import FinetuneOptions
from ..datasets import Dataset, labels_of
from ..metrics import balanced_accuracy, softmax
from ..views import augmented_batch
from ._checkpoint import Checkpoint, restoring
from ._class_weights import balanced_weights, given_weights
from ._model import Model
from ._order import balanced_order
from ._ranks import Ranks
from ._task import Task


class ClassifierTask(Task):
    """One run of fine-tuning; see `Task`.

    Parameters
    ----------
    labelled : Dataset
        The images whose labels are used.
    labelled_indices : ndarray of int64
        Which of the training images they are.
    val : Dataset or None
        Where the best epoch is chosen.
    """

    kind = "classifier"

    def __init__(
        self,
        title: str,
        options: FinetuneOptions,
        config: dict[str, Any],
        model: Model,
        labelled: Dataset,
        labelled_indices: np.ndarray,
        val: Dataset | None,
        lr: float,
        ranks: Ranks | None = None,
    ) -> None:
        batch = min(options.batch_size, len(labelled))
        super().__init__(
            title,
            options,
            config,
            model,
            n=len(labelled),
            batch_size=batch,
            epochs=max(options.epochs, -(-options.min_steps // -(-len(labelled) // batch))),
            lr=lr,
            drop_last=False,
            ranks=ranks,
        )
        self.labelled, self.labelled_indices = labelled, labelled_indices
        self.val = val if val is not None and len(val) else None
        self.class_weights: np.ndarray | None = None
        if isinstance(options.class_weight, dict):
            self.class_weights = given_weights(options.class_weight, model.classes)
        elif options.class_weight and options.sampling == "shuffle":  # both at once would correct twice
            self.class_weights = balanced_weights(labels_of(labelled), len(model.classes))
        self.best_epoch, self.best_score = 0, -math.inf
        self._best: dict[str, np.ndarray] | None = None
        self._last: dict[str, np.ndarray] | None = None
        if self.val is not None:
            self.later_columns = ("val_loss", "val_accuracy", "val_balanced_accuracy")
            self.monitor = "loss" if options.select == "last" else f"val_{options.select}"
        self._make_trainer(batch, micro_batch=options.micro_batch and min(options.micro_batch, batch))

    def order(self, epoch: int) -> np.ndarray:
        if self.options.sampling == "balanced":
            return balanced_order(labels_of(self.labelled), self.options.random_state, epoch)
        return super().order(epoch)

    def draw_views(self, draws: np.ndarray, epoch: int) -> np.ndarray:
        """The images of a batch; one that is drawn again in an epoch (`balanced_order`) is augmented differently.

        Those that other ranks read are left as they happen to be.
        """
        images, options = self.labelled, self.options
        indices, repeats = draws % self.n, draws // self.n
        begin, end = self.trainer.rows(len(draws))
        out = np.empty((len(draws), *images.shape[1:]), np.float32)
        drawn = {"seed": options.random_state, "epoch": epoch, "n_jobs": options.n_jobs}
        for repeat in np.unique(repeats[begin:end]):
            rows = begin + np.flatnonzero(repeats[begin:end] == repeat)
            out[rows] = augmented_batch(
                images, indices[rows], options.views, self.model.preprocess, view=int(repeat), **drawn
            )
        return out

    def step(self, indices: np.ndarray, epoch: int, step: int, lr: float, momentum: float) -> None:
        """`indices` are draws: i + k n is image i, drawn for the k-th time after its first."""
        images = self.draw_views(indices, epoch)
        result = self.trainer.supervised_step(
            images,
            labels_of(self.labelled)[indices % self.n].astype(np.int32),
            lr=lr,
            momentum=momentum,
            rho=self.rho,
            class_weights=self.class_weights,
            label_smoothing=self.options.label_smoothing,
            seed=self.options.random_state,
            step=step,
        )
        self._count(result, len(indices))

    def end_epoch(self, row: dict[str, Any]) -> None:
        row["train_accuracy"] = self.position.accuracy
        # Epochs added by min_steps are not looked at more often: every arm chooses among as many epochs.
        stride = -(-self.epochs // max(1, self.options.epochs))
        if self.val is None or (row["epoch"] % stride and row["epoch"] != self.epochs):
            return
        options, labels = self.options, labels_of(self.val)
        outputs = self.model.forward(self.val, "head", n_jobs=options.n_jobs, precision=options.precision)
        probabilities = softmax(outputs)
        predicted = probabilities.argmax(axis=1)
        row["val_loss"] = float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())
        row["val_accuracy"] = float((predicted == labels).mean())
        row["val_balanced_accuracy"] = balanced_accuracy(labels, predicted)
        if options.select == "last":
            return
        score = -row["val_loss"] if options.select == "loss" else row[f"val_{options.select}"]
        if score > self.best_score:
            best = self.model.network.state()
            self.best_epoch, self.best_score, self._best = row["epoch"], score, best

    def finish(self) -> None:
        if self._best is None:
            self.best_epoch = self.position.epoch
            return
        if self.can_go_on:  # a longer run goes on from the last weights, and may find a better epoch
            self._last = self.model.network.state()
        self.model.network.load(self._best)

    def use_best(self) -> None:
        """Leaves the best epoch's weights in the model; the task is not trained any more."""
        if self._best is not None:
            self.model.network.load(self._best)

    def best_weights(self) -> dict[str, np.ndarray] | None:
        return self._best

    def last_weights(self) -> dict[str, np.ndarray] | None:
        return self._last

    def extra(self) -> dict[str, Any]:
        score = self.best_score if math.isfinite(self.best_score) else None
        chosen = {"classes": list(self.model.classes), "best_epoch": self.best_epoch, "best_score": score}
        values = self.model.label_values
        more = {} if values is None else {"label_values": values.tolist()}
        return {**super().extra(), **chosen, "labelled": self.labelled_indices.tolist(), **more}

    def resume(self, found: Checkpoint, source: str) -> None:
        super().resume(found, source)
        with restoring(source):
            self.best_epoch = found.extra["best_epoch"]
            score = found.extra["best_score"]
            self.best_score = -math.inf if score is None else float(score)
        self._best = {name: np.asarray(array) for name, array in found.best.items()} or None
