"""Who a phantom is: the numbers that make one head differ from another, and what the disease does to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ATROPHY_SPREAD = 0.5
"""Standard deviation of atrophy within a class, where 1 is the step to the next. With the deviations of the single
signs it lets the best linear reading of the true sizes reach a balanced accuracy of about 0.7 over the four classes."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One subject. The disease changes `ventricles`, `cortex_mm`, `sulcus_mm`, `hippocampus` and `gap_mm`.

    Attributes
    ----------
    ventricles, hippocampus : float
        Width of the ventricles, size of the hippocampi; 1 is a young brain.
    cortex_mm, sulcus_mm : float
        Thickness of the cortex, width of a sulcus.
    gap_mm, bone_mm, scalp_mm : float
        Fluid between brain and skull, thickness of the skull, of the scalp.
    scale : tuple of float
        Size across and along.
    egg, bumps, bumps_phase
        Outline of the brain: taper to the front; waves of order 2 to 6.
    asymmetry : ndarray of shape (4,)
        Left against right: ventricles, Sylvian fissure, hippocampus, temporal horn.
    bend_mm, tilt_deg, pitch, shift_mm, level_mm
        Bent midline; position in the scanner.
    folds, fine_folds : ndarray of shape (5, n)
        Waves of the folding fields, see `draw_folds`.
    phases : ndarray of shape (8,)
        Where everything else that waves begins.
    contrast, gain, bias, noise
        Tissue intensities (fluid, gray, white), brightness, coil profile, noise relative to full scale.
    """

    ventricles: float
    cortex_mm: float
    sulcus_mm: float
    hippocampus: float
    gap_mm: float
    bone_mm: float
    scalp_mm: float
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
    fine_folds: np.ndarray
    phases: np.ndarray
    contrast: np.ndarray
    gain: float
    bias: np.ndarray
    noise: float


def draw_anatomy(rng: np.random.Generator, severity: int) -> Anatomy:
    """A subject of that severity (0 to 3).

    Atrophy is the severity plus a deviation, and each sign adds one of its own, so that neighbouring classes overlap:
    healthy brains shrink with age too.
    """
    normal = rng.standard_normal
    atrophy = severity + ATROPHY_SPREAD * normal()
    size = normal()
    return Anatomy(
        ventricles=float(np.exp(0.10 + 0.22 * atrophy + 0.13 * normal())),
        cortex_mm=float(np.clip(3.4 - 0.28 * atrophy + 0.16 * normal(), 1.6, 4.2)),
        sulcus_mm=float(np.clip(1.7 + 0.5 * atrophy + 0.25 * normal(), 0.6, 4.5)),
        hippocampus=float(np.clip(1.08 - 0.15 * atrophy + 0.07 * normal(), 0.45, 1.35)),
        gap_mm=float(np.clip(1.8 + 0.6 * atrophy + 0.5 * normal(), 0.8, 6.0)),
        bone_mm=6.0 + 0.8 * normal(),
        scalp_mm=5.0 + 0.9 * normal(),
        scale=(1 + 0.03 * size + 0.015 * normal(), 1 + 0.03 * size + 0.015 * normal()),
        egg=0.045 + 0.02 * normal(),
        # Order 4 squares the outline.
        bumps=rng.normal(0, [0.006, 0.006, 0.004, 0.003, 0.003]) - [0, 0, 0.022, 0, 0],
        bumps_phase=np.where(np.arange(5) == 2, 0.0, rng.uniform(-np.pi, np.pi, 5)),
        asymmetry=rng.normal(0, 0.05, 4),
        bend_mm=1.2 * normal(),
        tilt_deg=2.5 * normal(),
        pitch=0.05 * normal(),
        shift_mm=(2.0 * normal(), 2.5 * normal()),
        level_mm=1.5 * normal(),
        folds=draw_folds(rng, (11, 19), 7),
        fine_folds=draw_folds(rng, (24, 33), 4),
        phases=rng.uniform(-np.pi, np.pi, 8),
        contrast=rng.normal(0, [0.015, 0.025, 0.02]),
        gain=float(np.exp(0.05 * normal())),
        bias=rng.normal(0, 0.045, 5),
        noise=float(rng.uniform(0.010, 0.025)),
    )


def draw_folds(rng: np.random.Generator, orders: tuple[int, int], n: int) -> np.ndarray:
    """Waves of a folding field: order along the surface, per mm of depth, per mm of height, phase left and right.

    About 14 waves around a hemisphere put its sulci some 12 mm apart. Left and right are alike, not equal.
    """
    phase = rng.uniform(-np.pi, np.pi, n)
    return np.stack(
        [
            rng.integers(*orders, n).astype(float),
            rng.normal(0, 0.10, n),
            rng.normal(0, 0.035, n),
            phase + rng.normal(0, 0.7, n),
            phase + rng.normal(0, 0.7, n),
        ]
    )
