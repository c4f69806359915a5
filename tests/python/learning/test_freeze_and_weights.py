"""class_weight, freeze, layer_decay and layer_rates of the estimators."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight

from simclr_mri import Classifier, LinearProbe, SimCLR, datasets
from simclr_mri.learning._class_weights import balanced_weights, given_weights
from simclr_mri.learning._task import stage_rates

TINY = {"arch": "resnet18", "epochs": 1, "batch_size": 6, "verbose": 0}


@pytest.fixture(scope="module")
def ds() -> datasets.Dataset:
    return datasets.phantoms(n_subjects=12, slices=1, image_size=32, task="cdr0")


def weights_of(estimator) -> dict[str, np.ndarray]:
    return estimator.network_.state()


def same(a, b) -> bool:
    a, b = weights_of(a), weights_of(b)
    return all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("given", ["balanced", {0: 3.0, 2: 0.5}, {1: 2.0}])
def test_the_weights_are_scikit_learns(given):
    labels = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight(given, classes=np.arange(3), y=labels)
    found = (
        balanced_weights(labels, 3)
        if given == "balanced"
        else given_weights({str(k): w for k, w in given.items()}, ("a", "b", "c"))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_names_and_indices_of_classes():
    assert given_weights({"2": 5.0}, ("1", "2", "3")).tolist() == [1, 5, 1]  # a name, as scikit-learn's labels
    for classes, key, message in [
        (("1", "2"), "0", "there is no class '0'"),  # an index into names that are numbers would be a guess
        (("sick", "well"), "sik", "Did you mean 'sick'"),
        (("sick", "well"), "2", "there is no class '2'"),
    ]:
        with pytest.raises(ValueError, match=message):
            given_weights({key: 1.0}, classes)
    with pytest.raises(ValueError, match="'sick' is given twice"):
        given_weights({"sick": 1.0, "0": 2.0}, ("sick", "well"))


def test_class_weights_reach_the_loss_and_the_checkpoint(ds, tmp_path):
    counts = np.bincount(ds.labels)
    balanced = {i: float(len(ds) / (2 * n)) for i, n in enumerate(counts)}
    by_name = {name: balanced[i] for i, name in enumerate(ds.classes)}
    runs = [Classifier(**TINY, class_weight=given).fit(ds) for given in ("balanced", balanced, by_name, None)]
    assert same(runs[0], runs[1]) and same(runs[1], runs[2])
    assert (counts[0] == counts[1]) == same(runs[0], runs[3])
    clf = Classifier(**TINY, class_weight={1: 4}).fit(ds, checkpoint=tmp_path / "clf")
    assert not same(clf, runs[0])
    again = clone(clf).fit(ds, checkpoint=tmp_path / "clf")  # the finished run is recognised
    assert same(again, clf) and Classifier.load(tmp_path / "clf").class_weight == {"1": 4.0}
    assert not same(Classifier(**TINY, class_weight={1: 4}, sampling="balanced").fit(ds), clf)
    y = np.where(ds.labels == 1, 7, 3)  # labels that are no indices
    assert same(Classifier(**TINY, class_weight={7: 4}).fit(ds.images, y), clf)
    with pytest.raises(ValueError, match="class_weight: there is no class '1'"):
        Classifier(**TINY, class_weight={1: 4}).fit(ds.images, y)


def test_a_probe_takes_class_weights_too(ds):
    probes = [LinearProbe("pixels", class_weight=w).fit(ds).predict_proba(ds) for w in ({1: 9}, {ds.classes[1]: 9})]
    assert np.array_equal(*probes)
    assert probes[0][:, 1].mean() > LinearProbe("pixels", class_weight=None).fit(ds).predict_proba(ds)[:, 1].mean()
    with pytest.raises(ValueError, match="there is no class 'CDR_1'"):
        LinearProbe("pixels", class_weight={"CDR_1": 9}).fit(ds)


@pytest.mark.parametrize("estimator", [SimCLR, Classifier])
def test_frozen_stages_give_the_features_of_their_start(ds, tmp_path, estimator):
    start = SimCLR(**TINY).fit(ds)
    start.save(tmp_path / "start")
    given = {"weights": str(tmp_path / "start")} if estimator is SimCLR else {"init": start}
    fitted = estimator(**given, **TINY, freeze="layer2").fit(ds, checkpoint=tmp_path / "run")
    for layer in ("stem", "layer1", "layer2"):
        assert np.array_equal(fitted.transform(ds, layer=layer), start.transform(ds, layer=layer))
    assert not np.array_equal(fitted.transform(ds), start.transform(ds))
    longer = estimator(**given, **TINY, freeze="layer3")
    with pytest.raises(ValueError, match=r"freeze='layer2' .now 'layer3'."):
        longer.fit(ds, checkpoint=tmp_path / "run")


def test_rates_by_stage(ds):
    """Both ways of saying the same, and what is no stage."""
    decay, by_name = (
        Classifier(**TINY, **options).fit(ds)
        for options in ({"layer_decay": 0.5}, {"layer_rates": dict(zip(LAYERS, RATES, strict=True))})
    )
    assert same(decay, by_name) and not same(decay, Classifier(**TINY).fit(ds))
    assert same(Classifier(**TINY, layer_rates={"stem": 1}).fit(ds), Classifier(**TINY).fit(ds))
    with pytest.raises(ValueError, match=r"layer_rates: there is no 'layer5'. Did you mean 'layer4'"):
        Classifier(**TINY, layer_rates={"layer5": 1}).fit(ds)
    assert stage_rates(1.0, None) is None and stage_rates(1.0, {"layer1": 2.0}) == [1.0, 2.0, 1.0, 1.0, 1.0, 1.0]


LAYERS = ("stem", "layer1", "layer2", "layer3", "layer4")
RATES = (0.03125, 0.0625, 0.125, 0.25, 0.5)
