"""Runs side by side: from files alone, paired where the images are the same."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri import datasets
from simclr_mri.cli import main
from simclr_mri.learning import predictions_csv
from simclr_mri.metrics import paired_difference
from simclr_mri.weights import CheckpointError


def written(folder, ds, probabilities, on="test", notes=()):
    """What `evaluate` leaves of these predictions."""
    place = folder / f"evaluation_{on}"
    place.mkdir(parents=True)
    found = sm.evaluate_predictions(ds.labels, probabilities, ds.classes, subjects=ds.subjects, n_bootstrap=50)
    (place / "evaluation.json").write_text(json.dumps({**found.to_dict(), "notes": list(notes)}))
    (place / "predictions.csv").write_text(predictions_csv(ds, probabilities))
    return folder


@pytest.fixture(scope="module")
def ds():
    return datasets.phantoms(n_subjects=40, slices=2, image_size=32, task="cdr0")


def answers(ds, sharpness, seed=0):
    noise = np.random.default_rng(seed).random((len(ds), 2))
    found = noise + sharpness * np.eye(2)[ds.labels]
    return np.round(found / found.sum(axis=1, keepdims=True), 6)


def test_paired_where_the_images_are_the_same(ds, tmp_path):
    good, bad = answers(ds, 2.0), answers(ds, 0.2, seed=1)
    order = np.random.default_rng(0).permutation(len(ds))
    other = ds[np.arange(len(ds) - 4)]
    runs = [
        written(tmp_path / "a", ds, bad),
        written(tmp_path / "b", ds[order], good[order]),  # the same images in another order
        written(tmp_path / "c", other, bad[: len(other)], notes=["2 of the images are in its training set"]),
    ]
    found = sm.compare(runs, n_bootstrap=200)
    want = paired_difference(ds.labels, bad, good, ds.subjects, level="subject", n_bootstrap=200)
    a, b, c = found.rows
    assert (b["difference"], b["p"]) == (want.difference.value, want.p) and b["difference"] > 0.1
    assert (b["difference_low"], b["difference_high"]) == (want.difference.low, want.difference.high)
    assert a["difference"] is None and c["difference"] is None and found.level == "subject"
    text = str(found)
    assert "other images" in text and "c: 2 of the images are in its training set" in text
    assert max(map(len, text.splitlines())) <= 110 and "<table>" in found._repr_html_()
    assert list(found.to_frame()["run"]) == ["a", "b", "c"]
    table, picture, page = found.save(tmp_path / "out")
    with open(table) as file:
        assert float(list(csv.DictReader(file))[1]["difference"]) == b["difference"]
    assert picture.stat().st_size > 3000
    text = page.read_text()
    assert f"against a: b higher, {b['difference']:+.3f}" in text and "c: 2 of the images" in text and "<img" in text
    same = sm.compare([runs[0], runs[2]], n_bootstrap=50).report().to_html()
    assert "no difference from a could be judged" in same
    assert len(found.plot().get_yticklabels()) == 3


def test_what_was_not_evaluated(ds, tmp_path, capsys):
    one = written(tmp_path / "one", ds, answers(ds, 1.0))
    two = written(tmp_path / "two", ds, answers(ds, 1.0, seed=2))
    (tmp_path / "empty").mkdir()
    with pytest.warns(UserWarning, match="not evaluated on test, and left out: empty"):
        assert len(sm.compare([one, two, tmp_path / "empty"], n_bootstrap=10).rows) == 2
    with pytest.raises(ValueError, match=r"1 of 2 runs is evaluated on test, and two are needed$"):
        sm.compare([one, tmp_path / "empty"])
    with pytest.raises(ValueError, match="metric: expected one of accuracy"):
        sm.compare([one, two], metric="speed")
    (two / "evaluation_test" / "predictions.csv").write_text("file\n1\n")
    with pytest.raises(ValueError, match="evaluation_test: an evaluation that cannot be read"):
        sm.compare([one, two])
    assert main(["compare", str(one), str(one), "--n-bootstrap", "10", "--out", str(tmp_path / "o")]) == 0
    assert "+0.000" in capsys.readouterr().out and (tmp_path / "o" / "compare.png").exists()


def test_load_takes_any_model(tmp_path):
    small = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    ssl = sm.SimCLR("resnet18", epochs=0, batch_size=8, verbose=0).fit(small, checkpoint=tmp_path / "ssl")
    clf = sm.Classifier(ssl, epochs=0, batch_size=8, verbose=0).fit(small, checkpoint=tmp_path / "clf")
    assert isinstance(sm.load(tmp_path / "ssl"), sm.SimCLR)
    again = sm.load(tmp_path / "clf" / "checkpoint.safetensors", precision="fp32")
    np.testing.assert_array_equal(again.predict_proba(small), clf.predict_proba(small))
    with pytest.raises(ValueError, match=r"simclr-mri evaluate .*clf$"):
        sm.compare([tmp_path / "ssl", tmp_path / "clf"])
    weights = sm.export_weights(clf, tmp_path / "resnet.safetensors")
    with pytest.raises(CheckpointError, match="To start from them: Classifier"):
        sm.load(tmp_path / "resnet.safetensors" if weights is None else weights)
    with pytest.raises(FileNotFoundError):
        sm.load(tmp_path / "nowhere")
