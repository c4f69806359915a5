"""What a model has learned from, so that scores on it are not taken for a test.

A checkpoint remembers three things of its training set. Names cannot be had back from it, images only as a blur of
16 x 16 pixels at most:

- eight bytes of a digest of each image's pixels: of 10^11 sets of 6,400 images one has the same by chance;
- a sketch of each image, 255 bits that tell which low frequencies are stronger than the median: the same picture saved
  again as JPEG, resized or made brighter differs in 0 to 6 bits, slices of different subjects of the Alzheimer MRI set
  in more than 8 (all 6,400 compared with all);
- eight bytes of a digest of each subject's name: other slices of the same subject are no test either.

Pictures of a single value are left out: they may come from any subject.

References
----------
Zauner, Implementation and benchmarking of perceptual image hash functions, 2010, section 3.2.1 (DCT-based hash).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..datasets import Dataset

TRAINED, PRETRAINED = "image_keys", "pretrained_image_keys"
_PRETRAINED = "pretrained_"
_SKETCHES, _SUBJECTS = "image_sketches", "subject_keys"
SEEN = tuple(f"{when}{what}" for when in ("", _PRETRAINED) for what in (TRAINED, _SKETCHES, _SUBJECTS))
"""Under which names a model remembers them."""

_SIDE = 16  # frequencies of a sketch, each way
_MOST_BITS = 6
_MOST_SKETCHES = 100_000  # 3 MB; above that only digests are remembered
_PLACES = {
    "": ("the training set of this model", "scores on them are no test"),
    _PRETRAINED: ("its pretraining, without their labels", "scores on them may flatter"),
}
_HOW = {
    TRAINED: "were in",
    _SKETCHES: "look like images, saved anew or resized, in",
    _SUBJECTS: "are of subjects named as in",
}


def _keys(ds: Dataset) -> np.ndarray:
    keys, is_flat = ds.image_keys()
    return np.where(is_flat, 0, keys)


def _subject_keys(ds: Dataset) -> np.ndarray:
    """One for each image; 0 where the subject is unknown."""
    if ds.subjects is None:
        return np.zeros(len(ds), "<u8")
    names, where = np.unique(ds.subjects, return_inverse=True)
    digests = b"".join(
        hashlib.blake2b(str(name).encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names
    )
    return np.frombuffer(digests, "<u8")[where]


def _sketches(images: np.ndarray) -> np.ndarray:
    """uint64 (N, 4), zeros for pictures that have next to no contrast or are too small."""
    n, height, width, _ = images.shape
    found = np.zeros((n, 4), np.uint64)
    if min(height, width) < 2 * _SIDE:
        return found
    rows, columns = _cosines(height), _cosines(width)
    for start in range(0, n, 256):
        part = images[start : start + 256]
        gray = part.mean(axis=3, dtype=np.float32)
        waves = (rows @ gray @ columns.T).reshape(len(part), -1)[:, 1:]  # without the mean
        bits = np.zeros((len(part), 256), np.uint8)
        bits[:, 1:] = waves > np.median(waves, axis=1, keepdims=True)
        packed = np.packbits(bits, axis=1).view(np.uint64)
        is_flat = np.ptp(gray.reshape(len(part), -1), axis=1) < 8
        found[start : start + 256] = np.where(is_flat[:, None], 0, packed)
    return found


def _sketches_of(ds: Dataset) -> np.ndarray:
    return np.concatenate([np.zeros((0, 4), np.uint64), *map(_sketches, ds.chunks())])


def _cosines(size: int) -> np.ndarray:
    """The first rows of the discrete cosine transform, float32 (16, size)."""
    places = np.arange(size) + 0.5
    return np.cos(np.pi / size * np.arange(_SIDE)[:, None] * places).astype(np.float32)


def _alike(mine: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of my sketches are within a few bits of a known one, bool (N,)."""
    found = np.zeros(len(mine), bool)
    for i in np.flatnonzero(mine.any(axis=1)):
        found[i] = np.bitwise_count(known ^ mine[i]).sum(axis=1, dtype=np.int32).min(initial=256) <= _MOST_BITS
    return found


def image_keys(ds: Dataset) -> str:
    """The keys of a set's images, sorted, as base64 of little-endian 64-bit numbers."""
    return _encoded(_keys(ds))


def _encoded(keys: np.ndarray) -> str:
    keys = np.unique(keys)
    return base64.b64encode(keys[keys != 0].astype("<u8").tobytes()).decode()


def _decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<u8")


def seen_keys(ds: Dataset) -> dict[str, str]:
    """What a model that is trained on `ds` remembers of it, by the first three names of `SEEN`."""
    sketches = np.unique(_sketches_of(ds), axis=0) if len(ds) <= _MOST_SKETCHES else np.zeros((0, 4))
    shown = sketches[sketches.any(axis=1)]
    return {
        TRAINED: image_keys(ds),
        _SKETCHES: base64.b64encode(shown.astype("<u8").tobytes()).decode(),
        _SUBJECTS: _encoded(_subject_keys(ds)),
    }


def pretrained_keys(data: Mapping[str, Any]) -> dict[str, str]:
    """What a model remembers of the training set of the model that it starts from, whose `data` this is."""
    names = (TRAINED, _SKETCHES, _SUBJECTS)
    return {f"{_PRETRAINED}{name}": data[name] for name in names if data.get(name)}


def share_of_training(data: Mapping[str, Any], ds: Dataset) -> float:
    """Share of the images that a model was trained on that `ds` holds; 0 for a model that does not remember them."""
    known = _decoded(data.get(TRAINED) or "")
    return float(np.isin(known, _keys(ds)).mean()) if len(known) else 0.0


def seen_note(data: Mapping[str, Any], ds: Dataset) -> str | None:
    """What a user has to know before they believe scores on `ds`; `data` is what the model remembers of its training.

    Each image is told once, by the worst of its reasons. None: there is none, or the model is an older one.
    """
    told = np.zeros(len(ds), bool)
    notes = []
    for when, (where, so) in _PLACES.items():
        for what, how in _HOW.items():
            if not data.get(f"{when}{what}"):
                continue
            known = _decoded(data[f"{when}{what}"])
            rows = _rows(what, ds, known) & ~told
            told |= rows
            if rows.any():
                same = "if they are the same people, " if what == _SUBJECTS else ""  # sub-01 is in every data set
                notes.append(f"{_counted(rows, ds)} {how} {where}: {same}{so}")
    return "; ".join(notes) or None


def _rows(what: str, ds: Dataset, known: np.ndarray) -> np.ndarray:
    if what == TRAINED:
        return np.isin(_keys(ds), known)
    if what == _SUBJECTS:
        return np.isin(_subject_keys(ds), known)
    return _alike(_sketches_of(ds), known.reshape(-1, 4))


def _counted(rows: np.ndarray, ds: Dataset) -> str:
    who = ""
    if ds.subjects is not None:
        who = f", of {len(np.unique(ds.subjects[rows]))} of {ds.n_subjects} subjects,"
    return f"{rows.sum():,} of these {len(ds):,} images{who}"
