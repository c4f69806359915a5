"""From how many unlabelled subjects on does SimCLR help? On made-up subjects, of whom there are as many as one wants.

    python tests/bench/bench_unlabelled.py [--unlabelled 100 1000 4000] [--steps 930] [--out runs/unlabelled]

Severity none against above, 32 px, 4 slices. ResNet-18 is pretrained on each number of subjects for the same number of
steps: pairs of two neighbouring slices, whose subject's other slices are no negatives, in views that keep sizes and
change intensities. A linear probe is then drawn and judged on 400 other subjects, beside pixels and random weights.
Each subject's intensities are normalised everywhere.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import simclr_mri as sm
from simclr_mri.studies import Start, same_intensities

LAYERS = ("layer2", "layer3", "layer4")
NORMALISED: dict[str, Any] = {"intensities": "subject"}


def people(n: int, seed: int, args: argparse.Namespace) -> sm.Dataset:
    return sm.datasets.phantoms(n_subjects=n, seed=seed, task="cdr0", image_size=args.image_size, slices=args.slices)


def pretrained(n: int, args: argparse.Namespace) -> sm.SimCLR:
    """SimCLR on n subjects, none of whom is judged later."""
    unlabelled = same_intensities(people(n, args.seed + 1, args)).unlabelled()
    options: dict[str, Any] = {"positives": "adjacent", "exclude_same_subject": True, "views": "intensity"}
    options |= {"temperature": 0.1, "knn_every": 0, "n_jobs": args.n_jobs, "verbose": 0, "random_state": args.seed}
    ssl = sm.SimCLR("resnet18", recipe="quick", **options)
    epochs = max(1, round(args.steps / (len(unlabelled) // ssl.batch_size)))
    began = time.perf_counter()
    ssl.set_params(epochs=epochs).fit(unlabelled, checkpoint=Path(args.out) / f"{n}_subjects")
    losses = [row["loss"] for row in ssl.history_]
    print(
        f"{n} subjects, {epochs} epochs: NT-Xent {losses[0]:.2f} to {losses[-1]:.2f}, "
        f"{time.perf_counter() - began:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return ssl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unlabelled", type=int, nargs="+", default=[100, 1000, 4000])
    parser.add_argument("--steps", type=int, default=930, help="of 64 pairs")
    parser.add_argument("--judged", type=int, default=400, help="subjects of the probes")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/unlabelled")
    parser.add_argument("--n-jobs", type=int, default=None)
    args = parser.parse_args()
    starts = {"pixels": Start("pixels", **NORMALISED)}
    starts |= {f"random weights, {layer}": Start("random", layer=layer, **NORMALISED) for layer in LAYERS}
    for n in args.unlabelled:
        ssl = pretrained(n, args)
        starts |= {f"SimCLR on {n}, {layer}": Start(ssl, layer=layer, **NORMALISED) for layer in LAYERS}
    curve = sm.label_curve(people(args.judged, args.seed, args), starts, repeats=1, n_splits=2, seed=args.seed)
    _, rows = curve.table()
    print("start", *curve.sizes, sep="\t")
    for row in rows:
        print(*row, sep="\t")
    for n in args.unlabelled:
        for layer in LAYERS:
            print(curve.compare(f"random weights, {layer}", f"SimCLR on {n}, {layer}"))


if __name__ == "__main__":
    main()
