"""The geometry behind the phantoms: one head, cut into axial slices.

Everything is a signed distance in millimetres, positive inside, turned into the share of a pixel that a structure
covers by clip(1/2 + distance / pixel, 0, 1): edges get their partial volume without supersampling. Tissues are laid
over each other in order. Axes: x to the right, v towards the face, z upwards; the origin is the middle of the brain, so
that v is the y of the MNI atlas plus 17 mm. Positions and sizes of deep structures are that atlas's, to a few mm.

The cortex is what makes it a brain. Sulci are the zero lines of a narrow-band field over (angle along the hemisphere's
surface, depth, height), so that they run in from the surface, bend, and merge where the field's envelope vanishes.
|n| / |grad n| is the distance to such a line; the cortex is the ribbon of constant thickness around it and along the
surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIELD_OF_VIEW_MM = 224.0
LEVELS_MM = (-15.0, 27.0)
"""Lowest and highest slice: from the hippocampi to the roof of the lateral ventricles."""

N_FOLDS = 7
CSF, GRAY, WHITE, DEEP, PALLIDUM = 0.20, 0.57, 0.83, 0.64, 0.74
BONE, MARROW, FAT, MUSCLE = 0.06, 0.30, 0.88, 0.45


@dataclass(frozen=True)
class Anatomy:
    """One subject. Lengths in mm; the four first change with the disease."""

    ventricles: float
    cortex_mm: float
    sulcus_mm: float
    hippocampus: float
    scale: tuple[float, float]
    egg: float
    bumps: np.ndarray
    bumps_phase: np.ndarray
    asymmetry: np.ndarray
    bend_mm: float
    tilt_deg: float
    pitch: float
    shift_mm: tuple[float, float]
    level_mm: float
    folds: np.ndarray
    fold_depths: np.ndarray
    gap_mm: float
    bone_mm: float
    scalp_mm: float
    contrast: np.ndarray
    gain: float
    bias: np.ndarray
    noise: float


def draw_anatomy(rng: np.random.Generator, severity: int) -> Anatomy:
    """A subject of that severity (0 to 3).

    Atrophy is the severity plus a deviation of its own that is as large as a step and a half of it, and each sign adds
    another, so that neighbouring classes overlap: old healthy brains shrink too.
    """
    normal = rng.standard_normal
    atrophy = severity + 0.5 * normal()
    size = normal()
    return Anatomy(
        ventricles=float(np.exp(0.02 + 0.23 * atrophy + 0.13 * normal())),
        cortex_mm=float(np.clip(3.1 - 0.28 * atrophy + 0.16 * normal(), 1.5, 4.0)),
        sulcus_mm=float(np.clip(1.3 + 0.55 * atrophy + 0.25 * normal(), 0.5, 4.5)),
        hippocampus=float(np.clip(1.08 - 0.15 * atrophy + 0.07 * normal(), 0.45, 1.35)),
        scale=(1 + 0.03 * size + 0.015 * normal(), 1 + 0.03 * size + 0.015 * normal()),
        egg=0.10 + 0.02 * normal(),
        bumps=rng.normal(0, [0.006, 0.006, 0.004, 0.003, 0.003]) + np.array([0, 0, -0.018, 0, 0]),
        bumps_phase=np.where(np.arange(5) == 2, 0.0, rng.uniform(-np.pi, np.pi, 5)),
        asymmetry=rng.normal(0, 0.05, 6),
        bend_mm=1.2 * normal(),
        tilt_deg=2.5 * normal(),
        pitch=0.05 * normal(),
        shift_mm=(2.0 * normal(), 2.5 * normal()),
        level_mm=1.5 * normal(),
        folds=_draw_folds(rng),
        fold_depths=rng.uniform(-np.pi, np.pi, (2, 4)),
        gap_mm=float(np.clip(2.0 + 0.7 * atrophy + 0.5 * normal(), 1.0, 7.0)),
        bone_mm=6.0 + 0.8 * normal(),
        scalp_mm=5.0 + 1.0 * normal(),
        contrast=rng.normal(0, [0.015, 0.025, 0.02]),
        gain=float(np.exp(0.05 * normal())),
        bias=rng.normal(0, 0.045, 5),
        noise=float(rng.uniform(0.012, 0.03)),
    )


def _draw_folds(rng: np.random.Generator) -> np.ndarray:
    """Waves of the folding field: order along the surface, per mm of depth, per mm of height, phase left and right.

    About 12 waves around a hemisphere put its sulci some 13 mm apart.
    """
    phase = rng.uniform(-np.pi, np.pi, N_FOLDS)
    return np.stack(
        [
            rng.integers(8, 16, N_FOLDS).astype(float),
            rng.normal(0, 0.10, N_FOLDS),
            rng.normal(0, 0.045, N_FOLDS),
            phase + rng.normal(0, 0.7, N_FOLDS),
            phase + rng.normal(0, 0.7, N_FOLDS),
        ]
    )


# -- shapes ------------------------------------------------------------------------------------------------------------


def _bump(z: np.ndarray, centre: float, half: float) -> np.ndarray:
    """How wide a rounded body is at height z: 1 in the middle, 0 at its ends."""
    return np.sqrt(np.clip(1 - ((z - centre) / half) ** 2, 0, None))


def _capsule(x, v, a, b, r_a, r_b=None):
    """Distance into a rod from point a to point b whose radius goes from r_a to r_b; nothing where the radius is 0."""
    r_b = r_a if r_b is None else r_b
    dx, dv = b[0] - a[0], b[1] - a[1]
    t = np.clip(((x - a[0]) * dx + (v - a[1]) * dv) / (dx * dx + dv * dv), 0, 1)
    far = np.hypot(x - a[0] - t * dx, v - a[1] - t * dv)
    radius = r_a + (r_b - r_a) * t
    return np.where(radius > 0.05, radius - far, -99.0)


def _ellipse(x, v, centre, radii, turn_deg=0.0, size=1.0):
    """Distance into an ellipse (to first order near its edge); nothing where the size is 0."""
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    p = ((x - centre[0]) * c + (v - centre[1]) * s) / radii[0]
    q = ((v - centre[1]) * c - (x - centre[0]) * s) / radii[1]
    rho = np.hypot(p, q) + 1e-6
    slope = np.hypot(p / radii[0], q / radii[1]) + 1e-6
    return np.where(size > 0.05, (size - rho) * rho / slope, -99.0)


def _union(a, b, blend_mm=2.0):
    """Both bodies, with a rounded joint (polynomial smooth maximum)."""
    h = np.clip(blend_mm - np.abs(a - b), 0, None)
    return np.maximum(a, b) + h * h / (4 * blend_mm)


class Slices:
    """The fields of some slices of one head. Arrays broadcast to (S, H, W)."""

    def __init__(self, anatomy: Anatomy, z_mm: np.ndarray, size_px: int) -> None:
        self.anatomy = anatomy
        self.pixel_mm = FIELD_OF_VIEW_MM / size_px
        axis = ((np.arange(size_px) + 0.5) * self.pixel_mm - FIELD_OF_VIEW_MM / 2).astype(np.float32)
        col, row = axis[None, None, :] - anatomy.shift_mm[0], -axis[None, :, None] - anatomy.shift_mm[1]
        c, s = np.cos(np.deg2rad(anatomy.tilt_deg)), np.sin(np.deg2rad(anatomy.tilt_deg))
        self.v = ((row * c - col * s) / anatomy.scale[1]).astype(np.float32)
        x = (col * c + row * s) / anatomy.scale[0]
        self.x = (x - anatomy.bend_mm * (self.v / 80) ** 2).astype(np.float32)
        self.right = self.x > 0
        self.side = np.abs(self.x)
        # Leaning forward or back: the front of the slice is higher or lower than its back.
        levels = np.asarray(z_mm, np.float32)[:, None, None] + anatomy.level_mm
        self.z = (levels + anatomy.pitch * row).astype(np.float32)
        self._hull()
        self._midline()

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Share of each pixel that lies inside."""
        return np.clip(distance * np.float32(1 / self.pixel_mm) + np.float32(0.5), 0, 1)

    def by_side(self, i: int, value: float = 1.0) -> np.ndarray:
        """A size that differs a little between the hemispheres."""
        delta = float(self.anatomy.asymmetry[i])
        return np.where(self.right, value * (1 + delta), value * (1 - delta)).astype(np.float32)

    def _hull(self) -> None:
        """Depth below the surface of the brain: an egg with a few bumps, narrowing upwards."""
        z = self.z
        half_width = (
            66 * np.sqrt(1 - (np.clip(z - 4, 0, None) / 66) ** 2) * (1 - 0.0009 * np.clip(-z - 4, 0, None) ** 1.5)
        )
        half_length = 83 * np.sqrt(1 - (np.clip(z - 4, 0, None) / 76) ** 2)
        angle = np.arctan2(self.v / 83, self.x / 66)
        orders = np.arange(2, 7)
        bumps = self.anatomy.bumps
        waves = sum(b * np.cos(k * angle + p) for b, k, p in zip(bumps, orders, self.anatomy.bumps_phase, strict=True))
        taper = 1 - (self.anatomy.egg + 0.004 * np.clip(-z, 0, None)) * self.v / 83
        px = self.x / (half_width * taper * (1 + waves))
        py = self.v / (half_length * (1 + waves))
        rho = np.sqrt(px * px + py * py) + 1e-4
        slope = np.sqrt((px / half_width) ** 2 + (py / half_length) ** 2) + 1e-5
        self.angle = angle
        self.depth = ((1 - rho) * rho / slope).astype(np.float32)

    def _midline(self) -> None:
        """Distance to the sheet between the hemispheres, which is closed where the callosum and the stem join them."""
        z = self.z
        front = np.interp(z, [-16, -8, 0, 10, 20, 27, 32], [22, 34, 47, 46, 40, 26, 8]).astype(np.float32)
        back = np.interp(z, [-16, -6, 2, 10, 18, 25, 31], [-22, -20, -22, -27, -25, -14, 2]).astype(np.float32)
        beyond = np.clip(np.minimum(front - self.v, self.v - back), 0, None)
        wobble = 1.0 * np.sin(self.v * 0.09 + self.anatomy.fold_depths[0, 0])
        self.midline = np.hypot(np.abs(self.x - wobble), beyond).astype(np.float32)


# -- cortex ------------------------------------------------------------------------------------------------------------


def surface_angle(s: Slices) -> np.ndarray:
    """Position along the surface of a hemisphere, from -pi to pi, about proportional to arc length.

    The angle of elliptic coordinates: its lines meet the surface at right angles.
    """
    half_width, half_length = 31.0, 80.0
    focus = np.sqrt(half_length**2 - half_width**2)
    plane = (s.v + 1j * (s.side - 33.0)) / focus
    nu = np.arccosh(plane.astype(np.complex64)).imag
    nu = np.where(plane.imag < 0, -np.abs(nu), np.abs(nu))
    return (nu - 0.19 * np.sin(2 * nu)).astype(np.float32)


def to_csf(s: Slices) -> np.ndarray:
    """Distance (mm) from the fluid outside the brain: surface, midline, sulci, Sylvian fissures."""
    a = s.anatomy
    hemisphere = np.minimum(s.depth, s.midline)
    nu = surface_angle(s)
    nu = nu + 0.06 * np.sin(0.055 * s.v + a.fold_depths[0, 1]) + 0.06 * np.sin(0.08 * s.side + a.fold_depths[0, 2])
    shallow = np.clip(hemisphere, 0, 30)
    field = np.zeros(hemisphere.shape, np.float32)
    for m, per_depth, per_level, left, right in a.folds.T:
        start = m * nu + np.where(s.right, right, left).astype(np.float32)
        field += np.cos(start + np.float32(per_depth) * shallow + np.float32(per_level) * s.z)
    d_row, d_col = np.gradient(field, s.pixel_mm, axis=(1, 2))
    # In the noise of a flat spot the distance would jump: the slope is kept above a third of its typical value.
    slope = np.sqrt(d_row * d_row + d_col * d_col + np.float32(0.12) ** 2)
    to_line = np.abs(field) / slope
    phases = a.fold_depths[1]
    reach = 13 + 5 * np.cos(5 * nu + 0.03 * s.z + phases[0]) + 4 * np.cos(9 * nu - 0.05 * s.z + phases[1])
    to_sulcus = np.hypot(to_line, np.clip(hemisphere - reach, 0, None))
    # A sulcus gapes at the surface.
    half_width = np.float32(0.5 * a.sulcus_mm) * (0.55 + 0.9 * np.exp(-np.clip(hemisphere, 0, None) / 5))
    fissure = s.midline - np.float32(0.5 + 0.45 * a.sulcus_mm)
    nearest = np.minimum(np.minimum(s.depth, fissure), to_sulcus - half_width)
    return np.minimum(nearest, -_sylvian(s)).astype(np.float32)


def _sylvian(s: Slices) -> np.ndarray:
    """The lateral fissure, in from the temple to the insula; low down, the stem between frontal and temporal lobe."""
    wide = np.float32(0.6 + 0.75 * s.anatomy.sulcus_mm)
    side, v, z = s.side, s.v, s.z
    upper, lower = _bump(z, 4, 15), np.clip((-6 - z) / 6, 0, 1)
    r = wide * upper * s.by_side(1)
    insula = _capsule(side, v, (37, 33), (40, 4), 0.75 * r, 0.55 * r)
    opening = _capsule(side, v, (39, 12), (70, -3), 0.6 * r, 0.9 * r)
    front = _capsule(side, v, (37, 32), (66, 44), 0.5 * r, 1.1 * r)
    stem = _capsule(side, v, (20, 25), (66, 38), wide * lower, 1.6 * wide * lower)
    return np.maximum(np.maximum(insula, opening), np.maximum(front, stem))


# -- deep structures ---------------------------------------------------------------------------------------------------


def ventricles(s: Slices) -> np.ndarray:
    """Distance into the lateral (frontal horn, body, trigone, occipital and temporal horn) and third ventricles."""
    q = s.anatomy.ventricles
    tall = np.sqrt(q)
    side, v, z = s.side, s.v, s.z
    wide = s.by_side(0, q)
    apart = 1.5 * (q - 1)
    horn = wide * _bump(z, 7, 13 * tall)
    frontal = _capsule(side, v, (4.5, 21), (13 + 2 * apart, 42), 2.6 * horn, 3.4 * horn)
    body_r = wide * _bump(z, 20, 10.5 * tall)
    body = _union(
        _capsule(side, v, (9 + apart, 36), (9 + apart, 14), 4.2 * body_r, 4.8 * body_r),
        _capsule(side, v, (9 + apart, 14), (17 + apart, -14), 4.8 * body_r, 5.0 * body_r),
    )
    trigone = wide * _bump(z, 8, 13 * tall)
    back = _capsule(side, v, (19 + apart, -13), (24 + apart, -27), 3.6 * trigone, 4.4 * trigone)
    occipital = _capsule(side, v, (24 + apart, -27), (23 + apart, -43), 3.6 * trigone, 1.8 * trigone)
    temporal = temporal_horn(s)
    third = (0.9 * q**1.4) * _bump(z, -1, 10)
    middle = _capsule(side, v, (0, 16), (0, -4), third)
    lateral = _union(_union(frontal, body), _union(back, occipital))
    septum = side - 0.7
    return np.maximum(np.minimum(lateral, septum), np.maximum(temporal, middle))


def hippocampus(s: Slices) -> np.ndarray:
    """Distance into the hippocampi: behind and above, the tail curves towards the midline."""
    h = s.by_side(2, s.anatomy.hippocampus)
    low, high = h * _bump(s.z, -15, 11), h * _bump(s.z, -5, 9)
    body = _ellipse(s.side, s.v, (26.5, -4), (5.6, 12.5), 12, np.minimum(low, 1.4))
    tail = _ellipse(s.side, s.v, (23.5, -17), (4.2, 8.0), 35, high)
    return np.maximum(body, tail)


def temporal_horn(s: Slices) -> np.ndarray:
    """The fluid beside and before the hippocampus; it fills the room that the hippocampus leaves."""
    room = 0.9 * s.anatomy.ventricles + 5.0 * np.clip(1.1 - s.anatomy.hippocampus, 0, None)
    r = s.by_side(3, room) * _bump(s.z, -14, 9)
    outer = _capsule(s.side, s.v, (31, 9), (35, -12), 1.2 * r, 0.9 * r)
    front = _capsule(s.side, s.v, (26, 10), (31, 9), 0.9 * r, 1.2 * r)
    return np.maximum(outer, front)


def grey_nuclei(s: Slices) -> list[tuple[np.ndarray, float]]:
    """Distances into caudate, putamen, pallidum and thalamus, with their intensities."""
    side, v, z = s.side, s.v, s.z
    apart = 1.5 * (s.anatomy.ventricles - 1)
    caudate = _ellipse(side, v, (14.5 + 1.5 * apart, 29), (5.0, 9.5), 22, _bump(z, 7, 13))
    tail = _ellipse(side, v, (20 + apart, 4), (2.6, 11), 12, _bump(z, 19, 7))
    putamen = _ellipse(side, v, (27.5 + 0.5 * apart, 17), (5.2, 15), 14, _bump(z, 3, 13))
    pallidum = _ellipse(side, v, (20 + 0.5 * apart, 12), (4.2, 8.5), 22, _bump(z, 0, 8))
    thalamus = _ellipse(side, v, (10.5 + 0.5 * apart, -3), (8.8, 14), -14, _bump(z, 6, 11))
    amygdala = _ellipse(side, v, (23, 15), (7, 6), 0, _bump(z, -16, 8))
    return [
        (np.maximum(caudate, tail), DEEP),
        (putamen, DEEP),
        (amygdala, GRAY),
        (pallidum, PALLIDUM),
        (thalamus, DEEP + 0.04),
    ]


def brain_stem(s: Slices) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances into the midbrain, the cisterns around it and the top of the cerebellum, which show low down."""
    side, v, z = s.side, s.v, s.z
    low = np.clip((-5 - z) / 5, 0, 1)
    peduncle = _ellipse(side, v, (9, 1), (8, 10), -32, low)
    tectum = _ellipse(side, v, (0, -8), (15, 9.5), 0, low)
    stem = _union(peduncle, tectum, 3)
    wide = low * (1.2 + 0.9 * s.anatomy.sulcus_mm)
    cistern = np.maximum(
        _capsule(side, v, (0, 16), (9, 20), 5.5 * low + wide, 2.0 * low + wide),
        np.where(low > 0, stem + wide + 0.6, -99.0),
    )
    cistern = np.maximum(cistern, _capsule(side, v, (0, -20), (10, -17), 1.5 * low + wide, wide))
    vermis = _ellipse(side, v, (0, -42), (19, 20), 0, np.clip((-9 - z) / 4, 0, 1))
    return stem, cistern, vermis


# -- pictures ----------------------------------------------------------------------------------------------------------


def _over(image: np.ndarray, share: np.ndarray, value: float | np.ndarray) -> np.ndarray:
    return image + share * (value - image)


def _shell(s: Slices) -> tuple[np.ndarray, np.ndarray]:
    """What lies around the brain (fluid, bone, marrow, muscle at the temples, fat, skin), and the head's coverage."""
    a = s.anatomy
    out = -s.depth
    temple = np.clip(np.cos(s.angle) ** 2, 0, 1) * np.clip(np.sin(s.angle + 0.5 * s.right) * 0 + 1, 0, 1)
    bone = a.bone_mm * (1 - 0.25 * temple + 0.15 * np.cos(2 * s.angle + 1.0))
    scalp = a.scalp_mm * (1 + 0.15 * np.cos(3 * s.angle + a.fold_depths[1, 2]))
    inner = out - a.gap_mm
    outer = inner - bone
    skin = outer - scalp
    image = _over(np.zeros_like(out), s.cover(-skin), FAT)
    image = _over(image, s.cover(1.3 - np.abs(skin + 0.9)), MUSCLE + 0.1)
    image = _over(image, s.cover(-outer), BONE)
    image = _over(image, s.cover(bone * 0.22 - np.abs(inner - 0.5 * bone)), MARROW)
    image = _over(image, s.cover(-inner), CSF)
    return image, s.cover(-skin)


def render(
    anatomy: Anatomy, z_mm: np.ndarray, size_px: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Slices of one head.

    Parameters
    ----------
    anatomy : Anatomy
    z_mm : ndarray of shape (S,)
        Heights of the slices.
    size_px : int
    rng : Generator
        For the noise.

    Returns
    -------
    images : ndarray of shape (S, H, W), uint8
    masks : dict of str to ndarray of shape (S, H, W), bool
    """
    s = Slices(anatomy, z_mm, size_px)
    tissue = np.array([CSF, GRAY, WHITE]) + anatomy.contrast
    image, head = _shell(s)
    distance = to_csf(s)
    stem, cistern, vermis = brain_stem(s)
    fluid = ventricles(s)
    nuclei = grey_nuclei(s)
    memory = hippocampus(s)

    brain = s.cover(s.depth) * s.cover(distance)
    white = s.cover(distance - np.float32(anatomy.cortex_mm))
    cortex = brain - white * brain
    image = _over(image, s.cover(s.depth), tissue[0])
    image = _over(image, brain, tissue[1])
    image = _over(image, white, tissue[2])
    leaves = 0.09 * np.cos(0.9 * np.hypot(s.side, s.v + 20))
    image = _over(image, s.cover(vermis), tissue[1] + 0.05 + leaves)
    image = _over(image, s.cover(cistern), tissue[0])
    image = _over(image, s.cover(stem), tissue[2] - 0.08)
    for body, value in nuclei:
        image = _over(image, s.cover(body), value + anatomy.contrast[1])
    image = _over(image, s.cover(memory + 0.9), tissue[2])
    image = _over(image, s.cover(fluid), tissue[0] - 0.03)
    image = _over(image, s.cover(memory), tissue[1] + 0.02)

    masks = {
        "cortex": (cortex > 0.5) & (fluid < 0) & (memory < 0) & (cistern < 0) & (vermis < 0),
        "ventricles": (fluid > 0) & (memory <= 0),
        "hippocampus": memory > 0,
        "head": head > 0.5,
    }
    return _scan(s, image, rng), masks


def _scan(s: Slices, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the scanner adds: a slightly soft point spread, an uneven coil, Rician noise, 8 bits."""
    a = s.anatomy
    image = _soften(image.astype(np.float32))
    x, y = s.x / 100, s.v / 100
    coil = a.bias[0] * x + a.bias[1] * y + a.bias[2] * x * y + a.bias[3] * (x * x - 0.2) + a.bias[4] * (y * y - 0.2)
    image = image * ((1 + coil) * np.float32(a.gain)).astype(np.float32)
    noise = np.float32(a.noise) * rng.standard_normal((2, *image.shape), dtype=np.float32)
    image = np.hypot(image + noise[0], noise[1])
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _soften(image: np.ndarray, side: float = 0.12) -> np.ndarray:
    """Three taps along rows and columns."""
    for axis in (1, 2):
        padded = np.concatenate([image.take([0], axis), image, image.take([-1], axis)], axis)
        before, after = np.delete(padded, [-1, -2], axis), np.delete(padded, [0, 1], axis)
        image = (1 - 2 * side) * image + side * (before + after)
    return image
