"""The picture at the top of the README, from a finished demo.

simclr-mri demo && python tests/bench/readme_picture.py simclr_mri_demo .readme/experiment.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np

import simclr_mri as sm
from simclr_mri.demo import CAM_LAYER, run_demo
from simclr_mri.plot import overlay

STRIP = 2  # slices of each class


def draw(demo: Path) -> plt.Figure:
    """Slices of each class, what few labels teach, and heat maps of the classifier with all labels."""
    study = run_demo(demo).result
    ds = study.split.dataset
    figure = plt.figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1, 1.5, 1.2])
    rng = np.random.default_rng(0)
    for row, name in enumerate(ds.classes):
        mine = rng.choice(np.flatnonzero(ds.labels == row), STRIP, replace=False)
        for column, index in enumerate(mine):
            ax = left.add_subplot(len(ds.classes), STRIP, row * STRIP + column + 1)
            ax.imshow(ds.images[index, ..., 0], cmap="gray", vmin=0, vmax=255)
            ax.set_axis_off()
            if column == 0:
                ax.set_title(f"phantoms, {name}", fontsize=9, loc="left")
    study.plot(ax=middle.add_subplot())
    test = study.split.test
    clf = sm.load(demo / "random" / "100pct_seed0")
    proba = clf.predict_proba(test)
    sure = [np.flatnonzero(test.labels == c)[proba[test.labels == c, c].argmax()] for c in range(len(ds.classes))]
    maps = sm.grad_cam(clf, test[sure], layer=CAM_LAYER)
    for i, (image, heat) in enumerate(zip(maps.images, np.asarray(maps), strict=True)):
        ax = right.add_subplot(1, len(sure), i + 1)
        ax.imshow(overlay(image, heat))
        ax.set_title(f"heat map, {ds.classes[i]}", fontsize=9)
        ax.set_axis_off()
    return figure


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(Path(sys.argv[1])).savefig(sys.argv[2], dpi=100)
