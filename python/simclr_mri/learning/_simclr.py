"""SimCLR: pretraining without labels (Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of
visual representations", ICML 2020).

Two random views of each slice pass the network and its projection head; NT-Xent pulls the two together and pushes the
other 2N - 2 away.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from .._shared import FEATURE_SIZE, sole_writer
from ..config import PretrainOptions, check, documents_options, takes_recipe
from ..datasets import Dataset, check_dataset
from ..views import Pairs, Preprocess, augmented_batch
from ._checkpoint import Checkpoint, load_weights
from ._estimator import Estimate, NetworkEstimator, describe_data, restoring, warn_oddities
from ._history import History
from ._loop import Position
from ._monitor import Collapse, CollapseWarning, chance_loss, knn_accuracy, probe_balanced_accuracy, standardized

# The seed recipe's temperature by the epoch's loss per training image, the lowest bound that is met.
TEMPERATURE_DROPS = ((0.02, 0.05), (0.03, 0.1), (0.045, 0.3))


@documents_options
@takes_recipe("pretrain")
@dataclass(repr=False, eq=False)
class SimCLR(PretrainOptions, NetworkEstimator):
    """Learns features from images without labels.

    The arguments are those of `simclr-mri pretrain --help`, with the same names; those not given come from `recipe`.

    Attributes
    ----------
    history_ : History
        epoch, loss beside `chance_loss` (of an embedding that knows nothing: ln(2N - 1)), temperature, spread,
        alignment and uniformity of the embeddings of the epoch's last step (`monitor.Collapse`), knn_accuracy and
        probe_balanced_accuracy every `knn_every` epochs, images/s.
    network_, preprocess_, position_, data_
        See `NetworkEstimator`.

    Examples
    --------
    >>> from simclr_mri import SimCLR
    >>> SimCLR("resnet18", epochs=5).lr is None
    True
    >>> SimCLR(recipe="seed").temperature
    0.5
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=16, slices=1, image_size=32)
    >>> ssl = SimCLR("resnet18", epochs=1, batch_size=8, verbose=0).fit(ds)
    >>> ssl.transform(ds).shape, ssl.history_[0]["images"]
    ((16, 512), 16)
    """

    kind = "simclr"

    def fit(
        self,
        train: Dataset,
        val: Dataset | None = None,
        *,
        checkpoint: str | Path | None = None,
        resume: str = "auto",
        facts: dict[str, Any] | None = None,
    ) -> SimCLR:
        """Pretrain.

        Parameters
        ----------
        train : Dataset
            Labels, if there are any, only serve the nearest-neighbour monitor.
        val : Dataset, optional
            Images that the monitor is scored on. Never the test set.
        checkpoint : path, optional
            Folder for checkpoints, log.csv, log.jsonl and manifest.json.
        resume : {"auto", "never"}
            Go on with an unfinished run in that folder, to the same bits as if it had not been stopped.
        facts : dict, optional
            Kept in the checkpoint beside the fingerprint of the data, such as the options of the split.

        Returns
        -------
        SimCLR
            self. After Ctrl-C too, with a warning; `position_.finished` tells.

        Raises
        ------
        ValueError
            An option or the data, named; or the folder holds another run.
        BlockingIOError
            A run is writing to the folder at this moment.
        FloatingPointError
            The loss or the gradients are not finite; the weights are those from before that step.
        """
        check(self)
        check_dataset(train, "train")
        if val is not None:
            check_dataset(val, "val")
        with sole_writer(checkpoint):
            with self._all_or_nothing("SimCLR"):
                ready = self._make_ready(train, val, checkpoint, resume, facts)
            if ready:
                folder = None if checkpoint is None else Path(checkpoint).expanduser()
                self._run("SimCLR", len(train), self.batch_size, self.epochs, True, self.effective_lr(), folder)
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
        self._check_batch(len(train))
        self.data_ = describe_data(train, facts)
        found = self._resumable(checkpoint, resume)
        if found is not None and found.progress["finished"]:
            with restoring(str(checkpoint)):
                self._restore(found)
            return False
        self._say_oddities()
        self._prepare(train, val)
        if found is not None:
            self._resume(found)
            with restoring(str(checkpoint)):
                self._restore_monitor(found)
        return True

    def _check_batch(self, n: int) -> None:
        if n < 2:
            raise ValueError(f"train: expected at least 2 images, got {n}")
        if self.batch_size > n:
            raise ValueError(f"batch_size={self.batch_size} is larger than the {n} training images; choose at most {n}")
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise ValueError(f"micro_batch={self.micro_batch}: expected a divisor of batch_size={self.batch_size}")

    def _prepare(self, train: Dataset, val: Dataset | None) -> None:
        self._build(self._network_config(train), seed=self.random_state)
        self.preprocess_ = Preprocess.of(train, self.normalize)
        if self.weights is not None:
            self._load_backbone(load_weights(self.weights, train.n_channels), self.weights)
        self.position_, self.history_ = Position(), History()
        self._temperature, self._collapse, self._chance = self.temperature, Collapse(0.0, 0.0, 0.0), 0.0
        self._told_collapse = False
        self._train, self._val = train, val
        self._pairs = Pairs(train, self.positives, self.exclude_same_subject, self.random_state)
        groups = 2 if self.separate_views and self.micro_batch is None else 1  # a micro-batch is of one view
        self._make_trainer(2 * self.batch_size, groups, self.micro_batch)
        self._views = np.empty((2 * self.batch_size, *train.shape[1:]), np.float32)

    def estimate(self, train: Dataset, val: Dataset | None = None) -> Estimate:
        """Time and memory of `fit`, by timing a few real steps on `train`; changes nothing here."""
        check(self)
        check_dataset(train, "train")
        self._check_batch(len(train))
        trial = clone(self)
        trial._prepare(train, val)
        return trial._measure(len(train), self.batch_size, self.epochs * (len(train) // self.batch_size))

    def _say_oddities(self) -> None:
        oddities = ["batch statistics of the two views apart"] if self.separate_views else []
        if self.temperature_drops:
            oddities.append("the temperature drops with the loss")
        if self.features == "flatten":
            oddities.append("the last stage is flattened instead of averaged")
        if self.weights is None:
            oddities.append(
                "but the start is random, because no ImageNet weights were given (weights='resnet50.safetensors')"
            )
        warn_oddities(self.recipe, oddities)

    def _head(self) -> list[tuple[int, float, bool]]:
        if self.head == "seed":
            return [(2 * self.embedding_size, 0.5, False), (self.embedding_size, 0.5, False)]
        return [(FEATURE_SIZE[self.arch], 0.0, True), (self.embedding_size, 0.0, False)]

    def effective_lr(self) -> float:
        """The authors' rule for small batches (appendix B.1) is 0.075 sqrt(batch) with LARS; a fifth of it for SGD."""
        if self.lr is not None:
            return self.lr
        return 1e-3 if self.optimizer == "adamw" else 0.015 * math.sqrt(self.batch_size)

    def _step(self, indices: np.ndarray, epoch: int, step: int, lr: float, momentum: float) -> dict[str, Any]:
        n = len(indices)
        self._draw_views(indices, epoch)
        groups = self._pairs.groups(indices)
        result = self._trainer.simclr_step(
            self._views[: 2 * n],
            lr=lr,
            momentum=momentum,
            rho=self._rho(),
            temperature=self._temperature,
            groups=groups,
            standardize=self.embedding_norm,
            seed=self.random_state,
            step=step,
        )
        embeddings = self._trainer.output()
        if self.embedding_norm:  # what the loss saw
            embeddings = standardized(embeddings)
        self._collapse, self._chance = Collapse.of(embeddings), chance_loss(n, groups)
        shown = {"chance": f"{self._chance:.4f}", "spread": f"{self._collapse.spread:.2f}"}
        return {**result, "shown": shown}

    def _draw_views(self, indices: np.ndarray, epoch: int) -> None:
        """Rows i and i + n of the batch: a view of slice i, and one of it or of its neighbour."""
        n = len(indices)
        options = {"seed": self.random_state, "epoch": epoch, "n_jobs": self.n_jobs}
        images, preprocess = self._train, self.preprocess_
        augmented_batch(images, indices, self.views, preprocess, view=0, out=self._views[:n], **options)
        for view, rows, shown in self._pairs.second_views(indices, epoch):
            if len(rows) == n:
                augmented_batch(images, shown, self.views, preprocess, view=view, out=self._views[n : 2 * n], **options)
            else:
                self._views[n + rows] = augmented_batch(images, shown, self.views, preprocess, view=view, **options)

    def _end_epoch(self, row: dict[str, Any]) -> None:
        row["temperature"] = self._temperature
        row["chance_loss"] = round(self._chance, 4)
        row |= {name: round(value, 4) for name, value in self._collapse.as_dict().items()}
        if self._collapse.is_collapsed and not self._told_collapse:  # once is enough
            self._told_collapse = True
            norm = "" if self.embedding_norm else "embedding_norm=True, "
            warnings.warn(
                f"epoch {row['epoch']}: the embeddings have collapsed to almost one point (spread "
                f"{self._collapse.spread:.3f}; 1 is an even sphere). Try {norm}a lower lr, more warmup_epochs or a "
                "larger batch",
                CollapseWarning,
                stacklevel=2,
            )
        if self._is_monitored(row["epoch"]):
            seen = (self.transform(self._train), self._train.labels, self.transform(self._val), self._val.labels)
            row["knn_accuracy"] = max(knn_accuracy(*seen).values())
            row["probe_balanced_accuracy"] = probe_balanced_accuracy(*seen)
        if self.temperature_drops:
            per_image = row["loss"] / self.batch_size  # the notebooks divide the sum over batches by the images
            self._temperature = next((t for bound, t in TEMPERATURE_DROPS if per_image < bound), self._temperature)

    def _is_monitored(self, epoch: int) -> bool:
        known = self._val is not None and self._train.labels is not None and self._val.labels is not None
        return known and self.knn_every > 0 and (epoch % self.knn_every == 0 or epoch == self.epochs)

    def _forget_batches(self) -> None:
        self._train = self._val = self._views = self._pairs = None

    def _extra(self) -> dict[str, Any]:
        return {"temperature": self._temperature, "collapse": self._collapse.as_dict(), "chance": self._chance}

    def _restore(self, found: Checkpoint) -> None:
        super()._restore(found)
        self._restore_monitor(found)

    def _restore_monitor(self, found: Checkpoint) -> None:
        self._temperature = found.extra["temperature"]
        self._collapse = Collapse(**found.extra.get("collapse", {"spread": 0.0, "alignment": 0.0, "uniformity": 0.0}))
        self._chance = found.extra.get("chance", 0.0)
