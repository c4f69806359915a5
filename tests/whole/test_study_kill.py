"""A study that is killed (SIGKILL) ten times, at moments of every kind, ends with the table of one that never was."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import pytest

from simclr_mri import datasets, split, study
from simclr_mri.learning import _callbacks, read_checkpoint
from simclr_mri.learning._classifier_task import ClassifierTask
from simclr_mri.learning._simclr_task import SimCLRTask
from simclr_mri.studies._looks import read_looks

SSL = {"arch": "resnet18", "epochs": 1, "batch_size": 16, "verbose": 0, "knn_every": 0, "n_jobs": 1}
CLF = {"arch": "resnet18", "epochs": 2, "batch_size": 16, "verbose": 0, "n_jobs": 1}

# (what, which of its kind in that process). "step": from outside while the core computes a training step. The others
# end the process at that instant: before a file is flushed, between that and its renaming, and right after it.
MOMENTS = [
    ("step", 1),
    ("flush", 1),
    ("step", 2),
    ("rename", 2),
    ("renamed", 1),
    ("rename checkpoint.safetensors", 2),
    ("step", 4),
    ("renamed evaluation.json", 1),
    ("rename test_predictions.csv", 1),
    ("rename study.csv", 1),
]


@pytest.fixture(scope="module")
def data():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=16, slices=2, image_size=32, task="cdr0")
        return ds, split(ds, seed=0)


def run_study(data, out: Path, **more) -> None:
    ds, parts = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study(ds, out=out, split=parts, fractions=(1.0,), n_bootstrap=5, pretrain=SSL, finetune=CLF, **more)


def arm(moment: tuple[str, int], pipe: int) -> None:
    """In the child: end this process, or have it ended, at a moment."""
    what, count = moment
    seen = [0]

    def is_now(kind: str, name: str = "") -> bool:
        seen[0] += what in (kind, f"{kind} {name}")
        return what in (kind, f"{kind} {name}") and seen[0] == count

    def before(function, kind):
        def wrapped(*args, **options):
            if is_now(kind):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return wrapped

    def told(step):
        def wrapped(*args):
            if is_now("step"):
                os.write(pipe, b"now")
            return step(*args)

        return wrapped

    plain_replace = os.replace

    def replace(source, target):
        if is_now("rename", Path(target).name):
            os.kill(os.getpid(), signal.SIGKILL)
        plain_replace(source, target)
        if is_now("renamed", Path(target).name):
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace, os.fsync = replace, before(os.fsync, "flush")
    for cls in (SimCLRTask, ClassifierTask):
        cls.step = told(cls.step)


def ended_by(data, out: Path, moment: tuple[str, int] | None, **more) -> int:
    """Runs the study in a child process; the signal that ended it, 0 if none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            _callbacks.SAVE_EVERY_S = 0.0  # a checkpoint after every step
            if moment is not None:
                arm(moment, writing)
            run_study(data, out, **more)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    if os.read(reading, 3):
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def files_of(out: Path, *names: str) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for name in names for path in sorted(out.rglob(name))}


def test_a_study_killed_at_ten_moments_ends_with_the_same_table(data, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for moment in MOMENTS:
        assert ended_by(data, killed, moment) == signal.SIGKILL, moment
        assert not (killed / "study.csv").exists(), moment
    assert ended_by(data, killed, None) == 0
    assert ended_by(data, whole, None) == 0
    names = ("study.csv", "summary.csv", "study.md", "evaluation.json", "test_predictions.csv")
    one, two = files_of(killed, *names), files_of(whole, *names)
    assert len(one) == 7 and one == two
    # Every look is on record: one a run, and those whose result a kill took.
    assert len(read_looks(whole)) == 2 and len(read_looks(killed)) >= 2
    for path in whole.rglob("checkpoint.safetensors"):
        mine, theirs = read_checkpoint(killed / path.relative_to(whole)), read_checkpoint(path)
        assert all((mine.model[name] == theirs.model[name]).all() for name in theirs.model), path
    assert not list(killed.rglob("*.tmp"))  # what the kills left behind has been swept


def test_a_study_killed_while_it_chooses_rates_ends_with_the_same_table(data, tmp_path):
    """Of two trials one becomes the run: killed in a trial, after both, and before and after the checkpoint's copy."""
    more = {"inits": ("random",), "lrs": (1e-4, 1e-3)}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    run = killed / "random" / "100pct_seed0" / "checkpoint.safetensors"
    for moment, is_there in (
        (("step", 3), False),
        (("renamed manifest.json", 2), False),
        (("rename checkpoint.safetensors", 1), False),  # finished trials write no checkpoint: this is the copy
        (("renamed checkpoint.safetensors", 1), True),
    ):
        assert ended_by(data, killed, moment, **more) == signal.SIGKILL, moment
        assert run.exists() == is_there, moment
    for out in (killed, whole):
        assert ended_by(data, out, None, **more) == 0
    names = ("study.csv", "summary.csv", "study.md", "rates.csv", "evaluation.json", "test_predictions.csv")
    one, two = files_of(killed, *names), files_of(whole, *names)
    assert len(one) == 6 and one == two
    assert ended_by(data, killed, ("step", 1), **more) == 0  # nothing is trained again
    assert len(read_looks(killed)) == 1 and not list(killed.rglob("*.tmp"))
