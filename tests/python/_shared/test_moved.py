"""What stood in version 0.1 at another place is found there for one more version, with a warning that names the new."""

from __future__ import annotations

import importlib
import pickle
import warnings

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri._shared._moved import MOVED, RENAMED

OLD_PATHS = {
    "checkpoint": ["load", "save", "FILE_NAME", "CheckpointError", "load_weights", "atomic_writer", "read_safetensors"],
    "cam": ["grad_cam", "CamResult", "METHODS", "short"],
    "cam_checks": ["check_cams", "find_head", "impute", "ssim"],
    "training": ["TrainingInterrupted", "Loop", "Position", "epoch_order"],
    "config": ["MAX_SEED", "ARCHS"],
    "studies": ["spread_examples", "predictions_csv"],
    "classifier": ["Classifier", "softmax", "balanced_weights"],
    "simclr": ["SimCLR"],
    "runlog": ["History", "RunLog", "html_table", "sole_writer", "versions"],
    "options": ["option", "did_you_mean", "add_arguments"],
    "progress": ["Progress", "seconds_text"],
    "phantoms": ["REGIONS", "phantoms"],
    "report": ["Report", "png_tag"],
    "study_result": ["Arm", "StudyResult"],
}


@pytest.mark.parametrize("old", OLD_PATHS)
def test_an_old_path_works_and_names_the_new_one(old):
    module = importlib.import_module(f"simclr_mri.{old}")
    for name in OLD_PATHS[old]:
        with pytest.warns(DeprecationWarning, match=rf"simclr_mri\.{old}\.{name} has moved") as told:
            value = getattr(module, name)
        assert value is not None and told[0].filename == __file__
    with pytest.warns(DeprecationWarning):
        exec(f"from simclr_mri.{old} import {OLD_PATHS[old][0]}")
    assert not hasattr(module, "never_there")


def test_the_named_place_has_it():
    with pytest.warns(DeprecationWarning, match="import Classifier from simclr_mri. "):
        assert importlib.import_module("simclr_mri.classifier").Classifier is sm.Classifier
    with pytest.warns(DeprecationWarning, match="import LeakageError from simclr_mri.splits|it is internal"):
        _ = importlib.import_module("simclr_mri.runlog").html_table


def test_every_place_in_the_table_exists():
    for old, places in MOVED.items():
        for place in places.split():
            importlib.import_module(f"simclr_mri.{place}")
        assert old.startswith("_") or importlib.import_module(f"simclr_mri.{old}").__name__ == f"simclr_mri.{old}"
    assert {key.partition(".")[0] for key in RENAMED} <= MOVED.keys()


@pytest.mark.parametrize("old", ["_nonsense", "nonsense", "checkpoint.nonsense"])
def test_what_never_was_is_not_found(old):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"simclr_mri.{old}")


def test_pickles_name_old_places():
    """As version 0.1 wrote them: classes by the modules of that time."""
    ds = sm.Dataset(np.zeros((2, 8, 8), np.uint8), [0, 1], ("a", "b"))
    history = sm.History([{"epoch": 1, "loss": 2.0}])
    evaluation = sm.evaluate_predictions([0, 1], [[0.9, 0.1], [0.2, 0.8]], ("a", "b"), n_bootstrap=0)
    old = {
        "simclr_mri.datasets._dataset": "simclr_mri._dataset",
        "simclr_mri.learning._history": "simclr_mri.runlog",
        "simclr_mri.metrics._records": "simclr_mri.metrics",
    }
    for value in (ds, history, evaluation):
        text = pickle.dumps(value, protocol=0)
        for new, was in old.items():
            text = text.replace(f"c{new}\n".encode(), f"c{was}\n".encode())
        assert type(value).__module__.encode() not in text
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert type(pickle.loads(text)) is type(value)


def test_what_left_a_package_that_kept_its_name():
    with pytest.warns(DeprecationWarning, match=r"simclr_mri\.studies\.spread_examples has moved") as told:
        _ = sm.studies.spread_examples
    assert told[0].filename == __file__
    with pytest.raises(AttributeError, match=r"simclr_mri\.metrics has no 'evaluat'"):
        _ = sm.metrics.evaluat
