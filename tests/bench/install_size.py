"""Installed size and import time beside PyTorch with lightly, each in a fresh environment.

    python tests/bench/install_size.py dist/simclr_mri-*.whl          # ours, as a wheel or a folder with the source
    python tests/bench/install_size.py --peer torch==2.13.0 lightly   # theirs, as pip installs it by default

The size is that of all that pip installs: the environment less an empty one. The import is timed in processes of its
own, the median of several, after one that reads the files for the first time; processor time is told too, which depends
less on what else runs. Of theirs that cannot be imported together, such as a torchvision built for CUDA beside a torch
for the CPU, PyTorch alone is timed and the reason printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
import venv
from pathlib import Path

PEER = ("import torch, torchvision, lightly.loss", "import torch")
OURS = ("import simclr_mri; simclr_mri.SimCLR, simclr_mri.datasets.ImageFolder",)


def size_bytes(folder: Path) -> int:
    """Of the files below, each once, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def import_seconds(python: Path, line: str, rounds: int) -> tuple[list[float], list[float]]:
    """How much longer a process takes that imports than one that does not: by the clock, and of a processor."""
    wall_s, processor_s = [], []
    for code in [line] + [part for _ in range(rounds) for part in ("pass", line)]:
        began_s, before = time.perf_counter(), os.times()
        subprocess.run([str(python), "-c", code], check=True)
        after = os.times()
        wall_s.append(time.perf_counter() - began_s)
        processor_s.append(sum(after[2:4]) - sum(before[2:4]))
    return less(wall_s), less(processor_s)


def less(seconds: list[float]) -> list[float]:
    """Each process that imports, less the empty one before it; the first one only read the files."""
    return [with_it - without for without, with_it in zip(seconds[1::2], seconds[2::2], strict=True)]


def first_that_works(python: Path, lines: tuple[str, ...]) -> str:
    """The first line that runs; of those before it the reason is printed."""
    for line in lines:
        done = subprocess.run([str(python), "-c", line], capture_output=True, text=True)
        if done.returncode == 0:
            return line
        print(f"{line}: {done.stderr.strip().splitlines()[-1]}", flush=True)
    raise SystemExit("nothing could be imported")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", default=["."], help="what pip installs (default: this source)")
    parser.add_argument("--peer", action="store_true", help="import PyTorch and lightly instead")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "env"
        venv.create(place, with_pip=True)
        python, before = place / "bin" / "python", size_bytes(place)
        began_s = time.perf_counter()
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-compile", *args.packages], check=True)
        install_s = time.perf_counter() - began_s
        n = len(
            subprocess.run([str(python), "-m", "pip", "freeze"], capture_output=True, text=True).stdout.splitlines()
        )
        installed = size_bytes(place) - before
        print(
            f"{' '.join(args.packages)}: {installed / 1e6:,.0f} MB in {n} packages, installed in {install_s:.0f} s",
            flush=True,
        )
        line = first_that_works(python, PEER if args.peer else OURS)
        wall_s, processor_s = (statistics.median(values) for values in import_seconds(python, line, args.rounds))
        print(
            f"{line}: {wall_s:.2f} s, {processor_s:.2f} s of a processor (median of {args.rounds}, less an empty one)"
        )


if __name__ == "__main__":
    main()
