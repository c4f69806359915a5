"""The training loop that pretraining and fine-tuning share.

An epoch visits the images in an order drawn from (seed, epoch); the position in it is part of the checkpoint. So a
run may stop anywhere, by Ctrl-C, by an error or by a kill, and go on to the bits of a run that was never stopped:
everything random is a function of counters.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .._shared import Progress
from ._history import History
from ._interrupts import Interrupts
from ._order import batch_bounds
from ._runlog import RunLog
from ._schedule import Schedule

SAVE_EVERY_S = 60.0  # between checkpoints of a running epoch: what a kill may cost


class TrainingInterrupted(UserWarning):
    """Ctrl-C stopped a run; the model is usable and the message says how to go on."""


@dataclass
class Position:
    """Where a run is, and the sums over the epoch that is running."""

    epoch: int = 0  # finished epochs
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    n_images: int = 0
    n_correct: int = 0
    seconds: float = 0.0
    finished: bool = False

    def next_epoch(self) -> None:
        self.epoch, self.step_in_epoch = self.epoch + 1, 0
        self.loss_sum, self.n_images, self.n_correct, self.seconds = 0.0, 0, 0, 0.0

    as_dict = asdict


@dataclass
class Loop:
    """One run.

    Attributes
    ----------
    title : str
        For the progress bar and messages.
    n, batch_size, epochs, drop_last
        Images, and how they are visited.
    schedule : Schedule
    order : callable (epoch) -> ndarray of shape (n,), int64
        Which images an epoch visits, in which order.
    step : callable (indices, epoch, step, lr, momentum) -> dict
        Trains on the images of these indices; {"loss", "n_correct" or not, "shown" (on the progress bar) or not}.
        Changes nothing if it raises.
    steps_done : callable () -> int
        The optimizer's own count, which decides whether an interrupted step was done.
    end_epoch : callable (row) -> None
        Adds scores to the row of the history.
    finish : callable () -> None
        Called once after the last epoch, before the last checkpoint.
    save : callable () -> str, or None
        Writes a checkpoint and returns where; None keeps nothing.
    """

    title: str
    n: int
    batch_size: int
    epochs: int
    drop_last: bool
    order: Callable[[int], np.ndarray]
    schedule: Schedule
    step: Callable[[np.ndarray, int, int, float, float], dict[str, Any]]
    steps_done: Callable[[], int]
    end_epoch: Callable[[dict[str, Any]], None]
    finish: Callable[[], None]
    save: Callable[[], str] | None
    log: RunLog
    verbose: int = 1

    def run(self, position: Position, history: History) -> bool:
        """Train from `position` to the end; False when Ctrl-C came first. Both arguments are kept up to date."""
        bounds = batch_bounds(self.n, self.batch_size, self.drop_last)
        per_epoch = bounds[-1][1]
        done = position.epoch * per_epoch + position.n_images
        with Interrupts() as interrupts:
            self._progress = Progress(self.title, self.epochs * per_epoch, done, self.verbose)
            self._saved_s = time.monotonic()
            try:
                while position.epoch < self.epochs:
                    self._train_epoch(position, bounds, interrupts)
                    self._finish_epoch(position, history, interrupts)
                position.finished = True
                self.finish()
                self._save()
            except KeyboardInterrupt:
                self._count_if_done(position)
                self._progress.close()
                self._tell_interrupted(position, len(bounds))
                return False
            finally:
                self._progress.close()
        return True

    def _train_epoch(self, position: Position, bounds: list[tuple[int, int]], interrupts: Interrupts) -> None:
        order = self.order(position.epoch)
        while position.step_in_epoch < len(bounds):
            start, end = bounds[position.step_in_epoch]
            lr, momentum = self.schedule.at(position.step)
            began_s = time.monotonic()
            try:
                with interrupts.at_once():
                    result = self.step(order[start:end], position.epoch, position.step, lr, momentum)
            except FloatingPointError as error:
                raise self._not_finite(error, position, lr) from error
            position.step += 1
            position.step_in_epoch += 1
            position.loss_sum += result["loss"] * (end - start)
            position.n_images += end - start
            position.n_correct += int(result.get("n_correct", 0))
            position.seconds += time.monotonic() - began_s
            shown = {"loss": f"{result['loss']:.4f}", **result.get("shown", {})}
            here = {"epoch": f"{position.epoch + 1}/{self.epochs}", "step": f"{position.step_in_epoch}/{len(bounds)}"}
            self._progress.update(end - start, **here, **shown)
            if interrupts.requested:
                raise KeyboardInterrupt
            if time.monotonic() - self._saved_s > SAVE_EVERY_S:
                self._save()

    def _finish_epoch(self, position: Position, history: History, interrupts: Interrupts) -> None:
        row: dict[str, Any] = {
            "epoch": position.epoch + 1,
            "loss": position.loss_sum / position.n_images,
            "lr": self.schedule.at(position.step - 1)[0],
            "images": position.n_images,
            "seconds": round(position.seconds, 3),
            "images_per_s": round(position.n_images / max(1e-9, position.seconds), 1),
        }
        with interrupts.at_once():
            self.end_epoch(row)
        history.append(row)
        position.next_epoch()
        self._progress.epoch(position.epoch, self.epochs, row)
        self.log.history(history)
        self.log.event("epoch", **row)

    def _save(self) -> str | None:
        if self.save is None:
            return None
        where = self.save()
        self._saved_s = time.monotonic()
        self.log.event("checkpoint", path=where)
        return where

    def _count_if_done(self, position: Position) -> None:
        """Ctrl-C can arrive after the core finished a step and before Python counted it."""
        if self.steps_done() == position.step + 1:
            position.step += 1
            position.step_in_epoch += 1

    def _tell_interrupted(self, position: Position, n_steps: int) -> None:
        where = self._save()
        kept = (
            f"Saved to {where}; the same call or command goes on from there"
            if where
            else "Nothing was saved to disk; save('folder'), then fit(..., checkpoint='folder') goes on from there"
        )
        message = (
            f"{self.title}: stopped in epoch {position.epoch + 1} of {self.epochs}, after step "
            f"{position.step_in_epoch} of {n_steps}. The model is usable as it is. {kept}."
        )
        self.log.event("interrupted", epoch=position.epoch, step=position.step)
        warnings.warn(message, TrainingInterrupted, stacklevel=5)

    def _not_finite(self, error: FloatingPointError, position: Position, lr: float) -> FloatingPointError:
        self.log.event("not finite", epoch=position.epoch + 1, step=position.step_in_epoch + 1)
        kept = "" if self.save is None else " The last checkpoint on disk is as it was."
        return FloatingPointError(
            f"{self.title}: {error} in epoch {position.epoch + 1} of {self.epochs}, step {position.step_in_epoch + 1} "
            f"(learning rate {lr:.3g}). The weights are those from before this step.{kept} Try a lower lr, more "
            "warmup_epochs, or look for broken images."
        )
