"""What files say about themselves without their pixels: size, format, depth, JPEG tables, scanner.

A classifier must not need any of it. Where it depends on the class, the files of the classes were made differently, and
a network can learn that from the traces which it leaves in the pixels. The time of a file is left out: copying and
unpacking set it anew, and it leaves no trace in the pixels.

References
----------
ITU-T T.81 (JPEG), annex K: the tables that libjpeg scales by its quality.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ._pillow import require_pillow
from ._walk import VOLUME_EXTENSIONS, ending, sniff

UNREADABLE = "header not readable"
NONE = "none"

# Annex K.1, luminance; the order does not matter, as tables are compared sorted.
_LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 18 22 37 56 68 "
    "109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)
_BITS = {"1": 1, "I": 32, "F": 32}
_CHANNELS = {"1": "gray", "L": "gray", "I": "gray", "F": "gray", "P": "palette", "RGB": "RGB", "CMYK": "CMYK"}
_TAGS = {271: "make", 272: "model", 305: "software"}  # of EXIF
_DICOM = {
    "scanner": ("Manufacturer", "ManufacturerModelName", "StationName"),
    "field strength": ("MagneticFieldStrength",),
    "voxel size": ("PixelSpacing", "SliceThickness"),
    "image size": ("Rows", "Columns"),
    "bit depth": ("BitsStored",),
}


def file_properties(sources: Sequence[str]) -> dict[str, np.ndarray]:
    """Properties of files, by name.

    Parameters
    ----------
    sources : sequence of N str
        Paths; a file that occurs several times is read once.

    Returns
    -------
    dict of str to ndarray of shape (N,)
        "file size" in bytes is float64, NaN where the file is gone; all others are str objects, such as "JPEG". Only
        what at least one file has: "file format", "image size", "bit depth", "channels", "JPEG quality", "JPEG
        encoding", "embedded metadata"; of volumes "volume size" and "voxel size"; of DICOM "scanner" and "field
        strength".
    """
    paths, owner = np.unique(np.array(sources, dtype=object), return_inverse=True)
    found = [_of_file(path) for path in paths]
    names = list(dict.fromkeys(name for of_one in found for name in of_one))
    columns: dict[str, np.ndarray] = {}
    for name in names:
        if name == "file size":
            columns[name] = np.array([of_one.get(name, np.nan) for of_one in found], np.float64)[owner]
        else:
            columns[name] = np.array([of_one.get(name, NONE) for of_one in found], dtype=object)[owner]
    return columns


def _of_file(path: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = {"file size": float(os.path.getsize(path))}
        kind = "volume" if ending(path) in VOLUME_EXTENSIONS else sniff(path)
    except OSError:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            of_kind = {"dicom": _of_dicom, "volume": _of_volume}.get(kind, _of_picture)
            return found | of_kind(path)
    except Exception:  # each library has its own; the audit lists files that cannot be read, and here one is a value
        return found | {"file format": UNREADABLE}


def _of_picture(path: str) -> dict[str, Any]:
    with require_pillow(path).open(path) as image:
        found = {
            "file format": image.format,
            "image size": f"{image.height} x {image.width}",
            "bit depth": f"{_bits(path, image)} bits",
            "channels": _CHANNELS.get(image.mode, "gray" if image.mode.startswith("I;16") else image.mode),
            "embedded metadata": _metadata(image),
        }
        if image.format == "JPEG":
            found["JPEG quality"] = _quality(tuple(next(iter(image.quantization.values()))))
            sampling = ", ".join(f"{h} x {v}" for _, h, v, *_ in image.layer)
            found["JPEG encoding"] = f"{'progressive' if image.info.get('progressive') else 'baseline'}, {sampling}"
        return found


def _bits(path: str, image: Any) -> int:
    if image.format == "PNG":  # Pillow reads 16-bit colours as 8-bit ones
        with open(path, "rb") as file:
            return file.read(25)[24]
    return 16 if image.mode.startswith("I;16") else _BITS.get(image.mode, 8)


@lru_cache
def _quality(table: tuple[int, ...]) -> str:
    """The quality for which libjpeg would write this table, or the nearest to it."""
    distance = np.abs(_TABLES - np.sort(np.asarray(table, np.int64))).sum(axis=1)
    quality = int(distance.argmin()) + 1
    if distance.min() == 0:
        return f"{quality}"
    return f"about {quality} (tables {zlib.crc32(bytes(min(v, 255) for v in table)):08x})"


def _libjpeg_tables() -> np.ndarray:
    """ndarray of shape (100, 64), int64: the sorted luminance tables of qualities 1 to 100."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.sort(np.clip((np.array(_LUMINANCE.split(), np.int64) * scale + 50) // 100, 1, 255), axis=1)


_TABLES = _libjpeg_tables()


def _metadata(image: Any) -> str:
    """Which blocks there are, and what they say of the resolution and of the program that wrote them."""
    blocks = sorted(key for key, value in image.info.items() if isinstance(value, (bytes, str)) or key == "jfif")
    said = [f"{key} {image.info[key]}" for key in ("dpi",) if key in image.info]
    said += [f"{key} {value[:40]}" for key, value in image.info.items() if isinstance(value, str)]
    if "exif" in image.info:
        tags = image.getexif()
        said += [f"{name} {str(tags[tag])[:40]}" for tag, name in _TAGS.items() if tag in tags]
    return ", ".join(blocks + said) or NONE


def _of_volume(path: str) -> dict[str, Any]:
    from ._nifti import require_nibabel

    header = require_nibabel(path).load(path).header
    return {
        "file format": ending(path),
        "volume size": " x ".join(map(str, header.get_data_shape())),
        "voxel size": " x ".join(f"{size:.3g}" for size in header.get_zooms()[:3]),
        "bit depth": str(header.get_data_dtype()),
    }


def _of_dicom(path: str) -> dict[str, Any]:
    import pydicom

    tags = pydicom.dcmread(path, stop_before_pixels=True)
    found = {"file format": f"DICOM, {tags.file_meta.get('TransferSyntaxUID', 'unknown')}"}
    for name, keywords in _DICOM.items():
        values = [str(tags.get(keyword)) for keyword in keywords if tags.get(keyword) is not None]
        found |= {name: ", ".join(values)} if values else {}
    return found
