"""Volumes in NIfTI, Analyze and FreeSurfer's MGH format, read by nibabel."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core


@dataclass(eq=False)
class Volume:
    """A volume in standard orientation.

    Attributes
    ----------
    data : ndarray of shape (X, Y, Z), float32
        Axes grow towards the subject's right, front and top (RAS), whatever the file's order was.
    spacing : tuple of 3 floats
        Millimetres between voxels along each axis.
    affine : ndarray of shape (4, 4)
        Voxel of `data` to millimetres in RAS.
    notes : list of str
        What was left out or had to be assumed.
    """

    data: np.ndarray
    spacing: tuple[float, float, float]
    affine: np.ndarray
    notes: list[str] = field(default_factory=list)


def require_nibabel(name: str) -> Any:
    """nibabel; ImportError with the line to type."""
    try:
        import nibabel
    except ImportError:
        raise ImportError(
            f"{name}: volumes are read by nibabel, which is not installed. Type: pip install nibabel"
        ) from None
    return nibabel


def read_nifti(path: str | Path) -> Volume:
    """Reads one file.

    Parameters
    ----------
    path : path
        `.nii`, `.nii.gz`, `.hdr` with its `.img`, `.mgz`, `.mgh`.

    Returns
    -------
    Volume
        Of a series over time, its first volume, with a note.

    Raises
    ------
    DecodeError
        Names the file.
    """
    nibabel = require_nibabel(str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = nibabel.load(path)
            data, notes = _first_volume(image)
            volume = as_ras(data, image.affine, str(path))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, ArithmeticError, TypeError, nibabel.filebasedimages.ImageFileError) as error:
        raise _core.DecodeError(f"{path}: cannot be read as a volume ({error})") from None
    except Exception as error:  # zlib.error and nibabel's own, which have no common parent
        if type(error).__module__.partition(".")[0] not in ("nibabel", "zlib", "gzip"):
            raise
        raise _core.DecodeError(f"{path}: cannot be read as a volume ({error})") from None
    if not _states_orientation(image.header):
        notes.append("states no orientation, so its axes are taken as stored")
    volume.notes = notes
    return volume


def _first_volume(image: Any) -> tuple[np.ndarray, list[str]]:
    shape = image.shape
    if len(shape) < 3 or min(shape[:3]) < 1:
        raise ValueError(f"expected three dimensions, got {' x '.join(map(str, shape))}")
    data = np.asarray(image.dataobj[(slice(None),) * 3 + (0,) * (len(shape) - 3)])
    count = int(np.prod(shape[3:]))
    return data, [f"the first of {count} volumes is read"] if count > 1 else []


def _states_orientation(header: Any) -> bool:
    try:
        return int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
    except (KeyError, ValueError, IndexError):
        return True


def as_ras(data: np.ndarray, affine: np.ndarray, name: str) -> Volume:
    """A volume whose axes are flipped and exchanged, not resampled, to the nearest of right, front and top.

    Parameters
    ----------
    data : ndarray of shape (I, J, K)
    affine : ndarray of shape (4, 4)
        Voxel to millimetres in RAS.
    name : str
        For messages.

    Returns
    -------
    Volume
    """
    nibabel = require_nibabel(name)
    if data.dtype.fields or data.dtype.kind not in "iufb":
        raise ValueError(f"expected one number a voxel, got {data.dtype}")
    affine = np.asarray(affine, np.float64)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (sizes > 0).all():
        raise ValueError("the affine is singular or not finite")
    orientation = nibabel.orientations.io_orientation(affine)
    if np.isnan(orientation).any():
        raise ValueError("the affine is singular")
    turned = nibabel.orientations.apply_orientation(np.asarray(data, np.float32), orientation)
    spacing = np.empty(3)
    spacing[orientation[:, 0].astype(int)] = sizes
    lies = affine @ nibabel.orientations.inv_ornt_aff(orientation, data.shape)
    return Volume(np.ascontiguousarray(turned), (float(spacing[0]), float(spacing[1]), float(spacing[2])), lies)
