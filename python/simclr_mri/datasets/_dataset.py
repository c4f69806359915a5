"""The data set: uint8 images, labels, subjects, file names, and masks where the truth is known.

A `Dataset` is immutable. A subset is an index into the pixels that all subsets share, so label fractions and folds do
not multiply the memory, and training on a subset takes the images of a batch straight from there.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from .._shared import checked_classes, checked_labels, checked_subjects, same
from ._class_names import merge_text, task_members
from ._classes import SEVERITY, TASKS, ClassCounts
from ._columns import checked_mask, checked_parts, checked_slices, frozen
from ._from import FromArraysAndTables
from ._store import Store, as_slice

_FIXED = ("labels", "classes", "subjects", "slices", "parts")  # set once: what a subset was made of stays true


class Dataset(FromArraysAndTables):
    """Images with their labels and subjects.

    Parameters
    ----------
    images : ndarray of shape (N, H, W, C), uint8
        C is 1 (gray) or 3 (RGB). Shape (N, H, W) is taken as gray. Copied, unless `copy` is False.
    labels : array-like of shape (N,), int, or None
        Index into `classes`.
    classes : sequence of str
        Names of the classes, in order of severity where there is one.
    subjects : array-like of shape (N,), str, or None
        Who is in the picture. None when unknown.
    files : sequence of str
        Path of each image, relative to the folder that was read; made up when empty.
    name : str
        Shown in tables and reports.
    masks : dict of str to ndarray of shape (N, H, W), bool, or None
        The true regions, known for phantoms: "cortex", "ventricles", "hippocampus", "head".
    slices : array-like of shape (N,), int, or None
        Number of each image in its subject's stack, from bottom to top or top to bottom; neighbours differ by 1. None
        when unknown.
    parts : array-like of shape (N,), str, or None
        The part of a ready-made split that each image lies in, such as "train" and "test". None where there is none.
    sources : sequence of str
        Path of the file that each image was read from, which `audit` examines; slices of a volume have one in common.
        Empty where there is none.
    copy : bool
        False keeps the array of images itself, for one that nobody writes to any more, such as a memory map.

    Attributes
    ----------
    understood : str
        How the folder was understood, in one line; "" where none was read.
    reading : dict
        What decides the pixels besides size and channels, ready for JSON: "intensity", "fit", and how volumes were cut.
    not_read : dict of str to str
        Files that were not read, and why.

    Examples
    --------
    >>> ds = Dataset(np.zeros((4, 8, 8), np.uint8), [0, 0, 1, 1], ("a", "b"), ["s1", "s1", "s2", "s2"])
    >>> len(ds[ds.labels == 1]), ds[:3].image_size
    (2, 8)
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Sequence[int] | np.ndarray | None = None,
        classes: Sequence[str] = (),
        subjects: Sequence[str] | np.ndarray | None = None,
        files: Sequence[str] = (),
        *,
        name: str = "images",
        masks: Mapping[str, np.ndarray] | None = None,
        slices: Sequence[int] | np.ndarray | None = None,
        parts: Sequence[str] | np.ndarray | None = None,
        sources: Sequence[str] = (),
        copy: bool = True,
    ) -> None:
        images = np.array(images) if copy else np.asanyarray(images)
        if images.ndim == 3:
            images = images[..., None]
        if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"images: expected uint8 of shape (N, H, W, 1 or 3), got {images.dtype} of shape {images.shape}. "
                "Dataset.from_arrays converts other numbers"
            )
        n = len(images)
        self._store = Store(images)
        self._stored_masks = {key: checked_mask(key, mask, images) for key, mask in masks.items()} if masks else None
        self._index: np.ndarray | None = None
        self._cache: np.ndarray | None = None
        self._fingerprint: str | None = None
        self.classes = checked_classes(classes)
        self.labels: np.ndarray | None = None if labels is None else frozen(checked_labels(labels, n, self.classes))
        self.subjects: np.ndarray | None = None if subjects is None else frozen(checked_subjects(subjects, n))
        self.slices: np.ndarray | None = None if slices is None else frozen(checked_slices(slices, n))
        self.parts: np.ndarray | None = None if parts is None else frozen(checked_parts(parts, n))
        self.understood = ""
        self.reading: dict[str, Any] = {}
        self.not_read: dict[str, str] = {}
        names = [str(file) for file in files]
        if names and len(names) != n:
            raise ValueError(f"files: expected {n} names, one an image, got {len(names)}")
        if len(sources) not in (0, n):
            raise ValueError(f"sources: expected {n} paths, one an image, or none, got {len(sources)}")
        self._files = frozen(np.array(names or [f"image_{i:06d}" for i in range(n)], dtype=object))
        self._sources = frozen(np.array([str(path) for path in sources], dtype=object)) if len(sources) else None
        self.name = name

    # -- views ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._store) if self._index is None else len(self._index)

    @property
    def images(self) -> np.ndarray:
        """ndarray of shape (N, H, W, C), uint8, read-only. Of a subset this is a copy: `take` gives a few of them."""
        if self._index is None:
            return self._store.whole()
        if self._cache is None:
            self._cache = frozen(self._store.take(as_slice(self._index)))
        return self._cache

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C), without reading pixels."""
        return (len(self), *self._store.images.shape[1:])

    def take(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """A few images, such as a batch, without a copy of all the others.

        Parameters
        ----------
        indices : array-like of shape (n,), int

        Returns
        -------
        ndarray of shape (n, H, W, C), uint8

        Examples
        --------
        >>> Dataset(np.arange(8, dtype=np.uint8).reshape(2, 2, 2))[1:].take([0])[0, :, :, 0].tolist()
        [[4, 5], [6, 7]]
        """
        chosen = np.asarray(indices, np.int64)
        return self._store.take(as_slice(chosen if self._index is None else self._index[chosen]))

    def chunks(self) -> Iterator[np.ndarray]:
        """All images in order, some at a time: uint8 (n, H, W, C)."""
        return self._store.chunks(self._index)

    def histogram(self) -> np.ndarray:
        """How often each value occurs, int64 (256, C)."""
        return self._store.histogram(self._index)

    def image_keys(self) -> tuple[np.ndarray, np.ndarray]:
        """A key of each image, uint64 (N,), equal for equal pixels, and whether it has one value only, bool (N,)."""
        keys, is_flat = self._store.keys, self._store.is_flat
        return (keys, is_flat) if self._index is None else (keys[self._index], is_flat[self._index])

    @property
    def is_whole(self) -> bool:
        """Whether these are all images that were read, in their order; False of a subset."""
        return self._index is None

    @property
    def is_on_disk(self) -> bool:
        """Whether the pixels lie in a file, so that pickling takes its path instead of them."""
        return self._store.is_mapped

    @property
    def masks(self) -> dict[str, np.ndarray] | None:
        """Region to ndarray of shape (N, H, W), bool; None when the truth is unknown."""
        if self._stored_masks is None or self._index is None:
            return self._stored_masks
        return {key: mask[as_slice(self._index)] for key, mask in self._stored_masks.items()}

    @property
    def files(self) -> tuple[str, ...]:
        """The path of each image, relative to the folder that was read."""
        return tuple(self._files)

    @property
    def sources(self) -> tuple[str, ...]:
        """Path of the file that each image was read from; empty where none is known."""
        return () if self._sources is None else tuple(self._sources)

    @property
    def image_size(self) -> int:
        """Rows of an image in pixels; images here are square unless the files were not."""
        return int(self._store.images.shape[1])

    @property
    def n_channels(self) -> int:
        """1 (gray) or 3 (RGB)."""
        return int(self._store.images.shape[3])

    @property
    def n_subjects(self) -> int | None:
        """How many subjects there are; None when unknown."""
        return None if self.subjects is None else len(np.unique(self.subjects))

    def __getitem__(self, key: int | slice | Sequence[int] | np.ndarray) -> Dataset:
        """A subset by index, slice, list of indices or boolean mask; always a `Dataset`.

        `ds[key, ...]` is the same, which is how scikit-learn takes rows of what has a shape.
        """
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]
        if isinstance(key, tuple):
            raise IndexError("a Dataset has images only, no rows or columns; those are in ds.images")
        if isinstance(key, (int, np.integer)):
            if not -len(self) <= key < len(self):
                raise IndexError(f"image {key} of a data set of {len(self)}")
            key = [int(key) % len(self)]
        if not isinstance(key, slice):
            key = np.asarray(key)
            if key.dtype == bool and key.shape != (len(self),):
                raise IndexError(f"mask: expected shape ({len(self)},), got {key.shape}")
            if key.size == 0:
                key = key.astype(np.int64)
        here = np.arange(len(self._store)) if self._index is None else self._index
        return self._copy(
            _index=here[key],
            _cache=None,
            _files=self._files[key],
            _sources=None if self._sources is None else self._sources[key],
            labels=None if self.labels is None else frozen(self.labels[key]),
            subjects=None if self.subjects is None else frozen(self.subjects[key]),
            slices=None if self.slices is None else frozen(self.slices[key]),
            parts=None if self.parts is None else frozen(self.parts[key]),
        )

    def select(self, indices: slice | Sequence[int] | np.ndarray) -> Dataset:
        """The same as `ds[indices]`."""
        return self[indices]

    def __iter__(self) -> Iterable[Dataset]:
        raise TypeError("a Dataset is not iterated image by image; use ds.images, ds.labels or ds[indices]")

    def _copy(self, **changes: object) -> Dataset:
        out = object.__new__(Dataset)
        out.__dict__.update(self.__dict__, _fingerprint=None, **changes)
        return out

    def __eq__(self, other: object) -> bool:
        """The same pixels, labels, subjects, names and masks, in the same order."""
        if not isinstance(other, Dataset):
            return NotImplemented
        names = ("shape", "classes", "labels", "subjects", "slices", "parts", "files", "name")
        if self is other or not all(same(getattr(self, name), getattr(other, name)) for name in names):
            return self is other
        pixels = all(np.array_equal(a, b) for a, b in zip(self.chunks(), other.chunks(), strict=True))
        return pixels and same(self.masks, other.masks)

    def __hash__(self) -> int:
        return hash((self.shape, self.classes))

    def __setattr__(self, name: str, value: object) -> None:
        if name in _FIXED and name in self.__dict__:
            way = {
                "labels": "merge_classes(...), or Dataset(ds.images, new_labels, classes)",
                "classes": "merge_classes(...)",
                "subjects": "ds = ds.with_subjects(...)",
                "slices": "Dataset(ds.images, ..., slices=...)",
                "parts": "Dataset(ds.images, ..., parts=...)",
            }[name]
            raise AttributeError(
                f"{name}: a Dataset does not change, so that what was made of it stays true. Use {way}"
            )
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, object]:
        """A subset carries its own images only; a memory map goes by its path, and a cache with all that is in it."""
        state = {**self.__dict__, "_cache": None}
        if self._index is not None and not self._store.is_mapped:
            state |= {"_store": Store(self.images), "_index": None, "_stored_masks": self.masks}
        if self._store.masks is not None and self._stored_masks is self._store.masks:
            del state["_stored_masks"]
        rows = slice(None) if self._index is None else self._index
        state["_as_stored"] = [
            name
            for name, stored in self._store.columns.items()
            if self.__dict__[name] is not None and np.array_equal(stored[rows], self.__dict__[name])
        ]
        return {name: value for name, value in state.items() if name not in state["_as_stored"]}

    def __setstate__(self, state: dict[str, object]) -> None:
        if isinstance(state["_store"], np.ndarray):  # pickled by version 0.1.0
            state = {**state, "_store": Store(state["_store"]), "_fingerprint": None}
        new: dict[str, object] = {
            "parts": None,
            "_sources": None,
            "understood": "",
            "reading": {},
            "not_read": {},
            "_as_stored": (),
        }
        state = new | state
        store, index = cast(Store, state["_store"]), cast("np.ndarray | None", state["_index"])
        rows = slice(None) if index is None else index
        names = cast(Sequence[str], state.pop("_as_stored"))
        state.setdefault("_stored_masks", store.masks)
        self.__dict__.update(state, **{name: frozen(store.columns[name][rows]) for name in names})

    def mirrored(self) -> Dataset:
        """The same images with left and right exchanged.

        Examples
        --------
        >>> Dataset(np.arange(4, dtype=np.uint8).reshape(1, 2, 2)).mirrored().images[0, :, :, 0].tolist()
        [[1, 0], [3, 2]]
        """
        images = np.ascontiguousarray(self.images[:, :, ::-1])
        masks = {name: np.ascontiguousarray(mask[:, :, ::-1]) for name, mask in (self.masks or {}).items()}
        more: dict[str, Any] = {"name": self.name, "masks": masks, "slices": self.slices, "parts": self.parts}
        return Dataset(images, self.labels, self.classes, self.subjects, self.files, **more, copy=False)

    # -- labels -----------------------------------------------------------------------------------------------------

    def unlabelled(self) -> Dataset:
        """The same images without labels, as pretraining sees them."""
        return self._copy(labels=None)

    def with_subjects(self, subjects: Sequence[str] | np.ndarray | None) -> Dataset:
        """The same images with these subjects, such as the groups that `audit` infers."""
        return self._copy(subjects=None if subjects is None else frozen(checked_subjects(subjects, len(self))))

    def with_reading(self, understood: str, reading: Mapping[str, object], not_read: Mapping[str, str]) -> Dataset:
        """The same images with what is known of how they were read; see the attributes of these names."""
        return self._copy(understood=understood, reading=dict(reading), not_read=dict(not_read))

    def with_store(self, store: Store, masks: dict[str, np.ndarray] | None) -> Dataset:
        """The same with the pixels in another place, such as a cache; the whole data set only."""
        return self._copy(_store=store, _stored_masks=masks)

    def with_labels(self, labels: Sequence[int] | np.ndarray, classes: Sequence[str]) -> Dataset:
        """The same images with these labels, indices into `classes`."""
        names = checked_classes(classes)
        return self._copy(classes=names, labels=frozen(checked_labels(labels, len(self), names)))

    def merge_classes(self, joined: Mapping[str, Iterable[str] | str]) -> Dataset:
        """Joins classes.

        Parameters
        ----------
        joined : dict of str to sequence of str
            New name to the classes that it holds, in the order wanted. Every present class is named exactly once.

        Returns
        -------
        Dataset
        """
        if self.labels is None:
            raise ValueError("merge_classes: the data set has no labels")
        members = {new: (old,) if isinstance(old, str) else tuple(old) for new, old in joined.items()}
        named = [old for olds in members.values() for old in olds]
        unknown, missing = sorted(set(named) - set(self.classes)), sorted(set(self.classes) - set(named))
        if unknown or missing or len(named) != len(set(named)):
            raise ValueError(
                f"merge_classes: each of {', '.join(self.classes)} must be named once"
                + (f"; unknown: {', '.join(unknown)}" if unknown else "")
                + (f"; not named: {', '.join(missing)}" if missing else "")
            )
        table = np.empty(len(self.classes), np.int64)
        for new, olds in enumerate(members.values()):
            for old in olds:
                table[self.classes.index(old)] = new
        return self._copy(classes=tuple(members), labels=frozen(table[self.labels]))

    def with_task(self, task: str) -> Dataset:
        """The same images with the classes joined for a task.

        Parameters
        ----------
        task : {"4class", "3class", "cdr0"}
            "3class" joins Moderate to Mild; "cdr0" asks for dementia rating 0 against above 0. The four severities may
            be called NonDemented, "Very mild Dementia", mild, CDR 2 and the like, and one may be missing.

        Returns
        -------
        Dataset
        """
        if task not in TASKS:
            near = difflib.get_close_matches(str(task), TASKS, n=1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"task: expected one of {', '.join(TASKS)}, got {task!r}{hint}")
        if self.classes == tuple(TASKS[task]):
            return self
        joined = task_members(TASKS[task], self.classes)
        if joined is None:
            advice = f". To join others: {merge_text(self.classes)}" if len(self.classes) > 1 else ""
            raise ValueError(
                f"task {task!r} joins the classes {', '.join(SEVERITY)}, in whatever wording; this data set has "
                f"{', '.join(self.classes) or 'no classes'}{advice}"
            )
        return self.merge_classes(joined)

    # -- descriptions -----------------------------------------------------------------------------------------------

    def counts(self) -> ClassCounts:
        """Images and subjects by class."""
        classes = self.classes if self.labels is not None else ("(unlabelled)",)
        labels = self.labels if self.labels is not None else np.zeros(len(self), np.int64)
        images = np.bincount(labels, minlength=len(classes))
        if self.subjects is None:
            return ClassCounts(classes, images, None)
        subjects = np.array([len(np.unique(self.subjects[labels == c])) for c in range(len(classes))])
        return ClassCounts(classes, images, subjects)

    def fingerprint(self) -> str:
        """SHA-256 over the shape, the pixels, the labels and the subjects, in order; 64 hexadecimal digits."""
        if self._fingerprint is not None:
            return self._fingerprint
        tail = [b"none" if self.labels is None else np.ascontiguousarray(self.labels, "<i8").tobytes()]
        tail.append(b"none" if self.subjects is None else "\0".join(self.subjects).encode("utf-8", "surrogateescape"))
        self._fingerprint = self.digest_of_pixels(repr((self.shape, self.classes)).encode(), *tail)
        return self._fingerprint

    def digest_of_pixels(self, head: bytes, *tail: bytes) -> str:
        """SHA-256 over `head`, the pixels in order, and `tail`. What was computed once is kept with the pixels."""
        rows = b"all" if self._index is None else np.ascontiguousarray(self._index, "<i8").tobytes()
        key = hashlib.blake2b(b"\0".join([rows, head, *tail]), digest_size=16).hexdigest()
        known = self._store.fingerprints.get(key)
        if known is None:
            digest = hashlib.sha256(head)
            for images in self.chunks():
                digest.update(np.ascontiguousarray(images).data)
            for part in tail:
                digest.update(part)
            known = digest.hexdigest()
            self._store.remember(key, known)
        return known

    def __repr__(self) -> str:
        _, height, width, channels = self.shape
        size = f"{height} x {width} px, {'gray' if channels == 1 else 'RGB'}"
        who = "" if self.subjects is None else f", {self.n_subjects:,} subjects"
        what = "" if self.labels is None else f", {len(self.classes)} classes"
        return f"<Dataset {self.name!r}: {len(self):,} images of {size}{who}{what}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row.values()) + "</tr>"
            for row in self.counts().rows()
        )
        head = "".join(f"<th>{name}</th>" for name in (self.counts().rows() or [{"class": ""}])[0])
        return (
            f"<p><b>{html.escape(repr(self)[1:-1])}</b></p>{self._thumbnails()}"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _thumbnails(self, per_class: int = 4) -> str:
        """A few images of every class, spread over the set, as inline PNGs."""
        from .. import _core

        labels = self.labels if self.labels is not None else np.zeros(len(self), np.int64)
        cells = []
        for c in range(max(1, len(self.classes) if self.labels is not None else 1)):
            found = np.flatnonzero(labels == c)
            for i in found[np.linspace(0, len(found) - 1, min(per_class, len(found))).astype(int)]:
                data = base64.b64encode(_core.encode_png(self[int(i)].images[0])).decode()
                title = html.escape(f"{self.classes[c] if self.classes else ''} {self._files[i]}".strip())
                cells.append(f'<img src="data:image/png;base64,{data}" width="72" title="{title}" alt="{title}">')
        return f"<div>{''.join(cells)}</div>"
