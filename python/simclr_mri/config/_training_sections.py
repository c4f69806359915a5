"""The sections of the configuration about training: what pretraining and fine-tuning share, and what one alone has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._shared import (
    MAX_SEED,
    Arch,
    By,
    ClassWeight,
    Features,
    Head,
    Layer,
    Optimizer,
    Positives,
    Precision,
    Recipe,
    Sampling,
    ScheduleName,
    Selection,
    SelectOn,
    Sharpness,
    Views,
)
from ._options import option, threads_option


@dataclass(repr=False, eq=False)
class TrainingOptions:
    """What pretraining and fine-tuning have in common."""

    arch: Arch = option("resnet50", "the network", group="network")
    recipe: Recipe = option("default", "where options that are not given come from", group="run")
    features: Features = option(
        "avgpool",
        "what the head sees: the average over the last stage, or all of it",
        group="network",
    )
    normalize: bool = option(
        True, "shift and scale pixels to mean 0 and deviation 1 over the training set", group="views"
    )
    views: Views | Callable[..., Any] = option(
        "mri",
        "augmentation: mri (crop, flip, turn, brightness, contrast, gamma, blur, noise), intensity (the same without "
        "the crop, so that sizes stay), crop (only that), light, none; in Python also a callable of your own",
        group="views",
    )
    epochs: int = option(100, "passes over the training images", group="optimization", at_least=0)
    batch_size: int = option(32, "images a step", group="optimization", at_least=1)
    optimizer: Optimizer = option(
        "sgd", "update rule; lars is SimCLR's for large batches (You et al. 2017)", group="optimization"
    )
    lr: float | None = option(
        None, "highest learning rate (none: by optimizer and batch size)", group="optimization", at_least=0
    )
    momentum: float = option(0.9, "SGD's momentum, AdamW's first beta", group="optimization", at_least=0, below=1)
    nesterov: bool = option(False, "Nesterov's momentum, for SGD", group="optimization")
    weight_decay: float = option(1e-4, "L2 penalty (SGD) or decoupled decay (AdamW)", group="optimization", at_least=0)
    decay_all: bool = option(False, "decay biases and batch norm too", group="optimization")
    freeze: Layer | None = option(
        None,
        "stage up to which the network stays as it is, from the stem on: its weights are not trained, and its batch "
        "norm uses the running statistics (none: all is trained)",
        group="optimization",
    )
    layer_decay: float = option(
        1.0,
        "layer-wise decay of the learning rate: the head has the rate, layer4 this share of it, layer3 the share of "
        "that, ... down to the stem",
        group="optimization",
        at_least=1e-4,
        at_most=1,
    )
    layer_rates: dict[str, float] | None = option(
        None, "factors of the learning rate by stage: stem, layer1 ... layer4, head (none: 1)", group="optimization"
    )
    schedule: ScheduleName = option("cosine", "learning rate over time", group="optimization")
    warmup_epochs: float = option(
        0.0,
        "epochs over which the rate rises from 0, at most half of them (cosine only)",
        group="optimization",
        at_least=0,
    )
    sharpness: Sharpness = option(
        "none",
        "sharpness-aware minimisation, two passes a step: sam (Foret et al. 2021); asam, as the paper recipe has it, "
        "every parameter scaled by |w|; asam-authors, as Kwon et al. 2021 released it, weights scaled by |w| + 0.01, "
        "biases as in sam",
        group="optimization",
    )
    rho: float = option(
        0.05, "radius of SAM or ASAM (0.5 in the code of ASAM's authors)", group="optimization", at_least=0
    )
    precision: Precision = option(
        "fp32",
        "what activations are stored and multiplied in; bf16 halves their memory and is faster where the processor has "
        "bf16 instructions (AVX512_BF16, AMX), slower elsewhere; weights, statistics, losses and optimizer stay fp32",
        group="run",
    )
    wire: Precision = option(
        "fp32",
        "what gradients travel in between processes under mpiexec. bf16 halves the traffic and costs accuracy: the "
        "gradient of each micro-batch, and each sum of two of them, is rounded to 8 bits (0.2 % off at most, each "
        "time). The result still has the same bits on any number of processes, one among them",
        group="run",
    )
    random_state: int = option(
        0, "seed of weights, order, views and dropout", group="run", at_least=0, at_most=MAX_SEED
    )
    n_jobs: int | None = threads_option("run")
    verbose: int = option(1, "0 silent, 1 progress bar, 2 a line an epoch", group="run", at_least=0, at_most=2)


@dataclass(repr=False, eq=False)
class PretrainOptions(TrainingOptions):
    """SimCLR.

    Examples
    --------
    >>> options = PretrainOptions(arch="resnet18", epochs=10)
    >>> options.temperature, options.views
    (0.2, 'mri')
    """

    arch: Arch = option("resnet50", "the network", group="network", positional=True)
    weights: str | None = option(
        None, "start from this checkpoint, or any file that holds a ResNet (none: random)", group="network"
    )
    head: Head = option(
        "mlp",
        "projection head: mlp, or the paper recipe's dropout and two linear layers",
        group="network",
    )
    batch_size: int = option(
        32,
        "pairs of views a step",
        group="optimization",
        at_least=2,
        because="SimCLR pushes an image away from the others of its batch",
    )
    embedding_size: int = option(128, "numbers that the projection head puts out", group="network", at_least=2)
    embedding_norm: bool = option(
        True,
        "batch norm without parameters on the embedding, as at the end of the authors' head; without it a run may "
        "collapse, above all with SAM",
        group="network",
    )
    positives: Positives = option(
        "same_slice",
        "what the two views show: the same slice, that or a neighbouring slice of the same subject, or any two slices "
        "of the same subject",
        group="pairs",
    )
    exclude_same_subject: bool = option(
        False, "do not push apart slices of the same subject (needs subjects)", group="pairs"
    )
    temperature: float = option(0.2, "temperature of NT-Xent", group="optimization", at_least=1e-3)
    temperature_drops: bool = option(
        False,
        "lower it to 0.3, 0.1, 0.05 as the loss per image falls under 0.045, 0.03, 0.02 (paper recipe)",
        group="optimization",
    )
    separate_views: bool = option(False, "batch statistics for each view apart (paper recipe)", group="network")
    warmup_epochs: float = option(
        10.0,
        "epochs over which the rate rises from 0, at most half of them (cosine only)",
        group="optimization",
        at_least=0,
    )
    micro_batch: int | None = option(
        None,
        "images in memory at once, a divisor of the batch size, and what processes under mpiexec (one a socket) share "
        "(none: all); costs one more forward pass, keeps the loss of the whole batch, takes batch statistics over so "
        "many",
        group="network",
        at_least=2,
    )
    knn_every: int = option(
        5, "epochs between nearest-neighbour checks on validation images (0: never)", group="run", at_least=0
    )


@dataclass(repr=False, eq=False)
class FinetuneOptions(TrainingOptions):
    """A classifier.

    Examples
    --------
    >>> FinetuneOptions(label_fraction=0.1).optimizer
    'adamw'
    """

    init: Any = option(
        "random",
        "start: random, a run folder, a checkpoint, or any file that holds a ResNet (.safetensors, .pth, .ckpt, ...)",
        group="network",
        positional=True,
    )
    dropout: float = option(0.0, "dropout before the last layer", group="network", at_least=0, at_most=0.99)
    label_fraction: float = option(1.0, "share of the training labels to use", group="labels", at_least=0, at_most=1)
    fraction_by: By = option("subject", "draw labelled images by subject or by image", group="labels")
    class_weight: ClassWeight | dict[str, float] | None = option(
        "balanced",
        "weigh the classes' shares of the loss: balanced, by their rarity; or a weight by class name or index, 1 where "
        "none is given (none: do not)",
        group="labels",
    )
    sampling: Sampling = option(
        "shuffle",
        "an epoch's images: each once, or every class equally often, which takes the place of class weights",
        group="labels",
    )
    label_smoothing: float = option(0.0, "label smoothing", group="labels", at_least=0, at_most=0.99)
    select: Selection = option("balanced_accuracy", "what chooses the best epoch on validation data", group="labels")
    select_on: SelectOn = option(
        "val",
        "where the best epoch is chosen; test is what the published notebooks do, and flatters",
        group="labels",
    )
    min_steps: int = option(
        0, "raise the epochs until at least this many steps are done", group="optimization", at_least=0
    )
    views: Views | Callable[..., Any] = option(
        "light",
        "augmentation: light (small crop, flip, turn, shift), mri, intensity, crop, none; in Python also a callable",
        group="views",
    )
    epochs: int = option(50, "passes over the labelled images", group="optimization", at_least=0)
    micro_batch: int | None = option(
        None,
        "images in memory at once, and what processes under mpiexec (one a socket) share (none: all); costs one more "
        "forward pass, keeps the loss of the whole batch, takes batch statistics over so many",
        group="network",
        at_least=3,
        because="an incomplete batch comes in parts of one image less, and batch norm needs two",
    )
    optimizer: Optimizer = option("adamw", "update rule", group="optimization")
    weight_decay: float = option(1e-2, "L2 penalty (SGD) or decoupled decay (AdamW)", group="optimization", at_least=0)
