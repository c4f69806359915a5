"""SimCLR: pretraining without labels (Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of
visual representations", ICML 2020).

Two random views of each slice pass the network and its projection head; NT-Xent pulls the two together and pushes the
other 2N - 2 away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._shared import FEATURE_SIZE, Resume, about_options, option_text
from ..config import PretrainOptions, as_dict, checked, documents_options, takes_recipe
from ..datasets import Dataset
from ..views import Preprocess
from ._checkpoint import load_weights
from ._data import describe_data, unlabelled_fingerprint
from ._estimator import NetworkEstimator
from ._inputs import Inputs, inputs_of
from ._model import Model, network_config
from ._plan import Plan, plain_config
from ._ranks import Ranks
from ._simclr_task import Monitor, SimCLRTask
from ._task import Estimate


@documents_options
@takes_recipe("pretrain")
@dataclass(repr=False, eq=False)
class SimCLR(PretrainOptions, NetworkEstimator):
    """Learns features from images without labels.

    The arguments are those of `simclr-mri pretrain --help`, with the same names; those not given come from `recipe`.

    Attributes
    ----------
    history_ : History
        epoch, loss beside `chance_loss` (of an embedding that knows nothing: ln(2N - 1)), temperature, spread,
        alignment and uniformity of the embeddings of the epoch's last step (`learning.Collapse`), knn_accuracy and
        probe_balanced_accuracy every `knn_every` epochs, images/s.
    model_, network_, preprocess_, position_, data_
        See `NetworkEstimator`.

    Examples
    --------
    >>> from simclr_mri import SimCLR
    >>> SimCLR("resnet18", epochs=5).lr is None
    True
    >>> SimCLR(recipe="paper").temperature
    0.5
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=16, slices=1, image_size=32)
    >>> ssl = SimCLR("resnet18", epochs=1, batch_size=8, verbose=0).fit(ds)
    >>> ssl.transform(ds).shape, ssl.history_[0]["images"]
    ((16, 512), 16)

    Views of your own: `views` is called twice a step, with the images as uint8 (N, H, W, C) and a generator drawn from
    seed, epoch and images, and returns float32 of that shape in [0, 1]:

    >>> def darker(images, rng):
    ...     return images * (rng.uniform(0.5, 1.0, (len(images), 1, 1, 1)) / 255)
    >>> ssl = SimCLR("resnet18", views=darker, epochs=1, batch_size=8, verbose=0).fit(ds)
    """

    kind = "simclr"
    section = "pretrain"

    @about_options
    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        groups: Any = None,
        val: Any = None,
        train: Dataset | None = None,
        checkpoint: str | Path | None = None,
        resume: Resume = "auto",
        facts: dict[str, Any] | None = None,
        callbacks: Sequence[Any] = (),
        comm: Any = None,
    ) -> SimCLR:
        """Pretrain: `fit(train)`, `fit(train, val)` with data sets, or `fit(X)` with an array of images.

        Parameters
        ----------
        X : Dataset, or array-like of shape (N, H, W) or (N, H, W, C)
            Arrays are uint8, or float in [0, 1]. Labels of a data set only serve the nearest-neighbour monitor.
        y : Dataset, optional
            Images that the monitor is scored on. Never the test set. Labels are passed over, as pipelines hand them on.
        groups : array-like of shape (N,), optional
            Who is in each image, for an array.
        val, train : Dataset, optional
            Other names of a data set as y and as X.
        checkpoint : path, optional
            Folder for checkpoints, log.csv, log.jsonl and manifest.json.
        resume : {"auto", "never"}
            Go on with an unfinished run in that folder, to the same bits as if it had not been stopped. A finished run
            goes on for more epochs if its schedule is "constant".
        facts : dict, optional
            Kept in the checkpoint beside the fingerprint of the data, such as the options of the split.
        callbacks : sequence of Callback
            Called while it trains, such as `EarlyStopping`.
        comm : mpi4py.MPI.Comm, optional
            Processes that train one network together: all call `fit` with the same data and options, share the
            micro-batches of every step (`micro_batch`), and end with the bits that one process would have had. Its
            rank 0 alone writes to `checkpoint`, shows progress and calls `callbacks`. The command line does this
            under `mpiexec`.

        Returns
        -------
        SimCLR
            self. After Ctrl-C too, with a warning; `position_.finished` tells.

        Raises
        ------
        ValueError
            An option or the data, named; or the folder holds another run.
        TypeError
            What is no callback, or a fact that JSON has no form for.
        BlockingIOError
            A run is writing to the folder at this moment.
        FloatingPointError
            The loss or the gradients are not finite; the weights are those from before that step.
        RankError
            Another rank failed, or has other data, options or weights; the message names it.
        """
        options = checked(self, PretrainOptions)
        given = inputs_of("SimCLR", X, y, groups=groups, val=val, train=train, with_labels=False)
        self._run(
            "SimCLR",
            lambda: self._plan(options, given, facts),
            checkpoint=checkpoint,
            resume=resume,
            callbacks=callbacks,
            verbose=options.verbose,
            comm=comm,
        )
        return self

    def _plan(self, options: PretrainOptions, given: Inputs, facts: dict[str, Any] | None) -> Plan:
        train = given.train
        _check_batch(options, len(train))
        fingerprint = unlabelled_fingerprint(train, with_subjects=_uses_subjects(options))
        data = describe_data(train, facts, fingerprint)
        config, network = plain_config(as_dict(options)), self._network(options, train)
        monitor = Monitor(train, given.val, options.knn_every)

        def make_task(ranks: Ranks) -> SimCLRTask:
            task = self._task(options, config, network, train, data, ranks)
            task.later_columns = SimCLRTask.later_columns if monitor.every else ()
            return task

        return Plan(config, network, fingerprint, make_task, train.fingerprint, [monitor], _oddities(options))

    @about_options
    def estimate(self, X: Any = None, y: Any = None, *, val: Any = None, train: Dataset | None = None) -> Estimate:
        """Time and memory of `fit` with the same data, by timing a few real steps; changes nothing here."""
        return self.trial(X, y, val=val, train=train).measure()

    @about_options
    def trial(
        self, X: Any = None, y: Any = None, *, groups: Any = None, val: Any = None, train: Dataset | None = None
    ) -> SimCLRTask:
        """A task of `fit` with this data, to be tried and thrown away; nothing changes here."""
        options = checked(self, PretrainOptions)
        given = inputs_of("SimCLR", X, y, groups=groups, val=val, train=train, with_labels=False).train
        _check_batch(options, len(given))
        return self._task(options, {}, self._network(options, given), given, {})

    def effective_lr(self) -> float:
        """The highest learning rate that `fit` will use.

        The authors' rule for small batches (appendix B.1) is 0.075 sqrt(batch) with LARS; a fifth of it for SGD.
        """
        return _effective_lr(checked(self, PretrainOptions))

    def _network(self, options: PretrainOptions, train: Dataset) -> dict[str, Any]:
        return network_config(train, options, projection_head(options), "projection")

    def _task(
        self,
        options: PretrainOptions,
        config: dict[str, Any],
        network: dict[str, Any],
        train: Dataset,
        data: dict[str, Any],
        ranks: Ranks | None = None,
    ) -> SimCLRTask:
        model = Model.build(
            network,
            Preprocess.of(train, options.normalize),
            seed=options.random_state,
            n_jobs=options.n_jobs,
            precision=options.precision,
            data=data,
        )
        if options.weights is not None:
            model.load_backbone(load_weights(options.weights, train.n_channels), options.weights)
        return SimCLRTask(options, config, model, train, _effective_lr(options), ranks)

    def _old_extra(self, state: dict[str, Any]) -> dict[str, Any]:
        collapse = state.get("_collapse")
        measured = {"temperature": state.get("_temperature", self.temperature), "chance": state.get("_chance", 0.0)}
        return measured if collapse is None else {**measured, "collapse": collapse.as_dict()}


def projection_head(options: PretrainOptions) -> list[tuple[int, float, bool]]:
    if options.head == "paper":
        return [(2 * options.embedding_size, 0.5, False), (options.embedding_size, 0.5, False)]
    return [(FEATURE_SIZE[options.arch], 0.0, True), (options.embedding_size, 0.0, False)]


def _effective_lr(options: PretrainOptions) -> float:
    if options.lr is not None:
        return options.lr
    if options.optimizer == "adamw":
        return 1e-3
    return (0.075 if options.optimizer == "lars" else 0.015) * math.sqrt(options.batch_size)


def _uses_subjects(options: PretrainOptions) -> bool:
    return options.exclude_same_subject or options.positives != "same_slice"


def _check_batch(options: PretrainOptions, n: int) -> None:
    if n < 2:
        raise ValueError(f"train: expected at least 2 images, got {n}")
    if options.batch_size > n:
        raise ValueError(
            f"{option_text('batch_size', options.batch_size)} is larger than the {n} training images; "
            f"choose at most {n}"
        )
    if options.micro_batch is not None and options.batch_size % options.micro_batch:
        raise ValueError(
            f"{option_text('micro_batch', options.micro_batch)}: expected a divisor of "
            f"{option_text('batch_size', options.batch_size)}"
        )


def _oddities(options: PretrainOptions) -> list[str]:
    oddities = ["batch statistics of the two views apart"] if options.separate_views else []
    if options.temperature_drops:
        oddities.append("the temperature drops with the loss")
    if options.features == "flatten":
        oddities.append("the last stage is flattened instead of averaged")
    if options.weights is None:
        oddities.append(
            "but the start is random, because no ImageNet weights were given "
            f"({option_text('weights', 'resnet50.safetensors')})"
        )
    return oddities
