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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import fft, sparse

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
"""Images whose spectra are taken at once: what lies between them then stays in the second-level cache."""

_PADDED = 96


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
    return _core.resize(np.ascontiguousarray(images), SIDE_PX).mean(axis=3, dtype=np.float32)


def blur_matrix(n: int, sigma_px: float) -> np.ndarray:
    """Gaussian smoothing along one axis as a matrix."""
    distance = np.subtract.outer(np.arange(n), np.arange(n))
    weights = np.exp(-0.5 * (distance / sigma_px) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


_FINE, _COARSE = blur_matrix(SIDE_PX, 0.8), blur_matrix(SIDE_PX, 4.0)


def local_contrast(gray: np.ndarray) -> np.ndarray:
    """Difference of Gaussians over its own local strength: edges of one height, whatever brightness and contrast."""
    band = _FINE @ gray @ _FINE.T - _COARSE @ gray @ _COARSE.T
    return band / (np.sqrt(_COARSE @ (band * band) @ _COARSE.T) + 8)


def _window(view: View) -> np.ndarray:
    """What a view shows of the image, falling to 0 at a circle: ndarray of shape (64, 64)."""
    zoom = np.sqrt(np.linalg.det(view.linear))
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - CENTRE + view.shift[:, None, None] / zoom
    edge = np.clip(2 * np.hypot(y, x) * zoom / (SIDE_PX / 2) - 1, 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * edge)).astype(np.float32)


def _waves(highest: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the frequencies 0 to `highest` of a padded line: two ndarrays of shape (32, highest + 1).

    They are those of the first half of the line, about its middle: in the other half the cosines are the same ones
    backwards, and the sines too with the other sign. Where the middle is does not change a magnitude.
    """
    angle = 2 * np.pi / _PADDED * np.outer(np.arange(SIDE_PX // 2) - CENTRE, np.arange(highest + 1))
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _log_polar(linear: np.ndarray, highest: int) -> sparse.csr_matrix:
    """Bilinear sampling of the halves that `_magnitudes` gives at a view's rings and angles, as a matrix."""
    f = np.geomspace(LOWEST, HIGHEST, N_RINGS)[:, None] * _PADDED
    angle = np.arange(N_ANGLES) * np.pi / N_ANGLES
    # The spectrum of a picture that was stretched by a matrix is the picture's, read at the transpose.
    fy, fx = linear.T @ np.stack([(f * np.sin(angle)).ravel(), (f * np.cos(angle)).ravel()])
    backwards = fx < 0
    fy, fx = np.where(backwards, -fy, fy), np.abs(fx)
    there = (np.abs(fy) < highest) & (fx < highest)
    y, x = np.floor(fy).astype(int), np.floor(fx).astype(int)
    wy, wx = fy - y, fx - x
    width = highest + 1
    rows, columns, weights = [], [], []
    for dy in (0, 1):
        for dx in (0, 1):
            half = y + dy < 0
            column = (half * width + np.abs(y + dy)) * width + x + dx
            weight = (wy if dy else 1 - wy) * (wx if dx else 1 - wx)
            rows.append(np.flatnonzero(there))
            columns.append(column[there])
            weights.append(weight[there].astype(np.float32))
    return sparse.csr_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(fy.size, 2 * width * width)
    )


def _highest(view: View) -> int:
    """The highest frequency that a view needs, in cycles a padded line."""
    return min(_PADDED // 2, int(np.ceil(HIGHEST * _PADDED * np.linalg.norm(view.linear, 2))) + 1)


_HIGHEST_WHOLE = max(map(_highest, VIEWS[:N_UNCUT]))
_SIZES = [_HIGHEST_WHOLE if i < N_UNCUT else _highest(view) for i, view in enumerate(VIEWS)]
_WINDOWS = [_window(VIEWS[0] if i < N_UNCUT else view) for i, view in enumerate(VIEWS)]
_SAMPLING = [_log_polar(view.linear, size) for view, size in zip(VIEWS, _SIZES, strict=True)]
_WAVES = {size: _waves(size) for size in set(_SIZES)}
_TAPER = np.hanning(N_RINGS).astype(np.float32)[:, None]


def _magnitudes(detail: np.ndarray, view: int) -> np.ndarray:
    """Magnitudes of the spectrum of what a view shows, in two halves: rows 0 and up, and below.

    The transform is a product with waves on either side: only the lower frequencies are wanted, and products are fast.
    Both halves of a line are added for the cosines, and subtracted for the sines, before they are multiplied.
    """
    (cosines, sines), n, half_px = _WAVES[_SIZES[view]], len(detail), SIDE_PX // 2
    width = cosines.shape[1]
    seen = detail * _WINDOWS[view]
    left, right = seen[:, :, :half_px], seen[:, :, : half_px - 1 : -1]
    across = np.empty((n, SIDE_PX, 2 * width), np.float32)
    np.matmul(left + right, cosines, out=across[:, :, :width])
    np.matmul(left - right, sines, out=across[:, :, width:])
    upper, lower = across[:, :half_px], across[:, : half_px - 1 : -1]
    even, odd = cosines.T @ (upper + lower), sines.T @ (upper - lower)
    cc, cs, sc, ss = even[:, :, :width], even[:, :, width:], odd[:, :, :width], odd[:, :, width:]
    out = np.empty((n, 2, width, width), np.float32)
    for half, sign in enumerate((-1, 1)):
        real, imaginary = cc + sign * ss, cs - sign * sc
        real *= real
        imaginary *= imaginary
        real += imaginary
        np.sqrt(real, out=out[:, half])
    return out.reshape(n, -1)


def polar_spectra(detail: np.ndarray, view: int = 0) -> np.ndarray:
    """Logarithm of the magnitude of the spectrum: ndarray of shape (N, rings, angles), float32; over 180 degrees."""
    return next(_polar_spectra(detail, (view,)))


def _polar_spectra(detail: np.ndarray, views: Iterable[int]) -> Iterator[np.ndarray]:
    power = None
    for view in views:
        if power is None or view >= N_UNCUT:
            some = [_magnitudes(detail[i : i + AT_ONCE], view) for i in range(0, len(detail), AT_ONCE)]
            power = np.ascontiguousarray(np.concatenate(some).T)
        maps = np.ascontiguousarray((_SAMPLING[view] @ power).T).reshape(-1, N_RINGS, N_ANGLES)
        floor = 0.02 * np.sqrt(np.einsum("nra,nra->n", maps, maps) / (N_RINGS * N_ANGLES)) + 1e-6
        yield np.log(maps + floor[:, None, None])


def spectra_of_views(detail: np.ndarray) -> Iterator[np.ndarray]:
    """`polar_spectra` in each view."""
    return _polar_spectra(detail, range(len(VIEWS)))


def descriptors(maps: np.ndarray) -> np.ndarray:
    """What is the same after turning, mirroring and zooming, of polar spectra: ndarray of shape (N, 294), float32."""
    z = np.abs(fft.fft(fft.rfft(maps * _TAPER, axis=2)[:, :, 1 : ANGULAR + 1], axis=1))
    half = N_RINGS // 2
    z = np.concatenate([2 * z[:, :1], z[:, 1 : half + 1] + z[:, : half - 1 : -1]], axis=1).reshape(len(maps), -1)
    return np.sqrt(z / (np.linalg.norm(z, axis=1, keepdims=True) + 1e-12)).astype(np.float32)
