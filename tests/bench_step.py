"""Whole training steps and inference: ours beside PyTorch's on this CPU.

    python tests/bench_step.py [--rows supervised simclr inference resnet18] [--rounds 5] [--threads 0] [--compile]

Each side runs in a process of its own, so that peak memory is its own, and waits while another one measures: a step of
ours, one of each of PyTorch's configurations, and again; medians of that. PyTorch's configurations are its default and
an allocator that does not give pages back to the system (MALLOC_MMAP_THRESHOLD_ and its like, which the C library reads
at start), both with channels_last; with --compile, torch.compile on top of the tuned allocator.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

TUNED_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "500000000",
}
PEERS = {"torch": {}, "torch_tuned": TUNED_ALLOCATOR, "torch_compile": TUNED_ALLOCATOR}

# name: (depth, pixels, images that go through a step, kind, the row's title)
ROWS = {
    "supervised": (50, 128, 32, "supervised", "ResNet-50, 128 px, supervised step, batch 32"),
    "simclr": (50, 128, 64, "simclr", "ResNet-50, 128 px, SimCLR + ASAM step, 32 pairs"),
    "inference": (50, 128, 32, "inference", "ResNet-50, 128 px, inference, batch 32"),
    "resnet18": (18, 64, 64, "supervised", "ResNet-18, 64 px, supervised step, batch 64"),
}


def head_of(kind: str) -> list[tuple[int, float, bool]]:
    return [(256, 0.0, True), (128, 0.0, False)] if kind == "simclr" else [(4, 0.0, False)]


def our_step(row: str, n_threads: int) -> Callable[[], float]:
    """A function that runs one step and returns its loss (inference: 0)."""
    from simclr_mri import _core

    depth, pixels, n, kind, _ = ROWS[row]
    network = _core.Network(depth, image_size=pixels, head=head_of(kind), n_threads=n_threads)
    x = np.random.default_rng(0).uniform(size=(n, pixels, pixels, 1)).astype(np.float32)
    if kind == "inference":
        return lambda: float(network.forward(x, batch_size=n)[0, 0]) * 0.0
    options = {"lr": 0.01, "momentum": 0.9, "seed": 0, "step": 0}
    if kind == "simclr":
        trainer = _core.Trainer(network, batch=n, bn_groups=2, sharpness="asam")
        return lambda: trainer.simclr_step(x, temperature=0.5, rho=1.0, **options)["loss"]
    labels = (np.arange(n) % 4).astype(np.int32)
    trainer = _core.Trainer(network, batch=n)
    return lambda: trainer.supervised_step(x, labels, **options)["loss"]


def torch_step(row: str, n_threads: int, use_compile: bool) -> Callable[[], float]:
    """The same in PyTorch: channels_last; SimCLR in two passes, ASAM with torch._foreach operations."""
    import torch

    from reference.resnet_torch import ResNet, nt_xent

    if n_threads:
        torch.set_num_threads(n_threads)
    depth, pixels, n, kind, _ = ROWS[row]
    model = ResNet(depth, image_size=pixels, head=head_of(kind)).to(memory_format=torch.channels_last)
    forward = torch.compile(model) if use_compile else model
    x = torch.from_numpy(np.random.default_rng(0).uniform(size=(n, pixels, pixels, 1)).astype(np.float32))
    if kind == "inference":
        model.eval()

        def infer() -> float:
            with torch.inference_mode():
                return float(forward(x)[0, 0]) * 0.0

        return infer
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, foreach=True)
    labels = torch.arange(n) % 4

    def loss() -> torch.Tensor:
        if kind == "simclr":
            return nt_xent(torch.cat([forward(x[: n // 2]), forward(x[n // 2 :])]), 0.5)
        return torch.nn.functional.cross_entropy(forward(x), labels)

    def ascend() -> list[torch.Tensor]:
        gradients = [p.grad for p in parameters]
        kept = [p.clone() for p in parameters]
        scaled = torch._foreach_mul(kept, gradients)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(scaled))).item()
        torch._foreach_mul_(scaled, kept)
        torch._foreach_add_(parameters, scaled, alpha=1.0 / (norm + 1e-12))
        return kept

    def step() -> float:
        optimizer.zero_grad()
        first = loss()
        first.backward()
        if kind == "simclr":
            with torch.no_grad():
                kept = ascend()
            optimizer.zero_grad()
            loss().backward()
            with torch.no_grad():
                torch._foreach_copy_(parameters, kept)
        optimizer.step()
        return first.item()

    return step


def serve(side: str, row: str, n_threads: int) -> None:
    """The child: warms up, then answers each line on stdin with seconds of a step; at the end with peak memory."""
    import resource

    sys.path.insert(0, str(Path(__file__).parent))
    step = our_step(row, n_threads) if side == "ours" else torch_step(row, n_threads, side == "torch_compile")
    for _ in range(2):
        step()
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        before = time.perf_counter()
        step()
        print(json.dumps(time.perf_counter() - before), flush=True)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024), flush=True)


def start(side: str, row: str, n_threads: int) -> subprocess.Popen | None:
    """A child that has warmed up, or None when it failed (no compiler for torch.compile, say)."""
    command = [sys.executable, "-W", "ignore", __file__, "--serve", side, row, "--threads", str(n_threads)]
    environment = {**os.environ, **PEERS.get(side, {})}
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    if child.stdout.readline().strip() == json.dumps("ready"):
        return child
    child.kill()
    child.wait()
    return None


def measure(row: str, *, rounds: int, n_threads: int, peers: list[str]) -> dict[str, dict[str, float]]:
    """Side -> {"seconds": median of the rounds, "fastest": seconds, "images_per_s", "peak_bytes"}; alternating."""
    children = {side: start(side, row, n_threads) for side in ["ours", *peers]}
    children = {side: child for side, child in children.items() if child is not None}
    seconds: dict[str, list[float]] = {side: [] for side in children}
    for _ in range(rounds):
        for side, child in children.items():
            child.stdin.write("\n")
            child.stdin.flush()
            seconds[side].append(json.loads(child.stdout.readline()))
    results = {}
    for side, child in children.items():
        child.stdin.close()
        peak = json.loads(child.stdout.readline())
        child.wait()
        median = statistics.median(seconds[side])
        results[side] = {
            "seconds": median,
            "fastest": min(seconds[side]),
            "images_per_s": ROWS[row][2] / median,
            "peak_bytes": peak,
        }
    return results


def profile(row: str, n_threads: int) -> dict[str, float]:
    """Seconds of one pass of ours by kind of operation: the best of five for each operation."""
    from simclr_mri import _core

    depth, pixels, n, kind, _ = ROWS[row]
    network = _core.Network(depth, image_size=pixels, head=head_of(kind), n_threads=n_threads)
    x = np.random.default_rng(0).uniform(size=(n, pixels, pixels, 1)).astype(np.float32)
    trainer = None if kind == "inference" else _core.Trainer(network, batch=n, bn_groups=2 if kind == "simclr" else 1)
    best: list[float] = []
    for i in range(6):
        if trainer is None:
            network.forward(x, batch_size=n)
        else:
            trainer.supervised_step(x, np.zeros(n, np.int32), lr=0.0, momentum=0.0, seed=0, step=i)
        rows = (trainer or network).profile()
        found = [seconds for _, _, seconds, _ in rows]
        best = found if not best else [min(pair) for pair in zip(best, found, strict=True)]
    totals: dict[str, float] = {}
    for (operation, *_), seconds in zip(rows, best, strict=True):
        if seconds > 0:
            totals[operation] = totals.get(operation, 0.0) + seconds
    return totals


def report(row: str, results: dict[str, dict[str, float]]) -> str:
    peers = {side: r for side, r in results.items() if side != "ours"}
    lines = [ROWS[row][4], f"  {'':14} {'images/s':>9} {'ms':>8} {'peak MB':>8}"]
    for side, r in results.items():
        lines.append(f"  {side:14} {r['images_per_s']:9.1f} {1e3 * r['seconds']:8.1f} {r['peak_bytes'] / 1e6:8.0f}")
    if peers:
        best = min(peers, key=lambda side: peers[side]["seconds"])
        ours = results["ours"]
        speed = peers[best]["seconds"] / ours["seconds"]
        memory = ours["peak_bytes"] / peers[best]["peak_bytes"]
        lines.append(f"  {speed:.2f} times the best of PyTorch's ({best}), {memory:.2f} of its memory")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    parser.add_argument("--compile", action="store_true", help="torch.compile too (needs a C++ compiler)")
    parser.add_argument("--profile", action="store_true", help="ours only: seconds by kind of operation")
    parser.add_argument("--serve", nargs=2, metavar=("SIDE", "ROW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(*options.serve, options.threads)
    for row in options.rows:
        if options.profile:
            totals = profile(row, options.threads)
            print(ROWS[row][4])
            for name, seconds in sorted(totals.items(), key=lambda item: -item[1]):
                print(f"  {name:22} {1e3 * seconds:8.1f} ms {seconds / sum(totals.values()):6.1%}")
            continue
        peers = [side for side in PEERS if options.compile or side != "torch_compile"]
        print(report(row, measure(row, rounds=options.rounds, n_threads=options.threads, peers=peers)), flush=True)


if __name__ == "__main__":
    main()
