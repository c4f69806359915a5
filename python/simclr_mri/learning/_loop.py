"""The training loop that pretraining and fine-tuning share: epochs, steps and callbacks.

An epoch visits the images in an order drawn from (seed, epoch); the position in it is part of the checkpoint. So a
run may stop anywhere, by Ctrl-C, by an error or by a kill, and go on to the bits of a run that was never stopped:
everything random is a function of counters.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._shared import option_name
from ._history import History
from ._interrupts import Interrupts
from ._position import Position
from ._ranks import STOPPED, RunStopped, not_interrupted
from ._task import Task


class TrainingInterrupted(UserWarning):
    """Ctrl-C stopped a run; the model is usable and the message says how to go on."""


class Loop:
    """One call of `fit`. Callbacks are given it; see `Callback` for what they may use.

    Parameters
    ----------
    task : Task
    callbacks : sequence
        In the order in which they are called.
    as_estimator : callable () -> estimator
        A fitted estimator around the model that is trained.
    folder : path, optional
        The run folder, for messages.

    Attributes
    ----------
    task : Task
    row : dict
        The line of the history of the last epoch.
    interrupted : bool
        Ctrl-C came.
    why_stopped : str or None
        What a callback gave to `stop`.
    error : BaseException or None
        What ended the run.

    Examples
    --------
    A callback is given it, and may look and stop:

    >>> class Enough(Callback):
    ...     def on_epoch_end(self, run):
    ...         if run.row["loss"] < 1.0:
    ...             run.stop("the loss is below 1")
    >>> Classifier().fit(train, val, callbacks=[Enough()])  # doctest: +SKIP
    """

    def __init__(
        self,
        task: Task,
        callbacks: Sequence[Any],
        *,
        as_estimator: Callable[[], Any],
        folder: Path | None = None,
    ) -> None:
        self.task, self.callbacks, self.folder = task, list(callbacks), folder
        self.row: dict[str, Any] = {}
        self.n_images_of_step = 0
        self.interrupted, self.is_callbacks_error = False, False
        self.why_stopped: str | None = None
        self.error: BaseException | None = None
        self._as_estimator, self._estimator = as_estimator, None

    # ---- for callbacks -----------------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        return self.task.position

    @property
    def result(self) -> dict[str, Any]:
        """Of the last step: loss, gradient_norm."""
        return self.task.result

    @property
    def history(self) -> History:
        """One row an epoch that is done."""
        return self.task.history

    @property
    def epoch(self) -> int:
        """The epoch that is running, or has just ended, from 1."""
        return self.position.epoch + (0 if self._between_epochs else 1)

    @property
    def step(self) -> int:
        """Steps of the whole run that are done."""
        return self.position.step

    @property
    def epochs(self) -> int:
        return self.task.epochs

    @property
    def n_steps_an_epoch(self) -> int:
        return len(self.task.bounds)

    @property
    def estimator(self) -> Any:
        """A fitted estimator around the model as it is now, to predict with."""
        if self._estimator is None:
            self._estimator = self._as_estimator()
        return self._estimator

    def stop(self, why: str = "a callback asked for it") -> None:
        """End the run after this step, or this epoch, as if it had been the last."""
        self.why_stopped = str(why)

    # ---- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train from the task's position to the end, or to Ctrl-C, which ends in a warning and `interrupted`."""
        self._between_epochs = True
        with Interrupts(self.task.must_not_stop) as self._interrupts:
            self.task.ranks.is_interrupted = lambda: self._interrupts.requested
            try:
                self._train()
            except KeyboardInterrupt as error:
                self.interrupted = self.task.is_interrupted = True
                self._tell_ranks(error)
            except BaseException as error:
                self.error = error
                self._tell_ranks(error)
            self._end()
        self.task.ranks.is_interrupted = not_interrupted  # no circle: without it memory waits for a garbage collection
        if self.error is not None:
            raise self.error
        if self.interrupted:
            self._tell_interrupted()

    def _train(self) -> None:
        self._call("on_fit_begin")
        while self.position.epoch < self.epochs and self.why_stopped is None:
            self._between_epochs = False
            self._call("on_epoch_begin")
            if self._train_epoch():
                self._end_epoch()
        if not self.task.ranks.has_ended:
            self.task.ranks.agree()
            self.task.ranks.has_ended = True
        self.position.finished = True
        self.task.finish()

    def _train_epoch(self) -> bool:
        """False when a callback stopped the run within the epoch."""
        task, position = self.task, self.position
        order = task.order(position.epoch)
        while position.step_in_epoch < len(task.bounds):
            start, end = task.bounds[position.step_in_epoch]
            lr, momentum = task.schedule.at(position.step)
            began_s, before = time.monotonic(), position.step
            try:
                with self._interrupts.at_once():
                    task.step(order[start:end], position.epoch, position.step, lr, momentum)
            except RunStopped as error:  # by a callback of rank 0
                self.why_stopped = str(error)
                return False
            except FloatingPointError as error:
                raise self._not_finite(error, lr) from error
            except KeyboardInterrupt:
                if position.step == before:
                    raise
                self._interrupts.requested = True  # the step is done: its callbacks come first
            position.seconds += time.monotonic() - began_s
            self.n_images_of_step = end - start
            self._call("on_step_end")
            if self._interrupts.requested:
                raise KeyboardInterrupt
            if self.why_stopped is not None and position.step_in_epoch < len(task.bounds):
                task.ranks.agree(STOPPED, self.why_stopped)
                return False
        return True

    def _end_epoch(self) -> None:
        position = self.position
        self.row = {
            "epoch": position.epoch + 1,
            "loss": position.loss,
            "lr": self.task.schedule.at(position.step - 1)[0],
            "images": position.n_images,
            "seconds": round(position.seconds, 3),
            "images_per_s": round(position.n_images / max(1e-9, position.seconds), 1),
        }
        parts = [c for c in self.callbacks if getattr(c, "is_part_of_the_epoch", False)]
        with self._interrupts.at_once():
            self.task.end_epoch(self.row)
            self._call("on_epoch_end", parts)
        self._compare_ranks()
        self.task.next_epoch(self.row)
        self._between_epochs = True
        self._call("on_epoch_end", [c for c in self.callbacks if c not in parts])
        self.why_stopped = self.task.ranks.share(self.why_stopped)

    def _compare_ranks(self) -> None:
        """All ranks have the same weights, to the bit; what differs is a fault of a machine, or a library's."""
        if self.task.ranks.size > 1:
            same = {f"weights, after epoch {self.position.epoch + 1},": self.task.model.digest()}
            self.task.ranks.check_same(same, "The last checkpoint is older than that; the same command goes on from it")

    def _tell_ranks(self, error: BaseException) -> None:
        """The other ranks stop at this step too. What one of them tells meanwhile may count more."""
        if self.task.ranks.has_ended:
            return
        try:
            self.task.ranks.tell(error)
        except KeyboardInterrupt:
            self.interrupted = self.task.is_interrupted = True
        except Exception as theirs:
            self.interrupted = self.task.is_interrupted = False
            self.error = theirs

    def _call(self, moment: str, callbacks: Sequence[Any] | None = None) -> None:
        for callback in self.callbacks if callbacks is None else callbacks:
            method = getattr(callback, moment, None)
            if method is None:
                continue
            try:
                method(self)
            except Exception as error:
                self.is_callbacks_error = True
                error.add_note(f"{self.task.title}: in {moment} of {type(callback).__name__}, {self._where()}.")
                raise

    def _end(self) -> None:
        """`on_fit_end` of all, whatever happened and whichever of them fails; the first error counts."""
        failed = self.is_callbacks_error
        for callback in self.callbacks:
            try:
                self._call("on_fit_end", [callback])
            except BaseException as error:
                self.error = self.error or error
        if failed and self.error is not None:
            self.error.add_note(f"{self.task.title}: the model is usable as it is. {self._kept()}.")

    # ---- messages ----------------------------------------------------------------------------------------------------

    def _where(self) -> str:
        position = self.position
        if self._between_epochs:
            return f"after epoch {position.epoch} of {self.epochs}"
        return f"in epoch {self.epoch} of {self.epochs}, after step {position.step_in_epoch} of {self.n_steps_an_epoch}"

    def _kept(self) -> str:
        where = next((c.where for c in self.callbacks if getattr(c, "where", None) is not None), None)
        if where is not None and self.folder is not None:
            return f"Saved to {where}; the same call or command goes on from there"
        return "Nothing was saved to disk; save('folder'), then fit(..., checkpoint='folder') goes on from there"

    def _tell_interrupted(self) -> None:
        position = self.position
        message = (
            f"{self.task.title}: stopped in epoch {min(position.epoch + 1, self.epochs)} of {self.epochs}, after step "
            f"{position.step_in_epoch} of {self.n_steps_an_epoch}. The model is usable as it is. {self._kept()}."
        )
        warnings.warn(message, TrainingInterrupted, stacklevel=5)

    def _not_finite(self, error: FloatingPointError, lr: float) -> FloatingPointError:
        kept = "" if self.folder is None else " The last checkpoint on disk is as it was."
        return FloatingPointError(
            f"{self.task.title}: {error} in epoch {self.epoch} of {self.epochs}, step "
            f"{self.position.step_in_epoch + 1} (learning rate {lr:.3g}). The weights are those from before this "
            f"step.{kept} Try a lower {option_name('lr')}, more {option_name('warmup_epochs')}, or look "
            "for broken images."
        )
