"""A model says when the images that it is scored on taught it."""

from __future__ import annotations

import csv
import json
import warnings

import numpy as np
import pytest

from simclr_mri import Classifier, SimCLR, datasets, split
from simclr_mri.cli import main
from simclr_mri.datasets import Dataset
from simclr_mri.learning import PRETRAINED, TRAINED, image_keys, pretrained_keys, seen_keys, seen_note

SMALL = {"arch": "resnet18", "verbose": 0, "epochs": 1, "batch_size": 8}


@pytest.fixture(scope="module")
def ds():
    return datasets.phantoms(n_subjects=24, slices=2, image_size=32, task="cdr0")


@pytest.fixture(scope="module")
def parts(ds):
    return split(ds, by="subject", seed=0)


@pytest.fixture(scope="module")
def clf(parts):
    return Classifier(SimCLR(**SMALL).fit(parts.train), **SMALL, label_fraction=0.5).fit(parts.train)


def warned(clf, data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf.evaluate(data, n_bootstrap=0)
    return [str(w.message) for w in caught if "evaluate:" in str(w.message)]


def test_a_test_set_is_a_test_set(clf, parts):
    assert warned(clf, parts.test) == [] and warned(clf, parts.val) == []


def test_every_image_counts_once(clf, parts):
    n, labelled = len(parts.train), len(clf.labelled_)
    (said,) = warned(clf, parts.train)
    assert f"{labelled} of these {n} images, of" in said and "were in the training set of this model" in said
    assert f"{n - labelled} of these {n} images" in said and "in its pretraining, without their labels" in said
    subjects = len(np.unique(parts.train.subjects[clf.labelled_]))
    assert f"of {subjects} of {parts.train.n_subjects} subjects" in said


def test_another_split_is_found_out_after_loading(clf, ds, parts, tmp_path):
    clf.save(tmp_path / "m")
    other = split(ds, by="subject", seed=7).test
    again = set(other.subjects) & set(parts.train.subjects)
    (said,) = warned(Classifier.load(tmp_path / "m"), other)
    assert again and f"of {other.n_subjects} subjects" in said


def test_pictures_of_one_value_are_nobodys():
    blank = np.zeros((4, 8, 8, 1), np.uint8)
    blank[1], blank[2, 0, 0], blank[3] = 255, 1, np.arange(64).reshape(8, 8, 1)
    data = {TRAINED: image_keys(Dataset(blank, name="a"))}
    assert seen_note(data, Dataset(blank[:2], name="b")) is None
    assert "2 of these 4 images were in" in seen_note(data, Dataset(blank, name="b"))


def test_models_that_do_not_remember_say_nothing(ds):
    assert seen_note({}, ds) is None and seen_note({PRETRAINED: None, TRAINED: ""}, ds) is None


def test_the_commands_say_it_and_write_it_down(tmp_path, capsys):
    root, run = tmp_path / "slices", tmp_path / "clf"
    datasets.write_phantoms(root, n_subjects=24, slices=2, image_size=32)
    small = ["--arch", "resnet18", "--epochs", "1", "--batch-size", "8", "--verbose", "0"]
    assert main(["pretrain", str(root), "--task", "cdr0", *small, "--out", str(tmp_path / "ssl")]) == 0
    first = ["finetune", str(root), "--init", str(tmp_path / "ssl"), *small]
    assert main([*first, "--out", str(run)]) == 0
    assert main(["evaluate", str(run), "--n-bootstrap", "0"]) == 0
    manifest = json.loads((run / "manifest.json").read_text())
    assert TRAINED not in manifest["data"] and PRETRAINED not in manifest["data"]
    before = json.loads((run / "evaluation_test" / "evaluation.json").read_text())["notes"]
    assert not any("were in" in note for note in before)
    assert "were in" not in capsys.readouterr().err

    assert main(["evaluate", str(run), "--n-bootstrap", "0", "--split-seed", "7"]) == 0
    said = json.loads((run / "evaluation_test" / "evaluation.json").read_text())["notes"][-1]
    shown = capsys.readouterr()
    assert "were in the training set of this model" in said and said in shown.out and said.rstrip(".") in shown.err

    # a folder that has lost a subject is divided anew by the same options
    with open(root / "subjects.csv") as file:
        rows = list(csv.DictReader(file))
    lost = min(row["subject"] for row in rows if row["file"].startswith("Non_Demented"))
    with open(root / "subjects.csv", "w") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(row for row in rows if row["subject"] != lost)
    for row in rows:
        if row["subject"] == lost:
            (root / row["file"]).unlink()
    (root / "phantoms.json").unlink()
    assert main([*first, "--groups", f"{root}/subjects.csv:subject", "--out", str(tmp_path / "second")]) == 0
    assert "in its pretraining, without their labels" in capsys.readouterr().err


def test_the_same_pictures_saved_anew_and_other_slices_of_the_same_heads(tmp_path):
    """JPEG, another size and another brightness hide nothing; a stranger's slices are nobody's."""
    from PIL import Image

    ds = datasets.phantoms(n_subjects=24, slices=2, image_size=64, task="cdr0")
    known, strangers = ds[ds.slices == 1], datasets.phantoms(n_subjects=12, slices=2, image_size=64, seed=9)
    data = {**seen_keys(known)}
    strangers = Dataset(strangers.images, subjects=[f"b{s}" for s in strangers.subjects])
    assert seen_note(data, strangers) is None

    def changed(image, how):
        picture = Image.fromarray(image[..., 0])
        if how == "jpeg":
            picture.save(tmp_path / "a.jpg", quality=80)
            picture = Image.open(tmp_path / "a.jpg")
        elif how == "size":
            picture = picture.resize((100, 100), Image.BICUBIC).resize((64, 64), Image.BICUBIC)
        else:
            picture = picture.point(lambda v: min(255, int(1.05 * v + 2)))
        return np.array(picture)

    for how in ("jpeg", "size", "brightness"):
        again = Dataset(np.stack([changed(image, how) for image in known.images]))
        said = seen_note(data, again)
        assert said.startswith("24 of these 24 images look like images, saved anew or resized, in the training")
    others = ds[ds.slices == 2]
    said = seen_note(data, others)
    assert said.startswith("24 of these 24 images, of 24 of 24 subjects, are of subjects named as in the training")
    assert "in its pretraining" in seen_note(pretrained_keys(data), known)
    assert seen_note({TRAINED: data[TRAINED]}, others) is None  # an older model remembers less
