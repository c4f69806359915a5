"""What a newcomer gets wrong in the first hour: every message names the argument, and says what to do instead.

Wrong folders, corrupt files and tables of subjects are in test_datasets.py, options in test_config.py.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import simclr_mri as sm
from simclr_mri._shared import _machine
from simclr_mri.datasets import ImageFolder, open_dataset, phantoms


@pytest.fixture(scope="module")
def ds() -> sm.Dataset:
    return phantoms(n_subjects=20, slices=1, image_size=32, task="cdr0")


@pytest.fixture(scope="module")
def clf(ds: sm.Dataset) -> sm.Classifier:
    return sm.Classifier(arch="resnet18", epochs=0, batch_size=8, verbose=0).fit(ds)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Class folders in which every other file is RGB."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            shape = (32, 32, 3) if i % 2 else (32, 32)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name / f"s{i // 2}_{i}.png")
    return tmp_path


def test_rgb_and_gray_together_become_what_was_asked_for(mixed):
    assert ImageFolder(mixed).n_channels == 1 and ImageFolder(mixed, channels=3).n_channels == 3


# ---- the wrong kind of thing ---------------------------------------------------------------------------------------

SSL = sm.SimCLR("resnet18", batch_size=2, verbose=0)
CLF = sm.Classifier(arch="resnet18", verbose=0)


@pytest.mark.parametrize("call", [SSL.fit, CLF.fit, sm.split], ids=["SimCLR", "Classifier", "split"])
def test_what_is_no_data_set(call, ds):
    with pytest.raises(TypeError, match=r"expected a Dataset, got 'Dataset/'\. Open a folder with datasets.open_data"):
        call("Dataset/")
    with pytest.raises(TypeError, match=r"got a Split\. Unpack it: train, val, test = split\(ds\)"):
        call(sm.split(ds))


def test_arrays_are_taken_where_labels_are_and_elsewhere_the_way_is_shown():
    images = np.zeros((4, 32, 32), np.uint8)
    with pytest.raises(ValueError, match=r"requires y to be passed.*fit\(X, y\) with arrays, or fit\(train\)"):
        CLF.fit(images)
    with pytest.raises(TypeError, match=r"expected a Dataset, got ndarray\. Wrap arrays: Dataset.from_arrays\(images"):
        sm.split(images)


def test_evaluate_wants_a_data_set_of_the_same_classes(clf):
    with pytest.raises(TypeError, match=r"evaluate: expected a Dataset, got 'x'"):
        clf.evaluate("x")
    with pytest.raises(ValueError, match=r"knows the classes CDR_0, CDR_above_0, .*same task"):
        clf.evaluate(phantoms(n_subjects=8, slices=1, image_size=32))


def test_heat_maps_of_the_wrong_thing(clf, ds):
    with pytest.raises(TypeError, match=r"the model comes first"):
        sm.grad_cam(ds[:2], clf)
    with pytest.raises(TypeError, match=r"expected a Classifier, got SimCLR\. Fine-tune it first"):
        sm.grad_cam(SSL, ds[:2])
    with pytest.raises(ValueError, match=r"one image of shape \(32, 32, 1\); give several: ds\[:1\]"):
        sm.grad_cam(clf, ds.images[0])


# ---- names ---------------------------------------------------------------------------------------------------------


def test_names_with_a_typo(ds):
    with pytest.raises(AttributeError, match=r"Did you mean 'SimCLR'"):
        _ = sm.SimCRL
    with pytest.raises(ValueError, match=r"Did you mean '4class'"):
        phantoms(n_subjects=8, slices=1, image_size=32, task="4clas")
    with pytest.raises(ValueError, match=r"optimizer='adam' is unknown. Did you mean 'adamw'"):
        sm.SimCLR("resnet18", optimizer="adam").fit(ds)
    with pytest.raises(FileNotFoundError, match=r"init='randon': .*Did you mean 'random'"):
        sm.Classifier("randon", arch="resnet18").fit(ds)
    with pytest.raises(FileNotFoundError, match=r"another argument: arch='resnet18'"):
        sm.Classifier("resnet18").fit(ds)


def test_a_study_finds_mistakes_before_it_works(ds, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no 'simcrl'. Did you mean 'simclr'"):
        sm.study(ds, inits=["random", "simcrl"], out=tmp_path / "study")
    with pytest.raises(ValueError, match=r"fractions: expected shares .* \(0.1 is 10 %\), got 10"):
        sm.study(ds, fractions=[1, 10], out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


# ---- too little, too much ------------------------------------------------------------------------------------------


def test_tiny_data():
    tiny = sm.Dataset(np.zeros((2, 32, 32), np.uint8), [0, 1], ("a", "b"), ["s1", "s2"])
    with pytest.raises(ValueError, match=r"class a has one subject: .*Leave it out"):
        sm.split(tiny)
    with pytest.raises(ValueError, match=r"batch_size=32 is larger than the 2 training images; choose at most 2"):
        sm.SimCLR("resnet18", verbose=0).fit(tiny)


def test_images_that_do_not_fit_are_refused_before_they_are_read(mixed, monkeypatch):
    monkeypatch.setattr(_machine, "available_memory_bytes", lambda: 100_000_000)
    with pytest.raises(
        MemoryError, match=r"8 images of 100,000 x 100,000 pixels need 80\.0 GB, and 100 MB are .*image_size=2048 would"
    ):
        open_dataset(mixed, image_size=100_000)
    with pytest.raises(MemoryError, match=r"100,000,000 images of 1,024 x 1,024 pixels"):
        phantoms(n_subjects=1_000_000, slices=100, image_size=1024)
    monkeypatch.setattr(_machine, "available_memory_bytes", lambda: 8_000)
    with pytest.raises(MemoryError, match=r"8 images of 32 x 32 pixels need"):
        open_dataset(mixed)


@pytest.mark.parametrize("size", [(32, 32), "32", 32.5, True])
def test_an_image_size_is_one_number(mixed, size):
    with pytest.raises(ValueError, match=r"image_size: expected one whole number of pixels"):
        ImageFolder(mixed, image_size=size)


# ---- what is shown -------------------------------------------------------------------------------------------------


def test_estimators_show_themselves(clf, ds):
    text = sm.SimCLR("resnet18")._repr_html_()
    assert "not fitted yet" in text and "batch_size</th><td>32</td>" in text
    ssl = sm.SimCLR("resnet18", epochs=2, batch_size=8, verbose=0).fit(ds)
    text = ssl._repr_html_()
    assert "2 epochs, finished" in text and "20 images of 32 px" in text and "data:image/svg+xml" in text
    assert "text/html" in clf._repr_mimebundle_() and "CDR" not in clf._repr_html_()
    assert "a fitted SimCLR" in sm.Classifier(ssl)._repr_html_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "features, 2 classes" in sm.LinearProbe(ssl).fit(ds)._repr_html_()


def test_a_history_shows_a_picture_and_becomes_a_frame():
    pandas = pytest.importorskip("pandas")
    history = sm.History([{"epoch": e, "loss": 4 / e} for e in range(1, 20)])
    assert "data:image/png" in history._repr_html_() and "19 epochs</summary>" in history._repr_html_()
    assert sm.History()._repr_html_() == "<p>no epochs yet</p>"
    frame = history.to_frame()
    assert isinstance(frame, pandas.DataFrame) and frame["loss"].tolist() == history.column("loss")


def test_the_notebook_bar_says_share_speed_and_loss():
    pytest.importorskip("IPython")
    from simclr_mri._shared import NotebookBar

    bar = NotebookBar("SimCLR", 100)
    for i in range(3):
        bar.update(25)
        bar.set_postfix({"epoch": f"{i}/3", "loss": f"{4 - i:.4f}"}, refresh=False)
    text = bar.to_html()
    assert "75%" in text and "images/s" in text and " left" in text and "svg+xml" in text and "epoch 2/3" in text
    bar.update(25)
    bar.close()
    assert "took" in bar.to_html() and 'value="100" max="100"' in bar.to_html()
