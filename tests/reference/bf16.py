"""bfloat16 in NumPy: the upper halves of float32 numbers, held as uint16."""

from __future__ import annotations

import numpy as np

UNIT = 2.0**-8
"""Largest relative error of rounding a normal number to bfloat16."""


def narrow(x: np.ndarray) -> np.ndarray:
    """Rounded to the nearest bfloat16, ties to even; NaN becomes quiet and keeps its sign."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    halves = ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), (bits >> 16 | 0x40).astype(np.uint16), halves)


def widen(x: np.ndarray) -> np.ndarray:
    """The same numbers as float32."""
    return (x.astype(np.uint32) << 16).view(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 numbers rounded to bfloat16, still float32."""
    return widen(narrow(x))
