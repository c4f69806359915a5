"""A PNG writer for tests: every colour type and bit depth, interlaced or not, written from the W3C specification.

And what a decoder must make of it: gray or RGB over black, in units of 1.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
KINDS = [
    *((GRAY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((kind, bits) for kind in (RGB, GRAY_ALPHA, RGBA) for bits in (8, 16)),
]
# Adam7: first column, first row, column step, row step of each pass.
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
MAGIC = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def scan_lines(samples: np.ndarray, bits: int) -> bytes:
    """Rows of (h, w, c) samples, each after a filter byte of 0, packed most significant bit first."""
    h, w, c = samples.shape
    if h == 0 or w == 0:
        return b""
    if bits == 16:
        rows = samples.astype(">u2").reshape(h, -1).view(np.uint8)
    elif bits == 8:
        rows = samples.astype(np.uint8).reshape(h, -1)
    else:
        shifts = np.arange(bits - 1, -1, -1)
        rows = np.packbits((samples.reshape(h, w * c, 1) >> shifts & 1).astype(np.uint8).reshape(h, -1), axis=1)
    return np.hstack([np.zeros((h, 1), np.uint8), rows]).tobytes()


def encode(
    samples: np.ndarray,
    kind: int,
    bits: int,
    *,
    interlaced: bool = False,
    palette: np.ndarray | None = None,
    transparency: np.ndarray | None = None,
    extra: bytes = b"",
) -> bytes:
    """samples (h, w, channels of the kind), palette (n, 3), transparency (alpha of the palette, or a colour)."""
    h, w, _ = samples.shape
    if interlaced:
        raw = b"".join(scan_lines(samples[y::dy, x::dx], bits) for x, y, dx, dy in PASSES)
    else:
        raw = scan_lines(samples, bits)
    data = MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, kind, 0, 0, int(interlaced))) + extra
    if palette is not None:
        data += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparency is not None:
        data += chunk(b"tRNS", transparency.astype(np.uint8 if kind == PALETTE else ">u2").tobytes())
    return data + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def meaning(
    samples: np.ndarray, kind: int, bits: int, palette: np.ndarray | None = None, transparency: np.ndarray | None = None
) -> np.ndarray:
    """(h, w, 1 or 3) in [0, 1], float64: palette looked up, alpha composited over black."""
    if kind == PALETTE:
        assert palette is not None
        index = samples[..., 0]
        colour = palette[index] / 255
        if transparency is None:
            return colour
        alpha = np.concatenate([transparency, np.full(256 - len(transparency), 255)])
        return colour * (alpha[index] / 255)[..., None]
    values = samples / (2**bits - 1)
    if kind in (GRAY_ALPHA, RGBA):
        return values[..., :-1] * values[..., -1:]
    if transparency is not None:
        values = values * np.any(samples != transparency, axis=-1, keepdims=True)
    return values
