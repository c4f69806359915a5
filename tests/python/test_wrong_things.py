"""What is handed to a public function and is not what it takes is named: the argument, what was expected, what came."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri import audits, datasets, explain, learning, metrics, plot, splits, studies, tracking, views, weights

ROOMS = (datasets, metrics, plot, splits, explain, audits, learning, studies, tracking, views, weights)
WRONG: dict[str, Any] = {"None": None, "text": "x", "matrix": np.zeros((3, 3)), "list": [1, 2], "number": 3, "dict": {}}
SAID = re.compile(
    r"\bgot\b|no such (file|folder)|no checkpoint|is unknown|has no manifest|: expected a file name that ends",
    re.IGNORECASE,
)
OF_PYTHON = re.compile(
    r"object (is not|has no|of type)|argument must be|ufunc|broadcast|unpack|ambiguous|could not convert"
)


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for room in ROOMS:
        for name in room.__all__:
            value = getattr(room, name)
            if inspect.isfunction(value):
                yield f"{room.__name__.split('.')[-1]}.{name}", value


def required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("name", "function"), list(functions()), ids=[name for name, _ in functions()])
def test_wrong_things_are_named(name: str, function: Callable[..., Any], wrong: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    positional = [WRONG[wrong] for p in required(function) if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name: "out" for p in required(function) if p.kind is p.KEYWORD_ONLY}
    if not positional:
        pytest.skip("takes nothing")
    try:
        function(*positional, **keywords)
    except (TypeError, ValueError, OSError) as error:
        text = f"{name}({wrong}): {type(error).__name__}: {error}"
        assert SAID.search(text) and not OF_PYTHON.search(text), text


# ---- what is said of each image --------------------------------------------------------------------------------------

IMAGES = np.zeros((4, 8, 8), np.uint8)
MISSING = {
    "None": ["x", None, "y", "z"],
    "NaN": ["x", float("nan"), "y", "z"],
    "empty": ["x", "  ", "y", "z"],
    "numbers": [1.0, float("nan"), 2.0, 3.0],
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_missing_subject_is_not_a_subject(kind: str):
    subjects = MISSING[kind]
    probabilities = np.full((4, 2), 0.5)
    for call in (
        lambda: sm.Dataset(IMAGES, subjects=subjects),
        lambda: sm.Dataset(IMAGES).with_subjects(subjects),
        lambda: sm.evaluate_predictions([0, 1, 0, 1], probabilities, ("a", "b"), subjects),
        lambda: metrics.paired_difference([0, 1, 0, 1], probabilities, probabilities, subjects),
    ):
        with pytest.raises(ValueError, match=r"subjects: expected a name for each image; 1 of 4 have none, .* image 1"):
            call()


def test_a_missing_subject_of_pandas_too():
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(["x", pandas.NA, "y", "z"], dtype="string")
    with pytest.raises(ValueError, match="1 of 4 have none"):
        sm.Dataset(IMAGES, subjects=column)
    assert sm.Dataset(IMAGES, subjects=pandas.Series([1, 2, 3, 4])).subjects.tolist() == list("1234")


def test_whole_numbers_as_floats_are_the_same_subjects():
    as_integers, as_floats = (sm.Dataset(IMAGES, subjects=np.arange(4).astype(t)).subjects for t in (int, float))
    assert as_integers.tolist() == as_floats.tolist() == list("0123")


def test_subjects_do_not_follow_the_callers_array():
    mine = np.array(["a", "b", "c", "d"])
    ds = sm.Dataset(IMAGES, subjects=mine)
    mine[0] = "z"
    assert ds.subjects[0] == "a"


@pytest.mark.parametrize(
    "labels", [["b", "a", "b", "a"], [True, False, True, False], [1.0, 0.0, 1.0, 0.0], (1, 0, 1, 0)]
)
def test_labels_are_understood_as_people_have_them(labels: Any):
    assert sm.Dataset(IMAGES, labels, ("a", "b")).labels.tolist() == [1, 0, 1, 0]
    found = sm.evaluate_predictions(labels, np.eye(2)[[1, 0, 1, 0]], ("a", "b"), n_bootstrap=0)
    assert float(found["accuracy"]) == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "c", "b", "a"], r"labels: expected 0 to 1 or names; 'c' of image 1 is none of the classes a, b"),
        ([0, 1, 2, 0], r"labels: expected 0 to 1 for 2 classes, got 0 to 2 \(first in row 2\)"),
        ([0, -1, 1, 0], r"labels: .* got -1 to 1 \(first in row 1\)"),
        ([0, 1, 0], r"labels: expected 4, one an image, got 3"),
        (["a", None, "b", "a"], r"the label of image 1 is missing"),
        ([0.5, 1, 0, 1], r"labels: expected classes, as whole numbers or names, got continuous"),
        ([0, float("nan"), 0, 1], r"the label of image 1 is missing"),
    ],
)
def test_wrong_labels_are_named(labels: Any, message: str):
    for call in (
        lambda: sm.Dataset(IMAGES, labels, ("a", "b")),
        lambda: sm.evaluate_predictions(labels, np.full((4, 2), 0.5), ("a", "b")),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_names_need_classes_and_classes_differ():
    with pytest.raises(ValueError, match="'a' of image 0 is a name, and the classes are not known"):
        metrics.temperature_scale(np.eye(2), ["a", "b"])
    with pytest.raises(ValueError, match=r"labels: expected classes beside them.*classes=\[...\]"):
        sm.Dataset(IMAGES, [0, 1, 0, 1])
    for call in (
        lambda: sm.Dataset(IMAGES, [0, 1, 0, 1], ("a", "a")),
        lambda: sm.evaluate_predictions([0, 1], np.eye(2), ("a", "a")),
    ):
        with pytest.raises(ValueError, match="classes: 'a' is there twice"):
            call()
    with pytest.raises(TypeError, match="classes: expected a sequence of names, got int"):
        sm.Dataset(IMAGES, [0, 1, 0, 1], 2)


def test_columns_of_another_length_are_named():
    p = np.full((4, 2), 0.5)
    for match, call in {
        r"subjects: expected 4 names, one an image, got shape \(3,\)": lambda: sm.evaluate_predictions(
            [0, 1, 0, 1], p, ("a", "b"), list("xyz")
        ),
        r"probs_b: expected shape|labels: expected 3": lambda: metrics.paired_difference([0, 1, 0, 1], p, p[:3]),
        r"groups: expected 4, one an image": lambda: metrics.pool_subjects(np.zeros(4, int), p, np.zeros(2, int)),
        r"np.column_stack\(\[1 - p, p\]\)": lambda: sm.evaluate_predictions([0, 1], np.ones(2), ("a", "b")),
        r"classes: expected a name for each row of the matrix, 3, got 0": lambda: plot.confusion(np.eye(3)),
        r"values: expected numbers of shape \(2, 3\)": lambda: plot.intervals(["a", "b"], np.ones((3, 3))),
        r"history: .* row 0 lacks loss": lambda: plot.history([{"epoch": 1}]),
    }.items():
        with pytest.raises(ValueError, match=match):
            call()


@pytest.mark.parametrize(
    ("name", "home"), [("temperature_scale", "metrics"), ("find_copies", "splits"), ("roc", "plot"), ("phantoms", "")]
)
def test_a_name_of_a_room_is_found(name: str, home: str):
    if not home:
        return
    with pytest.raises(AttributeError, match=rf"Did you mean '{home}\.{name}'\?"):
        getattr(sm, name)
