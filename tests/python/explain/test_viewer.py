"""The viewer: the right slices in the right order, and a page that works by keyboard, checked in a browser."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

import simclr_mri as sm
from reference.browser import CHROMIUM, browser
from simclr_mri.explain._viewer import LARGEST_SIDE, _chosen, _shrunk


def maps_of(ds: sm.Dataset, rows: np.ndarray) -> sm.Viewer:
    """A viewer of made maps, whose hottest pixel is known."""
    shown = ds[rows]
    heat = np.zeros((len(rows), 32, 32), np.float32)
    heat[np.arange(len(rows)), 5, np.arange(len(rows)) % 32] = 1
    probabilities = np.tile([0.25, 0.75], (len(rows), 1))
    masks = {**shown.masks, "black background": np.ones_like(heat, bool)}
    target = np.ones(len(rows), int)
    known = {"labels": shown.labels, "masks": masks, "files": shown.files}
    cams = sm.CamResult(heat, shown.images, target, probabilities, ds.classes, "layer2", "gradcam", **known)
    return sm.Viewer(cams, tuple(shown.subjects))


@pytest.fixture(scope="module")
def phantoms() -> sm.Dataset:
    return sm.datasets.phantoms(n_subjects=12, slices=5, image_size=32, task="cdr0")


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page).group(1))


def test_it_shows_subjects_of_each_class_and_their_slices_in_order(phantoms):
    shuffled = phantoms[np.random.default_rng(0).permutation(len(phantoms))]
    rows = _chosen(shuffled, 4, 3)
    shown = shuffled[rows]
    assert len(rows) == 12 and len(set(shown.subjects)) == 4 and np.bincount(shown.labels).tolist() == [6, 6]
    assert shown.slices.reshape(4, 3).tolist() == [[1, 3, 5]] * 4
    assert (shown.subjects.reshape(4, 3) == shown.subjects[::3, None]).all()
    unknown = sm.Dataset(phantoms.images, phantoms.labels, phantoms.classes)
    assert _chosen(unknown, 4, 16).tolist() == np.linspace(0, 59, 16).round().astype(int).tolist()


def test_the_page_holds_the_pixels_and_the_heat(phantoms):
    viewer = maps_of(phantoms, np.arange(10))
    data = data_of(viewer.to_html())
    assert [one["name"] for one in data["subjects"]] == ["sub-0001", "sub-0002"]
    picture = data["subjects"][1]["slices"][2]  # row 7
    pixels = np.frombuffer(base64.b64decode(picture["image"]), np.uint8).reshape(32, 32)
    np.testing.assert_array_equal(pixels, phantoms.images[7, :, :, 0])
    heat = np.frombuffer(base64.b64decode(picture["heat"]), np.uint8).reshape(32, 32)
    assert heat[5, 7] == 255 and heat.sum() == 255
    names = [name for name, _, _ in data["regions"]]
    assert names == ["cortex", "ventricles", "hippocampus", "head"]
    mask = np.unpackbits(np.frombuffer(base64.b64decode(picture["regions"][3]), np.uint8))[: 32 * 32].reshape(32, 32)
    np.testing.assert_array_equal(mask.astype(bool), phantoms.masks["head"][7])
    for words in (phantoms.files[7], "sub-0002", "75%"):
        assert words in picture["said"] and words in picture["brief"]
    assert viewer._repr_html_().startswith("<iframe") and "&lt;canvas" in viewer._repr_html_()


def test_large_images_are_shrunk_so_that_a_page_stays_small():
    wide = np.arange(2 * 1026 * 1024, dtype=np.float32).reshape(2, 1026, 1024) % 7
    small = _shrunk(wide, -(-1026 // LARGEST_SIDE))
    assert small.shape == (2, 205, 204) and small[1, 3, 2] == pytest.approx(wide[1, 15:20, 10:15].mean())
    assert _shrunk(wide, 1) is not wide and (_shrunk(wide, 1) == wide).all()


def test_of_a_model_and_mistakes(phantoms):
    clf = sm.Classifier(arch="resnet18", epochs=0, batch_size=4, verbose=0).fit(phantoms)
    viewer = sm.view(clf, phantoms, n_subjects=2, n_slices=2, layer="layer2")
    assert repr(viewer) == "<Viewer: 4 slices of 2 subjects>" and viewer.cams.maps.max() == 1
    with pytest.raises(ValueError, match="n_slices: expected 1 or more, got 0"):
        sm.view(clf, phantoms, n_slices=0)
    with pytest.raises(ValueError, match="expected at least one image, got none"):
        sm.view(clf, phantoms[:0])


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_it_works_by_keyboard_and_pointer(phantoms, tmp_path):
    page = maps_of(phantoms, np.arange(10)).write(tmp_path / "viewer.html")
    assert "http" not in page.read_text()
    with browser() as chromium:
        chromium.open(page, 390)
        assert chromium.run("document.documentElement.scrollWidth <= innerWidth")
        said = "document.querySelector('.said').innerText"
        assert "sub-0001" in chromium.run(said) and chromium.run("document.querySelector('output').value") == "3 of 5"
        chromium.run("document.querySelector('[name=slice]').focus()")
        chromium.press("ArrowRight")
        assert phantoms.files[3] in chromium.run(said)
        assert "Slice with heat map" in chromium.run("document.querySelector('canvas').getAttribute('aria-label')")
        dot = "[...document.querySelector('canvas').getContext('2d').getImageData(3.5*12, 5.5*12, 1, 1).data]"
        gray = [int(phantoms.images[3, 5, 3, 0])] * 3
        assert chromium.run(dot)[:3] != gray
        opacity = "document.querySelector('[name=opacity]')"
        set_heat = f"{opacity}.value = {{}}; {opacity}.dispatchEvent(new Event('input'))"
        chromium.run("document.querySelectorAll('fieldset input').forEach(box => box.checked && box.click())")
        chromium.run(set_heat.format(0))
        assert chromium.run(dot)[:3] == gray
        chromium.run(set_heat.format(100))
        colour = sm.plot.heat_colours()[255].tolist()
        assert np.abs(np.array(chromium.run(dot)[:3]) - colour).max() <= 1
        chromium.point("canvas", 3.5 / 32, 5.5 / 32)
        tip = chromium.run("document.querySelector('.tip').innerText")
        assert phantoms.files[3] in tip and "sub-0001" in tip and "75%" in tip and "heat here 1.00" in tip
