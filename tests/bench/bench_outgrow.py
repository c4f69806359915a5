"""A fit over a data set larger than memory: in a control group of 1.2 GB, with the bits of the same fit in memory.

    python tests/bench/bench_outgrow.py                      # 200,000 slices of 96 px, 1.8 GB of pixels
    python tests/bench/bench_outgrow.py --n 20000 --limit-mb 400

A cache of smooth noise is made and thrown out of the system's cache of files. Then SimCLR takes some steps over all
slices, and a classifier is trained and judged with few labels: in a child process that may not have more memory than
the limit, and in one that holds all pixels in memory. Both must come to the same weights, bit by bit.

The limit is that of a memory control group of its own (version 1 or 2). Where none can be made, RLIMIT_DATA bounds what
the process allocates, which leaves out the pages of mapped files; the output says which of the two it was.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simclr_mri import Callback, Classifier, SimCLR, _core
from simclr_mri.datasets import Dataset, open_dataset
from simclr_mri.datasets._cache import put_on_disk

SLICES = 32
MB = 1e6


def noise(n: int, side: int) -> Iterator[np.ndarray]:
    """Slices of one subject after the other, (32, side, side, 1)."""
    rng = np.random.default_rng(0)
    for _ in range(n // SLICES):
        yield _core.resize(rng.integers(0, 256, (SLICES, 16, 16, 1)).astype(np.uint8), side)


def make_cache(folder: Path, n: int, side: int) -> Path:
    """A cache that has never been in memory as a whole, and is not in the system's cache of files either."""
    raw = np.lib.format.open_memmap(folder / "raw.npy", "w+", np.uint8, (n, side, side, 1))
    for i, images in enumerate(noise(n, side)):
        raw[i * SLICES : (i + 1) * SLICES] = images
    raw.flush()
    subjects = np.repeat(np.arange(n // SLICES), SLICES)
    images = np.load(folder / "raw.npy", mmap_mode="r")
    ds = Dataset(images, subjects % 2, ("CN", "AD"), subjects.astype(str), copy=False)
    put_on_disk(ds, folder / "cache")
    (folder / "raw.npy").unlink()
    for path in (folder / "cache").iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return folder / "cache"


# -- the child --------------------------------------------------------------------------------------------------------


class Peak(threading.Thread):
    """The most that this process had allocated at a time, in bytes: without pages of mapped files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.done = 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.02):
            self.most = max(self.most, allocated())


def allocated() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


class StopAfter(Callback):
    """Ends the run after some steps; remembers what the network takes."""

    def __init__(self, steps: int) -> None:
        self.steps, self.network_bytes = steps, 0

    def on_step_end(self, run: Any) -> None:
        task = run.task
        self.network_bytes = task.trainer.memory_bytes + 4 * task.model.network.n_parameters
        if run.step >= self.steps:
            run.stop()


def child(cache: str, in_memory: bool, steps: int) -> None:
    """Both fits; prints what came of them as JSON."""
    warnings.simplefilter("ignore")
    at_start, peak = allocated(), Peak()
    peak.start()
    ds = open_dataset(cache)
    if in_memory:
        ds = Dataset(np.array(ds.images), ds.labels, ds.classes, ds.subjects, ds.files, name=ds.name)
    small = {"arch": "resnet18", "batch_size": 32, "verbose": 0, "n_jobs": 1}
    stop = StopAfter(steps)
    ssl = SimCLR(**small, epochs=1).fit(ds, callbacks=[stop])
    few = ds[np.arange(0, len(ds), max(1, len(ds) // 256))]
    clf = Classifier(**small, init=ssl, epochs=1, label_fraction=0.25).fit(few, few)
    digest = hashlib.sha256(np.ascontiguousarray(clf.predict_proba(few)).data)
    for estimator in (ssl, clf):
        for name, *_ in estimator.network_.table:
            digest.update(np.ascontiguousarray(estimator.network_.tensor(name)).data)
    peak.done.set()
    print(
        json.dumps(
            {
                "bits": digest.hexdigest()[:16],
                "at_start": at_start,
                "peak": peak.most,
                "network": stop.network_bytes,
                "mean": ssl.preprocess_.mean,
            }
        )
    )


# -- the limit --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited(limit: int) -> Iterator[tuple[str, Any, Path | None]]:
    """How it is done, what the child calls before it begins, and the control group."""
    group = None
    for mount, name in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        own = own_group("memory" if mount.name == "memory" else "")
        if own is None:
            continue
        made = mount / own / f"bench_outgrow_{os.getpid()}"
        try:
            made.mkdir()
            group = made
            (made / name).write_text(str(limit))
            break
        except OSError:
            if group is not None:
                group.rmdir()
            group = None
    if group is None:
        yield "RLIMIT_DATA", lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)), None
        return
    try:
        yield f"the control group {group}", lambda: (group / "cgroup.procs").write_text(str(os.getpid())), group
    finally:
        group.rmdir()


def own_group(controller: str) -> str | None:
    """The path of this process's group; None if there is no such hierarchy."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.lstrip("/")
    return None


def run_child(cache: Path, in_memory: bool, steps: int, before: Any = None) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", str(cache), "--steps", str(steps)]
    done = subprocess.run(
        command + ["--in-memory"] * in_memory, stdout=subprocess.PIPE, text=True, preexec_fn=before, check=False
    )
    if done.returncode:
        sys.exit(f"the fit ended with {done.returncode} (-9: killed for its memory)")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--steps", type=int, default=20, help="of SimCLR, with 32 slices each")
    parser.add_argument("--limit-mb", type=int, default=1200)
    parser.add_argument("--bar-mb", type=int, default=300, help="most that may be allocated besides the network")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--in-memory", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.in_memory, args.steps)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        cache = make_cache(Path(folder), args.n // SLICES * SLICES, args.side)
        size = (cache / "pixels.npy").stat().st_size
        print(f"{args.n:,} slices of {args.side} px: {size / MB:,.0f} MB of pixels; the limit is {args.limit_mb:,} MB")
        with limited(int(args.limit_mb * MB)) as (how, before, group):
            print(f"limited by {how}", flush=True)
            small = run_child(cache, False, args.steps, before)
            if group is not None and (group / "memory.max_usage_in_bytes").exists():
                most = int((group / "memory.max_usage_in_bytes").read_text()) / MB
                print(f"the group had {most:,.0f} MB at most, pages of files included")
        large = run_child(cache, True, args.steps)
    same = small["bits"] == large["bits"]
    beside = (small["peak"] - small["network"]) / MB
    print(f"in memory: {large['peak'] / MB:,.0f} MB allocated at most")
    print(f"limited:   {small['peak'] / MB:,.0f} MB, {small['network'] / MB:,.0f} MB of which for the network")
    print(f"besides the network: {beside:,.0f} MB, {small['at_start'] / MB:,.0f} MB of which Python and its packages")
    print(f"  bar {args.bar_mb:,} MB: {'met' if beside <= args.bar_mb else 'MISSED'}")
    print(f"weights and answers: {'the same bits' if same else 'DIFFERENT'} ({small['bits']}, {large['bits']})")
    return 0 if same and beside <= args.bar_mb else 1


if __name__ == "__main__":
    sys.exit(main())
