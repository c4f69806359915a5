"""How well can rating 0 be told from above 0? The last row of the README's findings, on the Alzheimer MRI set.

    python tests/bench/bench_rating.py ../shared/data/alzheimer_mri_128 [--json rating.json]

ResNet-18 from random weights, 64 px, the lowest 8 slices, 8 epochs, five folds by subject. Three networks a fold and
mirror images are averaged, and a subject's probability is the mean of its slices'. Beside it stands one number for
which nothing is fitted: the CSF fraction, the share of head pixels darker than their picture's mean. Areas under the
curve are over all subjects, each judged out of its fold. Some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import simclr_mri as sm
from simclr_mri.datasets import dark_share


def network(low: sm.Dataset, args: argparse.Namespace) -> np.ndarray:
    """Probabilities (N, 2) by networks that have not seen the subject."""
    options: dict[str, Any] = {"epochs": args.epochs, "batch_size": 64, "lr": 1e-3, "warmup_epochs": 1}
    model = sm.Classifier("random", arch="resnet18", select="last", n_jobs=args.n_jobs, verbose=0, **options)
    return sm.cross_val_proba(model, low, n_splits=5, seed=args.seed, n_seeds=args.networks, mirror=True)


def fluid(low: sm.Dataset) -> np.ndarray:
    """The CSF fraction as the probability (N, 2) of the second class: only its order counts."""
    share = dark_share(low.images)
    return np.stack([1 - share, share], axis=1)


def area(low: sm.Dataset, scores: np.ndarray) -> dict[str, Any]:
    """Area under the curve by subject, with its 95 % interval."""
    found = sm.evaluate_predictions(low.labels, scores, low.classes, low.subjects)
    assert found.subjects is not None  # the set has them
    auc = found.subjects.metrics["auc"]
    return {"auc": auc.value, "interval": (auc.low, auc.high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the Alzheimer MRI set")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--networks", type=int, default=3, help="that are averaged in each fold")
    parser.add_argument("--seed", type=int, default=300, help="of the folds")
    parser.add_argument("--n-jobs", type=int, default=None)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    ds = sm.datasets.open_dataset(args.data, image_size=64, task="cdr0")
    low = ds[ds.slices <= 8]
    found = {"CSF fraction": area(low, fluid(low)), "networks": area(low, network(low, args))}
    text = json.dumps(found, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text)


if __name__ == "__main__":
    main()
