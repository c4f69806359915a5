"""Balanced sampling: every class equally often, repeats augmented differently, instead of class weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from simclr_mri import Classifier, datasets
from simclr_mri.config import recipe_values
from simclr_mri.learning import epoch_order
from simclr_mri.learning._classifier_task import ClassifierTask
from simclr_mri.learning._order import balanced_order
from simclr_mri.views import augmented_batch

TINY = {"arch": "resnet18", "verbose": 0, "batch_size": 8, "epochs": 1, "n_jobs": 1}


@pytest.mark.parametrize("counts", [(10, 10), (50, 7, 1), (3, 1), (90, 9, 1), (5,)])
def test_every_class_is_drawn_as_often(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    n = len(labels)
    draws = balanced_order(labels, 3, 1)
    assert len(draws) == n and len(np.unique(draws)) == n  # no image is drawn twice under one number
    by_class = np.bincount(labels[draws % n], minlength=len(counts))
    assert np.ptp(by_class) <= 1
    for c, count in enumerate(counts):
        mine = draws[labels[draws % n] == c]
        times = np.bincount(mine % n, minlength=n)[labels == c]
        assert np.ptp(times) <= 1 and times.sum() == by_class[c]  # all before one again
        assert (mine // n).max() == -(-by_class[c] // count) - 1
    np.testing.assert_array_equal(draws, balanced_order(labels, 3, 1))
    if n > 5:
        assert not np.array_equal(draws, balanced_order(labels, 3, 2))


def test_large_classes_change_from_epoch_to_epoch():
    labels = np.repeat([0, 1], [100, 10])
    seen = [set(d for d in balanced_order(labels, 0, epoch) % 110 if labels[d] == 0) for epoch in range(6)]
    assert all(len(s) == 55 for s in seen) and len(set.union(*seen)) > 95


@pytest.fixture(scope="module")
def ds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return datasets.phantoms(
            seed=0, n_subjects=12, slices=2, image_size=32, proportions=(0.8, 0, 0.2, 0)
        ).merge_classes({"a": ["Non_Demented", "Very_Mild_Demented"], "b": ["Mild_Demented", "Moderate_Demented"]})


def test_a_classifier_sees_balanced_batches_without_weights(ds, monkeypatch):
    seen = []
    plain = ClassifierTask.step

    def step(self, draws, epoch, number, lr, momentum):
        seen.append((draws.copy(), self.draw_views(draws, epoch), self.class_weights))
        return plain(self, draws, epoch, number, lr, momentum)

    monkeypatch.setattr(ClassifierTask, "step", step)
    clf = Classifier(**TINY, sampling="balanced", random_state=4).fit(ds)
    draws = np.concatenate([d for d, _, _ in seen])
    np.testing.assert_array_equal(draws, balanced_order(ds.labels, 4, 0))
    assert clf.class_weight == "balanced" and all(weights is None for _, _, weights in seen)
    views = np.concatenate([v for _, v, _ in seen])
    for row in np.flatnonzero(draws >= len(ds))[:3]:
        index, options = draws[row] % len(ds), {"seed": 4, "epoch": 0}
        want = augmented_batch(ds.images, [index], "light", clf.preprocess_, view=int(draws[row] // len(ds)), **options)
        np.testing.assert_array_equal(views[row], want[0])
        first = np.flatnonzero(draws == index)
        assert not np.array_equal(views[row], views[first[0]])


def test_shuffling_is_what_it_was(ds, monkeypatch):
    seen = []
    plain = ClassifierTask.step
    monkeypatch.setattr(
        ClassifierTask, "step", lambda self, *a: (seen.append((a[0], self.class_weights)), plain(self, *a))[1]
    )
    Classifier(**TINY).fit(ds)
    np.testing.assert_array_equal(np.concatenate([d for d, _ in seen]), epoch_order(len(ds), 0, 0))
    assert seen[0][1] is not None  # class weights


def test_both_are_off_in_the_paper_recipe():
    values = recipe_values("paper", "finetune", Classifier)
    assert values["class_weight"] in (None, "none") and values["sampling"] == "shuffle"
    clf = Classifier(recipe="paper")
    assert clf.class_weight is None and clf.sampling == "shuffle"
