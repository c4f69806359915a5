"""The figures of the README, made by this version: speed, demo, size, import time, and what was found on real data.

    python tests/bench/readme_figures.py [--data FOLDER] [--out figures.json] [--only speed demo ...]

Prints each figure with commit and processor, and how busy the machine was. FOLDER is a copy of the Alzheimer MRI set,
which audit, curve and rating need. Takes some 90 minutes on two cores, 20 without `curve` and `rating`, whose figures
do not depend on how busy the machine is; needs torch for the comparison of speed (pip install '.[parity]').
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PARTS = ("speed", "demo", "install", "audit", "curve", "rating")
ON_DATA = PARTS[3:]
# What the package needs at run time besides itself, for its installed size.
DISTRIBUTIONS = ("numpy", "scipy", "scikit-learn", "matplotlib", "tqdm", "safetensors", "threadpoolctl", "shtab")


def run(*command: str, **options: Any) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def machine() -> dict[str, Any]:
    from simclr_mri._shared import versions

    found = versions()
    commit = run("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD").strip()
    changed = bool(run("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no").strip())
    load = os.getloadavg()[0]
    return {"commit": commit + ("+changes" if changed else ""), "load_before": load, **found}


def speed(_: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "steps.json"
        command = [
            sys.executable,
            str(HERE / "bench_step.py"),
            "--rounds",
            "3",
            "--peers",
            "tuned",
            "--json",
            str(result),
        ]
        subprocess.run(command, check=True)
        return json.loads(result.read_text())


def demo(_: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        text = run(sys.executable, "-m", "simclr_mri", "demo", "--out", f"{folder}/demo")
        seconds = time.monotonic() - began
        with (Path(folder) / "demo" / "summary.csv").open() as file:
            rows = list(csv.DictReader(file))
    print(text[-3000:])
    return {"seconds": round(seconds, 1), "summary": rows}


def audit(options: argparse.Namespace) -> dict[str, Any]:
    """By four classes, as the set comes, and rating 0 against above 0."""
    found = {}
    for task in ("4class", "cdr0"):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            command = ("audit", str(options.data), "--task", task, "--out", f"{folder}/audit")
            text = run(sys.executable, "-m", "simclr_mri", *command)
        print(text, flush=True)
        found[task] = {"seconds": round(time.monotonic() - began, 1), "text": text}
    return found


def curve(options: argparse.Namespace) -> dict[str, Any]:
    """What starts are worth with few labelled subjects; see bench_label_curve.py, which tells what is compared."""
    folder = options.out.with_suffix("")
    command = [sys.executable, str(HERE / "bench_label_curve.py"), str(options.data), "--out", f"{folder}_curve"]
    subprocess.run(command, check=True)
    with Path(f"{folder}_curve", "label_curve.csv").open() as file:
        return {"rows": list(csv.DictReader(file))}


def rating(options: argparse.Namespace) -> dict[str, Any]:
    return json.loads(run(sys.executable, str(HERE / "bench_rating.py"), str(options.data)))


def install(_: argparse.Namespace) -> dict[str, Any]:
    """Seconds of `import simclr_mri`, median of 7 processes, and bytes on disk with what it needs."""
    from importlib.metadata import distribution

    script = "import time; t = time.perf_counter(); import simclr_mri; print(time.perf_counter() - t)"
    seconds = statistics.median(float(run(sys.executable, "-c", script)) for _ in range(7))
    sizes = {}
    for name in ("simclr_mri", *DISTRIBUTIONS):
        files = distribution(name).files or []
        sizes[name] = sum(path.stat().st_size for path in (Path(f.locate()) for f in files) if path.is_file())
    return {"import_s": round(seconds, 3), "megabytes": {name: round(size / 1e6, 1) for name, size in sizes.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("figures.json"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    print(json.dumps(found["machine"], indent=1), flush=True)
    if found["machine"]["load_before"] > 0.5:
        print("this machine is busy: do not quote these figures", flush=True)
    for part in options.only:
        skipped = part in ON_DATA and options.data is None
        found[part] = {"skipped": "no --data"} if skipped else globals()[part](options)
        print(part, json.dumps(found[part], indent=1), flush=True)
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
