"""Pixels in a cache: read from the disk as they are needed, each image checked against its digest the first time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import atomic_writer
from ._pixel_file import map_under
from ._store import Store, keys_of

PIXELS, HISTOGRAMS, FINGERPRINTS = "pixels.npy", "histograms.npy", "fingerprints.json"

CHECKED_AT_ONCE = 128 << 20
"""Bytes of pixels up to which all are checked when a cache is opened, in a tenth of a second or two."""

MOST_FINGERPRINTS = 1000


class CacheError(ValueError):
    """A cache that is damaged, that is not of the files it was made of, or that holds something else than asked for."""


def damaged(path: Path, what: str) -> CacheError:
    """The error about a file of a cache, with the way out."""
    return CacheError(f"{path}: damaged: {what}. Delete the folder {path.parent} and make the cache again")


class CachedStore(Store):
    """The pixels of a cache, and what is kept beside them: digests, histograms and fingerprints.

    Parameters
    ----------
    folder : Path
    shape : tuple of int
        (N, H, W, C).
    index : dict of str to ndarray
        What is known of the images, such as "keys", "is_flat" and "labels"; see `_cache.py`.
    histograms_digest : str
    reopen : callable (folder, histograms_digest) -> CachedStore
        How another process comes to the same.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, ...],
        index: dict[str, Any],
        histograms_digest: str,
        reopen: Callable[[str, str], CachedStore],
    ) -> None:
        pixels = mapped(folder / PIXELS, np.uint8, shape)
        super().__init__(pixels)
        self._map, self._offset = map_under(pixels), pixels.offset % mmap.ALLOCATIONGRANULARITY
        # Batches are drawn at random: with the system's usual reading ahead, cold ones came 12 times slower.
        self._advise(mmap.MADV_RANDOM)
        self.folder, self.index, self._histograms_digest = folder, index, histograms_digest
        self._reopen = reopen
        self._keys, self._is_flat = index["keys"], index["is_flat"]
        columns = {"labels": "labels", "subjects": "subjects", "slices": "slices", "parts": "parts", "_files": "files"}
        columns["_sources"] = "paths"
        self.masks = index["masks"]
        self.columns = {mine: index[name] for mine, name in columns.items() if index[name] is not None}
        self._checked = np.zeros(len(self), bool)
        self._histograms: np.ndarray | None = None
        self.fingerprints = _read_fingerprints(folder / FINGERPRINTS)
        if self.images.nbytes <= CHECKED_AT_ONCE:
            self.whole()

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reopen, (str(self.folder), self._histograms_digest)

    # -- pixels -------------------------------------------------------------------------------------------------------

    def take(self, rows: np.ndarray | slice) -> np.ndarray:
        if isinstance(rows, slice):
            first, stop, _ = rows.indices(len(self))
            self._fetch(first, stop)
        elif len(rows) < 4096:
            for row in rows.tolist():
                self._fetch(row, row + 1)
        images = self.images[rows]
        new = ~self._checked[rows]
        if new.any():
            numbers = np.arange(len(self))[rows][new]
            wrong = keys_of(images if new.all() else images[new]) != self.keys[numbers]
            if wrong.any():
                number = int(numbers[np.flatnonzero(wrong)[0]])
                raise damaged(
                    self.folder / PIXELS, f"image {number:,} ({self.index['files'][number]}) is not what was written"
                )
            self._checked[numbers] = True
        return images

    def whole(self) -> np.ndarray:
        if not self._checked.all():
            for _ in self.chunks(None):
                pass
        return self.images

    def chunks(self, index: np.ndarray | None) -> Iterator[np.ndarray]:
        for images in super().chunks(index):
            yield images
            self._advise(mmap.MADV_DONTNEED)  # they stay in the system's cache of files, and count no more as ours

    def _fetch(self, first: int, stop: int) -> None:
        """Tells the system which images are wanted next, so that it reads all of them at once."""
        each = self.images[:1].nbytes
        start = self._offset + first * each
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        self._advise(mmap.MADV_WILLNEED, page, start + (stop - first) * each - page)

    def _advise(self, advice: int, *where: int) -> None:
        with contextlib.suppress(OSError, ValueError):  # advice: a refusal costs speed only
            self._map.madvise(advice, *where)

    # -- what is kept beside them -------------------------------------------------------------------------------------

    def histogram(self, index: np.ndarray | None) -> np.ndarray:
        if self._histograms is None:
            path, channels = self.folder / HISTOGRAMS, self.images.shape[3]
            found = mapped(path, None, (len(self), 256, channels))
            if hashlib.sha256(np.ascontiguousarray(found).data).hexdigest() != self._histograms_digest:
                raise damaged(path, "not what was written")
            self._histograms = found
        counts = np.zeros(self._histograms.shape[1:], np.int64)
        n = len(self) if index is None else len(index)
        for start in range(0, n, 8192):
            rows = slice(start, start + 8192) if index is None else index[start : start + 8192]
            counts += self._histograms[rows].sum(axis=0, dtype=np.int64)
        return counts

    def remember(self, key: str, fingerprint: str) -> None:
        super().remember(key, fingerprint)
        if len(self.fingerprints) > MOST_FINGERPRINTS:
            return
        with contextlib.suppress(OSError):  # a folder that may only be read: computed again next time
            known = {**_read_fingerprints(self.folder / FINGERPRINTS), **self.fingerprints}
            with atomic_writer(self.folder / FINGERPRINTS) as file:
                file.write(json.dumps(known).encode())


def mapped(path: Path, dtype: type | None, shape: tuple[int, ...]) -> np.memmap:
    """A `.npy` file as a memory map; CacheError if it is not there, cut, or not what it should be."""
    try:
        found = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise damaged(path, "the file is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, f"cannot be read ({error})") from None
    kind_is_right = found.dtype == dtype if dtype else found.dtype.kind == "u"
    if not isinstance(found, np.memmap) or not kind_is_right or found.shape != tuple(shape):
        expected = f"{np.dtype(dtype).name if dtype else 'unsigned integers'} of shape {tuple(shape)}"
        raise damaged(path, f"expected {expected}, found {found.dtype.name} of shape {found.shape}")
    if path.stat().st_size != found.offset + found.nbytes:
        raise damaged(path, f"expected {found.offset + found.nbytes:,} bytes, found {path.stat().st_size:,}")
    return found


def _read_fingerprints(path: Path) -> dict[str, str]:
    """Those that were kept; a file that cannot be read is as good as none, for they are computed anew."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = found.items() if isinstance(found, dict) else ()
    return {k: v for k, v in known if isinstance(v, str) and len(v) == 64}
