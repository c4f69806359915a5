"""Draws and views of an augmentation in float64, written from the definitions in augment.h and pixels.h."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .resize import resize

IDENTITY: dict[str, Any] = {
    "scale": (1, 1),
    "ratio": (1, 1),
    "flip_horizontal": 0,
    "flip_vertical": 0,
    "rotation_deg": 0,
    "shift": 0,
    "brightness": (1, 1),
    "contrast": (1, 1),
    "gamma": (1, 1),
    "blur_p": 0,
    "blur_sigma": (1, 1),
    "noise_sd": 0,
    "mean": 0,
    "std": 1,
}


def draw(words: np.ndarray, height: int, width: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a view from the first 32 words of its stream."""
    options = {**IDENTITY, **options}
    uniform = (words[:32] >> 8) * 2.0**-24

    def between(index: int, limits: tuple[float, float]) -> float:
        return limits[0] + (limits[1] - limits[0]) * uniform[index]

    crop = None
    logs = np.log(options["ratio"])
    for attempt in range(10):
        area = between(2 * attempt, options["scale"]) * height * width
        ratio = np.exp(between(2 * attempt + 1, tuple(logs)))
        w, h = int(np.floor(np.sqrt(area * ratio) + 0.5)), int(np.floor(np.sqrt(area / ratio) + 0.5))
        if 0 < w <= width and 0 < h <= height:
            crop = (int(uniform[20] * (height - h + 1)), int(uniform[21] * (width - w + 1)), h, w)
            break
    if crop is None:
        low, high = options["ratio"]
        h, w = height, width
        if width / height < low:
            h = int(np.floor(width / low + 0.5))
        elif width / height > high:
            w = int(np.floor(height * high + 0.5))
        crop = ((height - h) // 2, (width - w) // 2, h, w)
    if options["scale"][0] == 1:
        crop = (0, 0, height, width)
    symmetric = {name: (-options[name], options[name]) for name in ("rotation_deg", "shift")}
    return {
        "top": crop[0],
        "left": crop[1],
        "height": crop[2],
        "width": crop[3],
        "flip_horizontal": uniform[22] < options["flip_horizontal"],
        "flip_vertical": uniform[23] < options["flip_vertical"],
        "rotation_deg": between(24, symmetric["rotation_deg"]),
        "shift_x": between(25, symmetric["shift"]),
        "shift_y": between(26, symmetric["shift"]),
        "brightness": between(27, options["brightness"]),
        "contrast": between(28, options["contrast"]),
        "gamma": between(29, options["gamma"]),
        "blur_sigma": between(31, options["blur_sigma"]) if uniform[30] < options["blur_p"] else 0.0,
    }


def sample_plane(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Linear between pixel centres, constant in the outer half pixel, 0 outside."""
    height, width = plane.shape[:2]
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    ix, iy = np.minimum(x.astype(int), max(width - 2, 0)), np.minimum(y.astype(int), max(height - 2, 0))
    jx, jy = np.minimum(ix + 1, width - 1), np.minimum(iy + 1, height - 1)
    fx, fy = (x - ix)[..., None], (y - iy)[..., None]
    upper = plane[iy, ix] * (1 - fx) + plane[iy, jx] * fx
    lower = plane[jy, ix] * (1 - fx) + plane[jy, jx] * fx
    return (upper * (1 - fy) + lower * fy) * inside[..., None]


def coordinates(
    view: Mapping[str, Any], shape: tuple[int, int], shrunk: tuple[int, int], rows: int, cols: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where each view pixel (before flips) lies in the shrunk image."""
    v, u = np.meshgrid((np.arange(rows) + 0.5) / rows - 0.5, (np.arange(cols) + 0.5) / cols - 0.5, indexing="ij")
    across, down = u * view["width"], v * view["height"]
    angle = np.deg2rad(view["rotation_deg"])
    x = view["left"] + view["width"] * (0.5 + view["shift_x"]) + across * np.cos(angle) - down * np.sin(angle)
    y = view["top"] + view["height"] * (0.5 + view["shift_y"]) + across * np.sin(angle) + down * np.cos(angle)
    return x * shrunk[1] / shape[1] - 0.5, y * shrunk[0] / shape[0] - 0.5


def geometry(image: np.ndarray, view: Mapping[str, Any], rows: int, cols: int) -> np.ndarray:
    """The view of image / 255 before photometric changes."""
    pixels = image.astype(np.float64) / 255
    if view["rotation_deg"] == 0 and view["shift_x"] == 0 and view["shift_y"] == 0:
        top, left = view["top"], view["left"]
        crop = pixels[top : top + view["height"], left : left + view["width"]]
        out = resize(crop[None], rows, cols)[0]
    else:
        height, width = image.shape[:2]
        small = (
            height if view["height"] <= rows else -(-height * rows // view["height"]),
            width if view["width"] <= cols else -(-width * cols // view["width"]),
        )
        plane = resize(pixels[None], *small)[0]
        out = sample_plane(plane, *coordinates(view, (height, width), small, rows, cols))
    out = out[:, ::-1] if view["flip_horizontal"] else out
    return out[::-1] if view["flip_vertical"] else out


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Separable Gaussian cut at ceil(3 sigma), edges replicated."""
    radius = int(np.ceil(np.float32(3) * np.float32(sigma)))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        n = image.shape[axis]
        taps = [np.take(image, np.clip(np.arange(n) + t, 0, n - 1), axis) for t in range(-radius, radius + 1)]
        image = sum(k * tap for k, tap in zip(kernel, taps, strict=True))
    return image


def noise(n: int, words: Callable[[int], np.ndarray]) -> np.ndarray:
    """n standard normals from a stream's words: in groups of 16 blocks, word k of block l makes element 16 k + l."""
    groups = -(-n // 64)
    word = words(64 * groups).reshape(groups, 16, 4).transpose(0, 2, 1)
    u, v = ((word[:, 0::2] >> 8) + 1) * 2.0**-24, (word[:, 1::2] >> 8) * 2.0**-24
    radius = np.sqrt(-2 * np.log(u))
    pairs = np.stack([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)], axis=2)  # (group, pair, 2, 16)
    return pairs.reshape(-1)[:n]


def photometry(out: np.ndarray, view: Mapping[str, Any]) -> np.ndarray:
    """Brightness, contrast, gamma, blur."""
    if view["brightness"] != 1:
        out = np.clip(out * view["brightness"], 0, 1)
    if view["contrast"] != 1:
        out = np.clip(out.mean() + view["contrast"] * (out - out.mean()), 0, 1)
    if view["gamma"] != 1:
        out = out ** view["gamma"]
    return blur(out, view["blur_sigma"]) if view["blur_sigma"] > 0 else out
