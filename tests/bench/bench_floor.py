"""How far every convolution of a ResNet is from the least time that its multiply-adds take at the measured peak.

    python tests/bench/bench_floor.py [--network resnet50] [--precision bf16] [--repeat 9]

One thread, processor time, the best of the repeats, so that a busy neighbour disturbs little. The floor of a layer by
Winograd counts Winograd's own products, tiles that stick out of the image included; every other floor counts the
definition's, padding included. The peak is that of the products which the method does: of bf16 in amx and bf16_dot2,
else of fp32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from simclr_mri import _core
from simclr_mri.bench._layers import DIRECTIONS, Layer, contestants, resnet_layers

TILE, POINTS = 4, 36  # Winograd's outputs a side, and its products for them


def floor_gflop(layer: Layer, method: str) -> float:
    """What has to be computed, in 1e9 operations."""
    n, h, w, c, k, _, _, _, pad = layer.shape
    if method != "winograd":
        return layer.gflop
    rows, cols = h + 2 * pad - 2, w + 2 * pad - 2
    tiles = n * -(-rows // TILE) * -(-cols // TILE)
    return 2e-9 * tiles * POINTS * c * k


def best_seconds(call: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat + 1):  # the first one warms up
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["resnet18", "resnet50"], default="resnet50")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    info = _core.cpu_info()
    fp32, bf16 = (max(_core.measured_peak(name, 1, 0.2) for _ in range(5)) / 1e9 for name in ("fp32", "bf16"))
    print(f"{info['cpu']}, {info['isa']}, one thread: {fp32:.1f} GFLOP/s in fp32, {bf16:.1f} in bf16\n")
    print("| layer | times | " + " | ".join(f"{name}, ms | of the floor" for name in DIRECTIONS) + " |")
    print("| --- " * (2 + 2 * len(DIRECTIONS)) + "|")
    total, floors = [0.0] * 3, [0.0] * 3
    for layer in resnet_layers(options.network):
        cells = []
        for direction in range(3):
            if layer.shape[3] == 1 and direction == 1:  # nobody asks for the images' gradient
                cells += ["", ""]
                continue
            plan = _core.conv2d_plan(layer.shape, 1, precision=options.precision)[direction]
            assert plan is not None
            call = contestants(layer, direction, 1, False, options.precision)["ours"]
            peak = bf16 if plan[0] in ("amx", "bf16_dot2") else fp32
            seconds, floor = best_seconds(call, options.repeat), floor_gflop(layer, plan[0]) / peak
            total[direction] += layer.n_times * seconds
            floors[direction] += layer.n_times * floor
            cells += [f"{1e3 * seconds:.1f}", f"{floor / seconds:.0%} {plan[0]}"]
        print(f"| {layer.name} | {layer.n_times} | " + " | ".join(cells) + " |", flush=True)
    cells = [cell for t, f in zip(total, floors, strict=True) for cell in (f"{1e3 * t:.0f}", f"{f / t:.0%}")]
    print("| all | | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
