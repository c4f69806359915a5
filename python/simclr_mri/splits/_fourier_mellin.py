"""Descriptors that turning, mirroring, shifting and zooming leave nearly unchanged (Fourier-Mellin).

An image is reduced to local contrast at 64 x 64 pixels, windowed, and transformed; the magnitude of its spectrum does
not depend on where things are. Sampled over the logarithm of the frequency and over the angle, a zoom becomes a shift
along one axis and a rotation a shift along the other, so the magnitude of a second transform depends on neither. Adding
the two signs of the angular frequency makes it blind to mirroring, and the first magnitude to inverted grey levels.

Cutting away a border or stretching in one direction does change the descriptor. So every image is also described as it
would look when cut to a corner, cut to the middle, or stretched: the views. Each view is compared with every image. No
view is drawn: a cut is a narrower window, and the spectrum of a stretched picture is the picture's, read elsewhere.

References
----------
Casasent and Psaltis, Applied Optics 15:1795, 1976. Reddy and Chatterji, IEEE Transactions on Image Processing 5:1266,
1996.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .. import _core

SIDE_PX = 64
CENTRE = (SIDE_PX - 1) / 2
N_RINGS, N_ANGLES = 40, 64
LOWEST, HIGHEST = 0.045, 0.36
"""Frequencies of the first and last ring, in cycles per pixel."""

RING_STEP = float(np.log(HIGHEST / LOWEST)) / (N_RINGS - 1)
ANGULAR = 14
"""Angular frequencies kept; higher ones are noise."""

AT_ONCE = 16
"""Images whose spectra are taken at once: those of all views take 1.7 MB."""

_PADDED = 96.0
"""Pixels that a line has once it is padded. A cut that shows less of it is padded in proportion, so that all spectra
have the same rings."""


def rotation(degrees: float, scale: float = 1.0) -> np.ndarray:
    """The matrix that turns and zooms vectors (row, column): ndarray of shape (2, 2)."""
    a = np.deg2rad(degrees)
    return scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


@dataclass(frozen=True, eq=False)
class View:
    """How an image might have been cut or stretched: p -> linear (p - centre) + centre + shift."""

    linear: np.ndarray
    shift: np.ndarray


def _views() -> tuple[View, ...]:
    zoom, origin = 1 / 0.8, np.zeros(2)
    border = CENTRE * (zoom - 1)
    views = [View(np.eye(2), origin)]
    for degrees in (0, 45, 90, 135):
        turn = rotation(degrees)
        views.append(View(turn @ np.diag([1.09, 1 / 1.09]) @ turn.T, origin))
    views += [View(zoom * np.eye(2), border * np.array(way)) for way in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    return (*views, View(zoom * np.eye(2), origin), View(np.eye(2) / 0.65, origin))


VIEWS = _views()
"""The whole image, stretched in four directions, four corners, and two middles."""

N_UNCUT = 5
"""Views that show the whole image: their spectra are those of the image, read elsewhere."""


def shrink(images: np.ndarray) -> np.ndarray:
    """Grey levels at 64 x 64: ndarray of shape (N, 64, 64), float32 in [0, 255]."""
    small = _core.resize(np.ascontiguousarray(images), SIDE_PX)
    return small[..., 0].astype(np.float32) if small.shape[3] == 1 else small.mean(axis=3, dtype=np.float32)


def blur_matrix(n: int, sigma_px: float) -> np.ndarray:
    """Gaussian smoothing along one axis as a matrix."""
    distance = np.subtract.outer(np.arange(n), np.arange(n))
    weights = np.exp(-0.5 * (distance / sigma_px) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


_FINE, _COARSE = (np.ascontiguousarray(blur_matrix(SIDE_PX, sigma).T) for sigma in (0.8, 4.0))


def local_contrast(gray: np.ndarray) -> np.ndarray:
    """Difference of Gaussians over its own local strength: edges of one height, whatever brightness and contrast."""
    return _core.local_contrast(gray, _FINE, _COARSE, 8)


@dataclass(frozen=True, eq=False)
class _Cut:
    """The square that a view shows of an image, and the waves that it is made of.

    Attributes
    ----------
    row, column : int
        Where the square begins.
    window : ndarray of shape (m, m), float32
        Falls to 0 at a circle.
    waves : ndarray of shape (2, m / 2, waves), float32
        Cosines and sines in the first half of a line, about its middle: where that is does not change a magnitude.
    """

    row: int
    column: int
    window: np.ndarray
    waves: np.ndarray


def _cut(view: View, n_waves: int) -> _Cut:
    zoom = float(np.sqrt(np.linalg.det(view.linear)))
    radius = SIDE_PX / 2 / zoom
    half = int(np.ceil(radius))
    middle = CENTRE - view.shift / zoom
    row, column = np.clip(np.round(middle - half + 0.5).astype(int), 0, SIDE_PX - 2 * half).tolist()
    y, x = np.mgrid[row : row + 2 * half, column : column + 2 * half] - middle[:, None, None]
    edge = np.clip(2 * np.hypot(y, x) / radius - 1, 0, 1)
    angle = 2 * np.pi * zoom / _PADDED * np.outer(np.arange(half) - half + 0.5, np.arange(n_waves))
    window = (0.5 + 0.5 * np.cos(np.pi * edge)).astype(np.float32)
    return _Cut(row, column, window, np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32))


def _log_polar(linear: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the halves of a spectrum are read for the rings and angles of a stretch: four places each, and weights."""
    f = np.geomspace(LOWEST, HIGHEST, N_RINGS)[:, None] * _PADDED
    angle = np.arange(N_ANGLES) * np.pi / N_ANGLES
    # The spectrum of a picture that was stretched by a matrix is the picture's, read at the transpose.
    fy, fx = linear.T @ np.stack([(f * np.sin(angle)).ravel(), (f * np.cos(angle)).ravel()])
    backwards = fx < 0
    fy, fx = np.where(backwards, -fy, fy), np.abs(fx)
    y, x = np.floor(fy).astype(int), np.floor(fx).astype(int)
    wy, wx = fy - y, fx - x
    corners = [(dy, dx) for dy in (0, 1) for dx in (0, 1)]
    index = [((y + dy < 0) * width + np.abs(y + dy)) * width + x + dx for dy, dx in corners]
    weights = [(wy if dy else 1 - wy) * (wx if dx else 1 - wx) for dy, dx in corners]
    return np.stack(index).astype(np.int32), np.stack(weights).astype(np.float32)


def _n_waves(stretch: np.ndarray) -> int:
    """From 0 to the highest frequency that is read after a stretch, in cycles a padded line; a multiple of 8."""
    return -(-(int(np.ceil(HIGHEST * _PADDED * np.linalg.norm(stretch, 2))) + 2) // 8) * 8


_STRETCHES = [view.linear / np.sqrt(np.linalg.det(view.linear)) for view in VIEWS]
_WIDTHS = [max(map(_n_waves, _STRETCHES[:N_UNCUT]))] * N_UNCUT + [_n_waves(np.eye(2))] * (len(VIEWS) - N_UNCUT)
_CUTS = [_cut(View(np.eye(2), np.zeros(2)) if i < N_UNCUT else v, _WIDTHS[i]) for i, v in enumerate(VIEWS)]
_PLACES = [_log_polar(*stretch) for stretch in zip(_STRETCHES, _WIDTHS, strict=True)]


def polar_spectra(detail: np.ndarray, views: Sequence[int] = (0,)) -> np.ndarray:
    """Logarithm of the magnitude of the spectrum over 180 degrees, in one view or in several of the same cut.

    Parameters
    ----------
    detail : ndarray of shape (N, 64, 64), float32
    views : sequence of int

    Returns
    -------
    ndarray of shape (N, views, rings, angles), float32
    """
    cut = _CUTS[views[0]]
    index, weights = (np.stack(places) for places in zip(*(_PLACES[v] for v in views), strict=True))
    maps = _core.polar_spectra(detail, cut.row, cut.column, cut.window, cut.waves, index, weights, 0.02)
    return np.log(maps, out=maps).reshape(len(detail), len(views), N_RINGS, N_ANGLES)


def spectra_of_views(detail: np.ndarray) -> Iterator[np.ndarray]:
    """`polar_spectra` of all views, those of one cut at a time: (N, rings, angles) each."""
    for views in (range(N_UNCUT), *([view] for view in range(N_UNCUT, len(VIEWS)))):
        maps = polar_spectra(detail, views)
        yield from (np.ascontiguousarray(maps[:, v]) for v in range(len(views)))


def _transform(n: int, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines, (frequencies, n)."""
    angle = 2 * np.pi / n * np.outer(frequencies, np.arange(n))
    return np.cos(angle), np.sin(angle)


ALONG_ANGLES = np.concatenate(_transform(N_ANGLES, np.arange(1, 17))).T.astype(np.float32)
"""Sixteen frequencies from 1 on, of which the last are not used."""

_ALONG_RINGS = (np.concatenate(_transform(N_RINGS, np.arange(N_RINGS // 2 + 1))) * np.hanning(N_RINGS)).astype(
    np.float32
)


def descriptors(maps: np.ndarray) -> np.ndarray:
    """What is the same after turning, mirroring and zooming, of polar spectra (N, rings, angles): (N, 294), float32.

    The magnitudes of the transform along angles and windowed rings, those of both signs of a radial frequency added.
    """
    return _core.polar_descriptors(maps, ALONG_ANGLES, _ALONG_RINGS, ANGULAR)
