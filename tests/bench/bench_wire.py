"""What sums of gradients take between two hosts of 1 Gbit/s, beside the time that the bandwidth alone would take.

    PYTHONPATH=python:tests python tests/bench/bench_wire.py [--mbit 1000] [--megabytes 100] [--turns 5]

The hosts are network namespaces of this machine, joined by a cable that `tc` shapes; root, iproute2, mpi4py and Open
MPI's mpiexec are needed. Every rank sends and receives as many bytes as there are, each way at once: half of them as
shares of the other, half as sums. So the bandwidth's time is bytes / rate. What one stream of TCP reaches of it is
measured too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from reference.two_hosts import ADDRESSES, TwoHosts
from simclr_mri import _core
from simclr_mri.learning import Ranks

LISTEN = """
import socket, sys
server = socket.create_server(("", 5999))
print("ready", flush=True)
peer, _ = server.accept()
while peer.recv(1 << 20):
    pass
peer.sendall(b"x")
"""
SEND = """
import socket, sys, time
data = bytes(int(sys.argv[2]))
peer = socket.create_connection((sys.argv[1], 5999))
began_s = time.perf_counter()
peer.sendall(data)
peer.shutdown(socket.SHUT_WR)
peer.recv(1)
print(time.perf_counter() - began_s)
"""


def tcp_seconds(hosts: TwoHosts, n_bytes: int) -> float:
    """One stream from the first host to the second."""
    server = hosts.start(1, [sys.executable, "-c", LISTEN])
    assert server.stdout is not None
    server.stdout.readline()
    said, _ = hosts.start(0, [sys.executable, "-c", SEND, ADDRESSES[1], str(n_bytes)]).communicate()
    server.wait()
    return float(said)


def at_a_rank(args: argparse.Namespace) -> None:
    """What mpiexec starts: rank 0 prints seconds of the sums, in either precision, and of MPI's own."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    ranks = Ranks.of(comm)
    data = np.ones(args.megabytes * 250_000, np.float32)

    def ordered(wire: str) -> None:
        ranks.begin_sum(data, ranks.size, wire)
        ranks.finish_sums()

    works = {
        "ordered": lambda: ordered("fp32"),
        "ordered, --wire bf16": lambda: ordered("bf16"),
        "MPI's Allreduce": lambda: comm.Allreduce(MPI.IN_PLACE, data),
    }
    for name, work in works.items():
        times = []
        for _ in range(args.turns + 1):  # the first does not count
            data[:] = 1
            comm.Barrier()
            began_s = time.perf_counter()
            work()
            times.append(time.perf_counter() - began_s)
            assert (data == 2).all()
        if ranks.is_first:
            print(f"{name};{statistics.median(times[1:])};{min(times[1:])}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbit", type=int, default=1000)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--at-a-rank", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.at_a_rank:
        at_a_rank(args)
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{_core.cpu_info()['cpu']}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, commit {commit}")
    bound = args.megabytes * 8 / args.mbit
    with tempfile.TemporaryDirectory() as folder, TwoHosts(Path(folder), args.mbit) as hosts:
        tcp = statistics.median(tcp_seconds(hosts, args.megabytes * 1_000_000) for _ in range(3))
        said = f"one stream of TCP {tcp:.3f} s ({tcp / bound:.2f})"
        print(f"{args.megabytes} MB at {args.mbit} Mbit/s: {bound:.3f} s; {said}")
        options = ["--at-a-rank", "--megabytes", str(args.megabytes), "--turns", str(args.turns)]
        run = hosts.mpiexec(str(Path(sys.executable).with_name("mpiexec")), __file__, *options)
        said, _ = run.communicate()
        if run.returncode != 0:
            sys.exit(said)
    for line in said.splitlines():
        name, median, least = line.split(";")
        least_bytes = bound / 2 if "bf16" in name else bound
        print(
            f"{name:22s} median {float(median):.3f} s ({float(median) / least_bytes:.2f} of the bandwidth's time), "
            f"fastest {float(least):.3f} s ({float(least) / least_bytes:.2f})"
        )


if __name__ == "__main__":
    main()
