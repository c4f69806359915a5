"""What helps when few subjects have labels: the label curve of the README, on the Alzheimer MRI set.

    python tests/bench/bench_label_curve.py ../shared/data/alzheimer_mri_128 --out runs/label_curve

Rating 0 against above 0, the lowest 8 slices of each subject, ResNet-18. What is compared was chosen on other folds;
the figures are of the folds of --seed. With --epochs, SimCLR is pretrained in each fold too: pairs of two neighbouring
slices of one subject, whose other slices are no negatives, in views that keep sizes and change intensities. Each
subject's intensities are normalised. Features are read from two stages of a network, as means and side by side.
"""

from __future__ import annotations

import argparse
import sys
import time

import simclr_mri as sm
from simclr_mri.studies import Start


def starts_of(epochs: int, n_jobs: int | None) -> dict[str, Start]:
    """The starts that are compared, by name."""
    normalised = {"intensities": "subject"}
    ways = {"": {}, ", stage 3": {"layer": "layer3"}, ", slices side by side": {"pool": "stack"}}
    starts = {
        "pixels": Start("pixels"),
        "random weights": Start("random"),
        "pixels, normalised": Start("pixels", **normalised),
        "pixels, normalised, slices side by side": Start("pixels", pool="stack", **normalised),
    }
    starts |= {f"random weights, normalised{name}": Start("random", **normalised, **how) for name, how in ways.items()}
    if epochs:
        options = {"positives": "adjacent", "exclude_same_subject": True, "views": "intensity", "knn_every": 0}
        options |= {"temperature": 0.1, "n_jobs": n_jobs, "verbose": 0}
        ssl = sm.SimCLR("resnet18", recipe="quick", epochs=epochs, **options)
        starts |= {f"SimCLR, normalised{name}": Start(ssl, **normalised, **how) for name, how in ways.items()}
    return starts


def images_of(args: argparse.Namespace) -> sm.Dataset:
    """The lowest slices, with two classes."""
    ds = sm.datasets.open_dataset(args.data, image_size=args.image_size, task="cdr0")
    return ds[ds.slices <= args.slices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the Alzheimer MRI set")
    parser.add_argument("--out", default="runs/label_curve")
    parser.add_argument("--epochs", type=int, default=0, help="of SimCLR in each fold (0: leave it out)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of folds and draws")
    parser.add_argument("--n-jobs", type=int, default=None)
    args = parser.parse_args()
    began_s = time.process_time()
    curve = sm.label_curve(
        images_of(args),
        starts_of(args.epochs, args.n_jobs),
        repeats=args.repeats,
        n_splits=args.splits,
        seed=args.seed,
        out=args.out,
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(f"{curve}\n\n{time.process_time() - began_s:.0f} s of processor time; {args.out}/report.html")


if __name__ == "__main__":
    main()
