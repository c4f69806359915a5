"""From a phantom's geometry to its picture: tissues laid over each other, then what a scanner adds."""

from __future__ import annotations

import numpy as np

from . import _geometry as geometry
from ._anatomy import Anatomy
from ._geometry import Slices

LEVELS_MM = (-15.0, 27.0)
"""Lowest and highest slice: from the hippocampi to the roof of the lateral ventricles."""


FINE_PX = 96
"""Smaller pictures are drawn at a whole multiple of their size that is at least this, and averaged: below it a gyrus is
narrower than three pixels, and the distances to its sulci can no longer be taken on the grid."""


CSF, GRAY, WHITE = 0.20, 0.58, 0.83


NUCLEI = {"caudate": 0.62, "putamen": 0.64, "amygdala": 0.58, "pallidum": 0.74, "thalamus": 0.68}


BONE, MARROW, FAT, SKIN = 0.06, 0.30, 0.88, 0.55
"""Intensities of a T1-weighted image, 1 being full scale."""


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
    factor = -(-FINE_PX // size_px) if size_px < FINE_PX else 1
    whole = Slices(anatomy, z_mm, size_px * factor)
    image, masks = _paint(whole)
    return _scan(whole, image, rng, factor), {name: _shrink(mask, factor) >= 0.5 for name, mask in masks.items()}


def _paint(s: Slices) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The picture of the tissues, 1 being full scale, and the masks."""
    image, head = _shell(s)
    brain, deep = s.window(80, -96, 96), s.window(52, -66, 58)
    tissue = [float(base + delta) for base, delta in zip((CSF, GRAY, WHITE), s.anatomy.contrast, strict=True)]
    cortex = _paint_cortex(brain, image[brain.where], tissue)
    taken, fluid, memory = _paint_depths(deep, image[deep.where], tissue)
    masks = {name: np.zeros(image.shape, bool) for name in ("cortex", "ventricles", "hippocampus")}
    masks["cortex"][brain.where] = cortex
    masks["cortex"][deep.where] &= ~taken
    masks["ventricles"][deep.where] = fluid
    masks["hippocampus"][deep.where] = memory
    return image, masks | {"head": head}


def _shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Means of blocks of factor x factor pixels."""
    if factor == 1:
        return image
    s, h, w = image.shape
    return image.reshape(s, h // factor, factor, w // factor, factor).mean(axis=(2, 4), dtype=np.float32)


def _over(image: np.ndarray, share: np.ndarray, value: float | np.ndarray) -> None:
    """Lays a tissue over the image, in place."""
    image += share * (value - image)


def _shell(s: Slices) -> tuple[np.ndarray, np.ndarray]:
    """What lies around the brain (skin, fat, bone, marrow, fluid), and which pixels belong to the head."""
    a = s.anatomy
    phase = float(a.phases[3])
    inner = -s.depth - a.gap_mm
    bone = a.bone_mm * (1 - 0.25 * np.cos(s.angle) ** 2 + 0.15 * np.cos(2 * s.angle + 1.0))
    scalp = a.scalp_mm * (1 + 0.15 * np.cos(3 * s.angle + phase))
    outer = inner - bone
    skin = outer - scalp
    head = s.cover(-skin)
    image = FAT * head
    _over(image, s.cover(1.3 - np.abs(skin + 0.9)), SKIN)
    _over(image, s.cover(-outer), BONE)
    _over(image, s.cover(0.22 * bone - np.abs(inner - 0.5 * bone)), MARROW)
    _over(image, s.cover(-inner), CSF)
    return image, head > 0.5


def _paint_cortex(s: Slices, image: np.ndarray, tissue: list[float]) -> np.ndarray:
    """Gray and white matter of the hemispheres; returns the mask of the cortex."""
    distance = geometry.to_csf(s)
    brain, white = s.cover(distance), s.cover(distance - s.anatomy.cortex_mm)
    _over(image, s.cover(s.depth), tissue[0])
    _over(image, brain, tissue[1])
    _over(image, white, tissue[2])
    return brain - white > 0.5


def _paint_depths(s: Slices, image: np.ndarray, tissue: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything deep; returns what it covers, and the masks of ventricles and hippocampi."""
    low, below = geometry.brain_stem(s), geometry.share_of_stem(s)
    fluid, memory = geometry.ventricles(s), geometry.hippocampus(s)
    taken = (low["vermis"] > 0) | ((low["cistern"] > 0) & (below > 0.5))
    leaves = 0.09 * np.cos(0.9 * np.sqrt(s.side**2 + (s.v + 20) ** 2))
    _over(image, s.cover(low["vermis"]), tissue[1] + 0.05 + leaves)
    _over(image, s.cover(low["cistern"]) * below, tissue[0])
    _over(image, s.cover(low["stem"]) * below, tissue[2] - 0.08)
    for name, body in geometry.grey_nuclei(s).items():
        _over(image, s.cover(body), NUCLEI[name] + float(s.anatomy.contrast[1]))
        taken |= body > 0
    _over(image, s.cover(memory + 0.9), tissue[2])
    _over(image, s.cover(fluid), tissue[0] - 0.03)
    _over(image, s.cover(memory), tissue[1] + 0.02)
    memory, fluid = memory > 0, fluid > 0
    return taken | memory | fluid, fluid & ~memory, memory


def _scan(s: Slices, image: np.ndarray, rng: np.random.Generator, factor: int) -> np.ndarray:
    """What the scanner adds: a slightly soft point spread, an uneven coil, Rician noise, 8 bits."""
    x, v = s.x / 100, s.v / 100
    terms = (x, v, x * v, x * x - 0.2, v * v - 0.2)
    coil = 1 + sum(float(c) * term for c, term in zip(s.anatomy.bias, terms, strict=True))
    real = _soften(_shrink(image * (coil * s.anatomy.gain), factor))
    noise = rng.standard_normal((2, *real.shape), dtype=np.float32)
    noise *= s.anatomy.noise
    real += noise[0]
    magnitude = np.sqrt(real * real + noise[1] * noise[1])
    return (np.minimum(magnitude, 1) * 255 + 0.5).astype(np.uint8)


def _soften(image: np.ndarray, beside: float = 0.12) -> np.ndarray:
    """Three taps along rows and columns; the border, which is air, stays."""
    out = image.copy()
    out[:, 1:-1] += beside * (image[:, :-2] + image[:, 2:] - 2 * image[:, 1:-1])
    image = out.copy()
    out[:, :, 1:-1] += beside * (image[:, :, :-2] + image[:, :, 2:] - 2 * image[:, :, 1:-1])
    return out
