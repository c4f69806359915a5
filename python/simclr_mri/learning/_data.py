"""What a checkpoint remembers of its training data."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._shared import plain_json
from ..datasets import Dataset
from ._seen import seen_keys


def describe_data(ds: Dataset, facts: dict[str, Any] | None, fingerprint: str) -> dict[str, Any]:
    """Name, size, fingerprint, the images by their keys, and the user's facts as JSON has them.

    Raises
    ------
    TypeError
        A fact that JSON has no form for: before training, where a checkpoint would fail after it.
    """
    return {
        "name": str(ds.name),
        "n_images": len(ds),
        "fingerprint": fingerprint,
        "reading": dict(ds.reading),
        **seen_keys(ds),
        **plain_json(facts or {}, "facts"),
    }


def unlabelled_fingerprint(ds: Dataset, *, with_subjects: bool) -> str:
    """SHA-256 over what pretraining sees: the pixels in order and, where pairs use them, subjects and slices."""
    tail = []
    if with_subjects:
        tail.append(b"none" if ds.subjects is None else "\0".join(ds.subjects).encode("utf-8", "surrogateescape"))
        tail.append(b"none" if ds.slices is None else np.ascontiguousarray(ds.slices, "<i8").tobytes())
    return ds.digest_of_pixels(repr(ds.shape).encode(), *tail)
