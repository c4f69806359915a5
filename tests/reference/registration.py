"""Affine registration in NumPy, float64: what csrc/registration computes, written from the equations."""

from __future__ import annotations

import numpy as np


def sample(image: np.ndarray, linear: np.ndarray, shift: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W) moved by p -> linear (p - c) + c + shift, bilinear, nearest beyond; and what is inside."""
    h, w = image.shape
    centre = np.array([h - 1, w - 1]) / 2
    q = np.stack(np.mgrid[:h, :w], -1) - centre - shift
    y, x = np.moveaxis(q @ np.linalg.inv(linear).T + centre, -1, 0)
    inside = (y >= margin) & (y <= h - 1 - margin) & (x >= margin) & (x <= w - 1 - margin)
    y, x = np.clip(y, 0, h - 1 - 0.001), np.clip(x, 0, w - 1 - 0.001)
    i, j = y.astype(int), x.astype(int)
    wy, wx = y - i, x - j
    upper = image[i, j] * (1 - wx) + image[i, j + 1] * wx
    lower = image[i + 1, j] * (1 - wx) + image[i + 1, j + 1] * wx
    return upper * (1 - wy) + lower * wy, inside


def register(a: np.ndarray, b: np.ndarray, map_: np.ndarray, steps: int, margin: int) -> tuple[np.ndarray, float]:
    """Gauss-Newton from six numbers: the better six, and the absolute correlation."""
    linear, shift = map_[:4].reshape(2, 2), map_[4:]
    h, w = b.shape
    y, x = np.mgrid[:h, :w] - (np.array([h - 1, w - 1]) / 2)[:, None, None]
    gy, gx = np.gradient(b)
    slopes = np.stack([gy * y, gy * x, gx * y, gx * x, gy, gx], -1)
    inner = np.zeros((h, w), bool)
    inner[margin + 1 : h - margin - 1, margin + 1 : w - margin - 1] = True
    largest = np.array([1, 1, 1, 1, 16, 16])
    arrived = False
    for step in range(steps + 1):
        moved, inside = sample(a, linear, shift, margin)
        inside &= inner
        i, j, s = moved[inside], b[inside], slopes[inside]
        match = abs(i @ j) / np.sqrt((i @ i) * (j @ j) + 1e-9)
        if step == steps or arrived:
            break
        residual = (i @ j) / (i @ i + 1e-9) * i - j
        change = np.linalg.solve(s.T @ s + 1e-3 * np.eye(6), s.T @ residual)
        change = np.clip(change, -0.2 * largest, 0.2 * largest)
        arrived = bool((np.abs(change) < 0.002 * largest).all())
        turn = np.eye(2) + change[:4].reshape(2, 2)
        linear, shift = turn @ linear, turn @ shift + change[4:]
        if abs(np.linalg.det(linear)) < 0.1:
            linear, shift = map_[:4].reshape(2, 2), map_[4:]
    return np.append(linear.ravel(), shift), float(match)
