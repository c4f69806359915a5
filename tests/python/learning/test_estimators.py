"""SimCLR, Classifier, LinearProbe: fitting, resuming to the same bits, interruption, and what can be asked wrongly."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from simclr_mri import (
    Classifier,
    LinearProbe,
    SimCLR,
    TrainingInterrupted,
    audit,
    datasets,
    export_weights,
    split,
    study,
)
from simclr_mri._shared import n_threads, sole_writer
from simclr_mri.datasets import Dataset
from simclr_mri.learning import CHECKPOINT_FILE, History, _callbacks, _simclr_task, epoch_order, read_checkpoint
from simclr_mri.learning._checkpoint import write_checkpoint
from simclr_mri.learning._classifier_task import ClassifierTask
from simclr_mri.learning._monitor import embedding_spread, knn_accuracy
from simclr_mri.learning._order import batch_bounds
from simclr_mri.learning._position import Position
from simclr_mri.learning._simclr_task import SimCLRTask
from simclr_mri.weights import CheckpointError

SMALL = {"arch": "resnet18", "verbose": 0}
SSL = {**SMALL, "epochs": 2, "batch_size": 8, "lr": 0.005, "warmup_epochs": 1, "knn_every": 1}
CLF = {**SMALL, "epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def parts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=24, slices=2, image_size=32, task="3class")
        return list(split(ds, by="subject", seed=0))


@pytest.fixture(scope="module")
def ssl(parts):
    return SimCLR(**SSL).fit(parts[0], parts[1])


def same_bits(a, b):
    one, two = a.network_.state(), b.network_.state()
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


class Stop(Exception):
    """Stands for a kill."""


def stop_after(monkeypatch, cls, n):
    """Step n is followed by a checkpoint; the next one raises before it begins."""
    task = {SimCLR: SimCLRTask, Classifier: ClassifierTask}[cls]
    plain, count = task.step, [0]

    def step(self, *args):
        count[0] += 1
        if count[0] > n:
            raise Stop
        monkeypatch.setattr(_callbacks, "SAVE_EVERY_S", 0.0 if count[0] == n else 1e9)
        return plain(self, *args)

    monkeypatch.setattr(task, "step", step)


def test_two_runs_do_not_write_to_one_folder(parts, tmp_path):
    """Each would go on from the other's checkpoint and write over it."""
    folder = tmp_path / "runs" / "one"
    with sole_writer(folder):
        for estimator in (SimCLR(**SSL), Classifier(**CLF)):
            with pytest.raises(BlockingIOError, match=r"one: another run is writing there; wait until it is done, or"):
                estimator.fit(parts[0], checkpoint=folder)
        with pytest.raises(BlockingIOError, match="another run is writing there"):
            study(parts[0], inits=["random"], fractions=[1.0], finetune=CLF, out=folder)
    assert not folder.exists()
    Classifier(**{**CLF, "epochs": 0}).fit(parts[0], checkpoint=folder)
    with sole_writer(folder):
        pass
    assert (folder / CHECKPOINT_FILE).exists()


# ---- fitting -------------------------------------------------------------------------------------------------------


def test_simclr_learns_and_looks(ssl, parts):
    assert ssl.position_.finished and [row["epoch"] for row in ssl.history_] == [1, 2]
    assert ssl.history_[-1]["loss"] < np.log(2 * 8 - 1) + 0.5
    assert 0 <= ssl.history_[-1]["knn_accuracy"] <= 1 and 0 < ssl.history_[-1]["spread"] <= 1.001
    features = ssl.transform(parts[2])
    assert features.shape == (len(parts[2]), 512) and features.dtype == np.float32
    np.testing.assert_array_equal(ssl.transform(parts[2].images[..., 0]), features)
    assert "loss" in str(ssl.history_) and "<table>" in ssl.history_._repr_html_()


def test_the_same_seed_gives_the_same_bits_with_any_number_of_threads(ssl, parts):
    assert same_bits(SimCLR(**SSL, n_jobs=1).fit(parts[0]), ssl)
    assert not same_bits(SimCLR(**{**SSL, "random_state": 1}).fit(parts[0]), ssl)


@pytest.mark.parametrize("init", ["random", "simclr", "file"])
def test_classifier_from_every_start(ssl, parts, tmp_path, init):
    start = {"random": "random", "simclr": ssl, "file": tmp_path / "ssl"}[init]
    ssl.save(tmp_path / "ssl")
    clf = Classifier(start, **CLF, label_fraction=0.5).fit(parts[0], parts[1])
    assert clf.classes_ == parts[0].classes and 1 <= clf.best_epoch_ <= 2
    assert 0 < len(clf.labelled_) < len(parts[0])
    probabilities = clf.predict_proba(parts[2])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(clf.predict(parts[2]), probabilities.argmax(axis=1))
    evaluation = clf.evaluate(parts[2], n_bootstrap=50)
    assert evaluation["balanced_accuracy"].value == pytest.approx(clf.score(parts[2]))


def test_fitted_estimators_can_be_pickled_and_copied(ssl, parts):
    images = parts[2].images
    clf = Classifier(ssl, **CLF).fit(parts[0])
    for twin in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf)):
        assert same_bits(twin, clf) and same_bits(twin.init, ssl)
        np.testing.assert_array_equal(twin.predict_proba(images), clf.predict_proba(images))
    assert not hasattr(pickle.loads(pickle.dumps(SimCLR(**SSL))), "network_")


def test_no_images_are_refused(ssl, parts):
    with pytest.raises(ValueError, match="expected at least one, got none"):
        ssl.transform(parts[2].images[:0])


def test_a_start_from_simclr_and_from_its_file_are_the_same(ssl, parts, tmp_path):
    ssl.save(tmp_path / "ssl.safetensors")
    one = Classifier(ssl, **CLF).fit(parts[0])
    two = Classifier(str(tmp_path / "ssl.safetensors"), **CLF).fit(parts[0])
    assert same_bits(one, two)
    assert not np.array_equal(
        one.network_.state()["conv1.weight"], Classifier(**CLF).fit(parts[0]).network_.state()["conv1.weight"]
    )


def test_the_best_epoch_is_kept_in_memory_and_on_disk(parts, tmp_path):
    clf = Classifier(**{**CLF, "epochs": 4}).fit(parts[0], parts[1], checkpoint=tmp_path / "clf")
    best = clf.history_[clf.best_epoch_ - 1]
    assert best["val_balanced_accuracy"] == max(clf.history_.column("val_balanced_accuracy"))
    predicted = clf.predict(parts[1])
    assert (predicted == parts[1].labels).mean() == pytest.approx(best["val_accuracy"])
    again = Classifier.load(tmp_path / "clf")
    np.testing.assert_array_equal(again.predict_proba(parts[1]), clf.predict_proba(parts[1]))
    assert again.classes_ == clf.classes_ and again.best_epoch_ == clf.best_epoch_ and len(again.history_) == 4
    assert again.get_params()["arch"] == "resnet18"


def test_the_paper_recipe_runs_and_says_its_oddities(parts):
    ds = Dataset(np.repeat(parts[0].images, 3, axis=3), parts[0].labels, parts[0].classes, parts[0].subjects)
    with pytest.warns(UserWarning, match="oddities included: .*no ImageNet weights"):
        ssl = SimCLR("resnet18", recipe="paper", epochs=2, batch_size=8, verbose=0).fit(ds)
    assert ssl.network_config_["features"] == "flatten" and ssl.preprocess_.mean == (0.0, 0.0, 0.0)
    assert ssl.history_.column("temperature") == [0.5, 0.5]
    with pytest.warns(UserWarning, match="best epoch is chosen on the set given as val"):
        clf = Classifier(ssl, recipe="paper", epochs=1, batch_size=8, verbose=0, fraction_by="image").fit(ds, ds)
    assert clf.network_.state()["fc.weight"].shape == (3, 512)  # 1 x 1 x 512 at 32 pixels


def test_the_temperature_drops_with_the_loss_per_image():
    task = object.__new__(SimCLRTask)
    task.options, task.history, task.position = SimCLR(recipe="paper"), History(), Position()
    task.temperature = 0.5
    for loss, expected in ((0.05, 0.5), (0.044, 0.3), (0.029, 0.1), (0.0199, 0.05), (0.05, 0.05)):
        task.next_epoch({"epoch": 1, "loss": loss * task.options.batch_size})
        assert task.temperature == expected


def test_linear_probe(ssl, parts):
    probe = LinearProbe(ssl).fit(parts[0])
    assert probe.predict_proba(parts[2]).shape == (len(parts[2]), 3)
    assert probe.evaluate(parts[2], n_bootstrap=0)["accuracy"].value >= 0
    assert probe.get_params()["C"] is None


def test_estimate_says_time_and_memory_and_changes_nothing(parts):
    ssl = SimCLR(**SSL)
    estimate = ssl.estimate(parts[0])
    assert estimate.steps == 2 * (len(parts[0]) // 8) and estimate.seconds > 0 and estimate.memory_bytes > 1e8
    assert not hasattr(ssl, "network_") and "steps" in str(estimate)
    n = len(parts[0])
    for change, message in (
        ({"batch_size": n + 1}, f"batch_size={n + 1} is larger than the {n} training images; choose at most {n}"),
        ({"batch_size": 8, "micro_batch": 3}, "micro_batch=3: expected a divisor of batch_size=8"),
        ({"batch_size": 1}, "batch_size=1: expected at least 2"),
    ):
        with pytest.raises(ValueError, match=message):  # as of `fit`, and before steps are timed
            SimCLR(**{**SSL, **change}).estimate(parts[0])
    assert Classifier(**CLF).estimate(parts[0], parts[1]).steps == 2 * -(-len(parts[0]) // 8)


# ---- resuming ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "n"), [("sgd", 4), ("sam", 1), ("adamw", 7)])  # 4 steps are an epoch
def test_a_killed_pretraining_goes_on_to_the_same_bits(parts, tmp_path, monkeypatch, n, kind):
    options = {**SSL, "knn_every": 0, "sharpness": "sam" if kind == "sam" else "none"}
    options["optimizer"] = "adamw" if kind == "adamw" else "sgd"
    options["lr"] = 1e-3 if kind == "adamw" else 0.05
    unbroken = SimCLR(**options).fit(parts[0])
    with monkeypatch.context() as patch:
        stop_after(patch, SimCLR, n)
        with pytest.raises(Stop):
            SimCLR(**options).fit(parts[0], checkpoint=tmp_path / "run")
    assert read_checkpoint(tmp_path / "run").progress["step"] == n
    resumed = SimCLR(**options).fit(parts[0], checkpoint=tmp_path / "run")
    assert same_bits(resumed, unbroken)
    assert resumed.history_.column("loss") == unbroken.history_.column("loss")


def test_a_killed_fine_tuning_goes_on_to_the_same_bits(parts, tmp_path, monkeypatch):
    options = {**CLF, "dropout": 0.3}
    unbroken = Classifier(**options).fit(parts[0], parts[1])
    with monkeypatch.context() as patch:
        stop_after(patch, Classifier, 6)
        with pytest.raises(Stop):
            Classifier(**options).fit(parts[0], parts[1], checkpoint=tmp_path / "run")
    resumed = Classifier(**options).fit(parts[0], parts[1], checkpoint=tmp_path / "run")
    assert same_bits(resumed, unbroken) and resumed.best_epoch_ == unbroken.best_epoch_
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert len(log) == 3 and log[0].startswith("epoch,loss,lr")
    assert (tmp_path / "run" / "manifest.json").exists()


def test_a_finished_run_is_read_not_repeated_and_another_is_refused(parts, tmp_path, monkeypatch):
    first = SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run")
    stop_after(monkeypatch, SimCLR, 0)
    assert same_bits(SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run"), first)
    with pytest.raises(ValueError, match=r"holds a run with epochs=2 \(now 5\).*resume='never'"):
        SimCLR(**{**SSL, "epochs": 5}).fit(parts[0], checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="other training data"):
        SimCLR(**SSL).fit(parts[0][:20], checkpoint=tmp_path / "run")
    with pytest.raises(Stop):
        SimCLR(**{**SSL, "epochs": 5}).fit(parts[0], checkpoint=tmp_path / "run", resume="never")


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
def test_ctrl_c_leaves_a_usable_model_and_goes_on_to_the_same_bits(parts, tmp_path, monkeypatch):
    unbroken = SimCLR(**SSL).fit(parts[0])
    plain = SimCLRTask.step

    def step(self, indices, epoch, number, lr, momentum):
        if number == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, indices, epoch, number, lr, momentum)

    with monkeypatch.context() as patch:
        patch.setattr(SimCLRTask, "step", step)
        with pytest.warns(
            TrainingInterrupted, match=r"after step \d of .* usable as it is. Saved to .*goes on from there"
        ):
            stopped = SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run")
    assert not stopped.position_.finished and stopped.position_.step == 5
    assert np.isfinite(stopped.transform(parts[2])).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same_bits(SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run"), unbroken)


def test_ctrl_c_between_the_core_and_the_count_is_counted(parts, tmp_path, monkeypatch):
    plain = SimCLRTask.step

    def step(self, *args):
        result = plain(self, *args)
        if args[2] == 5:
            raise KeyboardInterrupt  # the weights have changed, the loop does not know
        return result

    with monkeypatch.context() as patch:
        patch.setattr(SimCLRTask, "step", step)
        with pytest.warns(TrainingInterrupted):
            stopped = SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run")
    assert stopped.position_.step == 6
    assert same_bits(SimCLR(**SSL).fit(parts[0], checkpoint=tmp_path / "run"), SimCLR(**SSL).fit(parts[0]))


def test_a_save_that_a_step_overtakes_is_no_mixture_of_two_steps(parts, tmp_path, monkeypatch):
    plain, refused = SimCLRTask.step, []

    def step(self, *args):
        before = self.checkpoint()
        result = plain(self, *args)  # as a second thread would
        with pytest.raises(RuntimeError, match="SimCLR: another thread trained it while it was saved"):
            write_checkpoint(tmp_path / "run", before)
        refused.append(args[2])
        return result

    monkeypatch.setattr(SimCLRTask, "step", step)
    ssl = SimCLR(**SSL).fit(parts[0])
    assert refused and os.listdir(tmp_path / "run") == []
    assert ssl.save(tmp_path / "run").exists()


# ---- what can go wrong ---------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_named_and_the_checkpoint_kept(parts, tmp_path, monkeypatch):
    plain = _simclr_task.augmented_batch

    def batch(*args, epoch, out, **kwargs):
        monkeypatch.setattr(_callbacks, "SAVE_EVERY_S", 0.0)
        plain(*args, epoch=epoch, out=out, **kwargs)
        if epoch == 1:
            out[3] = np.nan

    monkeypatch.setattr(_simclr_task, "augmented_batch", batch)
    ssl = SimCLR(**SSL)
    with pytest.raises(FloatingPointError, match=r"in epoch 2 of 2, step 1 .*last checkpoint.*lower lr"):
        ssl.fit(parts[0], checkpoint=tmp_path / "run")
    assert read_checkpoint(tmp_path / "run").progress["step"] == 4
    assert all(np.isfinite(array).all() for array in ssl.network_.state().values())


def test_a_batch_larger_than_the_data_is_named(parts):
    with pytest.raises(ValueError, match=r"batch_size=64 is larger than the \d+ training images; choose at most"):
        SimCLR(**{**SSL, "batch_size": 64}).fit(parts[0])
    few = Classifier(**{**CLF, "batch_size": 500, "epochs": 1}).fit(parts[0])  # a classifier takes them all
    assert few.history_[0]["images"] == len(parts[0]) and few.position_.step == 1


def test_labels_and_classes_are_checked(parts):
    with pytest.raises(ValueError, match="train: the data set has no labels"):
        Classifier(**CLF).fit(parts[0].unlabelled())
    with pytest.raises(ValueError, match="two classes at least, and the 14 labelled ones here are of Non_Demented"):
        Classifier(**CLF).fit(parts[0][parts[0].labels == 0])
    other = Dataset(parts[1].images, parts[1].labels, ("a", "b", "c"))
    with pytest.raises(ValueError, match="val: expected the classes"):
        Classifier(**CLF).fit(parts[0], other)


def test_images_of_another_size_are_named(ssl):
    with pytest.raises(
        ValueError, match=r"trained on 32 x 32 pixels with 1 channel.*got 64 x 64 with 3.*image_size=32"
    ):
        ssl.transform(np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r"floats in \[0, 1\]"):
        ssl.transform(np.full((2, 32, 32), 2.0, np.float32))
    with pytest.raises(ValueError, match="expected squares"):
        SimCLR(**SSL).fit(Dataset(np.zeros((9, 32, 48, 1), np.uint8)))


def test_unfitted_and_unknown_starts(parts, tmp_path):
    with pytest.raises(NotFittedError, match="call fit first"):
        SimCLR(**SSL).transform(parts[0])
    with pytest.raises(TypeError, match=r"init: expected 'random', a fitted SimCLR, .*, got ndarray"):
        Classifier(init=parts[0].images, **CLF).fit(parts[0])
    with pytest.raises(FileNotFoundError, match="expected 'random', a fitted SimCLR, a run folder"):
        Classifier("runs/nothing", **CLF).fit(parts[0])
    with pytest.raises(NotFittedError):
        Classifier(SimCLR(**SSL), **CLF).fit(parts[0])


@pytest.mark.parametrize("wrong", [None, 5, np.zeros((2, 32, 32), np.uint8)])
def test_what_is_no_path_is_named(ssl, wrong):
    for call in (ssl.save, SimCLR.load, datasets.open_dataset, datasets.ImageFolder):
        with pytest.raises(TypeError, match=r"^(path|root): expected a path, got (None|5|ndarray)$"):
            call(wrong)
    with pytest.raises(TypeError, match=r"^data: expected a Dataset, got \w+"):
        audit(wrong)


def test_a_start_names_its_own_architecture(ssl):
    assert "resnet18, not fitted yet" in Classifier(ssl)._repr_html_()


def test_a_checkpoint_of_another_kind_or_network_is_named(ssl, parts, tmp_path):
    ssl.save(tmp_path / "ssl")
    with pytest.raises(CheckpointError, match="a checkpoint of kind 'simclr', expected 'classifier'"):
        Classifier.load(tmp_path / "ssl")
    with pytest.raises(CheckpointError, match="these weights are not of a resnet34"):
        SimCLR(**{**SSL, "arch": "resnet34", "weights": str(tmp_path / "ssl")}).fit(parts[0])


def test_too_much_memory_is_refused_with_what_fits(parts, monkeypatch):
    from simclr_mri._shared import _machine

    monkeypatch.setattr(_machine, "available_memory_bytes", lambda: 300_000_000)
    ds = Dataset(np.zeros((4096, 32, 32, 1), np.uint8))
    with pytest.raises(
        MemoryError, match=r"batch_size=4096 needs .* GB, and 300 MB are available: batch_size=\d+ would need"
    ):
        SimCLR(**{**SSL, "batch_size": 4096}).fit(ds)


# ---- parts ---------------------------------------------------------------------------------------------------------


def test_batches_and_order():
    assert batch_bounds(10, 4, drop_last=True) == [(0, 4), (4, 8)]
    assert batch_bounds(10, 4, drop_last=False) == [(0, 4), (4, 8), (8, 10)]
    assert batch_bounds(9, 4, drop_last=False) == [(0, 4), (4, 8)]  # one image cannot be normalised
    assert batch_bounds(3, 4, drop_last=False) == [(0, 3)]
    order = epoch_order(50, seed=1, epoch=2)
    np.testing.assert_array_equal(np.sort(order), np.arange(50))
    np.testing.assert_array_equal(order, epoch_order(50, seed=1, epoch=2))
    assert not np.array_equal(order, epoch_order(50, seed=1, epoch=3))


def test_monitors():
    rng = np.random.default_rng(0)
    centres = np.array([[5.0, 0, 0], [0, 5.0, 0]])
    labels = np.arange(40) % 2
    points = centres[labels] + rng.normal(size=(40, 3))
    assert knn_accuracy(points[:30], labels[:30], points[30:], labels[30:]) == {1: 1.0, 10: 1.0}
    assert embedding_spread(np.ones((10, 8))) == pytest.approx(0)
    assert embedding_spread(rng.normal(size=(4000, 64))) == pytest.approx(1, abs=0.02)


def test_slices_of_one_subject_can_be_left_out_of_the_negatives(ssl, parts):
    other = SimCLR(**SSL, exclude_same_subject=True).fit(parts[0])
    assert not same_bits(other, ssl) and np.isfinite(other.history_[-1]["loss"])
    with pytest.raises(ValueError, match="subjects of the training images are unknown"):
        SimCLR(**SSL, exclude_same_subject=True).fit(Dataset(parts[0].images))


def test_weights_go_out_and_come_in(ssl, parts, tmp_path):
    """Out under torchvision's names with an RGB stem; in as a start for pretraining and for fine-tuning."""
    export_weights(ssl.network_.state(), tmp_path / "out.safetensors", rgb_stem=True)
    start = SimCLR(**{**SSL, "epochs": 0, "weights": str(tmp_path / "out.safetensors")}).fit(parts[0])
    for name, array in ssl.network_.state().items():
        if not name.startswith("projection"):
            np.testing.assert_allclose(start.network_.state()[name], array, rtol=1e-5, atol=1e-7)
    assert Classifier(str(tmp_path / "out.safetensors"), **CLF).fit(parts[0]).position_.finished


def test_the_predicted_memory_is_the_real_one(tmp_path):
    """In a process of its own, whose peak is that of this run only."""
    code = """if True:
        import sys
        import numpy as np
        from simclr_mri import SimCLR
        from simclr_mri import Dataset
        from simclr_mri._shared import peak_memory_bytes
        ds = Dataset(np.zeros((96, 32, 32, 1), np.uint8))
        ssl = SimCLR("resnet18", epochs=1, batch_size=96, verbose=0)
        predicted = ssl.estimate(ds).memory_bytes
        ssl.fit(ds, checkpoint=sys.argv[1])
        print(predicted / peak_memory_bytes())
    """
    line = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("cls", [SimCLR, Classifier])
def test_memory_of_a_model_is_free_once_nobody_holds_it(parts, tmp_path, cls):
    """Without a garbage collection, which may come much later: networks lie outside of what Python counts."""
    gc.collect()
    gc.disable()
    try:
        model = cls(**{**CLF, "epochs": 1}).fit(*parts[:2], checkpoint=tmp_path / "run")
        model.evaluate(parts[2]) if cls is Classifier else model.transform(parts[2])
        held = [weakref.ref(model), weakref.ref(model.model_)]
        del model
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


def test_n_jobs_is_scikit_learns(parts, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    images = parts[0].images
    assert n_threads(None) == n_threads(-1) == 0 and n_threads(3) == 3
    assert SimCLR(**{**SSL, "epochs": 0}, n_jobs=-1).fit(parts[0]).transform(images).shape == (len(images), 512)
    with pytest.raises(ValueError, match="n_jobs=0: expected 1 to 256 threads"):
        n_threads(0)
