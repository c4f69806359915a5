"""How fast this program is on this machine: whole steps and inference, by kind of operation and by layer.

Flops are those of the convolutions' definition (a multiply and an add are two), so Winograd's method can exceed the
peak, which is measured in the same run by independent products on registers. `_peer` measures PyTorch beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from .._shared import Precision, Record, bytes_text, n_threads
from ..config import PretrainOptions
from ..learning import projection_head

COUNTED = "(counted: the operations of direct convolution, of which Winograd's method saves a part)"


DIRECTIONS = ("conv forward", "conv backward data", "conv backward weights")


@dataclass(frozen=True)
class Row(Record):
    """What is measured: `images` go through a step (twice the pairs for SimCLR).

    Examples
    --------
    >>> row = Row("mine", "ResNet-18, 32 px, SimCLR, 8 pairs", depth=18, pixels=32, images=16, kind="simclr")
    >>> row.per_step, row.unit
    (8, 'pairs/s')
    """

    name: str
    title: str
    depth: int
    pixels: int
    images: int
    kind: str

    @property
    def per_step(self) -> int:
        """What is counted: images, or pairs of views."""
        return self.images // 2 if self.kind == "simclr" else self.images

    @property
    def unit(self) -> str:
        return "pairs/s" if self.kind == "simclr" else "images/s"


ROWS = {
    row.name: row
    for row in (
        Row("supervised", "ResNet-50, 128 px, supervised step, batch 32", 50, 128, 32, "supervised"),
        Row("simclr", "ResNet-50, 128 px, SimCLR + ASAM step, 32 pairs", 50, 128, 64, "simclr"),
        Row("inference", "ResNet-50, 128 px, inference, batch 32", 50, 128, 32, "inference"),
        Row("resnet18", "ResNet-18, 64 px, supervised step, batch 64", 18, 64, 64, "supervised"),
    )
}


@dataclass(frozen=True)
class Measurement(Record):
    """Seconds a step (median), memory, and where the time of a pass went.

    Attributes
    ----------
    row : Row
    precision : {"fp32", "bf16"}
    seconds : float
    memory_bytes : int
        Weights, optimizer and activations.
    operations : list of (operation, layer, seconds, flops)
        In order; the best of all rounds for each.
    flops : float
        Of the convolutions in a step: of both passes with ASAM.
    peak_flops : float
        Flops a second of products on registers, in the same precision and with as many threads.

    Examples
    --------
    >>> print(measure(ROWS["resnet18"]))  # doctest: +SKIP
    """

    row: Row
    precision: Precision
    seconds: float
    memory_bytes: int
    operations: list[tuple[str, str, float, float]]
    flops: float
    peak_flops: float

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary an operation of a step."""
        names = ("operation", "layer", "seconds", "flops")
        return [dict(zip(names, operation, strict=True)) for operation in self.operations]

    @property
    def per_s(self) -> float:
        """Images a second; pairs of views for SimCLR."""
        return self.row.per_step / self.seconds

    @property
    def by_operation(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        for operation, _, seconds, _ in self.operations:
            totals[operation] = totals.get(operation, 0.0) + seconds
        return totals

    def __str__(self) -> str:
        by_operation = self.by_operation
        total = sum(by_operation.values()) or 1.0
        most = sorted(by_operation.items(), key=lambda item: -item[1])[:6]
        rate = self.flops / self.seconds
        return (
            f"{self.row.title}, {self.precision}\n"
            f"    {self.per_s:.1f} {self.row.unit}, {1000 * self.seconds:.1f} ms, {bytes_text(self.memory_bytes)}, "
            f"{rate / 1e9:.0f} GFLOP/s: {rate / self.peak_flops:.0%} of {self.peak_flops / 1e9:.0f}\n"
            f"    {COUNTED}\n"
            f"    {', '.join(f'{operation} {seconds / total:.0%}' for operation, seconds in most)}\n"
        )

    def layer_table(self) -> str:
        """Every convolution: ms, GFLOP/s and percent of the peak in its three directions."""
        layers: dict[str, dict[str, tuple[float, float]]] = {}
        for operation, layer, seconds, flops in self.operations:
            if operation in DIRECTIONS:
                layers.setdefault(layer, {})[operation] = (seconds, flops)
        lines = [f"    {'':30}" + "".join(f"{direction.removeprefix('conv '):>26}" for direction in DIRECTIONS)]
        lines.append(f"    {'':30}" + f"{'ms':>10}{'GFLOP/s':>10}{'peak':>6}" * len(DIRECTIONS))
        for layer, found in layers.items():
            cells = [self._cell(*found[direction]) if direction in found else " " * 26 for direction in DIRECTIONS]
            lines.append(f"    {layer:30}" + "".join(cells).rstrip())
        return "\n".join(lines) + "\n"

    def _cell(self, seconds: float, flops: float) -> str:
        rate = flops / max(seconds, 1e-9)
        return f"{1000 * seconds:10.2f}{rate / 1e9:10.0f}{rate / self.peak_flops:6.0%}"

    def to_dict(self) -> dict[str, Any]:
        """As `run_peer` has its results, without a peer."""
        ours = {"seconds": self.seconds, "per_s": self.per_s, "peak_bytes": self.memory_bytes}
        return {
            "row": self.row.name,
            "title": self.row.title,
            "precision": self.precision,
            "sides": {"ours": ours},
            "flops": self.flops,
            "peak_flops": self.peak_flops,
            "isa": _core.cpu_info()["isa"],
            "by_operation": self.by_operation,
        }


def measure(row: Row, *, precision: Precision = "fp32", rounds: int = 5, n_jobs: int | None = None) -> Measurement:
    """Times a row after one round that touches its memory for the first time.

    Parameters
    ----------
    row : Row
    precision : {"fp32", "bf16"}
    rounds : int
        Steps; the median counts.
    n_jobs : int or None

    Returns
    -------
    Measurement

    Examples
    --------
    >>> row = Row("mine", "ResNet-18, 32 px, inference", depth=18, pixels=32, images=2, kind="inference")
    >>> measure(row, rounds=1).per_s > 0
    True
    """
    is_simclr = row.kind == "simclr"
    step, source, memory = our_step(row, precision, n_jobs)
    step()
    times: list[float] = []
    best: list[tuple[str, str, float, float]] = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        step()
        times.append(time.perf_counter() - began_s)
        found = source.profile()
        best = [min(pair, key=lambda one: one[2]) for pair in zip(best, found, strict=True)] if best else found
    if row.kind == "inference":
        best = [operation for operation in best if operation[2] > 0]
    flops = sum(flops for *_, flops in best) * (2 if is_simclr else 1)
    peak = _core.measured_peak(precision, n_threads(n_jobs))
    return Measurement(row, precision, statistics.median(times), memory, best, flops, peak)


def head_of(row: Row) -> list[tuple[int, float, bool]]:
    """The layers behind the features: the projection head that `SimCLR` trains, or four classes."""
    if row.kind == "simclr":
        return projection_head(PretrainOptions(arch=f"resnet{row.depth}"))  # type: ignore[arg-type]
    return [(4, 0.0, False)]


def images_of(row: Row) -> np.ndarray:
    """What goes through a step, float32 (images, pixels, pixels, 1)."""
    return np.random.default_rng(0).uniform(size=(row.images, row.pixels, row.pixels, 1)).astype(np.float32)


def our_step(row: Row, precision: Precision, n_jobs: int | None = None) -> tuple[Callable[[], Any], Any, int]:
    """(a step, what has its profile, bytes that it needs)."""
    network = _core.Network(row.depth, image_size=row.pixels, head=head_of(row), n_threads=n_threads(n_jobs))
    x, weights = images_of(row), 4 * network.n_parameters
    if row.kind == "inference":
        memory = weights + network.memory_bytes("infer", row.images, 1, precision)
        return lambda: network.forward(x, batch_size=row.images, precision=precision), network, memory
    options: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "seed": 0, "step": 0}
    if row.kind == "simclr":
        trainer = _core.Trainer(network, batch=row.images, bn_groups=2, sharpness="asam", precision=precision)
        return (
            lambda: trainer.simclr_step(x, temperature=0.5, rho=1.0, **options),
            trainer,
            weights + trainer.memory_bytes,
        )
    labels = (np.arange(row.images) % 4).astype(np.int32)
    trainer = _core.Trainer(network, batch=row.images, precision=precision)
    return lambda: trainer.supervised_step(x, labels, **options), trainer, weights + trainer.memory_bytes
