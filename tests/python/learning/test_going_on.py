"""Runs that are stopped, copied, loaded, extended: what goes on ends in the bits of a run that did not stop."""

from __future__ import annotations

import os
import pickle
import signal
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from simclr_mri import Classifier, LinearProbe, SimCLR, TrainingInterrupted, cross_val_proba, datasets, split
from simclr_mri.datasets import Dataset
from simclr_mri.learning import read_checkpoint
from simclr_mri.learning._classifier_task import ClassifierTask
from simclr_mri.learning._simclr_task import SimCLRTask
from simclr_mri.weights import CheckpointError

SMALL = {"arch": "resnet18", "verbose": 0, "batch_size": 8}
SSL = {**SMALL, "epochs": 2, "lr": 0.005, "knn_every": 0}
CLF = {**SMALL, "epochs": 3}


@pytest.fixture(scope="module")
def parts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=20, slices=2, image_size=32, task="cdr0")
        return list(split(ds, by="subject", seed=0))


@pytest.fixture(scope="module")
def ssl(parts):
    return SimCLR(**{**SSL, "epochs": 1}).fit(parts[0])


def bits(estimator) -> dict[str, np.ndarray]:
    return estimator.network_.state()


def same_bits(a, b) -> bool:
    one, two = bits(a), bits(b)
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def stopped(monkeypatch, estimator, n, *data, **more):
    """`estimator`, fitted until Ctrl-C comes before step n."""
    task = {SimCLR: SimCLRTask, Classifier: ClassifierTask}[type(estimator)]
    plain = task.step

    def step(self, indices, epoch, number, *rates):
        if number == n:
            os.kill(os.getpid(), signal.SIGINT)
        plain(self, indices, epoch, number, *rates)

    with monkeypatch.context() as patch, pytest.warns(TrainingInterrupted):
        patch.setattr(task, "step", step)
        patch.setattr(signal, "default_int_handler", signal.default_int_handler)
        return estimator.fit(*data, **more)


# ---- stopped without a folder ---------------------------------------------------------------------------------------


def test_a_stopped_classifier_predicts_with_its_best_epoch_and_goes_on_from_its_last_step(parts, tmp_path, monkeypatch):
    unbroken = Classifier(**CLF).fit(parts[0], parts[1])
    n = 2 * -(-len(parts[0]) // 8) + 1  # in the third epoch
    clf = stopped(monkeypatch, Classifier(**CLF), n, parts[0], parts[1])
    best = Classifier(**{**CLF, "epochs": 2, "schedule": "cosine"})
    assert clf.best_epoch_ in (1, 2) and not clf.position_.finished and best.epochs == 2
    proba = clf.predict_proba(parts[2])
    twin = pickle.loads(pickle.dumps(clf))
    for i, one in enumerate((clf, twin)):
        one.save(tmp_path / f"{i}")
        loaded = Classifier.load(tmp_path / f"{i}")
        np.testing.assert_array_equal(loaded.predict_proba(parts[2]), proba)
        loaded.save(tmp_path / f"{i}_again")
        for folder in (f"{i}", f"{i}_again"):
            resumed = Classifier(**CLF).fit(parts[0], parts[1], checkpoint=tmp_path / folder)
            assert same_bits(resumed, unbroken) and resumed.best_epoch_ == unbroken.best_epoch_
            assert resumed.history_.column("loss") == unbroken.history_.column("loss")


def test_an_unfinished_checkpoint_without_its_optimizer_is_refused(parts, tmp_path, monkeypatch):
    ssl = stopped(monkeypatch, SimCLR(**SSL), 2, parts[0])
    ssl._unfinished = None  # as version 0.1 left it in a pickle
    ssl.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"without the state of its optimizer.*Start a new run from its weights"):
        SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run")


# ---- a step that is done is counted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["in the core's last instant", "after the core", "after the count"])
@pytest.mark.parametrize("batch_size", [8, 24])  # several steps an epoch, and one
def test_ctrl_c_around_the_end_of_a_step_counts_the_step_with_its_loss(
    parts, tmp_path, monkeypatch, moment, batch_size
):
    train, options = parts[0][:24], {**SSL, "batch_size": batch_size, "lr": 0.001}
    unbroken = SimCLR(**options).fit(train)
    if moment == "in the core's last instant":
        plain = SimCLRTask._make_trainer

        def make(self, *args, **kwargs):
            plain(self, *args, **kwargs)
            self.trainer = KilledAtEnd(self.trainer)

        patched = ("_make_trainer", make)
    else:
        plain = SimCLRTask._count

        def count(self, *args):
            if moment == "after the core":
                os.kill(os.getpid(), signal.SIGINT)
            plain(self, *args)
            if moment == "after the count" and self.position.step == 1:
                os.kill(os.getpid(), signal.SIGINT)

        patched = ("_count", count)
    with monkeypatch.context() as patch, pytest.warns(TrainingInterrupted):
        patch.setattr(SimCLRTask, *patched)
        ssl = SimCLR(**options).fit(train, checkpoint=tmp_path / "run")
    assert ssl.position_.step == 1 and ssl.position_.n_images == batch_size and ssl.position_.loss_sum > 0
    resumed = SimCLR(**options).fit(train, checkpoint=tmp_path / "run")
    assert same_bits(resumed, unbroken)
    for name in ("loss", "spread", "uniformity", "images"):
        assert resumed.history_.column(name) == unbroken.history_.column(name), name


class KilledAtEnd:
    """A trainer of the core; Ctrl-C arrives when its step is done and Python does not know."""

    def __init__(self, trainer):
        self._trainer = trainer

    def __getattr__(self, name):
        return getattr(self._trainer, name)

    def simclr_step(self, *args, **kwargs):
        result = self._trainer.simclr_step(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)
        return result


def test_a_checkpoint_whose_step_was_counted_without_its_loss_can_be_resumed(parts, tmp_path, monkeypatch):
    """As version 0.1 left it: with one batch an epoch, every resume ended in a ZeroDivisionError."""
    from simclr_mri.learning._checkpoint import write_checkpoint

    options = {**SSL, "batch_size": 24}
    stopped(monkeypatch, SimCLR(**options), 1, parts[0][:24], checkpoint=tmp_path / "run")
    found = read_checkpoint(tmp_path / "run")
    found.progress |= {"epoch": 0, "step_in_epoch": 1, "n_images": 0, "loss_sum": 0.0}
    found.history = []
    write_checkpoint(tmp_path / "run", found)
    resumed = SimCLR(**options).fit(parts[0][:24], checkpoint=tmp_path / "run")
    assert np.isnan(resumed.history_[0]["loss"]) and np.isfinite(resumed.history_[1]["loss"])


# ---- copies and starts -----------------------------------------------------------------------------------------------


def test_a_copy_keeps_its_fitted_start(parts, ssl):
    clf = clone(Classifier(ssl, epochs=1, batch_size=8, verbose=0))
    assert clf.init is ssl and not hasattr(clf, "network_")
    assert clone(LinearProbe(ssl)).init is ssl
    assert clone(ssl).get_params() == ssl.get_params() and not hasattr(clone(ssl), "network_")
    ds = parts[0]
    for estimator in (clf, LinearProbe(ssl)):
        assert cross_val_proba(estimator, ds, n_splits=2).shape == (len(ds), 2)


def test_the_architecture_of_the_start_is_said_everywhere(parts, ssl, tmp_path):
    ssl.save(tmp_path / "ssl")
    for start in (ssl, str(tmp_path / "ssl"), tmp_path / "ssl"):
        clf = Classifier(start, epochs=1, batch_size=8, verbose=0)
        estimate = clf.estimate(parts[0])
        assert clf.get_params()["arch"] == "resnet18" and "arch='resnet18'" in repr(clf)
        assert "resnet18, not fitted yet" in clf._repr_html_()
        assert estimate.memory_bytes < Classifier("random", epochs=1, batch_size=8).estimate(parts[0]).memory_bytes
    clf.fit(parts[0], checkpoint=tmp_path / "clf")
    assert read_checkpoint(tmp_path / "clf").config["arch"] == "resnet18"
    assert '"arch": "resnet18"' in (tmp_path / "clf" / "manifest.json").read_text()
    assert clf.arch == "resnet50"  # the parameter stays what it was: with another start it counts


def test_a_loaded_classifier_is_one_that_was_fitted(parts, ssl, tmp_path):
    ssl.save(tmp_path / "ssl")
    from_file = Classifier(str(tmp_path / "ssl"), **CLF, label_fraction=0.5).fit(parts[0], checkpoint=tmp_path / "a")
    again = Classifier.load(tmp_path / "a")
    np.testing.assert_array_equal(again.labelled_, from_file.labelled_)
    assert again.init == str(tmp_path / "ssl") and same_bits(clone(again).fit(parts[0]), from_file)
    from_memory = Classifier(ssl, **{**CLF, "epochs": 1}).fit(parts[0], checkpoint=tmp_path / "b")
    lost = Classifier.load(tmp_path / "b")
    with pytest.raises(ValueError, match=r"init='SimCLR #\w+'.*does not hold them.*set_params\(init=ssl\)"):
        clone(lost).fit(parts[0])
    assert same_bits(clone(lost).set_params(init=ssl, verbose=0).fit(parts[0]), from_memory)
    assert same_bits(clone(lost).fit(parts[0], checkpoint=tmp_path / "b"), from_memory)  # the finished run is read
    probe = LinearProbe(tmp_path / "b").fit(parts[0])
    np.testing.assert_array_equal(probe.transform(parts[2]), from_memory.transform(parts[2]))


def test_nothing_of_training_stays(parts):
    clf = Classifier(**CLF).fit(parts[0], parts[1])
    n_bytes = sum(array.nbytes for array in bits(clf).values())
    assert n_bytes < len(pickle.dumps(clf)) < 1.1 * n_bytes
    held = [value for value in vars(clf).values() if isinstance(value, (dict, ClassifierTask))]
    assert not any(isinstance(v, ClassifierTask) or any(isinstance(a, np.ndarray) for a in v.values()) for v in held)


# ---- parameters ------------------------------------------------------------------------------------------------------

TWINS = {
    "int64": {"epochs": np.int64(1), "batch_size": np.int64(8), "random_state": np.int32(3), "n_jobs": np.int64(1)},
    "float32": {"lr": np.float32(0.25), "momentum": np.float64(0.5), "weight_decay": np.float32(0.125)},
    "whole floats": {"epochs": 1.0, "batch_size": 8.0, "random_state": 3.0},
    "arrays of no dimension": {"epochs": np.array(1), "lr": np.array(0.25), "nesterov": np.bool_(True)},
}


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize("cls", [SimCLR, Classifier])
def test_checked_values_are_what_is_used_and_written(parts, tmp_path, cls, kind):
    given = {**SMALL, "epochs": 1, **TWINS[kind]}
    plain = {name: np.asarray(value).item() for name, value in given.items()}
    plain |= {name: int(plain[name]) for name in ("epochs", "batch_size", "random_state") if name in plain}
    facts = {"share": np.float32(0.5), "path": tmp_path, "sizes": np.arange(2)}
    one = cls(**given).fit(parts[0], checkpoint=tmp_path / "run", facts=facts)
    one.save(tmp_path / "copy")
    assert same_bits(one, cls(**plain).fit(parts[0], checkpoint=tmp_path / "run", facts=facts))  # the run is read
    config = read_checkpoint(tmp_path / "copy").config
    assert {name: config[name] for name in plain} == plain and one.data_["share"] == 0.5
    assert all(type(config[name]) is type(plain[name]) for name in plain)
    assert one.get_params()["epochs"] is given["epochs"]


def test_facts_that_json_cannot_hold_are_found_before_training(parts, tmp_path):
    with pytest.raises(TypeError, match=r"facts: expected what JSON can hold.*object"):
        SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run", facts={"what": object()})
    assert not (tmp_path / "run").exists()


def test_set_params_with_a_recipe_sets_what_the_recipe_says():
    ssl = SimCLR(lr=0.5).set_params(recipe="quick")
    quick = SimCLR(recipe="quick", lr=0.5)
    assert ssl.get_params() == quick.get_params() != SimCLR(lr=0.5).get_params()
    assert clone(ssl).set_params(recipe="default").get_params() == SimCLR(lr=0.5).get_params()
    assert Classifier().set_params(recipe="quick", epochs=7).get_params() == {
        **Classifier(recipe="quick").get_params(),
        "epochs": 7,
    }
    with pytest.raises(ValueError, match=r"recipe='quik' is unknown. Did you mean 'quick'"):
        ssl.set_params(recipe="quik")


# ---- the same data, more epochs --------------------------------------------------------------------------------------


def test_the_same_pixels_without_labels_are_the_same_data(parts, tmp_path):
    whole = SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run")
    for ds in (parts[0].unlabelled(), Dataset(parts[0].images), parts[0].with_subjects(None)):
        assert same_bits(SimCLR(**SSL).fit(ds, checkpoint=tmp_path / "run"), whole)
    with pytest.raises(ValueError, match="other training data"):
        SimCLR(**SSL).fit(Dataset(parts[0].images[::-1]), checkpoint=tmp_path / "run")
    paired = {**SSL, "exclude_same_subject": True}
    SimCLR(**{**paired, "epochs": 0}).fit(parts[0], checkpoint=tmp_path / "pairs")
    with pytest.raises(ValueError, match="other training data"):
        other = parts[0].with_subjects(parts[0].subjects[::-1])
        SimCLR(**{**paired, "epochs": 0}).fit(other, checkpoint=tmp_path / "pairs")


@pytest.mark.parametrize("cls", [SimCLR, Classifier])
def test_a_finished_run_is_extended_where_the_schedule_permits(parts, tmp_path, cls):
    options = {**SMALL, "schedule": "constant", "lr": 0.002}
    longer = cls(**options, epochs=2).fit(parts[0], parts[1])
    one = cls(**options, epochs=1).fit(parts[0], parts[1], checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(cls.load(tmp_path / "run").transform(parts[2]), one.transform(parts[2]))
    two = cls(**options, epochs=2).fit(parts[0], parts[1], checkpoint=tmp_path / "run")
    assert same_bits(two, longer) and two.position_.finished and len(two.history_) == 2
    with pytest.raises(ValueError, match=r"holds a run with epochs=2 \(now 1\)"):
        cls(**options, epochs=1).fit(parts[0], parts[1], checkpoint=tmp_path / "run")


@pytest.mark.parametrize(("cls", "start"), [(SimCLR, "weights"), (Classifier, "init")])
def test_where_a_run_cannot_be_extended_it_is_said_what_can_be_done(parts, tmp_path, cls, start):
    cls(**SMALL, epochs=1).fit(parts[0], checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=rf"schedule='cosine' spreads .* over 1 epochs.*{start}='.*run'"):
        cls(**SMALL, epochs=2).fit(parts[0], checkpoint=tmp_path / "run")
    assert cls(**{**SMALL, "epochs": 1, start: str(tmp_path / "run")}).fit(parts[0]).position_.finished
