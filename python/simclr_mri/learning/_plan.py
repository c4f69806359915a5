"""A run that could begin, and what is looked at before it does."""

from __future__ import annotations

import contextlib
import errno
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _core
from .._shared import REMEMBERED, __version__, bytes_text, callable_name, option_text, to_json
from ._ranks import Ranks
from ._resume import NOT_IN_THE_RESULT
from ._task import Task

SAME_RANKS = "All ranks need the same data, options, versions and kind of processor"


@dataclass(frozen=True)
class Plan:
    """A run that could begin: what tells it from others, and how its task is made.

    Attributes
    ----------
    config, network : dict
        The options as JSON has them, and what builds the network.
    fingerprint : str
        Of the training data.
    make_task : callable (Ranks) -> Task
    older_fingerprint : callable () -> str, optional
        What versions before this one made of the same data.
    callbacks : sequence
        Of the estimator itself.
    oddities : sequence of str
        Of the published notebooks, which the options reproduce.
    when_finished : callable () -> None, optional
        Called after a finished run of the folder was taken over.
    """

    config: dict[str, Any]
    network: dict[str, Any]
    fingerprint: str
    make_task: Callable[[Ranks], Task]
    older_fingerprint: Callable[[], str] | None = None
    callbacks: Sequence[Any] = ()
    oddities: Sequence[str] = ()
    when_finished: Callable[[], None] | None = None


def plain_config(config: dict[str, Any], init: str | None = None) -> dict[str, Any]:
    """The options as JSON has them; `init` by its name."""
    named = config if init is None else {**config, "init": init}
    return {name: _plain(value) for name, value in named.items()}


def _plain(value: Any) -> Any:
    if callable(value):
        return REMEMBERED + callable_name(value)
    return list(value) if isinstance(value, tuple) else value


def what_ranks_share(plan: Plan) -> dict[str, Any]:
    """What has to be equal for the same bits; a kind of processor is chosen by SMRI_ISA."""
    config = {name: value for name, value in plan.config.items() if name not in NOT_IN_THE_RESULT}
    return {
        "training data": plan.fingerprint,
        "options": to_json(config),
        "a version": __version__,
        "instructions (SMRI_ISA)": _core.cpu_info()["isa"],
    }


def check_disk(task: Task, folder: Path) -> None:
    """OSError before a training whose checkpoint will not fit: a new one is written beside the old one."""
    n_bytes = task.disk_bytes()
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OSError(
            errno.ENOSPC,
            f"{folder}: a checkpoint takes up to {bytes_text(n_bytes)}, and {bytes_text(free)} are free on that disk. "
            "Free some space, or choose another folder",
        )


@contextlib.contextmanager
def stoppable_preparation(title: str) -> Iterator[None]:
    """Ctrl-C before the first step: says that nothing was changed."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{title}: stopped before the first step. Nothing was changed, here or on disk; the same call starts again"
        ) from None


def tell_untrained(callbacks: Sequence[Any], folder: str | Path | None) -> None:
    """A finished run was read: callbacks that exist to follow a training were not called."""
    unheard = [type(callback).__name__ for callback in callbacks if getattr(callback, "expects_training", False)]
    if unheard:
        warnings.warn(
            f"{folder} holds this run, finished: it was read and not trained, so there is nothing new for "
            f"{', '.join(unheard)}. To train it again and show that, give {option_text('resume', 'never')}",
            stacklevel=4,
        )


def warn_oddities(recipe: str, oddities: Sequence[str]) -> None:
    """Say aloud which of the published recipe's oddities are reproduced."""
    if recipe == "paper" and oddities:
        warnings.warn(
            f"recipe 'paper' reproduces the published notebooks, oddities included: {'; '.join(oddities)}.",
            stacklevel=4,
        )
