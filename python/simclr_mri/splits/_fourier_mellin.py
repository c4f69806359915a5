"""Descriptors that turning, mirroring, shifting and zooming leave nearly unchanged (Fourier-Mellin).

An image is reduced to local contrast at 64 x 64 pixels, windowed, and transformed; the magnitude of its spectrum does
not depend on where things are. Sampled over the logarithm of the frequency and over the angle, a zoom becomes a shift
along one axis and a rotation a shift along the other, so the magnitude of a second transform depends on neither. Adding
the two signs of the angular frequency makes it blind to mirroring, and the first magnitude to inverted grey levels.

Cutting away a border or stretching in one direction does change the descriptor. So every image is also described as it
would look when cut to a corner, cut to the middle, or stretched: the views. Each view is compared with every image.

References
----------
Casasent and Psaltis, Applied Optics 15:1795, 1976. Reddy and Chatterji, IEEE Transactions on Image Processing 5:1266,
1996.
"""

from __future__ import annotations

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

_PADDED = 96


def rotation(degrees: float, scale: float = 1.0) -> np.ndarray:
    """The matrix that turns and zooms vectors (row, column): ndarray of shape (2, 2)."""
    a = np.deg2rad(degrees)
    return scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def _views() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    zoom, origin = 1 / 0.8, np.zeros(2)
    border = CENTRE * (zoom - 1)
    views = [(np.eye(2), origin)]
    views += [(zoom * np.eye(2), border * np.array(way)) for way in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    views += [(zoom * np.eye(2), origin), (np.eye(2) / 0.65, origin)]
    for degrees in (0, 45, 90, 135):
        turn = rotation(degrees)
        views.append((turn @ np.diag([1.09, 1 / 1.09]) @ turn.T, origin))
    return tuple(views)


VIEWS = _views()
"""A linear map and a shift each: the whole image, four corners and two middles, stretched in four directions."""


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


def _window() -> np.ndarray:
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - CENTRE
    edge = np.clip(2 * np.hypot(y, x) / (SIDE_PX / 2) - 1, 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * edge)).astype(np.float32)


_WINDOW = _window()


def _log_polar() -> sparse.csr_matrix:
    """Bilinear sampling of half a spectrum at rings and angles, as a matrix."""
    f = np.geomspace(LOWEST, HIGHEST, N_RINGS)[:, None] * _PADDED
    angle = np.arange(N_ANGLES) * np.pi / N_ANGLES
    fy, fx = (f * np.sin(angle)).ravel(), (f * np.cos(angle)).ravel()
    fy, fx = np.where(fx < 0, -fy, fy), np.abs(fx)
    y, x = np.floor(fy).astype(int), np.floor(fx).astype(int)
    wy, wx = fy - y, fx - x
    width = _PADDED // 2 + 1
    columns = [(y + dy) % _PADDED * width + x + dx for dy in (0, 1) for dx in (0, 1)]
    weights = [(wy if dy else 1 - wy) * (wx if dx else 1 - wx) for dy in (0, 1) for dx in (0, 1)]
    rows = np.tile(np.arange(len(fy)), 4)
    shape = (len(fy), _PADDED * width)
    return sparse.csr_matrix((np.concatenate(weights).astype(np.float32), (rows, np.concatenate(columns))), shape=shape)


_LOG_POLAR = _log_polar()
_TAPER = np.hanning(N_RINGS).astype(np.float32)[:, None]


def polar_spectra(detail: np.ndarray) -> np.ndarray:
    """Logarithm of the magnitude of the spectrum: ndarray of shape (N, rings, angles), float32; over 180 degrees."""
    power = np.abs(fft.rfft2(detail * _WINDOW, s=(_PADDED, _PADDED)))
    maps = (_LOG_POLAR @ power.reshape(len(power), -1).T).T.reshape(-1, N_RINGS, N_ANGLES)
    floor = 0.02 * np.sqrt((maps * maps).mean(axis=(1, 2), keepdims=True)) + 1e-6
    return np.log(maps + floor)


def describe(maps: np.ndarray) -> np.ndarray:
    """Invariant descriptors of polar spectra: ndarray of shape (N, 294), float32."""
    z = np.abs(fft.fft(fft.rfft(maps * _TAPER, axis=2)[:, :, 1 : ANGULAR + 1], axis=1))
    half = N_RINGS // 2
    z = np.concatenate([2 * z[:, :1], z[:, 1 : half + 1] + z[:, : half - 1 : -1]], axis=1).reshape(len(maps), -1)
    return np.sqrt(z / (np.linalg.norm(z, axis=1, keepdims=True) + 1e-12)).astype(np.float32)


def warp(detail: np.ndarray, linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Images moved by p -> linear (p - centre) + centre + shift, bilinear, 0 outside: the same map for all of them."""
    if np.array_equal(linear, np.eye(2)) and not shift.any():
        return detail
    grid = np.mgrid[:SIDE_PX, :SIDE_PX].reshape(2, -1) - CENTRE - shift[:, None]
    p = np.linalg.inv(linear) @ grid + CENTRE
    inside = ((p >= 0) & (p <= SIDE_PX - 1)).all(axis=0)
    p = np.clip(p, 0, SIDE_PX - 1.001)
    y, x = p.astype(int)
    wy, wx = (p - (y, x)).astype(np.float32)
    flat, i = detail.reshape(len(detail), -1), y * SIDE_PX + x
    out = flat[:, i] * ((1 - wy) * (1 - wx) * inside)
    out += flat[:, i + 1] * ((1 - wy) * wx * inside)
    out += flat[:, i + SIDE_PX] * (wy * (1 - wx) * inside)
    out += flat[:, i + SIDE_PX + 1] * (wy * wx * inside)
    return out.reshape(detail.shape)
