"""Each start's own learning rate: tried alike, chosen on validation data only, kept through stops and repeats."""

from __future__ import annotations

import csv
import math
import warnings

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest

from simclr_mri import Classifier, SimCLR, datasets, split, study, study_report
from simclr_mri.learning import read_checkpoint
from simclr_mri.learning._classifier_task import ClassifierTask
from simclr_mri.learning._simclr_task import SimCLRTask
from simclr_mri.studies import Arm, _rates
from simclr_mri.studies._plan import Plan
from simclr_mri.studies._rates import checked_rates, held_back, rates_table, trial_name, validation_score

SSL = {"arch": "resnet18", "epochs": 1, "batch_size": 8, "verbose": 0, "knn_every": 0}
CLF = {"arch": "resnet18", "epochs": 2, "batch_size": 16, "verbose": 0}
LRS = (1e-3, 1e-4)


@pytest.fixture(scope="module")
def data():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=24, slices=2, image_size=32, task="cdr0")
        return ds, split(ds, seed=0)


def run(data, out, **more):
    ds, parts = data
    options = {"fractions": (1.0,), "n_bootstrap": 10, "split": parts, "pretrain": SSL, "finetune": CLF, "lrs": LRS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return study(ds, out=out, **{**options, **more})


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """Two seeds; validation is made to like another rate for each start."""
    out, plain = tmp_path_factory.mktemp("rates"), _rates.validation_score

    def score(clf):
        metric, _ = plain(clf)
        wanted = 1e-3 if clf.init == "random" else 1e-4
        return metric, 0.9 if clf.lr == wanted else 0.6

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rates, "validation_score", score)
        return run(data, out, seeds=2), out


def test_each_start_keeps_the_rate_that_validation_likes(done):
    result, out = done
    assert {(row["init"], row["seed"]): row["lr"] for row in result.rows} == {
        ("random", 0): 1e-3, ("random", 1): 1e-3, ("simclr", 0): 1e-4, ("simclr", 1): 1e-4,
    }  # fmt: skip
    tried = [(t["init"], t["lr"], t["val_score"], t["chosen"]) for t in result.trials]
    assert tried == [
        ("random", 1e-4, 0.6, False), ("random", 1e-3, 0.9, True),
        ("simclr", 1e-4, 0.9, True), ("simclr", 1e-3, 0.6, False),
    ]  # fmt: skip
    with open(out / "rates.csv", newline="") as file:
        assert [(row["init"], row["chosen"]) for row in csv.DictReader(file)] == [(t[0], str(t[3])) for t in tried]
    # The same budget for each: as many trials, as many epochs; and no look at the test set but one a run.
    for name in ("random", "simclr"):
        for lr in LRS:
            found = read_checkpoint(out / name / "100pct_seed0" / trial_name(lr))
            assert found.config["lr"] == lr and len(found.history) == CLF["epochs"]
    assert [look["purpose"] for look in result.looks] == ["judged"] * 4


def test_the_trial_is_the_run_where_it_learnt_from_the_same_data(done):
    out = done[1]
    folder = out / "simclr" / "100pct_seed0"
    run_of, trial = read_checkpoint(folder), read_checkpoint(folder / trial_name(1e-4))
    assert run_of.config == trial.config
    assert all((run_of.model[name] == trial.model[name]).all() for name in trial.model)
    assert not list((out / "simclr" / "100pct_seed1").glob("lr_*"))  # the second seed tries nothing


def test_it_is_told_in_every_place(done, tmp_path):
    result, out = done
    sentence = "Every start tried the learning rates 0.0001 and 0.001 alike"
    page, text = (out / "study.md").read_text(), study_report(result, title="T", intro="").to_html()
    for shown in (page, text, result.conclusions()):
        assert sentence in shown and "random weights 0.001, SimCLR 0.0001" in shown
    assert "| random | 100 % | 0.600 | 0.900 (chosen) |" in page
    assert "among the same few" in text and "balanced accuracy by slice on validation data" in text
    plan = (out / "runs.md").read_text()
    assert plan.startswith("10 of 10 done") and "seed 0: rate 0.0001 on validation data | done" in plan


def test_only_training_and_validation_images_are_seen(data, tmp_path, monkeypatch):
    seen, plain = [], Classifier.fit

    def fit(self, train, val=None, **options):
        seen.append((self.lr, set(train.files), set(val.files)))
        return plain(self, train, val, **options)

    monkeypatch.setattr(Classifier, "fit", fit)
    result = run(data, tmp_path, inits=("random",))
    parts = data[1]
    assert [lr for lr, *_ in seen] == [1e-4, 1e-3, result.rows[0]["lr"]]
    for _, train, val in seen:
        assert train == set(parts.train.files) and val == set(parts.val.files)
    best = max(result.trials, key=lambda trial: trial["val_score"])
    assert best["chosen"] and best["lr"] == result.rows[0]["lr"]


@pytest.mark.parametrize("by", ["subject", "image"])
def test_without_validation_data_a_part_of_training_is_held_back(data, tmp_path, monkeypatch, by):
    seen, plain = [], Classifier.fit

    def fit(self, train, val=None, **options):
        seen.append((train, val))
        return plain(self, train, val, **options)

    monkeypatch.setattr(Classifier, "fit", fit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = split(data[0], by=by, seed=0, fractions=(0.8, 0.2))
    result = run(data, tmp_path, split=parts, inits=("random",), finetune={**CLF, "select": "last"})
    whole = set(parts.train.files)
    for train, val in seen[:2]:
        assert set(train.files) | set(val.files) == whole and not set(train.files) & set(val.files)
        assert by == "image" or not set(train.subjects) & set(val.subjects)
    assert len(seen) == 3 and set(seen[2][0].files) == whole and seen[2][1] is None
    assert result.rows[0]["n_labelled"] == len(whole)
    plan = (tmp_path / "runs.md").read_text()
    assert plan.startswith("3 of 3 done")


def test_the_test_set_never_chooses_a_rate(data, tmp_path, monkeypatch):
    """Also where the recipe lets it choose the epoch: the run is then trained anew, and not the trial's."""
    parts = data[1]
    monkeypatch.setattr(_rates, "validation_score", lambda clf: ("balanced_accuracy", -clf.lr))
    seen, plain = [], Classifier.fit

    def fit(self, train, val=None, **options):
        seen.append(set(val.files))
        return plain(self, train, val, **options)

    monkeypatch.setattr(Classifier, "fit", fit)
    result = run(data, tmp_path, inits=("random",), finetune={**CLF, "select_on": "test"})
    assert seen[:2] == [set(parts.val.files)] * 2 and seen[2] == set(parts.test.files)
    assert result.rows[0]["lr"] == 1e-4


@pytest.mark.parametrize("n", [6])
def test_a_stopped_choice_goes_on_to_the_same_table(data, tmp_path, monkeypatch, stop_after, n):
    whole = run(data, tmp_path / "whole")
    with stop_after(n):
        run(data, tmp_path / "stopped")
    assert run(data, tmp_path / "stopped").rows == whole.rows
    for name in ("study.csv", "summary.csv", "rates.csv", "study.md"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    for cls in (SimCLRTask, ClassifierTask):
        monkeypatch.setattr(cls, "step", lambda *_: pytest.fail("trained again"))
    again = run(data, tmp_path / "stopped")
    assert again.rows == whole.rows and len(again.looks) == 2


def test_a_rate_that_diverges_has_lost(data, tmp_path, monkeypatch):
    plain = ClassifierTask.step

    def step(self, *args):
        if self.options.lr == 1e-4:
            raise FloatingPointError("the loss is not finite")
        return plain(self, *args)

    monkeypatch.setattr(ClassifierTask, "step", step)
    result = run(data, tmp_path, inits=("random",))
    assert result.rows[0]["lr"] == 1e-3 and result.trials[0]["val_score"] == -math.inf
    assert "| diverged |" in result.page()


def test_scores_are_those_of_the_kept_epoch(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            select: Classifier(**CLF, select=select).fit(data[1].train, data[1].val)
            for select in ("balanced_accuracy", "loss", "last")
        }
    clf = found["balanced_accuracy"]
    assert validation_score(clf) == ("balanced_accuracy", max(clf.history_.column("val_balanced_accuracy")))
    assert validation_score(found["loss"]) == ("loss", -min(found["loss"].history_.column("val_loss")))
    last = found["last"].history_[-1]["val_balanced_accuracy"]
    assert validation_score(found["last"]) == ("balanced_accuracy", last)
    assert last == pytest.approx(found["last"].score(data[1].val))


def test_rates_are_checked_before_anything_is_trained(data, tmp_path):
    assert checked_rates(None) == () and checked_rates([3e-4, 1e-4, 3e-4]) == (1e-4, 3e-4)
    for bad, words in (((0.0, 1e-3), "above 0"), ((math.inf, 1e-3), "above 0"), ((1e-3,), "two or more")):
        with pytest.raises(ValueError, match=words):
            run(data, tmp_path, lrs=bad)
    assert not list(tmp_path.iterdir())


def test_the_table_over_splits():
    trial = {"init": "weights/a.pth", "label_fraction": 0.5, "metric": "accuracy"}
    scores = {(0, 1e-3): 0.5, (0, 1e-4): 0.6, (1, 1e-3): 0.7, (1, 1e-4): 0.5, (2, 1e-3): 0.6, (2, 1e-4): 0.4}
    best = {0: 1e-4, 1: 1e-3, 2: 1e-3}
    trials = [{**trial, "split": k, "lr": r, "val_score": v, "chosen": best[k] == r} for (k, r), v in scores.items()]
    assert rates_table(trials) == (
        ["start", "labels", "0.0001", "0.001"],
        [["a.pth", "50 %", "0.500 (chosen in 1 of 3)", "0.600 (chosen in 2 of 3)"]],
    )


def test_the_plan_counts_trials(data, tmp_path):
    parts, arms = data[1], [Arm("random", 1.0, seed) for seed in (0, 1)]
    plan = Plan(tmp_path / "runs.md", arms, [parts], SimCLR(**SSL), Classifier(**CLF), LRS)
    plan.begin(arms[0])
    n, looks = 2 * len(parts.train), 2 * len(parts.val)
    plan.tried(arms[0], 1e-3, [{"seconds": 10.0, "images": n}], 0.5)
    # Left: the other rate, what the first run is judged on, and the second run.
    images = n + looks / 3 + len(parts.test) / 3 + n + (looks + len(parts.test)) / 3
    assert plan.seconds_left() == pytest.approx(10.0 * images / n)
    plan.tried(arms[0], 1e-4, [{"seconds": 10.0, "images": n}], 0.6)
    plan.end(arms[0], [{"seconds": 10.0, "images": n}], 0.5)
    text = (tmp_path / "runs.md").read_text()
    assert text.startswith("3 of 4 done") and "| random, 100 % of the labels, seed 0 | done | 0 | 0.500 |" in text


def test_what_is_held_back_depends_on_the_seed_only(data):
    train = data[1].train
    one, two, other = (held_back(train, "subject", seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(one.files, two.files) and set(one.files) != set(other.files)
