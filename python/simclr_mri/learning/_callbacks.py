"""Callbacks: what happens around training, from the progress bar to early stopping.

A run calls each of them at five moments. The progress bar, the log of the run folder, checkpoints and SimCLR's monitor
are the first four; users add their own with `fit(..., callbacks=[...])`.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._shared import Direction, Progress, did_you_mean
from ._runlog import RunLog

if TYPE_CHECKING:
    from ._loop import Loop

SAVE_EVERY_S = 60.0  # between checkpoints of a running epoch: what a kill may cost
MOMENTS = ("on_fit_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_fit_end")


class Callback:
    """Called while `fit` runs; override what you need. Any object that has one of the five methods will do.

    Each is given the run (`learning.Loop`): `run.epoch` and `run.step` count from 1, `run.epochs`, `run.history`,
    `run.row` (of the epoch that ended; what is added to it stands in `history_` and log.csv), `run.result` (of the last
    step: loss, gradient_norm), `run.estimator` (to predict with), and `run.stop(why)`, after which the run ends as if
    it had been its last epoch.

    An exception ends the run. What was trained is kept: the estimator is usable, a run folder gets a checkpoint, and
    the same call goes on from there. `on_fit_end` is called in every case.

    Attributes
    ----------
    is_part_of_the_epoch : bool
        Whether an epoch counts as done only after `on_epoch_end`. An epoch whose end was interrupted is ended again
        when the run goes on; without this, `on_epoch_end` is called once for each epoch, and Ctrl-C waits for it.
    expects_training : bool
        Whether it is worth a warning that a finished run was read, so that nothing was trained and nothing called.

    Examples
    --------
    >>> import simclr_mri as sm
    >>> class Patience(sm.Callback):
    ...     def on_epoch_end(self, run):
    ...         if run.row["loss"] < 0.1:
    ...             run.stop("the loss is small enough")
    """

    is_part_of_the_epoch = False
    expects_training = False

    def on_fit_begin(self, run: Loop) -> None:
        """Before the first step of this call of `fit`, also of a run that goes on."""

    def on_epoch_begin(self, run: Loop) -> None:
        """Before the first step of an epoch, also of one that goes on."""

    def on_step_end(self, run: Loop) -> None:
        """After a step; `run.result` is what it gave."""

    def on_epoch_end(self, run: Loop) -> None:
        """After an epoch and its validation; `run.row` is its line of the history."""

    def on_fit_end(self, run: Loop) -> None:
        """At the end, also after Ctrl-C (`run.interrupted`) and after an error (`run.error`)."""


class EarlyStopping(Callback):
    """Ends a run whose scores have stopped improving; the best epoch is chosen as without it.

    Parameters
    ----------
    patience : int
        Epochs without improvement before the end, at least 1.
    monitor : str, optional
        A column of the history: "val_balanced_accuracy", "val_loss", "loss", "knn_accuracy", ... By default what
        chooses the best epoch of a classifier with validation data, and otherwise "loss". Epochs in which it was not
        measured count as without improvement.
    mode : {"min", "max"}, optional
        Which way is better. By default "min" for columns with "loss" in their name, else "max".
    min_delta : float
        A smaller change is no improvement.

    Examples
    --------
    >>> from simclr_mri import Classifier, EarlyStopping, datasets
    >>> ds = datasets.phantoms(n_subjects=16, slices=1, image_size=32, task="cdr0")
    >>> stop = EarlyStopping(patience=1, monitor="loss", min_delta=100)
    >>> clf = Classifier(arch="resnet18", epochs=9, batch_size=8, verbose=0).fit(ds, callbacks=[stop])
    >>> len(clf.history_), clf.position_.finished
    (2, True)
    """

    def __init__(
        self, patience: int = 10, monitor: str | None = None, *, mode: Direction | None = None, min_delta: float = 0.0
    ) -> None:
        if isinstance(patience, bool) or not hasattr(patience, "__index__") or patience < 1:
            raise ValueError(f"EarlyStopping: patience={patience!r}: expected a whole number of epochs, at least 1")
        if mode not in (None, "min", "max"):
            raise ValueError(f"EarlyStopping: mode={mode!r}: expected 'min', 'max' or None")
        if (
            not (isinstance(min_delta, (int, float)) or hasattr(min_delta, "__float__"))
            or not 0 <= min_delta < math.inf
        ):
            raise ValueError(f"EarlyStopping: min_delta={min_delta!r}: expected a finite number, at least 0")
        self.patience, self.monitor, self.mode, self.min_delta = int(patience), monitor, mode, float(min_delta)

    def on_epoch_end(self, run: Loop) -> None:
        """Looks at the whole history, so that a run that goes on decides as one that was never stopped."""
        monitor = self.monitor or run.task.monitor
        self._check_column(monitor, run)
        is_loss = (self.mode or ("min" if "loss" in monitor else "max")) == "min"
        best, best_epoch = -math.inf, 0
        for row in run.history:
            value = row.get(monitor)
            if value is None or not math.isfinite(value):
                continue
            score = -value if is_loss else value
            if score > best + (self.min_delta if best_epoch else 0.0):
                best, best_epoch = score, row["epoch"]
        if best_epoch and run.row["epoch"] - best_epoch >= self.patience:
            run.stop(f"{monitor} has not improved for {self.patience} epoch{'s' if self.patience > 1 else ''}")

    def _check_column(self, monitor: str, run: Loop) -> None:
        known = [*run.history.columns, *run.task.later_columns]
        if monitor not in known:
            why = " Validation scores need validation data: fit(train, val)." if monitor.startswith("val_") else ""
            raise ValueError(f"EarlyStopping: no column {monitor!r} in this run.{did_you_mean(monitor, known)}{why}")


class ProgressBar(Callback):
    """The bar or the lines of `verbose`, and a line an epoch in logging.getLogger("simclr_mri")."""

    def __init__(self, verbose: int) -> None:
        self.verbose = verbose

    def on_fit_begin(self, run: Loop) -> None:
        task, position = run.task, run.position
        per_epoch = task.bounds[-1][1]
        done = position.epoch * per_epoch + position.n_images
        self._progress = Progress(task.title, run.epochs * per_epoch, done, self.verbose)

    def on_step_end(self, run: Loop) -> None:
        shown = {"loss": f"{run.result['loss']:.4f}", **run.result.get("shown", {})}
        here = {"epoch": f"{run.epoch}/{run.epochs}", "step": f"{run.position.step_in_epoch}/{run.n_steps_an_epoch}"}
        self._progress.update(run.n_images_of_step, **here, **shown)

    def on_epoch_end(self, run: Loop) -> None:
        self._progress.epoch(run.row["epoch"], run.epochs, run.row)

    def on_fit_end(self, run: Loop) -> None:
        self._progress.close()


class Checkpoints(Callback):
    """Writes a checkpoint every minute, at the end, after Ctrl-C, and when another callback fails."""

    def __init__(self, save: Callable[[], Path], log: RunLog) -> None:
        self.save, self.log = save, log
        self.where: Path | None = None

    def on_fit_begin(self, run: Loop) -> None:
        self._saved_s = time.monotonic()

    def on_step_end(self, run: Loop) -> None:
        if not run.interrupted and time.monotonic() - self._saved_s > SAVE_EVERY_S:
            self._write()

    def on_fit_end(self, run: Loop) -> None:
        if run.error is None or run.is_callbacks_error:
            self._write()

    def _write(self) -> None:
        self.where = self.save()
        self._saved_s = time.monotonic()
        self.log.event("checkpoint", path=str(self.where))


class LogWriter(Callback):
    """log.csv, log.jsonl and manifest.json of a run folder."""

    def __init__(self, log: RunLog, manifest: Callable[[], dict[str, Any]]) -> None:
        self.log, self.manifest = log, manifest

    def on_fit_begin(self, run: Loop) -> None:
        self.log.event("start", epoch=run.position.epoch, step=run.position.step, parameters=run.task.config)

    def on_epoch_end(self, run: Loop) -> None:
        self.log.history(run.history)
        self.log.event("epoch", **run.row)

    def on_fit_end(self, run: Loop) -> None:
        here = {"epoch": run.position.epoch, "step": run.position.step}
        if isinstance(run.error, FloatingPointError) and not run.is_callbacks_error:
            self.log.event("not finite", epoch=run.epoch, step=run.position.step_in_epoch + 1)
        elif run.error is not None:
            self.log.event("failed", **here, error=f"{type(run.error).__name__}: {run.error}")
        elif run.interrupted:
            self.log.event("interrupted", **here)
        elif run.why_stopped is not None:
            self.log.event("stopped", **here, why=run.why_stopped)
        if run.position.finished:
            self.log.manifest(**self.manifest())


def check_callbacks(callbacks: Sequence[Any]) -> list[Any]:
    """The callbacks; TypeError for what is none, before any work."""
    if callbacks is None:
        return []
    if isinstance(callbacks, (str, bytes, dict)) or not hasattr(callbacks, "__iter__"):
        raise TypeError(f"callbacks: expected a list of callbacks, got {type(callbacks).__name__}; give [callback]")
    found = list(callbacks)
    for i, callback in enumerate(found):
        name = f"callbacks[{i}]"
        if inspect.isclass(callback):
            raise TypeError(f"{name}: {callback.__name__} is a class; give an object of it: {callback.__name__}()")
        for method in dir(callback):
            if method.startswith("on_") and method not in MOMENTS and callable(getattr(callback, method)):
                raise TypeError(
                    f"{name}: {type(callback).__name__}.{method} is never called.{did_you_mean(method, MOMENTS)}"
                )
        if not any(callable(getattr(callback, method, None)) for method in MOMENTS):
            raise TypeError(f"{name}: expected an object with {', '.join(MOMENTS)}, got {type(callback).__name__}")
    return found
