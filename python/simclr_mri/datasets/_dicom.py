"""Volumes from DICOM files, read by pydicom: series are put together by their tags, not by names or folders.

Names of patients stay in the files: a subject is called by its PatientID, or by a digest where that id is empty or is
made of the name.

References
----------
NEMA PS3.3, C.7.6.2 (image plane: position, orientation, spacing), C.7.6.16 (frames of enhanced objects).
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ._nifti import Volume, as_ras

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TAGS = (
    *(
        "SeriesInstanceUID",
        "StudyInstanceUID",
        "SeriesNumber",
        "PatientID",
        "PatientName",
        "Modality",
        "Rows",
        "Columns",
    ),
    *("SamplesPerPixel", "NumberOfFrames", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "AcquisitionNumber", "EchoNumbers", "EchoTime", "TemporalPositionIdentifier"),
    "PhotometricInterpretation",
)


@dataclass
class Series:
    """Files that make one volume.

    Attributes
    ----------
    files : list of str
        Relative to the folder; in order of the slices.
    subject, label : str
        Who, and a short name of the series such as "series-003".
    notes : list of str
    """

    files: list[str]
    subject: str
    label: str
    notes: list[str] = field(default_factory=list)


def require_pydicom(name: str) -> Any:
    """pydicom; ImportError with the line to type."""
    try:
        import pydicom
    except ImportError:
        raise ImportError(
            f"{name}: DICOM is read by pydicom, which is not installed. Type: pip install pydicom nibabel "
            "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        ) from None
    return pydicom


def find_series(root: Path, files: list[str]) -> tuple[list[Series], dict[str, str]]:
    """Sorts DICOM files into series.

    Parameters
    ----------
    root : Path
    files : list of str
        Relative to `root`.

    Returns
    -------
    series : list of Series
    others : dict of str to str
        Files that hold no slices, with the reason.
    """
    pydicom = require_pydicom(str(root))
    groups: dict[tuple[str, str], list[tuple[str, Any]]] = defaultdict(list)
    others: dict[str, str] = {}
    for name in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tags = pydicom.dcmread(root / name, stop_before_pixels=True, specific_tags=list(TAGS))
        except Exception as error:  # pydicom raises whatever a broken file makes it stumble over
            others[name] = f"files that are no DICOM ({type(error).__name__})"
            continue
        if not getattr(tags, "Rows", None) or not getattr(tags, "Columns", None):
            others[name] = f"DICOM without pixels ({getattr(tags, 'Modality', '') or 'no modality'})"
        elif int(getattr(tags, "SamplesPerPixel", 1) or 1) != 1 or "PALETTE" in _photometric(tags):
            others[name] = "DICOM in colour, such as screenshots"
        else:
            folder = name.rpartition("/")[0]
            uid = str(getattr(tags, "SeriesInstanceUID", "") or folder)
            groups[str(getattr(tags, "PatientID", "") or ""), uid].append((name, tags))
    found = [_series(members, others) for _, members in sorted(groups.items(), key=lambda item: item[1][0][0])]
    return _distinct(found), others


def _series(members: list[tuple[str, Any]], others: dict[str, str]) -> Series:
    """One series: the slices of the commonest shape and orientation, once each, in order of their place."""
    notes = []
    kinds: dict[tuple, list[tuple[str, Any]]] = defaultdict(list)
    for name, tags in members:
        kinds[_kind(tags)].append((name, tags))
    chosen = max(kinds.values(), key=len)
    for other in kinds.values():
        if other is not chosen:
            others.update(
                (name, "DICOM slices of another orientation, echo or time of the same series") for name, _ in other
            )
    chosen.sort(key=lambda item: (_place(item[1]), int(getattr(item[1], "InstanceNumber", 0) or 0), item[0]))
    places = [_place(tags) for _, tags in chosen]
    if len(chosen) > 1 and len(set(places)) < len(places) and _plane(chosen[0][1]) is not None:
        first: dict[float, str] = {}
        for (name, _), place in zip(chosen, places, strict=True):
            if first.setdefault(place, name) != name:
                others[name] = "DICOM slices at a place that another slice of the series has"
        chosen = [item for item in chosen if item[0] in first.values()]
    gaps = np.diff([_place(tags) for _, tags in chosen])
    if len(gaps) > 1 and gaps.min() > 0 and gaps.max() > 1.5 * gaps.min():
        notes.append(f"slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart: some are missing")
    tags = chosen[0][1]
    if _plane(tags) is None and int(getattr(tags, "NumberOfFrames", 1) or 1) == 1:
        notes.append("states no orientation, so its slices are taken as axial, in the order of their numbers")
    number = getattr(tags, "SeriesNumber", None)
    label = f"series-{int(number):03d}" if number is not None else "series"
    return Series([name for name, _ in chosen], subject_of(tags), label, notes)


def _distinct(found: list[Series]) -> list[Series]:
    """Series of a subject get different labels."""
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for series in found:
        taken[series.subject, series.label] += 1
        if taken[series.subject, series.label] > 1:
            series.label += f"-{taken[series.subject, series.label]}"
    return found


def _plane(tags: Any) -> np.ndarray | None:
    """Direction cosines of rows and columns, (2, 3); None if they are not stated."""
    values = getattr(tags, "ImageOrientationPatient", None)
    if values is None or len(values) != 6 or getattr(tags, "ImagePositionPatient", None) is None:
        return None
    return np.array([float(v) for v in values]).reshape(2, 3)


def _place(tags: Any) -> float:
    """Millimetres along the normal of the slice; its number where no place is stated."""
    plane = _plane(tags)
    if plane is None:
        return float(getattr(tags, "InstanceNumber", 0) or 0)
    position = np.array([float(v) for v in tags.ImagePositionPatient])
    return round(float(np.cross(plane[0], plane[1]) @ position), 3)


def _kind(tags: Any) -> tuple:
    plane = _plane(tags)
    frames = int(getattr(tags, "NumberOfFrames", 1) or 1)
    return (
        int(tags.Rows),
        int(tags.Columns),
        None if plane is None else tuple((np.round(plane, 2) + 0.0).ravel().tolist()),
        str(getattr(tags, "InstanceNumber", "")) if frames > 1 else "",
        str(getattr(tags, "EchoTime", "") or ""),
        str(getattr(tags, "TemporalPositionIdentifier", "") or ""),
    )


def subject_of(tags: Any) -> str:
    """A subject's id that holds nothing of the patient's name.

    Parameters
    ----------
    tags : pydicom.Dataset

    Returns
    -------
    str
        PatientID with signs that suit file names; "anon-" and 8 digits of a digest where it is empty or holds the name.
    """
    patient = str(getattr(tags, "PatientID", "") or "").strip()
    name = str(getattr(tags, "PatientName", "") or "")
    pieces = [piece.casefold() for piece in re.findall(r"[^\W\d_]{3,}", name)]
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", patient).strip("._-")
    if plain and not any(piece in patient.casefold() for piece in pieces) and "^" not in patient:
        return plain
    source = patient or str(getattr(tags, "StudyInstanceUID", "") or "") or name or "unknown"
    return f"anon-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def read_series(root: Path, series: Series) -> Volume:
    """Reads the slices of a series into a volume.

    Parameters
    ----------
    root : Path
    series : Series

    Returns
    -------
    Volume
        In the modality's units (rescale slope and intercept applied); MONOCHROME1 with the sign changed.

    Raises
    ------
    DecodeError
        Names the file.
    """
    pydicom = require_pydicom(str(root))
    planes, affines = [], []
    for name in series.files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                tags = None
                tags = pydicom.dcmread(root / name)
                pixels = _pixels(tags)
            except Exception as error:  # the same as above; what a decoder lacks is told apart below
                raise _explained(root / name, error, tags) from None
        planes += list(pixels)
        affines += _frames(tags, len(pixels))
    if any(affine is None for affine in affines):
        order, affine = np.arange(len(planes)), np.diag([1.0, 1.0, 1.0, 1.0])
    else:
        normal = np.cross(affines[0][0], affines[0][1])
        along = np.array([normal @ frame[2] for frame in affines])
        order = np.argsort(along, kind="stable")
        affine = _affine([affines[i] for i in order], normal)
    data = np.stack([planes[i].T for i in order], axis=2)
    try:
        return as_ras(data, LPS_TO_RAS @ affine, str(root / series.files[0]))
    except ValueError as error:
        raise _core.DecodeError(f"{root / series.files[0]}: {error}") from None


def _pixels(tags: Any) -> np.ndarray:
    """Frames in units of the modality, (F, rows, columns), float32."""
    pixels = np.asarray(tags.pixel_array)
    pixels = (pixels[None] if pixels.ndim == 2 else pixels).astype(np.float32)
    slope, intercept = (
        float(getattr(tags, key, default) or default)
        for key, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    pixels = pixels * np.float32(slope) + np.float32(intercept)
    return -pixels if _photometric(tags) == "MONOCHROME1" else pixels


def _photometric(tags: Any) -> str:
    return str(getattr(tags, "PhotometricInterpretation", "") or "")


def _frames(tags: Any, n: int) -> list[Any]:
    """Of each frame: direction of rows, of columns, position of the first pixel, spacing; None where not stated."""
    shared = _first(tags, "SharedFunctionalGroupsSequence")
    frames: list[Any] = []
    for i in range(n):
        own = tags.PerFrameFunctionalGroupsSequence[i] if "PerFrameFunctionalGroupsSequence" in tags else None
        values = []
        for group, key in (
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PixelMeasuresSequence", "PixelSpacing"),
        ):
            places = [tags, _first(own, group), _first(shared, group)]
            found = next((getattr(p, key) for p in places if p is not None and getattr(p, key, None) is not None), None)
            values.append(None if found is None else np.array([float(v) for v in found]))
        thickness = getattr(
            _first(own, "PixelMeasuresSequence") or _first(shared, "PixelMeasuresSequence") or tags,
            "SliceThickness",
            None,
        )
        orientation, position, spacing = values
        if orientation is None or position is None:
            frames.append(None)
        else:
            spacing = np.ones(2) if spacing is None else spacing
            frames.append((orientation[:3], orientation[3:], position, spacing, float(thickness or 1.0)))
    return frames


def _first(tags: Any, sequence: str) -> Any:
    found = getattr(tags, sequence, None) if tags is not None else None
    return found[0] if found else None


def _affine(frames: list[Any], normal: np.ndarray) -> np.ndarray:
    """Voxel (column, row, slice) to millimetres in LPS."""
    rows, columns, position, spacing, thickness = frames[0]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 3] = rows * spacing[1], columns * spacing[0], position
    step = (frames[-1][2] - position) / (len(frames) - 1) if len(frames) > 1 else normal * thickness
    affine[:3, 2] = step if np.linalg.norm(step) > 1e-6 else normal * thickness
    return affine


def _explained(path: Path, error: Exception, tags: Any) -> Exception:
    """The error for a file whose pixels cannot be read: what it is compressed with, and the packages that read that."""
    syntax = _compression(tags)
    if syntax is not None and not _has_decoder(syntax):
        kind = f"{path}: its pixels are compressed as {syntax.name} (transfer syntax {syntax})"
        if packages := _decoders(syntax.name):
            return ImportError(f"{kind}, and no package that reads them is installed. Type: pip install {packages}")
        return _core.DecodeError(
            f"{kind}, which pydicom does not read. Export it without compression (Explicit VR Little Endian)"
        )
    text = str(error).splitlines()[0] if str(error) else ""
    compressed = f", compressed as {syntax.name}" if syntax is not None else ""
    return _core.DecodeError(f"{path}: cannot be read as DICOM{compressed} ({type(error).__name__}: {text})")


def _compression(tags: Any) -> Any:
    """The transfer syntax of compressed pixels; None if they are not compressed, or that is not stated."""
    syntax = getattr(getattr(tags, "file_meta", None), "TransferSyntaxUID", None)
    return syntax if syntax is not None and syntax.is_transfer_syntax and syntax.is_encapsulated else None


def _has_decoder(syntax: Any) -> bool:
    """Whether an installed package reads pixels that are compressed in this way."""
    from pydicom.pixels import get_decoder

    try:
        plugins = set(get_decoder(syntax).available_plugins)
    except NotImplementedError:
        return False
    # Pillow's JPEG has 8 bits a sample, and this kind may have 12.
    return bool(plugins - {"pillow"} if syntax.name.startswith("JPEG Extended") else plugins)


def _decoders(name: str) -> str:
    """The packages that read a kind of compression, as words for pip; "" where there is none."""
    if name.startswith("High-Throughput JPEG 2000") or (name.startswith("JPEG 2000") and "Part 2" not in name):
        return "pylibjpeg pylibjpeg-openjpeg"
    return "pylibjpeg pylibjpeg-libjpeg" if name.startswith(("JPEG Base", "JPEG Ext", "JPEG Loss", "JPEG-LS")) else ""
