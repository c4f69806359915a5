"""Model cards: filled in from a study, a model or a run's folder; what a run cannot know stays open and is named."""

from __future__ import annotations

import pytest

import simclr_mri as sm
from simclr_mri.studies._checklists import CHECKLISTS, CLAIM, TRIPOD
from simclr_mri.studies._model_card import OPEN

SMALL = {"arch": "resnet18", "epochs": 1, "batch_size": 16, "verbose": 0}


@pytest.fixture(scope="module")
def phantoms():
    return sm.datasets.phantoms(n_subjects=24, slices=1, image_size=32, task="cdr0")


@pytest.fixture(scope="module")
def done(phantoms, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    parts = sm.split(phantoms, seed=1)
    return sm.study(
        phantoms, inits=["random"], fractions=[1.0], split=parts, finetune=SMALL, out=out, n_bootstrap=20
    ), out


def test_the_checklists_have_every_item_once():
    numbers = {name: [number for number, _, _ in items] for name, items in CHECKLISTS.items()}
    assert numbers[CLAIM] == [str(i) for i in range(1, 45)]
    assert len(numbers[TRIPOD]) == len(set(numbers[TRIPOD])) == 52
    whole = dict.fromkeys(number.rstrip("abcdefg") for number in numbers[TRIPOD])
    assert list(whole) == [str(i) for i in range(1, 28)]


def test_a_study_writes_its_card(done, phantoms):
    result, out = done
    text = (out / "model_card.md").read_text()
    train, test = (result.split.indices[name] for name in ("train", "test"))
    assert f"24 images of 24 subjects, fingerprint {phantoms.fingerprint()[:16]}" in text
    assert "0 subjects are in training and in test" in text and "0 test images have the pixels" in text
    assert f"| train | CDR_0 | {(phantoms.labels[train] == 0).sum()} |" in text
    brier = result.evaluations[next(iter(result.evaluations))].subjects["brier"]
    assert (
        f"Random weights: Brier score {brier}." in text
        and f"| test | CDR_0 | {(phantoms.labels[test] == 0).sum()} |" in text
    )
    assert text.count("not a medical device") == 1 and text.startswith("# Model card: Study of phantoms")


def test_what_a_run_cannot_know_is_open_and_named(done):
    card = sm.model_card(done[0])
    for name, authors in ((CLAIM, {"1", "14", "34", "44"}), (TRIPOD, {"3c", "14", "17", "18a", "19"})):
        assert authors <= set(card.still_open(name)) and len(card.still_open(name)) < len(CHECKLISTS[name]) * 0.75
        assert f"items {', '.join(card.still_open(name))}." in card.to_markdown()
    found = {number: answer for number, _, answer in card.checklist(CLAIM)}
    assert found["20"].startswith("subjects; 0 subjects are in training and in test")
    assert found["33"] == "not done" and found["16"] == OPEN
    assert "20 bootstrap samples of the subjects" in found["29"]


def test_a_leak_is_told(done):
    result, _ = done
    train, test = (result.split.indices[name] for name in ("train", "test"))
    leaky = sm.Split(result.split.dataset, {"train": train, "test": [*test, *train[:2]]}, "image", 0)
    changed = type(result)([], {}, {}, {}, {}, [leaky])
    from simclr_mri.studies._card_facts import _leaks

    assert _leaks(changed)[:2] == [
        "2 subjects are in training and in test", "2 test images have the pixels of a training image",
    ]  # fmt: skip


def test_of_a_runs_folder_and_of_a_model(done, phantoms, tmp_path):
    _, out = done
    of_run = sm.model_card(out / "random" / "100pct_seed0")
    assert "by subject" in of_run.answers["split"] and "adamw" in of_run.answers["training"]
    assert of_run.tables["Performance"][0][0] == "metric"
    clf = sm.Classifier(**SMALL).fit(phantoms)
    of_model = sm.model_card(clf)
    assert "performance" not in of_model.answers and "split" not in of_model.answers
    assert of_model.write(tmp_path).name == "model_card.md" and "resnet18" in of_model.to_markdown()
    assert "CDR_0, CDR_above_0" in of_model.answers["output"]


def test_mistakes_are_named(done, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no manifest.json. Give the folder of a finished run"):
        sm.model_card(tmp_path)
    with pytest.raises(ValueError, match="is a study's"):
        sm.model_card(done[1])
    with pytest.raises(TypeError, match="expected a StudyResult, a fitted model or a run's folder, got Dataset"):
        sm.model_card(sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32))
