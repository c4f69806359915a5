"""scikit-learn's contract: its own checks, cross-validation, grids, pipelines, copies; with arrays and data sets."""

from __future__ import annotations

import pickle
import warnings
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import validate_data

import simclr_mri as sm
from simclr_mri.splits import LeakageWarning

NETWORK = {"arch": "resnet18", "batch_size": 8, "verbose": 0, "n_jobs": 1}


# ---- scikit-learn's own checks -------------------------------------------------------------------------------------

# They hand out tables, so each row becomes a picture first: its values by the logistic function, in vertical stripes.


class OnRows:
    """Puts the tables of scikit-learn's checks as images before an estimator."""

    image_size: ClassVar[int] = 8

    def _pictures(self, X, reset):
        rows = validate_data(self, X, reset=reset, dtype="numeric").astype(np.float64)
        unit = 1 / (1 + np.exp(-np.clip(rows, -50, 50)))
        size = self.image_size
        return np.repeat(np.repeat(unit, -(-size // unit.shape[1]), axis=1)[:, None, :size], size, axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = True, False
        return tags

    def fit(self, X, y=None):
        return super().fit(self._pictures(X, True), y)

    def transform(self, X):
        self.check_fitted()
        return super().transform(self._pictures(X, False))


class ProbeOnRows(OnRows, sm.LinearProbe):
    def predict_proba(self, X):
        self.check_fitted()
        return super().predict_proba(self._pictures(X, False))


class ClassifierOnRows(OnRows, sm.Classifier):
    image_size = 32

    def predict_proba(self, X):
        self.check_fitted()
        return super().predict_proba(self._pictures(X, False))


EXPECTED = {
    "check_do_not_raise_errors_in_init_or_set_params": (
        "a recipe sets other parameters as soon as it is named, so one that does not exist is an error at once"
    ),
}


@parametrize_with_checks([ProbeOnRows("pixels")])
def test_all_checks_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        check(estimator)


def test_the_checks_of_the_interface_with_a_network():
    """Without training, in which each of those on learning would take minutes; the probe shares what they look at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = ClassifierOnRows(**NETWORK, epochs=0)
        found = check_estimator(estimator, legacy=False, on_skip=None, expected_failed_checks=EXPECTED)
    status = {one["check_name"]: one["status"] for one in found}
    assert len(status) >= 12 and {name for name, what in status.items() if what != "passed"} == set(EXPECTED)


# ---- real use ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ds():
    return sm.datasets.phantoms(seed=0, n_subjects=12, slices=2, image_size=32, task="cdr0")


PROBE = sm.LinearProbe("pixels")


@pytest.fixture(scope="module")
def clf(ds):
    return sm.Classifier(**NETWORK, epochs=1).fit(ds.images, np.array(ds.classes)[ds.labels], groups=ds.subjects)


def test_arrays_are_learnt_as_the_data_set_is(ds, clf):
    of_set = sm.Classifier(**NETWORK, epochs=1).fit(ds)
    np.testing.assert_array_equal(clf.predict_proba(ds.images[..., 0]), of_set.predict_proba(ds))
    assert of_set.classes_ == clf.class_names_ == ds.classes and isinstance(clf.classes_, np.ndarray)
    assert of_set.predict(ds).dtype == np.int64
    assert clf.predict(ds).tolist() == [ds.classes[i] for i in of_set.predict(ds)]
    names = np.array(ds.classes)[ds.labels]
    assert clf.score(ds.images, names) == of_set.score(ds) == of_set.score(ds, ds.labels)
    one, other = clf.evaluate(ds.images, names, groups=ds.subjects, n_bootstrap=0), of_set.evaluate(ds, n_bootstrap=0)
    assert one.table() == other.table() and one.subjects.n == 12


@pytest.mark.parametrize("kind", ["uint8", "float", "flat"])
def test_images_come_in_any_form(ds, clf, kind):
    images = {"uint8": ds.images, "float": ds.images / 255.0, "flat": ds.images[..., 0]}[kind]
    np.testing.assert_array_equal(clf.predict_proba(images), clf.predict_proba(ds))


def test_labels_keep_their_values_through_pickle_and_disk(ds, clf, tmp_path):
    clf.save(tmp_path)
    for again in (pickle.loads(pickle.dumps(clf)), sm.Classifier.load(tmp_path)):
        assert again.predict(ds).tolist() == clf.predict(ds).tolist() and again.classes_.tolist() == sorted(ds.classes)
    numbers = sm.Classifier(**NETWORK, epochs=0).fit(ds.images, 3 + 4 * ds.labels, checkpoint=tmp_path / "n")
    assert set(numbers.predict(ds)) <= {3, 7} and numbers.class_names_ == ("3", "7")
    assert sm.Classifier.load(tmp_path / "n").classes_.tolist() == [3, 7]
    again = sm.Classifier(**NETWORK, epochs=0).fit(ds.images, 3 + 4 * ds.labels, checkpoint=tmp_path / "n")
    assert again.predict(ds).tolist() == numbers.predict(ds).tolist()
    assert set(numbers.predict_table(ds).predicted) <= {"3", "7"}


def test_validation_data_may_be_arrays(ds):
    names = np.array(["well", "sick"])[ds.labels]
    clf = sm.Classifier(**NETWORK, epochs=1).fit(ds.images[:16], names[:16], val=(ds.images[16:], names[16:]))
    assert clf.history_.column("val_balanced_accuracy")
    with pytest.raises(ValueError, match="val: 'ill' is none of the classes sick, well"):
        sm.Classifier(**NETWORK).fit(ds.images, names, val=(ds.images[:1], ["ill"]))


@pytest.mark.parametrize(
    ("arguments", "named", "error", "message"),
    [
        ((), {}, TypeError, "no data"),
        (("ds",), {"train": "ds"}, TypeError, "given twice"),
        (("ds", "ds"), {"val": "ds"}, TypeError, "given twice"),
        (("images",), {}, ValueError, "requires y to be passed"),
        (("images", "short"), {}, ValueError, "expected 24"),
        (("images", "continuous"), {}, ValueError, "continuous"),
    ],
)
@pytest.mark.parametrize("estimator", [sm.Classifier(**NETWORK), PROBE], ids=["Classifier", "LinearProbe"])
def test_what_cannot_be_learnt_from_is_named(ds, estimator, arguments, named, error, message):
    what = {"ds": ds, "images": ds.images, "short": [0, 1], "continuous": np.linspace(0, 1, 24)}
    with pytest.raises(error, match=message):
        estimator.fit(*(what[name] for name in arguments), **{key: what[name] for key, name in named.items()})


def test_cross_validation_of_arrays_and_of_data_sets_is_the_same(ds):
    names, cv = np.array(ds.classes)[ds.labels], StratifiedGroupKFold(2)
    for scoring in (None, "roc_auc", "neg_log_loss"):
        options = {"groups": ds.subjects, "cv": cv, "scoring": scoring}
        of_arrays = cross_val_score(PROBE, ds.images, names, **options)
        assert np.isfinite(of_arrays).all()
        np.testing.assert_array_equal(of_arrays, cross_val_score(PROBE, ds, ds.labels, **options))
        np.testing.assert_array_equal(of_arrays, cross_val_score(PROBE, ds, names, **options))
    found = cross_val_predict(PROBE, ds, ds.labels, cv=sm.kfold(ds, n_splits=3), method="predict_proba")
    assert found.shape == (24, 2) and np.allclose(found.sum(axis=1), 1)


def test_folds_are_a_splitter_and_an_iterator(ds):
    folds = sm.kfold(ds, n_splits=4, repeats=2, seed=3)
    pairs = list(folds.split(ds))
    assert len(folds) == folds.get_n_splits() == len(pairs) == 8
    for (train, test), fold in zip(pairs, folds, strict=True):
        assert not set(ds.subjects[train]) & set(ds.subjects[test])
        np.testing.assert_array_equal(test, fold.indices["test"])
    assert not list(folds) and len(list(folds.split())) == 8  # an iterator ends; a splitter begins anew
    with pytest.raises(ValueError, match="these folds are of 24 images, and X has 23"):
        folds.split(ds[1:])
    with pytest.warns(LeakageWarning):
        assert len(cross_val_score(DummyClassifier(), ds, ds.labels, cv=sm.kfold(ds, n_splits=2, by="image"))) == 2


def test_a_grid_is_searched(ds):
    grid = GridSearchCV(PROBE, {"C": [1e-3, 1.0], "init": ["pixels"]}, cv=sm.kfold(ds, n_splits=2)).fit(ds, ds.labels)
    best = clone(PROBE).set_params(**grid.best_params_).fit(ds)
    assert grid.score(ds, ds.labels) == best.score(ds) > 0.5
    network = GridSearchCV(sm.Classifier(**NETWORK, epochs=0), {"dropout": [0.5]}, cv=StratifiedGroupKFold(2))
    assert network.fit(ds, ds.labels, groups=ds.subjects).predict(ds).shape == (len(ds),)


def test_a_fitted_start_in_a_grid_is_frozen_or_refused_with_the_way(ds):
    frozen = pytest.importorskip("sklearn.frozen", reason="since scikit-learn 1.6")
    ssl = sm.SimCLR(**NETWORK, epochs=0).fit(ds)
    grid = {"init": [frozen.FrozenEstimator(ssl), "pixels"]}
    found = GridSearchCV(PROBE, grid, cv=sm.kfold(ds, n_splits=2)).fit(ds, ds.labels)
    assert len(found.cv_results_["params"]) == 2
    fine = sm.Classifier(frozen.FrozenEstimator(ssl), epochs=0, verbose=0).fit(ds)
    assert (
        fine.get_params()["arch"] == "resnet18" and "SimCLR" in fine.save_name if hasattr(fine, "save_name") else True
    )
    for estimator in (PROBE, sm.Classifier(**NETWORK)):
        with pytest.raises(NotFittedError, match=r"FrozenEstimator\(ssl\) of sklearn\.frozen, or a run folder"):
            clone(estimator).set_params(init=clone(ssl)).fit(ds)


def test_simclr_stands_before_any_classifier_of_a_pipeline(ds):
    pipeline = make_pipeline(sm.SimCLR(**NETWORK, epochs=1), StandardScaler(), LogisticRegression())
    assert pipeline.fit(ds.images, ds.labels).score(ds.images, ds.labels) > 0.4
    np.testing.assert_array_equal(pipeline.predict(ds), pipeline.predict(ds.images))
    assert len(cross_val_score(pipeline.set_params(simclr__epochs=0), ds, ds.labels, cv=sm.kfold(ds, n_splits=2))) == 2
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict(ds), pipeline.predict(ds))


def test_a_classifier_ends_a_pipeline(ds):
    halves = FunctionTransformer(lambda X: X[:, ::2, ::2])
    pipeline = Pipeline([("smaller", halves), ("probe", PROBE)]).fit(ds.images, ds.labels)
    assert pipeline.score(ds.images, ds.labels) > 0.4 and pipeline.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("estimator", [sm.SimCLR(**NETWORK), sm.Classifier(**NETWORK, lr=1e-3), PROBE], ids=repr)
def test_copies_have_the_same_parameters_and_nothing_learnt(ds, estimator):
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params() and type(copy).__name__ == type(estimator).__name__
    name = "lr" if "lr" in copy.get_params() else "C"
    assert getattr(copy.set_params(**{name: 0.5}), name) == 0.5 and getattr(estimator, name) != 0.5
    with pytest.raises(ValueError, match=r"(Invalid|unknown) parameter 'nonsense'"):
        copy.set_params(nonsense=1)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform", "score", "evaluate"])
def test_before_fit_it_is_said(ds, method):
    for estimator in (sm.LinearProbe("pixels"), sm.Classifier(**NETWORK)):
        with pytest.raises(NotFittedError, match="call fit first"):
            getattr(estimator, method)(ds)
    for name in ("classes_", "class_names_", "label_values_"):
        with pytest.raises(NotFittedError):
            getattr(sm.LinearProbe("pixels"), name)


def test_scores_with_other_labels_are_refused_or_wrong(ds, clf):
    with pytest.raises(ValueError, match=r"expected labels as fit was given, such as \['CDR_"):
        clf.score(ds, ds.labels)
    assert PROBE.fit(ds).score(ds, np.full(24, 5)) == 0.0
