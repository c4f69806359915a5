"""Makes what people have: pictures, tables, volumes and DICOM series, small and known."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pixels(seed: int, shape: tuple[int, ...] = (12, 12)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(
    path: Path, seed: int | None = None, shape: tuple[int, ...] = (12, 12), mode: str = "L", **options: Any
) -> Path:
    """A picture in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(path.name))) if seed is None else seed
    kind = {".jpe": "JPEG", ".jfif": "JPEG"}.get(path.suffix.lower())
    Image.fromarray(pixels(seed, shape)).convert(mode).save(path, kind, **options)
    return path


def pictures(root: Path, names: str, **options: Any) -> Path:
    """`a/1.png b/[1-3].png`: pictures under a root; a range in brackets stands for several."""
    for name in expanded(names):
        picture(root / name, **options)
    return root


def expanded(names: str) -> list[str]:
    found = []
    for name in names.split():
        if "[" in name:
            first, last = name[name.index("[") + 1 : name.index("]")].split("-")
            found += [
                f"{name[: name.index('[')]}{i}{name[name.index(']') + 1 :]}" for i in range(int(first), int(last) + 1)
            ]
        else:
            found.append(name)
    return [name.replace("~", " ") for name in found]


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(line.strip() for line in text.strip().splitlines()).encode(encoding))
    return path


def png_bytes(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(seed)).save(stream, "PNG")
    return stream.getvalue()


# -- volumes ----------------------------------------------------------------------------------------------------------


def head(shape: tuple[int, int, int] = (10, 12, 8)) -> np.ndarray:
    """An ellipsoid in RAS order whose brightness tells right from left, front from back and top from bottom."""
    grid = np.indices(shape).astype(float)
    radius = sum(((g - (n - 1) / 2) / (0.48 * n)) ** 2 for g, n in zip(grid, shape, strict=True))
    return np.where(radius < 1, 300 + 20 * grid[0] + 7 * grid[1] + 3 * grid[2], 0).astype(np.float32)


def nifti(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    return path


def reoriented(
    data: np.ndarray, axes: tuple[int, int, int], signs: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The same volume stored in another order of axes, and the affine that says so."""
    stored = data.transpose(axes)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for i, axis in enumerate(axes):
        affine[axis, i] = signs[i]
        if signs[i] < 0:
            stored = np.flip(stored, i)
            affine[axis, 3] = data.shape[axis] - 1
    return np.ascontiguousarray(stored), affine


def dicom_series(
    folder: Path,
    data: np.ndarray,
    *,
    plane: str = "axial",
    patient: str = "P1",
    name: str = "DOE^JANE",
    series: int = 3,
    endings: str = "",
    **tags: Any,
) -> Path:
    """A volume (RAS order, whole numbers) as single-frame files, numbered at random; spacing 1 mm."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    uid, study = generate_uid(), generate_uid()
    # Patient coordinates of DICOM grow to the left, the back and the top: x = -R, y = -A, z = S.
    rows, columns, normal = {
        "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
        "sagittal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    }[plane]
    lps = data[::-1, ::-1, :]  # index grows with x, y, z of DICOM
    axis = int(np.flatnonzero(normal)[0])
    order = np.random.default_rng(0).permutation(lps.shape[axis])
    for k in range(lps.shape[axis]):
        cut = np.take(lps, k, axis=axis)
        others = [i for i in range(3) if i != axis]
        along_row, along_column = int(np.flatnonzero(rows)[0]), int(np.flatnonzero(columns)[0])
        image = cut.transpose(others.index(along_column), others.index(along_row))
        position = [0.0, 0.0, 0.0]
        position[axis] = float(k)
        if sum(columns) < 0:
            image = image[::-1]
            position[along_column] = float(lps.shape[along_column] - 1)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
        ds = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        ds.PatientName, ds.PatientID, ds.Modality = name, patient, "MR"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SeriesNumber = study, uid, series
        ds.InstanceNumber = int(order[k]) + 1  # says nothing about the place
        ds.Rows, ds.Columns = image.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelSpacing, ds.SliceThickness = [1.0, 1.0], 1.0
        ds.ImageOrientationPatient = [float(v) for v in (*rows, *columns)]
        ds.ImagePositionPatient = position
        for key, value in tags.items():
            setattr(ds, key, value)
        ds.PixelData = np.ascontiguousarray(image.astype(np.uint16)).tobytes()
        ds.save_as(folder / f"IM{order[k]:04d}{endings}", enforce_file_format=True)
    return folder
