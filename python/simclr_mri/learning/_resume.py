"""Which run a folder holds: the same one, which goes on; a shorter one, which may be extended; or another, which is
refused with what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .._shared import choose, option_text
from ..config import option_fields
from ._checkpoint import Checkpoint, checkpoint_path, read_checkpoint

NOT_IN_THE_RESULT = ("n_jobs", "verbose")  # may change between a run and its continuation
BEFORE_IT_WAS_AN_OPTION = {"embedding_norm": False}  # where that was not what is the default now


def run_to_continue(
    folder: str | Path | None,
    resume: str,
    *,
    kind: str,
    section: type,
    config: Mapping[str, Any],
    network: Mapping[str, Any],
    fingerprint: str,
    older_fingerprint: Callable[[], str] | None = None,
) -> Checkpoint | None:
    """The checkpoint to read or to go on from, None to start anew; ValueError if the folder holds another run.

    Parameters
    ----------
    folder, resume
        As of `fit`.
    kind, section, config, network
        Of the estimator: its options as JSON has them, and the network that it would build.
    fingerprint : str
        Of the training data.
    older_fingerprint : callable () -> str, optional
        What versions before this one made of the same data.

    Returns
    -------
    Checkpoint or None
        `progress["finished"]` is False where the run has to go on for more epochs.
    """
    choose("resume", resume, ("auto", "never"))
    if folder is None or resume == "never" or not checkpoint_path(folder).exists():
        return None
    found = read_checkpoint(folder)
    differing = differences(found, kind, section, config, network)
    theirs = found.extra["data"].get("fingerprint")
    if theirs != fingerprint and (older_fingerprint is None or theirs != older_fingerprint()):
        differing["data"] = "other training data"
    more_epochs = list(differing) == ["epochs"] and config["epochs"] > found.config["epochs"]
    if more_epochs and config["schedule"] == "constant" and found.optimizer:
        found.progress = {**found.progress, "finished": False}
        return found
    if differing:
        raise ValueError(
            f"{folder} holds a run with {', '.join(differing.values())}. "
            + (_why_not_longer(found, folder) if more_epochs else "")
            + f"Choose another folder, or {option_text('resume', 'never')} to replace it"
        )
    return found


def differences(
    found: Checkpoint, kind: str, section: type, config: Mapping[str, Any], network: Mapping[str, Any]
) -> dict[str, str]:
    """Option to "option=then (now value)", for what changes the result."""
    if found.kind != kind:
        return {"kind": f"a {found.kind} (now {kind})"}
    # An option that was added since then did what is its default now, but for a few.
    defaults = {field.name: field.default for field in option_fields(section)}
    then = {**defaults, **BEFORE_IT_WAS_AN_OPTION, **found.config}
    # A start brings its own architecture, which older versions did not write among the options.
    now = {**config, "arch": network["arch"], "features": network["features"]}
    then |= {"arch": found.network["arch"], "features": found.network["features"]}
    return {
        name: f"{option_text(name, then[name])} (now {value!r})"
        for name, value in now.items()
        if name not in NOT_IN_THE_RESULT and _plain(then[name]) != _plain(value)
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _why_not_longer(found: Checkpoint, folder: str | Path) -> str:
    start = "weights" if found.kind == "simclr" else "init"
    again = f"A longer run can start from its weights: {option_text(start, str(folder))}, in another folder. "
    schedule = found.config["schedule"]
    if schedule == "constant":
        return f"It was finished without the state of its optimizer (pruned, or of version 0.1). {again}"
    return (
        f"{option_text('schedule', schedule)} spreads the learning rate over {found.config['epochs']} epochs, so more "
        f"of them are another run; {option_text('schedule', 'constant')} can be extended. {again}"
    )
