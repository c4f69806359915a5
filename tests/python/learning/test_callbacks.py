"""Callbacks: when they are called, what they may do, what becomes of their errors; early stopping; the log."""

from __future__ import annotations

import json
import logging
import warnings

import numpy as np
import pytest

from simclr_mri import Callback, Classifier, EarlyStopping, SimCLR, datasets, split
from simclr_mri.learning import read_checkpoint

SMALL = {"arch": "resnet18", "verbose": 0, "batch_size": 8}


@pytest.fixture(scope="module")
def parts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=20, slices=2, image_size=32, task="cdr0")
        return list(split(ds, by="subject", seed=0))


def same_bits(a, b) -> bool:
    one, two = a.network_.state(), b.network_.state()
    return all(np.array_equal(one[name], two[name]) for name in one)


class Diary(Callback):
    def __init__(self):
        self.lines = []

    def on_fit_begin(self, run):
        self.lines.append(("fit begins", run.epochs))

    def on_epoch_begin(self, run):
        self.lines.append(("epoch begins", run.epoch))

    def on_step_end(self, run):
        self.lines.append(("step", run.step, np.isfinite(run.result["loss"])))

    def on_epoch_end(self, run):
        run.row["mean_probability"] = np.float32(run.estimator.predict_proba(run.probe).mean())
        self.lines.append(("epoch ends", run.epoch, run.row["epoch"], len(run.history)))

    def on_fit_end(self, run):
        self.lines.append(("fit ends", run.position.finished, run.error is None))


def test_the_five_moments_and_what_can_be_seen_there(parts, tmp_path):
    diary, train = Diary(), parts[0][:16]

    class WithProbe(Diary):  # a callback may carry its own data
        def on_fit_begin(self, run):
            run.probe = parts[2]

    plain = Classifier(**SMALL, epochs=2).fit(train, parts[1])
    clf = Classifier(**SMALL, epochs=2).fit(
        train, parts[1], checkpoint=tmp_path / "run", callbacks=[WithProbe(), diary]
    )
    steps = [("step", n, True) for n in range(1, 5)]
    assert diary.lines == [
        ("fit begins", 2), ("epoch begins", 1), *steps[:2], ("epoch ends", 1, 1, 1),
        ("epoch begins", 2), *steps[2:], ("epoch ends", 2, 2, 2), ("fit ends", True, True),
    ]  # fmt: skip
    assert same_bits(clf, plain)
    assert clf.history_.column("mean_probability") == [0.5, 0.5]
    assert "mean_probability" in (tmp_path / "run" / "log.csv").read_text().splitlines()[0]
    assert read_checkpoint(tmp_path / "run").history[0]["mean_probability"] == 0.5


@pytest.mark.parametrize(
    ("cls", "moment"),
    [
        (Classifier, "on_fit_begin"),
        (Classifier, "on_epoch_begin"),
        (Classifier, "on_step_end"),
        (Classifier, "on_epoch_end"),
        (SimCLR, "on_step_end"),
    ],
)
def test_an_error_in_a_callback_loses_nothing(parts, tmp_path, cls, moment):
    class Faulty:
        """Any object that has one of the methods."""

        ended = 0

        def on_fit_end(self, run):
            self.ended += 1
            assert isinstance(run.error, KeyError)

    def fails(run):
        if run.step >= (3 if moment == "on_step_end" else 0):
            raise KeyError("mine")

    faulty, options = Faulty(), {**SMALL, "epochs": 2}
    setattr(faulty, moment, fails)
    estimator = cls(**options)
    with pytest.raises(KeyError, match="mine") as found:
        estimator.fit(parts[0], parts[1], checkpoint=tmp_path / "run", callbacks=[faulty])
    notes = " ".join(found.value.__notes__)
    assert f"in {moment} of Faulty" in notes and "The model is usable as it is. Saved to" in notes.replace(
        "the model", "The model"
    )
    assert faulty.ended == 1 and estimator.transform(parts[2]).shape[1] == 512
    assert "failed" in (tmp_path / "run" / "log.jsonl").read_text()
    unbroken = cls(**options).fit(parts[0], parts[1])
    resumed = cls(**options).fit(parts[0], parts[1], checkpoint=tmp_path / "run")
    assert same_bits(resumed, unbroken)
    estimator.save(tmp_path / "by hand")
    assert same_bits(cls(**options).fit(parts[0], parts[1], checkpoint=tmp_path / "by hand"), unbroken)


WRONG = {
    "a class": (lambda: [Diary], r"callbacks\[0\]: Diary is a class; give an object of it: Diary\(\)"),
    "no list": (lambda: Diary(), r"callbacks: expected a list of callbacks, got Diary; give \[callback\]"),
    "a number": (lambda: [Diary(), 3], r"callbacks\[1\]: expected an object with on_fit_begin, .*, got int"),
    "a misspelt method": (
        lambda: [type("Mine", (), {"on_epoch_ends": lambda self, run: None})()],
        r"callbacks\[0\]: Mine.on_epoch_ends is never called. Did you mean 'on_epoch_end'\?",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_callback_is_named_before_any_work(parts, what, tmp_path):
    make, message = WRONG[what]
    with pytest.raises(TypeError, match=message):
        SimCLR(**SMALL, epochs=1).fit(parts[0], checkpoint=tmp_path / "run", callbacks=make())
    assert not (tmp_path / "run").exists()


# ---- early stopping --------------------------------------------------------------------------------------------------


def scores(values, column="val_loss"):
    """A callback that puts these values into the rows."""

    class Scores(Callback):
        def on_epoch_end(self, run):
            run.row[column] = values[run.row["epoch"] - 1]

    return Scores()


@pytest.mark.parametrize(
    ("column", "values", "options", "epochs"),
    [
        ("val_loss", [3, 2, 2, 2, 1, 1], {"patience": 2}, 4),
        ("val_loss", [3, 2, 2, 1, 1, 1], {"patience": 2}, 6),
        ("val_balanced_accuracy", [0.5, 0.6, 0.6, 0.6, 0.9, 0.9], {"patience": 2, "monitor": None}, 4),
        ("val_loss", [3, 2.9, 2.8, 2.7, 2.6, 2.5], {"patience": 1, "min_delta": 0.5}, 2),
        ("mine", [1, None, float("nan"), 0.5, 0.4, 0.3], {"patience": 3, "mode": "min"}, 6),
        ("mine", [1, None, float("nan"), 0.5, 0.4, 0.3], {"patience": 3, "mode": "max"}, 4),
    ],
)
def test_early_stopping(parts, column, values, options, epochs):
    stop = EarlyStopping(**{"monitor": column, **options})
    clf = Classifier(**SMALL, epochs=6).fit(parts[0][:8], parts[1], callbacks=[scores(values, column), stop])
    assert len(clf.history_) == epochs and clf.position_.finished


def test_an_early_stop_is_the_end_of_the_run(parts, tmp_path, stop_after):
    def fit(folder):
        stop = EarlyStopping(patience=1, monitor="loss", min_delta=100)
        return Classifier(**SMALL, epochs=9).fit(parts[0], parts[1], checkpoint=folder, callbacks=[stop])

    clf = fit(tmp_path / "run")
    assert len(clf.history_) == 2 and clf.best_epoch_ in (1, 2)
    events = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any(event["event"] == "stopped" and "has not improved for 1 epoch" in event["why"] for event in events)
    assert (tmp_path / "run" / "manifest.json").exists()
    assert same_bits(fit(tmp_path / "run"), clf) and same_bits(Classifier.load(tmp_path / "run"), clf)
    with stop_after(7):
        fit(tmp_path / "killed")
    assert same_bits(fit(tmp_path / "killed"), clf)  # it looks at the whole history


def test_mistakes_of_early_stopping_are_named(parts):
    for wrong, message in (
        ({"patience": 0}, "patience=0: expected a whole number of epochs, at least 1"),
        ({"mode": "up"}, "mode='up': expected 'min', 'max' or None"),
        ({"min_delta": -1}, "min_delta=-1: expected a finite number, at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            EarlyStopping(**wrong)
    clf = Classifier(**SMALL, epochs=2)
    with pytest.raises(ValueError, match=r"no column 'val_los' in this run. Did you mean 'val_loss'"):
        clf.fit(parts[0], parts[1], callbacks=[EarlyStopping(monitor="val_los")])
    with pytest.raises(ValueError, match=r"no column 'val_loss'.*need validation data: fit\(train, val\)"):
        clf.fit(parts[0], callbacks=[EarlyStopping(monitor="val_loss")])


# ---- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_carries_what_is_printed(parts, caplog, capsys):
    with caplog.at_level(logging.INFO, "simclr_mri"):
        SimCLR(**{**SMALL, "verbose": 2}, epochs=2).fit(parts[0])
    printed = capsys.readouterr().err.strip().splitlines()
    logged = [record.getMessage() for record in caplog.records if record.name == "simclr_mri"]
    assert len(printed) == 2 and all(line in logged for line in printed) and "epoch 2/2" in printed[1]
    caplog.clear()
    with caplog.at_level(logging.INFO, "simclr_mri"):
        SimCLR(**SMALL, epochs=1).fit(parts[0])  # silent on the screen
    assert "epoch 1/1" in caplog.text and not capsys.readouterr().err
