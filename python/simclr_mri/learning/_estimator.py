"""What SimCLR and Classifier share: parameters, a model to use, and what training left of itself.

An estimator keeps its parameters as they were given. `fit` makes a task of their checked values, has the loop train it,
and adopts the outcome: the model, the history, the position, and what an unfinished run needs to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from .._shared import (
    LAYERS,
    PRECISIONS,
    Layer,
    Precision,
    choose,
    did_you_mean,
    sole_writer,
    versions,
)
from ..config import as_dict, checked, new_name, option_fields, recipe_values, with_new_names
from ..datasets import Dataset
from ..views import Preprocess
from ..weights import CheckpointError
from ._callbacks import Checkpoints, LogWriter, ProgressBar, check_callbacks
from ._checkpoint import Checkpoint, arrays_of, checkpoint_path, read_checkpoint, restoring, write_checkpoint
from ._display import RichRepr
from ._history import History
from ._loop import Loop
from ._model import Model
from ._plan import (
    SAME_RANKS,
    Plan,
    check_disk,
    plain_config,
    stoppable_preparation,
    tell_untrained,
    warn_oddities,
    what_ranks_share,
)
from ._position import Position
from ._ranks import Ranks
from ._resume import BEFORE_IT_WAS_AN_OPTION, run_to_continue
from ._runlog import RunLog
from ._seen import SEEN
from ._task import Task


class NetworkEstimator(RichRepr, TransformerMixin, BaseEstimator):
    """Base of the estimators; `fit` is theirs.

    Attributes
    ----------
    model_ : Model
        What is used, saved, exported and pickled.
    network_, network_config_, preprocess_, data_
        Its parts: the network of the core, what rebuilds it, the normalisation (taken from the training images, or
        from where the weights come from), and what is remembered of the training data.
    history_ : History
        One row an epoch.
    position_ : Position
        Where training stands; `position_.finished` tells whether it was interrupted.
    """

    kind = ""
    section = ""  # of the recipes
    _unfinished: Checkpoint | None  # what a run that was stopped needs to go on
    _extra: dict[str, Any]
    _config: dict[str, Any]

    # ---- use ---------------------------------------------------------------------------------------------------------

    @property
    def network_(self) -> Any:
        return self._fitted().network

    @property
    def network_config_(self) -> dict[str, Any]:
        return self._fitted().config

    @property
    def preprocess_(self) -> Preprocess:
        return self._fitted().preprocess

    @property
    def data_(self) -> dict[str, Any]:
        return self._fitted().data

    def _fitted(self) -> Model:
        if "model_" not in vars(self):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")
        return self.model_

    def check_fitted(self) -> None:
        """NotFittedError before `fit`."""
        self._fitted()

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        """Images, not tables."""
        return image_tags(super().__sklearn_tags__())

    def _forward(self, data: Dataset | np.ndarray, output: str) -> np.ndarray:
        return self._fitted().forward(data, output, n_jobs=self.n_jobs, precision=self.precision)

    def transform(self, data: Dataset | np.ndarray, *, layer: Layer = "layer4", grid: int = 1) -> np.ndarray:
        """Features of images: by default what the head sees.

        Parameters
        ----------
        data : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C)
            Arrays are uint8, or float in [0, 1].
        layer : {"stem", "layer1", "layer2", "layer3", "layer4"}
            The stage whose activations are averaged.
        grid : int
            Averages over grid x grid regions, row by row, instead of over the whole: they keep places apart.

        Returns
        -------
        ndarray of shape (N, D) or (N, grid * grid * D), float32

        Raises
        ------
        ValueError
            The stage has fewer rows than `grid`.

        Examples
        --------
        >>> import simclr_mri as sm
        >>> ds = sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32)
        >>> ssl = sm.SimCLR("resnet18", epochs=0, batch_size=8, verbose=0).fit(ds)
        >>> ssl.transform(ds).shape, ssl.transform(ds, layer="layer3", grid=2).shape
        ((8, 512), (8, 1024))
        """
        choose("layer", layer, LAYERS)
        if not isinstance(grid, int) or grid < 1:
            raise ValueError(f"grid: expected a whole number of at least 1, got {grid!r}")
        if layer == "layer4" and grid == 1:
            return self._forward(data, "features")
        return self._fitted().region_means(data, layer, grid, n_jobs=self.n_jobs, precision=self.precision)

    def trial(
        self, X: Any = None, y: Any = None, *, groups: Any = None, val: Any = None, train: Dataset | None = None
    ) -> Task:
        """A task of `fit` with this data, to be tried and thrown away; nothing changes here."""
        raise NotImplementedError

    # ---- parameters --------------------------------------------------------------------------------------------------

    def set_params(self, **params: Any) -> Self:
        """Set parameters; a `recipe` sets those with it that have the old recipe's values, and leaves your own.

        Parameters
        ----------
        **params
            As of the constructor.

        Returns
        -------
        self
        """
        known = list(self.get_params(deep=False))
        for name, value in params.items():
            if name.partition("__")[0] not in known:
                raise ValueError(f"{type(self).__name__}: unknown parameter '{name}'.{did_you_mean(name, known)}")
            params[name] = new_name(name, value, stacklevel=2)
        if params.get("recipe", self.recipe) != self.recipe:
            params = {**self._recipe_changes(params["recipe"]), **params}
        return super().set_params(**params)

    def _recipe_changes(self, recipe: str) -> dict[str, Any]:
        """What the options become that stand as the recipe of now has them."""
        defaults = {field.name: field.default for field in option_fields(type(self))}
        old = {**defaults, **recipe_values(self.recipe, self.section, type(self))}
        new = {**defaults, **recipe_values(recipe, self.section, type(self))}
        changed = {name for name in new if new[name] != old[name]} - {"recipe"}
        return {name: new[name] for name in changed if getattr(self, name) == old[name]}

    # ---- training ----------------------------------------------------------------------------------------------------

    def _run(
        self,
        title: str,
        prepare: Callable[[], Plan],
        *,
        checkpoint: str | Path | None,
        resume: str,
        callbacks: Sequence[Any],
        verbose: int,
        comm: Any = None,
    ) -> None:
        """What every `fit` does: start, go on, or take over what is finished; then train.

        Parameters
        ----------
        title : str
            Of the progress bar, and in messages.
        prepare : callable () -> Plan
            Reads weights and data; Ctrl-C in it changes nothing.
        checkpoint, resume, callbacks, comm
            As of `fit`.
        verbose : int
        """
        users, ranks = check_callbacks(callbacks), Ranks.of(comm)
        if not ranks.is_first:  # which alone reads, writes and shows
            checkpoint, users, verbose = None, [], 0
        with ranks.together(), sole_writer(checkpoint):
            with stoppable_preparation(title):
                plan = prepare()
                if ranks.size > 1:
                    ranks.check_same(what_ranks_share(plan), SAME_RANKS)
                found = run_to_continue(
                    checkpoint,
                    resume,
                    kind=self.kind,
                    section=_section_of(type(self)),
                    config=plan.config,
                    network=plan.network,
                    fingerprint=plan.fingerprint,
                    older_fingerprint=plan.older_fingerprint,
                )
                found = ranks.share(found)
                if found is not None and found.progress["finished"]:
                    self._restore(found, str(checkpoint))
                    if plan.when_finished is not None:
                        plan.when_finished()
                    tell_untrained(users, checkpoint)
                    return
                if ranks.is_first:
                    warn_oddities(plan.config["recipe"], plan.oddities)
                task = plan.make_task(ranks)
                if found is not None:
                    task.resume(found, str(checkpoint))
                if ranks.size > 1:
                    ranks.check_same({"weights": task.model.digest()}, SAME_RANKS)
            folder = None if checkpoint is None else Path(checkpoint).expanduser()
            self._train(task, folder, [*plan.callbacks, *users], verbose)

    def _train(self, task: Task, folder: Path | None, callbacks: Sequence[Any], verbose: int) -> None:
        """Run a task to its end, or to Ctrl-C, and adopt what came of it, also when it fails."""
        log = RunLog(folder)
        if folder is not None:
            check_disk(task, folder)

        def manifest() -> dict[str, Any]:
            data = {name: value for name, value in task.model.data.items() if name not in SEEN}
            return {"kind": self.kind, "parameters": task.config, "data": data, "network": task.model.config}

        writers: list[Any] = []
        if task.ranks.is_first:
            writers.append(ProgressBar(verbose))
        if folder is not None:
            writers.append(Checkpoints(lambda: write_checkpoint(folder, task.checkpoint()), log))
        if task.ranks.is_first:
            writers.append(LogWriter(log, manifest))
        loop = Loop(task, [*callbacks, *writers], as_estimator=lambda: self._around(task), folder=folder)
        try:
            loop.run()
        finally:
            self._adopt(task)

    def _around(self, task: Task) -> Self:
        """A fitted estimator around the model that is trained."""
        other = copy_of_parameters(self)
        type(self)._take_from(other, task)
        return other

    def _adopt(self, task: Task) -> None:
        """Keep the outcome of a task, which goes: the model, and what an unfinished run needs to go on."""
        self._take_from(task)
        if not task.position.finished and not task.is_uncounted():
            self._unfinished = task.snapshot()

    def _take_from(self, task: Task) -> None:
        self.model_, self.history_, self.position_ = task.model, task.history, task.position
        self._config, self._extra, self._unfinished = task.config, task.extra(), None

    # ---- copies ------------------------------------------------------------------------------------------------------

    def __sklearn_clone__(self) -> Self:
        """Unfitted, with the same parameters; a fitted start stays what it is, where scikit-learn would unfit it."""
        return copy_of_parameters(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(with_new_names(state))
        if "network_config_" in state:
            self._take_over(state)

    def _take_over(self, state: dict[str, Any]) -> None:
        """A pickle of version 0.1, in which the parts of the model lay side by side."""
        old = {name: self.__dict__.pop(name, None) for name in (*_OLD_PARTS, "_best", "_train", "_val", "_trainer")}
        model = Model.build(
            old["network_config_"],
            old["preprocess_"],
            n_jobs=self.n_jobs,
            precision=self.precision,
            data=old["data_"],
            classes=tuple(state.get("classes_", ())),
        )
        model.network.load(old["network_"])
        self.__dict__.pop("classes_", None)
        self.model_ = model
        self._config = plain_config(as_dict(self), self._start_name())
        self._extra = {"preprocess": asdict(model.preprocess), "data": model.data, "versions": versions()}
        self._extra |= self._old_extra(state)
        self._unfinished = None

    def _old_extra(self, state: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _start_name(self) -> str | None:
        """`init` by name and digest, where there is one."""
        return None

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint to a folder (as checkpoint.safetensors) or to a `.safetensors` file; returns its path.

        That of an unfinished run has the weights of its last step and the state of the optimizer:
        `fit(..., checkpoint=path)` goes on from there to the bits of a run that was not stopped.
        """
        model = self._fitted()
        if self._unfinished is not None:
            return write_checkpoint(path, self._unfinished)
        now = {name: getattr(self, name) for name in ("precision", "n_jobs", "verbose")}
        return write_checkpoint(
            path,
            Checkpoint(
                kind=self.kind,
                config={**self._config, **plain_config(now)},
                network=model.config,
                model=model.network.state(),
                progress=self.position_.as_dict(),
                extra=self._extra,
                history=list(self.history_),
            ),
        )

    @classmethod
    def load(cls, path: str | Path, *, n_jobs: int | None = None, precision: Precision | None = None) -> Self:
        """Read a checkpoint: a fitted estimator.

        Parameters
        ----------
        path : path
            A run folder, or a `.safetensors` file of `save`.
        n_jobs : int or None
            Threads; None for all.
        precision : str or None
            None is the one that it was trained in.

        Raises
        ------
        FileNotFoundError
        CheckpointError
            Not a whole checkpoint, or one of another kind of estimator.
        """
        found = read_checkpoint(path)
        if found.kind != cls.kind:
            raise CheckpointError(
                f"{checkpoint_path(path)}: a checkpoint of kind {found.kind!r}, expected {cls.kind!r}"
            )
        names = [field.name for field in option_fields(cls)]
        config = {**BEFORE_IT_WAS_AN_OPTION, **_tuples(found.config)}
        source = str(checkpoint_path(path))
        with restoring(source):
            config |= {"arch": found.network["arch"], "features": found.network["features"]}
            estimator = cls(**{name: value for name, value in config.items() if name in names})
            estimator.n_jobs = n_jobs
            checked(estimator, _section_of(cls))
        if precision is not None:
            estimator.precision = choose("precision", precision, PRECISIONS)
        cls._restore(estimator, found, source)
        return estimator

    def _restore(self, found: Checkpoint, source: str) -> None:
        """Take over what a checkpoint holds: the best epoch's weights to use, the last ones to go on from."""
        with restoring(source):
            self.model_ = Model.build(
                found.network,
                Preprocess(*(tuple(found.extra["preprocess"][key]) for key in ("mean", "std"))),
                seed=None,
                n_jobs=self.n_jobs,
                precision=self.precision,
                data=found.extra["data"],
                classes=tuple(found.extra.get("classes", ())),
                label_values=found.extra.get("label_values"),
            )
            self.model_.network.load(arrays_of(found.best or found.model))
            self.position_, self.history_ = Position(**found.progress), History(found.history)
            self._config, self._extra = found.config, found.extra
            self._unfinished = None if found.progress["finished"] else found


def image_tags(tags: Any) -> Any:
    """scikit-learn's description of an estimator, with images (N, H, W[, C]) as its input."""
    tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
    tags.transformer_tags.preserves_dtype = ["float32"]
    return tags


_OLD_PARTS = ("network_", "network_config_", "preprocess_", "data_")


def copy_of_parameters(estimator: Any) -> Any:
    """A new estimator with copies of the parameters; fitted estimators among them are shared."""
    parameters = estimator.get_params(deep=False)
    return type(estimator)(
        **{
            name: value if isinstance(value, NetworkEstimator) and "model_" in vars(value) else copy(value)
            for name, value in parameters.items()
        }
    )


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def _section_of(cls: type) -> type:
    """The dataclass of options that an estimator takes."""
    return next(base for base in cls.__mro__ if base.__name__.endswith("Options"))
