"""LinearProbe over slices and whole heads, and cross-validated probabilities."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from simclr_mri import Classifier, LinearProbe, SimCLR, cross_val_proba, datasets, evaluate_predictions, split
from simclr_mri.datasets import Dataset
from simclr_mri.splits import kfold

SLICES = 3


@pytest.fixture(scope="module")
def ds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return datasets.phantoms(seed=0, n_subjects=24, slices=SLICES, image_size=32, task="cdr0")


@pytest.fixture(scope="module")
def parts(ds):
    return list(split(ds, by="subject", seed=0, fractions=(0.7, 0.3)))


def by_subject(ds, values):
    """Rows of a subject side by side in the order of the slices: (subjects, slices, ...)."""
    order = np.lexsort((ds.slices, ds.subjects))
    return values[order].reshape(ds.n_subjects, SLICES, *values.shape[1:])


@pytest.mark.parametrize("init", ["pixels", "random"])
@pytest.mark.parametrize("pool", ["slice", "mean", "stack"])
def test_every_pool_gives_each_image_probabilities(parts, init, pool):
    train, test = parts
    found = LinearProbe(init, pool=pool).fit(train).predict_proba(test)
    assert found.shape == (len(test), 2) and np.allclose(found.sum(axis=1), 1)
    if pool != "slice":  # a subject has one answer
        assert np.ptp(by_subject(test, found), axis=1).max() == 0


def test_stacked_pixels_equal_a_regression_in_all_pixels(parts):
    """The rotation into the space of the examples changes the cost, not the result."""
    train, test = parts
    probe = LinearProbe("pixels", pool="stack", C=0.003).fit(train)
    x, y = (
        by_subject(train, v).reshape(train.n_subjects, -1)
        for v in (train.images.reshape(len(train), -1) / 255, train.labels)
    )
    scaler = StandardScaler().fit(x.astype(np.float32))
    model = LogisticRegression(C=0.003, class_weight="balanced", max_iter=2000, tol=1e-8)
    model.fit(scaler.transform(x.astype(np.float32)), y[:, 0])
    mine = by_subject(test, probe.predict_proba(test))[:, 0]
    theirs = model.predict_proba(
        scaler.transform(by_subject(test, test.images.reshape(len(test), -1) / 255).reshape(test.n_subjects, -1))
    )
    # lbfgs stops at a gradient of 1e-4; the loss is at least 1-strongly convex in the weights, so both are within that.
    np.testing.assert_allclose(mine, theirs, atol=2e-3)


def test_mean_pools_the_features_of_a_subject(parts):
    train, _ = parts
    probe = LinearProbe("pixels", pool="mean").fit(train)
    features, members = probe._examples(train, "train")
    assert np.allclose(features, by_subject(train, train.images.reshape(len(train), -1) / 255.0).mean(axis=1))
    assert np.array_equal(np.unique(train.subjects)[members], train.subjects)


def test_the_order_of_the_images_does_not_matter(parts):
    train, test = parts
    shuffled = np.random.default_rng(0).permutation(len(test))
    probe = LinearProbe("pixels", pool="stack").fit(train[np.random.default_rng(1).permutation(len(train))])
    again = LinearProbe("pixels", pool="stack").fit(train)
    assert np.allclose(again.predict_proba(test)[shuffled], probe.predict_proba(test[shuffled]), atol=1e-6)


def test_stack_says_whose_slices_are_missing(parts):
    train, test = parts
    with pytest.raises(ValueError, match=rf"train: pool='stack' needs the same slices.*{train.subjects[-1]} has"):
        LinearProbe("pixels", pool="stack").fit(train[:-1])
    probe = LinearProbe("pixels", pool="stack").fit(train)
    two = test[np.flatnonzero(test.slices != test.slices.max())]
    with pytest.raises(ValueError, match="data: pool='stack' was fitted on the slices"):
        probe.predict_proba(two)
    with pytest.raises(ValueError, match="subjects are known"):
        LinearProbe("pixels", pool="mean").fit(train).predict_proba(test.images)
    unnumbered = Dataset(train.images, train.labels, train.classes, subjects=train.subjects)
    with pytest.raises(ValueError, match="slice numbers are known"):
        LinearProbe("pixels", pool="stack").fit(unnumbered)
    with pytest.raises(ValueError, match="pool"):
        LinearProbe("pixels", pool="max").fit(train)


def test_random_features_are_drawn_by_the_seed(parts):
    train, test = parts
    one, same, other = (
        LinearProbe("random", pool="mean", random_state=seed).fit(train).transform(test) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_cross_validation_judges_each_image_by_a_model_that_has_not_seen_its_subject(ds):
    class Memory:
        """Knows the subjects that it was fitted on."""

        def __init__(self):
            pass

        def get_params(self, deep=False):
            return {}

        def fit(self, train):
            self.known_ = set(train.subjects)
            return self

        def predict_proba(self, data):
            seen = np.isin(data.subjects, list(self.known_)).astype(float)
            return np.stack([seen, 1 - seen], axis=1)

    found = cross_val_proba(Memory(), ds, n_splits=4)
    assert np.array_equal(found, np.tile([0.0, 1.0], (len(ds), 1)))


def test_cross_validation_equals_the_folds_one_by_one(ds):
    probe = LinearProbe("pixels", pool="stack")
    found = cross_val_proba(probe, ds, n_splits=3, seed=5)
    for fold in kfold(ds, n_splits=3, seed=5):
        mine = LinearProbe("pixels", pool="stack").fit(fold.train).predict_proba(fold.test)
        assert np.array_equal(found[fold.indices["test"]], mine)
    level = evaluate_predictions(ds.labels, found, ds.classes, ds.subjects, n_bootstrap=0).subjects
    assert level["auc"].value == pytest.approx(
        roc_auc_score(by_subject(ds, ds.labels)[:, 0], by_subject(ds, found)[:, :, 1].mean(axis=1))
    )
    assert not hasattr(probe, "model_")  # copies were fitted


def test_cross_validation_of_a_network_goes_on_from_its_folds(ds, tmp_path):
    clf = Classifier(arch="resnet18", epochs=1, batch_size=16, select="last", verbose=0)
    once = cross_val_proba(clf, ds, n_splits=2, out=tmp_path)
    assert (tmp_path / "fold_1" / "checkpoint.safetensors").is_file()
    written = (tmp_path / "fold_0" / "checkpoint.safetensors").stat().st_mtime_ns
    assert np.array_equal(once, cross_val_proba(clf, ds, n_splits=2, out=tmp_path))
    assert (tmp_path / "fold_0" / "checkpoint.safetensors").stat().st_mtime_ns == written


def test_an_ensemble_is_the_mean_of_its_members(ds, tmp_path):
    clf = Classifier(arch="resnet18", epochs=1, batch_size=16, select="last", verbose=0, random_state=3)
    members = [
        cross_val_proba(clf.set_params(random_state=seed), ds, n_splits=2, out=tmp_path / str(seed)) for seed in (3, 4)
    ]
    found = cross_val_proba(clf.set_params(random_state=3), ds, n_splits=2, n_seeds=2, out=tmp_path / "both")
    assert not np.array_equal(*members) and found == pytest.approx(np.mean(members, axis=0), abs=1e-12)
    assert (tmp_path / "both" / "fold_0" / "seed_1" / "checkpoint.safetensors").is_file() and clf.random_state == 3
    with pytest.raises(ValueError, match="n_seeds: expected 1 or more"):
        cross_val_proba(clf, ds, n_seeds=0)


def test_mirror_images_are_judged_too(ds):
    class LeftHalf:
        """Probability: the brightness of the left half."""

        def __init__(self):
            pass

        def get_params(self, deep=False):
            return {}

        def fit(self, train):
            return self

        def predict_proba(self, data):
            left = data.images[:, :, : data.image_size // 2].mean(axis=(1, 2, 3)) / 255
            return np.stack([left, 1 - left], axis=1)

    plain = cross_val_proba(LeftHalf(), ds, n_splits=2)
    both = cross_val_proba(LeftHalf(), ds, n_splits=2, mirror=True)
    assert both[:, 0] == pytest.approx(ds.images.mean(axis=(1, 2, 3)) / 255) and not np.allclose(both, plain)
    mirrored = ds.mirrored()
    assert np.array_equal(mirrored.images[:, :, ::-1], ds.images) and list(mirrored.files) == list(ds.files)
    assert all(np.array_equal(mirrored.masks[name][:, :, ::-1], mask) for name, mask in (ds.masks or {}).items())


def test_pretraining_sees_the_training_images_of_its_fold_only(ds, monkeypatch):
    seen, plain = [], SimCLR.fit

    def fit(self, train, *args, **options):
        seen.append((set(train.subjects), None))
        return plain(self, train, *args, **options)

    def learn(self, train, *args, **options):
        seen.append((set(train.subjects), self.init))
        return classify(self, train, *args, **options)

    classify = Classifier.fit
    monkeypatch.setattr(SimCLR, "fit", fit)
    monkeypatch.setattr(Classifier, "fit", learn)
    ssl = SimCLR("resnet18", epochs=1, batch_size=8, knn_every=0, verbose=0)
    clf = Classifier(arch="resnet18", epochs=1, batch_size=16, select="last", verbose=0)
    cross_val_proba(clf, ds, n_splits=2, n_seeds=2, pretrain=ssl)
    folds = [set(fold.train.subjects) for fold in kfold(ds, n_splits=2)]
    assert [subjects for subjects, _ in seen] == [folds[0]] * 3 + [folds[1]] * 3
    starts = [start for _, start in seen]
    assert starts[1] is starts[2] and starts[4] is starts[5] and starts[1] is not starts[4]
    assert isinstance(starts[1], SimCLR) and not hasattr(ssl, "network_")
