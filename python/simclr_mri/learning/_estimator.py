"""What SimCLR and Classifier share: a network, its images' normalisation, checkpoints and resumption."""

from __future__ import annotations

import contextlib
import errno
import importlib
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from .. import _core
from .._shared import (
    LAYERS,
    PRECISIONS,
    bytes_text,
    check_fits,
    choose,
    n_threads,
    peak_memory_bytes,
    seconds_text,
    versions,
    warn_if_emulated,
)
from ..config import as_dict, check, option_fields
from ..datasets import Dataset, as_images
from ..views import Preprocess, plain_batch
from ..weights import CheckpointError, TensorToCopy, arch_of
from ._checkpoint import Checkpoint, checkpoint_path, read_checkpoint, write_checkpoint
from ._display import RichRepr
from ._history import History
from ._interrupts import abandonable
from ._loop import Loop, Position
from ._order import epoch_order
from ._runlog import RunLog
from ._schedule import Schedule
from ._seen import SEEN, seen_keys

_NOT_IN_THE_RESULT = ("n_jobs", "verbose")  # may change between a run and its continuation


_BEFORE_IT_WAS_AN_OPTION = {"embedding_norm": False}  # where that was not what is the default now


@dataclass(frozen=True)
class Estimate:
    """What a run will take on this machine, from a few real steps."""

    seconds: float
    memory_bytes: int
    steps: int

    def __str__(self) -> str:
        return f"about {seconds_text(self.seconds)} for {self.steps:,} steps, {bytes_text(self.memory_bytes)} of memory"


def _region_means(maps: np.ndarray, layer: str, grid: int) -> np.ndarray:
    """(n, h, w, C) to (n, grid * grid * C); regions differ by at most one row or column in size."""
    n, height, width, channels = maps.shape
    if grid > min(height, width):
        raise ValueError(
            f"grid={grid}: {layer} has {height} x {width} places at this image size; choose at most "
            f"{min(height, width)}, an earlier layer or larger images"
        )
    rows = np.linspace(0, height, grid + 1).astype(int)
    columns = np.linspace(0, width, grid + 1).astype(int)
    means = np.empty((n, grid, grid, channels), np.float32)
    for i, j in np.ndindex(grid, grid):
        region = maps[:, rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
        means[:, i, j] = region.mean(axis=(1, 2), dtype=np.float64)
    return means.reshape(n, -1)


class NetworkEstimator(RichRepr, BaseEstimator):
    """Base of the estimators; `fit` is theirs.

    Attributes
    ----------
    network_ : _core.Network
    preprocess_ : Preprocess
        Normalisation, taken from the training images (or from where the weights come from).
    history_ : History
        One row an epoch.
    position_ : Position
        Where training stands; `position_.finished` tells whether it was interrupted.
    data_ : dict
        Fingerprint and size of the training data, and what `fit` was told about the split.
    """

    kind = ""

    # ---- the network ----------------------------------------------------------------------------------------------

    def _network_config(self, images: Dataset | np.ndarray) -> dict[str, Any]:
        size = images.shape[1]
        if images.shape[1] != images.shape[2]:
            raise ValueError(f"images: expected squares, got {images.shape[1]} x {images.shape[2]} pixels")
        return {
            "arch": self.arch,
            "image_size": size,
            "in_channels": images.shape[3],
            "features": self.features,
            "head": self._head(),
            "head_name": "projection" if self.kind == "simclr" else "fc",
        }

    def _head(self) -> list[tuple[int, float, bool]]:
        raise NotImplementedError

    def _build(self, config: dict[str, Any], seed: int) -> None:
        warn_if_emulated(self.precision)
        self.network_config_ = config
        self.network_ = abandonable(
            lambda: _core.Network(
                int(config["arch"].removeprefix("resnet")),
                image_size=config["image_size"],
                in_channels=config["in_channels"],
                features=config["features"],
                head=[tuple(layer) for layer in config["head"]],
                head_name=config["head_name"],
                seed=seed,
                n_threads=n_threads(self.n_jobs),
            )
        )

    def _load_backbone(self, weights: dict[str, np.ndarray], source: str) -> None:
        arch, theirs = self.network_config_["arch"], arch_of(weights)
        hint = f". They are a {theirs}'s: choose arch='{theirs}'" if theirs not in (None, arch) else ""
        try:
            missing, unexpected = self.network_.load(weights, strict=False)
        except ValueError as error:  # a shape
            raise CheckpointError(f"{source}: these weights are not of a {arch}: {error}{hint}") from None
        head = self.network_config_["head_name"]
        lacking = [name for name in missing if not name.startswith(head)]
        if lacking or unexpected:
            raise CheckpointError(
                f"{source}: these weights are not of a {arch}: "
                + (f"missing {', '.join(lacking[:3])}" if lacking else f"unexpected {', '.join(unexpected[:3])}")
                + hint
            )

    # ---- use ------------------------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

    def _forward(self, data: Dataset | np.ndarray, output: str, batch_size: int = 64) -> np.ndarray:
        self._check_fitted()
        images = self._checked(data)
        parts = []
        for start in range(0, len(images), 512):  # 512 images at once bound the memory of the float copies
            batch = plain_batch(images, np.arange(start, min(start + 512, len(images))), self.preprocess_, self.n_jobs)
            parts.append(self.network_.forward(batch, output=output, batch_size=batch_size, precision=self.precision))
        outputs = np.concatenate(parts)
        if not np.isfinite(outputs).all():  # an argmax over NaN would answer the first class
            raise FloatingPointError(
                f"{type(self).__name__}: the network's outputs are not finite. Its weights have diverged: train again "
                "with a lower learning rate"
            )
        return outputs

    def _checked(self, data: Dataset | np.ndarray) -> Dataset | np.ndarray:
        images = data if isinstance(data, Dataset) else as_images(data)
        size, channels = self.network_config_["image_size"], self.network_config_["in_channels"]
        if images.shape[1:] != (size, size, channels):
            raise ValueError(
                f"images: this model was trained on {size} x {size} pixels with {channels} channel(s), got "
                f"{images.shape[1]} x {images.shape[2]} with {images.shape[3]}. Open the data with image_size={size}, "
                f"channels={channels}"
            )
        if not len(images):
            raise ValueError("images: expected at least one, got none")
        return images

    def transform(self, data: Dataset | np.ndarray, *, layer: str = "layer4", grid: int = 1) -> np.ndarray:
        """Features of images: by default what the head sees.

        Parameters
        ----------
        data : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C), uint8
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
        return self._regions(self._checked(data), layer, grid)

    def _regions(self, images: np.ndarray, layer: str, grid: int) -> np.ndarray:
        """Averages over the regions of a stage. The core shows its activations where it also computes gradients."""
        parts = []
        for start in range(0, len(images), 512):
            batch = plain_batch(images, np.arange(start, min(start + 512, len(images))), self.preprocess_, self.n_jobs)
            maps, _, _ = self.network_.explain(batch, None, stage=layer, precision=self.precision)
            parts.append(_region_means(maps, layer, grid))
        return np.concatenate(parts)

    # ---- training -------------------------------------------------------------------------------------------------

    def _make_trainer(self, batch: int, bn_groups: int = 1, micro_batch: int | None = None) -> None:
        per_image = batch // self.batch_size if self.batch_size else 1

        def need(batch_size: int) -> int:
            weights = 4 * self.network_.n_parameters
            copies = 2 + (self.optimizer == "adamw") + (self.sharpness != "none") + (micro_batch is not None)
            at_once = micro_batch or max(1, per_image) * batch_size
            return weights * copies + self.network_.memory_bytes("train", at_once, bn_groups, self.precision)

        check_fits(need, max(1, batch // max(1, per_image)))
        self._trainer = abandonable(
            lambda: _core.Trainer(
                self.network_,
                optimizer=self.optimizer,
                sharpness=self.sharpness,
                nesterov=self.nesterov,
                weight_decay=self.weight_decay,
                decay_all=self.decay_all,
                batch=batch,
                bn_groups=bn_groups,
                micro_batch=micro_batch or 0,
                precision=self.precision,
            )
        )

    @contextlib.contextmanager
    def _all_or_nothing(self, title: str) -> Iterator[None]:
        """Leaves this object as it was when what comes before the first step fails or is stopped."""
        before = dict(vars(self))
        try:
            yield
        except BaseException as error:
            vars(self).clear()
            vars(self).update(before)
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(
                    f"{title}: stopped before the first step. Nothing was changed, here or on disk; the same call "
                    "starts again"
                ) from None
            raise

    def _rho(self) -> float:
        return 0.0 if self.sharpness == "none" else self.rho

    def _run(
        self, title: str, n: int, batch_size: int, epochs: int, drop_last: bool, lr: float, folder: Path | None
    ) -> None:
        per_epoch = n // batch_size if drop_last else -(-n // batch_size)
        steps = max(1, epochs * per_epoch)
        warmup_steps = min(round(self.warmup_epochs * per_epoch), steps // 2)
        schedule = Schedule(self.schedule, lr, self.momentum, steps, warmup_steps)
        log = RunLog(folder)
        log.event("start", epoch=self.position_.epoch, step=self.position_.step, parameters=self._parameters())
        if self.position_.step_in_epoch > per_epoch or self.position_.epoch > epochs:
            raise CheckpointError(
                f"{folder}: the run stands at step {self.position_.step_in_epoch} of epoch {self.position_.epoch + 1}, "
                f"which has {per_epoch} steps of {epochs} epochs"
            )
        if folder is not None:
            self._check_disk(folder)
        loop = Loop(
            title=title,
            n=n,
            batch_size=batch_size,
            epochs=epochs,
            drop_last=drop_last,
            order=lambda epoch: self._order(n, epoch),
            schedule=schedule,
            step=self._step,
            steps_done=lambda: self._trainer.steps,
            end_epoch=self._end_epoch,
            finish=self._finish,
            save=None if folder is None else lambda: str(self.save(folder)),
            log=log,
            verbose=self.verbose,
        )
        try:
            finished = loop.run(self.position_, self.history_)
        finally:
            self._forget_batches()
        if finished:
            self._trainer = None
            data = {name: value for name, value in self.data_.items() if name not in SEEN}
            log.manifest(kind=self.kind, parameters=self._parameters(), data=data, network=self.network_config_)

    def _check_disk(self, folder: Path) -> None:
        """OSError before a training whose checkpoint will not fit: a new one is written beside the old one."""
        moments = sum(int(np.prod(shape)) for _, shape in self._trainer.table)
        n_bytes = 4 * (2 * self.network_.n_parameters + moments)  # the weights and those of the best epoch
        free = shutil.disk_usage(folder).free
        if free < n_bytes:
            raise OSError(
                errno.ENOSPC,
                f"{folder}: a checkpoint takes up to {bytes_text(n_bytes)}, and {bytes_text(free)} are free on that "
                "disk. Free some space, or choose another folder",
            )

    def _measure(self, n: int, batch: int, steps: int, looks: int = 0) -> Estimate:
        """Times steps of a prepared estimator that will be thrown away; `looks` images are only predicted."""
        importlib.import_module("sklearn.neighbors")  # the monitor's libraries weigh as much as a small network
        indices = np.arange(batch) % n
        times = []
        for step in range(4):  # the first touches its memory for the first time
            began_s = time.perf_counter()
            self._step(indices, 0, step, 0.0, 0.9)
            times.append(time.perf_counter() - began_s)
        step_s = float(np.median(times[1:]))
        # Inference is one of the three passes of a step; its images need no memory of their own beside training's.
        seconds = times[0] + step_s * (steps - 1) + looks * step_s / batch / 3
        # The trial has touched all that training needs; what comes on top is a plan for looking at images.
        memory = peak_memory_bytes() + self.network_.memory_bytes("infer", 64, 1, self.precision)
        self._forget_batches()
        return Estimate(seconds, memory, steps)

    def _order(self, n: int, epoch: int) -> np.ndarray:
        """The images of an epoch, n of them."""
        return epoch_order(n, self.random_state, epoch)

    def _step(self, indices: np.ndarray, epoch: int, step: int, lr: float, momentum: float) -> dict[str, Any]:
        raise NotImplementedError

    def _end_epoch(self, row: dict[str, Any]) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """After the last epoch, before the last checkpoint."""

    def _forget_batches(self) -> None:
        """Drop what `fit` holds on to only while it runs."""

    # ---- copies ---------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """For pickle, joblib and copy: the network as its weights. What goes on with an interrupted run is left out."""
        state = dict(super().__getstate__())
        state.pop("_trainer", None)
        if "network_" in state:
            state["network_"] = state["network_"].state()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "network_" in state:
            weights = self.network_
            self._build(self.network_config_, seed=0)
            self.network_.load(weights)

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def _checkpoint(self) -> Checkpoint:
        trainer = None if self.position_.finished else getattr(self, "_trainer", None)
        steps = None if trainer is None else trainer.steps

        def copy(source: _core.Network | _core.Trainer, name: str) -> np.ndarray:
            if trainer is not None and trainer.steps != steps:
                raise RuntimeError(f"{type(self).__name__}: another thread trained it while it was saved")
            return source.tensor(name)

        def tensors(source: _core.Network | _core.Trainer) -> dict[str, TensorToCopy]:
            return {name: TensorToCopy(shape, partial(copy, source, name)) for name, shape, *_ in source.table}

        extra = {"preprocess": asdict(self.preprocess_), "data": self.data_, "versions": versions(), **self._extra()}
        return Checkpoint(
            kind=self.kind,
            config=self._parameters(),
            network=self.network_config_,
            model=tensors(self.network_),
            optimizer={} if trainer is None else {**tensors(trainer), "step": np.array(steps, np.int64)},
            best=dict(getattr(self, "_best", None) or {}) if trainer is not None else {},
            progress=self.position_.as_dict(),
            extra=extra,
            history=list(self.history_),
        )

    def _extra(self) -> dict[str, Any]:
        return {}

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint to a folder (as checkpoint.safetensors) or to a `.safetensors` file; returns its path."""
        self._check_fitted()
        return write_checkpoint(path, self._checkpoint())

    @classmethod
    def load(cls, path: str | Path, *, n_jobs: int | None = None, precision: str | None = None) -> Self:
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
        config = {**_BEFORE_IT_WAS_AN_OPTION, **_tuples(found.config)}
        with restoring(str(checkpoint_path(path))):
            estimator = cls(**{name: value for name, value in config.items() if name in names})
            estimator.n_jobs = n_jobs
            check(estimator)
            if precision is not None:
                estimator.precision = choose("precision", precision, PRECISIONS)
            estimator._restore(found)
            estimator.network_.load(found.best or found.model)
        return estimator

    def _restore(self, found: Checkpoint) -> None:
        self._build(found.network, seed=0)
        self.network_.load(found.model)
        self.preprocess_ = Preprocess(*(tuple(found.extra["preprocess"][key]) for key in ("mean", "std")))
        self.data_ = found.extra["data"]
        self.position_ = Position(**found.progress)
        self.history_ = History(found.history)

    def _resumable(self, folder: str | Path | None, resume: str) -> Checkpoint | None:
        """The checkpoint to go on from; ValueError if the folder holds another run."""
        choose("resume", resume, ("auto", "never"))
        if folder is None or resume == "never" or not checkpoint_path(folder).exists():
            return None
        found = read_checkpoint(folder)
        mine = self._parameters()
        # An option that was added since then did what is its default now, but for a few.
        defaults = {field.name: field.default for field in option_fields(type(self))}
        then = {**defaults, **_BEFORE_IT_WAS_AN_OPTION, **found.config}
        differing = [
            f"{name}={then[name]!r} (now {value!r})"
            for name, value in mine.items()
            if name not in _NOT_IN_THE_RESULT and then[name] != value
        ]
        if found.kind != self.kind:
            differing.insert(0, f"a {found.kind} (now {self.kind})")
        if found.extra["data"].get("fingerprint") != self.data_["fingerprint"]:
            differing.append("other training data")
        if differing:
            raise ValueError(
                f"{folder} holds a run with {', '.join(differing)}. Choose another folder, or resume='never' to "
                "replace it"
            )
        return found

    def _parameters(self) -> dict[str, Any]:
        """The constructor's arguments as JSON has them; `init` by name and digest of its weights."""
        config = {**as_dict(self), **({"init": self._init_name()} if hasattr(self, "init") else {})}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}

    def _resume(self, found: Checkpoint) -> None:
        """Go on where a checkpoint stopped: call after `_make_trainer`."""
        with restoring("the run to go on with"):
            self.network_.load(found.model)
            self.position_ = Position(**found.progress)
            self.history_ = History(found.history)
            if self.position_.finished:
                return
            self._trainer.load(found.optimizer)


@contextlib.contextmanager
def restoring(source: str) -> Iterator[None]:
    """CheckpointError for what a checkpoint lacks, or holds in another shape than its own metadata say."""
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{source}: the checkpoint lacks {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def warn_oddities(recipe: str, oddities: list[str]) -> None:
    """Say aloud which of the seed recipe's oddities are reproduced."""
    if recipe == "seed" and oddities:
        warnings.warn(
            f"recipe 'seed' reproduces the published notebooks, oddities included: {'; '.join(oddities)}.", stacklevel=3
        )


def describe_data(ds: Dataset, facts: dict[str, Any] | None) -> dict[str, Any]:
    """What a checkpoint remembers about its training data."""
    return {
        "name": ds.name,
        "n_images": len(ds),
        "fingerprint": ds.fingerprint(),
        "reading": dict(ds.reading),
        **seen_keys(ds),
        **(facts or {}),
    }
