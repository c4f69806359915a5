"""Where the features of a label curve come from: pixels, CSF fraction, random weights, SimCLR a fold, given weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from .. import _core
from .._shared import LAYERS, Intensities, Layer, SubjectPool, atomic_writer, choose, short
from ..datasets import Dataset, check_dataset, dark_share
from ..learning import (
    CHECKPOINT_FORMAT,
    TRAINED,
    Classifier,
    SimCLR,
    checkpoint_path,
    read_checkpoint,
    seen_note,
)
from ..splits import units_of
from ..weights import read_safetensors

POOLS = ("mean", "stack")
READ_FROM = ("layer", "grid", "pool", "size")
"""What of a `Start` says how features are read, and nothing of the network."""
INTENSITIES = ("as_is", "subject")
MEAN_LEVEL, LEVEL_DEVIATION = 70.0, 60.0
"""Of a subject's pixels in 0 to 255, with intensities="subject": near those of head slices on black: little clips."""

NAMES = {"pixels": "pixels", "csf": "CSF fraction", "random": "random weights", "simclr": "SimCLR"}
WITHOUT_NETWORK = ("pixels", "csf")


@dataclass(frozen=True)
class Start:
    """Initial weights and what is read from them, one row of features a subject.

    Parameters
    ----------
    init : "pixels", "csf", "random", "simclr", path, SimCLR or Classifier
        "pixels": the images, reduced to `size` pixels a side. "csf": the CSF fraction, one number an image: the share
        of the head that is darker than the mean of its picture, as fluid is. "random": a network as it is drawn.
        "simclr", or a `SimCLR` that is not fitted: pretrained anew on the training subjects of each fold. A path of a
        run, a checkpoint or a ResNet file, or a fitted estimator: used as given in every fold.
    layer : {"stem", "layer1", "layer2", "layer3", "layer4"}
        The stage that features are read from.
    grid : int
        Features are averages over grid x grid regions of the stage: 1 for the whole, 2 to keep the quarters apart.
    pool : {"mean", "stack"}
        A subject's features: the mean over its slices, or its slices side by side, for which all subjects need the same
        slices.
    size : int
        Of "pixels".
    intensities : {"as_is", "subject"}
        "subject" shifts and scales each subject's pixels to one mean and deviation over its slices, before anything
        else: how bright a scan is says more about the scanner than about the brain.

    Examples
    --------
    >>> Start("random", layer="layer3", grid=2, pool="stack").name
    'random weights, layer3, 2 x 2, stack'
    """

    init: Any
    layer: Layer = "layer4"
    grid: int = 1
    pool: SubjectPool = "mean"
    size: int = 16
    intensities: Intensities = "as_is"

    def __post_init__(self) -> None:
        choose("layer", self.layer, LAYERS)
        choose("pool", self.pool, POOLS)
        choose("intensities", self.intensities, INTENSITIES)
        for name in ("grid", "size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {getattr(self, name)!r}")
        if isinstance(self.init, Classifier) and not hasattr(self.init, "network_"):
            raise ValueError("starts: a Classifier must be fitted, on other subjects than those of ds")

    @property
    def name(self) -> str:
        """Short name for tables."""
        if isinstance(self.init, str):
            parts = [NAMES.get(self.init) or Path(self.init).name]
        elif isinstance(self.init, Path):
            parts = [self.init.name]
        else:
            parts = ["SimCLR" if isinstance(self.init, SimCLR) else "classifier"]
        if self.init == "pixels":
            parts[0] += f" {self.size} x {self.size}"
        if self.has_network:
            parts += [self.layer] if self.layer != "layer4" else []
            parts += [f"{self.grid} x {self.grid}"] if self.grid > 1 else []
        parts += ["stack"] if self.pool == "stack" else []
        return ", ".join([*parts, *(["normalised"] if self.intensities == "subject" else [])])

    @property
    def has_network(self) -> bool:
        """Whether its features are those of a network."""
        return not (isinstance(self.init, str) and self.init in WITHOUT_NETWORK)

    @property
    def is_reference(self) -> bool:
        """Whether it has learnt nothing: what pretraining has to beat."""
        return isinstance(self.init, str) and self.init in (*WITHOUT_NETWORK, "random")

    @property
    def learns(self) -> bool:
        """Whether it is pretrained anew in each fold."""
        return self.init == "simclr" or (isinstance(self.init, SimCLR) and not hasattr(self.init, "network_"))


def named_starts(starts: Any, pretrain: SimCLR) -> dict[str, Start]:
    """Starts by name, from a list or a mapping; "simclr" becomes a copy of `pretrain`."""
    given = starts.items() if isinstance(starts, Mapping) else [(None, start) for start in _listed(starts)]
    found: dict[str, Start] = {}
    for name, start in given:
        start = start if isinstance(start, Start) else Start(start)
        name = start.name if name is None else str(name)
        if name in found:
            raise ValueError(f"starts: two are called {name!r}; give a dictionary: {{'name': start, ...}}")
        if start.init == "simclr":
            start = Start(pretrain, **{f.name: getattr(start, f.name) for f in fields(Start) if f.name != "init"})
        found[name] = start
    if not found:
        raise ValueError("starts: expected at least one, such as ['pixels', 'random', 'simclr']")
    return found


def _listed(starts: Any) -> Sequence[Any]:
    return starts if isinstance(starts, (list, tuple)) else [starts]


class Extractor:
    """The features of one start, kept on disk under `folder` if there is one.

    Parameters
    ----------
    start : Start
    ds : Dataset
    pretrain : SimCLR
        Its network is that of random weights.
    folder : Path or None
    fingerprint : str
        Of `ds`.
    trained : dict
        Networks that were pretrained for the current fold, by what they depend on: shared by all starts.
    """

    def __init__(
        self,
        start: Start,
        ds: Dataset,
        pretrain: SimCLR,
        folder: Path | None,
        fingerprint: str,
        trained: dict[tuple[int, str], SimCLR],
    ) -> None:
        self._start, self._pretrain, self._folder = start, pretrain, folder
        self._ds = ds if start.intensities == "as_is" else same_intensities(ds)
        self._names, _, self._members = units_of(ds, "subject")
        self._order = _stack_order(ds, self._members) if start.pool == "stack" else None
        self._given = None if start.learns or start.is_reference else _given(start.init, pretrain, ds)
        self.note = self._judge_given()
        self._fingerprint, self._trained = fingerprint, trained
        self._kept: tuple[str, np.ndarray] | None = None

    def _judge_given(self) -> str | None:
        """What given weights have seen of the subjects; labels that they have seen are an error."""
        known = getattr(self._given, "data_", None) or {}
        if isinstance(self._given, Classifier) and seen_note({TRAINED: known.get(TRAINED)}, self._ds):
            raise ValueError(
                f"{self._start.name}: this classifier has learned from labels of these images, so its features know "
                "the answer. Give one that was trained on other subjects, or open only subjects that it has not seen"
            )
        return seen_note(known, self._ds)

    def features(self, repeat: int, seed: int, train: np.ndarray) -> np.ndarray:
        """Features float32 (subjects, D) for a fold.

        Parameters
        ----------
        repeat : int
        seed : int
            Counts the folds of all repeats; it is added to the random state of a network that is pretrained.
        train : ndarray of int
            Images of `ds` that a pretraining may use.
        """
        key = self._key(repeat, seed, train)
        if self._kept is None or self._kept[0] != key:
            self._kept = (key, self._read_or_make(key, repeat, seed, train))
        return self._kept[1]

    def _key(self, repeat: int, seed: int, train: np.ndarray, *, of: Sequence[str] = READ_FROM) -> str:
        """A digest of what the features depend on; with `of=()`, of what the network depends on."""
        start = self._start
        facts: dict[str, Any] = {name: getattr(start, name) for name in (*of, "intensities")}
        facts |= {"data": self._fingerprint, "init": str(start.init) if isinstance(start.init, str) else ""}
        if start.init == "random":
            facts |= {"arch": self._pretrain.arch, "seed": self._pretrain.random_state + repeat}
        elif start.learns:
            unused = ("n_jobs", "verbose", "knn_every")
            facts |= {k: v for k, v in start.init.get_params().items() if k not in unused}
            facts |= {"seed": seed, "train": hashlib.sha256(train.astype("<i8").tobytes()).hexdigest()}
        elif self._given is not None:
            facts["weights"] = _digest(self._given)
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def _read_or_make(self, key: str, repeat: int, seed: int, train: np.ndarray) -> np.ndarray:
        path = None if self._folder is None else self._folder / "features" / f"{key}.npy"
        if path is not None and path.is_file():
            found = np.load(path)
            if found.ndim == 2 and len(found) == len(self._names):
                return found
        made = self._pooled(self._by_image(repeat, seed, train))
        if path is not None:
            with atomic_writer(path) as file:
                np.save(file, made)
        return made

    def _by_image(self, repeat: int, seed: int, train: np.ndarray) -> np.ndarray:
        start, ds = self._start, self._ds
        if start.init == "pixels":
            images = ds.images if ds.image_size <= start.size else _core.resize(ds.images, start.size)
            return images.reshape(len(ds), -1).astype(np.float32) / 255
        if start.init == "csf":
            return dark_share(ds.images).astype(np.float32)[:, None]
        return self._model(repeat, seed, train).transform(ds, layer=start.layer, grid=start.grid)

    def _model(self, repeat: int, seed: int, train: np.ndarray) -> SimCLR | Classifier:
        """The network of a fold; starts that differ only in what is read from it share one pretraining."""
        if self._given is not None:
            return self._given
        if not self._start.learns:
            return _untrained(self._pretrain, None, self._pretrain.random_state + repeat, self._ds)
        key = self._key(repeat, seed, train, of=())
        for other in [known for known in self._trained if known[0] != seed]:
            del self._trained[other]
        if (seed, key) not in self._trained:
            model: SimCLR = clone(self._start.init)
            model.set_params(random_state=model.random_state + seed)
            checkpoint = None if self._folder is None else self._folder / "pretraining" / key
            model.fit(self._ds[train].unlabelled(), checkpoint=checkpoint)
            if not model.position_.finished:
                raise KeyboardInterrupt
            self._trained[seed, key] = model
        return self._trained[seed, key]

    def _pooled(self, features: np.ndarray) -> np.ndarray:
        """One row a subject, in the order of the sorted names."""
        if self._order is not None:
            return np.ascontiguousarray(features[self._order].reshape(len(self._names), -1), np.float32)
        sums = np.zeros((len(self._names), features.shape[1]), np.float64)
        np.add.at(sums, self._members, features)
        return (sums / np.bincount(self._members)[:, None]).astype(np.float32)


def same_intensities(ds: Dataset) -> Dataset:
    """The same images, with each subject's pixels shifted and scaled to one mean and deviation over its slices.

    What `Start(intensities="subject")` reads: for a network of your own that is to see the same.

    Parameters
    ----------
    ds : Dataset
        With subjects.

    Returns
    -------
    Dataset
        uint8, of mean 70 and deviation 60 over each subject's pixels, where none is clipped at 0 or 255.

    Raises
    ------
    ValueError
        The subjects are unknown.

    Examples
    --------
    >>> ds = Dataset(np.full((1, 8, 8), 9, np.uint8), subjects=["a"])
    >>> int(same_intensities(ds).images.max())
    70
    """
    check_dataset(ds, "ds")
    images = np.empty_like(ds.images)
    names, _, members = units_of(ds, "subject")
    for i in range(len(names)):
        mine = members == i
        pixels = ds.images[mine].astype(np.float32)
        mean, deviation = pixels.mean(dtype=np.float64), max(float(pixels.std(dtype=np.float64)), 1.0)
        scaled = (pixels - np.float32(mean)) * np.float32(LEVEL_DEVIATION / deviation) + np.float32(MEAN_LEVEL)
        images[mine] = np.clip(scaled, 0, 255).round()
    return Dataset(images, ds.labels, ds.classes, ds.subjects, ds.files, name=ds.name, slices=ds.slices)


def _stack_order(ds: Dataset, members: np.ndarray) -> np.ndarray:
    """The images subject by subject, each in the order of its slices; ValueError unless all have the same slices."""
    if ds.slices is None:
        raise ValueError("starts: pool='stack' needs a data set whose slice numbers are known; use pool='mean'")
    order = np.lexsort((ds.slices, members))
    n = members.max() + 1
    levels = ds.slices[order].reshape(n, -1) if len(ds) % n == 0 else None
    if levels is None or (members[order].reshape(n, -1) != np.arange(n)[:, None]).any() or (levels != levels[0]).any():
        raise ValueError("starts: pool='stack' needs the same slices of each subject, once each; use pool='mean'")
    return order


def _untrained(pretrain: SimCLR, weights: str | None, seed: int, ds: Dataset) -> SimCLR:
    """The network of `pretrain` with random or read weights, and the normalisation of the images."""
    made = SimCLR(pretrain.arch, epochs=0, batch_size=2, weights=weights, random_state=seed, verbose=0)
    made.set_params(normalize=pretrain.normalize, n_jobs=pretrain.n_jobs)
    return made.fit(ds[np.arange(min(len(ds), 2048))].unlabelled())


def _given(init: Any, pretrain: SimCLR, ds: Dataset) -> SimCLR | Classifier:
    """The estimator of a path, or the fitted one that was given."""
    if isinstance(init, (SimCLR, Classifier)):
        return init
    if not isinstance(init, (str, Path)):
        raise ValueError(
            f"starts: expected 'pixels', 'csf', 'random', 'simclr', a path, a SimCLR, a Classifier or a Start, got "
            f"{short(repr(init))}"
        )
    file = checkpoint_path(init)
    if not file.exists():
        raise FileNotFoundError(f"{init}: no such run or file; starts are pixels, csf, random, simclr or a path")
    if file.suffix == ".safetensors" and read_safetensors(file)[1].get("format") == CHECKPOINT_FORMAT:
        kind = Classifier if read_checkpoint(file).kind == Classifier.kind else SimCLR
        return kind.load(file, n_jobs=pretrain.n_jobs)
    return _untrained(pretrain, str(init), pretrain.random_state, ds)


def _digest(model: SimCLR | Classifier) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network_.state().items()):
        digest.update(name.encode() + np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()
