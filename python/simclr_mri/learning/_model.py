"""Model: a network with all that using it needs, and nothing of its training.

It is what predicts, is saved, exported, pickled and explained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import _core
from .._shared import Precision, in_words, n_threads, option_text, warn_if_emulated
from ..datasets import Dataset, as_images
from ..views import Preprocess, plain_batch
from ..weights import CheckpointError, arch_of
from ._interrupts import abandonable

AT_ONCE = 512  # images whose float copies are in memory together


@dataclass(eq=False)
class Model:
    """A network, the normalisation of its images, and where it comes from.

    Attributes
    ----------
    network : _core.Network
    config : dict
        What rebuilds the network: arch, image_size, in_channels, features, head, head_name.
    preprocess : Preprocess
    data : dict
        Name, fingerprint and size of the training data, what `fit` was told about the split, the images seen.
    classes : tuple of str
        What the outputs of a classifier stand for; empty for SimCLR.
    label_values : ndarray of shape (classes,), or None
        What `predict` answers for each class, where that is not its index.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=1, image_size=32, task="cdr0")
    >>> model = SimCLR("resnet18", epochs=0, batch_size=8, verbose=0).fit(ds).model_
    >>> model.config["arch"], model.config["image_size"], model.classes
    ('resnet18', 32, ())
    """

    network: _core.Network
    config: dict[str, Any]
    preprocess: Preprocess
    data: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    label_values: np.ndarray | None = None

    @classmethod
    def build(
        cls,
        config: dict[str, Any],
        preprocess: Preprocess,
        *,
        seed: int | None = 0,
        n_jobs: int | None = None,
        precision: Precision = "fp32",
        data: dict[str, Any] | None = None,
        classes: tuple[str, ...] = (),
        label_values: Sequence[Any] | np.ndarray | None = None,
    ) -> Model:
        """A model with the weights that `seed` draws; None: zeros, as others will be loaded."""
        warn_if_emulated(precision)
        values = None if label_values is None else np.asarray(label_values)
        return cls(build_network(config, seed, n_jobs), config, preprocess, data or {}, classes, values)

    def checked(self, data: Dataset | np.ndarray) -> Dataset | np.ndarray:
        """A data set, or uint8 (N, H, W, C); ValueError if the images do not fit the network."""
        images = data if isinstance(data, Dataset) else as_images(data)
        size, channels = self.config["image_size"], self.config["in_channels"]
        if images.shape[1:] != (size, size, channels):
            raise ValueError(
                f"images: this model was trained on {size} x {size} pixels with {channels} channel(s), got "
                f"{images.shape[1]} x {images.shape[2]} with {images.shape[3]}. Open the data with "
                f"{option_text('image_size', size)}{in_words(', ', ' ')}{option_text('channels', channels)}"
            )
        if not len(images):
            raise ValueError("images: expected at least one, got none")
        return images

    def forward(
        self,
        data: Dataset | np.ndarray,
        output: str,
        *,
        n_jobs: int | None = None,
        precision: Precision = "fp32",
        batch_size: int = 64,
    ) -> np.ndarray:
        """What the network puts out, float32 (N, D).

        Parameters
        ----------
        data : Dataset, or ndarray of shape (N, H, W) or (N, H, W, C), uint8
        output : {"features", "head"}
        n_jobs, precision
            As of the estimators.
        batch_size : int
        """
        images = self.checked(data)
        parts = []
        for start in range(0, len(images), AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, len(images)))
            batch = plain_batch(images, rows, self.preprocess, n_jobs)
            parts.append(self.network.forward(batch, output=output, batch_size=batch_size, precision=precision))
        outputs = np.concatenate(parts)
        if not np.isfinite(outputs).all():  # an argmax over NaN would answer the first class
            raise FloatingPointError(
                "the network's outputs are not finite. Its weights have diverged: train again with a lower learning "
                "rate"
            )
        return outputs

    def region_means(
        self,
        data: Dataset | np.ndarray,
        layer: str,
        grid: int,
        *,
        n_jobs: int | None = None,
        precision: Precision = "fp32",
    ) -> np.ndarray:
        """Averages of a stage's activations over grid x grid regions, float32 (N, grid * grid * C).

        The core shows activations where it also computes gradients.
        """
        images = self.checked(data)
        parts = []
        for start in range(0, len(images), AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, len(images)))
            batch = plain_batch(images, rows, self.preprocess, n_jobs)
            maps, _, _ = self.network.explain(batch, None, stage=layer, precision=precision)
            parts.append(_region_means(maps, layer, grid))
        return np.concatenate(parts)

    def load_backbone(self, weights: Mapping[str, np.ndarray], source: str) -> None:
        """Take weights without a head over; CheckpointError names `source` if they are of another network."""
        arch, theirs = self.config["arch"], arch_of(weights)
        hint = f". They are a {theirs}'s: choose {option_text('arch', theirs)}" if theirs not in (None, arch) else ""
        try:
            missing, unexpected = self.network.load(weights, strict=False)
        except ValueError as error:  # a shape
            raise CheckpointError(f"{source}: these weights are not of a {arch}: {error}{hint}") from None
        lacking = [name for name in missing if not name.startswith(self.config["head_name"])]
        if lacking or unexpected:
            raise CheckpointError(
                f"{source}: these weights are not of a {arch}: "
                + (f"missing {', '.join(lacking[:3])}" if lacking else f"unexpected {', '.join(unexpected[:3])}")
                + hint
            )

    def backbone(self) -> dict[str, np.ndarray]:
        """The weights without those of the head, under torchvision's names."""
        state = self.network.state()
        return {name: array for name, array in state.items() if not name.startswith(self.config["head_name"])}

    def digest(self) -> str:
        """Of weights and running statistics, to the bit."""
        found = [_core.xxh64(self.network.tensor(name).data.cast("B")) for name, *_ in self.network.table]
        return f"{_core.xxh64(np.array(found, np.uint64).tobytes()):016x}"

    def with_random_weights(self, seed: int, n_jobs: int | None = None) -> Model:
        """The same architecture, the weights drawn anew."""
        return replace(self, network=build_network(self.config, seed, n_jobs))

    def __getstate__(self) -> dict[str, Any]:
        """For pickle, joblib and copy: the network as its weights."""
        return {**vars(self), "network": self.network.state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state["network"]
        vars(self).update(state, network=build_network(state["config"], seed=None))
        self.network.load(weights)


def build_network(config: Mapping[str, Any], seed: int | None, n_jobs: int | None = None) -> _core.Network:
    """A network of the core with random weights, or zeros where there is no seed; Ctrl-C does not wait for it."""
    return abandonable(
        lambda: _core.Network(
            int(config["arch"].removeprefix("resnet")),
            image_size=config["image_size"],
            in_channels=config["in_channels"],
            features=config["features"],
            head=[tuple(layer) for layer in config["head"]],
            head_name=config["head_name"],
            seed=seed,
            n_threads=n_threads(n_jobs),
        )
    )


def network_config(
    images: Dataset | np.ndarray, options: Any, head: list[tuple[int, float, bool]], head_name: str
) -> dict[str, Any]:
    """What builds a network for a data set or images (N, H, W, C)."""
    if images.shape[1] != images.shape[2]:
        raise ValueError(f"images: expected squares, got {images.shape[1]} x {images.shape[2]} pixels")
    return {
        "arch": options.arch,
        "image_size": images.shape[1],
        "in_channels": images.shape[3],
        "features": options.features,
        "head": head,
        "head_name": head_name,
    }


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
