"""Pictures in formats that the core does not decode: TIFF, BMP, WebP and whatever else Pillow reads."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core

MAX_PIXELS = 1 << 24  # the core's own bound


def require_pillow(name: str) -> Any:
    """Pillow's Image module; ImportError with the line to type."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            f"{name}: pictures other than JPEG and PNG are read by Pillow, which is not installed. "
            "Type: pip install pillow"
        ) from None
    return Image


def read_pillow(path: str | Path, max_pixels: int = 0) -> tuple[np.ndarray, str]:
    """Samples as the file has them.

    Parameters
    ----------
    path : path
    max_pixels : int
        0 for the core's own bound, 2**24.

    Returns
    -------
    samples : ndarray of shape (H, W, 1 or 3), uint8, uint16, int32 or float32
        Alpha composited over black; palettes and CMYK as RGB.
    note : str
        What was left out: "the first of 12 pages"; else "".

    Raises
    ------
    DecodeError
        Names the file.
    """
    image_module = require_pillow(str(path))
    most = max_pixels or MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with image_module.open(path) as image:
                if image.width * image.height > most:
                    size = f"{image.height} x {image.width}"
                    raise ValueError(f"{size} pixels, expected at most {most} in all: raise max_pixels")
                pages = getattr(image, "n_frames", 1)
                samples = _samples(image, image_module)
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, image_module.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's
            raise
        raise _core.DecodeError(f"{path}: cannot be read by Pillow ({error})") from None
    note = f"the first of {pages} pages" if pages > 1 else ""
    return (samples[..., None] if samples.ndim == 2 else samples), note


def _samples(image: Any, image_module: Any) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        return np.asarray(image)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        over = image_module.new("RGBA", image.size, (0, 0, 0, 255))
        over.alpha_composite(image.convert("RGBA"))
        return np.asarray(over.convert("L" if image.mode in ("LA", "La") else "RGB"))
    return np.asarray(image.convert("RGB"))


def to_uint8(samples: np.ndarray, range_: Any, channels: int) -> np.ndarray:
    """Samples as (H, W, channels), uint8, by the rules of the core: a range of values becomes black to white.

    Parameters
    ----------
    samples : ndarray of shape (H, W, 1 or 3)
    range_ : None, "percentile" or (low, high)
        None is all that the type can hold; of numbers that are neither 8 nor 16 bits, from the least to the greatest.
    channels : {1, 3}

    Returns
    -------
    ndarray of shape (H, W, channels), uint8
    """
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0) if samples.dtype.kind == "f" else samples
    if range_ == "percentile":
        low, high = (float(v) for v in np.percentile(finite, (1, 99), method="inverted_cdf"))
    elif range_ is not None:
        low, high = float(range_[0]), float(range_[1])
    elif finite.dtype in (np.uint8, np.uint16):
        low, high = 0.0, float(np.iinfo(finite.dtype).max)
    else:
        low, high = float(finite.min()), float(finite.max())
    if not low < high:
        low, high = 0.0, float(np.iinfo(finite.dtype).max) if finite.dtype in (np.uint8, np.uint16) else low + 1.0
    if (low, high) == (0.0, 255.0) and finite.dtype == np.uint8:
        out = np.ascontiguousarray(finite)
    else:
        unit = (np.clip(finite.astype(np.float64), low, high) - low) / (high - low)
        out = np.floor(255 * unit + 0.5).astype(np.uint8)
    if out.shape[2] == channels:
        return out
    if channels == 3:
        return np.repeat(out, 3, axis=2)
    red, green, blue = (out[..., c].astype(np.uint32) for c in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[..., None]


def fitted(image: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """An image (H, W, C), uint8, brought to a size: "pad" black beside it, "crop" its centre, or "stretch"."""
    (H, W), (rows, columns) = image.shape[:2], size
    if (H, W) == (rows, columns):
        return image
    if fit == "stretch" or H * columns == W * rows:
        return _core.resize(image[None], size, 1)[0]
    if fit == "crop":
        h, w = _inscribed((rows, columns), (H, W))
        top, left = (H - h) // 2, (W - w) // 2
        return _core.resize(np.ascontiguousarray(image[None, top : top + h, left : left + w]), size, 1)[0]
    h, w = _inscribed((H, W), (rows, columns))
    out = np.zeros((rows, columns, image.shape[2]), np.uint8)
    top, left = (rows - h) // 2, (columns - w) // 2
    out[top : top + h, left : left + w] = _core.resize(image[None], (h, w), 1)[0]
    return out


def unfitted(image: np.ndarray, shape: tuple[int, int], fit: str) -> np.ndarray:
    """The inverse of `fitted` for an image (H, W), float32: brought back to a shape, with 0 where it was cropped."""
    if image.shape == shape:
        return image
    rows, columns = image.shape
    if fit == "stretch" or shape[0] * columns == shape[1] * rows:
        return resized(image, shape)
    if fit == "crop":
        h, w = _inscribed((rows, columns), shape)
        top, left = (shape[0] - h) // 2, (shape[1] - w) // 2
        out = np.zeros(shape, np.float32)
        out[top : top + h, left : left + w] = resized(image, (h, w))
        return out
    h, w = _inscribed(shape, (rows, columns))
    top, left = (rows - h) // 2, (columns - w) // 2
    return resized(image[top : top + h, left : left + w], shape)


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return _core.resize(np.ascontiguousarray(image)[None, :, :, None], shape, 1)[0, ..., 0]


def _inscribed(shape: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """The largest size of this shape that fits into another."""
    (H, W), (rows, columns) = shape, into
    if W * rows > H * columns:
        return max(1, (2 * H * columns + W) // (2 * W)), columns
    return rows, max(1, (2 * W * rows + H) // (2 * H))
