"""Dropout's mask from its definition: one Philox stream for each row, one word for each element."""

from __future__ import annotations

import numpy as np

import _testing

DROPOUT_PURPOSE = 3


def dropout_mask(rows: int, cols: int, p: float, seed: int, step: int, layer: int) -> np.ndarray:
    threshold = int(np.ceil(float(np.float32(p)) * 2**32))
    words = [
        _testing.random_words(cols, seed, epoch=step, sample=n, view=layer, purpose=DROPOUT_PURPOSE)
        for n in range(rows)
    ]
    return np.array(words, dtype=np.uint32).reshape(rows, cols) >= threshold
