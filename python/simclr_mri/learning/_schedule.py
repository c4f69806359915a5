"""Learning rate and momentum as functions of the step; the formulas are in the C core (include/smri/schedule.h).

cosine: linear warm-up, then half a cosine to 0 (SGDR without restarts; Loshchilov and Hutter, ICLR 2017).
onecycle: Smith and Topin 2018, as torch.optim.lr_scheduler.OneCycleLR with its constants: 30 % up from lr / 25, 70 %
down to lr / 250,000, both half cosines, while momentum goes from 0.95 to 0.85 and back.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import _core
from .._shared import choose

KINDS = ("constant", "cosine", "onecycle")


@dataclass(frozen=True)
class Schedule:
    """The rate at every step.

    Parameters
    ----------
    kind : {"constant", "cosine", "onecycle"}
    lr : float
        The highest rate.
    momentum : float
        Kept as it is, except by "onecycle", which has its own.
    steps : int
        Steps of the whole run.
    warmup_steps : int
        Steps of "cosine" over which the rate rises to `lr`.

    Examples
    --------
    >>> schedule = Schedule("cosine", lr=1.0, momentum=0.9, steps=10, warmup_steps=2)
    >>> [round(schedule.at(step)[0], 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """

    kind: str
    lr: float
    momentum: float
    steps: int
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        choose("schedule", self.kind, KINDS)

    def at(self, step: int) -> tuple[float, float]:
        """(learning rate, momentum) of a step, counted from 0."""
        if self.kind == "constant":
            return self.lr, self.momentum
        if self.kind == "onecycle":
            return _core.one_cycle_rate(step, self.steps, self.lr)
        return _core.cosine_rate(step, self.steps, self.lr, self.warmup_steps, momentum=self.momentum)
