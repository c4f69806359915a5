"""How training scales over machines by the network between them: a model made of measured parts.

    PYTHONPATH=python python tests/bench/bench_weak_scaling.py [--image-size 128] [--micro-batch 64] [--parts 1 4]
                                               [--threads 2] [--link-share 0.87] [--step-s 3.90]

Every machine takes `--parts` micro-batches of a SimCLR step with ASAM, however many machines there are (weak scaling).

Measured here: a step of one machine with one micro-batch, and how long each operation of its passes takes, so when each
bucket of 8 MiB of gradients is final. On a busy machine all of these are too long: `--step-s` is the step of a quiet
one (bench_step.py), to which they are scaled. Measured by bench_wire.py: what share of the line's rate the sums reach.

Computed: a rank sends and receives 2 (n - 1) / n of all bytes, bucket by bucket, each once it is final and the one
before has gone; what is left when the backward pass ends is waited for, in both passes. More micro-batches go forward
twice, but for the last. Left out: machines that are not equally fast, and the gathering of embeddings, which are a
thousandth of the bytes.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import time

import numpy as np

from simclr_mri import _core

BUCKET = 1 << 21  # floats, as csrc/training/pass.c
NODES = (2, 4, 8, 16)
LINKS = {"1 GbE": 1e9 / 8, "10 GbE": 1e10 / 8}


def measured_step(args: argparse.Namespace) -> tuple[float, _core.Trainer, _core.Network]:
    """Median seconds of a step of one micro-batch."""
    n, size = args.micro_batch, args.image_size
    head = [(2048, 0.0, True), (128, 0.0, False)]
    network = _core.Network(50, image_size=size, head=head, head_name="projection", n_threads=args.threads)
    trainer = _core.Trainer(network, batch=n, sharpness="asam")
    views = np.random.default_rng(0).normal(size=(n, size, size, 1)).astype(np.float32)
    times = []
    for step in range(args.turns + 1):  # the first does not count
        began_s = time.perf_counter()
        trainer.simclr_step(
            views, lr=0.01, momentum=0.9, rho=0.05, temperature=0.2, seed=0, step=step, standardize=True
        )
        times.append(time.perf_counter() - began_s)
    return statistics.median(times[1:]), trainer, network


def buckets(trainer: _core.Trainer, network: _core.Network) -> tuple[list[tuple[float, int]], float]:
    """(seconds after the backward pass began, floats) of each bucket, and how long the pass takes."""
    rows, end = {}, 0
    for name, shape, is_buffer, decays in network.table:
        if decays and not is_buffer:
            end += math.prod(shape)
            rows[name] = end
    heads = [name for name in rows if name.startswith("projection")]
    operations = [op for op in trainer.profile() if "backward" in op[0]]
    left, now_s, ready, sent = dict(rows), 0.0, [], end
    for op, layer, seconds, _ in operations:
        now_s += seconds
        written = layer if op == "conv backward weights" else heads.pop() if op == "linear backward" else None
        left.pop(written, None)
        while sent > 0 and max(0, sent - BUCKET) >= max(left.values(), default=0):
            ready.append((now_s, min(BUCKET, sent)))
            sent = max(0, sent - BUCKET)
    others = sum(math.prod(shape) for _, shape, is_buffer, decays in network.table if not decays and not is_buffer)
    return [*ready, (now_s, others + sent)], now_s


def waited_s(ready: list[tuple[float, int]], pass_s: float, nodes: int, rate: float, bytes_each: int) -> float:
    """How long a pass waits for its sums, behind its end."""
    done_s = 0.0
    for final_s, floats in ready:
        done_s = max(done_s, final_s) + 2 * (nodes - 1) / nodes * floats * bytes_each / rate
    return max(0.0, done_s - pass_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--micro-batch", type=int, default=64)
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 4], help="micro-batches of each machine")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--link-share", type=float, default=0.87)
    parser.add_argument("--step-s", type=float, help="of a step of one micro-batch, on a quiet machine")
    args = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    where = f"{_core.cpu_info()['cpu']}, {args.threads} threads, load {os.getloadavg()[0]:.1f}, commit {commit}"
    print(f"ResNet-50, {args.image_size} px, SimCLR + ASAM, micro-batches of {args.micro_batch}; {where}")
    found_s, trainer, network = measured_step(args)
    scale = args.step_s / found_s if args.step_s else 1.0
    ready, pass_s = buckets(trainer, network)
    ready, pass_s = [(scale * when, floats) for when, floats in ready], scale * pass_s
    forward_s = scale * sum(op[2] for op in trainer.profile() if "backward" not in op[0])
    one_s, at_once = scale * found_s, [(pass_s, sum(floats for _, floats in ready))]
    print(f"a step took {found_s:.2f} s, counted as {one_s:.2f}; a backward pass {pass_s:.2f} s of that")
    print("in brackets: all gradients sent behind the backward pass")
    print(f"| micro-batches a machine | step alone | line | wire | {' | '.join(f'{n} machines' for n in NODES)} |")
    print(f"| ---: | ---: | --- | --- |{' ---: |' * len(NODES)}")
    for parts in args.parts:
        step_s = one_s + 2 * (parts - 1) * (2 * forward_s + pass_s)
        for line, rate in LINKS.items():
            for wire, bytes_each in (("fp32", 4), ("bf16", 2)):
                cells = []
                for nodes in NODES:
                    lost = (
                        2 * waited_s(r, pass_s, nodes, args.link_share * rate, bytes_each) for r in (ready, at_once)
                    )
                    overlapped, behind = (100 * step_s / (step_s + waited) for waited in lost)
                    cells.append(f"{overlapped:.0f} % ({behind:.0f})")
                print(f"| {parts} | {step_s:.2f} s | {line} | {wire} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
