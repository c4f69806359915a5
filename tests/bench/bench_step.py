"""Whole training steps and inference: ours beside PyTorch's on this CPU.

    python tests/bench/bench_step.py [--rows supervised simclr inference resnet18] [--precision fp32 bf16] [--rounds 5]
                               [--threads 0] [--peers default tuned compiled ...] [--json FILE] [--profile]

Each side runs in a process of its own, so that peak memory is its own, and waits while another one measures: a turn of
ours, one of each of PyTorch's configurations, and again; medians of that. A turn is a step that is not counted, since
after a second of waiting caches and clock are cold (up to 10 % of ours), and two that are. PyTorch's configurations,
all with channels_last, and in bf16 with autocast:

    default          as it comes
    tuned            an allocator that does not give pages back (MALLOC_MMAP_THRESHOLD_ and its like, which the C
                     library reads at start)
    compiled         torch.compile on top of the tuned allocator; needs a C++ compiler and setuptools
    cast             bf16 inference only: weights rounded once (model.bfloat16()) instead of at every call, tuned
    cast compiled    both

The fastest of them is the one to compare with; a configuration that fails says why. Peak memory counts from the third
step on, so that what compiling takes is not held against a program; flops are those of the convolutions, and the peak
that they are compared with is measured in the same run, by products on registers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TUNED_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "500000000",
}
STEPS_A_TURN = 2
PATIENCE_S = 900  # for the first steps: compiling a ResNet-50 takes minutes


class Peer(NamedTuple):
    environment: dict[str, str]
    is_compiled: bool = False
    is_cast: bool = False


PEERS = {
    "default": Peer({}),
    "tuned": Peer(TUNED_ALLOCATOR),
    "compiled": Peer(TUNED_ALLOCATOR, is_compiled=True),
    "cast": Peer(TUNED_ALLOCATOR, is_cast=True),
    "cast compiled": Peer(TUNED_ALLOCATOR, is_compiled=True, is_cast=True),
}


class Row(NamedTuple):
    depth: int
    pixels: int
    images: int  # that go through a step
    kind: str
    title: str

    @property
    def per_step(self) -> int:
        """What is counted: images, or pairs of views."""
        return self.images // 2 if self.kind == "simclr" else self.images


ROWS = {
    "supervised": Row(50, 128, 32, "supervised", "ResNet-50, 128 px, supervised step, batch 32"),
    "simclr": Row(50, 128, 64, "simclr", "ResNet-50, 128 px, SimCLR + ASAM step, 32 pairs"),
    "inference": Row(50, 128, 32, "inference", "ResNet-50, 128 px, inference, batch 32"),
    "resnet18": Row(18, 64, 64, "supervised", "ResNet-18, 64 px, supervised step, batch 64"),
}


def head_of(kind: str) -> list[tuple[int, float, bool]]:
    return [(256, 0.0, True), (128, 0.0, False)] if kind == "simclr" else [(4, 0.0, False)]


# ---- ours ----------------------------------------------------------------------------------------------------------


def our_step(row: Row, n_threads: int, precision: str) -> tuple[Callable[[], Any], Callable[[], float]]:
    """(a function that runs one step, a function that tells the flops of the latest step's convolutions)."""
    from simclr_mri import _core

    n = row.images
    network = _core.Network(row.depth, image_size=row.pixels, head=head_of(row.kind), n_threads=n_threads)
    x = np.random.default_rng(0).uniform(size=(n, row.pixels, row.pixels, 1)).astype(np.float32)

    def flops(source: Any, passes: int) -> float:
        return passes * sum(flops for *_, flops in source.profile())

    if row.kind == "inference":
        return lambda: network.forward(x, batch_size=n, precision=precision), lambda: flops(network, 1)
    options = {"lr": 0.01, "momentum": 0.9, "seed": 0, "step": 0}
    if row.kind == "simclr":
        trainer = _core.Trainer(network, batch=n, bn_groups=2, sharpness="asam", precision=precision)
        return lambda: trainer.simclr_step(x, temperature=0.5, rho=1.0, **options), lambda: flops(trainer, 2)
    labels = (np.arange(n) % 4).astype(np.int32)
    trainer = _core.Trainer(network, batch=n, precision=precision)
    return lambda: trainer.supervised_step(x, labels, **options), lambda: flops(trainer, 1)


# ---- PyTorch's -----------------------------------------------------------------------------------------------------


def torch_step(row: Row, n_threads: int, precision: str, peer: Peer) -> Callable[[], Any]:
    """The same in PyTorch; SimCLR in two passes, ASAM with torch._foreach operations."""
    import torch

    from reference.resnet_torch import ResNet, nt_xent

    if n_threads:
        torch.set_num_threads(n_threads)
    n = row.images
    model = ResNet(row.depth, image_size=row.pixels, head=head_of(row.kind)).to(memory_format=torch.channels_last)
    x = torch.from_numpy(np.random.default_rng(0).uniform(size=(n, row.pixels, row.pixels, 1)).astype(np.float32))
    if peer.is_cast:
        model, x = model.bfloat16(), x.bfloat16()
    compiled = torch.compile(model) if peer.is_compiled else model

    def forward(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16" and not peer.is_cast):
            return compiled(images).float()

    if row.kind == "inference":
        model.eval()

        def infer() -> float:
            with torch.inference_mode():
                return float(forward(x)[0, 0])

        return infer
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, foreach=True)
    labels = torch.arange(n) % 4

    def loss() -> torch.Tensor:
        if row.kind == "simclr":
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
        if row.kind == "simclr":
            with torch.no_grad():
                kept = ascend()
            optimizer.zero_grad()
            loss().backward()
            with torch.no_grad():
                torch._foreach_copy_(parameters, kept)
        optimizer.step()
        return first.item()

    return step


# ---- the child -----------------------------------------------------------------------------------------------------


def forget_peak_memory() -> None:
    """The kernel's record of the most resident memory starts anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) * 1024


def serve(side: str, row: Row, n_threads: int, precision: str) -> None:
    """Warms up, then answers a line on stdin with the seconds of a turn's steps; at the end {"peak_bytes", "flops"}."""
    sys.path.insert(0, str(Path(__file__).parent))
    flops: Callable[[], float] = lambda: 0.0  # noqa: E731
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"no step within {PATIENCE_S} s"))
    signal.alarm(PATIENCE_S)
    try:
        if side == "ours":
            step, flops = our_step(row, n_threads, precision)
        else:
            step = torch_step(row, n_threads, precision, PEERS[side])
        for _ in range(2):
            step()
    except (Exception, SystemExit) as error:  # whatever a compiler or a missing library throws is the answer
        text = str(error).strip() or type(error).__name__
        return print(json.dumps({"failed": text.splitlines()[0][:200]}), flush=True)
    signal.alarm(0)
    forget_peak_memory()
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        step()
        seconds = []
        for _ in range(STEPS_A_TURN):
            before = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - before)
        print(json.dumps(seconds), flush=True)
    print(json.dumps({"peak_bytes": peak_memory_bytes(), "flops": flops()}), flush=True)


# ---- the parent ----------------------------------------------------------------------------------------------------


def start(side: str, row: str, n_threads: int, precision: str) -> tuple[subprocess.Popen | None, str]:
    """(a child that has warmed up, ""), or (None, why not)."""
    command = [sys.executable, "-W", "ignore", __file__, "--serve", side, row, precision, "--threads", str(n_threads)]
    environment = {**os.environ, **(PEERS[side].environment if side in PEERS else {})}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        answer = json.loads(child.stdout.readline())
    except json.JSONDecodeError:
        answer = {"failed": "the process died"}
    if "ready" in answer:
        return child, ""
    child.kill()
    child.wait()
    return None, answer["failed"]


def measure(row: str, precision: str, *, rounds: int, n_threads: int, peers: list[str]) -> dict[str, Any]:
    """{"sides": side -> {"seconds": median, "fastest", "per_s", "peak_bytes"} or {"failed": why}, ...}; alternating."""
    from simclr_mri import _core

    peak_flops = _core.measured_peak(precision, n_threads, 0.5)  # first: what compiled may still be busy at the end
    started = {side: start(side, row, n_threads, precision) for side in ["ours", *peers]}
    sides: dict[str, dict[str, Any]] = {side: {"failed": why} for side, (_, why) in started.items()}
    children = {side: child for side, (child, _) in started.items() if child is not None}
    if "ours" not in children:
        raise RuntimeError(f"{row}: {sides['ours']['failed']}")
    seconds: dict[str, list[float]] = {side: [] for side in children}
    for _ in range(rounds):
        for side, child in children.items():
            child.stdin.write("\n")
            child.stdin.flush()
            seconds[side].extend(json.loads(child.stdout.readline()))
    flops = 0.0
    for side, child in children.items():
        child.stdin.close()
        end = json.loads(child.stdout.readline())
        child.wait()
        median = statistics.median(seconds[side])
        per_s = ROWS[row].per_step / median
        sides[side] = {
            "seconds": median,
            "fastest": min(seconds[side]),
            "per_s": per_s,
            "peak_bytes": end["peak_bytes"],
        }
        flops = end["flops"] or flops
    found = {"row": row, "title": ROWS[row].title, "precision": precision, "sides": sides, "flops": flops}
    found["peak_flops"] = peak_flops
    found["isa"] = _core.cpu_info()["isa"]
    measured = [side for side in peers if "seconds" in sides[side]]
    if measured:
        best = min(measured, key=lambda side: sides[side]["seconds"])
        found["best_peer"] = best
        found["ratio"] = sides[best]["seconds"] / sides["ours"]["seconds"]
        found["memory_ratio"] = sides["ours"]["peak_bytes"] / sides[best]["peak_bytes"]
    return found


def report(found: dict[str, Any]) -> str:
    """A table of one row in one precision."""
    from simclr_mri.bench._measure import COUNTED

    row = ROWS[found["row"]]
    unit = "pairs/s" if row.kind == "simclr" else "images/s"
    lines = [f"{row.title}, {found['precision']}", f"  {'':20} {unit:>9} {'ms':>8} {'peak MB':>8}"]
    for side, r in found["sides"].items():
        name = side if side == "ours" else f"torch, {side}"
        if "failed" in r:
            lines.append(f"  {name:20} failed: {r['failed']}")
            continue
        lines.append(f"  {name:20} {r['per_s']:9.1f} {1e3 * r['seconds']:8.1f} {r['peak_bytes'] / 1e6:8.0f}")
    rate, peak = found["flops"] / found["sides"]["ours"]["seconds"], found["peak_flops"]
    lines.append(
        f"  ours: {rate / 1e9:.0f} GFLOP/s in convolutions over the whole step, {rate / peak:.0%} of "
        f"{peak / 1e9:.0f} GFLOP/s ({found['isa']}, products on registers)\n  {COUNTED}"
    )
    if "best_peer" in found:
        best = found["best_peer"]
        lines.append(
            f"  {found['ratio']:.2f} times the best of PyTorch's ({best}), {found['memory_ratio']:.2f} of its memory"
        )
    return "\n".join(lines)


def profile(name: str, n_threads: int, precision: str) -> dict[str, tuple[float, float]]:
    """Kind of operation -> (seconds, flops) of one pass of ours: for each operation the best of five."""
    from simclr_mri import _core

    row = ROWS[name]
    n = row.images
    network = _core.Network(row.depth, image_size=row.pixels, head=head_of(row.kind), n_threads=n_threads)
    x = np.random.default_rng(0).uniform(size=(n, row.pixels, row.pixels, 1)).astype(np.float32)
    groups = 2 if row.kind == "simclr" else 1
    trainer = None
    if row.kind != "inference":
        trainer = _core.Trainer(network, batch=n, bn_groups=groups, precision=precision)
    best: list[float] = []
    for i in range(6):
        if trainer is None:
            network.forward(x, batch_size=n, precision=precision)
        else:
            trainer.supervised_step(x, np.zeros(n, np.int32), lr=0.0, momentum=0.0, seed=0, step=i)
        rows = (trainer or network).profile()
        found = [seconds for _, _, seconds, _ in rows]
        best = found if not best else [min(pair) for pair in zip(best, found, strict=True)]
    totals: dict[str, tuple[float, float]] = {}
    for (operation, _, _, flops), seconds in zip(rows, best, strict=True):
        if seconds > 0:
            before = totals.get(operation, (0.0, 0.0))
            totals[operation] = (before[0] + seconds, before[1] + flops)
    return totals


def print_profile(name: str, n_threads: int, precision: str) -> None:
    totals = profile(name, n_threads, precision)
    whole = sum(seconds for seconds, _ in totals.values())
    print(f"{ROWS[name].title}, {precision}: {1e3 * whole:.1f} ms, {ROWS[name].images / whole:.1f} images/s")
    for operation, (seconds, flops) in sorted(totals.items(), key=lambda item: -item[1][0]):
        rate = f"{flops / seconds / 1e9:8.0f} GFLOP/s" if flops else ""
        print(f"  {operation:22} {1e3 * seconds:8.1f} ms {seconds / whole:6.1%} {rate}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--profile", action="store_true", help="ours only: seconds by kind of operation")
    parser.add_argument("--json", type=Path, help="write what was measured to this file, too")
    parser.add_argument("--serve", nargs=3, metavar=("SIDE", "ROW", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        side, row, precision = options.serve
        return serve(side, ROWS[row], options.threads, precision)
    results = []
    for precision in options.precision:
        for row in options.rows:
            if options.profile:
                print_profile(row, options.threads, precision)
                continue
            can_cast = precision == "bf16" and ROWS[row].kind == "inference"
            peers = [side for side in options.peers if can_cast or not PEERS[side].is_cast]
            found = measure(row, precision, rounds=options.rounds, n_threads=options.threads, peers=peers)
            results.append(found)
            print(report(found), flush=True)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
