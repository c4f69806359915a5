"""Where everything is in a phantom's head: signed distances in millimetres, positive inside.

Axes: x to the right, v towards the face, z upwards; the origin is the middle of the brain, so that v is the y of the
MNI atlas plus 17 mm. Positions and sizes of deep structures are that atlas's, to a few millimetres; left and right are
drawn together in |x|.

The cortex is what makes it a brain. Sulci are the zero lines of a narrow-band field over (angle along the hemisphere's
surface, depth, height), so that they run in from the surface, bend, and merge where the field's envelope vanishes.
|n| / |grad n| is the distance to such a line; the cortex is the ribbon of constant thickness along lines and surface.

Everything is float32 and written with Python floats, which do not widen it; fields that depend on the slice alone keep
shape (S, H, 1) until they meet one that does not.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from ._anatomy import Anatomy

FIELD_OF_VIEW_MM = 224.0


NOWHERE = -99.0


Point = tuple[float, float]


def bump(z: np.ndarray, centre: float, half: float) -> np.ndarray:
    """How wide a rounded body is at height z: 1 in the middle, 0 at its ends."""
    return np.sqrt(np.maximum(1 - ((z - centre) / half) ** 2, 0))


def _rod(x: np.ndarray, v: np.ndarray, points: list[Point], radii: list) -> np.ndarray:
    """Distance into a chain of rods through the points, with these radii there; nothing where the radius is 0."""
    bodies = []
    for (ax, av), (bx, bv), ra, rb in zip(points, points[1:], radii, radii[1:], strict=False):
        dx, dv = bx - ax, bv - av
        t = ((x - ax) * dx + (v - av) * dv) * (1 / (dx * dx + dv * dv))
        t = np.clip(t, 0, 1)
        px, pv = x - ax - t * dx, v - av - t * dv
        radius = ra + (rb - ra) * t
        bodies.append(np.where(radius > 0.05, radius - np.sqrt(px * px + pv * pv), NOWHERE))
    return reduce(_union, bodies)


def _ellipse(x, v, centre: Point, radii: Point, turn_deg: float = 0.0, size=1.0) -> np.ndarray:
    """Distance into an ellipse, to first order near its edge; its length leans to the left by `turn_deg`."""
    c, s = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    dx, dv = x - centre[0], v - centre[1]
    p, q = (dx * c + dv * s) / radii[0], (dv * c - dx * s) / radii[1]
    rho = np.sqrt(p * p + q * q) + 1e-6
    slope = np.sqrt((p / radii[0]) ** 2 + (q / radii[1]) ** 2) + 1e-6
    return np.where(size > 0.05, (size - rho) * (rho / slope), NOWHERE)


def _union(a: np.ndarray, b: np.ndarray, blend_mm: float = 2.0) -> np.ndarray:
    """Both bodies, with a rounded joint (polynomial smooth maximum)."""
    h = np.maximum(blend_mm - np.abs(a - b), 0)
    return np.maximum(a, b) + h * h * (0.25 / blend_mm)


class Slices:
    """The coordinates of some slices of one head, and its two surfaces: of the brain and between the hemispheres.

    Attributes
    ----------
    x, v : ndarray of shape (1, H, W)
        Straightened coordinates in mm.
    z : ndarray of shape (S, H, 1)
    side : ndarray of shape (1, H, W)
        |x|.
    soft_side, soft_v : ndarray of shape (1, H, W)
        The same, gently bent, so that nothing deep is straight.
    depth, midline : ndarray of shape (S, H, W)
        Distance below the surface, and from the sheet between the hemispheres.
    """

    def __init__(self, anatomy: Anatomy, z_mm: np.ndarray, size_px: int) -> None:
        self.anatomy = anatomy
        self.pixel_mm = FIELD_OF_VIEW_MM / size_px
        axis = ((np.arange(size_px) + 0.5) * self.pixel_mm - FIELD_OF_VIEW_MM / 2).astype(np.float32)
        col, row = axis[None, None, :] - anatomy.shift_mm[0], -axis[None, :, None] - anatomy.shift_mm[1]
        turn = math.radians(anatomy.tilt_deg)
        c, s = math.cos(turn), math.sin(turn)
        self.v = (row * c - col * s) / anatomy.scale[1]
        self.x = (col * c + row * s) / anatomy.scale[0] - anatomy.bend_mm * (self.v / 80) ** 2
        self.right = self.x > 0
        self.side = np.abs(self.x)
        wave = [float(p) for p in anatomy.phases]
        self.soft_side = self.side + 1.2 * np.sin(0.15 * self.v + wave[0]) + 0.5 * np.sin(0.4 * self.v + wave[1])
        self.soft_v = self.v + 1.2 * np.sin(0.15 * self.x + wave[2]) + 0.5 * np.sin(0.4 * self.x + wave[3])
        # Leaning forward or back: the front of a slice is higher or lower than its back.
        self.z = np.asarray(z_mm, np.float32)[:, None, None] + anatomy.level_mm + anatomy.pitch * row
        self.where = (slice(None), slice(0, size_px), slice(0, size_px))
        self._outline()
        self._between()

    def window(self, half_width_mm: float, back_mm: float, front_mm: float) -> Slices:
        """The part of the slices that a box around the midline can meet; `where` tells which pixels these are."""
        inside = (self.side[0] < half_width_mm) & (self.v[0] > back_mm) & (self.v[0] < front_mm)
        rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        r, c = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
        part = object.__new__(Slices)
        part.__dict__.update(self.__dict__, z=self.z[:, r], where=(slice(None), r, c))
        for name in ("x", "v", "side", "soft_side", "soft_v", "right", "angle", "depth", "midline"):
            setattr(part, name, np.ascontiguousarray(getattr(self, name)[:, r, c]))
        return part

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Share of each pixel that lies inside: partial volume without supersampling."""
        return np.clip(distance * (1 / self.pixel_mm) + 0.5, 0, 1)

    def by_side(self, i: int, value: float = 1.0) -> np.ndarray:
        """A size that differs a little between the hemispheres."""
        delta = float(self.anatomy.asymmetry[i])
        return np.where(self.right, np.float32(value * (1 + delta)), np.float32(value * (1 - delta)))

    def _outline(self) -> None:
        """Depth below the surface of the brain: an egg with a few bumps, narrowing upwards."""
        a, above, below = self.anatomy, np.maximum(self.z - 4, 0), np.maximum(-self.z - 4, 0)
        half_width = 66 * np.sqrt(1 - (above / 66) ** 2) * (1 - 0.0009 * below**1.5)
        half_length = 83 * np.sqrt(1 - (above / 76) ** 2)
        self.angle = np.arctan2(self.v / 83, self.x / 66)
        swell = np.ones_like(self.angle)
        for k, (size, phase) in enumerate(zip(a.bumps, a.bumps_phase, strict=True), start=2):
            swell += float(size) * np.cos(k * self.angle + float(phase))
        taper = 1 - (a.egg + 0.002 * below) * self.v / 83
        px, pv = self.x / (half_width * taper * swell), self.v / (half_length * swell)
        rho = np.sqrt(px * px + pv * pv) + 1e-4
        slope = np.sqrt((px / half_width) ** 2 + (pv / half_length) ** 2) + 1e-5
        self.depth = (1 - rho) * (rho / slope)

    def _between(self) -> None:
        """Distance to the sheet between the hemispheres, which is closed where callosum and stem join them."""
        front = np.interp(self.z, [-16, -8, 0, 10, 20, 27, 32], [22, 34, 47, 46, 40, 26, 8]).astype(np.float32)
        back = np.interp(self.z, [-16, -6, 2, 10, 18, 25, 31], [-22, -20, -22, -27, -25, -14, 2]).astype(np.float32)
        closed = np.maximum(np.minimum(front - self.v, self.v - back), 0)
        off = self.x - np.sin(0.09 * self.v + float(self.anatomy.phases[4]))
        self.midline = np.sqrt(off * off + closed * closed)


# -- cortex ------------------------------------------------------------------------------------------------------------


def surface_angle(side: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Position along the surface of a hemisphere, from -pi to pi, about proportional to arc length.

    The angle of elliptic coordinates: its lines meet the surface at right angles.
    """
    focus = math.sqrt(80.0**2 - 31.0**2)  # half length and half width of a hemisphere
    plane = (v + 1j * (side - 33.0)).astype(np.complex64) / np.float32(focus)
    nu = np.abs(np.arccosh(plane).imag)
    nu = np.where(plane.imag < 0, -nu, nu)
    return nu - 0.19 * np.sin(2 * nu)


def _to_lines(s: Slices, waves: np.ndarray, nu: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Distance (mm) from the zero lines of a folding field, to first order."""
    field = np.zeros(depth.shape, np.float32)
    for m, per_depth, per_level, left, right in waves.T.tolist():
        start = m * nu + np.where(s.right, np.float32(right), np.float32(left))
        field += np.cos(start + per_level * s.z + per_depth * depth)
    d_row, d_col = np.gradient(field, s.pixel_mm, axis=(1, 2))
    # On a flat spot the quotient is noise: the slope is kept above a third of its typical value, 55 mm from the centre.
    typical = math.sqrt(waves.shape[1] / 2) * float(waves[0].mean()) / 55
    return np.abs(field) / np.sqrt(d_row * d_row + d_col * d_col + (typical / 3) ** 2)


def to_csf(s: Slices) -> np.ndarray:
    """Distance (mm) from the fluid outside the brain: surface, midline, sulci, Sylvian fissures."""
    a = s.anatomy
    wave = [float(p) for p in a.phases]
    bent_side = s.side + 3.2 * np.sin(0.17 * s.v + wave[5]) + 2.0 * np.sin(0.31 * s.v + wave[6])
    bent_v = s.v + 3.2 * np.sin(0.17 * s.x + wave[6]) + 2.0 * np.sin(0.31 * s.x + wave[7])
    nu = surface_angle(bent_side, bent_v)
    below = np.minimum(s.depth, s.midline)
    depth = np.clip(below, 0, 30)
    # A sulcus gapes at the surface.
    half_width = 0.5 * a.sulcus_mm * (0.6 + 0.9 * np.exp(depth * (-1 / 5)))
    reach = 17 + 5 * np.cos(5 * nu + 0.03 * s.z + wave[0]) + 4 * np.cos(9 * nu - 0.05 * s.z + wave[1])
    past = np.maximum(below - reach, 0)
    main = _to_lines(s, a.folds, nu, depth)
    main = np.sqrt(main * main + past * past) - half_width
    past = np.maximum(below - (4 + 3 * np.cos(7 * nu + wave[2])), 0)
    minor = _to_lines(s, a.fine_folds, nu, depth)
    minor = np.sqrt(minor * minor + past * past) - 0.7 * half_width
    nearest = np.minimum(np.minimum(main, minor), np.minimum(s.depth, s.midline - (0.5 + 0.45 * a.sulcus_mm)))
    return np.minimum(nearest, -_sylvian(s))


def _sylvian(s: Slices) -> np.ndarray:
    """Distance into the lateral fissure: from the temple to the insula; low down, between frontal and temporal lobe."""
    wide = 0.6 + 0.75 * s.anatomy.sulcus_mm
    side, v = s.soft_side, s.soft_v
    upper = wide * s.by_side(1) * bump(s.z, 4, 15)
    lower = wide * np.clip((-6 - s.z) / 6, 0, 1)
    insula = _rod(side, v, [(37, 33), (40, 18), (40, 4)], [0.75 * upper, 0.7 * upper, 0.55 * upper])
    opening = _rod(side, v, [(39, 12), (54, 8), (70, -4)], [0.6 * upper, 0.6 * upper, 0.9 * upper])
    front = _rod(side, v, [(37, 32), (66, 44)], [0.5 * upper, 1.1 * upper])
    stem = _rod(side, v, [(20, 25), (40, 29), (66, 40)], [lower, 0.9 * lower, 1.6 * lower])
    return np.maximum(np.maximum(insula, opening), np.maximum(front, stem))


# -- deep structures ---------------------------------------------------------------------------------------------------


def ventricles(s: Slices) -> np.ndarray:
    """Distance into the lateral (frontal horn, body, trigone, occipital and temporal horn) and third ventricles."""
    q = s.anatomy.ventricles
    tall, apart = math.sqrt(q), 1.5 * (q - 1)
    side, v, z = s.soft_side, s.soft_v, s.z
    wide = s.by_side(0, q)
    horn = wide * bump(z, 7, 13 * tall)
    body = wide * bump(z, 20, 10.5 * tall)
    back = wide * bump(z, 8, 13 * tall)
    frontal = _rod(side, v, [(3.5, 19), (5.5 + apart, 32), (14 + 2 * apart, 43)], [2.0 * horn, 3.0 * horn, 3.2 * horn])
    middle = _rod(side, v, [(11 + apart, 37), (8 + apart, 14), (17 + apart, -14)], [4.0 * body, 4.6 * body, 5.0 * body])
    trigone = _rod(
        side,
        v,
        [(18 + apart, -11), (24 + apart, -26), (22 + apart, -43)],
        [3.2 * back, 4.3 * back, 1.6 * back],
    )
    third = _rod(s.side, v, [(0, 16), (0, -4)], [0.9 * q**1.4 * bump(z, -1, 10)] * 2)
    lateral = np.minimum(_union(_union(frontal, middle), trigone), s.side - 0.7)  # less the septum
    return np.maximum(lateral, np.maximum(_temporal_horn(s), third))


def _temporal_horn(s: Slices) -> np.ndarray:
    """Distance into the fluid before and beside the hippocampus, which fills the room that the hippocampus leaves."""
    room = 0.9 * s.anatomy.ventricles + 5.0 * max(1.1 - s.anatomy.hippocampus, 0)
    r = s.by_side(3, room) * bump(s.z, -14, 9)
    return _rod(s.soft_side, s.soft_v, [(25, 10), (32, 8), (35, -12)], [0.8 * r, 1.2 * r, 0.7 * r])


def hippocampus(s: Slices) -> np.ndarray:
    """Distance into the hippocampi: the body low down, the tail behind and above, nearer to the midline."""
    h = s.by_side(2, s.anatomy.hippocampus)
    body = _ellipse(s.soft_side, s.soft_v, (26.5, -4), (5.6, 12.5), -8, h * bump(s.z, -15, 11))
    tail = _ellipse(s.soft_side, s.soft_v, (23.5, -17), (4.2, 8.0), -30, h * bump(s.z, -5, 9))
    return np.maximum(body, tail)


def grey_nuclei(s: Slices) -> dict[str, np.ndarray]:
    """Distances into the grey bodies; wide ventricles push them outwards."""
    side, v, z = s.soft_side, s.soft_v, s.z
    apart = 1.5 * (s.anatomy.ventricles - 1)
    head = _ellipse(side, v, (13.5 + 1.7 * apart, 29), (5.2, 9.5), -28, bump(z, 7, 13))
    tail = _ellipse(side, v, (18 + 1.8 * apart, 6), (2.8, 13), 16, bump(z, 19, 8))
    return {
        "caudate": np.maximum(head, tail),
        "putamen": _ellipse(side, v, (27.5 + 0.5 * apart, 17), (5.2, 15), 14, bump(z, 3, 13)),
        "amygdala": _ellipse(side, v, (22, 17), (6.5, 5.5), 0, bump(z, -16, 8)),
        "pallidum": _ellipse(side, v, (20 + 0.5 * apart, 12), (4.0, 8.0), 30, bump(z, 0, 8)),
        "thalamus": _ellipse(side, v, (10.5 + 0.5 * apart, -3), (8.6, 14), 20, bump(z, 6, 11)),
    }


def brain_stem(s: Slices) -> dict[str, np.ndarray]:
    """Distances into the midbrain, the cisterns around it and the top of the cerebellum, which show low down.

    They end where the midbrain passes into the rest: `share_of_stem` fades them out over 2 mm.
    """
    side, v = s.side, s.soft_v
    peduncle = _ellipse(side, v, (9, 1), (7.5, 9.5), -32)
    stem = _union(peduncle, _ellipse(side, v, (0, -8), (14, 9.5)), 3)
    wide = 1.0 + 0.8 * s.anatomy.sulcus_mm
    chiasm = _rod(side, v, [(0, 16), (9, 20)], [5.0 + wide, 2.0 + wide])
    behind = _rod(side, v, [(0, -20), (10, -17)], [1.2 + wide, wide])
    cistern = np.maximum(stem + wide + 0.4, np.maximum(chiasm, behind))
    vermis = _ellipse(side, v, (0, -43), (19, 20), 0, np.clip((-9 - s.z) / 4, 0, 1))
    return {"vermis": vermis, "cistern": np.minimum(cistern, -stem), "stem": stem}


def share_of_stem(s: Slices) -> np.ndarray:
    """1 below the top of the midbrain, 0 above."""
    return np.clip((-7 - s.z) / 2 + 0.5, 0, 1)
