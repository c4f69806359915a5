"""A training that is killed, or stopped by Ctrl-C, at fifty random moments ends with the bits of one that never was."""

from __future__ import annotations

import os
import random
import signal
import traceback
import warnings
from pathlib import Path

import pytest

from simclr_mri import Classifier, TrainingInterrupted, datasets, split
from simclr_mri.learning import _callbacks, read_checkpoint
from simclr_mri.learning._classifier_task import ClassifierTask

MOMENTS = 50
# Three steps an epoch and a checkpoint after each, so that moments fall into steps, ends of epochs and savings.
OPTIONS = {"arch": "resnet18", "epochs": 5, "batch_size": 8, "optimizer": "sgd", "verbose": 0, "n_jobs": 2}


@pytest.fixture(scope="module")
def train():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=20, slices=2, image_size=32, task="cdr0")
        return split(ds, by="subject", seed=0).train[:24]


@pytest.fixture(autouse=True)
def _after_every_step(monkeypatch):
    monkeypatch.setattr(_callbacks, "SAVE_EVERY_S", 0.0)


def fit(train, folder: Path) -> Classifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Classifier(**OPTIONS).fit(train, checkpoint=folder)


def child(train, folder: Path, pipe: int) -> None:
    """Trains, says so at its first step, and ends this process."""
    plain, code = ClassifierTask.step, 1

    def told(self, *args):
        os.write(pipe, b".")
        plain(self, *args)

    try:
        ClassifierTask.step = told
        fit(train, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def is_killed(train, folder: Path, delay_s: float) -> bool:
    """Kills a training this long after its first step; False if it was done by then."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(train, folder, writing)
    os.close(writing)
    try:
        os.read(reading, 1)
        signal.sigtimedwait([], delay_s)
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    finally:
        os.close(reading)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def bits(folder: Path) -> dict[str, bytes]:
    saved = read_checkpoint(folder)
    return {name: tensor.tobytes() for name, tensor in (saved.model | saved.optimizer).items()}


@pytest.fixture(scope="module")
def unbroken(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    fit(train, folder)
    return bits(folder)


def test_killed_at_fifty_moments(train, unbroken, tmp_path):
    rng, kills, run = random.Random(0), 0, 0
    while kills < MOMENTS:
        killed = is_killed(train, tmp_path / str(run), rng.uniform(0, 0.5))
        kills += killed
        if not killed:
            assert bits(tmp_path / str(run)) == unbroken
            run += 1
    fit(train, tmp_path / str(run))
    assert bits(tmp_path / str(run)) == unbroken


def test_stopped_at_fifty_moments(train, unbroken, tmp_path):
    rng, stops, run = random.Random(1), 0, 0
    pressed = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while stops < MOMENTS:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.4))
            try:
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    Classifier(**OPTIONS).fit(train, checkpoint=tmp_path / str(run))
                if any(issubclass(w.category, TrainingInterrupted) for w in said):
                    stops += 1
                else:  # it ended before it was stopped
                    assert bits(tmp_path / str(run)) == unbroken
                    run += 1
            except KeyboardInterrupt:  # before the first step, or after the last
                stops += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, pressed)
        signal.signal(signal.SIGINT, before)
    fit(train, tmp_path / str(run))
    assert bits(tmp_path / str(run)) == unbroken
