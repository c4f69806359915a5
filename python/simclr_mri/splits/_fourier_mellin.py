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
from scipy import sparse

from .. import _core

SIDE_PX = 64
CENTRE = (SIDE_PX - 1) / 2
N_RINGS, N_ANGLES = 40, 64
LOWEST, HIGHEST = 0.045, 0.36
"""Frequencies of the first and last ring, in cycles per pixel."""

RING_STEP = float(np.log(HIGHEST / LOWEST)) / (N_RINGS - 1)
ANGULAR = 14
"""Angular frequencies kept; higher ones are noise."""

AT_ONCE = 32
"""Images whose spectra are taken at once: enough for fast products, and what lies between them stays in the cache."""

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


@dataclass(frozen=True, eq=False)
class _Cut:
    """The square that a view shows of an image, and the waves that it is made of.

    Attributes
    ----------
    rows, columns : slice
    window : ndarray of shape (m, m, 1), float32
        Falls to 0 at a circle.
    cosines, sines : ndarray of shape (waves, m / 2), float32
        In the first half of a line, about its middle: in the other half the cosines are the same ones backwards, and
        the sines too with the other sign. Where the middle is does not change a magnitude.
    """

    rows: slice
    columns: slice
    window: np.ndarray
    cosines: np.ndarray
    sines: np.ndarray


def _cut(view: View, n_waves: int) -> _Cut:
    zoom = float(np.sqrt(np.linalg.det(view.linear)))
    radius = SIDE_PX / 2 / zoom
    half = int(np.ceil(radius))
    middle = CENTRE - view.shift / zoom
    first = np.clip(np.round(middle - half + 0.5).astype(int), 0, SIDE_PX - 2 * half)
    rows, columns = (slice(start, start + 2 * half) for start in first.tolist())
    y, x = np.mgrid[rows, columns] - middle[:, None, None]
    edge = np.clip(2 * np.hypot(y, x) / radius - 1, 0, 1)
    angle = 2 * np.pi * zoom / _PADDED * np.outer(np.arange(n_waves), np.arange(half) - half + 0.5)
    window = (0.5 + 0.5 * np.cos(np.pi * edge)).astype(np.float32)[..., None]
    return _Cut(rows, columns, window, np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32))


def _log_polar(linear: np.ndarray, width: int) -> sparse.csr_matrix:
    """Bilinear sampling of the halves that `_magnitudes` gives at the rings and angles of a stretch, as a matrix."""
    f = np.geomspace(LOWEST, HIGHEST, N_RINGS)[:, None] * _PADDED
    angle = np.arange(N_ANGLES) * np.pi / N_ANGLES
    # The spectrum of a picture that was stretched by a matrix is the picture's, read at the transpose.
    fy, fx = linear.T @ np.stack([(f * np.sin(angle)).ravel(), (f * np.cos(angle)).ravel()])
    backwards = fx < 0
    fy, fx = np.where(backwards, -fy, fy), np.abs(fx)
    y, x = np.floor(fy).astype(int), np.floor(fx).astype(int)
    wy, wx = fy - y, fx - x
    rows, columns, weights = [], [], []
    for dy in (0, 1):
        for dx in (0, 1):
            half = y + dy < 0
            rows.append(np.arange(fy.size))
            columns.append((half * width + np.abs(y + dy)) * width + x + dx)
            weights.append(((wy if dy else 1 - wy) * (wx if dx else 1 - wx)).astype(np.float32))
    return sparse.csr_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(fy.size, 2 * width * width)
    )


def _n_waves(stretch: np.ndarray) -> int:
    """From 0 to the highest frequency that is read after a stretch, in cycles a padded line."""
    return int(np.ceil(HIGHEST * _PADDED * np.linalg.norm(stretch, 2))) + 2


_STRETCHES = [view.linear / np.sqrt(np.linalg.det(view.linear)) for view in VIEWS]
_WIDTHS = [max(map(_n_waves, _STRETCHES[:N_UNCUT]))] * N_UNCUT + [_n_waves(np.eye(2))] * (len(VIEWS) - N_UNCUT)
_CUTS = [_cut(View(np.eye(2), np.zeros(2)) if i < N_UNCUT else v, _WIDTHS[i]) for i, v in enumerate(VIEWS)]
_SAMPLING = [_log_polar(*stretch) for stretch in zip(_STRETCHES, _WIDTHS, strict=True)]


def _magnitudes(detail: np.ndarray, cut: _Cut) -> np.ndarray:
    """Magnitudes of the spectrum of what a view shows, in two halves: rows 0 and up, and below. Images come last.

    The transform is a product with waves on either side: only the lower frequencies are wanted, and products are fast.
    Both halves of a line are added for the cosines, and subtracted for the sines, before they are multiplied.
    """
    seen = detail[cut.rows, cut.columns] * cut.window
    m, _, n = seen.shape
    w, half_px = cut.cosines.shape
    left, right = seen[:, :half_px], seen[:, : half_px - 1 : -1]
    across = np.empty((m, 2 * w, n), np.float32)
    np.matmul(cut.cosines, left + right, out=across[:, :w])
    np.matmul(cut.sines, left - right, out=across[:, w:])
    upper, lower = across[:half_px], across[: half_px - 1 : -1]
    cc, cs = (cut.cosines @ (upper + lower).reshape(half_px, -1)).reshape(w, 2, w, n).swapaxes(0, 1)
    sc, ss = (cut.sines @ (upper - lower).reshape(half_px, -1)).reshape(w, 2, w, n).swapaxes(0, 1)
    out = np.empty((2, w, w, n), np.float32)
    out[0], out[1] = _magnitude(cc - ss, cs + sc), _magnitude(cc + ss, cs - sc)
    return out.reshape(2 * w * w, n)


def _magnitude(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """Of complex numbers, whose parts are overwritten: hypot takes ten times as long."""
    real *= real
    imaginary *= imaginary
    real += imaginary
    return np.sqrt(real, out=real)


def polar_spectra(detail: np.ndarray, view: int = 0) -> np.ndarray:
    """Logarithm of the magnitude of the spectrum: ndarray of shape (N, rings, angles), float32; over 180 degrees."""
    parts = (detail[i : i + AT_ONCE] for i in range(0, len(detail), AT_ONCE))
    return np.concatenate([images_first(next(_polar_spectra(part, (view,)))) for part in parts])


def images_first(maps: np.ndarray) -> np.ndarray:
    """Of arrays with images last."""
    return np.ascontiguousarray(np.moveaxis(maps, -1, 0))


def _polar_spectra(detail: np.ndarray, views: Iterable[int]) -> Iterator[np.ndarray]:
    last = np.ascontiguousarray(np.moveaxis(detail, 0, -1))
    power = None
    for view in views:
        if power is None or view >= N_UNCUT:
            power = _magnitudes(last, _CUTS[view])
        maps = _SAMPLING[view] @ power
        maps += 0.02 * np.sqrt(np.einsum("sn,sn->n", maps, maps) / len(maps)) + 1e-6
        yield np.log(maps, out=maps).reshape(N_RINGS, N_ANGLES, -1)


def spectra_of_views(detail: np.ndarray) -> Iterator[np.ndarray]:
    """`polar_spectra` of at most `AT_ONCE` images in each view, with images last: (rings, angles, N)."""
    return _polar_spectra(detail, range(len(VIEWS)))


def _transform(n: int, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines, (frequencies, n)."""
    angle = 2 * np.pi / n * np.outer(frequencies, np.arange(n))
    return np.cos(angle), np.sin(angle)


_ALONG_ANGLES = np.concatenate(_transform(N_ANGLES, np.arange(1, ANGULAR + 1))).astype(np.float32)
_N_RADIAL = N_RINGS // 2 + 1
_ALONG_RINGS = (np.concatenate(_transform(N_RINGS, np.arange(_N_RADIAL))) * np.hanning(N_RINGS)).astype(np.float32)


def descriptors(maps: np.ndarray) -> np.ndarray:
    """What is the same after turning, mirroring and zooming, of polar spectra (rings, angles, N): (N, 294), float32.

    The magnitudes of the transform along angles and windowed rings, those of both signs of a radial frequency added.
    """
    along = (_ALONG_RINGS @ np.matmul(_ALONG_ANGLES, maps).reshape(N_RINGS, -1)).reshape(2, _N_RADIAL, 2, ANGULAR, -1)
    (cc, cs), (sc, ss) = along.transpose(0, 2, 1, 3, 4)  # cosines or sines along rings, then along angles
    z = (_magnitude(cc + ss, cs - sc) + _magnitude(cc - ss, cs + sc)).reshape(_N_RADIAL * ANGULAR, -1)
    return np.sqrt(z / (np.sqrt(np.einsum("dn,dn->n", z, z)) + 1e-12)).T
