"""Task: what is trained. It lives while `fit` runs, and owns all that training needs beside the model.

That is the trainer (optimizer state and activations), the position, the history and the best weights. A step that the
core has done is counted in the same breath, so that "done" and "counted" are one fact, which a checkpoint saves.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import _core
from .._shared import (
    LAYERS,
    Record,
    bytes_text,
    check_fits,
    did_you_mean,
    option_name,
    option_text,
    peak_memory_bytes,
    seconds_text,
    versions,
)
from ..views import check_views
from ..weights import CheckpointError, TensorToCopy
from ._checkpoint import Checkpoint, arrays_of, restoring
from ._history import History
from ._interrupts import abandonable
from ._model import Model
from ._order import batch_bounds, epoch_order
from ._position import Position
from ._ranks import Ranks
from ._schedule import Schedule


@dataclass(frozen=True)
class Estimate(Record):
    """What a run will take on this machine, from a few real steps.

    Examples
    --------
    >>> print(Estimate(seconds=5400.0, memory_bytes=1_900_000_000, steps=14_000))
    about 90 min 00 s for 14,000 steps, 1.9 GB of memory
    """

    seconds: float
    memory_bytes: int
    steps: int
    disk_bytes: int = 0
    left_over: int = 0  # images an epoch that fill no batch

    def __str__(self) -> str:
        text = f"about {seconds_text(self.seconds)} for {self.steps:,} steps, {bytes_text(self.memory_bytes)} of memory"
        return text + (f", up to {bytes_text(self.disk_bytes)} on disk" if self.disk_bytes else "")


def stage_rates(decay: float, factors: Mapping[str, float] | None) -> list[float] | None:
    """By what the learning rate of the stem, layer1 ... layer4 and the head is multiplied; None: all by 1.

    Raises
    ------
    ValueError
        A factor of what is no stage.

    Examples
    --------
    >>> stage_rates(0.5, {"head": 10})
    [0.03125, 0.0625, 0.125, 0.25, 0.5, 10.0]
    """
    stages = (*LAYERS, "head")
    for name in factors or {}:
        if name not in stages:
            raise ValueError(f"{option_name('layer_rates')}: there is no {name!r}.{did_you_mean(name, stages)}")
    rates = [decay ** (len(LAYERS) - i) * float((factors or {}).get(name, 1.0)) for i, name in enumerate(stages)]
    return None if all(rate == 1.0 for rate in rates) else rates


class Task:
    """Base of SimCLR's and the classifier's task.

    Parameters
    ----------
    title : str
        For the progress bar and messages.
    options : PretrainOptions or FinetuneOptions
        Checked.
    config : dict
        The options as checkpoints and manifests have them.
    model : Model
        What is trained, in place.
    n, batch_size, epochs : int
        Images an epoch, images (or pairs) a step, passes.
    lr : float
        The highest rate.
    drop_last : bool
        Leave out an incomplete last batch.
    ranks : Ranks, optional
        The processes that share every step; None is this one alone.

    Attributes
    ----------
    position : Position
    history : History
    """

    kind = ""
    monitor = "loss"  # what early stopping looks at by default
    later_columns: tuple[str, ...] = ()  # of the history, that not every epoch has

    def __init__(
        self,
        title: str,
        options: Any,
        config: dict[str, Any],
        model: Model,
        *,
        n: int,
        batch_size: int,
        epochs: int,
        lr: float,
        drop_last: bool,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = ranks or Ranks()
        self.title, self.options, self.config, self.model = title, options, config, model
        check_views(options.views)
        self.n, self.batch_size, self.epochs = n, batch_size, epochs
        self.bounds = batch_bounds(n, batch_size, drop_last)
        per_epoch = n // batch_size if drop_last else -(-n // batch_size)
        self.n_steps = epochs * per_epoch
        steps = max(1, self.n_steps)
        warmup_steps = min(round(options.warmup_epochs * per_epoch), steps // 2)
        self.schedule = Schedule(options.schedule, lr, options.momentum, steps, warmup_steps)
        self.rho = 0.0 if options.sharpness == "none" else options.rho
        self.position, self.history = Position(), History()
        self.result: dict[str, Any] = {}
        self.is_interrupted = False
        self.trainer: _core.Trainer

    # ---- for the loop ------------------------------------------------------------------------------------------------

    def order(self, epoch: int) -> np.ndarray:
        """Which images an epoch visits, in which order, int64 (n,)."""
        return epoch_order(self.n, self.options.random_state, epoch)

    def step(self, indices: np.ndarray, epoch: int, step: int, lr: float, momentum: float) -> None:
        """Train on the images of these indices, and count it; changes nothing if it raises before the core is done.

        `result` then holds loss, gradient_norm, n_correct where it is known, and "shown": what stands behind the
        progress bar.
        """
        raise NotImplementedError

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Add to the row of the history; may be repeated if it was interrupted."""

    def next_epoch(self, row: dict[str, Any]) -> None:
        """The epoch is done; `row` is its line of the history."""
        self.history.append(row)
        self.position.next_epoch()

    def finish(self) -> None:
        """After the last epoch: leave the model as it is to be used."""

    def is_uncounted(self) -> bool:
        """Whether the core has done a step that is not counted yet."""
        return self.trainer.steps != self.position.step

    def must_not_stop(self) -> bool:
        """Whether Ctrl-C has to wait: for a step to be counted, or for the other ranks."""
        return self.ranks.is_busy or self.is_uncounted()

    def _count(self, result: dict[str, Any], n: int) -> None:
        self.result = result
        self.position.count(result["loss"], n, int(result.get("n_correct", 0)))

    # ---- preparation -------------------------------------------------------------------------------------------------

    def _make_trainer(
        self, batch: int, *, per_image: int = 1, bn_groups: int = 1, micro_batch: int | None = None
    ) -> None:
        """`batch` views a step, `per_image` of each image; MemoryError says which batch size would fit."""
        options, network, ranks = self.options, self.model.network, self.ranks
        frozen = 0 if options.freeze is None else LAYERS.index(options.freeze) + 1
        rates = stage_rates(options.layer_decay, options.layer_rates)
        if ranks.size > 1:
            _check_ranks(ranks, batch, per_image, micro_batch)

        def need(batch_size: int) -> int:
            weights = 4 * network.n_parameters
            at_once = min(micro_batch or per_image * batch_size, per_image * batch_size)
            mine = -(-per_image * batch_size // (at_once * ranks.size))
            copies = 2 + (options.optimizer == "adamw") + (options.sharpness != "none") + (mine - 1).bit_length()
            return weights * copies + network.memory_bytes("train", at_once, bn_groups, options.precision, frozen)

        check_fits(need, max(1, batch // per_image))
        self.trainer = abandonable(
            lambda: _core.Trainer(
                network,
                optimizer=options.optimizer,
                sharpness=options.sharpness,
                nesterov=options.nesterov,
                weight_decay=options.weight_decay,
                decay_all=options.decay_all,
                batch=batch,
                bn_groups=bn_groups,
                micro_batch=micro_batch or 0,
                precision=options.precision,
                frozen_stages=frozen,
                stage_rates=rates,
                ranks=ranks if ranks.size > 1 else None,
                wire=options.wire,
            )
        )

    def measure(self, n_predicted: int = 0) -> Estimate:
        """Times steps of a task that will be thrown away; `n_predicted` images of the run are only predicted."""
        importlib.import_module("sklearn.neighbors")  # the monitor's libraries weigh as much as a small network
        indices = np.arange(self.batch_size) % self.n
        times = []
        for step in range(4):  # the first touches its memory for the first time
            began_s = time.perf_counter()
            self.step(indices, 0, step, 0.0, 0.9)
            times.append(time.perf_counter() - began_s)
        step_s = float(np.median(times[1:]))
        # Inference is one of the three passes of a step; its images need no memory of their own beside training's.
        seconds = times[0] + step_s * (self.n_steps - 1) + n_predicted * step_s / self.batch_size / 3
        # The trial has touched all that training needs; what comes on top is a plan for looking at images.
        memory = peak_memory_bytes() + self.model.network.memory_bytes("infer", 64, 1, self.options.precision)
        return Estimate(seconds, memory, self.n_steps, self.disk_bytes(), self.n - self.bounds[-1][1])

    def disk_bytes(self) -> int:
        """What the checkpoint takes at its largest: the weights, those of the best epoch, the optimizer's state."""
        moments = sum(int(np.prod(shape)) for _, shape in self.trainer.table)
        return 4 * (2 * self.model.network.n_parameters + moments)

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    @property
    def can_go_on(self) -> bool:
        """Whether a checkpoint of now needs the optimizer: of an unfinished run, or of one that can be extended."""
        return not self.position.finished or self.schedule.kind == "constant"

    def checkpoint(self) -> Checkpoint:
        """The state of now, whose tensors are copied when they are written: RuntimeError if a step was faster."""
        steps = self.trainer.steps

        def copy(source: _core.Network | _core.Trainer, name: str) -> np.ndarray:
            if self.trainer.steps != steps:
                raise RuntimeError(f"{self.title}: another thread trained it while it was saved")
            return source.tensor(name)

        def tensors(source: _core.Network | _core.Trainer) -> Iterator[tuple[str, TensorToCopy]]:
            return ((name, TensorToCopy(shape, partial(copy, source, name))) for name, shape, *_ in source.table)

        goes_on = self.can_go_on
        return Checkpoint(
            kind=self.kind,
            config=self.config,
            network=self.model.config,
            model=dict(self.last_weights() or tensors(self.model.network)),
            optimizer={**dict(tensors(self.trainer)), "step": np.array(steps, np.int64)} if goes_on else {},
            best=dict(self.best_weights() or {}) if goes_on else {},
            progress=self.position.as_dict(),
            extra=self.extra(),
            history=list(self.history),
        )

    def snapshot(self) -> Checkpoint:
        """The state of now as arrays, which stay what they are while the model changes."""
        now = self.checkpoint()
        return replace(now, model=arrays_of(now.model), optimizer=arrays_of(now.optimizer), best=arrays_of(now.best))

    def extra(self) -> dict[str, Any]:
        """What a checkpoint holds beside weights and options."""
        model = self.model
        return {"preprocess": asdict(model.preprocess), "data": model.data, "versions": versions()}

    def last_weights(self) -> dict[str, np.ndarray] | None:
        """Those of the last step, where the model has others by now."""
        return None

    def best_weights(self) -> dict[str, np.ndarray] | None:
        """Those of the best epoch so far, where one is chosen."""
        return None

    def resume(self, found: Checkpoint, source: str) -> None:
        """Go on where a checkpoint stopped.

        Raises
        ------
        CheckpointError
            It has no optimizer state.
        """
        if not found.optimizer and found.progress["step"]:
            raise CheckpointError(
                f"{source} holds an unfinished run without the state of its optimizer, so it cannot go on to the same "
                f"bits. Start a new run from its weights "
                f"({option_name('weights' if self.kind == 'simclr' else 'init')}), or over it: "
                f"{option_text('resume', 'never')}"
            )
        with restoring(source):
            self.model.network.load(arrays_of(found.model))
            if found.optimizer:
                self.trainer.load(arrays_of(found.optimizer))
            self.position = replace(Position(**found.progress), finished=False)
            self.history = History(found.history)
        position, n_steps = self.position, len(self.bounds)
        if position.step_in_epoch > n_steps or position.epoch > self.epochs:
            raise CheckpointError(
                f"{source}: the run stands at step {position.step_in_epoch} of epoch {position.epoch + 1}, which has "
                f"{n_steps} steps of {self.epochs} epochs"
            )


def _check_ranks(ranks: Ranks, batch: int, per_image: int, micro_batch: int | None) -> None:
    """ValueError without micro-batches, a warning where they are too few."""
    sizes = [n for n in range(2, batch // ranks.size + 1) if per_image == 1 or (batch // per_image) % n == 0]
    hint = f"{option_text('micro_batch', sizes[-1])} has a part for each" if sizes else "start fewer ranks"
    if micro_batch is None:
        raise ValueError(
            f"{ranks.size} ranks share the micro-batches of a step, and {option_name('micro_batch')} is not "
            f"given: {hint}"
        )
    n_parts = -(-batch // micro_batch)
    if n_parts < ranks.size and ranks.is_first:
        warnings.warn(
            f"{option_text('micro_batch', micro_batch)}: the {batch} images of a step are {n_parts} part(s), too few "
            f"for {ranks.size} ranks; some only wait for the others. {hint}",
            stacklevel=2,
        )
