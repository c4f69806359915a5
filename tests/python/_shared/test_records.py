"""Results: == compares values and answers with one bool, rows() and to_frame() are on every one. Found, not listed."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
import pkgutil
import re
import typing
from pathlib import Path

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri._shared import ArrayRecord, Record, same
from simclr_mri.audits import Audit
from simclr_mri.metrics import Estimate


def modules():
    for found in pkgutil.walk_packages(sm.__path__, "simclr_mri."):
        if not found.name.split(".")[-1].startswith(("_core", "lib")):
            try:
                yield importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                if error.name != "torch":  # the peer of bench
                    raise


def dataclasses_of_the_package():
    return {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    }


CLASSES = dataclasses_of_the_package()
RESULTS = sorted((c for c in CLASSES if issubclass(c, Record)), key=lambda c: (c.__module__, c.__name__))
DOORS = [sm, *(module for module in modules() if "._" not in module.__name__)]
OFFERED = [getattr(module, name) for module in DOORS for name in getattr(module, "__all__", ())]
PUBLIC = {value for value in OFFERED if isinstance(value, type)}


def holds_arrays(cls):
    """Whether a field of a dataclass is, or may be, an array or a container of arrays."""
    types = " ".join(str(field.type) for field in dataclasses.fields(cls))
    return "ndarray" in re.sub(r"Callable\[[^]]*\][^]]*\]", "", types)


def generates_its_comparison(cls):
    return cls.__dataclass_params__.eq


def test_there_are_results_to_look_at():
    assert len(CLASSES) > 60 and len(RESULTS) >= 20
    assert {"Evaluation", "CamResult", "Audit", "PredictionTable", "Copies"} <= {c.__name__ for c in RESULTS}


def test_no_dataclass_with_arrays_compares_them_by_their_truth():
    wrong = [c.__qualname__ for c in CLASSES if generates_its_comparison(c) and holds_arrays(c)]
    assert not wrong, f"{wrong}: derive from ArrayRecord, or declare eq=False"


def test_public_dataclasses_are_results_or_settings():
    others = {c for c in PUBLIC if c in CLASSES and not issubclass(c, Record)}
    others = {c.__name__ for c in others if not c.__name__.endswith("Options")}
    # Estimators and their parts; StudyResult and Comparison, whose rows are a callable list; where features come from.
    assert others == {"Classifier", "SimCLR", "Model", "Preprocess", "StudyResult", "Comparison", "Start"}


def made(kind, i=0):
    """A value of an annotated type; `i` makes another one."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is np.ndarray:
        return np.array([[1.0, np.nan], [3.0, i]])
    if kind in (int, float, str, bool):
        return kind(i)
    if kind is typing.Any:
        return i
    if kind is Path:
        return Path(str(i))
    if origin is typing.Literal:
        return inner[i % len(inner)]
    if origin is dict:
        return {made(inner[0]): made(inner[1], i)}
    if origin is list:
        return [made(inner[0], i)]
    if origin is tuple:
        return tuple(made(part, i) for part in inner if part is not Ellipsis)
    if origin is not None:  # a union
        return made(inner[0], i)
    if dataclasses.is_dataclass(kind):
        return instance(kind, i)
    return sm.Dataset(np.full((1, 8, 8), i, np.uint8)) if kind is sm.Dataset else None


def instance(cls, i=0):
    """An object of a dataclass, with values of the annotated types and without its checks."""
    value = object.__new__(cls)
    hints = typing.get_type_hints(cls, vars(importlib.import_module(cls.__module__)))
    for field in dataclasses.fields(cls):
        object.__setattr__(value, field.name, made(hints[field.name], i))
    return value


@pytest.mark.parametrize("cls", [c for c in RESULTS if issubclass(c, ArrayRecord)], ids=lambda c: c.__name__)
def test_equal_values_are_equal_and_one_changed_field_is_not(cls):
    value = instance(cls)
    for other in (instance(cls), pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert (value == other) is True and (value != other) is False
    assert value != 1 and value is not None
    changed = 0
    for field in dataclasses.fields(cls):
        mine, theirs = getattr(value, field.name), getattr(instance(cls, 1), field.name)
        if not field.compare or same(mine, theirs):
            continue
        other = copy.copy(value)
        object.__setattr__(other, field.name, theirs)
        assert (value == other) is False, field.name
        changed += 1
    assert changed


@pytest.fixture(scope="module")
def found():
    """Real results, by the name of their class."""
    ds = sm.datasets.phantoms(seed=0, n_subjects=10, slices=2, image_size=32, task="cdr0")
    parts = sm.split(ds, fractions=(0.5, 0.5), seed=0)
    clf = sm.Classifier(arch="resnet18", epochs=1, batch_size=8, verbose=0, n_jobs=1).fit(parts.train)
    evaluation = clf.evaluate(parts.test, n_bootstrap=20)
    proba = evaluation.probabilities
    cams = sm.grad_cam(clf, parts.test[:2])
    values = [
        evaluation,
        evaluation.slices,
        evaluation.slices.by_class[0],
        evaluation["accuracy"],
        sm.metrics.paired_difference(evaluation.labels, proba, proba[:, ::-1], n_bootstrap=10),
        cams,
        sm.check_cams(clf, parts.test[:2]),
        sm.view(clf, parts.test, n_subjects=1),
        sm.metrics.curves(evaluation, "reliability")[0],
        sm.model_card(clf, evaluation=evaluation),
        sm.audit(ds, baselines=False),
        parts,
        parts.overlaps()[0],
        ds.counts(),
        clf.history_,
        clf.predict_table(parts.test),
        sm.splits.find_copies(ds.images[:4], ds.images[2:6]),
        sm.label_curve(ds, ["pixels"], n_labelled=[2], draws=2, repeats=1, n_splits=2),
    ]
    return {type(value).__name__: value for value in values}


def test_every_result_has_rows_and_a_frame(found):
    pandas = pytest.importorskip("pandas")
    for name, value in found.items():
        rows, frame = value.rows(), value.to_frame()
        assert isinstance(frame, pandas.DataFrame) and len(frame) == len(rows), name
        assert rows and set(frame.columns) == {key for row in rows for key in row}, name
        plain = (str, int, float, bool, type(None))
        assert all(isinstance(v, plain) for row in rows for v in row.values()), (name, rows[0])


def test_results_equal_their_pickles(found):
    for name, value in found.items():
        again = pickle.loads(pickle.dumps(value))
        assert (value == again) is True and (value != again) is False, name


def test_old_names_of_rows_stay(found):
    assert found["Evaluation"].table() == found["Evaluation"].rows()
    assert isinstance(found["Audit"], Audit) and found["Audit"].table() == found["Audit"].rows()


def test_undefined_numbers_are_equal_and_have_a_hash():
    assert Estimate(1.0) == Estimate(1.0) != Estimate(1.0, 0.5, 2.0)
    assert hash(Estimate(float("nan"))) == hash(Estimate(float("nan")))


def test_rows_of_a_study_are_a_list_and_a_method():
    result = sm.StudyResult([{"init": "random", "auc": 0.5}], {}, {}, {}, {}, [])
    assert result.rows() == result.rows == [{"init": "random", "auc": 0.5}] and result.rows[0]["auc"] == 0.5
    assert result == pickle.loads(pickle.dumps(result)) and len(result.to_frame()) == 1


def test_data_sets_are_equal_by_value():
    ds = sm.datasets.phantoms(seed=0, n_subjects=4, slices=2, image_size=32)
    assert ds == pickle.loads(pickle.dumps(ds)) and ds[1:] == ds[np.arange(1, 8)] and hash(ds) == hash(ds[:])
    assert ds != ds[::-1] and ds != ds.unlabelled() and ds != ds.mirrored() and ds != 3
