"""Every convolution of a ResNet in its three directions, ours beside PyTorch's, alternating in one run.

ResNet-50 is taken at 128 x 128 and batch 32, ResNet-18 at 64 x 64 and batch 64, one input channel each. PyTorch gets
channels_last tensors. Medians of wall time; with one thread processor time, which a busy neighbour disturbs less.
GFLOP/s count the multiply-adds of the definition, padding included, so Winograd can exceed the peak. The peak is
measured in the same run with independent multiply-adds on registers. The gradient of the first layer's input is left
out: training never asks for it. In bf16 PyTorch gets bf16 weights, ours converts them from fp32 within the call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from .. import _core
from .._shared import Precision

METHODS = {"fp32": ("igemm", "winograd", "im2col"), "bf16": ("amx", "bf16_dot2", "via_fp32")}
SETTLE_S = 0.02  # PyTorch's threads spin on after a call, and take a core from whoever comes next
DIRECTIONS = ("forward", "backward-data", "backward-weights")


Shape = tuple[int, int, int, int, int, int, int, int, int]


class Layer(NamedTuple):
    name: str
    shape: Shape  # N, H, W, C, K, R, S, stride, pad
    n_times: int

    @property
    def gflop(self) -> float:
        n, h, w, c, k, r, s, stride, pad = self.shape
        p, q = (h + 2 * pad - r) // stride + 1, (w + 2 * pad - s) // stride + 1
        return 2e-9 * n * p * q * k * c * r * s


def resnet_layers(network: str) -> list[Layer]:
    """The distinct convolutions of the network, with how often each occurs."""
    deep = network == "resnet50"
    n, size, blocks = (32, 128, (3, 4, 6, 3)) if deep else (64, 64, (2, 2, 2, 2))
    found: dict[Shape, tuple[str, int]] = {(n, size, size, 1, 64, 7, 7, 2, 3): ("conv1", 1)}

    def add(name: str, *sizes: int) -> None:
        shape = cast(Shape, sizes)
        first, count = found.get(shape, (name, 0))
        found[shape] = (first, count + 1)

    h, c = size // 4, 64
    for stage, repeats in enumerate(blocks):
        width = 64 << stage
        out = width * 4 if deep else width
        for block in range(repeats):
            stride = 2 if stage > 0 and block == 0 else 1
            name = f"layer{stage + 1}.{block}"
            if deep:
                add(f"{name}.conv1", n, h, h, c, width, 1, 1, 1, 0)
                add(f"{name}.conv2", n, h, h, width, width, 3, 3, stride, 1)
                add(f"{name}.conv3", n, h // stride, h // stride, width, out, 1, 1, 1, 0)
            else:
                add(f"{name}.conv1", n, h, h, c, width, 3, 3, stride, 1)
                add(f"{name}.conv2", n, h // stride, h // stride, width, width, 3, 3, 1, 1)
            if stride != 1 or c != out:
                add(f"{name}.downsample", n, h, h, c, out, 1, 1, stride, 0)
            h, c = h // stride, out
    return [Layer(name, shape, count) for shape, (name, count) in found.items()]


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins on a cache line, as the network's tensors do; NumPy's arrays begin 16 bytes after one."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    begin = -room.ctypes.data % 64
    copy = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def contestants(
    layer: Layer, direction: int, threads: int, methods: bool, precision: Precision
) -> dict[str, Callable[[], object]]:
    """Calls to time: "torch", "ours", and each applicable method by name when `methods`."""
    n, h, w, c, k, r, s, stride, pad = layer.shape
    p, q = (h + 2 * pad - r) // stride + 1, (w + 2 * pad - s) // stride + 1
    rng = np.random.default_rng(0)
    x = aligned(rng.standard_normal((n, h, w, c), dtype=np.float32))
    weights = rng.standard_normal((k, c, r, s), dtype=np.float32) * 0.05
    dy = aligned(rng.standard_normal((n, p, q, k), dtype=np.float32))
    packed = aligned(_core.conv2d_pack(weights))
    tx, tdy = (torch.from_numpy(array).permute(0, 3, 1, 2) for array in (x, dy))
    tw = torch.from_numpy(weights).contiguous(memory_format=torch.channels_last)
    if precision == "bf16":
        x, dy = aligned(_core.bf16_from_float(x)), aligned(_core.bf16_from_float(dy))
        tx, tdy, tw = tx.bfloat16(), tdy.bfloat16(), tw.bfloat16()
    a, b, out = [(x, packed, dy), (dy, packed, x), (x, dy, packed)][direction]
    out = aligned(np.zeros_like(out))
    function: Any = [_core.conv2d_forward, _core.conv2d_backward_data, _core.conv2d_backward_weights][direction]

    def peer() -> object:
        if direction == 0:
            return torch.nn.functional.conv2d(tx, tw, None, stride, pad)
        wanted = [direction == 1, direction == 2, False]
        return torch.ops.aten.convolution_backward(
            tdy, tx, tw, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, wanted
        )

    calls: dict[str, Callable[[], object]] = {"torch": peer}
    for name in ["auto", *(METHODS[precision] if methods else ())]:
        plan = _core.conv2d_plan(layer.shape, threads, name, precision=precision)[direction]
        if plan is None:
            continue
        workspace = aligned(np.zeros(plan[1] + 64, np.uint8))

        def ours(name: str = name, workspace: np.ndarray = workspace) -> object:
            options = {"method": name, "n_threads": threads, "precision": precision}
            return function(layer.shape, a, b, out=out, workspace=workspace, **options)

        calls["ours" if name == "auto" else name] = ours
    return calls


def time_alternating(
    calls: dict[str, Callable[[], object]], repeat: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Median seconds of each call, all in turn in every round: a pause, a call to warm up, and one that counts."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            time.sleep(SETTLE_S)
            call()
            begin = clock()
            call()
            times[name].append(clock() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_layers(
    network: str,
    precision: Precision,
    threads: int,
    *,
    repeat: int = 9,
    methods: bool = False,
    directions: Sequence[str] = DIRECTIONS,
    only: str = "",
    tell: Callable[[str], None],
) -> None:
    """Tells a line a layer and direction, and the totals.

    Parameters
    ----------
    network : {"resnet50", "resnet18"}
    precision : {"fp32", "bf16"}
    threads : int
    repeat : int
        Rounds; the median counts.
    methods : bool
        Time every applicable method of ours.
    directions : sequence of str
    only : str
        Layers whose name contains this.
    tell : callable (str) -> None
    """
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    peak = 1e-9 * _core.measured_peak(precision, threads, 1.0)
    info = _core.cpu_info()
    tell(
        f"{info['cpu']}, {info['isa']}, {precision}, {threads} threads, peak {peak:.0f} GFLOP/s, "
        f"torch {torch.__version__}"
    )
    tell(f"{'layer':19} {'direction':17} {'x':>2} {'method':9} {'ms':>7} {'GFLOP/s':>8} {'peak':>5} {'torch':>9} ratio")
    totals = {direction: [0.0, 0.0] for direction in directions}
    for layer in resnet_layers(network):
        for direction, label in enumerate(DIRECTIONS):
            if only not in layer.name or label not in directions or (layer.name == "conv1" and direction == 1):
                continue
            with torch.no_grad():
                calls = contestants(layer, direction, threads, methods, precision)
                seconds = time_alternating(calls, repeat, clock)
            totals[label][0] += layer.n_times * seconds["ours"]
            totals[label][1] += layer.n_times * seconds["torch"]
            plan = _core.conv2d_plan(layer.shape, threads, precision=precision)[direction]
            tell(_line(layer, label, plan[0] if plan else "", seconds, peak))
    totals["total"] = [sum(column) for column in zip(*totals.values(), strict=True)]
    for label, (ours, peer) in totals.items():
        if ours > 0:
            tell(f"{label:17} ours {1e3 * ours:8.1f} ms   torch {1e3 * peer:8.1f} ms   ratio {peer / ours:.2f}")


def _line(layer: Layer, label: str, method: str, seconds: dict[str, float], peak: float) -> str:
    rate = layer.gflop / seconds["ours"]
    extra = "".join(f"  {k} {1e3 * v:.2f}" for k, v in seconds.items() if k not in ("torch", "ours"))
    return (
        f"{layer.name:19} {label:17} {layer.n_times:2} {method:9} {1e3 * seconds['ours']:7.2f} {rate:8.0f} "
        f"{rate / peak:5.0%} {1e3 * seconds['torch']:9.2f} {seconds['torch'] / seconds['ours']:5.2f}{extra}"
    )
