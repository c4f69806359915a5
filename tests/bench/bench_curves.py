"""Whether bf16 learns as fp32 does: losses step by step on real slices, with the same seeds, batches and views.

    PYTHONPATH=python python tests/bench/bench_curves.py DATA [--epochs 6] [--limit N] [--out curves.png]

DATA is a folder that `AlzheimerMRI` reads. A ResNet-18 at 64 pixels (recipe "quick", batches of 64), with labels and
with SimCLR, first in fp32, then in bf16. Printed: the loss of the last epoch, what the network is worth on the
validation set, and images (SimCLR: pairs) a second. The curves part slowly, as those of two orders of summation would.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from simclr_mri import Callback, Classifier, SimCLR, datasets, plot, split

matplotlib.use("Agg")
PRECISIONS = ("fp32", "bf16")
OPTIONS = {"recipe": "quick", "batch_size": 64, "verbose": 0, "random_state": 0}


class Losses(Callback):
    """Writes the loss of every step down."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_step_end(self, run: Any) -> None:
        self.losses.append(run.result["loss"])


def run(kind: str, precision: str, train: Any, val: Any, epochs: int) -> dict[str, Any]:
    """Losses by step, the score, and images a second of the epochs."""
    more = {"min_steps": 0} if kind == "supervised" else {"knn_every": epochs}
    cls = Classifier if kind == "supervised" else SimCLR
    model, recorder = cls(**OPTIONS, epochs=epochs, precision=precision, **more), Losses()
    began_s = time.perf_counter()
    model.fit(train, val, callbacks=[recorder])
    rows = list(model.history_)
    score = rows[-1]["val_balanced_accuracy" if kind == "supervised" else "knn_accuracy"]
    speed = sum(row["images"] for row in rows) / sum(row["seconds"] for row in rows)
    found = {"losses": recorder.losses, "last_epoch": rows[-1]["loss"], "score": score, "per_s": speed}
    print(
        f"{kind:11} {precision}: loss of the last epoch {rows[-1]['loss']:.4f}, "
        f"{'balanced accuracy' if kind == 'supervised' else 'nearest-neighbour accuracy'} {score:.3f}, "
        f"{speed:.1f} a second, {time.perf_counter() - began_s:.0f} s in all",
        flush=True,
    )
    return found


def draw(runs: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """One panel for each kind: losses by step, thin, and their mean over a tenth of the run."""
    with matplotlib.rc_context(plot.STYLE):
        figure, axes = plt.subplots(1, len(runs), figsize=(10, 3.6))
        for ax, (kind, found) in zip(axes, runs.items(), strict=True):
            for precision, colour, line in zip(PRECISIONS, plot.COLOURS, plot.LINES, strict=False):
                losses = np.array(found[precision]["losses"])
                width = max(1, len(losses) // 10)
                mean = np.convolve(losses, np.ones(width) / width, "valid")
                ax.plot(np.arange(1, len(losses) + 1), losses, color=colour, alpha=0.25, linewidth=0.8)
                steps = np.arange(len(mean)) + (width + 1) / 2
                ax.plot(steps, mean, line, color=colour, label=f"{precision}: {found[precision]['last_epoch']:.3f}")
            ax.set_title({"supervised": "Supervised, cross-entropy", "simclr": "SimCLR, NT-Xent"}[kind])
            ax.set_xlabel("step")
            ax.set_ylabel("loss")
            ax.legend(title="mean of the last epoch")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--limit", type=int, help="at most so many training images")
    parser.add_argument("--out", type=Path, default=Path("bf16_curves.png"))
    options = parser.parse_args()
    ds = datasets.AlzheimerMRI(options.data, image_size=64, task="3class")
    train, val, _ = split(ds, by="subject", seed=42)
    if options.limit:
        train = train[np.random.default_rng(0).permutation(len(train))[: options.limit]]
    print(f"{len(train)} training images, {len(val)} validation images, {options.epochs} epochs")
    runs: dict[str, dict[str, dict[str, Any]]] = {"supervised": {}, "simclr": {}}
    for kind, found in runs.items():
        for precision in PRECISIONS:
            found[precision] = run(kind, precision, train, val, options.epochs)
    draw(runs, options.out)


if __name__ == "__main__":
    main()
