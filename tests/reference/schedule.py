"""Schedules in plain Python: cosine with linear warm-up, and the two cosine phases of one cycle."""

from __future__ import annotations

import math


def cosine(step, total, peak, warmup=0, final=0.0):
    step = min(step, total - 1)
    if step < warmup:
        return peak * (step + 1) / warmup
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
