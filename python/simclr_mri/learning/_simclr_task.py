"""SimCLR's task: two views of each slice through the network and NT-Xent, and what is measured of the embeddings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .._shared import option_name, option_text
from ..config import PretrainOptions
from ..datasets import Dataset, labels_of
from ..views import Pairs, augmented_batch
from ._callbacks import Callback
from ._checkpoint import Checkpoint, restoring
from ._model import Model
from ._monitor import Collapse, CollapseWarning, chance_loss, knn_accuracy, probe_balanced_accuracy, standardized
from ._ranks import Ranks
from ._task import Task

if TYPE_CHECKING:
    from ._loop import Loop

MOST_COMPARED = 20_000
"""Training images whose features the monitor holds at once, evenly spread: 164 MB of a ResNet-50's."""

# The paper recipe's temperature by the epoch's loss per training image, the lowest bound that is met.
TEMPERATURE_DROPS = ((0.02, 0.05), (0.03, 0.1), (0.045, 0.3))


class SimCLRTask(Task):
    """One run of pretraining; see `Task`."""

    kind = "simclr"
    later_columns: tuple[str, ...] = ("knn_accuracy", "probe_balanced_accuracy")

    def __init__(
        self,
        options: PretrainOptions,
        config: dict[str, Any],
        model: Model,
        train: Dataset,
        lr: float,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(
            "SimCLR",
            options,
            config,
            model,
            n=len(train),
            batch_size=options.batch_size,
            epochs=options.epochs,
            lr=lr,
            drop_last=True,
            ranks=ranks,
        )
        self.train = train
        self.temperature, self.collapse, self.chance = options.temperature, Collapse(0.0, 0.0, 0.0), 0.0
        self._told_collapse = False
        self._pairs = Pairs(train, options.positives, options.exclude_same_subject, options.random_state)
        groups = 2 if options.separate_views and options.micro_batch is None else 1  # a micro-batch is of one view
        self._make_trainer(2 * options.batch_size, per_image=2, bn_groups=groups, micro_batch=options.micro_batch)
        self._views = np.empty((2 * options.batch_size, *train.shape[1:]), np.float32)

    def step(self, indices: np.ndarray, epoch: int, step: int, lr: float, momentum: float) -> None:
        n = len(indices)
        self.draw_views(indices, epoch)
        groups = self._pairs.groups(indices)
        result: dict[str, Any] = self.trainer.simclr_step(
            self._views[: 2 * n],
            lr=lr,
            momentum=momentum,
            rho=self.rho,
            temperature=self.temperature,
            groups=groups,
            standardize=self.options.embedding_norm,
            seed=self.options.random_state,
            step=step,
        )
        try:
            embeddings = self.trainer.output()
            if self.options.embedding_norm:  # what the loss saw
                embeddings = standardized(embeddings)
            self.collapse, self.chance = Collapse.of(embeddings), chance_loss(n, groups)
            result["shown"] = {"chance": f"{self.chance:.4f}", "spread": f"{self.collapse.spread:.2f}"}
        finally:
            self._count(result, n)

    def draw_views(self, indices: np.ndarray, epoch: int) -> None:
        """Rows i and i + n of the batch, this rank's only: a view of slice i, and one of it or of its neighbour."""
        n, options = len(indices), self.options
        begin, end = self.trainer.rows(2 * n)
        drawn = {"seed": options.random_state, "epoch": epoch, "n_jobs": options.n_jobs}
        images, views, preprocess = self.train, options.views, self.model.preprocess
        if begin < n:
            first = slice(begin, min(end, n))
            augmented_batch(images, indices[first], views, preprocess, view=0, out=self._views[first], **drawn)
        for view, rows, shown in self._pairs.second_views(indices, epoch):
            mine = (rows + n >= begin) & (rows + n < end)
            rows, shown = rows[mine], shown[mine]
            if len(rows) == n:
                augmented_batch(images, shown, views, preprocess, view=view, out=self._views[n : 2 * n], **drawn)
            elif len(rows):
                self._views[n + rows] = augmented_batch(images, shown, views, preprocess, view=view, **drawn)

    def end_epoch(self, row: dict[str, Any]) -> None:
        row["temperature"] = self.temperature
        row["chance_loss"] = round(self.chance, 4)
        row |= {name: round(value, 4) for name, value in self.collapse.as_dict().items()}
        if self.collapse.is_collapsed and not self._told_collapse:  # once is enough
            self._told_collapse = True
            norm = "" if self.options.embedding_norm else f"{option_text('embedding_norm', True)}, "
            warnings.warn(
                f"epoch {row['epoch']}: the embeddings have collapsed to almost one point (spread "
                f"{self.collapse.spread:.3f}; 1 is an even sphere). Try {norm}a lower {option_name('lr')}, more "
                f"{option_name('warmup_epochs')} or a larger {option_name('batch_size')}",
                CollapseWarning,
                stacklevel=2,
            )

    def next_epoch(self, row: dict[str, Any]) -> None:
        super().next_epoch(row)
        if self.options.temperature_drops:
            per_image = row["loss"] / self.options.batch_size  # the notebooks divide the sum over batches by the images
            self.temperature = next((t for bound, t in TEMPERATURE_DROPS if per_image < bound), self.temperature)

    def extra(self) -> dict[str, Any]:
        measured = {"temperature": self.temperature, "collapse": self.collapse.as_dict(), "chance": self.chance}
        return {**super().extra(), **measured}

    def resume(self, found: Checkpoint, source: str) -> None:
        super().resume(found, source)
        nothing = {"spread": 0.0, "alignment": 0.0, "uniformity": 0.0}
        with restoring(source):
            self.temperature = float(found.extra["temperature"])
            self.collapse = Collapse(**found.extra.get("collapse", nothing))
            self.chance = float(found.extra.get("chance", 0.0))


class Monitor(Callback):
    """Nearest neighbours and a linear probe on validation images, every `knn_every` epochs and at the end."""

    is_part_of_the_epoch = True

    def __init__(self, train: Dataset, val: Dataset | None, every: int) -> None:
        if len(train) > MOST_COMPARED:
            train = train[np.linspace(0, len(train) - 1, MOST_COMPARED).astype(np.int64)]
        self.train, self.val = train, val
        known = val is not None and len(val) > 0 and train.labels is not None and val.labels is not None
        self.every = every if known else 0

    def on_epoch_end(self, run: Loop) -> None:
        epoch = run.row["epoch"]
        if self.val is None or not self.every or (epoch % self.every and epoch != run.epochs):
            return
        features = [run.estimator.transform(part) for part in (self.train, self.val)]
        seen = (features[0], labels_of(self.train), features[1], labels_of(self.val))
        run.row["knn_accuracy"] = max(knn_accuracy(*seen).values())
        run.row["probe_balanced_accuracy"] = probe_balanced_accuracy(*seen)
