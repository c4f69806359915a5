"""grad_cam: shapes, targets, regions, and the check that maps depend on the weights."""

from __future__ import annotations

import warnings

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest

from simclr_mri import Classifier, check_cams, datasets, grad_cam, plot
from simclr_mri.explain._cam import METHODS


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=16, slices=2, image_size=64, task="3class")
    return Classifier(arch="resnet18", epochs=1, batch_size=16, verbose=0).fit(ds), ds


@pytest.mark.parametrize("layer", ["stem", "layer1", "layer2", "layer3", "layer4"])
def test_maps_have_the_images_size_and_range(fitted, layer):
    clf, ds = fitted
    result = grad_cam(clf, ds[:5], layer=layer, batch_size=2)
    assert result.maps.shape == (5, 64, 64) and result.maps.dtype == np.float32
    assert result.maps.min() >= 0 and result.maps.max() <= 1
    assert set(result.maps.max(axis=(1, 2))) <= {0, 1} and result.maps.max() == 1  # one rule: scaled after enlarging
    np.testing.assert_array_equal(result.targets, clf.predict(ds[:5]))
    np.testing.assert_allclose(result.probabilities, clf.predict_proba(ds[:5]), atol=1e-5)
    np.testing.assert_allclose(grad_cam(clf, ds[:5], layer=layer).maps, result.maps, atol=1e-4)


def test_targets_by_name_and_number_agree(fitted):
    clf, ds = fitted
    name = clf.classes_[1]
    one, two = (grad_cam(clf, ds[:3], target=t) for t in (1, name))
    np.testing.assert_array_equal(one.maps, two.maps)
    assert set(one.targets) == {1}
    with pytest.raises(ValueError, match="target='Mild' is unknown"):
        grad_cam(clf, ds[:3], target="Mild")
    with pytest.raises(ValueError, match="target=3: expected a class from 0 to 2"):
        grad_cam(clf, ds[:3], target=3)
    with pytest.raises(ValueError, match=r"target=\[0\]: expected a class from 0 to 2"):
        grad_cam(clf, ds[:3], target=[0])
    with pytest.raises(ValueError, match=r"layer='layer5' is unknown. Did you mean 'layer"):
        grad_cam(clf, ds[:3], layer="layer5")


@pytest.mark.parametrize("method", METHODS)
def test_methods(fitted, method):
    clf, ds = fitted
    maps = grad_cam(clf, ds[:2], layer="layer3", method=method).maps
    assert np.isfinite(maps).all() and maps.max() <= 1


@pytest.mark.parametrize("layer", ["layer3", "layer2+layer3"])
def test_weights_of_your_own(fitted, layer):
    """Grad-CAM's and LayerCAM's, as callables: channel weights, and those of each place."""
    clf, ds = fitted

    def mean_gradients(activations, gradients):
        assert activations.shape == gradients.shape and activations.dtype == np.float32
        return gradients.mean(axis=(1, 2))

    for method, mine in (("gradcam", mean_gradients), ("layercam", lambda a, g: g.clip(0))):
        theirs = grad_cam(clf, ds[:5], layer=layer, method=method, batch_size=2)
        found = grad_cam(clf, ds[:5], layer=layer, method=mine, batch_size=2)
        np.testing.assert_allclose(found.maps, theirs.maps, atol=1e-4)
        assert found.method == mine.__name__
    checks = check_cams(clf, ds, layer=layer, method=mean_gradients, n_images=2)
    assert len(checks.randomised) == 4 and "mean_gradients at" in str(checks)


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        (lambda a, g: g.mean(), ValueError, r"the weights <lambda> gave float32 \(\) for layer3; expected numbers of"),
        (lambda a, g: g[:, :1], ValueError, "one for each channel, or"),
        (lambda a, g: g * np.inf, ValueError, "numbers that are not finite for layer3"),
        (lambda a: a, TypeError, "takes 1 positional argument but 2 were given"),
        (3, TypeError, r"method: expected one of gradcam.* or a callable .activations, gradients. -> weights, got int"),
        ("gradcams", ValueError, "Did you mean 'gradcam'"),
    ],
)
def test_bad_weights_are_named(fitted, method, error, message):
    clf, ds = fitted
    with np.errstate(invalid="ignore"), pytest.raises(error, match=message):
        grad_cam(clf, ds[:2], layer="layer3", method=method)


def test_randomising_the_weights_destroys_the_map(fitted):
    """Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018."""
    clf, ds = fitted
    other = Classifier(arch="resnet18", epochs=0, batch_size=16, verbose=0, random_state=9).fit(ds)
    mine, theirs = (grad_cam(model, ds[:8], layer="layer3", target=0).maps.reshape(8, -1) for model in (clf, other))
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(mine, theirs, strict=True) if a.std() and b.std()]
    assert len(correlation) > 2 and np.mean(np.abs(correlation)) < 0.8


def test_region_shares_are_shares_of_the_heat(fitted):
    clf, ds = fitted
    result = grad_cam(clf, ds[:6], layer="layer3")
    rows = {row["region"]: row for row in result.region_shares()}
    assert set(rows) == {"cortex", "ventricles", "hippocampus", "head", "black background"}
    shown = result.maps.sum(axis=(1, 2)) > 0
    expected = np.mean(
        [(m * h).sum() / m.sum() for m, h in zip(result.maps[shown], ds[:6].masks["head"][shown], strict=True)]
    )
    assert rows["head"]["heat"] == pytest.approx(expected, rel=1e-5)
    assert rows["head"]["area"] == pytest.approx(ds[:6].masks["head"][shown].mean(), rel=1e-6)


def test_a_result_shows_itself(fitted):
    clf, ds = fitted
    result = grad_cam(clf, ds[:3])
    assert np.asarray(result).shape == (3, 64, 64) and len(result) == 3
    page = result._repr_html_()
    assert "data:image/png;base64" in page and "ventricles" in page
    ax = plot.cam(ds.images[:3], result)
    assert ax.images
    with pytest.raises(ValueError, match="do not fit"):
        plot.cam(ds.images[:2], result)
    matplotlib.pyplot.close("all")
