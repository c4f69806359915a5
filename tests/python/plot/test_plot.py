"""Every plot draws on the Axes it is given, or on new ones, and leaves the user's style alone."""

from __future__ import annotations

import warnings

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from simclr_mri import History, datasets, evaluate_predictions, plot

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    DS = datasets.phantoms(seed=0, n_subjects=12, slices=2, image_size=32)
RNG = np.random.default_rng(0)
PROBABILITIES = RNG.dirichlet(np.ones(4), len(DS))
EVALUATION = evaluate_predictions(DS.labels, PROBABILITIES, DS.classes, DS.subjects, n_bootstrap=20)
ROWS = [
    {"init": init, "label_fraction": f, "seed": s, "balanced_accuracy": 0.3 + f / 2, "balanced_accuracy_low": 0.2}
    for init in ("random", "simclr")
    for f in (0.1, 1.0)
    for s in (0, 1)
]
HISTORY = History([{"epoch": e, "loss": 4 / e, "knn_accuracy": 0.5 if e % 2 else None} for e in range(1, 5)])

PLOTS = {
    "montage": lambda ax: plot.montage(DS, per_class=3, ax=ax),
    "montage without labels": lambda ax: plot.montage(DS.unlabelled(), per_class=3, ax=ax),
    "views": lambda ax: plot.views(DS, n=2, n_views=2, ax=ax),
    "history": lambda ax: plot.history(HISTORY, batch_size=8, ax=ax),
    "empty history": lambda ax: plot.history(History(), ax=ax),
    "confusion": lambda ax: plot.confusion(EVALUATION, level="subject", ax=ax),
    "confusion of an array": lambda ax: plot.confusion([[3, 1], [0, 2]], ["a", "b"], title="t", ax=ax),
    "label_fractions": lambda ax: plot.label_fractions(ROWS, chance=0.25, ax=ax),
    "cam": lambda ax: plot.cam(DS.images[:3], RNG.random((3, 32, 32)), ax=ax),
    "embedding pca": lambda ax: plot.embedding(RNG.normal(size=(24, 5)), DS.labels, DS.classes, ax=ax),
    "embedding tsne": lambda ax: plot.embedding(RNG.normal(size=(24, 5)), DS.labels, DS.classes, method="tsne", ax=ax),
}


@pytest.mark.parametrize("name", PLOTS)
def test_axes_in_axes_out(name):
    before = dict(matplotlib.rcParams)
    figure, ax = plt.subplots()
    assert PLOTS[name](ax) is ax and PLOTS[name](ax).figure is figure
    new = PLOTS[name](None)
    assert new.figure is not figure
    new.figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


def test_overlay_keeps_what_is_cold():
    image = RNG.integers(0, 256, (8, 8, 1)).astype(np.uint8)
    heat = np.zeros((8, 8))
    heat[2, 2] = 1
    over = plot.overlay(image, heat)
    cold = heat == 0
    np.testing.assert_array_equal(over[cold], np.repeat(image, 3, axis=2)[cold])
    assert not np.array_equal(over[2, 2], image[2, 2].repeat(3))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="Did you mean 'tsne'"):
        plot.embedding(np.zeros((4, 2)), np.zeros(4, int), ["a"], method="t-sne")
    with pytest.raises(ValueError, match="level='head' is unknown"):
        plot.confusion(EVALUATION, level="head")
