"""Where a classifier starts: random weights, a fitted estimator, a checkpoint, or a ResNet of another program."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from .._shared import ARCHS, in_words, option_name, option_text
from ..views import Preprocess
from ._checkpoint import (
    checkpoint_path,
    existing_checkpoint,
    is_own_checkpoint,
    load_weights,
    read_checkpoint,
    read_metadata,
    restoring,
)
from ._estimator import NetworkEstimator
from ._seen import pretrained_keys

STARTS = "'random', a fitted SimCLR, a run folder or a file of weights"
STARTS_IN_THE_SHELL = "random, a run folder or a file of weights"
_DIGEST = re.compile(r" #[0-9a-f]{12}$")


@dataclass(frozen=True, eq=False)
class Start:
    """What a classifier begins with.

    Attributes
    ----------
    name : str
        For titles, checkpoints and manifests: with a digest of the weights.
    weights : dict of str to ndarray, or None
        Without a head; None for random ones.
    network : dict
        What the weights were trained as; empty where that is not known.
    preprocess : Preprocess or None
        Normalisation that the weights are used to.
    pretrained_on : dict
        Which images they have seen.
    """

    name: str = "random"
    weights: Mapping[str, np.ndarray] | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Preprocess | None = None
    pretrained_on: Mapping[str, Any] = field(default_factory=dict)


def unfrozen(init: Any) -> Any:
    """The estimator within scikit-learn's FrozenEstimator, which its copies keep fitted; others as they are."""
    return init.estimator if type(init).__name__ == "FrozenEstimator" else init


def read_start(init: Any, n_channels: int) -> Start:
    """The weights that `init` stands for.

    Parameters
    ----------
    init : str, path or fitted estimator
    n_channels : int
        Of the images: a stem for RGB is summed up for gray ones.

    Raises
    ------
    ValueError
        Pretrained on another number of channels.
    CheckpointError, FileNotFoundError
    """
    init = unfrozen(init)
    if _is_random(init):
        return Start()
    if isinstance(init, NetworkEstimator):
        model = init.model_
        start = Start(
            type(init).__name__, model.backbone(), model.config, model.preprocess, pretrained_keys(model.data)
        )
    else:
        start = _read_file(init, n_channels)
    theirs = start.network.get("in_channels", n_channels)
    if theirs != n_channels:
        raise ValueError(
            f"{option_name('init')}: trained on {theirs} channel(s), and the data set has {n_channels}: open it with "
            f"{option_text('channels', theirs)}"
        )
    return Start(f"{start.name} #{_digest(start.weights or {})}", *list(vars(start).values())[1:])


def _read_file(init: str | Path, n_channels: int) -> Start:
    path = checkpoint_path(init)
    weights = load_weights(path, n_channels)
    if not is_own_checkpoint(path):
        return Start(str(init), weights)
    found = read_checkpoint(path)
    with restoring(str(path)):
        preprocess = Preprocess(*(tuple(found.extra["preprocess"][key]) for key in ("mean", "std")))
        return Start(str(init), weights, found.network, preprocess, pretrained_keys(found.extra["data"]))


def _digest(weights: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(np.ascontiguousarray(weights[name]).data)
    return digest.hexdigest()[:12]


def start_network(init: Any) -> dict[str, str]:
    """arch and features of a start that brings its own; empty for others. Reads a file's head only."""
    config: Mapping[str, Any] = {}
    init = unfrozen(init)
    if isinstance(init, NetworkEstimator):
        config = init.network_config_ if hasattr(init, "model_") else vars(init)
    elif isinstance(init, (str, os.PathLike)) and not _is_random(init) and checkpoint_path(init).is_file():
        path = checkpoint_path(init)
        config = read_metadata(path)["network"] if is_own_checkpoint(path) else {}
    # Interned, as scikit-learn compares the parameters of copies by identity.
    return {key: sys.intern(config[key]) for key in ("arch", "features") if key in config}


def start_title(init: Any) -> str:
    """A start in a few words."""
    init = unfrozen(init)
    if isinstance(init, NetworkEstimator):
        return type(init).__name__
    return "random" if _is_random(init) else Path(str(init)).name


def known_start(name: str) -> str:
    """What a checkpoint's name of a start is as `init`: a file without its digest; others as they are."""
    plain = _DIGEST.sub("", name)
    return plain if plain != name and checkpoint_path(plain).is_file() else name


def is_lost(init: Any) -> bool:
    """Whether `init` names weights that a checkpoint only remembers."""
    return isinstance(init, str) and _DIGEST.search(init) is not None


def check_start(init: Any) -> None:
    """TypeError, FileNotFoundError, ValueError or NotFittedError when `init` is no start."""
    init = unfrozen(init)
    if isinstance(init, NetworkEstimator):
        if not hasattr(init, "model_"):
            raise NotFittedError(
                f"init: this {type(init).__name__} is not fitted yet: call fit first. In a grid of parameters, whose "
                "estimators scikit-learn copies unfitted, give FrozenEstimator(ssl) of sklearn.frozen, or a run folder"
            )
        return
    if not isinstance(init, (str, os.PathLike)):
        raise TypeError(
            f"{option_name('init')}: expected {in_words(STARTS, STARTS_IN_THE_SHELL)}, got {type(init).__name__}"
        )
    if is_lost(init):
        raise ValueError(
            f"{option_text('init', init)}: the checkpoint that this classifier was loaded from remembers the weights "
            "it started from, and does not hold them. To train it anew, give them again: "
            + in_words("set_params(init=ssl), or the path of a run; or init='random'", "--init RUN, or --init random")
        )
    if _is_random(init) or checkpoint_path(init).is_file():
        return
    if Path(init).expanduser().is_dir():
        existing_checkpoint(init)  # raises, and says what the folder holds instead
    raise FileNotFoundError(_no_such_start(str(init)))


def _is_random(init: Any) -> bool:
    return isinstance(init, str) and init == "random"


def _no_such_start(init: str) -> str:
    if init in ARCHS:
        hint = f". The network is another argument: {option_text('arch', init)}"
    elif difflib.get_close_matches(init, ["random"], n=1):
        hint = ". Did you mean 'random'?"
    else:
        hint = f"; there is no {checkpoint_path(init)}"
    return f"{option_text('init', init)}: expected {in_words(STARTS, STARTS_IN_THE_SHELL)}{hint}"
