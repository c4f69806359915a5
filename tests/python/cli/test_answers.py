"""A trained classifier meets other data: all of it is judged, in a folder of its own, class by class."""

from __future__ import annotations

import csv
import json
import shutil
import warnings

import numpy as np
import pytest
from safetensors import safe_open

from simclr_mri import datasets
from simclr_mri.cli import main

SMALL = ["--arch", "resnet18", "--epochs", "1", "--batch-size", "8", "--verbose", "0"]
FEW = ["--n-bootstrap", "0"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    root = tmp_path_factory.mktemp("own") / "slices"
    datasets.write_phantoms(root, n_subjects=24, slices=2, image_size=32)
    return root


@pytest.fixture(scope="module")
def run(own, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "clf"
    assert main(["finetune", str(own), "--task", "3class", *SMALL, "--out", str(folder)]) == 0
    return folder


def plain_folder(root, classes, size=48, seed=5):
    """Phantoms as class folders without tables: a class of theirs goes where `classes` says, "" leaves it out."""
    made = root.with_name(f"{root.name}_made")
    datasets.write_phantoms(made, n_subjects=24, slices=1, image_size=size, seed=seed)
    for theirs in datasets.SEVERITY:
        if classes.get(theirs, theirs):
            place = root / classes.get(theirs, theirs)
            place.mkdir(parents=True, exist_ok=True)
            for path in (made / theirs).glob("*.png"):
                shutil.copy(path, place / path.name)
    shutil.rmtree(made)
    return root


def evaluated(run, data, *more):
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert main(["evaluate", str(run), str(data), *FEW, *more]) == 0
    return json.loads((run / f"evaluation_{data.name}" / "evaluation.json").read_text())


def test_all_of_another_set_and_nothing_of_the_own_is_lost(run, tmp_path, capsys):
    assert main(["evaluate", str(run), *FEW]) == 0
    before = (run / "evaluation_test" / "evaluation.json").read_text()
    said = json.loads(before)
    assert said["split"]["on"] == "test" and said["data"]["is_the_models_own"] and said["split"]["by"] == "subject"
    other = plain_folder(tmp_path / "other", {})
    found = evaluated(run, other)
    assert found["slice"]["n"] == 24 == found["data"]["n_images"] and found["split"] == {"on": "all"}
    assert found["data"]["path"] == str(other) and not found["data"]["is_the_models_own"]
    assert len(found["model"]["weights"]) == 16 and found["model"]["arch"] == "resnet18"
    assert found["commit"] is None or len(found["commit"]) == 40
    assert (run / "evaluation_test" / "evaluation.json").read_text() == before
    with open(run / "evaluation_other" / "predictions.csv") as file:
        assert len(list(csv.DictReader(file))) == 24
    assert "all of" in capsys.readouterr().out


def test_namesakes_do_not_collide(run, tmp_path):
    first, second = plain_folder(tmp_path / "a" / "data", {}), plain_folder(tmp_path / "b" / "data", {}, seed=6)
    evaluated(run, first)
    assert main(["evaluate", str(run), str(second), *FEW]) == 0
    assert main(["evaluate", str(run), str(first), *FEW]) == 0
    paths = {p.name: json.loads((p / "evaluation.json").read_text())["data"]["path"] for p in run.glob("*_data*")}
    assert paths == {"evaluation_data": str(first), "evaluation_data_2": str(second)}


JOINED = {"Mild_Demented": "Mild or Moderate demented", "Moderate_Demented": "Mild or Moderate demented"}
CASES = {
    "lacks": ({"Moderate_Demented": "", "Mild_Demented": ""}, []),
    "more": ({"Very_Mild_Demented": "Glioma"} | JOINED, ["Glioma"]),
    "spelled": ({"Non_Demented": "non demented", "Very_Mild_Demented": "VeryMildDemented"}, []),
    "joined": (JOINED, []),
}


@pytest.mark.parametrize("name", CASES)
def test_other_classes_are_reported_class_by_class(run, tmp_path, capsys, name):
    classes, unknown = CASES[name]
    other = plain_folder(tmp_path / name, classes)
    found = evaluated(run, other)
    answers = found["classes_unknown_to_the_model"]
    assert list(answers) == unknown
    assert found["slice"]["n"] + sum(a["n"] for a in answers.values()) == len(list(other.glob("*/*.png")))
    for about in answers.values():
        assert sum(about["predicted"].values()) == about["n"] > 0
    assert ("Glioma is unknown to the model" in capsys.readouterr().out) == (name == "more")
    absent = [note for note in found["notes"] if "No image is of class Mild_or_Moderate_Demented" in note]
    assert bool(absent) == (name == "lacks")


def test_no_class_in_common(run, tmp_path, capsys):
    other = plain_folder(tmp_path / "x", dict(zip(datasets.SEVERITY, "abab", strict=True)))
    assert main(["evaluate", str(run), str(other), *FEW]) == 1
    said = capsys.readouterr().err
    assert "knows the classes Non_Demented" in said and "x has a, b: none in common" in said


def test_the_own_data_in_another_place_is_the_own_data(run, own, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(own, moved)
    before = json.loads((run / "evaluation_test" / "evaluation.json").read_text())
    assert main(["evaluate", str(run), str(moved), *FEW]) == 0
    after = json.loads((run / "evaluation_test" / "evaluation.json").read_text())
    assert after["slice"] == before["slice"] and after["data"]["fingerprint"] == before["data"]["fingerprint"]


def test_all_of_the_own_data_has_seen_it(run, capsys):
    assert main(["evaluate", str(run), "--on", "all", *FEW]) == 0
    notes = json.loads((run / "evaluation_all" / "evaluation.json").read_text())["notes"]
    assert any("in the training set of this model" in note for note in notes)


def test_explain_new_pictures(run, tmp_path, capsys, all_figures):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(plain_folder(tmp_path / "made", {}).glob("*/*.png"))):
        shutil.copy(path, flat / f"new_{i}.png")
    assert main(["explain", str(run), str(flat), "--n-images", "5", "--layer", "layer2"]) == 0
    out = run / "heat_maps_flat"
    pictures = {f"gradcam_layer2.{suffix}" for suffix in ("png", "pdf", "svg")}
    assert {path.name for path in out.iterdir()} == {*pictures, "maps.npz", "regions.csv"}
    with np.load(out / "maps.npz") as found:
        assert found["maps"].shape == (5, 32, 32) and 0 < found["maps"].max() <= 1
        assert found["files"][0] == "new_0.png" and set(found["explained_class"]) <= set(found["classes"])
        assert str(found["layer"]) == "layer2"


def test_exported_and_listed(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["export", str(run), "--out=~/resnet.safetensors", "--rgb-stem"]) == 0
    with safe_open(tmp_path / "resnet.safetensors", framework="numpy") as file:
        facts = {name: json.loads(text) for name, text in file.metadata().items()}
        assert file.get_tensor("conv1.weight").shape == (64, 3, 7, 7)
    assert facts["arch"] == "resnet18" and facts["image_size"] == 32 and len(facts["classes"]) == 3
    assert main(["export", str(run), "--out", "model.pth"]) == 1
    assert "model.pth: expected a file name that ends in .safetensors" in capsys.readouterr().err
    assert main(["runs", "--under", str(run.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["run", "kind", "network"]
    assert lines[1].split()[:6] == ["clf", "classifier", "resnet18", "random", "100%", "finished"]
    assert lines[-1].startswith("1 run, ")


def test_table_of_volumes(run, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.random.default_rng(0).random((40, 44, 8)) * 1000
    (tmp_path / "bids").mkdir()
    for subject in ("sub-01", "sub-02"):
        image = nibabel.Nifti1Image(volume.astype(np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
        nibabel.save(image, tmp_path / "bids" / f"{subject}_T1w.nii.gz")
    assert main(["predict", str(run), str(tmp_path / "bids"), "--out", str(tmp_path / "a.csv")]) == 0
    with open(tmp_path / "a_by_subject.csv") as file:
        assert [row["subject"] for row in csv.DictReader(file)] == ["sub-01", "sub-02"]
    assert main(["explain", str(run), str(tmp_path / "bids"), "--n-images", "2", "--out", str(tmp_path / "maps")]) == 0
    with np.load(tmp_path / "maps" / "maps.npz") as found:
        assert found["maps"].shape == (2, 32, 32)
    overlay = nibabel.load(tmp_path / "maps" / "sub-01_T1w_gradcam.nii.gz")
    assert overlay.shape == (40, 44, 8) and overlay.get_fdata().max() > 0
    np.testing.assert_array_equal(overlay.affine, np.diag([1.0, 1.0, 2.0, 1.0]))


def test_a_read_only_model_folder_is_a_note(run, tmp_path, monkeypatch, capsys):
    import os

    plain = os.access
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(run) and plain(path, mode))
    other = plain_folder(tmp_path / "other", {})
    assert main(["predict", str(run), str(other)]) == 0
    assert (tmp_path / "clf_answers_other.csv").exists()
    assert f"note: {run} cannot be written to: results go to clf_answers_other.csv" in capsys.readouterr().err
    assert main(["evaluate", str(run), str(other), *FEW]) == 0
    assert (tmp_path / "clf_evaluation_other" / "evaluation.json").exists()
