"""Volumes as data sets of slices: NIfTI files and DICOM series of a folder, cut and put into standard orientation."""

from __future__ import annotations

import re
import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from .._shared import Channels, Fit, OnError, Plane, in_words, option_text
from ._cache import options_kept, through_cache
from ._cut import check_cut, slices_of
from ._dataset import Dataset
from ._dicom import find_series, read_series
from ._folder import check_root, nothing_to_read
from ._found import Asked, Found
from ._gather import gather
from ._images import Intensity, check_reading
from ._names import known_names
from ._nifti import Volume, read_nifti
from ._overlay import CutVolume
from ._pillow import fitted
from ._pixel_file import PixelFile
from ._subjects import Groups
from ._walk import Listing, walk
from ._warnings import DataWarning, FilesLeftOut
from ._words import alike, is_class, is_subject, normal


@dataclass
class Item:
    """One volume: where it is, whose it is, what it is called among the subject's, and how it is read."""

    place: str  # of the file, or of the first file of a series
    subject: str
    name: str
    read: Callable[[], Volume]
    notes: list[str] = field(default_factory=list)
    is_dicom: bool = False


@dataclass(frozen=True)
class Cut:
    """Which slices are taken, and which values become black and white; see `Volumes`."""

    plane: Plane = "axial"
    every: int = 2
    range: Any = None
    intensity: Intensity = None

    def __post_init__(self) -> None:
        check_cut(self.plane, self.every, self.range)

    def options(self) -> dict[str, Any]:
        """By name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(eq=False)
class Slice:
    """One slice with what is known of it."""

    file: str
    image: np.ndarray
    item: int
    number: int
    position: int
    volume: Volume


def Volumes(
    root: str | Path,
    *,
    plane: Plane = "axial",
    every: int = 2,
    range: Sequence[float] | None = None,
    groups: Groups = None,
    labels: Any = None,
    image_size: int | None = None,
    channels: Channels = 1,
    merge: Any = None,
    class_order: Sequence[str] | str | None = None,
    labelled: bool | None = None,
    layout: str | None = None,
    intensity: Intensity = None,
    fit: Fit = "pad",
    errors: OnError = "raise",
    name: str | None = None,
    cache: str | Path | None = None,
) -> Dataset:
    """Reads NIfTI files and DICOM series as slices in standard orientation.

    Axes are flipped and exchanged by the affine to right, front and top; volumes are not resampled along the axis that
    is cut, and slices are resampled to square pixels of the finer spacing. As in radiology the subject's right side is
    on the left of the picture.

    Parameters
    ----------
    root : path
        Folders below it are classes, as for `ImageFolder`. DICOM series are put together by their tags.
    plane : {"axial", "coronal", "sagittal"}
    every : int
        Take every so many-th slice.
    range : (low, high) or None
        Up to 1: shares of the volume along the axis, such as (0.3, 0.7). Above: the first and the last slice, from 1,
        counted from the bottom, the back or the left. None: slices of which at least 5 % are brighter than a tenth of
        the range between black and white.
    groups : str, tuple, callable or None
        Subjects, as for `ImageFolder`. None takes DICOM's PatientID (names of patients are never kept), the schemes of
        BIDS, OASIS, ADNI and IXI, or the name of the file.
    labels : str, tuple or None
        "participants.tsv:column" with the class of each subject or file.
    image_size : int or None
        Resize to this many pixels; needed where volumes differ in size.
    channels : {1, 3}
    merge, class_order, layout
        As for `ImageFolder`.
    labelled : bool or None
        None reads classes where there are any.
    intensity : {"percentile", "full"}, (low, high) or None
        The values that become black and white: the 1st and 99th percentile of the volume's finite voxels (also None),
        its least and greatest, or these two.
    fit : {"pad", "crop", "stretch"}
        What becomes of slices that are not square when `image_size` is given.
    errors : {"raise", "warn"}
    name : str or None
    cache : path or None
        A folder that keeps the slices, as for `ImageFolder`.

    Returns
    -------
    Dataset
        `slices` counts those taken of each volume, from 1; `files` has the number of the slice in its volume.

    Raises
    ------
    ImportError
        nibabel or pydicom is not installed; the message has the line to type.
    DecodeError
        A volume that is damaged.

    Examples
    --------
    >>> Volumes("ds000030", plane="axial", every=4, labels="participants.tsv:diagnosis")  # doctest: +SKIP
    """
    check_reading(image_size, channels, errors, intensity, fit)
    cut = Cut(plane, every, range, intensity)
    root = check_root(root)
    asked = Asked(groups, labels, layout, merge, class_order, labelled)
    reading: dict[str, Any] = {"image_size": image_size, "channels": channels, "fit": fit, "errors": errors}
    options = {"reader": "Volumes", **asked.options(), **options_kept(reading), **cut.options()}

    def read(into: PixelFile | None) -> Dataset:
        return read_volumes(root, asked, cut, name or root.absolute().name, {**reading, "into": into})

    return through_cache(cache, root, options, asked.tables(root), read)


def read_volumes(root: Path, asked: Asked, cut: Cut, name: str, reading: dict[str, Any]) -> Dataset:
    """All slices, in memory or, one at a time, in the file `reading["into"]`."""
    into: PixelFile | None = reading.get("into")
    found, items = find_volumes(root, asked)
    image_size, channels, fit = reading["image_size"], reading["channels"], reading["fit"]
    size = None if image_size is None else (int(image_size), int(image_size))
    images: list[np.ndarray] = []
    files: list[str] = []
    owners: list[int] = []
    positions: list[int] = []
    for piece in iter_slices(found, items, cut, reading["errors"]):
        image = piece.image[..., None] if size is None else fitted(piece.image[..., None], size, fit)
        if images and image.shape != images[0].shape:
            side = max(32, *image.shape[:2], *images[0].shape[:2])
            raise ValueError(
                f"slices of several sizes: {files[0]} has {_by(images[0])} px, {piece.file} has {_by(image)}. Resize "
                f"them all, keeping proportions: {option_text('image_size', side)}"
            )
        if into is not None:
            into.append(np.repeat(image[None], channels, axis=3))
        if into is None or not images:
            images.append(image)
        files.append(piece.file)
        owners.append(piece.item)
        positions.append(piece.position)
    for note in found.notes:
        warnings.warn(note, DataWarning, stacklevel=5)
    if not images:
        raise ValueError(f"{root}: no slice lies in the range {cut.range} of any volume")
    pixels = np.stack(images) if into is None else into.finish()
    ds = Dataset(
        pixels if pixels.shape[3] == channels else np.repeat(pixels, channels, axis=3),
        None if found.labels is None else found.labels[owners],
        found.classes,
        None if found.subjects is None else found.subjects[owners],
        files,
        name=name,
        slices=positions,
        parts=None if found.parts is None else found.parts[owners],
        sources=[str(root / items[owner].place) for owner in owners],
        copy=False,
    )
    return ds.with_reading(found.reading, {"fit": fit, **cut.options()}, found.others)


def _by(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"


def find_volumes(root: Path, asked: Asked) -> tuple[Found, list[Item]]:
    """The volumes of a folder with their classes and subjects, in one order; nothing is read but headers."""
    listing = walk(root)
    if not listing.volumes:
        raise ValueError(_no_volumes(listing))
    items = _nifti_items(root, listing.files.get("volume", []))
    if dicom := listing.files.get("dicom"):
        items += _dicom_items(root, dicom, listing)
    if not items:
        raise ValueError(_no_volumes(listing))
    by_place = {item.place: item for item in items}
    for kind in ("volume", "dicom"):  # what is not the place of an item belongs to one, or is counted already
        listing.files.pop(kind, None)
    own = [item.subject for item in items]
    subjects = asked.labelled is None and asked.layout is None and _folders_are_subjects(items)
    found = gather(listing, list(by_place), asked, own, by_folders=not subjects)
    found.reading = f"{len(items):,} volumes; {found.reading}"
    return found, [by_place[name] for name in found.files]


def _no_volumes(listing: Listing) -> str:
    if listing.pictures:
        n, shell = len(listing.pictures), f"need no cutting: simclr-mri data {shlex.quote(str(listing.root))}"
        return f"{listing.root}: no volumes, but {n:,} pictures, which {in_words('ImageFolder reads', shell)}"
    listing.files = {kind: names for kind, names in listing.files.items() if kind not in ("volume", "dicom")}
    return nothing_to_read(listing, True).replace("no class folders and no images", "no volumes")


def _nifti_items(root: Path, files: Sequence[str]) -> list[Item]:
    """One item a file; the subject by a known scheme, or the shortest end of the path that tells the files apart."""
    stems = [re.sub(r"\.(nii\.gz|nii|mgz|mgh|hdr)$", "", name, flags=re.IGNORECASE) for name in files]
    named = known_names(files)
    depth = 1
    while len({"/".join(stem.split("/")[-depth:]) for stem in stems}) < len(stems):
        depth += 1
    items = []
    for i, (name, stem) in enumerate(zip(files, stems, strict=True)):
        short = "_".join(stem.split("/")[-depth:])
        if named is None and depth > 1:  # T1.nii.gz in a folder for each subject
            subject = "_".join(stem.split("/")[-depth:-1])
        else:
            subject = short if named is None else named.subjects[i]
        items.append(Item(name, subject, short, partial(read_nifti, root / name)))
    return items


def _dicom_items(root: Path, files: list[str], listing: Listing) -> list[Item]:
    found, others = find_series(root, files)
    listing.others.update(others)
    return [
        Item(s.files[0], s.subject, f"{s.subject}_{s.label}", partial(read_series, root, s), s.notes, True)
        for s in found
    ]


def _folders_are_subjects(items: Sequence[Item]) -> bool:
    """Whether the folders that could be classes hold one subject each, as in an export: by name, or by DICOM's tags."""
    owners: dict[str, set[str]] = {}
    for item in items:
        if "/" not in item.place:
            return False
        owners.setdefault(item.place.split("/")[0], set()).add(item.subject)
    if len(owners) < 2 or any(len(subjects) > 1 for subjects in owners.values()) or any(map(is_class, owners)):
        return False
    named = all(normal(next(iter(s))) in normal(folder) or is_subject(folder) for folder, s in owners.items())
    nested = all(item.is_dicom and item.place.count("/") > 1 for item in items)
    return named or nested or alike(list(owners))


class VolumeStream:
    """The slices of a folder of volumes, a data set for each volume, one of which is in memory at a time."""

    def __init__(
        self, found: Found, items: Sequence[Item], cut: Cut, image_size: int, channels: int, fit: str, errors: OnError
    ) -> None:
        self.found, self.items, self.cut = found, items, cut
        self.image_size, self.channels, self.fit, self.errors = int(image_size), channels, fit, errors

    def __len__(self) -> int:
        """The number of volumes."""
        return len(self.items)

    def __iter__(self) -> Iterator[Dataset]:
        for ds, _ in self.with_places():
            yield ds

    def with_places(self) -> Iterator[tuple[Dataset, CutVolume]]:
        """Each volume's slices, and where in the volume they lie."""
        for item, pieces in groupby(
            iter_slices(self.found, self.items, self.cut, self.errors), lambda piece: piece.item
        ):
            yield self._volume(item, list(pieces))
        for note in self.found.notes:
            warnings.warn(note, DataWarning, stacklevel=2)

    def _volume(self, item: int, slices: list[Slice]) -> tuple[Dataset, CutVolume]:
        size = (self.image_size, self.image_size)
        images = np.stack([fitted(piece.image[..., None], size, self.fit) for piece in slices])
        ds = Dataset(
            np.repeat(images, 3, axis=3) if self.channels == 3 else images,
            subjects=None if self.found.subjects is None else [self.found.subjects[item]] * len(slices),
            files=[piece.file for piece in slices],
            name=self.found.root.absolute().name,
            slices=[piece.position for piece in slices],
        )
        volume, first = slices[0].volume, slices[0].image
        X, Y, Z = volume.data.shape
        place = CutVolume(
            _safe(self.items[item].name),
            (X, Y, Z),
            volume.affine,
            self.cut.plane,
            tuple(piece.number for piece in slices),
            (first.shape[0], first.shape[1]),
            self.fit,
        )
        return ds, place


def iter_slices(found: Found, items: Sequence[Item], cut: Cut, errors: OnError = "raise") -> Iterator[Slice]:
    """All slices, volume by volume; notes and failures go to `found.notes`, each kind once."""
    notes: Counter[str] = Counter()
    example: dict[str, str] = {}
    failures = []
    for i, item in enumerate(items):
        try:
            volume = item.read()
        except (_core.DecodeError, OSError) as error:
            if errors == "raise":
                raise
            failures.append(str(error))
            continue
        for note in (*item.notes, *volume.notes):
            notes[note] += 1
            example.setdefault(note, item.place)
        options = {"plane": cut.plane, "every": cut.every, "range_": cut.range, "intensity": cut.intensity}
        for position, (number, image) in enumerate(slices_of(volume, **options), 1):
            yield Slice(_file_name(found, i, item, cut.plane, number), image, i, number, position, volume)
    found.notes += [f"{n:,} volumes, such as {example[note]}: {note}" for note, n in notes.items()]
    if failures:
        text = f"{len(failures):,} of {len(items):,} volumes cannot be read and are left out: {failures[0]}"
        found.notes.append(FilesLeftOut(text))


def _file_name(found: Found, index: int, item: Item, plane: str, number: int) -> str:
    """`class/volume_axial_087.png`, unique since volumes' names are."""
    cls = "" if found.labels is None else f"{_safe(found.classes[found.labels[index]])}/"
    part = "" if found.parts is None or not found.parts[index] else f"{_safe(str(found.parts[index]))}/"
    return f"{part}{cls}{_safe(item.name)}_{plane}_{number:03d}.png"


def _safe(name: str) -> str:
    return re.sub(r"[^\w .()+-]+", "_", name).strip() or "_"
