"""How fast this program is on this machine: whole steps and inference, by image and by kind of operation.

Beside PyTorch they are measured by tests/bench_step.py of the source tree, which `simclr-mri bench --peer yes` runs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from ._machine import n_threads

PEER_SCRIPT = Path(__file__).parents[2] / "tests" / "bench_step.py"


@dataclass(frozen=True)
class Row:
    """What is measured: `images` go through a step (twice the pairs for SimCLR)."""

    title: str
    depth: int
    pixels: int
    images: int
    kind: str


ROWS = {
    "supervised": Row("ResNet-50, 128 px, supervised step, batch 32", 50, 128, 32, "supervised"),
    "simclr": Row("ResNet-50, 128 px, SimCLR + ASAM step, 32 pairs", 50, 128, 64, "simclr"),
    "inference": Row("ResNet-50, 128 px, inference, batch 32", 50, 128, 32, "inference"),
    "resnet18": Row("ResNet-18, 64 px, supervised step, batch 64", 18, 64, 64, "supervised"),
}


@dataclass(frozen=True)
class Measurement:
    """Seconds a step (median), memory, and where the time of the last pass went."""

    row: Row
    seconds: float
    memory_bytes: int
    by_operation: dict[str, float]

    @property
    def images_per_s(self) -> float:
        """Slices a second; two views of a slice are one slice."""
        return self.row.images / (2 if self.row.kind == "simclr" else 1) / self.seconds


def measure(row: Row, *, rounds: int = 5, n_jobs: int | None = None) -> Measurement:
    """Times a row after one round that touches its memory for the first time.

    Parameters
    ----------
    row : Row
    rounds : int
        Steps; the median counts.
    n_jobs : int or None

    Returns
    -------
    Measurement
    """
    is_simclr = row.kind == "simclr"
    head = [(2048, 0.0, True), (128, 0.0, False)] if is_simclr else [(4, 0.0, False)]
    network = _core.Network(row.depth, image_size=row.pixels, head=head, n_threads=n_threads(n_jobs))
    x = np.random.default_rng(0).uniform(size=(row.images, row.pixels, row.pixels, 1)).astype(np.float32)
    step, source, memory = _step(row, network, x)
    step()
    times = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        step()
        times.append(time.perf_counter() - began_s)
    by_operation: dict[str, float] = {}
    for operation, _, seconds, _ in source.profile():
        by_operation[operation] = by_operation.get(operation, 0.0) + seconds
    return Measurement(row, statistics.median(times), memory, by_operation)


def _step(row: Row, network: Any, x: np.ndarray) -> tuple[Callable[[], Any], Any, int]:
    """(a step, what has its profile, bytes that it needs)."""
    weights = 4 * network.n_parameters
    if row.kind == "inference":
        memory = weights + network.memory_bytes("infer", row.images)
        return lambda: network.forward(x, batch_size=row.images), network, memory
    options = {"lr": 0.01, "momentum": 0.9, "seed": 0, "step": 0}
    if row.kind == "simclr":
        trainer = _core.Trainer(network, batch=row.images, bn_groups=2, sharpness="asam")
        return (
            lambda: trainer.simclr_step(x, temperature=0.5, rho=1.0, **options),
            trainer,
            weights + trainer.memory_bytes,
        )
    labels = (np.arange(row.images) % 4).astype(np.int32)
    trainer = _core.Trainer(network, batch=row.images)
    return lambda: trainer.supervised_step(x, labels, **options), trainer, weights + trainer.memory_bytes


def run_peer(rows: tuple[str, ...], rounds: int, n_jobs: int | None) -> int:
    """Both programs in turn, by the script of the source tree; FileNotFoundError where there is none."""
    if not PEER_SCRIPT.is_file():
        raise FileNotFoundError(
            f"the comparison with PyTorch needs the source tree (there is no {PEER_SCRIPT}) and pip install '.[bench]'"
        )
    line = [
        sys.executable,
        str(PEER_SCRIPT),
        "--rows",
        *rows,
        "--rounds",
        str(rounds),
        "--threads",
        str(n_threads(n_jobs)),
    ]
    return subprocess.run(line, check=False).returncode
