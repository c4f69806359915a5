"""Checks of heat maps: imputation, curves, new weights, regions, and a map that is known to be right or wrong."""

from __future__ import annotations

import dataclasses
import warnings

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri import Classifier, check_cams, datasets, grad_cam, plot
from simclr_mri.datasets import find_head
from simclr_mri.explain._checks import OUTSIDE
from simclr_mri.explain._randomised import randomised_weights, rank_correlation, ssim
from simclr_mri.explain._removal import impute, removal_curves


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=12, slices=2, image_size=32, task="cdr0")
    return Classifier(arch="resnet18", epochs=1, batch_size=8, verbose=0, n_jobs=1).fit(ds), ds


@pytest.fixture(scope="module")
def checks(fitted):
    clf, ds = fitted
    return check_cams(clf, ds, n_images=6, fractions=(0.2, 0.5, 0.8), layer="layer2")


# ---- filling ---------------------------------------------------------------------------------------------------------


def test_filled_pixels_are_the_mean_of_their_neighbours(monkeypatch):
    """Against the dense system of equations, pixel by pixel; a plane is filled exactly inside."""
    monkeypatch.setattr("simclr_mri.explain._removal.NOISE", 0.0)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (7, 9, 2), np.uint8)
    removed = rng.random((7, 9)) < 0.6
    index = {tuple(p): i for i, p in enumerate(np.argwhere(removed))}
    a, b = np.zeros((len(index), len(index))), np.zeros((len(index), 2))
    for (y, x), i in index.items():
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                weight = 0 if dy == dx == 0 else 1 / 6 if 0 in (dy, dx) else 1 / 12
                at = (y + dy, x + dx)
                if weight and 0 <= at[0] < 7 and 0 <= at[1] < 9:
                    a[i, i] += weight
                    if at in index:
                        a[i, index[at]] -= weight
                    else:
                        b[i] += weight * image[at].astype(float)
    want = image.copy()
    want[removed] = np.linalg.solve(a, b).round()
    np.testing.assert_array_equal(impute(image, removed, rng), want)
    plane = (20 + 3 * np.arange(12)[:, None] + 5 * np.arange(12)[None]).astype(np.uint8)[..., None]
    hole = np.zeros((12, 12), bool)
    hole[3:9, 2:10] = True
    np.testing.assert_array_equal(impute(plane, hole, rng), plane)


def test_filling_adds_a_little_noise_and_changes_nothing_else():
    rng = np.random.default_rng(0)
    image, removed = np.full((32, 32, 1), 128, np.uint8), rng.random((32, 32)) < 0.5
    out = impute(image, removed, rng)
    assert (out[~removed] == 128).all()
    assert out[removed].std() == pytest.approx(255 * 0.01, rel=0.2) and abs(out[removed].mean() - 128) < 0.5


# ---- curves ----------------------------------------------------------------------------------------------------------


class Looks:
    """A classifier whose probability is the brightness of one corner, and which knows it."""

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        bright = images[:, 2:10, 2:10].mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - bright, bright], axis=1)


def corner(n: int = 4) -> sm.CamResult:
    images = np.zeros((n, 32, 32, 1), np.uint8)
    images[:, 2:10, 2:10] = 255
    maps = (images[..., 0] / 255).astype(np.float32)
    return sm.CamResult(maps, images, np.ones(n, int), np.tile([0.0, 1.0], (n, 1)), ("a", "b"), "layer3", "gradcam")


def area(cams: sm.CamResult) -> float:
    deletion, insertion = removal_curves(Looks(), cams, np.array([0, 0.1, 0.3, 0.6]), 0)
    assert (deletion[:, 0] == insertion[:, 0]).all()
    return float(np.trapezoid(insertion - deletion, [0, 0.1, 0.3, 0.6], axis=1).mean())


def test_a_true_map_has_area_a_wrong_one_less_and_a_blind_one_none():
    cams = corner()
    assert area(cams) > 0.3
    assert area(dataclasses.replace(cams, maps=1 - cams.maps)) < -0.3
    noise = np.random.default_rng(0).random(cams.maps.shape).astype(np.float32)
    assert abs(area(dataclasses.replace(cams, maps=noise))) < 0.1
    assert abs(area(dataclasses.replace(cams, maps=np.zeros_like(noise)))) < 0.1  # ties fall at random


def test_area_is_the_trapezoid_with_its_interval(checks):
    gap = checks.insertion - checks.deletion
    np.testing.assert_allclose(checks.areas, np.trapezoid(gap, checks.fractions, axis=1), atol=1e-12)
    mean, low, high = checks.area
    assert mean == pytest.approx(checks.areas.mean()) and low < mean < high
    np.testing.assert_allclose(checks.deletion[:, 0], checks.cams.probabilities.max(axis=1), atol=1e-5)


# ---- new weights -----------------------------------------------------------------------------------------------------


def test_likeness_of_maps():
    rng = np.random.default_rng(0)
    a, b = rng.random((16, 16)), rng.random((16, 16))
    assert rank_correlation(a, np.exp(5 * a)) == pytest.approx(1) and rank_correlation(a, -a) == pytest.approx(-1)
    assert abs(rank_correlation(a, b)) < 0.25
    assert ssim(a, a) == pytest.approx(1) and abs(ssim(a, b)) < 0.2 and ssim(a, 1 - a) < 0


def test_new_weights_change_the_maps_and_leave_the_model_alone(fitted, checks):
    clf, ds = fitted
    rows = {row["layers"]: row for row in checks.randomised}
    assert list(rows) == ["the head", "layer4 and up", "layer3 and up", "all layers"]
    if rows["all layers"]["images"]:
        assert abs(rows["all layers"]["rank_correlation"]) < 0.6
    before = clf.network_.state()
    cams = grad_cam(clf, ds[:3], layer="layer2", method="eigencam")
    found = randomised_weights(clf, cams, "eigencam", ds[:3], seed=1)
    # Eigen-CAM at layer2 does not see what lies above: its maps stay, and the check says so.
    assert [round(row["rank_correlation"], 4) for row in found[:3]] == [1, 1, 1]
    assert found[3]["rank_correlation"] < 0.99
    after = clf.network_.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


# ---- places ----------------------------------------------------------------------------------------------------------


def test_the_head_is_found_without_a_mask():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=3, n_subjects=4, slices=3, image_size=64)
    found, truth = find_head(ds.images), ds.masks["head"]
    overlap = (found & truth).sum(axis=(1, 2)) / (found | truth).sum(axis=(1, 2))
    assert overlap.min() > 0.85, overlap
    image = np.zeros((1, 32, 32, 1), np.uint8)
    assert not find_head(image).any()
    image[0, 8:24, 8:24] = 90
    image[0, 12:18, 12:18] = 0  # a hole, as a ventricle
    image[0, 1:4, 28:31] = 255  # a mark beside the head
    assert find_head(image)[0, 12:18, 12:18].all() and not find_head(image)[0, 0:5, 27:32].any()


def test_regions_are_counted_by_heat_area_and_hottest_pixel(checks):
    rows = {row["region"]: row for row in checks.regions}
    assert {"cortex", "ventricles", "hippocampus", "head", OUTSIDE} <= set(rows)
    assert rows["head"]["heat"] + rows[OUTSIDE]["heat"] == pytest.approx(1)
    assert rows["head"]["hits"] + rows[OUTSIDE]["hits"] == pytest.approx(1)
    assert checks.outside_head == rows[OUTSIDE]["heat"]
    shown = checks.cams.maps.max(axis=(1, 2)) > 0
    hits = [
        mask[np.unravel_index(heat.argmax(), heat.shape)]
        for heat, mask in zip(checks.cams.maps[shown], checks.cams.masks["cortex"][shown], strict=True)
    ]
    assert rows["cortex"]["hits"] == pytest.approx(np.mean(hits))


def test_mean_maps_are_means_over_a_class(checks):
    for c in np.unique(checks.cams.targets):
        name, mine = checks.cams.classes[c], checks.cams.targets == c
        np.testing.assert_allclose(checks.class_maps[name], checks.cams.maps[mine].mean(axis=0))
    assert set(checks.class_images) == set(checks.class_maps)


# ---- combined stages, showing, mistakes ------------------------------------------------------------------------------


def test_combined_stages_are_the_scaled_mean(fitted):
    clf, ds = fitted
    one, two = (grad_cam(clf, ds[:3], layer=name, target=1).maps for name in ("layer2", "layer3"))
    both = grad_cam(clf, ds[:3], layer="layer2+layer3", target=1)
    assert both.layer == "layer2+layer3"
    mean = (one.astype(np.float64) + two) / 2
    low, high = mean.min(axis=(1, 2), keepdims=True), mean.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(both.maps, (mean - low) / np.maximum(high - low, 1e-30), atol=1e-5)
    np.testing.assert_array_equal(grad_cam(clf, ds[:3], layer=["layer2", "layer3"], target=1).maps, both.maps)
    for wrong in ("layer2+layer2", ()):
        with pytest.raises(ValueError, match="expected different stages"):
            grad_cam(clf, ds[:3], layer=wrong)
    with pytest.raises(ValueError, match="layer='layer9' is unknown"):
        grad_cam(clf, ds[:3], layer="layer2+layer9")


def test_it_shows_itself(checks):
    head, rows = checks.table()
    assert len(head) == 4 and all(len(row) == 4 for row in rows)
    text = str(checks)
    assert "area between insertion and deletion" in text and "new weights in all layers" in text and OUTSIDE in text
    assert checks._repr_html_().count("<img") == 2
    assert len(checks.plot().lines) == 2
    assert plot.class_maps(checks).images
    assert set(checks.to_dict()) == {"area", "area_low", "area_high", "images", "randomised", "regions"}


def test_mistakes_are_named(fitted):
    clf, ds = fitted
    with pytest.raises(ValueError, match="at least one image"):
        check_cams(clf, ds[:0])
    with pytest.raises(ValueError, match="rising numbers between 0 and 1"):
        check_cams(clf, ds, fractions=(0.5, 0.2))


# ---- the verdict -----------------------------------------------------------------------------------------------------


def judged(checks, *, area=0.3, correlation=0.0, heat=0.2, hits=0.0, **cams):
    """The same checks with other findings: the share outside the head is .4 of the picture."""
    n, f = checks.deletion.shape
    ratio = heat / 0.4
    found = dataclasses.replace(
        checks,
        cams=dataclasses.replace(checks.cams, **cams),
        deletion=np.full((n, f), 0.5) - area + np.linspace(-0.01, 0.01, n)[:, None],
        insertion=np.full((n, f), 0.5) + area,
        randomised=[{"layers": "all layers", "rank_correlation": correlation, "ssim": 0.1, "images": n}],
        regions=[{"region": OUTSIDE, "heat": heat, "area": 0.4, "ratio": ratio, "hits": hits}],
    )
    return found.verdict, str(found)


@pytest.mark.parametrize(
    ("findings", "doubt"),
    [
        ({}, ""),
        ({"area": -0.3}, "the hottest pixels matter less than the coldest"),
        ({"area": 0.0}, "do not distinguishably matter more"),
        ({"correlation": 0.9}, "a network with new weights gives the same maps"),
        ({"heat": 0.392}, "the heat outside the head is 0.98 times that of an even map"),
        ({"hits": 0.78}, "the hottest pixel is outside the head in 78%"),
        ({"grid": ((1, 1),)}, "layer2 is 1 x 1 at this image size and has no places"),
    ],
)
def test_the_verdict_agrees_with_the_figures(checks, findings, doubt):
    verdict, text = judged(checks, **findings)
    assert verdict in text
    assert verdict.startswith("do not read" if doubt else "no check speaks against") and doubt in verdict


def test_a_stage_of_one_cell_has_no_places(fitted):
    clf, ds = fitted
    found = grad_cam(clf, ds[:3], layer="layer4")
    assert found.grid == ((1, 1),) and not found.has_places and not found.maps.any()
    assert grad_cam(clf, ds[:3], layer="layer2+layer4").has_places
