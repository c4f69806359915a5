"""Data sets of arrays, data frames and CSV files: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import Dataset, _core
from simclr_mri.datasets import concatenate

RAMP = np.linspace(0, 1, 64).reshape(1, 8, 8)


@pytest.mark.parametrize(
    ("images", "options"),
    [
        (np.round(255 * RAMP).astype(np.uint8), {}),
        (np.round(255 * RAMP).astype(np.int64), {}),
        (np.round(255 * RAMP).astype(int).tolist(), {}),
        (RAMP, {}),
        (RAMP.astype(np.float32), {}),
        (4095 * RAMP, {"intensity": (0, 4095)}),
        (np.round(65535 * RAMP).astype(np.uint16), {"intensity": "full"}),
    ],
)
def test_arrays_of_any_type_become_the_same_pixels(images, options):
    ds = Dataset.from_arrays(images, **options)
    assert ds.shape == (1, 8, 8, 1)
    assert np.abs(ds.images[..., 0].astype(int) - np.round(255 * RAMP)).max() <= 1


def test_percentiles_are_of_each_image_and_bool_is_black_and_white():
    both = np.stack([RAMP[0], 100 * RAMP[0] - 7])
    first, second = Dataset.from_arrays(both, intensity="percentile").images
    assert np.array_equal(first, second) and first.min() == 0 and first.max() == 255
    assert set(Dataset.from_arrays(RAMP > 0.5).images.ravel()) == {0, 255}


def test_the_callers_array_stays_the_callers():
    mine = np.zeros((2, 8, 8), np.uint8)
    ds = Dataset.from_arrays(mine)
    mine[:] = 9
    assert ds.images.max() == 0


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (RAMP * 300, r"floats in \[0, 1\], got float64 from 0 to 300.*intensity=\(0, 300\)"),
        (np.full((1, 8, 8), -3), "whole numbers from 0 to 255"),
        (np.full((2, 8, 8), np.nan), "image 0 has values that are not finite"),
        (np.zeros((2, 3, 8, 8)), r"channels come last: np.moveaxis\(images, 1, -1\)"),
        (np.zeros((8, 8)), "array of images"),
        (np.zeros((8, 8, 3)), "one image of shape"),
        (np.array([[["a"] * 8] * 8]), "expected numbers"),
        (np.zeros((2, 8, 8), complex), "expected numbers"),
    ],
)
def test_other_arrays_are_refused_by_name(images, message):
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(images)


def test_labels_are_names_or_numbers():
    zeros = np.zeros((3, 8, 8))
    ds = Dataset.from_arrays(zeros, ["MCI", "CN", "AD"], subjects=[1, 2, 2])
    assert ds.classes == ("CN", "MCI", "AD") and ds.labels.tolist() == [1, 0, 2]
    assert ds.subjects.tolist() == ["1", "2", "2"]
    assert Dataset.from_arrays(zeros, [10, 9, 10]).classes == ("9", "10")
    assert Dataset.from_arrays(zeros, [1.0, 0.0, 1.0], classes=("a", "b")).labels.tolist() == [1, 0, 1]
    given = Dataset.from_arrays(zeros, ["b", "b", "b"], classes=("b", "a"))
    assert given.classes == ("b", "a") and given.labels.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0.5, 1, 2], None, "continuous"),
        (["a", None, "b"], None, "the label of image 1 is missing"),
        (["a", "b", "c"], ("a", "b"), "'c' is none of the classes a, b"),
        ([0, 1, 5], ("a", "b"), "expected 0 to 1 for 2 classes"),
        ([[0], [1], [0]], None, "one label an image"),
        ([0, 1], None, "labels: expected 3, one an image, got 2"),
    ],
)
def test_other_labels_are_refused(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(np.zeros((3, 8, 8)), labels, classes=classes)


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(_core.encode_png(np.full((8, 8, 1), 60 * i, np.uint8)))
    rows = ["patient_id,file,Diagnosis,slice", *(f"p{i // 2},{i}.png,{'AD' if i > 1 else 'CN'},{i}" for i in range(4))]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return tmp_path


def test_a_csv_file_and_a_frame_give_the_same(folder):
    pandas = pytest.importorskip("pandas")
    of_csv = Dataset.from_csv(folder / "table.csv")
    frame = pandas.read_csv(folder / "table.csv")
    by_dict = {name: frame[name].tolist() for name in frame}
    for ds in (of_csv, Dataset.from_frame(frame, folder), Dataset.from_frame(by_dict, str(folder))):
        assert ds.classes == ("CN", "AD") and ds.labels.tolist() == [0, 0, 1, 1]
        assert ds.subjects.tolist() == ["p0", "p0", "p1", "p1"] and ds.slices.tolist() == [0, 1, 2, 3]
        assert ds.images[:, 0, 0, 0].tolist() == [0, 60, 120, 180] and ds.files[3] == "3.png"
    assert of_csv.name == "table" and of_csv.image_size == 8
    plain = Dataset.from_csv(folder / "table.csv", label=None, subject=None, image_size=16)
    assert plain.labels is None and plain.subjects is None and plain.image_size == 16
    absolute = Dataset.from_frame({"x": [folder / "1.png"]}, path="x")
    assert absolute.images.max() == 60


@pytest.mark.parametrize(
    ("frame", "options", "error", "message"),
    [
        ({"x": ["0.png"]}, {}, ValueError, "no column of paths; say which one it is: path='x'"),
        ({"file": ["0.png"]}, {"label": "dx"}, ValueError, "label: frame has no column 'dx'"),
        ({"file": ["0.png", ""]}, {}, ValueError, "row 1 has no file"),
        ({"file": ["0.png"], "label": [float("nan")]}, {}, ValueError, "row 0 has no label"),
        ({"file": ["0.png"], "slice": ["x"]}, {}, ValueError, "column slice has no whole numbers"),
        ({"file": ["0.png"], "label": []}, {}, ValueError, "columns of one length"),
        ({"file": []}, {}, ValueError, "no rows"),
        ({"file": ["none.png"]}, {}, FileNotFoundError, "none.png"),
        ("table.csv", {}, TypeError, "Dataset.from_csv"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder, frame, options, error, message):
    with pytest.raises(error, match=message):
        Dataset.from_frame(frame, folder, **options)


def test_several_sets_become_one():
    one = Dataset.from_arrays(np.zeros((2, 8, 8)), ["a", "b"], [1, 2])
    two = Dataset.from_arrays(np.ones((1, 8, 8)), ["c"], [3])
    both = concatenate([one, two])
    assert both.classes == ("a", "b", "c") and both.labels.tolist() == [0, 1, 2] and both.n_subjects == 3
