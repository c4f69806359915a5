"""The pixels of a data set, which all of its subsets share, and what was computed from them once.

They lie in memory or in a file that is opened as a memory map. Whatever goes over all of them does so in chunks, so
that a data set may be larger than memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

CHUNK_BYTES = 8 << 20  # of pixels at once: small enough for caches and memory, large enough that calls cost nothing


class Store:
    """Pixels of all images, uint8 (N, H, W, C), never written to."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images.view()
        self.images.flags.writeable = False
        self._keys: np.ndarray | None = None
        self._is_flat: np.ndarray | None = None
        self.fingerprints: dict[str, str] = {}  # of subsets, by what they are made of
        self.masks: dict[str, np.ndarray] | None = None  # where they are kept with the pixels
        self.columns: dict[str, np.ndarray] = {}  # what a data set says of the images that can be read from here again

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_mapped(self) -> bool:
        """Whether the pixels lie in a file that is opened as a memory map."""
        return isinstance(self.images, np.memmap)

    def __getstate__(self) -> dict[str, Any]:
        """A memory map goes by its path, an array by its content."""
        if isinstance(self.images, np.memmap):
            return {"path": str(self.images.filename), "shape": self.images.shape, "offset": self.images.offset}
        return {"images": self.images}

    def __setstate__(self, state: dict[str, Any]) -> None:
        images = state.get("images")
        if images is None:
            images = np.memmap(state["path"], np.uint8, "r", state["offset"], state["shape"])
        Store.__init__(self, images)

    def take(self, rows: np.ndarray | slice) -> np.ndarray:
        """Some images, by number."""
        return self.images[rows]

    def whole(self) -> np.ndarray:
        """All images."""
        return self.images

    def remember(self, key: str, fingerprint: str) -> None:
        """Keeps the fingerprint of a subset."""
        self.fingerprints[key] = fingerprint

    def chunks(self, index: np.ndarray | None) -> Iterator[np.ndarray]:
        """The images of an index in order, a few at a time; None is all of them."""
        n = len(self) if index is None else len(index)
        step = max(1, CHUNK_BYTES // max(1, self.images[:1].nbytes))
        for start in range(0, n, step):
            chosen = slice(start, start + step) if index is None else as_slice(index[start : start + step])
            yield self.take(chosen)

    def histogram(self, index: np.ndarray | None) -> np.ndarray:
        """How often each value occurs, int64 (256, C): exact, whatever the number of images and their order."""
        channels = self.images.shape[3]
        counts = np.zeros((256, channels), np.int64)
        for images in self.chunks(index):
            for c in range(channels):
                counts[:, c] += np.bincount(images[..., c].ravel(), minlength=256)
        return counts

    @property
    def keys(self) -> np.ndarray:
        """Eight bytes of a digest of each image, uint64 (N,): equal images have equal keys."""
        if self._keys is None:
            self._digest()
        assert self._keys is not None
        return self._keys

    @property
    def is_flat(self) -> np.ndarray:
        """Whether all pixels of an image have one value, bool (N,)."""
        if self._is_flat is None:
            self._digest()
        assert self._is_flat is not None
        return self._is_flat

    def _digest(self) -> None:
        keys, flat = [np.zeros(0, "<u8")], [np.zeros(0, bool)]
        for images in self.chunks(None):
            keys.append(keys_of(images))
            flat.append(are_flat(images))
        self._keys, self._is_flat = np.concatenate(keys), np.concatenate(flat)


def keys_of(images: np.ndarray) -> np.ndarray:
    """Eight bytes of a digest (BLAKE2b) of each image, uint64 (n,)."""
    images = np.ascontiguousarray(np.asarray(images))  # of a memory map, each image would be a map of its own
    digests = [hashlib.blake2b(image.data, digest_size=8).digest() for image in images]
    return np.frombuffer(b"".join(digests), "<u8")


def are_flat(images: np.ndarray) -> np.ndarray:
    """Whether all pixels of an image have one value, bool (n,)."""
    rows = images.reshape(len(images), -1)
    return rows.min(axis=1) == rows.max(axis=1) if rows.shape[1] else np.ones(len(rows), bool)


def as_slice(index: np.ndarray) -> np.ndarray | slice:
    """A slice where the index is a plain range, so that no pixels are copied."""
    if len(index) and index[-1] - index[0] == len(index) - 1 and np.all(np.diff(index) == 1):
        return slice(int(index[0]), int(index[-1]) + 1)
    return index
