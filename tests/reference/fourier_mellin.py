"""Fourier-Mellin descriptors in NumPy, float64, from the definition: sums of complex waves, one frequency at a time."""

from __future__ import annotations

import numpy as np


def polar_spectrum(
    image: np.ndarray, linear: np.ndarray, shift: np.ndarray, frequencies: np.ndarray, n_angles: int, padded_px: float
) -> np.ndarray:
    """Log magnitude of the spectrum of a view of an image (H, H): ndarray of shape (rings, angles).

    A view that enlarges by z shows a circle of 1 / z of the width about the centre less shift / z. Frequencies are in
    cycles per pixel of the enlarged picture; the grid that is read between its points has the step z / padded_px.
    """
    n = len(image)
    zoom = np.sqrt(np.linalg.det(linear))
    y, x = np.mgrid[:n, :n] - (n - 1) / 2 + shift[:, None, None] / zoom
    seen = image * (0.5 + 0.5 * np.cos(np.pi * np.clip(4 * np.hypot(y, x) * zoom / n - 1, 0, 1)))
    step = zoom / padded_px
    angle = np.arange(n_angles) * np.pi / n_angles
    f = frequencies[:, None] * padded_px
    place = (linear / zoom).T @ np.stack([(f * np.sin(angle)).ravel(), (f * np.cos(angle)).ravel()])
    corner = np.floor(place).astype(int)
    w = place - corner
    value = np.zeros(place.shape[1])
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        fy, fx = (corner + np.array([[dy], [dx]])) * step
        waves = np.exp(-2j * np.pi * np.outer(fy, np.arange(n))), np.exp(-2j * np.pi * np.outer(fx, np.arange(n)))
        share = (w[0] if dy else 1 - w[0]) * (w[1] if dx else 1 - w[1])
        value += share * np.abs(np.einsum("sy,yx,sx->s", waves[0], seen, waves[1], optimize=True))
    floor = 0.02 * np.sqrt((value**2).mean()) + 1e-6
    return np.log(value + floor).reshape(len(frequencies), n_angles)


def descriptor(spectrum: np.ndarray, n_angular: int) -> np.ndarray:
    """The root of the magnitudes of the transform, both signs of the radial frequency added, over their length."""
    windowed = spectrum * np.hanning(len(spectrum))[:, None]
    z = np.abs(np.fft.fft2(windowed))[:, 1 : n_angular + 1]
    z = z + z[-np.arange(len(z))]
    z = z[: len(z) // 2 + 1].ravel()
    return np.sqrt(z / np.linalg.norm(z))
