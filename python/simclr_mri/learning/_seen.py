"""Which images a model has learned from, so that scores on them are not taken for a test.

A checkpoint remembers eight bytes of a digest of each image: the images cannot be had back from it, and of 10^11 sets
of 6,400 images one has the same by chance. Pictures of a single value are left out: they may come from any head.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..datasets import Dataset

TRAINED, PRETRAINED = "image_keys", "pretrained_image_keys"


_WHERE = {
    TRAINED: "in the training set of this model: scores on them are no test",
    PRETRAINED: "in its pretraining, without their labels: scores on them may flatter",
}


def _keys(images: np.ndarray) -> np.ndarray:
    digests = (hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest() for image in images)
    keys = np.frombuffer(b"".join(digests), "<u8")
    flat = images.reshape(len(images), -1)
    return np.where(flat.min(axis=1) == flat.max(axis=1), 0, keys) if len(images) else keys


def image_keys(ds: Dataset) -> str:
    """The keys of a set's images, sorted, as base64 of little-endian 64-bit numbers."""
    keys = np.unique(_keys(ds.images))
    return base64.b64encode(keys[keys != 0].astype("<u8").tobytes()).decode()


def seen_note(data: Mapping[str, Any], ds: Dataset) -> str | None:
    """What a user has to know before they believe scores on `ds`; `data` is what the model remembers of its training.

    None: nothing, or the model is an older one that does not remember its images.
    """
    keys, told = _keys(ds.images), np.zeros(len(ds), bool)
    notes = []
    for kind, where in _WHERE.items():
        if not data.get(kind):
            continue
        known = np.frombuffer(base64.b64decode(data[kind]), "<u8")
        rows = np.isin(keys, known) & ~told
        if not rows.any():
            continue
        told |= rows
        who = ""
        if ds.subjects is not None:
            who = f", of {len(np.unique(ds.subjects[rows]))} of {ds.n_subjects} subjects,"
        notes.append(f"{rows.sum():,} of these {len(ds):,} images{who} were {where}")
    return "; ".join(notes) or None
