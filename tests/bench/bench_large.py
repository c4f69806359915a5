"""What a data set larger than memory costs: a cache of N slices is made, opened, split, pickled and audited.

    python tests/bench/bench_large.py                          # 200,000 slices of 32 px
    python tests/bench/bench_large.py --n 10000 50000 200000   # whether the cost is linear
    python tests/bench/bench_large.py --n 20000 --audit no
    python tests/bench/bench_large.py --audit parts --keep FOLDER    # made there once, and opened the next time

Slices are smooth noise in chains of 32 a subject, each like the one before, so that subjects can be found. Every
figure stands beside its bar, also where it misses.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from simclr_mri import _core, splits
from simclr_mri.audits import audit
from simclr_mri.audits._subjects import infer_groups
from simclr_mri.datasets import Dataset, ImageFolder, open_dataset
from simclr_mri.views import Preprocess

SLICES = 32


def write_slices(root: Path, n: int, side: int) -> None:
    """Class folders of PNG files, a subject at a time."""
    rng = np.random.default_rng(0)
    for i in range(n // SLICES):
        noise = rng.integers(0, 256, (SLICES + 3, 24, 24, 1)).astype(np.uint8)
        mixed = sum(noise[k : k + SLICES].astype(np.float32) for k in range(4)) / 4
        folder = root / ("AD" if i % 2 else "CN") / f"{i % 100:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for k, image in enumerate(_core.resize(mixed.astype(np.uint8), side)):
            _core.write_png(folder / f"sub-{i:05d}_{k:02d}.png", image, sync=False)


@contextmanager
def timed(what: str, bar: str = "") -> Iterator[None]:
    start, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = f"{time.perf_counter() - start:8.2f} s, {time.process_time() - cpu:8.2f} s of CPU"
    print(f"{what:38s} {seconds}, peak {peak:6,.0f} MiB   {bar}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[200_000])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument(
        "--audit", choices=("yes", "parts", "no"), default="yes", help="parts: its two longest alone, too"
    )
    parser.add_argument(
        "--keep", type=Path, help="a folder for files and cache of one --n, which are made if not there"
    )
    args = parser.parse_args()
    if args.keep and len(args.n) > 1:
        parser.error("--keep: of one --n")
    for n in args.n:
        where = f"{_core.cpu_info()['cpu']}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
        print(f"{n:,} slices of {args.side} x {args.side}; {where}")
        if args.keep:
            measure(args.keep, n, args.side, args.audit)
            continue
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), n, args.side, args.audit)
    return 0


def measure(folder: Path, n: int, side: int, what: str) -> None:
    root, cache = folder / "files", folder / "cache"
    if not cache.exists():
        write_slices(root, n, side)
        with timed("make the cache"):
            ImageFolder(root, groups=r"(sub-\d+)_", cache=cache)
    with timed("open it", "bar: 2 s"):
        ds = open_dataset(cache)
    if len(ds) != n // SLICES * SLICES:
        raise SystemExit(f"{cache}: expected {n // SLICES * SLICES:,} slices, found {len(ds):,}")
    with timed("split it and print the split", "bar: 1 s"):
        parts = splits.split(ds)
        print(parts)
    with timed("mean and deviation of the training set"):
        Preprocess.of(parts.train, True)
    with timed("fingerprint of the training set"):
        parts.train.fingerprint()
    with timed("the same, opened again"):
        splits.split(open_dataset(cache)).train.fingerprint()
    beside = len(pickle.dumps(parts.train)) - 8 * len(parts.train)
    print(f"pickle of the training set: {beside:,} bytes beside its index   bar: 1 MB")
    if what == "parts":
        measure_parts(ds)
    if what != "no":
        with timed("the whole audit", "bar: 300 s for 200,000"):
            found = audit(ds)
        print(found)


def measure_parts(ds: Dataset) -> None:
    with timed("images of one subject"):
        groups = infer_groups(ds.images)
    print(f"  {groups.n_groups:,} subjects found ({groups.found}), {ds.n_subjects:,} there are")
    with timed("edited copies"):
        copies = splits.find_copies(ds.images)
    print(f"  {len(copies)} found; {copies.power()}; {copies.n_crowded:,} with too many look-alikes")


if __name__ == "__main__":
    sys.exit(main())
