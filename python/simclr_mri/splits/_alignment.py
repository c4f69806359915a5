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

from .. import _core
from ._fourier_mellin import ALONG_ANGLES, CENTRE, N_ANGLES, N_RINGS, RING_STEP, SIDE_PX, blur_matrix

BATCH = 64
"""Pairs that are treated at once: their arrays then stay in the second-level cache."""

MAX_ZOOM_RINGS = 13
"""Largest zoom that is looked for, in rings: a factor of 2 either way."""

_PADDED_RINGS, _PADDED_PX = 72, 96


def _ring_angle(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return 2 * np.pi / _PADDED_RINGS * np.outer(i, j)


N_LOW, N_TURNS = 12, 40
"""Frequencies of polar spectra for a first look, along rings and angles, and turns that are tried."""

_Y, _X = (axis.ravel().astype(np.float32) - CENTRE for axis in np.mgrid[:SIDE_PX, :SIDE_PX])
MARGIN_PX = 4
"""What lies closer to the border of either image is not looked at while they are aligned."""


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


def unmoved(n: int) -> Alignment:
    """Of n pairs that lie over each other as they are."""
    return Alignment(np.tile(np.eye(2), (n, 1, 1)), np.zeros((n, 2)), np.ones(n))


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


_SHIFTS = np.arange(-MAX_ZOOM_RINGS - 1, MAX_ZOOM_RINGS + 2, 2)
"""Zooms that are tried at a first look: every second ring."""


def _waves(angle: np.ndarray) -> np.ndarray:
    """Cosines and sines, in a last axis."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


_ALONG_LOW = np.concatenate(np.moveaxis(_waves(_ring_angle(np.arange(N_LOW + 1), np.arange(N_RINGS))), 2, 0))
_LOW_SHIFTS = _waves(_ring_angle(_SHIFTS, np.r_[0 : N_LOW + 1, -N_LOW:0]))
_LOW_TURNS = np.ascontiguousarray(
    np.moveaxis(_waves(2 * np.pi / N_TURNS * np.outer(np.arange(1, N_LOW + 1), np.arange(N_TURNS))), 2, 1)
)


LOW_SHAPE = (2 * N_LOW + 1, N_LOW, 2)


def low_transforms(maps: np.ndarray) -> np.ndarray:
    """The low frequencies of `polar_transforms`: ndarray of shape (P, 25, 12, 2), float32."""
    return _core.polar_low(maps, ALONG_ANGLES, _ALONG_LOW, N_LOW)


def low_heights(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The higher of the two peaks that `rotations` finds, from low frequencies alone: ndarray of shape (P,).

    Parameters
    ----------
    a, b : ndarray of shape (P, 25, 12, 2), float32
        From `low_transforms`.
    """
    return _core.low_heights(a, b, _LOW_SHIFTS, _LOW_TURNS) * (2 / (_PADDED_RINGS * N_ANGLES))


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
    moved = _core.warp_affine(a, _maps(linear, np.zeros((len(a), 2))))
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
    maps, match = _core.register_affine(a, b, _maps(start.linear, start.shift), steps, MARGIN_PX)
    return Alignment(maps[:, :4].reshape(-1, 2, 2), maps[:, 4:], match.astype(float))


def _maps(linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Six numbers a pair, as the core takes them: ndarray of shape (P, 6), float64."""
    return np.concatenate([linear.reshape(-1, 4), shift], axis=1).astype(np.float64)


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
_IN_MIDDLE = (np.abs(np.arange(SIDE_PX) - CENTRE) < 0.32 * SIDE_PX).astype(np.float32)
_MIDDLE = np.clip(2 * (_SOFT @ np.outer(_IN_MIDDLE, _IN_MIDDLE) @ _SOFT.T) - 1, 0, 1)
_TILE, _BLOCK = 8, 4
_OUTERMOST = np.pad(np.zeros((SIDE_PX // _TILE - 2,) * 2, np.float32), 1, constant_values=1).ravel()
_SQUARES = {n: np.repeat(np.eye(SIDE_PX // n, dtype=np.float32) / n, n, axis=1) for n in (_TILE, _BLOCK)}

BENT = 0.8
"""Share of the squared error of a straight line between the grey levels of two images that a curve leaves, up to which
it matters. Gamma curves leave .15 to .36, images made too bright .2; of other pairs 96 % leave more than .86."""

WRITTEN = 0.95
"""Share of the squared error in the worst third of the tiles from which the picture is compared without these. Writing
gives .99 and more, a thousandth of other pairs .92 and more."""


def differences(
    a: np.ndarray, b: np.ndarray, found: Alignment, enough: float, near: float, *, middle: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """How different two aligned images are, in units of the most similar neighbouring slices.

    The smallest over: grey levels as they are; those of one mapped to those of the other, either way, where a curve
    fits them much better than a line; and without the tiles that hold nearly all of the error (writing, a frame).

    Parameters
    ----------
    a, b : ndarray of shape (P, 64, 64), float32
        Grey levels.
    found : Alignment
    enough : float
        No further comparison is made of a pair that differs less.
    near : float
        Above `enough` and up to this, one image is moved onto the other anew, by cubic splines.
    middle : bool
        Compare the middle of the picture alone, without what may frame it.

    Returns
    -------
    differences : ndarray of shape (P,)
        0 for equal pictures, 1 for the most similar neighbouring slices, infinite where too little overlaps.
    bent : ndarray of shape (P,), bool
        Whether a curve fits the grey levels much better than a line.
    """
    moved = _core.warp_affine(a, _maps(found.linear, found.shift), True)
    weight = overlap(found)
    seen = _MIDDLE if middle else np.ones_like(_MIDDLE)

    def lower(i: np.ndarray, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> None:
        if len(i):
            least[i] = np.minimum(least[i], _difference(x, y, w * seen, LEAST_OVERLAP * seen.mean()))

    least = np.full(len(a), np.inf)
    lower(np.arange(len(a)), moved, b, weight)
    close = np.flatnonzero((least > enough) & (least < near))
    if len(close):
        moved[close] = _splines(a[close], found.take(close))
        lower(close, moved[close], b[close], weight[close])
    curved = [_curve(x, y, weight) for x, y in ((moved, b), (b, moved))]
    bent = np.minimum(curved[0].left, curved[1].left) < BENT
    bent |= curved[0].falls
    for (x, y), curve in zip(((moved, b), (b, moved)), curved, strict=True):
        i = np.flatnonzero(bent & (least > enough))
        lower(i, curve.take(i)(x[i]), y[i], weight[i])
    i = np.flatnonzero(least > enough)
    kept, written = _unwritten(moved[i], b[i], weight[i])
    i, kept = i[written], kept[written]
    lower(i, _curve(moved[i], b[i], kept)(moved[i]), b[i], kept)
    return least, bent


def noise(gray: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise of pictures (P, 64, 64), from second differences across second differences:
    edges leave little in these (Immerkaer, Computer Vision and Image Understanding 64:300, 1996). Shape (P,)."""
    across = gray[:, :, :-2] - 2 * gray[:, :, 1:-1] + gray[:, :, 2:]
    both = across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:]
    return np.sqrt(np.pi / 2) / 6 * np.abs(both).mean(axis=(1, 2)) + 0.1


def is_odd(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of pairs that lie over each other: whether grey levels are bent, or the error is nearly all writing or a frame.

    ndarray of shape (P,), bool.
    """
    whole = overlap(unmoved(1))
    _, written = _kept_tiles(a, b, whole)
    return written | (_curve(a, b, whole).left < BENT)


def _splines(a: np.ndarray, found: Alignment) -> np.ndarray:
    return np.stack([_spline(one, m, t) for one, m, t in zip(a, found.linear, found.shift, strict=True)])


def _spline(image: np.ndarray, linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(linear)
    offset = CENTRE - inverse @ (CENTRE + shift)
    return ndimage.affine_transform(image, inverse, offset, order=3, mode="nearest", output=np.float32)


def overlap(found: Alignment) -> np.ndarray:
    """1 where both images have pixels, falling to 0 at the border: ndarray of shape (P, 64, 64)."""
    inverse = np.linalg.inv(found.linear).astype(np.float32)[..., None]
    y, x = _Y - found.shift[:, :1].astype(np.float32), _X - found.shift[:, 1:].astype(np.float32)
    inside = np.ones((len(y), SIDE_PX, SIDE_PX), np.float32)
    for row in (0, 1):
        place = inverse[:, row, 0] * y + inverse[:, row, 1] * x
        inside *= (np.abs(place) <= CENTRE - 1).reshape(inside.shape)
    inside[:, [0, -1]] = 0
    inside[:, :, [0, -1]] = 0
    return np.clip(2 * (_SOFT @ inside @ _SOFT.T) - 1, 0, 1)


def regraded(a: np.ndarray, b: np.ndarray, found: Alignment) -> np.ndarray:
    """Images a, in their own places, with their grey levels mapped to those of b."""
    return _curve(_splines(a, found), b, overlap(found))(a)


@dataclass(eq=False)
class _Curve:
    """Polynomials of degree 4 that take the grey levels of one image to those of another.

    Attributes
    ----------
    low, high : ndarray of shape (P, 1, 1)
        Range of the first.
    factors : ndarray of shape (P, 5)
        Of Chebyshev polynomials on it.
    left : ndarray of shape (P,)
        Share of the squared error of a straight line that the curve leaves.
    falls : ndarray of shape (P,), bool
        Whether that line does: one image is inverted.
    """

    low: np.ndarray
    high: np.ndarray
    factors: np.ndarray
    left: np.ndarray
    falls: np.ndarray

    def take(self, which: np.ndarray) -> _Curve:
        """Some of them."""
        return _Curve(self.low[which], self.high[which], self.factors[which], self.left[which], self.falls[which])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Images with their grey levels mapped."""
        scaled = _scaled(np.clip(x, self.low, self.high), self.low, self.high)
        return (self.factors[:, :, None, None] * _powers(scaled)).sum(axis=1)


def _curve(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> _Curve:
    """From x to y, both (P, 64, 64), by least squares over means of 4 x 4 pixels."""
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    n_blocks = (SIDE_PX // _BLOCK) ** 2
    coarse, target, w = (means(side, _BLOCK).reshape(len(side), n_blocks) for side in (x, y, weight))
    coarse = _scaled(coarse, low[:, 0], high[:, 0])
    powers = _powers(coarse)
    weighted = powers * w[:, None]
    normal, right = weighted @ powers.transpose(0, 2, 1), weighted @ target[:, :, None]
    normal += 1e-5 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(5, dtype=np.float32)
    errors, factors = [], []
    for k in (2, 5):  # a line and a curve
        factors.append(np.linalg.solve(normal[:, :k, :k].astype(float), right[:, :k].astype(float)).astype(np.float32))
        rest = target - (factors[-1] * powers[:, :k]).sum(axis=1)
        errors.append((w * rest * rest).sum(axis=1))
    left = errors[1] / np.maximum(errors[0], 1e-6)
    return _Curve(low, high, factors[1][:, :, 0], left, factors[0][:, 1, 0] < 0)


def _scaled(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """From -1 to 1."""
    return 2 * (x - low) / np.maximum(high - low, 1) - 1


def means(x: np.ndarray, size: int) -> np.ndarray:
    """Of squares of so many pixels a side."""
    return _SQUARES[size] @ x @ _SQUARES[size].T


def _powers(x: np.ndarray) -> np.ndarray:
    """Chebyshev polynomials 0 to 4."""
    square = x * x
    return np.stack([np.ones_like(x), x, 2 * square - 1, x * (4 * square - 3), 8 * square * (square - 1) + 1], axis=1)


def _difference(x: np.ndarray, y: np.ndarray, weight: np.ndarray, least_overlap: float = LEAST_OVERLAP) -> np.ndarray:
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
    lost[weight.mean(axis=(1, 2)) < least_overlap] = np.inf
    return (lost / NEIGHBOUR).mean(axis=1)


def _unwritten(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weight without writing or a frame; whether nearly all of the error is in these.

    Writing is the tiles that differ most, at most a third of them. A frame is the outermost tiles.
    """
    side = SIDE_PX // _TILE
    kept, written = _kept_tiles(x, y, weight)
    kept = np.repeat(np.repeat(kept.reshape(-1, side, side), _TILE, axis=1), _TILE, axis=2)
    return weight * np.clip(2 * (_SOFT @ kept @ _SOFT.T) - 1, 0, 1), written


def _kept_tiles(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 for each tile that is neither writing nor frame, (P, tiles); whether the rest hold nearly all of the error."""
    n, side = len(x), SIDE_PX // _TILE
    used = (means(weight, _TILE) > 0.5).reshape(len(weight), side * side)
    error = np.where(used, means((x - y) ** 2 * weight, _TILE).reshape(n, side * side), 0)
    order = np.argsort(-error, axis=1)
    first = np.arange(side * side) < (used.sum(axis=1) // 3)[:, None]
    ordered = np.take_along_axis(error, order, 1)
    share = (ordered * first).sum(axis=1) / np.maximum(error.sum(axis=1), 1e-6)
    others = ~first & (ordered > 0)
    ordinary = (ordered * others).sum(axis=1) / np.maximum(others.sum(axis=1), 1)
    odd = first & (ordered > np.maximum(6 * ordinary, 0.5)[:, None])
    kept = np.ones((n, side * side), np.float32)
    np.put_along_axis(kept, order, 1 - odd.astype(np.float32), 1)
    framed = (error @ _OUTERMOST) / np.maximum(error.sum(axis=1), 1e-6) > WRITTEN
    framed &= share <= WRITTEN
    kept[framed] = 1 - _OUTERMOST
    return kept, (share > WRITTEN) | framed
