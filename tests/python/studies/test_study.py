"""The study: every arm, one table, and the same table after it was stopped."""

from __future__ import annotations

import itertools
import warnings

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from matplotlib import pyplot

from simclr_mri import Classifier, SimCLR, datasets, split, study, study_report
from simclr_mri.datasets import spread_examples
from simclr_mri.learning import read_checkpoint
from simclr_mri.learning._classifier_task import ClassifierTask
from simclr_mri.learning._data import unlabelled_fingerprint
from simclr_mri.learning._simclr_task import SimCLRTask
from simclr_mri.metrics import evaluate_predictions
from simclr_mri.studies import Arm
from simclr_mri.studies._plan import Plan

SSL = {"arch": "resnet18", "epochs": 1, "batch_size": 8, "verbose": 0}
CLF = {"arch": "resnet18", "epochs": 1, "batch_size": 16, "verbose": 0}


@pytest.fixture(scope="module")
def data():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=24, slices=2, image_size=32, task="3class")
        return ds, split(ds, seed=0)


def run(data, out, **more):
    ds, parts = data
    options = {"fractions": (0.3, 1.0), "n_bootstrap": 20, "split": parts, "pretrain": SSL, "finetune": CLF, **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return study(ds, out=out, **options)


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    return run(data, out), out


def test_one_row_an_arm_and_the_files(done):
    result, out = done
    assert [(row["init"], row["label_fraction"]) for row in result.rows] == [
        ("random", 0.3), ("random", 1.0), ("simclr", 0.3), ("simclr", 1.0),
    ]  # fmt: skip
    assert result.rows[0]["n_labelled"] < result.rows[1]["n_labelled"]
    for name in ("study.csv", "study.md", "study.png", "manifest.json", "log.jsonl"):
        assert (out / name).stat().st_size > 0
    assert not (out / "study.pdf").exists()  # as the tests' environment says
    assert (
        (out / "random" / "30pct_seed0" / "test_predictions.csv").read_text().startswith("file,subject,class,predicted")
    )
    head, lines = result.table()
    assert head == ["labels", "images", "random", "simclr"] and [line[0] for line in lines] == ["30 %", "100 %"]
    assert "| 30 % |" in result.to_markdown() and "<table>" in result._repr_html_()
    assert result.level == "subject" and len(result.differences("random", "simclr")) == 2


def test_repeating_it_trains_nothing_and_gives_the_same_table(done, data, monkeypatch, all_figures):
    result, out = done
    csv = (out / "study.csv").read_bytes()
    for cls in (SimCLRTask, ClassifierTask):
        monkeypatch.setattr(cls, "step", lambda *_: pytest.fail("trained again"))
    users = pyplot.figure()
    assert run(data, out).rows == result.rows
    assert pyplot.get_fignums() == [users.number]  # its own figures are closed, those of the user are not
    assert (out / "study.csv").read_bytes() == csv
    assert (out / "study.pdf").exists() and (out / "learning_curves.svg").exists()  # which were missing


@pytest.mark.parametrize("n", [6])
def test_a_stopped_study_goes_on_to_the_same_table(done, data, tmp_path, stop_after, n):
    with stop_after(n):
        run(data, tmp_path)
    run(data, tmp_path)
    assert (tmp_path / "study.csv").read_bytes() == (done[1] / "study.csv").read_bytes()


@pytest.fixture(scope="module")
def crossed(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("crossed")
    return run(data, out, split=None, splits=2, seeds=2, fractions=(0.5,), cam_layer="layer2"), out


def test_every_subject_is_tested_once_a_seed(crossed, data):
    result, out = crossed
    ds, arms = data[0], list(result.evaluations)
    assert [(arm.split, arm.seed, arm.init) for arm in arms] == list(
        itertools.product((0, 1), (0, 1), ("random", "simclr"))
    )
    tested = [set(split.test.subjects) for split in result.splits]
    assert not tested[0] & tested[1] and tested[0] | tested[1] == set(ds.subjects)
    assert all(parts.val is not None and not any(parts.overlaps()) for parts in result.splits)
    parts = result.repetitions("random", 0.5)
    assert len(parts) == 2 and all(sorted(part.rows) == list(range(len(ds))) for part in parts)
    assert set(result.pretraining) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    for k in (0, 1):  # pretrained without the test set
        found = read_checkpoint(out / f"split{k}" / "simclr" / "pretraining_seed1").extra["data"]
        train = result.splits[k].train
        assert found["fingerprint"] == unlabelled_fingerprint(train, with_subjects=False)


def test_the_arms_over_their_runs(crossed, data):
    result, out = crossed
    one, two = result.summary()
    ds = data[0]
    runs = [row["auc"] for row in result.rows if row["init"] == "random"]
    assert one["runs"] == 4 and one["auc_sd"] == pytest.approx(np.std(runs, ddof=1))
    apart = [
        evaluate_predictions(
            ds.labels[part.rows], part.probabilities, ds.classes, ds.subjects[part.rows], n_bootstrap=0
        )
        for part in result.repetitions("random", 0.5)
    ]
    assert one["auc"] == pytest.approx(np.mean([e.subjects["auc"].value for e in apart]))
    assert result.confusion("random", 0.5).sum() == 2 * ds.n_subjects
    ((f, difference),) = result.differences("random", "simclr", "auc")
    assert f == 0.5 and difference.difference.value == pytest.approx(two["auc"] - one["auc"])
    assert difference.difference.low <= difference.difference.value <= difference.difference.high
    mean = result.mean_difference("random", "simclr", "auc")
    assert mean.difference._all() == pytest.approx(difference.difference._all())
    assert result.wins("random", "simclr", 0.5)[1] == 4
    for words in ("8 networks", "2 splits", "24 subjects", "of 4 runs", "standard deviation", "wholly above"):
        assert words in result.conclusions(), words
    text = (out / "study.md").read_text()
    assert "±" in text and result.conclusions() in text
    assert len((out / "summary.csv").read_text().splitlines()) == 3


def test_a_study_of_folds_repeats_and_reports(crossed, data, monkeypatch, tmp_path):
    result, out = crossed
    csv = (out / "study.csv").read_bytes()
    assert len(result.looks) == len(result.rows) == 8
    with monkeypatch.context() as patch:
        for cls in (SimCLRTask, ClassifierTask):
            patch.setattr(cls, "step", lambda *_: pytest.fail("trained again"))
        patch.setattr("simclr_mri.studies._judge.check_cams", lambda *_, **__: pytest.fail("checked again"))
        patch.setattr(Classifier, "evaluate", lambda *_, **__: pytest.fail("looked again"))
        again = run(data, out, split=None, splits=2, seeds=2, fractions=(0.5,), cam_layer="layer2")
    assert again.rows == result.rows and (out / "study.csv").read_bytes() == csv
    assert len(again.looks) == 8  # what was judged is read, not looked at again
    (arm, found), (_, kept) = next(iter(result.checks.items())), next(iter(again.checks.items()))
    assert arm.split == arm.seed == 0 and found.table() == kept.table()
    assert (found.cams.maps == kept.cams.maps).all() and found.cams.masks.keys() == kept.cams.masks.keys()
    text = study_report(again, title="Folds", intro="Twice.").write(tmp_path / "report.html").read_text()
    for words in ("each was judged once", "Learning curves", "2 splits", "All 8 runs", "runs ahead", "The access log"):
        assert words in text, words
    assert "10 of 10 done" not in (out / "runs.md").read_text() and "12 of 12 done" in (out / "runs.md").read_text()


def test_other_weights_are_judged_anew(data, tmp_path):
    small = {"inits": ("random",), "fractions": (1.0,)}
    first = run(data, tmp_path, **small)
    second = run(data, tmp_path, **small, finetune={**CLF, "random_state": 5}, resume="never")
    assert len(second.looks) == 2 and first.rows != second.rows
    assert second.looks[0]["test_set"] == second.looks[1]["test_set"]
    report = study_report(second, title="Again", intro="").to_html()
    assert "2 accesses for 1 runs; 1 of them again" in report


def test_choosing_on_the_test_set_is_on_record(data, tmp_path):
    result = run(data, tmp_path, inits=("random",), fractions=(1.0,), finetune={**CLF, "select_on": "test"})
    assert [look["purpose"] for look in result.looks] == ["the best epoch is chosen here", "judged"]
    assert "chosen on the test set, which flatters" in study_report(result, title="T", intro="").to_html()


def test_by_image_each_slice_counts(data, tmp_path):
    ds, _ = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = split(ds, by="image", seed=0)
    result = run(data, tmp_path, split=parts, inits=("random",), fractions=(1.0,))
    assert result.level == "slice" and result.rows[0]["accuracy"] == result.rows[0]["slice_accuracy"]
    assert "how well subjects are remembered" in result.conclusions()
    text = (tmp_path / "study.md").read_text()
    assert text.count("| labels | images | random |") == 2 and "Accuracy by slice on the test set" in text


def test_what_cannot_be_split_is_said_at_once(data, tmp_path):
    with pytest.raises(ValueError, match="splits: expected 1 or more"):
        study(data[0], splits=0, out=tmp_path)
    with pytest.raises(ValueError, match="at least one Split"):
        study(data[0], splits=[], out=tmp_path)


def test_the_plan_knows_what_is_left(data, tmp_path):
    parts = data[1]
    arms = [Arm(name, 1.0, 0) for name in ("random", "simclr")]
    plan = Plan(tmp_path / "runs.md", arms, [parts], SimCLR(**SSL), Classifier(**CLF))
    assert plan.seconds_left() is None and "left" not in plan.begin(arms[0])
    n = len(parts.train)
    plan.end(arms[0], [{"seconds": 10.0, "images": n}], 0.5)
    looks = (len(parts.val) + len(parts.test)) / 3
    assert plan.seconds_left() == pytest.approx(10.0 * (1 + 2 + looks / n))  # pretraining: pairs, two images each
    assert plan.begin(arms[1]).startswith("run 2 of 2: simclr, 100 % of the labels, seed 0 (about")
    text = (tmp_path / "runs.md").read_text()
    assert text.startswith("1 of 3 done, about") and "| pretraining, seed 0 | running |" in text
    plan.pretrained(arms[1], [{"seconds": 30.0, "images": n}])
    plan.end(arms[1], [{"seconds": 10.0, "images": n}], 0.5)
    assert plan.seconds_left() == 0 and (tmp_path / "runs.md").read_text().startswith("3 of 3 done")


def test_another_study_in_the_same_folder_is_refused(done, data):
    with pytest.raises(ValueError, match="holds a run with epochs=1"):
        run(data, done[1], finetune={**CLF, "epochs": 2})


def test_examples_are_spread_over_classes_and_subjects(data):
    chosen = spread_examples(data[0], 9)
    assert len(chosen) == 9 and set(chosen.labels) == {0, 1, 2}
    assert len(set(chosen.subjects)) == 9
    assert len(spread_examples(data[0][:4], 9)) == 4


def test_examples_show_the_regions_that_are_known(data):
    ds = datasets.phantoms(seed=0, n_subjects=12, slices=6, image_size=64, task="3class")
    chosen = spread_examples(ds, 12)
    assert len(set(chosen.subjects)) == 12
    assert all(mask.any(axis=(1, 2)).all() for mask in chosen.masks.values())
    real = datasets.Dataset(ds.images, ds.labels, ds.classes, ds.subjects, slices=ds.slices)  # regions unknown
    assert set(spread_examples(real, 12).slices) == {4}


def test_the_report_of_a_study(done, tmp_path):
    result, _ = done
    report = study_report(result, title="A <study>", intro="What & why.", pretrain_batch_size=8)
    text = report.write(tmp_path / "report.html").read_text()
    assert text.count("data:image/png;base64") >= 8
    for words in ("A &lt;study&gt;", "What &amp; why.", "Confusion matrices", "ventricles", "difference", "images/s"):
        assert words in text
    assert text.count("not a medical device") == 1
    assert "http://" not in text and "https://" not in text and 'src="data:' in text
    assert Arm("a/b.safetensors", 0.01, 2).folder == "b_safetensors/1pct_seed2"
