"""Whole training steps and inference: ours beside PyTorch's on this CPU; see `simclr_mri.bench._peer`.

python tests/bench/bench_step.py [--rows supervised simclr inference resnet18] [--precision fp32 bf16] [--rounds 5]
                           [--threads 0] [--peers default tuned compiled ...] [--json FILE] [--profile]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from simclr_mri import _core
from simclr_mri.bench import ROWS, run_peer
from simclr_mri.bench._contestant import PEERS
from simclr_mri.bench._measure import head_of, images_of


def profile(name: str, n_threads: int, precision: str) -> dict[str, tuple[float, float]]:
    """Kind of operation -> (seconds, flops) of one pass of ours: for each operation the best of five."""
    row = ROWS[name]
    n = row.images
    network = _core.Network(row.depth, image_size=row.pixels, head=head_of(row), n_threads=n_threads)
    x = images_of(row)
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
    options = parser.parse_args()
    if options.profile:
        for precision in options.precision:
            for row in options.rows:
                print_profile(row, options.threads, precision)
        return
    results = run_peer(
        options.rows,
        options.precision,
        options.rounds,
        options.threads or None,
        False,
        peers=options.peers,
        tell=lambda text: print(text, flush=True),
    )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
