"""Where a run is, and the sums over the epoch that is running."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass
class Position:
    """Counters of a run; a step and its loss are counted together."""

    epoch: int = 0  # finished epochs
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    n_images: int = 0
    n_correct: int = 0
    seconds: float = 0.0
    finished: bool = False

    def count(self, loss: float, n: int, n_correct: int) -> None:
        """A step on n images is done."""
        # One assignment: whatever interrupts, all of it is counted or nothing.
        vars(self).update(
            step=self.step + 1,
            step_in_epoch=self.step_in_epoch + 1,
            loss_sum=self.loss_sum + loss * n,
            n_images=self.n_images + n,
            n_correct=self.n_correct + n_correct,
        )

    def next_epoch(self) -> None:
        """An epoch is done."""
        vars(self).update(epoch=self.epoch + 1, step_in_epoch=0, loss_sum=0.0, n_images=0, n_correct=0, seconds=0.0)

    @property
    def loss(self) -> float:
        """Mean over the images of the epoch so far; NaN where a version before 0.2 has counted steps without a loss."""
        return self.loss_sum / self.n_images if self.n_images else math.nan

    @property
    def accuracy(self) -> float:
        """Share of the epoch's images that were named correctly while they were learnt from."""
        return self.n_correct / self.n_images if self.n_images else math.nan

    as_dict = asdict
