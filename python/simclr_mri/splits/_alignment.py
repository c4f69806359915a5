"""Whether two images are the same picture: one is laid over the other, and what is left is compared.

Rotation, zoom and mirroring are the place of the peak when two polar spectra are correlated; the shift is that of the
peak when the images are. Gauss-Newton then refines all six numbers of the affine map. What counts in the end is the
correlation by spatial frequency (Fourier ring correlation) where both images have pixels, after the grey levels of one
are mapped to those of the other. Blurring does not change it, noise lowers it at high frequencies only, and the next
slice of a stack lowers it at middle ones already.

References
----------
Reddy and Chatterji, IEEE Transactions on Image Processing 5:1266, 1996 (rotation, zoom, shift). Lucas and Kanade,
IJCAI 1981, and Baker and Matthews, International Journal of Computer Vision 56:221, 2004 (refinement). Saxton and
Baumeister, Journal of Microscopy 127:127, 1982, and van Heel, Ultramicroscopy 21:95, 1987 (ring correlation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from ._fourier_mellin import CENTRE, N_ANGLES, RING_STEP, SIDE_PX, blur_matrix

BATCH = 64
"""Pairs that are treated at once: their arrays then stay in the second-level cache."""

MAX_ZOOM_RINGS = 13
"""Largest zoom that is looked for, in rings: a factor of 2 either way."""

_PADDED_RINGS, _PADDED_PX = 72, 96
_Y, _X = (axis.ravel().astype(np.float32) - CENTRE for axis in np.mgrid[:SIDE_PX, :SIDE_PX])
_MARGIN_PX = 4
_INNER = (np.abs(_Y) < CENTRE - _MARGIN_PX) & (np.abs(_X) < CENTRE - _MARGIN_PX)


@dataclass(eq=False)
class Alignment:
    """Maps of images `a` onto images `b`: p -> linear (p - centre) + centre + shift, rows before columns, at 64 x 64.

    Attributes
    ----------
    linear : ndarray of shape (P, 2, 2)
    shift : ndarray of shape (P, 2), pixels
    match : ndarray of shape (P,)
        Absolute correlation of local contrast where they overlap.
    """

    linear: np.ndarray
    shift: np.ndarray
    match: np.ndarray

    def take(self, which: slice | np.ndarray) -> Alignment:
        """Some of them."""
        return Alignment(self.linear[which], self.shift[which], self.match[which])


def joined(parts: Sequence[Alignment]) -> Alignment:
    """Several one after the other."""
    return Alignment(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("linear", "shift", "match")))


# -- first guess -------------------------------------------------------------------------------------------------------


def polar_transforms(maps: np.ndarray) -> np.ndarray:
    """Transforms of polar spectra, each ring without its mean, of unit length: what `rotations` correlates."""
    maps = maps - maps.mean(axis=2, keepdims=True)
    maps /= np.sqrt((maps * maps).sum(axis=(1, 2), keepdims=True)) + 1e-9
    return fft.rfft2(maps, s=(_PADDED_RINGS, N_ANGLES))


def rotations(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How a must be turned and zoomed to look like b, as it is and mirrored.

    Parameters
    ----------
    a, b : ndarray of shape (P, 72, 33), complex
        From `polar_transforms`.

    Returns
    -------
    heights : ndarray of shape (2, P)
        Of the correlation peaks, for a as it is and for a mirrored.
    linear : ndarray of shape (2, P, 2, 2)
        Up to half a turn, which a spectrum does not show.
    """
    backwards = -np.arange(_PADDED_RINGS) % _PADDED_RINGS
    heights, maps = [], []
    for mirrored, left in ((False, np.conj(a)), (True, a[:, backwards])):
        surface = fft.irfft2(left * b, s=(_PADDED_RINGS, N_ANGLES))
        surface = np.concatenate([surface[:, -MAX_ZOOM_RINGS:], surface[:, : MAX_ZOOM_RINGS + 1]], axis=1)
        height, ring, angle = _peaks(surface)
        maps.append(_linear(-angle * 180 / N_ANGLES, np.exp(-(ring - MAX_ZOOM_RINGS) * RING_STEP), mirrored))
        heights.append(height)
    return np.stack(heights), np.stack(maps)


def _linear(degrees: np.ndarray, scale: np.ndarray, mirrored: bool) -> np.ndarray:
    a = np.deg2rad(degrees)
    c, s, sign = scale * np.cos(a), scale * np.sin(a), -1.0 if mirrored else 1.0
    return np.stack([np.stack([c, -s * sign], -1), np.stack([s, c * sign], -1)], -2)


def _peaks(surface: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Height and place of each highest value, between samples by a parabola; the second axis is a circle."""
    n, rows, columns = surface.shape
    y, x = np.divmod(surface.reshape(n, -1).argmax(axis=1), columns)
    i = np.arange(n)
    top = surface[i, y, x]

    def offset(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.clip(0.5 * (after - before) / np.maximum(2 * top - before - after, 1e-9), -0.5, 0.5)

    dy = offset(surface[i, np.maximum(y - 1, 0), x], surface[i, np.minimum(y + 1, rows - 1), x])
    dx = offset(surface[i, y, x - 1], surface[i, y, (x + 1) % columns])
    return top, y + dy, x + dx


def shifts(a: np.ndarray, b: np.ndarray, linear: np.ndarray) -> Alignment:
    """The shift after turning and zooming, and which of the two half turns it is.

    Parameters
    ----------
    a, b : ndarray of shape (P, 64, 64), float32
        Local contrast.
    linear : ndarray of shape (P, 2, 2)
    """
    moved = np.where(*(_sample(a, linear, np.zeros((len(a), 2)))[::-1]), 0).reshape(a.shape)
    scale = np.sqrt((moved**2).sum(axis=(1, 2)) * (b**2).sum(axis=(1, 2))) + 1e-9
    fa, fb = (fft.rfft2(side, s=(_PADDED_PX, _PADDED_PX)) for side in (moved, b))
    best = Alignment(linear.copy(), np.zeros((len(a), 2)), np.full(len(a), -1.0))
    for turned, left in ((False, np.conj(fa)), (True, fa)):
        surface = np.abs(fft.irfft2(left * fb, s=(_PADDED_PX, _PADDED_PX))).reshape(len(a), -1)
        k = surface.argmax(axis=1)
        match = surface[np.arange(len(a)), k] / scale
        place = np.stack(np.divmod(k, _PADDED_PX), -1) - (SIDE_PX - 1 if turned else 0)
        place = (place + _PADDED_PX // 2) % _PADDED_PX - _PADDED_PX // 2
        better = match > best.match
        best.match[better], best.shift[better] = match[better], place[better]
        best.linear[better] = (-1 if turned else 1) * linear[better]
    return best


# -- refinement --------------------------------------------------------------------------------------------------------


def _places(linear: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in image a each pixel of b comes from: rows and columns of shape (P, 4096)."""
    inverse = np.linalg.inv(linear).astype(np.float32)[..., None]
    y = _Y - shift[:, :1].astype(np.float32)
    x = _X - shift[:, 1:].astype(np.float32)
    return inverse[:, 0, 0] * y + inverse[:, 0, 1] * x + CENTRE, inverse[:, 1, 0] * y + inverse[:, 1, 1] * x + CENTRE


def _sample(a: np.ndarray, linear: np.ndarray, shift: np.ndarray, margin: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Image a moved onto b, bilinear, and where that has pixels `margin` away from a's border: (P, 4096) each."""
    y, x = _places(linear, shift)
    last = SIDE_PX - 1
    inside = (y >= margin) & (y <= last - margin) & (x >= margin) & (x <= last - margin)
    y, x = np.clip(y, 0, last - 0.001), np.clip(x, 0, last - 0.001)
    row, column = y.astype(np.int32), x.astype(np.int32)
    wy, wx = y - row, x - column
    i = row * SIDE_PX + column + (np.arange(len(a), dtype=np.int32) * SIDE_PX * SIDE_PX)[:, None]
    flat = a.reshape(-1)
    upper = flat[i] + (flat[i + 1] - flat[i]) * wx
    i += SIDE_PX
    lower = flat[i] + (flat[i + 1] - flat[i]) * wx
    return upper + (lower - upper) * wy, inside


def refine(a: np.ndarray, b: np.ndarray, start: Alignment, *, steps: int = 5) -> Alignment:
    """Gauss-Newton over the six numbers of the affine map, on local contrast.

    Parameters
    ----------
    a, b : ndarray of shape (P, 64, 64), float32
    start : Alignment
    steps : int

    Returns
    -------
    Alignment
    """
    gy, gx = np.gradient(b, axis=(1, 2))
    gy, gx = gy.reshape(len(b), SIDE_PX**2), gx.reshape(len(b), SIDE_PX**2)
    slopes = np.stack([gy * _Y, gy * _X, gx * _Y, gx * _X, gy, gx], axis=1)
    target = b.reshape(len(b), SIDE_PX**2)
    linear, shift = start.linear.astype(float), start.shift.astype(float)
    for step in range(steps + 1):
        moved, inside = _sample(a, linear, shift, _MARGIN_PX)
        inside &= _INNER
        moved, there = moved * inside, target * inside
        square = np.einsum("pi,pi->p", moved, moved)
        product = np.einsum("pi,pi->p", moved, there)
        match = np.abs(product) / np.sqrt(square * np.einsum("pi,pi->p", there, there) + 1e-9)
        if step == steps:
            break
        residual = (product / (square + 1e-9))[:, None] * moved - there
        seen = slopes * inside[:, None]
        normal = seen @ seen.transpose(0, 2, 1) + 1e-3 * np.eye(6, dtype=np.float32)
        change = np.linalg.solve(normal.astype(float), (seen @ residual[:, :, None]).astype(float))[..., 0]
        change = np.clip(change, -0.2 * _LARGEST, 0.2 * _LARGEST)
        turn = np.eye(2) + change[:, :4].reshape(-1, 2, 2)
        linear, shift = turn @ linear, (turn @ shift[:, :, None])[..., 0] + change[:, 4:]
        bad = np.abs(np.linalg.det(linear)) < 0.1
        linear[bad], shift[bad] = start.linear[bad], start.shift[bad]
        if (np.abs(change) < 0.002 * _LARGEST).all():
            steps = step + 1
    return Alignment(linear, shift, match)


_LARGEST = np.array([1, 1, 1, 1, 16, 16.0])
"""A step changes the matrix by at most a fifth of this, and the shift by 3.2 pixels; below 0.2 % it has arrived."""


# -- comparison --------------------------------------------------------------------------------------------------------

BANDS = ((6, 8), (8, 11), (11, 14), (14, 18))
"""Rings, in cycles a picture width: wavelengths of 1/6 to 1/18 of the picture, where neighbouring slices differ."""

NEIGHBOUR = np.array([0.004, 0.010, 0.020, 0.031])
"""Lowest 1 - ring correlation of neighbouring slices, 1 mm apart, in these bands (6,400 images of 200 subjects)."""

LEAST_OVERLAP = 0.25
"""Share of the picture in which two must overlap to be compared."""

_RINGS = BANDS[-1][1]
_FREQUENCIES = np.arange(1 - _RINGS, _RINGS)
_WAVES = np.exp(-2j * np.pi / SIDE_PX * np.outer(_FREQUENCIES, np.arange(SIDE_PX))).astype(np.complex64)
_HALF = np.ascontiguousarray(_WAVES[_RINGS - 1 :].T)
_RING = np.round(np.hypot(_FREQUENCIES[:, None], np.arange(_RINGS))).astype(int).ravel()
_IN_RING = (_RING[:, None] == np.arange(_RINGS)).astype(np.float32)
_SOFT, _BROAD = blur_matrix(SIDE_PX, 1.5), blur_matrix(SIDE_PX, 4.0)
_TILE = 8


def differences(a: np.ndarray, b: np.ndarray, found: Alignment, enough: float = 0.0) -> np.ndarray:
    """How different two aligned images are, in units of the most similar neighbouring slices.

    The smallest over: grey levels as they are; those of one mapped to those of the other, either way; and the same
    without the tiles that differ most (writing, a cut corner).

    Parameters
    ----------
    a, b : ndarray of shape (P, 64, 64), float32
        Grey levels.
    found : Alignment
    enough : float
        No further comparison is made of a pair that differs less.

    Returns
    -------
    ndarray of shape (P,)
        0 for equal pictures, 1 for the most similar neighbouring slices, infinite where too little overlaps.
    """
    moved = np.stack([_spline(one, m, t) for one, m, t in zip(a, found.linear, found.shift, strict=True)])
    weight = _overlap(found)
    least = _difference(moved, b, weight)
    for x, y in ((moved, b), (b, moved)):
        i = np.flatnonzero(least > enough)
        if not len(i):
            break
        xi, yi, wi = x[i], y[i], weight[i]
        fitted = _same_greys(xi, yi, wi)
        least[i] = np.minimum(least[i], _difference(fitted, yi, wi))
        kept, changed = _alike(fitted, yi, wi)
        changed &= least[i] > enough
        if changed.any():
            xi, yi, kept, i = xi[changed], yi[changed], kept[changed], i[changed]
            least[i] = np.minimum(least[i], _difference(_same_greys(xi, yi, kept), yi, kept))
    return least


def _spline(image: np.ndarray, linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(linear)
    offset = CENTRE - inverse @ (CENTRE + shift)
    return ndimage.affine_transform(image, inverse, offset, order=3, mode="nearest", output=np.float32)


def _overlap(found: Alignment) -> np.ndarray:
    """1 where both images have pixels, falling to 0 at the border: ndarray of shape (P, 64, 64)."""
    y, x = _places(found.linear, found.shift)
    last = SIDE_PX - 2
    inside = ((y >= 1) & (y <= last) & (x >= 1) & (x <= last)).reshape(-1, SIDE_PX, SIDE_PX).astype(np.float32)
    inside[:, [0, -1]] = 0
    inside[:, :, [0, -1]] = 0
    return np.clip(2 * (_SOFT @ inside @ _SOFT.T) - 1, 0, 1)


def regraded(a: np.ndarray, b: np.ndarray, found: Alignment) -> np.ndarray:
    """Images a, in their own places, with their grey levels mapped to those of b."""
    moved = np.stack([_spline(one, m, t) for one, m, t in zip(a, found.linear, found.shift, strict=True)])
    return _same_greys(moved, b, _overlap(found), a)


def _same_greys(x: np.ndarray, y: np.ndarray, weight: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """x (or another image) with its grey levels mapped to those of y: a polynomial of degree 4, on blurred images."""
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    mapped = x if other is None else np.clip(other, low, high)
    x, mapped = (2 * (side - low) / np.maximum(high - low, 1) - 1 for side in (x, mapped))
    w = np.sqrt(weight).reshape(len(x), -1)
    powers = _powers(_SOFT @ x @ _SOFT.T).reshape(len(x), 5, -1) * w[:, None]
    target = (_SOFT @ y @ _SOFT.T).reshape(len(x), -1) * w
    normal = powers @ powers.transpose(0, 2, 1)
    normal += 1e-5 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(5, dtype=np.float32)
    factors = np.linalg.solve(normal.astype(float), (powers @ target[:, :, None]).astype(float)).astype(np.float32)
    return (factors[:, :, 0, None, None] * _powers(mapped)).sum(axis=1)


def _powers(x: np.ndarray) -> np.ndarray:
    """Chebyshev polynomials 0 to 4."""
    square = x * x
    return np.stack([np.ones_like(x), x, 2 * square - 1, x * (4 * square - 3), 8 * square * (square - 1) + 1], axis=1)


def _difference(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    sides, mass = [], _BROAD @ weight @ _BROAD.T + 1e-3
    for side in (x, y):
        # Without its coarse part, which would leak into all bands where the weight falls off.
        coarse = _BROAD @ (side * weight) @ _BROAD.T / mass
        fine = ((side - coarse) * weight).astype(np.complex64)
        sides.append((_WAVES @ (fine @ _HALF)).reshape(len(x), -1))  # only the frequencies of the bands
    a, b = sides
    cross = (a.real * b.real + a.imag * b.imag) @ _IN_RING
    norm = np.sqrt(((a.real**2 + a.imag**2) @ _IN_RING) * ((b.real**2 + b.imag**2) @ _IN_RING))
    lost = np.stack([1 - cross[:, i:j].sum(axis=1) / (norm[:, i:j].sum(axis=1) + 1e-3) for i, j in BANDS], axis=1)
    lost[weight.mean(axis=(1, 2)) < LEAST_OVERLAP] = np.inf
    return (lost / NEIGHBOUR).mean(axis=1)


def _alike(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weight without tiles that differ far more than the others, unless over a third do; and whether any do."""
    n, tiles = len(x), SIDE_PX // _TILE
    error = ((x - y) ** 2 * weight).reshape(n, tiles, _TILE, tiles, _TILE).mean(axis=(2, 4))
    used = weight.reshape(n, tiles, _TILE, tiles, _TILE).mean(axis=(2, 4)) > 0.5
    counted = used & (error > 0.5)  # not the empty background, whose error is next to nothing
    ordered = np.sort(np.where(counted, error, np.inf).reshape(n, -1), axis=1)
    ordinary = ordered[np.arange(n), counted.sum(axis=(1, 2)) // 2]
    odd = used & (error > 6 * ordinary[:, None, None])
    share = odd.sum(axis=(1, 2)) / np.maximum(used.sum(axis=(1, 2)), 1)
    odd[share > 1 / 3] = False
    kept = 1 - np.repeat(np.repeat(odd, _TILE, axis=1), _TILE, axis=2).astype(np.float32)
    return weight * np.clip(2 * (_SOFT @ kept @ _SOFT.T) - 1, 0, 1), odd.any(axis=(1, 2))
